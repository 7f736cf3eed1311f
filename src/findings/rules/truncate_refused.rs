//! `TRUNCATE_REFUSED`: TRUNCATE fails on the source until cleanup.

use crate::findings::{Lock, Object, Rule, Severity};

/// See the module.
pub static TRUNCATE_REFUSED: Rule = Rule {
    code: "TRUNCATE_REFUSED",
    severity: Severity::Warning,
    title: "TRUNCATE fails on the source until cleanup",
    lock: Some(Lock {
        mode: "SHARE ROW EXCLUSIVE",
        on: Object::SourceTables,
        held: "milliseconds",
        step: Some("guard_truncate"),
    }),
    effect: "PostgreSQL 10 does not put TRUNCATE into the stream, and no version that of a partition of a published table. A \
          trigger refuses it for everybody until the migration is cleaned up.",
    why: "A TRUNCATE that the target never hears of would leave rows there.",
    instead: "Let jobs that truncate these tables pause, or use DELETE.",
};
