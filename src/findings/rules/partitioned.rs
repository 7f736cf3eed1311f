//! `PARTITIONED`: a partitioned table that cannot be migrated as it is asked for.

use crate::findings::{Rule, Severity};

/// See the module.
pub static PARTITIONED: Rule = Rule {
    code: "PARTITIONED",
    severity: Severity::Refused,
    title: "a partitioned table",
    lock: None,
    effect: "No plan is made.",
    why: "Its rows live in its partitions: pcrd makes one flat table of them, where that is asked for, the server is \
          PostgreSQL 13 or later, the table goes into one target alone, and nothing is to go back.",
    instead: "Write `partitions: none` beside its name.",
};
