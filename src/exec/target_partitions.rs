//! The partitions of a target that has those of its source: what the source gets, the target gets before a row needs it. A row
//! without a partition is refused by the target, so that nothing is lost where it does not.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::{GenericClient, Transaction};

use super::ExecError;
use super::context::Run;
use super::failpoint;
use super::steps::Steps;
use super::table::TableTask;
use super::witness;
use crate::catalog::{Ident, Partition, QualifiedName};
use crate::ledger::{chunk, migration};
use crate::pg::client::Client;
use crate::plan::{End, Op};
use crate::projection::Projection;
use crate::sql;
use crate::sql::partition_key::{bound_words, is_plain_bound, partition_by};

/// Readers and writers of a parent do not wait for this; those of its DEFAULT partition would.
const BESIDE_WRITERS: &str = "SET LOCAL lock_timeout = 300";
/// Before anything is applied nobody is in the way.
const FIRST: &str = "SET LOCAL lock_timeout = 5000";
/// The source is closed. A DEFAULT partition is read as a whole, however large it is.
const BEHIND_FENCE: &str = "SET LOCAL lock_timeout = 1000; SET LOCAL statement_timeout = 1000";

/// The partitions of a table at every level, parents first.
const TREE: &str = "WITH RECURSIVE tree AS (SELECT h.inhparent AS parent, h.inhrelid AS oid, 1 AS level \
       FROM pg_catalog.pg_inherits h WHERE h.inhparent = pg_catalog.to_regclass($1) \
     UNION ALL SELECT h.inhparent, h.inhrelid, t.level + 1 FROM tree t JOIN pg_catalog.pg_inherits h ON h.inhparent = t.oid) \
     SELECT n.nspname::text, c.relname::text, pn.nspname::text, p.relname::text, \
     pg_catalog.pg_get_expr(c.relpartbound, c.oid), pg_catalog.pg_get_partkeydef(c.oid), c.reloptions FROM tree t \
     JOIN pg_catalog.pg_class c ON c.oid = t.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     JOIN pg_catalog.pg_class p ON p.oid = t.parent JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace \
     WHERE c.relispartition ORDER BY t.level, 1, 2";

/// Their names alone, for which no partition is locked.
const NAMES: &str = "WITH RECURSIVE tree AS (SELECT h.inhrelid AS oid FROM pg_catalog.pg_inherits h \
       WHERE h.inhparent = pg_catalog.to_regclass($1) \
     UNION ALL SELECT h.inhrelid FROM tree t JOIN pg_catalog.pg_inherits h ON h.inhparent = t.oid) \
     SELECT n.nspname::text, c.relname::text FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relispartition";

/// What was found and said of them in this run.
#[derive(Debug, Default)]
pub(super) struct Followed {
    /// By number of the table, the names on the source for which the target lacked nothing.
    complete: BTreeMap<usize, BTreeSet<QualifiedName>>,
    /// With whether rows of a DEFAULT partition were in the way.
    said: BTreeSet<(QualifiedName, bool)>,
}

/// A partition of the source that the target has not.
struct Lacking {
    name: QualifiedName,
    /// What creates it there.
    statement: String,
    why: String,
    /// Its rows are in the DEFAULT partition, which took them before it could be created.
    is_in_default: bool,
}

/// Creates on the targets what their sources have, before anything is applied and before the fence. Gives the partitions whose
/// rows are in a DEFAULT partition.
///
/// # Errors
/// [`ExecError::Step`] for a partition that cannot be created, with the statement; the same command goes on once it is there.
pub(super) async fn complete(
    run: &Run,
    target: &Client,
    source: &Client,
    tables: &[TableTask],
) -> Result<BTreeSet<QualifiedName>, ExecError> {
    complete_but(run, (target, source), tables, &BTreeSet::new(), FIRST).await
}

