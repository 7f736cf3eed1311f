//! What is looked at while changes go back. The watch of the target's tables; and of the source, to which a rollback goes back:
//! that no row was rewritten there, which leaves the same shape and other values, that nobody but the way back writes, and
//! that what comes is not changed on its way in.

use std::collections::BTreeSet;

use super::rights;
use super::watch::{self, Watch};
use crate::catalog::QualifiedName;
use crate::exec::ExecError;
use crate::exec::context::Run;
use crate::exec::failpoint;
use crate::exec::fence::{self, Standing};
use crate::exec::table::{TableTask, tasks};
use crate::exec::witness::{self, Witness};
use crate::ledger::migration;
use crate::pg::client::Client;

/// The trigger of a fence on each of the tables: whether it fires, and which one it is. One that was switched off and on
/// again, or taken down and put up again, is another row of the catalog.
const TRIGGERS: &str = "SELECT (SELECT pg_catalog.concat(t.tgenabled, ' ', t.oid, ' ', t.xmin) FROM pg_catalog.pg_trigger t \
     JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     JOIN pg_catalog.pg_proc f ON f.oid = t.tgfoid JOIN pg_catalog.pg_namespace fn ON fn.oid = f.pronamespace \
     WHERE n.nspname = w.schema::name AND c.relname = w.name::name AND t.tgname = 'pcrd_fence' \
     AND fn.nspname = 'pcrd' AND f.proname = 'fence' \
     AND t.tgargs = pg_catalog.convert_to($3, 'UTF8') || '\\x00'::bytea) \
     FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) \
      WITH ORDINALITY AS w (schema, name, at) ORDER BY w.at";

/// Both ends as they were at the last look.
#[derive(Debug)]
pub(super) struct Looks {
    /// Of the target.
    pub watch: Watch,
    /// The source's tables, each once.
    tables: Vec<TableTask>,
    /// The triggers of the source's fence, in the order of its tables.
    fence: Vec<String>,
}

/// Records which triggers the source's fence has. Must come behind it: whoever takes one down and puts it up again is seen.
///
/// # Errors
/// A server cannot be asked, a trigger is not there, or another executor has the ledger.
pub(super) async fn record_fence(run: &Run, ledger: &Client, source: &Client) -> Result<Vec<String>, ExecError> {
    let mut fence = Vec::new();
    for (table, trigger) in fence::tables(run)?.iter().zip(triggers(run, source).await?) {
        fence.push(trigger.filter(|trigger| fires(trigger)).ok_or_else(|| unfenced(table))?);
    }
    let settings: Vec<(String, String)> = fence::tables(run)?.iter().map(setting).zip(fence.iter().cloned()).collect();
    migration::set_settings(ledger, &run.id, Some(run.epoch), &settings).await?;
    Ok(fence)
}

/// Finds what was recorded of both ends, and compares. `mirrored` has the way back's `tables`.
///
/// # Errors
/// [`ExecError::Stale`] when the way back has ended by what was done to a table, other errors when it can go on after that is
/// undone.
pub(super) async fn resume(
    run: &Run,
    mirrored: &Run,
    (ledger, source): (&Client, &Client),
    back: &mut [TableTask],
) -> Result<Looks, ExecError> {
    let mut once = BTreeSet::new();
    let mut tables = tasks(&run.plan)?;
    tables.retain(|task| once.insert(task.source_name().clone()));
    witness::recall(run, ledger, &mut tables).await?;
    // Before the shapes: who is told to undo what was done must not find that nobody can.
    let found = witness::look_at_source(source, &tables).await?;
    let watch = watch::resume(mirrored, source, ledger, &run.plan.back, back).await.map_err(ExecError::mirrored)?;
    let known = migration::settings(ledger, &run.id).await?;
    let fence: Option<Vec<String>> =
        fence::tables(run)?.iter().map(|table| known.get(&setting(table)).cloned()).collect();
    let fence = match fence {
        Some(fence) => fence,
        // The switch was made by a version that did not record it.
        None => record_fence(run, ledger, source).await?,
    };
    let looks = Looks { watch, tables, fence };
    looks.shapes_of_source(source).await?;
    looks.others_keep_off(run, source).await?;
    witness::keep_source(run, ledger, &looks.tables, found).await?;
    Ok(looks)
}

impl Looks {
    /// Looks at both ends: as many questions as for one table each.
    ///
    /// # Errors
    /// As [`resume`].
    pub(super) async fn look(
        &self,
        run: &Run,
        mirrored: &Run,
        (ledger, source): (&Client, &Client),
    ) -> Result<(), ExecError> {
        let found = self.compare_source(run, source).await?;
        self.watch.look(mirrored, source, ledger).await.map_err(ExecError::mirrored)?;
        // Only when all is as it should be: while it is not, a value may have come that was cut on its way in.
        witness::keep_source(run, ledger, &self.tables, found).await
    }

    /// Looks at the source alone, for the last time before it is opened.
    ///
    /// # Errors
    /// As [`resume`].
    pub(super) async fn look_at_source(&self, run: &Run, source: &Client) -> Result<(), ExecError> {
        self.compare_source(run, source).await.map(drop)
    }

    async fn compare_source(&self, run: &Run, source: &Client) -> Result<Vec<Witness>, ExecError> {
        let found = witness::look_at_source(source, &self.tables).await?;
        self.shapes_of_source(source).await?;
        self.others_keep_off(run, source).await?;
        Ok(found)
    }

    async fn shapes_of_source(&self, source: &Client) -> Result<(), ExecError> {
        failpoint::hit("back.between-looks")?;
        let Err(error) = self.watch.compare_source(source).await else { return Ok(()) };
        // What has altered the shape since the last look at the rows may have rewritten them too.
        witness::look_at_source(source, &self.tables).await?;
        Err(ExecError::mirrored(error))
    }

    /// Only the way back writes to the source, and what it writes is what comes to stand there.
    async fn others_keep_off(&self, run: &Run, source: &Client) -> Result<(), ExecError> {
        if fence::standing(run, source).await? != Standing::Permanent {
            let reason = "its fence of the switch does not stand any more".to_owned();
            return Err(ExecError::Unfenced { reason });
        }
        for ((table, before), now) in fence::tables(run)?.iter().zip(&self.fence).zip(triggers(run, source).await?) {
            match now {
                Some(now) if now == *before => {}
                Some(now) if fires(&now) => {
                    let difference =
                        "its fence was taken down since the switch, and put up again: what others wrote there meanwhile \
                         nobody knows"
                            .to_owned();
                    return Err(ExecError::Stale { what: format!("table {table} of the source"), difference });
                }
                Some(_) | None => return Err(unfenced(table)),
            }
        }
        rights::no_trigger(run, source).await
    }
}

fn unfenced(table: &QualifiedName) -> ExecError {
    ExecError::Unfenced { reason: format!("the trigger of the fence was taken down from {table}, or switched off") }
}

fn fires(trigger: &str) -> bool {
    !trigger.starts_with('D')
}

fn setting(table: &QualifiedName) -> String {
    format!("fence:{table}")
}

async fn triggers(run: &Run, source: &Client) -> Result<Vec<Option<String>>, ExecError> {
    let tables = fence::tables(run)?;
    let (schemas, names): (Vec<&str>, Vec<&str>) =
        tables.iter().map(|table| (table.schema.as_str(), table.name.as_str())).unzip();
    let doing = || ExecError::source("look for the fence's triggers");
    let query = source.prepared(TRIGGERS).await.map_err(doing())?;
    let rows = source.query(&query, &[&schemas, &names, &run.id]).await.map_err(doing())?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
