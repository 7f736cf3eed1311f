//! `INVALID_TEXT`: the source's text has no known encoding.

use crate::findings::{Rule, Severity};

/// See the module.
pub static INVALID_TEXT: Rule = Rule {
    code: "INVALID_TEXT",
    severity: Severity::Refused,
    title: "the source's text has no known encoding",
    lock: None,
    effect: "A warning when the target is UTF8: text is taken for UTF-8, and a data check finds what is not. Refused otherwise, and where \
             both ends would see other text: character(n), casts, expressions and filters over text.",
    why: "In SQL_ASCII every byte is taken as it comes, and counts as a character; the target checks them. A row with other bytes that is \
          written after the check ends the stream, and the migration has to begin again.",
    instead: "Mend the rows that the check finds, or convert the source to a database with an encoding first.",
};
