//! `TYPE_MISSING`: the target lacks a type.

use crate::findings::{Rule, Severity};

/// See the module.
pub static TYPE_MISSING: Rule = Rule {
    code: "TYPE_MISSING",
    severity: Severity::Refused,
    title: "the target lacks a type",
    lock: None,
    effect: "No plan is made.",
    why: "The table cannot be created.",
    instead: "CREATE TYPE, or CREATE EXTENSION, on the target first.",
};
