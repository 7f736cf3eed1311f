//! The write fence on the source: one transaction that locks every table, proves that nothing changed, and puts a
//! trigger in every writer's way. A lease lets writes pass again if nobody renews it.

use std::time::{Duration, Instant};

use rand::Rng;

use super::ExecError;
use super::context::Run;
use super::copy::check_shapes;
use super::failpoint;
use super::lock_holders::{conflicting, in_the_way, terminate};
use super::published;
use super::seen::Seen;
use super::sentinel::Nonce;
use super::table::TableTask;
use super::time_limit;
use super::witness;
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
/// Attempts to take the triggers down where writers pass already and others come after …
const LOWERINGS: u32 = 5;
/// … and where nobody does.
const REMOVALS: u32 = 30;
/// A terminated session may have much to roll back.
const TERMINATED_GRACE: Duration = Duration::from_secs(20);
/// For one statement under the lock, where nobody can write. All of them together may take as long, or the fence's timeout.
const UNDER_LOCK: Duration = Duration::from_secs(5);

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

/// The tables of the fence step, and the partitions that they had at the last look.
fn with_partitions(run: &Run, tasks: &[TableTask]) -> Result<Vec<QualifiedName>, ExecError> {
    let partitions = tasks.iter().filter_map(|task| task.witness.as_ref()).flat_map(Seen::partitions);
    Ok(tables(run)?.iter().cloned().chain(partitions.map(|(_, one)| one.name)).collect())
}

/// A fence that stands.
#[derive(Debug, Clone)]
pub struct Raised {
    /// Every earlier write is before it.
    pub lsn: Lsn,
    /// The transaction that made the triggers, as `xmin` has it.
    xid: String,
}

