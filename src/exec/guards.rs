//! Sessions that read tables under one snapshot: each locks all of the tables before it takes the snapshot.
//!
//! TRUNCATE and rewriting ALTER TABLE are not MVCC-safe. No other session may read under the snapshot: behind somebody who waits
//! for a guard's lock it would wait for ever, and the guard for it.

use tokio_postgres::error::SqlState;

use super::context::Run;
use super::snapshots::current_snapshot;
use super::table::TableTask;
use super::{ExecError, lock_headroom};
use crate::pg::client::Client;
use crate::replay::Snapshot;
use crate::sql;

/// Locks of all guards together, at most: each locks every table, and the server has room for some thousands.
const LOCKS_MAX: usize = 2_000;
const LOCK: &str = "lock the tables that are read under one snapshot";

/// What became of it.
pub enum Opened {
    /// With the pids of their backends. No snapshot is taken yet.
    Guards(Vec<Client>, Vec<i32>),
    /// Somebody waits for a table that the first one has locked; in words.
    InTheWay(String),
}

/// The most guards that the server has room for.
pub async fn most(client: &Client, tables: &[TableTask]) -> Result<usize, ExecError> {
    let mut locks = tables.len();
    for task in tables.iter().filter(|task| task.projection.partitioned) {
        locks += usize::try_from(lock_headroom::locks(client, task.source_name()).await?).unwrap_or(LOCKS_MAX);
    }
    Ok((LOCKS_MAX / locks.max(1)).max(1))
}

/// Opens so many, `first` among them.
pub async fn open(
    run: &Run,
    (first, slowly): (Client, bool),
    tables: &[TableTask],
    count: usize,
) -> Result<Opened, ExecError> {
    let mut pids = vec![begin_guard(&first).await?];
    lock(&first, tables, "").await.map_err(ExecError::source(LOCK))?;
    let mut guards = vec![first];
    while guards.len() < count {
        let guard = run.connect_reader("guard", slowly).await?;
        pids.push(begin_guard(&guard).await?);
        // Whoever is in the way waits for the first one.
        match lock(&guard, tables, " NOWAIT").await {
            Ok(()) => guards.push(guard),
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                let how = "somebody waits for a table that is being read, and would make its next reader wait";
                return Ok(Opened::InTheWay(how.to_owned()));
            }
            Err(error) => return Err(ExecError::source(LOCK)(error)),
        }
    }
    Ok(Opened::Guards(guards, pids))
}

/// Begins a guard's transaction; gives its pid. Neither this nor LOCK TABLE takes a snapshot: the slot's can still be
/// imported.
async fn begin_guard(guard: &Client) -> Result<i32, ExecError> {
    let doing = || ExecError::source("begin the guard");
    let pid = guard.query_one("SELECT pg_catalog.pg_backend_pid()", &[]).await.map_err(doing())?.get(0);
    guard.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.map_err(doing())?;
    Ok(pid)
}

async fn lock(guard: &Client, tables: &[TableTask], nowait: &str) -> Result<(), tokio_postgres::Error> {
    if tables.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = tables.iter().map(|task| sql::source_table(&task.projection)).collect();
    let names = names.join(", ");
    let lock = format!("SET LOCAL lock_timeout = '10s'; LOCK TABLE {names} IN ACCESS SHARE MODE{nowait}");
    guard.batch_execute(&lock).await
}

/// Takes an exported snapshot over into the transaction that is open.
pub async fn import_snapshot(guard: &Client, name: &str) -> Result<(), tokio_postgres::Error> {
    guard.batch_execute(&format!("SET TRANSACTION SNAPSHOT {}", sql::literal(name))).await
}

/// What the guard's snapshot sees in terms of transaction ids.
pub async fn seen(guard: &Client) -> Result<Snapshot, ExecError> {
    let query = format!("SELECT {}::text", current_snapshot(guard));
    let row = guard.query_one(&query, &[]).await.map_err(ExecError::source("read an imported snapshot"))?;
    row.get::<_, String>(0)
        .parse::<Snapshot>()
        .map_err(|error| ExecError::Stale { what: "source server".to_owned(), difference: error.to_string() })
}
