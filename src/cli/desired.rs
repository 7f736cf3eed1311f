//! What the user wants: the tables of the config, those of the desired SQL file, and both read together.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use miette::Diagnostic;
use tokio_postgres::error::SqlState;

use crate::catalog::type_def::{in_order, named};
use crate::catalog::{Catalog, Ident, QualifiedName, Sequence, Table, TypeDef};
use crate::config::Config;
use crate::desired::problem::{Problem, ProblemKind};
use crate::desired::sql::{SchemaErrors, Written, written};
use crate::desired::{DesiredSchema, DesiredTable};
use crate::pg::client::Client;
use crate::pg::scratch::{Definition, NewType, Part, Refusal, ScratchError, read_back};
use crate::plan::End;
use crate::plan::shape::check_new_type;
use crate::resolve::Resolved;
use crate::resolve::matching::match_tables;

use super::catalogs::Seen;
use super::database::EndError;
use super::error::{CommandError, Exit};
use super::schema_files::{SchemaFiles, schema_files};

/// Everything that is wanted.
#[derive(Debug)]
pub struct Desired {
    /// The tables of both files.
    pub schema: DesiredSchema,
    /// The desired SQL files, when there are some.
    pub files: Option<SchemaFiles>,
    /// What the SQL file says and the target will not have: kind and address.
    pub left: Vec<(&'static str, String)>,
    /// Warnings and directives that have nothing left to do.
    pub notes: Vec<String>,
}

/// Puts both files together and matches the SQL file with the source.
///
/// # Errors
/// Whatever is wrong in the SQL file, a table that both files describe, and what the target's server refuses.
pub async fn desired(config: &Config, source: &Catalog, target: &Seen) -> Result<Desired, CommandError> {
    let mut schema = config.migrate.desired.clone();
    let Some(files) = schema_files(config)? else {
        return Ok(Desired { schema, files: None, left: Vec::new(), notes: Vec::new() });
    };
    let known = known_types(source, &target.catalog);
    let made = written(files.schema(), &known);
    let mut made = made.map_err(|problems| files.refusal(problems))?;
    let mut verified = false;
    let mut notes: Vec<String> = files.warnings().iter().map(|warning| files.located(warning)).collect();
    if let Some(client) = &target.client {
        let types = new_types(&made, source, &target.catalog)?;
        match read_by_server(client, &mut made, &types).await {
            Ok(()) => verified = true,
            Err(error) => match may_not_build(&error) {
                Some(why) => notes.push(format!("the target's server has not read the desired schema: {why}")),
                None => return Err(server_error(&files, &made, error)),
            },
        }
    }
    let matched = match_tables(files.schema(), &made.tables, source, verified);
    let matched = matched.map_err(|problems| files.refusal(problems))?;
    described_twice(config, &files, &schema.tables, &matched.tables)?;
    notes.extend(matched.notes.iter().map(|note| files.located(note)));
    schema.tables.extend(matched.tables);
    schema.accept_in_schema = matched.accept;
    schema.sequences = made.sequences;
    Ok(Desired { schema, files: Some(files), left: matched.left, notes })
}

/// What keeps a role or server from building anything; then the file is taken as it is written.
pub(super) fn may_not_build(error: &ScratchError) -> Option<String> {
    let ScratchError::Server(error) = error else { return None };
    let said = error.as_db_error()?;
    let is_right = [SqlState::INSUFFICIENT_PRIVILEGE, SqlState::READ_ONLY_SQL_TRANSACTION].contains(said.code());
    is_right.then(|| format!("{} (SQLSTATE {})", said.message(), said.code().code()))
}

/// Those of the target, and those that only the source has and that can be created where a table needs them.
fn known_types(source: &Catalog, target: &Catalog) -> BTreeMap<QualifiedName, TypeDef> {
    let members: BTreeSet<&QualifiedName> = source.extensions.values().flat_map(|one| &one.members).collect();
    let can_be = |name: &QualifiedName| {
        let made = !members.contains(name) && source.types[name] != TypeDef::Base;
        made || target.types.contains_key(name)
    };
    // What the target calls so is meant, in whatever schema.
    let hidden: BTreeSet<&Ident> = target.types.keys().map(|name| &name.name).collect();
    let own = source.types.iter().filter(|(name, _)| !hidden.contains(&name.name));
    let own = own.filter(|(name, _)| in_order([*name], &source.types).into_iter().all(can_be));
    own.chain(&target.types).map(|(name, def)| (name.clone(), def.clone())).collect()
}

/// Types of the wanted tables that only the source has, in the order in which they can be created.
fn new_types<'s>(made: &Written, source: &'s Catalog, target: &Catalog) -> Result<Vec<NewType<'s>>, CommandError> {
    let columns = made.tables.iter().filter(|table| is_plain(&table.table)).flat_map(|table| &table.table.columns);
    let named: Vec<QualifiedName> = columns.filter_map(|column| named(&column.ty.sql)).collect();
    let ordered = in_order(named.iter(), &source.types);
    let missing = ordered.into_iter().filter(|name| !target.types.contains_key(*name));
    checked(missing.map(|name| source.types.get_key_value(name).expect("it was found there")).collect())
}

