//! Back to the source: the fence of the cutover, on the other end. Until the target's fence is permanent everything can be
//! undone; from there on the source is the database, whatever dies. The source is opened only behind that, so that never both
//! ends take writes.
//!
//! How far it has come is written on the source, as that of a cutover is on the target: a source that has the last of it has
//! everything before it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::follow::Following;
use super::looks::Looks;
use super::remove::{READER_PATIENCE, drop_forward_slot, remove_from_target};
use super::watch::with_others;
use super::{clients, mirror};
use crate::exec::apply::overdue;
use crate::exec::context::Run;
use crate::exec::fence::{self, Standing};
use crate::exec::sentinel::Nonce;
use crate::exec::switch::Word;
use crate::exec::{ExecError, constraints, failpoint, pooler, sequences, snapshots};
use crate::ledger::cutover::{self as state, CutoverState};
use crate::ledger::migration;
use crate::ledger::way_back::{self, WayBackState};
use crate::pg::client::Client;
use crate::plan::{End, Op};

/// Whose rows may break what the source promises.
const TARGET_WROTE: &str = "with what the target wrote,";
/// Both ends are looked at as often while changes go back.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Said as soon as the clients can go back.
const OPENED: &str = "the source takes writes again";

pub(super) fn given_up(reason: String) -> ExecError {
    ExecError::RollbackAborted { reason }
}

/// Closes the target, applies what it wrote, and decides. `is_held` is true as soon as the pooler may hold its clients.
pub(super) async fn decide(
    run: &Run,
    (ledger, source): (&Client, &Client),
    (following, looks): (&mut Following, &Looks),
    is_held: &mut bool,
) -> Result<(), ExecError> {
    clients::check(run).await?;
    wait_near(run, (ledger, source), following, looks).await?;
    let (mirrored, tables) = (following.run.clone(), looks.watch.tables.clone());
    if fence::standing(&mirrored, ledger).await.map_err(ExecError::mirrored)? == Standing::Leased {
        fence::lower(&mirrored.id, ledger).await.map_err(ExecError::mirrored)?;
    }
    let limit = Duration::from_millis(run.plan.settings.fence_timeout_ms);
    // In full, and as long as it may take behind the fence: what takes longer there would be asked in vain.
    let questions = constraints::unless_stopped(run, source, async {
        let others = with_others(&tables);
        let questions = constraints::questions_back(&mirrored, source, &others, limit / 2).await?;
        constraints::ask_back(source, &questions, limit / 2, TARGET_WROTE).await?;
        Ok(questions)
    })
    .await?;
    sequences::try_out(&mirrored, source, limit / 2).await.map_err(ExecError::mirrored)?;
    let epoch = mirrored.epoch;
    if !way_back::advance(ledger, &run.id, Some(epoch), &[WayBackState::Open], WayBackState::RollingBack, None).await? {
        return Err(ExecError::Step { step: "rollback".to_owned(), reason: "the way back is not open".to_owned() });
    }
    failpoint::hit("back.begin")?;
    let nonce = Nonce::new();
    // Of an attempt that died.
    state::reset(source, &mirrored.id).await?;
    state::begin(source, &mirrored.id, epoch, &nonce.digest()).await?;
    let keeper = mirrored.connect(End::Source, "lease").await.map_err(ExecError::mirrored)?;
    if clients::before_fence(run, ledger, epoch).await? {
        run.stop_check()?;
        // The program may have taken its time.
        wait_near(run, (ledger, source), following, looks).await?;
    }
    let raised = clients::raise(run, (&mirrored, &tables), ledger, (&nonce, limit), is_held).await?;
    way_back::fenced(ledger, &run.id, epoch, raised.lsn).await?;
    failpoint::hit("back.after-fence")?;
    let until = Instant::now() + limit;
    let advance = |from, to, lsn| state::advance(source, &mirrored.id, epoch, from, to, lsn);
    let fenced = async {
        advance(CutoverState::Fencing, CutoverState::Fenced, Some(raised.lsn)).await?;
        following.wait_for(&nonce.sentinel(&mirrored)).await?;
        following.end().await?;
        // Everything has come, and nothing comes any more: what was done to the source while it came is seen here.
        looks.look_at_source(run, source).await?;
        advance(CutoverState::Fenced, CutoverState::Drained, None).await?;
        failpoint::hit("back.after-drained")?;
        // The server ends them a little before the fence does, and says which.
        let left = until.saturating_duration_since(Instant::now()).mul_f64(0.9);
        constraints::ask_back(source, &questions, left, TARGET_WROTE).await?;
        for step in &mirrored.plan.steps {
            if let Op::SetSequence(set) = &step.op {
                sequences::set(&mirrored, ledger, source, set).await.map_err(ExecError::mirrored)?;
            }
        }
        advance(CutoverState::Drained, CutoverState::SequencesSet, None).await?;
        failpoint::hit("back.after-sequences")
    };
    let bounded = tokio::time::timeout_at(until.into(), async {
        tokio::select! {
            result = fenced => result,
            error = keep_lease(&mirrored, &keeper) => Err(error),
            // The target must not stay closed for an operator who has asked to stop.
            () = overdue(&run.shutdown, Duration::ZERO) => Err(ExecError::Interrupted),
        }
    });
    let bounded = bounded.await.unwrap_or_else(|_| {
        Err(given_up(format!("not drained within {} ms after the target's fence", limit.as_millis())))
    });
    if bounded.is_err() {
        constraints::end(source).await;
    }
    bounded?;
    let left = until.saturating_duration_since(Instant::now());
    let made = fence::make_permanent(&mirrored, ledger, &tables, (&raised, left)).await;
    let made = made.map_err(ExecError::mirrored)?;
    if !made {
        return Err(given_up("the lease of the target's fence ran out, or is another executor's".to_owned()));
    }
    failpoint::hit("back.after-permanent")
}

