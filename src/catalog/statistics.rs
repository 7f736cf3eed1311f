//! Extended statistics: what ANALYZE collects of several columns, or of expressions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Ident;

/// A statistics object of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Statistics {
    /// What it does; expressions as the server writes them.
    pub def: StatisticsDef,
    /// Columns that its expressions read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expression_columns: Vec<Ident>,
    /// Owner.
    pub owner: Ident,
    /// Comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// What a statistics object does, without its name and its table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatisticsDef {
    /// What is collected, sorted; none for one expression alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<StatisticsKind>,
    /// Columns, in physical order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<Ident>,
    /// Expressions, without brackets of their own (PG 14+).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expressions: Vec<String>,
    /// SET STATISTICS (PG 13+), when it is not the columns'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<u16>,
}

/// What is collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StatisticsKind {
    /// Numbers of distinct combinations.
    Ndistinct,
    /// Which column follows from which.
    Dependencies,
    /// Most common combinations (PG 12+).
    Mcv,
}

impl StatisticsKind {
    /// Its word in CREATE STATISTICS.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ndistinct => "ndistinct",
            Self::Dependencies => "dependencies",
            Self::Mcv => "mcv",
        }
    }
}
