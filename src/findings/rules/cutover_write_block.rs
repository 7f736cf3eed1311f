//! `CUTOVER_WRITE_BLOCK`: writes are refused during the cutover.

use crate::findings::{Lock, Object, Rule, Severity};

/// See the module.
pub static CUTOVER_WRITE_BLOCK: Rule = Rule {
    code: "CUTOVER_WRITE_BLOCK",
    severity: Severity::Warning,
    title: "writes are refused during the cutover",
    lock: Some(Lock {
        mode: "SHARE ROW EXCLUSIVE",
        on: Object::SourceTables,
        held: "milliseconds; at most 300 ms of waiting an attempt",
        step: Some("fence"),
    }),
    effect: "From the fence to the switch every write to these tables fails with SQLSTATE 25006; reads go on. If the \
          switch is not reached in time, the fence is lifted and writes pass again.",
    why: "Clients that do not retry show an error for each write.",
    instead: "Cut over at a quiet time, and let clients retry on 25006. `cutover.fence_timeout` bounds the pause.",
};
