//! `CONSTRAINT_NOT_VALID`: a constraint is NOT VALID.

use crate::findings::{Rule, Severity};

/// See the module.
pub static CONSTRAINT_NOT_VALID: Rule = Rule {
    code: "CONSTRAINT_NOT_VALID",
    severity: Severity::Info,
    title: "a constraint is NOT VALID",
    lock: None,
    effect: "It is NOT VALID on the source and stays so on the target: old rows may break it, new ones may not.",
    why: "A streamed update of an old row that breaks it stops the stream, as it would fail on the source.",
    instead: "Mend the rows and VALIDATE CONSTRAINT on the source first.",
};
