//! `COLLATION_DIFFERS`: text sorts in another order on the target.

use crate::findings::{Rule, Severity};

/// See the module.
pub static COLLATION_DIFFERS: Rule = Rule {
    code: "COLLATION_DIFFERS",
    severity: Severity::Warning,
    title: "text sorts in another order on the target",
    lock: None,
    effect: "ORDER BY, ranges and indexes over text follow the target's default collation.",
    why: "Pages, ranges and the first of several rows change for the application at the switch.",
    instead: "Create the target's database with the source's LC_COLLATE, or give the columns a collation of their own.",
};
