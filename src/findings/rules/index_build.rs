//! `INDEX_BUILD`: indexes are built on the target.

use crate::findings::{Lock, Object, Rule, Severity};

/// See the module.
pub static INDEX_BUILD: Rule = Rule {
    code: "INDEX_BUILD",
    severity: Severity::Info,
    title: "indexes are built on the target",
    lock: Some(Lock {
        mode: "SHARE",
        on: Object::TargetTable,
        held: "the build; the stream waits",
        step: Some("create_index"),
    }),
    effect: "Each index is built after the rows are copied. The stream waits meanwhile and catches up afterwards.",
    why: "Only the time counts: log gathers on the source while an index is built.",
    instead: "Nothing. More maintenance_work_mem on the target makes it shorter.",
};
