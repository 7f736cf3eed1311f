//! Decides for every streamed change whether the copy already has it, will have it, or lacks it.
//!
//! The rule (docs/architecture.md): a change of transaction x with commit position c to key k is
//! discarded when no chunk covers k yet (and x is remembered: the chunk that covers k later must see it);
//! applied when c is at or past the end position of the covering chunk, or x is not visible in its snapshot;
//! skipped when x is visible; and waits while the chunk is being copied.

use std::collections::{BTreeMap, BTreeSet};

use super::{FullXid, Key, Lsn, Snapshot};

/// What to do with a change at one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The target lacks it.
    Apply,
    /// The covering chunk has it.
    Skip,
    /// The chunk that will cover the key will have it.
    Discard,
    /// The chunk that covers the key is being copied; ask again.
    Wait,
}

/// A copied range with the snapshot that it was read in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// First key, or the lane's beginning.
    pub lo: Option<Key>,
    /// First key past the chunk, or the lane's end.
    pub hi: Option<Key>,
    /// Snapshot of the read.
    pub snapshot: Snapshot,
    /// Write position read after the snapshot: commits from here on are not visible in it.
    pub lsn_hi: Lsn,
}

/// A contiguous range of keys that is copied from its beginning to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// First key, or `None` for the beginning of the table.
    pub lo: Option<Key>,
    /// First key past the lane, or `None` for the end of the table.
    pub hi: Option<Key>,
    /// How far it is copied.
    frontier: Frontier,
    /// The range that is being copied.
    gate: Option<Gate>,
    /// Chunks whose snapshot may still matter, oldest first.
    recent: Vec<Chunk>,
    /// Transactions with a discarded change that no chunk is known to see yet.
    discarded: BTreeSet<FullXid>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Gate {
    /// First key past the range; `None` is the table's end.
    hi: Option<Key>,
    /// What the snapshot must see, taken when the gate closed, before the snapshot. The set of the lane may shrink
    /// meanwhile, by a newer snapshot that says nothing about ours.
    must_see: BTreeSet<FullXid>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Frontier {
    Start,
    At(Key),
    Done,
}

/// How the changes of one table are routed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableRoute {
    /// Copied whole under the slot's snapshot: every streamed change comes after it.
    Whole,
    /// Copied lane by lane.
    Lanes {
        /// In key order, without gaps.
        lanes: Vec<Lane>,
        /// Rows that were read again one by one, with their own snapshots.
        rereads: BTreeMap<Key, Chunk>,
    },
}

/// The routes of all tables, by their number in the plan.
#[derive(Debug, Clone, Default)]
pub struct Router {
    tables: Vec<TableRoute>,
}

/// The ranges of a table that a TRUNCATE empties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TruncateRoute {
    /// A range is being copied; ask again.
    Wait,
    /// Delete these ranges, sparing the keys that were read again after the TRUNCATE.
    Delete {
        /// `None` bounds are the ends of the table.
        ranges: Vec<(Option<Key>, Option<Key>)>,
        /// Keys to keep.
        spare: Vec<Key>,
    },
}

impl Lane {
    /// A lane of which nothing is copied.
    pub fn new(lo: Option<Key>, hi: Option<Key>) -> Self {
        Self { lo, hi, frontier: Frontier::Start, gate: None, recent: Vec::new(), discarded: BTreeSet::new() }
    }

    /// A lane of all keys that was copied under the slot's snapshot: every streamed change comes after it.
    pub fn copied() -> Self {
        Self { frontier: Frontier::Done, ..Self::new(None, None) }
    }

    fn holds(&self, key: &Key) -> bool {
        self.lo.as_ref().is_none_or(|lo| key >= lo) && self.hi.as_ref().is_none_or(|hi| key < hi)
    }

    fn covers(&self, key: &Key) -> bool {
        match &self.frontier {
            Frontier::Start => false,
            Frontier::At(frontier) => key < frontier,
            Frontier::Done => true,
        }
    }

    fn gate_holds(&self, key: &Key) -> bool {
        self.gate.as_ref().is_some_and(|gate| gate.hi.as_ref().is_none_or(|hi| key < hi))
    }

    /// Where the next chunk begins: `None` when the lane is copied, `Some(None)` for the table's beginning.
    pub fn next_lo(&self) -> Option<Option<Key>> {
        match &self.frontier {
            Frontier::Start => Some(self.lo.clone()),
            Frontier::At(key) => Some(Some(key.clone())),
            Frontier::Done => None,
        }
    }

