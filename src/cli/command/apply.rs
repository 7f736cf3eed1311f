//! `pcrd apply`.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::cli::confirm::confirm;
use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::executor::{Job, read_plan, run_plan};
use crate::cli::under_way::plan_under_way;
use crate::exec::apply::{Outcome, Until};
use crate::plan::{Phase, Plan, Severity};

/// Arguments of `apply`.
#[derive(Debug, clap::Args)]
pub struct ApplyArgs {
    /// The plan file
    #[arg(value_name = "PLAN")]
    pub plan: PathBuf,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Stop after this phase; without it: at the operator gate before the cutover
    #[arg(long, value_name = "PHASE")]
    pub through: Option<Through>,
    /// Go on with the run of an earlier plan under this one: what both plans do alike is kept, other tables start again
    #[arg(long)]
    pub adopt: bool,
    /// Show the key of a row that the target refuses, of whatever type it is
    #[arg(long)]
    pub show_values: bool,
}

/// A phase to stop after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Through {
    /// Publication, slot and ledger
    Prepare,
    /// Target objects
    Schema,
    /// All rows
    Copy,
    /// Indexes and constraints
    Catchup,
    /// Comparison of all rows
    Verify,
    /// The switch
    Cutover,
}

impl From<Through> for Phase {
    fn from(through: Through) -> Self {
        match through {
            Through::Prepare => Self::Prepare,
            Through::Schema => Self::Schema,
            Through::Copy => Self::Copy,
            Through::Catchup => Self::Catchup,
            Through::Verify => Self::Verify,
            Through::Cutover => Self::Cutover,
        }
    }
}

/// Runs the plan, or goes on with it.
pub async fn run(ctx: &Context, args: &ApplyArgs) -> Result<Exit, CommandError> {
    let plan = read_plan(&args.plan)?.plan;
    blocked_by_findings(&plan)?;
    let adopts = if args.adopt { Some(plan_under_way(ctx, &plan).await?) } else { None };
    let going_on =
        adopts.as_ref().map_or_else(String::new, |before| format!(", going on with plan {}", before.id.short()));
    let question = format!(
        "Apply plan {} ({} table(s)) from {} to {}{going_on}?",
        plan.id.short(),
        plan.projections.len(),
        plan.source.server.database,
        plan.target.server.database
    );
    if !confirm(ctx, &question, args.yes).await? {
        ctx.note("nothing was done");
        return Ok(Exit::Done);
    }
    let until = match args.through.map(Phase::from) {
        None => Until::Gate,
        Some(Phase::Cutover) => Until::Cutover,
        Some(phase) => Until::Phase(phase),
    };
    finish(ctx, run_plan(ctx, Job { adopts, show_values: args.show_values, ..Job::new(plan, until) }).await?)
}

/// Says how a run ended.
pub fn finish(ctx: &Context, outcome: Outcome) -> Result<Exit, CommandError> {
    match outcome {
        Outcome::Reached(phase) => {
            ctx.note(&format!("done through {phase:?}; run `pcrd apply` again to go on").to_lowercase());
        }
        Outcome::Switched => {
            ctx.note("switched: the target is the database now, and the fence stays on the source");
            ctx.note("Next: point the application at the target; later, pcrd cleanup");
        }
        Outcome::SwitchedAlone => {
            ctx.note("switched: the target is the database now; the source could not be asked");
            ctx.note(
                "Next: point the application at the target, and see to it that nobody writes to the source, should it come back",
            );
        }
        Outcome::RolledBack => {
            ctx.note("rolled back: the source is the database again and has everything that the target wrote");
            ctx.note("Next: point the application at the source; later, pcrd cleanup");
        }
        Outcome::Finalized => {
            ctx.note("the way back has ended; the target is the database");
            ctx.note("Next: pcrd cleanup");
        }
        Outcome::GivenUp => {
            ctx.note("the source takes writes again; the target is not in use");
            ctx.note("Next: pcrd apply goes on up to the gate; pcrd abort gives the migration up");
        }
    }
    Ok(Exit::Done)
}

/// A finding of severity error that nobody accepted blocks.
pub fn blocked_by_findings(plan: &Plan) -> Result<(), CommandError> {
    let open: Vec<String> = plan
        .findings
        .iter()
        .filter(|finding| finding.severity >= Severity::Error && finding.accepted.is_none())
        .map(|finding| format!("\n  {}@{}: {}", finding.code, finding.address, finding.message))
        .collect();
    if open.is_empty() {
        return Ok(());
    }
    Err(CommandError::new(Exit::Blocked, format!("{} finding(s) block this plan:{}", open.len(), open.concat()))
        .with_next(
            "mend the config, or accept a finding with its reason (accept: in the config, or --allow), and plan again",
        ))
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};

    use super::*;
    use crate::cli::command::{cleanup, cutover, migrate, skip, status, throttle, verify};

    fn parse<A: Args + FromArgMatches>(text: &str) -> Result<A, clap::Error> {
        let command = A::augment_args(clap::Command::new("test"));
        let words = std::iter::once("test").chain(text.split_whitespace());
        A::from_arg_matches(&command.try_get_matches_from(words)?)
    }

    #[test]
    fn the_contracts_flags_are_accepted() {
        let apply: ApplyArgs = parse("plan.json -y --adopt --through cutover").unwrap();
        assert_eq!(apply.through.map(Phase::from), Some(Phase::Cutover));
        assert!(parse::<ApplyArgs>("plan.json --through reverse").is_err());
        for flags in ["", "--preflight-only", "--dry-run", "--backfill-only --resume -y --force-overwrite"] {
            parse::<migrate::MigrateArgs>(flags).unwrap();
        }
        assert!(parse::<migrate::MigrateArgs>("--preflight-only --backfill-only").is_err());
        assert!(parse::<migrate::MigrateArgs>("--dry-run").unwrap().preflight_only);
        parse::<cutover::CutoverArgs>("--maintenance-confirmed --timeout 5 --terminate-after 2").unwrap();
        parse::<cleanup::CleanupArgs>("--drop-source").unwrap();
        assert!(parse::<throttle::ThrottleArgs>("").is_err());
        assert_eq!(parse::<throttle::ThrottleArgs>("--rows-per-second 5000").unwrap().rows_per_second, Some(5000));
        parse::<throttle::ThrottleArgs>("--bytes-per-second 0 --workers 2 --limit stream_lag_bytes=0").unwrap();
        for wrong in ["--workers 0", "--limit stream_lag_bytes", "--limit lag=1", "--limit workers=1"] {
            assert!(parse::<throttle::ThrottleArgs>(wrong).is_err(), "{wrong}");
        }
        parse::<skip::SkipArgs>("--lsn 0/1A --key -7 --reason why").unwrap();
        assert!(parse::<skip::SkipArgs>("--lsn 0/1A --key 7").is_err());
        assert!(parse::<status::StatusArgs>("--watch").unwrap().watch);
        let verify: verify::VerifyArgs =
            parse("--sample-size 10 --table a --table s.b --paranoid --repair --show-values --post-cutover").unwrap();
        assert_eq!(verify.tables.iter().map(ToString::to_string).collect::<Vec<_>>(), ["public.a", "s.b"]);
        assert!(parse::<verify::VerifyArgs>("--sample-size 0").is_err());
    }
}
