//! What the tasks of one run share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use tokio::sync::{Notify, watch};

use crate::replay::{Lsn, Router};

/// Router, positions and counters. The mutex is never held across an await.
#[derive(Debug)]
pub struct Shared {
    router: Mutex<Router>,
    /// Rings when a gate opens or a chunk is published.
    pub routes_changed: Notify,
    applied: watch::Sender<Lsn>,
    /// Asks the applier to advance an idle stream at once.
    pub hurry: Notify,
    /// What happened so far.
    pub counters: Counters,
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
    pub fn new(router: Router, applied: Lsn) -> Self {
        Self {
            router: Mutex::new(router),
            routes_changed: Notify::new(),
            applied: watch::Sender::new(applied),
            hurry: Notify::new(),
            counters: Counters::default(),
        }
    }

    /// The router.
    pub fn router(&self) -> MutexGuard<'_, Router> {
        self.router.lock().expect("no task panics while it holds the router")
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

    /// Waits until the position is applied; asks an idle stream to hurry.
    pub async fn wait_applied(&self, lsn: Lsn) {
        let mut applied = self.applied.subscribe();
        if *applied.borrow_and_update() >= lsn {
            return;
        }
        self.hurry.notify_one();
        // The sender lives in self, so waiting cannot fail.
        while *applied.borrow_and_update() < lsn {
            if applied.changed().await.is_err() {
                return;
            }
        }
    }
}
