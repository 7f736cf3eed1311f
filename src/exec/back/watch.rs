//! What the stream of the target does not show: that rows were rewritten, that a table or column is another one of its name,
//! that a type is another. The way back would go on with what the rows were before.
//!
//! Of every table of the target, also of those without a way back: their rows must not change either. Of the source's tables
//! the shape: their fence stops no DDL, and a value that comes could be rounded to another type. `looks` has the rest of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::catalog::{Ident, QualifiedName, ReplicaIdentity};
use crate::exec::context::Run;
use crate::exec::copy::shapes;
use crate::exec::table::{TableTask, tasks};
use crate::exec::{ExecError, published, witness};
use crate::ledger::migration;
use crate::pg::client::Client;
use crate::pg::shape::{expected_shape, is_sent_alike};
use crate::plan::Plan;
use crate::projection::{Back, CopyFormat, Projection, RowIdentity};

/// The tables as they were when the way back began.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    /// All of the target's; those with a way back are those that the applier has.
    pub tables: Arc<Vec<TableTask>>,
    /// Shapes of the target's and of the source's, by the name that the ledger has for them.
    shapes: BTreeMap<String, String>,
}

/// Records what the tables are like, for the executor that the source's ledger gave the mirrored run's epoch. Must come
/// before the position from which changes go back: what comes between the two ends the way back without need, what came
/// after both would be missed.
///
/// # Errors
/// A server cannot be asked, or another executor has the ledger.
pub(super) async fn begin(
    mirrored: &Run,
    ledger: &Client,
    target: &Client,
    ways: &[Back],
    tables: &mut [TableTask],
) -> Result<Watch, ExecError> {
    let mut all = all(mirrored, ways, tables)?;
    let witnesses = witness::begin(target, &mut all).await?;
    share(&all, tables);
    let mut recorded: BTreeMap<String, String> =
        all.iter().map(|task| (setting(task), expected_shape(&task.source))).collect();
    for (task, now) in all.iter().zip(of_target(target, &all).await?) {
        compare(task, &recorded[&setting(task)], &now)?;
    }
    for (task, now) in tables.iter().zip(of_source(ledger, tables.iter()).await?) {
        recorded.insert(source_setting(task), now);
    }
    let settings: Vec<(String, String)> = recorded.clone().into_iter().chain(witnesses).collect();
    migration::set_settings(ledger, &mirrored.id, Some(mirrored.epoch), &settings).await?;
    Ok(Watch { tables: Arc::new(all), shapes: recorded })
}

/// Finds what was recorded, and compares the target with it.
///
/// # Errors
/// [`ExecError::Stale`] when a table is not what it was.
pub(super) async fn resume(
    mirrored: &Run,
    ledger: &Client,
    target: &Client,
    ways: &[Back],
    tables: &mut [TableTask],
) -> Result<Watch, ExecError> {
    let mut all = all(mirrored, ways, tables)?;
    let shapes = migration::settings(ledger, &mirrored.id).await?;
    if let Some(task) = all.iter().find(|task| !shapes.contains_key(&setting(task))) {
        let reason = format!("the source's ledger does not say what {} was like at the switch", task.source_name());
        return Err(ExecError::Gap { reason });
    }
    let watch = Watch { tables: Arc::new(all.clone()), shapes };
    watch.compare_target(target).await?;
    witness::remember(mirrored, ledger, target, &mut all).await?;
    published::check(mirrored, target).await?;
    share(&all, tables);
    Ok(Watch { tables: Arc::new(all), ..watch })
}

impl Watch {
    /// Looks at all tables of the target, and at what of them is published: as many questions as for one.
    ///
    /// # Errors
    /// [`ExecError::Stale`] when one is not what it was.
    pub(super) async fn look(&self, mirrored: &Run, ledger: &Client, target: &Client) -> Result<(), ExecError> {
        self.compare_target(target).await?;
        let tables: Vec<&TableTask> = self.tables.iter().collect();
        witness::follow_all(mirrored, ledger, target, &tables, Some(mirrored.epoch)).await?;
        published::check(mirrored, target).await
    }

    async fn compare_target(&self, target: &Client) -> Result<(), ExecError> {
        for (task, now) in self.tables.iter().zip(of_target(target, &self.tables).await?) {
            compare(task, &self.shapes[&setting(task)], &now)?;
        }
        Ok(())
    }

    /// The source's tables have the shape that they had at the switch.
    ///
    /// # Errors
    /// [`ExecError::Step`] when one has another. Errors of the server are the mirror's own.
    pub(super) async fn compare_source(&self, source: &Client) -> Result<(), ExecError> {
        let with_way = || self.tables.iter().filter(|task| task.back.is_some());
        for (task, now) in with_way().zip(of_source(source, with_way()).await?) {
            compare_of_source(task, self.shapes.get(&source_setting(task)), &now)?;
        }
        Ok(())
    }
}

