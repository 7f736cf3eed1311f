//! `SEQUENCE_SHARED`: a sequence is also used by a table that stays.

use crate::findings::{Rule, Severity};

/// See the module.
pub static SEQUENCE_SHARED: Rule = Rule {
    code: "SEQUENCE_SHARED",
    severity: Severity::Warning,
    title: "a sequence is also used by a table that stays",
    lock: None,
    effect: "After the switch there are two sequences of the name, one on each server, that give out the same numbers.",
    why: "Numbers that were unique over all of its tables are not any more.",
    instead: "Migrate the other tables in the same plan, or move one side to another range after the switch.",
};
