//! `INVALID_TEXT`: the source's text has no known encoding.

use crate::findings::{Rule, Severity};

/// See the module.
pub static INVALID_TEXT: Rule = Rule {
    code: "INVALID_TEXT",
    severity: Severity::Refused,
    title: "the source's text has no known encoding",
    lock: None,
    effect: "`apply` refuses it.",
    why: "In SQL_ASCII every byte is taken as it comes: what the characters are is known to nobody, and the target \
          checks them.",
    instead: "Convert the source to a database with an encoding first.",
};
