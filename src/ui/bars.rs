//! Events as progress bars, on a terminal.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::exec::event::{Event, EventKind};

use super::lines::{self, Lines};
use super::meter::Meter;
use super::text::safe_line;

/// One bar per table, a line for the stream, and everything else as lines above them.
#[derive(Debug)]
pub struct Bars {
    screen: MultiProgress,
    tables: BTreeMap<String, (ProgressBar, Meter)>,
    stream: Option<ProgressBar>,
    lines: Lines,
}

impl Bars {
    /// Draws to stderr.
    pub fn new() -> Self {
        let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        Self { screen, tables: BTreeMap::new(), stream: None, lines: Lines::default() }
    }

    /// Shows an event.
    pub fn show(&mut self, event: &Event) -> std::io::Result<()> {
        match &event.kind {
            EventKind::CopyProgress { table, rows, rows_estimate, bytes } => {
                self.progress(format!("copy {table}"), event.at_ms, *rows, *bytes, *rows_estimate);
                Ok(())
            }
            EventKind::VerifyProgress { table, rows, rows_estimate } => {
                self.progress(format!("verify {table}"), event.at_ms, *rows, 0, *rows_estimate);
                Ok(())
            }
            EventKind::Lag { lag_bytes, transactions, changes, applied_lsn, .. } => {
                let screen = &self.screen;
                let bar = self.stream.get_or_insert_with(|| {
                    let bar = screen.add(ProgressBar::no_length().with_style(style("{spinner} {msg}")));
                    bar.enable_steady_tick(Duration::from_millis(200));
                    bar
                });
                bar.set_message(lines::stream(*lag_bytes, *transactions, *changes, applied_lsn));
                Ok(())
            }
            EventKind::Admitted
            | EventKind::StepStart
            | EventKind::StepAlreadyDone
            | EventKind::StepDone { .. }
            | EventKind::StepFailed { .. }
            | EventKind::HeldBack { .. }
            | EventKind::Waiting { .. }
            | EventKind::Gate { .. }
            | EventKind::Counter { .. }
            | EventKind::Cutover { .. }
            | EventKind::Note { .. }
            | EventKind::Summary { .. } => match self.lines.line(event) {
                Some(line) => self.screen.println(line),
                None => Ok(()),
            },
        }
    }

    /// Removes the bars; what was said above them stays.
    pub fn finish(&self) -> std::io::Result<()> {
        self.screen.clear()
    }

    fn progress(&mut self, subject: String, at_ms: u64, rows: u64, n_bytes: u64, rows_estimate: Option<u64>) {
        let screen = &self.screen;
        let (bar, meter) = self.tables.entry(subject).or_insert_with_key(|subject| {
            let bar = screen.add(ProgressBar::no_length().with_style(style("{prefix} [{bar:24}] {msg}")));
            bar.set_prefix(safe_line(subject).into_owned());
            (bar, Meter::new())
        });
        meter.add(at_ms, rows, n_bytes, rows_estimate);
        if let Some(expected) = meter.rows_expected() {
            bar.set_length(expected);
        } else {
            bar.unset_length();
        }
        bar.set_position(rows);
        bar.set_message(meter.line());
    }
}

impl Default for Bars {
    fn default() -> Self {
        Self::new()
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are constants").progress_chars("=> ")
}
