//! `PARTITIONED`: a partitioned table that cannot be migrated as it is asked for.

use crate::findings::{Rule, Severity};

/// See the module.
pub static PARTITIONED: Rule = Rule {
    code: "PARTITIONED",
    severity: Severity::Refused,
    title: "a partitioned table",
    lock: None,
    effect: "No plan is made.",
    why: "Its rows live in its partitions: pcrd makes the same partitions, or one flat table where that is asked for, where the \
          servers are PostgreSQL 13 or later, the table goes into one target alone, and nothing is to go back. The same partitions \
          need a key of plain columns that stay as they are, and all rows.",
    instead: "Write `partitions: none` beside its name, for one flat table.",
};
