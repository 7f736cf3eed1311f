//! What the user wants: the tables of the config, those of the desired SQL file, and both read together.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use miette::{Diagnostic, SourceCode};

use crate::catalog::{Catalog, Fingerprint, QualifiedName, Table};
use crate::config::Config;
use crate::config::schema_file::read_schema;
use crate::desired::problem::{Problem, ProblemKind};
use crate::desired::sql::{Reading, SchemaErrors, SqlSchema, Written, read, written};
use crate::desired::{DesiredSchema, DesiredTable};
use crate::pg::client::Client;
use crate::pg::scratch::{Definition, Part, Refusal, ScratchError, read_back};
use crate::plan::End;
use crate::resolve::Resolved;
use crate::resolve::matching::match_tables;

use super::catalogs::Seen;
use super::database::EndError;
use super::error::{CommandError, Exit};

/// The desired SQL file.
#[derive(Debug)]
pub struct SchemaFile {
    /// Its path, as the config gives it.
    pub path: String,
    /// Its name without directories, for the plan.
    pub name: String,
    /// Its text.
    pub text: String,
    /// Digest of the text.
    pub digest: Fingerprint,
    schema: SqlSchema,
    warnings: Vec<String>,
}

/// Everything that is wanted.
#[derive(Debug)]
pub struct Desired {
    /// The tables of both files.
    pub schema: DesiredSchema,
    /// The desired SQL file, when there is one.
    pub file: Option<SchemaFile>,
    /// What the SQL file says and the target will not have: kind and address.
    pub left: Vec<(&'static str, String)>,
    /// Warnings and directives that have nothing left to do.
    pub notes: Vec<String>,
}

/// The last part of a path.
pub fn file_name(path: &str) -> String {
    Path::new(path).file_name().map_or_else(|| path.to_owned(), |name| name.to_string_lossy().into_owned())
}

/// Reads the file of `migrate.schema`, when the config names one.
///
/// # Errors
/// No such file, or everything that is wrong in it.
pub fn schema_file(config: &Config) -> Result<Option<SchemaFile>, CommandError> {
    let Some(path) = &config.migrate.schema else { return Ok(None) };
    let text = read_schema(&path.value).map_err(|error| CommandError::new(Exit::Usage, error))?;
    let path = path.value.display().to_string();
    let Reading { schema, problems, warnings } = read(&text);
    if !problems.is_empty() {
        return Err(CommandError::diagnostic(Exit::Usage, SchemaErrors::new(&path, &text, problems)));
    }
    let warnings = warnings.iter().map(|warning| located(&path, &text, warning)).collect();
    let (name, digest) = (file_name(&path), Fingerprint::of_bytes(text.as_bytes()));
    Ok(Some(SchemaFile { path, name, text, digest, schema, warnings }))
}

/// `file:line: message`.
fn located(path: &str, text: &str, problem: &Problem) -> String {
    let at = problem.labels.first().map_or(0, |label| label.span.start);
    format!("{path}:{}: {}", text[..at].matches('\n').count() + 1, problem.message)
}

/// Puts both files together and matches the SQL file with the source.
///
/// # Errors
/// Whatever is wrong in the SQL file, a table that both files describe, and what the target's server refuses.
pub async fn desired(config: &Config, source: &Catalog, target: &Seen) -> Result<Desired, CommandError> {
    let mut schema = config.migrate.desired.clone();
    let Some(file) = schema_file(config)? else {
        return Ok(Desired { schema, file: None, left: Vec::new(), notes: Vec::new() });
    };
    let refuse = |problems| CommandError::diagnostic(Exit::Usage, SchemaErrors::new(&file.path, &file.text, problems));
    let mut made = written(&file.schema, &target.catalog.types).map_err(refuse)?;
    if let Some(client) = &target.client {
        read_by_server(client, &mut made).await.map_err(|error| server_error(&file, &made, error))?;
    }
    let matched = match_tables(&file.schema, &made.tables, source, target.client.is_some()).map_err(refuse)?;
    described_twice(config, &file, &schema.tables, &matched.tables)?;
    let mut notes = file.warnings.clone();
    notes.extend(matched.notes.iter().map(|note| located(&file.path, &file.text, note)));
    schema.tables.extend(matched.tables);
    schema.accept_in_schema = matched.accept;
    schema.sequences = made.sequences;
    Ok(Desired { schema, file: Some(file), left: matched.left, notes })
}

async fn read_by_server(client: &Client, made: &mut Written) -> Result<(), ScratchError> {
    let definitions: Vec<Definition<'_>> = made
        .tables
        .iter()
        .filter(|table| is_plain(&table.table))
        .map(|table| Definition { name: &table.name, table: &table.table, search_path: &table.search_path })
        .collect();
    let mut read = read_back(client, &definitions, &made.sequences).await?;
    for table in &mut made.tables {
        if let Some(read) = read.remove(&table.name) {
            table.table = read;
        }
    }
    Ok(())
}

/// Of the others the plan says why they cannot be built.
fn is_plain(table: &Table) -> bool {
    table.partition_key.is_none() && table.parents.is_empty()
}

fn server_error(file: &SchemaFile, made: &Written, error: ScratchError) -> CommandError {
    match error {
        ScratchError::Refused(refusals) => {
            let problems = refusals.iter().map(|refusal| refused(made, refusal)).collect();
            CommandError::diagnostic(Exit::Usage, SchemaErrors::new(&file.path, &file.text, problems))
        }
        error => EndError::new(End::Target, error).into(),
    }
}

fn refused(made: &Written, refusal: &Refusal) -> Problem {
    let table = made.tables.iter().find(|table| table.name == refusal.table);
    let span = table.and_then(|table| match &refusal.part {
        Part::Table => None,
        Part::Column(column) => table.places.columns.get(column),
        Part::Constraint(constraint) => table.places.constraints.get(constraint),
        Part::Index(index) => table.places.indexes.get(index),
    });
    let span = span.or_else(|| table.map(|table| &table.places.name)).cloned().unwrap_or_default();
    let message = format!("the target's server refuses it: {}", refusal.message);
    let problem = Problem::at(ProblemKind::SqlServer, span, message, "refused");
    match &refusal.hint {
        Some(hint) => problem.help(hint.clone()),
        None => problem,
    }
}

/// Lets the target's server write what the source's definitions become, so that nothing differs in wording alone.
///
/// # Errors
/// When the server cannot be asked. A definition that it refuses is left as it is: then it does differ.
pub async fn normalise(client: &Client, resolved: &mut Resolved) -> Result<(), CommandError> {
    let sequences: BTreeMap<_, _> =
        resolved.sequences.iter().map(|sequence| (sequence.target.clone(), sequence.wanted.clone())).collect();
    let carried: Vec<(QualifiedName, Table)> = resolved
        .tables
        .iter()
        .filter(|table| table.verified)
        .filter_map(|table| Some((table.target.clone(), (**table.carried.as_ref()?).clone())))
        .collect();
    let definitions: Vec<Definition<'_>> =
        carried.iter().map(|(name, table)| Definition { name, table, search_path: &[] }).collect();
    if definitions.is_empty() {
        return Ok(());
    }
    let mut read = BTreeMap::new();
    match read_back(client, &definitions, &sequences).await {
        Ok(all) => read = all,
        Err(ScratchError::Refused(_)) => {
            for definition in definitions {
                match read_back(client, &[definition], &sequences).await {
                    Ok(one) => read.extend(one),
                    Err(ScratchError::Refused(_)) => {}
                    Err(error) => return Err(EndError::new(End::Target, error).into()),
                }
            }
        }
        Err(error) => return Err(EndError::new(End::Target, error).into()),
    }
    for table in &mut resolved.tables {
        if let Some(read) = read.remove(&table.target) {
            table.carried = Some(Box::new(read));
        }
    }
    Ok(())
}

/// One table, two descriptions.
#[derive(Debug)]
struct DescribedTwice {
    names: Vec<String>,
    places: [SchemaErrors; 2],
}

impl fmt::Display for DescribedTwice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "described in both files: {}", self.names.join(", "))
    }
}

