//! What tells that rows of a source table changed, or mean something else, without a change in the stream: the table was
//! dropped and created again, rewritten by ALTER TABLE, or a label of an enum was renamed. The shape may be the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ExecError;
use super::context::Run;
use super::partition_guard;
use super::partitions::{self, Tree};
use super::rewritten::was_not_rewritten;
use super::seen::Seen;
use super::table::TableTask;
use crate::catalog::QualifiedName;
use crate::ledger::{LedgerError, migration};
use crate::pg::client::Client;
use crate::sql;

/// `xmin` of a column's catalog row is the transaction that last altered the column; of a publication's, what it
/// publishes. A table that is taken out of a publication and put back has a new entry there.
const SQL: &str = "SELECT w.at, t.* FROM \
     ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::text[])) \
      WITH ORDINALITY AS w (schema, name, publication, at), \
     LATERAL (SELECT c.oid, c.relfilenode, \
     (SELECT pg_catalog.string_agg(a.xmin::text, ',' ORDER BY a.attnum) FROM pg_catalog.pg_attribute a \
      WHERE a.attrelid = c.oid AND a.attnum > 0), \
     ARRAY(SELECT pg_catalog.concat(n.nspname, '.', t.typname, ': ', e.enumlabel) FROM pg_catalog.pg_enum e \
      JOIN pg_catalog.pg_type t ON t.oid = e.enumtypid JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
      WHERE e.enumtypid IN (SELECT pg_catalog.unnest(ARRAY[u.oid, u.typelem, u.typbasetype]) FROM pg_catalog.pg_attribute a \
        JOIN pg_catalog.pg_type u ON u.oid = a.atttypid WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) \
      ORDER BY 1), \
     (SELECT pg_catalog.concat(p.oid, ' ', p.xmin, ' ', r.oid) FROM pg_catalog.pg_publication p \
      JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid WHERE p.pubname = w.publication::name AND r.prrelid = c.oid), \
     ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 \
      AND NOT a.attisdropped ORDER BY a.attnum), \
     ARRAY(SELECT a.attnum FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 \
      AND NOT a.attisdropped ORDER BY a.attnum), c.relnatts, \
     pg_catalog.txid_snapshot_xmin(pg_catalog.txid_current_snapshot()) \
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname = w.schema::name AND c.relname = w.name::name OFFSET 0) AS t";

/// One look at a source table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Witness {
    /// OID of the table.
    pub oid: u32,
    /// Number of its file: VACUUM FULL, CLUSTER, TRUNCATE and rewrites change it.
    file: u32,
    /// The transactions that last altered its columns.
    columns: String,
    /// Labels of the enums that it uses.
    labels: Vec<String>,
    /// The publication and its entry of the table.
    #[serde(default)]
    published: Option<String>,
    /// `attnum`s of the columns that matter: of one that is dropped and added again the values are others.
    #[serde(default)]
    numbers: BTreeMap<String, i16>,
    /// The last `attnum` that was given at the first look, for those that came and went since.
    #[serde(default)]
    last: Option<i16>,
    /// Transactions below this one had ended.
    #[serde(default)]
    ended: Option<i64>,
    /// Partitions, where the plan has it as a partitioned table.
    #[serde(default, skip_serializing_if = "Tree::is_empty")]
    pub(super) partitions: Tree,
    /// What the look at the partitions saw.
    #[serde(skip)]
    pub(super) partitions_as_of: Option<String>,
    /// `attnum`s of the columns that are there, whatever they are called.
    #[serde(skip)]
    there: Vec<i16>,
}

impl Witness {
    /// Looks at a table; `None` when there is none of this name.
    pub async fn read(source: &Client, task: &TableTask) -> Result<Option<Self>, ExecError> {
        Ok(Self::of_all(source, &[task]).await?.pop().flatten())
    }

