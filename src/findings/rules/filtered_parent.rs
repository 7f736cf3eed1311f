//! `FILTERED_PARENT`: a foreign key refers to rows that may be left out.

use crate::findings::{Rule, Severity};

/// See the module.
pub static FILTERED_PARENT: Rule = Rule {
    code: "FILTERED_PARENT",
    severity: Severity::Warning,
    title: "a foreign key refers to a filtered table",
    lock: None,
    effect: "The plan counts rows that would miss their parent, and none may be left. They are counted again before \
             the cutover and behind its fence, where the write pause grows with the table; one that came since gives the \
             cutover up.",
    why: "The source has the parent and keeps the promise there; the target does not have it.",
    instead: "Filter the referring table by the same condition, or leave the parent whole.",
};
