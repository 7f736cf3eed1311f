//! Steps that are one piece of DDL: intent first, then the effect and the record of it in one transaction.

use std::collections::BTreeMap;

use super::ExecError;
use super::context::Run;
use super::event::EventKind;
use super::failpoint;
use crate::ledger::step::{self, StepState};
use crate::pg::client::Client;
use crate::plan::{End, Op, Plan, Step, StepId};

/// The id of the only step with such an op, or of the first.
pub fn find(plan: &Plan, wanted: impl Fn(&Op) -> bool) -> Option<&Step> {
    plan.steps.iter().find(|step| wanted(&step.op))
}

/// What the ledger says of the steps.
pub struct Steps<'a> {
    run: &'a Run,
    states: BTreeMap<String, StepState>,
}

impl<'a> Steps<'a> {
    /// Reads the ledger.
    pub async fn read(run: &'a Run, ledger: &Client) -> Result<Self, ExecError> {
        Ok(Self { run, states: step::all(ledger, &run.id).await? })
    }

    /// True when the step is recorded as done.
    pub fn done(&self, id: &StepId) -> bool {
        self.states.get(&id.0) == Some(&StepState::Succeeded)
    }

    /// True when the step was started once, whatever became of it.
    pub fn started(&self, id: &StepId) -> bool {
        self.states.contains_key(&id.0)
    }

    /// Records the intent.
    pub async fn start(&self, ledger: &Client, step: &Step) -> Result<(), ExecError> {
        step::start(&**ledger, &self.run.id, self.run.epoch, &step.id.0).await?;
        self.run.emit(Some(&step.id), EventKind::StepStart);
        failpoint::hit("step.after-start")
    }

    /// Records the end.
    pub async fn succeed(&mut self, ledger: &Client, step: &Step, began: std::time::Instant) -> Result<(), ExecError> {
        failpoint::hit("step.after-effect")?;
        step::succeed(&**ledger, &self.run.id, self.run.epoch, &step.id.0).await?;
        self.finished(step, began);
        Ok(())
    }

    fn finished(&mut self, step: &Step, began: std::time::Instant) {
        self.states.insert(step.id.0.clone(), StepState::Succeeded);
        let elapsed_ms = began.elapsed().as_millis() as u64;
        self.run.emit(Some(&step.id), EventKind::StepDone { elapsed_ms });
    }

    /// Runs steps whose statements all run on the target, in one transaction with what the ledger has of them.
    pub async fn run_on_target(&mut self, ledger: &mut Client, steps: &[&Step]) -> Result<(), ExecError> {
        let (done, wanted): (Vec<&Step>, Vec<&Step>) = steps.iter().partition(|step| self.done(&step.id));
        for step in done {
            self.run.emit(Some(&step.id), EventKind::StepAlreadyDone);
        }
        let (Some(first), Some(last)) = (wanted.first(), wanted.last()) else { return Ok(()) };
        let doing = |step: &Step| format!("step {}", step.id);
        let intents = ledger.transaction().await.map_err(ExecError::target(doing(first)))?;
        for step in &wanted {
            step::start(&intents, &self.run.id, self.run.epoch, &step.id.0).await?;
        }
        intents.commit().await.map_err(ExecError::target(doing(first)))?;
        failpoint::hit("step.after-start")?;
        let transaction = ledger.transaction().await.map_err(ExecError::target(doing(first)))?;
        let mut began = Vec::new();
        for step in &wanted {
            began.push(std::time::Instant::now());
            self.run.emit(Some(&step.id), EventKind::StepStart);
            for statement in step.statements.iter().filter(|statement| statement.on == End::Target) {
                transaction.batch_execute(&statement.sql).await.map_err(ExecError::target(doing(step)))?;
            }
            step::succeed(&transaction, &self.run.id, self.run.epoch, &step.id.0).await?;
        }
        failpoint::hit("step.after-effect")?;
        transaction.commit().await.map_err(ExecError::target(doing(last)))?;
        for (step, began) in wanted.iter().zip(began) {
            self.finished(step, began);
        }
        Ok(())
    }
}
