//! The result of resolving: everything that `plan` needs and nothing that it must decide.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::{
    Firing, FunctionDef, GrantTarget, Ident, OwnerTarget, Partitioning, QualifiedName, ReplicaIdentity, Right,
    RowSecurity, SchemaRights, Sequence, Server, StatisticsDef, Table, TriggerDef, TypeDef, ViewDef,
};
use crate::projection::Projection;
use crate::resolve::{Check, Finding, NotCarried};

/// A desired schema made whole against both catalogs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// What the plan reads on the source.
    pub source: Extract,
    /// What already stands on the target where the plan wants to build.
    pub target: Extract,
    /// Schemas to create on the target.
    pub schemas: Vec<Ident>,
    /// The tables, in the order of the config.
    pub tables: Vec<ResolvedTable>,
    /// Sequences that go with them, identity sequences included.
    pub sequences: Vec<ResolvedSequence>,
    /// Statistics objects of the target.
    pub statistics: Vec<ResolvedStatistics>,
    /// Views of the target, each behind those that it reads.
    pub views: Vec<ResolvedView>,
    /// What else is said of the target's tables.
    pub marks: Vec<ResolvedMark>,
    /// Functions that they call and the target lacks.
    pub functions: BTreeMap<QualifiedName, FunctionDef>,
    /// Triggers of the target.
    pub triggers: Vec<ResolvedTrigger>,
    /// Policies of the target, and on which tables they hide rows.
    pub row_security: Vec<ResolvedRowSecurity>,
    /// To whom it all belongs, and who may use it.
    pub rights: ResolvedRights,
    /// What stays behind.
    pub not_carried: Vec<NotCarried>,
    /// Hazards, accepted or not.
    pub findings: Vec<Finding>,
    /// Validation queries.
    pub checks: Vec<Check>,
    /// What the user should know and no plan says.
    pub notes: Vec<String>,
}

/// The part of a catalog that a plan touches, without statistics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extract {
    /// The cluster and database.
    pub server: Server,
    /// Tables.
    pub tables: BTreeMap<QualifiedName, Arc<Table>>,
    /// Sequences.
    pub sequences: BTreeMap<QualifiedName, Sequence>,
    /// Owners and grants of the source's schemas.
    pub schemas: BTreeMap<Ident, SchemaRights>,
    /// Types of the source that the target lacks.
    pub types: BTreeMap<QualifiedName, TypeDef>,
    /// Functions of the source that the target lacks, as the server writes them.
    pub functions: BTreeMap<QualifiedName, String>,
    /// Views of the source that go along.
    pub views: BTreeMap<QualifiedName, SourceView>,
}

/// A view of the source, as far as the plan must know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceView {
    /// `pg_get_viewdef`, without its semicolon.
    pub definition: String,
    /// It is a materialized one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub materialized: bool,
    /// Options (`WITH`), sorted, as `name=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Owner.
    pub owner: Ident,
    /// Grants, as `pg_class.relacl` items, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<String>,
    /// Relations that it reads.
    pub reads: BTreeSet<QualifiedName>,
}

/// One table, before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedTable {
    /// Source table.
    pub source: QualifiedName,
    /// Target table.
    pub target: QualifiedName,
    /// The source goes into other targets too.
    pub split: bool,
    /// The target's whole structure; index and constraint definitions are SQL with the target's names.
    pub wanted: Table,
    /// What the source's structure becomes by changes of names and types alone, when the file gives the whole table:
    /// what differs from it is a change. `None` when only changes are given.
    pub carried: Option<Box<Table>>,
    /// True when the target's server has read `wanted`, and wrote its definitions.
    pub verified: bool,
    /// How rows are made.
    pub projection: Projection,
    /// Target names of the kept source columns.
    pub renames: BTreeMap<Ident, Ident>,
    /// Why each changed column's values survive, by target column.
    pub reasons: BTreeMap<Ident, String>,
    /// The index of the target by which rows are found; `None` without a key.
    pub key_index: Option<Ident>,
    /// Target columns whose default is attached at the cutover.
    pub late_defaults: BTreeSet<Ident>,
    /// Bytes per row before and after, by the tuple model.
    pub row_bytes: RowBytes,
    /// The target is vacuumed and frozen before the cutover.
    pub vacuum: bool,
    /// What reordering the target's columns for the least padding does to a row, when they were.
    pub packed: Option<RowBytes>,
    /// How the target is split, with its partitions.
    pub partitioning: Option<Partitioning>,
}

