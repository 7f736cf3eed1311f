//! The write fence on the source: one transaction that locks every table, proves that nothing changed, and puts a
//! trigger in every writer's way. A lease lets writes pass again if nobody renews it.

use std::time::{Duration, Instant};

use rand::Rng;
use sha2::{Digest, Sha256};

use super::ExecError;
use super::context::Run;
use super::copy::check_shapes;
use super::failpoint;
use super::published;
use super::table::TableTask;
use crate::catalog::QualifiedName;
use crate::ledger::{LedgerError, lock};
use crate::pg::client::Client;
use crate::plan::{Fence, Op};
use crate::replay::Lsn;
use crate::sql;

/// The lease is renewed well within this time.
pub const LEASE: Duration = Duration::from_secs(15);
/// Attempts to get the lock before the cutover is given up.
const ATTEMPTS_MAX: u32 = 30;
/// So many of those who stand in the way are named.
const NAMED_MAX: usize = 5;
/// A terminated session may have much to roll back.
const TERMINATED_GRACE: Duration = Duration::from_secs(20);

/// A random secret that proves that the sentinel is ours: any role may write messages into the log.
pub struct Nonce(String);

impl Nonce {
    /// A new secret.
    pub fn new() -> Self {
        let bytes: [u8; 16] = rand::rng().random();
        Self(hex(&bytes))
    }

    /// What the ledger keeps.
    pub fn digest(&self) -> String {
        hex(&Sha256::digest(self.0.as_bytes()))
    }

    /// The sentinel's text.
    pub fn sentinel(&self, run: &Run) -> String {
        format!("fence:{}:{}:{}", run.id, run.epoch, self.0)
    }
}

