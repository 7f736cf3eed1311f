//! `VERSION_DEPENDENT_CAST`: the two servers may compute other results.

use crate::findings::{Rule, Severity};

/// See the module.
pub static VERSION_DEPENDENT_CAST: Rule = Rule {
    code: "VERSION_DEPENDENT_CAST",
    severity: Severity::Warning,
    title: "the two servers may compute other results",
    lock: None,
    effect: "The text of a value, or the data of time zones, differs between major versions: the copy computes on the \
          source, the stream on the target.",
    why: "A row may look different depending on whether it was copied or streamed; the comparison would then report \
          it.",
    instead: "Write `using:` with an expression whose result is the same everywhere (to_char with a format), or migrate \
          between equal versions.",
};