/// A catalog may come from a file: nothing of it runs that is not the statement that it should be.
fn checked(types: Vec<NewType<'_>>) -> Result<Vec<NewType<'_>>, CommandError> {
    for (name, def) in &types {
        check_new_type(name, def)
            .map_err(|why| CommandError::new(Exit::Usage, format!("type {name} of the source's catalog: {why}")))?;
    }
    Ok(types)
}

async fn read_by_server(client: &Client, made: &mut Written, types: &[NewType<'_>]) -> Result<(), ScratchError> {
    let definitions: Vec<Definition<'_>> = made
        .tables
        .iter()
        .filter(|table| is_plain(&table.table))
        .map(|table| Definition { name: &table.name, table: &table.table, search_path: &table.search_path })
        .collect();
    let mut read = read_back(client, &definitions, &made.sequences, types).await?;
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

fn server_error(files: &SchemaFiles, made: &Written, error: ScratchError) -> CommandError {
    match error {
        ScratchError::Refused(refusals) => {
            let problems = refusals.iter().map(|refusal| refused(made, refusal)).collect();
            files.refusal(problems)
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
    // What several sources would become each has the name of their one target.
    let mut rounds: Vec<Vec<usize>> = Vec::new();
    for (number, table) in resolved.tables.iter().enumerate().filter(|(_, table)| table.verified) {
        let before = resolved.tables[..number].iter().filter(|one| one.target == table.target).count();
        rounds.resize_with(rounds.len().max(before + 1), Vec::new);
        rounds[before].push(number);
    }
    let types = new_types_of(resolved)?;
    let types: Vec<NewType<'_>> = types.iter().map(|(name, def)| (name, def)).collect();
    for round in rounds {
        normalise_each(client, resolved, &round, (&sequences, &types)).await?;
    }
    Ok(())
}

/// Types that the plan creates, in the order in which they can be created.
///
/// # Errors
/// One of them is more than a type.
pub fn new_types_of(resolved: &Resolved) -> Result<Vec<(QualifiedName, TypeDef)>, CommandError> {
    let types = &resolved.source.types;
    let ordered = checked(in_order(types.keys(), types).into_iter().map(|name| (name, &types[name])).collect())?;
    Ok(ordered.into_iter().map(|(name, def)| (name.clone(), def.clone())).collect())
}

/// The tables of these numbers, which have different targets.
async fn normalise_each(
    client: &Client,
    resolved: &mut Resolved,
    numbers: &[usize],
    (sequences, types): (&BTreeMap<QualifiedName, Sequence>, &[NewType<'_>]),
) -> Result<(), CommandError> {
    let wanted = numbers.iter().map(|&number| &resolved.tables[number]);
    let carried: Vec<(QualifiedName, Table)> =
        wanted.filter_map(|table| Some((table.target.clone(), (**table.carried.as_ref()?).clone()))).collect();
    let definitions: Vec<Definition<'_>> =
        carried.iter().map(|(name, table)| Definition { name, table, search_path: &[] }).collect();
    if definitions.is_empty() {
        return Ok(());
    }
    let mut read = BTreeMap::new();
    match read_back(client, &definitions, sequences, types).await {
        Ok(all) => read = all,
        Err(ScratchError::Refused(_)) => {
            for definition in definitions {
                match read_back(client, &[definition], sequences, types).await {
                    Ok(one) => read.extend(one),
                    Err(ScratchError::Refused(_)) => {}
                    Err(error) => return Err(EndError::new(End::Target, error).into()),
                }
            }
        }
        Err(error) => return Err(EndError::new(End::Target, error).into()),
    }
    for &number in numbers {
        let table = &mut resolved.tables[number];
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
    places: Vec<SchemaErrors>,
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
}

fn described_twice(
    config: &Config,
    files: &SchemaFiles,
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
        let (path, text, start) = files.file(name.start);
        let second = problem(twin, &(name.start - start..name.end - start));
        there.push(SchemaErrors::new(path, text, vec![second]));
    }
    if names.is_empty() {
        return Ok(());
    }
    let mut places = vec![SchemaErrors::new(&config.file_name, &config.text, here)];
    places.extend(there);
    Err(CommandError::diagnostic(Exit::Usage, DescribedTwice { names, places }))
}
