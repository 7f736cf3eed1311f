//! Indexes, constraints, comments, VACUUM and statistics after the copy, while the stream goes on; then the stream is awaited.

use std::sync::Arc;
use std::time::Instant;

use super::ExecError;
use super::engine::Engine;
use super::snapshots;
use super::steps::Steps;
use crate::pg::client::Client;
use crate::plan::{CreateIndex, Op, Step};
use crate::sql;

/// Runs every step of the phase that is not done.
pub async fn run(engine: &mut Engine) -> Result<(), ExecError> {
    let run = Arc::clone(&engine.run);
    let mut steps = Steps::read(&run, &engine.ledger).await?;
    leave_with_us(&engine.ledger).await;
    for step in &run.plan.steps {
        run.stop_check()?;
        match &step.op {
            Op::CreateIndex(index) => create_index(engine, &mut steps, step, index).await?,
            Op::AnalyzeTable(analyze) if analyze.freeze => vacuum(engine, &mut steps, step).await?,
            Op::CreateStatistics(_)
            | Op::CreateView(_)
            | Op::ClusterOn(_)
            | Op::SetReplicaIdentity(_)
            | Op::AddConstraint(_)
            | Op::ValidateConstraint(_)
            | Op::SetComment(_)
            | Op::AnalyzeTable(_) => {
                steps.run_on_target(&mut engine.ledger, &[step]).await?;
            }
            _ => {}
        }
    }
    // Caught up is what the phase is called: nothing that was committed when its steps were done is missing.
    let committed = snapshots::write_position(&engine.source).await?;
    engine.shared.wait_applied(committed, &run).await
}

/// A build goes on without its client, and would hold the executor's locks to its end. Not every platform can notice.
async fn leave_with_us(ledger: &Client) {
    if ledger.server_version_num >= 140_000 {
        let _refused = ledger.batch_execute("SET client_connection_check_interval = '2s'").await;
    }
}

/// Builds outside of a transaction, so that the build can be concurrent; a half-built index is dropped first.
async fn create_index(
    engine: &mut Engine,
    steps: &mut Steps<'_>,
    step: &Step,
    index: &CreateIndex,
) -> Result<(), ExecError> {
    if steps.done(&step.id) {
        return Ok(());
    }
    let began = Instant::now();
    steps.start(&engine.ledger, step).await?;
    let row = engine
        .ledger
        .query_opt(
            "SELECT i.indisvalid FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2",
            &[&index.table.schema.as_str(), &index.name.as_str()],
        )
        .await
        .map_err(ExecError::target(format!("look for index {}", index.name)))?;
    let valid = row.map(|row| row.get::<_, bool>(0));
    if valid == Some(false) {
        let drop = format!("DROP INDEX {}.{}", sql::ident(&index.table.schema), sql::ident(&index.name));
        engine.ledger.batch_execute(&drop).await.map_err(ExecError::target("drop a half-built index"))?;
    }
    if valid != Some(true) {
        for statement in &step.statements {
            engine
                .ledger
                .batch_execute(&statement.sql)
                .await
                .map_err(ExecError::target(format!("step {}", step.id)))?;
        }
    }
    steps.succeed(&engine.ledger, step, began).await
}

/// Outside of a transaction, as VACUUM must be. One that a crash broke off is begun again and finds most of it done.
async fn vacuum(engine: &mut Engine, steps: &mut Steps<'_>, step: &Step) -> Result<(), ExecError> {
    if steps.done(&step.id) {
        return Ok(());
    }
    let began = Instant::now();
    steps.start(&engine.ledger, step).await?;
    for statement in &step.statements {
        engine.ledger.batch_execute(&statement.sql).await.map_err(ExecError::target(format!("step {}", step.id)))?;
    }
    steps.succeed(&engine.ledger, step, began).await
}
