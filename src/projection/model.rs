//! The data of a projection.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::casts::CastClass;
use crate::catalog::{ColumnType, Ident, QualifiedName};

/// How the rows of one source table become rows of one target table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Projection {
    /// Source table.
    pub source: QualifiedName,
    /// Target table.
    pub target: QualifiedName,
    /// All published source columns (not generated), in physical order: what COPY may read and the stream delivers.
    pub source_columns: Vec<SourceColumn>,
    /// How rows are found again and how the table is cut into chunks.
    pub identity: RowIdentity,
    /// Wire format of COPY.
    pub format: CopyFormat,
    /// Why this format, for the reviewer.
    pub format_reason: String,
    /// Target columns in target order; generated ones left out (PostgreSQL computes them).
    pub columns: Vec<ProjectedColumn>,
    /// Columns that the target computes and the source has too, in target order: compared, never written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub computed: Vec<ComputedColumn>,
    /// Which rows; all when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    /// Set when the target has rows of other source tables too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// The source is partitioned: its rows are those of its partitions.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partitioned: bool,
    /// The target is partitioned: rows are found, changed and compared in its partitions.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub onto_partitions: bool,
}

/// A column that the target computes by itself from others, of the same type as what the source has in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ComputedColumn {
    /// Source column, generated or not.
    pub source: Ident,
    /// Target column.
    pub target: Ident,
    /// Type of both.
    pub ty: ColumnType,
}

/// Which rows of a target with several source tables come from this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The target column that tells the sources apart: NOT NULL, and in every unique index of the target.
    pub column: Ident,
    /// Its value in every row from here: the text of a constant of the column's type.
    pub value: String,
    /// In the first of the sources, the values of the others: it is the one that reports rows of none of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
}

/// A condition that a row of the source meets or does not: only TRUE meets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// An immutable boolean SQL expression over unqualified, quoted source columns.
    pub sql: String,
    /// Source columns that it reads.
    pub reads: Vec<Ident>,
}

/// A source column as the stream delivers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceColumn {
    /// Name.
    pub name: Ident,
    /// Type.
    pub ty: ColumnType,
}

/// How a row is found again, and by that how its table is copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RowIdentity {
    /// A key whose order pcrd knows: rows found and compared by key.
    OrderedKey {
        /// Source key columns in key order, with what they are compared as.
        source: Vec<KeyColumn>,
        /// Target key columns, in the same order.
        target: Vec<Ident>,
        /// In which order rows are copied.
        #[serde(default, skip_serializing_if = "CopyOrder::is_by_key")]
        copy: CopyOrder,
    },
    /// A key whose order only PostgreSQL knows: copied under the slot's snapshot, rows found by key.
    Key {
        /// Source key columns.
        source: Vec<Ident>,
        /// Target key columns, in the same order.
        target: Vec<Ident>,
        /// Why the key is not ordered by pcrd.
        reason: String,
    },
    /// No key: copied under the slot's snapshot, rows found by their whole image (REPLICA IDENTITY FULL).
    FullRow,
}

/// In which order the rows of a table with an ordered key are copied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum CopyOrder {
    /// In chunks of key ranges, each with its own short snapshot.
    #[default]
    ByKey,
    /// In ranges of blocks, under the slot's snapshot.
    ByBlocks {
        /// Why, for the reviewer.
        reason: String,
    },
}

impl CopyOrder {
    /// True for the default, which plans do not write.
    pub fn is_by_key(&self) -> bool {
        *self == Self::ByKey
    }
}

/// A key column and its order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyColumn {
    /// Source column.
    pub name: Ident,
    /// How values are compared.
    pub order: KeyOrder,
}

/// Orders that Rust reproduces exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyOrder {
    /// int2, int4, int8, oid.
    Int,
    /// false < true.
    Bool,
    /// Byte order of 16 bytes.
    Uuid,
    /// Byte order.
    Bytea,
    /// Days; infinities at the ends.
    Date,
    /// Microseconds without zone; infinities at the ends.
    Timestamp,
    /// Microseconds, delivered in UTC.
    Timestamptz,
    /// text or varchar under collation C or POSIX: byte order of the server encoding (UTF8 pinned).
    TextC,
}

/// Wire format of COPY.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CopyFormat {
    /// `FORMAT binary`.
    Binary,
    /// `FORMAT text`.
    Text,
}

/// One target column and where its value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectedColumn {
    /// Target column.
    pub target: Ident,
    /// Its type.
    pub ty: ColumnType,
    /// Where the value comes from.
    pub value: ColumnValue,
    /// What the change of type does.
    pub class: CastClass,
    /// The way back, where there is one: an expression over target columns, of the type of the source column that this one
    /// is the image of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inverse: Option<String>,
}

/// Where a target column's value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ColumnValue {
    /// An immutable SQL expression over unqualified, quoted source columns, already cast to the target type.
    Expr {
        /// The expression.
        sql: String,
        /// Source columns that it reads.
        reads: Vec<Ident>,
    },
    /// A default that is evaluated once, on the target, when apply starts (DEFAULT_FROZEN); the ledger keeps the value.
    Frozen {
        /// The default.
        default: String,
    },
}

impl Projection {
    /// By what a run knows the work of this projection: the target's name, or the source's where the target has several
    /// sources.
    pub fn task(&self) -> &QualifiedName {
        if self.part.is_some() { &self.source } else { &self.target }
    }

    /// What a partition of the source is called on a target with the same partitions: it goes with its table into another schema.
    pub fn partition_name(&self, partition: &QualifiedName) -> QualifiedName {
        if *partition == self.source {
            return self.target.clone();
        }
        let schema = if partition.schema == self.source.schema { &self.target.schema } else { &partition.schema };
        QualifiedName { schema: schema.clone(), name: partition.name.clone() }
    }

    /// The one source column that the value of a target column is made of; `None` where it is made of none, or of several.
    pub fn only_read(&self, column: &Ident) -> Option<&Ident> {
        match &self.columns.iter().find(|one| one.target == *column)?.value {
            ColumnValue::Expr { reads, .. } => match reads.as_slice() {
                [one] => Some(one),
                _ => None,
            },
            ColumnValue::Frozen { .. } => None,
        }
    }

    /// True when rows are copied in chunks of key ranges; all others are copied under the slot's snapshot.
    pub fn is_copied_by_key(&self) -> bool {
        matches!(&self.identity, RowIdentity::OrderedKey { copy: CopyOrder::ByKey, .. })
    }

    /// Names of the source key columns; empty without a key.
    pub fn source_key(&self) -> Vec<&Ident> {
        match &self.identity {
            RowIdentity::OrderedKey { source, .. } => source.iter().map(|column| &column.name).collect(),
            RowIdentity::Key { source, .. } => source.iter().collect(),
            RowIdentity::FullRow => Vec::new(),
        }
    }

    /// Names of the target key columns; empty without a key.
    pub fn target_key(&self) -> Vec<&Ident> {
        match &self.identity {
            RowIdentity::OrderedKey { target, .. } | RowIdentity::Key { target, .. } => target.iter().collect(),
            RowIdentity::FullRow => Vec::new(),
        }
    }
}
