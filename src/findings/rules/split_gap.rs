//! `SPLIT_GAP`: a row may be in none of the targets.

use crate::findings::{Rule, Severity};

/// See the module.
pub static SPLIT_GAP: Rule = Rule {
    code: "SPLIT_GAP",
    severity: Severity::Warning,
    title: "a row may be in none of the targets of its table",
    lock: None,
    effect: "The plan counts the rows that meet none of the filters, and none may be there when it is made and when it is \
             applied. Accepted, they are not counted and stay behind. A row that meets several filters goes to each.",
    why: "Rows that come or change later are not counted again: after the cutover one without a target is on the source only.",
    instead: "Write one filter as the opposite of another, `(…) IS NOT TRUE`, or leave one target without a filter: then \
              every row has a place, and pcrd sees that.",
};
