//! Short snapshots of the source: taken under a table lock, with the write position read after them.

use super::ExecError;
use super::context::Run;
use super::shared::Shared;
use super::table::TableTask;
use crate::pg::client::Client;
use crate::replay::{Lsn, Snapshot};
use crate::sql;

/// `pg_current_snapshot()` is there from PG 13; before, the same function had another name.
pub fn current_snapshot(client: &Client) -> &'static str {
    if client.server_version_num >= 130_000 {
        "pg_catalog.pg_current_snapshot()"
    } else {
        "pg_catalog.txid_current_snapshot()"
    }
}

/// Begins a read of one table. The lock comes before the snapshot: TRUNCATE and rewriting ALTER TABLE are not
/// MVCC-safe, and an older snapshot would silently read nothing.
pub async fn begin(client: &Client, task: &TableTask) -> Result<(Snapshot, Lsn), ExecError> {
    client
        .batch_execute(&format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL lock_timeout = '10s'; {}",
            sql::chunk::lock_for_reading(task.source_name(), task.projection.partitioned)
        ))
        .await
        .map_err(ExecError::source(format!("lock {} for reading", task.source_name())))?;
    snapshot(client).await
}

/// The snapshot of the open transaction and a position read after it.
pub async fn snapshot(client: &Client) -> Result<(Snapshot, Lsn), ExecError> {
    let query = format!("SELECT {}::text, pg_catalog.pg_current_wal_insert_lsn()::text", current_snapshot(client));
    let row = client.query_one(&query, &[]).await.map_err(ExecError::source("read the snapshot"))?;
    let odd = |difference: String| ExecError::Stale { what: "source server".to_owned(), difference };
    let snapshot = row.get::<_, String>(0).parse::<Snapshot>().map_err(|error| odd(error.to_string()))?;
    let lsn = row.get::<_, String>(1).parse::<Lsn>().map_err(|error| odd(error.to_string()))?;
    Ok((snapshot, lsn))
}

/// How far the source's log is written.
pub async fn write_position(client: &Client) -> Result<Lsn, ExecError> {
    let row = client
        .query_one("SELECT pg_catalog.pg_current_wal_insert_lsn()::text", &[])
        .await
        .map_err(ExecError::source("read the write position"))?;
    row.get::<_, String>(0).parse().map_err(|error: crate::replay::position::LsnError| ExecError::Stale {
        what: "source server".to_owned(),
        difference: error.to_string(),
    })
}

/// How far the source's log would survive a crash.
pub async fn flushed(client: &Client) -> Result<Lsn, ExecError> {
    let row = client
        .query_one("SELECT pg_catalog.pg_current_wal_flush_lsn()::text", &[])
        .await
        .map_err(ExecError::source("read the flushed position"))?;
    row.get::<_, String>(0).parse().map_err(|error: crate::replay::position::LsnError| ExecError::Stale {
        what: "source server".to_owned(),
        difference: error.to_string(),
    })
}

/// A snapshot of now, outside of any transaction: for pruning, never for reading rows.
pub async fn now(client: &Client) -> Result<Snapshot, ExecError> {
    snapshot(client).await.map(|(snapshot, _)| snapshot)
}

/// Takes a transaction id and ends the transaction: a row that was read again is known by the first id that its snapshot does
/// not see, and on an idle source nobody else takes that id.
pub async fn pass_an_id(client: &Client) -> Result<(), ExecError> {
    let taken = client.batch_execute("SELECT pg_catalog.txid_current()").await;
    taken.map_err(ExecError::source("take a transaction id"))
}

/// Waits until the source would keep what the snapshot saw over a crash: a commit can be visible before it is durable,
/// and a row that the target has must not vanish from the source. Runs on the session that read, so that a crash of the
/// source ends it.
pub async fn wait_durable(client: &Client, lsn: Lsn, shared: &Shared, run: &Run) -> Result<(), ExecError> {
    loop {
        if flushed(client).await? >= lsn {
            return Ok(());
        }
        // An idle source flushes when somebody commits; whoever looks after the stream does.
        shared.want(lsn);
        run.sleep(std::time::Duration::from_millis(5)).await?;
    }
}

/// Ends a read.
pub async fn end(client: &Client) -> Result<(), ExecError> {
    client.batch_execute("COMMIT").await.map_err(ExecError::source("end a read"))
}
