//! The replication slot and its snapshot.

use std::time::Duration;

use rand::Rng;
use tokio_postgres::Client as Sql;

use super::context::Run;
use super::continuity;
use super::failpoint;
use super::guards::{self, Opened};
use super::table::TableTask;
use super::whole::Piece;
use super::{ExecError, whole};
use crate::ledger::adoption;
use crate::ledger::progress;
use crate::ledger::{chunk, step, unreadable};
use crate::pg::client::Client;
use crate::pg::replication::{self, NewSlot, Replication};
use crate::plan::{End, Signal};
use crate::replay::Lsn;

/// Creating a slot waits for every transaction that is writing; this is how long.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// How often to look whether a session waits for us while we wait for it, and how often to give way to one.
const ENTANGLED_EVERY: Duration = Duration::from_millis(300);
const ENTANGLED_MAX: u32 = 20;

/// Keeps the slot's snapshot alive: whole tables are read under it.
pub struct SlotSnapshot {
    /// Its connection; the next command on it, or its end, ends the snapshot for those who have not taken it over.
    _connection: Replication,
    /// They read under the snapshot, and have held ACCESS SHARE on the whole tables since before it: TRUNCATE and rewrites are
    /// not MVCC-safe. No other session may read them: behind somebody who waits for this lock it would wait for ever.
    pub guards: Vec<Client>,
    /// What is to be read under it.
    pub pieces: Vec<Piece>,
}

/// What the server says of the slot.
#[derive(Debug, Clone)]
pub struct SlotState {
    /// A reader is connected.
    pub active_pid: Option<i32>,
    /// What was confirmed.
    pub confirmed: Option<Lsn>,
    /// The server still has the log that the slot needs.
    pub lost: bool,
}

/// Reads the slot; `None` when there is none of this name.
pub async fn state(source: &Sql, run: &Run) -> Result<Option<SlotState>, ExecError> {
    let slot = run.plan.settings.slot.as_str();
    let row = source
        .query_opt(
            "SELECT active_pid, confirmed_flush_lsn::text, to_jsonb(s)->>'wal_status', plugin::text, database::text, \
             restart_lsn IS NULL FROM pg_catalog.pg_replication_slots s WHERE slot_name = $1",
            &[&slot],
        )
        .await
        .map_err(ExecError::source("read the replication slot"))?;
    let Some(row) = row else { return Ok(None) };
    let (plugin, database): (Option<String>, Option<String>) = (row.get(3), row.get(4));
    if plugin.as_deref() != Some("pgoutput") || database.as_deref() != Some(run.plan.source.server.database.as_str()) {
        return Err(ExecError::Gap { reason: format!("slot {slot} is not a pgoutput slot of this database") });
    }
    let confirmed = row.get::<_, Option<String>>(1).map(|text| text.parse::<Lsn>()).transpose();
    let confirmed = confirmed.map_err(|error| ExecError::Gap { reason: error.to_string() })?;
    let lost = row.get::<_, Option<String>>(2).as_deref() == Some("lost") || row.get::<_, bool>(5);
    Ok(Some(SlotState { active_pid: row.get(0), confirmed, lost }))
}

