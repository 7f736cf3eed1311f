//! `GENERATED_RECOMPUTED`: the target computes a generated column itself.

use crate::findings::{Rule, Severity};

/// See the module.
pub static GENERATED_RECOMPUTED: Rule = Rule {
    code: "GENERATED_RECOMPUTED",
    severity: Severity::Info,
    title: "the target computes a generated column itself",
    lock: None,
    effect: "The column is neither copied nor streamed; the comparison covers its values, unless its type changes or it is virtual.",
    why: "An expression with another result on the target's version is seen by the comparison, before the switch.",
    instead: "Nothing, where both ends compute alike. Where they never will (an encoding or a collation in the expression), write a plain \
              column in the desired schema, or drop it: no repair makes such values alike.",
};