impl Default for Nonce {
    fn default() -> Self {
        Self::new()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The fence step of the plan.
pub fn tables(run: &Run) -> Result<&[QualifiedName], ExecError> {
    run.plan
        .steps
        .iter()
        .find_map(|step| match &step.op {
            Op::Fence(Fence { tables }) => Some(tables.as_slice()),
            _ => None,
        })
        .ok_or_else(|| ExecError::Step { step: "fence".to_owned(), reason: "the plan has none".to_owned() })
}

/// Fences all tables; gives a position that every earlier write is before. Transactions that stand in the way for
/// longer than `terminate_after` are terminated.
pub async fn raise(
    run: &Run,
    source: &Client,
    tasks: &[TableTask],
    nonce: &Nonce,
    terminate_after: Option<Duration>,
) -> Result<Lsn, ExecError> {
    let tables = tables(run)?;
    let lock = lock::ledger_key();
    let prepare = sql::fence::prepare().join("; ");
    let prepare = format!("BEGIN; SELECT pg_catalog.pg_advisory_xact_lock({lock}); {prepare}; COMMIT");
    source.batch_execute(&prepare).await.map_err(ExecError::source("prepare the fence"))?;
    add_epoch(source).await?;
    let wait = lock_wait(source).await?;
    let began = Instant::now();
    let mut attempt = 0;
    // Who is to be terminated must have the time to end by itself, and we the time to try after that.
    let patience = terminate_after.map(|limit| limit + TERMINATED_GRACE);
    while attempt < ATTEMPTS_MAX || patience.is_some_and(|patience| began.elapsed() < patience) {
        attempt += 1;
        run.stop_check()?;
        if let Some(limit) = terminate_after.filter(|limit| began.elapsed() >= *limit) {
            terminate(run, source, tables, limit).await?;
        }
        if conflicting(source, tables).await?.is_empty() {
            match attempt_once(run, source, nonce, (tables, tasks), wait).await {
                Ok(lsn) => return Ok(lsn),
                Err(error) if is_lock_trouble(&error) => {
                    source.batch_execute("ROLLBACK").await.map_err(ExecError::source("give up the lock"))?;
                }
                Err(error) => {
                    source.batch_execute("ROLLBACK").await.map_err(ExecError::source("give up the lock"))?;
                    return Err(error);
                }
            }
        }
        if attempt % 5 == 1 {
            run.waiting(format!("the fence waits for {}", in_the_way(source, tables).await?));
        }
        let rest = wait * 5 + Duration::from_millis(rand::rng().random_range(0..200));
        run.sleep(rest).await?;
    }
    let who = in_the_way(source, tables).await?;
    Err(ExecError::CutoverAborted { reason: format!("the tables could not be locked in {attempt} attempts: {who}") })
}

/// How long an attempt waits for its lock. The application must never be the deadlock detector's victim: we give up first,
/// and rest longer than we wait.
pub(super) async fn lock_wait(source: &Client) -> Result<Duration, ExecError> {
    let row = source
        .query_one("SELECT extract(epoch FROM current_setting('deadlock_timeout')::interval)::float8 * 1000", &[])
        .await
        .map_err(ExecError::source("read deadlock_timeout"))?;
    Ok(Duration::from_millis((row.get::<_, f64>(0) * 0.75).clamp(10.0, 300.0) as u64))
}

pub(super) fn is_lock_trouble(error: &ExecError) -> bool {
    matches!(error, ExecError::Postgres { error, .. } if matches!(error.sqlstate(), Some("57014" | "55P03" | "40P01")))
}

async fn attempt_once(
    run: &Run,
    source: &Client,
    nonce: &Nonce,
    (tables, tasks): (&[QualifiedName], &[TableTask]),
    wait: Duration,
) -> Result<Lsn, ExecError> {
    source
        .batch_execute(&format!("BEGIN; SET LOCAL statement_timeout = {}", wait.as_millis()))
        .await
        .map_err(ExecError::source("begin the fence"))?;
    // A message of its own: older servers arm the timeout only for the next one.
    source
        .batch_execute(&sql::fence::lock(tables))
        .await
        .map_err(ExecError::source("lock the tables for the fence"))?;
    source.batch_execute("SET LOCAL statement_timeout = '5s'").await.map_err(ExecError::source("fence"))?;
    // Under the lock nothing can change any more: what was planned must be what is there.
    unchanged(run, source, tasks).await?;
    // The plan shows `$migration`, `$until` and `$epoch`: a plan cannot hold its own id, nor what only its run knows.
    let migration = sql::literal(&run.id);
    let until = format!("pg_catalog.clock_timestamp() + '{} seconds'::pg_catalog.interval", LEASE.as_secs());
    let lease = sql::fence::lease().replace("$migration", &migration).replace("$until", &until);
    let lease = lease.replace("$epoch", &run.epoch.to_string());
    if source.execute(&lease, &[]).await.map_err(ExecError::source("raise the fence"))? != 1 {
        return Err(LedgerError::Fenced { epoch: run.epoch, lsn: Lsn(0) }.into());
    }
    // Only the argument at the end: a table may be called `$migration`.
    let cutover = &run.plan.settings.cutover;
    let triggers = sql::fence::triggers(tables, run.plan.source.server.major(), cutover.passes()).into_iter();
    let triggers = triggers.filter(|_| cutover.fence.refuses());
    let triggers = triggers.map(|statement| match statement.strip_suffix("($migration)") {
        Some(head) => format!("{head}({migration})"),
        None => statement,
    });
    let text = triggers.collect::<Vec<_>>().join("; ");
    source.batch_execute(&text).await.map_err(ExecError::source("raise the fence"))?;
    let row = source
        .query_one(
            "SELECT pg_catalog.pg_logical_emit_message(true, 'pcrd', $1)::text, pg_catalog.pg_current_wal_insert_lsn()::text",
            &[&nonce.sentinel(run)],
        )
        .await
        .map_err(ExecError::source("write the sentinel"))?;
    let lsn: Lsn = row
        .get::<_, String>(1)
        .parse()
        .map_err(|error: crate::replay::position::LsnError| ExecError::Gap { reason: error.to_string() })?;
    source.batch_execute("COMMIT").await.map_err(ExecError::source("commit the fence"))?;
    Ok(lsn)
}

async fn add_epoch(source: &Client) -> Result<(), ExecError> {
    let query = "SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = 'pcrd.fence'::regclass \
                 AND attname = 'epoch' AND NOT attisdropped)";
    let doing = || ExecError::source("prepare the fence");
    if source.query_one(query, &[]).await.map_err(doing())?.get(0) {
        return Ok(());
    }
    source.batch_execute(sql::fence::add_epoch()).await.map_err(doing())
}

/// What was planned is what is there.
pub async fn unchanged(run: &Run, source: &Client, tasks: &[TableTask]) -> Result<(), ExecError> {
    check_shapes(source, &tasks.iter().collect::<Vec<_>>()).await?;
    nobody_subscribes(source, tasks).await?;
    published::check(run, source).await
}

/// The worker that applies a subscription's changes fires no statement triggers: the fence would not stop it. One may have
/// come since the run began.
async fn nobody_subscribes(source: &Client, tasks: &[TableTask]) -> Result<(), ExecError> {
    let names: Vec<String> = tasks.iter().map(|task| sql::name(task.source_name())).collect();
    let rows = source
        .query(
            "SELECT DISTINCT srrelid::regclass::text FROM pg_catalog.pg_subscription_rel \
             WHERE srrelid = ANY ($1::text[]::regclass[]) ORDER BY 1",
            &[&names],
        )
        .await
        .map_err(ExecError::source("look for subscriptions"))?;
    let tables: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    if tables.is_empty() {
        return Ok(());
    }
    let reason = format!(
        "a subscription writes {}, and its apply worker passes the fence: drop the subscription, then ask again",
        tables.join(", ")
    );
    Err(ExecError::CutoverAborted { reason })
}

/// Sessions and prepared transactions that hold a lock that the fence cannot share with anything but a short wait:
/// vacuum, index builds, prepared transactions.
pub(super) async fn conflicting(source: &Client, tables: &[QualifiedName]) -> Result<Vec<String>, ExecError> {
    let names: Vec<String> = tables.iter().map(sql::name).collect();
    let rows = source
        .query(
            "SELECT coalesce(l.pid::text, 'prepared transaction'), l.mode FROM pg_catalog.pg_locks l \
             WHERE l.locktype = 'relation' AND l.granted AND l.relation = ANY ($1::text[]::regclass[]) \
             AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) \
             AND (l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock') \
                  OR (l.pid IS NULL AND l.mode = 'RowExclusiveLock')) AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()",
            &[&names],
        )
        .await
        .map_err(ExecError::source("look for conflicting locks"))?;
    Ok(rows.iter().map(|row| format!("pid {} ({})", row.get::<_, String>(0), row.get::<_, String>(1))).collect())
}

/// Who holds a lock that keeps ours away, the oldest transactions first, in words.
pub(super) async fn in_the_way(source: &Client, tables: &[QualifiedName]) -> Result<String, ExecError> {
    let names: Vec<String> = tables.iter().map(sql::name).collect();
    let rows = source
        .query(
            // A prepared transaction has no session; its locks have the name of the one that it was.
            "SELECT coalesce('pid ' || l.pid, 'prepared transaction ' || (SELECT quote_literal(p.gid) \
                 FROM pg_catalog.pg_locks x JOIN pg_catalog.pg_prepared_xacts p ON p.transaction = x.transactionid \
                 WHERE x.pid IS NULL AND x.granted AND x.virtualtransaction = l.virtualtransaction LIMIT 1), \
                 'a prepared transaction'), \
               concat_ws(', ', nullif(a.application_name, ''), 'role ' || a.usename, \
                 'in a transaction for ' || round(extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)) || ' s', \
                 string_agg(DISTINCT l.mode || ' on ' || l.relation::regclass::text, ', ')) \
             FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
             WHERE l.locktype = 'relation' AND l.granted AND l.relation = ANY ($1::text[]::regclass[]) \
             AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) \
             AND l.mode NOT IN ('AccessShareLock', 'RowShareLock') AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid() \
             GROUP BY l.pid, l.virtualtransaction, a.application_name, a.usename, a.xact_start ORDER BY a.xact_start LIMIT 6",
            &[&names],
        )
        .await
        .map_err(ExecError::source("look who keeps the tables from being locked"))?;
    let named = |row: &tokio_postgres::Row| format!("{} ({})", row.get::<_, String>(0), row.get::<_, String>(1));
    let mut who: Vec<String> = rows.iter().map(named).collect();
    if who.len() > NAMED_MAX {
        who.truncate(NAMED_MAX);
        who.push("and others".to_owned());
    }
    Ok(if who.is_empty() { "busy writers".to_owned() } else { who.join("; ") })
}

/// Ends the sessions whose transaction is older than `limit` and holds a lock that keeps the fence away. A prepared
/// transaction has no session: it stays.
async fn terminate(run: &Run, source: &Client, tables: &[QualifiedName], limit: Duration) -> Result<(), ExecError> {
    let names: Vec<String> = tables.iter().map(sql::name).collect();
    let rows = source
        .query(
            "SELECT a.pid, coalesce(a.usename::text, a.backend_type), pg_catalog.pg_terminate_backend(a.pid) \
             FROM pg_catalog.pg_stat_activity a WHERE a.pid <> pg_catalog.pg_backend_pid() \
             AND pg_catalog.clock_timestamp() - a.xact_start > $2::text::interval AND EXISTS \
             (SELECT FROM pg_catalog.pg_locks l WHERE l.pid = a.pid AND l.locktype = 'relation' AND l.granted \
              AND l.relation = ANY ($1::text[]::regclass[]) AND l.mode NOT IN ('AccessShareLock', 'RowShareLock') \
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

/// Prolongs the lease; false when it has run out, for then writes may have passed, or is another executor's, or permanent: a
/// statement that comes late must not give that an end.
pub async fn renew(run: &Run, source: &Client) -> Result<bool, ExecError> {
    let n = source
        .execute(
            "UPDATE pcrd.fence SET until = clock_timestamp() + $2::text::interval WHERE migration = $1 AND epoch = $3 \
             AND until > clock_timestamp() AND until <> 'infinity'",
            &[&run.id, &format!("{} seconds", LEASE.as_secs()), &run.epoch],
        )
        .await
        .map_err(ExecError::source("renew the fence's lease"))?;
    Ok(n == 1)
}

/// Makes the fence permanent; false when the lease had run out, or is another executor's.
///
/// The row is locked first and the clock read after: a writer that finds the lease expired takes the same lock, so
/// either it sees the permanent fence or this sees that the lease was up.
///
/// The fence stops writes, not DDL: what a table became behind it is looked at once more, and stays so until this is
/// committed. That may take what is `left` of the fence's timeout. The server watches it: who stopped to wait for the answer
/// would not know what was decided.
pub async fn make_permanent(
    run: &Run,
    source: &Client,
    tasks: &[TableTask],
    left: Duration,
) -> Result<bool, ExecError> {
    let doing = || ExecError::source("make the fence permanent");
    let left = left.as_millis().max(1);
    let begin = format!("BEGIN; SET LOCAL statement_timeout = {left}");
    source.batch_execute(&begin).await.map_err(doing())?;
    let made = held_and_permanent(run, source, tasks).await;
    let end = if made.is_ok() { "COMMIT" } else { "ROLLBACK" };
    source.batch_execute(end).await.map_err(doing())?;
    match made {
        Err(error) if is_lock_trouble(&error) => {
            let who = in_the_way(source, tables(run)?).await?;
            Err(ExecError::CutoverAborted { reason: format!("the tables could not be held for the switch: {who}") })
        }
        other => other,
    }
}

async fn held_and_permanent(run: &Run, source: &Client, tasks: &[TableTask]) -> Result<bool, ExecError> {
    let hold = sql::fence::hold(tables(run)?);
    source.batch_execute(&hold).await.map_err(ExecError::source("hold the tables for the switch"))?;
    unchanged(run, source, tasks).await?;
    let doing = || ExecError::source("make the fence permanent");
    // A commit that waits for a standby is not to be cut short.
    let lock =
        "SELECT pg_catalog.set_config('statement_timeout', '0', true) FROM pcrd.fence WHERE migration = $1 FOR UPDATE";
    source.query(lock, &[&run.id]).await.map_err(doing())?;
    // Whoever slept through a takeover must not decide with the lease of its successor.
    let update =
        "UPDATE pcrd.fence SET until = 'infinity' WHERE migration = $1 AND epoch = $2 AND until > clock_timestamp()";
    let n = source.execute(update, &[&run.id, &run.epoch]).await.map_err(doing())?;
    failpoint::hit("cutover.before-permanent")?;
    Ok(n == 1)
}

/// What stands on the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// No trigger.
    None,
    /// Triggers with a lease that runs or has run out.
    Leased,
    /// The lease is infinite: the switch was decided.
    Permanent,
}

/// Reads what stands on the source.
pub async fn standing(run: &Run, source: &Client) -> Result<Standing, ExecError> {
    standing_of(&run.id, source).await
}

/// The same, of a plan that nobody runs.
pub async fn standing_of(migration: &str, source: &Client) -> Result<Standing, ExecError> {
    let row = source
        .query_one("SELECT pg_catalog.to_regclass('pcrd.fence') IS NOT NULL", &[])
        .await
        .map_err(ExecError::source("look for the fence"))?;
    if !row.get::<_, bool>(0) {
        return Ok(Standing::None);
    }
    let row = source
        .query_opt("SELECT until = 'infinity' FROM pcrd.fence WHERE migration = $1", &[&migration])
        .await
        .map_err(ExecError::source("read the fence"))?;
    match row.map(|row| row.get::<_, bool>(0)) {
        None => Ok(Standing::None),
        Some(true) => Ok(Standing::Permanent),
        Some(false) => Ok(Standing::Leased),
    }
}

/// Opens the source again. The lease ends first, which lets writers pass at once; then triggers and row go together,
/// with short waits for the lock, because readers would queue behind a long one.
pub async fn lower(run: &Run, source: &Client) -> Result<(), ExecError> {
    end_lease(run, source).await?;
    take_down(&run.id, source, false).await
}

/// Lets writes pass, unless the switch was decided; also when the clock goes back.
pub async fn end_lease(run: &Run, source: &Client) -> Result<(), ExecError> {
    source
        .execute("UPDATE pcrd.fence SET until = '-infinity' WHERE migration = $1 AND until <> 'infinity'", &[&run.id])
        .await
        .map_err(ExecError::source("end the fence's lease"))?;
    Ok(())
}

/// Removes the fence of a finished migration: whoever still writes to the source is not refused any more.
pub async fn remove(run: &Run, source: &Client) -> Result<(), ExecError> {
    remove_of(&run.id, source).await
}

/// The same, of a plan that nobody runs. Its lease ends first: the lock for the triggers may be long in coming, and writers
/// pass meanwhile.
pub async fn remove_of(migration: &str, source: &Client) -> Result<(), ExecError> {
    let end = "UPDATE pcrd.fence SET until = '-infinity' WHERE migration = $1";
    source.execute(end, &[&migration]).await.map_err(ExecError::source("end the fence"))?;
    take_down(migration, source, true).await
}

async fn take_down(migration: &str, source: &Client, finished: bool) -> Result<(), ExecError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let error = match drop_fence(migration, source, finished).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        // A failed statement leaves its transaction open.
        source.batch_execute("ROLLBACK").await.map_err(ExecError::source("roll back"))?;
        if attempt == 30 || !is_lock_trouble(&error) {
            return Err(error);
        }
        tokio::time::sleep(Duration::from_millis(1_500)).await;
    }
}

