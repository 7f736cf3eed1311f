//! Removal of what the plan created.

use crate::plan::kind::Kind;
use crate::plan::rules::Rule;
use crate::plan::rules::rule::always;

/// See the module.
pub const RULES: &[Rule] = &[
    Rule {
        sentence: "nothing is removed before the target is open",
        earlier: &[Kind::Switch],
        later: &[Kind::DropFence, Kind::DropSlot, Kind::DropPublication],
        gives: always,
        needs: always,
    },
    Rule {
        sentence: "what is left on the source is found under its other name",
        earlier: &[Kind::RenameSource],
        later: &[Kind::DropFence],
        gives: always,
        needs: always,
    },
    Rule {
        sentence: "the slot goes before the publication that it reads",
        earlier: &[Kind::DropSlot],
        later: &[Kind::DropPublication],
        gives: always,
        needs: always,
    },
];
