//! `SUBSCRIPTION`: a subscription writes the table.

use crate::findings::{Rule, Severity};

/// See the module.
pub static SUBSCRIPTION: Rule = Rule {
    code: "SUBSCRIPTION",
    severity: Severity::Refused,
    title: "a subscription writes the table",
    lock: None,
    effect: "No plan is made.",
    why: "The subscription's worker passes the write fence: rows could be written on the source after the end of the \
          stream.",
    instead: "Drop the subscription, or migrate from the server that it reads.",
};
