//! `LONG_SNAPSHOT`: a table is copied under one snapshot.

use crate::findings::{Lock, Object, Rule, Severity};

/// See the module.
pub static LONG_SNAPSHOT: Rule = Rule {
    code: "LONG_SNAPSHOT",
    severity: Severity::Warning,
    title: "a table is copied under one snapshot",
    lock: Some(Lock {
        mode: "ACCESS SHARE",
        on: Object::SourceTables,
        held: "until the slot's snapshot is released",
        step: Some("create_slot"),
    }),
    effect: "VACUUM removes nothing in the whole database that is newer than the snapshot. DDL on the table waits, and \
          everything behind that DDL.",
    why: "Tables bloat for as long as the copy takes, and a crash starts the copy again.",
    instead: "Give the table a key whose order both ends know (integers, uuid, text with collation C), or copy at a quiet \
          time. A table with such a key that is copied by its blocks is copied in short snapshots with `copy: by_key`.",
};
