//! From the fence to the switch.

use std::collections::BTreeSet;

use crate::catalog::{GrantTarget, OwnerTarget, QualifiedName, Right};
use crate::plan::kind::Kind;
use crate::plan::rules::rule::always;
use crate::plan::rules::{Link, Rule, World};
use crate::plan::{CreatePolicy, Grant, Op, SetOwner, SetRowSecurity};
use crate::sql::rewrite::sequences_named;

/// See the module.
pub const RULES: &[Rule] = &[
    Rule {
        sentence: "every table is verified before writes stop",
        earlier: &[Kind::VerifyTable],
        later: &[Kind::Fence],
        gives: always,
        needs: always,
    },
    Rule {
        sentence: "whatever takes long is done before writes stop",
        earlier: &[
            Kind::CreateIndex,
            Kind::CreateStatistics,
            Kind::CreateView,
            Kind::ClusterOn,
            Kind::SetReplicaIdentity,
            Kind::AddConstraint,
            Kind::ValidateConstraint,
            Kind::SetComment,
            Kind::CreateSequence,
            Kind::AnalyzeTable,
        ],
        later: &[Kind::Fence],
        gives: always,
        needs: always,
    },
    Rule {
        sentence: "who may create in a schema is settled before something in it belongs to a role",
        earlier: &[Kind::SetOwner, Kind::Grant],
        later: &[Kind::SetOwner],
        gives: schema,
        needs: within,
    },
    Rule {
        sentence: "a function exists before a trigger calls it",
        earlier: &[Kind::CreateFunction],
        later: &[Kind::CreateTrigger],
        gives: function,
        needs: calls,
    },
    Rule {
        sentence: "a table has its triggers before somebody else has rights on it, who could keep them from being made",
        earlier: &[Kind::CreateTrigger],
        later: &[Kind::SetOwner, Kind::Grant],
        gives: fires_on,
        needs: given,
    },
    Rule {
        sentence: "a table has its policies before its row security is on, which hides every row without them",
        earlier: &[Kind::CreatePolicy],
        later: &[Kind::SetRowSecurity],
        gives: hides,
        needs: hides,
    },
    Rule {
        sentence: "rows are hidden before somebody could see them",
        earlier: &[Kind::CreatePolicy, Kind::SetRowSecurity],
        later: &[Kind::SetOwner, Kind::Grant],
        gives: hides,
        needs: given,
    },
    Rule {
        sentence: "an object has its owner before others have rights on it: they would go with the one before",
        earlier: &[Kind::SetOwner],
        later: &[Kind::Grant],
        gives: owned,
        needs: granted_on,
    },
    Rule {
        sentence: "the stream runs before its end is fixed",
        earlier: &[Kind::StreamChanges],
        later: &[Kind::Fence],
        gives: always,
        needs: always,
    },
    Rule {
        sentence: "the end of the stream is fixed before it is drained",
        earlier: &[Kind::Fence],
        later: &[Kind::Drain],
        gives: always,
        needs: always,
    },
    Rule {
        sentence: "the stream is drained before its last rows are compared",
        earlier: &[Kind::Drain],
        later: &[Kind::VerifyFinal],
        gives: always,
        needs: always,
    },
    Rule {
        sentence: "both ends are proven equal before the target changes on its own",
        earlier: &[Kind::VerifyFinal],
        later: &[Kind::SetSequence, Kind::SetDefault, Kind::Switch],
        gives: always,
        needs: always,
    },
    Rule {
        sentence: "a sequence is past the source's before a default calls it",
        earlier: &[Kind::SetSequence],
        later: &[Kind::SetDefault],
        gives: set,
        needs: called,
    },
    Rule {
        sentence: "sequences and defaults are in place before the target opens",
        earlier: &[Kind::SetSequence, Kind::SetDefault],
        later: &[Kind::Switch],
        gives: always,
        needs: always,
    },
    Rule {
        sentence: "nothing is applied any more once somebody else has rights on the target, or something fires there",
        earlier: &[Kind::VerifyFinal, Kind::ArmBack],
        later: &[
            Kind::CreateFunction,
            Kind::CreateTrigger,
            Kind::CreatePolicy,
            Kind::SetRowSecurity,
            Kind::SetOwner,
            Kind::Grant,
        ],
        gives: always,
        needs: always,
    },
    Rule {
        sentence: "a table and its sequences are complete before somebody else has rights on them",
        earlier: &[Kind::SetSequence, Kind::SetDefault],
        later: &[Kind::CreateTrigger, Kind::CreatePolicy, Kind::SetRowSecurity, Kind::SetOwner, Kind::Grant],
        gives: completes,
        needs: given,
    },
    Rule {
        sentence: "who may use the target, and what fires there, is settled before it opens",
        earlier: &[
            Kind::CreateFunction,
            Kind::CreateTrigger,
            Kind::CreatePolicy,
            Kind::SetRowSecurity,
            Kind::SetOwner,
            Kind::Grant,
        ],
        later: &[Kind::Switch],
        gives: always,
        needs: always,
    },
    Rule {
        sentence: "the source's tables keep their names until the target is open",
        earlier: &[Kind::Switch],
        later: &[Kind::RenameSource],
        gives: always,
        needs: always,
    },
];

