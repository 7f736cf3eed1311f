//! The last look at a source table, and what other tasks have seen since it began.

use std::sync::{Arc, Mutex};

use super::partitions::{Partition, Tree};
use super::witness::Witness;

/// The last look, which all tasks of a run compare with.
#[derive(Debug, Clone)]
pub struct Seen(Arc<Mutex<Witness>>);

impl Seen {
    pub(super) fn new(witness: Witness) -> Self {
        Self(Arc::new(Mutex::new(witness)))
    }

    pub(super) fn get(&self) -> Witness {
        self.0.lock().expect("no task panics while it holds a look").clone()
    }

    /// A partition that another task has seen meanwhile stays: none is ever taken off.
    pub(super) fn set(&self, mut witness: Witness) {
        let mut seen = self.0.lock().expect("no task panics while it holds a look");
        for (oid, partition) in std::mem::take(&mut seen.partitions) {
            witness.partitions.entry(oid).or_insert(partition);
        }
        *seen = witness;
    }

    /// Partitions that no look has seen before, and names that are new.
    pub(super) fn add(&self, partitions: Tree) {
        let mut seen = self.0.lock().expect("no task panics while it holds a look");
        for (oid, partition) in partitions {
            let name = partition.name.clone();
            seen.partitions.entry(oid).or_insert(partition).name = name;
        }
    }

    /// The partitions, at every level.
    pub(super) fn partitions(&self) -> Tree {
        self.get().partitions
    }

    /// A partition that a look has found which the ledger has too.
    pub(super) fn kept(&self, partition: u32) -> Option<Partition> {
        let seen = self.0.lock().expect("no task panics while it holds a look");
        seen.partitions.get(&partition).filter(|found| !found.is_new).cloned()
    }

    /// OID of the table.
    pub fn oid(&self) -> u32 {
        self.get().oid
    }
}