    /// Closes the gate over the next chunk, up to `hi` (`None`: the lane's end). Only then the chunk's snapshot may be
    /// taken.
    pub fn close_gate(&mut self, hi: Option<Key>) {
        self.gate = Some(Gate { hi: hi.or_else(|| self.hi.clone()), must_see: self.discarded.clone() });
    }

    /// Takes a committed chunk and opens the gate. The chunk begins at the frontier.
    pub fn publish(&mut self, chunk: Chunk) {
        self.frontier =
            if chunk.hi == self.hi { Frontier::Done } else { chunk.hi.clone().map_or(Frontier::Done, Frontier::At) };
        self.gate = None;
        self.recent.push(chunk);
        if self.frontier == Frontier::Done {
            self.discarded.clear();
        }
    }

    /// The barrier: a snapshot taken after the gate closed may read the range only when it sees every transaction of
    /// which a change was discarded before, and everything that the slot's own snapshot saw.
    pub fn admits(&self, snapshot: &Snapshot, slot: &Snapshot) -> bool {
        self.gate.is_some() && snapshot.covers(slot) && self.waits_for(snapshot).is_none()
    }

    /// The first transaction that keeps the barrier closed for this snapshot.
    pub fn waits_for(&self, snapshot: &Snapshot) -> Option<FullXid> {
        self.gate.as_ref()?.must_see.iter().copied().find(|xid| !snapshot.sees(*xid))
    }

    /// Forgets transactions that are visible now: visibility only grows.
    pub fn prune(&mut self, snapshot: &Snapshot) {
        self.discarded.retain(|xid| !snapshot.sees(*xid));
    }

    /// The position that must be applied before no chunk's snapshot matters any more, if it is not yet.
    pub fn unsettled(&self, applied: Lsn) -> Option<Lsn> {
        self.recent.iter().map(|chunk| chunk.lsn_hi).filter(|lsn_hi| *lsn_hi > applied).max()
    }

    /// True when the lane is copied to its end.
    pub fn done(&self) -> bool {
        self.frontier == Frontier::Done
    }

    /// The remembered transactions.
    pub fn discarded(&self) -> &BTreeSet<FullXid> {
        &self.discarded
    }

    /// Puts back transactions that the ledger remembers.
    pub fn remember(&mut self, xids: impl IntoIterator<Item = FullXid>) {
        self.discarded.extend(xids);
    }
}

fn route(chunk: &Chunk, xid: FullXid, commit: Lsn) -> Decision {
    if commit >= chunk.lsn_hi || !chunk.snapshot.sees(xid) { Decision::Apply } else { Decision::Skip }
}

impl Router {
    /// Routes for the tables of a plan, in its order.
    pub fn new(tables: Vec<TableRoute>) -> Self {
        Self { tables }
    }

    /// A table's route.
    pub fn table(&self, table: usize) -> &TableRoute {
        &self.tables[table]
    }

    /// The lanes of a table; none when it is copied whole.
    pub fn lanes_mut(&mut self, table: usize) -> &mut [Lane] {
        match &mut self.tables[table] {
            TableRoute::Whole => &mut [],
            TableRoute::Lanes { lanes, .. } => lanes,
        }
    }

    /// Every lane of every table.
    pub fn all_lanes(&self) -> impl Iterator<Item = (usize, usize, &Lane)> {
        self.tables.iter().enumerate().flat_map(|(table, route)| {
            let lanes = match route {
                TableRoute::Whole => &[][..],
                TableRoute::Lanes { lanes, .. } => lanes,
            };
            lanes.iter().enumerate().map(move |(n, lane)| (table, n, lane))
        })
    }

