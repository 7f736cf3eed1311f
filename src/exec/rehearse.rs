//! Builds what the plan creates on the target once, in a transaction that is rolled back: what the server refuses is known
//! before the first row is copied.

use super::ExecError;
use super::context::Run;
use super::preflight::{Failure, Fix};
use crate::pg::client::Client;
use crate::plan::{End, Op};

/// The first statement that the target refuses, if there is one. The target must not have the tables yet.
pub async fn rehearse(run: &Run, target: &Client) -> Result<Option<Failure>, ExecError> {
    let failed = ExecError::target("build the tables in a transaction that is rolled back");
    target
        .batch_execute("BEGIN; SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '60s'")
        .await
        .map_err(failed)?;
    let refused = build(run, target).await;
    target.batch_execute("ROLLBACK").await.map_err(ExecError::target("roll the rehearsal back"))?;
    refused
}

async fn build(run: &Run, target: &Client) -> Result<Option<Failure>, ExecError> {
    for step in &run.plan.steps {
        let builds = matches!(
            step.op,
            Op::CreateSchema(_)
                | Op::CreateType(_)
                | Op::CreateTable(_)
                | Op::CreateSequence(_)
                | Op::CreateIndex(_)
                | Op::AddConstraint(_)
                | Op::ValidateConstraint(_)
                | Op::SetDefault(_)
                | Op::SetComment(_)
        );
        if !builds {
            continue;
        }
        for statement in step.statements.iter().filter(|statement| statement.on == End::Target) {
            let Err(error) = target.batch_execute(&statement.sql).await else { continue };
            let Some(said) = error.as_db_error() else {
                return Err(ExecError::target(format!("rehearse {}", step.id))(error));
            };
            return Ok(Some(Failure {
                id: "target_refuses",
                on: End::Target,
                found: format!("{}: {} (SQLSTATE {})", step.id, said.message(), said.code().code()),
                fix: Fix::Words("Mend the desired schema or the target, and plan again.".to_owned()),
            }));
        }
    }
    Ok(None)
}
