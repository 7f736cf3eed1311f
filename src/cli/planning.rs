//! Makes a plan with everything that is known of it at plan time: shared by `plan`, `migrate` and the demo.

use std::path::PathBuf;

use crate::catalog::Catalog;
use crate::config::Config;
use crate::desired::Acceptance;
use crate::diff::differences;
use crate::exec::checks;
use crate::plan::{CheckResult, End, Evidence, Finding, Plan, PlanFile, RowBytes, Severity};
use crate::resolve::Resolved;
use crate::ui::number::grouped;
use crate::ui::time::{now_ms, rfc3339};

use super::catalogs::see;
use super::compile::{Beside, Compiled, compile};
use super::context::Context;
use super::database::EndError;
use super::error::{CommandError, Exit};
use super::expressions;
use super::manifest::{Status, manifest};
use super::under_way::{self, UnderWay};

/// What a plan is made from besides the config.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// A saved catalog instead of the source.
    pub source_catalog: Option<PathBuf>,
    /// A saved catalog instead of the target.
    pub target_catalog: Option<PathBuf>,
    /// Findings accepted on the command line.
    pub allow: Vec<Acceptance>,
    /// Do not scan the source.
    pub skip_data_checks: bool,
    /// Leave the evidence out.
    pub no_evidence: bool,
    /// Read keys of rows that fail a check.
    pub show_values: bool,
}

/// A plan and what keeps it from being applied.
#[derive(Debug)]
pub struct Planned {
    /// The plan.
    pub file: PlanFile,
    /// One line per reason; empty for a plan that may run.
    pub blocked: Vec<String>,
    /// Every table stands on the target as it is wanted: there is nothing to do.
    pub is_done: bool,
    /// The run that is under way, whose tables this plan takes as not there.
    pub under_way: Option<UnderWay>,
}

impl Planned {
    /// Fails when something blocks the plan; `consequence` says what was not done.
    pub fn refuse_if_blocked(&self, consequence: &str) -> Result<(), CommandError> {
        if self.blocked.is_empty() {
            return Ok(());
        }
        let text = format!("the plan is blocked; {consequence}:\n{}", self.blocked.join("\n"));
        let next = "pcrd plan, after mending or accepting each of them (pcrd explain CODE says how)";
        Err(CommandError::new(Exit::Blocked, text).with_next(next))
    }
}

/// Reads both catalogs, compiles, and runs the data checks on the source if it is there.
///
/// # Errors
/// No connection, no plan possible, or a check that could not be run.
pub async fn make(ctx: &Context, config: &Config, wishes: &Wishes) -> Result<Planned, CommandError> {
    let source = see(ctx, config, End::Source, wishes.source_catalog.as_deref(), "plan").await?;
    let mut target = see(ctx, config, End::Target, wishes.target_catalog.as_deref(), "plan").await?;
    let under_way = under_way::hide(ctx, config, &source.catalog, &mut target).await;
    let beside =
        Beside { allow: wishes.allow.clone(), orders: under_way.as_ref().map(UnderWay::orders).unwrap_or_default() };
    let compiled = compile(config, &source.catalog, &target, beside).await?;
    for note in &compiled.notes {
        ctx.note(note);
    }
    if is_done(&compiled.resolved, &target.catalog) {
        let items = manifest(&compiled.plan, &target.catalog).into_iter();
        for item in items.filter(|item| {
            ["owner", "grant", "trigger", "function", "policy", "row security", "view"].contains(&item.kind.as_str())
                && item.status == Status::Planned
        }) {
            ctx.note(&format!("the {} of {} is not as on the source: {}", item.kind, item.address, item.detail));
        }
        let file = PlanFile { plan: compiled.plan, evidence: None };
        return Ok(Planned { file, blocked: Vec::new(), is_done: true, under_way });
    }
    let mut refused = Vec::new();
    for (end, seen) in [(End::Source, &source), (End::Target, &target)] {
        let Some(client) = &seen.client else { continue };
        let found = expressions::refused(client, end, &compiled.plan).await;
        refused.extend(found.map_err(|error| EndError::new(end, error))?);
    }
    let mut results = Vec::new();
    match &source.client {
        // Their expressions stand in the checks too.
        _ if !refused.is_empty() => {}
        Some(client) if !wishes.skip_data_checks => {
            for check in &compiled.plan.checks {
                let result = checks::run(client, check, wishes.show_values).await;
                results.push(result.map_err(|error| EndError::new(End::Source, error))?);
            }
        }
        _ if compiled.plan.checks.is_empty() => {}
        _ => ctx.note("the data checks were not run; `apply` runs them before it writes anything"),
    }
    let blocked = [refused, blocked(&compiled.plan, &results)].concat();
    let evidence = (!wishes.no_evidence).then(|| evidence(&source.catalog, &compiled, results));
    Ok(Planned { file: PlanFile { plan: compiled.plan, evidence }, blocked, is_done: false, under_way })
}

/// True when every wanted table is on the target already; whether it has its rows is a question for `verify`.
fn is_done(resolved: &Resolved, target: &Catalog) -> bool {
    resolved.tables.iter().all(|table| {
        let there = target.tables.get(&table.target);
        there.is_some_and(|there| differences(&table.target, &table.wanted, there).is_empty())
    })
}

/// One line per thing that keeps the plan from being applied.
fn blocked(plan: &Plan, results: &[CheckResult]) -> Vec<String> {
    let mut lines: Vec<String> = plan.findings.iter().filter_map(blocking_finding).collect();
    for result in results {
        let Some(check) = plan.checks.iter().find(|check| check.id == result.id) else { continue };
        for (at, predicate) in check.predicates.iter().enumerate() {
            let n_failing = result.failing[at];
            if n_failing == 0 {
                continue;
            }
            let address = &predicate.address;
            let (n_failing, n_rows) = (grouped(n_failing), grouped(result.rows));
            let mut line = format!("{address}: {n_failing} of {n_rows} rows {}", predicate.meaning);
            if result.samples[at].is_empty() {
                line.push_str(&format!("; to see them: {}", predicate.sample_sql));
            } else {
                line.push_str(&format!("; keys: {}", result.samples[at].join(" | ")));
            }
            lines.push(line);
        }
    }
    lines
}

fn blocking_finding(finding: &Finding) -> Option<String> {
    let Finding { code, address, message, .. } = finding;
    match (finding.severity, &finding.accepted) {
        (Severity::Refused, _) => Some(format!("{code} {address}: {message}")),
        (Severity::Error, None) => {
            Some(format!("{code} {address}: {message}; to accept: --allow '{code}@{address}=why'"))
        }
        (Severity::Error, Some(_)) | (Severity::Info | Severity::Warning, _) => None,
    }
}

fn evidence(source: &Catalog, compiled: &Compiled, checks: Vec<CheckResult>) -> Evidence {
    let tables = &compiled.resolved.tables;
    let sizes = tables.iter().filter_map(|table| {
        let stats = source.tables.get(&table.source)?.stats.clone()?;
        Some((table.source.clone(), stats))
    });
    let row_bytes = tables.iter().map(|table| {
        let bytes = RowBytes { before: table.row_bytes.before, after: table.row_bytes.after };
        (table.address().clone(), bytes)
    });
    Evidence { at: rfc3339(now_ms()), sizes: sizes.collect(), checks, row_bytes: row_bytes.collect() }
}
