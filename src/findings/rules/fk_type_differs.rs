//! `FK_TYPE_DIFFERS`: the two ends of a foreign key get different types.

use crate::findings::{Rule, Severity};

/// See the module.
pub static FK_TYPE_DIFFERS: Rule = Rule {
    code: "FK_TYPE_DIFFERS",
    severity: Severity::Warning,
    title: "the two ends of a foreign key get different types",
    lock: None,
    effect: "The key is created where PostgreSQL can compare the types, and refused where it cannot.",
    why: "The narrower end overflows later than the wider one: an id that is bigint is of no use to a column that \
          stays integer.",
    instead: "Give both columns the same type.",
};
