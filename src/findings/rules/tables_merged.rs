//! `TABLES_MERGED`: several source tables become one.

use crate::findings::{Rule, Severity};

/// See the module.
pub static TABLES_MERGED: Rule = Rule {
    code: "TABLES_MERGED",
    severity: Severity::Info,
    title: "several source tables become one",
    lock: None,
    effect: "The rows of each source get its constant in the column that tells them apart, and no row gets another.",
    why: "Whatever reads one of the tables must ask for its constant after the switch; a wrong one mixes up what was apart.",
    instead: "Compare the constants with the sources; `merged_from` in the desired SQL says them.",
};
