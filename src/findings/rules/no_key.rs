//! `NO_KEY`: rows have no key.

use crate::findings::{Rule, Severity};

/// See the module.
pub static NO_KEY: Rule = Rule {
    code: "NO_KEY",
    severity: Severity::Warning,
    title: "rows have no key",
    lock: None,
    effect: "Rows are found by their whole content, and the table is copied under one snapshot. Each update and delete of \
          the stream scans the table on the target unless an index there fits.",
    why: "With many changes the stream falls behind and never catches up.",
    instead: "Add a primary key on the source, or a unique index over NOT NULL columns, and name it with `key:`. Without \
          either, the table needs REPLICA IDENTITY FULL.",
};
