//! What the writer did, how long it had to wait, and whether everything that was acknowledged is there.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::DemoError;
use super::op::{Effect, Op, Side};
use crate::pg::client::connect;
use crate::pg::conninfo::Conninfo;

/// Acknowledged writes by kind. A transaction counts once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// New listings and users.
    pub inserts: u64,
    /// Changed listings and users.
    pub updates: u64,
    /// Of the updates: those that replace a description that is stored out of line.
    pub large: u64,
    /// Deleted listings.
    pub deletes: u64,
    /// Listings that got another primary key.
    pub key_changes: u64,
    /// Transactions of several statements.
    pub transactions: u64,
}

impl Counts {
    /// All writes.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.inserts + self.updates + self.deletes + self.key_changes + self.transactions
    }

    pub(super) fn add(&mut self, op: &Op) {
        match op {
            Op::Insert { .. } | Op::NewUser { .. } => self.inserts += 1,
            Op::Price { .. } | Op::User { .. } => self.updates += 1,
            Op::Describe { words, .. } => {
                self.updates += 1;
                self.large += u64::from(*words > 100);
            }
            Op::Rekey { .. } => self.key_changes += 1,
            Op::Delete { .. } => self.deletes += 1,
            Op::InsertAndPrice { .. } => self.transactions += 1,
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.inserts += other.inserts;
        self.updates += other.updates;
        self.large += other.large;
        self.deletes += other.deletes;
        self.key_changes += other.key_changes;
        self.transactions += other.transactions;
    }
}

/// What one writer did between start and stop.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Writes that the source acknowledged.
    pub on_source: Counts,
    /// Writes that the target acknowledged.
    pub on_target: Counts,
    /// Attempts that the fence refused.
    pub fenced: u64,
    /// Attempts that failed otherwise and were repeated: deadlocks, lost connections.
    pub retried: u64,
    /// Writes whose connection broke before the answer: nobody knows whether they happened.
    pub unknown: u64,
    /// From start to stop.
    pub elapsed: Duration,
    /// Per client that followed the switch: from its last acknowledged write on the source to its first on the target.
    pub pauses: Vec<Duration>,
    /// The same of the rollback, from the target to the source.
    pub pauses_back: Vec<Duration>,
    pub(super) acknowledged: BTreeMap<i64, Option<i64>>,
}

impl Summary {
    /// Returns the pause in the middle, if the switch was followed.
    #[must_use]
    pub fn median_pause(&self) -> Option<Duration> {
        let mut pauses = self.pauses.clone();
        pauses.sort_unstable();
        pauses.get(pauses.len() / 2).copied()
    }

    /// Returns the longest pause, if the switch was followed.
    #[must_use]
    pub fn longest_pause(&self) -> Option<Duration> {
        self.pauses.iter().max().copied()
    }

    /// Returns how many listings there must be, of which so many were there at the start with the first keys.
    #[must_use]
    pub fn listings(&self, seeded: i64) -> i64 {
        self.acknowledged.iter().fold(seeded, |count, (id, price)| match (*id <= seeded, price) {
            (true, None) => count - 1,
            (false, Some(_)) => count + 1,
            (true, Some(_)) | (false, None) => count,
        })
    }

    /// Returns the acknowledged writes per second over the whole run.
    #[must_use]
    pub fn writes_per_second(&self) -> f64 {
        let total = self.on_source.total() + self.on_target.total();
        // Counts of a demo are far below 2^52.
        #[expect(clippy::cast_precision_loss)]
        let total = total as f64;
        total / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    pub(super) fn acknowledge(&mut self, side: Side, op: &Op, effects: &[Effect]) {
        match side {
            Side::Source => self.on_source.add(op),
            Side::Target => self.on_target.add(op),
        }
        self.acknowledged.extend(effects.iter().copied());
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.on_source.merge(other.on_source);
        self.on_target.merge(other.on_target);
        self.fenced += other.fenced;
        self.retried += other.retried;
        self.unknown += other.unknown;
        self.elapsed = self.elapsed.max(other.elapsed);
        self.pauses.extend(other.pauses);
        self.pauses_back.extend(other.pauses_back);
        // Clients own disjoint rows.
        self.acknowledged.extend(other.acknowledged);
    }
}

/// What became of the acknowledged writes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// Listings compared: every one that the writer touched.
    pub compared: usize,
    /// Keys of listings that are missing, should be gone, or have another price than was acknowledged; at most 100.
    pub wrong: Vec<i64>,
}

/// Compares every listing that the writer touched with what it was told: no code of the migration takes part.
pub async fn check_acknowledged(info: &Conninfo, side: Side, summary: &Summary) -> Result<Checked, DemoError> {
    let client = connect(info, "pcrd-demo/check").await?;
    let price = match side {
        Side::Source => "list_price",
        Side::Target => "list_price_precise",
    };
    let query =
        format!("SELECT id::bigint, ({price} * 100)::bigint FROM public.listings WHERE id = ANY ($1::bigint[])");
    let mut checked = Checked { compared: summary.acknowledged.len(), wrong: Vec::new() };
    let ids: Vec<i64> = summary.acknowledged.keys().copied().collect();
    for part in ids.chunks(10_000) {
        let rows = client.query(&query, &[&part]).await?;
        let found: BTreeMap<i64, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        checked.wrong.extend(part.iter().filter(|id| summary.acknowledged[id] != found.get(id).copied()));
        checked.wrong.truncate(100);
    }
    Ok(checked)
}
