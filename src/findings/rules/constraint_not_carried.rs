//! `CONSTRAINT_NOT_CARRIED`: a constraint or unique index stays behind.

use crate::findings::{Rule, Severity};

/// See the module.
pub static CONSTRAINT_NOT_CARRIED: Rule = Rule {
    code: "CONSTRAINT_NOT_CARRIED",
    severity: Severity::Warning,
    title: "a constraint or unique index stays behind",
    lock: None,
    effect: "The target does not check it.",
    why: "Rows that the source would refuse are taken after the switch.",
    instead: "Keep the columns that it reads, or create its successor on the target before the switch.",
};
