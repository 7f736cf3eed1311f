//! `WAL_RETENTION`: the slot keeps log on the source.

use crate::findings::{Rule, Severity};

/// See the module.
pub static WAL_RETENTION: Rule = Rule {
    code: "WAL_RETENTION",
    severity: Severity::Warning,
    title: "the slot keeps log on the source",
    lock: None,
    effect: "From `apply` to cleanup the source keeps all log that the target has not confirmed.",
    why: "A stopped executor fills the source's disk, and a full disk stops the source.",
    instead: "Watch `wal_retained_bytes` of `pcrd status`; set max_slot_wal_keep_size (PG 13+) to lose the slot rather \
          than the server; `pcrd abort` frees it.",
};
