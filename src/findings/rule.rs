//! What a rule is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A hazard that pcrd knows.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Stable code, for example `DELETES_DATA`.
    pub code: &'static str,
    /// How bad it is unless the finding says otherwise.
    pub severity: Severity,
    /// What it is, in a few words.
    pub title: &'static str,
    /// The lock that comes with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock: Option<Lock>,
    /// What happens.
    pub effect: &'static str,
    /// Why that matters.
    pub why: &'static str,
    /// What to do about it.
    pub instead: &'static str,
}

/// A lock that comes with a hazard, as the plan's step has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Lock {
    /// PostgreSQL's name of the mode.
    pub mode: &'static str,
    /// What is locked.
    pub on: Object,
    /// For how long.
    pub held: &'static str,
    /// What takes it: the kind of a step, as its id begins; nothing when the user's own statement does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<&'static str>,
}

/// What a lock is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Object {
    /// Tables of the source, which the application uses.
    SourceTables,
    /// A table of the target, which nobody uses before the switch: no hazard.
    TargetTable,
}

impl Lock {
    /// In one sentence, with what it means in that phase.
    pub fn sentence(&self) -> String {
        let on = match self.on {
            Object::SourceTables => "the source's tables, which the application uses",
            Object::TargetTable => "the target's table, which nobody uses before the switch: no hazard",
        };
        let step = self.step.map_or_else(String::new, |step| format!(" (step `{step}`)"));
        format!("{} on {on}; held: {}{step}", self.mode, self.held)
    }
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// To know.
    Info,
    /// To think about.
    Warning,
    /// Blocks until accepted.
    Error,
    /// Blocks; cannot be accepted.
    Refused,
}

impl Severity {
    /// As in the plan file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Refused => "refused",
        }
    }

    /// What it does to a plan.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Info => "to know",
            Self::Warning => "to think about; does not block",
            Self::Error => "blocks until it is accepted",
            Self::Refused => "blocks, and cannot be accepted",
        }
    }
}
