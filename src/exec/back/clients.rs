//! The clients in a rollback: held, or told of it, before the target is closed; moved once, when the source takes writes; and let
//! go on where the rollback is given up.

use std::time::{Duration, Instant};

use super::BOTH_CLOSED;
use super::mirror;
use super::rollback::given_up;
use crate::exec::apply::overdue;
use crate::exec::context::Run;
use crate::exec::fence::{self, Raised, Standing};
use crate::exec::hook::{self, Ended};
use crate::exec::sentinel::Nonce;
use crate::exec::switch::{self, Word};
use crate::exec::table::TableTask;
use crate::exec::{ExecError, failpoint, pooler};
use crate::ledger::hook::{self as calls, CallEnd, Direction};
use crate::ledger::way_back::{self, WayBackState};
use crate::pg::client::Client;
use crate::plan::{End, Hook, Plan};

/// Before anything is stopped: the programs are there, and the pooler can be asked.
///
/// # Errors
/// They are not: nothing was done.
pub(super) async fn check(run: &Run) -> Result<(), ExecError> {
    hook::check_programs(run)?;
    pooler::check(run, End::Target).await.map_err(|error| given_up(error.to_string()))
}

/// Calls the program for before the fence; true when there is one.
///
/// # Errors
/// It failed.
pub(super) async fn before_fence(run: &Run, ledger: &Client, epoch: i64) -> Result<bool, ExecError> {
    let ended = match hook::call(run, ledger, (Direction::Back, epoch), Hook::BeforeFence).await {
        // One of an executor that died still runs.
        Err(ExecError::Step { reason, .. }) => return Err(given_up(reason)),
        other => other?,
    };
    match ended.as_ref().and_then(Ended::trouble) {
        Some(why) => Err(given_up(format!("the before_fence hook failed: {why}"))),
        None => Ok(ended.is_some()),
    }
}

/// Holds the pooler's clients, where there is one, and raises the target's fence. `is_held` is true as soon as one may be held.
///
/// # Errors
/// It took too long, or a server refuses.
pub(super) async fn raise(
    run: &Run,
    (mirrored, tables): (&Run, &[TableTask]),
    ledger: &Client,
    (nonce, limit): (&Nonce, Duration),
    is_held: &mut bool,
) -> Result<Raised, ExecError> {
    let raised = fence::raise(mirrored, ledger, tables, nonce, (None, limit));
    if run.plan.settings.cutover.pgbouncer.is_none() {
        return raised.await.map_err(ExecError::mirrored);
    }
    // Held clients do not wait for as many attempts as there may be.
    let deadline = Instant::now() + limit;
    *is_held = true;
    tokio::select! {
        paused = pooler::pause(run, deadline) => paused.map_err(|error| given_up(error.to_string()))?,
        () = overdue(&run.shutdown, Duration::ZERO) => return Err(ExecError::Interrupted),
    }
    failpoint::hit("back.after-pause")?;
    match tokio::time::timeout_at(deadline.into(), raised).await {
        Ok(raised) => raised.map_err(ExecError::mirrored),
        Err(_) => {
            let limit_ms = limit.as_millis();
            Err(given_up(format!("pgbouncer's clients waited for {limit_ms} ms and the fence was not up")))
        }
    }
}

/// Moves the clients to the source, which takes writes; at most once. Can be repeated.
///
/// # Errors
/// Nobody knows whether they were moved: they are held still, where there is a pooler.
pub(super) async fn go_to_source(run: &Run, ledger: &Client, word: &mut Option<Word>) -> Result<(), ExecError> {
    let _hold = run.holds.take();
    let by = (Direction::Back, epoch(run, ledger).await?);
    switch::check_word(run, ledger, Direction::Back, *word).await?;
    switch::move_clients(run, ledger, by, word).await?;
    failpoint::hit("back.after-moved")?;
    pooler::resume(run).await?;
    failpoint::hit("back.after-resume")?;
    switch::after_switch(run, ledger, by).await
}

/// Lets the clients go on where they were, behind a rollback that is given up: the target takes writes. Can be repeated. Gives
/// what went wrong with the operator's program.
///
/// # Errors
/// The pooler cannot be asked, or the ledger.
pub(super) async fn stay(run: &Run, ledger: &Client, epoch: i64) -> Result<Option<String>, ExecError> {
    let _hold = run.holds.take();
    // The program of the operator's may be what makes it answer again.
    let resumed = pooler::resume(run).await;
    let ended = hook::call(run, ledger, (Direction::Back, epoch), Hook::Abort).await?;
    resumed?;
    Ok(ended.as_ref().and_then(Ended::trouble).map(|why| format!("the abort hook failed: {why}")))
}

/// Of the executor that began the rollback: who holds the locks goes on with it.
async fn epoch(run: &Run, ledger: &Client) -> Result<i64, ExecError> {
    let found = way_back::read(ledger, &run.id).await?;
    found
        .map(|found| found.epoch)
        .ok_or_else(|| ExecError::Gap { reason: "the target's ledger knows of no way back".to_owned() })
}

/// The switch hook of a rollback was called, and the rollback is not over.
///
/// # Errors
/// The target cannot be asked.
pub async fn is_in_doubt(run: &Run, ledger: &Client) -> Result<bool, ExecError> {
    let state = way_back::read(ledger, &run.id).await?.map(|found| found.state);
    if run.plan.settings.cutover.hooks.switch.is_empty() || state != Some(WayBackState::RollingBack) {
        return Ok(false);
    }
    Ok(calls::last(ledger, &run.id, Direction::Back, Hook::Switch.word()).await?.is_some())
}

/// What is to be said of a rollback that no executor goes on with.
///
/// # Errors
/// The target cannot be asked.
pub async fn left(ledger: &Client, id: &str, plan: Option<&Plan>) -> Result<String, ExecError> {
    let cutover = plan.map(|plan| &plan.settings.cutover);
    let held = match cutover.is_some_and(|cutover| cutover.pgbouncer.is_some()) {
        true => "; pgbouncer may hold its clients until then",
        false => "",
    };
    if fence::standing_of(&mirror::id(id), ledger).await? != Standing::Permanent {
        return Ok(format!(
            "a rollback was interrupted before it was decided: pcrd rollback begins it again, pcrd apply gives it up{held}"
        ));
    }
    let has_hook = cutover.is_some_and(|cutover| !cutover.hooks.switch.is_empty());
    let call = match has_hook {
        true => calls::last(ledger, id, Direction::Back, Hook::Switch.word()).await?,
        false => None,
    };
    Ok(match call {
        None => format!("{BOTH_CLOSED}{held}"),
        Some(call) if matches!(call.end, None | Some(CallEnd::Failed)) => format!(
            "the source takes writes and the target takes none; {}: pcrd rollback --switch-happened yes, or no{held}",
            call.in_words()
        ),
        Some(_) => format!("the source takes writes and the target takes none: pcrd rollback goes on with it{held}"),
    })
}
