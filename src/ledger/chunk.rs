//! Lanes and chunks of the copy, and rows read again. Keys are kept as the texts that PostgreSQL wrote.

use tokio_postgres::{Client, GenericClient};

use super::LedgerError;
use crate::replay::{Lsn, Snapshot};

/// A bound: the texts of the key columns, or `None` for the end of the table.
pub type Bound = Option<Vec<String>>;

/// A lane as it was laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneRow {
    /// Number.
    pub lane: i32,
    /// First key.
    pub lo: Bound,
    /// First key past it.
    pub hi: Bound,
}

/// A copied chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkRow {
    /// Lane.
    pub lane: i32,
    /// Number in the lane, from 0.
    pub seq: i32,
    /// First key.
    pub lo: Bound,
    /// First key past it.
    pub hi: Bound,
    /// Snapshot of the read.
    pub snapshot: Snapshot,
    /// Position read after the snapshot.
    pub lsn_hi: Lsn,
    /// Rows.
    pub rows: i64,
    /// Bytes passed through.
    pub bytes: i64,
}

/// A row read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RereadRow {
    /// Key texts.
    pub key: Vec<String>,
    /// Snapshot of the read.
    pub snapshot: Snapshot,
    /// Position read after the snapshot.
    pub lsn_hi: Lsn,
}

fn to_json(bound: &Bound) -> Option<serde_json::Value> {
    bound.as_ref().map(|texts| serde_json::Value::from(texts.clone()))
}

fn from_json(value: Option<serde_json::Value>) -> Result<Bound, LedgerError> {
    value.map(serde_json::from_value).transpose().map_err(|why| LedgerError::damaged("key bound", why))
}

