//! Where the owners and rights of the target come from: what a plan gives somebody there, it has on the source.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{ColumnRef, GrantTarget, Holding, Holdings, Ident, OwnerTarget, QualifiedName, Right};
use crate::plan::policies::is_whole;
use crate::plan::views;
use crate::plan::{Grant, Op, Plan, SetOwner, StepId};
use crate::sql::view;

/// What is wrong with a step that gives somebody something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RightError {
    /// It is about nothing that the plan makes.
    #[error("step {0} is about an object that is not the plan's, or that the plan does not create")]
    Foreign(StepId),
    /// More than the source has.
    #[error("step {step} gives what the source does not have: {what}")]
    Beyond {
        /// Step.
        step: StepId,
        /// What.
        what: String,
    },
}

/// Every step that gives somebody what the plan's source does not, or on what is not the plan's.
pub(super) fn problems(plan: &Plan) -> Vec<RightError> {
    let source = of_source(plan);
    let mut found = Vec::new();
    for step in &plan.steps {
        let is_ours = match &step.op {
            Op::SetOwner(op) => is_given(plan, op),
            Op::Grant(op) => is_granted(plan, op),
            _ => continue,
        };
        if !is_ours {
            found.push(RightError::Foreign(step.id.clone()));
            continue;
        }
        for Lost { what, .. } in still(plan, &step.op, &source).gone {
            found.push(RightError::Beyond { step: step.id.clone(), what });
        }
    }
    found
}

/// What the plan's source had when the plan was made.
fn of_source(plan: &Plan) -> Holdings {
    let mut found = Holdings::new();
    for (name, table) in &plan.source.tables {
        found.insert(GrantTarget::Table(name.clone()), Holding::of(&table.owner, &table.grants));
        for column in &table.columns {
            let at = ColumnRef { table: name.clone(), column: column.name.clone() };
            found.insert(GrantTarget::Column(at), Holding::of(&table.owner, &column.grants));
        }
    }
    for (name, view) in &plan.source.views {
        found.insert(GrantTarget::Table(name.clone()), Holding::of(&view.owner, &view.grants));
    }
    for (name, sequence) in &plan.source.sequences {
        found.insert(GrantTarget::Sequence(name.clone()), Holding::of(&sequence.owner, &sequence.grants));
    }
    for (name, schema) in &plan.source.schemas {
        found.insert(GrantTarget::Schema(name.clone()), Holding::of(&schema.owner, &schema.grants));
    }
    found
}

/// A step as far as the source bears it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Still {
    /// What is left of it.
    pub op: Option<Op>,
    /// What is not.
    pub gone: Vec<Lost>,
}

/// An owner, or one right, that the source does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// What gives it and nothing else.
    pub op: Op,
    /// In words.
    pub what: String,
}

/// What of a step the source has in these holdings.
pub fn still(plan: &Plan, op: &Op, source: &Holdings) -> Still {
    match op {
        Op::SetOwner(set) => {
            let on = set.on.as_grant_target();
            let origins = origins(plan, &on);
            let is_owner = |one: &GrantTarget| source.get(one).is_some_and(|found| found.owner == set.owner);
            if !origins.is_empty() && origins.iter().all(is_owner) {
                return Still { op: Some(op.clone()), gone: Vec::new() };
            }
            let what = format!("{} does not belong to {}", shown(&on), set.owner);
            Still { op: None, gone: vec![Lost { op: op.clone(), what }] }
        }
        Op::Grant(grant) => still_granted(plan, grant, source),
        other => Still { op: Some(other.clone()), gone: Vec::new() },
    }
}

fn still_granted(plan: &Plan, grant: &Grant, source: &Holdings) -> Still {
    let origins = origins(plan, &grant.on);
    let has = |right: &Right, grantable: bool| {
        let one = |origin: &GrantTarget| {
            let Some(found) = source.get(origin) else { return false };
            let held = found.granted(grant.to.as_ref()).get(right).copied();
            Some(&found.owner) == grant.to.as_ref() || held.is_some_and(|held| held || !grantable)
        };
        !origins.is_empty() && origins.iter().all(one)
    };
    let (to, on) = (grant.to.as_ref().map_or("everybody", Ident::as_str), shown(&grant.on));
    let (mut rights, mut grantable, mut gone) = (Vec::new(), Vec::new(), Vec::new());
    for one in singly(grant) {
        match (one.rights.first(), one.grantable.first()) {
            (Some(right), _) if has(right, false) => rights.push(*right),
            (_, Some(right)) if has(right, true) => grantable.push(*right),
            (_, Some(right)) if has(right, false) => {
                rights.push(*right);
                let what = format!("{to} may not grant {} on {on}", right.word());
                gone.push(Lost { op: Op::Grant(one), what });
            }
            (right, option) => {
                let Some(right) = right.or(option) else { continue };
                let what = format!("{to} does not have {} on {on}", right.word());
                gone.push(Lost { op: Op::Grant(one), what });
            }
        }
    }
    rights.sort();
    let is_left = !rights.is_empty() || !grantable.is_empty();
    let op = Op::Grant(Grant { rights, grantable, ..grant.clone() });
    Still { op: is_left.then_some(op), gone }
}

