//! The only thing that the executor says. Progress bars, `--json`, and tests are readers of it.

use serde::Serialize;

use crate::plan::StepId;

/// Something happened.
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The step that it belongs to.
    pub step: Option<StepId>,
    /// What.
    pub kind: EventKind,
}

/// What can happen.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum EventKind {
    /// The servers are the plan's and nobody else is at work: from here on this executor writes.
    Admitted,
    /// A step begins.
    StepStart,
    /// A step was found done.
    StepAlreadyDone,
    /// A step ends.
    StepDone {
        /// How long it took.
        elapsed_ms: u64,
    },
    /// A step failed.
    StepFailed {
        /// What happened, values masked.
        message: String,
    },
    /// Rows copied so far.
    CopyProgress {
        /// Target table.
        table: String,
        /// Rows committed on the target.
        rows: u64,
        /// `reltuples` of the source, if known.
        rows_estimate: Option<u64>,
        /// Bytes passed through.
        bytes: u64,
    },
    /// Rows verified so far.
    VerifyProgress {
        /// Target table.
        table: String,
        /// Rows compared.
        rows: u64,
        /// Rows expected.
        rows_estimate: Option<u64>,
    },
    /// State of the stream.
    Lag {
        /// Source position.
        source_lsn: String,
        /// Applied on the target.
        applied_lsn: String,
        /// Difference in bytes.
        lag_bytes: u64,
        /// Source transactions applied since this process started.
        transactions: u64,
        /// Changes applied since this process started.
        changes: u64,
    },
    /// The servers cannot bear more work for now, or are not known to.
    HeldBack {
        /// `copy` or `comparison`.
        work: String,
        /// Why.
        reasons: Vec<String>,
        /// Since how many seconds.
        seconds: u64,
        /// It goes on again.
        over: bool,
    },
    /// Something waits; named so that the operator can act.
    Waiting {
        /// On what, with pids or xids.
        reason: String,
    },
    /// The gate: all that must hold before cutover.
    Gate {
        /// Ready.
        ready: bool,
        /// What is missing.
        blocked_by: Vec<String>,
    },
    /// The cutover entered a state.
    Cutover {
        /// State of `data-path` §2.3.
        state: String,
    },
    /// A count at the end of a run.
    Counter {
        /// Which.
        name: String,
        /// How many.
        value: u64,
    },
    /// For the operator.
    Note {
        /// Text.
        text: String,
    },
    /// The last event.
    Summary {
        /// How it ended.
        text: String,
    },
}
