//! `PARTITIONS_FOLLOWED`: the partitions of a source become one table.

use crate::findings::{Lock, Object, Rule, Severity};

/// See the module.
pub static PARTITIONS_FOLLOWED: Rule = Rule {
    code: "PARTITIONS_FOLLOWED",
    severity: Severity::Info,
    title: "the partitions of a source become one table",
    lock: Some(Lock {
        mode: "SHARE ROW EXCLUSIVE",
        on: Object::SourceTables,
        held: "milliseconds",
        step: Some("guard_truncate"),
    }),
    effect: "The rows of all partitions are copied and streamed as those of the table. A partition that is created while the \
          migration runs is followed when it is seen empty.",
    why: "The stream shows rows that are written, not partitions that come with rows or go with them: one that does stops the \
          run.",
    instead: "Let jobs that attach filled tables or drop old partitions pause, and create partitions ahead of their rows.",
};
