//! After the switch: changes go back until the operator decides, a row cannot go back, or the executor is stopped; then the
//! same plan goes on with it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::looks::{self, Looks};
use super::mirror::mirror;
use super::{follow, remove, rollback};
use crate::exec::apply::{Outcome, Request};
use crate::exec::context::Run;
use crate::exec::event::{Event, EventKind};
use crate::exec::fence::{self, Standing};
use crate::exec::identity::{Identities, Identity};
use crate::exec::switch::Word;
use crate::exec::table::TableTask;
use crate::exec::{ExecError, admission, pooler, snapshots};
use crate::ledger::way_back::{self, WayBackState};
use crate::ledger::{LedgerError, migration, request};
use crate::pg::client::{self, Client};
use crate::plan::{End, Plan};
use crate::projection::Back;
use crate::replay::Lsn;

/// As often an executor that was away looks whether another one has ended that took its place.
const RETRIES_MAX: u32 = 8;
/// What differs there is a server or a mistake of ours, and no table.
const NOT_OF_ROWS: [&str; 4] = ["source server", "target server", "change stream", "executor"];

const ROLLED_BACK: &str = "the source is the database again; the target takes no writes";

/// What the operator wants of the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wish {
    /// Back to the source.
    Rollback,
    /// No way back any more.
    Finalize,
}

/// True when the switch is made and changes are to go back.
///
/// # Errors
/// The target cannot be asked.
pub async fn is_under_way(request: &Request) -> Result<bool, ExecError> {
    if request.plan.settings.cutover.reverse.is_none() {
        return Ok(false);
    }
    let ledger = client::connect(&request.target, "pcrd/way back").await.map_err(|error| ExecError::Postgres {
        side: End::Target,
        doing: "connect".to_owned(),
        error,
    })?;
    let id = &request.plan.id.0;
    let Some(found) = way_back::read(&ledger, id).await? else { return Ok(false) };
    Ok(match found.state {
        // A switch that is not complete is completed first.
        WayBackState::Armed => migration::find(&ledger, id).await?.is_some_and(|found| found.state == "cut_over"),
        WayBackState::Open | WayBackState::RollingBack => true,
        WayBackState::Closed | WayBackState::RolledBack | WayBackState::Finalized => false,
    })
}

/// What an operator's own command wants, until it is done or given up.
struct Errand {
    wish: Option<Wish>,
    /// A rollback was begun for it: found undone, it was given up, and the command does not stay as executor.
    began: bool,
    /// What the operator says of the switch hook; said once.
    word: Option<Word>,
}

/// Lets changes go back until something ends that.
///
/// # Errors
/// A row could not go back: the way back is closed, and the target goes on. Or what does not mend itself.
pub async fn stand(request: &Request) -> Result<Outcome, ExecError> {
    // What is said without the wish was said of the cutover.
    let word = request.word.filter(|_| request.wish == Some(Wish::Rollback));
    let mut errand = Errand { wish: request.wish, began: false, word };
    let mut failures = 0_u32;
    loop {
        let began = Instant::now();
        let error = match attempt(request, &mut errand).await {
            Ok(outcome) => return Ok(outcome),
            Err(error) => error,
        };
        let is_busy = matches!(error, ExecError::Busy { .. });
        if *request.shutdown.borrow() || !(error.is_transient() || is_busy) || (is_busy && failures >= RETRIES_MAX) {
            return Err(error);
        }
        failures = if began.elapsed() > Duration::from_secs(30) { 0 } else { failures + 1 };
        let pause = Duration::from_millis(250 << failures.min(6));
        note(request, format!("the way back: {error}; trying again in {} ms", pause.as_millis()));
        let mut shutdown = request.shutdown.clone();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = shutdown.wait_for(|stop| *stop) => return Err(ExecError::Interrupted),
        }
    }
}

fn note(request: &Request, text: String) {
    let event = Event { at_ms: crate::exec::context::now_ms(), step: None, kind: EventKind::Note { text } };
    // The reader of events may end before the run does.
    let _no_reader = request.events.send(event);
}

