//! The partitions of a source table. The stream shows what is written to them, and nothing of rows that come or go with a
//! partition, nor that one was truncated: so each look finds the same partitions as the last one, or new ones without rows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ExecError;
use super::context::Run;
use super::rewritten::was_not_rewritten;
use super::table::TableTask;
use super::witness::Witness;
use crate::catalog::{Ident, QualifiedName};
use crate::pg::client::Client;
use crate::replay::{FullXid, Snapshot, SnapshotError};
use crate::sql;

/// Of each partition of the tables `$1`, and of theirs: `xmin` of its entry in pg_inherits is the transaction that attached
/// it, that of the trigger the one that last altered that.
const SQL: &str = "WITH RECURSIVE tree AS (\
     SELECT h.inhparent AS root, h.inhparent AS parent, h.inhrelid AS oid, h.xmin::text AS link, \
     coalesce((to_jsonb(h)->>'inhdetachpending')::bool, false) AS pending \
     FROM pg_catalog.pg_inherits h WHERE h.inhparent = ANY ($1) \
     UNION ALL SELECT t.root, h.inhparent, h.inhrelid, h.xmin::text, \
     coalesce((to_jsonb(h)->>'inhdetachpending')::bool, false) \
     FROM tree t JOIN pg_catalog.pg_inherits h ON h.inhparent = t.oid) \
     SELECT t.root, t.parent, t.oid, t.link, n.nspname::text, c.relname::text, c.relkind = 'r', c.relfilenode, \
     (SELECT pg_catalog.string_agg(a.xmin::text, ',' ORDER BY a.attnum) FROM pg_catalog.pg_attribute a \
      WHERE a.attrelid = c.oid AND a.attnum > 0), \
     (SELECT pg_catalog.concat(g.oid, ' ', g.xmin) FROM pg_catalog.pg_trigger g WHERE g.tgrelid = c.oid \
      AND g.tgname = 'pcrd_no_truncate' AND g.tgenabled = 'A'), \
     CASE WHEN t.pending THEN 'is being detached' \
      WHEN c.relkind NOT IN ('r', 'p') THEN 'is a foreign table' \
      WHEN c.relpersistence <> 'p' THEN 'is not logged, so that the stream does not show what is written to it' \
      WHEN c.relreplident <> 'd' THEN 'has another replica identity than its primary key' \
      WHEN EXISTS (SELECT FROM pg_catalog.pg_subscription_rel s WHERE s.srrelid = c.oid) \
      THEN 'is written by a subscription, which the fence would not stop' END, \
     pg_catalog.pg_current_snapshot()::text \
     FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace";

/// One look at a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Partition {
    /// For people: it may be renamed.
    pub(super) name: QualifiedName,
    /// What it is a partition of.
    parent: u32,
    /// The transaction that attached it.
    link: String,
    /// It has rows of its own.
    pub(super) is_leaf: bool,
    /// Number of its file.
    pub(super) file: u32,
    /// The transactions that last altered its columns.
    columns: String,
    /// The trigger that refuses TRUNCATE; until there is one, another file may be that of an emptied table.
    pub(super) guard: Option<String>,
    /// What the look saw that found it first, if it came while the run went on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    came: Option<String>,
    /// It came while the run went on, nobody has been told, and the ledger does not have it.
    #[serde(skip)]
    pub(super) is_new: bool,
    /// What of it the stream would not show.
    #[serde(skip)]
    fault: Option<String>,
}

/// The partitions of a table by oid, at one look.
pub(super) type Tree = BTreeMap<u32, Partition>;

/// Adds the partitions to looks at tables that the plan has as partitioned.
pub(super) async fn look(
    source: &Client,
    tasks: &[&TableTask],
    found: &mut [Option<Witness>],
) -> Result<(), ExecError> {
    let looks = tasks.iter().zip(found).filter(|(task, _)| task.projection.partitioned);
    let mut looks: Vec<&mut Witness> = looks.filter_map(|(_, seen)| seen.as_mut()).collect();
    if looks.is_empty() {
        return Ok(());
    }
    let oids: Vec<u32> = looks.iter().map(|seen| seen.oid).collect();
    let mut trees = read(source, &oids).await?;
    for seen in &mut looks {
        let (tree, as_of) = trees.remove(&seen.oid).unwrap_or_default();
        (seen.partitions, seen.partitions_as_of) = (tree, Some(as_of));
    }
    Ok(())
}

