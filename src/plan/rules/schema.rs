//! Objects of the target.

use crate::plan::Op;
use crate::plan::kind::Kind;
use crate::plan::rules::rule::same_table;
use crate::plan::rules::{Rule, World};
use crate::sql::rewrite::sequences_named;

/// See the module.
pub const RULES: &[Rule] = &[
    Rule {
        sentence: "a schema exists before its objects",
        earlier: &[Kind::CreateSchema],
        later: &[Kind::CreateTable, Kind::CreateSequence],
        when: in_schema,
    },
    Rule {
        sentence: "a column exists before a sequence is owned by it",
        earlier: &[Kind::CreateTable],
        later: &[Kind::CreateSequence],
        when: owns,
    },
    Rule {
        sentence: "a table exists before its key is indexed",
        earlier: &[Kind::CreateTable],
        later: &[Kind::CreateIndex, Kind::AddConstraint],
        when: is_key_of,
    },
    Rule {
        sentence: "a sequence exists before a default calls it",
        earlier: &[Kind::CreateSequence],
        later: &[Kind::FreezeDefaults, Kind::SetDefault],
        when: is_called,
    },
    Rule {
        sentence: "a table exists before its defaults are evaluated",
        earlier: &[Kind::CreateTable],
        later: &[Kind::FreezeDefaults],
        when: same_table,
    },
];

fn in_schema(_: &World, earlier: &Op, later: &Op) -> bool {
    let Op::CreateSchema(schema) = earlier else { return false };
    let table = matches!(later, Op::CreateTable(table) if table.name.schema == schema.schema);
    table || matches!(later, Op::CreateSequence(sequence) if sequence.name.schema == schema.schema)
}

fn owns(_: &World, earlier: &Op, later: &Op) -> bool {
    let (Op::CreateTable(table), Op::CreateSequence(sequence)) = (earlier, later) else { return false };
    sequence.sequence.owned_by.as_ref().is_some_and(|owner| owner.table == table.name)
}

fn is_key_of(world: &World, earlier: &Op, later: &Op) -> bool {
    later.builds_key() && same_table(world, earlier, later)
}

fn is_called(_: &World, earlier: &Op, later: &Op) -> bool {
    let Op::CreateSequence(sequence) = earlier else { return false };
    let calls = |default: &str| sequences_named(default).is_ok_and(|names| names.contains(&sequence.name));
    let frozen =
        matches!(later, Op::FreezeDefaults(freeze) if freeze.columns.iter().any(|column| calls(&column.default)));
    frozen || matches!(later, Op::SetDefault(set) if calls(&set.default))
}