/// Makes sure that slot and position exist and belong together. A new slot comes with its snapshot when tables are
/// to be copied whole under it.
pub async fn ensure(
    run: &Run,
    ledger: &Sql,
    source: &Client,
    whole_missing: bool,
) -> Result<Option<SlotSnapshot>, ExecError> {
    let progress = progress::read(ledger, &run.id).await?;
    let found = state(source, run).await?;
    match (progress, found) {
        (Some(progress), Some(found)) if !whole_missing => {
            continuity::check(run, ledger, source, &progress, &found).await?;
            Ok(None)
        }
        (Some(_), None) if !whole_missing => Err(ExecError::Gap {
            reason: format!(
                "slot {} is gone from the source; changes since then cannot be known. Run `pcrd abort` and apply again",
                run.plan.settings.slot
            ),
        }),
        // Whole tables are read under the snapshot of the slot's creation, which died with the executor: begin again.
        // Nothing was streamed yet, because lanes and stream start only after the whole copies.
        (progress, found) => {
            if found.is_some() {
                let started = step::all(ledger, &run.id).await?;
                if !started.contains_key(&create_slot_id(run)) {
                    return Err(ExecError::Step {
                        step: "create_slot".to_owned(),
                        reason: format!(
                            "a slot named {} exists and is not this plan's; drop it, or plan with another replication_slot",
                            run.plan.settings.slot
                        ),
                    });
                }
                wait_inactive(run, source).await?;
                // One that was being created goes with the session that was creating it.
                let drop = "SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots \
                            WHERE slot_name = $1";
                source
                    .execute(drop, &[&run.plan.settings.slot.as_str()])
                    .await
                    .map_err(ExecError::source("drop the slot of an unfinished setup"))?;
            }
            // First the copies, then the position: a crash between the two comes back here.
            chunk::delete_whole(ledger, &run.id).await?;
            // Positions of another slot: what the new one streams is all of it behind its own snapshot.
            adoption::forget_restarts(ledger, &run.id).await?;
            unreadable::forget(ledger, &run.id).await?;
            if progress.is_some() {
                progress::delete(ledger, &run.id).await?;
            }
            create(run, ledger).await.map(Some)
        }
    }
}

/// The reader of a killed executor ends a moment later.
pub async fn wait_inactive(run: &Run, source: &Client) -> Result<(), ExecError> {
    let began = std::time::Instant::now();
    while let Some(pid) = state(source, run).await?.and_then(|found| found.active_pid) {
        if began.elapsed() > Duration::from_secs(10) {
            return Err(ExecError::Busy { what: format!("slot {} (backend {pid})", run.plan.settings.slot) });
        }
        run.sleep(Duration::from_millis(100)).await?;
    }
    Ok(())
}

/// Creates slot and position, giving way to whoever waits for the guard.
async fn create(run: &Run, ledger: &Sql) -> Result<SlotSnapshot, ExecError> {
    for attempt in 1..=ENTANGLED_MAX {
        match create_once(run, ledger).await? {
            Created::Done(snapshot) => return Ok(*snapshot),
            Created::Entangled(how) => {
                run.note(format!("{how}: the slot was given up for now (attempt {attempt} of {ENTANGLED_MAX})"));
                let rest = Duration::from_millis(rand::rng().random_range(200..1_000));
                run.sleep(rest).await?;
            }
        }
    }
    Err(ExecError::Step {
        step: create_slot_id(run),
        reason:
            "every attempt to create the slot met TRUNCATE or DDL on the tables; try again when there is less of it"
                .to_owned(),
    })
}

enum Created {
    Done(Box<SlotSnapshot>),
    /// A session would have waited for us, and we for it; in words.
    Entangled(String),
}

async fn create_once(run: &Run, ledger: &Sql) -> Result<Created, ExecError> {
    let tables: Vec<TableTask> = super::table::tasks(&run.plan)?.into_iter().filter(|task| !task.in_lanes()).collect();
    // Sessions under one snapshot cannot be opened anew when somebody begins to write.
    let slowly = run.throttle.watches(Signal::SourceCommitSlowdown);
    let first = run.connect_reader("guard", slowly).await?;
    let pieces = whole::lay_out(&first, &tables).await?;
    let count = run.workers().min(pieces.len()).min(guards::most(&first, &tables).await?).max(1);
    let (guards, pids) = match guards::open(run, (first, slowly), &tables, count).await? {
        Opened::Guards(guards, pids) => (guards, pids),
        Opened::InTheWay(how) => return Ok(Created::Entangled(how)),
    };
    let name = run.session_name("slot");
    let pg = |error| ExecError::Postgres { side: End::Source, doing: "create the replication slot".to_owned(), error };
    let mut connection = replication::connect(&run.source, &name).await.map_err(pg)?;
    let new = NewSlot { name: run.plan.settings.slot.clone(), temporary: false, failover: false };
    let mut shutdown = run.shutdown.clone();
    let identity = connection.identify_system().await.map_err(pg)?;
    run.check_replication(&identity)?;
    let pid = connection.backend_pid();
    let mut failure = None;
    let mut entangled = None;
    // The command must be ended through `stop`, never by dropping it: only then no slot is left behind.
    let stop = async {
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => {}
            Err(error) = name_blockers(run, pid) => failure = Some(error),
            found = find_entangled(run, &pids) => match found {
                Ok(pid) => entangled = Some(pid),
                Err(error) => failure = Some(error),
            },
        }
    };
    let created = connection.create_slot(&new, PATIENCE, stop).await;
    if let (Err(_), Some(pid)) = (&created, entangled) {
        let how =
            format!("pid {pid} of the source waits for a table that is being read, and the slot waits for pid {pid}");
        return Ok(Created::Entangled(how));
    }
    let created = match (created, failure) {
        (Err(_), Some(error)) => return Err(error),
        (Err(crate::pg::error::PgError::Stopped { .. }), None) => return Err(ExecError::Interrupted),
        (other, _) => other.map_err(pg)?,
    };
    failpoint::hit("setup.after-slot")?;
    for guard in &guards {
        let imported = guards::import_snapshot(guard, &created.snapshot).await;
        imported.map_err(ExecError::source("import the slot's snapshot"))?;
    }
    let snapshot = guards::seen(&guards[0]).await?;
    progress::create(ledger, &run.id, run.epoch, identity.timeline, created.consistent_point, &snapshot).await?;
    failpoint::hit("setup.after-progress")?;
    Ok(Created::Done(Box::new(SlotSnapshot { _connection: connection, guards, pieces })))
}

