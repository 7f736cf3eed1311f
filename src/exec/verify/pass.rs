//! All tables while the stream goes on, and what was written since.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::chunk_rows::ChunkRows;
use super::live::{Bounds, Clean, Place, Visit, Visitor, Why};
use super::ranges::{DIFFERENCES_MAX, Found, Wrong};
use super::wish::{self, Wish};
use super::{keys, left_out, moment, repair, strays};
use crate::exec::engine::Engine;
use crate::exec::event::EventKind;
use crate::exec::left_out::LeftOut;
use crate::exec::steps::Steps;
use crate::exec::table::TableTask;
use crate::exec::{ExecError, added, failpoint, snapshots};
use crate::ledger::{chunk, progress};
use crate::plan::{End, Op};
use crate::verify::{Report, TableReport};

/// Keys that may be left for the fence.
const FENCE_KEYS_MAX: usize = 20_000;
/// Rounds over the touched keys before the fence.
const ROUNDS_MAX: usize = 5;
/// Who asked for a cutover is answered when the comparison before it is held back for longer.
const HELD_BACK_SECONDS_MAX: u64 = 60;
/// Tries for a table without an order; afterwards it is compared when writes have stopped.
const WHOLE_TRIES: usize = 3;
/// Tries for a range that is written too much; afterwards the table is compared when writes have stopped.
const RANGE_TRIES: usize = 20;

/// A table, or a part of it that one worker compares.
#[derive(Debug, Clone)]
struct Part {
    table: usize,
    /// `None` for a table without an order.
    bounds: Option<Bounds>,
}

/// Verifies every table while the stream goes on.
///
/// # Errors
/// [`ExecError::Different`] when rows differ; whatever stops a run.
pub async fn tables(engine: &mut Engine) -> Result<(), ExecError> {
    let run = Arc::clone(&engine.run);
    let mut steps = Steps::read(&run, &engine.ledger).await?;
    let began = Instant::now();
    let verify: Vec<_> = run.plan.steps.iter().filter(|step| matches!(step.op, Op::VerifyTable(_))).collect();
    for step in &verify {
        // Only this process knows which keys changed since: an earlier one's result is worth nothing.
        if !steps.done(&step.id) {
            steps.start(&engine.ledger, step).await?;
        }
    }
    let wish = run.repair.clone().unwrap_or_default();
    let report = repair::answer(engine, &wish).await?;
    refuse(&report)?;
    for step in verify {
        if !steps.done(&step.id) {
            steps.succeed(&engine.ledger, step, began).await?;
        }
    }
    Ok(())
}

/// An error when rows differ or nothing was compared.
pub(super) fn refuse(report: &Report) -> Result<(), ExecError> {
    let (count, first) = report.differences();
    if count > 0 {
        return Err(ExecError::Different { count, first });
    }
    // Keys that are being written are compared before and behind the fence.
    let is_unproven = |table: &&TableReport| table.is_vacuous() && table.keys_pending == Some(0);
    match report.tables.iter().find(is_unproven) {
        Some(table) => Err(ExecError::Step {
            step: format!("verify_table:{}", table.table),
            reason: "the table has rows, but none was compared".to_owned(),
        }),
        None => Ok(()),
    }
}

/// What was found, and where in which table.
pub(super) struct Looked {
    pub(super) report: Report,
    /// In tables whose keys both ends order alike.
    pub(super) wrong: Vec<(usize, Wrong)>,
}

