//! `pcrd plan`.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::cli::command::diff::{self, DiffFormat};
use crate::cli::context::Context;
use crate::cli::database::load_config;
use crate::cli::error::{CommandError, Exit};
use crate::cli::executor::{explain, quiet_run, read_plan};
use crate::cli::output::write_plan;
use crate::cli::planning::{Wishes, make};
use crate::cli::under_way;
use crate::config::Config;
use crate::desired::Acceptance;
use crate::exec::context::Run;
use crate::exec::{ExecError, preflight, surplus};
use crate::pg::client::Client;
use crate::plan::estimate::Throughput;
use crate::plan::render::Detail;
use crate::plan::{End, Plan, PlanFile, file, render};

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
    /// Speed of copying for the estimates, in MiB a second (docs/performance.md says how to measure it)
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub throughput: Option<u64>,
    /// Print what is different from a plan that was reviewed; `--detailed-exitcode` then speaks of that difference
    #[arg(long, value_name = "PLAN", conflicts_with = "throughput")]
    pub against: Option<PathBuf>,
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
    /// A comment for a pull request
    Markdown,
    /// The graph of steps for Graphviz
    Dot,
    /// The graph of steps for Mermaid
    Mermaid,
}

/// Compiles a plan, checks the data and shows what would happen.
pub async fn run(ctx: &Context, args: &PlanArgs) -> Result<Exit, CommandError> {
    let config = load_config(ctx)?;
    let reviewed =
        args.against.as_ref().map(|path| Ok::<_, CommandError>((read_plan(path)?, diff_format(args)?))).transpose()?;
    let wishes = Wishes {
        source_catalog: args.source_catalog.clone(),
        target_catalog: args.target_catalog.clone(),
        allow: args.allow.clone(),
        skip_data_checks: args.skip_data_checks,
        no_evidence: args.no_evidence,
        show_values: args.show_values,
    };
    let mut planned = make(ctx, &config, &wishes).await?;
    if planned.is_done {
        let text = "No changes. Every table stands on the target as the desired schema has it.";
        ctx.data(&if ctx.json { serde_json::json!({ "changes": [] }).to_string() } else { text.to_owned() })?;
        ctx.note("no plan was written; whether the rows are there too: pcrd verify");
        return Ok(Exit::Done);
    }
    let format = if ctx.json { PlanFormat::Json } else { args.format };
    let mut speaks_of = !planned.file.plan.changes.is_empty();
    if let Some((reviewed, format)) = &reviewed {
        speaks_of = diff::print(ctx, &reviewed.plan, &planned.file.plan, *format)?;
    } else {
        ctx.data(&rendered(&planned.file, format, ctx.verbose > 0, throughput(args.throughput)))?;
    }
    planned.refuse_if_blocked("no file was written")?;
    let has_changes = !planned.file.plan.changes.is_empty();
    let goes_on = planned.under_way.as_ref().is_some_and(|found| under_way::announce(ctx, found, &planned.file.plan));
    // What stands on the servers of a run that goes on is its own.
    if !goes_on && has_changes && args.source_catalog.is_none() && args.target_catalog.is_none() {
        planned.file.plan = announce_preflight(ctx, &config, planned.file.plan).await?;
    }
    if let Some(out) = &args.out {
        write_plan(out, &planned.file)?;
        let adopt = if goes_on { " --adopt" } else { "" };
        ctx.note(&format!("to run it: pcrd apply {}{adopt}", out.display()));
    }
    Ok(if args.detailed_exitcode && speaks_of { Exit::Changes } else { Exit::Done })
}

/// A comparison has no graph and no statements of its own.
fn diff_format(args: &PlanArgs) -> Result<DiffFormat, CommandError> {
    match args.format {
        PlanFormat::Text => Ok(DiffFormat::Text),
        PlanFormat::Json => Ok(DiffFormat::Json),
        PlanFormat::Markdown => Ok(DiffFormat::Markdown),
        PlanFormat::Sql | PlanFormat::Dot | PlanFormat::Mermaid => {
            Err(CommandError::new(Exit::Usage, "--against prints text, json or markdown"))
        }
    }
}

/// Says what `apply` will refuse as the servers are now. No reason to write no plan: it may be reviewed before the
/// servers are ready, and by a role that may only read. Gives the plan back.
async fn announce_preflight(ctx: &Context, config: &Config, plan: Plan) -> Result<Plan, CommandError> {
    let run = quiet_run(ctx, config, plan)?;
    let source = run.connect(End::Source, "preflight").await.map_err(explain)?;
    let target = run.connect(End::Target, "preflight").await.map_err(explain)?;
    match preflight::check(&run, &target, &source).await {
        Err(ExecError::Preflight(failures)) => {
            for failure in &failures {
                ctx.note(&format!("apply will refuse: {failure}"));
            }
            let script = preflight::script(&failures);
            if !script.is_empty() {
                ctx.note(&format!("what is missing as one script:\n{script}"));
            }
        }
        other => {
            other.map_err(explain)?;
            // Without the rights there is no looking at tables.
            for advice in preflight::advice(&run, &target, &source).await.map_err(explain)? {
                ctx.note(&advice.to_string());
            }
        }
    }
    announce_surplus(ctx, &run, &target, &source).await?;
    Ok(run.plan)
}

/// Says what the roles may do beyond their work, with the statements that take it away.
pub async fn announce_surplus(ctx: &Context, run: &Run, target: &Client, source: &Client) -> Result<(), CommandError> {
    let surplus = surplus::rights(run, target, source).await.map_err(explain)?;
    for right in &surplus {
        ctx.note(&right.to_string());
    }
    let script = preflight::script(&surplus);
    if !script.is_empty() {
        ctx.note(&format!(
            "what is not needed as one script; then plan again, to see what is still missing:\n{script}"
        ));
    }
    Ok(())
}

/// From `--throughput`, in MiB a second.
pub fn throughput(mib: Option<u64>) -> Throughput {
    mib.map_or_else(Throughput::default, |mib| Throughput::of_copy(mib * 1_024 * 1_024))
}

/// The text of a plan in one of its formats.
pub fn rendered(file: &PlanFile, format: PlanFormat, verbose: bool, throughput: Throughput) -> String {
    let document = || render::document_at(&file.plan, file.evidence.as_ref(), throughput);
    match format {
        PlanFormat::Text => {
            let detail = if verbose { Detail::Everything } else { Detail::Summary };
            render::text(&document(), &file.plan, detail)
        }
        PlanFormat::Json => file::to_json(file),
        PlanFormat::Sql => render::sql(&file.plan),
        PlanFormat::Markdown => render::markdown(&document(), &file.plan),
        PlanFormat::Dot => render::graph::dot(&file.plan),
        PlanFormat::Mermaid => render::graph::mermaid(&file.plan),
    }
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
