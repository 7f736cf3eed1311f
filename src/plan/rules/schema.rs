//! Objects of the target.

use crate::catalog::QualifiedName;
use crate::catalog::type_def::named;
use crate::plan::Op;
use crate::plan::kind::Kind;
use crate::plan::rules::rule::table;
use crate::plan::rules::{Link, Rule, World};
use crate::sql::rewrite::sequences_named;

/// See the module.
pub const RULES: &[Rule] = &[
    Rule {
        sentence: "a schema exists before its objects",
        earlier: &[Kind::CreateSchema],
        later: &[Kind::CreateType, Kind::CreateTable, Kind::CreateSequence, Kind::CreateStatistics, Kind::CreateView],
        gives: schema,
        needs: own_schema,
    },
    Rule {
        sentence: "a type exists before what is made of it",
        earlier: &[Kind::CreateType],
        later: &[Kind::CreateType, Kind::CreateTable],
        gives: made_type,
        needs: types,
    },
    Rule {
        sentence: "a column exists before a sequence is owned by it",
        earlier: &[Kind::CreateTable],
        later: &[Kind::CreateSequence],
        gives: table,
        needs: owner,
    },
    Rule {
        sentence: "a table exists before its key is indexed",
        earlier: &[Kind::CreateTable],
        later: &[Kind::CreateIndex, Kind::AddConstraint],
        gives: table,
        needs: table_of_key,
    },
    Rule {
        sentence: "a sequence exists before a default calls it",
        earlier: &[Kind::CreateSequence],
        later: &[Kind::FreezeDefaults, Kind::SetDefault],
        gives: sequence,
        needs: called,
    },
    Rule {
        sentence: "a table exists before its defaults are evaluated",
        earlier: &[Kind::CreateTable],
        later: &[Kind::FreezeDefaults],
        gives: table,
        needs: table,
    },
];

fn schema(_: &World, op: &Op) -> Vec<Link> {
    let Op::CreateSchema(create) = op else { return Vec::new() };
    vec![Link::Schema(create.schema.clone())]
}

fn own_schema(_: &World, op: &Op) -> Vec<Link> {
    let name = match op {
        Op::CreateType(create) => {
            return create.def.makes(&create.name).map(|made| Link::Schema(made.schema.clone())).collect();
        }
        Op::CreateTable(create) => &create.name,
        Op::CreateSequence(create) => &create.name,
        Op::CreateStatistics(create) => &create.name,
        Op::CreateView(create) => &create.name,
        _ => return Vec::new(),
    };
    vec![Link::Schema(name.schema.clone())]
}

fn made_type(_: &World, op: &Op) -> Vec<Link> {
    let Op::CreateType(create) = op else { return Vec::new() };
    create.def.makes(&create.name).cloned().map(Link::Type).collect()
}

fn types(_: &World, op: &Op) -> Vec<Link> {
    let named: Vec<QualifiedName> = match op {
        Op::CreateType(create) => create.def.needs(),
        Op::CreateTable(create) => create.columns.iter().filter_map(|column| named(&column.ty.sql)).collect(),
        _ => Vec::new(),
    };
    named.into_iter().map(Link::Type).collect()
}

fn owner(_: &World, op: &Op) -> Vec<Link> {
    let Op::CreateSequence(create) = op else { return Vec::new() };
    create.sequence.owned_by.iter().map(|owner| Link::Table(owner.table.clone())).collect()
}

fn table_of_key(world: &World, op: &Op) -> Vec<Link> {
    if op.builds_key() { table(world, op) } else { Vec::new() }
}

fn sequence(_: &World, op: &Op) -> Vec<Link> {
    let Op::CreateSequence(create) = op else { return Vec::new() };
    vec![Link::Sequence(create.name.clone())]
}

fn called(_: &World, op: &Op) -> Vec<Link> {
    let defaults: Vec<&String> = match op {
        Op::FreezeDefaults(freeze) => freeze.columns.iter().map(|column| &column.default).collect(),
        Op::SetDefault(set) => vec![&set.default],
        _ => Vec::new(),
    };
    let named = defaults.into_iter().flat_map(|default| sequences_named(default).unwrap_or_default());
    named.map(Link::Sequence).collect()
}
