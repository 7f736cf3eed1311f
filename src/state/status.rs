//! Where a step stands, and which moves are legal.

use std::fmt;
use std::str::FromStr;

/// Status of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StepStatus {
    /// Not begun.
    Pending,
    /// Begun; after a crash: in doubt, decided by looking at the database.
    Started,
    /// Done.
    Succeeded,
    /// Ended with an error; may be started again.
    Failed,
}

/// A move that the journal refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a step cannot go from {from} to {to}")]
pub struct IllegalTransition {
    /// The recorded status.
    pub from: StepStatus,
    /// The status asked for.
    pub to: StepStatus,
}

impl StepStatus {
    /// All of them, in the order of a step's life.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Started, Self::Succeeded, Self::Failed];

    /// The word in the journal and in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Started => "started",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }

    /// Checks a move. A step in doubt (`Started`) does not start again: the database decides first what it is
    /// (`Journal::step_found`).
    pub fn check_move(self, to: Self) -> Result<(), IllegalTransition> {
        match (self, to) {
            (Self::Pending | Self::Failed, Self::Started) | (Self::Started, Self::Succeeded | Self::Failed) => Ok(()),
            (from, to) => Err(IllegalTransition { from, to }),
        }
    }
}

impl fmt::Display for StepStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for StepStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| format!("`{text}` is no step status"))
    }
}

#[cfg(test)]
mod tests {
    use super::StepStatus::{self, Failed, Pending, Started, Succeeded};

    #[test]
    fn only_these_moves_are_legal() {
        let legal = [(Pending, Started), (Failed, Started), (Started, Succeeded), (Started, Failed)];
        for from in StepStatus::ALL {
            for to in StepStatus::ALL {
                assert_eq!(from.check_move(to).is_ok(), legal.contains(&(from, to)), "{from} -> {to}");
            }
        }
        assert_eq!(
            Succeeded.check_move(Started).unwrap_err().to_string(),
            "a step cannot go from succeeded to started"
        );
    }

    #[test]
    fn words_read_back() {
        for status in StepStatus::ALL {
            assert_eq!(status.as_str().parse::<StepStatus>().unwrap(), status);
        }
        assert!("done".parse::<StepStatus>().is_err());
    }
}
