//! Indexes and constraints.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model::is_false;
use super::{Ident, QualifiedName};

/// An index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// `pg_get_indexdef` with an empty search_path.
    pub definition: String,
    /// The parts of the definition, for rewriting under renames: what stands between `USING method` and the end.
    pub method: Ident,
    /// Key elements in order.
    pub elements: Vec<IndexElement>,
    /// INCLUDE columns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<Ident>,
    /// UNIQUE.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unique: bool,
    /// NULLS NOT DISTINCT (PG 15+).
    #[serde(default, skip_serializing_if = "is_false")]
    pub nulls_not_distinct: bool,
    /// Checked at once (`indimmediate`); false for deferrable constraints' indexes.
    pub immediate: bool,
    /// Built and usable (`indisvalid` and `indisready`).
    pub valid: bool,
    /// The one that CLUSTER takes (`indisclustered`).
    #[serde(default, skip_serializing_if = "is_false")]
    pub clustered: bool,
    /// Predicate (`WHERE`), as `pg_get_expr` writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicate: Option<String>,
    /// Columns that expressions and the predicate read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expression_columns: Vec<Ident>,
    /// Storage parameters, sorted, as `name=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reloptions: Vec<String>,
    /// The constraint that owns this index, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraint: Option<Ident>,
    /// Comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// One key element of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IndexElement {
    /// The column, or `None` for an expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<Ident>,
    /// The expression as `pg_get_indexdef(oid, n, false)` writes it, for expression elements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,
    /// Collation, when it is not the column's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collation: Option<QualifiedName>,
    /// Operator class, when it is not the type's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opclass: Option<QualifiedName>,
    /// Parameters of the operator class (PG 13+), sorted, as `name=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub opclass_options: Vec<String>,
    /// DESC.
    #[serde(default, skip_serializing_if = "is_false")]
    pub descending: bool,
    /// NULLS FIRST, also where DESC implies it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub nulls_first: bool,
}

/// A constraint other than NOT NULL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Constraint {
    /// What it is.
    pub kind: ConstraintKind,
    /// `pg_get_constraintdef` with an empty search_path.
    pub definition: String,
    /// Columns of this table that it reads, in `conkey` order.
    pub columns: Vec<Ident>,
    /// The referenced table and its columns (foreign keys).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub references: Option<References>,
    /// CHECK expression as `pg_get_expr` writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,
    /// The index behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<Ident>,
    /// DEFERRABLE.
    #[serde(default, skip_serializing_if = "is_false")]
    pub deferrable: bool,
    /// INITIALLY DEFERRED.
    #[serde(default, skip_serializing_if = "is_false")]
    pub initially_deferred: bool,
    /// `convalidated`.
    pub validated: bool,
    /// NO INHERIT.
    #[serde(default, skip_serializing_if = "is_false")]
    pub no_inherit: bool,
    /// Comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// `pg_constraint.contype`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConstraintKind {
    /// PRIMARY KEY.
    PrimaryKey,
    /// UNIQUE.
    Unique,
    /// FOREIGN KEY.
    ForeignKey,
    /// CHECK.
    Check,
    /// EXCLUDE.
    Exclude,
    /// CONSTRAINT TRIGGER.
    Trigger,
}

/// The far side of a foreign key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct References {
    /// Table.
    pub table: QualifiedName,
    /// Its columns, in the order of the key.
    pub columns: Vec<Ident>,
    /// What follows the column list in the definition: MATCH, ON UPDATE, ON DELETE. Empty when there is nothing.
    pub actions: String,
}

impl References {
    /// MATCH FULL: all columns are NULL, or none.
    pub fn is_match_full(&self) -> bool {
        self.actions.starts_with("MATCH FULL")
    }
}