    /// Looks at these tables at once; in their order.
    pub(super) async fn of_all(source: &Client, tasks: &[&TableTask]) -> Result<Vec<Option<Self>>, ExecError> {
        let doing = || ExecError::source("look at the tables' identity");
        let texts = |text: fn(&TableTask) -> &str| tasks.iter().map(|task| text(task)).collect::<Vec<_>>();
        let schemas = texts(|task| task.source_name().schema.as_str());
        let names = texts(|task| task.source_name().name.as_str());
        let publications = texts(|task| task.publication.as_str());
        let query = source.prepared(SQL).await.map_err(doing())?;
        let rows = source.query(&query, &[&schemas, &names, &publications]).await.map_err(doing())?;
        let mut found = vec![None; tasks.len()];
        for row in rows {
            let at = usize::try_from(row.get::<_, i64>(0) - 1).expect("an ordinality begins at 1");
            found[at] = Some(Self::of_row(tasks[at], &row));
        }
        partitions::look(source, tasks, &mut found).await?;
        Ok(found)
    }

    fn of_row(task: &TableTask, row: &tokio_postgres::Row) -> Self {
        // A column that stays behind may go again.
        let stays = |name: &str| task.added.iter().any(|added| !added.followed && added.column.name.as_str() == name);
        Self {
            oid: row.get(1),
            file: row.get(2),
            columns: row.get::<_, Option<String>>(3).unwrap_or_default(),
            labels: row.get(4),
            published: row.get(5),
            numbers: row
                .get::<_, Vec<String>>(6)
                .into_iter()
                .zip(row.get::<_, Vec<i16>>(7))
                .filter(|(name, _)| {
                    task.source.columns.iter().any(|column| column.name.as_str() == name) && !stays(name)
                })
                .collect(),
            last: Some(row.get(8)),
            ended: Some(row.get(9)),
            partitions: Tree::new(),
            partitions_as_of: None,
            there: row.get(7),
        }
    }

    /// What happened to the table since `self`, if it is more than the stream shows. A new file alone is VACUUM FULL,
    /// CLUSTER or TRUNCATE, and an altered column alone is a grant or a statistics target.
    fn difference(&self, now: &Self) -> Option<String> {
        if self.oid != now.oid {
            return Some(format!("it was dropped and created again (its oid was {}, is {})", self.oid, now.oid));
        }
        let again = |(name, number): &(&String, &i16)| now.numbers.get(*name).is_some_and(|now| now != *number);
        if let Some((name, _)) = self.numbers.iter().find(again) {
            return Some(format!("column {name} was dropped and added again, which the change stream does not show"));
        }
        if self.published.is_some() && self.published != now.published {
            return Some(
                "the publication was altered since the migration began: what was written meanwhile may not be in the stream".to_owned(),
            );
        }
        self.lost_label(now)
    }

    /// A new label is no harm: the target refuses a row that has it until its own type has the label too.
    fn lost_label(&self, now: &Self) -> Option<String> {
        let gone = self.labels.iter().find(|label| !now.labels.contains(label))?;
        Some(format!("an enum lost or renamed a label: {gone}"))
    }

    /// Both together may be a rewrite.
    fn may_be_rewritten(&self, now: &Self) -> bool {
        self.oid == now.oid && self.file != now.file && self.columns != now.columns
    }

    /// True when both looks saw the same, whenever they were.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let Self { oid, file, columns, labels, published, numbers, last, partitions, .. } = self;
        let same_table = *oid == other.oid && *file == other.file && *last == other.last && *numbers == other.numbers;
        same_table
            && *columns == other.columns
            && *labels == other.labels
            && *published == other.published
            && *partitions == other.partitions
    }
}

async fn is_older(source: &Client, task: &TableTask, before: &Witness, if_empty: bool) -> Result<bool, ExecError> {
    was_not_rewritten(source, &sql::source_table(&task.projection), before.ended, if_empty).await
}

/// Compares the tables with what was recorded before their first row was read.
pub async fn check(source: &Client, tasks: &[&TableTask]) -> Result<(), ExecError> {
    let looks = last_looks(tasks);
    let found = compare(source, &looks).await?;
    for ((task, _), now) in looks.iter().zip(found) {
        // One that was seen empty may have rows at the next look.
        if let Some(seen) = task.witness.as_ref().filter(|_| task.projection.partitioned) {
            seen.add(now.partitions);
        }
    }
    Ok(())
}

/// The same, and that TRUNCATE of partitions was refused all the time: not through a snapshot.
pub(super) async fn check_guards(source: &Client, tasks: &[&TableTask]) -> Result<(), ExecError> {
    let partitioned: Vec<&TableTask> = tasks.iter().copied().filter(|task| task.projection.partitioned).collect();
    if partitioned.is_empty() {
        return Ok(());
    }
    let looks = last_looks(&partitioned);
    for ((task, before), now) in looks.iter().zip(Witness::of_all(source, &partitioned).await?) {
        partitions::still_guarded(task, &before.partitions, &now.map(|now| now.partitions).unwrap_or_default())?;
    }
    Ok(())
}

