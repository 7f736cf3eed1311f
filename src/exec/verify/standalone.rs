//! Verification without an executor: only where the source can no longer change.

use super::ranges;
use super::sides::{Selection, Sides, Subject};
use super::wish::Wish;
use super::{left_out, repair, strays, whole};
use crate::exec::context::Run;
use crate::exec::fence::{self, Standing};
use crate::exec::left_out::LeftOut;
use crate::exec::table::{self, TableTask};
use crate::exec::{ExecError, added, renamed, setup, snapshots};
use crate::ledger::added as columns;
use crate::plan::End;
use crate::verify::{Report, TableReport};

/// Compares every table in full after the cutover.
///
/// # Errors
/// The source is open for writes: then only the process that applies its stream can tell a difference from a change
/// that is under way. Put a request `verify` to it, or start it.
pub async fn standalone(run: &Run, wish: &Wish) -> Result<Report, ExecError> {
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
    let digest = wish.digest(&run.plan);
    let mut reports = Vec::new();
    let mut tasks = table::tasks(&run.plan)?;
    added::amend(&mut tasks, &columns::all(&target, &run.id).await?, run);
    let left_out = LeftOut::read(&target, &run.id, &tasks).await?;
    for mut task in tasks.into_iter().filter(|task| wish.takes(&task.name)) {
        run.stop_check()?;
        task.frozen = setup::frozen(run, &target, &task).await?;
        let Some(found) = renamed::current(run, (&target, &source), task.source_name()).await? else {
            let difference = "it is gone from the source".to_owned();
            return Err(ExecError::Stale { what: task.source_name().to_string(), difference });
        };
        task.projection.source = found;
        // One snapshot of the target: applications write it.
        snapshots::begin(&source, &task).await?;
        target
            .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await
            .map_err(ExecError::target("begin a comparison"))?;
        let (projection, frozen) = (&task.projection, &task.frozen);
        let subject = Subject { projection, frozen, digest, shows_values: wish.show_values };
        let sides = Sides { source: &source, target: &target, subject };
        let mut report = compare(&sides, &task, &left_out).await?;
        left_out::compare(&sides, &task, &left_out, &mut report).await?;
        strays::add(&target, &task.projection, &mut report).await?;
        reports.push(report);
        snapshots::end(&source).await?;
        target.batch_execute("COMMIT").await.map_err(ExecError::target("end a comparison"))?;
    }
    let note = "the source has been closed since the cutover: rows that applications have written to the target since \
                then are listed as differences"
        .to_owned();
    let mut notes = vec![note];
    notes.extend(added::lines(&target, &run.id).await?);
    notes.extend(repair::lines(&target, &run.id).await?);
    Ok(Report::of(reports, notes))
}

async fn compare(sides: &Sides<'_>, task: &TableTask, left_out: &LeftOut) -> Result<TableReport, ExecError> {
    let compared = if task.is_ordered() {
        ranges::compare(sides, &Selection::Range { lo: None, hi: None }, &left_out::keys(task, left_out)?).await?
    } else {
        whole::compare(sides).await?
    };
    Ok(TableReport {
        table: task.name.clone(),
        rows_source: compared.rows_source,
        rows_target: compared.rows_target,
        chunks_compared: 1,
        rows_compared: compared.rows_source,
        keys_pending: Some(0),
        sampled: false,
        differences: compared.differences,
        left_out: Vec::new(),
    })
}
