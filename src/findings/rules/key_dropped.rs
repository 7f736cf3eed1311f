//! `KEY_DROPPED`: a key column is left out.

use crate::findings::{Rule, Severity};

/// See the module.
pub static KEY_DROPPED: Rule = Rule {
    code: "KEY_DROPPED",
    severity: Severity::Refused,
    title: "a key column is left out",
    lock: None,
    effect: "No plan is made.",
    why: "Updates and deletes of the stream could not find their row on the target.",
    instead: "Keep the column, or name another key with `key:`; it can be dropped after the migration.",
};