fn last_looks<'a>(tasks: &[&'a TableTask]) -> Vec<(&'a TableTask, Witness)> {
    tasks.iter().filter_map(|task| Some((*task, task.witness.as_ref()?.get()))).collect()
}

/// Compares with earlier looks; gives what is there now, in their order.
async fn compare(source: &Client, tables: &[(&TableTask, Witness)]) -> Result<Vec<Witness>, ExecError> {
    let tasks: Vec<&TableTask> = tables.iter().map(|(task, _)| *task).collect();
    if tasks.is_empty() {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    for ((task, before), now) in tables.iter().zip(Witness::of_all(source, &tasks).await?) {
        let stale = |difference: String| ExecError::Stale { what: task.source_name().to_string(), difference };
        let now = now.ok_or_else(|| stale("it is gone".to_owned()))?;
        if before.may_be_rewritten(&now) && !is_older(source, task, before, task.back.is_some()).await? {
            return Err(stale("ALTER TABLE rewrote its rows, which the change stream does not show".to_owned()));
        }
        if let Some(difference) = before.difference(&now) {
            return Err(stale(difference));
        }
        let mut now = now;
        if task.projection.partitioned {
            let found = std::mem::take(&mut now.partitions);
            let as_of = now.partitions_as_of.take();
            let table = (*task, now.oid);
            let before = (&before.partitions, before.ended);
            now.partitions = partitions::compare(source, table, before, (found, as_of)).await?;
        }
        all.push(now);
    }
    Ok(all)
}

/// Compares, and from here on compares with what is there now: a new file without an altered column was no rewrite, an
/// altered column without a new file neither. Seen apart, a GRANT and a VACUUM FULL are told from ALTER TABLE; between two
/// looks only rows that are older tell them, and without one the run stops rather than miss a rewrite.
pub async fn follow(run: &Run, ledger: &Client, source: &Client, task: &TableTask) -> Result<(), ExecError> {
    follow_all(run, ledger, source, &[task], None).await
}

/// The same of these tables, with one look and one statement. With an epoch nothing is written for an executor that is not
/// the ledger's.
pub(super) async fn follow_all(
    run: &Run,
    ledger: &Client,
    source: &Client,
    tasks: &[&TableTask],
    epoch: Option<i64>,
) -> Result<(), ExecError> {
    if tasks.is_empty() {
        return Ok(());
    }
    check_guards(source, tasks).await?;
    let seen = last_looks(tasks);
    let mut found = compare(source, &seen).await?;
    let mut came = Vec::new();
    for ((task, _), now) in seen.iter().zip(&mut found) {
        for new in now.partitions.values_mut().filter(|partition| partition.is_new) {
            new.is_new = false;
            came.push(format!("{} has a new partition, {}, which is followed", task.source_name(), new.name));
        }
        partition_guard::guard(run, source, &mut now.partitions).await?;
    }
    keep(run, ledger, &seen, found, epoch).await?;
    // Who reads it may fill the partition: the ledger must have it by then.
    came.into_iter().for_each(|line| run.note(line));
    Ok(())
}

/// From here on compares with what was found of these tables.
async fn keep(
    run: &Run,
    ledger: &Client,
    seen: &[(&TableTask, Witness)],
    found: Vec<Witness>,
    epoch: Option<i64>,
) -> Result<(), ExecError> {
    let (mut changed, mut current) = (BTreeMap::new(), Vec::new());
    for ((task, before), mut now) in seen.iter().zip(found) {
        now.last = before.last;
        // That a column is gone is for others to say; what it was must not be forgotten, should it come again.
        for (name, number) in &before.numbers {
            now.numbers.entry(name.clone()).or_insert(*number);
        }
        if !now.is_same(before) {
            changed.insert(setting(task), text(&now)?);
        }
        current.push((*task, now));
    }
    let changed: Vec<(String, String)> = changed.into_iter().collect();
    migration::set_settings(ledger, &run.id, epoch, &changed).await?;
    for (task, now) in current {
        if let Some(seen) = &task.witness {
            seen.set(now);
        }
    }
    Ok(())
}

/// Finds the last looks of the way there, for who looks on after the switch.
///
/// # Errors
/// [`ExecError::Gap`] when the ledger has none of a table.
pub(super) async fn recall(run: &Run, ledger: &Client, tasks: &mut [TableTask]) -> Result<(), ExecError> {
    let known = migration::settings(ledger, &run.id).await?;
    for task in tasks {
        let gap = || ExecError::Gap {
            reason: format!("the target's ledger does not say what {} was like before the switch", task.source_name()),
        };
        task.witness = Some(Seen::new(recorded_in(&known, task)?.ok_or_else(gap)?));
    }
    Ok(())
}

/// Compares tables of the source, to which changes go back, with the last look at them; gives what is there now, for
/// [`keep_source`]. No stream shows them any more, so their publication does not matter.
///
/// # Errors
/// [`ExecError::Stale`] for what nobody can undo, [`ExecError::Step`] for what can be undone.
pub(super) async fn look_at_source(source: &Client, tasks: &[TableTask]) -> Result<Vec<Witness>, ExecError> {
    let tasks: Vec<&TableTask> = tasks.iter().collect();
    let mut all = Vec::new();
    for ((task, before), now) in last_looks(&tasks).iter().zip(Witness::of_all(source, &tasks).await?) {
        let table = task.source_name();
        let lost = |what: &str| {
            let difference =
                format!("{what} since the switch, so that a rollback would not give the rows that were there");
            Err(ExecError::Stale { what: format!("table {table} of the source"), difference })
        };
        let altered = |what: &str| {
            let reason = format!("{table} was altered on the source: {what}; nothing goes back until it is as it was");
            Err(ExecError::Step { step: "stream_back".to_owned(), reason })
        };
        let Some(now) = now.filter(|now| now.oid == before.oid) else {
            let query = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = $1)";
            let row = source.query_one(query, &[&before.oid]).await;
            match row.map_err(ExecError::source("look for a table under another name"))?.get(0) {
                true => return altered("it has another name or schema"),
                false => return lost("it was dropped"),
            }
        };
        if before.may_be_rewritten(&now) && !is_older(source, task, before, true).await? {
            return lost("ALTER TABLE rewrote its rows");
        }
        let planned = |name: &String| task.source.columns.iter().any(|column| column.name.as_str() == name);
        let mut numbers = before.numbers.iter().filter(|(name, _)| planned(name));
        if let Some((name, _)) = numbers.find(|(_, number)| !now.there.contains(number)) {
            return lost(&format!("its column {name} was dropped"));
        }
        if let Some(difference) = before.lost_label(&now) {
            return altered(&difference);
        }
        all.push(now);
    }
    Ok(all)
}

