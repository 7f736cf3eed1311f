//! Tables and what belongs to them, in the shape that `pg::introspect` fills and `plan` carries.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Fingerprint, Ident, QualifiedName};

/// What one database holds, as far as pcrd must know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// The cluster and database.
    pub server: Server,
    /// Schemas that exist (system schemas left out).
    pub schemas: Vec<Ident>,
    /// Installed extensions.
    pub extensions: BTreeMap<Ident, Extension>,
    /// User-defined types.
    pub types: BTreeMap<QualifiedName, TypeDef>,
    /// Tables of every kind, and partitions.
    pub tables: BTreeMap<QualifiedName, Table>,
    /// Sequences, owned or not.
    pub sequences: BTreeMap<QualifiedName, Sequence>,
    /// Views, functions, rules, policies and the like that depend on a table; listed, not carried.
    pub dependents: Vec<Dependent>,
}

/// Identity and settings of a cluster that decide whether values mean the same on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// `pg_control_system().system_identifier`, decimal.
    pub system_identifier: String,
    /// Database name.
    pub database: String,
    /// Database oid.
    pub database_oid: u32,
    /// `server_version_num`, for example 150018.
    pub version_num: u32,
    /// Server encoding of the database, for example `UTF8`.
    pub encoding: String,
    /// `datcollate`.
    pub collate: String,
    /// `datctype`.
    pub ctype: String,
}

impl Server {
    /// The major version: 10 to 18.
    pub fn major(&self) -> u32 {
        self.version_num / 10_000
    }
}

/// An installed extension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Extension {
    /// `extversion`.
    pub version: String,
    /// Schema of its objects.
    pub schema: Ident,
}

/// A user-defined type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TypeDef {
    /// Labels in sort order.
    Enum(Vec<String>),
    /// Base type as `format_type` writes it, NOT NULL, and CHECK constraints (name → definition).
    Domain {
        /// `format_type` of the base type.
        base: String,
        /// NOT NULL.
        not_null: bool,
        /// CHECK constraints by name.
        checks: BTreeMap<Ident, String>,
    },
    /// Attributes: name and `format_type`.
    Composite(Vec<(Ident, String)>),
    /// Subtype as `format_type` writes it.
    Range(String),
    /// A base type that an extension or C code brings.
    Base,
}

/// What `pg_class.relkind` says of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TableKind {
    /// An ordinary table (relkind `r`), also when it is a partition.
    Table,
    /// A partitioned table (relkind `p`).
    Partitioned,
    /// A foreign table.
    Foreign,
    /// A view.
    View,
    /// A materialised view.
    MaterializedView,
}

/// `pg_class.relpersistence`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Persistence {
    /// Logged.
    Permanent,
    /// Not logged: logical decoding does not see it.
    Unlogged,
    /// Temporary.
    Temporary,
}

/// A table. Everything here is structure and part of the fingerprint, except `stats`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Its kind.
    pub kind: TableKind,
    /// Its persistence.
    pub persistence: Persistence,
    /// Columns in physical order, dropped ones left out.
    pub columns: Vec<Column>,
    /// The primary key, when there is one. Also listed in `indexes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_key: Option<Key>,
    /// Replica identity.
    pub replica_identity: ReplicaIdentity,
    /// All indexes, those behind constraints too.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub indexes: BTreeMap<Ident, Index>,
    /// Constraints other than NOT NULL.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub constraints: BTreeMap<Ident, Constraint>,
    /// User triggers: name and `pg_get_triggerdef`, with the enabled state in front (`O`, `A`, `R`, `D`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub triggers: BTreeMap<Ident, Trigger>,
    /// Parents by inheritance or partitioning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<QualifiedName>,
    /// Children by inheritance or partitioning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<QualifiedName>,
    /// `pg_get_partkeydef` of a partitioned table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_key: Option<String>,
    /// `relpartbound` of a partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_bound: Option<String>,
    /// Row-level security: enabled, forced.
    #[serde(default, skip_serializing_if = "is_false")]
    pub row_security: bool,
    /// Row-level security also for the owner.
    #[serde(default, skip_serializing_if = "is_false")]
    pub row_security_forced: bool,
    /// Storage parameters, sorted, as `name=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reloptions: Vec<String>,
    /// Owner.
    pub owner: Ident,
    /// Grants of the table, as `pg_class.relacl` items, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<String>,
    /// Comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// True when a subscription on this server writes the table (`pg_subscription_rel`).
    #[serde(default, skip_serializing_if = "is_false")]
    pub subscribed: bool,
    /// Statistics: not structure, left out of plans and fingerprints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<Stats>,
}

