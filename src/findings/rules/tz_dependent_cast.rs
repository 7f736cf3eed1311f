//! `TZ_DEPENDENT_CAST`: the result hangs on a time zone.

use crate::findings::{Rule, Severity};

/// See the module.
pub static TZ_DEPENDENT_CAST: Rule = Rule {
    code: "TZ_DEPENDENT_CAST",
    severity: Severity::Warning,
    title: "the result hangs on a time zone",
    lock: None,
    effect: "`timestamp` becomes an instant, or an instant becomes a local time, in the plan's time zone, which every \
          session of the plan sets.",
    why: "In another zone than the application's, every value is off by hours, and nothing fails.",
    instead: "Look up which zone the application writes in, and say so with `using: col AT TIME ZONE '…'`.",
};
