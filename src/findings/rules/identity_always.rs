//! `IDENTITY_ALWAYS`: an identity column gets its values from the source.

use crate::findings::{Rule, Severity};

/// See the module.
pub static IDENTITY_ALWAYS: Rule = Rule {
    code: "IDENTITY_ALWAYS",
    severity: Severity::Info,
    title: "an identity column gets its values from the source",
    lock: None,
    effect: "Copy and stream write explicit values into GENERATED ALWAYS AS IDENTITY; the sequence behind it is set past \
          the source's at the cutover.",
    why: "Until the switch, a row inserted on the target by hand would take a number that the source gives out as \
          well.",
    instead: "Write nothing to the target before the switch.",
};
