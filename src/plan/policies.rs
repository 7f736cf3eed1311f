//! Policies and row security of the target: what a plan makes there, the source has, but for names of columns; and nobody
//! gets a right on a table whose row security the target does not have as a whole.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{GrantTarget, Ident, PolicyDef, QualifiedName, RowSecurity};
use crate::plan::rights::{Lost, Still};
use crate::plan::{CreatePolicy, CreateTable, Op, Plan, SetRowSecurity, StepId};
use crate::sql::policy::{as_on_source, disable, drop_policy, is_same, no_force, quoted};

/// Row security by table, as a server has it.
pub type Securities = BTreeMap<QualifiedName, RowSecurity>;

/// What is wrong with a step that says which rows somebody sees.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The source has another one, or none.
    #[error("step {0} makes a policy that not every source of the table has")]
    Policy(StepId),
    /// The source's is another one.
    #[error("step {0} sets row security that is not as on every source of the table")]
    RowSecurity(StepId),
    /// A table has some of it and not all.
    #[error("{0} gets policies, or row security, and not all that its sources have")]
    Part(QualifiedName),
}

/// Every step that makes what the plan's source does not have, and every table that would have only a part of it.
pub(super) fn problems(plan: &Plan) -> Vec<PolicyError> {
    let mut found = Vec::new();
    for step in &plan.steps {
        match &step.op {
            Op::CreatePolicy(op) if !is_of_sources(plan, op) => found.push(PolicyError::Policy(step.id.clone())),
            Op::SetRowSecurity(op) if !is_as_on_sources(plan, op) => {
                found.push(PolicyError::RowSecurity(step.id.clone()));
            }
            _ => {}
        }
    }
    let parts = tables(plan).into_iter().filter(|table| !is_whole(plan, table));
    found.extend(parts.map(|table| PolicyError::Part(table.clone())));
    found
}

fn is_of_sources(plan: &Plan, op: &CreatePolicy) -> bool {
    let created = plan.steps.iter().find_map(|step| match &step.op {
        Op::CreateTable(create) if create.name == op.table => Some(create),
        _ => None,
    });
    let Some(CreateTable { columns, .. }) = created else { return false };
    let mut onto = plan.onto(&op.table).peekable();
    onto.peek().is_some()
        && onto.all(|one| {
            let Some(source) = plan.source.tables.get(&one.source) else { return false };
            let Some(own) = source.policies.get(&op.name) else { return false };
            let back = as_on_source(&op.def, one, columns.iter().map(|column| &column.name));
            let own = quoted(&own.def(), &one.source.name, source.columns.iter().map(|column| &column.name));
            back.is_ok_and(|back| own.is_ok_and(|own| own == back))
        })
}

fn is_as_on_sources(plan: &Plan, op: &SetRowSecurity) -> bool {
    let is_so = |source: &QualifiedName| {
        let found = plan.source.tables.get(source);
        found.is_some_and(|found| (found.row_security, found.row_security_forced) == (op.enabled, op.forced))
    };
    let mut onto = plan.onto(&op.table).map(|one| &one.source).peekable();
    onto.peek().is_some() && onto.all(is_so) && (op.enabled || op.forced)
}

/// Tables of the target that get policies, or row security.
fn tables(plan: &Plan) -> BTreeSet<&QualifiedName> {
    plan.steps.iter().filter_map(|step| hides(&step.op)).collect()
}

/// The table that the step makes hide rows.
pub fn hides(op: &Op) -> Option<&QualifiedName> {
    match op {
        Op::CreatePolicy(op) => Some(&op.table),
        Op::SetRowSecurity(op) => Some(&op.table),
        _ => None,
    }
}

/// True when the plan makes everything of it that the table's sources have: whoever has a right there sees no more than on
/// them.
pub fn is_whole(plan: &Plan, table: &QualifiedName) -> bool {
    let (mut policies, mut switches) = (BTreeSet::new(), (false, false));
    for step in &plan.steps {
        match &step.op {
            Op::CreatePolicy(op) if op.table == *table => {
                policies.insert(&op.name);
            }
            Op::SetRowSecurity(op) if op.table == *table => switches = (op.enabled, op.forced),
            _ => {}
        }
    }
    plan.onto(table).all(|one| {
        plan.source.tables.get(&one.source).is_some_and(|source| {
            (source.row_security, source.row_security_forced) == switches
                && source.policies.keys().eq(policies.iter().copied())
        })
    })
}

/// True when rows of the table are hidden from its owner too.
pub fn is_forced(plan: &Plan, table: &QualifiedName) -> bool {
    plan.steps
        .iter()
        .any(|step| matches!(&step.op, Op::SetRowSecurity(op) if op.table == *table && op.enabled && op.forced))
}

