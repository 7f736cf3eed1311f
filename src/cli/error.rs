//! Every way a command can end, its exit code, and how an error is shown.

use std::error::Error;
use std::fmt::Write;
use std::process::ExitCode;

use miette::Diagnostic;

use crate::demo::DemoError;
use crate::pg::error::PgError;
use crate::state::JournalError;

use super::diagnostic::{Clean, Look};

/// How a command ended. The number is the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// There are changes.
    Changes = 2,
    /// A finding or a check blocks.
    Blocked = 3,
    /// The plan does not fit.
    Stale = 4,
    /// Verification found a difference.
    Different = 5,
    /// Stopped by a signal.
    Interrupted = 6,
    /// Another executor is at work.
    Busy = 7,
    /// Usage or configuration error.
    Usage = 64,
}

impl Exit {
    /// All of them, by number.
    pub const ALL: [Self; 9] = [
        Self::Done,
        Self::Failed,
        Self::Changes,
        Self::Blocked,
        Self::Stale,
        Self::Different,
        Self::Interrupted,
        Self::Busy,
        Self::Usage,
    ];

    /// The sentence of `pcrd --help`.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done; with `plan --detailed-exitcode`: no change",
            Self::Failed => "failed; the message says what, where, and the next command to run",
            Self::Changes => "`plan --detailed-exitcode`: there are changes",
            Self::Blocked => "blocked by a finding, a failed data check or a preflight check",
            Self::Stale => "the plan is stale, edited, or made for other clusters",
            Self::Different => "verification found a difference",
            Self::Interrupted => "interrupted; run the same command again to continue",
            Self::Busy => "another executor is at work",
            Self::Usage => "usage or configuration error",
        }
    }

    /// The word in `--json` errors.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Changes => "changes",
            Self::Blocked => "blocked",
            Self::Stale => "stale_plan",
            Self::Different => "different",
            Self::Interrupted => "interrupted",
            Self::Busy => "busy",
            Self::Usage => "usage",
        }
    }

    /// The table in `pcrd --help`.
    pub fn table() -> String {
        let mut text = String::from("Exit codes:\n");
        for exit in Self::ALL {
            writeln!(text, "  {:>2}  {}", exit as u8, exit.meaning()).expect("a String takes any text");
        }
        text
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed: what happened (and where, when a file is to blame), how to exit, and what to run next.
#[derive(Debug)]
pub struct CommandError {
    exit: Exit,
    cause: Cause,
    next: Option<String>,
}

#[derive(Debug)]
enum Cause {
    Diagnostic(Box<dyn Diagnostic + Send + Sync>),
    Error(Box<dyn Error + Send + Sync>),
    /// The reader of stdout is gone: nobody is left to tell.
    BrokenPipe,
}

impl CommandError {
    /// An error that has no place in a file. A sentence will do: `CommandError::new(Exit::Usage, "no tables")`.
    pub fn new(exit: Exit, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { exit, cause: Cause::Error(error.into()), next: None }
    }

    /// An error that points into a file.
    pub fn diagnostic(exit: Exit, diagnostic: impl Diagnostic + Send + Sync + 'static) -> Self {
        Self { exit, cause: Cause::Diagnostic(Box::new(diagnostic)), next: None }
    }

    /// Output that could not be written.
    pub fn output(error: std::io::Error) -> Self {
        let is_gone = error.kind() == std::io::ErrorKind::BrokenPipe;
        let cause =
            if is_gone { Cause::BrokenPipe } else { Cause::Error(format!("cannot write the output: {error}").into()) };
        Self { exit: Exit::Failed, cause, next: None }
    }

    /// The stop that the operator asked for.
    pub fn interrupted() -> Self {
        Self::new(Exit::Interrupted, "interrupted; run the same command again to continue")
    }

    /// Names the command to run next.
    pub fn with_next(mut self, command: impl Into<String>) -> Self {
        self.next = Some(command.into());
        self
    }

    /// How to exit.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// The text for stderr: a report for people, or one JSON object. Control characters are escaped.
    pub fn render(&self, look: Look, json: bool) -> String {
        let clean = match &self.cause {
            Cause::Diagnostic(diagnostic) => Clean::of_diagnostic(diagnostic.as_ref()),
            Cause::Error(error) => Clean::of_error(error.as_ref()),
            Cause::BrokenPipe => return String::new(),
        };
        if json {
            let mut object = clean.to_json();
            object.insert("kind".to_owned(), self.exit.word().into());
            object.insert("exit".to_owned(), (self.exit as u8).into());
            if let Some(next) = &self.next {
                object.insert("next".to_owned(), next.as_str().into());
            }
            return format!("{}\n", serde_json::json!({ "error": object }));
        }
        let mut text = clean.render(look);
        if let Some(next) = &self.next {
            writeln!(text, "Next: {next}").expect("a String takes any text");
        }
        text
    }
}

/// What happened, in one sentence.
impl std::fmt::Display for CommandError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.cause {
            Cause::Diagnostic(diagnostic) => write!(f, "{diagnostic}"),
            Cause::Error(error) => write!(f, "{error}"),
            Cause::BrokenPipe => f.write_str("the reader of the output is gone"),
        }
    }
}

