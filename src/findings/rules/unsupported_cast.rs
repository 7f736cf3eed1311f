//! `UNSUPPORTED_CAST`: pcrd knows no checked way between the two types.

use crate::findings::{Rule, Severity};

/// See the module.
pub static UNSUPPORTED_CAST: Rule = Rule {
    code: "UNSUPPORTED_CAST",
    severity: Severity::Refused,
    title: "pcrd knows no checked way between the two types",
    lock: None,
    effect: "No plan is made.",
    why: "A guessed cast could fail in the middle of the copy, or change values.",
    instead: "Write `using:` with an expression over source columns.",
};
