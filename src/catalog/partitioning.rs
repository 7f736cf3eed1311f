//! How a table is split into partitions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Ident, QualifiedName};

/// A partitioned table with all its partitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Partitioning {
    /// How the table itself is split.
    pub by: PartitionBy,
    /// Its partitions, and theirs: each behind what it is a partition of.
    pub partitions: Vec<Partition>,
}

/// PARTITION BY.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PartitionBy {
    /// The strategy.
    pub method: PartitionMethod,
    /// Columns of the key, in its order.
    pub columns: Vec<Ident>,
}

/// The strategy of a partition key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartitionMethod {
    /// By ranges of values.
    Range,
    /// By lists of values.
    List,
    /// By the remainder of a hash.
    Hash,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// Its name.
    pub name: QualifiedName,
    /// What it is a partition of.
    pub of: QualifiedName,
    /// `FOR VALUES …` or `DEFAULT`, as the server writes it.
    pub bound: String,
    /// How it is split itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PartitionBy>,
    /// Storage parameters, sorted, as `name=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reloptions: Vec<String>,
}

impl Partitioning {
    /// The other has all of this, and maybe further partitions.
    pub fn grew_into(&self, other: &Self) -> bool {
        self.by == other.by && self.partitions.iter().all(|one| other.partitions.contains(one))
    }
}

impl PartitionMethod {
    /// PostgreSQL's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Range => "RANGE",
            Self::List => "LIST",
            Self::Hash => "HASH",
        }
    }
}