/// Compares the tables while the stream goes on. Differences are no error here.
pub(super) async fn look(engine: &mut Engine, wish: &Wish) -> Result<Looked, ExecError> {
    let wanted: Vec<usize> =
        engine.tables.iter().filter(|task| wish.takes(&task.name)).map(|task| task.index).collect();
    let Looked { mut report, mut wrong } = pass(engine, &wanted, wish).await?;
    // Keys that were being written have come to rest since, or most of them.
    let visitor = visitor(engine, wish).await?;
    for (&at, table) in wanted.iter().zip(&mut report.tables) {
        let task = &engine.tables[at];
        let may_be_at_rest = task.is_ordered() && !table.sampled;
        if may_be_at_rest && table.differences.is_empty() && table.keys_pending.is_some_and(|keys| keys > 0) {
            let found = keys::at_rest(&visitor, task, table.rows_compared).await?;
            table.rows_compared += found.rows_compared;
            table.differences = found.differences;
            wrong.extend(found.wrong.into_iter().map(|place| (at, place)));
            table.keys_pending = engine.touched.count(task.index).map(|keys| keys as u64);
            record(engine, table).await?;
        }
    }
    let mut notes = report.notes;
    notes.extend(added::lines(&engine.ledger, &engine.run.id).await?);
    notes.extend(repair::lines(&engine.ledger, &engine.run.id).await?);
    Ok(Looked { report: Report::of(report.tables, notes), wrong })
}

