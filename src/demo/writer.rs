//! An application that keeps writing through the whole migration and follows the switch, measuring its own pause.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::error::DemoError;
use super::op::{Application, Op, Own, Population, Side, decide};
use super::summary::Summary;
use crate::pg::client::connect;
use crate::pg::conninfo::Conninfo;
use crate::pg::error::PgError;

const RETRY: Duration = Duration::from_millis(5);
/// A client that fell behind does not try to make up for more than this.
const BACKLOG_MAX: Duration = Duration::from_secs(1);

/// Rows from all over the table, so that writes meet chunks before, while and after they are copied.
const OWN_IDS: &str =
    "SELECT id::bigint FROM public.listings WHERE id::bigint % $1 = $2 ORDER BY md5(id::text) LIMIT 20000";

/// How much to write.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Connections, at least 1.
    pub clients: u32,
    /// Writes a second of all clients together, at least 1.
    pub writes_per_second: u32,
    /// Makes the choice of writes repeatable; their timing is not.
    pub seed: u64,
}

/// Clients at work until [`Writer::stop`].
#[derive(Debug)]
pub struct Writer {
    side: watch::Sender<Side>,
    stop: watch::Sender<bool>,
    acknowledged: Arc<AtomicU64>,
    failed: Arc<Mutex<Option<String>>>,
    clients: JoinSet<Result<Summary, PgError>>,
}

impl Writer {
    /// Starts the clients on the source, which must be set up and seeded.
    pub async fn start(source: &Conninfo, target: &Conninfo, load: Load) -> Result<Self, DemoError> {
        let reader = connect(source, "pcrd-demo/writer").await?;
        let counts = "SELECT (SELECT max(id)::bigint FROM public.agents), (SELECT max(id)::bigint FROM public.users)";
        let row = reader.query_one(counts, &[]).await?;
        let count = |n: usize| row.get::<_, Option<i64>>(n).ok_or_else(|| DemoError::NotSetUp(source.database.clone()));
        let population = Population { agents: count(0)?, users: count(1)? };
        let (side, stop) = (watch::Sender::new(Side::Source), watch::Sender::new(false));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let failed = Arc::new(Mutex::new(None));
        // Before the first of them writes: a row that it adds would be another one's too.
        let mut own: Vec<Vec<i64>> = Vec::new();
        for number in 0..load.clients {
            let rows = reader.query(OWN_IDS, &[&i64::from(load.clients), &i64::from(number)]).await?;
            own.push(rows.iter().map(|row| row.get(0)).collect());
        }
        let mut clients = JoinSet::new();
        for (number, own) in (0..load.clients).zip(own) {
            let client = WriterClient {
                label: format!("writer-{}-{number}", load.seed),
                source: source.clone(),
                target: target.clone(),
                side: side.subscribe(),
                stop: stop.subscribe(),
                acknowledged: Arc::clone(&acknowledged),
                random: StdRng::seed_from_u64(load.seed.wrapping_mul(1000).wrapping_add(u64::from(number))),
                own: Own::new(own),
                population,
                every: Duration::from_secs(1) * load.clients / load.writes_per_second,
                summary: Summary::default(),
            };
            let failed = Arc::clone(&failed);
            clients.spawn(async move {
                let result = client.run().await;
                if let Err(error) = &result {
                    *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
                }
                result
            });
        }
        Ok(Self { side, stop, acknowledged, failed, clients })
    }

    /// Returns how many writes were acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Returns why a client gave up, if one did: the demo should not go on as if someone were writing.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells the clients which database it is now, as a deploy or a DNS change would.
    pub fn switch_to(&self, side: Side) {
        self.side.send_replace(side);
    }

    /// Stops the clients after their current write and returns what they did.
    ///
    /// # Errors
    /// A client met an error that no retry mends.
    pub async fn stop(mut self) -> Result<Summary, DemoError> {
        self.stop.send_replace(true);
        let mut summary = Summary::default();
        while let Some(client) = self.clients.join_next().await {
            let client = client.map_err(|error| PgError::Protocol(error.to_string())).and_then(|done| done);
            summary.merge(client.map_err(DemoError::Writer)?);
        }
        Ok(summary)
    }
}

type Connection = Option<(Side, Application)>;

struct WriterClient {
    label: String,
    source: Conninfo,
    target: Conninfo,
    side: watch::Receiver<Side>,
    stop: watch::Receiver<bool>,
    acknowledged: Arc<AtomicU64>,
    random: StdRng,
    own: Own,
    population: Population,
    every: Duration,
    summary: Summary,
}

impl WriterClient {
    async fn run(mut self) -> Result<Summary, PgError> {
        let began = Instant::now();
        let mut connection: Connection = None;
        let mut last: Option<(Side, Instant)> = None;
        let mut next = began;
        while !*self.stop.borrow() {
            // Late clients catch up a little, so that the rate holds on average, but do not storm the database.
            next = (next + self.every).max(Instant::now().checked_sub(BACKLOG_MAX).unwrap_or(next));
            sleep_until(next).await;
            let op = decide(&mut self.random, &self.own, self.population, &self.label);
            let Some(side) = self.write(&op, &mut connection).await? else { break };
            if let Some((before, at)) = last
                && before != side
            {
                match side {
                    Side::Target => self.summary.pauses.push(at.elapsed()),
                    Side::Source => self.summary.pauses_back.push(at.elapsed()),
                }
            }
            last = Some((side, Instant::now()));
        }
        self.summary.elapsed = began.elapsed();
        Ok(self.summary)
    }

    /// Repeats a write until it is acknowledged, and returns by which side; nothing if asked to stop meanwhile.
    async fn write(&mut self, op: &Op, connection: &mut Connection) -> Result<Option<Side>, PgError> {
        loop {
            let side = *self.side.borrow();
            let result = match connection {
                Some((connected, application)) if *connected == side => application.perform(op).await,
                _ => {
                    let info = if side == Side::Source { &self.source } else { &self.target };
                    match Application::connect(info, side).await {
                        Ok(fresh) => {
                            *connection = Some((side, fresh));
                            continue;
                        }
                        Err(error) => Err(error),
                    }
                }
            };
            match result {
                Ok(effects) => {
                    self.summary.acknowledge(side, op, &effects);
                    self.own.follow(&effects, op);
                    self.acknowledged.fetch_add(1, Ordering::Relaxed);
                    return Ok(Some(side));
                }
                Err(error) => self.after(error, op, connection)?,
            }
            if *self.stop.borrow() {
                return Ok(None);
            }
            sleep(RETRY).await;
        }
    }

    /// Prepares the next attempt, or returns the error if there should be none.
    fn after(&mut self, error: PgError, op: &Op, connection: &mut Connection) -> Result<(), PgError> {
        // read_only_sql_transaction: what the fence answers.
        if error.sqlstate() == Some("25006") {
            self.summary.fenced += 1;
            return Ok(());
        }
        // The server is being shut down or crashed, by a fault test or an impatient reader of the demo.
        let lost = error.sqlstate().is_none_or(|code| code.starts_with("57P") || code.starts_with("08"));
        if !error.is_transient() && !lost {
            return Err(error);
        }
        self.summary.retried += 1;
        if lost && connection.take().is_some() {
            // It was under way: it may have happened, and its row is nobody's to check.
            self.summary.unknown += 1;
            if let Some(id) = op.id() {
                self.own.forget(id);
                self.summary.acknowledged.remove(&id);
            }
        }
        Ok(())
    }
}
