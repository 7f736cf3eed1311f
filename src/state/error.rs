//! What can go wrong with the journal.

use std::path::PathBuf;

use crate::plan::StepId;

use super::status::IllegalTransition;

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process holds `<journal>.lock`.
    #[error("another pcrd{} uses the journal {}", holder(.pid), .path.display())]
    InUse {
        /// The journal.
        path: PathBuf,
        /// Process id, when the holder wrote one.
        pid: Option<u32>,
    },
    /// The file is damaged, truncated or no SQLite database.
    #[error("the journal {} is damaged: {detail}", .path.display())]
    Corrupt {
        /// The journal.
        path: PathBuf,
        /// What SQLite says.
        detail: String,
    },
    /// A sound SQLite database of another program.
    #[error("{} is a SQLite database, but not a pcrd journal; name another file in `state`", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A journal of another format version.
    #[error("the journal {} has format version {found}; this pcrd reads version {expected}", .path.display())]
    Version {
        /// The journal.
        path: PathBuf,
        /// Version in the file.
        found: i64,
        /// Version of this program.
        expected: i64,
    },
    /// The same plan id with another body.
    #[error("the journal already has another plan under the id {0}")]
    OtherPlan(String),
    /// The journal does not know the step.
    #[error("the journal has no step `{0}` in this plan")]
    UnknownStep(StepId),
    /// The journal says that this cannot happen now.
    #[error("step `{step}`: {source}")]
    Transition {
        /// The step.
        step: StepId,
        /// The move.
        source: IllegalTransition,
    },
    /// A file operation failed.
    #[error("cannot {action} {}: {source}", .path.display())]
    File {
        /// `open`, `lock`, `move`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// SQLite failed: disk full, read-only directory, ….
    #[error("the journal failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

fn holder(pid: &Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}
