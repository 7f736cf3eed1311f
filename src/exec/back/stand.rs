//! After the switch: changes go back until the operator decides, a row cannot go back, or the executor is stopped; then the
//! same plan goes on with it.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::mirror::mirror;
use super::watch::{self, Watch};
use super::{follow, rollback};
use crate::exec::apply::{Outcome, Request};
use crate::exec::context::Run;
use crate::exec::event::{Event, EventKind};
use crate::exec::fence::{self, Standing};
use crate::exec::identity::{Identities, Identity};
use crate::exec::steps::Steps;
use crate::exec::{ExecError, admission, failpoint, snapshots};
use crate::ledger::cutover::{self, CutoverState};
use crate::ledger::way_back::{self, WayBackState};
use crate::ledger::{migration, request};
use crate::pg::client::{self, Client};
use crate::plan::{End, Op, Plan};
use crate::projection::Back;
use crate::sql;

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
        WayBackState::Armed => cutover::read(&ledger, id).await?.state == CutoverState::Switched,
        WayBackState::Open | WayBackState::RollingBack => true,
        WayBackState::Closed | WayBackState::RolledBack | WayBackState::Finalized => false,
    })
}

/// Lets changes go back until something ends that.
///
/// # Errors
/// A row could not go back: the way back is closed, and the target goes on. Or what does not mend itself.
pub async fn stand(request: &Request) -> Result<Outcome, ExecError> {
    let mut wish = request.wish;
    let mut failures = 0_u32;
    loop {
        let began = Instant::now();
        let error = match attempt(request, &mut wish).await {
            Ok(outcome) => return Ok(outcome),
            Err(error) => error,
        };
        if let Some(reason) = ends_it(&request.plan, &error) {
            return Err(close(request, reason).await?);
        }
        if *request.shutdown.borrow() || !(error.is_transient() || matches!(error, ExecError::Busy { .. })) {
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
/// what it was; a table that has no way back.
fn ends_it(plan: &Plan, error: &ExecError) -> Option<String> {
    match error {
        ExecError::Stale { difference, .. } if without_way(plan, difference).is_some() => without_way(plan, difference),
        ExecError::Refused(refused) => {
            let class = refused.error.sqlstate().and_then(|code| code.get(..2).map(str::to_owned));
            class.filter(|class| matches!(class.as_str(), "22" | "23" | "P0")).map(|_| error.to_string())
        }
        ExecError::Strict { .. }
        | ExecError::NoWayBack { .. }
        | ExecError::Stale { .. }
        | ExecError::Reshaped { .. }
        | ExecError::Gap { .. } => Some(error.to_string()),
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

/// The slot goes, so that it does not keep the target's log for a way that nobody can go.
async fn close(request: &Request, reason: String) -> Result<ExecError, ExecError> {
    let run = run(request);
    let ledger = run.connect(End::Target, "way back").await?;
    let from = [WayBackState::Armed, WayBackState::Open, WayBackState::RollingBack];
    way_back::advance(&ledger, &run.id, &from, WayBackState::Closed, Some(&reason)).await?;
    failpoint::hit("back.closed")?;
    remove_from_target(&run, &ledger).await?;
    note(request, format!("ALARM: the way back is closed, the target goes on: {reason}"));
    Ok(ExecError::WayBackClosed { reason })
}

fn run(request: &Request) -> Run {
    let Request { plan, source, target, events, shutdown, .. } = request;
    let mut run = Run::new(plan.clone(), source.clone(), target.clone(), events.clone(), shutdown.clone());
    run.back.clone_from(&request.back);
    run
}

async fn attempt(request: &Request, wish: &mut Option<Wish>) -> Result<Outcome, ExecError> {
    let mut run = run(request);
    let ledger = run.connect(End::Target, "executor").await?;
    let source = run.connect(End::Source, "executor").await?;
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
    request::end_stale(&ledger, &run.id).await?;
    let (mut mirrored, mut tables) = mirror(&run, &ledger).await?;
    let found = way_back::read(&ledger, &run.id).await?.map(|found| found.state);
    if found == Some(WayBackState::RollingBack) {
        // The database says what was decided.
        if fence::standing(&mirrored, &ledger).await? == Standing::Permanent {
            rollback::complete(&run, &ledger, &source).await?;
            run.note("the rollback had been decided before the interruption; it is complete now");
            return Ok(Outcome::RolledBack);
        }
        rollback::undo(&run, &mirrored, &ledger).await?;
        run.note("an interrupted rollback was given up; the target takes writes");
    }
    way_back::advance(&ledger, &run.id, &[WayBackState::Armed], WayBackState::Open, None).await?;
    mirrored.epoch = follow::take_over(&mirrored, &source).await?;
    let mut watch = watch::resume(&mirrored, &source, &ledger, &run.plan.back, &mut tables).await?;
    let mut following = follow::start(mirrored, tables, &source).await?;
    run.note("changes of the target go back to the source: pcrd rollback goes back, pcrd finalize ends the way back");
    let mut said = Instant::now();
    loop {
        let asked = match wish.take() {
            Some(wish) => Some((wish, None)),
            None => asked(&run, &ledger).await?,
        };
        match asked {
            Some((Wish::Rollback, asked)) => return go_back(&run, &ledger, &source, (following, &watch), asked).await,
            Some((Wish::Finalize, asked)) => {
                following.end().await?;
                finalize(&run, &ledger).await?;
                answer(&ledger, asked, true, "the way back has ended; the source stays fenced").await?;
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
        if said.elapsed() >= Duration::from_secs(1) {
            said = Instant::now();
            migration::heartbeat(&ledger, &run.id, run.epoch).await?;
            watch.look(&following.run, &source, &ledger).await?;
            let now = snapshots::write_position(&ledger).await?;
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

async fn go_back(
    run: &Run,
    ledger: &Client,
    source: &Client,
    (mut following, watch): (follow::Following, &Watch),
    asked: Option<i64>,
) -> Result<Outcome, ExecError> {
    let _hold = run.holds.take();
    let mirrored = following.run.clone();
    let error = match rollback::decide(run, ledger, source, (&mut following, watch)).await {
        Ok(()) => {
            rollback::complete(run, ledger, source).await?;
            answer(ledger, asked, true, "the source is the database again; the target takes no writes").await?;
            return Ok(Outcome::RolledBack);
        }
        Err(error) => error,
    };
    drop(following);
    // Of a failed statement on this session.
    ledger.batch_execute("ROLLBACK").await.map_err(ExecError::target("roll back"))?;
    if fence::standing(&mirrored, ledger).await? == Standing::Permanent {
        rollback::complete(run, ledger, source).await?;
        answer(ledger, asked, true, "the source is the database again; the target takes no writes").await?;
        return Ok(Outcome::RolledBack);
    }
    rollback::undo(run, &mirrored, ledger).await?;
    let text = format!("the rollback was given up and the target takes writes: {error}");
    run.note(text.clone());
    answer(ledger, asked, false, &text).await?;
    match error {
        // Who asked for it is told; changes go on going back.
        ExecError::CutoverAborted { .. } => Err(ExecError::StreamEnded),
        other => Err(other),
    }
}

/// Ends a way back that is closed, or that nobody goes.
///
/// # Errors
/// A server that cannot be asked.
pub async fn give_up(run: &Run) -> Result<(), ExecError> {
    finalize(run, &run.connect(End::Target, "finalize").await?).await
}

async fn finalize(run: &Run, ledger: &Client) -> Result<(), ExecError> {
    let from = [WayBackState::Armed, WayBackState::Open, WayBackState::Closed];
    way_back::advance(ledger, &run.id, &from, WayBackState::Finalized, None).await?;
    failpoint::hit("back.finalized")?;
    remove_from_target(run, ledger).await.map(drop)
}

/// Slot and publication of the way back.
pub async fn remove_from_target(run: &Run, ledger: &Client) -> Result<Vec<String>, ExecError> {
    let mut removed = Vec::new();
    let steps = Steps::read(run, ledger).await?;
    let ours = |wanted: fn(&Op) -> bool| run.plan.steps.iter().any(|step| wanted(&step.op) && steps.started(&step.id));
    let slot = run.plan.settings.back_slot();
    if ours(|op| matches!(op, Op::CreateBackSlot(_))) {
        let began = Instant::now();
        loop {
            let query = "SELECT active FROM pg_catalog.pg_replication_slots WHERE slot_name = $1";
            let row = ledger.query_opt(query, &[&slot.as_str()]).await;
            let row = row.map_err(ExecError::target("look for the slot of the way back"))?;
            match row.map(|row| row.get::<_, bool>(0)) {
                None => break,
                Some(true) if began.elapsed() < Duration::from_secs(10) => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Some(_) => {
                    let drop = sql::publication::drop_slot(&slot);
                    ledger.batch_execute(&drop).await.map_err(ExecError::target("drop the slot of the way back"))?;
                    removed.push(format!("replication slot {slot} on the target"));
                    break;
                }
            }
        }
    }
    failpoint::hit("back.after-slot-dropped")?;
    let publication = run.plan.settings.back_publication();
    if ours(|op| matches!(op, Op::PublishBack(_))) {
        let query = "SELECT FROM pg_catalog.pg_publication WHERE pubname = $1";
        let row = ledger.query_opt(query, &[&publication.as_str()]).await;
        if row.map_err(ExecError::target("look for the publication of the way back"))?.is_some() {
            let drop = sql::publication::drop(&publication);
            ledger.batch_execute(&drop).await.map_err(ExecError::target("drop the publication of the way back"))?;
            removed.push(format!("publication {publication} on the target"));
        }
    }
    Ok(removed)
}

/// The rows of the way back in the source's ledger, and the ledger with the last of them: it is nobody else's target.
pub async fn remove_from_source(run: &Run, source: &Client) -> Result<Vec<String>, ExecError> {
    let doing = || ExecError::source("remove the ledger of the way back");
    if run.plan.settings.cutover.reverse.is_none() || !migration::exists(source).await? {
        return Ok(Vec::new());
    }
    let id = super::id(&run.id);
    let mut removed = Vec::new();
    let tables = source
        .query(
            "SELECT c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = 'pcrd' AND c.relkind = 'r' AND c.relname <> 'fence'",
            &[],
        )
        .await
        .map_err(doing())?;
    for table in ["progress", "reread", "skipped", "unreadable", "setting", "step"] {
        source.execute(&format!("DELETE FROM pcrd.{table} WHERE migration = $1"), &[&id]).await.map_err(doing())?;
    }
    source.execute("DELETE FROM pcrd.migration WHERE id = $1", &[&id]).await.map_err(doing())?;
    let left: i64 = source.query_one("SELECT count(*) FROM pcrd.migration", &[]).await.map_err(doing())?.get(0);
    if left == 0 {
        let names: Vec<String> = tables.iter().map(|row| format!("pcrd.\"{}\"", row.get::<_, String>(0))).collect();
        source.batch_execute(&format!("DROP TABLE {}", names.join(", "))).await.map_err(doing())?;
        removed.push("ledger of the way back on the source".to_owned());
    }
    Ok(removed)
}