async fn pass(engine: &mut Engine, wanted: &[usize], wish: &Wish) -> Result<Looked, ExecError> {
    engine.touched.record();
    failpoint::hit("verify.begin")?;
    let run = Arc::clone(&engine.run);
    let began_at = snapshots::now(&engine.source).await?;
    let mut parts = Vec::new();
    let mut sampled = BTreeSet::new();
    let chooser = visitor(engine, wish).await?;
    for &table in wanted {
        let task = &engine.tables[table];
        if !task.is_ordered() {
            parts.push(Part { table, bounds: None });
            continue;
        }
        if let Some(rows) = wish.sample_size
            && let Some(chosen) = wish::ranges(&chooser, task, rows).await?
        {
            parts.extend(chosen.into_iter().map(|bounds| Part { table, bounds: Some(bounds) }));
            sampled.insert(table);
            continue;
        }
        // The ranges that were laid out for the copy are compared side by side.
        let lanes = chunk::lanes(&engine.ledger, &run.id, &task.name).await?;
        let bounds = lanes.into_iter().map(|lane| Bounds { lo: lane.lo, hi: lane.hi });
        parts.extend(bounds.map(|bounds| Part { table, bounds: Some(bounds) }));
        if !parts.iter().any(|part| part.table == table) {
            parts.push(Part { table, bounds: Some(Bounds::default()) });
        }
    }
    let mut of_moment = None;
    let reports = {
        let _comparing = run.throttle.at("comparison");
        let workers = run.workers().min(parts.len());
        if wish.one_moment {
            let (visitors, watch) = moment::take(engine, wish, wanted, workers).await?;
            of_moment = visitors[0].moment.clone();
            watch.beside(compare_parts(engine, parts, visitors)).await?
        } else {
            let mut visitors = Vec::new();
            for _ in 0..workers {
                visitors.push(visitor(engine, wish).await?);
            }
            compare_parts(engine, parts, visitors).await?
        }
    };
    let left_out = LeftOut::read(&engine.ledger, &run.id, &engine.tables).await?;
    let aside = if left_out.is_empty() { None } else { Some(chooser) };
    let (mut notes, mut tables, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    for &table in wanted {
        let task = &engine.tables[table];
        let mut report = TableReport::new(&task.name);
        let mut given_up = false;
        for part in reports.iter().filter(|(at, _)| *at == table).map(|(_, part)| part) {
            report.rows_source += part.report.rows_source;
            report.rows_target += part.report.rows_target;
            report.chunks_compared += part.report.chunks_compared;
            report.rows_compared += part.report.rows_compared;
            report.differences.extend(part.report.differences.iter().cloned());
            given_up |= part.given_up;
            wrong.extend(part.wrong.iter().map(|place| (table, place.clone())));
        }
        strays::add(&engine.ledger, &task.projection, &mut report).await?;
        if let Some(visitor) = &aside {
            left_out::look(visitor, task, &mut report).await?;
        }
        if given_up {
            notes.push(format!(
                "{} could not be compared while it was written; it is compared when writes have stopped",
                task.name
            ));
        } else if report.differences.is_empty() && !sampled.contains(&table) {
            engine.touched.forget_all_mark(table, &began_at);
        }
        report.sampled = sampled.contains(&table);
        report.keys_pending = match given_up {
            true => None,
            // What waits of the rows that nobody looked at is no matter of theirs.
            false if report.sampled => Some(0),
            // What came after the moment is no matter of it.
            false if let Some(moment) = &of_moment => moment.unseen(table).map(|keys| keys.len() as u64),
            false => engine.touched.count(table).map(|keys| keys as u64),
        };
        // A sample proves nothing of the others, but what it found is found.
        if !report.sampled || !report.differences.is_empty() {
            record(engine, &report).await?;
        }
        tables.push(report);
    }
    notes.extend(of_moment.map(|moment| format!("every row was compared as of {} of the source", moment.at)));
    for note in &notes {
        run.note(note.clone());
    }
    Ok(Looked { report: Report::of(tables, notes), wrong })
}

struct PartReport {
    report: TableReport,
    wrong: Vec<Wrong>,
    /// Left for the fence.
    given_up: bool,
}

impl PartReport {
    fn new(task: &TableTask) -> Self {
        Self { report: TableReport::new(&task.name), wrong: Vec::new(), given_up: false }
    }

    fn take(&mut self, found: Found) {
        self.report.differences.extend(found.differences);
        self.report.differences.truncate(DIFFERENCES_MAX);
        self.wrong.extend(found.wrong);
    }
}

pub(super) async fn visitor(engine: &Engine, wish: &Wish) -> Result<Visitor, ExecError> {
    let run = &engine.run;
    let progress = progress::read(&engine.ledger, &run.id)
        .await?
        .ok_or_else(|| ExecError::Gap { reason: "the ledger has no position of the stream".to_owned() })?;
    Ok(Visitor {
        run: Arc::clone(run),
        shared: Arc::clone(&engine.shared),
        touched: Arc::clone(&engine.touched),
        left_out: LeftOut::read(&engine.ledger, &run.id, &engine.tables).await?,
        source: run.connect(End::Source, "verify").await?,
        target: run.connect(End::Target, "verify").await?,
        digest: wish.digest(&run.plan),
        shows_values: wish.show_values,
        wants_all_places: wish.repair.is_some(),
        is_full: wish.sample_size.is_none(),
        inherited: progress.near,
        moment: None,
    })
}

/// Compares the parts, each visitor one at a time.
async fn compare_parts(
    engine: &Engine,
    mut parts: Vec<Part>,
    visitors: Vec<Visitor>,
) -> Result<Vec<(usize, PartReport)>, ExecError> {
    parts.reverse();
    let rows: Arc<Vec<AtomicU64>> = Arc::new(engine.tables.iter().map(|_| AtomicU64::new(0)).collect());
    let queue = Arc::new(std::sync::Mutex::new(parts));
    let mut running = JoinSet::new();
    for visitor in visitors {
        let (queue, tables, rows) = (Arc::clone(&queue), Arc::clone(&engine.tables), Arc::clone(&rows));
        running.spawn(async move {
            let mut done = Vec::new();
            // What was learnt of a table's rows is true in its next range too.
            let mut of_table = (usize::MAX, ChunkRows::default());
            loop {
                let next = queue.lock().expect("no task panics while it holds the queue").pop();
                let Some(part) = next else { return Ok::<_, ExecError>(done) };
                let task = &tables[part.table];
                if of_table.0 != part.table {
                    of_table = (part.table, ChunkRows::default());
                }
                let report = match part.bounds {
                    Some(bounds) => compare_range(&visitor, task, bounds, &mut of_table.1, &rows[part.table]).await?,
                    None => compare_whole(&visitor, task, &rows[part.table]).await?,
                };
                done.push((part.table, report));
            }
        });
    }
    let mut all = Vec::new();
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok(result) => all.extend(result?),
            Err(error) => return Err(ExecError::task(error)),
        }
    }
    Ok(all)
}

