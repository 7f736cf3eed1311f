//! The way back of a plan's tables: it follows from the plan itself, so that nobody can write another one into it.

use std::collections::BTreeMap;

use crate::catalog::{Ident, QualifiedName, Table};
use crate::plan::{
    Action, ArmBack, CreateBackSlot, CreateTable, DropBackPublication, DropBackSlot, Op, Plan, ProbeBack, PublishBack,
    Reverse, Settings, StreamBack,
};
use crate::projection::{Back, Forward, Projection, back};

/// How changes go back, table by table; nothing where that is not asked for.
pub(super) fn ways<'p>(plan: &'p Plan, ops: impl Iterator<Item = &'p Op> + Clone) -> Vec<Back> {
    if plan.settings.cutover.reverse.is_none() {
        return Vec::new();
    }
    let way = |(projection, address): (&Projection, &QualifiedName)| {
        let source = plan.source.tables.get(&projection.source)?;
        let created = created(ops.clone(), &projection.target)?;
        let kept = kept(plan, source, created, address);
        let by_primary_key = created.key.is_some() || ops.clone().any(|op| is_primary_key(op, &projection.target));
        Some(back(&Forward {
            projection,
            source,
            target: &created.columns,
            kept: &kept,
            is_split: plan.is_split(&projection.source),
            by_primary_key,
        }))
    };
    plan.projections.iter().zip(plan.addresses()).filter_map(way).collect()
}

/// The steps of the way back.
pub(super) fn ops(settings: &Settings, targets: &[QualifiedName]) -> Vec<Op> {
    let Some(Reverse { user }) = &settings.cutover.reverse else { return Vec::new() };
    let (slot, publication) = (settings.back_slot(), settings.back_publication());
    vec![
        Op::PublishBack(PublishBack { publication: publication.clone(), tables: targets.to_vec() }),
        Op::CreateBackSlot(CreateBackSlot { slot: slot.clone() }),
        Op::ProbeBack(ProbeBack { user: user.clone() }),
        Op::ArmBack(ArmBack { slot: slot.clone() }),
        Op::StreamBack(StreamBack { slot: slot.clone(), publication: publication.clone(), user: user.clone() }),
        Op::DropBackSlot(DropBackSlot { slot }),
        Op::DropBackPublication(DropBackPublication { publication }),
    ]
}

fn created<'p>(mut ops: impl Iterator<Item = &'p Op>, table: &QualifiedName) -> Option<&'p CreateTable> {
    ops.find_map(|op| match op {
        Op::CreateTable(create) if create.name == *table => Some(create),
        _ => None,
    })
}

fn is_primary_key(op: &Op, table: &QualifiedName) -> bool {
    match op {
        Op::AddConstraint(add) => add.table == *table && add.key && add.definition.starts_with("PRIMARY KEY"),
        _ => false,
    }
}

/// The target's name of each source column that no change drops.
fn kept(plan: &Plan, source: &Table, created: &CreateTable, address: &QualifiedName) -> BTreeMap<Ident, Ident> {
    let said = |action: Action, column: &Ident| {
        let at = format!("{address}.{column}");
        plan.changes.iter().find(move |change| change.action == action && change.address == at)
    };
    let columns = source.columns.iter().map(|column| &column.name);
    let columns = columns.filter(|column| said(Action::Drop, column).is_none());
    let name = |column: &Ident| match said(Action::Rename, column).and_then(|change| change.after.as_ref()) {
        None => Some(column.clone()),
        Some(after) => {
            created.columns.iter().map(|column| &column.name).find(|name| name.to_string() == *after).cloned()
        }
    };
    columns.filter_map(|column| Some((column.clone(), name(column)?))).collect()
}
