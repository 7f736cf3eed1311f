//! `NARROWING_CAST`: some values of the old type have no place in the new one.

use crate::findings::{Rule, Severity};

/// See the module.
pub static NARROWING_CAST: Rule = Rule {
    code: "NARROWING_CAST",
    severity: Severity::Warning,
    title: "some values of the old type have no place in the new one",
    lock: None,
    effect: "A validation query counts the rows that do not fit, when the plan is made and again by `apply`; one such row \
          blocks. Nothing is rounded or cut off.",
    why: "A row written after the check may not fit either: it stops the stream until the row is changed on the source \
          or the plan is.",
    instead: "Mend or delete the rows that the query lists, choose a wider type, or write `using:` with an expression that \
          says what becomes of them. A CHECK constraint on the source keeps new ones out.",
};
