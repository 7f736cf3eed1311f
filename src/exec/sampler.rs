//! Looks at both servers twice a second, each on a connection of its own. A server that does not answer is no reason to
//! end the run: the throttle holds it back until it does.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_postgres::{Row, Statement};

use super::ExecError;
use super::context::Run;
use super::pressure::{Reading, Sample};
use super::shared::Shared;
use crate::pg::client::Client;
use crate::plan::{End, Signal};
use crate::replay::Lsn;

const ROUND: Duration = Duration::from_millis(500);
/// A look that takes longer is given up, with its connection.
const PATIENCE: Duration = Duration::from_secs(3);
/// The longest lag that is told apart from a longer one.
const LAG_MAX: Duration = Duration::from_secs(3_600);

/// End of the log, whether standbys can be seen, and what the physical one has replayed that is furthest behind. A receiver
/// of log alone replays nothing and has no position, and neither has one that the role may not see.
const COMMON: &str = "pg_catalog.pg_current_wal_flush_lsn()::text, pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE'), \
     (SELECT r.replay_lsn::text FROM pg_catalog.pg_stat_replication r \
       WHERE r.state = 'streaming' AND r.replay_lsn IS NOT NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots l \
         WHERE l.active_pid = r.pid AND l.slot_type = 'logical') ORDER BY r.replay_lsn LIMIT 1)";

/// The same with what our slot keeps, and with the sessions of others at work.
fn of_source(version: u32) -> String {
    let kept = if version >= 130_000 { "l.wal_status, l.safe_wal_size" } else { "NULL::text, NULL::int8" };
    format!(
        "SELECT {COMMON}, \
         pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), l.restart_lsn)::int8, \
         pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), l.confirmed_flush_lsn)::int8, {kept}, \
         CASE WHEN $2 THEN (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE state = 'active' \
           AND backend_type = 'client backend' AND application_name NOT LIKE 'pcrd/%') END \
         FROM (SELECT) AS one LEFT JOIN pg_catalog.pg_replication_slots l ON l.slot_name = $1"
    )
}

/// Looks at both servers until it is dropped.
pub async fn run(run: Arc<Run>, shared: Arc<Shared>) -> Result<(), ExecError> {
    tokio::join!(watch(&run, &shared, End::Source), watch(&run, &shared, End::Target));
    Ok(())
}

async fn watch(run: &Run, shared: &Shared, end: End) {
    let mut watcher = Watcher { run, shared, end, session: None, written: VecDeque::new(), warned: false };
    loop {
        if !run.throttle.ignores(end) {
            let found = match tokio::time::timeout(PATIENCE, watcher.look()).await {
                Ok(found) => found.map_err(|error| error.to_string()),
                Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
            };
            if found.is_err() {
                watcher.session = None;
            }
            run.throttle.looked(end, found);
        }
        tokio::time::sleep(ROUND).await;
    }
}

struct Watcher<'a> {
    run: &'a Run,
    shared: &'a Shared,
    end: End,
    session: Option<(Client, Statement)>,
    /// Where the server's log ended, and when: the lag that a server reports of its standby stands still with it.
    written: VecDeque<(Instant, Lsn)>,
    /// The operator knows that the slot keeps more than the server wants to.
    warned: bool,
}

