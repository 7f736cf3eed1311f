//! The reader of events that fits where the output goes.

use std::io::{self, Write};

use tokio::sync::mpsc;

use crate::exec::event::{Event, EventKind};
use crate::plan::PlanId;

use super::bars::Bars;
use super::json;
use super::lines::Lines;

/// How events are shown.
#[derive(Debug)]
pub enum Display {
    /// Progress bars on stderr.
    Bars(Bars),
    /// Lines on stderr.
    Lines(Lines),
    /// JSON objects on stdout.
    Json,
    /// Failures and the summary only, on stderr.
    Quiet(Lines),
}

impl Display {
    /// Chooses: `--json`, then `-q`, then bars if stderr is a terminal that can move its cursor.
    pub fn choose(json: bool, quiet: bool, stderr_is_terminal: bool) -> Self {
        match (json, quiet, stderr_is_terminal) {
            (true, _, _) => Self::Json,
            (false, true, _) => Self::Quiet(Lines::default()),
            (false, false, true) => Self::Bars(Bars::new()),
            (false, false, false) => Self::Lines(Lines::default()),
        }
    }

    /// Shows one event.
    ///
    /// # Errors
    /// The output cannot be written (disk full, reader gone).
    pub fn show(
        &mut self,
        event: &Event,
        plan: Option<&PlanId>,
        stdout: &mut dyn Write,
        stderr: &mut dyn Write,
    ) -> io::Result<()> {
        match self {
            Self::Bars(bars) => bars.show(event),
            Self::Lines(lines) => match lines.line(event) {
                Some(line) => writeln!(stderr, "{line}"),
                None => Ok(()),
            },
            Self::Json => {
                writeln!(stdout, "{}", json::line(event, plan)?)?;
                stdout.flush()
            }
            Self::Quiet(lines) => match (&event.kind, lines.line(event)) {
                (EventKind::StepFailed { .. } | EventKind::Summary { .. }, Some(line)) => writeln!(stderr, "{line}"),
                _ => Ok(()),
            },
        }
    }

    /// Shows events until all senders are gone. An output that fails does not stop the executor, which must end
    /// cleanly by itself: the rest is received and dropped, and the first error is returned.
    pub async fn pump(mut self, mut events: mpsc::UnboundedReceiver<Event>, plan: Option<PlanId>) -> io::Result<()> {
        let mut outcome = Ok(());
        while let Some(event) = events.recv().await {
            if outcome.is_ok() {
                outcome = self.show(&event, plan.as_ref(), &mut io::stdout().lock(), &mut io::stderr().lock());
            }
        }
        match &self {
            Self::Bars(bars) => outcome.and(bars.finish()),
            Self::Lines(_) | Self::Json | Self::Quiet(_) => outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(mut display: Display, kinds: Vec<EventKind>) -> (String, String) {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        for kind in kinds {
            let event = Event { at_ms: 0, step: None, kind };
            display.show(&event, None, &mut stdout, &mut stderr).unwrap();
        }
        (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }

    #[test]
    fn data_and_talk_go_to_different_streams() {
        let kinds = || vec![EventKind::Note { text: "n".into() }, EventKind::Summary { text: "end".into() }];
        let (stdout, stderr) = shown(Display::choose(true, false, true), kinds());
        assert_eq!((stdout.lines().count(), stderr.as_str()), (2, ""));
        assert!(stdout.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
        let (stdout, stderr) = shown(Display::choose(false, false, false), kinds());
        assert_eq!((stdout.as_str(), stderr.as_str()), ("", "00:00:00  note: n\n00:00:00  end\n"));
        let (stdout, stderr) = shown(Display::choose(false, true, true), kinds());
        assert_eq!((stdout.as_str(), stderr.as_str()), ("", "00:00:00  end\n"));
    }
}
