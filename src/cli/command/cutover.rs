//! `pcrd cutover`.

use super::apply::finish;
use crate::cli::confirm::confirm;
use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::executor::{ask, current, executor_alive, plan_of, run_plan};
use crate::exec::apply::Until;

/// Arguments of `cutover`.
#[derive(Debug, clap::Args)]
pub struct CutoverArgs {
    /// Do not ask
    #[arg(long, visible_alias = "yes")]
    pub maintenance_confirmed: bool,
    /// Seconds between fence and switch before it is undone
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: Option<u64>,
    /// Terminate sessions that keep the fence waiting for longer than this
    #[arg(long, value_name = "SECONDS")]
    pub terminate_after: Option<u64>,
}

/// Asks the running executor to cut over; when none is alive, goes on with the plan itself.
pub async fn run(ctx: &Context, args: &CutoverArgs) -> Result<Exit, CommandError> {
    let (config, ledger, found) = current(ctx).await?;
    if found.state != "running" {
        let text = format!("the migration is {}, not running", found.state.replace('_', " "));
        return Err(CommandError::new(Exit::Failed, text).with_next("pcrd status"));
    }
    if args.timeout.is_some() || args.terminate_after.is_some() {
        ctx.warning("--timeout and --terminate-after are not yet supported; the plan's fence_timeout holds");
    }
    let question = "Fence the source now and make the target the database?";
    if !confirm(ctx, question, args.maintenance_confirmed).await? {
        ctx.note("nothing was done");
        return Ok(Exit::Done);
    }
    if executor_alive(&ledger, &found).await? {
        ctx.note(&ask(ctx, &ledger, &found.id, "cutover", None).await?);
        return Ok(Exit::Done);
    }
    ctx.note("no executor is alive; this command continues the plan itself");
    let plan = plan_of(ctx, &config, &found.id)?;
    drop(ledger);
    finish(ctx, run_plan(ctx, plan, Until::Cutover).await?)
}
