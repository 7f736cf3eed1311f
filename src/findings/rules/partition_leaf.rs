//! `PARTITION_LEAF`: a partition.

use crate::findings::{Rule, Severity};

/// See the module.
pub static PARTITION_LEAF: Rule = Rule {
    code: "PARTITION_LEAF",
    severity: Severity::Refused,
    title: "a partition",
    lock: None,
    effect: "No plan is made.",
    why: "The source would go on routing rows of its parent to it.",
    instead: "Detach it first.",
};
