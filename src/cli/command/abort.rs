//! `pcrd abort`.

use std::time::Duration;

use crate::cli::confirm::confirm;
use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::executor::{ask, current, executor_alive, executor_comes_back, explain, plan_of, quiet_run};
use crate::cli::programs::check_programs;
use crate::exec::cleanup;

/// Arguments of `abort`.
#[derive(Debug, clap::Args)]
pub struct AbortArgs {
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// Gives the migration up and removes what the plan created.
pub async fn run(ctx: &Context, args: &AbortArgs) -> Result<Exit, CommandError> {
    let (config, ledger, found) = current(ctx).await?;
    let plan = plan_of(ctx, &config, &found.id)?;
    check_programs(&config, &plan)?;
    let question = format!("Give up migration {} and drop its tables on the target?", plan.id.short());
    if !confirm(ctx, &question, args.yes).await? {
        ctx.note("nothing was done");
        return Ok(Exit::Done);
    }
    if found.state == "running" && executor_comes_back(ctx, &ledger, &found).await? {
        let asked = ask(ctx, &ledger, &found, "abort", None).await;
        // One that was killed may have been taken for alive until the server noticed: then there is nobody to ask.
        if let Err(error) = asked
            && (error.exit() == Exit::Interrupted || executor_alive(&ledger, &found).await?)
        {
            return Err(error);
        }
        // The executor ends its stream first; its locks say when it is gone.
        for _ in 0..100 {
            if !executor_alive(&ledger, &found).await? {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    drop(ledger);
    let run = quiet_run(ctx, &config, plan)?;
    for removed in cleanup::abort(&run).await.map_err(explain)? {
        ctx.note(&format!("removed: {removed}"));
    }
    Ok(Exit::Done)
}
