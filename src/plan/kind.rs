//! What every op is called, and where it belongs.

use crate::catalog::{GrantTarget, Ident, OwnerTarget, QualifiedName};
use crate::plan::{CommentTarget, Op, Phase, StepId};

/// The kinds of ops without their payloads: what rules speak about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "one for one the variants of Op, which has the sentences")]
pub enum Kind {
    CreateLedger,
    GuardTruncate,
    CreatePublication,
    CreateSlot,
    CreateSchema,
    CreateType,
    CreateTable,
    CreateSequence,
    FreezeDefaults,
    CopyTable,
    StreamChanges,
    CreateIndex,
    CreateStatistics,
    CreateView,
    ClusterOn,
    SetReplicaIdentity,
    AddConstraint,
    ValidateConstraint,
    SetComment,
    AnalyzeTable,
    VerifyTable,
    CreateFunction,
    CreateTrigger,
    CreatePolicy,
    SetRowSecurity,
    SetOwner,
    Grant,
    Fence,
    Drain,
    VerifyFinal,
    SetSequence,
    SetDefault,
    Switch,
    RenameSource,
    PublishBack,
    CreateBackSlot,
    ProbeBack,
    ArmBack,
    StreamBack,
    DropBackSlot,
    DropBackPublication,
    DropFence,
    DropSlot,
    DropPublication,
}