/// The table whose rows a step lets somebody see: by a right, or as an owner from whom they are to be hidden.
pub fn shows<'o>(plan: &Plan, op: &'o Op) -> Option<&'o QualifiedName> {
    match op {
        Op::Grant(grant) => match &grant.on {
            GrantTarget::Table(table) => Some(table),
            GrantTarget::Column(at) => Some(&at.table),
            GrantTarget::Schema(_) | GrantTarget::Sequence(_) => None,
        },
        Op::SetOwner(_) => op.table().filter(|table| is_forced(plan, table)),
        _ => None,
    }
}

/// The first source of the table that hides other rows by now than when the plan was made.
pub fn changed<'p>(plan: &'p Plan, table: &QualifiedName, source: &Securities) -> Option<&'p QualifiedName> {
    let is_changed = |name: &&'p QualifiedName| {
        let before = plan.source.tables.get(*name).map(|table| RowSecurity::of(table));
        let now = source.get(*name);
        let is_on = [before.as_ref(), now].into_iter().flatten().any(|one| one.enabled);
        is_on && before.as_ref() != now
    };
    plan.onto(table).map(|one| &one.source).find(is_changed)
}

/// The step, if every source of the table has that as it was when the plan was made.
pub fn still(plan: &Plan, op: &Op, source: &Securities) -> Still {
    let is_there = |table: &QualifiedName| {
        let Some(before) = plan.source.tables.get(table).map(|table| RowSecurity::of(table)) else { return false };
        let Some(now) = source.get(table) else { return false };
        match op {
            Op::CreatePolicy(op) => {
                before.policies.get(&op.name).is_some_and(|before| now.policies.get(&op.name) == Some(before))
            }
            // A table that gets its policies and is open meanwhile shows more than one that has too few.
            Op::SetRowSecurity(_) => now.enabled || !before.enabled,
            _ => true,
        }
    };
    let Some(table) = hides(op) else { return Still { op: Some(op.clone()), gone: Vec::new() } };
    if plan.onto(table).all(|one| is_there(&one.source)) {
        return Still { op: Some(op.clone()), gone: Vec::new() };
    }
    let what = match op {
        Op::CreatePolicy(op) => format!("there is no such policy {} of table {table}", op.name),
        _ => format!("row security of table {table} is off"),
    };
    Still { op: None, gone: vec![Lost { op: op.clone(), what }] }
}

/// A step that is not done, for somebody would see other rows than on the source.
pub fn withheld(op: &Op) -> Still {
    let table = op.table().map_or_else(String::new, ToString::to_string);
    let what = format!("policies or row security of what {table} comes from are others");
    Still { op: None, gone: vec![Lost { op: op.clone(), what }] }
}

/// True when a server has the policy.
pub fn is_made(op: &CreatePolicy, found: Option<&PolicyDef>) -> bool {
    found.is_some_and(|found| is_same(&op.def, found, &op.table.name))
}

/// True when a server has what the step leaves.
pub fn is_so(op: &Op, there: &Securities) -> bool {
    let Some(found) = hides(op).and_then(|table| there.get(table)) else { return false };
    match op {
        Op::CreatePolicy(op) => is_made(op, found.policies.get(&op.name)),
        Op::SetRowSecurity(op) => (found.enabled || !op.enabled) && (found.forced || !op.forced),
        _ => false,
    }
}

/// Statements that remove what the plan has made. `was_there` says of a table and a policy whether there was one before,
/// `was_set` of a table whether its row security was on, and forced.
pub fn removed(
    plan: &Plan,
    now: &Securities,
    was_there: impl Fn(&QualifiedName, &Ident) -> bool,
    was_set: impl Fn(&QualifiedName) -> (bool, bool),
) -> Vec<String> {
    let mut statements = Vec::new();
    for step in &plan.steps {
        match &step.op {
            Op::CreatePolicy(op) => {
                let found = now.get(&op.table).and_then(|table| table.policies.get(&op.name));
                if is_made(op, found) && !was_there(&op.table, &op.name) {
                    statements.push(drop_policy(&op.table, &op.name));
                }
            }
            Op::SetRowSecurity(op) => {
                let Some(found) = now.get(&op.table) else { continue };
                let (was_enabled, was_forced) = was_set(&op.table);
                statements.extend((op.enabled && found.enabled && !was_enabled).then(|| disable(&op.table)));
                statements.extend((op.forced && found.forced && !was_forced).then(|| no_force(&op.table)));
            }
            _ => {}
        }
    }
    statements
}
