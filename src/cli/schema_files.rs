//! The files of `migrate.schema`, read as one text; errors point into the file that they are in.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use miette::Diagnostic;

use crate::catalog::{Fingerprint, QualifiedName};
use crate::config::Config;
use crate::config::schema_file::read_schema;
use crate::desired::problem::Problem;
use crate::desired::sql::{Reading, SchemaErrors, SqlSchema, read};
use crate::plan::Input;

use super::error::{CommandError, Exit};

/// The desired SQL files as one text.
#[derive(Debug)]
pub struct SchemaFiles {
    text: String,
    files: Vec<SchemaFile>,
    schema: SqlSchema,
    warnings: Vec<Problem>,
}

/// One of them, and where it stands in the text.
#[derive(Debug)]
struct SchemaFile {
    path: String,
    digest: Fingerprint,
    start: usize,
    end: usize,
}

/// Stands between two files: names without a schema mean the same wherever a file stands in the list.
const BETWEEN: &str = "\n;RESET search_path;\n";

/// The last part of a path.
pub fn file_name(path: &str) -> String {
    Path::new(path).file_name().map_or_else(|| path.to_owned(), |name| name.to_string_lossy().into_owned())
}

/// Reads the files, when the config names some.
///
/// # Errors
/// No such file, or everything that is wrong in them.
pub fn schema_files(config: &Config) -> Result<Option<SchemaFiles>, CommandError> {
    let (mut text, mut files) = (String::new(), Vec::new());
    for path in paths(config)? {
        let own = read_schema(&path).map_err(|error| CommandError::new(Exit::Usage, error))?;
        if !files.is_empty() {
            text.push_str(BETWEEN);
        }
        let start = text.len();
        text.push_str(&own);
        let digest = Fingerprint::of_bytes(own.as_bytes());
        files.push(SchemaFile { path: path.display().to_string(), digest, start, end: text.len() });
    }
    if files.is_empty() {
        return Ok(None);
    }
    let Reading { schema, problems, warnings } = read(&text);
    let files = SchemaFiles { text, files, schema, warnings };
    if problems.is_empty() { Ok(Some(files)) } else { Err(files.refusal(problems)) }
}

/// Every file once, those of a glob in the order of their names.
fn paths(config: &Config) -> Result<Vec<PathBuf>, CommandError> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in &config.migrate.schema {
        let pattern = entry.value.display().to_string();
        let mut found = vec![entry.value.clone()];
        if pattern.contains(['*', '?', '[']) && !entry.value.exists() {
            let bad = |why: String| CommandError::new(Exit::Usage, format!("migrate.schema: `{pattern}`: {why}"));
            let matches = glob::glob(&pattern).map_err(|error| bad(error.to_string()))?;
            found = matches.collect::<Result<_, _>>().map_err(|error| bad(error.to_string()))?;
            if found.is_empty() {
                return Err(bad("no file matches".to_owned()));
            }
        }
        let new: Vec<PathBuf> = found.into_iter().filter(|path| !paths.contains(path)).collect();
        paths.extend(new);
    }
    Ok(paths)
}

impl SchemaFiles {
    /// Tables that the files leave alone (`-- pcrd: ignore`).
    pub fn ignored(&self) -> impl Iterator<Item = &QualifiedName> {
        let ignored = self.schema.tables.iter().filter(|table| table.directives.ignore.is_some());
        ignored.map(|table| &table.name.value)
    }

    /// What they say.
    pub fn schema(&self) -> &SqlSchema {
        &self.schema
    }

    /// What PostgreSQL would take, but not as it looks.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// Paths, as the config gives them.
    pub fn paths(&self) -> String {
        self.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// For the plan: names without directories, and digests.
    pub fn inputs(&self) -> Vec<Input> {
        let input = |file: &SchemaFile| Input { name: file_name(&file.path), sha256: file.digest.clone() };
        self.files.iter().map(input).collect()
    }

    /// Where each line starts, and what it is called: `desired.sql:14`.
    pub fn lines(&self) -> Vec<(usize, String)> {
        let of_file = |file: &SchemaFile| {
            let (name, start) = (file_name(&file.path), file.start);
            let breaks = self.text[file.start..file.end].match_indices('\n').map(move |(at, _)| start + at + 1);
            let starts = std::iter::once(start).chain(breaks).zip(1..);
            starts.map(|(at, line)| (at, format!("{name}:{line}"))).collect::<Vec<_>>()
        };
        self.files.iter().flat_map(of_file).collect()
    }

    /// Path and text of the file that a place is in, and where it starts.
    pub fn file(&self, at: usize) -> (&str, &str, usize) {
        let file = self.files.iter().rfind(|file| file.start <= at).unwrap_or(&self.files[0]);
        (&file.path, &self.text[file.start..file.end], file.start)
    }

    /// `desired.sql:14: message`.
    pub fn located(&self, problem: &Problem) -> String {
        let at = problem.labels.first().map_or(0, |label| label.span.start);
        format!("{}: {}", self.line(at), problem.message)
    }

    fn line(&self, at: usize) -> String {
        let (path, text, start) = self.file(at);
        let lines = text.as_bytes().iter().take(at - start).filter(|byte| **byte == b'\n').count();
        format!("{path}:{}", lines + 1)
    }

    /// All problems, file by file. A second place in another file is told in words.
    pub fn refusal(&self, problems: Vec<Problem>) -> CommandError {
        let mut by_file: BTreeMap<usize, Vec<Problem>> = BTreeMap::new();
        for mut problem in problems {
            let (_, text, start) = self.file(problem.labels.first().map_or(0, |label| label.span.start));
            let inside = start..start + text.len() + 1;
            let elsewhere: Vec<String> = problem
                .labels
                .iter()
                .filter(|label| !inside.contains(&label.span.start))
                .map(|label| format!(" ({}: {})", label.text, self.line(label.span.start)))
                .collect();
            problem.message.push_str(&elsewhere.concat());
            problem.labels.retain(|label| inside.contains(&label.span.start));
            for label in &mut problem.labels {
                label.span = label.span.start - start..label.span.end.saturating_sub(start).min(text.len());
            }
            by_file.entry(start).or_default().push(problem);
        }
        let places = by_file.into_iter().map(|(start, problems)| {
            let (path, text, _) = self.file(start);
            SchemaErrors::new(path, text, problems)
        });
        let mut places: Vec<SchemaErrors> = places.collect();
        match places.pop() {
            Some(only) if places.is_empty() => CommandError::diagnostic(Exit::Usage, only),
            last => {
                places.extend(last);
                CommandError::diagnostic(Exit::Usage, SeveralFiles { places })
            }
        }
    }
}

/// Errors in more than one file.
#[derive(Debug)]
struct SeveralFiles {
    places: Vec<SchemaErrors>,
}

impl fmt::Display for SeveralFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n_errors: usize = self.places.iter().map(|place| place.problems.len()).sum();
        write!(f, "the desired schema has {n_errors} errors in {} files", self.places.len())
    }
}

impl std::error::Error for SeveralFiles {}

impl Diagnostic for SeveralFiles {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.places.iter().map(|place| place as &dyn Diagnostic)))
    }
}