/// The schema in which the step lets a role create, as the owner of an object there must be able to.
fn schema(_: &World, op: &Op) -> Vec<Link> {
    match op {
        Op::SetOwner(SetOwner { on: OwnerTarget::Schema(schema), .. }) => vec![Link::Schema(schema.clone())],
        Op::Grant(Grant { on: GrantTarget::Schema(schema), rights, grantable, .. })
            if rights.iter().chain(grantable).any(|right| *right == Right::Create) =>
        {
            vec![Link::Schema(schema.clone())]
        }
        _ => Vec::new(),
    }
}

/// The schema in which it lies.
fn within(_: &World, op: &Op) -> Vec<Link> {
    match op {
        Op::SetOwner(SetOwner { on: OwnerTarget::Table(name) | OwnerTarget::Sequence(name), .. }) => {
            vec![Link::Schema(name.schema.clone())]
        }
        _ => Vec::new(),
    }
}

/// Everything whose owner the step sets.
fn owned(_: &World, op: &Op) -> Vec<Link> {
    let Op::SetOwner(set) = op else { return Vec::new() };
    let on = match &set.on {
        OwnerTarget::Schema(schema) => Link::Schema(schema.clone()),
        OwnerTarget::Table(name) => Link::Table(name.clone()),
        OwnerTarget::Sequence(name) => Link::Sequence(name.clone()),
    };
    std::iter::once(on).chain(set.sequences.iter().cloned().map(Link::Sequence)).collect()
}

/// What the step leaves as it is to stay.
fn completes(_: &World, op: &Op) -> Vec<Link> {
    match op {
        Op::SetSequence(set) => {
            let tables: BTreeSet<&QualifiedName> = set.columns.iter().map(|at| &at.table).collect();
            let tables = tables.into_iter().cloned().map(Link::Table);
            tables.chain([Link::Sequence(set.target.clone())]).collect()
        }
        Op::SetDefault(set) => vec![Link::Table(set.column.table.clone())],
        _ => Vec::new(),
    }
}

/// Everything that the step gives somebody rights on.
fn given(world: &World, op: &Op) -> Vec<Link> {
    let mut links = owned(world, op);
    links.extend(granted_on(world, op));
    links.extend(fires_on(world, op));
    links.extend(hides(world, op));
    links
}

fn function(_: &World, op: &Op) -> Vec<Link> {
    let Op::CreateFunction(create) = op else { return Vec::new() };
    vec![Link::Function(create.name.clone())]
}

fn calls(_: &World, op: &Op) -> Vec<Link> {
    let Op::CreateTrigger(trigger) = op else { return Vec::new() };
    vec![Link::Function(trigger.def.function.clone())]
}

fn fires_on(_: &World, op: &Op) -> Vec<Link> {
    let Op::CreateTrigger(trigger) = op else { return Vec::new() };
    vec![Link::Table(trigger.table.clone())]
}

/// The table whose rows the step hides from some.
fn hides(_: &World, op: &Op) -> Vec<Link> {
    match op {
        Op::CreatePolicy(CreatePolicy { table, .. }) | Op::SetRowSecurity(SetRowSecurity { table, .. }) => {
            vec![Link::Table(table.clone())]
        }
        _ => Vec::new(),
    }
}

fn granted_on(_: &World, op: &Op) -> Vec<Link> {
    let Op::Grant(grant) = op else { return Vec::new() };
    vec![match &grant.on {
        GrantTarget::Schema(schema) => Link::Schema(schema.clone()),
        GrantTarget::Table(name) => Link::Table(name.clone()),
        GrantTarget::Column(at) => Link::Table(at.table.clone()),
        GrantTarget::Sequence(name) => Link::Sequence(name.clone()),
    }]
}

fn set(_: &World, op: &Op) -> Vec<Link> {
    let Op::SetSequence(set) = op else { return Vec::new() };
    vec![Link::Sequence(set.target.clone())]
}

fn called(_: &World, op: &Op) -> Vec<Link> {
    let Op::SetDefault(set) = op else { return Vec::new() };
    sequences_named(&set.default).unwrap_or_default().into_iter().map(Link::Sequence).collect()
}
