//! `pcrd rollback` and `pcrd finalize`.

use super::apply::finish;
use super::cutover::Whether;
use crate::cli::confirm::confirm;
use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::executor::{
    Job, ask_whoever_is_left, current, executor_alive, executor_comes_back, explain, failed, plan_of, quiet_run,
    run_plan,
};
use crate::cli::programs::check_programs;
use crate::exec::apply::Until;
use crate::exec::back::{self, Wish};
use crate::exec::switch::Word;
use crate::ledger::way_back::{self, WayBackState};

/// Arguments of `rollback`.
#[derive(Debug, clap::Args)]
pub struct RollbackArgs {
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Whether a switch hook that is in doubt has moved the clients back: with `no` it runs once more
    #[arg(long, value_name = "WHETHER")]
    pub switch_happened: Option<Whether>,
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
    let word = args.switch_happened.map(|whether| match whether {
        Whether::Yes => Word::Happened,
        Whether::No => Word::NotHappened,
    });
    run(ctx, args.yes, (Wish::Rollback, word), false).await
}

/// Ends the way back.
pub async fn finalize(ctx: &Context, args: &FinalizeArgs) -> Result<Exit, CommandError> {
    run(ctx, args.yes, (Wish::Finalize, None), args.without_source).await
}

/// Asks the running executor; when none is alive, goes on with the plan itself.
async fn run(
    ctx: &Context,
    yes: bool,
    (wish, word): (Wish, Option<Word>),
    without_source: bool,
) -> Result<Exit, CommandError> {
    let (config, ledger, found) = current(ctx).await?;
    let (kind, question) = match wish {
        Wish::Rollback if word == Some(Word::Happened) => ("rollback", "Is it true that the clients use the source?"),
        Wish::Rollback if word.is_some() => {
            ("rollback", "Is it true that no client uses the source, and may the switch hook run once more?")
        }
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
    let plan = plan_of(ctx, &config, &found.id)?;
    check_programs(&config, &plan)?;
    let busy = |text: &str| Err(CommandError::new(Exit::Busy, text).with_next("pcrd status"));
    if word.is_some() {
        if !back::is_in_doubt(&quiet_run(ctx, &config, plan.clone())?, &ledger).await.map_err(explain)? {
            let text = "no switch hook of a rollback is in doubt, so there is nothing to say of it";
            return Err(CommandError::new(Exit::Usage, text).with_next("pcrd status"));
        }
        if executor_alive(&ledger, &found).await? {
            return busy("an executor is at work: the switch hook may be running");
        }
    }
    if !confirm(ctx, question, yes).await? {
        ctx.note("nothing was done");
        return Ok(Exit::Done);
    }
    if executor_comes_back(ctx, &ledger, &found).await? {
        if word.is_some() {
            return busy("an executor has come meanwhile, and nothing was told to it");
        }
        // As in `cutover`.
        if let Some(said) = ask_whoever_is_left(ctx, &ledger, &found, kind, None).await? {
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
    finish(ctx, run_plan(ctx, Job { wish: Some(wish), word, ..Job::new(plan, Until::Gate) }).await?)
}
