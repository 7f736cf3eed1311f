//! `PUBLICATION`: the tables are published.

use crate::findings::{Lock, Object, Rule, Severity};

/// See the module.
pub static PUBLICATION: Rule = Rule {
    code: "PUBLICATION",
    severity: Severity::Info,
    title: "the tables are published",
    lock: Some(Lock {
        mode: "SHARE UPDATE EXCLUSIVE",
        on: Object::SourceTables,
        held: "milliseconds",
        step: Some("create_publication"),
    }),
    effect: "Reads and writes go on. VACUUM, ANALYZE and index builds of the tables wait for it, and it waits for them.",
    why: "An autovacuum that prevents wraparound does not give way and can hold it up for hours.",
    instead: "Look at pg_stat_progress_vacuum before `apply`.",
};
