//! The applier: one ordered stream of whole source transactions, each applied on the target exactly once.
//!
//! Every target transaction moves `pcrd.progress` together with the data; the slot is confirmed only after that.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::ExecError;
use super::batch::{Batch, Pushed, RowChange, RowKind};
use super::context::Run;
use super::failpoint;
use super::reread::Rereader;
use super::shared::{Shared, count};
use super::table::TableTask;
use super::touched::Touched;
use crate::ledger::progress::{self, Discarded};
use crate::pg::client::Client;
use crate::pg::pgoutput::{self, ColumnData, Message, OldKind, Relation, Tuple};
use crate::pg::replication::{Incoming, Stream};
use crate::replay::routing::TruncateRoute;
use crate::replay::{Decision, FullXid, Key, Lsn};
use crate::sql::apply::OldTuple;

/// A group of source transactions is committed at this many changes …
const GROUP_CHANGES: usize = 2_000;
/// … or at this age.
const GROUP_AGE: Duration = Duration::from_millis(200);
/// Rows sent to the server before their results are awaited.
const BATCH_ROWS: usize = 500;
/// The server is given this long to end the stream.
const STOP_PATIENCE: Duration = Duration::from_secs(3);
/// An idle stream records its position this often, unless somebody waits for it.
const IDLE_ADVANCE: Duration = Duration::from_secs(5);

/// The transaction that is being read.
#[derive(Debug, Clone, Copy)]
struct Source {
    xid: FullXid,
    commit: Lsn,
}

/// Applies the stream to the target.
pub struct Applier {
    run: Arc<Run>,
    shared: Arc<Shared>,
    tables: Arc<Vec<TableTask>>,
    target: Client,
    stream: Stream,
    rereader: Rereader,
    touched: Arc<Touched>,
    relations: HashMap<u32, usize>,
    batch: Batch,
    /// Newest transaction id known, to widen 32-bit ids by.
    near: FullXid,
    /// The source transaction that is open.
    source: Option<Source>,
    /// A target transaction is open.
    open: bool,
    /// Changes and age of the open group, and the end of its last whole source transaction.
    group_changes: usize,
    group_since: Instant,
    group_transactions: u64,
    group_end: Option<Lsn>,
    idle_since: Instant,
    /// The discarded transactions changed since they were last written.
    discards_dirty: bool,
    sentinels: mpsc::UnboundedSender<Sentinel>,
}

fn old_tuple(kind: OldKind) -> OldTuple {
    match kind {
        OldKind::Key => OldTuple::Key,
        OldKind::Full => OldTuple::Full,
    }
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
    /// A recent transaction id.
    pub near: FullXid,
    /// Where sentinels go.
    pub sentinels: mpsc::UnboundedSender<Sentinel>,
}

