//! `KEY_TYPE_CHANGED`: the key's type changes.

use crate::findings::{Rule, Severity};

/// See the module.
pub static KEY_TYPE_CHANGED: Rule = Rule {
    code: "KEY_TYPE_CHANGED",
    severity: Severity::Info,
    title: "the key's type changes",
    lock: None,
    effect: "Rows are found on the target by the converted key.",
    why: "Everything that holds the key outside of the migrated tables must fit as well: foreign keys of other tables, \
          32-bit integers in clients, caches.",
    instead: "Give the columns that refer to it the same type in this plan, and look at the clients' types before the \
          switch.",
};
