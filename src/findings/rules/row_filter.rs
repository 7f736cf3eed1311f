//! `ROW_FILTER`: rows are left out.

use crate::findings::{Rule, Severity};

/// See the module.
pub static ROW_FILTER: Rule = Rule {
    code: "ROW_FILTER",
    severity: Severity::Warning,
    title: "rows are left out",
    lock: None,
    effect: "Only rows for which the condition is true are copied, streamed and compared; one for which it is false or \
             NULL is not on the target. A row that an update moves in or out comes and goes.",
    why: "After the cutover the other rows are on the source only, and `cleanup --drop-source` refuses the table.",
    instead: "Leave `where:` out to migrate every row; to say why some stay behind, accept the finding with a reason.",
};
