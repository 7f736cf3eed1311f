//! `VOLATILE_EXPR`: an expression whose value changes from call to call.

use crate::findings::{Rule, Severity};

/// See the module.
pub static VOLATILE_EXPR: Rule = Rule {
    code: "VOLATILE_EXPR",
    severity: Severity::Refused,
    title: "an expression whose value changes from call to call",
    lock: None,
    effect: "No plan is made.",
    why: "A row is made again whenever it changes or is compared: with now(), random() or nextval() it would differ \
          each time.",
    instead: "Use only what the row itself says. For a value of its own per new row write `default:`, which the target \
          evaluates after the switch.",
};
