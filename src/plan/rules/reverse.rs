//! The way back.

use crate::plan::kind::Kind;
use crate::plan::rules::Rule;
use crate::plan::rules::rule::always;

/// See the module.
pub const RULES: &[Rule] = &[
    Rule {
        sentence: "what comes from the source is verified before a slot keeps what the target writes",
        earlier: &[Kind::VerifyTable],
        later: &[Kind::PublishBack],
        gives: always,
        needs: always,
    },
    Rule {
        sentence: "the publication of the way back is complete before its slot exists",
        earlier: &[Kind::PublishBack],
        later: &[Kind::CreateBackSlot],
        gives: always,
        needs: always,
    },
    Rule {
        sentence: "the slot of the way back exists before something comes through it",
        earlier: &[Kind::CreateBackSlot],
        later: &[Kind::ProbeBack],
        gives: always,
        needs: always,
    },
    Rule {
        sentence: "the way back is proven before writes stop",
        earlier: &[Kind::ProbeBack],
        later: &[Kind::Fence],
        gives: always,
        needs: always,
    },
    Rule {
        sentence: "what came from the source does not go back to it",
        earlier: &[Kind::VerifyFinal, Kind::SetSequence, Kind::SetDefault],
        later: &[Kind::ArmBack],
        gives: always,
        needs: always,
    },
    Rule {
        sentence: "the way back begins where the target's own writes begin",
        earlier: &[Kind::ArmBack],
        later: &[Kind::Switch],
        gives: always,
        needs: always,
    },
    Rule {
        sentence: "only one end is written to by others at a time",
        earlier: &[Kind::Switch],
        later: &[Kind::StreamBack],
        gives: always,
        needs: always,
    },
    Rule {
        sentence: "the way back has ended before it is removed",
        earlier: &[Kind::StreamBack],
        later: &[Kind::DropBackSlot, Kind::DropBackPublication, Kind::DropFence],
        gives: always,
        needs: always,
    },
    Rule {
        sentence: "the slot of the way back goes before the publication that it reads",
        earlier: &[Kind::DropBackSlot],
        later: &[Kind::DropBackPublication],
        gives: always,
        needs: always,
    },
];
