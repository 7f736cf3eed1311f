//! From the fence to the switch.

use crate::plan::Op;
use crate::plan::kind::Kind;
use crate::plan::rules::rule::always;
use crate::plan::rules::{Link, Rule, World};
use crate::sql::rewrite::sequences_named;

/// See the module.
pub const RULES: &[Rule] = &[
    Rule {
        sentence: "every table is verified before writes stop",
        earlier: &[Kind::VerifyTable],
        later: &[Kind::Fence],
        gives: always,
        needs: always,
    },
    Rule {
        sentence: "whatever takes long is done before writes stop",
        earlier: &[
            Kind::CreateIndex,
            Kind::AddConstraint,
            Kind::ValidateConstraint,
            Kind::SetComment,
            Kind::CreateSequence,
            Kind::AnalyzeTable,
        ],
        later: &[Kind::Fence],
        gives: always,
        needs: always,
    },
    Rule {
        sentence: "the stream runs before its end is fixed",
        earlier: &[Kind::StreamChanges],
        later: &[Kind::Fence],
        gives: always,
        needs: always,
    },
    Rule {
        sentence: "the end of the stream is fixed before it is drained",
        earlier: &[Kind::Fence],
        later: &[Kind::Drain],
        gives: always,
        needs: always,
    },
    Rule {
        sentence: "the stream is drained before its last rows are compared",
        earlier: &[Kind::Drain],
        later: &[Kind::VerifyFinal],
        gives: always,
        needs: always,
    },
    Rule {
        sentence: "both ends are proven equal before the target changes on its own",
        earlier: &[Kind::VerifyFinal],
        later: &[Kind::SetSequence, Kind::SetDefault, Kind::Switch],
        gives: always,
        needs: always,
    },
    Rule {
        sentence: "a sequence is past the source's before a default calls it",
        earlier: &[Kind::SetSequence],
        later: &[Kind::SetDefault],
        gives: set,
        needs: called,
    },
    Rule {
        sentence: "sequences and defaults are in place before the target opens",
        earlier: &[Kind::SetSequence, Kind::SetDefault],
        later: &[Kind::Switch],
        gives: always,
        needs: always,
    },
    Rule {
        sentence: "the source's tables keep their names until the target is open",
        earlier: &[Kind::Switch],
        later: &[Kind::RenameSource],
        gives: always,
        needs: always,
    },
];

fn set(_: &World, op: &Op) -> Vec<Link> {
    let Op::SetSequence(set) = op else { return Vec::new() };
    vec![Link::Sequence(set.target.clone())]
}

fn called(_: &World, op: &Op) -> Vec<Link> {
    let Op::SetDefault(set) = op else { return Vec::new() };
    sequences_named(&set.default).unwrap_or_default().into_iter().map(Link::Sequence).collect()
}
