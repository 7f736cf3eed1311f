//! `PARTITIONED`: a partitioned table.

use crate::findings::{Rule, Severity};

/// See the module.
pub static PARTITIONED: Rule = Rule {
    code: "PARTITIONED",
    severity: Severity::Refused,
    title: "a partitioned table",
    lock: None,
    effect: "No plan is made.",
    why: "Its rows live in its partitions, which are not migrated yet.",
    instead: "Wait for a version that migrates them.",
};
