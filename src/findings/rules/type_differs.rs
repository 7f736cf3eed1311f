//! `TYPE_DIFFERS`: a type of the same name is another one on the target.

use crate::findings::{Rule, Severity};

/// See the module.
pub static TYPE_DIFFERS: Rule = Rule {
    code: "TYPE_DIFFERS",
    severity: Severity::Refused,
    title: "a type of the same name is another one on the target",
    lock: None,
    effect: "No plan is made.",
    why: "Values of one cannot be read as the other: the copy would fail, or read them wrongly.",
    instead: "Make the two types alike.",
};
