//! `EXTENSION_VERSION`: an extension that the tables use has another version on the target, or is not there.

use crate::findings::{Rule, Severity};

/// See the module.
pub static EXTENSION_VERSION: Rule = Rule {
    code: "EXTENSION_VERSION",
    severity: Severity::Warning,
    title: "an extension that the tables use has another version on the target, or is not there",
    lock: None,
    effect: "Types, operators and functions of the extension are the target's.",
    why: "Text forms, sort orders and operator classes may differ: an index that cannot be built shows only after the \
          copy.",
    instead: "CREATE EXTENSION or ALTER EXTENSION … UPDATE on the target.",
};
