//! `INHERITED`: a table with parents or children.

use crate::findings::{Rule, Severity};

/// See the module.
pub static INHERITED: Rule = Rule {
    code: "INHERITED",
    severity: Severity::Refused,
    title: "a table with parents or children",
    lock: None,
    effect: "No plan is made.",
    why: "A query on the parent reads the children too: a part of the tree on another server is another table.",
    instead: "Detach it with NO INHERIT first.",
};
