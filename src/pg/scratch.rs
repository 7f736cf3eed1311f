//! Lets the server read table definitions: they are built in schemas of their own inside a transaction that is always
//! rolled back, and read back in the server's own words.
//!
//! Needs CREATE on the database. Nobody else ever sees the objects.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Client;

use super::introspect::{self, IntrospectError};
use crate::catalog::{Column, ConstraintKind, Ident, Identity, Index, QualifiedName, Sequence, Table, TypeDef};
use crate::sql::ddl_index::{create_index, foreign_key, key_with_options, timing};
use crate::sql::rewrite::{sequences, skeleton};
use crate::sql::{ddl, ddl_type, ident, name};

/// Why definitions could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum ScratchError {
    /// The server refuses parts of them.
    #[error("the server refuses {} of the definitions", .0.len())]
    Refused(Vec<Refusal>),
    /// The server could not be asked.
    #[error("cannot build the tables in a scratch schema: {0}")]
    Server(#[from] tokio_postgres::Error),
    /// What was built cannot be read back.
    #[error(transparent)]
    Introspect(#[from] IntrospectError),
}

/// One part that the server refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The table.
    pub table: QualifiedName,
    /// Which part of it.
    pub part: Part,
    /// What the server said, with its SQLSTATE.
    pub message: String,
    /// The server's hint.
    pub hint: Option<String>,
}

/// A part of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The table itself.
    Table,
    /// A column.
    Column(Ident),
    /// A constraint.
    Constraint(Ident),
    /// An index.
    Index(Ident),
}

/// Tables to read, each with the schemas in which its unqualified names are looked for.
#[derive(Debug, Clone, Copy)]
pub struct Definition<'d> {
    /// Its name.
    pub name: &'d QualifiedName,
    /// Its structure.
    pub table: &'d Table,
    /// `search_path`.
    pub search_path: &'d [Ident],
}

/// A type that the server does not have yet, behind those that it is made of.
pub type NewType<'d> = (&'d QualifiedName, &'d TypeDef);

