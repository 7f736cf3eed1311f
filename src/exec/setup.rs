//! Everything that exists before the first row is copied: publication, guard, target objects, frozen defaults.

use std::collections::BTreeMap;
use std::time::Instant;

use super::ExecError;
use super::context::Run;
use super::steps::{Steps, find};
use super::table::TableTask;
use super::{failpoint, partitions};
use crate::catalog::Ident;
use crate::ledger::{chunk, lock};
use crate::pg::client::Client;
use crate::plan::{CreatePublication, End, FreezeDefaults, Op, Step};
use crate::sql;

/// So many objects are created in one transaction.
const TOGETHER: usize = 50;

/// Steps on the source before the slot: the guard and the publication, complete.
pub async fn prepare(run: &Run, ledger: &mut Client, source: &Client) -> Result<(), ExecError> {
    partitions::prepare(run, source).await?;
    let mut steps = Steps::read(run, ledger).await?;
    for step in &run.plan.steps {
        match &step.op {
            Op::CreateLedger(_) if !steps.done(&step.id) => {
                steps.start(ledger, step).await?;
                steps.succeed(ledger, step, Instant::now()).await?;
            }
            Op::GuardTruncate(guard) if !steps.done(&step.id) => {
                let names: Vec<String> = guard.tables.iter().map(sql::name).collect();
                let standing = count(
                    source,
                    "SELECT count(*) FROM pg_catalog.pg_trigger WHERE tgname = 'pcrd_no_truncate' AND tgrelid = ANY ($1::text[]::regclass[])",
                    &names,
                )
                .await?;
                on_source(run, &mut steps, ledger, source, step, standing == names.len() as i64).await?;
            }
            Op::CreatePublication(create) if !steps.done(&step.id) => {
                let exists = publication_exists(run, &steps, source, step, create).await?;
                on_source(run, &mut steps, ledger, source, step, exists).await?;
                failpoint::hit("setup.after-publication")?;
            }
            _ => {}
        }
    }
    Ok(())
}

async fn count(source: &Client, query: &str, names: &[String]) -> Result<i64, ExecError> {
    let row = source.query_one(query, &[&names]).await.map_err(ExecError::source("look for objects of pcrd"))?;
    Ok(row.get(0))
}

/// Runs a step's statements on the source in one transaction, unless its effect is there already.
async fn on_source(
    run: &Run,
    steps: &mut Steps<'_>,
    ledger: &Client,
    source: &Client,
    step: &Step,
    done_already: bool,
) -> Result<(), ExecError> {
    let began = Instant::now();
    steps.start(ledger, step).await?;
    if !done_already {
        // Of whoever else makes or removes the schema pcrd.
        let lock = lock::ledger_key();
        let mut text = format!("BEGIN; SET LOCAL lock_timeout = '5s'; SELECT pg_catalog.pg_advisory_xact_lock({lock})");
        for statement in step.statements.iter().filter(|statement| statement.on == End::Source) {
            text.push_str("; ");
            text.push_str(&statement.sql);
        }
        text.push_str("; COMMIT");
        if let Err(error) = source.batch_execute(&text).await {
            let error = ExecError::source(format!("step {}", step.id))(error);
            // The session is thrown away with the run; the rollback only makes it usable for the message's sake.
            source.batch_execute("ROLLBACK").await.map_err(ExecError::source("roll back"))?;
            return Err(error);
        }
    }
    run.stop_check()?;
    steps.succeed(ledger, step, began).await
}

/// A publication of this name counts as ours only if the ledger knows that we began to create it, and it publishes
/// exactly the plan's tables.
async fn publication_exists(
    run: &Run,
    steps: &Steps<'_>,
    source: &Client,
    step: &Step,
    create: &CreatePublication,
) -> Result<bool, ExecError> {
    let rows = source
        .query(
            "SELECT t.schemaname::text, t.tablename::text FROM pg_catalog.pg_publication p \
             LEFT JOIN pg_catalog.pg_publication_tables t ON t.pubname = p.pubname WHERE p.pubname = $1 ORDER BY 1, 2",
            &[&create.publication.as_str()],
        )
        .await
        .map_err(ExecError::source("read the publication"))?;
    if rows.is_empty() {
        return Ok(false);
    }
    let found: Vec<(String, String)> = rows
        .iter()
        .filter_map(|row| Some((row.get::<_, Option<String>>(0)?, row.get::<_, Option<String>>(1)?)))
        .collect();
    let mut wanted: Vec<(String, String)> =
        create.tables.iter().map(|table| (table.schema.as_str().to_owned(), table.name.as_str().to_owned())).collect();
    wanted.sort();
    if steps.started(&step.id) && found == wanted {
        return Ok(true);
    }
    Err(ExecError::Step {
        step: step.id.to_string(),
        reason: format!(
            "a publication named {} exists on the source and is not this plan's; drop it, or plan with another name (publication: in {})",
            create.publication, "pcrd.config.yml"
        ),
    })
    .inspect_err(|_| run.note("nothing was changed"))
}

