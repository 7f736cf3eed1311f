//! `NOT_A_TABLE`: a view or materialized view.

use crate::findings::{Rule, Severity};

/// See the module.
pub static NOT_A_TABLE: Rule = Rule {
    code: "NOT_A_TABLE",
    severity: Severity::Refused,
    title: "a view or materialized view",
    lock: None,
    effect: "No plan is made.",
    why: "It has no rows of its own in the log.",
    instead: "Create it on the target after the migration of its tables.",
};
