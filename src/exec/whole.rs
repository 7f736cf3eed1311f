//! Copies tables that are not copied by key, because they have none, because only PostgreSQL knows its order, or because the
//! plan says so, under the slot's own snapshot: every streamed change comes after it. Large ones are read by ranges of their blocks, each range in a target transaction of its
//! own; a table counts once all of its ranges are committed, and before that none of them does.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::context::Run;
use super::copy::{check_shape, pipe, write_slowly};
use super::event::EventKind;
use super::pace::Stint;
use super::shared::Shared;
use super::slot::SlotSnapshot;
use super::table::TableTask;
use super::touched::Touched;
use super::{ExecError, failpoint, sampler, throttle, upkeep};
use crate::ledger::{chunk, progress, request};
use crate::pg::client::Client;
use crate::replay::{Router, TableRoute};
use crate::sql;
use crate::sql::blocks::{Blocks, TID_RANGE_SCANS, cut, predicate};

/// Blocks in a range: 16 MiB are well above what a transaction costs, and little to wait for.
const RANGE_BLOCKS: u32 = 2_048;

/// A piece of a table.
#[derive(Debug, Clone, Copy)]
pub struct Piece {
    /// Table number.
    pub table: usize,
    /// Of these blocks.
    pub blocks: Blocks,
}

/// Cuts the tables that are copied whole into pieces, those of the largest table first. Before PostgreSQL 14, and of tables
/// that are no heap, a piece is a table.
pub async fn lay_out(source: &Client, tables: &[TableTask]) -> Result<Vec<Piece>, ExecError> {
    let doing = || ExecError::source("read the sizes of the tables that are copied whole");
    let query = source
        .prepared(
            "SELECT pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::int8, \
             coalesce(a.amname = 'heap', false) \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             LEFT JOIN pg_catalog.pg_am a ON a.oid = c.relam WHERE n.nspname = $1 AND c.relname = $2",
        )
        .await
        .map_err(doing())?;
    let mut sizes = Vec::new();
    for task in tables.iter().filter(|task| !task.in_lanes()) {
        let names = (task.source_name().schema.as_str(), task.source_name().name.as_str());
        let row = source.query_opt(&query, &[&names.0, &names.1]).await.map_err(doing())?;
        // One that is gone is told of by whoever locks it.
        let (blocks, is_heap) = row.map_or((None, false), |row| (row.get::<_, Option<i64>>(0), row.get(1)));
        let in_ranges = is_heap && source.server_version_num >= TID_RANGE_SCANS;
        let blocks = blocks.and_then(|blocks| u64::try_from(blocks).ok()).unwrap_or(0);
        sizes.push((blocks, if in_ranges { cut(blocks, RANGE_BLOCKS) } else { cut(0, RANGE_BLOCKS) }, task.index));
    }
    sizes.sort_by_key(|(blocks, _, table)| (std::cmp::Reverse(*blocks), *table));
    Ok(sizes
        .into_iter()
        .flat_map(|(_, ranges, table)| ranges.into_iter().map(move |blocks| Piece { table, blocks }))
        .collect())
}

/// What the workers share.
struct Work {
    run: Arc<Run>,
    shared: Arc<Shared>,
    tables: Arc<Vec<TableTask>>,
    queue: Mutex<VecDeque<Piece>>,
    /// By table: pieces that are not committed yet, and rows of those that are.
    missing: Mutex<BTreeMap<usize, (usize, u64)>>,
}

/// Copies every table that is copied whole and is not yet. Requests to cut over are handed on.
pub async fn copy(
    run: &Arc<Run>,
    ledger: &Client,
    tables: &Arc<Vec<TableTask>>,
    slot: Option<SlotSnapshot>,
    cutovers: &mpsc::UnboundedSender<request::Request>,
) -> Result<(), ExecError> {
    let done = chunk::whole(ledger, &run.id).await?;
    let left: Vec<&TableTask> =
        tables.iter().filter(|task| !task.in_lanes() && !done.iter().any(|(name, _)| *name == task.name)).collect();
    if left.is_empty() {
        return Ok(());
    }
    let Some(slot) = slot else {
        return Err(ExecError::Step {
            step: format!("copy_table:{}", left[0].name),
            reason: "the slot's snapshot is gone".to_owned(),
        });
    };
    empty(run, &left).await?;
    failpoint::hit("whole.after-empty")?;
    let progress = progress::read(ledger, &run.id)
        .await?
        .ok_or_else(|| ExecError::Gap { reason: "the ledger has no position of the stream".to_owned() })?;
    let routes = tables.iter().map(|_| TableRoute::Whole).collect();
    let shared = Arc::new(Shared::new(Router::new(routes), progress.applied, vec![(0, 0); tables.len()]));
    let mut background = JoinSet::new();
    let stop = watch::Sender::new(false);
    background.spawn(upkeep::run(
        Arc::clone(run),
        Arc::clone(&shared),
        // None is looked at: these are locked, and for what becomes of the others this copy need not begin again.
        Arc::new(Vec::new()),
        Arc::new(Touched::new(0)),
        cutovers.clone(),
        stop.subscribe(),
    ));
    let sampling = background.spawn(sampler::run(Arc::clone(run), Arc::clone(&shared)));
    let mut missing = BTreeMap::new();
    for piece in &slot.pieces {
        missing.entry(piece.table).or_insert((0, 0)).0 += 1;
    }
    let work = Arc::new(Work {
        run: Arc::clone(run),
        shared,
        tables: Arc::clone(tables),
        queue: Mutex::new(slot.pieces.iter().copied().collect()),
        missing: Mutex::new(missing),
    });
    let _copying = run.throttle.at("copy");
    // The first failure ends the others too: their tasks end with the set.
    let mut workers: JoinSet<_> =
        slot.guards.into_iter().map(|source| copy_pieces(Arc::clone(&work), source)).collect();
    while !workers.is_empty() {
        tokio::select! {
            Some(ended) = workers.join_next() => ended.map_err(ExecError::task)??,
            Some(failed) = background.join_next() => return Err(ExecError::ended(failed)),
        }
    }
    // A request that was taken is answered first.
    stop.send_replace(true);
    sampling.abort();
    while let Some(ended) = background.join_next().await {
        match ended {
            Err(error) if error.is_cancelled() => {}
            ended => ended.map_err(ExecError::task)??,
        }
    }
    // What held the last piece back holds nobody any more.
    throttle::forget(ledger, &run.id).await?;
    Ok(())
}

