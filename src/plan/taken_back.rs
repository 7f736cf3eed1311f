//! What takes back what a step of an earlier plan has made, and the tables that it goes with.

use crate::catalog::{QualifiedName, ReplicaIdentity};
use crate::plan::adoption::tables_of;
use crate::plan::{CommentTarget, Op, Plan};
use crate::sql;

pub(super) fn taken_back(op: &Op) -> Option<String> {
    match op {
        Op::CreateIndex(op) => {
            let index = QualifiedName { schema: op.table.schema.clone(), name: op.name.clone() };
            Some(format!("DROP INDEX IF EXISTS {}", sql::name(&index)))
        }
        Op::AddConstraint(op) => {
            let table = sql::name(&op.table);
            Some(format!("ALTER TABLE IF EXISTS {table} DROP CONSTRAINT IF EXISTS {}", sql::ident(&op.name)))
        }
        Op::CreateStatistics(op) => Some(format!("DROP STATISTICS IF EXISTS {}", sql::name(&op.name))),
        Op::CreateView(op) => Some(sql::view::drop_if_there(&op.name, &op.def)),
        Op::ClusterOn(op) => Some(format!("ALTER TABLE IF EXISTS {} SET WITHOUT CLUSTER", sql::name(&op.table))),
        Op::SetReplicaIdentity(op) => Some(sql::ddl::replica_identity(&op.table, &ReplicaIdentity::Default)),
        Op::SetComment(op) => Some(sql::ddl::uncomment(&crate::plan::statements::comment_target(&op.on))),
        Op::SetDefault(op) => Some(sql::ddl::drop_default(&op.column)),
        _ => None,
    }
}

/// The target tables that what an op makes goes with.
pub(super) fn owners<'p>(plan: &'p Plan, op: &'p Op) -> Vec<&'p QualifiedName> {
    match op {
        Op::CreateSequence(create) => tables_of(create).collect(),
        Op::SetComment(comment) => match &comment.on {
            CommentTarget::Sequence(name) => {
                let created = plan.steps.iter().filter_map(|step| match &step.op {
                    Op::CreateSequence(create) if &create.name == name => Some(tables_of(create)),
                    _ => None,
                });
                let of_identity = plan.steps.iter().filter_map(|step| match &step.op {
                    Op::SetSequence(set) if &set.target == name => Some(set.columns.iter().map(|at| &at.table)),
                    _ => None,
                });
                created.flatten().chain(of_identity.flatten()).collect()
            }
            CommentTarget::Index(name) => {
                let made = |op: &'p Op| match op {
                    Op::CreateIndex(op) => (op.name == name.name).then_some(&op.table),
                    Op::AddConstraint(op) => (op.name == name.name).then_some(&op.table),
                    Op::CreateTable(op) => op.key.as_ref().filter(|key| key.name == name.name).map(|_| &op.name),
                    _ => None,
                };
                let tables = plan.steps.iter().filter_map(|step| made(&step.op));
                tables.filter(|table| table.schema == name.schema).collect()
            }
            CommentTarget::Statistics(name) => {
                let made = plan.steps.iter().filter_map(|step| match &step.op {
                    Op::CreateStatistics(op) if &op.name == name => Some(&op.table),
                    _ => None,
                });
                made.collect()
            }
            CommentTarget::Table(_) | CommentTarget::Column(_) | CommentTarget::Constraint(_) => {
                op.table().into_iter().collect()
            }
        },
        _ => op.table().into_iter().collect(),
    }
}
