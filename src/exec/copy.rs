//! Copies one lane, chunk by chunk: each under its own short snapshot, each with its ledger row in the COPY's
//! own transaction.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt, pin_mut};

use super::ExecError;
use super::additive;
use super::context::Run;
use super::event::EventKind;
use super::failpoint;
use super::pace::Stint;
use super::partitions;
use super::shared::{Shared, count};
use super::snapshots;
use super::table::TableTask;
use super::witness;
use crate::catalog::QualifiedName;
use crate::ledger::chunk::{self, Bound, ChunkRow};
use crate::pg::client::Client;
use crate::pg::shape;
use crate::plan::End;
use crate::replay::{Chunk, Lsn, Snapshot};
use crate::sql;
use crate::sql::range::{Counted, KeyRange, Side};

/// PostgreSQL sends one message per row; they are sent on in pieces of this size.
const PIECE_BYTES: usize = 128 * 1024;
/// The same beside an application.
const SLICE_BYTES: usize = 24 * 1024;
/// Chunks aim at this duration.
const CHUNK_AIM: (Duration, Duration) = (Duration::from_millis(400), Duration::from_millis(2_000));
/// The same where the copy gives way to an application: the stream waits for the end of a chunk, pauses and all, and must
/// not have much to catch up with.
const CHUNK_AIM_SLOW: (Duration, Duration) = (Duration::from_millis(150), Duration::from_millis(450));
/// Braked harder than this, chunks become smaller; braked at all, no larger.
const BRAKE_SHRINKS: f64 = 0.5;
/// A slow chunk is not made smaller than this.
const CHUNK_ROWS_MIN: u64 = 100;
/// Rows in a chunk, at most, when the config sets no cap.
const CHUNK_ROWS_MAX: u64 = 1_000_000;

/// A worker's two connections.
pub struct CopyWorker {
    /// Plan and events.
    pub run: Arc<Run>,
    /// Router and positions.
    pub shared: Arc<Shared>,
    /// Reads.
    pub source: Client,
    /// Writes.
    pub target: Client,
    /// What the slot's snapshot saw.
    pub slot_snapshot: Snapshot,
    /// The table of the last lane, and the rows that its next chunk would have had.
    pub size: Option<(usize, u64)>,
    /// The work that no pause has followed yet.
    pub stint: Stint,
    /// The table of the last chunk, and the position that its snapshot was behind at most.
    pub last: Option<(usize, Lsn)>,
    /// The connection to the source is for one who reads slowly.
    pub reads_slowly: bool,
}

/// One lane to copy.
#[derive(Debug, Clone)]
pub struct LaneWork {
    /// Table number.
    pub table: usize,
    /// Lane number.
    pub lane: usize,
    /// Chunks that the ledger has already.
    pub chunks_done: i32,
    /// Texts of the next chunk's first key; `None` is the table's beginning.
    pub next_lo: Bound,
    /// Texts of the first key past the lane; `None` is the table's end.
    pub hi: Bound,
}

impl LaneWork {
    fn range<'a>(&'a self, hi: Option<&'a [String]>) -> KeyRange<'a> {
        KeyRange { lo: self.next_lo.as_deref(), hi }
    }
}