/// Fences all tables. Transactions that stand in the way for
/// longer than `terminate_after` are terminated.
pub async fn raise(
    run: &Run,
    source: &Client,
    tasks: &[TableTask],
    nonce: &Nonce,
    (terminate_after, behind): (Option<Duration>, Duration),
) -> Result<Raised, ExecError> {
    let (tables, with_partitions) = (tables(run)?, with_partitions(run, tasks)?);
    let lock = lock::ledger_key();
    let prepare = sql::fence::prepare().join("; ");
    let prepare = format!("BEGIN; SELECT pg_catalog.pg_advisory_xact_lock({lock}); {prepare}; COMMIT");
    source.batch_execute(&prepare).await.map_err(ExecError::source("prepare the fence"))?;
    add_epoch(source).await?;
    let wait = lock_wait(source).await?;
    let pid = time_limit::pid(source).await?;
    let began = Instant::now();
    let mut attempt = 0;
    // Who is to be terminated must have the time to end by itself, and we the time to try after that.
    let patience = terminate_after.map(|limit| limit + TERMINATED_GRACE);
    while attempt < ATTEMPTS_MAX || patience.is_some_and(|patience| began.elapsed() < patience) {
        attempt += 1;
        run.stop_check()?;
        if let Some(limit) = terminate_after.filter(|limit| began.elapsed() >= *limit) {
            terminate(run, source, &with_partitions, limit).await?;
        }
        if conflicting(source, &with_partitions).await?.is_empty() {
            let raised = match lock_tables(run, source, tables, wait).await {
                Ok(true) => raise_locked(run, (source, pid), nonce, tasks, behind).await.map(Some),
                Ok(false) => Ok(None),
                Err(error) => Err(error),
            };
            if let Ok(Some(raised)) = raised {
                return Ok(raised);
            }
            source.batch_execute("ROLLBACK").await.map_err(ExecError::source("give up the lock"))?;
            raised?;
        }
        if attempt % 5 == 1 {
            run.waiting(format!("the fence waits for {}", in_the_way(source, &with_partitions).await?));
        }
        let rest = wait * 5 + Duration::from_millis(rand::rng().random_range(0..200));
        run.sleep(rest).await?;
    }
    let who = in_the_way(source, &with_partitions).await?;
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

/// Begins the fence's transaction with its lock; false when the lock is not to be had now. Of all that is said in the
/// transaction this alone may be tried again: whatever else takes long takes long with the lock held.
async fn lock_tables(run: &Run, source: &Client, tables: &[QualifiedName], wait: Duration) -> Result<bool, ExecError> {
    source
        .batch_execute(&format!("BEGIN; SET LOCAL statement_timeout = {}", wait.as_millis()))
        .await
        .map_err(ExecError::source("begin the fence"))?;
    // A message of its own: older servers arm the timeout only for the next one.
    let limit = format!("SET LOCAL statement_timeout = {}", UNDER_LOCK.as_millis());
    for statement in [sql::fence::lock(tables, &run.plan.partitioned()), limit] {
        let doing = ExecError::source("lock the tables for the fence");
        match source.batch_execute(&statement).await.map_err(doing) {
            Ok(()) => {}
            Err(error) if is_lock_trouble(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Everything under the lock, to the commit.
async fn raise_locked(
    run: &Run,
    (source, pid): (&Client, i32),
    nonce: &Nonce,
    tasks: &[TableTask],
    limit: Duration,
) -> Result<Raised, ExecError> {
    let limit = UNDER_LOCK.max(limit);
    let within = format!(
        "under the lock of the tables nobody can write; there a statement may take {} s, and all of them together {} ms",
        UNDER_LOCK.as_secs(),
        limit.as_millis()
    );
    let raising = check_and_raise(run, source, nonce, tasks);
    let raised = time_limit::all_within(run, pid, limit, &within, raising).await;
    let raised = raised.map_err(|error| time_limit::late(run, error, &within))?;
    source.batch_execute("COMMIT").await.map_err(ExecError::source("commit the fence"))?;
    Ok(raised)
}

async fn check_and_raise(run: &Run, source: &Client, nonce: &Nonce, tasks: &[TableTask]) -> Result<Raised, ExecError> {
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
    let (tables, in_trees) = (tables(run)?, run.plan.partitioned());
    let all = with_partitions(run, tasks)?;
    let in_trees = all.iter().filter(|table| in_trees.contains(table) || !tables.contains(table)).collect();
    let triggers = sql::fence::triggers(&all, &in_trees, run.plan.source.server.major(), cutover.passes()).into_iter();
    let triggers = triggers.filter(|_| cutover.fence.refuses());
    let triggers = triggers.map(|statement| match statement.strip_suffix("($migration)") {
        Some(head) => format!("{head}({migration})"),
        None => statement,
    });
    let text = triggers.collect::<Vec<_>>().join("; ");
    source.batch_execute(&text).await.map_err(ExecError::source("raise the fence"))?;
    let row = source
        .query_one(
            "SELECT pg_catalog.pg_logical_emit_message(true, 'pcrd', $1)::text, pg_catalog.pg_current_wal_insert_lsn()::text, \
             (pg_catalog.txid_current() & 4294967295)::text",
            &[&nonce.sentinel(run)],
        )
        .await
        .map_err(ExecError::source("write the sentinel"))?;
    let lsn = row
        .get::<_, String>(1)
        .parse()
        .map_err(|error: crate::replay::position::LsnError| ExecError::Gap { reason: error.to_string() })?;
    Ok(Raised { lsn, xid: row.get(2) })
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
    let all: Vec<&TableTask> = tasks.iter().collect();
    check_shapes(source, &all).await?;
    witness::check_guards(source, &all).await?;
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
/// committed. All of that together may take what is `left` of the fence's timeout; the commit, which decides, is never cut
/// short: who stopped to wait for its answer would not know what was decided.
pub async fn make_permanent(
    run: &Run,
    source: &Client,
    tasks: &[TableTask],
    (raised, left): (&Raised, Duration),
) -> Result<bool, ExecError> {
    let doing = || ExecError::source("make the fence permanent");
    let pid = time_limit::pid(source).await?;
    let limit = (left + time_limit::GRACE).as_millis();
    source.batch_execute(&format!("BEGIN; SET LOCAL statement_timeout = {limit}")).await.map_err(doing())?;
    let within = format!("of the fence's timeout {} ms were left for all of it", left.as_millis());
    let made = time_limit::all_within(run, pid, left, &within, held_and_permanent(run, source, tasks, raised)).await;
    let end = if made.is_ok() { "COMMIT" } else { "ROLLBACK" };
    source.batch_execute(end).await.map_err(doing())?;
    made
}

async fn held_and_permanent(
    run: &Run,
    source: &Client,
    tasks: &[TableTask],
    raised: &Raised,
) -> Result<bool, ExecError> {
    let doing = || ExecError::source("make the fence permanent");
    let looks = tasks.iter().filter_map(|task| task.witness.as_ref());
    let inner = looks.flat_map(Seen::partitions).filter(|(_, one)| !one.is_leaf).map(|(_, one)| one.name);
    let hold = sql::fence::hold(tables(run)?, &run.plan.partitioned(), &inner.collect::<Vec<_>>());
    let held = source.batch_execute(&hold).await.map_err(ExecError::source("hold the tables for the switch"));
    if let Err(error) = held {
        if !is_lock_trouble(&error) {
            return Err(error);
        }
        source.batch_execute("ROLLBACK").await.map_err(doing())?;
        let who = in_the_way(source, tables(run)?).await?;
        return Err(ExecError::CutoverAborted {
            reason: format!("the tables could not be held for the switch: {who}"),
        });
    }
    unchanged(run, source, tasks).await?;
    all_closed(run, source, tasks, raised).await?;
    let lock = "SELECT FROM pcrd.fence WHERE migration = $1 FOR UPDATE";
    source.query(lock, &[&run.id]).await.map_err(doing())?;
    // Whoever slept through a takeover must not decide with the lease of its successor. A commit that waits for a standby is
    // not to be cut short.
    let update = "UPDATE pcrd.fence SET until = 'infinity' WHERE migration = $1 AND epoch = $2 AND until > clock_timestamp() \
                  RETURNING pg_catalog.set_config('statement_timeout', '0', true)";
    let rows = source.query(update, &[&run.id, &run.epoch]).await.map_err(doing())?;
    failpoint::hit("cutover.before-permanent")?;
    Ok(rows.len() == 1)
}

/// A partition that came behind the fence has no trigger, and of a table whose triggers were switched off behind it nobody
/// knows what was written meanwhile, also when they are on again: what is said of a trigger is said in its catalog row, which
/// is then of another transaction than the fence's.
async fn all_closed(run: &Run, source: &Client, tasks: &[TableTask], raised: &Raised) -> Result<(), ExecError> {
    if !run.plan.settings.cutover.fence.refuses() {
        return Ok(());
    }
    let fenced = fenced(run, source).await?;
    let untouched = fenced_by(&run.id, source, Some(&raised.xid)).await?;
    let Some(open) = with_partitions(run, tasks)?.into_iter().find(|table| !untouched.contains(table)) else {
        return Ok(());
    };
    let reason = match fenced.contains(&open) {
        true => format!(
            "the fence's trigger of {open} was altered behind the fence (ALTER TABLE … DISABLE or ENABLE TRIGGER): rows may have \
             been written; ask again"
        ),
        false => format!("{open} came behind the fence, or lost its trigger, and is not closed: ask again"),
    };
    Err(ExecError::CutoverAborted { reason })
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
pub async fn lower(migration: &str, source: &Client) -> Result<(), ExecError> {
    end_lease(migration, source).await?;
    take_down(migration, source, false, LOWERINGS).await
}

/// Lets writes pass, unless the switch was decided; also when the clock goes back.
pub async fn end_lease(migration: &str, source: &Client) -> Result<(), ExecError> {
    let end = "UPDATE pcrd.fence SET until = '-infinity' WHERE migration = $1 AND until <> 'infinity'";
    source.execute(end, &[&migration]).await.map(drop).map_err(ExecError::source("end the fence's lease"))
}

/// Removes the fence of a finished migration: whoever still writes to the source is not refused any more.
pub async fn remove(run: &Run, source: &Client) -> Result<(), ExecError> {
    remove_of(&run.id, source).await
}

/// Lets writes pass, whatever was decided; the triggers stay.
pub async fn end(run: &Run, source: &Client) -> Result<(), ExecError> {
    end_of(&run.id, source).await
}

/// The same, of a plan that nobody runs.
pub async fn end_of(migration: &str, source: &Client) -> Result<(), ExecError> {
    let end = "UPDATE pcrd.fence SET until = '-infinity' WHERE migration = $1";
    source.execute(end, &[&migration]).await.map(drop).map_err(ExecError::source("end the fence"))
}

/// The same, of a plan that nobody runs. Its lease ends first: the lock for the triggers may be long in coming, and writers
/// pass meanwhile.
pub async fn remove_of(migration: &str, source: &Client) -> Result<(), ExecError> {
    end_of(migration, source).await?;
    take_down(migration, source, true, REMOVALS).await
}

async fn take_down(migration: &str, source: &Client, finished: bool, attempts: u32) -> Result<(), ExecError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let error = match drop_fence(migration, source, finished).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        // A failed statement leaves its transaction open.
        source.batch_execute("ROLLBACK").await.map_err(ExecError::source("roll back"))?;
        if attempt == attempts || !is_lock_trouble(&error) {
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
    fenced_by(migration, source, None).await
}

/// Only those whose trigger fires for everybody and is as this transaction made it, if one is named.
async fn fenced_by(migration: &str, source: &Client, xid: Option<&str>) -> Result<Vec<QualifiedName>, ExecError> {
    let rows = source
        .query(
            "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_trigger t \
             JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             JOIN pg_catalog.pg_proc f ON f.oid = t.tgfoid JOIN pg_catalog.pg_namespace fn ON fn.oid = f.pronamespace \
             WHERE t.tgname = 'pcrd_fence' AND fn.nspname = 'pcrd' AND f.proname = 'fence' \
             AND t.tgargs = pg_catalog.convert_to($1, 'UTF8') || '\\x00'::bytea \
             AND ($2::text IS NULL OR t.tgenabled = 'A' AND t.xmin::text = $2)",
            &[&migration, &xid],
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
