//! The applier: one ordered stream of whole source transactions, each applied on the target exactly once.
//!
//! Every target transaction moves `pcrd.progress` together with the data; the slot is confirmed only after that.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedMutexGuard, mpsc};

use super::ExecError;
use super::batch::{Batch, To};
use super::context::Run;
use super::failpoint;
use super::fit::Fit;
use super::left_out::LeftOut;
use super::postponed::Postponed;
use super::reread::Rereader;
use super::restarted::Restarted;
use super::shared::Shared;
use super::table::TableTask;
use super::touched::Touched;
use crate::ledger::progress::{self, Discarded};
use crate::pg::client::Client;
use crate::pg::pgoutput::{self, Message, Tuple};
use crate::pg::replication::{Incoming, Stream};
use crate::replay::{FullXid, Lsn};

/// A group of source transactions is committed at this many changes …
const GROUP_CHANGES: usize = 10_000;
/// … or at this age …
const GROUP_AGE: Duration = Duration::from_millis(200);
/// … or when nothing has come for so long …
const LINGER: Duration = Duration::from_millis(3);
/// … or when nothing is there to read at this age: what comes in single changes is not kept waiting by the next.
const GROUP_AGE_QUIET: Duration = Duration::from_millis(15);
/// Beside an application that the copy gives way to, groups are this old before they are committed: of many small ones each
/// would cost it something.
const GROUP_AGE_BESIDE: Duration = Duration::from_millis(100);
/// The same when nothing is copied any more: changes are expected on the target soon.
const GROUP_AGE_FOLLOWING: Duration = Duration::from_millis(40);
/// The stream is held at a position for this long.
const HELD_AT_MOST: Duration = Duration::from_secs(10);
/// The server is given this long to end the stream.
const STOP_PATIENCE: Duration = Duration::from_secs(3);
/// An idle stream records its position this often, unless somebody waits for it.
const IDLE_ADVANCE: Duration = Duration::from_secs(5);
/// … or has come so far: what others write must not look like a lag.
const IDLE_ADVANCE_BYTES: u64 = 1 << 20;

/// What messages begin with that somebody waits for.
const AWAITED: [&str; 2] = [super::sentinel::SENTINEL, super::back::PROBE];

/// The transaction that is being read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    pub(super) xid: FullXid,
    pub(super) commit: Lsn,
}

/// Applies the stream to the target.
pub struct Applier {
    pub(super) run: Arc<Run>,
    pub(super) shared: Arc<Shared>,
    pub(super) tables: Arc<Vec<TableTask>>,
    pub(super) target: Arc<Client>,
    pub(super) stream: Stream,
    pub(super) rereader: Rereader,
    pub(super) touched: Arc<Touched>,
    pub(super) left_out: LeftOut,
    pub(super) restarted: Restarted,
    /// The tables of the plan that each relation of the stream fills.
    pub(super) relations: HashMap<u32, Arc<[usize]>>,
    /// The table of the last description, if it is partitioned: the next one may be of a partition of it.
    pub(super) root: Option<usize>,
    /// How tuples of each relation fit those tables.
    pub(super) fits: HashMap<u32, Fit>,
    pub(super) batch: Batch,
    /// Rows that were read again and collide with rows that are behind.
    pub(super) postponed: Vec<Postponed>,
    /// Newest transaction id known, to widen 32-bit ids by.
    pub(super) near: FullXid,
    /// The source transaction that is open.
    pub(super) source: Option<Source>,
    /// A target transaction is open, and nobody else may write in between.
    pub(super) open: Option<OwnedMutexGuard<()>>,
    /// Changes and age of the open group, and the end of its last whole source transaction.
    pub(super) group_changes: usize,
    pub(super) group_since: Instant,
    pub(super) group_transactions: u64,
    pub(super) group_end: Option<Lsn>,
    pub(super) idle_since: Instant,
    /// The discarded transactions changed since they were last written.
    pub(super) discards_dirty: bool,
    pub(super) sentinels: mpsc::UnboundedSender<Sentinel>,
}

/// A message that pcrd itself wrote into the source's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentinel {
    /// Its text.
    pub content: String,
    /// End of the transaction that carries it; everything before is applied.
    pub end_lsn: Lsn,
}