/// Why no change can go back from here on, if that is what happened: a row that the source cannot have, or that is not
/// what it was; a table that has no way back. Which server a connection leads to says nothing of rows.
fn ends_it(plan: &Plan, error: &ExecError) -> Option<String> {
    match error {
        ExecError::Stale { difference, .. } if without_way(plan, difference).is_some() => without_way(plan, difference),
        ExecError::Stale { what, .. } => Some(error.to_string()).filter(|_| !NOT_OF_ROWS.contains(&what.as_str())),
        ExecError::Refused(refused) => {
            // A value that is too large for an index of the source is refused as often as it comes.
            let is_of_row = |code: &str| matches!(code.get(..2), Some("22" | "23" | "P0")) || code == "54000";
            refused.error.sqlstate().filter(|code| is_of_row(code)).map(|_| error.to_string())
        }
        ExecError::WayBackClosed { reason } => Some(reason.clone()),
        ExecError::Strict { .. } | ExecError::NoWayBack { .. } | ExecError::Reshaped { .. } => Some(error.to_string()),
        _ => None,
    }
}

/// A change of a table that the stream has and the way back has not.
fn without_way(plan: &Plan, difference: &str) -> Option<String> {
    let is_it = |way: &&Back| {
        let name = format!("{}.{}", way.from.schema.as_str(), way.from.name.as_str());
        way.projection.is_none() && difference == format!("it publishes {name}, which is not in the plan")
    };
    let way = plan.back.iter().find(is_it)?;
    let why = way.losses().map(|(_, why)| why.as_str()).collect::<Vec<_>>().join("; ");
    Some(format!("a row of {} was written, which has no way back: irreversible because {why}", way.from))
}

fn run(request: &Request) -> Run {
    let Request { plan, source, target, events, shutdown, .. } = request;
    let mut run = Run::new(plan.clone(), source.clone(), target.clone(), events.clone(), shutdown.clone());
    run.back.clone_from(&request.back);
    run.pooler.clone_from(&request.pooler);
    run
}

async fn attempt(request: &Request, errand: &mut Errand) -> Result<Outcome, ExecError> {
    let mut run = run(request);
    let ledger = run.connect(End::Target, "executor").await?;
    let source = match run.connect(End::Source, "executor").await {
        Ok(source) => source,
        Err(error) => {
            if of_target(&run, &ledger).await? == Standing::Permanent {
                run.note(remove::BOTH_CLOSED);
            }
            return Err(error);
        }
    };
    admission::check_database(End::Source, &run.plan.source.server, &source).await?;
    admission::check_database(End::Target, &run.plan.target.server, &ledger).await?;
    let targets: Vec<_> = run.plan.targets().into_iter().cloned().collect();
    admission::take_lock(&run, &ledger, &source, &targets).await?;
    run.identities = Some(Identities {
        source: Identity::read(End::Source, &source).await?,
        target: Identity::read(End::Target, &ledger).await?,
    });
    run.epoch = migration::find(&ledger, &run.id).await?.map_or(0, |found| found.epoch);
    run.emit(None, EventKind::Admitted);
    let found = way_back::read(&ledger, &run.id).await?;
    let found =
        found.ok_or_else(|| ExecError::Gap { reason: "the target's ledger knows of no way back".to_owned() })?;
    let state = found.state;
    match state {
        WayBackState::Armed | WayBackState::Open | WayBackState::RollingBack => {}
        // By another executor, or by this one, which did not come to its end.
        WayBackState::Closed => {
            remove::remove_from_target(&run, &ledger).await?;
            let reason = found.reason.unwrap_or_else(|| "the ledger does not say why".to_owned());
            return Err(ExecError::WayBackClosed { reason });
        }
        WayBackState::RolledBack => return Ok(Outcome::RolledBack),
        WayBackState::Finalized => return Ok(Outcome::Finalized),
    }
    // The database says what was decided.
    if state == WayBackState::RollingBack && of_target(&run, &ledger).await? == Standing::Permanent {
        rollback::complete(&run, (&ledger, &source), &mut errand.word).await?;
        request::end_taken(&ledger, &run.id, "rollback", ROLLED_BACK).await?;
        run.note("the rollback had been decided before the interruption; it is complete now");
        return Ok(Outcome::RolledBack);
    }
    // What is said is said of the call that it was said of, and not of one that comes after it.
    errand.word = None;
    request::end_stale(&ledger, &run.id).await?;
    match rollback::is_closed(&run, &ledger, &source).await {
        // Where the fence is permanent the server is the right one: what became of its tables is looked at before changes go.
        Err(ExecError::SourceBehind { .. }) if fence::standing(&run, &source).await? == Standing::Permanent => {}
        other => other?,
    }
    let (mut mirrored, tables) = mirror(&run, &ledger).await?;
    mirrored.epoch = follow::take_over(&mirrored, &source).await?;
    if !way_back::take_over(&ledger, &run.id, mirrored.epoch).await? {
        // We hold the locks: nobody else is there.
        let reason = format!("the target knows a later executor than number {}, which its ledger gave", mirrored.epoch);
        return Err(ExecError::SourceBehind { reason });
    }
    let mirrored = Arc::new(mirrored);
    if state == WayBackState::RollingBack {
        let trouble = rollback::undo(&run, &ledger, mirrored.epoch).await?;
        run.note("an interrupted rollback was given up; the target takes writes");
        if let Some(trouble) = trouble {
            run.note(trouble);
        }
        if errand.began {
            return Err(ExecError::RollbackAborted { reason: "it was interrupted".to_owned() });
        }
    }
    let (epoch, from) = (Some(mirrored.epoch), [WayBackState::Armed, WayBackState::Open]);
    if !way_back::advance(&ledger, &run.id, epoch, &from, WayBackState::Open, None).await? {
        return Err(LedgerError::Fenced { epoch: mirrored.epoch, lsn: Lsn(0) }.into());
    }
    let error = match go(&run, (&ledger, &source), (Arc::clone(&mirrored), tables), errand).await {
        Ok(outcome) => return Ok(outcome),
        Err(error) => error,
    };
    let Some(reason) = ends_it(&run.plan, &error) else { return Err(error) };
    remove::close(&run, &mirrored, (&ledger, &source), &reason).await?;
    run.note(format!("ALARM: the way back is closed, the target goes on: {reason}"));
    Err(ExecError::WayBackClosed { reason })
}

