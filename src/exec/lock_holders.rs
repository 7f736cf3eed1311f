//! Who holds locks on tables that are to be locked: named, waited for, or terminated.

use std::time::Duration;

use super::ExecError;
use super::context::Run;
use crate::catalog::QualifiedName;
use crate::pg::client::Client;
use crate::plan::Plan;
use crate::sql;

/// So many of those who stand in the way are named.
const NAMED_MAX: usize = 5;

/// Sessions and prepared transactions that hold a lock that the fence cannot share with anything but a short wait:
/// vacuum, index builds, prepared transactions.
pub(super) async fn conflicting(source: &Client, tables: &[QualifiedName]) -> Result<Vec<String>, ExecError> {
    let names: Vec<String> = tables.iter().map(sql::name).collect();
    let rows = source
        .query(
            "SELECT coalesce(l.pid::text, 'prepared transaction'), l.mode FROM pg_catalog.pg_locks l \
             WHERE l.locktype = 'relation' AND l.granted AND l.relation IN (SELECT pg_catalog.to_regclass(t)::oid FROM pg_catalog.unnest($1::text[]) AS t) \
             AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) \
             AND (l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock') \
                  OR (l.pid IS NULL AND l.mode = 'RowExclusiveLock')) AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()",
            &[&names],
        )
        .await
        .map_err(ExecError::source("look for conflicting locks"))?;
    Ok(rows.iter().map(|row| format!("pid {} ({})", row.get::<_, String>(0), row.get::<_, String>(1))).collect())
}

/// Sessions that have a lock on the plan's tables of the target, in words.
pub(super) async fn of_targets(plan: &Plan, target: &Client) -> Result<String, ExecError> {
    let names: Vec<String> = plan.targets().into_iter().map(sql::name).collect();
    // A process of the server has no role, and only some may see what it is.
    let query = "SELECT DISTINCT coalesce('pid ' || l.pid || ' (' || coalesce('role ' || a.usename, a.backend_type, \
                 'a process of the server, such as autovacuum') || ')', 'a prepared transaction') \
                 FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
                 WHERE l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid() \
                 AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) \
                 AND EXISTS (SELECT FROM pg_catalog.unnest($1::text[]) AS n JOIN pg_catalog.pg_class c \
                   ON c.oid = pg_catalog.to_regclass(n) WHERE l.relation IN (c.oid, c.reltoastrelid)) ORDER BY 1 LIMIT 5";
    let rows = target.query(query, &[&names]).await.map_err(ExecError::target("look who has the tables locked"))?;
    let list: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    Ok(if list.is_empty() { "who had it is gone".to_owned() } else { format!("it is held by {}", list.join(", ")) })
}

/// Who holds a lock that keeps the fence's away, the oldest transactions first, in words.
pub(super) async fn in_the_way(source: &Client, tables: &[QualifiedName]) -> Result<String, ExecError> {
    holders(source, tables, false).await
}

/// Who holds any lock on the tables, in the same words: readers too.
pub(super) async fn users(source: &Client, tables: &[QualifiedName]) -> Result<String, ExecError> {
    holders(source, tables, true).await
}

async fn holders(source: &Client, tables: &[QualifiedName], with_readers: bool) -> Result<String, ExecError> {
    let names: Vec<String> = tables.iter().map(sql::name).collect();
    let rows = source
        .query(
            // A prepared transaction has no session; its locks have the name of the one that it was.
            "SELECT coalesce('pid ' || l.pid, 'prepared transaction ' || (SELECT quote_literal(p.gid) \
                 FROM pg_catalog.pg_locks x JOIN pg_catalog.pg_prepared_xacts p ON p.transaction = x.transactionid \
                 WHERE x.pid IS NULL AND x.granted AND x.virtualtransaction = l.virtualtransaction LIMIT 1), \
                 'a prepared transaction'), \
               concat_ws(', ', nullif(a.application_name, ''), coalesce('role ' || a.usename, a.backend_type), \
                 'in a transaction for ' || round(extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)) || ' s', \
                 string_agg(DISTINCT l.mode || ' on ' || l.relation::regclass::text, ', ')) \
             FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
             WHERE l.locktype = 'relation' AND l.granted AND l.relation IN (SELECT pg_catalog.to_regclass(t)::oid FROM pg_catalog.unnest($1::text[]) AS t) \
             AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) \
             AND ($2 OR l.mode NOT IN ('AccessShareLock', 'RowShareLock')) AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid() \
             GROUP BY l.pid, l.virtualtransaction, a.application_name, a.usename, a.backend_type, a.xact_start ORDER BY a.xact_start LIMIT 6",
            &[&names, &with_readers],
        )
        .await
        .map_err(ExecError::source("look who keeps the tables from being locked"))?;
    let named = |row: &tokio_postgres::Row| format!("{} ({})", row.get::<_, String>(0), row.get::<_, String>(1));
    let mut who: Vec<String> = rows.iter().map(named).collect();
    if who.len() > NAMED_MAX {
        who.truncate(NAMED_MAX);
        who.push("and others".to_owned());
    }
    Ok(if who.is_empty() { "busy sessions".to_owned() } else { who.join("; ") })
}

/// Ends the sessions whose transaction is older than `limit` and holds a lock that keeps the fence away. A prepared
/// transaction has no session: it stays.
pub(super) async fn terminate(
    run: &Run,
    source: &Client,
    tables: &[QualifiedName],
    limit: Duration,
) -> Result<(), ExecError> {
    let names: Vec<String> = tables.iter().map(sql::name).collect();
    let rows = source
        .query(
            "SELECT a.pid, coalesce(a.usename::text, a.backend_type), pg_catalog.pg_terminate_backend(a.pid) \
             FROM pg_catalog.pg_stat_activity a WHERE a.pid <> pg_catalog.pg_backend_pid() \
             AND pg_catalog.clock_timestamp() - a.xact_start > $2::text::interval AND EXISTS \
             (SELECT FROM pg_catalog.pg_locks l WHERE l.pid = a.pid AND l.locktype = 'relation' AND l.granted \
              AND l.relation IN (SELECT pg_catalog.to_regclass(t)::oid FROM pg_catalog.unnest($1::text[]) AS t) AND l.mode NOT IN ('AccessShareLock', 'RowShareLock') \
              AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))",
            &[&names, &format!("{} milliseconds", limit.as_millis())],
        )
        .await
        .map_err(ExecError::source("terminate sessions that keep the fence waiting"))?;
    for row in rows {
        run.note(format!(
            "terminated pid {} ({}), which kept the fence waiting",
            row.get::<_, i32>(0),
            row.get::<_, String>(1)
        ));
    }
    Ok(())
}