/// The same, each right by itself.
pub fn singly(grant: &Grant) -> Vec<Grant> {
    let plain = grant.rights.iter().map(|right| (vec![*right], Vec::new()));
    let options = grant.grantable.iter().map(|right| (Vec::new(), vec![*right]));
    plain.chain(options).map(|(rights, grantable)| Grant { rights, grantable, ..grant.clone() }).collect()
}

/// An object in words.
pub fn shown(on: &GrantTarget) -> String {
    match on {
        GrantTarget::Schema(name) => format!("schema {name}"),
        GrantTarget::Table(name) => format!("table {name}"),
        GrantTarget::Column(at) => format!("column {}.{}", at.table, at.column),
        GrantTarget::Sequence(name) => format!("sequence {name}"),
    }
}

/// The objects of the source that an object of the target comes from; none for one that is not the plan's.
pub fn origins(plan: &Plan, on: &GrantTarget) -> BTreeSet<GrantTarget> {
    match on {
        GrantTarget::Table(table) => {
            let of_view = views::named(plan, table).map(|view| GrantTarget::Table(view.source.clone()));
            plan.onto(table).map(|one| GrantTarget::Table(one.source.clone())).chain(of_view).collect()
        }
        GrantTarget::Column(at) => {
            let from = |one: &crate::projection::Projection| {
                let column = one.only_read(&at.column)?.clone();
                Some(GrantTarget::Column(ColumnRef { table: one.source.clone(), column }))
            };
            let found: Option<BTreeSet<GrantTarget>> = plan.onto(&at.table).map(from).collect();
            found.unwrap_or_default()
        }
        GrantTarget::Sequence(name) => sequences(plan)
            .filter(|(target, _)| *target == name)
            .flat_map(|(_, origins)| origins.map(|origin| GrantTarget::Sequence(origin.clone())))
            .collect(),
        GrantTarget::Schema(schema) => {
            let tables = plan.projections.iter().filter(|one| one.target.schema == *schema);
            let of_tables = tables.map(|one| one.source.schema.clone());
            let of_sequences = sequences(plan).filter(|(target, _)| target.schema == *schema);
            let of_sequences = of_sequences.flat_map(|(_, origins)| origins.map(|origin| origin.schema.clone()));
            // Types keep their names; a schema that is not made for them keeps its rights.
            let is_made =
                plan.steps.iter().any(|step| matches!(&step.op, Op::CreateSchema(op) if op.schema == *schema));
            let types = plan.source.types.iter().flat_map(|(name, def)| def.makes(name));
            let of_types = types.filter(|name| is_made && name.schema == *schema).map(|name| name.schema.clone());
            let of_views = views::made(plan).filter(|view| is_made && view.name.schema == *schema);
            let of_views = of_views.map(|view| view.source.schema.clone());
            of_tables.chain(of_sequences).chain(of_types).chain(of_views).map(GrantTarget::Schema).collect()
        }
    }
}

/// Every sequence of the target with those that it goes on from.
fn sequences(plan: &Plan) -> impl Iterator<Item = (&QualifiedName, impl Iterator<Item = &QualifiedName>)> {
    plan.steps.iter().filter_map(|step| match &step.op {
        Op::SetSequence(set) => Some((&set.target, set.source.iter().chain(&set.further))),
        _ => None,
    })
}

/// True when the plan creates the schema, and none that is there is as good: in one that is there it decides nothing.
pub fn creates_schema(plan: &Plan, schema: &Ident) -> bool {
    plan.steps.iter().any(|step| matches!(&step.op, Op::CreateSchema(op) if op.schema == *schema && op.must_be_new))
}

/// The object gets an owner of its own, and what goes along belongs to it.
fn is_given(plan: &Plan, op: &SetOwner) -> bool {
    let counts_for = |name: &QualifiedName, table: &QualifiedName| {
        plan.steps.iter().any(|step| match &step.op {
            Op::SetSequence(set) => set.target == *name && set.columns.iter().any(|at| at.table == *table),
            _ => false,
        })
    };
    let of_table = plan.steps.iter().find_map(|step| match (&step.op, &op.on) {
        (Op::CreateTable(create), OwnerTarget::Table(table)) if create.name == *table => create.partitioning.as_ref(),
        _ => None,
    });
    let partitions = of_table.iter().flat_map(|whole| &whole.partitions).map(|partition| &partition.name);
    if !op.partitions.iter().eq(partitions) {
        return false;
    }
    match &op.on {
        OwnerTarget::Schema(schema) => op.sequences.is_empty() && creates_schema(plan, schema),
        OwnerTarget::Sequence(name) => op.sequences.is_empty() && sequences(plan).any(|(target, _)| target == name),
        OwnerTarget::Table(view) if views::named(plan, view).is_some() => op.sequences.is_empty(),
        OwnerTarget::Table(table) => {
            plan.onto(table).next().is_some() && op.sequences.iter().all(|name| counts_for(name, table))
        }
    }
}

