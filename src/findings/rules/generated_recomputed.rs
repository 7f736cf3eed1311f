//! `GENERATED_RECOMPUTED`: the target computes a generated column itself.

use crate::findings::{Rule, Severity};

/// See the module.
pub static GENERATED_RECOMPUTED: Rule = Rule {
    code: "GENERATED_RECOMPUTED",
    severity: Severity::Info,
    title: "the target computes a generated column itself",
    lock: None,
    effect: "The column is neither copied nor streamed, nor compared: what it is computed from is.",
    why: "An expression that gives another result on the target's version or with its collations is not seen.",
    instead: "Nothing, for expressions over numbers and times. Compare the column by hand where it sorts or folds text.",
};
