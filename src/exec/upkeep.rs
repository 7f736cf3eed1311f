//! What goes on beside copy and stream: visibility, ticks on an idle source, signs of life, requests of operators.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::ExecError;
use super::context::Run;
use super::copy;
use super::event::EventKind;
use super::failpoint;
use super::limits;
use super::preflight;
use super::shared::Shared;
use super::snapshots;
use super::table::TableTask;
use super::target_partitions::{self, Followed};
use super::touched::Touched;
use super::witness;
use crate::ledger::request::Request;
use crate::ledger::{LedgerError, lock, migration, request};
use crate::pg::client::Client;
use crate::plan::End;
use crate::replay::Lsn;

/// Tables whose identity is looked at in one second.
const LOOKS: usize = 20;
const ROUND: Duration = Duration::from_millis(200);
/// An idle source is nudged when somebody has waited this long for a position.
const NUDGE_AFTER: Duration = Duration::from_millis(150);
/// Apply waits when more transactions than this are remembered as discarded and not yet visible.
const DISCARDED_MAX: usize = 10_000;

/// Runs until it fails, is aborted, or is told to stop between two rounds; hands requests to cut over or to verify on.
pub async fn run(
    run: Arc<Run>,
    shared: Arc<Shared>,
    tables: Arc<Vec<TableTask>>,
    touched: Arc<Touched>,
    cutovers: mpsc::UnboundedSender<Request>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), ExecError> {
    let source = run.connect(End::Source, "upkeep").await?;
    // A nudge must not wait for the source's standbys.
    source
        .batch_execute("SET synchronous_commit = local")
        .await
        .map_err(ExecError::source("set synchronous_commit"))?;
    let ledger = run.connect(End::Target, "upkeep").await?;
    let mut said = Instant::now();
    // All tables in turn, a few a second: a schema of thousands is no load either.
    let (partitioned, others): (Vec<&TableTask>, Vec<&TableTask>) =
        tables.iter().partition(|task| task.projection.partitioned);
    let mut in_turn = others.iter().cycle();
    let (mut held_back, mut pace) = (None, None);
    let mut counted = None;
    let mut followed = Followed::default();
    let mut lagging: Option<(Lsn, Instant)> = None;
    loop {
        if tokio::time::timeout(ROUND, stop.wait_for(|stop| *stop)).await.is_ok() {
            return Ok(());
        }
        let (snapshot, now) = snapshots::snapshot(&source).await?;
        let remembered = {
            let mut router = shared.router();
            router.prune(&snapshot);
            router.all_lanes().map(|(_, _, lane)| lane.discarded().len()).max()
        };
        touched.prune_idle(&snapshot);
        shared.set_discard_pressure(remembered.is_some_and(|n| n > DISCARDED_MAX));
        let applied = shared.applied();
        match (shared.wanted(), lagging) {
            (Some(_), Some((at, since))) if at == applied => {
                if since.elapsed() >= NUDGE_AFTER {
                    // Somebody waits and nothing moves: a commit of our own makes an idle source send its position.
                    source
                        .batch_execute("SELECT pg_catalog.pg_logical_emit_message(true, 'pcrd', 'tick')")
                        .await
                        .map_err(ExecError::source("nudge the idle stream"))?;
                }
            }
            (Some(_), _) => lagging = Some((applied, Instant::now())),
            (None, _) => lagging = None,
        }
        requests(&run, &ledger, &cutovers).await?;
        if let Some(asked) = shared.looks_wanted() {
            look(&run, &ledger, &source, &partitioned, &mut followed).await?;
            shared.set_looked(asked);
        }
        let is_due = said.elapsed() >= Duration::from_secs(1);
        run.throttle.tell(&run, &ledger, (&mut held_back, &mut pace), is_due).await?;
        if is_due {
            said = Instant::now();
            if !migration::heartbeat(&ledger, &run.id, run.epoch).await? {
                return Err(LedgerError::Fenced { epoch: run.epoch, lsn: applied }.into());
            }
            // Without its locks a second executor would not be refused, and commands would take this one for dead.
            // All of one session; the first one tells.
            if let Some(projection) = run.plan.projections.first()
                && !lock::held(&ledger, &projection.target).await?
            {
                return Err(ExecError::LockLost { side: End::Target });
            }
            if !lock::slot_held(&source, run.plan.settings.slot.as_str()).await? {
                return Err(ExecError::LockLost { side: End::Source });
            }
            for task in in_turn.by_ref().take(LOOKS.min(others.len())) {
                witness::follow(&run, &ledger, &source, task).await?;
                if !task.on_ddl.is_stop() {
                    // A column that nobody writes to is in no stream, and may come when nothing is read any more.
                    copy::check_shape(&source, task).await?;
                }
            }
            // Who fills a partition waits until it was looked at, and cannot know how many tables there are.
            if !failpoint::disabled("rule.look") {
                look(&run, &ledger, &source, &partitioned, &mut followed).await?;
            }
            say_small_headroom(&run, &source, &partitioned, &mut counted).await?;
            run.emit(
                None,
                EventKind::Lag {
                    source_lsn: now.to_string(),
                    applied_lsn: applied.to_string(),
                    lag_bytes: now.0.saturating_sub(applied.0),
                    transactions: shared.counters.transactions.load(Ordering::Relaxed),
                    changes: shared.counters.changes.load(Ordering::Relaxed),
                },
            );
        }
    }
}

