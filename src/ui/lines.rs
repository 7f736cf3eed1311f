//! Events as plain lines: for logs, pipes and terminals that cannot move the cursor.

use std::collections::BTreeMap;

use crate::exec::event::{Event, EventKind};

use super::meter::Meter;
use super::number::{bytes, duration_ms, grouped};
use super::text::safe_line;
use super::time::clock;

/// A progress line per subject at most this often.
const EVERY_MS: u64 = 5_000;

/// Turns events into lines; knows when it last said something of each subject.
#[derive(Debug, Default)]
pub struct Lines {
    meters: BTreeMap<String, Meter>,
    said_at: BTreeMap<String, u64>,
    last_waiting: String,
    last_gate: Vec<String>,
}

impl Lines {
    /// The line for an event, or `None` when there is nothing new to say.
    pub fn line(&mut self, event: &Event) -> Option<String> {
        let text = self.text(event)?;
        Some(format!("{}  {}", clock(event.at_ms), safe_line(&text)))
    }

    fn text(&mut self, event: &Event) -> Option<String> {
        let step = event.step.as_ref().map_or("", |step| step.0.as_str());
        match &event.kind {
            EventKind::StepStart => Some(format!("{step}: started")),
            EventKind::StepAlreadyDone => Some(format!("{step}: already done")),
            EventKind::StepDone { elapsed_ms } => Some(format!("{step}: done in {}", duration_ms(*elapsed_ms))),
            EventKind::StepFailed { message } => Some(format!("{step}: failed: {message}")),
            EventKind::CopyProgress { table, rows, rows_estimate, bytes } => {
                self.progress(&format!("copy {table}"), event.at_ms, *rows, *bytes, *rows_estimate)
            }
            EventKind::VerifyProgress { table, rows, rows_estimate } => {
                self.progress(&format!("verify {table}"), event.at_ms, *rows, 0, *rows_estimate)
            }
            EventKind::Lag { lag_bytes, transactions, changes, applied_lsn, .. } => {
                self.is_due("stream", event.at_ms).then(|| stream(*lag_bytes, *transactions, *changes, applied_lsn))
            }
            EventKind::HeldBack { work, seconds, over: true, .. } => {
                self.said_at.remove("held back");
                Some(format!("{work} goes on after {seconds} s"))
            }
            EventKind::HeldBack { work, reasons, seconds, over: false } => self
                .is_due("held back", event.at_ms)
                .then(|| format!("{work} held back: {} (since {seconds} s)", reasons.join("; "))),
            EventKind::Waiting { reason } => {
                let is_new = *reason != self.last_waiting;
                if is_new {
                    self.last_waiting.clone_from(reason);
                    self.said_at.insert("waiting".to_owned(), event.at_ms);
                }
                (is_new || self.is_due("waiting", event.at_ms)).then(|| format!("waiting: {reason}"))
            }
            EventKind::Gate { ready: true, .. } => {
                self.last_gate.clear();
                self.is_due("gate", event.at_ms).then(|| "ready for cutover".to_owned())
            }
            EventKind::Gate { ready: false, blocked_by } => {
                let is_new = *blocked_by != self.last_gate;
                self.last_gate.clone_from(blocked_by);
                is_new.then(|| format!("not ready for cutover: {}", blocked_by.join("; ")))
            }
            EventKind::Admitted | EventKind::Counter { .. } => None,
            EventKind::Cutover { state } => Some(format!("cutover: {state}")),
            EventKind::Note { text } => Some(format!("note: {text}")),
            EventKind::Summary { text } => Some(text.clone()),
        }
    }

    fn progress(
        &mut self,
        subject: &str,
        at_ms: u64,
        rows: u64,
        n_bytes: u64,
        rows_estimate: Option<u64>,
    ) -> Option<String> {
        let meter = self.meters.entry(subject.to_owned()).or_default();
        meter.add(at_ms, rows, n_bytes, rows_estimate);
        let line = meter.line();
        self.is_due(subject, at_ms).then(|| format!("{subject}: {line}"))
    }