/// Records that slot and position exist.
pub async fn slot_created(run: &Run, ledger: &Client) -> Result<(), ExecError> {
    let mut steps = Steps::read(run, ledger).await?;
    if let Some(step) = find(&run.plan, |op| matches!(op, Op::CreateSlot(_)))
        && !steps.done(&step.id)
    {
        steps.succeed(ledger, step, Instant::now()).await?;
    }
    Ok(())
}

/// Records the intent to create the slot: from here on a slot of this name is ours.
pub async fn slot_intended(run: &Run, ledger: &Client) -> Result<(), ExecError> {
    let steps = Steps::read(run, ledger).await?;
    if let Some(step) = find(&run.plan, |op| matches!(op, Op::CreateSlot(_)))
        && !steps.done(&step.id)
    {
        steps.start(ledger, step).await?;
    }
    Ok(())
}

/// Creates schemas, types, sequences and tables on the target, and freezes defaults.
pub async fn create_objects(run: &Run, ledger: &mut Client) -> Result<(), ExecError> {
    let mut steps = Steps::read(run, ledger).await?;
    // In the plan's order: what stands between two others does not move past them.
    let mut together = Vec::new();
    for step in &run.plan.steps {
        match &step.op {
            Op::CreateSchema(_) | Op::CreateType(_) | Op::CreateSequence(_) | Op::CreateTable(_) => together.push(step),
            Op::FreezeDefaults(freeze) if !steps.done(&step.id) => {
                create(run, &mut steps, ledger, &std::mem::take(&mut together)).await?;
                run.stop_check()?;
                let began = Instant::now();
                steps.start(ledger, step).await?;
                freeze_defaults(run, ledger, freeze).await?;
                steps.succeed(ledger, step, began).await?;
            }
            _ => {}
        }
    }
    create(run, &mut steps, ledger, &together).await
}

/// What is quick and comes by the thousand, many in a transaction.
async fn create(run: &Run, steps: &mut Steps<'_>, ledger: &mut Client, list: &[&Step]) -> Result<(), ExecError> {
    // Each partition and each of its indexes is locked until the transaction ends.
    let has_partitions = |step: &&Step| matches!(&step.op, Op::CreateTable(create) if create.partitioning.is_some());
    let groups = list.chunk_by(|one, next| !has_partitions(one) && !has_partitions(next));
    for group in groups.flat_map(|group| group.chunks(TOGETHER)) {
        run.stop_check()?;
        steps.run_on_target(ledger, group).await?;
    }
    Ok(())
}

async fn freeze_defaults(run: &Run, ledger: &Client, freeze: &FreezeDefaults) -> Result<(), ExecError> {
    for column in &freeze.columns {
        let query = format!("SELECT CAST(CAST({} AS {}) AS pg_catalog.text)", column.default, column.ty);
        let doing = format!("evaluate the default of {}.{}", freeze.table, column.column);
        let row = ledger.query_one(&query, &[]).await.map_err(ExecError::target(doing))?;
        let value: Option<String> = row.get(0);
        chunk::freeze(ledger, &run.id, &freeze.table.to_string(), column.column.as_str(), value.as_deref()).await?;
    }
    Ok(())
}

/// Frozen values of a table as SQL literals of the column's type.
pub async fn frozen(run: &Run, ledger: &Client, task: &TableTask) -> Result<BTreeMap<Ident, String>, ExecError> {
    // Evaluated once for the target, whatever number of sources it has.
    let values = chunk::frozen(ledger, &run.id, &task.projection.target.to_string()).await?;
    let mut frozen = BTreeMap::new();
    for (name, value) in values {
        let Some(column) = task.projection.columns.iter().find(|column| column.target.as_str() == name) else {
            continue;
        };
        let literal = value.map_or_else(|| "NULL".to_owned(), |value| sql::literal(&value));
        frozen.insert(column.target.clone(), format!("CAST({literal} AS {})", column.ty.sql));
    }
    Ok(frozen)
}
