//! `ROLE_MISSING`: the target lacks a role that owns something on the source or has rights there.

use crate::findings::{Rule, Severity};

/// See the module.
pub static ROLE_MISSING: Rule = Rule {
    code: "ROLE_MISSING",
    severity: Severity::Warning,
    title: "the target lacks a role",
    lock: None,
    effect: "What belongs to the role on the source belongs to the role that applies the plan, and what was granted to it is \
             not granted; both are listed as not carried.",
    why: "The application that logs in as the role cannot use the tables after the switch. Roles are not created: they \
          belong to the whole cluster, and have passwords.",
    instead: "Run the CREATE ROLE that the finding shows, give the role its password and its memberships, and plan again.",
};
