//! Views: what they show, apart from what they have like tables (columns, owner, grants, options).

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model::is_false;
use super::{Ident, QualifiedName};

/// What a view shows, materialized or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct View {
    /// `pg_get_viewdef`, without its semicolon.
    pub definition: String,
    /// Relations that it reads, with the columns.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reads: BTreeMap<QualifiedName, BTreeSet<Ident>>,
    /// A materialized view without rows, which cannot be read (`NOT relispopulated`).
    #[serde(default, skip_serializing_if = "is_false")]
    pub unpopulated: bool,
}

/// A view of the target, without its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ViewDef {
    /// The query, with the target's names.
    pub definition: String,
    /// What it has besides when it is materialized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub materialized: Option<Materialized>,
    /// Options (`WITH`), sorted, as `name=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Comments of its columns.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub column_comments: BTreeMap<Ident, String>,
}

/// What a materialized view has besides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Materialized {
    /// It has no rows before its first REFRESH.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unpopulated: bool,
    /// `CREATE INDEX` of each of its indexes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub indexes: BTreeMap<Ident, String>,
}
