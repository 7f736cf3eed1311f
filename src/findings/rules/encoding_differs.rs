//! `ENCODING_DIFFERS`: the databases have different encodings.

use crate::findings::{Rule, Severity};

/// See the module.
pub static ENCODING_DIFFERS: Rule = Rule {
    code: "ENCODING_DIFFERS",
    severity: Severity::Refused,
    title: "the databases have different encodings",
    lock: None,
    effect: "Text is converted on its way: info when the target is UTF8, which has every character. Refused otherwise. Bytes for which \
             the source's encoding has no character are found by a data check (encodings of one byte).",
    why: "A character that the target's encoding lacks stops the copy.",
    instead: "Create the target's database with the source's encoding or with UTF8.",
};
