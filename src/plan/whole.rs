//! What must hold of a plan as a whole: its parts make one migration, and nothing that it does or loses is left unsaid.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{Ident, QualifiedName};
use crate::plan::build::guard;
use crate::plan::computed::wrongly_compared;
use crate::plan::policies::{self, PolicyError};
use crate::plan::rename::rename_source;
use crate::plan::rights::{self, RightError};
use crate::plan::triggers::{self, TriggerError};
use crate::plan::views::{self, ViewError};
use crate::plan::{
    Action, AnalyzeTable, Check, CopyTable, CreateLedger, CreatePublication, CreateSlot, CreateTable, Drain, DropFence,
    DropPublication, DropSlot, Fence, FreezeDefaults, FrozenColumn, Op, Plan, Severity, StepId, StreamChanges, Switch,
    VerifyFinal, VerifyTable,
};
use crate::plan::{back, merged, partitioned};
use crate::projection::{ColumnValue, ProjectedColumn, Projection};
use crate::resolve::Among;
use crate::resolve::split::gap_check;
use crate::sql::check::{
    DistinctNulls, duplicates, duplicates_sample, duplicates_where, duplicates_where_sample, sample, table_check,
};
use crate::sql::expression::{ExpressionError, check_expression};
use crate::sql::filter::belongs;
use crate::sql::source_table;
use crate::sql::token::{TokenKind, tokens};

