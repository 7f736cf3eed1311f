//! What must hold of a target table with several sources: no row of one is ever taken for another's.

use std::collections::BTreeSet;

use crate::catalog::{Column, Ident};
use crate::plan::whole::WholeError;
use crate::plan::{Action, Change, CreateTable, Finding, Op, Plan};
use crate::projection::{ColumnValue, Part, Projection};
use crate::sql::part;
use crate::sql::token::tokens;

/// Everything that is wrong with the plan's merged tables.
pub(super) fn problems(plan: &Plan) -> Vec<WholeError> {
    let mut found = Vec::new();
    for target in plan.targets() {
        let parts: Vec<&Projection> = plan.onto(target).collect();
        if let Err(why) = told_apart(plan, &parts) {
            found.push(WholeError::Projection { table: target.clone(), why });
        }
    }
    found
}

fn told_apart(plan: &Plan, projections: &[&Projection]) -> Result<(), String> {
    let parts: Vec<&Part> = projections.iter().filter_map(|projection| projection.part.as_ref()).collect();
    let [first, rest @ ..] = parts.as_slice() else {
        return if projections.len() == 1 {
            Ok(())
        } else {
            Err("it has several sources, and nothing tells them apart".to_owned())
        };
    };
    if parts.len() != projections.len() || rest.is_empty() {
        return Err("not all of its several sources say which rows are theirs".to_owned());
    }
    let table = plan.steps.iter().find_map(|step| match &step.op {
        Op::CreateTable(create) if create.name == projections[0].target => Some(create),
        _ => None,
    });
    let Some(table) = table else { return Err("no step creates the table".to_owned()) };
    let column = table.columns.iter().find(|column| column.name == first.column);
    let Some(column) = column else { return Err(format!("it has no column {}", first.column)) };
    if !column.not_null {
        return Err(format!("{}, which tells its sources apart, can be NULL", column.name));
    }
    if column.collation.as_ref().is_some_and(|collation| collation.schema.as_str() != "pg_catalog") {
        return Err(format!(
            "{}, which tells its sources apart, has a collation that may find two texts equal",
            column.name
        ));
    }
    let mut values = BTreeSet::new();
    for (projection, own) in projections.iter().zip(&parts) {
        if own.column != first.column {
            return Err("its sources are told apart by different columns".to_owned());
        }
        if part::canonical(&own.value, &column.ty).as_ref() != Some(&own.value) {
            return Err(format!("{:?} is no plain value of {}", own.value, column.name));
        }
        if !values.insert(&own.value) {
            return Err(format!("two of its sources have the same {}", column.name));
        }
        let made = projection.columns.iter().find(|one| one.target == own.column).map(|one| &one.value);
        let constant = ColumnValue::Expr { sql: part::value(own, &column.ty), reads: Vec::new() };
        if made != Some(&constant) {
            return Err(format!("the rows of {} do not all get its {}", projection.source, column.name));
        }
        if plan.is_split(&projection.source) {
            return Err(format!("{} also goes into another table", projection.source));
        }
    }
    let others = rest.iter().map(|other| &other.value);
    if !first.others.iter().eq(others) || rest.iter().any(|other| !other.others.is_empty()) {
        return Err("rows of none of its sources would not be looked for".to_owned());
    }
    unique(plan, table, &first.column)?;
    said(plan, column, projections)
}

/// What a reviewer reads are the constants that the rows get.
fn said(plan: &Plan, column: &Column, projections: &[&Projection]) -> Result<(), String> {
    let parts = || projections.iter().filter_map(|one| Some((&one.source, one.part.as_ref()?)));
    for (source, own) in parts() {
        let at = format!("{source}.{}", column.name);
        let mut changes = plan.changes.iter().filter(|change| change.address == at);
        let is_said = |change: &Change| {
            let (expr, note) = (Some(part::value(own, &column.ty)), Some(part::told(own)));
            change.action == Action::Add && (&change.expr, &change.note) == (&expr, &note)
        };
        if !changes.next().is_some_and(is_said) || changes.next().is_some() {
            return Err(format!("the change of {at} does not say what its rows get"));
        }
    }
    let told = part::told_of_all(parts());
    let is_told = |finding: &Finding| finding.address == projections[0].target.to_string() && finding.message == told;
    let mut findings = plan.findings.iter().filter(|finding| finding.code == "TABLES_MERGED");
    if findings.any(is_told) { Ok(()) } else { Err("no finding says which of its rows come from where".to_owned()) }
}

/// Two rows of different sources must never stand in each other's way.
fn unique(plan: &Plan, table: &CreateTable, column: &Ident) -> Result<(), String> {
    let lacks = |name: &Ident| {
        Err(format!("{name} can bring rows of two of its sources together: it lacks {column} among what it compares"))
    };
    if let Some(key) = table.key.as_ref().filter(|key| !key.columns.contains(column)) {
        return lacks(&key.name);
    }
    for step in &plan.steps {
        let (name, text) = match &step.op {
            Op::AddConstraint(op) if op.table == table.name => (&op.name, &op.definition),
            Op::CreateIndex(op) if op.table == table.name => (&op.name, &op.statement),
            _ => continue,
        };
        let Ok(list) = tokens(text) else { return lacks(name) };
        let word = |at: usize| list.get(at).and_then(|token| token.word());
        let is_unique = match (word(0), word(1)) {
            (Some("primary" | "unique" | "exclude"), _) => true,
            (Some("create"), second) => second == Some("unique"),
            _ => false,
        };
        if is_unique && (!part::tells_apart(text, column) || word(0) == Some("exclude")) {
            return lacks(name);
        }
    }
    Ok(())
}
