//! `FK_OUT_OF_SCOPE`: a foreign key refers to a table that is not migrated.

use crate::findings::{Rule, Severity};

/// See the module.
pub static FK_OUT_OF_SCOPE: Rule = Rule {
    code: "FK_OUT_OF_SCOPE",
    severity: Severity::Warning,
    title: "a foreign key refers to a table that is not migrated",
    lock: None,
    effect: "The target has no such table to check against, so the foreign key is not created there.",
    why: "After the switch nothing keeps rows from referring to what does not exist.",
    instead: "Migrate the other table in the same plan, or create the key on the target once the table is there.",
};
