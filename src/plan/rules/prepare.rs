//! Before anything is copied.

use crate::plan::kind::Kind;
use crate::plan::rules::Rule;
use crate::plan::rules::rule::always;

/// See the module.
pub const RULES: &[Rule] = &[
    Rule {
        sentence: "the ledger exists before the first effect",
        earlier: &[Kind::CreateLedger],
        later: &[Kind::GuardTruncate, Kind::CreatePublication, Kind::CreateSchema, Kind::CreateType, Kind::CreateTable],
        gives: always,
        needs: always,
    },
    Rule {
        sentence: "TRUNCATE is refused before changes are published",
        earlier: &[Kind::GuardTruncate],
        later: &[Kind::CreatePublication],
        gives: always,
        needs: always,
    },
    Rule {
        sentence: "the publication is complete before the slot exists",
        earlier: &[Kind::CreatePublication],
        later: &[Kind::CreateSlot],
        gives: always,
        needs: always,
    },
];
