//! `SEQUENCE_NEW`: a sequence that the source does not have.

use crate::findings::{Rule, Severity};

/// See the module.
pub static SEQUENCE_NEW: Rule = Rule {
    code: "SEQUENCE_NEW",
    severity: Severity::Info,
    title: "a sequence that the source does not have",
    lock: None,
    effect: "It is created on the target, and at the cutover it starts past the values that are in its columns.",
    why: "Until then nothing takes numbers from it: its defaults are attached at the cutover.",
    instead: "Nothing.",
};
