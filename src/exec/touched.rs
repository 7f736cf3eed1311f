//! Keys that the applier wrote, for verification: what may differ from a snapshot, and by which transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use crate::replay::{FullXid, Key, Snapshot};

/// Above this number of keys a table is "wholly touched" until it is compared again.
const KEYS_MAX: usize = 200_000;

/// Above this number of transactions that may have touched any key, only the newest id is kept.
const MARKS_MAX: usize = 10_000;

#[derive(Debug, Default)]
struct TableTouched {
    /// Not yet in `keys`: while nothing is verified most are forgotten before anybody asks.
    recent: Vec<(Key, FullXid)>,
    /// The last transaction in commit order that wrote the key. Whoever sees it sees the earlier ones: it could write
    /// only after they had become visible. Its id may be smaller than theirs.
    keys: BTreeMap<Key, FullXid>,
    /// Transactions that may have touched any key. They need not have waited for one another: each counts.
    marks: BTreeSet<FullXid>,
    /// Any transaction up to here may have touched any key.
    up_to: Option<FullXid>,
}

impl TableTouched {
    /// Puts what is recent where it is found.
    fn settle(&mut self) {
        for (key, xid) in std::mem::take(&mut self.recent) {
            if self.keys.len() >= KEYS_MAX && !self.keys.contains_key(&key) {
                self.mark(xid);
            } else {
                self.keys.insert(key, xid);
            }
        }
    }

    fn mark(&mut self, xid: FullXid) {
        self.marks.insert(xid);
        if self.marks.len() > MARKS_MAX {
            self.up_to = self.up_to.max(self.marks.last().copied());
            self.marks.clear();
        }
    }

    fn is_marked(&self) -> bool {
        self.up_to.is_some() || !self.marks.is_empty()
    }

    fn forget_marks(&mut self, snapshot: &Snapshot) {
        self.marks.retain(|xid| !snapshot.sees(*xid));
        self.up_to = self.up_to.filter(|xid| *xid >= snapshot.xmin);
    }

    fn sees_marks(&self, snapshot: &Snapshot) -> bool {
        self.marks.iter().all(|xid| snapshot.sees(*xid)) && self.up_to.is_none_or(|xid| xid < snapshot.xmin)
    }
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