impl CopyWorker {
    /// Copies the lane to its end.
    pub async fn copy_lane(&mut self, task: &TableTask, mut work: LaneWork) -> Result<(), ExecError> {
        let settings = &self.run.plan.settings;
        let mut rows =
            self.size.filter(|(table, _)| *table == work.table).map_or(settings.batch_size, |(_, rows)| rows);
        let cap = if settings.batch_size_is_cap { settings.batch_size } else { CHUNK_ROWS_MAX };
        while !self.shared.router().lanes_mut(work.table)[work.lane].done() {
            self.run.stop_check()?;
            let run = Arc::clone(&self.run);
            let turn = run.throttle.turn(&run).await?;
            let hi = self.chunk_end(task, &work, rows).await?;
            self.wait_fairness(&work).await?;
            let slow = run.throttle.pace.is_slow();
            if slow != self.reads_slowly {
                match run.connect_reader("copy", slow).await {
                    Ok(source) => {
                        self.source = source;
                        write_slowly(&self.target, slow).await?;
                        self.reads_slowly = slow;
                    }
                    // Where no new session can be had, the one that there is goes on.
                    Err(ExecError::Postgres { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            let began = Instant::now();
            self.stint.begin_again();
            let row = self.copy_chunk(task, &work, hi.clone()).await?;
            let took = began.elapsed();
            let aim = if slow { CHUNK_AIM_SLOW } else { CHUNK_AIM };
            let next = next_size(rows, cap, (took, aim), run.throttle.brake());
            // A lane's last chunk is as large as chance has it: that it was quick says nothing of the next lane's first.
            rows = if hi == work.hi { next.min(rows) } else { next };
            self.size = Some((work.table, rows));
            self.last = Some((work.table, row.lsn_hi));
            self.stint.end_chunk();
            run.throttle.pace.passed(&mut self.stint, 0, 0).await;
            turn.used(row.rows as u64, row.bytes as u64, took);
            work.chunks_done += 1;
            work.next_lo = hi;
        }
        Ok(())
    }

    /// The key that ends a chunk of `rows` rows, or the lane's end.
    async fn chunk_end(&self, task: &TableTask, work: &LaneWork, rows: u64) -> Result<Bound, ExecError> {
        Ok(self.end_of(task, work.range(work.hi.as_deref()), rows).await?.or_else(|| work.hi.clone()))
    }

    /// The key behind the first `rows` rows of a range; `None` where it has no more.
    async fn end_of(&self, task: &TableTask, range: KeyRange<'_>, rows: u64) -> Result<Bound, ExecError> {
        let query = sql::range::next_key(&task.projection, range, rows, Counted::All)?;
        let row = self.source.query_opt(&query, &[]).await.map_err(ExecError::source("find the end of a chunk"))?;
        Ok(row.map(|row| (0..task.orders.len()).map(|n| row.get(n)).collect()))
    }

    /// A worker copies the next chunk of a table only when the stream has passed its last one, in whatever lane that was:
    /// chunks cannot starve the stream.
    async fn wait_fairness(&self, work: &LaneWork) -> Result<(), ExecError> {
        let last = self.last.filter(|(table, _)| *table == work.table).map(|(_, lsn)| lsn);
        loop {
            let applied = self.shared.applied();
            let unsettled = self.shared.router().lanes_mut(work.table)[work.lane].unsettled(applied);
            let Some(lsn_hi) = unsettled.max(last.filter(|last| *last > applied)) else { return Ok(()) };
            self.run.stop_check()?;
            self.shared.want(lsn_hi);
            self.shared.applied_changed(Duration::from_millis(50)).await;
        }
    }

    async fn copy_chunk(&mut self, task: &TableTask, work: &LaneWork, hi: Bound) -> Result<ChunkRow, ExecError> {
        failpoint::hit("chunk.begin")?;
        let lo_key = work.next_lo.as_deref().map(|texts| task.parse_key(texts)).transpose()?;
        let hi_key = hi.as_deref().map(|texts| task.parse_key(texts)).transpose()?;
        self.shared.router().lanes_mut(work.table)[work.lane].close_gate(hi_key.clone());
        // On an error the gate stays closed, and the run ends: whether the chunk was committed is for the ledger to say.
        // An open gate would let the stream discard changes of a range that may be copied already.
        let row = self.read_and_write(task, work, &hi).await?;
        let chunk = Chunk { lo: lo_key, hi: hi_key, snapshot: row.snapshot.clone(), lsn_hi: row.lsn_hi };
        self.shared.router().lanes_mut(work.table)[work.lane].publish(chunk);
        self.shared.routes_changed.notify_waiters();
        count(&self.shared.counters.chunks);
        self.shared.counters.rows_copied.fetch_add(row.rows as u64, Ordering::Relaxed);
        self.shared.counters.bytes_copied.fetch_add(row.bytes as u64, Ordering::Relaxed);
        let (rows, bytes) = self.shared.add_copied(work.table, row.rows as u64, row.bytes as u64);
        let kind = EventKind::CopyProgress { table: task.name.clone(), rows, rows_estimate: task.rows_estimate, bytes };
        self.run.emit(None, kind);
        Ok(row)
    }

    async fn read_and_write(&mut self, task: &TableTask, work: &LaneWork, hi: &Bound) -> Result<ChunkRow, ExecError> {
        let (snapshot, lsn_hi) = self.admitted_snapshot(task, work).await?;
        failpoint::hit("chunk.after-snapshot")?;
        check_shape(&self.source, task).await?;
        self.target.batch_execute("BEGIN").await.map_err(ExecError::target("begin a chunk"))?;
        let (rows, bytes) = self.pipe_range(task, work.range(hi.as_deref())).await?;
        snapshots::wait_durable(&self.source, lsn_hi, &self.shared, &self.run).await?;
        snapshots::end(&self.source).await?;
        let row = ChunkRow {
            lane: i32::try_from(work.lane).expect("lanes are few"),
            seq: work.chunks_done,
            lo: work.next_lo.clone(),
            hi: hi.clone(),
            snapshot,
            lsn_hi,
            rows: rows as i64,
            bytes: bytes as i64,
        };
        chunk::insert(&*self.target, &self.run.id, self.run.epoch, &task.name, &row).await?;
        failpoint::hit("chunk.before-commit")?;
        self.target.batch_execute("COMMIT").await.map_err(ExecError::target("commit a chunk"))?;
        failpoint::hit("chunk.after-commit")?;
        Ok(row)
    }

    async fn pipe_range(&mut self, task: &TableTask, range: KeyRange<'_>) -> Result<(u64, u64), ExecError> {
        let predicate = sql::range::range_predicate(&task.projection, Side::Source, range)?;
        let copy_out = sql::copy::copy_out(&task.projection, &task.frozen, predicate.as_deref())?;
        pipe((&self.run, &mut self.stint), (&self.source, &copy_out), &self.target, task).await
    }

    /// The barrier: takes snapshots until one sees every discarded transaction of the lane.
    async fn admitted_snapshot(&mut self, task: &TableTask, work: &LaneWork) -> Result<(Snapshot, Lsn), ExecError> {
        let mut waited = Duration::ZERO;
        loop {
            let (snapshot, lsn_hi) = snapshots::begin(&self.source, task).await?;
            let (admitted, waits_for) = {
                let mut router = self.shared.router();
                let lane = &mut router.lanes_mut(work.table)[work.lane];
                let admitted = lane.admits(&snapshot, &self.slot_snapshot);
                if admitted {
                    lane.prune(&snapshot);
                }
                (admitted, lane.waits_for(&snapshot))
            };
            if admitted || failpoint::disabled("rule.barrier") {
                return Ok((snapshot, lsn_hi));
            }
            self.source.batch_execute("ROLLBACK").await.map_err(ExecError::source("give up a snapshot"))?;
            if waited.is_zero() {
                count(&self.shared.counters.barrier_waits);
            }
            let pause = Duration::from_millis(2);
            waited += pause;
            if waited.as_millis().is_multiple_of(5_000) {
                let xid = waits_for.map_or_else(|| "of the slot's snapshot".to_owned(), |xid| xid.to_string());
                self.run.waiting(format!(
                    "the copy of {} waits for transaction {xid} to become visible on the source (it has committed; \
                     synchronous replication may be holding it)",
                    task.name
                ));
            }
            self.run.sleep(pause).await?;
        }
    }
}

/// Rows of the next chunk, by how long the last one took: every chunk but a lane's last has the rows that were asked for,
/// however few of them a filter lets through.
fn next_size(asked: u64, cap: u64, (took, aim): (Duration, (Duration, Duration)), brake: f64) -> u64 {
    if took > aim.1 || brake > BRAKE_SHRINKS {
        (asked / 2).max(asked.min(CHUNK_ROWS_MIN))
    } else if took < aim.0 && brake == 0.0 {
        (asked * 2).min(cap)
    } else {
        asked
    }
}

/// Compares the table with the plan, inside the transaction that reads it.
pub async fn check_shape(source: &Client, task: &TableTask) -> Result<(), ExecError> {
    check_shapes(source, &[task]).await
}

/// The same of these tables, with one question each for their shapes and their identities.
pub(super) async fn check_shapes(source: &Client, tasks: &[&TableTask]) -> Result<(), ExecError> {
    let names: Vec<&QualifiedName> = tasks.iter().map(|task| task.source_name()).collect();
    let found = shapes(source, &names).await.map_err(ExecError::source("read the tables' shapes"))?;
    for (task, found) in tasks.iter().zip(found) {
        is_planned(task, &found)?;
    }
    witness::check(source, tasks).await?;
    for task in tasks {
        check_added(source, task).await?;
    }
    Ok(())
}

/// What these tables look like, in their order; `missing` where there is none of the name.
pub(super) async fn shapes(client: &Client, tables: &[&QualifiedName]) -> Result<Vec<String>, tokio_postgres::Error> {
    let (schemas, names): (Vec<&str>, Vec<&str>) =
        tables.iter().map(|table| (table.schema.as_str(), table.name.as_str())).unzip();
    let query = client.prepared(&shape::SHAPES_SQL).await?;
    let rows = client.query(&query, &[&schemas, &names]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

fn is_planned(task: &TableTask, found: &str) -> Result<(), ExecError> {
    let expected = shape::expected_shape(&task.source);
    if found == expected {
        return Ok(());
    }
    if found == "missing" {
        let difference = "it is gone".to_owned();
        return Err(ExecError::Stale { what: task.projection.source.to_string(), difference });
    }
    let table = task.projection.source.clone();
    if !task.on_ddl.is_stop() {
        let difference = format!("it was [{expected}], is [{found}]");
        return Err(ExecError::Reshaped { end: End::Source, table, columns: Vec::new(), difference });
    }
    let difference = format!("the plan has [{expected}], the table is [{found}]");
    Err(ExecError::Stale { what: table.to_string(), difference })
}

/// What the shape does not tell of columns that came since the plan: which columns they are, and their defaults.
async fn check_added(source: &Client, task: &TableTask) -> Result<(), ExecError> {
    if task.added.is_empty() {
        return Ok(());
    }
    let attnums: Vec<i16> = task.added.iter().map(|added| added.attnum).collect();
    let expected = task.added.iter();
    let expected =
        expected.map(|added| (added.column.name.as_str().to_owned(), added.attnum, added.default_tree.clone()));
    if additive::marks(source, task.source_name(), &attnums).await? == expected.collect::<Vec<_>>() {
        return Ok(());
    }
    let difference = "a column that came while the migration ran was changed".to_owned();
    Err(ExecError::Reshaped { end: End::Source, table: task.source_name().clone(), columns: Vec::new(), difference })
}

/// Passes the bytes of a COPY on, untouched; gives rows and bytes. The target's transaction stays open. Beside an application it
/// goes no faster than its pace: the source can run ahead by what the buffers between hold.
pub async fn pipe(
    (run, stint): (&Run, &mut Stint),
    (source, copy_out): (&Client, &str),
    target: &Client,
    task: &TableTask,
) -> Result<(u64, u64), ExecError> {
    // Not a word is made for a row that arrives.
    let reading = |error| ExecError::source(format!("read {}", task.source_name()))(error);
    let writing = |error| ExecError::target(format!("write {}", task.name))(error);
    let out = source.copy_out(copy_out).await.map_err(reading)?;
    let copy_in = sql::copy::copy_in(&task.projection);
    let sink = target.copy_in::<_, Bytes>(&copy_in).await.map_err(writing)?;
    pin_mut!(out, sink);
    let pace = &run.throttle.pace;
    let mut piece = BytesMut::with_capacity(PIECE_BYTES + 16 * 1024);
    let (mut bytes, mut rows_of_piece) = (0, 0);
    while let Some(row) = out.next().await {
        let row = row.map_err(reading)?;
        bytes += row.len() as u64;
        rows_of_piece += 1;
        let most = if pace.is_slow() { SLICE_BYTES } else { PIECE_BYTES };
        if row.len() >= most {
            if !piece.is_empty() {
                sink.feed(piece.split().freeze()).await.map_err(writing)?;
            }
            // One more copy of it would be one more large row of memory.
            failpoint::hit("chunk.mid-copy")?;
            let length = row.len() as u64;
            sink.feed(row).await.map_err(writing)?;
            pace.passed(stint, std::mem::take(&mut rows_of_piece), length).await;
            continue;
        }
        piece.extend_from_slice(&row);
        if piece.len() >= most {
            failpoint::hit("chunk.mid-copy")?;
            let length = piece.len() as u64;
            sink.feed(piece.split().freeze()).await.map_err(writing)?;
            if pace.is_slow() {
                // What is held back would come with the next slice, as one that is twice as large.
                sink.flush().await.map_err(writing)?;
            }
            pace.passed(stint, std::mem::take(&mut rows_of_piece), length).await;
        }
    }
    if !piece.is_empty() {
        sink.feed(piece.split().freeze()).await.map_err(writing)?;
    }
    let rows = sink.finish().await.map_err(writing)?;
    partitions::read_what_was_looked_at(source, task).await?;
    Ok((rows, bytes))
}

/// What is written slowly goes to the disk as it comes: the kernel would keep it for half a minute, and whoever commits when it
/// goes all at once waits for it.
pub(super) async fn write_slowly(target: &Client, slow: bool) -> Result<(), ExecError> {
    let setting = if slow { "SET backend_flush_after = '256kB'" } else { "RESET backend_flush_after" };
    target.batch_execute(setting).await.map_err(ExecError::target("set backend_flush_after"))
}

/// Writes bytes that were read before with the projection's COPY.
pub async fn paste(target: &Client, task: &TableTask, data: Bytes) -> Result<(), ExecError> {
    let copy_in = sql::copy::copy_in(&task.projection);
    let sink = target.copy_in::<_, Bytes>(&copy_in).await.map_err(ExecError::target(format!("write {}", task.name)))?;
    pin_mut!(sink);
    sink.feed(data).await.map_err(ExecError::target(format!("write {}", task.name)))?;
    sink.finish().await.map_err(ExecError::target(format!("write {}", task.name)))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_follow_the_clock() {
        let ms = Duration::from_millis;
        assert_eq!(next_size(1_000, 1_000_000, (ms(50), CHUNK_AIM), 0.0), 2_000, "whatever of them the filter kept");
        assert_eq!(next_size(1_000, 1_500, (ms(50), CHUNK_AIM), 0.0), 1_500);
        assert_eq!(next_size(1_000, 1_000, (ms(50), CHUNK_AIM), 0.0), 1_000);
        assert_eq!(next_size(1_000, 1_000_000, (ms(1_000), CHUNK_AIM), 0.0), 1_000);
        assert_eq!(next_size(1_000, 1_000_000, (ms(3_000), CHUNK_AIM), 0.0), 500);
        assert_eq!(next_size(150, 1_000_000, (ms(3_000), CHUNK_AIM), 0.0), 100);
        assert_eq!(next_size(10, 10, (ms(3_000), CHUNK_AIM), 0.0), 10, "a cap below the least size holds");
        assert_eq!(next_size(1_000, 1_000_000, (ms(50), CHUNK_AIM), 0.1), 1_000, "braked");
        assert_eq!(next_size(1_000, 1_000_000, (ms(50), CHUNK_AIM), 0.6), 500, "braked hard");
        assert_eq!(next_size(1_000, 1_000_000, (ms(500), CHUNK_AIM_SLOW), 0.0), 500, "beside an application");
    }
}
