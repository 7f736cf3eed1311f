//! A source that takes writes beside the target since the switch: its fence is gone, or was switched off at a table.

use super::ExecError;
use super::fence::{self, Standing};
use crate::ledger::way_back::{self, WayBackState};
use crate::pg::client::Client;
use crate::plan::{Op, Plan};
use crate::sql;

/// Of a source that was closed for good and is not.
pub(super) const UNFENCED: &str = "ALARM: the source takes writes beside the target, for its fence of the switch is not there: it was restored, \
                                   or failed over to a server that is behind. The target is the database: keep writers away from the source";

/// What is to be said of it, as long as nobody has opened the source on purpose.
///
/// # Errors
/// A statement that failed.
pub(super) async fn lines(
    plan: &Plan,
    migration: &str,
    (ledger, source): (&Client, &Client),
) -> Result<Vec<String>, ExecError> {
    let way = way_back::read(ledger, migration).await?.map(|found| found.state);
    let is_going_back = matches!(way, Some(WayBackState::RollingBack | WayBackState::RolledBack));
    if !plan.settings.cutover.fence.refuses() || is_going_back {
        return Ok(Vec::new());
    }
    if fence::standing_of(migration, source).await? != Standing::Permanent {
        return Ok(vec![UNFENCED.to_owned()]);
    }
    let renamed = plan.steps.iter().find_map(|step| match &step.op {
        Op::RenameSource(op) => Some(op.tables.as_slice()),
        _ => None,
    });
    // Partitions are looked at one by one: some may have come later.
    let tables = plan.sources().into_iter().filter(|table| !plan.partitioned().contains(table));
    let (mut names, mut others) = (Vec::new(), Vec::new());
    for table in tables {
        let other = renamed.unwrap_or_default().iter().find(|one| one.from == *table);
        names.push(sql::name(table));
        others.push(other.map(|one| sql::name(&one.renamed())));
    }
    let rows = source
        .query(
            "SELECT t.oid::regclass::text FROM (SELECT coalesce(pg_catalog.to_regclass(other), pg_catalog.to_regclass(name)) AS oid \
              FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) AS given(name, other)) AS t \
             WHERE t.oid IS NOT NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger g \
              WHERE g.tgrelid = t.oid AND g.tgname = 'pcrd_fence' AND g.tgenabled = 'A') ORDER BY 1",
            &[&names, &others],
        )
        .await
        .map_err(ExecError::source("look for tables that nothing closes"))?;
    let line = |row: &tokio_postgres::Row| {
        let table: String = row.get(0);
        format!(
            "ALARM: {table} of the source takes writes beside the target: the trigger of its fence is gone, or switched off. What is written \
             there is not on the target. ALTER TABLE {table} ENABLE ALWAYS TRIGGER pcrd_fence, where it still is"
        )
    };
    Ok(rows.iter().map(line).collect())
}
