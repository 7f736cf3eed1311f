//! Events as JSON, one object a line (`--json`); `pcrd schema events` prints its schema.

use schemars::JsonSchema;
use serde::Serialize;

use crate::exec::event::{Event, EventKind};
use crate::plan::PlanId;

use super::time::rfc3339;

/// One line.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct EventLine {
    /// RFC 3339 in UTC, milliseconds.
    #[serde(rename = "@timestamp")]
    pub timestamp: String,
    /// The plan that runs; absent before it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_id: Option<String>,
    /// The step that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened, told apart by `type`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum What {
    /// The servers are the plan's and nobody else is at work: from here on this executor writes.
    Admitted {},
    /// A step begins.
    StepStart {},
    /// Rows of a table so far.
    StepProgress {
        /// `copy` or `verify`.
        work: Work,
        /// Target table.
        table: String,
        /// Rows done.
        rows_done: u64,
        /// Rows expected, when known.
        rows_estimate: Option<u64>,
        /// Bytes passed through; copy only.
        #[serde(skip_serializing_if = "Option::is_none")]
        bytes_done: Option<u64>,
    },
    /// A step ended, or was found done.
    StepDone {
        /// True when nothing was left to do.
        already_done: bool,
        /// How long it took.
        elapsed_ms: Option<u64>,
    },
    /// A step failed.
    StepFailed {
        /// What happened, values masked.
        message: String,
    },
    /// A count at the end of a run.
    Counter {
        /// Which.
        name: String,
        /// How many.
        value: u64,
    },
    /// State of the stream.
    Lag {
        /// Write position of the source.
        source_lsn: String,
        /// Applied on the target.
        applied_lsn: String,
        /// The difference.
        lag_bytes: u64,
        /// Source transactions applied by this process.
        transactions: u64,
        /// Changes applied by this process.
        changes: u64,
    },
    /// The servers cannot bear more work for now, or are not known to; said once a second.
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
    /// Something waits.
    Waiting {
        /// For what.
        reason: String,
    },
    /// The gate before cutover.
    Gate {
        /// Ready.
        ready: bool,
        /// What is missing.
        blocked_by: Vec<String>,
    },
    /// The cutover entered a state.
    Cutover {
        /// Its name.
        state: String,
    },
    /// For the operator.
    Note {
        /// Text.
        text: String,
    },
    /// The last line.
    Summary {
        /// How it ended.
        text: String,
    },
}

/// What is counted.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Rows copied.
    Copy,
    /// Rows compared.
    Verify,
}

/// The line of an event, without the newline.
pub fn line(event: &Event, plan: Option<&PlanId>) -> serde_json::Result<String> {
    serde_json::to_string(&EventLine {
        timestamp: rfc3339(event.at_ms),
        plan_id: plan.map(|plan| plan.0.clone()),
        step: event.step.as_ref().map(|step| step.0.clone()),
        what: what(&event.kind),
    })
}

fn what(kind: &EventKind) -> What {
    match kind.clone() {
        EventKind::Admitted => What::Admitted {},
        EventKind::StepStart => What::StepStart {},
        EventKind::StepAlreadyDone => What::StepDone { already_done: true, elapsed_ms: None },
        EventKind::StepDone { elapsed_ms } => What::StepDone { already_done: false, elapsed_ms: Some(elapsed_ms) },
        EventKind::StepFailed { message } => What::StepFailed { message },
        EventKind::CopyProgress { table, rows, rows_estimate, bytes } => {
            What::StepProgress { work: Work::Copy, table, rows_done: rows, rows_estimate, bytes_done: Some(bytes) }
        }
        EventKind::VerifyProgress { table, rows, rows_estimate } => {
            What::StepProgress { work: Work::Verify, table, rows_done: rows, rows_estimate, bytes_done: None }
        }
        EventKind::Lag { source_lsn, applied_lsn, lag_bytes, transactions, changes } => {
            What::Lag { source_lsn, applied_lsn, lag_bytes, transactions, changes }
        }
        EventKind::HeldBack { work, reasons, seconds, over } => What::HeldBack { work, reasons, seconds, over },
        EventKind::Waiting { reason } => What::Waiting { reason },
        EventKind::Gate { ready, blocked_by } => What::Gate { ready, blocked_by },
        EventKind::Cutover { state } => What::Cutover { state },
        EventKind::Counter { name, value } => What::Counter { name, value },
        EventKind::Note { text } => What::Note { text },
        EventKind::Summary { text } => What::Summary { text },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Fingerprint;
    use crate::plan::StepId;

    #[test]
    fn lines_have_the_documented_keys() {
        let plan = Fingerprint("sha256:00".into());
        let shown = |kind: EventKind| {
            let event = Event { at_ms: 1_000, step: Some(StepId("copy:public.t".into())), kind };
            line(&event, Some(&plan)).unwrap()
        };
        insta::assert_snapshot!(
            shown(EventKind::StepStart),
            @r#"{"@timestamp":"1970-01-01T00:00:01.000Z","plan_id":"sha256:00","step":"copy:public.t","type":"step_start"}"#
        );
        let progress = EventKind::CopyProgress { table: "public.t".into(), rows: 1, rows_estimate: None, bytes: 2 };
        insta::assert_snapshot!(
            shown(progress),
            @r#"{"@timestamp":"1970-01-01T00:00:01.000Z","plan_id":"sha256:00","step":"copy:public.t","type":"step_progress","work":"copy","table":"public.t","rows_done":1,"rows_estimate":null,"bytes_done":2}"#
        );
        assert!(shown(EventKind::Note { text: "a\nb\u{1b}".into() }).ends_with(r#""text":"a\nb\u001b"}"#));
    }
}
