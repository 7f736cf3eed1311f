//! `LOCALE_DEPENDENT_CAST`: the result hangs on a locale.

use crate::findings::{Rule, Severity};

/// See the module.
pub static LOCALE_DEPENDENT_CAST: Rule = Rule {
    code: "LOCALE_DEPENDENT_CAST",
    severity: Severity::Warning,
    title: "the result hangs on a locale",
    lock: None,
    effect: "`money` is read and written by `lc_monetary`: the same number may mean other units on the two servers.",
    why: "A difference in locale changes amounts by a factor, and nothing fails.",
    instead: "Write `using: (col::numeric)` and store numeric.",
};