impl ResolvedTable {
    /// The name by which findings, changes and checks speak of the table: the source's, or the target's where the source
    /// goes into several.
    pub fn address(&self) -> &QualifiedName {
        if self.split { &self.target } else { &self.source }
    }
}

/// Bytes per row by the tuple model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RowBytes {
    /// On the source.
    pub before: u64,
    /// On the target.
    pub after: u64,
}

/// A sequence, before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedSequence {
    /// Source sequence; `None` when only the target has one.
    pub source: Option<QualifiedName>,
    /// Further source sequences: of a table with several sources.
    pub further: Vec<QualifiedName>,
    /// Target sequence.
    pub target: QualifiedName,
    /// Its options; `owned_by` and `used_by` name target columns.
    pub wanted: Sequence,
}

/// A statistics object of the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedStatistics {
    /// Target table.
    pub table: QualifiedName,
    /// Name.
    pub name: QualifiedName,
    /// What it does, with the target's names.
    pub def: StatisticsDef,
    /// Comment.
    pub comment: Option<String>,
}

/// A view of the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedView {
    /// Its name on the source.
    pub source: QualifiedName,
    /// Its name.
    pub name: QualifiedName,
    /// What it shows; the query is the source's until the target's server has read it.
    pub def: ViewDef,
    /// Tables and views of the target that it reads.
    pub reads: BTreeSet<QualifiedName>,
    /// Something that it reads has another name on the target, and the query still has the old ones: no plan can have it.
    pub is_unread: bool,
}

/// What is said of a table of the target, or of one of its indexes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResolvedMark {
    /// CLUSTER takes this index.
    Clustered {
        /// Target table.
        table: QualifiedName,
        /// One of its indexes.
        index: Ident,
    },
    /// Another replica identity than the default.
    Identity {
        /// Target table.
        table: QualifiedName,
        /// With the target's names.
        identity: ReplicaIdentity,
    },
}

/// A trigger of the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedTrigger {
    /// Target table.
    pub table: QualifiedName,
    /// Name, on both ends.
    pub name: Ident,
    /// What it does, with the target's names.
    pub def: TriggerDef,
    /// When it fires.
    pub firing: Firing,
}

/// Which rows of a table of the target are hidden, and from whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedRowSecurity {
    /// Target table.
    pub table: QualifiedName,
    /// As on every source of it, with the target's names.
    pub security: RowSecurity,
}

/// Owners and grants of the target.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResolvedRights {
    /// Owners, where they are not the role that makes the object.
    pub owners: Vec<ResolvedOwner>,
    /// Grants.
    pub grants: Vec<ResolvedGrant>,
}

impl ResolvedRights {
    /// Takes out what is about a table or view that is not made after all.
    pub fn leave_table(&mut self, name: &QualifiedName) {
        self.owners.retain(|one| !matches!(&one.on, OwnerTarget::Table(on) if on == name));
        self.grants.retain(|one| !matches!(&one.on, GrantTarget::Table(on) if on == name));
    }

    /// True when somebody gets the schema, or a right on it.
    pub fn is_on_schema(&self, schema: &Ident) -> bool {
        let owned = |one: &ResolvedOwner| matches!(&one.on, OwnerTarget::Schema(own) if own == schema);
        let granted = |one: &ResolvedGrant| matches!(&one.on, GrantTarget::Schema(own) if own == schema);
        self.owners.iter().any(owned) || self.grants.iter().any(granted)
    }
}

/// To whom an object is to belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedOwner {
    /// The object.
    pub on: OwnerTarget,
    /// The role.
    pub owner: Ident,
    /// Sequences that go along.
    pub sequences: Vec<QualifiedName>,
}

/// What a role is to have of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedGrant {
    /// The object.
    pub on: GrantTarget,
    /// The role; everybody when there is none.
    pub to: Option<Ident>,
    /// Rights, sorted.
    pub rights: Vec<Right>,
    /// Further rights, WITH GRANT OPTION, sorted.
    pub grantable: Vec<Right>,
}