/// The same behind the fence, where that is quick, but for those that were in vain before it.
///
/// # Errors
/// As [`complete`].
pub(super) async fn complete_behind_fence(
    run: &Run,
    target: &Client,
    source: &Client,
    tables: &[TableTask],
    in_default: &BTreeSet<QualifiedName>,
) -> Result<(), ExecError> {
    complete_but(run, (target, source), tables, in_default, BEHIND_FENCE).await.map(drop)
}

async fn complete_but(
    run: &Run,
    (target, source): (&Client, &Client),
    tables: &[TableTask],
    known: &BTreeSet<QualifiedName>,
    limits: &str,
) -> Result<BTreeSet<QualifiedName>, ExecError> {
    let mut in_default = BTreeSet::new();
    for task in tables.iter().filter(|task| is_kept(task)) {
        for lacking in create_lacking(run, target, source, task, (known, limits)).await? {
            let (table, Lacking { name, statement, why, is_in_default }) = (&task.projection.target, lacking);
            if is_in_default {
                run.note(format!(
                    "rows of {name} are in the DEFAULT partition of {table}, where the target has put them before it could have \
                     that partition: none is missing"
                ));
                in_default.insert(name);
                continue;
            }
            let reason = format!(
                "the target has no partition {name} as the source has it: {why}. Run {statement}; there, and then the same \
                 command again"
            );
            return Err(ExecError::Step { step: format!("create_table:{table}"), reason });
        }
    }
    Ok(in_default)
}

/// The same while rows are copied and applied, after each look at the source. What cannot be created yet is tried again at the
/// next look, and said once: until a row needs it nothing is wrong, and then the target refuses that row. What rows of a DEFAULT
/// partition are in the way of is not: that partition is locked and read as a whole each time.
pub(super) async fn follow(
    run: &Run,
    target: &Client,
    source: &Client,
    tables: &[&TableTask],
    followed: &mut Followed,
) -> Result<(), ExecError> {
    for task in tables.iter().filter(|task| is_kept(task)) {
        let names: BTreeSet<QualifiedName> =
            task.witness.iter().flat_map(|seen| seen.partitions().into_values()).map(|one| one.name).collect();
        if followed.complete.get(&task.index) == Some(&names) {
            continue;
        }
        let lacking = if names_lacking(target, source, task).await?.is_empty() {
            Vec::new()
        } else {
            create_lacking(run, target, source, task, (&BTreeSet::new(), BESIDE_WRITERS)).await?
        };
        if lacking.iter().all(|one| one.is_in_default) {
            followed.complete.insert(task.index, names);
        }
        for Lacking { name, statement, why, is_in_default } in lacking {
            if !followed.said.insert((name.clone(), is_in_default)) {
                continue;
            }
            run.note(match is_in_default {
                true => format!(
                    "the target has no partition {name} yet: rows of it are in a DEFAULT partition ({why}), as those that come \
                     will be; it is created before the cutover where they have gone by then"
                ),
                false => format!(
                    "the target has no partition {name} yet, and is asked again ({why}); a row of it would stop the run, which \
                     loses nothing. By hand: {statement};"
                ),
            });
        }
    }
    Ok(())
}

fn is_kept(task: &TableTask) -> bool {
    task.projection.onto_partitions && task.back.is_none()
}

/// Partitions of the source without one of their name on the target.
async fn names_lacking(
    target: &Client,
    source: &Client,
    task: &TableTask,
) -> Result<BTreeSet<QualifiedName>, ExecError> {
    let projection = &task.projection;
    let there = names((End::Target, &**target), &projection.target).await?;
    let wanted = names((End::Source, &**source), &projection.source).await?;
    Ok(wanted.iter().map(|name| projection.partition_name(name)).filter(|name| !there.contains(name)).collect())
}

async fn names(
    (end, client): (End, &impl GenericClient),
    table: &QualifiedName,
) -> Result<BTreeSet<QualifiedName>, ExecError> {
    let doing = format!("look for the partitions of {table}");
    let rows = client.query(NAMES, &[&sql::name(table)]).await.map_err(failed(end, doing))?;
    rows.iter().map(|row| qualified(row, 0)).collect()
}