    /// True, and remembered, when the subject was not mentioned for a while.
    fn is_due(&mut self, subject: &str, at_ms: u64) -> bool {
        let is_due = self.said_at.get(subject).is_none_or(|said_at| at_ms >= said_at + EVERY_MS);
        if is_due {
            self.said_at.insert(subject.to_owned(), at_ms);
        }
        is_due
    }
}

/// One line on the state of the stream.
pub fn stream(lag_bytes: u64, transactions: u64, changes: u64, applied_lsn: &str) -> String {
    format!(
        "stream: {} behind, {} transactions with {} changes applied, at {applied_lsn}",
        bytes(lag_bytes),
        grouped(transactions),
        grouped(changes)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::StepId;

    fn event(at_ms: u64, kind: EventKind) -> Event {
        Event { at_ms, step: Some(StepId("copy:public.t".into())), kind }
    }

    fn copied(at_ms: u64, rows: u64) -> Event {
        let kind = EventKind::CopyProgress { table: "public.t".into(), rows, rows_estimate: Some(100_000), bytes: 0 };
        event(at_ms, kind)
    }

    #[test]
    fn progress_is_said_every_five_seconds_only() {
        let mut lines = Lines::default();
        let said: Vec<String> = (0..=120).filter_map(|n| lines.line(&copied(n * 100, n * 100))).collect();
        assert_eq!(
            said,
            [
                "00:00:00  copy public.t: 0 of ~100 000 rows (0.0 %)",
                "00:00:05  copy public.t: 5 000 of ~100 000 rows (5.0 %), 1 000 rows/s, 1 min 35 s left",
                "00:00:10  copy public.t: 10 000 of ~100 000 rows (10.0 %), 1 000 rows/s, 1 min 30 s left",
            ]
        );
    }

    #[test]
    fn a_new_reason_is_said_at_once_and_a_name_cannot_forge_a_line() {
        let mut lines = Lines::default();
        let waiting = |reason: &str| EventKind::Waiting { reason: reason.into() };
        assert!(lines.line(&event(0, waiting("pid 1"))).is_some());
        assert!(lines.line(&event(1, waiting("pid 1"))).is_none());
        assert_eq!(lines.line(&event(2, waiting("a\nb\u{1b}[1m"))).unwrap(), "00:00:00  waiting: a\\nb\\u{1b}[1m");
        assert!(lines.line(&event(4_000, waiting("a\nb\u{1b}[1m"))).is_none());
        assert!(lines.line(&event(5_002, waiting("a\nb\u{1b}[1m"))).is_some());
    }

    #[test]
    fn what_holds_the_copy_back_is_said_at_once_and_every_five_seconds() {
        let mut lines = Lines::default();
        let mut said = |at_ms: u64, mib: u64, over: bool| {
            let reasons = vec![format!("WAL retained {mib} MiB of 192 MiB")];
            let kind = EventKind::HeldBack { work: "copy".into(), reasons, seconds: at_ms / 1_000, over };
            lines.line(&event(at_ms, kind)).unwrap_or_default()
        };
        assert_eq!(said(0, 200, false), "00:00:00  copy held back: WAL retained 200 MiB of 192 MiB (since 0 s)");
        assert_eq!(said(1_000, 210, false), "");
        assert_eq!(said(5_000, 240, false), "00:00:05  copy held back: WAL retained 240 MiB of 192 MiB (since 5 s)");
        assert_eq!(said(6_000, 240, true), "00:00:06  copy goes on after 6 s");
        assert_ne!(said(7_000, 200, false), "", "held back again");
    }

    #[test]
    fn the_gate_is_said_when_it_changes() {
        let mut lines = Lines::default();
        let gate = |blocked_by: &[&str]| EventKind::Gate {
            ready: blocked_by.is_empty(),
            blocked_by: blocked_by.iter().map(|&text| text.to_owned()).collect(),
        };
        assert_eq!(
            lines.line(&event(0, gate(&["lag 2 MiB", "not verified"]))).unwrap(),
            "00:00:00  not ready for cutover: lag 2 MiB; not verified"
        );
        assert!(lines.line(&event(60_000, gate(&["lag 2 MiB", "not verified"]))).is_none());
        assert_eq!(lines.line(&event(60_001, gate(&[]))).unwrap(), "00:01:00  ready for cutover");
    }
}
