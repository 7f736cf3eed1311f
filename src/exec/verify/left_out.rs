//! Keys of which a change was left out on purpose: compared apart from all others, and listed with the reason.

use std::time::Duration;

use super::live::{Place, Visit, Visitor};
use super::ranges;
use super::sides::{KeyTexts, Selection, Sides};
use crate::exec::left_out::LeftOut;
use crate::exec::table::TableTask;
use crate::exec::{ExecError, snapshots};
use crate::ledger::skipped::Skipped;
use crate::verify::{Difference, OnPurpose, TableReport};

/// Tries for a key that is being written; it is compared when writes have stopped at the latest.
const TRIES: usize = 5;

/// Rows of such keys, which counts of a table must do without.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Aside {
    /// On the source.
    pub rows_source: u64,
    /// On the target.
    pub rows_target: u64,
}

/// The keys of a table that its other rows are compared without.
pub fn keys(task: &TableTask, left_out: &LeftOut) -> Result<Vec<KeyTexts>, ExecError> {
    left_out.stale(task.index).map(|(key, _)| task.key_literals(key)).collect()
}

fn listed(entry: &Skipped, differences: Vec<Difference>) -> impl Iterator<Item = OnPurpose> {
    let (lsn, reason) = (entry.lsn.to_string(), entry.reason.clone());
    differences.into_iter().map(move |difference| OnPurpose { difference, lsn: lsn.clone(), reason: reason.clone() })
}

/// Compares the keys of a table while the stream goes on.
pub async fn look(visitor: &Visitor, task: &TableTask, report: &mut TableReport) -> Result<(), ExecError> {
    for (key, entry) in visitor.left_out.stale(task.index) {
        for _ in 0..TRIES {
            visitor.run.stop_check()?;
            match visitor.visit(task, &Place::LeftOut(key.clone())).await? {
                Visit::Clean(clean) => report.rows_compared += clean.rows_compared,
                Visit::Different(clean, found) => {
                    report.rows_compared += clean.rows_compared;
                    report.left_out.extend(listed(entry, found.differences));
                }
                Visit::Again(_) => {
                    snapshots::pass_an_id(&visitor.source).await?;
                    visitor.run.sleep(Duration::from_millis(200)).await?;
                    continue;
                }
            }
            break;
        }
    }
    Ok(())
}

/// Compares the keys of a table with both sides at rest.
pub async fn compare(
    sides: &Sides<'_>,
    task: &TableTask,
    left_out: &LeftOut,
    report: &mut TableReport,
) -> Result<Aside, ExecError> {
    let mut aside = Aside::default();
    for (key, entry) in left_out.stale(task.index) {
        let compared = ranges::compare(sides, &Selection::Keys(vec![task.key_literals(key)?]), &[]).await?;
        aside.rows_source += compared.rows_source;
        aside.rows_target += compared.rows_target;
        report.rows_source += compared.rows_source;
        report.rows_target += compared.rows_target;
        report.rows_compared += compared.rows_source;
        report.left_out.extend(listed(entry, compared.differences));
    }
    Ok(aside)
}