fn failed(side: End, doing: String) -> impl FnOnce(tokio_postgres::Error) -> ExecError {
    move |error| ExecError::Postgres { side, doing, error: error.into() }
}

/// The partitions of a table, of the source by the names that they have on the target.
async fn tree((end, client): (End, &Client), projection: &Projection) -> Result<Vec<Partition>, ExecError> {
    let is_source = end == End::Source;
    let table = if is_source { &projection.source } else { &projection.target };
    let doing = format!("look at the partitions of {table}");
    let own = |name: QualifiedName| if is_source { projection.partition_name(&name) } else { name };
    let mut found = Vec::new();
    for row in client.query(TREE, &[&sql::name(table)]).await.map_err(failed(end, doing))? {
        let key: Option<String> = row.get(5);
        let mut by = match key.as_deref() {
            None => None,
            Some(text) => Some(partition_by(text).ok_or_else(|| ExecError::Stale {
                what: table.to_string(),
                difference: format!("one of its partitions is split by {text}, which cannot be carried"),
            })?),
        };
        if is_source {
            for column in by.iter_mut().flat_map(|by| &mut by.columns) {
                *column = renamed(projection, column)?;
            }
        }
        let bound: Option<String> = row.get(4);
        found.push(Partition {
            name: own(qualified(&row, 0)?),
            of: own(qualified(&row, 2)?),
            bound: bound.unwrap_or_default(),
            by,
            reloptions: row.get::<_, Option<Vec<String>>>(6).unwrap_or_default(),
        });
    }
    Ok(found)
}

fn renamed(projection: &Projection, column: &Ident) -> Result<Ident, ExecError> {
    let target = projection.columns.iter().find(|one| projection.only_read(&one.target) == Some(column));
    target.map(|one| one.target.clone()).ok_or_else(|| ExecError::Stale {
        what: projection.source.to_string(),
        difference: format!("one of its partitions is split by {column}, which the target does not have as it is"),
    })
}

fn qualified(row: &tokio_postgres::Row, at: usize) -> Result<QualifiedName, ExecError> {
    let ident = |at: usize| {
        Ident::new(row.get::<_, String>(at))
            .map_err(|error| ExecError::Stale { what: "name of a partition".to_owned(), difference: error.to_string() })
    };
    Ok(QualifiedName { schema: ident(at)?, name: ident(at + 1)? })
}

/// Creates each in a transaction of its own, which nobody but the ledger's executor may commit; gives those that are still
/// missing. One that was renamed is there under its first name.
async fn create_lacking(
    run: &Run,
    target: &Client,
    source: &Client,
    task: &TableTask,
    (known, limits): (&BTreeSet<QualifiedName>, &str),
) -> Result<Vec<Lacking>, ExecError> {
    let projection = &task.projection;
    let there = tree((End::Target, target), projection).await?;
    let bound = |one: &Partition| (one.of.clone(), bound_words(&one.bound));
    let names: BTreeMap<&QualifiedName, &Partition> = there.iter().map(|one| (&one.name, one)).collect();
    let bounds: BTreeSet<_> = there.iter().map(bound).collect();
    let mut lacking = Vec::new();
    for partition in tree((End::Source, source), projection).await? {
        if known.contains(&partition.name) || bounds.contains(&bound(&partition)) {
            continue;
        }
        if let Some(other) = names.get(&partition.name) {
            let why = format!("there it is one of {} {}", other.of, other.bound);
            let statement = sql::ddl::create_partition(&partition);
            lacking.push(Lacking { statement, name: partition.name, why, is_in_default: false });
            continue;
        }
        match create(run, target, &partition, limits).await? {
            None => {
                run.note(format!("{} has the new partition {} on the target too", projection.target, partition.name));
            }
            Some((why, is_in_default)) => {
                let statement = sql::ddl::create_partition(&partition);
                lacking.push(Lacking { statement, name: partition.name, why, is_in_default });
            }
        }
    }
    Ok(lacking)
}

