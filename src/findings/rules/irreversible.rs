//! `IRREVERSIBLE`: what the target writes after the switch cannot go back to the source.

use crate::findings::{Rule, Severity};

/// See the module.
pub static IRREVERSIBLE: Rule = Rule {
    code: "IRREVERSIBLE",
    severity: Severity::Error,
    title: "what is written after the switch cannot go back to the source",
    lock: None,
    effect: "The way back ends at the first change of a row that the source cannot have: of a table without a way back, of a \
             new row without a value for a column. The target goes on working; `pcrd rollback` is refused from then on. What \
             was lost on the way to the target stays lost in rows that come back. Where the plan does not ask for the way \
             back, there is nothing to do.",
    why: "After a rollback the source would miss the row, or say something else than the target said.",
    instead: "Say with `reverse:` how the source's value is made of the target's columns, or keep the column, or give the \
              source's column a default. Or accept that the way back may end early.",
};
