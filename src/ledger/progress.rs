//! The applied position, written in the transaction that applies the changes.

use serde::{Deserialize, Serialize};
use tokio_postgres::{Client, GenericClient};

use super::LedgerError;
use crate::replay::{FullXid, Lsn, Snapshot};

/// What a restart needs to know of the stream.
#[derive(Debug, Clone)]
pub struct Progress {
    /// The slot's consistent point.
    pub slot_lsn: Lsn,
    /// The snapshot that the slot exported.
    pub slot_snapshot: Snapshot,
    /// Timeline of the source whose history all of this belongs to.
    pub timeline: u32,
    /// End of the last source transaction that is durably applied.
    pub applied: Lsn,
    /// A recent transaction id, to widen 32-bit ids by.
    pub near: FullXid,
    /// Discarded transactions that no chunk is known to see.
    pub discarded: Vec<Discarded>,
}

/// Discarded transactions of one lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Discarded {
    /// Target table.
    pub table: String,
    /// Lane number.
    pub lane: i32,
    /// Transaction ids.
    pub xids: Vec<FullXid>,
}

/// Records a new slot: from here on the migration has a position.
pub async fn create(
    client: &Client,
    id: &str,
    epoch: i64,
    timeline: u32,
    lsn: Lsn,
    snapshot: &Snapshot,
) -> Result<(), LedgerError> {
    // The newest id that exists: `xmax` itself is nobody's yet, and on an idle source stays so.
    let newest = (snapshot.xmax.0 as i64) - 1;
    client
        .execute(
            "INSERT INTO pcrd.progress (migration, epoch, slot_lsn, slot_snapshot, applied_lsn, applied_xid, source_timeline) \
             SELECT id, epoch, $3::text::pg_lsn, $4, $3::text::pg_lsn, $5, $6 FROM pcrd.migration WHERE id = $1 AND epoch = $2",
            &[&id, &epoch, &lsn.to_string(), &snapshot.to_string(), &newest, &i64::from(timeline)],
        )
        .await
        .map_err(LedgerError::from)
        .and_then(|n| if n == 1 { Ok(()) } else { Err(LedgerError::Fenced { epoch, lsn }) })
}

/// Forgets the position: the slot it belonged to is gone.
pub async fn delete(client: &Client, id: &str) -> Result<(), LedgerError> {
    client.execute("DELETE FROM pcrd.progress WHERE migration = $1", &[&id]).await?;
    Ok(())
}

/// The same for the executor of this epoch: one that slept through a takeover forgets nothing of its successor's.
pub async fn delete_own(client: &Client, id: &str, epoch: i64) -> Result<(), LedgerError> {
    let query = "WITH own AS (SELECT id FROM pcrd.migration WHERE id = $1 AND epoch = $2 FOR SHARE) \
                 DELETE FROM pcrd.progress USING own WHERE migration = own.id";
    client.execute(query, &[&id, &epoch]).await?;
    Ok(())
}

/// Reads the position, if there is one.
pub async fn read(client: &Client, id: &str) -> Result<Option<Progress>, LedgerError> {
    let Some(row) = client
        .query_opt(
            "SELECT slot_lsn::text, slot_snapshot, applied_lsn::text, applied_xid, discarded, source_timeline \
             FROM pcrd.progress WHERE migration = $1",
            &[&id],
        )
        .await?
    else {
        return Ok(None);
    };
    let lsn = |what, text: String| text.parse().map_err(|why| LedgerError::damaged(what, why));
    Ok(Some(Progress {
        slot_lsn: lsn("slot position", row.get(0))?,
        slot_snapshot: row.get::<_, String>(1).parse().map_err(|why| LedgerError::damaged("slot snapshot", why))?,
        timeline: u32::try_from(row.get::<_, i64>(5)).map_err(|why| LedgerError::damaged("timeline", why))?,
        applied: lsn("applied position", row.get(2))?,
        near: FullXid(row.get::<_, i64>(3) as u64),
        discarded: serde_json::from_value(row.get(4))
            .map_err(|why| LedgerError::damaged("discarded transactions", why))?,
    }))
}

/// Moves the position forward. Runs in the transaction that applies the changes; an error must roll it back.
pub async fn advance(
    client: &impl GenericClient,
    id: &str,
    epoch: i64,
    lsn: Lsn,
    near: FullXid,
    discarded: Option<&[Discarded]>,
) -> Result<(), LedgerError> {
    let discarded = discarded.map(|list| serde_json::to_value(list).expect("names and numbers are JSON"));
    let n = client
        .execute(
            "UPDATE pcrd.progress SET applied_lsn = $3::text::pg_lsn, applied_xid = $4, discarded = coalesce($5, discarded), updated_at = clock_timestamp() \
             WHERE migration = $1 AND epoch = $2 AND applied_lsn < $3::text::pg_lsn",
            &[&id, &epoch, &lsn.to_string(), &(near.0 as i64), &discarded],
        )
        .await?;
    if n == 1 { Ok(()) } else { Err(LedgerError::Fenced { epoch, lsn }) }
}

/// The highest position of the source that anything on the target rests on: changes, chunks, rows read again. Tables that
/// were started again may rest on a later timeline: [`super::adoption::restarts_by_timeline`].
pub async fn newest(client: &Client, id: &str) -> Result<Option<Lsn>, LedgerError> {
    let row = client
        .query_opt(
            // Before PostgreSQL 13 there is no max(pg_lsn).
            "SELECT lsn::text FROM (SELECT applied_lsn FROM pcrd.progress WHERE migration = $1 \
             UNION ALL SELECT lsn_hi FROM pcrd.chunk WHERE migration = $1 \
             UNION ALL SELECT lsn_hi FROM pcrd.reread WHERE migration = $1) AS all_of_them (lsn) \
             ORDER BY all_of_them.lsn DESC LIMIT 1",
            &[&id],
        )
        .await?;
    let text: Option<String> = row.map(|row| row.get(0));
    text.map(|text| text.parse().map_err(|why| LedgerError::damaged("position", why))).transpose()
}

/// Records that the history goes on on another timeline of the source since `left`.
pub async fn set_timeline(client: &Client, id: &str, epoch: i64, timeline: u32, left: Lsn) -> Result<(), LedgerError> {
    let n = client
        .execute(
            "UPDATE pcrd.progress SET source_timeline = $3 WHERE migration = $1 AND epoch = $2",
            &[&id, &epoch, &i64::from(timeline)],
        )
        .await?;
    if n == 1 { Ok(()) } else { Err(LedgerError::Fenced { epoch, lsn: left }) }
}
