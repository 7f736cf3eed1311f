//! Whether a server has room for the locks of those who read or write partitioned tables: each locks every partition and each
//! index of it, and who finds no room for a lock fails, the application too.

use std::collections::BTreeSet;

use super::ExecError;
use crate::catalog::QualifiedName;
use crate::pg::client::Client;
use crate::plan::{End, Op, Plan};

/// Who may read a table beside the workers: the applier, the comparison, and a reader that is being replaced by a slower one.
const READERS: u64 = 3;

/// What the run may lock at once on the source, what is locked now, and for how much there is room. Numbers of relations, and of
/// pairs of a session and a relation: the server's tables of locks have room for twice as many of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Headroom {
    relations: u64,
    /// Those of the largest table.
    largest: u64,
    holds: u64,
    locked: (u64, u64),
    per_transaction: u64,
    /// What `max_locks_per_transaction` is multiplied with.
    processes: u64,
}

impl Headroom {
    /// The locks do not fit.
    pub(super) fn is_missing(&self) -> bool {
        self.needed(1) > self.per_transaction
    }

    /// They leave less than half of the room to everybody else.
    pub(super) fn is_small(&self) -> bool {
        self.needed(2) > self.per_transaction
    }

    /// The `max_locks_per_transaction` with which the locks take one part of so many.
    fn needed(&self, parts: u64) -> u64 {
        let relations = self.relations + self.locked.0;
        let holds = (self.holds + self.locked.1).div_ceil(2);
        (relations.max(holds) * parts).div_ceil(self.processes.max(1))
    }

    /// In words, for who may be refused.
    pub(super) fn found(&self, tables: &BTreeSet<&QualifiedName>) -> String {
        let names: Vec<String> = tables.iter().map(ToString::to_string).collect();
        let room = self.per_transaction * self.processes;
        format!(
            "reading or writing the partitions of {} may take {} locks on {} relations at once beside the {} there are, and the server has \
             room for {} on {room}",
            names.join(", "),
            self.holds,
            self.relations,
            self.locked.1,
            room * 2
        )
    }

    /// The setting with which they take half of the room, and the workers who find room as it is.
    pub(super) fn fix(&self) -> String {
        let needed = self.needed(2);
        let restart = format!("Raise max_locks_per_transaction to {needed} and restart the server");
        let room = self.per_transaction * self.processes;
        let holds = (2 * room).saturating_sub(self.locked.1 + self.relations);
        match (holds / self.largest.max(1)).saturating_sub(READERS) {
            workers if self.is_missing() && workers > 0 && self.relations + self.locked.0 <= room => {
                format!("{restart}, or ask for at most {workers} workers.")
            }
            _ => format!("{restart}."),
        }
    }
}

/// Counts the locks of a run with so many workers; `None` where no table is partitioned. All workers and who reads beside them may
/// be at the largest table, and the fence locks all. Fast-path locks, a few for each session, need no room; what sessions hold whose
/// names begin with `own` is counted once.
pub(super) async fn of(
    source: &Client,
    tables: &BTreeSet<&QualifiedName>,
    (workers, own): (usize, &str),
) -> Result<Option<Headroom>, ExecError> {
    let mut each = Vec::new();
    for table in tables {
        each.push(locks(source, table).await?);
    }
    counted((End::Source, source), &each, (workers, own)).await
}

/// The same of the target, whose partitions the plan has yet to create: who writes to a table locks all of them too.
pub(super) async fn of_target(
    target: &Client,
    plan: &Plan,
    session: (usize, &str),
) -> Result<Option<Headroom>, ExecError> {
    let each: Vec<u64> = plan
        .steps
        .iter()
        .filter_map(|step| match &step.op {
            Op::CreateTable(op) => Some((op, op.partitioning.as_ref()?)),
            _ => None,
        })
        .map(|(table, whole)| {
            let is_index = |op: &Op| match op {
                Op::CreateIndex(op) => op.table == table.name,
                // A foreign key has none: one too many does no harm.
                Op::AddConstraint(op) => op.table == table.name,
                _ => false,
            };
            let indexes =
                plan.steps.iter().filter(|step| is_index(&step.op)).count() + usize::from(table.key.is_some());
            (1 + whole.partitions.len() as u64) * (1 + indexes as u64)
        })
        .collect();
    counted((End::Target, target), &each, session).await
}

/// Of tables with so many relations each.
async fn counted(
    (end, client): (End, &Client),
    each: &[u64],
    (workers, own): (usize, &str),
) -> Result<Option<Headroom>, ExecError> {
    let (relations, largest) = (each.iter().sum::<u64>(), each.iter().copied().max().unwrap_or(0));
    if relations == 0 {
        return Ok(None);
    }
    // Auxiliary processes have slots too, which are left out. Version 18 has its own setting for those of autovacuum.
    let query = "WITH locks AS (SELECT l.* FROM pg_catalog.pg_locks l WHERE NOT l.fastpath AND l.mode <> 'SIReadLock' \
                   AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.pid = l.pid \
                    AND pg_catalog.starts_with(a.application_name, $1))) \
                 SELECT (SELECT count(*) FROM (SELECT DISTINCT locktype, database, relation, page, tuple, virtualxid, \
                   transactionid::text, classid, objid, objsubid FROM locks) AS l), \
                 (SELECT count(*) FROM locks), \
                 pg_catalog.current_setting('max_locks_per_transaction')::int8, \
                 (SELECT pg_catalog.sum(s.setting::int8)::int8 FROM pg_catalog.pg_settings s WHERE s.name IN ('max_connections', \
                   'max_prepared_transactions', 'max_worker_processes', 'max_wal_senders', CASE WHEN EXISTS \
                   (SELECT FROM pg_catalog.pg_settings n WHERE n.name = 'autovacuum_worker_slots') \
                   THEN 'autovacuum_worker_slots' ELSE 'autovacuum_max_workers' END))";
    let row = client.query_one(query, &[&own]).await.map_err(|error| ExecError::Postgres {
        side: end,
        doing: "ask for the room for locks".to_owned(),
        error: error.into(),
    })?;
    let number = |at: usize| row.get::<_, i64>(at).unsigned_abs();
    Ok(Some(Headroom {
        relations,
        largest,
        holds: largest * (workers as u64 + READERS) + relations,
        locked: (number(0), number(1)),
        per_transaction: number(2),
        processes: number(3),
    }))
}

/// The locks that one who reads all of a table has: one for each relation of its tree, indexes too.
pub(super) async fn locks(source: &Client, table: &QualifiedName) -> Result<u64, ExecError> {
    let query = "WITH RECURSIVE tree AS (SELECT c.oid FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1::text AND c.relname = $2::text \
                 UNION ALL SELECT h.inhrelid FROM tree t JOIN pg_catalog.pg_inherits h ON h.inhparent = t.oid) \
                 SELECT (SELECT count(*) FROM tree) + (SELECT count(*) FROM pg_catalog.pg_index i JOIN tree t ON t.oid = i.indrelid)";
    let row = source.query_one(query, &[&table.schema.as_str(), &table.name.as_str()]).await;
    let locks: i64 = row.map_err(ExecError::source("count the locks of a partitioned table"))?.get(0);
    Ok(locks.unsigned_abs())
}
