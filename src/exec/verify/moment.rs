//! One moment of both ends: every row of the source as of one position of its log, and of the target with exactly what commits
//! before that position, whatever is written meanwhile.
//!
//! A slot of a moment's life gives the position and the snapshot of it. The stream is held there until the target's snapshot is
//! taken, and goes on. Then the rows are compared under the two snapshots, for as long as it takes; both servers keep old row
//! versions meanwhile, and who would change a table waits for its readers: for nobody who does is anything compared to the end.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::live::{self, APPLY_PATIENCE, Visitor};
use super::pass;
use super::wish::Wish;
use crate::catalog::Ident;
use crate::exec::engine::Engine;
use crate::exec::fence::is_lock_trouble;
use crate::exec::guards::{self, Opened};
use crate::exec::table::TableTask;
use crate::exec::{ExecError, copy, failpoint, slot};
use crate::pg::client::Client;
use crate::pg::error::PgError;
use crate::pg::replication::{self, NewSlot};
use crate::plan::End;
use crate::replay::{Key, Lsn, Snapshot};

/// The stream stands still while the slot waits for transactions that write; no longer than this.
const SLOT_PATIENCE: Duration = Duration::from_secs(10);
/// Tries to hold the stream before it has gone past the position.
const TRIES: usize = 5;
const REST: Duration = Duration::from_millis(200);
/// How often to look whether somebody waits for a table that is read.
const IN_THE_WAY_EVERY: Duration = Duration::from_millis(300);
const HOLD: &str = "hold a moment of the target";
/// The stream stands still meanwhile.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '2s'";
const WAITS: &str = "SELECT a.pid, coalesce(a.application_name, '') FROM pg_catalog.pg_stat_activity a \
                     WHERE a.wait_event_type = 'Lock' AND $1 && pg_catalog.pg_blocking_pids(a.pid) LIMIT 1";
const TERMINATE: &str = "SELECT pg_catalog.pg_terminate_backend(pid) FROM unnest($1::int4[]) AS pid";

/// What both ends are compared as of.
#[derive(Debug)]
pub struct Moment {
    /// The position.
    pub at: Lsn,
    /// What the source shows.
    pub snapshot: Snapshot,
    /// By table, the keys that the target has newer than the source's snapshot; `None` where any may be.
    unseen: Vec<Option<BTreeSet<Key>>>,
}

impl Moment {
    /// Those of a table.
    pub fn unseen(&self, table: usize) -> Option<&BTreeSet<Key>> {
        self.unseen[table].as_ref()
    }
}

/// Sees who waits for the sessions that read.
pub(super) struct Watch {
    source: (Client, Vec<i32>),
    target: (Client, Vec<i32>),
    /// Why the sessions were ended.
    ended: OnceLock<String>,
}

/// Sessions under the two snapshots, and who watches them.
pub(super) type Sessions = (Vec<Visitor>, Watch);

enum Tried {
    Done(Box<Sessions>),
    Again(String),
}

/// Holds the moment for at most so many workers.
///
/// # Errors
/// [`ExecError::NoMoment`] where it cannot be had; the stream goes on.
pub(super) async fn take(
    engine: &Engine,
    wish: &Wish,
    wanted: &[usize],
    workers: usize,
) -> Result<Sessions, ExecError> {
    let run = &engine.run;
    let mut reason = String::new();
    for _ in 0..TRIES {
        match attempt(engine, wish, wanted, workers).await? {
            Tried::Done(sessions) => return Ok(*sessions),
            Tried::Again(why) => {
                run.waiting(format!("comparison of one moment: {why}"));
                reason = why;
            }
        }
        run.sleep(REST).await?;
    }
    Err(ExecError::NoMoment { reason })
}

