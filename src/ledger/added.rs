//! Columns that tables of the source got while they were migrated, and what became of each.

use tokio_postgres::{Client, GenericClient};

use super::LedgerError;
use crate::catalog::{Column, QualifiedName};
use crate::replay::Lsn;

/// A column that the plan does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedColumn {
    /// Source table.
    pub table: QualifiedName,
    /// `attnum`, which no other column of the table ever gets.
    pub attnum: i16,
    /// The column as it was when it was first seen.
    pub column: Column,
    /// The server's tree of its default: tells whether it is still the same.
    pub default_tree: Option<String>,
    /// Text of its value in rows that are older than the column; `None` is NULL.
    pub missing: Option<String>,
    /// True when the target has it too; false when it stays behind.
    pub followed: bool,
    /// When it was seen, RFC 3339.
    pub at: String,
    /// When it was seen to be gone again, RFC 3339. Only of one that stayed behind.
    pub dropped_at: Option<String>,
}

/// Records a column, in the transaction that adds it to the target. The epoch keeps a superseded executor out.
///
/// # Errors
/// [`LedgerError::Fenced`] when another executor has taken over.
pub async fn put(
    client: &impl GenericClient,
    migration: &str,
    epoch: i64,
    added: &AddedColumn,
) -> Result<(), LedgerError> {
    let definition = serde_json::to_value(&added.column).map_err(|why| LedgerError::damaged("added column", why))?;
    let n = client
        .execute(
            "INSERT INTO pcrd.added_column (migration, tbl, attnum, definition, default_tree, missing, followed) \
             SELECT id, $3, $4, $5, $6, $7, $8 FROM pcrd.migration WHERE id = $1 AND epoch = $2 FOR SHARE",
            &[
                &migration,
                &epoch,
                &added.table.to_string(),
                &added.attnum,
                &definition,
                &added.default_tree,
                &added.missing,
                &added.followed,
            ],
        )
        .await?;
    if n == 1 { Ok(()) } else { Err(LedgerError::Fenced { epoch, lsn: Lsn(0) }) }
}

/// Records that a column which stayed behind is gone from the source.
pub async fn dropped(client: &Client, migration: &str, added: &AddedColumn) -> Result<(), LedgerError> {
    client
        .execute(
            "UPDATE pcrd.added_column SET dropped_at = clock_timestamp() WHERE migration = $1 AND tbl = $2 AND attnum = $3",
            &[&migration, &added.table.to_string(), &added.attnum],
        )
        .await?;
    Ok(())
}

/// All of a migration, by table and place; none in a ledger of a version that knew of none.
pub async fn all(client: &Client, migration: &str) -> Result<Vec<AddedColumn>, LedgerError> {
    let there = client.query_one("SELECT pg_catalog.to_regclass('pcrd.added_column') IS NOT NULL", &[]).await?;
    if !there.get::<_, bool>(0) {
        return Ok(Vec::new());
    }
    let time = |column: &str| format!("to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')");
    let query = format!(
        "SELECT tbl, attnum, definition, default_tree, missing, followed, {}, {} FROM pcrd.added_column AS a \
         WHERE migration = $1 ORDER BY tbl, attnum",
        time("a.at"),
        time("a.dropped_at")
    );
    let rows = client.query(&query, &[&migration]).await?;
    rows.iter()
        .map(|row| {
            Ok(AddedColumn {
                table: row.get::<_, String>(0).parse().map_err(|why| LedgerError::damaged("added column", why))?,
                attnum: row.get(1),
                column: serde_json::from_value(row.get(2)).map_err(|why| LedgerError::damaged("added column", why))?,
                default_tree: row.get(3),
                missing: row.get(4),
                followed: row.get(5),
                at: row.get(6),
                dropped_at: row.get(7),
            })
        })
        .collect()
}
