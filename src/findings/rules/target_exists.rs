//! `TARGET_EXISTS`: the target already has a relation of this name.

use crate::findings::{Rule, Severity};

/// See the module.
pub static TARGET_EXISTS: Rule = Rule {
    code: "TARGET_EXISTS",
    severity: Severity::Refused,
    title: "the target already has a relation of this name",
    lock: None,
    effect: "`apply` does not touch what the plan did not create.",
    why: "Rows of two origins would mix.",
    instead: "Rename or drop it on the target, or write another name with `target:`. An unfinished run of the same plan \
          goes on by itself.",
};
