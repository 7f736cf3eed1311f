//! `pcrd cutover`.

use clap::ValueEnum;

use super::apply::finish;
use crate::cli::confirm::confirm;
use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::executor::{
    Job, ask_whoever_is_left, current, executor_alive, executor_comes_back, explain, plan_of, quiet_run, run_plan,
};
use crate::exec::apply::Until;
use crate::exec::cutover::Limits;
use crate::exec::switch::{self, Word};
use crate::plan::Phase;

/// A week, as in the config.
const SECONDS_MAX: u64 = 604_800;

/// Arguments of `cutover`.
#[derive(Debug, clap::Args)]
pub struct CutoverArgs {
    /// Nobody writes to the source: with `cutover.fence: none` nothing else says so. Does not ask
    #[arg(long)]
    pub maintenance_confirmed: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Seconds between fence and switch before it is undone
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=SECONDS_MAX))]
    pub timeout: Option<u64>,
    /// Terminate sessions that keep the fence waiting for longer than this
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=SECONDS_MAX))]
    pub terminate_after: Option<u64>,
    /// Whether a switch hook that is in doubt has moved the clients: with `no` it runs once more
    #[arg(long, value_name = "WHETHER")]
    pub switch_happened: Option<Whether>,
    /// After `--switch-happened no`: open the source again instead
    #[arg(long, requires = "switch_happened")]
    pub open_source: bool,
    /// The source is gone for good in the middle of a cutover: make the target the database without it
    #[arg(long, conflicts_with = "open_source")]
    pub source_lost: bool,
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Whether {
    /// The clients are where they were to go
    Yes,
    /// No client is there
    No,
}

impl CutoverArgs {
    /// What is said of a switch hook that is in doubt.
    fn word(&self) -> Result<Option<Word>, CommandError> {
        match (self.switch_happened, self.open_source) {
            (None, _) => Ok(None),
            (Some(Whether::Yes), false) => Ok(Some(Word::Happened)),
            (Some(Whether::No), false) => Ok(Some(Word::NotHappened)),
            (Some(Whether::No), true) => Ok(Some(Word::GiveUp)),
            (Some(Whether::Yes), true) => {
                let text = "--open-source: clients that use the target would lose what they have written there";
                Err(CommandError::new(Exit::Usage, text))
            }
        }
    }
}

/// Asks the running executor to cut over; when none is alive, goes on with the plan itself.
pub async fn run(ctx: &Context, args: &CutoverArgs) -> Result<Exit, CommandError> {
    let (config, ledger, found) = current(ctx).await?;
    if found.state != "running" {
        let text = format!("the migration is {}, not running", found.state.replace('_', " "));
        return Err(CommandError::new(Exit::Failed, text).with_next("pcrd status"));
    }
    let limits = Limits {
        fence_timeout_ms: args.timeout.map(|s| s * 1_000),
        terminate_after_ms: args.terminate_after.map(|s| s * 1_000),
        maintenance_confirmed: args.maintenance_confirmed,
    };
    let word = args.word()?;
    if word.is_some() {
        let run = quiet_run(ctx, &config, plan_of(ctx, &config, &found.id)?)?;
        if !switch::is_in_doubt(&run, &ledger).await.map_err(explain)? {
            let text = "no switch hook is in doubt, so there is nothing to say of it";
            return Err(CommandError::new(Exit::Usage, text).with_next("pcrd status"));
        }
        if executor_alive(&ledger, &found).await? {
            let text = "an executor is at work: the switch hook may be running";
            return Err(CommandError::new(Exit::Busy, text).with_next("pcrd status"));
        }
    }
    let question = match word {
        _ if args.source_lost => {
            "Is it true that the source never comes back and that nobody can write to it? Whatever was written to it behind its \
             fence is lost"
        }
        None => "Fence the source now and make the target the database?",
        Some(Word::Happened) => "Is it true that the clients use the target?",
        Some(Word::NotHappened) => "Is it true that no client uses the target, and may the switch hook run once more?",
        Some(Word::GiveUp) => "Is it true that no client uses the target, and is the source to be open again?",
    };
    if !confirm(ctx, question, args.yes || args.maintenance_confirmed && !args.source_lost).await? {
        ctx.note("nothing was done");
        return Ok(Exit::Done);
    }
    if executor_comes_back(ctx, &ledger, &found).await? {
        if word.is_some() || args.source_lost {
            let text = "an executor has come meanwhile, and nothing was told to it";
            return Err(CommandError::new(Exit::Busy, text).with_next("pcrd status"));
        }
        // One that ends just now has left the plan to be gone on with.
        if let Some(said) = ask_whoever_is_left(ctx, &ledger, &found, "cutover", Some(&limits.to_request())).await? {
            ctx.note(&said);
            return Ok(Exit::Done);
        }
    }
    ctx.note("no executor is alive; this command continues the plan itself");
    let plan = plan_of(ctx, &config, &found.id)?;
    drop(ledger);
    // Whatever it finds, it must not cut over what was given up.
    let until = if word == Some(Word::GiveUp) { Until::Phase(Phase::Prepare) } else { Until::Cutover };
    let source_is_lost = args.source_lost;
    finish(ctx, run_plan(ctx, Job { limits, word, only_goes_on: true, source_is_lost, ..Job::new(plan, until) }).await?)
}
