//! Partitions that came to the closed source after the switch: nothing closes them, and what is written to them by their own
//! names is on no other server.

use super::ExecError;
use super::fence::{self, Standing};
use super::partitions::has_rows;
use crate::catalog::{Ident, QualifiedName};
use crate::pg::client::Client;
use crate::plan::Plan;
use crate::sql;

/// The open partitions of the plan's tables, while the fence of the switch stands.
///
/// # Errors
/// A statement that failed.
pub(super) async fn of(plan: &Plan, migration: &str, source: &Client) -> Result<Vec<QualifiedName>, ExecError> {
    let mut open = Vec::new();
    if !are_others_closed(plan, migration, source).await? {
        return Ok(open);
    }
    for table in plan.partitioned() {
        open.extend(of_table(table, source).await?);
    }
    Ok(open)
}

/// Whether there are partitioned tables that the fence of the switch closes.
pub(super) async fn are_others_closed(plan: &Plan, migration: &str, source: &Client) -> Result<bool, ExecError> {
    let may_be = !plan.partitioned().is_empty() && plan.settings.cutover.fence.refuses();
    Ok(may_be && fence::standing_of(migration, source).await? == Standing::Permanent)
}

async fn of_table(table: &QualifiedName, source: &Client) -> Result<Vec<QualifiedName>, ExecError> {
    let query = "WITH RECURSIVE tree AS (SELECT h.inhrelid AS oid FROM pg_catalog.pg_inherits h WHERE h.inhparent = to_regclass($1) \
                 UNION ALL SELECT h.inhrelid FROM tree t JOIN pg_catalog.pg_inherits h ON h.inhparent = t.oid) \
                 SELECT n.nspname::text, c.relname::text FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind <> 'p' AND NOT EXISTS ( \
                  SELECT FROM pg_catalog.pg_trigger g WHERE g.tgrelid = c.oid AND g.tgname = 'pcrd_fence' AND g.tgenabled = 'A') \
                 ORDER BY 1, 2";
    let rows = source.query(query, &[&sql::name(table)]).await;
    let ident = |text: String| {
        Ident::new(text)
            .map_err(|error| ExecError::Stale { what: "name of a partition".to_owned(), difference: error.to_string() })
    };
    let rows = rows.map_err(ExecError::source("look for partitions that nothing closes"))?;
    rows.iter().map(|row| Ok(QualifiedName { schema: ident(row.get(0))?, name: ident(row.get(1))? })).collect()
}

/// What is to be said of them.
pub(super) fn lines(open: &[QualifiedName]) -> Vec<String> {
    let line = |partition| {
        format!(
            "partition {partition} came to the source after the switch, and nothing closes it: what is written to it by its own \
             name is not on the target"
        )
    };
    open.iter().map(line).collect()
}

/// The first open partition of a table that has rows. With the table locked nobody can write one before it goes.
pub(super) async fn with_rows(table: &QualifiedName, source: &Client) -> Result<Option<QualifiedName>, ExecError> {
    for partition in of_table(table, source).await? {
        if has_rows(source, &partition).await? {
            return Ok(Some(partition));
        }
    }
    Ok(None)
}
