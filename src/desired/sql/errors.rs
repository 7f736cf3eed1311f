//! All problems of one SQL file as one diagnostic.

use std::fmt;

use miette::{Diagnostic, NamedSource, SourceCode};

use crate::desired::problem::Problem;

/// Each problem shows lines of the file, and counting lines takes time: nobody reads more.
const SHOWN_MAX: usize = 100;

/// Each problem shows whole lines, and a hostile line is as long as the file.
const SHOWN_BYTES_MAX: usize = 1024 * 1024;

/// Everything that is wrong with one SQL file, in the order of the file.
#[derive(Debug)]
pub struct SchemaErrors {
    /// The file, as given.
    pub file_name: String,
    /// The problems, at least one.
    pub problems: Vec<Problem>,
    shown: usize,
    source: NamedSource<String>,
}

impl SchemaErrors {
    /// Puts problems and text together.
    pub fn new(file_name: &str, text: &str, problems: Vec<Problem>) -> Self {
        let source = NamedSource::new(file_name, printable(text)).with_language("sql");
        let mut bytes = 0;
        let fits = |problem: &&Problem| {
            bytes += problem.labels.iter().map(|label| line_bytes(text, label.span.start)).sum::<usize>();
            bytes <= SHOWN_BYTES_MAX
        };
        let shown = problems.iter().take(SHOWN_MAX).take_while(fits).count().max(1);
        Self { file_name: file_name.to_owned(), problems, shown, source }
    }
}

fn line_bytes(text: &str, at: usize) -> usize {
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    text[at..].find('\n').map_or(text.len(), |length| at + length) - start
}

/// The text, byte for byte as long, without what drives a terminal.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let is_line_end = c == '\n' || (c == '\r' && chars.peek() == Some(&'\n'));
        if c.is_control() && c != '\t' && !is_line_end {
            out.extend(std::iter::repeat_n('?', c.len_utf8()));
        } else {
            out.push(c);
        }
    }
    out
}

impl fmt::Display for SchemaErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => write!(f, "{} has an error", self.file_name),
            errors if errors > self.shown => {
                write!(f, "{} has {errors} errors; the first {} of them", self.file_name, self.shown)
            }
            errors => write!(f, "{} has {errors} errors", self.file_name),
        }
    }
}

impl std::error::Error for SchemaErrors {}

impl Diagnostic for SchemaErrors {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.problems.iter().take(self.shown).map(|problem| problem as &dyn Diagnostic)))
    }
}
