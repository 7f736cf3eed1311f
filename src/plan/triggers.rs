//! Triggers of the target and what they call: what a plan makes there, the source has, but for names of columns.

use std::collections::BTreeMap;

use crate::catalog::{Firing, Ident, QualifiedName, Trigger};
use crate::plan::rights::{Lost, Still};
use crate::plan::{CreateFunction, CreateTrigger, Op, Plan, StepId};
use crate::sql::function;
use crate::sql::trigger::{drop_trigger, is_alike_but_for_columns, is_same, parse};

/// Triggers by table and name, as a server has them.
pub type Triggers = BTreeMap<(QualifiedName, Ident), Trigger>;

/// Functions without arguments that triggers call, as a server writes them.
pub type Functions = BTreeMap<QualifiedName, String>;

/// What is wrong with a step that makes a trigger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TriggerError {
    /// The source has another one, or none.
    #[error("step {0} makes a trigger that not every source of the table has")]
    Trigger(StepId),
    /// The source has another one, or none, or nothing of the plan calls it.
    #[error("step {0} makes a function that is not the source's, or that no trigger of the plan calls")]
    Function(StepId),
}

/// Every step that makes a trigger which the plan's source does not have.
pub(super) fn problems(plan: &Plan) -> Vec<TriggerError> {
    let is_foreign = |op: &CreateTrigger| {
        let has = |source: &QualifiedName| {
            let found = plan.source.tables.get(source).and_then(|table| table.triggers.get(&op.name));
            found.is_some_and(|found| {
                Firing::of(found.enabled) == Some(op.firing)
                    && parse(&found.definition).is_ok_and(|found| is_alike_but_for_columns(&found, &op.def))
            })
        };
        let mut onto = plan.onto(&op.table).map(|one| &one.source).peekable();
        onto.peek().is_none() || !onto.all(has)
    };
    let calls = |name: &QualifiedName| {
        plan.steps.iter().any(|step| matches!(&step.op, Op::CreateTrigger(op) if op.def.function == *name))
    };
    let found = plan.steps.iter().filter_map(|step| match &step.op {
        Op::CreateTrigger(op) if is_foreign(op) => Some(TriggerError::Trigger(step.id.clone())),
        Op::CreateFunction(op) => {
            let is_own = plan.source.functions.get(&op.name).is_some_and(|text| is_function(op, text));
            (!is_own || !calls(&op.name)).then(|| TriggerError::Function(step.id.clone()))
        }
        _ => None,
    });
    found.collect()
}

/// True for what the step makes, as a server writes it.
pub fn is_function(op: &CreateFunction, found: &str) -> bool {
    function::parse(found).is_ok_and(|found| function::is_same(&op.def, &found))
}

/// The step, if the source has the function as it was when the plan was made.
pub fn still_function(op: &CreateFunction, source: &Functions) -> Still {
    let own = Op::CreateFunction(op.clone());
    if source.get(&op.name).is_some_and(|text| is_function(op, text)) {
        return Still { op: Some(own), gone: Vec::new() };
    }
    let what = format!("there is no such function {}()", op.name);
    Still { op: None, gone: vec![Lost { op: own, what }] }
}

/// The step, if every source of the table has the trigger as it was when the plan was made.
pub fn still(plan: &Plan, op: &CreateTrigger, source: &Triggers) -> Still {
    let is_there = |table: &QualifiedName| {
        let before = plan.source.tables.get(table).and_then(|table| table.triggers.get(&op.name));
        before.is_some() && before == source.get(&(table.clone(), op.name.clone()))
    };
    let own = Op::CreateTrigger(op.clone());
    if plan.onto(&op.table).all(|one| is_there(&one.source)) {
        return Still { op: Some(own), gone: Vec::new() };
    }
    let what = format!("there is no such trigger {} of table {}", op.name, op.table);
    Still { op: None, gone: vec![Lost { op: own, what }] }
}

/// True when a server has the trigger.
pub fn is_made(op: &CreateTrigger, there: &Triggers) -> bool {
    there.get(&(op.table.clone(), op.name.clone())).is_some_and(|found| is_as_planned(op, found))
}

/// True for what the step makes, as a server has it.
pub fn is_as_planned(op: &CreateTrigger, found: &Trigger) -> bool {
    Firing::of(found.enabled) == Some(op.firing) && is_of_plan(op, found)
}

/// Statements that remove what the plan has made, whenever it fires by now. `was_there` says of a table and a name whether
/// there was one before.
pub fn removed(plan: &Plan, now: &Triggers, was_there: impl Fn(&QualifiedName, &Ident) -> bool) -> Vec<String> {
    let made = plan.steps.iter().filter_map(|step| match &step.op {
        Op::CreateTrigger(op) => Some(op),
        _ => None,
    });
    let is_ours = |op: &&CreateTrigger| {
        let found = now.get(&(op.table.clone(), op.name.clone()));
        found.is_some_and(|found| is_of_plan(op, found)) && !was_there(&op.table, &op.name)
    };
    made.filter(is_ours).map(|op| drop_trigger(&op.table, &op.name)).collect()
}

fn is_of_plan(op: &CreateTrigger, found: &Trigger) -> bool {
    parse(&found.definition).is_ok_and(|found| is_same(&op.def, &found))
}