/// Gives why the server does not create it, and whether that is for rows of the DEFAULT partition.
async fn create(
    run: &Run,
    target: &Client,
    partition: &Partition,
    limits: &str,
) -> Result<Option<(String, bool)>, ExecError> {
    if !is_plain_bound(&partition.bound) {
        return Ok(Some((format!("its bound is not one of plain values: {}", partition.bound), false)));
    }
    let doing = || ExecError::target(format!("create the partition {}", partition.name));
    failpoint::hit("target-partitions.before-create")?;
    target.batch_execute(&format!("BEGIN; {limits}")).await.map_err(doing())?;
    for statement in sql::ddl::attach_partition(partition) {
        match target.batch_execute(&statement).await {
            Ok(()) => {}
            Err(error) if error.as_db_error().is_some() => {
                target.batch_execute("ROLLBACK").await.map_err(doing())?;
                let error = crate::pg::error::PgError::from(error);
                let is_in_default = error.sqlstate() == Some("23514");
                return Ok(Some((error.to_string(), is_in_default)));
            }
            Err(error) => return Err(doing()(error)),
        }
    }
    if let Err(error) = chunk::hold_epoch(&**target, &run.id, run.epoch).await {
        target.batch_execute("ROLLBACK").await.map_err(doing())?;
        return Err(error.into());
    }
    failpoint::hit("target-partitions.before-commit")?;
    target.batch_execute("COMMIT").await.map_err(doing())?;
    Ok(None)
}

/// Partitions that the plan or the source has, by the tables that this run has created. DROP TABLE takes all along: any other is
/// somebody else's.
pub(super) async fn own(
    run: &Run,
    target: &Client,
) -> Result<BTreeMap<QualifiedName, BTreeSet<QualifiedName>>, ExecError> {
    let steps = Steps::read(run, target).await?;
    let mut all = BTreeMap::new();
    for step in run.plan.steps.iter().filter(|step| steps.done(&step.id)) {
        let Op::CreateTable(created) = &step.op else { continue };
        let Some(whole) = &created.partitioning else { continue };
        let mut own: BTreeSet<QualifiedName> = whole.partitions.iter().map(|one| one.name.clone()).collect();
        for projection in run.plan.onto(&created.name) {
            let known = migration::setting(target, &run.id, &witness::setting_of(&projection.source)).await?;
            let seen = known.map(|text| witness::partitions_in(&text)).transpose()?.unwrap_or_default();
            own.extend(seen.iter().map(|name| projection.partition_name(name)));
        }
        all.insert(created.name.clone(), own);
    }
    Ok(all)
}

/// # Errors
/// [`ExecError::Step`] with the name of a partition that is somebody else's.
pub(super) async fn none_of_others(
    target: &impl GenericClient,
    table: &QualifiedName,
    own: &BTreeSet<QualifiedName>,
) -> Result<(), ExecError> {
    let found = names((End::Target, target), table).await?;
    let Some(other) = found.iter().find(|name| !own.contains(name)) else { return Ok(()) };
    let reason =
        format!("{other} is a partition of {table} that pcrd has not made; detach it, and run the same command again");
    Err(ExecError::Step { step: format!("create_table:{table}"), reason })
}

/// Until the transaction ends nobody attaches a partition to the table, where it is there.
pub(super) async fn lock(transaction: &Transaction<'_>, table: &QualifiedName) -> Result<(), ExecError> {
    let doing = || ExecError::target(format!("lock {table}"));
    let is_there = "SELECT pg_catalog.to_regclass($1) IS NOT NULL";
    if transaction.query_one(is_there, &[&sql::name(table)]).await.map_err(doing())?.get(0) {
        let lock = format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", sql::name(table));
        transaction.batch_execute(&lock).await.map_err(doing())?;
    }
    Ok(())
}
