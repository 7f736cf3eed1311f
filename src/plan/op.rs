//! What a step can be: inert data, one payload struct each. Every match over [`Op`] names all of them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::{
    Column, Firing, FunctionDef, GrantTarget, Ident, Key, OwnerTarget, Partitioning, PolicyDef, QualifiedName,
    ReplicaIdentity, Right, Sequence, StatisticsDef, TriggerDef, TypeDef, ViewDef,
};

/// The kinds of steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Op {
    /// Creates the tables on the target that make progress atomic with the data.
    CreateLedger(CreateLedger),
    /// Refuses TRUNCATE of published tables on a PG 10 source, which does not decode it.
    GuardTruncate(GuardTruncate),
    /// Creates the publication, complete, before the slot.
    CreatePublication(CreatePublication),
    /// Creates the replication slot and records its snapshot.
    CreateSlot(CreateSlot),
    /// Creates a schema on the target.
    CreateSchema(CreateSchema),
    /// Creates a user-defined type on the target.
    CreateType(CreateType),
    /// Creates a sequence on the target.
    CreateSequence(CreateSequence),
    /// Creates a table on the target with its key.
    CreateTable(CreateTable),
    /// Evaluates defaults of added columns once and keeps the values in the ledger.
    FreezeDefaults(FreezeDefaults),
    /// Copies the rows, by chunks of the key or under the slot's snapshot.
    CopyTable(CopyTable),
    /// Applies the changes of all tables, from the first chunk to the fence.
    StreamChanges(StreamChanges),
    /// Builds an index.
    CreateIndex(CreateIndex),
    /// Creates a statistics object.
    CreateStatistics(CreateStatistics),
    /// Creates a view.
    CreateView(CreateView),
    /// Says which index CLUSTER takes.
    ClusterOn(ClusterOn),
    /// Says which columns of old rows the target's log has.
    SetReplicaIdentity(SetReplicaIdentity),
    /// Adds a constraint, NOT VALID where that is possible.
    AddConstraint(AddConstraint),
    /// Validates a constraint added NOT VALID.
    ValidateConstraint(ValidateConstraint),
    /// Sets a comment.
    SetComment(SetComment),
    /// Collects statistics, after a VACUUM where that is asked for.
    AnalyzeTable(AnalyzeTable),
    /// Compares all rows while the stream runs (V2).
    VerifyTable(VerifyTable),
    /// Creates a function on the target that triggers call.
    CreateFunction(CreateFunction),
    /// Creates a trigger on the target.
    CreateTrigger(CreateTrigger),
    /// Creates a policy on the target.
    CreatePolicy(CreatePolicy),
    /// Turns row security of a table of the target on.
    SetRowSecurity(SetRowSecurity),
    /// Gives an object to its owner.
    SetOwner(SetOwner),
    /// Grants rights to a role, or to everybody.
    Grant(Grant),
    /// Stops writes on the source, with a lease.
    Fence(Fence),
    /// Applies everything up to the fence.
    Drain(Drain),
    /// Compares the keys changed since their last verification (V3).
    VerifyFinal(VerifyFinal),
    /// Sets a target sequence past the source's.
    SetSequence(SetSequence),
    /// Attaches a default that was held back while rows were copied.
    SetDefault(SetDefault),
    /// Makes the fence permanent and opens the target.
    Switch(Switch),
    /// Gives the source's tables other names, so that whoever still reads them fails.
    RenameSource(RenameSource),
    /// Creates the publication on the target, complete, for the way back.
    PublishBack(PublishBack),
    /// Creates the slot on the target from which changes go back.
    CreateBackSlot(CreateBackSlot),
    /// Proves the way back before writes stop: a message of the target arrives, and the role may write.
    ProbeBack(ProbeBack),
    /// Moves the slot past everything that came from the source.
    ArmBack(ArmBack),
    /// Applies changes of the target to the source, from the switch until the operator ends it.
    StreamBack(StreamBack),
    /// Removes the slot on the target.
    DropBackSlot(DropBackSlot),
    /// Removes the publication on the target.
    DropBackPublication(DropBackPublication),
    /// Removes the slot (cleanup).
    DropSlot(DropSlot),
    /// Removes the publication (cleanup).
    DropPublication(DropPublication),
    /// Removes fence, guard and their schema from the source (cleanup).
    DropFence(DropFence),
}

