//! What the target must have besides rows before it can take over, and what of it is there (`pcrd readiness`).

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use crate::catalog::{AclItem, Catalog, ColumnRef, GrantTarget, Held, OwnerTarget, QualifiedName, Right, RowSecurity};
use crate::plan::policies;
use crate::plan::triggers::{is_as_planned, is_function};
use crate::plan::{CommentTarget, Grant, Op, Plan};
use crate::sql::rewrite::{sequences, sequences_named, skeleton};

/// One object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Item {
    /// `table`, `index`, `constraint`, ….
    pub kind: String,
    /// Its address on the target.
    pub address: String,
    /// Whether it is there.
    pub status: Status,
    /// The statements of the plan, or why it needs a person.
    pub detail: String,
}

/// Whether an object is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// On the target.
    Present,
    /// A step of the plan makes it.
    Planned,
    /// Not carried: someone must decide.
    NeedsReview,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Present => "present",
            Self::Planned => "planned",
            Self::NeedsReview => "needs review",
        })
    }
}

/// Every object of the plan's steps in plan order, then what the plan does not carry.
pub fn manifest(plan: &Plan, target: &Catalog) -> Vec<Item> {
    let mut items = Vec::new();
    for step in &plan.steps {
        let Some((kind, address, is_present)) = object(&step.op, target) else { continue };
        let statements: Vec<&str> = step.statements.iter().map(|statement| statement.sql.as_str()).collect();
        let status = if is_present { Status::Present } else { Status::Planned };
        items.push(Item { kind: kind.to_owned(), address, status, detail: statements.join(";\n") });
    }
    items.extend(plan.not_carried.iter().map(|left| Item {
        kind: left.kind.clone(),
        address: left.name.clone(),
        status: Status::NeedsReview,
        detail: left.why.clone(),
    }));
    items
}

fn securities(table: &QualifiedName, target: &Catalog) -> policies::Securities {
    let found = target.tables.get(table);
    found.map(|found| (table.clone(), RowSecurity::of(found))).into_iter().collect()
}

/// Kind, address and presence of the object that a step makes; `None` for steps that make none.
fn object(op: &Op, target: &Catalog) -> Option<(&'static str, String, bool)> {
    let in_table = |table: &QualifiedName, name: &dyn fmt::Display| format!("{table}.{name}");
    match op {
        Op::CreateSchema(op) => Some(("schema", op.schema.to_string(), target.schemas.contains(&op.schema))),
        Op::CreateType(op) => Some(("type", op.name.to_string(), target.types.contains_key(&op.name))),
        Op::CreateSequence(op) => Some(("sequence", op.name.to_string(), target.sequences.contains_key(&op.name))),
        Op::CreateTable(op) => Some(("table", op.name.to_string(), target.tables.contains_key(&op.name))),
        Op::CreateIndex(op) => {
            let found = target.tables.get(&op.table).and_then(|table| table.indexes.get(&op.name));
            Some(("index", in_table(&op.table, &op.name), found.is_some_and(|index| index.valid)))
        }
        Op::CreateStatistics(op) => {
            let found = target.tables.get(&op.table);
            let is_there = found.is_some_and(|table| table.statistics.contains_key(&op.name));
            Some(("statistics", op.name.to_string(), is_there))
        }
        Op::CreateView(op) => {
            let found = target.views.get(&op.name);
            Some(("view", op.name.to_string(), found.is_some_and(|view| view.definition == op.def.definition)))
        }
        Op::ClusterOn(op) => {
            let found = target.tables.get(&op.table).and_then(|table| table.indexes.get(&op.index));
            Some(("clustered index", in_table(&op.table, &op.index), found.is_some_and(|index| index.clustered)))
        }
        Op::SetReplicaIdentity(op) => {
            let found = target.tables.get(&op.table);
            let is_there = found.is_some_and(|table| table.replica_identity == op.identity);
            Some(("replica identity", op.table.to_string(), is_there))
        }
        Op::AddConstraint(op) => {
            let is_there = target.tables.get(&op.table).is_some_and(|table| table.constraints.contains_key(&op.name));
            Some(("constraint", in_table(&op.table, &op.name), is_there))
        }
        Op::ValidateConstraint(op) => {
            let found = target.tables.get(&op.table).and_then(|table| table.constraints.get(&op.name));
            Some(("validation", in_table(&op.table, &op.name), found.is_some_and(|constraint| constraint.validated)))
        }
        Op::SetComment(op) => {
            let (address, found) = comment(&op.on, target);
            Some(("comment", address, found == Some(&op.text)))
        }
        Op::CreateFunction(op) => {
            let found = target.trigger_functions.as_ref().and_then(|functions| functions.get(&op.name));
            let is_there = found.and_then(|found| found.definition.as_ref()).is_some_and(|text| is_function(op, text));
            Some(("function", op.name.to_string(), is_there))
        }
        Op::CreateTrigger(op) => {
            let found = target.tables.get(&op.table).and_then(|table| table.triggers.get(&op.name));
            Some(("trigger", in_table(&op.table, &op.name), found.is_some_and(|found| is_as_planned(op, found))))
        }
        Op::CreatePolicy(policy) => Some((
            "policy",
            in_table(&policy.table, &policy.name),
            policies::is_so(op, &securities(&policy.table, target)),
        )),
        Op::SetRowSecurity(set) => {
            Some(("row security", set.table.to_string(), policies::is_so(op, &securities(&set.table, target))))
        }
        Op::SetOwner(op) => {
            let (address, found) = match &op.on {
                OwnerTarget::Schema(name) => (name.to_string(), target.schema_rights.get(name).map(|own| &own.owner)),
                OwnerTarget::Table(name) => (name.to_string(), target.tables.get(name).map(|table| &table.owner)),
                OwnerTarget::Sequence(name) => (name.to_string(), target.sequences.get(name).map(|own| &own.owner)),
            };
            Some(("owner", address, found == Some(&op.owner)))
        }
        Op::Grant(op) => {
            let to = op.to.as_ref().map_or_else(|| "PUBLIC".to_owned(), ToString::to_string);
            let (address, found) = grants(&op.on, target);
            Some(("grant", format!("{address} to {to}"), is_granted(op, found)))
        }
        Op::SetDefault(op) => {
            let ColumnRef { table, column } = &op.column;
            let found = target.tables.get(table).and_then(|table| table.column(column));
            let is_there =
                found.and_then(|column| column.default.as_deref()).is_some_and(|own| alike(own, &op.default));
            Some(("default", in_table(table, column), is_there))
        }
        Op::CreateLedger(_)
        | Op::GuardTruncate(_)
        | Op::CreatePublication(_)
        | Op::CreateSlot(_)
        | Op::FreezeDefaults(_)
        | Op::CopyTable(_)
        | Op::StreamChanges(_)
        | Op::AnalyzeTable(_)
        | Op::VerifyTable(_)
        | Op::Fence(_)
        | Op::Drain(_)
        | Op::VerifyFinal(_)
        | Op::SetSequence(_)
        | Op::Switch(_)
        | Op::RenameSource(_)
        | Op::PublishBack(_)
        | Op::CreateBackSlot(_)
        | Op::ProbeBack(_)
        | Op::ArmBack(_)
        | Op::StreamBack(_)
        | Op::DropBackSlot(_)
        | Op::DropBackPublication(_)
        | Op::DropSlot(_)
        | Op::DropPublication(_)
        | Op::DropFence(_) => None,
    }
}