impl std::error::Error for DescribedTwice {}

impl Diagnostic for DescribedTwice {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(
            "a table is described by one of them: remove it from the other (`-- pcrd: ignore` in the SQL file)",
        ))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.places.iter().map(|place| place as &dyn Diagnostic)))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        None
    }
}

fn described_twice(
    config: &Config,
    file: &SchemaFile,
    in_config: &[DesiredTable],
    in_file: &[DesiredTable],
) -> Result<(), CommandError> {
    let mut names = Vec::new();
    let (mut here, mut there) = (Vec::new(), Vec::new());
    let problem = |table: &DesiredTable, span: &std::ops::Range<usize>| {
        let message = format!("{} is described twice", table.source.value);
        Problem::at(ProblemKind::Contradiction, span.clone(), message, "described here")
    };
    for table in in_config {
        let Some(twin) = in_file.iter().find(|twin| twin.source.value == table.source.value) else { continue };
        let name = twin.whole.as_ref().map_or(&twin.source.span, |whole| &whole.places.name);
        names.push(table.source.value.to_string());
        here.push(problem(table, &table.source.span));
        there.push(problem(twin, name));
    }
    if names.is_empty() {
        return Ok(());
    }
    let places =
        [SchemaErrors::new(&config.file_name, &config.text, here), SchemaErrors::new(&file.path, &file.text, there)];
    Err(CommandError::diagnostic(Exit::Usage, DescribedTwice { names, places }))
}
