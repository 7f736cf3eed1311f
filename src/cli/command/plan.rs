//! `pcrd plan`.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::catalog::Catalog;
use crate::cli::catalogs::see;
use crate::cli::compile::{Compiled, compile};
use crate::cli::context::Context;
use crate::cli::database::{EndError, load_config};
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::write_private;
use crate::desired::Acceptance;
use crate::exec::checks;
use crate::plan::render::Detail;
use crate::plan::{CheckResult, End, Evidence, Finding, Plan, PlanFile, RowBytes, Severity, file, render};
use crate::ui::number::grouped;
use crate::ui::time::{now_ms, rfc3339};

/// Arguments of `plan`.
#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    /// Write the plan file (mode 0600), for review and for `apply`
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Use a saved catalog (`inspect --out`) instead of the source
    #[arg(long, value_name = "FILE")]
    pub source_catalog: Option<PathBuf>,
    /// Use a saved catalog instead of the target
    #[arg(long, value_name = "FILE")]
    pub target_catalog: Option<PathBuf>,
    /// What to print
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: PlanFormat,
    /// Exit 2 when there are changes, 0 when there are none
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// Accept a finding: CODE@address=reason (may be repeated)
    #[arg(long, value_name = "CODE@ADDRESS=REASON", value_parser = acceptance)]
    pub allow: Vec<Acceptance>,
    /// Do not scan the source for rows that break a cast
    #[arg(long)]
    pub skip_data_checks: bool,
    /// Leave sizes, dates and check results out of the plan file
    #[arg(long)]
    pub no_evidence: bool,
    /// Show keys of rows that fail a data check, in the output and in the plan file
    #[arg(long)]
    pub show_values: bool,
}

/// How a plan is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PlanFormat {
    /// For people
    Text,
    /// The plan file
    Json,
    /// Every statement, in order
    Sql,
}

/// Compiles a plan, checks the data and shows what would happen.
pub async fn run(ctx: &Context, args: &PlanArgs) -> Result<Exit, CommandError> {
    let config = load_config(ctx)?;
    let mut source = see(ctx, &config, End::Source, args.source_catalog.as_deref(), "plan").await?;
    let target = see(ctx, &config, End::Target, args.target_catalog.as_deref(), "plan").await?;
    let compiled = compile(&config, &source.catalog, &target.catalog, args.allow.clone())?;

    let mut results = Vec::new();
    match &mut source.client {
        Some(client) if !args.skip_data_checks => {
            for check in &compiled.plan.checks {
                let result = checks::run(client, check, args.show_values).await;
                results.push(result.map_err(|error| EndError::new(End::Source, error))?);
            }
        }
        _ if compiled.plan.checks.is_empty() => {}
        _ => ctx.note("the data checks were not run; `apply` runs them before it writes anything"),
    }
    finish(ctx, args, &source.catalog, compiled, results)
}

fn finish(
    ctx: &Context,
    args: &PlanArgs,
    source: &Catalog,
    compiled: Compiled,
    results: Vec<CheckResult>,
) -> Result<Exit, CommandError> {
    let blocked = blocked(&compiled.plan, &results);
    let evidence = (!args.no_evidence).then(|| evidence(source, &compiled, results));
    let file = PlanFile { plan: compiled.plan, evidence };
    let format = if ctx.json { PlanFormat::Json } else { args.format };
    ctx.data(&rendered(&file, format, ctx.verbose > 0))?;
    if !blocked.is_empty() {
        let text = format!("the plan is blocked; no file was written:\n{}", blocked.join("\n"));
        return Err(
            CommandError::new(Exit::Blocked, text).with_next("pcrd plan, after mending or accepting each of them")
        );
    }
    if let Some(out) = &args.out {
        write_private(out, file::to_json(&file).as_bytes())?;
        ctx.note(&format!("to run it: pcrd apply {}", out.display()));
    }
    Ok(match args.detailed_exitcode && !file.plan.changes.is_empty() {
        true => Exit::Changes,
        false => Exit::Done,
    })
}

/// The text of a plan in one of its formats.
pub fn rendered(file: &PlanFile, format: PlanFormat, verbose: bool) -> String {
    match format {
        PlanFormat::Text => {
            let detail = if verbose { Detail::Everything } else { Detail::Summary };
            render::text(&render::document(&file.plan, file.evidence.as_ref()), &file.plan, detail)
        }
        PlanFormat::Json => file::to_json(file),
        PlanFormat::Sql => render::sql(&file.plan),
    }
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
            let mut line = format!("{address}: {n_failing} of {n_rows} rows: {}", predicate.meaning);
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
        (table.source.clone(), bytes)
    });
    Evidence { at: rfc3339(now_ms()), sizes: sizes.collect(), checks, row_bytes: row_bytes.collect() }
}

/// Reads `CODE@address=reason`.
fn acceptance(text: &str) -> Result<Acceptance, String> {
    let parts = text.split_once('=').and_then(|(what, reason)| Some((what.split_once('@')?, reason.trim())));
    match parts {
        Some(((code, address), reason)) if !code.is_empty() && !address.is_empty() && !reason.is_empty() => {
            Ok(Acceptance { code: code.to_owned(), address: address.to_owned(), reason: reason.to_owned() })
        }
        _ => Err("write CODE@address=reason, for example DELETES_DATA@public.orders.legacy=JIRA-12".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acceptance_needs_all_three_parts() {
        let accepted = acceptance("DELETES_DATA@public.t.c=a=b, JIRA-1").unwrap();
        assert_eq!((accepted.address.as_str(), accepted.reason.as_str()), ("public.t.c", "a=b, JIRA-1"));
        for text in ["", "X", "X@y", "X@y=", "@y=r", "X@=r", "X=r"] {
            assert!(acceptance(text).is_err(), "{text}");
        }
    }
}
