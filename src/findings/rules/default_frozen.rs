//! `DEFAULT_FROZEN`: a default of an added column is evaluated once.

use crate::findings::{Rule, Severity};

/// See the module.
pub static DEFAULT_FROZEN: Rule = Rule {
    code: "DEFAULT_FROZEN",
    severity: Severity::Warning,
    title: "a default of an added column is evaluated once",
    lock: None,
    effect: "Every row that exists or is streamed before the switch gets that one value; rows written after it get their \
          own. Info for functions like now(), a warning for functions that pcrd does not know, an error for random(), \
          nextval() and the like.",
    why: "Rows that should differ (tokens, identifiers) would be equal.",
    instead: "Write `backfill:` with an expression over the row, fill the column after the switch, or accept it with a \
          reason.",
};
