//! `PADDING_STRIPPED`: char(n) loses its padding.

use crate::findings::{Rule, Severity};

/// See the module.
pub static PADDING_STRIPPED: Rule = Rule {
    code: "PADDING_STRIPPED",
    severity: Severity::Warning,
    title: "char(n) loses its padding",
    lock: None,
    effect: "Blanks at the end, which char(n) adds and ignores, are not copied.",
    why: "PostgreSQL does not count them as part of the value, but a client that compares or concatenates text may.",
    instead: "Nothing, where clients trim; else keep char(n).",
};
