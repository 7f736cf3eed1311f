//! All problems of one SQL file as one diagnostic.

use std::fmt;

use miette::{Diagnostic, NamedSource, SourceCode};

use crate::desired::problem::Problem;

/// Each problem shows lines of the file, and counting lines takes time: nobody reads more.
const SHOWN_MAX: usize = 100;

/// Everything that is wrong with one SQL file, in the order of the file.
#[derive(Debug)]
pub struct SchemaErrors {
    /// The file, as given.
    pub file_name: String,
    /// The problems, at least one.
    pub problems: Vec<Problem>,
    source: NamedSource<String>,
}

impl SchemaErrors {
    /// Puts problems and text together.
    pub fn new(file_name: &str, text: &str, problems: Vec<Problem>) -> Self {
        let source = NamedSource::new(file_name, text.to_owned()).with_language("sql");
        Self { file_name: file_name.to_owned(), problems, source }
    }
}

impl fmt::Display for SchemaErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => write!(f, "{} has an error", self.file_name),
            errors if errors > SHOWN_MAX => {
                write!(f, "{} has {errors} errors; the first {SHOWN_MAX} of them", self.file_name)
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
        Some(Box::new(self.problems.iter().take(SHOWN_MAX).map(|problem| problem as &dyn Diagnostic)))
    }
}
