//! What the tasks of one run share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::ExecError;
use super::context::Run;

use crate::pg::replication::Nudge;
use crate::replay::{Lsn, Router};

/// Router, positions and counters. The mutex is never held across an await.
#[derive(Debug)]
pub struct Shared {
    router: Mutex<Router>,
    /// Rings when a gate opens or a chunk is published.
    pub routes_changed: Notify,
    applied: watch::Sender<Lsn>,
    /// Held by the applier while a transaction of the target is open: whoever has it is between two of them.
    pub between: Arc<tokio::sync::Mutex<()>>,
    /// No transaction that commits from here on is applied.
    held: watch::Sender<Option<Lsn>>,
    /// The highest position that somebody waits for: an idle stream is advanced at once up to here.
    wanted: AtomicU64,
    wanted_changed: Notify,
    /// Asks the source how far it is, once there is a stream.
    nudge: OnceLock<Nudge>,
    /// Rows and bytes copied by table, earlier runs included.
    copied: Mutex<Vec<(u64, u64)>>,
    /// Too many discarded transactions wait to become visible.
    discard_pressure: AtomicBool,
    /// Looks at partitions that were asked for, and how many of those one has answered that began after.
    looks_asked: AtomicU64,
    looked: watch::Sender<u64>,
    /// What happened so far.
    pub counters: Counters,
}

/// The stream goes on when this is dropped.
#[derive(Debug)]
pub struct Held(Arc<Shared>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.held.send_replace(None);
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counts of everything that the exactness rules do, for reports and for tests that must not pass vacuously.
        #[derive(Debug, Default)]
        pub struct Counters { $($(#[$doc])* pub $name: AtomicU64),* }

        impl Counters {
            /// Names and values.
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.load(Ordering::Relaxed))),*]
            }
        }
    };
}

counters! {
    /// Source transactions committed on the target.
    transactions,
    /// Changes applied.
    changes,
    /// Batches of changes that were applied together.
    batches_together,
    /// Batches that had to be applied again, one change after another.
    batches_again,
    /// Changes discarded: the chunk that covers the key comes later.
    discarded,
    /// Changes skipped: the chunk's snapshot saw them.
    skipped,
    /// Changes applied over a copied chunk whose snapshot still mattered or not.
    applied_over_chunk,
    /// Times that apply waited for a chunk in progress.
    gate_waits,
    /// Times that a chunk waited for a transaction to become visible.
    barrier_waits,
    /// Key changes of which both halves were applied.
    key_changes,
    /// Key changes that crossed from an uncopied into a copied range or back.
    key_changes_across,
    /// Rows read again.
    rereads,
    /// Changes left out because somebody asked for it.
    left_out,
    /// Chunks copied by this process.
    chunks,
    /// Chunks found done in the ledger.
    chunks_resumed,
    /// Rows copied by this process.
    rows_copied,
    /// Bytes copied by this process.
    bytes_copied,
    /// TRUNCATEs applied.
    truncates,
}

