//! `DOMAIN_DIFFERS`: a domain has other constraints on the target.

use crate::findings::{Rule, Severity};

/// See the module.
pub static DOMAIN_DIFFERS: Rule = Rule {
    code: "DOMAIN_DIFFERS",
    severity: Severity::Warning,
    title: "a domain has other constraints on the target",
    lock: None,
    effect: "The target's constraints hold for every row that is written there.",
    why: "A row that only the source's domain allows stops the copy or the stream.",
    instead: "Make the two domains alike, or prove with a query that every row meets the target's constraints and accept \
          the finding.",
};