/// From here on compares with what [`look_at_source`] has found of these tables.
pub(super) async fn keep_source(
    run: &Run,
    ledger: &Client,
    tasks: &[TableTask],
    found: Vec<Witness>,
) -> Result<(), ExecError> {
    let tasks: Vec<&TableTask> = tasks.iter().collect();
    keep(run, ledger, &last_looks(&tasks), found, Some(run.epoch)).await
}

/// Looks at these tables anew, whatever was recorded; gives what is to be recorded of them.
pub(super) async fn begin(source: &Client, tasks: &mut [TableTask]) -> Result<Vec<(String, String)>, ExecError> {
    let found = Witness::of_all(source, &tasks.iter().collect::<Vec<_>>()).await?;
    let mut settings = Vec::new();
    for (task, witness) in tasks.iter_mut().zip(found) {
        settings.push((setting(task), serde_json::to_string(&witness).map_err(damaged)?));
        task.witness = witness.map(Seen::new);
    }
    Ok(settings)
}

/// Compares with the last look that was recorded, if there is one.
pub async fn unbroken(run: &Run, ledger: &Client, source: &Client, task: &TableTask) -> Result<(), ExecError> {
    match migration::setting(ledger, &run.id, &setting(task)).await? {
        None => Ok(()),
        Some(text) => {
            let before: Option<Witness> = serde_json::from_str(&text).map_err(damaged)?;
            let Some(before) = before else { return Ok(()) };
            compare(source, &[(task, before)]).await.map(|_now| ())
        }
    }
}

