//! `DELETES_DATA`: a column is left out.

use crate::findings::{Rule, Severity};

/// See the module.
pub static DELETES_DATA: Rule = Rule {
    code: "DELETES_DATA",
    severity: Severity::Warning,
    title: "a column is left out",
    lock: None,
    effect: "The values of the column are not copied and not streamed; after cleanup of the source they are gone.",
    why: "It is the one change of shape that no later migration can undo.",
    instead: "Keep the column, or rename it with `rename:`. A column is only left out where the config names it; to say \
          why in the plan, accept the finding with a reason.",
};