impl From<PgError> for CommandError {
    fn from(error: PgError) -> Self {
        Self::new(Exit::Failed, error)
    }
}

impl From<DemoError> for CommandError {
    fn from(error: DemoError) -> Self {
        let next = match &error {
            DemoError::NotUp(_) => "pcrd demo up",
            DemoError::NotSetUp(_) => "pcrd demo setup",
            DemoError::NotDemo { .. } | DemoError::Foreign(_) => "pcrd demo up, in an empty directory",
            DemoError::NoServer => "dev/postgres fetch 15",
            DemoError::NoPort(..)
            | DemoError::Writer(_)
            | DemoError::Pg(_)
            | DemoError::Local(_)
            | DemoError::File { .. } => "pcrd demo down && pcrd demo up",
        };
        Self::new(Exit::Failed, error).with_next(next)
    }
}

impl From<JournalError> for CommandError {
    fn from(error: JournalError) -> Self {
        let exit = match &error {
            JournalError::InUse { .. } => Exit::Busy,
            JournalError::Foreign { .. } => Exit::Usage,
            JournalError::OtherPlan(_) => Exit::Stale,
            JournalError::Corrupt { .. }
            | JournalError::Version { .. }
            | JournalError::UnknownStep(_)
            | JournalError::Transition { .. }
            | JournalError::File { .. }
            | JournalError::Sqlite(_) => Exit::Failed,
        };
        let error = Self::new(exit, error);
        if exit == Exit::Busy { error.with_next("pcrd status") } else { error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_the_contract() {
        assert_eq!(Exit::ALL.map(|exit| exit as u8), [0, 1, 2, 3, 4, 5, 6, 7, 64]);
        for exit in Exit::ALL {
            // Fails to compile when a variant is added and not listed in ALL's match arms.
            let number = match exit {
                Exit::Done => 0,
                Exit::Failed => 1,
                Exit::Changes => 2,
                Exit::Blocked => 3,
                Exit::Stale => 4,
                Exit::Different => 5,
                Exit::Interrupted => 6,
                Exit::Busy => 7,
                Exit::Usage => 64,
            };
            assert_eq!(format!("{:?}", ExitCode::from(exit)), format!("{:?}", ExitCode::from(number)));
            assert!(Exit::table().contains(&format!("{number:>2}  {}\n", exit.meaning())));
            let error = CommandError::new(exit, "text");
            assert_eq!(error.exit(), exit);
            let json: serde_json::Value = serde_json::from_str(&error.render(Look::plain(80), true)).unwrap();
            assert_eq!(json["error"]["exit"], number);
            assert_eq!(json["error"]["kind"], exit.word());
        }
    }

    #[test]
    fn an_error_says_what_why_and_what_next() {
        let error = std::io::Error::other("inner \u{1b}[31m");
        let error = crate::state::JournalError::File { action: "open", path: "/x".into(), source: error };
        let error = CommandError::new(Exit::Failed, error).with_next("pcrd status");
        insta::assert_snapshot!(error.render(Look::plain(80), false), @r"
          × cannot open /x: inner \u{1b}[31m
        Next: pcrd status
        ");
        insta::assert_snapshot!(
            error.render(Look::plain(80), true),
            @r#"{"error":{"exit":1,"kind":"failed","message":"cannot open /x: inner \\u{1b}[31m","next":"pcrd status"}}"#
        );
    }

    #[test]
    fn a_reader_that_left_is_told_nothing() {
        let error = CommandError::output(std::io::ErrorKind::BrokenPipe.into());
        assert_eq!((error.render(Look::plain(80), false), error.exit()), (String::new(), Exit::Failed));
    }
}