/// What the applier works with.
pub struct Parts {
    /// Plan, ids and events.
    pub run: Arc<Run>,
    /// Router and positions.
    pub shared: Arc<Shared>,
    /// Tables.
    pub tables: Arc<Vec<TableTask>>,
    /// The only connection that applies changes.
    pub target: Client,
    /// The replication stream.
    pub stream: Stream,
    /// Reads single rows again.
    pub rereader: Rereader,
    /// Keys touched, for verification.
    pub touched: Arc<Touched>,
    /// Changes that are left out on purpose.
    pub left_out: LeftOut,
    /// Tables that are copied again.
    pub restarted: Restarted,
    /// A recent transaction id.
    pub near: FullXid,
    /// Where sentinels go.
    pub sentinels: mpsc::UnboundedSender<Sentinel>,
}

impl Applier {
    /// Prepares to apply; nothing is sent yet.
    pub fn new(parts: Parts) -> Self {
        let Parts { run, shared, tables, target, stream, rereader, touched, left_out, restarted, near, sentinels } =
            parts;
        Self {
            run,
            shared,
            tables,
            target: Arc::new(target),
            stream,
            rereader,
            touched,
            left_out,
            restarted,
            relations: HashMap::new(),
            root: None,
            fits: HashMap::new(),
            batch: Batch::default(),
            postponed: Vec::new(),
            near,
            source: None,
            open: None,
            group_changes: 0,
            group_since: Instant::now(),
            group_transactions: 0,
            group_end: None,
            idle_since: Instant::now(),
            discards_dirty: false,
            sentinels,
        }
    }

    /// Applies until `stop` says so, between two source transactions. The open group is committed first.
    pub async fn apply(mut self, mut stop: tokio::sync::watch::Receiver<bool>) -> Result<(), ExecError> {
        let mut pending_sentinels = Vec::new();
        loop {
            if *stop.borrow() && self.source.is_none() {
                self.commit_group(&mut pending_sentinels).await?;
                self.stream.stop(STOP_PATIENCE).await.map_err(ExecError::Replication)?;
                return Ok(());
            }
            let Some(incoming) = self.next(&mut stop, &mut pending_sentinels).await? else { continue };
            match incoming {
                Incoming::XLogData { data, .. } => {
                    let message = pgoutput::decode(data)?;
                    self.message(message, &mut pending_sentinels).await?;
                }
                Incoming::Keepalive { wal_end, .. } => self.keepalive(wal_end, &mut pending_sentinels).await?,
            }
        }
    }

    /// The next thing from the stream; commits the open group soon after there is nothing to read.
    async fn next(
        &mut self,
        stop: &mut tokio::sync::watch::Receiver<bool>,
        sentinels: &mut Vec<Sentinel>,
    ) -> Result<Option<Incoming>, ExecError> {
        if let Some(incoming) = self.stream.try_next().map_err(ExecError::Replication)? {
            return Ok(Some(incoming));
        }
        if let Some(pause) = self.pause() {
            tokio::select! {
                biased;
                incoming = self.stream.next() => return incoming.map(Some).map_err(ExecError::Replication),
                () = tokio::time::sleep(pause) => {}
                () = self.shared.wanted_changed() => {}
                _ = stop.changed() => return Ok(None),
            }
            if self.source.is_none() {
                self.commit_group(sentinels).await?;
            } else {
                self.send().await?;
            }
        }
        tokio::select! {
            biased;
            incoming = self.stream.next() => incoming.map(Some).map_err(ExecError::Replication),
            _ = stop.changed() => Ok(None),
        }
    }

    /// How long what is open may wait for more; `None` when nothing is.
    fn pause(&self) -> Option<Duration> {
        let ready = if self.source.is_none() {
            self.group_end.is_some()
        } else {
            self.open.is_some() && !self.batch.is_empty()
        };
        if !ready {
            return None;
        }
        let hurry = self.shared.wanted().is_some();
        let throttle = &self.run.throttle;
        let (linger, age) = match (throttle.pace.is_slow(), throttle.is_at_work()) {
            (true, true) => (GROUP_AGE_BESIDE, GROUP_AGE_BESIDE),
            (true, false) => (GROUP_AGE_FOLLOWING, GROUP_AGE_FOLLOWING),
            (false, _) => (LINGER, GROUP_AGE_QUIET),
        };
        let left = self.group_end.map_or(linger, |_| age.saturating_sub(self.group_since.elapsed()));
        Some(if hurry { Duration::ZERO } else { linger.min(left) })
    }

