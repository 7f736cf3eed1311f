//! Keys that the applier wrote, for verification: what may differ from a snapshot, and by which transaction.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use crate::replay::{FullXid, Key, Snapshot};

/// Above this number of keys a table is "wholly touched" until it is compared again.
const KEYS_MAX: usize = 200_000;

#[derive(Debug, Default)]
struct TableTouched {
    keys: BTreeMap<Key, FullXid>,
    /// The newest transaction that may have touched any key.
    all: Option<FullXid>,
}

/// Touched keys of all tables.
#[derive(Debug)]
pub struct Touched {
    tables: Mutex<Vec<TableTouched>>,
    /// While nothing is being verified, what is visible on the source is forgotten.
    recording: AtomicBool,
}

impl Touched {
    /// For this number of tables.
    pub fn new(tables: usize) -> Self {
        Self {
            tables: Mutex::new((0..tables).map(|_| TableTouched::default()).collect()),
            recording: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<TableTouched>> {
        self.tables.lock().expect("no task panics while it holds the touched keys")
    }

    /// From here on every touched key is kept until it was compared.
    pub fn record(&self) {
        self.recording.store(true, Ordering::SeqCst);
    }

    /// Forgets what this snapshot sees, unless a verification needs it.
    pub fn prune_idle(&self, snapshot: &Snapshot) {
        if self.recording.load(Ordering::SeqCst) {
            return;
        }
        for table in self.lock().iter_mut() {
            table.keys.retain(|_, xid| !snapshot.sees(*xid));
            table.all = table.all.filter(|xid| !snapshot.sees(*xid));
        }
    }

    /// Remembers that this transaction wrote the key. Called before the write is sent.
    pub fn touch(&self, table: usize, key: &Key, xid: FullXid) {
        let table = &mut self.lock()[table];
        if table.keys.len() >= KEYS_MAX && !table.keys.contains_key(key) {
            table.all = table.all.max(Some(xid));
            return;
        }
        let newest = table.keys.entry(key.clone()).or_insert(xid);
        *newest = xid.max(*newest);
    }

    /// Remembers that this transaction wrote any number of keys.
    pub fn touch_all(&self, table: usize, xid: FullXid) {
        let table = &mut self.lock()[table];
        table.all = table.all.max(Some(xid));
    }

    /// Keys in [lo, hi) touched by a transaction that the snapshot does not see; `None` when any key may be.
    pub fn unseen(&self, table: usize, lo: Option<&Key>, hi: Option<&Key>, snapshot: &Snapshot) -> Option<Vec<Key>> {
        let tables = self.lock();
        let table = &tables[table];
        if table.all.is_some_and(|xid| !snapshot.sees(xid)) {
            return None;
        }
        Some(range(&table.keys, lo, hi).filter(|(_, xid)| !snapshot.sees(**xid)).map(|(key, _)| key.clone()).collect())
    }

    /// Forgets keys in [lo, hi) whose touches the snapshot sees: they were compared under it.
    pub fn forget_seen(&self, table: usize, lo: Option<&Key>, hi: Option<&Key>, snapshot: &Snapshot) {
        let mut tables = self.lock();
        let table = &mut tables[table];
        let seen: Vec<Key> =
            range(&table.keys, lo, hi).filter(|(_, xid)| snapshot.sees(**xid)).map(|(key, _)| key.clone()).collect();
        for key in seen {
            table.keys.remove(&key);
        }
    }

    /// Forgets the "any key" mark, once the whole table was compared under a snapshot that sees it.
    pub fn forget_all_mark(&self, table: usize, snapshot: &Snapshot) {
        let mut tables = self.lock();
        let table = &mut tables[table];
        if table.all.is_some_and(|xid| snapshot.sees(xid)) {
            table.all = None;
        }
    }

    /// All touched keys of a table; `None` when any key may be.
    pub fn dirty(&self, table: usize) -> Option<Vec<Key>> {
        let tables = self.lock();
        let table = &tables[table];
        if table.all.is_some() { None } else { Some(table.keys.keys().cloned().collect()) }
    }

    /// Number of touched keys; `None` when any key may be.
    pub fn count(&self, table: usize) -> Option<usize> {
        let tables = self.lock();
        let table = &tables[table];
        if table.all.is_some() { None } else { Some(table.keys.len()) }
    }
}

fn range<'a>(
    keys: &'a BTreeMap<Key, FullXid>,
    lo: Option<&Key>,
    hi: Option<&Key>,
) -> impl Iterator<Item = (&'a Key, &'a FullXid)> {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    let empty = matches!((lo, hi), (Some(lo), Some(hi)) if lo >= hi);
    let bounds = (lo.map_or(Unbounded, Included), hi.map_or(Unbounded, Excluded));
    (!empty).then(|| keys.range::<Key, _>(bounds)).into_iter().flatten()
}
