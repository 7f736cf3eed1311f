//! `SPLIT_GAP`: a row may be in none of the targets.

use crate::findings::{Rule, Severity};

/// See the module.
pub static SPLIT_GAP: Rule = Rule {
    code: "SPLIT_GAP",
    severity: Severity::Warning,
    title: "a row may be in none of the targets of its table",
    lock: None,
    effect: "Rows that meet none of the filters are counted when the plan is made, before anything is written, and behind \
             the fence: none may be there, or the plan is blocked and the cutover given up. Accepted, they are not counted \
             and stay behind. A row that meets several filters goes to each.",
    why: "After the cutover a row without a target is on the source only.",
    instead: "Write one filter as the opposite of another, `(…) IS NOT TRUE`, or leave one target without a filter: then \
              every row has a place, and pcrd sees that.",
};
