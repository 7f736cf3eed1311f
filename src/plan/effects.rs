//! Locks of every op, and how it is recognised as done.

use std::collections::BTreeSet;

use crate::catalog::{ColumnRef, GrantTarget, OwnerTarget, QualifiedName};
use crate::plan::{CommentTarget, CreatePolicy, End, Lock, Op, Plan, Renamed, SetRowSecurity};
use crate::projection::Projection;
use crate::sql::rewrite::referenced_table;

/// Before, GRANT locked no table.
const GRANT_LOCKS_SINCE: u32 = 18;

/// Locks that the op takes on tables, the strongest on each; `tests/locks.rs` compares with servers. A table that the op
/// creates is not among them: nobody can see it. On the target nobody else uses the tables before the switch.
pub fn locks(op: &Op, plan: &Plan) -> Vec<Lock> {
    match op {
        Op::GuardTruncate(op) => each(End::Source, &op.tables, "SHARE ROW EXCLUSIVE", "milliseconds"),
        Op::CreatePublication(op) => each(End::Source, &op.tables, "SHARE UPDATE EXCLUSIVE", "milliseconds"),
        Op::CreateSlot(_) => {
            let tables: Vec<_> = plan.sources().into_iter().cloned().collect();
            each(End::Source, &tables, "ACCESS SHARE", "until the slot's snapshot is released")
        }
        Op::CopyTable(op) => {
            let lock_source = |one: &Projection| lock(End::Source, &one.source, "ACCESS SHARE", "one chunk");
            let mut list: Vec<Lock> = plan.onto(&op.table).map(lock_source).collect();
            list.push(lock(End::Target, &op.table, "ROW EXCLUSIVE", "one chunk"));
            list
        }
        Op::StreamChanges(_) => {
            let tables: Vec<_> = plan.targets().into_iter().cloned().collect();
            each(End::Target, &tables, "ROW EXCLUSIVE", "one group of transactions")
        }
        Op::CreateIndex(op) => vec![lock(End::Target, &op.table, "SHARE", "the build; the stream waits")],
        Op::CreateStatistics(op) => vec![lock(End::Target, &op.table, "SHARE UPDATE EXCLUSIVE", "milliseconds")],
        Op::CreateView(op) => {
            // The rows come from the tables, whatever views are between.
            let is_locked = |table: &&QualifiedName| op.def.materialized.is_some() || op.reads.contains(table);
            let tables: Vec<_> = op.tables.iter().filter(is_locked).cloned().collect();
            let held = if op.def.materialized.is_some() { "one run of its query" } else { "milliseconds" };
            each(End::Target, &tables, "ACCESS SHARE", held)
        }
        Op::ClusterOn(op) => vec![lock(End::Target, &op.table, "SHARE UPDATE EXCLUSIVE", "milliseconds")],
        Op::SetReplicaIdentity(op) => vec![lock(End::Target, &op.table, "ACCESS EXCLUSIVE", "milliseconds")],
        Op::AddConstraint(op) => {
            let held = if op.not_valid { "milliseconds" } else { "one scan or index build; the stream waits" };
            let referenced = referenced_table(&op.definition);
            let mode = if referenced.is_some() { "SHARE ROW EXCLUSIVE" } else { "ACCESS EXCLUSIVE" };
            let tables = [Some(&op.table), referenced.as_ref().filter(|table| **table != op.table)];
            tables.into_iter().flatten().map(|table| lock(End::Target, table, mode, held)).collect()
        }
        Op::ValidateConstraint(op) => {
            let mut list = vec![lock(End::Target, &op.table, "SHARE UPDATE EXCLUSIVE", "one scan")];
            let referenced = op.references.iter().filter(|table| **table != op.table);
            list.extend(referenced.map(|table| lock(End::Target, table, "ROW SHARE", "one scan")));
            list
        }
        Op::CreateSequence(op) => {
            let owner = op.sequence.owned_by.iter().map(|owner| owner.table.clone()).collect::<Vec<_>>();
            each(End::Target, &owner, "ACCESS SHARE", "milliseconds")
        }
        Op::SetComment(op) => match &op.on {
            CommentTarget::Table(table) => vec![lock(End::Target, table, "SHARE UPDATE EXCLUSIVE", "milliseconds")],
            CommentTarget::Column(at) => vec![lock(End::Target, &at.table, "SHARE UPDATE EXCLUSIVE", "milliseconds")],
            CommentTarget::Constraint(at) => vec![lock(End::Target, &at.table, "ACCESS SHARE", "milliseconds")],
            CommentTarget::Index(_) | CommentTarget::Sequence(_) | CommentTarget::Statistics(_) => Vec::new(),
        },
        Op::AnalyzeTable(op) => {
            let held = if op.freeze { "one scan; the stream goes on" } else { "a sample of the table" };
            vec![lock(End::Target, &op.table, "SHARE UPDATE EXCLUSIVE", held)]
        }
        Op::VerifyTable(op) => {
            let lock_source = |one: &Projection| lock(End::Source, &one.source, "ACCESS SHARE", "one chunk");
            let mut list: Vec<Lock> = plan.onto(&op.table).map(lock_source).collect();
            list.push(lock(End::Target, &op.table, "ACCESS SHARE", "one chunk"));
            list
        }
        Op::CreateTrigger(op) => {
            vec![lock(End::Target, &op.table, "SHARE ROW EXCLUSIVE", "milliseconds; at most 200 ms of waiting")]
        }
        Op::CreatePolicy(CreatePolicy { table, .. }) | Op::SetRowSecurity(SetRowSecurity { table, .. }) => {
            vec![lock(End::Target, table, "ACCESS EXCLUSIVE", "milliseconds; at most 200 ms of waiting")]
        }
        Op::Grant(_) if plan.target.server.major() < GRANT_LOCKS_SINCE => Vec::new(),
        Op::Grant(op) => match &op.on {
            GrantTarget::Table(table) | GrantTarget::Column(ColumnRef { table, .. }) => {
                vec![lock(End::Target, table, "ACCESS SHARE", "milliseconds")]
            }
            GrantTarget::Schema(_) | GrantTarget::Sequence(_) => Vec::new(),
        },
        Op::SetOwner(op) => match &op.on {
            OwnerTarget::Table(table) => {
                let all: Vec<QualifiedName> = [table].into_iter().chain(&op.partitions).cloned().collect();
                each(End::Target, &all, "ACCESS EXCLUSIVE", "milliseconds; at most 200 ms of waiting")
            }
            OwnerTarget::Schema(_) | OwnerTarget::Sequence(_) => Vec::new(),
        },
        Op::Fence(op) => {
            each(End::Source, &op.tables, "SHARE ROW EXCLUSIVE", "milliseconds; at most 300 ms of waiting an attempt")
        }
        Op::VerifyFinal(op) => {
            let held = "inside the write pause";
            let mut seen = BTreeSet::new();
            let sources = op.tables.iter().flat_map(|table| plan.onto(table)).map(|one| &one.source);
            let sources: Vec<_> = sources.filter(|source| seen.insert(*source)).cloned().collect();
            let mut list = each(End::Source, &sources, "ACCESS SHARE", held);
            list.extend(each(End::Target, &op.tables, "ACCESS SHARE", held));
            list
        }
        Op::SetSequence(op) => {
            let tables: BTreeSet<QualifiedName> = op.columns.iter().map(|column| column.table.clone()).collect();
            each(End::Target, &tables.into_iter().collect::<Vec<_>>(), "ACCESS SHARE", "inside the write pause")
        }
        Op::SetDefault(op) => vec![lock(End::Target, &op.column.table, "ACCESS EXCLUSIVE", "milliseconds")],
        Op::PublishBack(op) => each(End::Target, &op.tables, "SHARE UPDATE EXCLUSIVE", "milliseconds"),
        Op::StreamBack(_) => {
            let tables = plan.back.iter().filter(|way| way.projection.is_some()).map(|way| way.to.clone());
            each(End::Source, &tables.collect::<Vec<_>>(), "ROW EXCLUSIVE", "one group of transactions")
        }
        Op::RenameSource(op) => {
            let tables: Vec<_> = op.tables.iter().map(|table| table.from.clone()).collect();
            each(End::Source, &tables, "ACCESS EXCLUSIVE", "milliseconds; at most 300 ms of waiting an attempt")
        }
        Op::DropFence(op) => each(End::Source, &op.tables, "ACCESS EXCLUSIVE", "milliseconds"),
        Op::CreateLedger(_)
        | Op::CreateSchema(_)
        | Op::CreateType(_)
        | Op::CreateTable(_)
        | Op::FreezeDefaults(_)
        | Op::CreateFunction(_)
        | Op::Drain(_)
        | Op::Switch(_)
        | Op::CreateBackSlot(_)
        | Op::ProbeBack(_)
        | Op::ArmBack(_)
        | Op::DropBackSlot(_)
        | Op::DropBackPublication(_)
        | Op::DropSlot(_)
        | Op::DropPublication(_) => Vec::new(),
    }
}

