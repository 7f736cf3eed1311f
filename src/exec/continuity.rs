//! What must be true of slot, position and history before the stream may go on: that no change is missing.

use tokio_postgres::Client as Sql;

use super::ExecError;
use super::context::Run;
use super::slot::SlotState;
use crate::ledger::adoption;
use crate::ledger::progress::{self, Progress};
use crate::pg::client::Client;
use crate::pg::replication::Replication;
use crate::plan::End;
use crate::replay::timeline;
use crate::replay::{FullXid, Lsn};

fn gap(reason: String) -> Result<(), ExecError> {
    Err(ExecError::Gap { reason })
}

/// Compares the slot and the server's position with what the target has applied.
pub async fn check(
    run: &Run,
    ledger: &Sql,
    source: &Client,
    progress: &Progress,
    found: &SlotState,
) -> Result<(), ExecError> {
    let slot = &run.plan.settings.slot;
    if found.lost {
        return gap(format!("the source has removed log that slot {slot} needs (max_slot_wal_keep_size)"));
    }
    if let Some(confirmed) = found.confirmed
        && confirmed > progress.applied
    {
        return gap(format!(
            "slot {slot} is confirmed up to {confirmed}, but the target has applied only up to {}: the slot was \
             re-created or advanced by somebody else, or the target was restored",
            progress.applied
        ));
    }
    let row = source
        .query_one(
            "SELECT pg_catalog.pg_current_wal_insert_lsn()::text, \
             pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot())",
            &[],
        )
        .await
        .map_err(ExecError::source("read the write position"))?;
    let now: Lsn = row
        .get::<_, String>(0)
        .parse()
        .map_err(|error: crate::replay::position::LsnError| ExecError::Gap { reason: error.to_string() })?;
    // Also a chunk was committed only after the source had made durable what it shows.
    let newest = progress::newest(ledger, &run.id).await?.unwrap_or(progress.applied);
    let restarts = adoption::restarts_by_timeline(ledger, &run.id).await?;
    let newest = restarts.iter().map(|(_, lsn)| *lsn).fold(newest, Lsn::max);
    if newest > now {
        return gap(format!(
            "the target rests on the source up to {newest}, but the source is only at {now}: the source was restored or \
             failed over"
        ));
    }
    let next = FullXid(row.get::<_, i64>(1) as u64);
    if progress.near > next {
        return gap(format!(
            "the target has applied transaction {}, but the source has come only to {next}: the source was restored or \
             failed over, and has lost commits",
            progress.near
        ));
    }
    Ok(())
}

/// After a failover or a point-in-time recovery the source is on a new timeline: it may go on only if the old one was
/// left behind everything that the target rests on.
pub async fn check_timeline(
    run: &Run,
    ledger: &Sql,
    connection: &mut Replication,
    progress: &Progress,
    now: u32,
) -> Result<(), ExecError> {
    let (source, target) = (run.end(End::Source), run.end(End::Target));
    let before = progress.timeline;
    if now == before {
        return Ok(());
    }
    let doing = || format!("read the history of timeline {now}");
    let history = connection.timeline_history(now).await.map_err(|error| ExecError::Postgres {
        side: End::Source,
        doing: doing(),
        error,
    })?;
    let left = timeline::left_at(&history, before)
        .map_err(|error| ExecError::Gap { reason: format!("the {source} is on timeline {now}: {error}") })?;
    let mut newest = progress::newest(ledger, &run.id).await?;
    for (timeline, lsn) in adoption::restarts_by_timeline(ledger, &run.id).await? {
        if timeline == before {
            newest = newest.max(Some(lsn));
        } else if timeline != now {
            // The plan was changed between two failovers.
            let left = timeline::left_at(&history, timeline)
                .map_err(|error| ExecError::Gap { reason: format!("the {source} is on timeline {now}: {error}") })?;
            if left.is_none_or(|left| lsn > left) {
                return gap(format!(
                    "the {source} is on timeline {now}, and a table that was started again counts from {lsn} on timeline \
                     {timeline} on, which this {source} does not have"
                ));
            }
        }
    }
    match left {
        None => gap(format!("the {source} is on timeline {now}, which never was on timeline {before}")),
        Some(left) if newest.is_some_and(|newest| newest > left) => gap(format!(
            "the {source} is on timeline {now} since {left}, but the {target} rests on timeline {before} up to {}: commits \
             that the {target} has were lost in a failover",
            newest.unwrap_or(left)
        )),
        Some(left) => {
            run.note(format!("the {source} went from timeline {before} to {now} at {left}; no change is missing"));
            Ok(progress::set_timeline(ledger, &run.id, run.epoch, now, left).await?)
        }
    }
}
