//! `pcrd cutover`.

use super::apply::finish;
use crate::cli::confirm::confirm;
use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::executor::{Job, ask, current, executor_comes_back, plan_of, run_plan};
use crate::exec::apply::Until;
use crate::exec::cutover::Limits;

/// A week, as in the config.
const SECONDS_MAX: u64 = 604_800;

/// Arguments of `cutover`.
#[derive(Debug, clap::Args)]
pub struct CutoverArgs {
    /// Do not ask
    #[arg(long, visible_alias = "yes")]
    pub maintenance_confirmed: bool,
    /// Seconds between fence and switch before it is undone
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=SECONDS_MAX))]
    pub timeout: Option<u64>,
    /// Terminate sessions that keep the fence waiting for longer than this
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=SECONDS_MAX))]
    pub terminate_after: Option<u64>,
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
    };
    let question = "Fence the source now and make the target the database?";
    if !confirm(ctx, question, args.maintenance_confirmed).await? {
        ctx.note("nothing was done");
        return Ok(Exit::Done);
    }
    if executor_comes_back(ctx, &ledger, &found).await? {
        ctx.note(&ask(ctx, &ledger, &found, "cutover", Some(&limits.to_request())).await?);
        return Ok(Exit::Done);
    }
    ctx.note("no executor is alive; this command continues the plan itself");
    let plan = plan_of(ctx, &config, &found.id)?;
    drop(ledger);
    finish(ctx, run_plan(ctx, Job { limits, ..Job::new(plan, Until::Cutover) }).await?)
}