    async fn message(&mut self, message: Message, sentinels: &mut Vec<Sentinel>) -> Result<(), ExecError> {
        match message {
            Message::Begin(begin) => {
                // It may be a large one: who waits for what is before it does not wait for all of it.
                if self.shared.wanted().is_some_and(|wanted| self.group_end >= Some(wanted)) {
                    self.commit_group(sentinels).await?;
                }
                if let Some(at) = self.shared.held().filter(|at| begin.final_lsn >= *at) {
                    self.wait_at(at, sentinels).await?;
                }
                let xid = FullXid::widen(begin.xid, self.near);
                self.near = self.near.max(xid);
                self.source = Some(Source { xid, commit: begin.final_lsn });
                failpoint::hit("apply.begin")
            }
            Message::Commit(commit) => self.commit(commit.end_lsn, sentinels).await,
            Message::Relation(relation) => self.relation(relation).await,
            Message::Insert { relation, mut new } => {
                let tables = self.tables_of(relation).await?;
                self.fit(relation, &mut new);
                for &table in tables.iter() {
                    self.insert(table, &new).await?;
                }
                Ok(())
            }
            Message::Update { relation, mut old, mut new } => {
                let tables = self.tables_of(relation).await?;
                self.fit(relation, &mut new);
                if let Some((_, old)) = &mut old {
                    self.fit(relation, old);
                }
                let Some((last, others)) = tables.split_last() else { return Ok(()) };
                for &table in others {
                    self.update(table, old.clone(), new.clone()).await?;
                }
                self.update(*last, old, new).await
            }
            Message::Delete { relation, kind, mut old } => {
                let tables = self.tables_of(relation).await?;
                self.fit(relation, &mut old);
                for &table in tables.iter() {
                    self.delete(table, kind, &old).await?;
                }
                Ok(())
            }
            Message::Truncate(truncate) => self.truncate(&truncate.relations).await,
            Message::Message(message) => {
                // Anybody may write messages: one that is not text cannot be ours.
                if message.transactional
                    && message.prefix == "pcrd"
                    && let Ok(content) = String::from_utf8(message.content.to_vec())
                {
                    sentinels.push(Sentinel { content, end_lsn: Lsn(0) });
                }
                Ok(())
            }
            Message::Origin(_) | Message::Type(_) => Ok(()),
        }
    }

    fn fit(&self, relation: u32, tuple: &mut Tuple) {
        if let Some(fit) = self.fits.get(&relation) {
            fit.tuple(tuple);
        }
    }

    pub(super) fn source(&self) -> Result<Source, ExecError> {
        self.source.ok_or_else(|| ExecError::Stale {
            what: "change stream".to_owned(),
            difference: "a change outside of a transaction".to_owned(),
        })
    }

    pub(super) async fn begin(&mut self) -> Result<(), ExecError> {
        if self.open.is_none() {
            let between = Arc::clone(&self.shared.between).lock_owned().await;
            self.target
                .batch_execute("BEGIN; SET CONSTRAINTS ALL DEFERRED")
                .await
                .map_err(ExecError::target("begin"))?;
            self.open = Some(between);
        }
        Ok(())
    }

    pub(super) async fn flush(&mut self) -> Result<(), ExecError> {
        let to = To { target: &self.target, tables: &self.tables, counters: &self.shared.counters };
        let result = self.batch.flush(to).await;
        self.refused_beside_reread(result)
    }

    /// Sends what has come up; the answers may come while more is read.
    pub(super) async fn send(&mut self) -> Result<(), ExecError> {
        let to = To { target: &self.target, tables: &self.tables, counters: &self.shared.counters };
        let result = self.batch.send(to).await;
        self.refused_beside_reread(result)
    }

    pub(super) fn refused_beside_reread<T>(&self, result: Result<T, ExecError>) -> Result<T, ExecError> {
        match result {
            // With a row that is ahead of the stream: this one may be ahead too.
            Err(ExecError::Refused(mut refused)) if self.shared.router().rereads_until().is_some() => {
                if let Some(refused) = Arc::get_mut(&mut refused) {
                    refused.beside_reread = true;
                }
                Err(ExecError::Refused(refused))
            }
            other => other,
        }
    }