async fn drop_fence(migration: &str, source: &Client, finished: bool) -> Result<(), ExecError> {
    let doing = "remove the fence";
    source.batch_execute("BEGIN; SET LOCAL statement_timeout = 300").await.map_err(ExecError::source(doing))?;
    // The tables before the row: a writer that the expired lease lets pass has its table and takes the row.
    let drops = sql::fence::drop_triggers(&fenced_of(migration, source).await?).join("; ");
    source.batch_execute(&drops).await.map_err(ExecError::source(doing))?;
    let n = source
        .execute(
            "DELETE FROM pcrd.fence WHERE migration = $1 AND (until <> 'infinity' OR $2)",
            &[&migration, &finished],
        )
        .await
        .map_err(ExecError::source(doing))?;
    if n == 0 {
        return Err(ExecError::Step {
            step: "fence".to_owned(),
            reason: "it is permanent: the switch was decided by another executor".to_owned(),
        });
    }
    source.batch_execute("COMMIT").await.map_err(ExecError::source(doing))
}

/// The tables that this migration's fence stands on: by what they are, not by the names in the plan. A table may have
/// been renamed behind the fence, and without the lease row its trigger would refuse writes for ever.
pub async fn fenced(run: &Run, source: &Client) -> Result<Vec<QualifiedName>, ExecError> {
    fenced_of(&run.id, source).await
}

/// The same, of a plan that nobody runs.
pub async fn fenced_of(migration: &str, source: &Client) -> Result<Vec<QualifiedName>, ExecError> {
    let rows = source
        .query(
            "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_trigger t \
             JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             JOIN pg_catalog.pg_proc f ON f.oid = t.tgfoid JOIN pg_catalog.pg_namespace fn ON fn.oid = f.pronamespace \
             WHERE t.tgname = 'pcrd_fence' AND fn.nspname = 'pcrd' AND f.proname = 'fence' \
             AND t.tgargs = pg_catalog.convert_to($1, 'UTF8') || '\\x00'::bytea",
            &[&migration],
        )
        .await
        .map_err(ExecError::source("look for the fence"))?;
    let mut fenced = Vec::new();
    for row in rows {
        let name = |text: String| {
            crate::catalog::Ident::new(text)
                .map_err(|error| ExecError::Stale { what: "table name".to_owned(), difference: error.to_string() })
        };
        fenced.push(QualifiedName { schema: name(row.get(0))?, name: name(row.get(1))? });
    }
    Ok(fenced)
}