fn say(visitor: &Visitor, task: &TableTask, rows: &AtomicU64, clean: Clean) {
    let rows = rows.fetch_add(clean.rows_compared, Ordering::Relaxed) + clean.rows_compared;
    let rows_estimate = task.rows_estimate.filter(|_| visitor.is_full);
    let kind = EventKind::VerifyProgress { table: task.name.clone(), rows, rows_estimate };
    visitor.run.emit(None, kind);
}

fn add(report: &mut TableReport, clean: Clean) {
    report.rows_source += clean.rows_source;
    report.rows_target += clean.rows_target;
    report.rows_compared += clean.rows_compared;
    report.chunks_compared += 1;
}

async fn compare_range(
    visitor: &Visitor,
    task: &TableTask,
    mut left: Bounds,
    size: &mut ChunkRows,
    rows: &AtomicU64,
) -> Result<PartReport, ExecError> {
    let mut done = PartReport::new(task);
    let mut tries = 0;
    loop {
        visitor.run.throttle.compare(&visitor.run).await?;
        let began = Instant::now();
        // About a second's worth at once, so that a limit is no stop and go.
        let limit = visitor.run.throttle.compared_per_second().unwrap_or(u64::MAX);
        let before = done.report.rows_compared;
        // The bounds of a chunk need no snapshot: any bounds are right.
        let chunk = visitor.chunk_end(task, &left, size.0.min(limit)).await?;
        let visit = visitor.visit(task, &Place::Range(chunk.clone())).await?;
        match visit {
            Visit::Clean(clean) => {
                add(&mut done.report, clean);
                say(visitor, task, rows, clean);
            }
            Visit::Different(clean, found) => {
                add(&mut done.report, clean);
                say(visitor, task, rows, clean);
                done.take(found);
            }
            Visit::Again(why) => {
                tries += 1;
                if tries % 5 == 1 {
                    visitor.run.waiting(format!("comparison of {}: {why}", task.name));
                }
                size.halve();
                if why == Why::Hot && tries > RANGE_TRIES {
                    visitor.leave_for_fence(task).await?;
                    done.given_up = true;
                    return Ok(done);
                }
                visitor.run.sleep(Duration::from_millis(200)).await?;
                continue;
            }
        }
        tries = 0;
        let took = began.elapsed();
        visitor.run.throttle.compared(done.report.rows_compared - before, took);
        let is_enough = done.report.differences.len() >= DIFFERENCES_MAX && !visitor.wants_all_places;
        if is_enough || chunk.hi == left.hi {
            return Ok(done);
        }
        left.lo = chunk.hi;
        size.took(took);
    }
}

async fn compare_whole(visitor: &Visitor, task: &TableTask, rows: &AtomicU64) -> Result<PartReport, ExecError> {
    let mut done = PartReport::new(task);
    for _ in 0..WHOLE_TRIES {
        visitor.run.throttle.compare(&visitor.run).await?;
        let began = Instant::now();
        let visit = visitor.visit_whole(task).await?;
        if let Visit::Clean(clean) | Visit::Different(clean, _) = &visit {
            visitor.run.throttle.compared(clean.rows_compared, began.elapsed());
        }
        match visit {
            Visit::Clean(clean) => {
                add(&mut done.report, clean);
                say(visitor, task, rows, clean);
                return Ok(done);
            }
            Visit::Different(clean, found) => {
                add(&mut done.report, clean);
                say(visitor, task, rows, clean);
                done.take(found);
                return Ok(done);
            }
            Visit::Again(why) => {
                visitor.run.waiting(format!("comparison of {}: {why}", task.name));
                visitor.run.sleep(Duration::from_millis(500)).await?;
            }
        }
    }
    visitor.leave_for_fence(task).await?;
    done.given_up = true;
    Ok(done)
}

