//! Indexes, constraints, comments, statistics and comparison while the stream runs.

use crate::catalog::QualifiedName;
use crate::plan::kind::Kind;
use crate::plan::rules::rule::same_table;
use crate::plan::rules::{Rule, World};
use crate::plan::{CommentTarget, Op};
use crate::sql::rewrite::referenced_table;

/// See the module.
pub const RULES: &[Rule] = &[
    Rule {
        sentence: "rows are copied before secondary indexes and constraints exist",
        earlier: &[Kind::CopyTable],
        later: &[Kind::CreateIndex, Kind::AddConstraint],
        when: is_secondary,
    },
    Rule {
        sentence: "the referenced rows are copied before a foreign key looks for them",
        earlier: &[Kind::CopyTable],
        later: &[Kind::AddConstraint],
        when: is_referenced,
    },
    Rule {
        sentence: "the referenced key exists before a foreign key names it",
        earlier: &[Kind::CreateIndex, Kind::AddConstraint],
        later: &[Kind::AddConstraint],
        when: key_is_referenced,
    },
    Rule {
        sentence: "a constraint is added before it is validated",
        earlier: &[Kind::AddConstraint],
        later: &[Kind::ValidateConstraint],
        when: same_constraint,
    },
    Rule {
        sentence: "an object exists before its comment",
        earlier: &[Kind::CreateTable, Kind::CreateSequence, Kind::CreateIndex, Kind::AddConstraint],
        later: &[Kind::SetComment],
        when: is_commented,
    },
    Rule {
        sentence: "statistics are collected when all rows and expression indexes are there",
        earlier: &[Kind::CopyTable, Kind::CreateIndex],
        later: &[Kind::AnalyzeTable],
        when: same_table,
    },
    Rule {
        sentence: "rows are copied before they are compared",
        earlier: &[Kind::CopyTable],
        later: &[Kind::VerifyTable],
        when: same_table,
    },
    Rule {
        sentence: "the planner has statistics before rows are compared",
        earlier: &[Kind::AnalyzeTable],
        later: &[Kind::VerifyTable],
        when: same_table,
    },
];

fn is_secondary(world: &World, earlier: &Op, later: &Op) -> bool {
    !later.builds_key() && same_table(world, earlier, later)
}

fn is_referenced(_: &World, earlier: &Op, later: &Op) -> bool {
    let Op::AddConstraint(constraint) = later else { return false };
    let referenced = referenced_table(&constraint.definition);
    referenced.is_some() && earlier.table() == referenced.as_ref()
}

fn key_is_referenced(world: &World, earlier: &Op, later: &Op) -> bool {
    let index = matches!(earlier, Op::CreateIndex(index) if index.statement.starts_with("CREATE UNIQUE"));
    let constraint = matches!(earlier, Op::AddConstraint(constraint)
        if constraint.definition.starts_with("UNIQUE") || constraint.definition.starts_with("PRIMARY KEY"));
    (index || constraint) && is_referenced(world, earlier, later)
}

fn same_constraint(world: &World, earlier: &Op, later: &Op) -> bool {
    let (Op::AddConstraint(add), Op::ValidateConstraint(validate)) = (earlier, later) else { return false };
    add.name == validate.name && same_table(world, earlier, later)
}

fn is_commented(_: &World, earlier: &Op, later: &Op) -> bool {
    let Op::SetComment(comment) = later else { return false };
    let built_by = |table: &QualifiedName| matches!(earlier, Op::CreateTable(op) if &op.name == table);
    match &comment.on {
        CommentTarget::Table(name) => built_by(name),
        CommentTarget::Column(at) => built_by(&at.table),
        CommentTarget::Constraint(at) => {
            let added = matches!(earlier, Op::AddConstraint(op) if op.table == at.table && op.name == at.column);
            added || built_by(&at.table)
        }
        CommentTarget::Index(name) => {
            let key = matches!(earlier, Op::CreateTable(op) if op.key.as_ref().is_some_and(|key| key.name == name.name)
                && op.name.schema == name.schema);
            let constraint =
                matches!(earlier, Op::AddConstraint(op) if op.name == name.name && op.table.schema == name.schema);
            let index =
                matches!(earlier, Op::CreateIndex(op) if op.name == name.name && op.table.schema == name.schema);
            key || constraint || index
        }
        CommentTarget::Sequence(name) => {
            let identity = matches!(earlier, Op::CreateTable(op)
                if op.columns.iter().filter_map(|column| column.identity.as_ref()).any(|identity| &identity.sequence == name));
            identity || matches!(earlier, Op::CreateSequence(op) if &op.name == name)
        }
    }
}