fn grants<'c>(on: &GrantTarget, target: &'c Catalog) -> (String, Option<&'c Vec<String>>) {
    match on {
        GrantTarget::Schema(name) => (name.to_string(), target.schema_rights.get(name).map(|own| &own.grants)),
        GrantTarget::Table(name) => (name.to_string(), target.tables.get(name).map(|table| &table.grants)),
        GrantTarget::Sequence(name) => (name.to_string(), target.sequences.get(name).map(|own| &own.grants)),
        GrantTarget::Column(ColumnRef { table, column }) => {
            let found = target.tables.get(table).and_then(|table| table.column(column));
            (format!("{table}.{column}"), found.map(|column| &column.grants))
        }
    }
}

fn is_granted(op: &Grant, found: Option<&Vec<String>>) -> bool {
    let items = found.into_iter().flatten().filter_map(|text| AclItem::parse(text));
    let held: Vec<Held> = items.filter(|item| item.grantee == op.to).flat_map(|item| item.rights).collect();
    let has = |right: &Right| held.iter().any(|one| one.right == *right);
    op.rights.iter().all(has)
        && op.grantable.iter().all(|right| held.contains(&Held { right: *right, grantable: true }))
}

/// The server writes names with quotes only where they need them.
fn alike(one: &str, other: &str) -> bool {
    let form = |text: &str| {
        let named = sequences_named(text)?;
        skeleton(&sequences(text, &named.into_iter().map(|name| (name.clone(), name)).collect())?)
    };
    form(one).is_ok_and(|one| form(other).is_ok_and(|other| one == other))
}

fn comment<'c>(on: &CommentTarget, target: &'c Catalog) -> (String, Option<&'c String>) {
    match on {
        CommentTarget::Table(name) => {
            (name.to_string(), target.tables.get(name).and_then(|table| table.comment.as_ref()))
        }
        CommentTarget::Column(ColumnRef { table, column }) => {
            let found = target.tables.get(table).and_then(|table| table.column(column));
            (format!("{table}.{column}"), found.and_then(|column| column.comment.as_ref()))
        }
        CommentTarget::Index(name) => {
            let found = target
                .tables
                .iter()
                .filter(|(table, _)| table.schema == name.schema)
                .find_map(|(_, table)| table.indexes.get(&name.name));
            (name.to_string(), found.and_then(|index| index.comment.as_ref()))
        }
        CommentTarget::Constraint(ColumnRef { table, column }) => {
            let found = target.tables.get(table).and_then(|table| table.constraints.get(column));
            (format!("{table}.{column}"), found.and_then(|constraint| constraint.comment.as_ref()))
        }
        CommentTarget::Sequence(name) => {
            (name.to_string(), target.sequences.get(name).and_then(|sequence| sequence.comment.as_ref()))
        }
        CommentTarget::Statistics(name) => {
            let found = target.tables.values().find_map(|table| table.statistics.get(name));
            (name.to_string(), found.and_then(|statistics| statistics.comment.as_ref()))
        }
    }
}