/// The names of the partitions that a look had which was recorded.
pub(super) fn partitions_in(recorded: &str) -> Result<Vec<QualifiedName>, ExecError> {
    let seen: Option<Witness> = serde_json::from_str(recorded).map_err(damaged)?;
    Ok(seen.into_iter().flat_map(|seen| seen.partitions.into_values()).map(|one| one.name).collect())
}

/// The oid that the table had at the last look that was recorded.
pub(super) async fn last_oid(run: &Run, ledger: &Client, table: &QualifiedName) -> Result<Option<u32>, ExecError> {
    let Some(text) = migration::setting(ledger, &run.id, &setting_of(table)).await? else { return Ok(None) };
    let seen: Option<Witness> = serde_json::from_str(&text).map_err(damaged)?;
    Ok(seen.map(|seen| seen.oid))
}

/// True when a column came since the first look and is gone, and is none of these. What the stream has of it cannot be told
/// from what it has of a later one of its name.
pub async fn has_lost(
    run: &Run,
    ledger: &Client,
    source: &Client,
    table: &QualifiedName,
    known: &[i16],
) -> Result<bool, ExecError> {
    // Before the first attempt there is no ledger, and no stream that could mix up anything.
    let there = ledger.query_one("SELECT pg_catalog.to_regclass('pcrd.setting') IS NOT NULL", &[]).await;
    if !there.map_err(ExecError::target("look for the ledger"))?.get::<_, bool>(0) {
        return Ok(false);
    }
    let Some(text) = migration::setting(ledger, &run.id, &setting_of(table)).await? else { return Ok(false) };
    let first: Option<Witness> = serde_json::from_str(&text).map_err(damaged)?;
    let Some(last) = first.and_then(|first| first.last) else { return Ok(false) };
    let row = source
        .query_one(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1::text AND c.relname = $2::text \
             AND a.attisdropped AND a.attnum > $3 AND a.attnum <> ALL ($4))",
            &[&table.schema.as_str(), &table.name.as_str(), &last, &known],
        )
        .await
        .map_err(ExecError::source("look for columns that came and went"))?;
    Ok(row.get(0))
}

fn setting(task: &TableTask) -> String {
    setting_of(task.source_name())
}

pub(super) fn setting_of(table: &QualifiedName) -> String {
    format!("witness:{table}")
}

fn damaged(error: serde_json::Error) -> ExecError {
    ExecError::Ledger(LedgerError::Damaged { what: "witness of a table", why: error.to_string() })
}

pub(super) fn text(witness: &Witness) -> Result<String, ExecError> {
    serde_json::to_string(witness).map_err(damaged)
}

fn recorded_in(known: &BTreeMap<String, String>, task: &TableTask) -> Result<Option<Witness>, ExecError> {
    known.get(&setting(task)).map_or(Ok(None), |text| serde_json::from_str(text).map_err(damaged))
}

/// Looks at every table for the first time, or finds what was recorded then. Must come before the slot: a rewrite after
/// this look and before the slot stops the run without need, one that is missed would be silent.
pub async fn remember(run: &Run, ledger: &Client, source: &Client, tasks: &mut [TableTask]) -> Result<(), ExecError> {
    let known = migration::settings(ledger, &run.id).await?;
    // One table, one look: what was seen of it for one target is what the others compare with.
    let mut seen: BTreeMap<QualifiedName, Option<Seen>> = BTreeMap::new();
    let mut first = Vec::new();
    for task in tasks.iter() {
        let table = task.source_name();
        if seen.contains_key(table) {
            continue;
        }
        let witness = recorded_in(&known, task)?;
        if witness.is_none() {
            first.push(task);
        }
        seen.insert(table.clone(), witness.map(Seen::new));
    }
    let mut recorded = Vec::new();
    for (task, witness) in first.iter().zip(Witness::of_all(source, &first).await?) {
        witness.iter().try_for_each(|seen| partitions::all_sound(task, &seen.partitions))?;
        recorded.push((setting(task), serde_json::to_string(&witness).map_err(damaged)?));
        seen.insert(task.source_name().clone(), witness.map(Seen::new));
    }
    migration::set_settings(ledger, &run.id, None, &recorded).await?;
    for task in tasks.iter_mut() {
        let found = seen.get(task.source_name()).cloned().flatten();
        task.witness = found;
    }
    follow_all(run, ledger, source, &tasks.iter().collect::<Vec<_>>(), None).await
}
