//! `LOSSY_CAST`: values change, and no query can say that it does not matter.

use crate::findings::{Rule, Severity};

/// See the module.
pub static LOSSY_CAST: Rule = Rule {
    code: "LOSSY_CAST",
    severity: Severity::Error,
    title: "values change, and no query can say that it does not matter",
    lock: None,
    effect: "Digits, time zones, key order or duplicates inside of a value are lost on the way to the target.",
    why: "The comparison of the two ends runs through the same cast, so it cannot see what the cast lost.",
    instead: "Choose a type that holds the values (numeric for float, jsonb beside json), or accept the loss with a \
          reason.",
};
