//! `KEY_NOT_USABLE`: the chosen key does not identify rows.

use crate::findings::{Rule, Severity};

/// See the module.
pub static KEY_NOT_USABLE: Rule = Rule {
    code: "KEY_NOT_USABLE",
    severity: Severity::Refused,
    title: "the chosen key does not identify rows",
    lock: None,
    effect: "No plan is made.",
    why: "Only a unique, valid, immediate index over exactly the named columns, without a predicate, names one row at \
          every moment.",
    instead: "Name the columns of such an index with `key:`, or build one with CREATE UNIQUE INDEX CONCURRENTLY on the \
          source.",
};
