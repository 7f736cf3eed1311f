//! Rows and the stream.

use crate::plan::Op;
use crate::plan::kind::Kind;
use crate::plan::rules::rule::{always, same_table};
use crate::plan::rules::{Rule, World};

/// See the module.
pub const RULES: &[Rule] = &[
    Rule {
        sentence: "the slot exists before the first row is read",
        earlier: &[Kind::CreateSlot],
        later: &[Kind::CopyTable],
        when: always,
    },
    Rule {
        sentence: "the slot exists before the stream starts from it",
        earlier: &[Kind::CreateSlot],
        later: &[Kind::StreamChanges],
        when: always,
    },
    Rule {
        sentence: "a table exists before its first row",
        earlier: &[Kind::CreateTable],
        later: &[Kind::CopyTable],
        when: same_table,
    },
    Rule {
        sentence: "every table exists before changes are applied",
        earlier: &[Kind::CreateTable],
        later: &[Kind::StreamChanges],
        when: always,
    },
    Rule {
        sentence: "the key is indexed before rows are found by it",
        earlier: &[Kind::CreateIndex, Kind::AddConstraint],
        later: &[Kind::CopyTable, Kind::StreamChanges],
        when: key_serves,
    },
    Rule {
        sentence: "frozen values are known before a row needs them",
        earlier: &[Kind::FreezeDefaults],
        later: &[Kind::CopyTable, Kind::StreamChanges],
        when: serves,
    },
    Rule {
        sentence: "tables under the slot's snapshot are read before it is released",
        earlier: &[Kind::CopyTable],
        later: &[Kind::CopyTable],
        when: needs_snapshot_first,
    },
];

fn key_serves(world: &World, earlier: &Op, later: &Op) -> bool {
    earlier.builds_key() && serves(world, earlier, later)
}

fn serves(world: &World, earlier: &Op, later: &Op) -> bool {
    later.kind() == Kind::StreamChanges || same_table(world, earlier, later)
}

fn needs_snapshot_first(world: &World, earlier: &Op, later: &Op) -> bool {
    let under = |op: &Op| op.table().is_some_and(|table| world.under_slot_snapshot.contains(table));
    under(earlier) && !under(later)
}