impl Op {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::CreateLedger(_) => Kind::CreateLedger,
            Self::GuardTruncate(_) => Kind::GuardTruncate,
            Self::CreatePublication(_) => Kind::CreatePublication,
            Self::CreateSlot(_) => Kind::CreateSlot,
            Self::CreateSchema(_) => Kind::CreateSchema,
            Self::CreateType(_) => Kind::CreateType,
            Self::CreateTable(_) => Kind::CreateTable,
            Self::CreateSequence(_) => Kind::CreateSequence,
            Self::FreezeDefaults(_) => Kind::FreezeDefaults,
            Self::CopyTable(_) => Kind::CopyTable,
            Self::StreamChanges(_) => Kind::StreamChanges,
            Self::CreateIndex(_) => Kind::CreateIndex,
            Self::CreateStatistics(_) => Kind::CreateStatistics,
            Self::CreateView(_) => Kind::CreateView,
            Self::ClusterOn(_) => Kind::ClusterOn,
            Self::SetReplicaIdentity(_) => Kind::SetReplicaIdentity,
            Self::AddConstraint(_) => Kind::AddConstraint,
            Self::ValidateConstraint(_) => Kind::ValidateConstraint,
            Self::SetComment(_) => Kind::SetComment,
            Self::AnalyzeTable(_) => Kind::AnalyzeTable,
            Self::VerifyTable(_) => Kind::VerifyTable,
            Self::CreateFunction(_) => Kind::CreateFunction,
            Self::CreateTrigger(_) => Kind::CreateTrigger,
            Self::CreatePolicy(_) => Kind::CreatePolicy,
            Self::SetRowSecurity(_) => Kind::SetRowSecurity,
            Self::SetOwner(_) => Kind::SetOwner,
            Self::Grant(_) => Kind::Grant,
            Self::Fence(_) => Kind::Fence,
            Self::Drain(_) => Kind::Drain,
            Self::VerifyFinal(_) => Kind::VerifyFinal,
            Self::SetSequence(_) => Kind::SetSequence,
            Self::SetDefault(_) => Kind::SetDefault,
            Self::Switch(_) => Kind::Switch,
            Self::RenameSource(_) => Kind::RenameSource,
            Self::PublishBack(_) => Kind::PublishBack,
            Self::CreateBackSlot(_) => Kind::CreateBackSlot,
            Self::ProbeBack(_) => Kind::ProbeBack,
            Self::ArmBack(_) => Kind::ArmBack,
            Self::StreamBack(_) => Kind::StreamBack,
            Self::DropBackSlot(_) => Kind::DropBackSlot,
            Self::DropBackPublication(_) => Kind::DropBackPublication,
            Self::DropFence(_) => Kind::DropFence,
            Self::DropSlot(_) => Kind::DropSlot,
            Self::DropPublication(_) => Kind::DropPublication,
        }
    }

    /// Identity of a step that does this: kind and address, so that plans of different days can be compared.
    pub fn id(&self) -> StepId {
        let within = |table: &QualifiedName, name| format!("{table}.{name}");
        StepId(match self {
            Self::CreateLedger(_) => "create_ledger".to_owned(),
            Self::GuardTruncate(_) => "guard_truncate".to_owned(),
            Self::CreatePublication(op) => format!("create_publication:{}", op.publication),
            Self::CreateSlot(op) => format!("create_slot:{}", op.slot),
            Self::CreateSchema(op) => format!("create_schema:{}", op.schema),
            Self::CreateType(op) => format!("create_type:{}", op.name),
            Self::CreateTable(op) => format!("create_table:{}", op.name),
            Self::CreateSequence(op) => format!("create_sequence:{}", op.name),
            Self::FreezeDefaults(op) => format!("freeze_defaults:{}", op.table),
            Self::CopyTable(op) => format!("copy:{}", op.table),
            Self::StreamChanges(op) => format!("stream:{}", op.slot),
            Self::CreateIndex(op) => format!("create_index:{}", within(&op.table, &op.name)),
            Self::CreateStatistics(op) => format!("create_statistics:{}", op.name),
            Self::CreateView(op) => format!("create_view:{}", op.name),
            Self::ClusterOn(op) => format!("cluster_on:{}", op.table),
            Self::SetReplicaIdentity(op) => format!("set_replica_identity:{}", op.table),
            Self::AddConstraint(op) => format!("add_constraint:{}", within(&op.table, &op.name)),
            Self::ValidateConstraint(op) => format!("validate_constraint:{}", within(&op.table, &op.name)),
            Self::SetComment(op) => match &op.on {
                CommentTarget::Table(name) => format!("comment:table:{name}"),
                CommentTarget::Column(at) => format!("comment:column:{}", within(&at.table, &at.column)),
                CommentTarget::Index(name) => format!("comment:index:{name}"),
                CommentTarget::Constraint(at) => format!("comment:constraint:{}", within(&at.table, &at.column)),
                CommentTarget::Sequence(name) => format!("comment:sequence:{name}"),
                CommentTarget::Statistics(name) => format!("comment:statistics:{name}"),
            },
            Self::AnalyzeTable(op) if op.freeze => format!("vacuum:{}", op.table),
            Self::AnalyzeTable(op) => format!("analyze:{}", op.table),
            Self::VerifyTable(op) => format!("verify:{}", op.table),
            Self::CreateFunction(op) => format!("create_function:{}", op.name),
            Self::CreateTrigger(op) => format!("create_trigger:{}", within(&op.table, &op.name)),
            Self::CreatePolicy(op) => format!("create_policy:{}", within(&op.table, &op.name)),
            Self::SetRowSecurity(op) => format!("set_row_security:{}", op.table),
            Self::SetOwner(op) => match &op.on {
                OwnerTarget::Schema(name) => format!("set_owner:schema:{name}"),
                OwnerTarget::Table(name) => format!("set_owner:table:{name}"),
                OwnerTarget::Sequence(name) => format!("set_owner:sequence:{name}"),
            },
            Self::Grant(op) => {
                let to = grantee(op.to.as_ref());
                match &op.on {
                    GrantTarget::Schema(name) => format!("grant:schema:{name}:{to}"),
                    GrantTarget::Table(name) => format!("grant:table:{name}:{to}"),
                    GrantTarget::Column(at) => format!("grant:column:{}:{to}", within(&at.table, &at.column)),
                    GrantTarget::Sequence(name) => format!("grant:sequence:{name}:{to}"),
                }
            }
            Self::Fence(_) => "fence".to_owned(),
            Self::Drain(_) => "drain".to_owned(),
            Self::VerifyFinal(_) => "verify_final".to_owned(),
            Self::SetSequence(op) => format!("set_sequence:{}", op.target),
            Self::SetDefault(op) => format!("set_default:{}", within(&op.column.table, &op.column.column)),
            Self::Switch(_) => "switch".to_owned(),
            Self::RenameSource(_) => "rename_source".to_owned(),
            Self::PublishBack(op) => format!("publish_back:{}", op.publication),
            Self::CreateBackSlot(op) => format!("create_back_slot:{}", op.slot),
            Self::ProbeBack(_) => "probe_back".to_owned(),
            Self::ArmBack(_) => "arm_back".to_owned(),
            Self::StreamBack(op) => format!("stream_back:{}", op.slot),
            Self::DropBackSlot(op) => format!("drop_back_slot:{}", op.slot),
            Self::DropBackPublication(op) => format!("drop_back_publication:{}", op.publication),
            Self::DropFence(_) => "drop_fence".to_owned(),
            Self::DropSlot(op) => format!("drop_slot:{}", op.slot),
            Self::DropPublication(op) => format!("drop_publication:{}", op.publication),
        })
    }

    /// The phase that it belongs to.
    pub fn phase(&self) -> Phase {
        match self {
            Self::CreateLedger(_) | Self::GuardTruncate(_) | Self::CreatePublication(_) | Self::CreateSlot(_) => {
                Phase::Prepare
            }
            Self::CreateSchema(_)
            | Self::CreateType(_)
            | Self::CreateTable(_)
            | Self::CreateSequence(_)
            | Self::FreezeDefaults(_) => Phase::Schema,
            Self::CopyTable(_) | Self::StreamChanges(_) => Phase::Copy,
            Self::CreateIndex(op) => key_phase(op.key),
            Self::AddConstraint(op) => key_phase(op.key),
            Self::CreateStatistics(_)
            | Self::CreateView(_)
            | Self::ClusterOn(_)
            | Self::SetReplicaIdentity(_)
            | Self::ValidateConstraint(_)
            | Self::SetComment(_)
            | Self::AnalyzeTable(_) => Phase::Catchup,
            Self::VerifyTable(_) => Phase::Verify,
            Self::PublishBack(_)
            | Self::CreateBackSlot(_)
            | Self::ProbeBack(_)
            | Self::CreateFunction(_)
            | Self::CreateTrigger(_)
            | Self::CreatePolicy(_)
            | Self::SetRowSecurity(_)
            | Self::SetOwner(_)
            | Self::Grant(_)
            | Self::Fence(_)
            | Self::Drain(_)
            | Self::VerifyFinal(_)
            | Self::SetSequence(_)
            | Self::SetDefault(_)
            | Self::ArmBack(_)
            | Self::Switch(_)
            | Self::RenameSource(_) => Phase::Cutover,
            Self::StreamBack(_) => Phase::Reverse,
            Self::DropBackSlot(_)
            | Self::DropBackPublication(_)
            | Self::DropFence(_)
            | Self::DropSlot(_)
            | Self::DropPublication(_) => Phase::Cleanup,
        }
    }

    /// The target table that it works on alone, if there is one.
    pub fn table(&self) -> Option<&QualifiedName> {
        match self {
            Self::CreateTable(op) => Some(&op.name),
            Self::FreezeDefaults(op) => Some(&op.table),
            Self::CopyTable(op) => Some(&op.table),
            Self::CreateIndex(op) => Some(&op.table),
            Self::CreateStatistics(op) => Some(&op.table),
            Self::ClusterOn(op) => Some(&op.table),
            Self::SetReplicaIdentity(op) => Some(&op.table),
            Self::AddConstraint(op) => Some(&op.table),
            Self::ValidateConstraint(op) => Some(&op.table),
            Self::AnalyzeTable(op) => Some(&op.table),
            Self::VerifyTable(op) => Some(&op.table),
            Self::CreateTrigger(op) => Some(&op.table),
            Self::CreatePolicy(op) => Some(&op.table),
            Self::SetRowSecurity(op) => Some(&op.table),
            Self::SetDefault(op) => Some(&op.column.table),
            Self::SetComment(op) => match &op.on {
                CommentTarget::Table(name) => Some(name),
                CommentTarget::Column(at) | CommentTarget::Constraint(at) => Some(&at.table),
                CommentTarget::Index(_) | CommentTarget::Sequence(_) | CommentTarget::Statistics(_) => None,
            },
            Self::SetOwner(op) => match &op.on {
                OwnerTarget::Table(name) => Some(name),
                OwnerTarget::Schema(_) | OwnerTarget::Sequence(_) => None,
            },
            Self::Grant(op) => match &op.on {
                GrantTarget::Table(name) => Some(name),
                GrantTarget::Column(at) => Some(&at.table),
                GrantTarget::Schema(_) | GrantTarget::Sequence(_) => None,
            },
            Self::CreateLedger(_)
            | Self::GuardTruncate(_)
            | Self::CreatePublication(_)
            | Self::CreateSlot(_)
            | Self::CreateSchema(_)
            | Self::CreateType(_)
            | Self::CreateSequence(_)
            | Self::StreamChanges(_)
            | Self::CreateView(_)
            | Self::CreateFunction(_)
            | Self::Fence(_)
            | Self::Drain(_)
            | Self::VerifyFinal(_)
            | Self::SetSequence(_)
            | Self::Switch(_)
            | Self::RenameSource(_)
            | Self::PublishBack(_)
            | Self::CreateBackSlot(_)
            | Self::ProbeBack(_)
            | Self::ArmBack(_)
            | Self::StreamBack(_)
            | Self::DropBackSlot(_)
            | Self::DropBackPublication(_)
            | Self::DropFence(_)
            | Self::DropSlot(_)
            | Self::DropPublication(_) => None,
        }
    }
}

