//! `LARGE_OBJECTS`: a column may name large objects.

use crate::findings::{Rule, Severity};

/// See the module.
pub static LARGE_OBJECTS: Rule = Rule {
    code: "LARGE_OBJECTS",
    severity: Severity::Warning,
    title: "a column may name large objects",
    lock: None,
    effect: "The numbers in the column are copied; large objects are neither copied nor streamed.",
    why: "On the target the numbers name nothing, or other objects.",
    instead: "Move the contents to a bytea column on the source first, or copy pg_largeobject yourself. If the column \
          holds other oids, accept the finding.",
};
