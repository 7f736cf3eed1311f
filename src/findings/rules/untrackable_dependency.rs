//! `UNTRACKABLE_DEPENDENCY`: things that depend on the table stay behind.

use crate::findings::{Rule, Severity};

/// See the module.
pub static UNTRACKABLE_DEPENDENCY: Rule = Rule {
    code: "UNTRACKABLE_DEPENDENCY",
    severity: Severity::Info,
    title: "things that depend on the table stay behind",
    lock: None,
    effect: "Views, functions, rules, statistics, publications, and triggers and row security that cannot be carried are listed \
          under \"not carried\" by name, and not created on the target. Functions of the target that carried triggers call are not \
          read: they may name tables and columns that are called otherwise there. With row-level security that stays behind it is a \
          warning.",
    why: "The application may need them at the moment of the switch; without its policies a table shows every row to \
          everybody who may read it.",
    instead: "Create them on the target before the switch; `pcrd readiness` lists what is missing. A function that \
              the target has is not replaced: write it there for the target's names.",
};
