//! `KEY_NULLABLE`: the key can be NULL.

use crate::findings::{Rule, Severity};

/// See the module.
pub static KEY_NULLABLE: Rule = Rule {
    code: "KEY_NULLABLE",
    severity: Severity::Refused,
    title: "the key can be NULL",
    lock: None,
    effect: "No plan is made.",
    why: "NULL is equal to nothing: a row with a NULL in its key is not found again, and unique indexes let it in \
          twice.",
    instead: "ALTER TABLE … ALTER COLUMN … SET NOT NULL on the source, or choose another key.",
};