/// Before the target is closed the source has nearly all of it: what is left is read while nobody may write. Changes go on
/// going back meanwhile, so both ends are looked at as before.
async fn wait_near(
    run: &Run,
    (ledger, source): (&Client, &Client),
    following: &mut Following,
    looks: &Looks,
) -> Result<(), ExecError> {
    let (began, mut looked) = (Instant::now(), None::<Instant>);
    let limit = Duration::from_secs(run.plan.settings.lag_drain_timeout_s);
    let threshold = run.plan.settings.lag_threshold_bytes;
    loop {
        if looked.is_none_or(|at| at.elapsed() >= LOOK_EVERY) {
            migration::heartbeat(ledger, &run.id, run.epoch).await?;
            looks.look(run, &following.run, (ledger, source)).await?;
            looked = Some(Instant::now());
        }
        let now = snapshots::write_position(ledger).await.map_err(ExecError::mirrored)?;
        let lag = now.0.saturating_sub(following.shared.applied().0);
        if lag <= threshold {
            return Ok(());
        }
        following.shared.want(now);
        if began.elapsed() > limit {
            return Err(given_up(format!(
                "not ready within {} s: the source is {lag} bytes behind the target; the threshold is {threshold}",
                limit.as_secs()
            )));
        }
        tokio::select! {
            error = following.failed() => return Err(error),
            slept = run.sleep(Duration::from_millis(200)) => slept?,
        }
    }
}

async fn keep_lease(mirrored: &Run, keeper: &Client) -> ExecError {
    loop {
        tokio::time::sleep(fence::LEASE / 4).await;
        match fence::renew(mirrored, keeper).await {
            Ok(true) => {}
            Ok(false) => return given_up("the lease of the target's fence ran out".to_owned()),
            Err(error) => return error.mirrored(),
        }
    }
}

/// Before changes go back: the source is the one that was closed for good. One that is open was opened by a rollback, and is
/// the database; or it does not know of the switch, and takes writes as the target does.
///
/// # Errors
/// [`ExecError::TargetBehind`] when it was opened by a rollback that this target does not know, [`ExecError::SourceBehind`]
/// when it is open and nobody knows why.
pub async fn is_closed(run: &Run, ledger: &Client, source: &Client) -> Result<(), ExecError> {
    let fenced: BTreeSet<_> = fence::fenced(run, source).await?.into_iter().collect();
    let is_permanent = fence::standing(run, source).await? == Standing::Permanent;
    let reason = match fence::tables(run)?.iter().find(|table| !fenced.contains(*table)) {
        _ if !is_permanent => {
            "its fence of the switch is not there, so that both ends may take writes; after a rollback that this \
             target has lost it is not there either"
                .to_owned()
        }
        Some(table) => format!("{table} is not fenced, so that both ends may take writes"),
        None => return Ok(()),
    };
    let here = way_back::read(ledger, &run.id).await?;
    let fence_lsn = here.as_ref().and_then(|found| found.fence_lsn);
    let is_begun = here.is_some_and(|found| found.state == WayBackState::RollingBack);
    let since = |there| format!("the source takes writes since a rollback that closed the target at {there}");
    match progress_of(run, source).await? {
        // A rollback ends that before it opens anything.
        _ if is_permanent => Err(ExecError::SourceBehind { reason }),
        // The target writes it down before the source does.
        Some(state::Cutover { fence_lsn: Some(there), .. }) if fence_lsn != Some(there) => {
            Err(ExecError::TargetBehind { reason: format!("{}, which this target does not know of", since(there)) })
        }
        // The source is opened only behind a fence of the target that stays.
        Some(state::Cutover { fence_lsn: Some(there), state: CutoverState::SequencesSet, .. })
            if is_begun && fence::standing_of(&mirror::id(&run.id), ledger).await? != Standing::Permanent =>
        {
            Err(ExecError::TargetBehind { reason: format!("{}, and this target is not closed for good", since(there)) })
        }
        _ => Err(ExecError::SourceBehind { reason }),
    }
}

