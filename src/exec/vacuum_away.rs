//! Keeps autovacuum from tables that are to be locked: it gives up its work for whoever has waited for as long as the server
//! takes to look for deadlocks, and for nobody who waits for less.

use std::time::Duration;

use crate::pg::client::Client;

/// After the server has looked, until the worker is gone.
const GRACE: Duration = Duration::from_millis(500);
/// Both ends may be closed meanwhile, whatever the server's setting.
const WAIT_MAX: Duration = Duration::from_secs(5);

const TOAST: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks l \
     JOIN pg_catalog.pg_class c ON c.reltoastrelid = l.relation \
     WHERE l.locktype = 'relation' AND l.granted AND l.mode = 'ShareUpdateExclusiveLock' \
     AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) \
     AND c.oid IN (SELECT pg_catalog.to_regclass(n) FROM pg_catalog.unnest($1::text[]) AS n))";

/// Waits until no autovacuum is on the tables, and lets none begin until the open transaction ends; readers and writers go
/// on. Where that cannot be had nothing is changed. Gives how long a lock on one of them is to be waited for, where that is
/// known: autovacuum of what is stored out of line cannot be kept away before.
pub(super) async fn vacuum_away(client: &Client, tables: &[String]) -> Result<Option<Duration>, tokio_postgres::Error> {
    if tables.is_empty() {
        return Ok(None);
    }
    let query = "SELECT setting::bigint FROM pg_catalog.pg_settings WHERE name = 'deadlock_timeout'";
    let looks_after: i64 = client.query_one(query, &[]).await?.get(0);
    let wait = (Duration::from_millis(looks_after.unsigned_abs()) + GRACE).min(WAIT_MAX);
    let text = format!(
        "SAVEPOINT vacuum; SET LOCAL lock_timeout = {}; LOCK TABLE ONLY {} IN SHARE UPDATE EXCLUSIVE MODE; RELEASE vacuum",
        wait.as_millis(),
        tables.join(", ONLY ")
    );
    match client.batch_execute(&text).await {
        Ok(()) => {}
        Err(error) if error.as_db_error().is_some() => {
            client.batch_execute("ROLLBACK TO SAVEPOINT vacuum; RELEASE vacuum").await?;
            return Ok(None);
        }
        Err(error) => return Err(error),
    }
    let is_busy: bool = client.query_one(TOAST, &[&tables]).await?.get(0);
    Ok(is_busy.then_some(wait))
}