async fn attempt(engine: &Engine, wish: &Wish, wanted: &[usize], workers: usize) -> Result<Tried, ExecError> {
    let run = &engine.run;
    let tables: Vec<TableTask> = wanted.iter().map(|&table| engine.tables[table].clone()).collect();
    let first = run.connect(End::Source, "verify").await?;
    let count = workers.min(guards::most(&first, &tables).await?).max(1);
    let (sources, source_pids) = match guards::open(run, (first, false), &tables, count).await {
        Ok(Opened::Guards(sources, pids)) => (sources, pids),
        Ok(Opened::InTheWay(how)) => return Ok(Tried::Again(how)),
        Err(error) if is_lock_trouble(&error) => return Ok(Tried::Again(error.to_string())),
        Err(error) => return Err(error),
    };
    let mut watch = Watch {
        source: (run.connect(End::Source, "watch").await?, source_pids),
        target: (run.connect(End::Target, "watch").await?, Vec::new()),
        ended: OnceLock::new(),
    };
    // Who waits for the guards may be who the slot waits for.
    let visitors = match watch.beside(under(engine, wish, &tables, sources)).await? {
        Ok(visitors) => visitors,
        Err(why) => return Ok(Tried::Again(why)),
    };
    for visitor in &visitors {
        let pid = visitor.target.query_one("SELECT pg_catalog.pg_backend_pid()", &[]).await;
        watch.target.1.push(pid.map_err(ExecError::target(HOLD))?.get(0));
    }
    failpoint::hit("moment.taken")?;
    Ok(Tried::Done(Box::new((visitors, watch))))
}

/// Takes both snapshots, and shares them; or says why it is to be tried again.
async fn under(
    engine: &Engine,
    wish: &Wish,
    tables: &[TableTask],
    sources: Vec<Client>,
) -> Result<Result<Vec<Visitor>, String>, ExecError> {
    let shared = &engine.shared;
    let Ok(between) = tokio::time::timeout(APPLY_PATIENCE, Arc::clone(&shared.between).lock_owned()).await else {
        return Ok(Err(format!("a transaction is being applied for {} s", APPLY_PATIENCE.as_secs())));
    };
    let (connection, created) = match create(engine).await? {
        Ok(created) => created,
        // Nothing is applied meanwhile: once is enough.
        Err(reason) => return Err(ExecError::NoMoment { reason }),
    };
    let at: Lsn = created.consistent_point;
    let held = shared.hold(at);
    drop(between);
    failpoint::hit("moment.held")?;
    for source in &sources {
        let imported = guards::import_snapshot(source, &created.snapshot).await;
        imported.map_err(ExecError::source("import the snapshot of a moment"))?;
    }
    // The slot goes with its session.
    drop(connection);
    let snapshot = guards::seen(&sources[0]).await?;
    let mut visitors = Vec::new();
    for source in sources {
        visitors.push(Visitor { source, ..pass::visitor(engine, wish).await? });
    }
    let first = &visitors[0];
    for task in tables {
        copy::check_shape(&first.source, task).await?;
    }
    if !first.caught_up(at).await? {
        return Ok(Err(format!("the stream has not reached {at} after {} s", APPLY_PATIENCE.as_secs())));
    }
    let lock = format!("{LOCK_TIMEOUT}; {}", live::lock_target(&tables.iter().collect::<Vec<_>>()));
    match first.begin_target(at, &lock).await {
        // The stream is held meanwhile.
        Err(error) if is_lock_trouble(&error) => {
            return Ok(Err(format!("a table of the target could not be locked for reading: {error}")));
        }
        other => other?,
    }
    let doing = || ExecError::target(HOLD);
    let exported = first.target.query_one("SELECT pg_catalog.pg_export_snapshot()", &[]).await.map_err(doing())?;
    let seen = |table: usize| engine.touched.unseen(table, None, None, &snapshot).map(BTreeSet::from_iter);
    let unseen: Vec<_> = (0..engine.tables.len()).map(seen).collect();
    drop(held);
    if let Some(xid) = first.inherited_unseen(&snapshot) {
        return Ok(Err(format!("transaction {xid} of the source, older than this process, is still open")));
    }
    let overrun = |task: &&TableTask| match &unseen[task.index] {
        None => true,
        Some(keys) => !keys.is_empty() && !task.is_ordered(),
    };
    if let Some(task) = tables.iter().find(overrun) {
        return Ok(Err(format!("the stream was past {at} in {} before it was held", task.name)));
    }
    let exported: String = exported.get(0);
    for visitor in &visitors[1..] {
        let begin = format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {lock}");
        let begin = visitor.target.batch_execute(&begin).await;
        begin.map_err(doing())?;
        guards::import_snapshot(&visitor.target, &exported).await.map_err(doing())?;
    }
    let moment = Arc::new(Moment { at, snapshot, unseen });
    for visitor in &mut visitors {
        visitor.moment = Some(Arc::clone(&moment));
    }
    Ok(Ok(visitors))
}

