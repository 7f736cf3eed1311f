//! Keys that were written since their rows were compared.

use std::time::Duration;

use super::live::{Place, Visit, Visitor};
use super::ranges::Wrong;
use crate::exec::table::TableTask;
use crate::exec::{ExecError, snapshots};
use crate::verify::Difference;

/// Keys that are compared at a time.
pub const KEYS_AT_ONCE: usize = 2_000;
/// Tries for a table of which nothing was at rest.
const REST_TRIES: usize = 20;

/// What was found among touched keys.
#[derive(Default)]
pub(super) struct AtRest {
    pub(super) rows_compared: u64,
    pub(super) differences: Vec<Difference>,
    pub(super) wrong: Vec<Wrong>,
}

/// Compares the touched keys of a table; those that are still being written remain touched.
pub(super) async fn compare(visitor: &Visitor, task: &TableTask) -> Result<AtRest, ExecError> {
    let mut found = AtRest::default();
    let Some(keys) = visitor.touched.dirty(task.index) else { return Ok(found) };
    for batch in keys.chunks(KEYS_AT_ONCE) {
        visitor.run.stop_check()?;
        match visitor.visit(task, &Place::Keys(batch.to_vec())).await? {
            Visit::Clean(clean) => found.rows_compared += clean.rows_compared,
            Visit::Again(why) => visitor.run.waiting(format!("comparison of {}: {why}", task.name)),
            Visit::Different(clean, other) => {
                found.rows_compared += clean.rows_compared;
                found.differences.extend(other.differences);
                found.wrong.extend(other.wrong);
            }
        }
    }
    Ok(found)
}

/// The same, until a row at least of the table was compared, of which `before` were: of a few rows that are always written, one
/// is to be met at rest.
pub(super) async fn at_rest(visitor: &Visitor, task: &TableTask, before: u64) -> Result<AtRest, ExecError> {
    snapshots::pass_an_id(&visitor.source).await?;
    let mut found = compare(visitor, task).await?;
    for _ in 0..REST_TRIES {
        if before + found.rows_compared > 0 || !found.differences.is_empty() {
            break;
        }
        visitor.run.sleep(Duration::from_millis(100)).await?;
        found = compare(visitor, task).await?;
    }
    Ok(found)
}