impl Op {
    /// True when it builds the index by which rows are found.
    pub fn builds_key(&self) -> bool {
        let index = matches!(self, Self::CreateIndex(op) if op.key);
        index || matches!(self, Self::AddConstraint(op) if op.key)
    }

    /// True for a step that makes the target somebody else's: behind the permanent fence, all of them in one transaction.
    pub fn gives(&self) -> bool {
        matches!(
            self,
            Self::CreateFunction(_)
                | Self::CreateTrigger(_)
                | Self::CreatePolicy(_)
                | Self::SetRowSecurity(_)
                | Self::SetOwner(_)
                | Self::Grant(_)
        )
    }

    /// True for a step that moves rows safely: which of these a plan has follows from its tables, settings and servers.
    pub fn is_protocol(&self) -> bool {
        match self {
            Self::CreateLedger(_)
            | Self::GuardTruncate(_)
            | Self::CreatePublication(_)
            | Self::CreateSlot(_)
            | Self::FreezeDefaults(_)
            | Self::CopyTable(_)
            | Self::StreamChanges(_)
            | Self::AnalyzeTable(_)
            | Self::VerifyTable(_)
            | Self::Fence(_)
            | Self::Drain(_)
            | Self::VerifyFinal(_)
            | Self::Switch(_)
            | Self::RenameSource(_)
            | Self::PublishBack(_)
            | Self::CreateBackSlot(_)
            | Self::ProbeBack(_)
            | Self::ArmBack(_)
            | Self::StreamBack(_)
            | Self::DropBackSlot(_)
            | Self::DropBackPublication(_)
            | Self::DropSlot(_)
            | Self::DropPublication(_)
            | Self::DropFence(_) => true,
            Self::CreateSchema(_)
            | Self::CreateType(_)
            | Self::CreateTable(_)
            | Self::CreateSequence(_)
            | Self::CreateIndex(_)
            | Self::CreateStatistics(_)
            | Self::CreateView(_)
            | Self::ClusterOn(_)
            | Self::SetReplicaIdentity(_)
            | Self::AddConstraint(_)
            | Self::ValidateConstraint(_)
            | Self::SetComment(_)
            | Self::CreateFunction(_)
            | Self::CreateTrigger(_)
            | Self::CreatePolicy(_)
            | Self::SetRowSecurity(_)
            | Self::SetOwner(_)
            | Self::Grant(_)
            | Self::SetSequence(_)
            | Self::SetDefault(_) => false,
        }
    }
}

fn key_phase(key: bool) -> Phase {
    if key { Phase::Schema } else { Phase::Catchup }
}

/// No role has this name: PostgreSQL keeps it for itself, in quotes or without.
fn grantee(to: Option<&Ident>) -> String {
    to.map_or_else(|| "public".to_owned(), ToString::to_string)
}
