//! Verification without an executor: only where the source can no longer change.

use std::time::{Duration, Instant};

use super::chunk_rows::ChunkRows;
use super::ranges::{self, Compared, DIFFERENCES_MAX};
use super::sides::{Selection, Sides, Subject};
use super::wish::Wish;
use super::{left_out, repair, strays, whole};
use crate::exec::apply::overdue;
use crate::exec::context::Run;
use crate::exec::event::EventKind;
use crate::exec::fence::{self, Standing};
use crate::exec::left_out::LeftOut;
use crate::exec::table::{self, TableTask};
use crate::exec::{ExecError, added, limits, renamed, setup, snapshots};
use crate::ledger::added as columns;
use crate::pg::client::Client;
use crate::plan::End;
use crate::sql::range::Counted;
use crate::verify::{Report, TableReport};

/// An operator who asks for a stop does not wait for longer than this.
const GRACE: Duration = Duration::from_secs(3);

/// Compares every table in full after the cutover, within the rate of the plan or of `throttle`.
///
/// # Errors
/// The source is open for writes: then only the process that applies its stream can tell a difference from a change
/// that is under way. Put a request `verify` to it, or start it. [`ExecError::Interrupted`] when it is to stop.
pub async fn standalone(run: &Run, wish: &Wish) -> Result<Report, ExecError> {
    tokio::select! {
        report = tables(run, wish) => report,
        () = overdue(&run.shutdown, GRACE) => Err(ExecError::Interrupted),
    }
}

async fn tables(run: &Run, wish: &Wish) -> Result<Report, ExecError> {
    let source = run.connect(End::Source, "verify").await?;
    if fence::standing(run, &source).await? != Standing::Permanent {
        return Err(ExecError::Step {
            step: "verify".to_owned(),
            reason: "no executor is running, and the source is open for writes: start `pcrd apply`, which verifies, \
                     and ask again while it runs"
                .to_owned(),
        });
    }
    let target = run.connect(End::Target, "verify").await?;
    limits::restore(run, &target).await?;
    let digest = wish.digest(&run.plan);
    let mut reports = Vec::new();
    let mut tasks = table::tasks(&run.plan)?;
    added::amend(&mut tasks, &columns::all(&target, &run.id).await?, run);
    let left_out = LeftOut::read(&target, &run.id, &tasks).await?;
    for mut task in tasks.into_iter().filter(|task| wish.takes(&task.name)) {
        task.frozen = setup::frozen(run, &target, &task).await?;
        let Some(found) = renamed::current(run, (&target, &source), task.source_name()).await? else {
            let difference = "it is gone from the source".to_owned();
            return Err(ExecError::Stale { what: task.source_name().to_string(), difference });
        };
        task.projection.source = found;
        let (projection, frozen) = (&task.projection, &task.frozen);
        let subject = Subject { projection, frozen, digest, shows_values: wish.show_values };
        let sides = Sides { source: &source, target: &target, subject };
        let mut report = TableReport { keys_pending: Some(0), ..TableReport::new(&task.name) };
        if task.is_ordered() {
            in_chunks(run, (&source, &target), (&sides, &task), &left_out, &mut report).await?;
        } else {
            turn(run).await?;
            begin((&source, &target), &task).await?;
            let began = Instant::now();
            add(run, &task, &mut report, whole::compare(&sides).await?, began);
            end((&source, &target)).await?;
        }
        begin((&source, &target), &task).await?;
        left_out::compare(&sides, &task, &left_out, &mut report).await?;
        strays::add(&target, &task.projection, &mut report).await?;
        end((&source, &target)).await?;
        reports.push(report);
    }
    let note = "the source has been closed since the cutover: rows that applications have written to the target since \
                then are listed as differences"
        .to_owned();
    let mut notes = vec![note];
    notes.extend(added::lines(&target, &run.id).await?);
    notes.extend(repair::lines(&target, &run.id).await?);
    Ok(Report::of(reports, notes))
}

/// The source is at rest, so that chunks can be compared one by one; applications, which write the target, and VACUUM there
/// are kept from nothing for longer than a chunk takes.
async fn in_chunks(
    run: &Run,
    ends: (&Client, &Client),
    (sides, task): (&Sides<'_>, &TableTask),
    left_out: &LeftOut,
    report: &mut TableReport,
) -> Result<(), ExecError> {
    let except = left_out::keys(task, left_out)?;
    let (mut lo, mut rows) = (None, ChunkRows::default());
    loop {
        turn(run).await?;
        let began = Instant::now();
        begin(ends, task).await?;
        // About a second's worth at once, so that a limit is no stop and go.
        let limit = run.throttle.compared_per_second().unwrap_or(u64::MAX);
        let hi = sides.key_after(lo.as_ref(), None, rows.0.min(limit), Counted::All).await?;
        let selection = Selection::Range { lo, hi: hi.clone() };
        let compared = ranges::compare(sides, &selection, &except).await?;
        end(ends).await?;
        add(run, task, report, compared, began);
        rows.took(began.elapsed());
        if hi.is_none() || report.differences.len() >= DIFFERENCES_MAX {
            report.differences.truncate(DIFFERENCES_MAX);
            return Ok(());
        }
        lo = hi;
    }
}

async fn turn(run: &Run) -> Result<(), ExecError> {
    while !run.throttle.compare_in_time(run).await? {}
    Ok(())
}

/// One snapshot of each end: applications write the target.
async fn begin((source, target): (&Client, &Client), task: &TableTask) -> Result<(), ExecError> {
    snapshots::begin(source, task).await?;
    let begun = target.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await;
    begun.map_err(ExecError::target("begin a comparison"))
}

async fn end((source, target): (&Client, &Client)) -> Result<(), ExecError> {
    snapshots::end(source).await?;
    target.batch_execute("COMMIT").await.map_err(ExecError::target("end a comparison"))
}

fn add(run: &Run, task: &TableTask, report: &mut TableReport, compared: Compared, began: Instant) {
    report.rows_source += compared.rows_source;
    report.rows_target += compared.rows_target;
    report.rows_compared += compared.rows_source;
    report.chunks_compared += 1;
    report.differences.extend(compared.differences);
    run.throttle.compared(compared.rows_source, began.elapsed());
    let (table, rows, rows_estimate) = (task.name.clone(), report.rows_compared, task.rows_estimate);
    run.emit(None, EventKind::VerifyProgress { table, rows, rows_estimate });
}
