//! Changes that an operator has said are to be left out, each by the commit of its transaction and its key.

use tokio_postgres::Client;

use super::LedgerError;
use crate::replay::Lsn;

/// One change that is to be left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Position of the commit record of its transaction on the source.
    pub lsn: Lsn,
    /// Target table; the source table where the target has several.
    pub table: String,
    /// Texts of its key on the source.
    pub key: Vec<String>,
    /// Why.
    pub reason: String,
    /// Who said so.
    pub by: String,
    /// When, RFC 3339.
    pub at: String,
    /// When the change came and was left out, RFC 3339.
    pub met_at: Option<String>,
}

/// Records that the change may be left out; false when the stream is past it. Holds the position still meanwhile.
pub async fn put(client: &Client, migration: &str, skipped: &Skipped) -> Result<bool, LedgerError> {
    let n = client
        .execute(
            "WITH ahead AS (SELECT FROM pcrd.progress WHERE migration = $1 AND applied_lsn <= $2::text::pg_lsn FOR UPDATE) \
             INSERT INTO pcrd.skipped AS s (migration, lsn, tbl, key, reason, by) SELECT $1, $2::text::pg_lsn, $3, $4, $5, $6 FROM ahead \
             ON CONFLICT (migration, lsn, tbl, key) DO UPDATE SET reason = excluded.reason, by = excluded.by, at = now()",
            &[
                &migration,
                &skipped.lsn.to_string(),
                &skipped.table,
                &serde_json::Value::from(skipped.key.clone()),
                &skipped.reason,
                &skipped.by,
            ],
        )
        .await?;
    Ok(n == 1)
}

/// All of a migration, by position; none in a ledger of a version that knew of none.
pub async fn all(client: &Client, migration: &str) -> Result<Vec<Skipped>, LedgerError> {
    let there = client.query_one("SELECT pg_catalog.to_regclass('pcrd.skipped') IS NOT NULL", &[]).await?;
    if !there.get::<_, bool>(0) {
        return Ok(Vec::new());
    }
    let time = |column: &str| format!("to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')");
    let query = format!(
        "SELECT lsn::text, tbl, key, reason, by, {}, {} FROM pcrd.skipped AS s WHERE migration = $1 ORDER BY s.lsn, tbl, key",
        time("at"),
        time("met_at")
    );
    let rows = client.query(&query, &[&migration]).await?;
    rows.iter()
        .map(|row| {
            Ok(Skipped {
                lsn: row.get::<_, String>(0).parse().map_err(|why| LedgerError::damaged("skipped position", why))?,
                table: row.get(1),
                key: serde_json::from_value(row.get(2)).map_err(|why| LedgerError::damaged("skipped key", why))?,
                reason: row.get(3),
                by: row.get(4),
                at: row.get(5),
                met_at: row.get(6),
            })
        })
        .collect()
}

/// Records that the change was left out. Runs in the transaction that moves the position past it.
pub async fn met(client: &Client, migration: &str, skipped: &Skipped) -> Result<(), LedgerError> {
    let n = client
        .execute(
            "UPDATE pcrd.skipped SET met_at = coalesce(met_at, clock_timestamp()) \
             WHERE migration = $1 AND lsn = $2::text::pg_lsn AND tbl = $3 AND key = $4",
            &[&migration, &skipped.lsn.to_string(), &skipped.table, &serde_json::Value::from(skipped.key.clone())],
        )
        .await?;
    // Taken back since this process began: then the change is applied, by the next attempt.
    if n == 1 { Ok(()) } else { Err(LedgerError::damaged("skipped change", "it is not there any more")) }
}