/// Looks at the partitions of these tables, by their oids; each with what the look saw.
async fn read(source: &Client, tables: &[u32]) -> Result<BTreeMap<u32, (Tree, String)>, ExecError> {
    let doing = || ExecError::source("look at the partitions");
    let query = source.prepared(SQL).await.map_err(doing())?;
    let mut found: BTreeMap<u32, (Tree, String)> = BTreeMap::new();
    for row in source.query(&query, &[&tables]).await.map_err(doing())? {
        let ident = |at: usize| {
            Ident::new(row.get::<_, String>(at)).map_err(|error| ExecError::Stale {
                what: "name of a partition".to_owned(),
                difference: error.to_string(),
            })
        };
        let partition = Partition {
            name: QualifiedName { schema: ident(4)?, name: ident(5)? },
            parent: row.get(1),
            link: row.get(3),
            is_leaf: row.get(6),
            file: row.get(7),
            columns: row.get::<_, Option<String>>(8).unwrap_or_default(),
            guard: row.get(9),
            came: None,
            is_new: false,
            fault: row.get(10),
        };
        let (tree, as_of) = found.entry(row.get(0)).or_default();
        tree.insert(row.get(2), partition);
        *as_of = row.get(11);
    }
    Ok(found)
}

/// Looks at the partitions before anything is published: an application could not update one that has no replica identity
/// from then on.
pub(super) async fn prepare(run: &Run, source: &Client) -> Result<(), ExecError> {
    for task in super::table::tasks(&run.plan)?.iter().filter(|task| task.projection.partitioned) {
        let query = "SELECT to_regclass($1)::oid";
        let row = source.query_one(query, &[&sql::name(task.source_name())]).await;
        let oid: Option<u32> = row.map_err(ExecError::source("look for a partitioned table"))?.get(0);
        let tree = read(source, &Vec::from_iter(oid)).await?.into_values().next();
        all_sound(task, &tree.unwrap_or_default().0)?;
    }
    Ok(())
}

