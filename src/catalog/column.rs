//! Columns and their types.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model::is_false;
use super::{Ident, QualifiedName};

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Name.
    pub name: Ident,
    /// Type.
    pub ty: ColumnType,
    /// NOT NULL.
    #[serde(default, skip_serializing_if = "is_false")]
    pub not_null: bool,
    /// DEFAULT as `pg_get_expr` writes it; never set for generated columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// GENERATED … AS IDENTITY.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Box<Identity>>,
    /// GENERATED ALWAYS AS (expr).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated: Option<Box<Generated>>,
    /// Collation, when it is not the type's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collation: Option<Box<QualifiedName>>,
    /// `attstorage`: p, e, m, x. `None` when it is the type's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// `attcompression` (PG 14+), when set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// How finely ANALYZE looks at it (`attstattarget`), when it is not the server's `default_statistics_target`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statistics_target: Option<u16>,
    /// `n_distinct` and the like (`attoptions`), sorted, as `name=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Column grants (`attacl` items, sorted).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<String>,
}

impl Column {
    /// The column without what changes no row: comment, grants, storage, and what ANALYZE is told.
    pub fn of_rows(&self) -> Self {
        Self {
            storage: None,
            compression: None,
            statistics_target: None,
            options: Vec::new(),
            comment: None,
            grants: Vec::new(),
            ..self.clone()
        }
    }
}

/// TOAST strategy of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Storage {
    /// Never compressed, never out of line.
    Plain,
    /// Out of line, not compressed.
    External,
    /// Compressed, out of line as a last resort.
    Main,
    /// Compressed, then out of line.
    Extended,
}

/// TOAST compression method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// pglz.
    Pglz,
    /// lz4.
    Lz4,
}

/// Identity of a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// GENERATED ALWAYS (else BY DEFAULT).
    pub always: bool,
    /// The sequence behind it.
    pub sequence: QualifiedName,
}

/// A generated column's expression.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Generated {
    /// The expression as `pg_get_expr` writes it.
    pub expr: String,
    /// STORED (else VIRTUAL, PG 18).
    pub stored: bool,
}

/// A column's type: identified by schema, name and typmod; the rest is what layout and keys need.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColumnType {
    /// Schema of the type, `pg_catalog` for built-in ones.
    pub schema: Ident,
    /// `pg_type.typname`: `int4`, `varchar`, `_text` for arrays.
    pub name: Ident,
    /// `atttypmod`, -1 when there is none.
    pub typmod: i32,
    /// `format_type(oid, typmod)` with an empty search_path, for SQL and people: `numeric(12,2)`, `public.mood`.
    pub sql: String,
    /// `typlen`: bytes, or -1 for varlena, -2 for cstring.
    pub len: i16,
    /// `typalign`.
    pub align: Align,
    /// `typtype`, with arrays apart.
    pub kind: TypeKind,
}

impl ColumnType {
    /// True for types of `pg_catalog`.
    pub fn is_builtin(&self) -> bool {
        self.schema.as_str() == "pg_catalog"
    }

    /// True for the built-in type with this `typname`.
    pub fn is(&self, typname: &str) -> bool {
        self.is_builtin() && self.name.as_str() == typname
    }
}

/// `typalign`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Align {
    /// 1 byte.
    Char,
    /// 2 bytes.
    Short,
    /// 4 bytes.
    Int,
    /// 8 bytes.
    Double,
}

/// `typtype`, arrays apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TypeKind {
    /// A base type.
    Base,
    /// An array.
    Array,
    /// An enum.
    Enum,
    /// A domain.
    Domain,
    /// A composite type.
    Composite,
    /// A range.
    Range,
    /// A multirange.
    Multirange,
    /// A pseudo-type; columns cannot have it.
    Pseudo,
}