/// Writes the lanes of a table, all at once.
pub async fn create_lanes(client: &mut Client, id: &str, table: &str, lanes: &[LaneRow]) -> Result<(), LedgerError> {
    let transaction = client.transaction().await?;
    for lane in lanes {
        transaction
            .execute(
                "INSERT INTO pcrd.lane (migration, tbl, lane, lo, hi) VALUES ($1, $2, $3, $4, $5)",
                &[&id, &table, &lane.lane, &to_json(&lane.lo), &to_json(&lane.hi)],
            )
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Reads the lanes of a table, in order; empty when they were not laid out yet.
pub async fn lanes(client: &Client, id: &str, table: &str) -> Result<Vec<LaneRow>, LedgerError> {
    let rows = client
        .query("SELECT lane, lo, hi FROM pcrd.lane WHERE migration = $1 AND tbl = $2 ORDER BY lane", &[&id, &table])
        .await?;
    rows.iter()
        .map(|row| Ok(LaneRow { lane: row.get(0), lo: from_json(row.get(1))?, hi: from_json(row.get(2))? }))
        .collect()
}

/// Writes a chunk, in the transaction of its COPY. The epoch keeps a superseded executor out.
pub async fn insert(
    client: &impl GenericClient,
    id: &str,
    epoch: i64,
    table: &str,
    chunk: &ChunkRow,
) -> Result<(), LedgerError> {
    let n = client
        .execute(
            "INSERT INTO pcrd.chunk (migration, tbl, lane, seq, lo, hi, snapshot, lsn_hi, rows, bytes) \
             SELECT id, $3, $4, $5, $6, $7, $8, $9::text::pg_lsn, $10, $11 FROM pcrd.migration WHERE id = $1 AND epoch = $2 FOR SHARE",
            &[
                &id,
                &epoch,
                &table,
                &chunk.lane,
                &chunk.seq,
                &to_json(&chunk.lo),
                &to_json(&chunk.hi),
                &chunk.snapshot.to_string(),
                &chunk.lsn_hi.to_string(),
                &chunk.rows,
                &chunk.bytes,
            ],
        )
        .await?;
    if n == 1 { Ok(()) } else { Err(LedgerError::Fenced { epoch, lsn: chunk.lsn_hi }) }
}

/// Reads the chunks of a table, lane by lane in order.
pub async fn chunks(client: &Client, id: &str, table: &str) -> Result<Vec<ChunkRow>, LedgerError> {
    let rows = client
        .query(
            "SELECT lane, seq, lo, hi, snapshot, lsn_hi::text, rows, bytes FROM pcrd.chunk WHERE migration = $1 AND tbl = $2 ORDER BY lane, seq",
            &[&id, &table],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(ChunkRow {
                lane: row.get(0),
                seq: row.get(1),
                lo: from_json(row.get(2))?,
                hi: from_json(row.get(3))?,
                snapshot: row.get::<_, String>(4).parse().map_err(|why| LedgerError::damaged("chunk snapshot", why))?,
                lsn_hi: row.get::<_, String>(5).parse().map_err(|why| LedgerError::damaged("chunk position", why))?,
                rows: row.get(6),
                bytes: row.get(7),
            })
        })
        .collect()
}

/// Records that a table was copied whole, in the transaction of its COPY.
pub async fn insert_whole(
    client: &impl GenericClient,
    id: &str,
    epoch: i64,
    table: &str,
    rows: i64,
) -> Result<(), LedgerError> {
    let n = client
        .execute(
            "INSERT INTO pcrd.whole_copy (migration, tbl, rows) SELECT id, $3, $4 FROM pcrd.migration WHERE id = $1 AND epoch = $2 FOR SHARE",
            &[&id, &epoch, &table, &rows],
        )
        .await?;
    if n == 1 { Ok(()) } else { Err(LedgerError::Fenced { epoch, lsn: Lsn(0) }) }
}

/// Proves, as the last thing of a transaction, that no other executor has taken over, and keeps it from doing so until the
/// transaction has ended.
pub async fn hold_epoch(client: &impl GenericClient, id: &str, epoch: i64) -> Result<(), LedgerError> {
    let row =
        client.query_opt("SELECT FROM pcrd.migration WHERE id = $1 AND epoch = $2 FOR SHARE", &[&id, &epoch]).await?;
    if row.is_some() { Ok(()) } else { Err(LedgerError::Fenced { epoch, lsn: Lsn(0) }) }
}

/// Tables that were copied whole, with their rows.
pub async fn whole(client: &Client, id: &str) -> Result<Vec<(String, i64)>, LedgerError> {
    let rows = client.query("SELECT tbl, rows FROM pcrd.whole_copy WHERE migration = $1", &[&id]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Forgets the whole copies: the slot whose snapshot they were read in is gone.
pub async fn delete_whole(client: &Client, id: &str) -> Result<(), LedgerError> {
    client.execute("DELETE FROM pcrd.whole_copy WHERE migration = $1", &[&id]).await?;
    Ok(())
}

/// Records a row that was read again, in the transaction that writes it.
pub async fn insert_reread(
    client: &impl GenericClient,
    id: &str,
    table: &str,
    row: &RereadRow,
) -> Result<(), LedgerError> {
    client
        .execute(
            "INSERT INTO pcrd.reread (migration, tbl, key, snapshot, lsn_hi) VALUES ($1, $2, $3, $4, $5::text::pg_lsn) \
             ON CONFLICT (migration, tbl, key) DO UPDATE SET snapshot = excluded.snapshot, lsn_hi = excluded.lsn_hi",
            &[
                &id,
                &table,
                &serde_json::Value::from(row.key.clone()),
                &row.snapshot.to_string(),
                &row.lsn_hi.to_string(),
            ],
        )
        .await?;
    Ok(())
}

/// Reads the rows of a table that were read again, and forgets those that the applied position has passed.
pub async fn rereads(client: &Client, id: &str, table: &str, applied: Lsn) -> Result<Vec<RereadRow>, LedgerError> {
    client
        .execute(
            "DELETE FROM pcrd.reread WHERE migration = $1 AND tbl = $2 AND lsn_hi <= $3::text::pg_lsn",
            &[&id, &table, &applied.to_string()],
        )
        .await?;
    let rows = client
        .query("SELECT key, snapshot, lsn_hi::text FROM pcrd.reread WHERE migration = $1 AND tbl = $2", &[&id, &table])
        .await?;
    rows.iter()
        .map(|row| {
            Ok(RereadRow {
                key: serde_json::from_value(row.get(0)).map_err(|why| LedgerError::damaged("key", why))?,
                snapshot: row.get::<_, String>(1).parse().map_err(|why| LedgerError::damaged("snapshot", why))?,
                lsn_hi: row.get::<_, String>(2).parse().map_err(|why| LedgerError::damaged("position", why))?,
            })
        })
        .collect()
}

/// Keeps the value that a default had when it was evaluated once; `None` is NULL. The first value stays.
pub async fn freeze(
    client: &Client,
    id: &str,
    table: &str,
    column: &str,
    value: Option<&str>,
) -> Result<(), LedgerError> {
    client
        .execute(
            "INSERT INTO pcrd.frozen (migration, tbl, col, value) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
            &[&id, &table, &column, &value],
        )
        .await?;
    Ok(())
}

/// Frozen values of a table, by column.
pub async fn frozen(client: &Client, id: &str, table: &str) -> Result<Vec<(String, Option<String>)>, LedgerError> {
    let rows =
        client.query("SELECT col, value FROM pcrd.frozen WHERE migration = $1 AND tbl = $2", &[&id, &table]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