    /// Routes a change of transaction `xid`, committed at `commit`, to `key`. A discard is remembered here.
    ///
    /// # Panics
    /// When lanes do not cover all keys, which `Lane` bounds from the ledger are checked for.
    pub fn decide(&mut self, table: usize, key: &Key, xid: FullXid, commit: Lsn) -> Decision {
        let TableRoute::Lanes { lanes, rereads } = &mut self.tables[table] else { return Decision::Apply };
        if let Some(reread) = rereads.get(key) {
            return route(reread, xid, commit);
        }
        // In the order of their keys.
        let after = lanes.partition_point(|lane| lane.lo.as_ref().is_none_or(|lo| lo <= key));
        let lane = lanes[..after].last_mut().filter(|lane| lane.holds(key)).expect("lanes cover all keys");
        if lane.covers(key) {
            let chunk = lane.recent.iter().find(|chunk| {
                chunk.lo.as_ref().is_none_or(|lo| key >= lo) && chunk.hi.as_ref().is_none_or(|hi| key < hi)
            });
            // A chunk that is no longer held was settled: every later commit is past its snapshot.
            return chunk.map_or(Decision::Apply, |chunk| route(chunk, xid, commit));
        }
        if lane.gate_holds(key) {
            return Decision::Wait;
        }
        lane.discarded.insert(xid);
        Decision::Discard
    }

    /// Routes a TRUNCATE: as a delete of every key of every copied range.
    pub fn truncate(&mut self, table: usize, xid: FullXid, commit: Lsn) -> TruncateRoute {
        let TableRoute::Lanes { lanes, rereads } = &mut self.tables[table] else {
            return TruncateRoute::Delete { ranges: vec![(None, None)], spare: Vec::new() };
        };
        if lanes.iter().any(|lane| lane.gate.is_some()) {
            return TruncateRoute::Wait;
        }
        let mut ranges = Vec::new();
        for lane in lanes {
            let settled_hi = match lane.recent.first() {
                Some(chunk) => chunk.lo.clone().map(Some),
                None => match &lane.frontier {
                    Frontier::Start => None,
                    Frontier::At(key) => Some(Some(key.clone())),
                    Frontier::Done => Some(lane.hi.clone()),
                },
            };
            if let Some(hi) = settled_hi
                && (hi.is_none() || hi != lane.lo)
            {
                ranges.push((lane.lo.clone(), hi));
            }
            for chunk in &lane.recent {
                if route(chunk, xid, commit) == Decision::Apply {
                    ranges.push((chunk.lo.clone(), chunk.hi.clone()));
                }
            }
            if lane.frontier != Frontier::Done {
                lane.discarded.insert(xid);
            }
        }
        let spare = rereads
            .iter()
            .filter(|(_, reread)| route(reread, xid, commit) == Decision::Skip)
            .map(|(key, _)| key.clone())
            .collect();
        TruncateRoute::Delete { ranges, spare }
    }

    /// Remembers a row that was read again in its own snapshot.
    pub fn add_reread(&mut self, table: usize, key: Key, snapshot: Snapshot, lsn_hi: Lsn) {
        if let TableRoute::Lanes { rereads, .. } = &mut self.tables[table] {
            rereads.insert(key, Chunk { lo: None, hi: None, snapshot, lsn_hi });
        }
    }

    /// The position from which on no row is newer than the stream because it was read again.
    pub fn rereads_until(&self) -> Option<Lsn> {
        let of_table = |table: &TableRoute| match table {
            TableRoute::Whole => None,
            TableRoute::Lanes { rereads, .. } => rereads.values().map(|reread| reread.lsn_hi).max(),
        };
        self.tables.iter().filter_map(of_table).max()
    }

    /// The position from which on the target is the source as of the applied position, if that is still to come: no chunk's
    /// snapshot and no row that was read again is ahead of it any more.
    pub fn unsettled(&self, applied: Lsn) -> Option<Lsn> {
        let chunks = self.all_lanes().filter_map(|(_, _, lane)| lane.unsettled(applied)).max();
        chunks.max(self.rereads_until().filter(|until| *until > applied))
    }

    /// Drops chunks and re-reads that the applied position has passed.
    pub fn retire(&mut self, applied: Lsn) {
        for table in &mut self.tables {
            if let TableRoute::Lanes { lanes, rereads } = table {
                for lane in lanes {
                    lane.recent.retain(|chunk| applied < chunk.lsn_hi);
                }
                rereads.retain(|_, reread| applied < reread.lsn_hi);
            }
        }
    }

    /// Forgets discarded transactions that are visible now, everywhere.
    pub fn prune(&mut self, snapshot: &Snapshot) {
        for table in &mut self.tables {
            if let TableRoute::Lanes { lanes, .. } = table {
                lanes.iter_mut().for_each(|lane| lane.prune(snapshot));
            }
        }
    }
}

#[cfg(test)]
#[path = "routing_tests.rs"]
mod tests;
