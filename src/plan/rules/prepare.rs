//! Before anything is copied.

use crate::plan::kind::Kind;
use crate::plan::rules::Rule;
use crate::plan::rules::rule::always;

/// See the module.
pub const RULES: &[Rule] = &[
    Rule {
        sentence: "the ledger exists before the first effect",
        earlier: &[Kind::CreateLedger],
        later: &[Kind::GuardTruncate, Kind::CreatePublication, Kind::CreateSchema, Kind::CreateTable],
        when: always,
    },
    Rule {
        sentence: "TRUNCATE is refused before changes are published",
        earlier: &[Kind::GuardTruncate],
        later: &[Kind::CreatePublication],
        when: always,
    },
    Rule {
        sentence: "the publication is complete before the slot exists",
        earlier: &[Kind::CreatePublication],
        later: &[Kind::CreateSlot],
        when: always,
    },
];