/// Empties the tables on the target, each in a transaction of its own: what an earlier, unfinished attempt left belongs to
/// another snapshot.
async fn empty(run: &Run, tables: &[&TableTask]) -> Result<(), ExecError> {
    let target = run.connect_applier("copy").await?;
    for task in tables {
        run.stop_check()?;
        let empty = match sql::part::own(&task.projection, "") {
            Some(own) => format!("DELETE FROM {} WHERE {own}", sql::target_table(&task.projection)),
            None => format!("TRUNCATE {}", sql::target_table(&task.projection)),
        };
        let doing = || ExecError::target(format!("empty {}", task.name));
        target.batch_execute(&format!("BEGIN; {empty}")).await.map_err(doing())?;
        chunk::hold_epoch(&*target, &run.id, run.epoch).await?;
        target.batch_execute("COMMIT").await.map_err(doing())?;
    }
    Ok(())
}

/// Copies pieces until there are no more.
async fn copy_pieces(work: Arc<Work>, source: Client) -> Result<(), ExecError> {
    let target = work.run.connect_applier("copy").await?;
    let run = &work.run;
    let mut writes_slowly = false;
    while let Some(piece) = work.next() {
        let task = &work.tables[piece.table];
        let turn = run.throttle.turn(run).await?;
        let slow = run.throttle.pace.is_slow();
        if slow != writes_slowly {
            write_slowly(&target, slow).await?;
            writes_slowly = slow;
        }
        let began = Instant::now();
        let mut stint = Stint::of_whole();
        let (rows, bytes) = copy_piece((run, &mut stint), task, piece.blocks, &source, &target).await?;
        run.throttle.pace.passed(&mut stint, 0, 0).await;
        turn.used(rows, bytes, began.elapsed());
        work.shared.counters.rows_copied.fetch_add(rows, Ordering::Relaxed);
        work.shared.counters.bytes_copied.fetch_add(bytes, Ordering::Relaxed);
        let (rows_done, bytes_done) = work.shared.add_copied(piece.table, rows, bytes);
        let kind = EventKind::CopyProgress {
            table: task.name.clone(),
            rows: rows_done,
            rows_estimate: task.rows_estimate,
            bytes: bytes_done,
        };
        run.emit(None, kind);
        failpoint::hit("whole.after-piece")?;
        if let Some(rows) = work.committed(piece.table, rows) {
            failpoint::hit("whole.before-done")?;
            chunk::insert_whole(&*target, &run.id, run.epoch, &task.name, rows as i64).await?;
            failpoint::hit("setup.after-whole-table")?;
        }
    }
    Ok(())
}

async fn copy_piece(
    (run, stint): (&Run, &mut Stint),
    task: &TableTask,
    blocks: Blocks,
    source: &Client,
    target: &Client,
) -> Result<(u64, u64), ExecError> {
    check_shape(source, task).await?;
    let copy_out = sql::copy::copy_out(&task.projection, &task.frozen, predicate(blocks).as_deref())?;
    target.batch_execute("BEGIN").await.map_err(ExecError::target("begin a piece of a table"))?;
    let copied = pipe((run, stint), (source, &copy_out), target, task).await?;
    chunk::hold_epoch(&**target, &run.id, run.epoch).await?;
    failpoint::hit("chunk.before-commit")?;
    target.batch_execute("COMMIT").await.map_err(ExecError::target("commit a piece of a table"))?;
    Ok(copied)
}

impl Work {
    fn next(&self) -> Option<Piece> {
        self.queue.lock().expect("no task panics with the queue").pop_front()
    }

    /// Accounts for a committed piece; gives the table's rows when it was the last one.
    fn committed(&self, table: usize, rows: u64) -> Option<u64> {
        let mut missing = self.missing.lock().expect("no task panics with the counts");
        let entry = missing.get_mut(&table)?;
        *entry = (entry.0 - 1, entry.1 + rows);
        (entry.0 == 0).then_some(entry.1)
    }
}