type Created = (replication::Replication, replication::CreatedSlot);

/// A temporary slot, or why there is none.
async fn create(engine: &Engine) -> Result<Result<Created, String>, ExecError> {
    let run = &engine.run;
    let pg = |error| ExecError::Postgres {
        side: End::Source,
        doing: "create a slot for a moment's snapshot".to_owned(),
        error,
    };
    let mut connection = replication::connect(&run.source, &run.session_name("verify")).await.map_err(pg)?;
    run.check_replication(&connection.identify_system().await.map_err(pg)?)?;
    let pid = connection.backend_pid();
    let name = Ident::new(format!("pcrd_verify_{pid}")).expect("a short name is a name");
    let new = NewSlot { name, temporary: true, failover: false };
    let mut shutdown = run.shutdown.clone();
    let stop = async { drop(shutdown.wait_for(|stop| *stop).await) };
    let created = connection.create_slot(&new, SLOT_PATIENCE, stop).await;
    match created {
        Ok(created) => Ok(Ok((connection, created))),
        Err(PgError::Stopped { .. }) => Err(ExecError::Interrupted),
        Err(PgError::GaveUp { seconds, .. }) => {
            let session = run.connect(End::Source, "watch").await?;
            let who = slot::blockers(&session, pid).await?.unwrap_or_else(|| "they have ended by now".to_owned());
            Ok(Err(format!("transactions that write on the source have not ended within {seconds} s: {who}")))
        }
        Err(error) if error.sqlstate() == Some("53400") => {
            Ok(Err("the source has no free replication slot for it: raise max_replication_slots".to_owned()))
        }
        Err(error) => Err(pg(error)),
    }
}

impl Watch {
    /// Works while nobody waits for the sessions.
    ///
    /// # Errors
    /// [`ExecError::NoMoment`] once somebody does; those of the work.
    pub(super) async fn beside<T>(&self, work: impl Future<Output = Result<T, ExecError>>) -> Result<T, ExecError> {
        let result = tokio::select! {
            result = work => result,
            never = self.in_the_way() => match never? {},
        };
        match (result, self.ended.get()) {
            // The work saw the end of its session first.
            (Err(_), Some(reason)) => Err(ExecError::NoMoment { reason: reason.clone() }),
            (result, _) => result,
        }
    }

    /// Waits until somebody waits for a table that one of the sessions reads, and ends them.
    async fn in_the_way(&self) -> Result<Infallible, ExecError> {
        let doing = |end: End| {
            move |error: tokio_postgres::Error| ExecError::Postgres {
                side: end,
                doing: "look for sessions that wait for a comparison".to_owned(),
                error: error.into(),
            }
        };
        let ends = [(End::Source, &self.source), (End::Target, &self.target)];
        loop {
            tokio::time::sleep(IN_THE_WAY_EVERY).await;
            for (end, (session, pids)) in ends {
                let Some(row) = session.query_opt(WAITS, &[pids]).await.map_err(doing(end))? else { continue };
                let (pid, name): (i32, String) = (row.get(0), row.get(1));
                let who = if name.is_empty() { String::new() } else { format!(" ({name})") };
                let reason = format!(
                    "pid {pid} of the {end}{who} waits for a table that is being read, and others would wait for it"
                );
                let reason = self.ended.get_or_init(|| reason).clone();
                // What they are at goes on on the server for as long as a statement takes, if nobody ends it.
                for (end, (session, pids)) in ends {
                    session.execute(TERMINATE, &[pids]).await.map_err(doing(end))?;
                }
                return Err(ExecError::NoMoment { reason });
            }
        }
    }
}