/// Partitions of a table that the current role may not put a trigger on, each with its owner.
pub(super) async fn of_other_owners(
    source: &Client,
    table: &QualifiedName,
) -> Result<Vec<(String, String)>, ExecError> {
    let rows = source
        .query(
            "WITH RECURSIVE tree AS (SELECT h.inhrelid AS oid FROM pg_catalog.pg_inherits h WHERE h.inhparent = to_regclass($1) \
             UNION ALL SELECT h.inhrelid FROM tree t JOIN pg_catalog.pg_inherits h ON h.inhparent = t.oid) \
             SELECT c.oid::regclass::text, r.rolname::text FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid \
             JOIN pg_catalog.pg_roles r ON r.oid = c.relowner WHERE NOT pg_catalog.pg_has_role(c.relowner, 'USAGE') ORDER BY 1",
            &[&sql::name(table)],
        )
        .await
        .map_err(ExecError::source("look for the owners of partitions"))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Compares two looks at the partitions of a table; gives what is there now, which new ones without rows may belong to. The
/// second look may be through a snapshot that is older than the first one. `ended` is of the first look: transactions below
/// it had ended.
///
/// # Errors
/// [`ExecError::Stale`] for whatever changed rows without a change in the stream.
pub(super) async fn compare(
    source: &Client,
    (task, root): (&TableTask, u32),
    (before, ended): (&Tree, Option<i64>),
    (now, as_of): (Tree, Option<String>),
) -> Result<Tree, ExecError> {
    let mut all = Tree::new();
    for (oid, was) in before {
        let Some(is) = now.get(oid) else {
            if !is_still_there(source, root, *oid).await? {
                return Err(stale(task, was, "was detached or dropped, which the change stream does not show"));
            }
            all.insert(*oid, was.clone());
            continue;
        };
        if was.link != is.link || was.parent != is.parent {
            let what = is
                .fault
                .as_deref()
                .unwrap_or("was detached and attached again: what was written meanwhile is not in the stream");
            return Err(stale(task, is, what));
        }
        sound(task, is)?;
        if was.file != is.file && was.guard.is_none() {
            return Err(stale(
                task,
                is,
                "has another file: it may have been truncated, which the change stream does not show",
            ));
        }
        if was.file != is.file
            && was.columns != is.columns
            && !was_not_rewritten(source, &sql::with_partitions(&is.name, false), ended, false).await?
        {
            return Err(stale(
                task,
                is,
                "may have been rewritten by ALTER TABLE, which the change stream does not show",
            ));
        }
        // A snapshot may be older than the trigger.
        let guard = is.guard.clone().or_else(|| was.guard.clone());
        all.insert(*oid, Partition { guard, came: was.came.clone(), is_new: was.is_new, ..is.clone() });
    }
    for (oid, is) in now {
        if before.contains_key(&oid) {
            continue;
        }
        sound(task, &is)?;
        let is_empty = !is.is_leaf || is.file == oid && !has_rows(source, &is.name).await?;
        let is = Partition { came: as_of.clone(), is_new: true, ..is };
        // Another look may have seen it empty since this one began.
        let noticed = || task.witness.as_ref().and_then(|seen| seen.partitions().remove(&oid));
        let known =
            if is_empty { None } else { noticed().filter(|seen| (&seen.link, seen.file) == (&is.link, is.file)) };
        if !is_empty && known.is_none() {
            let what = "came with rows that the change stream may not have shown: it was attached filled, or filled before it \
                        was looked at";
            return Err(stale(task, &is, what));
        }
        let is = known.unwrap_or(is);
        if let Some(seen) = &task.witness {
            seen.add(Tree::from([(oid, is.clone())]));
        }
        all.insert(oid, is);
    }
    Ok(all)
}

impl Partition {
    /// Whether the look that found it first saw what this transaction wrote to it. That may have been truncated by the
    /// transaction that created it, which leaves the file that it has: then the stream has rows that are not there.
    pub(super) fn is_younger_than(&self, xid: FullXid) -> Result<bool, ExecError> {
        let Some(came) = &self.came else { return Ok(false) };
        let as_of: Snapshot = came.parse().map_err(|error: SnapshotError| ExecError::Stale {
            what: format!("the first look at {}", self.name),
            difference: error.to_string(),
        })?;
        Ok(as_of.sees(xid))
    }
}

/// After a table was read: every partition that the reading may have met was looked at, or has no rows in its snapshot. The
/// planner takes partitions as they are when it plans, whatever the snapshot: rows of one that was attached since the look, and
/// goes before the next, would stay on the target. In the transaction that read, which keeps partitions from going.
///
/// # Errors
/// [`ExecError::Stale`] for one that has rows.
pub(super) async fn read_what_was_looked_at(source: &Client, task: &TableTask) -> Result<(), ExecError> {
    let Some(seen) = task.witness.as_ref().filter(|_| task.projection.partitioned) else { return Ok(()) };
    let known: Vec<u32> = seen.partitions().into_keys().collect();
    let query = "SELECT p.relid::pg_catalog.regclass::text FROM pg_catalog.pg_partition_tree(pg_catalog.to_regclass($1)) AS p \
                 WHERE p.isleaf AND p.relid::oid <> ALL ($2) ORDER BY 1";
    let doing = || ExecError::source("look for partitions that came while rows were read");
    for row in source.query(query, &[&sql::name(task.source_name()), &known]).await.map_err(doing())? {
        let partition: String = row.get(0);
        // The server wrote the name, with its quotes.
        let has_rows = format!("SELECT EXISTS (SELECT FROM ONLY {partition})");
        if source.query_one(&has_rows, &[]).await.map_err(doing())?.get(0) {
            let difference = format!("its partition {partition} came with rows while rows were read");
            return Err(ExecError::Stale { what: task.source_name().to_string(), difference });
        }
    }
    Ok(())
}

/// Of the first look at a table.
pub(super) fn all_sound(task: &TableTask, tree: &Tree) -> Result<(), ExecError> {
    tree.values().try_for_each(|partition| sound(task, partition))
}

fn sound(task: &TableTask, partition: &Partition) -> Result<(), ExecError> {
    partition.fault.as_deref().map_or(Ok(()), |fault| Err(stale(task, partition, fault)))
}

fn stale(task: &TableTask, partition: &Partition, what: &str) -> ExecError {
    let difference = format!("its partition {} {what}", partition.name);
    ExecError::Stale { what: task.source_name().to_string(), difference }
}

/// Whatever the snapshot: the function asks for what is there now.
async fn is_still_there(source: &Client, root: u32, partition: u32) -> Result<bool, ExecError> {
    let query = "SELECT coalesce($1::oid IN (SELECT a.relid::oid FROM pg_catalog.pg_partition_ancestors($2::oid::regclass) AS a), false)";
    let row = source.query_one(query, &[&root, &partition]).await;
    Ok(row.map_err(ExecError::source("look for a partition"))?.get(0))
}

pub(super) async fn has_rows(source: &Client, partition: &QualifiedName) -> Result<bool, ExecError> {
    let query = format!("SELECT EXISTS (SELECT FROM {})", sql::with_partitions(partition, false));
    let row = source.query_one(&query, &[]).await;
    Ok(row.map_err(ExecError::source(format!("look whether {partition} has rows")))?.get(0))
}

/// The triggers that refuse TRUNCATE stand as they did: a look at what is there now, never through an older snapshot.
///
/// # Errors
/// [`ExecError::Stale`] when one is gone or was altered.
pub(super) fn still_guarded(task: &TableTask, before: &Tree, now: &Tree) -> Result<(), ExecError> {
    for (oid, was) in before.iter().filter(|(_, was)| was.guard.is_some()) {
        if let Some(is) = now.get(oid).filter(|is| is.guard != was.guard) {
            let what = "was without the trigger pcrd_no_truncate, which refuses TRUNCATE, and may have been truncated";
            return Err(stale(task, is, what));
        }
    }
    Ok(())
}
