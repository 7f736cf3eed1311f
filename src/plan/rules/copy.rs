//! Rows and the stream.

use crate::plan::Op;
use crate::plan::kind::Kind;
use crate::plan::rules::rule::{always, table};
use crate::plan::rules::{Link, Rule, World};

/// See the module.
pub const RULES: &[Rule] = &[
    Rule {
        sentence: "the slot exists before the first row is read",
        earlier: &[Kind::CreateSlot],
        later: &[Kind::CopyTable],
        gives: always,
        needs: always,
    },
    Rule {
        sentence: "the slot exists before the stream starts from it",
        earlier: &[Kind::CreateSlot],
        later: &[Kind::StreamChanges],
        gives: always,
        needs: always,
    },
    Rule {
        sentence: "a table exists before its first row",
        earlier: &[Kind::CreateTable],
        later: &[Kind::CopyTable],
        gives: table,
        needs: table,
    },
    Rule {
        sentence: "every table exists before changes are applied",
        earlier: &[Kind::CreateTable],
        later: &[Kind::StreamChanges],
        gives: always,
        needs: always,
    },
    Rule {
        sentence: "the key is indexed before rows are found by it",
        earlier: &[Kind::CreateIndex, Kind::AddConstraint],
        later: &[Kind::CopyTable, Kind::StreamChanges],
        gives: key_and_stream,
        needs: table_or_stream,
    },
    Rule {
        sentence: "frozen values are known before a row needs them",
        earlier: &[Kind::FreezeDefaults],
        later: &[Kind::CopyTable, Kind::StreamChanges],
        gives: table_and_stream,
        needs: table_or_stream,
    },
    Rule {
        sentence: "tables under the slot's snapshot are read before it is released",
        earlier: &[Kind::CopyTable],
        later: &[Kind::CopyTable],
        gives: is_under,
        needs: is_not_under,
    },
];

fn table_and_stream(world: &World, op: &Op) -> Vec<Link> {
    let mut links = table(world, op);
    links.push(Link::Stream);
    links
}

fn key_and_stream(world: &World, op: &Op) -> Vec<Link> {
    if op.builds_key() { table_and_stream(world, op) } else { Vec::new() }
}

fn table_or_stream(world: &World, op: &Op) -> Vec<Link> {
    if op.kind() == Kind::StreamChanges { vec![Link::Stream] } else { table(world, op) }
}

fn under(world: &World, op: &Op) -> bool {
    op.table().is_some_and(|table| world.under_slot_snapshot.contains(table))
}

fn is_under(world: &World, op: &Op) -> Vec<Link> {
    if under(world, op) { vec![Link::SlotSnapshot] } else { Vec::new() }
}

fn is_not_under(world: &World, op: &Op) -> Vec<Link> {
    if under(world, op) { Vec::new() } else { vec![Link::SlotSnapshot] }
}
