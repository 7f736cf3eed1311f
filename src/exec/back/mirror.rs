//! The run in a mirror: its source is the target, its target the source as the role of the way back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::catalog::{Column, ColumnRef, Fingerprint, QualifiedName, Sequence, Table};
use crate::exec::ExecError;
use crate::exec::context::Run;
use crate::exec::identity::Identities;
use crate::exec::table::{BackTable, TableTask, tasks};
use crate::ledger::skipped;
use crate::pg::client::Client;
use crate::pg::introspect;
use crate::plan::{CreatePublication, CreateTable, Cutover, Fence, OnDdl, Op, Plan, SetSequence, Side, Step};
use crate::sql::rewrite::sequences_named;

/// The mirrored run's name in the ledger and in fences.
pub fn id(id: &str) -> String {
    format!("{id}/back")
}

/// Looks into the mirror: the run, and its tables that have a way back. Its epoch is that of the source's ledger, once it is
/// taken over. `target` is an open connection to the target.
pub(super) async fn mirror(run: &Run, target: &Client) -> Result<(Run, Vec<TableTask>), ExecError> {
    let Some(info) = run.back.clone() else {
        let reason = "the config names no role for the way back".to_owned();
        return Err(ExecError::Step { step: "stream_back".to_owned(), reason });
    };
    let names: Vec<QualifiedName> = run.plan.targets().into_iter().cloned().collect();
    let found = introspect::tables(target, &names).await?;
    let tables = found.tables.iter().map(|(name, table)| (name.clone(), Arc::new(table.structure()))).collect();
    let mut plan = plan(&run.plan, tables);
    // What is gone is told where the tables are looked at: a rollback that was decided does not need them.
    plan.projections.retain(|way| plan.source.tables.contains_key(&way.source));
    let mut tasks = tasks(&plan)?;
    let skipped = skipped::all(target, &run.id).await?;
    for task in &mut tasks {
        task.read_published(target).await?;
        let has_others = run.plan.onto(task.source_name()).any(|one| {
            let name = one.task().to_string();
            one.filter.is_some() || skipped.iter().any(|entry| entry.table == name && entry.met_at.is_some())
        });
        task.back = Some(BackTable { has_others });
    }
    let mut mirrored = Run::new(plan, run.target.clone(), info, run.events.clone(), run.shutdown.clone());
    mirrored.identities =
        run.identities.clone().map(|identities| Identities { source: identities.target, target: identities.source });
    mirrored.holds = run.holds.clone();
    mirrored.is_mirrored = true;
    Ok((mirrored, tasks))
}

fn plan(plan: &Plan, tables: BTreeMap<QualifiedName, Arc<Table>>) -> Plan {
    let mut settings = plan.settings.clone();
    settings.slot = plan.settings.back_slot();
    settings.publication = plan.settings.back_publication();
    settings.cutover = Cutover::default();
    settings.on_ddl = OnDdl::Stop;
    Plan {
        id: Fingerprint(id(&plan.id.0)),
        source: Side { tables, sequences: sequences(plan), ..plan.target.clone() },
        target: plan.source.clone(),
        settings,
        changes: Vec::new(),
        projections: plan.back.iter().filter_map(|way| way.projection.clone()).collect(),
        back: Vec::new(),
        not_carried: Vec::new(),
        findings: Vec::new(),
        checks: Vec::new(),
        steps: ops(plan).into_iter().map(step).collect(),
        ..plan.clone()
    }
}

/// Sequences of the target that go on from one of the source, with its options.
fn sequences(plan: &Plan) -> BTreeMap<QualifiedName, Sequence> {
    let pair = |step: &Step| match &step.op {
        Op::SetSequence(set) => Some((set.target.clone(), plan.source.sequences.get(set.source.as_ref()?)?.clone())),
        _ => None,
    };
    plan.steps.iter().filter_map(pair).collect()
}

/// What the executor asks of the plan besides its projections.
fn ops(plan: &Plan) -> Vec<Op> {
    let mut targets: Vec<QualifiedName> = plan.targets().into_iter().cloned().collect();
    targets.sort();
    let publication = plan.settings.back_publication();
    let mut ops = vec![
        Op::CreatePublication(CreatePublication { publication, tables: targets.clone() }),
        Op::Fence(Fence { tables: targets }),
    ];
    ops.extend(plan.source.tables.iter().map(|(name, table)| {
        Op::CreateTable(CreateTable {
            name: name.clone(),
            columns: table.columns.clone(),
            key: table.primary_key.clone(),
            identities: BTreeMap::new(),
            reloptions: Vec::new(),
            partitioning: None,
        })
    }));
    let back = |step: &Step| match &step.op {
        Op::SetSequence(set) => {
            let source = set.source.clone().filter(|_| set.further.is_empty())?;
            let known = plan.source.sequences.get(&source)?;
            let columns = known.used_by.iter().chain(&known.owned_by);
            let columns = columns.filter(|column| plan.source.tables.contains_key(&column.table)).cloned();
            let mut columns: Vec<_> = columns.collect();
            columns.sort();
            columns.dedup();
            Some(Op::SetSequence(SetSequence {
                source: Some(set.target.clone()),
                further: Vec::new(),
                target: source,
                columns,
                buffer: set.buffer,
            }))
        }
        _ => None,
    };
    ops.extend(plan.steps.iter().filter_map(back));
    let paired: BTreeSet<QualifiedName> = ops
        .iter()
        .filter_map(|op| if let Op::SetSequence(set) = op { Some(set.target.clone()) } else { None })
        .collect();
    let others = unpaired(plan).into_iter().filter(|(name, _)| !paired.contains(name));
    ops.extend(others.map(|(target, columns)| {
        let (source, further, buffer) = (None, Vec::new(), plan.settings.sequence_buffer);
        Op::SetSequence(SetSequence { source, further, target, columns, buffer })
    }));
    ops
}

/// Sequences of the source for columns that the target writes, with those columns: also where nothing on the target goes on
/// from them, and the values come from elsewhere.
fn unpaired(plan: &Plan) -> BTreeMap<QualifiedName, Vec<ColumnRef>> {
    let mut found: BTreeMap<QualifiedName, Vec<ColumnRef>> = BTreeMap::new();
    for way in &plan.back {
        let (Some(projection), Some(table)) = (&way.projection, plan.source.tables.get(&way.to)) else { continue };
        let is_written = |one: &&Column| projection.columns.iter().any(|to| to.target == one.name);
        // What is made of a number is none that a sequence could be past.
        let is_number = |one: &&Column| ["int2", "int4", "int8", "numeric"].iter().any(|name| one.ty.is(name));
        for column in table.columns.iter().filter(is_written).filter(is_number) {
            let called = column.default.as_deref().and_then(|default| sequences_named(default).ok());
            let identity = column.identity.iter().map(|identity| identity.sequence.clone());
            for name in identity.chain(called.into_iter().flatten()) {
                let at = ColumnRef { table: way.to.clone(), column: column.name.clone() };
                found.entry(name).or_default().push(at);
            }
        }
    }
    found
}

fn step(op: Op) -> Step {
    Step {
        id: op.id(),
        phase: op.phase(),
        op,
        after: Vec::new(),
        statements: Vec::new(),
        lock: Vec::new(),
        done_when: String::new(),
        revert: Vec::new(),
    }
}
