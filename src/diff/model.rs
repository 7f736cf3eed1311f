//! What a reviewer reads: one entry for each thing that changes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::casts::CastClass;

/// What happens to one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// `public.orders.id` (source address), or the target address of an added column.
    pub address: String,
    /// What happens.
    pub action: Action,
    /// Before, as SQL fragment or name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// After.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Class of a cast.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<CastClass>,
    /// Expression that makes the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expr: Option<String>,
    /// Why it is safe, or what it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Kinds of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The table is migrated.
    Migrate,
    /// A column is added.
    Add,
    /// A column is left out.
    Drop,
    /// A column changes type.
    Cast,
    /// A column or table changes name.
    Rename,
    /// Rows are left out.
    Filter,
    /// Columns are reordered.
    Reorder,
    /// NOT NULL changes.
    Nullability,
    /// A default changes.
    Default,
    /// A collation changes.
    Collation,
    /// How values are stored changes: storage, compression.
    Storage,
    /// What ANALYZE is told of a column changes: its target, `n_distinct`.
    Statistics,
    /// GENERATED … AS IDENTITY changes.
    Identity,
    /// GENERATED ALWAYS AS (…) changes.
    Generated,
    /// A comment changes.
    Comment,
    /// Storage parameters of the table change.
    Options,
    /// A constraint is added, dropped or changed.
    Constraint,
    /// An index is added, dropped or changed.
    Index,
}
