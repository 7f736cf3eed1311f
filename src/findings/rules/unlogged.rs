//! `UNLOGGED`: an unlogged table.

use crate::findings::{Rule, Severity};

/// See the module.
pub static UNLOGGED: Rule = Rule {
    code: "UNLOGGED",
    severity: Severity::Refused,
    title: "an unlogged table",
    lock: None,
    effect: "No plan is made.",
    why: "Its changes are not in the log, so they cannot be streamed.",
    instead: "ALTER TABLE … SET LOGGED on the source (it rewrites the table).",
};
