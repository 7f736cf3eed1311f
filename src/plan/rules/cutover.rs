//! From the fence to the switch.

use crate::plan::kind::Kind;
use crate::plan::rules::Rule;
use crate::plan::rules::rule::always;

/// See the module.
pub const RULES: &[Rule] = &[
    Rule {
        sentence: "every table is verified before writes stop",
        earlier: &[Kind::VerifyTable],
        later: &[Kind::Fence],
        when: always,
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
        when: always,
    },
    Rule {
        sentence: "the stream runs before its end is fixed",
        earlier: &[Kind::StreamChanges],
        later: &[Kind::Fence],
        when: always,
    },
    Rule {
        sentence: "the end of the stream is fixed before it is drained",
        earlier: &[Kind::Fence],
        later: &[Kind::Drain],
        when: always,
    },
    Rule {
        sentence: "the stream is drained before its last rows are compared",
        earlier: &[Kind::Drain],
        later: &[Kind::VerifyFinal],
        when: always,
    },
    Rule {
        sentence: "both ends are proven equal before the target changes on its own",
        earlier: &[Kind::VerifyFinal],
        later: &[Kind::SetSequence, Kind::SetDefault, Kind::Switch],
        when: always,
    },
    Rule {
        sentence: "a sequence is past the source's before a default calls it",
        earlier: &[Kind::SetSequence],
        later: &[Kind::SetDefault],
        when: always,
    },
    Rule {
        sentence: "sequences and defaults are in place before the target opens",
        earlier: &[Kind::SetSequence, Kind::SetDefault],
        later: &[Kind::Switch],
        when: always,
    },
];