    async fn commit(&mut self, end_lsn: Lsn, sentinels: &mut Vec<Sentinel>) -> Result<(), ExecError> {
        self.source = None;
        if self.group_end.is_none() {
            self.group_since = Instant::now();
        }
        self.group_end = Some(end_lsn);
        self.group_transactions += 1;
        for sentinel in sentinels.iter_mut().filter(|sentinel| sentinel.end_lsn == Lsn(0)) {
            sentinel.end_lsn = end_lsn;
        }
        let urgent = !sentinels.is_empty();
        if urgent || self.group_changes >= GROUP_CHANGES || self.group_since.elapsed() >= GROUP_AGE {
            self.commit_group(sentinels).await?;
        }
        Ok(())
    }

    /// Commits the open group with its position; then, and only then, confirms it to the slot.
    async fn commit_group(&mut self, sentinels: &mut Vec<Sentinel>) -> Result<(), ExecError> {
        let Some(end) = self.group_end.take() else { return Ok(()) };
        self.begin().await?;
        self.flush().await?;
        if !self.postponed.is_empty() && !self.write_postponed(end).await? {
            self.group_end = Some(end);
            // The rows are tried again with the next group, not at every transaction of a busy stream.
            self.group_since = Instant::now();
            self.group_changes = 0;
            return Ok(());
        }
        let discarded = self.discards_dirty.then(|| self.discarded());
        progress::advance(&**self.target, &self.run.id, self.run.epoch, end, self.near, discarded.as_deref()).await?;
        failpoint::hit("apply.before-commit")?;
        self.target.batch_execute("COMMIT").await.map_err(ExecError::target("commit changes"))?;
        self.open = None;
        self.discards_dirty = false;
        failpoint::hit("apply.after-commit")?;
        self.shared.counters.transactions.fetch_add(self.group_transactions, Ordering::Relaxed);
        self.group_changes = 0;
        self.group_transactions = 0;
        self.idle_since = Instant::now();
        self.shared.set_applied(end);
        self.stream.confirm(end);
        // What others write, and what only moves the log on, must not gather until a cutover asks.
        let is_awaited = |sentinel: &Sentinel| AWAITED.iter().any(|word| sentinel.content.starts_with(word));
        for sentinel in sentinels.drain(..).filter(is_awaited) {
            // Nobody listens for sentinels before a cutover.
            let _no_listener = self.sentinels.send(sentinel);
        }
        Ok(())
    }

    /// Between two source transactions everything up to the keepalive's position was sent: an idle stream moves on.
    async fn keepalive(&mut self, wal_end: Lsn, sentinels: &mut Vec<Sentinel>) -> Result<(), ExecError> {
        if self.source.is_some() {
            return Ok(());
        }
        self.commit_group(sentinels).await?;
        if self.open.is_some() {
            // Rows wait for changes that are still to come.
            return Ok(());
        }
        let applied = self.shared.applied();
        let hurry = self.shared.wanted().is_some();
        let far = wal_end.0.saturating_sub(applied.0) >= IDLE_ADVANCE_BYTES;
        if wal_end <= applied || (!hurry && !far && self.idle_since.elapsed() < IDLE_ADVANCE) {
            return Ok(());
        }
        self.move_on(wal_end).await
    }

    /// Nothing is to be applied before this position that is not.
    async fn move_on(&mut self, to: Lsn) -> Result<(), ExecError> {
        progress::advance(&**self.target, &self.run.id, self.run.epoch, to, self.near, None).await?;
        failpoint::hit("apply.idle-advance")?;
        self.idle_since = Instant::now();
        self.shared.set_applied(to);
        self.stream.confirm(to);
        Ok(())
    }

    /// Applies what is before a position, and waits there until the stream is let go: a while, or the server would take this
    /// reader for dead.
    async fn wait_at(&mut self, at: Lsn, sentinels: &mut Vec<Sentinel>) -> Result<(), ExecError> {
        self.commit_group(sentinels).await?;
        if self.open.is_some() || self.group_end.is_some() {
            // Rows wait for changes that are still to come.
            return Ok(());
        }
        if self.shared.applied() < at {
            self.move_on(at).await?;
        }
        // Who holds it for longer finds keys that were applied since.
        let _let_go_or_late = tokio::time::timeout(HELD_AT_MOST, self.shared.let_go()).await;
        Ok(())
    }

    fn discarded(&self) -> Vec<Discarded> {
        let router = self.shared.router();
        router
            .all_lanes()
            .filter(|(_, _, lane)| !lane.discarded().is_empty())
            .map(|(table, lane_number, lane)| Discarded {
                table: self.tables[table].name.clone(),
                lane: i32::try_from(lane_number).expect("lanes are few"),
                xids: lane.discarded().iter().copied().collect(),
            })
            .collect()
    }
}
