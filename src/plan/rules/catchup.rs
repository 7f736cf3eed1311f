//! Indexes, constraints, comments, statistics and comparison while the stream runs.

use crate::catalog::{Ident, QualifiedName, ReplicaIdentity};
use crate::plan::kind::Kind;
use crate::plan::rules::rule::table;
use crate::plan::rules::{Link, Rule, World};
use crate::plan::{CommentTarget, Op};
use crate::sql::rewrite::referenced_table;

/// See the module.
pub const RULES: &[Rule] = &[
    Rule {
        sentence: "rows are copied before secondary indexes and constraints exist",
        earlier: &[Kind::CopyTable],
        later: &[Kind::CreateIndex, Kind::CreateStatistics, Kind::AddConstraint],
        gives: table,
        needs: table_of_secondary,
    },
    Rule {
        sentence: "the referenced rows are copied before a foreign key looks for them",
        earlier: &[Kind::CopyTable],
        later: &[Kind::AddConstraint],
        gives: table,
        needs: referenced,
    },
    Rule {
        sentence: "the referenced key exists before a foreign key names it",
        earlier: &[Kind::CreateIndex, Kind::AddConstraint],
        later: &[Kind::AddConstraint],
        gives: table_of_unique,
        needs: referenced,
    },
    Rule {
        sentence: "a constraint is added before it is validated",
        earlier: &[Kind::AddConstraint],
        later: &[Kind::ValidateConstraint],
        gives: constraint,
        needs: constraint,
    },
    Rule {
        sentence: "an object exists before its comment",
        earlier: &[
            Kind::CreateTable,
            Kind::CreateSequence,
            Kind::CreateIndex,
            Kind::CreateStatistics,
            Kind::AddConstraint,
        ],
        later: &[Kind::SetComment],
        gives: built,
        needs: commented,
    },
    Rule {
        sentence: "what a view reads exists before it",
        earlier: &[Kind::CreateTable, Kind::AddConstraint, Kind::CreateView],
        later: &[Kind::CreateView],
        gives: readable,
        needs: read_by_view,
    },
    Rule {
        sentence: "an index exists before something is said of it",
        earlier: &[Kind::CreateTable, Kind::CreateIndex, Kind::AddConstraint],
        later: &[Kind::ClusterOn, Kind::SetReplicaIdentity],
        gives: built,
        needs: marked,
    },
    Rule {
        sentence: "statistics are collected when all rows and expression indexes are there",
        earlier: &[Kind::CopyTable, Kind::CreateIndex, Kind::CreateStatistics],
        later: &[Kind::AnalyzeTable],
        gives: table,
        needs: table,
    },
    Rule {
        sentence: "rows are copied before they are compared",
        earlier: &[Kind::CopyTable],
        later: &[Kind::VerifyTable],
        gives: table,
        needs: table,
    },
    Rule {
        sentence: "the planner has statistics before rows are compared",
        earlier: &[Kind::AnalyzeTable],
        later: &[Kind::VerifyTable],
        gives: table,
        needs: table,
    },
];

fn table_of_secondary(world: &World, op: &Op) -> Vec<Link> {
    if op.builds_key() { Vec::new() } else { table(world, op) }
}

fn referenced(_: &World, op: &Op) -> Vec<Link> {
    let Op::AddConstraint(add) = op else { return Vec::new() };
    referenced_table(&add.definition).map(Link::Table).into_iter().collect()
}

fn table_of_unique(world: &World, op: &Op) -> Vec<Link> {
    let unique = match op {
        Op::CreateIndex(create) => create.statement.starts_with("CREATE UNIQUE"),
        Op::AddConstraint(add) => add.definition.starts_with("UNIQUE") || add.definition.starts_with("PRIMARY KEY"),
        _ => false,
    };
    if unique { table(world, op) } else { Vec::new() }
}

fn constraint(_: &World, op: &Op) -> Vec<Link> {
    match op {
        Op::AddConstraint(add) => vec![Link::Constraint(add.table.clone(), add.name.clone())],
        Op::ValidateConstraint(validate) => vec![Link::Constraint(validate.table.clone(), validate.name.clone())],
        _ => Vec::new(),
    }
}

/// What can have a comment once the step is done.
fn built(_: &World, op: &Op) -> Vec<Link> {
    let index = |table: &QualifiedName, name: &Ident| {
        Link::Index(QualifiedName { schema: table.schema.clone(), name: name.clone() })
    };
    match op {
        Op::CreateTable(create) => {
            let key = create.key.iter().map(|key| index(&create.name, &key.name));
            let identities = create.columns.iter().filter_map(|column| column.identity.as_ref());
            let sequences = identities.map(|identity| Link::Sequence(identity.sequence.clone()));
            std::iter::once(Link::Table(create.name.clone())).chain(key).chain(sequences).collect()
        }
        Op::CreateSequence(create) => vec![Link::Sequence(create.name.clone())],
        Op::CreateIndex(create) => vec![index(&create.table, &create.name)],
        Op::CreateStatistics(create) => vec![Link::Statistics(create.name.clone())],
        Op::AddConstraint(add) => {
            vec![Link::Constraint(add.table.clone(), add.name.clone()), index(&add.table, &add.name)]
        }
        _ => Vec::new(),
    }
}

fn commented(_: &World, op: &Op) -> Vec<Link> {
    let Op::SetComment(comment) = op else { return Vec::new() };
    match &comment.on {
        CommentTarget::Table(name) => vec![Link::Table(name.clone())],
        CommentTarget::Column(at) => vec![Link::Table(at.table.clone())],
        CommentTarget::Constraint(at) => {
            vec![Link::Constraint(at.table.clone(), at.column.clone()), Link::Table(at.table.clone())]
        }
        CommentTarget::Index(name) => vec![Link::Index(name.clone())],
        CommentTarget::Sequence(name) => vec![Link::Sequence(name.clone())],
        CommentTarget::Statistics(name) => vec![Link::Statistics(name.clone())],
    }
}

/// What a view can read once the step is done; a key lets it group by less.
fn readable(world: &World, op: &Op) -> Vec<Link> {
    match op {
        Op::CreateView(create) => vec![Link::Table(create.name.clone())],
        Op::AddConstraint(add) if !add.definition.starts_with("PRIMARY KEY") => Vec::new(),
        _ => table(world, op),
    }
}

fn read_by_view(_: &World, op: &Op) -> Vec<Link> {
    let Op::CreateView(create) = op else { return Vec::new() };
    create.reads.iter().cloned().map(Link::Table).collect()
}

/// The table, and the index that is marked.
fn marked(_: &World, op: &Op) -> Vec<Link> {
    let (table, index) = match op {
        Op::ClusterOn(op) => (&op.table, Some(&op.index)),
        Op::SetReplicaIdentity(op) => match &op.identity {
            ReplicaIdentity::Index(index) => (&op.table, Some(index)),
            ReplicaIdentity::Default | ReplicaIdentity::Full | ReplicaIdentity::Nothing => (&op.table, None),
        },
        _ => return Vec::new(),
    };
    let index = index.map(|name| QualifiedName { schema: table.schema.clone(), name: name.clone() });
    [Link::Table(table.clone())].into_iter().chain(index.map(Link::Index)).collect()
}