/// Builds the tables, reads them back and rolls everything back. Foreign keys are checked between these tables only, and
/// keep their written form; so do comments, sequences and everything that belongs to a table as a whole.
///
/// The connection must not be in a transaction; afterwards it is in none.
///
/// # Errors
/// Every part that the server refuses, at once.
pub async fn read_back(
    client: &Client,
    definitions: &[Definition<'_>],
    known: &BTreeMap<QualifiedName, Sequence>,
    types: &[NewType<'_>],
) -> Result<BTreeMap<QualifiedName, Table>, ScratchError> {
    client.batch_execute("BEGIN; SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '60s'").await?;
    let result = build_and_read(client, definitions, known, types).await;
    client.batch_execute("ROLLBACK").await?;
    result
}

async fn build_and_read(
    client: &Client,
    definitions: &[Definition<'_>],
    known: &BTreeMap<QualifiedName, Sequence>,
    types: &[NewType<'_>],
) -> Result<BTreeMap<QualifiedName, Table>, ScratchError> {
    create_types(client, types).await?;
    let pid: i32 = client.query_one("SELECT pg_catalog.pg_backend_pid()", &[]).await?.get(0);
    let scratch = Scratch::new(pid, definitions, known);
    for schema in scratch.schemas.values() {
        client.batch_execute(&format!("CREATE SCHEMA {}", ident(schema))).await?;
    }
    for (sequence_name, sequence) in known.iter().filter(|(_, sequence)| !sequence.identity) {
        let Some(moved) = scratch.sequences.get(sequence_name) else { continue };
        let free = Sequence { owned_by: None, ..sequence.clone() };
        client.batch_execute(&ddl::create_sequence(moved, &free)).await?;
    }
    let mut refusals = Vec::new();
    for definition in definitions {
        client.batch_execute(&format!("{}; SAVEPOINT pcrd", search_path(definition.search_path))).await?;
        let parts = scratch.parts(definition);
        let whole: Vec<&str> = parts.iter().map(|(_, sql)| sql.as_str()).collect();
        if client.batch_execute(&scratch.whole(definition, &whole)).await.is_err() {
            client.batch_execute("ROLLBACK TO SAVEPOINT pcrd").await?;
            refusals.extend(scratch.one_by_one(client, definition, &parts).await?);
        }
        client.batch_execute("RELEASE SAVEPOINT pcrd").await?;
    }
    if refusals.is_empty() {
        refusals.extend(scratch.foreign_keys(client, definitions).await?);
    }
    if !refusals.is_empty() {
        return Err(ScratchError::Refused(refusals));
    }
    let names: Vec<QualifiedName> = definitions.iter().map(|definition| scratch.moved(definition.name)).collect();
    let mut built = introspect::tables_inside(client, &names).await?;
    let read = definitions.iter().filter_map(|definition| {
        let table = built.tables.remove(&scratch.moved(definition.name))?;
        Some((definition.name.clone(), scratch.home(definition, table)))
    });
    Ok(read.collect())
}

/// Those that are not there: a run that is under way may have made some.
pub(super) async fn create_types(client: &Client, types: &[NewType<'_>]) -> Result<(), tokio_postgres::Error> {
    for (type_name, def) in types {
        let is_there = "SELECT pg_catalog.to_regtype($1::text) IS NOT NULL";
        if client.query_one(is_there, &[&name(type_name)]).await?.get(0) {
            continue;
        }
        for made in def.makes(type_name) {
            client.batch_execute(&ddl::create_schema(&made.schema)).await?;
        }
        client.batch_execute(&ddl_type::create_type(type_name, def, ddl_type::QUOTED).join("; ")).await?;
    }
    Ok(())
}

fn search_path(path: &[Ident]) -> String {
    let list = if path.is_empty() { "''".to_owned() } else { ddl::list(path) };
    format!("SET LOCAL search_path = {list}")
}

/// Where everything is built.
struct Scratch {
    schemas: BTreeMap<Ident, Ident>,
    sequences: BTreeMap<QualifiedName, QualifiedName>,
    names: BTreeSet<QualifiedName>,
}

impl Scratch {
    fn new(pid: i32, definitions: &[Definition<'_>], known: &BTreeMap<QualifiedName, Sequence>) -> Self {
        let mut schemas = BTreeMap::new();
        let names = definitions.iter().map(|definition| definition.name).chain(known.keys());
        for table in names {
            let n_schemas = schemas.len();
            let new = || Ident::new(format!("pcrd_scratch_{pid}_{n_schemas}")).expect("a short name");
            schemas.entry(table.schema.clone()).or_insert_with(new);
        }
        let mut scratch = Self {
            schemas,
            sequences: BTreeMap::new(),
            names: definitions.iter().map(|definition| definition.name.clone()).collect(),
        };
        scratch.sequences = known.keys().map(|name| (name.clone(), scratch.moved(name))).collect();
        scratch
    }

    fn moved(&self, object: &QualifiedName) -> QualifiedName {
        let schema = self.schemas.get(&object.schema).unwrap_or(&object.schema);
        QualifiedName { schema: schema.clone(), name: object.name.clone() }
    }

    fn column(&self, column: &Column) -> Column {
        let moved = |default: &String| sequences(default, &self.sequences).unwrap_or_else(|_| default.clone());
        let identity = column.identity.as_ref();
        Column {
            default: column.default.as_ref().map(moved),
            identity: identity
                .map(|one| Box::new(Identity { sequence: self.moved(&one.sequence), always: one.always })),
            comment: None,
            grants: Vec::new(),
            ..column.clone()
        }
    }

    /// CREATE TABLE with all columns, and everything that comes after it.
    fn whole(&self, definition: &Definition<'_>, parts: &[&str]) -> String {
        let columns: Vec<Column> = definition.table.columns.iter().map(|column| self.column(column)).collect();
        let table = self.moved(definition.name);
        let none = BTreeMap::new();
        let mut sql = ddl::create_table(&table, &columns, None, &none, &definition.table.reloptions, None);
        sql.extend(parts.iter().map(|part| (*part).to_owned()));
        sql.join(";\n")
    }

    /// Constraints and indexes, foreign keys apart.
    fn parts(&self, definition: &Definition<'_>) -> Vec<(Part, String)> {
        let table = self.moved(definition.name);
        let mut parts = Vec::new();
        for (own, constraint) in &definition.table.constraints {
            if constraint.kind != ConstraintKind::ForeignKey {
                let not_valid = constraint.kind == ConstraintKind::Check
                    && !constraint.validated
                    && !constraint.definition.ends_with("NOT ENFORCED");
                let sql = ddl::add_constraint(&table, own, &constraint.definition, not_valid);
                parts.push((Part::Constraint(own.clone()), sql));
            }
        }
        for (own, index) in definition.table.indexes.iter().filter(|(_, index)| index.constraint.is_none()) {
            parts.push((Part::Index(own.clone()), self.index(definition.name, own, index)));
        }
        parts
    }

    /// Definitions of ours begin alike; only the table's schema changes.
    fn index(&self, table: &QualifiedName, own: &Ident, index: &Index) -> String {
        let unique = if index.unique { "UNIQUE " } else { "" };
        let head = |table: &QualifiedName| format!("CREATE {unique}INDEX {} ON {} ", ident(own), name(table));
        match index.definition.strip_prefix(&head(table)) {
            Some(rest) => format!("{}{rest}", head(&self.moved(table))),
            None => create_index(own, &self.moved(table), index),
        }
    }

    /// Finds every part that is refused.
    async fn one_by_one(
        &self,
        client: &Client,
        definition: &Definition<'_>,
        parts: &[(Part, String)],
    ) -> Result<Vec<Refusal>, ScratchError> {
        let table = self.moved(definition.name);
        let mut steps = vec![(Part::Table, self.bare(definition))];
        let mut columns: Vec<&Column> = definition.table.columns.iter().collect();
        // A generated column may read one that stands behind it.
        columns.sort_by_key(|column| column.generated.is_some());
        for column in columns {
            let line = ddl::column_line(&self.column(column), &BTreeMap::new());
            let mut sql = format!("ALTER TABLE {} ADD COLUMN {line}", name(&table));
            for setting in ddl::column_settings(&table, column) {
                sql.push_str(&format!("; {setting}"));
            }
            steps.push((Part::Column(column.name.clone()), sql));
        }
        steps.extend(parts.iter().cloned());
        let mut refusals = Vec::new();
        for (part, sql) in steps {
            let refusal = attempt(client, definition.name, part.clone(), &sql).await?;
            if let (Some(_), Part::Column(own)) = (&refusal, &part) {
                // What reads the column must not fail for its absence.
                let bare = definition
                    .table
                    .column(own)
                    .map(|column| format!("ALTER TABLE {} ADD COLUMN {} {}", name(&table), ident(own), column.ty.sql));
                attempt(client, definition.name, part, &bare.unwrap_or_default()).await?;
            }
            refusals.extend(refusal);
        }
        Ok(refusals)
    }

    fn bare(&self, definition: &Definition<'_>) -> String {
        let options = ddl::with_options(&definition.table.reloptions);
        format!("CREATE TABLE {} (){options}", name(&self.moved(definition.name)))
    }

    async fn foreign_keys(
        &self,
        client: &Client,
        definitions: &[Definition<'_>],
    ) -> Result<Vec<Refusal>, ScratchError> {
        let mut refusals = Vec::new();
        for definition in definitions {
            for (own, constraint) in &definition.table.constraints {
                let Some(far) = constraint.references.as_ref().filter(|far| self.names.contains(&far.table)) else {
                    continue;
                };
                let late = timing(constraint.deferrable, constraint.initially_deferred);
                let far_table = self.moved(&far.table);
                let text = foreign_key(&constraint.columns, &far_table, &far.columns, &far.actions, late);
                let sql = ddl::add_constraint(&self.moved(definition.name), own, &text, false);
                refusals.extend(attempt(client, definition.name, Part::Constraint(own.clone()), &sql).await?);
            }
        }
        Ok(refusals)
    }

    /// What was read, under its own names again.
    fn home(&self, definition: &Definition<'_>, read: Table) -> Table {
        let written = definition.table;
        let back: BTreeMap<QualifiedName, QualifiedName> =
            self.sequences.iter().map(|(own, moved)| (moved.clone(), own.clone())).collect();
        let mut table = Table { columns: read.columns, primary_key: read.primary_key, ..written.clone() };
        for column in &mut table.columns {
            let Some(own) = written.column(&column.name) else { continue };
            column.default = column.default.take().map(|text| sequences(&text, &back).unwrap_or(text));
            column.identity = own.identity.clone();
            column.comment = own.comment.clone();
            column.grants = own.grants.clone();
        }
        for (own, constraint) in &mut table.constraints {
            let Some(read) = read.constraints.get(own) else { continue };
            if constraint.kind != ConstraintKind::ForeignKey {
                *constraint = crate::catalog::Constraint { comment: constraint.comment.clone(), ..read.clone() };
                // Said again by whoever builds it.
                let not_valid = constraint.definition.strip_suffix(" NOT VALID");
                constraint.definition = not_valid.unwrap_or(&constraint.definition).to_owned();
            }
        }
        table.indexes = read.indexes;
        for (own, index) in &mut table.indexes {
            let comment = written.indexes.get(own).and_then(|index| index.comment.clone());
            let parts = |sql: &str| {
                skeleton(sql)
                    .map(|parts| parts.into_iter().filter(|part| part != "(" && part != ")").collect::<Vec<_>>())
            };
            let again = create_index(own, &self.moved(definition.name), index);
            // Whatever our own form does not say (parameters of operator classes) must not get lost.
            let complete = parts(&again).is_ok_and(|again| parts(&index.definition).is_ok_and(|read| read == again));
            index.definition = match written.indexes.get(own) {
                Some(written) if !complete && index.constraint.is_none() => written.definition.clone(),
                _ => create_index(own, definition.name, index),
            };
            index.comment = comment;
        }
        for constraint in table.constraints.values_mut() {
            constraint.definition = key_with_options(constraint, &table.indexes);
        }
        table
    }
}

/// Runs one statement; what the server refuses is undone.
async fn attempt(
    client: &Client,
    table: &QualifiedName,
    part: Part,
    sql: &str,
) -> Result<Option<Refusal>, ScratchError> {
    client.batch_execute("SAVEPOINT part").await?;
    let Err(error) = client.batch_execute(sql).await else {
        client.batch_execute("RELEASE SAVEPOINT part").await?;
        return Ok(None);
    };
    let Some(said) = error.as_db_error() else { return Err(error.into()) };
    let refusal = Refusal {
        table: table.clone(),
        part,
        message: format!("{} (SQLSTATE {})", said.message(), said.code().code()),
        hint: said.hint().map(str::to_owned),
    };
    client.batch_execute("ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part").await?;
    Ok(Some(refusal))
}
