//! `ENUM_VALUE_MISSING`: the target's enum lacks values.

use crate::findings::{Rule, Severity};

/// See the module.
pub static ENUM_VALUE_MISSING: Rule = Rule {
    code: "ENUM_VALUE_MISSING",
    severity: Severity::Warning,
    title: "the target's enum lacks labels",
    lock: None,
    effect: "The plan counts rows that hold them, and none may be left.",
    why: "The first row with such a label stops the copy, or later the stream.",
    instead: "ALTER TYPE … ADD VALUE on the target, or map the old labels to new ones with `using`.",
};
