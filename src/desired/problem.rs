//! What is wrong in the user's file: data that points into the text, words that miette renders.

use std::fmt;
use std::ops::Range;

use miette::{Diagnostic, LabeledSpan, SourceCode};

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What kind of thing.
    pub kind: ProblemKind,
    /// One lower-case sentence.
    pub message: String,
    /// The places, the most telling one first; empty when the file could not be read.
    pub labels: Vec<Label>,
    /// What to do about it.
    pub help: Option<String>,
}

/// A place in the file and a remark on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Byte range.
    pub span: Range<usize>,
    /// The remark.
    pub text: String,
}

/// Kinds of problems, each with a stable code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProblemKind {
    /// There is no such file.
    NotFound,
    /// The file is there but cannot be read as text.
    Unreadable,
    /// The file is larger than any config can be.
    TooLarge,
    /// The file says nothing.
    Empty,
    /// Not YAML.
    Syntax,
    /// A key stands twice in one map.
    DuplicateKey,
    /// A key that does not exist.
    UnknownKey,
    /// A key or value that a later version brings.
    NotYet,
    /// Text where a number belongs, a list where a map belongs, …
    WrongType,
    /// A required key is not there.
    Missing,
    /// Of the right type, but not allowed.
    BadValue,
    /// Not a name that PostgreSQL keeps as written.
    BadName,
    /// Two places contradict each other.
    Contradiction,
    /// A password in the file.
    PlaintextPassword,
    /// A connection over the network that does not say how it is protected.
    SslmodeMissing,
    /// SQL: a string, quoted name, comment or dollar quote without an end.
    SqlOpen,
    /// SQL: a bracket without its other half.
    SqlUnbalanced,
    /// SQL: nested too deep.
    SqlTooDeep,
    /// SQL: not the shape of a statement.
    SqlSyntax,
    /// SQL: a line for psql that is not for us.
    SqlPsql,
    /// SQL: rows, or a script that changes rows.
    SqlData,
    /// SQL: a step of a migration instead of the final state.
    SqlScript,
    /// SQL: a statement or clause that a desired schema cannot have.
    SqlRefused,
    /// SQL: names something that the file does not create.
    SqlUnknown,
    /// SQL: the same thing twice.
    SqlDuplicate,
    /// SQL: parts of one object that exclude each other.
    SqlContradiction,
    /// SQL: a name that PostgreSQL would cut off or refuse.
    SqlName,
    /// SQL: a source column that the file does not account for.
    ColumnMissing,
    /// SQL: the target's server refuses it.
    SqlServer,
    /// A directive that does not exist.
    DirectiveUnknown,
    /// A directive with nothing to belong to.
    DirectiveUnattached,
    /// A directive at something that cannot have it.
    DirectiveMisplaced,
    /// The same directive twice.
    DirectiveDuplicate,
    /// Directives that exclude each other.
    DirectiveContradiction,
    /// A directive without the value it needs, or with one that makes no sense.
    DirectiveValue,
}

impl ProblemKind {
    /// The code shown with the diagnostic.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotFound => "pcrd::config::not_found",
            Self::Unreadable => "pcrd::config::unreadable",
            Self::TooLarge => "pcrd::config::too_large",
            Self::Empty => "pcrd::config::empty",
            Self::Syntax => "pcrd::config::syntax",
            Self::DuplicateKey => "pcrd::config::duplicate_key",
            Self::UnknownKey => "pcrd::config::unknown_key",
            Self::NotYet => "pcrd::config::not_yet",
            Self::WrongType => "pcrd::config::wrong_type",
            Self::Missing => "pcrd::config::missing",
            Self::BadValue => "pcrd::config::bad_value",
            Self::BadName => "pcrd::config::bad_name",
            Self::Contradiction => "pcrd::config::contradiction",
            Self::PlaintextPassword => "pcrd::config::plaintext_password",
            Self::SslmodeMissing => "pcrd::config::sslmode_missing",
            Self::SqlOpen => "pcrd::schema::open",
            Self::SqlUnbalanced => "pcrd::schema::unbalanced",
            Self::SqlTooDeep => "pcrd::schema::too_deep",
            Self::SqlSyntax => "pcrd::schema::syntax",
            Self::SqlPsql => "pcrd::schema::psql",
            Self::SqlData => "pcrd::schema::data",
            Self::SqlScript => "pcrd::schema::script",
            Self::SqlRefused => "pcrd::schema::refused",
            Self::SqlUnknown => "pcrd::schema::unknown",
            Self::SqlDuplicate => "pcrd::schema::duplicate",
            Self::SqlContradiction => "pcrd::schema::contradiction",
            Self::SqlName => "pcrd::schema::name",
            Self::ColumnMissing => "pcrd::schema::column_missing",
            Self::SqlServer => "pcrd::schema::server",
            Self::DirectiveUnknown => "pcrd::directive::unknown",
            Self::DirectiveUnattached => "pcrd::directive::unattached",
            Self::DirectiveMisplaced => "pcrd::directive::misplaced",
            Self::DirectiveDuplicate => "pcrd::directive::duplicate",
            Self::DirectiveContradiction => "pcrd::directive::contradiction",
            Self::DirectiveValue => "pcrd::directive::value",
        }
    }
}

impl Problem {
    /// A problem at one place.
    pub fn at(kind: ProblemKind, span: Range<usize>, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self { kind, message: message.into(), labels: vec![Label { span, text: label.into() }], help: None }
    }

    /// Adds the place that the first one collides with.
    #[must_use]
    pub fn and(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: label.into() });
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Text of the user's file inside a message: control characters could drive the terminal, length could bury the point.
pub fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    let mut out: String = text.chars().take(CHARS_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        out.push('…');
    }
    out
}

/// `did you mean …?`, when one of the candidates is close to the word.
pub fn did_you_mean(word: &str, candidates: &[&str]) -> Option<String> {
    let close = similar::get_close_matches(word, candidates, 1, 0.6);
    close.first().map(|name| format!("did you mean `{name}`?"))
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.kind.code()))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display + 'a>)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        if self.labels.is_empty() {
            return None;
        }
        Some(Box::new(self.labels.iter().enumerate().map(|(nth, label)| {
            let text = Some(label.text.clone());
            if nth == 0 {
                LabeledSpan::new_primary_with_span(text, label.span.clone())
            } else {
                LabeledSpan::new_with_span(text, label.span.clone())
            }
        })))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        None
    }
}