/// Adds one.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Shared {
    /// Shares a router and the applied position.
    pub fn new(router: Router, applied: Lsn, copied: Vec<(u64, u64)>) -> Self {
        Self {
            router: Mutex::new(router),
            routes_changed: Notify::new(),
            applied: watch::Sender::new(applied),
            between: Arc::default(),
            held: watch::Sender::new(None),
            wanted: AtomicU64::new(0),
            wanted_changed: Notify::new(),
            nudge: OnceLock::new(),
            copied: Mutex::new(copied),
            discard_pressure: AtomicBool::new(false),
            looks_asked: AtomicU64::new(0),
            looked: watch::Sender::new(0),
            counters: Counters::default(),
        }
    }

    /// The router.
    pub fn router(&self) -> MutexGuard<'_, Router> {
        self.router.lock().expect("no task panics while it holds the router")
    }

    /// Adds a chunk; gives the rows and bytes of its table so far.
    pub fn add_copied(&self, table: usize, rows: u64, bytes: u64) -> (u64, u64) {
        let mut copied = self.copied.lock().expect("no task panics while it holds the counts");
        copied[table].0 += rows;
        copied[table].1 += bytes;
        copied[table]
    }

    /// Says whether too many discarded transactions wait to become visible.
    pub fn set_discard_pressure(&self, pressure: bool) {
        self.discard_pressure.store(pressure, Ordering::Relaxed);
    }

    /// True when the applier must wait before it discards more.
    pub fn discard_pressure(&self) -> bool {
        self.discard_pressure.load(Ordering::Relaxed)
    }

    /// Waits for a look at the partitions of all tables that begins from now on. There must be somebody who looks.
    pub async fn look(&self) {
        let asked = self.looks_asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut looked = self.looked.subscribe();
        // It cannot fail: the sender is here.
        let _answered = looked.wait_for(|looked| *looked >= asked).await.map(drop);
    }

    /// The looks that were asked for, if one of them is not answered.
    pub fn looks_wanted(&self) -> Option<u64> {
        Some(self.looks_asked.load(Ordering::SeqCst)).filter(|asked| *asked > *self.looked.borrow())
    }

    /// Says that so many looks are answered by one that began after them.
    pub fn set_looked(&self, asked: u64) {
        self.looked.send_replace(asked);
    }

    /// The applied position.
    pub fn applied(&self) -> Lsn {
        *self.applied.borrow()
    }

    /// Publishes a durably applied position.
    pub fn set_applied(&self, lsn: Lsn) {
        self.router().retire(lsn);
        self.applied.send_replace(lsn);
    }

    /// Says that somebody waits for this position.
    pub fn want(&self, lsn: Lsn) {
        if self.wanted.fetch_max(lsn.0, Ordering::Relaxed) < lsn.0 {
            self.wanted_changed.notify_one();
            self.nudge();
        }
    }

    /// Waits until somebody waits for a position that nobody waited for before.
    pub async fn wanted_changed(&self) {
        self.wanted_changed.notified().await;
    }

    /// Gives whoever waits a way to hurry the stream.
    pub fn set_nudge(&self, nudge: Nudge) {
        // A run has one stream.
        let _first_counts = self.nudge.set(nudge);
    }

    /// True once a stream takes changes in.
    pub fn has_stream(&self) -> bool {
        self.nudge.get().is_some()
    }

    /// Asks the source how far it is: an idle one does not say it by itself.
    pub fn nudge(&self) {
        if let Some(nudge) = self.nudge.get() {
            nudge.nudge();
        }
    }

    /// The position that somebody waits for, if it is not applied yet.
    pub fn wanted(&self) -> Option<Lsn> {
        Some(Lsn(self.wanted.load(Ordering::Relaxed))).filter(|wanted| *wanted > self.applied())
    }

    /// Keeps transactions that commit from this position on from being applied, until what it gives is dropped. One that
    /// has begun to be applied is not kept.
    pub fn hold(self: &Arc<Self>, at: Lsn) -> Held {
        self.held.send_replace(Some(at));
        Held(Arc::clone(self))
    }

    /// Where the stream is held.
    pub fn held(&self) -> Option<Lsn> {
        *self.held.borrow()
    }

    /// Waits until the stream is let go.
    pub async fn let_go(&self) {
        let mut held = self.held.subscribe();
        // It cannot fail: the sender is here.
        let _let_go = held.wait_for(Option::is_none).await.map(drop);
    }

    /// Waits until the applied position moves, at most this long.
    pub async fn applied_changed(&self, at_most: Duration) {
        let mut applied = self.applied.subscribe();
        applied.borrow_and_update();
        self.nudge();
        // A timeout is as good as a change: the caller looks again.
        let _changed_or_late = tokio::time::timeout(at_most, applied.changed()).await;
    }

    /// Waits until the position is applied, or `stop` says to give up.
    pub async fn wait_applied(&self, lsn: Lsn, run: &Run) -> Result<(), ExecError> {
        while self.applied() < lsn {
            run.stop_check()?;
            self.want(lsn);
            self.applied_changed(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}