    fn tables(&self) -> MutexGuard<'_, Vec<TableTouched>> {
        self.tables.lock().expect("no task panics while it holds the touched keys")
    }

    /// With everything of this table in its place.
    fn settled(&self, table: usize) -> MutexGuard<'_, Vec<TableTouched>> {
        let mut tables = self.tables();
        tables[table].settle();
        tables
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
        for table in self.tables().iter_mut() {
            table.recent.retain(|(_, xid)| !snapshot.sees(*xid));
            table.keys.retain(|_, xid| !snapshot.sees(*xid));
            table.forget_marks(snapshot);
        }
    }

    /// Remembers that this transaction wrote the key. Called before the write is sent.
    pub fn touch(&self, table: usize, key: &Key, xid: FullXid) {
        let table = &mut self.tables()[table];
        table.recent.push((key.clone(), xid));
        if table.recent.len() >= KEYS_MAX {
            table.settle();
        }
    }

    /// Remembers that this transaction wrote any number of keys.
    pub fn touch_all(&self, table: usize, xid: FullXid) {
        self.tables()[table].mark(xid);
    }

    /// Keys in [lo, hi) touched by a transaction that the snapshot does not see; `None` when any key may be.
    pub fn unseen(&self, table: usize, lo: Option<&Key>, hi: Option<&Key>, snapshot: &Snapshot) -> Option<Vec<Key>> {
        let tables = self.settled(table);
        let table = &tables[table];
        if !table.sees_marks(snapshot) {
            return None;
        }
        Some(range(&table.keys, lo, hi).filter(|(_, xid)| !snapshot.sees(**xid)).map(|(key, _)| key.clone()).collect())
    }

    /// Forgets keys in [lo, hi) whose touches the snapshot sees: they were compared under it.
    pub fn forget_seen(&self, table: usize, lo: Option<&Key>, hi: Option<&Key>, snapshot: &Snapshot) {
        let mut tables = self.settled(table);
        let table = &mut tables[table];
        let seen: Vec<Key> =
            range(&table.keys, lo, hi).filter(|(_, xid)| snapshot.sees(**xid)).map(|(key, _)| key.clone()).collect();
        for key in seen {
            table.keys.remove(&key);
        }
    }

    /// Forgets the "any key" mark, once the whole table was compared under a snapshot that sees it.
    pub fn forget_all_mark(&self, table: usize, snapshot: &Snapshot) {
        self.settled(table)[table].forget_marks(snapshot);
    }

    /// Forgets those of these keys whose touches the snapshot sees: they were compared under it.
    pub fn forget_keys(&self, table: usize, keys: &[Key], snapshot: &Snapshot) {
        let mut tables = self.settled(table);
        let table = &mut tables[table];
        for key in keys {
            if table.keys.get(key).is_some_and(|xid| snapshot.sees(*xid)) {
                table.keys.remove(key);
            }
        }
    }

    /// All touched keys of a table; `None` when any key may be.
    pub fn dirty(&self, table: usize) -> Option<Vec<Key>> {
        let tables = self.settled(table);
        let table = &tables[table];
        if table.is_marked() { None } else { Some(table.keys.keys().cloned().collect()) }
    }

    /// Number of touched keys; `None` when any key may be.
    pub fn count(&self, table: usize) -> Option<usize> {
        let tables = self.settled(table);
        let table = &tables[table];
        if table.is_marked() { None } else { Some(table.keys.len()) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::KeyValue;

    fn key(value: i64) -> Key {
        vec![KeyValue::Int(value)]
    }

    fn snapshot(text: &str) -> Snapshot {
        text.parse().unwrap()
    }

    #[test]
    fn the_last_writer_counts_not_the_highest_id() {
        let touched = Touched::new(1);
        touched.record();
        touched.touch(0, &key(1), FullXid(110));
        touched.touch(0, &key(1), FullXid(105));
        let sees_110_only = snapshot("105:120:105");
        assert_eq!(touched.unseen(0, None, None, &sees_110_only), Some(vec![key(1)]));
        touched.forget_seen(0, None, None, &sees_110_only);
        assert_eq!(touched.dirty(0), Some(vec![key(1)]));
        touched.forget_keys(0, &[key(1)], &snapshot("120:120:"));
        assert_eq!(touched.dirty(0), Some(vec![]));
    }

    #[test]
    fn every_transaction_that_touched_any_key_counts() {
        let touched = Touched::new(1);
        touched.touch_all(0, FullXid(105));
        touched.touch_all(0, FullXid(110));
        let sees_110_only = snapshot("105:120:105");
        assert_eq!(touched.unseen(0, None, None, &sees_110_only), None);
        touched.forget_all_mark(0, &sees_110_only);
        assert_eq!(touched.dirty(0), None);
        touched.forget_all_mark(0, &snapshot("106:120:"));
        assert_eq!(touched.dirty(0), Some(vec![]));
    }

    #[test]
    fn too_many_marks_are_kept_as_one() {
        let touched = Touched::new(1);
        for xid in 0..=MARKS_MAX as u64 {
            touched.touch_all(0, FullXid(xid));
        }
        touched.forget_all_mark(0, &snapshot("5:20000:5"));
        assert_eq!(touched.count(0), None);
        touched.forget_all_mark(0, &snapshot("20000:20000:"));
        assert_eq!(touched.count(0), Some(0));
    }

    #[test]
    fn keys_outside_of_a_range_stay() {
        let touched = Touched::new(2);
        for value in 1..=5 {
            touched.touch(1, &key(value), FullXid(10));
        }
        let all = snapshot("20:20:");
        touched.forget_seen(1, Some(&key(2)), Some(&key(4)), &all);
        assert_eq!(touched.dirty(1), Some(vec![key(1), key(4), key(5)]));
        assert_eq!(touched.unseen(1, Some(&key(4)), None, &snapshot("10:20:10")), Some(vec![key(4), key(5)]));
        touched.record();
        touched.prune_idle(&all);
        assert_eq!(touched.count(1), Some(3));
    }
}