/// How far a rollback has come, as the source has it.
async fn progress_of(run: &Run, source: &Client) -> Result<Option<state::Cutover>, ExecError> {
    let there = "SELECT pg_catalog.to_regclass('pcrd.cutover') IS NOT NULL";
    let row = source.query_one(there, &[]).await.map_err(ExecError::source("look for the ledger of the way back"))?;
    match row.get(0) {
        true => Ok(Some(state::read(source, &mirror::id(&run.id)).await?)),
        false => Ok(None),
    }
}

/// Opens the source behind the target's permanent fence, and moves the clients. Can be repeated. `word` is about the last call
/// of the switch hook.
pub(super) async fn complete(
    run: &Run,
    (ledger, source): (&Client, &Client),
    word: &mut Option<Word>,
) -> Result<(), ExecError> {
    let _hold = run.holds.take();
    has_everything(run, ledger, source).await?;
    let is_fenced = fence::standing(run, source).await? != Standing::None;
    if is_fenced {
        fence::end(run, source).await?;
    }
    run.note(OPENED);
    failpoint::hit("back.after-open")?;
    clients::go_to_source(run, ledger, word).await?;
    // Writes pass, and the lock for the triggers may be long in coming.
    if is_fenced {
        match fence::remove(run, source).await {
            // `cleanup` takes them down.
            Err(error) if fence::is_lock_trouble(&error) => {
                run.note(format!("the source takes writes; its fence's triggers are still there: {error}"));
            }
            other => other?,
        }
    }
    let began = Instant::now();
    loop {
        match drop_forward_slot(run, ledger, source).await {
            Ok(true) => break,
            Ok(false) if began.elapsed() < READER_PATIENCE => tokio::time::sleep(Duration::from_millis(100)).await,
            Ok(false) => {
                run.note("the slot of the way there is read by somebody: pcrd cleanup drops it");
                break;
            }
            // The source takes writes, whatever becomes of its slot.
            Err(error) => {
                run.note(format!("the slot of the way there is not dropped yet ({error}): pcrd cleanup drops it"));
                break;
            }
        }
    }
    remove_from_target(run, ledger).await?;
    migration::set_state(ledger, &run.id, "rolled_back").await?;
    // Last: whoever dies before it comes here again.
    way_back::advance(ledger, &run.id, None, &[WayBackState::RollingBack], WayBackState::RolledBack, None).await?;
    Ok(())
}

/// What the target wrote is on this source, up to the fence that was decided with, and its sequences are past it.
///
/// # Errors
/// [`ExecError::SourceBehind`] when it is not.
pub async fn has_everything(run: &Run, ledger: &Client, source: &Client) -> Result<(), ExecError> {
    let fence_lsn = way_back::read(ledger, &run.id).await?.and_then(|found| found.fence_lsn);
    match progress_of(run, source).await? {
        Some(known)
            if known.state == CutoverState::SequencesSet && fence_lsn.is_some() && known.fence_lsn == fence_lsn =>
        {
            Ok(())
        }
        known => {
            let state = known.map_or_else(|| "nothing".to_owned(), |known| format!("`{}`", known.state));
            Err(ExecError::SourceBehind {
                reason: format!(
                    "the target was closed for a rollback at {}, and the source has come to {state} of it: it was not opened",
                    fence_lsn.map_or_else(|| "an unknown position".to_owned(), |lsn| lsn.to_string())
                ),
            })
        }
    }
}

/// Opens the target again, before anything was decided, and lets the clients go on. Gives what went wrong with the operator's
/// program. `epoch` is that of the source's ledger.
pub(super) async fn undo(run: &Run, ledger: &Client, epoch: i64) -> Result<Option<String>, ExecError> {
    // Before that nobody was held or told, and a pooler that is paused is so by somebody else.
    let is_begun = way_back::read(ledger, &run.id).await?.is_some_and(|found| found.state == WayBackState::RollingBack);
    let id = mirror::id(&run.id);
    if fence::standing_of(&id, ledger).await.map_err(ExecError::mirrored)? == Standing::Leased {
        if is_begun {
            // Writes pass from here on: the clients need not wait until a reader lets the trigger be taken down.
            fence::end_lease(&id, ledger).await.map_err(ExecError::mirrored)?;
            pooler::let_go(run).await;
        }
        match fence::lower(&id, ledger).await {
            // The lease has ended, so writes pass; the next rollback takes the triggers down first.
            Err(error) if fence::is_lock_trouble(&error) => {
                run.note(format!("the target takes writes; its fence's triggers are still there: {error}"));
            }
            other => other.map_err(ExecError::mirrored)?,
        }
    }
    let trouble = if is_begun { clients::stay(run, ledger, epoch).await? } else { None };
    // Last: whoever dies before it comes here again.
    way_back::advance(ledger, &run.id, Some(epoch), &[WayBackState::RollingBack], WayBackState::Open, None).await?;
    Ok(trouble)
}
