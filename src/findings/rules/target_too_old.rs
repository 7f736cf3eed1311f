//! `TARGET_TOO_OLD`: the target's version lacks a feature that the table uses.

use crate::findings::{Rule, Severity};

/// See the module.
pub static TARGET_TOO_OLD: Rule = Rule {
    code: "TARGET_TOO_OLD",
    severity: Severity::Refused,
    title: "the target's version lacks a feature that the table uses",
    lock: None,
    effect: "No plan is made.",
    why: "The table could not be created as it is.",
    instead: "Use a newer target, or drop the column.",
};
