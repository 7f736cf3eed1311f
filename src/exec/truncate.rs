//! TRUNCATE of the source, as a delete of the key ranges that are copied.

use super::ExecError;
use super::table::TableTask;
use crate::pg::client::Client;
use crate::replay::Key;
use crate::sql::{self, KeyRange, Side};

/// A bound as the router has it, and its texts as the server gave them.
pub type RangeKeys = (Option<Key>, Option<Key>);

/// Deletes the ranges, sparing some keys. Runs in the transaction that applies the TRUNCATE.
pub async fn delete(target: &Client, task: &TableTask, ranges: &[RangeKeys], spare: &[Key]) -> Result<(), ExecError> {
    let texts = |key: &Option<Key>| key.as_ref().map(|key| task.key_literals(key)).transpose();
    let mut spared = String::new();
    for key in spare {
        let predicate = sql::range::key_predicate(&task.projection, Side::Target, &task.key_literals(key)?)?;
        spared.push_str(&format!(" AND NOT ({predicate})"));
    }
    for (lo, hi) in ranges {
        let (lo, hi) = (texts(lo)?, texts(hi)?);
        let range = KeyRange { lo: lo.as_deref(), hi: hi.as_deref() };
        let predicate = sql::range::range_predicate(&task.projection, Side::Target, range)?;
        let statement = format!(
            "DELETE FROM {} WHERE {}{}{spared}",
            sql::target_table(&task.projection),
            predicate.as_deref().unwrap_or("true"),
            sql::part::and_own(&task.projection, "")
        );
        let doing = format!("empty {} as the stream says", task.name);
        target.batch_execute(&statement).await.map_err(ExecError::target(doing))?;
    }
    Ok(())
}
