//! `SEQUENCE_NOT_OWNED`: a sequence without owner is carried.

use crate::findings::{Rule, Severity};

/// See the module.
pub static SEQUENCE_NOT_OWNED: Rule = Rule {
    code: "SEQUENCE_NOT_OWNED",
    severity: Severity::Info,
    title: "a sequence without owner is carried",
    lock: None,
    effect: "It is created on the target because a default calls it, and set past the source's value at the cutover.",
    why: "Nothing removes it together with its table.",
    instead: "ALTER SEQUENCE … OWNED BY on the source, if it belongs to one column.",
};
