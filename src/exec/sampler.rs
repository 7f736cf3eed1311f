//! Looks at both servers twice a second, each on a connection of its own. A server that does not answer is no reason to
//! end the run: the throttle holds it back until it does.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_postgres::{Row, Statement};

use super::context::Run;
use super::pressure::{Reading, Sample};
use super::shared::Shared;
use super::{ExecError, commits};
use crate::pg::client::Client;
use crate::plan::{End, Signal};
use crate::replay::Lsn;

const ROUND: Duration = Duration::from_millis(500);
/// A look that takes longer is given up, with its connection.
const PATIENCE: Duration = Duration::from_secs(3);
/// Ends of the log that are remembered: those of an hour.
const WRITTEN_MAX: usize = 7_200;

/// End of the log, whether standbys can be seen, and what the physical one has replayed that is furthest behind. A receiver
/// of log alone replays nothing and has no position, and neither has one that the role may not see.
const COMMON: &str = "pg_catalog.pg_current_wal_flush_lsn()::text, pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE'), \
     (SELECT r.replay_lsn::text FROM pg_catalog.pg_stat_replication r \
       WHERE r.state IN ('streaming', 'catchup') AND r.replay_lsn IS NOT NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots l \
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
    let watched = async { tokio::join!(watch(&run, &shared, End::Source), watch(&run, &shared, End::Target)) };
    tokio::select! {
        ((), ()) = watched => Ok(()),
        ended = commits::run(Arc::clone(&run)) => ended,
    }
}

async fn watch(run: &Run, shared: &Shared, end: End) {
    let mut watcher = Watcher { run, shared, end, session: None, written: Written::default(), warned: false };
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

/// Where the server's log ended, and when: the lag that a server reports of its standby stands still with it.
#[derive(Debug, Default)]
struct Written(VecDeque<(Instant, Lsn)>);

impl Written {
    /// Seconds since the server had written what the slowest standby has not replayed.
    fn lag(&mut self, written: Lsn, slowest: Option<Lsn>, now: Instant) -> u64 {
        if self.0.back().is_none_or(|(_, last)| *last < written) {
            self.0.push_back((now, written));
        }
        while self.0.front().is_some_and(|(_, end)| slowest.is_none_or(|replayed| *end <= replayed)) {
            self.0.pop_front();
        }
        if self.0.len() > WRITTEN_MAX {
            // The first one says how long it has been.
            self.0.remove(1);
        }
        self.0.front().map_or(0, |(at, _)| now.saturating_duration_since(*at).as_secs())
    }
}

struct Watcher<'a> {
    run: &'a Run,
    shared: &'a Shared,
    end: End,
    session: Option<(Client, Statement)>,
    written: Written,
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
        // Before there is a stream, waiting would only make these worse: it begins when the tables are copied.
        let has_stream = self.shared.has_stream();
        if has_stream {
            // A slot that was lost keeps nothing; the stream says what became of it.
            read(Signal::WalRetained, size(3));
            read(Signal::StreamLag, Some(self.stream_lag(written)));
        }
        let slowest = row.get::<_, Option<&str>>(2).map(lsn).transpose()?;
        read(Signal::SourceReplicaLag, Some(self.written.lag(written, slowest, Instant::now())));
        read(Signal::SourceActiveSessions, size(7));
        sample.unconfirmed = size(4).unwrap_or(0);
        sample.slot_in_danger = self.danger(row.get(5), row.get(6)).filter(|_| has_stream);
        Ok(sample)
    }

    /// Log that was written and not applied yet. Of what concerns no table of ours the stream learns only now and then,
    /// unless it is asked.
    fn stream_lag(&self, written: Lsn) -> u64 {
        let lag = written.0.saturating_sub(self.shared.applied().0);
        if self.run.throttle.limit(Signal::StreamLag).is_some_and(|limit| lag > limit / 2) {
            self.shared.nudge();
        }
        lag
    }

    fn target(&mut self, row: &Row) -> Result<Sample, ExecError> {
        let (written, slowest) = (lsn(row.get(0))?, row.get::<_, Option<&str>>(2).map(lsn).transpose()?);
        let lag = self.written.lag(written, slowest, Instant::now());
        let reading = if row.get(1) { Reading::Value(lag) } else { Reading::Hidden };
        Ok(Sample { readings: [(Signal::TargetReplicaLag, reading)].into(), ..Sample::default() })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_the_age_of_what_was_not_replayed() {
        let (mut written, began) = (Written::default(), Instant::now());
        let mut lag = |second: u64, end: u64, replayed: Option<u64>| {
            written.lag(Lsn(end), replayed.map(Lsn), began + Duration::from_secs(second))
        };
        assert_eq!(lag(0, 100, None), 0, "no standby");
        assert_eq!(lag(1, 200, Some(200)), 0);
        assert_eq!(lag(2, 300, Some(200)), 0);
        assert_eq!(lag(9, 400, Some(200)), 7);
        assert_eq!(lag(10, 400, Some(300)), 1);
        // A server at rest, with a standby that stands still.
        assert_eq!(lag(50_000, 400, Some(300)), 49_991);
        assert_eq!(lag(50_001, 400, Some(400)), 0);
    }

    #[test]
    fn a_busy_server_is_remembered_within_bounds() {
        let (mut written, began) = (Written::default(), Instant::now());
        for second in 1..=20_000 {
            let lag = written.lag(Lsn(second), Some(Lsn(0)), began + Duration::from_secs(second));
            assert_eq!(lag, second - 1);
        }
        assert_eq!(written.0.len(), WRITTEN_MAX);
    }
}
