//! `SCHEMA_UNVERIFIED`: the target's server has not read the desired schema.

use crate::findings::{Rule, Severity};

/// See the module.
pub static SCHEMA_UNVERIFIED: Rule = Rule {
    code: "SCHEMA_UNVERIFIED",
    severity: Severity::Info,
    title: "the target's server has not read the desired schema",
    lock: None,
    effect: "Definitions are compared as texts: a change can be listed that is only one of spelling, and what the server \
             would refuse is not known.",
    why: "The plan was made without the target, or by a role that may not create anything there.",
    instead: "Nothing: `apply` has the server build everything in a transaction that is rolled back before it writes. To know \
              it now, plan with the target.",
};
