//! `TOAST_UNCHANGED`: updates may read the source again.

use crate::findings::{Rule, Severity};

/// See the module.
pub static TOAST_UNCHANGED: Rule = Rule {
    code: "TOAST_UNCHANGED",
    severity: Severity::Info,
    title: "updates may read the source again",
    lock: None,
    effect: "PostgreSQL does not send a large value that an update leaves alone. An expression that reads it together \
          with columns that were sent needs it: pcrd reads the row from the source again.",
    why: "Each such update costs a query on the source.",
    instead: "Nothing, unless the table has very many updates; then REPLICA IDENTITY FULL brings the value along, at the \
          price of more log.",
};
