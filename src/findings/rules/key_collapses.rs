//! `KEY_COLLAPSES`: two keys may become one.

use crate::findings::{Rule, Severity};

/// See the module.
pub static KEY_COLLAPSES: Rule = Rule {
    code: "KEY_COLLAPSES",
    severity: Severity::Warning,
    title: "two keys may become one",
    lock: None,
    effect: "A validation query counts keys that are equal after the cast; one pair blocks.",
    why: "The second row would be refused by the target's key, or overwrite the first.",
    instead: "Mend the rows that the query lists, or give the key a type that keeps them apart.",
};
