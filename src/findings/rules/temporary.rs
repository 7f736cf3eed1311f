//! `TEMPORARY`: a temporary table.

use crate::findings::{Rule, Severity};

/// See the module.
pub static TEMPORARY: Rule = Rule {
    code: "TEMPORARY",
    severity: Severity::Refused,
    title: "a temporary table",
    lock: None,
    effect: "No plan is made.",
    why: "It belongs to one session and is not in the log.",
    instead: "Leave it out.",
};
