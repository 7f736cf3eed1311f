//! Lays a table out in lanes of key ranges, once, and finds them again after a restart.

use std::collections::BTreeMap;

use super::ExecError;
use super::context::Run;
use super::copy::LaneWork;
use super::failpoint;
use super::table::TableTask;
use crate::ledger::chunk::{self, Bound, LaneRow};
use crate::ledger::progress::Progress;
use crate::pg::client::Client;
use crate::replay::{Chunk, Lane, Router, TableRoute};
use crate::sql;

/// Tables below this estimate are one lane.
const ROWS_FOR_LANES: u64 = 50_000;
/// Lanes for each worker, at most: who has done with one takes the next, so all end at about the same time, though the
/// sample tells sizes badly.
const LANES_PER_WORKER: u64 = 16;
/// Sampled keys to choose bounds from.
const SAMPLE_ROWS: u64 = 5_000;

/// Lays out what has no lanes yet; gives the router as the ledger has it, and what is left to copy.
pub async fn restore(
    run: &Run,
    ledger: &mut Client,
    source: &Client,
    tables: &[TableTask],
    progress: &Progress,
) -> Result<(Router, Vec<LaneWork>, u64), ExecError> {
    let mut routes = Vec::new();
    let mut work = Vec::new();
    let mut chunks_found = 0;
    for task in tables {
        if !task.is_ordered() {
            routes.push(TableRoute::Whole);
            continue;
        }
        let mut rereads = BTreeMap::new();
        for row in chunk::rereads(ledger, &run.id, &task.name, progress.applied).await? {
            let entry = Chunk { lo: None, hi: None, snapshot: row.snapshot, lsn_hi: row.lsn_hi };
            rereads.insert(task.parse_key(&row.key)?, entry);
        }
        let mut rows = chunk::lanes(ledger, &run.id, &task.name).await?;
        if rows.is_empty() {
            rows = lay_out(run, source, task).await?;
            chunk::create_lanes(ledger, &run.id, &task.name, &rows).await?;
            failpoint::hit("lanes.after-layout")?;
        }
        if !task.in_lanes() {
            // Copied already; its ranges are compared side by side.
            routes.push(TableRoute::Lanes { lanes: vec![Lane::copied()], rereads });
            continue;
        }
        let chunks = chunk::chunks(ledger, &run.id, &task.name).await?;
        chunks_found += chunks.len() as u64;
        let mut lanes = Vec::new();
        for row in rows {
            let key = |bound: &Bound| bound.as_deref().map(|texts| task.parse_key(texts)).transpose();
            let mut lane = Lane::new(key(&row.lo)?, key(&row.hi)?);
            let mut next_lo = row.lo.clone();
            let mut chunks_done = 0;
            for chunk in chunks.iter().filter(|chunk| chunk.lane == row.lane) {
                if chunk.seq != chunks_done || chunk.lo != next_lo || lane.done() {
                    return Err(crate::ledger::LedgerError::Damaged {
                        what: "chunk list",
                        why: format!(
                            "chunk {} of lane {} of {} does not follow the one before",
                            chunk.seq, row.lane, task.name
                        ),
                    }
                    .into());
                }
                lane.publish(Chunk {
                    lo: key(&chunk.lo)?,
                    hi: key(&chunk.hi)?,
                    snapshot: chunk.snapshot.clone(),
                    lsn_hi: chunk.lsn_hi,
                });
                next_lo.clone_from(&chunk.hi);
                chunks_done += 1;
            }
            let discarded = progress.discarded.iter().filter(|list| list.table == task.name && list.lane == row.lane);
            if !lane.done() {
                lane.remember(discarded.flat_map(|list| list.xids.iter().copied()));
                work.push(LaneWork { table: task.index, lane: lanes.len(), chunks_done, next_lo, hi: row.hi });
            }
            lanes.push(lane);
        }
        routes.push(TableRoute::Lanes { lanes, rereads });
    }
    let mut router = Router::new(routes);
    router.retire(progress.applied);
    Ok((router, work, chunks_found))
}

/// Cuts the key range by a sample of the table.
async fn lay_out(run: &Run, source: &Client, task: &TableTask) -> Result<Vec<LaneRow>, ExecError> {
    let query = sql::range::estimate(&task.projection);
    let row = source.query_one(&query, &[]).await.map_err(ExecError::source("estimate rows"))?;
    let estimate = u64::try_from(row.get::<_, i64>(0)).unwrap_or(0);
    let workers = run.workers() as u64;
    let lanes = (estimate / ROWS_FOR_LANES).clamp(workers, workers * LANES_PER_WORKER);
    let mut bounds: Vec<Vec<String>> = Vec::new();
    if lanes > 1 && estimate >= ROWS_FOR_LANES {
        let percent = (SAMPLE_ROWS as f64 * 100.0 / estimate as f64).clamp(0.01, 100.0);
        let query = sql::range::sample(&task.projection, percent);
        let rows =
            source.query(&query, &[]).await.map_err(ExecError::source(format!("sample {}", task.source_name())))?;
        for n in 1..lanes as usize {
            if let Some(row) = rows.get(rows.len() * n / lanes as usize) {
                bounds.push((0..task.orders.len()).map(|column| row.get(column)).collect());
            }
        }
        bounds.dedup();
    }
    let mut rows = Vec::new();
    let mut lo = None;
    for bound in bounds.into_iter().map(Some).chain([None]) {
        rows.push(LaneRow {
            lane: i32::try_from(rows.len()).expect("lanes are few"),
            lo: lo.clone(),
            hi: bound.clone(),
        });
        lo = bound;
    }
    Ok(rows)
}