/// What stands on the target.
async fn of_target(run: &Run, ledger: &Client) -> Result<Standing, ExecError> {
    fence::standing_of(&super::id(&run.id), ledger).await.map_err(ExecError::mirrored)
}

/// Lets changes go back under the executor's locks.
async fn go(
    run: &Run,
    (ledger, source): (&Client, &Client),
    (mirrored, mut tables): (Arc<Run>, Vec<TableTask>),
    errand: &mut Errand,
) -> Result<Outcome, ExecError> {
    let looks = looks::resume(run, &mirrored, (ledger, source), &mut tables).await?;
    let mut following = follow::start(mirrored, tables, (source, ledger)).await?;
    run.note("changes of the target go back to the source: pcrd rollback goes back, pcrd finalize ends the way back");
    let (mut said, mut is_slot_gone) = (Instant::now(), false);
    loop {
        let asked = match errand.wish {
            Some(wish) => Some((wish, None)),
            None => asked(run, ledger).await?,
        };
        match asked {
            Some((Wish::Rollback, asked)) => {
                errand.began |= asked.is_none();
                return go_back(run, (ledger, source), (following, &looks), asked).await;
            }
            Some((Wish::Finalize, asked)) => {
                following.end().await?;
                remove::finalize(run, ledger).await?;
                answer(ledger, asked, true, "the way back has ended; the source stays fenced").await?;
                return Ok(Outcome::Finalized);
            }
            None => {}
        }
        let slept = tokio::select! {
            error = following.failed() => return Err(error),
            slept = run.sleep(Duration::from_millis(200)) => slept,
        };
        if let Err(stopped) = slept {
            following.end().await?;
            return Err(stopped);
        }
        if said.elapsed() >= rollback::LOOK_EVERY {
            said = Instant::now();
            migration::heartbeat(ledger, &run.id, run.epoch).await?;
            looks.look(run, &following.run, (ledger, source)).await?;
            is_slot_gone = is_slot_gone || remove::drop_forward_slot(run, ledger, source).await?;
            let now = snapshots::write_position(ledger).await.map_err(ExecError::mirrored)?;
            let applied = following.shared.applied();
            let count = |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
            run.emit(
                None,
                EventKind::Lag {
                    source_lsn: now.to_string(),
                    applied_lsn: applied.to_string(),
                    lag_bytes: now.0.saturating_sub(applied.0),
                    transactions: count(&following.shared.counters.transactions),
                    changes: count(&following.shared.counters.changes),
                },
            );
        }
    }
}

