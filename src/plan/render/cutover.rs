//! What stops the writers at the cutover, and which programs will run: a reviewer must see both.

use crate::plan::{FenceKind, Hook, Plan};

/// What is not the default, as pairs of a name and what it is; nothing for a trigger without programs.
pub(super) fn cutover(plan: &Plan) -> Vec<(&'static str, String)> {
    let cutover = &plan.settings.cutover;
    let mut lines = Vec::new();
    let back = if cutover.reverse.is_some() { ", in a rollback too" } else { "" };
    match cutover.fence {
        FenceKind::Trigger => {}
        FenceKind::Rename => {
            lines.push(("fence", "rename, and after the switch the source's tables are called pcrd_old_…".to_owned()));
        }
        FenceKind::Pgbouncer | FenceKind::Hooks | FenceKind::None => {
            lines.push(("fence", cutover.fence.word().to_owned()));
        }
    }
    if let Some(pooler) = &cutover.pgbouncer {
        let databases: Vec<String> = pooler.databases.iter().map(ToString::to_string).collect();
        lines.push(("pgbouncer", format!("PAUSE and RESUME of {} at {}{back}", databases.join(", "), pooler.admin)));
    }
    for hook in Hook::ALL {
        let argv = cutover.hooks.argv(hook);
        if !argv.is_empty() {
            let argv = serde_json::to_string(argv).expect("texts are JSON");
            lines.push((hook.word(), format!("runs {argv}, at most {} s{back}", cutover.hooks.timeout_s)));
        }
    }
    lines
}
