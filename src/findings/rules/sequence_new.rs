//! `SEQUENCE_NEW`: a sequence that the source does not have.

use crate::findings::{Rule, Severity};

/// See the module.
pub static SEQUENCE_NEW: Rule = Rule {
    code: "SEQUENCE_NEW",
    severity: Severity::Info,
    title: "a sequence that the source does not have",
    lock: None,
    effect: "At the cutover it is set past every value that its columns hold.",
    why: "There is no value on the source to go on from.",
    instead: "Nothing, if that is what the desired schema means; else give it the name of the sequence it replaces.",
};
