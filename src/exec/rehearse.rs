//! Builds what the plan creates on the target once, in a transaction that is rolled back: what the server refuses is known
//! before the first row is copied.

use super::ExecError;
use super::context::Run;
use super::owners_and_grants::{self, UNREAD, WITHOUT_EFFECT};
use super::preflight::{Failure, Fix};
use crate::pg::client::Client;
use crate::plan::{End, Op, Step};

/// The first statement that the target refuses, if there is one. The target must not have the tables yet.
pub async fn rehearse(run: &Run, target: &Client) -> Result<Option<Failure>, ExecError> {
    let failed = ExecError::target("build the tables in a transaction that is rolled back");
    target
        .batch_execute(&format!("BEGIN; SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '60s'; {UNREAD}"))
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
                | Op::CreateStatistics(_)
                | Op::CreateView(_)
                | Op::ClusterOn(_)
                | Op::SetReplicaIdentity(_)
                | Op::AddConstraint(_)
                | Op::ValidateConstraint(_)
                | Op::SetDefault(_)
                | Op::SetComment(_)
                | Op::CreateFunction(_)
                | Op::CreateTrigger(_)
                | Op::CreatePolicy(_)
                | Op::SetRowSecurity(_)
                | Op::SetOwner(_)
                | Op::Grant(_)
        );
        if !builds {
            continue;
        }
        let error = match build_one(target, step).await {
            Ok(true) => continue,
            Ok(false) => return Ok(Some(refused(step, WITHOUT_EFFECT.to_owned()))),
            Err(error) => error,
        };
        let Some(said) = error.as_db_error() else {
            return Err(ExecError::target(format!("rehearse {}", step.id))(error));
        };
        return Ok(Some(refused(step, format!("{} (SQLSTATE {})", said.message(), said.code().code()))));
    }
    Ok(None)
}

async fn build_one(target: &Client, step: &Step) -> Result<bool, tokio_postgres::Error> {
    if step.op.gives() {
        return owners_and_grants::rehearse(target, step).await;
    }
    for statement in step.statements.iter().filter(|statement| statement.on == End::Target) {
        target.batch_execute(&statement.sql).await?;
    }
    Ok(true)
}

fn refused(step: &Step, said: String) -> Failure {
    Failure {
        id: "target_refuses",
        on: End::Target,
        found: format!("{}: {said}", step.id),
        fix: Fix::Words("Mend the desired schema or the target, and plan again.".to_owned()),
    }
}