fn lock(on: End, object: &QualifiedName, mode: &str, held: &str) -> Lock {
    Lock { on, object: object.to_string(), mode: mode.to_owned(), held: held.to_owned() }
}

fn each(on: End, tables: &[QualifiedName], mode: &str, held: &str) -> Vec<Lock> {
    tables.iter().map(|table| lock(on, table, mode, held)).collect()
}

/// How a run that finds the step started decides whether it is done.
pub fn done_when(op: &Op, plan: &Plan) -> String {
    match op {
        Op::CreateLedger(_) => "the ledger has a progress row of this plan".to_owned(),
        Op::GuardTruncate(op) => format!("an ALWAYS trigger refuses TRUNCATE on {}", names(&op.tables)),
        Op::CreatePublication(op) => {
            format!("publication {} exists and holds exactly {}", op.publication, names(&op.tables))
        }
        Op::CreateSlot(op) => format!("slot {} exists and the ledger holds its snapshot and position", op.slot),
        Op::CreateSchema(op) => format!("schema {} exists", op.schema),
        Op::CreateType(op) => format!("type {} exists with exactly these parts", op.name),
        Op::CreateSequence(op) => format!("sequence {} exists with these options", op.name),
        Op::CreateTable(op) => match &op.partitioning {
            None => format!("table {} exists with exactly these columns and key", op.name),
            Some(_) => format!("table {} exists with exactly these columns, key and partitions", op.name),
        },
        Op::FreezeDefaults(op) => format!("the ledger holds a value for each frozen column of {}", op.table),
        Op::CopyTable(op) => {
            format!("the ledger's chunks cover every row of {} and the stream has passed the last one", op.table)
        }
        Op::StreamChanges(_) => "the fence has been drained".to_owned(),
        Op::CreateIndex(op) => format!("index {} on {} exists and is valid", op.name, op.table),
        Op::CreateStatistics(op) => format!("statistics {} of {} exist", op.name, op.table),
        Op::CreateView(op) => format!("view {} exists with this query", op.name),
        Op::ClusterOn(op) => format!("CLUSTER of {} takes index {}", op.table, op.index),
        Op::SetReplicaIdentity(op) => format!("the replica identity of {} is so", op.table),
        Op::AddConstraint(op) => format!("constraint {} on {} exists", op.name, op.table),
        Op::ValidateConstraint(op) => format!("constraint {} on {} is validated", op.name, op.table),
        Op::SetComment(_) => "the comment is this text".to_owned(),
        Op::AnalyzeTable(op) if op.freeze => format!("{} was vacuumed and analysed after its copy ended", op.table),
        Op::AnalyzeTable(op) => format!("{} was analysed after its copy ended", op.table),
        Op::VerifyTable(op) => format!("the ledger holds a clean comparison of every chunk of {}", op.table),
        Op::CreateFunction(op) => format!("function {}() exists with this body", op.name),
        Op::CreateTrigger(op) => format!("trigger {} on {} does this", op.name, op.table),
        Op::CreatePolicy(op) => format!("policy {} on {} does this", op.name, op.table),
        Op::SetRowSecurity(op) => format!("row security of {} is so", op.table),
        Op::SetOwner(op) => format!("it belongs to {}", op.owner),
        Op::Grant(op) => match &op.to {
            Some(role) => format!("{role} has these rights"),
            None => "everybody has these rights".to_owned(),
        },
        Op::Fence(_) if !plan.settings.cutover.fence.refuses() => {
            "the fence's row is there, and its lease runs".to_owned()
        }
        Op::Fence(op) => format!("the fence triggers stand on {} and their lease runs", names(&op.tables)),
        Op::Drain(_) => "the ledger's position is at or past the fence".to_owned(),
        Op::VerifyFinal(_) => "the ledger holds a clean final comparison of this fence".to_owned(),
        Op::SetSequence(op) => match &op.source {
            Some(source) => {
                let sources = names(&[std::slice::from_ref(source), op.further.as_slice()].concat());
                format!("{} is past {sources} and past every value in its columns", op.target)
            }
            None => format!("{} is past every value in its columns", op.target),
        },
        Op::SetDefault(op) => format!("{}.{} has this default", op.column.table, op.column.column),
        Op::Switch(_) => "the lease on the source is infinite".to_owned(),
        Op::RenameSource(op) => {
            let tables: Vec<_> = op.tables.iter().map(Renamed::renamed).collect();
            format!("the fenced tables are called {}", names(&tables))
        }
        Op::PublishBack(op) => {
            format!("publication {} exists on the target and holds exactly {}", op.publication, names(&op.tables))
        }
        Op::CreateBackSlot(op) => format!("slot {} exists on the target", op.slot),
        Op::ProbeBack(op) => format!("this executor has seen its message come back, and {} may write", op.user),
        Op::ArmBack(op) => format!("slot {} stands at or past the last change from the source", op.slot),
        Op::StreamBack(_) => "the operator has gone back, or has ended the way back".to_owned(),
        Op::DropBackSlot(op) => format!("no slot {} exists on the target", op.slot),
        Op::DropBackPublication(op) => format!("no publication {} exists on the target", op.publication),
        Op::DropSlot(op) => format!("no slot {} exists", op.slot),
        Op::DropPublication(op) => format!("no publication {} exists", op.publication),
        Op::DropFence(_) => {
            "the source's tables are dropped or opened by choice, and nothing of pcrd is left there".to_owned()
        }
    }
}

fn names(tables: &[QualifiedName]) -> String {
    tables.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