/// What was asked of this executor from another terminal.
async fn asked(run: &Run, ledger: &Client) -> Result<Option<(Wish, Option<i64>)>, ExecError> {
    while let Some(asked) = request::take(ledger, &run.id).await? {
        match asked.kind.as_str() {
            "rollback" => return Ok(Some((Wish::Rollback, Some(asked.id)))),
            "finalize" => return Ok(Some((Wish::Finalize, Some(asked.id)))),
            other => {
                let text = format!("after the switch there is nothing to {other}: changes of the target go back");
                request::end(ledger, asked.id, false, &text).await?;
            }
        }
    }
    Ok(None)
}

async fn answer(ledger: &Client, asked: Option<i64>, ok: bool, text: &str) -> Result<(), ExecError> {
    match asked {
        Some(id) => Ok(request::end(ledger, id, ok, text).await?),
        None => Ok(()),
    }
}

/// What stands on the target when the rollback has ended with an error.
async fn after_failure(mirrored: &Run, ledger: &Client) -> Result<Standing, ExecError> {
    // Of a failed statement on this session.
    ledger.batch_execute("ROLLBACK").await.map_err(ExecError::target("roll back"))?;
    fence::standing(mirrored, ledger).await.map_err(ExecError::mirrored)
}

async fn go_back(
    run: &Run,
    (ledger, source): (&Client, &Client),
    (mut following, looks): (follow::Following, &Looks),
    asked: Option<i64>,
) -> Result<Outcome, ExecError> {
    let _hold = run.holds.take();
    let mirrored = following.run.clone();
    let mut is_held = false;
    let decided = rollback::decide(run, (ledger, source), (&mut following, looks), &mut is_held).await;
    drop(following);
    let undecided = match decided {
        Ok(()) => None,
        Err(error) => match after_failure(&mirrored, ledger).await {
            Ok(Standing::Permanent) => None,
            Ok(Standing::None | Standing::Leased) => Some(error),
            Err(lost) => {
                // Clients that are held for a target that cannot be asked would be held when it is back.
                if is_held {
                    pooler::let_go(run).await;
                }
                return Err(lost);
            }
        },
    };
    let Some(error) = undecided else {
        let completed = rollback::complete(run, (ledger, source), &mut None).await;
        let text = match &completed {
            // The next attempt ends it, and says so.
            Err(error) if error.is_transient() => return completed.map(|()| Outcome::RolledBack),
            Ok(()) => ROLLED_BACK.to_owned(),
            Err(error @ ExecError::SwitchUnknown { .. }) => {
                format!("the rollback is decided, and not done: {error}; pcrd rollback --switch-happened yes, or no")
            }
            Err(error) => format!("the rollback is decided, and not done: {error}; pcrd rollback goes on with it"),
        };
        answer(ledger, asked, completed.is_ok(), &text).await?;
        return completed.map(|()| Outcome::RolledBack);
    };
    let reason = match &error {
        // The fence's own words are those of a cutover.
        ExecError::RollbackAborted { reason } | ExecError::CutoverAborted { reason } => reason.clone(),
        other => other.to_string(),
    };
    let reason = match rollback::undo(run, ledger, mirrored.epoch).await {
        Ok(None) => reason,
        Ok(Some(trouble)) => format!("{reason}; {trouble}"),
        Err(undoing) => {
            // What ended it would not be heard of otherwise.
            let text = format!("the rollback is given up: {reason}; {undoing}");
            run.note(text.clone());
            if !undoing.is_transient() {
                answer(ledger, asked, false, &text).await?;
            }
            return Err(undoing);
        }
    };
    let aborted = ExecError::RollbackAborted { reason };
    run.note(aborted.to_string());
    answer(ledger, asked, false, &aborted.to_string()).await?;
    match error {
        error if ends_it(&run.plan, &error).is_some() => Err(error),
        ExecError::Interrupted => Err(ExecError::Interrupted),
        // Who asked for it is told; changes go on going back.
        ExecError::RollbackAborted { .. } | ExecError::CutoverAborted { .. } if asked.is_some() => {
            Err(ExecError::StreamEnded)
        }
        other if asked.is_some() => Err(other),
        // It was this command's only work.
        _ => Err(aborted),
    }
}