/// The target's values are read as the types that the plan has: of another type they could be cut without a word. An old key
/// must come with every change of a key, or the row that has the new key by then would be taken for it.
pub(super) fn is_sent_as_planned(task: &TableTask) -> Result<(), ExecError> {
    let stale = |difference: String| ExecError::Stale { what: task.source_name().to_string(), difference };
    for planned in &task.projection.source_columns {
        let found = task.source.column(&planned.name);
        let found = found.ok_or_else(|| stale(format!("column {} is gone from the target", planned.name)))?;
        let (is, was) = (&found.ty, &planned.ty);
        if (&is.schema, &is.name, is.typmod) != (&was.schema, &was.name, was.typmod) {
            return Err(stale(format!(
                "column {} is {} on the target, the plan has {}",
                planned.name, is.sql, was.sql
            )));
        }
    }
    let key = task.source.primary_key.as_ref().filter(|key| !key.deferrable);
    let is_key = key.is_some_and(|key| {
        let planned: BTreeSet<&Ident> = task.projection.source_key().into_iter().collect();
        key.columns.iter().collect::<BTreeSet<_>>() == planned
    });
    match &task.source.replica_identity {
        ReplicaIdentity::Full => Ok(()),
        ReplicaIdentity::Default if is_key => Ok(()),
        _ => Err(stale(
            "its changes do not come with the old primary key on the target: REPLICA IDENTITY DEFAULT".to_owned(),
        )),
    }
}

/// Tables of the source that have rows which the target does not know.
pub(super) fn with_others(tables: &[TableTask]) -> BTreeSet<QualifiedName> {
    let has_others = |task: &&TableTask| task.back.is_some_and(|back| back.has_others);
    tables.iter().filter(has_others).map(|task| task.projection.target.clone()).collect()
}

/// The tables with a way back, then the others.
fn all(mirrored: &Run, ways: &[Back], tables: &[TableTask]) -> Result<Vec<TableTask>, ExecError> {
    if let Some(gone) = ways.iter().find(|way| !mirrored.plan.source.tables.contains_key(&way.from)) {
        let difference = "it is gone from the target".to_owned();
        return Err(ExecError::Stale { what: gone.from.to_string(), difference });
    }
    tables.iter().try_for_each(is_sent_as_planned)?;
    let mut known: BTreeSet<&QualifiedName> = tables.iter().map(TableTask::source_name).collect();
    // The rows of several source tables may be in one.
    let others = ways.iter().filter(|way| known.insert(&way.from));
    let plan = Plan { projections: others.map(nowhere).collect(), ..mirrored.plan.clone() };
    let mut all = tables.to_vec();
    all.extend(tasks(&plan)?);
    Ok(all)
}

/// A table of which no row goes anywhere.
fn nowhere(way: &Back) -> Projection {
    Projection {
        source: way.from.clone(),
        target: way.to.clone(),
        source_columns: Vec::new(),
        identity: RowIdentity::FullRow,
        format: CopyFormat::Text,
        format_reason: "only looked at".to_owned(),
        columns: Vec::new(),
        computed: Vec::new(),
        filter: None,
        part: None,
        partitioned: false,
        onto_partitions: false,
    }
}

/// The applier compares with the same look.
fn share(all: &[TableTask], tables: &mut [TableTask]) {
    for (task, seen) in tables.iter_mut().zip(all) {
        task.witness.clone_from(&seen.witness);
    }
}

fn setting(task: &TableTask) -> String {
    format!("shape:{}", task.source_name())
}

fn source_setting(task: &TableTask) -> String {
    format!("source shape:{}", task.projection.target)
}

async fn of_target(target: &Client, tables: &[TableTask]) -> Result<Vec<String>, ExecError> {
    let names: Vec<&QualifiedName> = tables.iter().map(TableTask::source_name).collect();
    // As the mirror's own: whoever calls turns all of them around.
    shapes(target, &names).await.map_err(ExecError::source("look at the shapes of the target's tables"))
}

async fn of_source(source: &Client, tables: impl Iterator<Item = &TableTask>) -> Result<Vec<String>, ExecError> {
    let names: Vec<&QualifiedName> = tables.map(|task| &task.projection.target).collect();
    shapes(source, &names).await.map_err(ExecError::target("look at the shapes of the source's tables"))
}

fn compare(task: &TableTask, before: &str, now: &str) -> Result<(), ExecError> {
    let difference = match now {
        same if is_sent_alike(before, same) => return Ok(()),
        "missing" => "it is gone from the target".to_owned(),
        now => format!("it was [{before}], is [{now}]"),
    };
    Err(ExecError::Stale { what: task.source_name().to_string(), difference })
}

/// What was done to the source can be undone there: nothing goes back meanwhile, and nothing is closed.
fn compare_of_source(task: &TableTask, before: Option<&String>, now: &str) -> Result<(), ExecError> {
    if before.is_some_and(|before| before == now) {
        return Ok(());
    }
    let table = &task.projection.target;
    let before = before.map_or("not recorded", String::as_str);
    let reason = format!(
        "{table} was altered on the source: it was [{before}], is [{now}]; nothing goes back until it is as it was, and \
         to rewrite its rows for that would close the way back"
    );
    Err(ExecError::Step { step: "stream_back".to_owned(), reason })
}