/// A right is one of its kind of object, said once, and nobody gets it past the policies of the source's table.
fn is_granted(plan: &Plan, op: &Grant) -> bool {
    let said: Vec<&Right> = op.rights.iter().chain(&op.grantable).collect();
    let is_once = !said.is_empty() && said.iter().collect::<BTreeSet<_>>().len() == said.len();
    let is_open = |table: &QualifiedName| {
        let guarded = |name: &QualifiedName| plan.source.tables.get(name).is_none_or(|found| found.row_security);
        plan.onto(table).next().is_some()
            && (is_whole(plan, table) || !plan.onto(table).any(|one| guarded(&one.source)))
    };
    is_once
        && match &op.on {
            GrantTarget::Table(table) => match views::named(plan, table) {
                Some(view) => view.tables.iter().all(is_open),
                None => is_open(table),
            },
            GrantTarget::Column(at) => is_open(&at.table),
            GrantTarget::Sequence(name) => sequences(plan).any(|(target, _)| target == name),
            GrantTarget::Schema(schema) => {
                let for_those_who_create = op.to.is_none() || said.contains(&&Right::Create);
                !origins(plan, &op.on).is_empty() && (creates_schema(plan, schema) || !for_those_who_create)
            }
        }
}

/// Who is to have what on the target, in words: the owner of each object, then each role with its rights, then what fires and
/// which rows are hidden.
pub fn in_words(plan: &Plan) -> Vec<(String, Vec<String>)> {
    let (mut found, mut further) =
        (BTreeMap::<GrantTarget, Vec<String>>::new(), BTreeMap::<GrantTarget, Vec<String>>::new());
    for step in &plan.steps {
        match &step.op {
            Op::SetOwner(op) => {
                found.entry(op.on.as_grant_target()).or_default().insert(0, format!("owner {}", op.owner));
            }
            Op::Grant(op) => {
                let plain = op.rights.iter().map(|right| (*right, ""));
                let grantable = op.grantable.iter().map(|right| (*right, " (may grant it)"));
                let mut rights: Vec<(Right, &str)> = plain.chain(grantable).collect();
                rights.sort();
                let rights: Vec<String> =
                    rights.into_iter().map(|(right, more)| format!("{}{more}", right.word())).collect();
                let to = op.to.as_ref().map_or_else(|| "everybody (PUBLIC)".to_owned(), ToString::to_string);
                found.entry(op.on.clone()).or_default().push(format!("{to}: {}", rights.join(", ")));
            }
            Op::CreateView(op) => {
                let tables = op.tables.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                let filled = match &op.def.materialized {
                    None => "",
                    Some(one) if one.unpopulated => "; empty until its first REFRESH, as on the source",
                    Some(_) => "; filled once, when it is made",
                };
                let line = format!("shows rows of {tables}{filled}");
                further.entry(GrantTarget::Table(op.name.clone())).or_default().push(line);
            }
            Op::CreateFunction(op) => {
                let line = format!("function {}() is created as on the source", op.name);
                further.entry(GrantTarget::Schema(op.name.schema.clone())).or_default().push(line);
            }
            Op::CreateTrigger(op) => {
                let firing = op.firing.words().map_or_else(String::new, |words| format!(" ({words})"));
                let line = format!("trigger {} calls {}{firing}", op.name, op.def.function);
                further.entry(GrantTarget::Table(op.table.clone())).or_default().push(line);
            }
            Op::CreatePolicy(op) => {
                let kind = if op.def.restrictive { "restrictive" } else { "permissive" };
                let roles = op.def.roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                let to = if roles.is_empty() { "everybody (PUBLIC)" } else { &roles };
                let line = format!("policy {}: {kind}, for {}, to {to}", op.name, op.def.command.word());
                further.entry(GrantTarget::Table(op.table.clone())).or_default().push(line);
            }
            Op::SetRowSecurity(op) => {
                let words = [(op.enabled, "on"), (op.forced, "forced on the owner too")];
                let words: Vec<&str> = words.into_iter().filter(|(is_set, _)| *is_set).map(|(_, word)| word).collect();
                let line = format!("row security: {}", words.join(", "));
                further.entry(GrantTarget::Table(op.table.clone())).or_default().push(line);
            }
            _ => {}
        }
    }
    for (on, lines) in further {
        found.entry(on).or_default().extend(lines);
    }
    let of_view = |on: &GrantTarget| match on {
        GrantTarget::Table(name) => {
            views::named(plan, name).map(|op| format!("{} {name}", view::word(&op.def).to_lowercase()))
        }
        _ => None,
    };
    found.into_iter().map(|(on, lines)| (of_view(&on).unwrap_or_else(|| shown(&on)), lines)).collect()
}
