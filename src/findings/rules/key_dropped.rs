//! `KEY_DROPPED`: the key by which rows are found would not be on the target.

use crate::findings::{Rule, Severity};

/// See the module.
pub static KEY_DROPPED: Rule = Rule {
    code: "KEY_DROPPED",
    severity: Severity::Refused,
    title: "the key by which rows are found would not be on the target",
    lock: None,
    effect: "No plan is made: the target would lack the columns, or the unique index over them.",
    why: "Updates and deletes of the stream could not find their row on the target.",
    instead: "Keep columns and index, or name another key with `key:`; they can be dropped after the migration.",
};
