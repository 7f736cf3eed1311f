//! The triggers that refuse TRUNCATE of partitions: put on as partitions come, and taken off whatever those have become.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ExecError;
use super::context::Run;
use super::failpoint;
use super::fence::is_lock_trouble;
use super::partitions::{Partition, Tree};
use crate::catalog::{Ident, QualifiedName};
use crate::pg::client::Client;
use crate::sql;

/// So many locks are waited for in vain at one look: writers wait behind each of them.
const BUSY_MAX: u32 = 3;
/// Attempts to take a trigger off, and the rest between them: readers and writers wait behind each attempt.
const ATTEMPTS_MAX: u32 = 30;
const REST: Duration = Duration::from_millis(1_500);

/// Puts a trigger that refuses TRUNCATE on each partition that has none, the newest first: those are in use the least. One
/// whose lock is not to be had now is left for the next look: until then another file stops the run.
pub(super) async fn guard(run: &Run, source: &Client, tree: &mut Tree) -> Result<(), ExecError> {
    let mut busy = 0;
    for (&oid, partition) in tree.iter_mut().rev().filter(|(_, one)| one.is_leaf && one.guard.is_none()) {
        match guard_one(run, source, oid, partition).await {
            Ok(guard) => partition.guard = guard,
            Err(error) => {
                source.batch_execute("ROLLBACK").await.map_err(ExecError::source("roll back"))?;
                if !is_lock_trouble(&error) {
                    return Err(error);
                }
                busy += 1;
                if busy == BUSY_MAX {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Under the lock nobody truncates it: that its file is the one that was seen shows that nobody has since. Writers wait for
/// it, so a process that is stopped here does not keep it, and a standby that does not answer neither.
async fn guard_one(run: &Run, source: &Client, oid: u32, partition: &Partition) -> Result<Option<String>, ExecError> {
    let doing = || ExecError::source(format!("refuse TRUNCATE of {}", partition.name));
    let [lock, create, enable] = sql::fence::guard_partition(&partition.name, &run.plan.settings.publication);
    let begin = "BEGIN; SET LOCAL synchronous_commit = local; SET LOCAL idle_in_transaction_session_timeout = '5s'; \
                 SET LOCAL lock_timeout = '50ms'; SET LOCAL statement_timeout = '2s'";
    source.batch_execute(begin).await.map_err(doing())?;
    // A message of its own: older servers arm the timeouts only for the next one.
    source.batch_execute(&lock).await.map_err(doing())?;
    let same = "SELECT oid = $2 AND relfilenode = $3 FROM pg_catalog.pg_class WHERE oid = to_regclass($1)";
    let row = source.query_opt(same, &[&sql::name(&partition.name), &oid, &partition.file]).await.map_err(doing())?;
    if !row.is_some_and(|row| row.get(0)) {
        // The next look tells.
        source.batch_execute("ROLLBACK").await.map_err(doing())?;
        return Ok(None);
    }
    source.batch_execute(&format!("{create}; {enable}")).await.map_err(doing())?;
    let seen = "SELECT pg_catalog.concat(oid, ' ', xmin) FROM pg_catalog.pg_trigger WHERE tgrelid = $1 AND tgname = 'pcrd_no_truncate'";
    let guard = source.query_one(seen, &[&oid]).await.map_err(doing())?.get(0);
    failpoint::hit("partitions.before-guard")?;
    source.batch_execute("COMMIT").await.map_err(doing())?;
    failpoint::hit("partitions.after-guard")?;
    Ok(Some(guard))
}

/// Removes the triggers that refuse TRUNCATE from whatever is or was a partition. One that the server does not let go, as that
/// of a partition that another role owns by now, stays; gives the statement that removes it, with what the server said.
///
/// # Errors
/// A lock that was not to be had for long, or a connection that failed.
pub(super) async fn remove_guards(run: &Run, source: &Client) -> Result<Vec<String>, ExecError> {
    let mut refused = BTreeMap::new();
    for attempt in 1.. {
        // By oid, and again each time: one may be renamed meanwhile, and its old name be nothing's.
        let mut busy = Vec::new();
        let guarded = guarded(run, source).await?;
        let left: Vec<_> = guarded.into_iter().filter(|(oid, _)| !refused.contains_key(oid)).collect();
        if left.is_empty() {
            break;
        }
        for (oid, table) in left {
            let statement = sql::fence::drop_guard(std::slice::from_ref(&table)).concat();
            match drop_one(source, &statement).await {
                Ok(()) => {}
                Err(error) if is_lock_trouble(&error) => busy.push((table, error)),
                Err(ExecError::Postgres { error, .. }) if error.sqlstate().is_some() => {
                    refused.insert(oid, format!("{error}; whoever may runs {statement};"));
                }
                Err(error) => return Err(error),
            }
        }
        if let Some((table, error)) = busy.pop() {
            if attempt >= ATTEMPTS_MAX {
                let reason = format!("{table} cannot be locked to remove its TRUNCATE guard: {error}; try again");
                return Err(ExecError::Step { step: "guard_truncate".to_owned(), reason });
            }
            tokio::time::sleep(REST).await;
        }
    }
    Ok(refused.into_values().collect())
}

/// The tables that the run has put a trigger on as partitions.
async fn guarded(run: &Run, source: &Client) -> Result<Vec<(u32, QualifiedName)>, ExecError> {
    let rows = source
        .query(
            "SELECT c.oid, n.nspname::text, c.relname::text FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE t.tgname = 'pcrd_no_truncate' \
             AND t.tgargs = pg_catalog.convert_to($1, 'UTF8') || '\\x00'::bytea",
            &[&run.plan.settings.publication.as_str()],
        )
        .await
        .map_err(ExecError::source("look for TRUNCATE guards of partitions"))?;
    let ident = |row: &tokio_postgres::Row, at: usize| {
        Ident::new(row.get::<_, String>(at))
            .map_err(|error| ExecError::Stale { what: "name of a partition".to_owned(), difference: error.to_string() })
    };
    let table =
        |row: &tokio_postgres::Row| Ok((row.get(0), QualifiedName { schema: ident(row, 1)?, name: ident(row, 2)? }));
    rows.iter().map(table).collect()
}

/// Runs a statement that takes a trigger off, for which the table is locked for everybody, with short waits for the lock.
///
/// # Errors
/// The last error, when no attempt succeeds.
pub(super) async fn drop_patiently(source: &Client, statement: &str) -> Result<(), ExecError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match drop_one(source, statement).await {
            Err(error) if attempt < ATTEMPTS_MAX && is_lock_trouble(&error) => tokio::time::sleep(REST).await,
            ended => return ended,
        }
    }
}

async fn drop_one(source: &Client, statement: &str) -> Result<(), ExecError> {
    let doing = || ExecError::source("remove the TRUNCATE guard");
    source.batch_execute("BEGIN; SET LOCAL statement_timeout = 300").await.map_err(doing())?;
    // A message of its own: older servers arm the timeout only for the next one.
    match source.batch_execute(statement).await {
        Ok(()) => source.batch_execute("COMMIT").await.map_err(doing()),
        Err(error) => {
            source.batch_execute("ROLLBACK").await.map_err(doing())?;
            Err(doing()(error))
        }
    }
}
