//! `FOREIGN_TABLE`: a foreign table.

use crate::findings::{Rule, Severity};

/// See the module.
pub static FOREIGN_TABLE: Rule = Rule {
    code: "FOREIGN_TABLE",
    severity: Severity::Refused,
    title: "a foreign table",
    lock: None,
    effect: "No plan is made.",
    why: "Its rows live on another server, and their changes are not in this one's log.",
    instead: "Migrate it from the server that has the rows.",
};
