//! A file's tables → the catalog's form: types looked up, names given as PostgreSQL would, definitions as written.
//!
//! What only PostgreSQL knows (how it writes an expression back) is not known here; see `pg::scratch`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::naming::Names;
use super::tree::{ConstraintKind as Kind, SequenceOptions, SqlColumn, SqlSchema, SqlTable};
use crate::casts::typename::{self, TypeError};
use crate::catalog::{
    Column, ColumnRef, ColumnType, Compression, Generated, Ident, Identity, QualifiedName, ReplicaIdentity, Sequence,
    Storage, Table, TableKind, TypeDef,
};
use crate::desired::At;
use crate::desired::problem::{Problem, ProblemKind};
use crate::sql::rewrite;
use crate::sql::token::{TokenKind, tokens};
use crate::sql::{literal, name};

/// A table in the catalog's form, and where its parts were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenTable {
    /// Name.
    pub name: QualifiedName,
    /// Schemas in which its unqualified names are looked for.
    pub search_path: Vec<Ident>,
    /// Its structure.
    pub table: Table,
    /// Where its parts stand.
    pub places: Places,
    /// Constraints and indexes whose names the file leaves to PostgreSQL.
    pub unnamed: BTreeSet<Ident>,
    /// What the file says and the catalog's form cannot hold: kind and address.
    pub left: Vec<(&'static str, String)>,
}

/// Byte ranges of a table's parts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Places {
    /// The table's name.
    pub name: Range<usize>,
    /// Columns.
    pub columns: BTreeMap<Ident, Range<usize>>,
    /// Constraints, by the name they get.
    pub constraints: BTreeMap<Ident, Range<usize>>,
    /// Indexes, by the name they get.
    pub indexes: BTreeMap<Ident, Range<usize>>,
}

/// Everything in a file that has a place on the target.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Written {
    /// Managed tables that are not ignored, in the order of the file.
    pub tables: Vec<WrittenTable>,
    /// Sequences: of their own statements, of serial and of identity columns.
    pub sequences: BTreeMap<QualifiedName, Sequence>,
}

/// Puts a file's tables into the catalog's form. Types are looked up among `types`, those of the target.
///
/// # Errors
/// One problem for each type that is not there.
pub fn written(schema: &SqlSchema, types: &BTreeMap<QualifiedName, TypeDef>) -> Result<Written, Vec<Problem>> {
    let mut out = Written::default();
    let mut problems = Vec::new();
    for sequence in &schema.sequences {
        let ty = sequence.options.ty.as_ref().map_or("bigint", |ty| integer_type(&ty.value));
        let mut made = options(&sequence.options, ty);
        made.owned_by = sequence
            .owned_by
            .as_ref()
            .map(|owner| ColumnRef { table: owner.value.0.clone(), column: owner.value.1.clone() });
        made.comment = sequence.comment.as_ref().map(|comment| comment.value.clone());
        out.sequences.insert(sequence.name.value.clone(), made);
    }
    let mut names = Names::of(schema);
    for table in schema.tables.iter().filter(|table| table.is_managed() && table.directives.ignore.is_none()) {
        let mut writing = Writing { schema, types, names: &mut names, sequences: &mut out.sequences };
        match writing.table(table) {
            Ok(table) => out.tables.push(table),
            Err(found) => problems.extend(found),
        }
    }
    let known: BTreeSet<QualifiedName> = out.sequences.keys().cloned().collect();
    for table in &out.tables {
        for column in &table.table.columns {
            let at = ColumnRef { table: table.name.clone(), column: column.name.clone() };
            let called = column.default.as_deref().map(rewrite::sequences_named).and_then(Result::ok);
            for sequence in called.into_iter().flatten().filter(|sequence| known.contains(sequence)) {
                out.sequences.entry(sequence).and_modify(|sequence| sequence.used_by.push(at.clone()));
            }
        }
    }
    if problems.is_empty() { Ok(out) } else { Err(problems) }
}