/// Waits until a session with a transaction id waits for a guard. Whoever asks for ACCESS EXCLUSIVE has an id before it
/// has the lock, and the slot waits for every id: no deadlock detector sees that, and the table would be shut meanwhile.
async fn find_entangled(run: &Run, guards: &[i32]) -> Result<i32, ExecError> {
    let session = run.connect(End::Source, "watch").await?;
    loop {
        tokio::time::sleep(ENTANGLED_EVERY).await;
        let row = session
            .query_opt(
                "SELECT a.pid FROM pg_catalog.pg_stat_activity a WHERE a.backend_xid IS NOT NULL AND a.wait_event_type = 'Lock' \
                 AND $1 && pg_catalog.pg_blocking_pids(a.pid) LIMIT 1",
                &[&guards],
            )
            .await
            .map_err(ExecError::source("look for sessions that wait for the guard"))?;
        if let Some(row) = row {
            return Ok(row.get(0));
        }
    }
}

/// Says who keeps the slot from being created by the session `pid`, every few seconds.
pub async fn name_blockers(run: &Run, pid: i32) -> Result<std::convert::Infallible, ExecError> {
    let session = run.connect(End::Source, "watch").await?;
    let slot = &run.plan.settings.slot;
    loop {
        tokio::time::sleep(Duration::from_secs(3)).await;
        if let Some(who) = blockers(&session, pid).await? {
            run.waiting(format!("creating slot {slot} waits until running write transactions end: {who}"));
        }
    }
}

/// The oldest write transactions but that of the session `pid`, in words.
pub async fn blockers(session: &Sql, pid: i32) -> Result<Option<String>, ExecError> {
    let rows = session
        .query(
            "SELECT a.pid, a.backend_xid::text, extract(epoch FROM clock_timestamp() - a.xact_start)::int8 \
             FROM pg_catalog.pg_stat_activity a WHERE a.backend_xid IS NOT NULL AND a.pid <> $1 ORDER BY a.xact_start LIMIT 5",
            &[&pid],
        )
        .await
        .map_err(ExecError::source("look for long transactions"))?;
    let name = |row: &tokio_postgres::Row| {
        let age = row.get::<_, Option<i64>>(2).map_or_else(String::new, |age| format!(", open for {age} s"));
        format!("pid {} (transaction {}{age})", row.get::<_, i32>(0), row.get::<_, String>(1))
    };
    let list: Vec<String> = rows.iter().map(name).collect();
    Ok(Some(list.join("; ")).filter(|list| !list.is_empty()))
}

fn create_slot_id(run: &Run) -> String {
    let step = super::steps::find(&run.plan, |op| matches!(op, crate::plan::Op::CreateSlot(_)));
    step.map_or_else(|| "create_slot".to_owned(), |step| step.id.to_string())
}
