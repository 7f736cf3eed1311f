//! `ENUM_VALUE_MISSING`: the target's enum lacks values.

use crate::findings::{Rule, Severity};

/// See the module.
pub static ENUM_VALUE_MISSING: Rule = Rule {
    code: "ENUM_VALUE_MISSING",
    severity: Severity::Refused,
    title: "the target's enum lacks values",
    lock: None,
    effect: "No plan is made.",
    why: "The first row with such a value would stop the copy.",
    instead: "ALTER TYPE … ADD VALUE on the target.",
};