macro_rules! payload {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident : $ty:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($(#[$field_doc])* pub $field: $ty),* }
    };
}

payload! { /// See [`Op::CreateLedger`].
CreateLedger {} }
payload! { /// See [`Op::GuardTruncate`].
GuardTruncate { /// Published tables and leaves.
    tables: Vec<QualifiedName> } }
payload! { /// See [`Op::CreatePublication`].
CreatePublication { /// Name.
    publication: Ident, /// Source tables, sorted.
    tables: Vec<QualifiedName> } }
payload! { /// See [`Op::CreateSlot`].
CreateSlot { /// Name.
    slot: Ident } }
payload! { /// See [`Op::CreateSchema`].
CreateSchema { /// Name.
    schema: Ident, /// The plan gives rights on it: one that is there already is somebody's, and is not given away.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    must_be_new: bool } }
payload! { /// See [`Op::CreateType`].
CreateType { /// Name, on both ends.
    name: QualifiedName, /// What it is, as on the source.
    def: TypeDef } }
payload! { /// See [`Op::CreateSequence`].
CreateSequence { /// Target name.
    name: QualifiedName, /// Options; `owned_by` and `used_by` name target columns.
    sequence: Sequence } }
payload! { /// See [`Op::CreateTable`].
CreateTable { /// Target name.
    name: QualifiedName, /// Columns in physical order. Defaults that `SetDefault` attaches later are absent here.
    columns: Vec<Column>, /// The key.
    key: Option<Key>, /// Options of identity sequences, by column.
    identities: std::collections::BTreeMap<Ident, Sequence>, /// Storage parameters.
    reloptions: Vec<String>, /// How it is split, with its partitions; they are created with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partitioning: Option<Partitioning> } }
payload! { /// See [`Op::FreezeDefaults`].
FreezeDefaults { /// Target table.
    table: QualifiedName, /// Columns with their defaults.
    columns: Vec<FrozenColumn> } }
payload! { /// A default to evaluate once.
FrozenColumn { /// Target column.
    column: Ident, /// Type (`format_type`).
    ty: String, /// The default.
    default: String } }
payload! { /// See [`Op::CopyTable`].
CopyTable { /// Target table: names the projection.
    table: QualifiedName } }
payload! { /// See [`Op::StreamChanges`].
StreamChanges { /// Slot.
    slot: Ident, /// Publication.
    publication: Ident } }
payload! { /// See [`Op::CreateIndex`].
CreateIndex { /// Target table.
    table: QualifiedName, /// Index name.
    name: Ident, /// The whole statement, rewritten for the target's names.
    statement: String, /// True for the index by which rows are found: built before the first row.
    key: bool } }
payload! { /// See [`Op::CreateStatistics`].
CreateStatistics { /// Target table.
    table: QualifiedName, /// Name.
    name: QualifiedName, /// What it does, with the target's names.
    def: StatisticsDef } }
payload! { /// See [`Op::CreateView`].
CreateView { /// Name.
    name: QualifiedName, /// Name on the source.
    source: QualifiedName, /// What it shows, with the target's names.
    def: ViewDef, /// Tables and views of the target that it reads, sorted.
    reads: Vec<QualifiedName>, /// Tables of the target whose rows it shows, itself or through other views, sorted.
    tables: Vec<QualifiedName> } }
payload! { /// See [`Op::ClusterOn`].
ClusterOn { /// Target table.
    table: QualifiedName, /// One of its indexes.
    index: Ident } }
payload! { /// See [`Op::SetReplicaIdentity`].
SetReplicaIdentity { /// Target table.
    table: QualifiedName, /// As on the source, with the target's names.
    identity: ReplicaIdentity } }
payload! { /// See [`Op::AddConstraint`].
AddConstraint { /// Target table.
    table: QualifiedName, /// Constraint name.
    name: Ident, /// Definition, rewritten for the target's names, without NOT VALID.
    definition: String, /// Add NOT VALID.
    not_valid: bool, /// True for the constraint by whose index rows are found: added before the first row.
    key: bool } }
payload! { /// See [`Op::ValidateConstraint`].
ValidateConstraint { /// Target table.
    table: QualifiedName, /// Constraint name.
    name: Ident, /// What a foreign key refers to: its rows are locked against removal while it is validated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    references: Option<QualifiedName> } }
payload! { /// See [`Op::SetComment`].
SetComment { /// What it is on.
    on: CommentTarget, /// The text.
    text: String } }
/// What a comment is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum CommentTarget {
    /// A table.
    Table(QualifiedName),
    /// A column.
    Column(crate::catalog::ColumnRef),
    /// An index.
    Index(QualifiedName),
    /// A constraint of a table.
    Constraint(crate::catalog::ColumnRef),
    /// A sequence.
    Sequence(QualifiedName),
    /// A statistics object.
    Statistics(QualifiedName),
}
payload! { /// See [`Op::AnalyzeTable`].
AnalyzeTable { /// Target table.
    table: QualifiedName, /// VACUUM (FREEZE) with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    freeze: bool } }
payload! { /// See [`Op::VerifyTable`].
VerifyTable { /// Target table: names the projection.
    table: QualifiedName } }
payload! { /// See [`Op::CreateFunction`].
CreateFunction { /// Name, on both ends. It has no arguments.
    name: QualifiedName, /// What it is, as on the source.
    def: FunctionDef } }
payload! { /// See [`Op::CreateTrigger`].
CreateTrigger { /// Target table.
    table: QualifiedName, /// Name, on both ends.
    name: Ident, /// What it does, with the target's names.
    def: TriggerDef, /// When it fires.
    firing: Firing } }
payload! { /// See [`Op::CreatePolicy`].
CreatePolicy { /// Target table.
    table: QualifiedName, /// Name, on both ends.
    name: Ident, /// What it does, with the target's names.
    def: PolicyDef } }
payload! { /// See [`Op::SetRowSecurity`].
SetRowSecurity { /// Target table.
    table: QualifiedName, /// ENABLE.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    enabled: bool, /// FORCE: for the owner too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    forced: bool } }
payload! { /// See [`Op::SetOwner`].
SetOwner { /// What.
    on: OwnerTarget, /// The role.
    owner: Ident, /// Sequences that go along.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sequences: Vec<QualifiedName>, /// Of a partitioned table: its partitions, which get the same owner.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    partitions: Vec<QualifiedName> } }
payload! { /// See [`Op::Grant`].
Grant { /// On what.
    on: GrantTarget, /// The role; everybody when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<Ident>, /// Rights.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rights: Vec<Right>, /// Further rights, WITH GRANT OPTION.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    grantable: Vec<Right> } }
payload! { /// See [`Op::Fence`].
Fence { /// Source tables and leaves, in lock order.
    tables: Vec<QualifiedName> } }
payload! { /// See [`Op::Drain`].
Drain { /// Slot.
    slot: Ident } }
payload! { /// See [`Op::VerifyFinal`].
VerifyFinal { /// Target tables.
    tables: Vec<QualifiedName> } }
payload! { /// See [`Op::SetSequence`].
SetSequence { /// Source sequence; without one the target's starts past the values in its columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<QualifiedName>, /// Further source sequences: of a table with several sources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    further: Vec<QualifiedName>, /// Target sequence.
    target: QualifiedName, /// Target columns that take values from it.
    columns: Vec<crate::catalog::ColumnRef>, /// Safety margin in steps of the increment.
    buffer: u64 } }
payload! { /// See [`Op::SetDefault`].
SetDefault { /// Target column.
    column: crate::catalog::ColumnRef, /// The default.
    default: String } }
payload! { /// See [`Op::Switch`].
Switch {} }
payload! { /// See [`Op::RenameSource`].
RenameSource { /// Source tables, sorted.
    tables: Vec<Renamed> } }
payload! { /// A table and its other name.
Renamed { /// Name that it has up to the switch.
    from: QualifiedName, /// Name after it, in the same schema.
    to: Ident } }
payload! { /// See [`Op::PublishBack`].
PublishBack { /// Name.
    publication: Ident, /// Target tables, sorted.
    tables: Vec<QualifiedName> } }
payload! { /// See [`Op::CreateBackSlot`].
CreateBackSlot { /// Name.
    slot: Ident } }
payload! { /// See [`Op::ProbeBack`].
ProbeBack { /// Role on the source.
    user: Ident } }
payload! { /// See [`Op::ArmBack`].
ArmBack { /// Slot.
    slot: Ident } }
payload! { /// See [`Op::StreamBack`].
StreamBack { /// Slot.
    slot: Ident, /// Publication.
    publication: Ident, /// Role on the source as which changes are written.
    user: Ident } }
payload! { /// See [`Op::DropBackSlot`].
DropBackSlot { /// Slot.
    slot: Ident } }
payload! { /// See [`Op::DropBackPublication`].
DropBackPublication { /// Publication.
    publication: Ident } }
payload! { /// See [`Op::DropSlot`].
DropSlot { /// Slot.
    slot: Ident } }
payload! { /// See [`Op::DropPublication`].
DropPublication { /// Publication.
    publication: Ident } }
payload! { /// See [`Op::DropFence`].
DropFence { /// Source tables and leaves.
    tables: Vec<QualifiedName> } }
