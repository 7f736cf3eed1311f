//! Rows of the target that were copied again because they differed: who asked for it, why, where, and how many.

use serde_json::Value;
use tokio_postgres::{Client, GenericClient};

use super::LedgerError;
use crate::replay::{Lsn, Snapshot};

/// One repair of one table, in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// Target table; the source table where the target has several.
    pub table: String,
    /// Who asked for it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Ranges of source keys, `{"lo": [text], "hi": [text]}` with `null` for an end of the table, or `{"keys": [[text]]}`.
    pub ranges: Vec<Value>,
    /// Rows that were deleted.
    pub rows_deleted: i64,
    /// Rows that were copied.
    pub rows_copied: i64,
    /// Keys in those ranges that were being written, and left to the stream.
    pub keys_spared: i64,
}

/// A repair as it stands in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// What was done.
    pub repair: Repair,
    /// When, RFC 3339.
    pub at: String,
}

/// Writes it down, in the transaction that does it.
pub async fn insert(
    client: &impl GenericClient,
    migration: &str,
    repair: &Repair,
    (snapshot, lsn): (&Snapshot, Lsn),
) -> Result<(), LedgerError> {
    client
        .execute(
            "INSERT INTO pcrd.repair (migration, tbl, by, reason, ranges, rows_deleted, rows_copied, keys_spared, snapshot, lsn) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::pg_lsn)",
            &[
                &migration,
                &repair.table,
                &repair.by,
                &repair.reason,
                &Value::from(repair.ranges.clone()),
                &repair.rows_deleted,
                &repair.rows_copied,
                &repair.keys_spared,
                &snapshot.to_string(),
                &lsn.to_string(),
            ],
        )
        .await?;
    Ok(())
}

/// All of a migration, oldest first; none in a ledger of a version that knew of none.
pub async fn all(client: &Client, migration: &str) -> Result<Vec<Recorded>, LedgerError> {
    let there = client.query_one("SELECT pg_catalog.to_regclass('pcrd.repair') IS NOT NULL", &[]).await?;
    if !there.get::<_, bool>(0) {
        return Ok(Vec::new());
    }
    let rows = client
        .query(
            "SELECT tbl, by, reason, ranges, rows_deleted, rows_copied, keys_spared, \
             to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM pcrd.repair WHERE migration = $1 ORDER BY number",
            &[&migration],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let repair = Repair {
                table: row.get(0),
                by: row.get(1),
                reason: row.get(2),
                ranges: serde_json::from_value(row.get(3))
                    .map_err(|why| LedgerError::damaged("ranges of a repair", why))?,
                rows_deleted: row.get(4),
                rows_copied: row.get(5),
                keys_spared: row.get(6),
            };
            Ok(Recorded { repair, at: row.get(7) })
        })
        .collect()
}
