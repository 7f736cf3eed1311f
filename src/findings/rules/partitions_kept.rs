//! `PARTITIONS_KEPT`: the target has the partitions of its source.

use crate::findings::{Lock, Object, Rule, Severity};

/// See the module.
pub static PARTITIONS_KEPT: Rule = Rule {
    code: "PARTITIONS_KEPT",
    severity: Severity::Info,
    title: "the target has the partitions of its source",
    lock: Some(Lock {
        mode: "SHARE ROW EXCLUSIVE",
        on: Object::SourceTables,
        held: "milliseconds",
        step: Some("guard_truncate"),
    }),
    effect: "Rows are copied and streamed as those of the table, and PostgreSQL puts each into its partition. A partition that is \
          created while the migration runs is created on the target when it is seen empty.",
    why: "The stream shows rows that are written, not partitions that come with rows or go with them: one that does stops the \
          run. Indexes of a partitioned table are built without CONCURRENTLY: changes wait meanwhile.",
    instead: "Let jobs that attach filled tables or drop old partitions pause, and create partitions ahead of their rows. Write \
          `partitions: none` beside its name for one table with the rows of all.",
};
