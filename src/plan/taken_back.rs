//! What undoes a step of an earlier plan, and which tables it belongs to.

use crate::catalog::{GrantTarget, OwnerTarget, QualifiedName};
use crate::plan::{CommentTarget, CreateSequence, Grant, Op, Plan, SetOwner};
use crate::sql;

/// The statement that takes back what an op did to a table that stays, when there is one.
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
        Op::SetComment(op) => Some(sql::ddl::uncomment(&crate::plan::statements::comment_target(&op.on))),
        Op::SetDefault(op) => Some(sql::ddl::drop_default(&op.column)),
        Op::SetOwner(op) if !matches!(op.on, OwnerTarget::Schema(_)) => Some(sql::rights::take_back(&op.on)),
        // What was there before the run is not told apart: rights on a schema alone give no rows away.
        Op::Grant(op) if !matches!(op.on, GrantTarget::Schema(_)) => {
            let rights: Vec<_> = op.rights.iter().chain(&op.grantable).copied().collect();
            Some(sql::rights::revoke(&op.on, op.to.as_ref(), &rights))
        }
        _ => None,
    }
}

/// The target tables that what an op makes goes with.
pub(super) fn owners<'p>(plan: &'p Plan, op: &'p Op) -> Vec<&'p QualifiedName> {
    match op {
        Op::CreateSequence(create) => tables_of(create).collect(),
        Op::SetComment(comment) => match &comment.on {
            CommentTarget::Sequence(name) => of_sequence(plan, name),
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
            CommentTarget::Table(_) | CommentTarget::Column(_) | CommentTarget::Constraint(_) => {
                op.table().into_iter().collect()
            }
        },
        Op::Grant(Grant { on: GrantTarget::Sequence(name), .. })
        | Op::SetOwner(SetOwner { on: OwnerTarget::Sequence(name), .. }) => of_sequence(plan, name),
        _ => op.table().into_iter().collect(),
    }
}

fn of_sequence<'p>(plan: &'p Plan, name: &QualifiedName) -> Vec<&'p QualifiedName> {
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

/// The tables that a sequence counts for.
pub(super) fn tables_of(create: &CreateSequence) -> impl Iterator<Item = &QualifiedName> {
    create.sequence.used_by.iter().chain(&create.sequence.owned_by).map(|at| &at.table)
}