/// Parts that do not make one migration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WholeError {
    /// A step that every migration of these tables has is missing or does something else.
    #[error("step {0} is missing, or is not what the plan's tables and settings ask for")]
    Missing(StepId),
    /// A step of the protocol that these tables do not ask for.
    #[error("step {0} is not what the plan's tables and settings ask for")]
    Uncalled(StepId),
    /// One end of two projections.
    #[error("table {0} stands in two projections")]
    Twice(QualifiedName),
    /// A projection and the tables at its ends.
    #[error("the projection onto {table} does not fit its tables: {why}")]
    Projection {
        /// Target table.
        table: QualifiedName,
        /// What does not fit.
        why: String,
    },
    /// An expression that is more than one.
    #[error("{at} is made by a text that is not one expression: {why}")]
    Expression {
        /// Column or check.
        at: String,
        /// Why.
        why: ExpressionError,
    },
    /// A check whose SQL is not what its predicates make.
    #[error("the SQL of {0} is not what its table and predicates make")]
    Check(String),
    /// Values that are not copied, and no change says so.
    #[error("{0} is not copied, and the plan lists no drop of it")]
    Unsaid(String),
    /// Values that are not copied, and no finding says so.
    #[error("{0} is left out without the finding that says so")]
    Unfound(String),
    /// A table that is copied under one snapshot, and no finding says so.
    #[error("{0} is copied under one snapshot without the finding that says so")]
    Snapshot(String),
    /// A type that is made otherwise than it is, or not at all.
    #[error("type {0} is not created as it is on the source")]
    Type(QualifiedName),
    /// Another way back than that of the tables.
    #[error("the way back is not that of the plan's projections and tables")]
    Back,
    /// Rights that do not come from the source.
    #[error(transparent)]
    Right(#[from] RightError),
    /// A trigger that does not come from the source.
    #[error(transparent)]
    Trigger(#[from] TriggerError),
    /// Policies or row security that do not come from the source.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A view that does not come from the source.
    #[error(transparent)]
    View(#[from] ViewError),
    /// Rows that no target takes.
    #[error("rows of {0} that none of its targets takes are neither counted nor accepted")]
    Uncounted(String),
}

/// Everything that is wrong between the parts of a plan.
pub fn problems(plan: &Plan) -> Vec<WholeError> {
    let mut found = Vec::new();
    protocol(plan, &mut found);
    let tables: BTreeMap<&QualifiedName, &CreateTable> = plan
        .steps
        .iter()
        .filter_map(|step| if let Op::CreateTable(op) = &step.op { Some(op) } else { None })
        .map(|op| (&op.name, op))
        .collect();
    let (mut addresses, mut targets) = (BTreeSet::new(), BTreeSet::new());
    for (projection, address) in plan.projections.iter().zip(plan.addresses()) {
        if !addresses.insert(address) {
            found.push(WholeError::Twice(address.clone()));
        }
        if !targets.insert(projection.task()) {
            found.push(WholeError::Twice(projection.task().clone()));
        }
        let table = projection.target.clone();
        match fits(plan, projection, tables.get(&projection.target).copied()) {
            Ok(()) => {}
            Err(why) => found.push(WholeError::Projection { table, why }),
        }
        expressions(projection, &mut found);
    }
    found.extend(types(plan).into_iter().map(WholeError::Type));
    drops(plan, &tables, &mut found);
    filters(plan, &mut found);
    splits(plan, &mut found);
    snapshots(plan, &mut found);
    goes_back(plan, &mut found);
    found.extend(merged::problems(plan));
    found.extend(policies::problems(plan).into_iter().map(WholeError::from));
    found.extend(rights::problems(plan).into_iter().map(WholeError::from));
    found.extend(triggers::problems(plan).into_iter().map(WholeError::from));
    found.extend(views::problems(plan).into_iter().map(WholeError::from));
    for check in &plan.checks {
        checked(plan, check, &mut found);
    }
    found
}

/// Defaults of one target table that are evaluated once, whatever number of sources it has.
pub(super) fn frozen<'p>(onto: impl Iterator<Item = &'p Projection> + Clone) -> Option<Op> {
    let table = onto.clone().next()?.target.clone();
    let mut columns: Vec<FrozenColumn> = Vec::new();
    for column in onto.flat_map(|projection| &projection.columns) {
        let ColumnValue::Frozen { default } = &column.value else { continue };
        if columns.iter().all(|one| one.column != column.target) {
            let (name, ty) = (column.target.clone(), column.ty.sql.clone());
            columns.push(FrozenColumn { column: name, ty, default: default.clone() });
        }
    }
    (!columns.is_empty()).then_some(Op::FreezeDefaults(FreezeDefaults { table, columns }))
}

/// The steps that move rows safely follow from tables, settings and the source's version: none may be missing.
fn protocol(plan: &Plan, found: &mut Vec<WholeError>) {
    let wanted: BTreeMap<StepId, Op> = wanted(plan).into_iter().map(|op| (op.id(), op)).collect();
    let there: BTreeMap<&StepId, &Op> = plan.steps.iter().map(|step| (&step.id, &step.op)).collect();
    for (id, op) in &wanted {
        if there.get(id).copied() != Some(op) {
            found.push(WholeError::Missing(id.clone()));
        }
    }
    for step in plan.steps.iter().filter(|step| step.op.is_protocol()) {
        if !wanted.contains_key(&step.id) {
            found.push(WholeError::Uncalled(step.id.clone()));
        }
    }
}

fn wanted(plan: &Plan) -> Vec<Op> {
    let sorted = |name: fn(&Projection) -> &QualifiedName| {
        let names: BTreeSet<QualifiedName> = plan.projections.iter().map(name).cloned().collect();
        names.into_iter().collect::<Vec<_>>()
    };
    let (sources, targets) = (sorted(|projection| &projection.source), sorted(|projection| &projection.target));
    let (slot, publication) = (plan.settings.slot.clone(), plan.settings.publication.clone());
    let mut ops = vec![
        Op::CreateLedger(CreateLedger {}),
        Op::CreatePublication(CreatePublication { publication: publication.clone(), tables: sources.clone() }),
        Op::CreateSlot(CreateSlot { slot: slot.clone() }),
        Op::StreamChanges(StreamChanges { slot: slot.clone(), publication: publication.clone() }),
        Op::Fence(Fence { tables: sources.clone() }),
        Op::Drain(Drain { slot: slot.clone() }),
        Op::VerifyFinal(VerifyFinal { tables: targets.clone() }),
        Op::Switch(Switch {}),
        Op::DropSlot(DropSlot { slot }),
        Op::DropPublication(DropPublication { publication }),
    ];
    ops.extend(guard(&sources, plan.source.server.major(), &plan.partitioned()));
    ops.extend(rename_source(&plan.settings, &sources));
    ops.push(Op::DropFence(DropFence { tables: sources }));
    ops.extend(back::ops(&plan.settings, &targets));
    for table in targets {
        ops.push(Op::CopyTable(CopyTable { table: table.clone() }));
        // Whether the table is vacuumed too is a choice, which follows from nothing.
        let freeze = plan.steps.iter().any(|step| match &step.op {
            Op::AnalyzeTable(op) => op.freeze && op.table == table,
            _ => false,
        });
        ops.push(Op::AnalyzeTable(AnalyzeTable { table: table.clone(), freeze }));
        ops.push(Op::VerifyTable(VerifyTable { table }));
    }
    ops.extend(plan.targets().into_iter().filter_map(|target| frozen(plan.onto(target))));
    ops
}

/// Types that the steps do not create as the source has them.
fn types(plan: &Plan) -> BTreeSet<QualifiedName> {
    let created = plan.steps.iter().filter_map(|step| match &step.op {
        Op::CreateType(op) => Some((&op.name, &op.def)),
        _ => None,
    });
    let (created, wanted): (BTreeMap<_, _>, BTreeMap<_, _>) = (created.collect(), plan.source.types.iter().collect());
    let names = created.keys().chain(wanted.keys());
    names.filter(|name| created.get(*name) != wanted.get(*name)).map(|name| (*name).clone()).collect()
}

/// Reads only what the source has, and fills exactly what the target's table has.
fn fits(plan: &Plan, projection: &Projection, table: Option<&CreateTable>) -> Result<(), String> {
    let Some(source) = plan.source.tables.get(&projection.source) else {
        return Err(format!("the source has no table {}", projection.source));
    };
    partitioned::fits(plan, projection, source, table)?;
    // The stream counts columns by their place.
    let sent = source.columns.iter().filter(|column| column.generated.is_none());
    let named = projection.source_columns.iter().map(|column| (&column.name, &column.ty));
    if !named.eq(sent.map(|column| (&column.name, &column.ty))) {
        return Err(format!("its source columns are not those that {} sends", projection.source));
    }
    if let Some(column) = projection.columns.iter().find(|column| !reads_what_it_says(projection, column)) {
        return Err(format!("{} reads other columns than it says", column.target));
    }
    let read = projection.columns.iter().flat_map(|column| match &column.value {
        ColumnValue::Expr { reads, .. } => reads.as_slice(),
        ColumnValue::Frozen { .. } => &[],
    });
    for column in read.chain(projection.source_key()) {
        if !projection.source_columns.iter().any(|found| &found.name == column) {
            return Err(format!("it reads column {column}, which {} does not send", projection.source));
        }
    }
    let Some(table) = table else { return Err("no step creates the table".to_owned()) };
    let filled = projection.columns.iter().map(|column| (&column.target, &column.ty));
    let stored = table.columns.iter().filter(|column| column.generated.is_none());
    if !filled.eq(stored.map(|column| (&column.name, &column.ty))) {
        return Err("its columns are not those that the table is created with".to_owned());
    }
    if let Some(name) = wrongly_compared(projection, source, table) {
        return Err(format!("the computed column {name} is compared with no column of its type"));
    }
    if projection.source_key().len() != projection.target_key().len() {
        return Err("its keys have different lengths".to_owned());
    }
    let is_filled = |key: &&Ident| projection.columns.iter().any(|column| &&column.target == key);
    match projection.target_key().into_iter().find(|key| !is_filled(key)) {
        Some(key) => Err(format!("no value is made for the key column {key}")),
        None => Ok(()),
    }
}

/// Columns stand quoted in expressions. A large value that the stream does not send is found by what is read.
fn reads_what_it_says(projection: &Projection, column: &ProjectedColumn) -> bool {
    let ColumnValue::Expr { sql, reads } = &column.value else { return true };
    let Ok(list) = tokens(sql) else { return false };
    let named: BTreeSet<&str> = list
        .iter()
        .enumerate()
        .filter(|(place, _)| {
            let before = place.checked_sub(1).map(|before| &list[before]);
            before.is_none_or(|token| !token.is(".") && token.word() != Some("as"))
        })
        .filter_map(|(_, token)| if let TokenKind::Quoted(name) = &token.kind { Some(name.as_str()) } else { None })
        .filter(|name| projection.source_columns.iter().any(|column| column.name.as_str() == *name))
        .collect();
    let said: BTreeSet<&str> = reads.iter().map(Ident::as_str).collect();
    said.len() == reads.len() && said == named
}

fn expressions(projection: &Projection, found: &mut Vec<WholeError>) {
    for column in &projection.columns {
        let (ColumnValue::Expr { sql, .. } | ColumnValue::Frozen { default: sql }) = &column.value;
        if let Err(why) = check_expression(sql) {
            let at = format!("{}.{}", projection.target, column.target);
            found.push(WholeError::Expression { at, why });
        }
        if let Some(Err(why)) = column.inverse.as_deref().map(check_expression) {
            let at = format!("the way back of {}.{}", projection.target, column.target);
            found.push(WholeError::Expression { at, why });
        }
    }
}

/// A filter leaves rows out: it is one condition, a change says it word for word, and a finding that somebody must accept.
fn filters(plan: &Plan, found: &mut Vec<WholeError>) {
    for (projection, address) in plan.projections.iter().zip(plan.addresses()) {
        let Some(filter) = &projection.filter else { continue };
        let at = address.to_string();
        if let Err(why) = check_expression(&filter.sql) {
            found.push(WholeError::Expression { at: format!("the filter of {at}"), why });
        }
        let said = format!("where {}", filter.sql);
        let is_said = |change: &crate::diff::Change| {
            change.action == Action::Filter && change.address == at && change.after.as_ref() == Some(&said)
        };
        if !plan.changes.iter().any(is_said) {
            found.push(WholeError::Unsaid(at.clone()));
        }
        if !plan.findings.iter().any(|finding| finding.code == "ROW_FILTER" && finding.address == at) {
            found.push(WholeError::Unfound(at));
        }
    }
}

/// What goes back follows from what came, and what cannot is named.
fn goes_back(plan: &Plan, found: &mut Vec<WholeError>) {
    let ways = back::ways(plan, plan.steps.iter().map(|step| &step.op));
    if ways != plan.back {
        found.push(WholeError::Back);
    }
    for (way, address) in ways.iter().zip(plan.addresses()) {
        for (column, _) in way.losses() {
            let at = column.map_or_else(|| address.to_string(), |column| format!("{address}.{column}"));
            let is_named = |one: &crate::plan::Finding| {
                one.code == "IRREVERSIBLE" && one.address == at && one.severity == Severity::Error
            };
            if !plan.findings.iter().any(is_named) {
                found.push(WholeError::Unfound(at));
            }
        }
    }
}

/// A snapshot that is held for as long as a table's copy takes is no secret.
fn snapshots(plan: &Plan, found: &mut Vec<WholeError>) {
    let is_said = |at: &str| plan.findings.iter().any(|one| one.code == "LONG_SNAPSHOT" && one.address == at);
    for (projection, address) in plan.projections.iter().zip(plan.addresses()) {
        let at = address.to_string();
        if !projection.is_copied_by_key() && !is_said(&at) {
            found.push(WholeError::Snapshot(at));
        }
    }
}

/// Of a source with several targets each row has a place, or rows without one are counted, or somebody accepts them.
fn splits(plan: &Plan, found: &mut Vec<WholeError>) {
    let mut groups: BTreeMap<&QualifiedName, Vec<&Projection>> = BTreeMap::new();
    for projection in &plan.projections {
        groups.entry(&projection.source).or_default().push(projection);
    }
    for (source, parts) in groups.into_iter().filter(|(_, parts)| parts.len() > 1) {
        let Some(check) = gap_check(&parts) else { continue };
        let at = source.to_string();
        match plan.findings.iter().find(|finding| finding.code == "SPLIT_GAP" && finding.address == at) {
            None => found.push(WholeError::Unfound(at)),
            Some(gap) if gap.accepted.is_none() && !plan.checks.iter().any(|one| one.id == check.id) => {
                found.push(WholeError::Uncounted(at));
            }
            Some(_) => {}
        }
    }
}

/// A source column that nothing reads is dropped: a change says so, and a finding that somebody must accept. Or the
/// target computes the same values: a check compares them.
fn drops(plan: &Plan, tables: &BTreeMap<&QualifiedName, &CreateTable>, found: &mut Vec<WholeError>) {
    let dropped: BTreeSet<&str> = plan
        .changes
        .iter()
        .filter(|change| change.action == Action::Drop)
        .map(|change| change.address.as_str())
        .collect();
    let is_computed = |projection: &Projection, column: &Ident, at: &str| {
        let renamed = plan.changes.iter().find(|change| change.action == Action::Rename && change.address == at);
        let name = renamed.and_then(|change| change.after.as_deref()).unwrap_or(column.as_str());
        let table = tables.get(&projection.target);
        let computes = table.is_some_and(|table| {
            table.columns.iter().any(|column| column.name.as_str() == name && column.generated.is_some())
        });
        let compared = plan.checks.iter().filter(|check| check.table == projection.source);
        computes && compared.flat_map(|check| &check.predicates).any(|predicate| predicate.address == at)
    };
    for (projection, address) in plan.projections.iter().zip(plan.addresses()) {
        let read: BTreeSet<_> = projection
            .columns
            .iter()
            .flat_map(|column| match &column.value {
                ColumnValue::Expr { reads, .. } => reads.as_slice(),
                ColumnValue::Frozen { .. } => &[],
            })
            .collect();
        for column in projection.source_columns.iter().filter(|column| !read.contains(&column.name)) {
            let at = format!("{address}.{}", column.name);
            if !dropped.contains(at.as_str()) && !is_computed(projection, &column.name, &at) {
                found.push(WholeError::Unsaid(at));
            }
        }
    }
    let is_found = |address: &str| {
        plan.findings.iter().any(|finding| finding.code == "DELETES_DATA" && finding.address == address)
    };
    found.extend(dropped.into_iter().filter(|at| !is_found(at)).map(|at| WholeError::Unfound(at.to_owned())));
}

fn checked(plan: &Plan, check: &Check, found: &mut Vec<WholeError>) {
    let own = check.predicates.iter().map(|predicate| &predicate.bad).filter(|_| check.among.is_none());
    let several = check.among.iter().flat_map(Among::expressions);
    for text in own.chain(several) {
        if let Err(why) = check_expression(text) {
            found.push(WholeError::Expression { at: format!("a predicate of {}", check.id), why });
        }
    }
    let parts: Vec<&Projection> = plan.projections.iter().filter(|one| one.source == check.table).collect();
    if check.id.starts_with("split:") {
        if parts.len() < 2 || gap_check(&parts).as_ref() != Some(check) {
            found.push(WholeError::Check(check.id.clone()));
        }
        return;
    }
    let rendered = parts.into_iter().filter_map(|projection| {
        let (table, at) = (&check.table, plan.address(projection));
        if let Some(among) = &check.among {
            let named = check.id.starts_with(&format!("check:{at}:")) && check.predicates.len() == 1;
            let (sql, sample) = among.sql(table);
            return named.then(|| (sql, vec![sample]));
        }
        let from = &source_table(projection);
        if check.id == format!("check:{at}") {
            let key = projection.source_key();
            let bad: Vec<String> = check.predicates.iter().map(|predicate| predicate.bad.clone()).collect();
            return Some((table_check(from, &bad), bad.iter().map(|bad| sample(from, &key, bad)).collect()));
        }
        let values: Vec<String> = key_values(projection);
        let of_key = check.id == format!("check:{at}:key");
        let belongs = projection.filter.as_ref().map(belongs);
        of_key.then(|| match belongs.as_deref() {
            None => (duplicates(from, &values), vec![duplicates_sample(from, &values)]),
            some => (
                duplicates_where(from, &values, some, DistinctNulls::No),
                vec![duplicates_where_sample(from, &values, some, DistinctNulls::No)],
            ),
        })
    });
    let samples: Vec<&String> = check.predicates.iter().map(|predicate| &predicate.sample_sql).collect();
    let is_rendered = |(sql, wanted): &(String, Vec<String>)| sql == &check.sql && samples.iter().copied().eq(wanted);
    let mut rendered = rendered;
    if !rendered.any(|one| is_rendered(&one)) {
        found.push(WholeError::Check(check.id.clone()));
    }
}

fn key_values(projection: &Projection) -> Vec<String> {
    let columns = projection.target_key().into_iter();
    let columns = columns.filter_map(|key| projection.columns.iter().find(|column| &column.target == key));
    columns
        .filter_map(|column| match &column.value {
            ColumnValue::Expr { sql, .. } => Some(sql.clone()),
            ColumnValue::Frozen { .. } => None,
        })
        .collect()
}
