//! What the stream of the target does not show: that rows were rewritten, that a table or column is another one of its name,
//! that a type is another. The way back would go on with what the rows were before.
//!
//! Of every table of the target, also of those without a way back: their rows must not change either. Of the source's tables
//! the shape: their fence stops no DDL, and a value that comes could be rounded to another type.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::catalog::{Ident, QualifiedName, ReplicaIdentity};
use crate::exec::ExecError;
use crate::exec::context::Run;
use crate::exec::table::{TableTask, tasks};
use crate::exec::witness;
use crate::ledger::migration;
use crate::pg::client::Client;
use crate::pg::shape::{SHAPE_SQL, expected_shape};
use crate::plan::Plan;
use crate::projection::{Back, CopyFormat, Projection, RowIdentity};

/// Tables that are looked at in one round.
const LOOKS: usize = 20;

/// The tables of the target as they were when the way back began.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    /// All of them; those with a way back are those that the applier has.
    pub tables: Arc<Vec<TableTask>>,
    next: usize,
}

/// Records what the tables are like. Must come before the position from which changes go back: what comes between the two
/// ends the way back without need, what came after both would be missed.
///
/// # Errors
/// A server cannot be asked.
pub(super) async fn begin(
    mirrored: &Run,
    ledger: &Client,
    target: &Client,
    ways: &[Back],
    tables: &mut [TableTask],
) -> Result<(), ExecError> {
    let mut all = all(mirrored, ways, tables)?;
    for task in &all {
        let witness = witness::setting_of(task.source_name());
        migration::set_setting(ledger, &mirrored.id, &witness, None).await?;
        let shape = expected_shape(&task.source);
        migration::set_setting(ledger, &mirrored.id, &setting(task), Some(&shape)).await?;
    }
    witness::remember(mirrored, ledger, target, &mut all).await?;
    for task in &all {
        compare(target, task, &expected_shape(&task.source)).await?;
    }
    for task in tables.iter() {
        let shape = shape(ledger, &task.projection.target).await?;
        migration::set_setting(ledger, &mirrored.id, &source_setting(task), Some(&shape)).await?;
    }
    share(&all, tables);
    Ok(())
}

/// Finds what was recorded, and compares.
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
    for task in &all {
        let Some(shape) = migration::setting(ledger, &mirrored.id, &setting(task)).await? else {
            let reason = format!("the source's ledger does not say what {} was like at the switch", task.source_name());
            return Err(ExecError::Gap { reason });
        };
        compare(target, task, &shape).await?;
    }
    for task in tables.iter() {
        compare_source(mirrored, ledger, task).await?;
    }
    witness::remember(mirrored, ledger, target, &mut all).await?;
    share(&all, tables);
    Ok(Watch { tables: Arc::new(all), next: 0 })
}

impl Watch {
    /// Looks at some of the tables, in turn.
    ///
    /// # Errors
    /// [`ExecError::Stale`] when one is not what it was.
    pub(super) async fn look(&mut self, mirrored: &Run, ledger: &Client, target: &Client) -> Result<(), ExecError> {
        for _ in 0..LOOKS.min(self.tables.len()) {
            let task = &self.tables[self.next];
            compare(target, task, &expected_shape(&task.source)).await?;
            witness::follow(mirrored, ledger, target, task).await?;
            if task.back.is_some() {
                compare_source(mirrored, ledger, task).await?;
            }
            self.next = (self.next + 1) % self.tables.len();
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
        filter: None,
        part: None,
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

async fn shape(client: &Client, table: &QualifiedName) -> Result<String, ExecError> {
    let doing = || ExecError::source(format!("look at the shape of {table}"));
    let query = client.prepared(SHAPE_SQL).await.map_err(doing())?;
    let row = client.query_one(&query, &[&table.schema.as_str(), &table.name.as_str()]).await.map_err(doing())?;
    Ok(row.get(0))
}

async fn compare(target: &Client, task: &TableTask, before: &str) -> Result<(), ExecError> {
    let table = task.source_name();
    let difference = match shape(target, table).await?.as_str() {
        same if same == before => return Ok(()),
        "missing" => "it is gone from the target".to_owned(),
        now => format!("it was [{before}], is [{now}]"),
    };
    Err(ExecError::Stale { what: table.to_string(), difference })
}

/// What was done to the source can be undone there: nothing goes back meanwhile, and nothing is closed.
async fn compare_source(mirrored: &Run, ledger: &Client, task: &TableTask) -> Result<(), ExecError> {
    let table = &task.projection.target;
    let before = migration::setting(ledger, &mirrored.id, &source_setting(task)).await?;
    let now = shape(ledger, table).await?;
    if before.as_ref() == Some(&now) {
        return Ok(());
    }
    let before = before.unwrap_or_else(|| "not recorded".to_owned());
    let reason = format!(
        "{table} was altered on the source: it was [{before}], is [{now}]; nothing goes back until it is as it was"
    );
    Err(ExecError::Step { step: "stream_back".to_owned(), reason })
}