impl Watcher<'_> {
    async fn look(&mut self) -> Result<Sample, ExecError> {
        if self.session.is_none() {
            let client = self.run.connect(self.end, "throttle").await?;
            let query = match self.end {
                End::Source => of_source(client.server_version_num),
                End::Target => format!("SELECT {COMMON}"),
            };
            let query = client.prepare(&query).await.map_err(|error| self.failed(error))?;
            self.session = Some((client, query));
        }
        let row = match (&self.session, self.end) {
            (Some((client, query)), End::Source) => {
                let slot = self.run.plan.settings.slot.as_str();
                let asks_sessions = self.run.throttle.watches(Signal::SourceActiveSessions);
                client.query_one(query, &[&slot, &asks_sessions]).await
            }
            (Some((client, query)), End::Target) => client.query_one(query, &[]).await,
            (None, _) => unreachable!("there is a session now"),
        };
        let row = row.map_err(|error| self.failed(error))?;
        match self.end {
            End::Source => self.source(&row),
            End::Target => self.target(&row),
        }
    }

    fn failed(&self, error: tokio_postgres::Error) -> ExecError {
        ExecError::Postgres { side: self.end, doing: "read its load".to_owned(), error: error.into() }
    }

    fn source(&mut self, row: &Row) -> Result<Sample, ExecError> {
        let written = lsn(row.get(0))?;
        let may_monitor: bool = row.get(1);
        let mut sample = Sample::default();
        let size = |at| row.get::<_, Option<i64>>(at).map(|size| u64::try_from(size).unwrap_or(0));
        let mut read = |signal: Signal, value: Option<u64>| {
            if !may_monitor && signal.needs_monitor() {
                sample.readings.insert(signal, Reading::Hidden);
            } else if let Some(value) = value {
                sample.readings.insert(signal, Reading::Value(value));
            }
        };
        // A slot that was lost keeps nothing; the stream says what became of it.
        read(Signal::WalRetained, size(3));
        read(Signal::StreamLag, Some(written.0.saturating_sub(self.shared.applied().0)));
        let slowest = row.get::<_, Option<&str>>(2).map(lsn).transpose()?;
        read(Signal::SourceReplicaLag, Some(self.lag(written, slowest)));
        read(Signal::SourceActiveSessions, size(7));
        sample.unconfirmed = size(4).unwrap_or(0);
        sample.slot_in_danger = self.danger(row.get(5), row.get(6));
        Ok(sample)
    }

    fn target(&mut self, row: &Row) -> Result<Sample, ExecError> {
        let (written, slowest) = (lsn(row.get(0))?, row.get::<_, Option<&str>>(2).map(lsn).transpose()?);
        let lag = self.lag(written, slowest);
        let reading = if row.get(1) { Reading::Value(lag) } else { Reading::Hidden };
        Ok(Sample { readings: [(Signal::TargetReplicaLag, reading)].into(), ..Sample::default() })
    }

    /// Seconds since the server had written what the slowest standby has not replayed.
    fn lag(&mut self, written: Lsn, slowest: Option<Lsn>) -> u64 {
        let now = Instant::now();
        if self.written.back().is_none_or(|(_, last)| *last < written) {
            self.written.push_back((now, written));
        }
        let passed =
            |at: &(Instant, Lsn)| slowest.is_none_or(|replayed| at.1 <= replayed) || now.duration_since(at.0) > LAG_MAX;
        while self.written.front().is_some_and(passed) {
            self.written.pop_front();
        }
        self.written.front().map_or(0, |(at, _)| now.duration_since(*at).as_secs())
    }

    /// Why the copy must wait for the slot's sake.
    fn danger(&mut self, status: Option<&str>, safe_bytes: Option<i64>) -> Option<String> {
        match status {
            Some("unreserved" | "lost") => Some(
                "the source has no room for the log that the slot keeps and removes it at its next checkpoint \
                 (max_slot_wal_keep_size)"
                    .to_owned(),
            ),
            Some("extended") => {
                if !self.warned {
                    let left = safe_bytes.and_then(|left| u64::try_from(left).ok()).map_or_else(String::new, |left| {
                        format!("; {} more, and the slot is lost", crate::plan::render::amount::bytes(left))
                    });
                    self.run.note(format!("the slot keeps more log than max_wal_size of the source{left}"));
                }
                self.warned = true;
                None
            }
            _ => {
                self.warned = false;
                None
            }
        }
    }
}

fn lsn(text: &str) -> Result<Lsn, ExecError> {
    text.parse().map_err(|error: crate::replay::position::LsnError| ExecError::Gap { reason: error.to_string() })
}