fn is_false(value: &bool) -> bool {
    !*value
}

/// Sizes for people and for scheduling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stats {
    /// `reltuples`; `None` when the table was never analysed.
    pub rows_estimate: Option<u64>,
    /// Bytes of the heap and its TOAST table.
    pub table_bytes: u64,
    /// Bytes of all indexes.
    pub index_bytes: u64,
    /// Average width of each column in bytes by column name (`pg_stats`).
    pub column_widths: BTreeMap<Ident, u32>,
    /// Fraction of NULLs of each column by name, in parts per million (`pg_stats`).
    pub null_ppm: BTreeMap<Ident, u32>,
}

/// The key of a table: key columns apart from INCLUDE columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Constraint (and index) name.
    pub name: Ident,
    /// Key columns in key order.
    pub columns: Vec<Ident>,
    /// INCLUDE columns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<Ident>,
    /// DEFERRABLE keys are neither arbiter nor replica identity.
    #[serde(default, skip_serializing_if = "is_false")]
    pub deferrable: bool,
}

/// `pg_class.relreplident`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplicaIdentity {
    /// The primary key, if any.
    Default,
    /// The named unique index.
    Index(Ident),
    /// Whole rows.
    Full,
    /// Nothing: UPDATE and DELETE cannot be published.
    Nothing,
}

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
    pub identity: Option<Identity>,
    /// GENERATED ALWAYS AS (expr).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated: Option<Generated>,
    /// Collation, when it is not the type's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collation: Option<QualifiedName>,
    /// `attstorage`: p, e, m, x. `None` when it is the type's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// `attcompression` (PG 14+), when set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// Comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Column grants (`attacl` items, sorted).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<String>,
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

/// A user trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    /// `pg_get_triggerdef`.
    pub definition: String,
    /// `tgenabled`: O origin, A always, R replica, D disabled.
    pub enabled: char,
}

/// A sequence with every option.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sequence {
    /// Type of its values: smallint, integer or bigint.
    pub ty: String,
    /// START WITH.
    pub start: i64,
    /// INCREMENT BY.
    pub increment: i64,
    /// MINVALUE.
    pub min: i64,
    /// MAXVALUE.
    pub max: i64,
    /// CACHE.
    pub cache: i64,
    /// CYCLE.
    pub cycle: bool,
    /// Column that owns it (OWNED BY, serial, identity).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owned_by: Option<ColumnRef>,
    /// Columns whose DEFAULT calls it, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub used_by: Vec<ColumnRef>,
    /// True for the sequence behind an identity column.
    #[serde(default, skip_serializing_if = "is_false")]
    pub identity: bool,
    /// Owner.
    pub owner: Ident,
    /// Grants, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<String>,
    /// Comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColumnRef {
    /// Table.
    pub table: QualifiedName,
    /// Column.
    pub column: Ident,
}

/// An object that depends on a table and is not carried.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dependent {
    /// `view`, `materialized view`, `rule`, `policy`, `function`, `statistics`, `publication`, ….
    pub kind: String,
    /// Its name as `pg_describe_object` or a qualified name gives it.
    pub name: String,
    /// The table it depends on.
    pub table: QualifiedName,
}

impl Table {
    /// The column with this name.
    pub fn column(&self, name: &Ident) -> Option<&Column> {
        self.columns.iter().find(|column| &column.name == name)
    }

    /// This table without statistics: what fingerprints and plans hold.
    pub fn structure(&self) -> Self {
        Self { stats: None, ..self.clone() }
    }

    /// Digest of the structure.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.structure())
    }
}
