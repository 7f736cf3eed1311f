//! `WRITES_NOT_STOPPED`: nothing of pcrd's keeps writes from the source during the cutover.

use crate::findings::{Rule, Severity};

/// See the module.
pub static WRITES_NOT_STOPPED: Rule = Rule {
    code: "WRITES_NOT_STOPPED",
    severity: Severity::Warning,
    title: "nothing refuses writes during the cutover",
    lock: None,
    effect: "From the fence on a write to the source succeeds and is not on the target. pcrd looks for such writes until the \
          slot is removed, gives the cutover up when one comes before the switch, and reports the others by table and \
          number; it does not copy them.",
    why: "`cutover.fence: none` and `hooks` leave it to the operator to stop the writers.",
    instead: "`cutover.fence: trigger`, which refuses whoever was forgotten, or `pgbouncer`, behind which clients wait.",
};