impl Applier {
    /// Prepares to apply; nothing is sent yet.
    pub fn new(parts: Parts) -> Self {
        let Parts { run, shared, tables, target, stream, rereader, touched, near, sentinels } = parts;
        Self {
            run,
            shared,
            tables,
            target,
            stream,
            rereader,
            touched,
            relations: HashMap::new(),
            batch: Batch::default(),
            near,
            source: None,
            open: false,
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

    /// The next thing from the stream; commits the open group as soon as there is nothing to read.
    async fn next(
        &mut self,
        stop: &mut tokio::sync::watch::Receiver<bool>,
        sentinels: &mut Vec<Sentinel>,
    ) -> Result<Option<Incoming>, ExecError> {
        if let Some(incoming) = self.stream.try_next().map_err(ExecError::Replication)? {
            return Ok(Some(incoming));
        }
        if self.source.is_none() && self.group_end.is_some() {
            self.commit_group(sentinels).await?;
        } else if self.open && !self.batch.is_empty() {
            self.flush().await?;
        }
        tokio::select! {
            biased;
            incoming = self.stream.next() => incoming.map(Some).map_err(ExecError::Replication),
            _ = stop.changed() => Ok(None),
        }
    }

    async fn message(&mut self, message: Message, sentinels: &mut Vec<Sentinel>) -> Result<(), ExecError> {
        match message {
            Message::Begin(begin) => {
                let xid = FullXid::widen(begin.xid, self.near);
                self.near = self.near.max(xid);
                self.source = Some(Source { xid, commit: begin.final_lsn });
                failpoint::hit("apply.begin")
            }
            Message::Commit(commit) => self.commit(commit.end_lsn, sentinels).await,
            Message::Relation(relation) => self.relation(relation),
            Message::Insert { relation, new } => {
                let table = self.table(relation)?;
                self.insert(table, new).await
            }
            Message::Update { relation, old, new } => {
                let table = self.table(relation)?;
                self.update(table, old, new).await
            }
            Message::Delete { relation, kind, old } => {
                let table = self.table(relation)?;
                self.delete(table, kind, &old).await
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

    fn relation(&mut self, relation: Relation) -> Result<(), ExecError> {
        let found = self.tables.iter().find(|task| {
            task.source_name().schema.as_str() == relation.schema && task.source_name().name.as_str() == relation.name
        });
        if let Some(task) = found {
            task.check_relation(&relation)?;
        }
        let Some(task) = found else {
            return Err(ExecError::Stale {
                what: format!("publication {}", self.run.plan.settings.publication),
                difference: format!("it publishes {}.{}, which is not in the plan", relation.schema, relation.name),
            });
        };
        self.relations.insert(relation.oid, task.index);
        Ok(())
    }

    fn table(&self, relation: u32) -> Result<usize, ExecError> {
        self.relations.get(&relation).copied().ok_or_else(|| ExecError::Stale {
            what: "change stream".to_owned(),
            difference: format!("a change of relation {relation}, which was never described"),
        })
    }

    fn source(&self) -> Result<Source, ExecError> {
        self.source.ok_or_else(|| ExecError::Stale {
            what: "change stream".to_owned(),
            difference: "a change outside of a transaction".to_owned(),
        })
    }

    /// Routes one key; waits while its chunk is being copied.
    async fn decide(&mut self, table: usize, key: &Key) -> Result<Decision, ExecError> {
        let source = self.source()?;
        let mut waited = false;
        loop {
            let shared = Arc::clone(&self.shared);
            let bell = shared.routes_changed.notified();
            tokio::pin!(bell);
            bell.as_mut().enable();
            let decision = self.shared.router().decide(table, key, source.xid, source.commit);
            match decision {
                Decision::Wait => {
                    if !waited {
                        count(&self.shared.counters.gate_waits);
                        waited = true;
                    }
                    self.flush().await?;
                    self.run.stop_check()?;
                    tokio::select! {
                        () = bell => {}
                        () = tokio::time::sleep(Duration::from_millis(100)) => {}
                    }
                }
                Decision::Discard => {
                    while self.shared.discard_pressure() {
                        self.run.waiting("many discarded transactions are not visible on the source yet");
                        self.run.sleep(Duration::from_millis(200)).await?;
                    }
                    count(&self.shared.counters.discarded);
                    self.discards_dirty = true;
                    return Ok(decision);
                }
                Decision::Skip if failpoint::disabled("rule.visibility-filter") => return Ok(Decision::Apply),
                Decision::Skip => {
                    count(&self.shared.counters.skipped);
                    return Ok(decision);
                }
                Decision::Apply => {
                    count(&self.shared.counters.applied_over_chunk);
                    return Ok(decision);
                }
            }
        }
    }

    async fn insert(&mut self, table: usize, new: Tuple) -> Result<(), ExecError> {
        let tables = Arc::clone(&self.tables);
        let task = &tables[table];
        if task.in_lanes() {
            let key = task.key(&new.columns)?;
            if self.decide(table, &key).await? != Decision::Apply {
                return Ok(());
            }
            self.touch(table, &key)?;
        }
        self.push(table, RowKind::Insert, &new.columns, None).await
    }

    async fn update(&mut self, table: usize, old: Option<(OldKind, Tuple)>, new: Tuple) -> Result<(), ExecError> {
        let tables = Arc::clone(&self.tables);
        let task = &tables[table];
        let mut new = new.columns;
        let old = old.map(|(kind, old)| (old_tuple(kind), old.columns));
        // A full old row has the values that were not sent because they did not change.
        if let Some((OldTuple::Full, old)) = &old {
            for (value, old) in new.iter_mut().zip(old) {
                if matches!(value, ColumnData::UnchangedToast) {
                    *value = old.clone();
                }
            }
        }
        // A large key that changed comes as the old key, and may be "unchanged" in the new row.
        if let Some((OldTuple::Key, old)) = &old {
            for &at in &task.key_at {
                if matches!(new[at], ColumnData::UnchangedToast) {
                    new[at] = old[at].clone();
                }
            }
        }
        let old = old.as_ref().map(|(kind, old)| (*kind, old.as_slice()));
        if !task.in_lanes() {
            return self.push(table, RowKind::Update, &new, old).await;
        }
        let new_key = task.key(&new)?;
        let old_key = old.map(|(_, old)| task.key(old)).transpose()?.unwrap_or_else(|| new_key.clone());
        if old_key == new_key {
            if self.decide(table, &new_key).await? != Decision::Apply {
                return Ok(());
            }
            self.touch(table, &new_key)?;
            return self.push(table, RowKind::Update, &new, old).await;
        }
        let before = self.decide(table, &old_key).await? == Decision::Apply;
        let after = self.decide(table, &new_key).await? == Decision::Apply;
        if before != after {
            count(&self.shared.counters.key_changes_across);
        }
        if before {
            self.touch(table, &old_key)?;
        }
        if after {
            self.touch(table, &new_key)?;
        }
        match (before, after) {
            (true, true) => {
                count(&self.shared.counters.key_changes);
                self.push(table, RowKind::Update, &new, old).await
            }
            (true, false) => self.push(table, RowKind::Delete, &[], old).await,
            (false, true) if new.iter().any(|value| matches!(value, ColumnData::UnchangedToast)) => {
                self.reread(table, new_key, &new, None).await
            }
            (false, true) => self.push(table, RowKind::Insert, &new, None).await,
            (false, false) => Ok(()),
        }
    }

    async fn delete(&mut self, table: usize, kind: OldKind, old: &Tuple) -> Result<(), ExecError> {
        let tables = Arc::clone(&self.tables);
        let task = &tables[table];
        if task.in_lanes() {
            let key = task.key(&old.columns)?;
            if self.decide(table, &key).await? != Decision::Apply {
                return Ok(());
            }
            self.touch(table, &key)?;
        }
        self.push(table, RowKind::Delete, &[], Some((old_tuple(kind), &old.columns))).await
    }

    async fn truncate(&mut self, relations: &[u32]) -> Result<(), ExecError> {
        let source = self.source()?;
        for relation in relations {
            let table = self.table(*relation)?;
            let route = loop {
                let route = self.shared.router().truncate(table, source.xid, source.commit);
                if route != TruncateRoute::Wait {
                    break route;
                }
                count(&self.shared.counters.gate_waits);
                self.flush().await?;
                self.run.stop_check()?;
                tokio::time::sleep(Duration::from_millis(10)).await;
            };
            self.discards_dirty = true;
            let TruncateRoute::Delete { ranges, spare } = route else { continue };
            self.begin().await?;
            self.flush().await?;
            self.touched.touch_all(table, source.xid);
            count(&self.shared.counters.truncates);
            let tables = Arc::clone(&self.tables);
            super::truncate::delete(&self.target, &tables[table], &ranges, &spare).await?;
            self.group_changes += 1;
        }
        Ok(())
    }

    /// Writes the row as the source has it now, with its own snapshot as filter for its later changes. `replaced` has
    /// the key under which the target has the row so far.
    async fn reread(
        &mut self,
        table: usize,
        key: Key,
        new: &[ColumnData],
        replaced: Option<&[ColumnData]>,
    ) -> Result<(), ExecError> {
        let source = self.source()?;
        if failpoint::disabled("rule.reread") {
            return Ok(());
        }
        self.begin().await?;
        self.flush().await?;
        let tables = Arc::clone(&self.tables);
        let task = &tables[table];
        let row = self.rereader.read(task, &task.key_texts(new)?, source.xid).await?;
        // The row is as of the snapshot of the read, later than this transaction: whoever sees the first transaction
        // that the read did not see has seen everything that it saw.
        self.touched.touch(table, &key, row.entry.snapshot.xmax);
        count(&self.shared.counters.rereads);
        crate::ledger::chunk::insert_reread(&*self.target, &self.run.id, &task.name, &row.entry).await?;
        if let Some(replaced) = replaced {
            super::reread::remove(&self.target, task, &task.key_texts(replaced)?).await?;
        }
        if let Some(copy) = row.copy {
            super::copy::paste(&self.target, task, copy).await?;
        }
        self.shared.router().add_reread(table, key, row.entry.snapshot, row.entry.lsn_hi);
        self.group_changes += 1;
        Ok(())
    }

    fn touch(&self, table: usize, key: &Key) -> Result<(), ExecError> {
        self.touched.touch(table, key, self.source()?.xid);
        Ok(())
    }

    async fn push(
        &mut self,
        table: usize,
        kind: RowKind,
        new: &[ColumnData],
        old: Option<(OldTuple, &[ColumnData])>,
    ) -> Result<(), ExecError> {
        self.begin().await?;
        let source = self.source()?;
        let commit = source.commit;
        let tables = Arc::clone(&self.tables);
        let task = &tables[table];
        if !task.in_lanes() {
            self.touched.touch_all(table, source.xid);
        }
        let pushed = self.batch.push(&self.target, task, RowChange { kind, new, old, commit }).await?;
        if pushed == Pushed::NeedsReRead {
            if !task.in_lanes() {
                return Err(ExecError::Stale {
                    what: task.name.clone(),
                    difference: "an expression reads a column that the stream does not send when it did not change; \
                                 give the source table REPLICA IDENTITY FULL and plan again"
                        .to_owned(),
                });
            }
            // Without an old tuple the key did not change: the new one has it.
            let replaced = old.map_or(new, |(_, old)| old);
            return self.reread(table, task.key(new)?, new, Some(replaced)).await;
        }
        count(&self.shared.counters.changes);
        self.group_changes += 1;
        if self.batch.len() >= BATCH_ROWS {
            self.flush().await?;
            failpoint::hit("apply.mid-transaction")?;
        }
        Ok(())
    }

    async fn begin(&mut self) -> Result<(), ExecError> {
        if !self.open {
            self.target
                .batch_execute("BEGIN; SET CONSTRAINTS ALL DEFERRED")
                .await
                .map_err(ExecError::target("begin"))?;
            self.open = true;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), ExecError> {
        self.batch.flush(&self.target, &self.tables).await
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
        let discarded = self.discards_dirty.then(|| self.discarded());
        progress::advance(&*self.target, &self.run.id, self.run.epoch, end, self.near, discarded.as_deref()).await?;
        failpoint::hit("apply.before-commit")?;
        self.target.batch_execute("COMMIT").await.map_err(ExecError::target("commit changes"))?;
        self.open = false;
        self.discards_dirty = false;
        failpoint::hit("apply.after-commit")?;
        self.shared.counters.transactions.fetch_add(self.group_transactions, Ordering::Relaxed);
        self.group_changes = 0;
        self.group_transactions = 0;
        self.idle_since = Instant::now();
        self.shared.set_applied(end);
        self.stream.confirm(end);
        for sentinel in sentinels.drain(..) {
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
        let applied = self.shared.applied();
        let hurry = self.shared.wanted().is_some();
        if wal_end <= applied || (!hurry && self.idle_since.elapsed() < IDLE_ADVANCE) {
            return Ok(());
        }
        progress::advance(&*self.target, &self.run.id, self.run.epoch, wal_end, self.near, None).await?;
        failpoint::hit("apply.idle-advance")?;
        self.idle_since = Instant::now();
        self.shared.set_applied(wal_end);
        self.stream.confirm(wal_end);
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
