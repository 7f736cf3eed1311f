//! `TYPE_MISSING`: the target lacks a type.

use crate::findings::{Rule, Severity};

/// See the module.
pub static TYPE_MISSING: Rule = Rule {
    code: "TYPE_MISSING",
    severity: Severity::Refused,
    title: "the target lacks a type that the plan cannot create",
    lock: None,
    effect: "No plan is made.",
    why: "The table cannot be created. Enums, domains, composite types and ranges of the source are created as they are there; \
          types of extensions, base types, and ranges with a canonical function are not.",
    instead: "CREATE TYPE, or CREATE EXTENSION, on the target first.",
};
