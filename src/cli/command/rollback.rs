//! `pcrd rollback` and `pcrd finalize`.

use super::apply::finish;
use crate::cli::confirm::confirm;
use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::executor::{
    Job, ask_whoever_is_left, current, executor_comes_back, explain, failed, plan_of, quiet_run, run_plan,
};
use crate::exec::apply::Until;
use crate::exec::back::{self, Wish};
use crate::ledger::way_back::{self, WayBackState};

/// Arguments of `rollback`.
#[derive(Debug, clap::Args)]
pub struct RollbackArgs {
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// Arguments of `finalize`.
#[derive(Debug, clap::Args)]
pub struct FinalizeArgs {
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// The source is not the database, and cannot be asked: nothing answers there, or another server is in its place. Behind a
    /// rollback that was decided this opens the target, so nothing may write to the source any more
    #[arg(long)]
    pub without_source: bool,
}

/// Makes the source the database again.
pub async fn rollback(ctx: &Context, args: &RollbackArgs) -> Result<Exit, CommandError> {
    run(ctx, args.yes, Wish::Rollback, false).await
}

/// Ends the way back.
pub async fn finalize(ctx: &Context, args: &FinalizeArgs) -> Result<Exit, CommandError> {
    run(ctx, args.yes, Wish::Finalize, args.without_source).await
}

/// Asks the running executor; when none is alive, goes on with the plan itself.
async fn run(ctx: &Context, yes: bool, wish: Wish, without_source: bool) -> Result<Exit, CommandError> {
    let (config, ledger, found) = current(ctx).await?;
    let (word, question) = match wish {
        Wish::Rollback => ("rollback", "Fence the target now and make the source the database again?"),
        Wish::Finalize if without_source => {
            ("finalize", "End the way back without asking the source? It must never take writes again")
        }
        Wish::Finalize => {
            ("finalize", "End the way back? What the target writes from then on does not reach the source")
        }
    };
    let refuse = |text: String, next: &str| Err(CommandError::new(Exit::Failed, text).with_next(next));
    let known = way_back::read(&ledger, &found.id).await.map_err(failed)?;
    let Some(known) = known else {
        return refuse("this plan has no way back, or has not come to the cutover".to_owned(), "pcrd status");
    };
    let is_closed = known.state == WayBackState::Closed;
    if known.state == WayBackState::Armed && found.state == "running" {
        return refuse("there was no switch yet, or it is not complete".to_owned(), "pcrd status; pcrd apply goes on");
    }
    // Who died over ending it ends it again.
    let is_over = known.state == WayBackState::Finalized && wish == Wish::Rollback;
    // Whether the source that is there is the one that was opened is asked of it.
    if (known.state == WayBackState::RolledBack && wish == Wish::Rollback) || is_over {
        return refuse(
            format!("the way back is over: it is {}", known.state.to_string().replace('_', " ")),
            "pcrd status; where the source that is there takes no writes, pcrd cleanup opens it if it has everything",
        );
    }
    if is_closed && wish == Wish::Rollback {
        let why = known.reason.unwrap_or_default();
        return refuse(format!("the way back is closed, and the source lacks what came after: {why}"), "pcrd finalize");
    }
    if !confirm(ctx, question, yes).await? {
        ctx.note("nothing was done");
        return Ok(Exit::Done);
    }
    let plan = plan_of(ctx, &config, &found.id)?;
    if executor_comes_back(ctx, &ledger, &found).await? {
        // As in `cutover`.
        if let Some(said) = ask_whoever_is_left(ctx, &ledger, &found, word, None).await? {
            ctx.note(&said);
            return Ok(Exit::Done);
        }
    }
    drop(ledger);
    if wish == Wish::Finalize {
        back::give_up(&quiet_run(ctx, &config, plan)?, without_source)
            .await
            .map_err(|error| explain(error.after_switch()))?;
        ctx.note("the way back has ended; the target is the database");
        return Ok(Exit::Done);
    }
    ctx.note("no executor is alive; this command continues the plan itself");
    finish(ctx, run_plan(ctx, Job { wish: Some(wish), ..Job::new(plan, Until::Gate) }).await?)
}
