//! Named points at which the fault harness kills, delays or breaks the executor.
//!
//! Without the cargo feature `failpoints` every function here is a constant.

use super::ExecError;

/// Every point that the binary has. The harness fails when one of them is never reached.
pub const ALL: &[&str] = &[
    "setup.after-lock",
    "setup.after-ledger",
    "setup.after-publication",
    "setup.after-slot",
    "setup.after-progress",
    "setup.after-whole-table",
    "whole.after-empty",
    "whole.after-piece",
    "whole.before-done",
    "added.before-commit",
    "added.after-commit",
    "adopt.after-point",
    "adopt.before-commit",
    "adopt.after-commit",
    "step.after-start",
    "step.after-effect",
    "partitions.before-guard",
    "partitions.after-guard",
    "target-partitions.before-create",
    "target-partitions.before-commit",
    "lanes.after-layout",
    "chunk.begin",
    "chunk.after-snapshot",
    "chunk.mid-copy",
    "chunk.before-commit",
    "chunk.after-commit",
    "apply.begin",
    "apply.mid-transaction",
    "apply.before-commit",
    "apply.after-commit",
    "apply.idle-advance",
    "verify.begin",
    "moment.held",
    "moment.taken",
    "repair.after-delete",
    "repair.before-commit",
    "repair.after-commit",
    "cutover.begin",
    "cutover.asked",
    "pooler.after-pause",
    "cutover.after-fence",
    "cutover.after-fenced",
    "cutover.after-drained",
    "cutover.after-verified",
    "cutover.between-sequences",
    "cutover.after-sequences",
    "cutover.before-permanent",
    "cutover.after-permanent",
    "rights.before-effect",
    "rights.before-commit",
    "rights.after-effect",
    "rights.taken-back",
    "cutover.after-switched",
    "cutover.after-resume",
    "hook.before-fence-recorded",
    "hook.before-fence-started",
    "hook.before-fence-ended",
    "hook.before-fence-kept",
    "hook.switch-recorded",
    "hook.switch-started",
    "hook.switch-ended",
    "hook.switch-kept",
    "hook.switch-answered",
    "hook.switch-given-up",
    "hook.after-switch-recorded",
    "hook.after-switch-started",
    "hook.after-switch-ended",
    "hook.after-switch-kept",
    "hook.abort-recorded",
    "hook.abort-started",
    "hook.abort-ended",
    "hook.abort-kept",
    "back.prepared",
    "back.advanced",
    "back.probed",
    "back.begin",
    "back.after-pause",
    "back.after-fence",
    "back.between-looks",
    "back.after-drained",
    "back.after-sequences",
    "back.after-permanent",
    "back.after-open",
    "back.after-moved",
    "back.after-resume",
    "back.closed",
    "back.finalized",
    "back.finalized-open",
    "back.after-slot-dropped",
    "back.disarmed-slot",
    "rename.between-tables",
    "rename.done",
    "cleanup.after-fence",
    "cleanup.after-slot",
    "cleanup.after-publication",
];

/// Rules of the data path that the harness can switch off to prove that its comparison notices.
pub const RULES: &[&str] = &["rule.visibility-filter", "rule.barrier", "rule.reread", "rule.look"];

/// A point. `kill` ends the process as a crash would, `error` fails, `sleep(ms)` delays (by `fail`'s own action).
pub fn hit(name: &'static str) -> Result<(), ExecError> {
    debug_assert!(ALL.contains(&name), "{name} is not in the list of failpoints");
    fail::fail_point!(name, |action: Option<String>| match action.as_deref() {
        Some("kill") => std::process::abort(),
        _ => Err(ExecError::Failpoint(name)),
    });
    Ok(())
}

/// True when the harness has switched this rule off.
pub fn disabled(rule: &'static str) -> bool {
    debug_assert!(RULES.contains(&rule), "{rule} is not in the list of rules");
    fail::fail_point!(rule, |_| true);
    false
}
