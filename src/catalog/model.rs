//! Tables and what belongs to them, in the shape that `pg::introspect` fills and `plan` carries.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Column, Constraint, DefaultGrants, Fingerprint, Ident, Index, Policy, QualifiedName, Roles, SchemaRights,
    Statistics, Trigger, TriggerFunction, TypeDef, View,
};

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
    /// Roles; `None` when only some tables were read, or when the catalog was saved by a pcrd that did not look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Roles>,
    /// Owners and grants of the schemas; empty where `roles` is `None`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub schema_rights: BTreeMap<Ident, SchemaRights>,
    /// Default privileges, sorted; empty where `roles` is `None`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub default_grants: Vec<DefaultGrants>,
    /// Functions that a trigger can call; `None` when only some tables were read, or when the catalog was saved by a pcrd
    /// that did not look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger_functions: Option<BTreeMap<QualifiedName, TriggerFunction>>,
    /// Functions that a policy can call: `schema.name(types)`. `None` when only some tables were read, or when the catalog
    /// was saved by a pcrd that did not look; then it knows of no policies either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub functions: Option<BTreeSet<String>>,
    /// What views show; empty when only some tables were read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub views: BTreeMap<QualifiedName, View>,
    /// Objects of users that are not in the rest, sorted; none of extensions. Empty when only some tables were read.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub others: BTreeSet<Other>,
}

/// An object that is only listed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Other {
    /// `function`, `aggregate`, `operator`, `event trigger`, ….
    pub kind: String,
    /// Its schema; those of the database as a whole have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Ident>,
    /// Its whole name, as the server writes it.
    pub name: String,
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
    /// Tables, views, sequences and types that belong to it, sorted: they come and go with the extension.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<QualifiedName>,
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
    /// Statistics objects.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub statistics: BTreeMap<QualifiedName, Statistics>,
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
    /// Policies.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub policies: BTreeMap<Ident, Policy>,
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

pub(super) fn is_false(value: &bool) -> bool {
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
    /// Correlation between the order of each column's values and that of the rows on disk, by name, in parts per million
    /// (`pg_stats`); absent where the type has no order.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub correlation_ppm: BTreeMap<Ident, i32>,
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

    /// This table without statistics: what fingerprints and plans hold. Of a partitioned table without its partitions, which
    /// come and go.
    pub fn structure(&self) -> Self {
        let children = if self.kind == TableKind::Partitioned { Vec::new() } else { self.children.clone() };
        Self { stats: None, children, ..self.clone() }
    }

    /// Digest of the structure.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.structure())
    }
}
