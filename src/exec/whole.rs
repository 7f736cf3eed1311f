//! Copies tables whose order of keys only PostgreSQL knows, or that have no key, under the slot's own snapshot:
//! every streamed change comes after it.

use std::sync::atomic::Ordering;

use super::ExecError;
use super::context::Run;
use super::copy::{check_shape, pipe};
use super::event::EventKind;
use super::failpoint;
use super::shared::Counters;
use super::slot::SlotSnapshot;
use super::table::TableTask;
use crate::ledger::chunk;
use crate::pg::client::Client;
use crate::sql;

/// Copies every table that is copied whole and is not yet.
pub async fn copy(
    run: &Run,
    ledger: &Client,
    tables: &[TableTask],
    slot: Option<&SlotSnapshot>,
    counters: &Counters,
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
    let source = &slot.guard;
    let target = run.connect_applier("copy").await?;
    for task in left {
        run.stop_check()?;
        check_shape(source, task).await?;
        let copy_out = sql::copy::copy_out(&task.projection, &task.frozen, None)?;
        // What an earlier, unfinished attempt left belongs to another snapshot.
        let empty = match sql::part::own(&task.projection, "") {
            Some(own) => format!("DELETE FROM ONLY {} WHERE {own}", sql::name(&task.projection.target)),
            None => format!("TRUNCATE ONLY {}", sql::name(&task.projection.target)),
        };
        target
            .batch_execute(&format!("BEGIN; {empty}"))
            .await
            .map_err(ExecError::target(format!("empty {}", task.name)))?;
        let (rows, bytes) = pipe(source, &copy_out, &target, task).await?;
        chunk::insert_whole(&*target, &run.id, run.epoch, &task.name, rows as i64).await?;
        failpoint::hit("chunk.before-commit")?;
        target.batch_execute("COMMIT").await.map_err(ExecError::target("commit a table"))?;
        failpoint::hit("setup.after-whole-table")?;
        counters.rows_copied.fetch_add(rows, Ordering::Relaxed);
        counters.bytes_copied.fetch_add(bytes, Ordering::Relaxed);
        run.emit(None, EventKind::CopyProgress { table: task.name.clone(), rows, rows_estimate: Some(rows), bytes });
    }
    Ok(())
}