fn integer_type(text: &str) -> &'static str {
    match text.trim().to_ascii_lowercase().as_str() {
        "smallint" | "int2" => "smallint",
        "integer" | "int" | "int4" => "integer",
        _ => "bigint",
    }
}

fn options(said: &SequenceOptions, ty: &str) -> Sequence {
    let (lowest, highest) = match ty {
        "smallint" => (i64::from(i16::MIN), i64::from(i16::MAX)),
        "integer" => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    };
    let increment = said.increment.unwrap_or(1);
    let (min, max) = if increment < 0 { (lowest, -1) } else { (1, highest) };
    let (min, max) = (said.min.unwrap_or(min), said.max.unwrap_or(max));
    Sequence {
        ty: ty.to_owned(),
        start: said.start.unwrap_or(if increment < 0 { max } else { min }),
        increment,
        min,
        max,
        cache: said.cache.unwrap_or(1),
        cycle: said.cycle,
        owned_by: None,
        used_by: Vec::new(),
        identity: false,
        owner: nobody(),
        grants: Vec::new(),
        comment: None,
    }
}

/// The owner is not the file's to say.
fn nobody() -> Ident {
    Ident::new("postgres").expect("a name")
}

/// What is looked up on the way.
pub(super) struct Writing<'w> {
    pub(super) schema: &'w SqlSchema,
    pub(super) types: &'w BTreeMap<QualifiedName, TypeDef>,
    pub(super) names: &'w mut Names,
    pub(super) sequences: &'w mut BTreeMap<QualifiedName, Sequence>,
}

