//! `TARGET_GRANTS`: default privileges of the target apply to what the plan creates.

use crate::findings::{Rule, Severity};

/// See the module.
pub static TARGET_GRANTS: Rule = Rule {
    code: "TARGET_GRANTS",
    severity: Severity::Warning,
    title: "the target gives rights on new tables by itself",
    lock: None,
    effect: "The tables have these rights from the moment when they are created.",
    why: "Somebody could read or write rows there who cannot on the source, and before the switch.",
    instead: "ALTER DEFAULT PRIVILEGES … REVOKE on the target, unless it is meant so.",
};
