//! `OWNER_NOT_CARRIED`: an owner of the source does not become one on the target, and the application may log in as it.

use crate::findings::{Rule, Severity};

/// See the module.
pub static OWNER_NOT_CARRIED: Rule = Rule {
    code: "OWNER_NOT_CARRIED",
    severity: Severity::Warning,
    title: "an owner stays without its tables",
    lock: None,
    effect: "What belongs to the role on the source belongs to the role that applies the plan, and the role itself has no right on \
             it; it is listed as not carried.",
    why: "An application that logs in as the role cannot use the tables after the switch. Only a member of a role, with its \
          rights, can give something to it, and only where the role may create, or can be let.",
    instead: "Run what the finding shows, or let `migrate.carry` have owners, and plan \
              again; or grant the role on the target what it needs.",
};
