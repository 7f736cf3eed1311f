//! What every command is given, and the only way out for what it says.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use crate::ui::Display;
use crate::ui::text::safe;

use super::args::{ColorChoice, Global};
use super::diagnostic::Look;
use super::error::CommandError;
use super::shutdown::Shutdown;

/// Settings of this call, resolved.
#[derive(Debug, Clone)]
pub struct Context {
    /// The config file.
    pub config: PathBuf,
    /// `--state`, when given; else the config decides.
    pub state: Option<PathBuf>,
    /// Machine-readable output.
    pub json: bool,
    /// How much more to say.
    pub verbose: u8,
    /// Say only what is needed.
    pub quiet: bool,
    /// How reports on stderr look.
    pub look: Look,
    /// Stop signals.
    pub shutdown: Shutdown,
}

impl Context {
    /// Resolves flags, environment and terminal.
    pub fn new(global: &Global, shutdown: Shutdown) -> Self {
        Self {
            config: global.config.clone(),
            state: global.state.clone(),
            json: global.json,
            verbose: global.verbose,
            quiet: global.quiet,
            look: look(global.color),
            shutdown,
        }
    }

    /// Writes data to stdout, with a newline at the end if there is none. A file or a program gets it as it is; on a
    /// terminal control characters are shown.
    pub fn data(&self, text: &str) -> Result<(), CommandError> {
        let mut stdout = std::io::stdout().lock();
        let text = if stdout.is_terminal() { safe(text) } else { text.into() };
        let newline: &[u8] = if text.ends_with('\n') { b"" } else { b"\n" };
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.write_all(newline))
            .and_then(|()| stdout.flush())
            .map_err(CommandError::output)
    }

    /// Says something on stderr, unless `-q`.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            self.say("note", text);
        }
    }

    /// Warns on stderr.
    pub fn warning(&self, text: &str) {
        self.say("warning", text);
    }

    /// The reader of events for this call.
    pub fn display(&self) -> Display {
        Display::choose(self.json, self.quiet, can_move_cursor())
    }

    fn say(&self, heading: &str, text: &str) {
        let text = safe(text);
        let line = if self.json {
            serde_json::json!({ "type": heading, "text": text }).to_string()
        } else {
            format!("{heading}: {text}")
        };
        // Nothing better can be done about a stderr that is gone.
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

/// How reports look, from `--color`, `NO_COLOR`, `TERM` and the terminal.
pub fn look(choice: ColorChoice) -> Look {
    let color = match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => can_move_cursor() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    };
    let width = match terminal_width() {
        Some(columns) if columns >= 40 => columns.min(120),
        _ => 100,
    };
    Look { color, width }
}

fn can_move_cursor() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// `COLUMNS`, as shells and tests set it.
fn terminal_width() -> Option<usize> {
    std::env::var("COLUMNS").ok()?.parse().ok()
}