impl Visitor {
    /// Marks a table as never compared, until a later snapshot was.
    async fn leave_for_fence(&self, task: &TableTask) -> Result<(), ExecError> {
        let now = snapshots::now(&self.source).await?;
        self.touched.touch_all(task.index, now.xmax);
        Ok(())
    }
}

/// Writes the result to the ledger.
pub(super) async fn record(engine: &Engine, report: &TableReport) -> Result<(), ExecError> {
    let state = match report {
        _ if !report.differences.is_empty() => "different",
        _ if report.keys_pending.is_none() => "at_fence",
        _ => "verified",
    };
    let (rows, chunks) = (report.rows_compared as i64, report.chunks_compared as i64);
    engine
        .ledger
        .execute(
            "INSERT INTO pcrd.verified (migration, tbl, state, rows, chunks, differences) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (migration, tbl) DO UPDATE SET state = excluded.state, rows = excluded.rows, chunks = excluded.chunks, \
             differences = excluded.differences, at = clock_timestamp()",
            &[&engine.run.id, &report.table, &state, &rows, &chunks, &(report.differences.len() as i64)],
        )
        .await
        .map_err(ExecError::target(format!("record the verification of {}", report.table)))?;
    Ok(())
}

/// Compares touched keys again until few enough are left for a short fence.
pub async fn before_fence(engine: &mut Engine) -> Result<(), ExecError> {
    engine.touched.record();
    let everything = Wish::default();
    for _ in 0..ROUNDS_MAX {
        let counts: Vec<Option<usize>> = (0..engine.tables.len()).map(|table| engine.touched.count(table)).collect();
        // A table without an order that is still written would only be compared in vain; at the fence it is at rest.
        let unknown: Vec<usize> =
            (0..counts.len()).filter(|table| counts[*table].is_none() && engine.tables[*table].is_ordered()).collect();
        if unknown.is_empty() && counts.iter().flatten().sum::<usize>() <= FENCE_KEYS_MAX {
            return Ok(());
        }
        if !unknown.is_empty() {
            let run = Arc::clone(&engine.run);
            let report = tokio::select! {
                looked = pass(engine, &unknown, &everything) => looked?.report,
                held = run.throttle.held_back_for(HELD_BACK_SECONDS_MAX) => {
                    let reason = format!("a comparison has to come before the fence: {held}");
                    return Err(ExecError::CutoverAborted { reason });
                }
            };
            refuse(&report)?;
        }
        compare_touched(engine).await?;
    }
    engine.run.note(
        "tables are written faster than they can be compared again; the rest is compared when writes have stopped, \
         which takes longer",
    );
    Ok(())
}

/// Compares the touched keys of every table that has an order.
///
/// # Errors
/// [`ExecError::Different`] for rows that differ.
pub(super) async fn compare_touched(engine: &Engine) -> Result<(), ExecError> {
    let visitor = visitor(engine, &Wish::default()).await?;
    for task in engine.tables.iter().filter(|task| task.is_ordered()) {
        let mut report = TableReport::new(&task.name);
        report.differences = keys::compare(&visitor, task).await?.differences;
        if !report.differences.is_empty() {
            record(engine, &report).await?;
            refuse(&Report::of(vec![report], Vec::new()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_compared_is_a_failure() {
        let table = TableReport { rows_target: 5, keys_pending: Some(0), ..TableReport::new("public.t") };
        let error = refuse(&Report::of(vec![table.clone()], Vec::new())).expect_err("nothing was compared");
        assert!(error.to_string().contains("the table has rows, but none was compared"), "{error}");
        let table = TableReport { rows_source: 5, rows_compared: 5, ..table };
        assert!(refuse(&Report::of(vec![table], Vec::new())).is_ok());
    }
}