impl Writing<'_> {
    fn table(&mut self, sql: &SqlTable) -> Result<WrittenTable, Vec<Problem>> {
        let mut out = WrittenTable {
            name: sql.name.value.clone(),
            search_path: sql.search_path.clone(),
            table: empty(sql),
            places: Places { name: sql.name.span.clone(), ..Places::default() },
            unnamed: BTreeSet::new(),
            left: Vec::new(),
        };
        let mut problems = Vec::new();
        for column in self.schema.columns(sql) {
            out.places.columns.insert(column.name.value.clone(), column.span.clone());
            match self.column(sql, &column) {
                Ok(made) => out.table.columns.push(made),
                Err(problem) => problems.push(problem),
            }
            let address = || format!("{}.{}", out.name, column.name.value);
            if column.statistics.is_some() {
                out.left.push(("statistics target", address()));
            }
            if !column.options.is_empty() {
                out.left.push(("column option", address()));
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        for constraint in &sql.constraints {
            self.constraint(sql, constraint, &mut out);
        }
        for (name, comment) in &sql.comments {
            match out.table.constraints.get_mut(name) {
                Some(constraint) => constraint.comment = Some(comment.value.clone()),
                None => out.left.push(("comment", format!("{}.{name}", out.name))),
            }
        }
        for index in &sql.indexes {
            // The index of a constraint over an existing index is the constraint's.
            let taken = sql.constraints.iter().any(|constraint| match &constraint.kind {
                Kind::UsingIndex { index: used, .. } => index.name.as_ref().is_some_and(|own| own.value == used.value),
                _ => false,
            });
            if !taken {
                self.index(sql, index, &mut out);
            }
        }
        let mut leave = |kind, said: bool| said.then(|| out.left.push((kind, out.name.to_string())));
        leave("tablespace", sql.tablespace.is_some());
        leave("access method", sql.access_method.as_ref().is_some_and(|method| method.value.as_str() != "heap"));
        leave("clustering", sql.cluster_on.is_some());
        Ok(out)
    }

    fn column(&mut self, table: &SqlTable, column: &SqlColumn) -> Result<Column, Problem> {
        let ty = self.ty(table, &column.ty)?;
        let width = integer_type(&ty.sql).to_owned();
        let own_sequence = |names: &mut Names| names.sequence(&table.name.value, &column.name.value);
        let mut default = column.default.as_ref().map(|default| default.value.clone());
        let at = ColumnRef { table: table.name.value.clone(), column: column.name.value.clone() };
        if column.serial {
            let sequence = own_sequence(self.names);
            default = Some(format!("nextval({}::regclass)", literal(&name(&sequence))));
            let made = Sequence { owned_by: Some(at), ..options(&SequenceOptions::default(), &width) };
            self.sequences.insert(sequence, made);
        } else if let Some(text) = &default {
            default = Some(self.with_schemas(table, text));
        }
        let identity = column.identity.as_ref().map(|identity| {
            let said = &identity.value.sequence;
            let sequence = said.name.as_ref().map_or_else(|| own_sequence(self.names), |name| name.value.clone());
            let at = ColumnRef { table: table.name.value.clone(), column: column.name.value.clone() };
            let made = Sequence { owned_by: Some(at), identity: true, ..options(said, &width) };
            self.sequences.insert(sequence.clone(), made);
            Identity { always: identity.value.always, sequence }
        });
        let storage = column.storage.as_ref().and_then(|storage| match storage.value.as_str() {
            "plain" => Some(Storage::Plain),
            "external" => Some(Storage::External),
            "main" => Some(Storage::Main),
            "extended" => Some(Storage::Extended),
            _ => None,
        });
        let compression = column.compression.as_ref().and_then(|compression| match compression.value.as_str() {
            "pglz" => Some(Compression::Pglz),
            "lz4" => Some(Compression::Lz4),
            _ => None,
        });
        Ok(Column {
            name: column.name.value.clone(),
            not_null: column.not_null,
            default,
            identity: identity.map(Box::new),
            generated: column
                .generated
                .as_ref()
                .map(|generated| Generated { expr: generated.value.expr.clone(), stored: generated.value.stored })
                .map(Box::new),
            collation: column.collation.as_ref().and_then(|collation| collation_of(&collation.value)).map(Box::new),
            storage: storage.filter(|storage| Some(*storage) != own_storage(&ty)),
            compression,
            statistics_target: column.statistics.as_ref().and_then(|target| u16::try_from(target.value).ok()),
            options: normal_options(&column.options),
            comment: column.comment.as_ref().map(|comment| comment.value.clone()),
            grants: Vec::new(),
            ty,
        })
    }

    fn ty(&self, table: &SqlTable, text: &At<String>) -> Result<ColumnType, Problem> {
        let parsed = match typename::parse(&text.value, self.types) {
            Err(TypeError::Ambiguous { candidates, .. }) => {
                let first = table
                    .search_path
                    .iter()
                    .find_map(|schema| candidates.iter().find(|candidate| &candidate.schema == schema));
                let first = first.unwrap_or(&candidates[0]);
                let hidden = |name: &QualifiedName| name.name == first.name && name != first;
                let types = self.types.iter().filter(|(name, _)| !hidden(name));
                typename::parse(&text.value, &types.map(|(name, ty)| (name.clone(), ty.clone())).collect())
            }
            result => result,
        };
        parsed.map_err(|error| {
            let problem = Problem::at(ProblemKind::SqlUnknown, text.span.clone(), error.to_string(), "this type");
            let in_file = |name: &QualifiedName| {
                let bare = text.value.rsplit('.').next().unwrap_or(&text.value);
                bare.trim_matches('"').starts_with(name.name.as_str())
            };
            if self.schema.enums.keys().chain(self.schema.domains.keys()).any(in_file) {
                return problem.help("neither end has it, and pcrd creates only types that the source has: create it on the target first");
            }
            match error {
                TypeError::Unknown { .. } => {
                    problem.help("a type must be on one of the ends: create it on the target, or the extension that brings it")
                }
                _ => problem,
            }
        })
    }

    /// Unqualified sequences in `nextval('…'::regclass)` get the schema in which the file creates them.
    fn with_schemas(&self, table: &SqlTable, text: &str) -> String {
        let Ok(list) = tokens(text) else { return text.to_owned() };
        let mut out = String::new();
        let mut copied = 0;
        for (at, token) in list.iter().enumerate() {
            let TokenKind::Text(inside) = &token.kind else { continue };
            let after_call = at >= 2 && list[at - 1].is("(") && list[at - 2].name() == Some("nextval");
            let Some(parts) = after_call.then(|| tokens(inside).ok()).flatten() else { continue };
            let found = match parts.as_slice() {
                [only] => only.name().and_then(|word| {
                    let names =
                        table.search_path.iter().filter_map(|schema| QualifiedName::new(schema.as_str(), word).ok());
                    names.into_iter().find(|name| self.sequences.contains_key(name))
                }),
                [schema, dot, object] if dot.is(".") => schema
                    .name()
                    .zip(object.name())
                    .and_then(|(schema, object)| QualifiedName::new(schema, object).ok()),
                _ => None,
            };
            let Some(found) = found else { continue };
            out.push_str(&text[copied..token.start]);
            out.push_str(&literal(&name(&found)));
            copied = token.end;
            if !list.get(at + 1).is_some_and(|next| next.is("::")) {
                out.push_str("::regclass");
            }
        }
        out.push_str(&text[copied..]);
        out
    }
}

fn empty(sql: &SqlTable) -> Table {
    let partitioned = sql.partition_by.is_some();
    Table {
        kind: if partitioned { TableKind::Partitioned } else { TableKind::Table },
        persistence: sql.persistence,
        columns: Vec::new(),
        primary_key: None,
        replica_identity: ReplicaIdentity::Default,
        statistics: BTreeMap::new(),
        indexes: BTreeMap::new(),
        constraints: BTreeMap::new(),
        triggers: BTreeMap::new(),
        parents: sql.partition_of.iter().map(|of| of.parent.value.clone()).collect(),
        children: Vec::new(),
        partition_key: sql.partition_by.as_ref().map(|by| by.value.clone()),
        partition_bound: sql.partition_of.as_ref().map(|of| of.bound.value.clone()),
        policies: BTreeMap::new(),
        row_security: false,
        row_security_forced: false,
        reloptions: normal_options(&sql.options),
        owner: nobody(),
        grants: Vec::new(),
        comment: sql.comment.as_ref().map(|comment| comment.value.clone()),
        subscribed: false,
        stats: None,
    }
}

/// `fillfactor = '70'` → `fillfactor=70`, sorted, as `pg_class.reloptions` keeps it.
pub(super) fn normal_options(options: &[At<String>]) -> Vec<String> {
    let mut list: Vec<String> = options
        .iter()
        .map(|option| {
            let (key, value) = option.value.split_once('=').unwrap_or((&option.value, "true"));
            let value = value.trim().trim_matches('\'');
            format!("{}={value}", key.trim().trim_matches('"').to_ascii_lowercase())
        })
        .collect();
    list.sort();
    list
}

/// A collation's name; `"default"` is none. Without a schema it is one of PostgreSQL's own.
fn collation_of(text: &str) -> Option<QualifiedName> {
    let list = tokens(text).ok()?;
    let parts: Vec<&str> = list.iter().filter_map(|token| token.name()).collect();
    let name = match parts.as_slice() {
        [name] => QualifiedName::new("pg_catalog", *name).ok()?,
        [schema, name] => QualifiedName::new(*schema, *name).ok()?,
        _ => return None,
    };
    (name.name.as_str() != "default").then_some(name)
}

/// The storage that a built-in type has by itself.
fn own_storage(ty: &ColumnType) -> Option<Storage> {
    if !ty.is_builtin() {
        return None;
    }
    Some(match ty.name.as_str() {
        _ if ty.len > 0 => Storage::Plain,
        "numeric" | "inet" | "cidr" => Storage::Main,
        _ => Storage::Extended,
    })
}