/// Looks at the partitioned tables.
async fn look(
    run: &Run,
    ledger: &Client,
    source: &Client,
    tables: &[&TableTask],
    followed: &mut Followed,
) -> Result<(), ExecError> {
    witness::follow_all(run, ledger, source, tables, None).await?;
    target_partitions::follow(run, ledger, source, tables, followed).await?;
    let followed: Vec<&TableTask> = tables.iter().copied().filter(|task| !task.on_ddl.is_stop()).collect();
    if followed.is_empty() {
        return Ok(());
    }
    copy::check_shapes(source, &followed).await
}

/// Says once for so many partitions and workers that their locks leave little room to the application: more may have come of both.
async fn say_small_headroom(
    run: &Run,
    source: &Client,
    tables: &[&TableTask],
    counted: &mut Option<(usize, usize)>,
) -> Result<(), ExecError> {
    let partitions = tables.iter().filter_map(|task| task.witness.as_ref()).map(|seen| seen.partitions().len()).sum();
    if *counted != Some((partitions, run.workers())) {
        *counted = Some((partitions, run.workers()));
        if let Some(advice) = preflight::small_headroom(run, source).await? {
            run.note(advice.to_string());
        }
    }
    Ok(())
}

async fn requests(run: &Run, ledger: &Client, cutovers: &mpsc::UnboundedSender<Request>) -> Result<(), ExecError> {
    while let Some(asked) = request::take(ledger, &run.id).await? {
        let answer = match asked.kind.as_str() {
            "pause" => {
                run.throttle.set_paused(true);
                migration::set_setting(ledger, &run.id, "paused", Some("true")).await?;
                "the copy is paused; the stream goes on".to_owned()
            }
            "resume" => {
                run.throttle.set_paused(false);
                migration::set_setting(ledger, &run.id, "paused", None).await?;
                "the copy goes on".to_owned()
            }
            "throttle" => match limits::change(run, ledger, asked.argument.as_deref().unwrap_or_default()).await? {
                Ok(answer) => answer,
                Err(why) => {
                    request::end(ledger, asked.id, false, &why).await?;
                    continue;
                }
            },
            "abort" => {
                request::end(ledger, asked.id, true, "stopping").await?;
                return Err(ExecError::AbortRequested);
            }
            // The driver answers these at the gate; until then they wait.
            "cutover" | "verify" => {
                if cutovers.send(asked.clone()).is_err() {
                    request::end(ledger, asked.id, false, "the executor is stopping").await?;
                }
                continue;
            }
            other => {
                request::end(ledger, asked.id, false, &format!("this pcrd does not know the request `{other}`"))
                    .await?;
                continue;
            }
        };
        run.note(answer.clone());
        request::end(ledger, asked.id, true, &answer).await?;
    }
    Ok(())
}
