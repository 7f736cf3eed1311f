//! Schemas, extensions, types and sequences.

use std::collections::BTreeSet;

use super::order::is_written;
use super::schema::Scope;
use crate::catalog::{Catalog, Ident, QualifiedName, Sequence, TypeDef};
use crate::sql::ddl::comment;
use crate::sql::ddl_type::{self, Quoting};
use crate::sql::quote::{readable, readable_name};

pub(super) fn schemas(scope: &Scope<'_>, used: &BTreeSet<&Ident>) -> Vec<String> {
    let schemas = scope.catalog.schemas.iter().filter(|schema| schema.as_str() != "public" && used.contains(schema));
    schemas.map(|schema| format!("CREATE SCHEMA IF NOT EXISTS {}", readable(schema))).collect()
}

pub(super) fn extensions(catalog: &Catalog) -> Vec<String> {
    // Every database has it.
    let extensions = catalog.extensions.iter().filter(|(name, _)| name.as_str() != "plpgsql");
    extensions
        .map(|(name, extension)| {
            format!("CREATE EXTENSION IF NOT EXISTS {} WITH SCHEMA {}", readable(name), readable(&extension.schema))
        })
        .collect()
}

pub(super) fn create_type(name: &QualifiedName, def: &TypeDef) -> Vec<String> {
    ddl_type::create_type(name, def, Quoting { name: readable_name, ident: readable })
}

/// Sequences with a statement of their own: not those of identity columns and extensions.
pub(super) fn own_sequences<'s>(scope: &'s Scope<'_>) -> impl Iterator<Item = (&'s QualifiedName, &'s Sequence)> {
    let sequences = scope.catalog.sequences.iter();
    sequences.filter(|(name, sequence)| !sequence.identity && !scope.members.contains(name))
}

pub(super) fn sequences(scope: &Scope<'_>) -> Vec<String> {
    let mut statements = Vec::new();
    for (name, sequence) in own_sequences(scope) {
        let ty = if sequence.ty == "bigint" { String::new() } else { format!(" AS {}", sequence.ty) };
        let options = options(sequence);
        let space = if options.is_empty() { "" } else { " " };
        statements.push(format!("CREATE SEQUENCE {}{ty}{space}{options}", readable_name(name)));
        let object = format!("SEQUENCE {}", readable_name(name));
        statements.extend(sequence.comment.as_ref().map(|text| comment(&object, text)));
    }
    statements
}

/// What is not as PostgreSQL would choose it.
pub(super) fn options(sequence: &Sequence) -> String {
    let (type_min, type_max) = match sequence.ty.as_str() {
        "smallint" => (i64::from(i16::MIN), i64::from(i16::MAX)),
        "integer" => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    };
    let (min, max) = if sequence.increment < 0 { (type_min, -1) } else { (1, type_max) };
    let start = if sequence.increment < 0 { sequence.max } else { sequence.min };
    let numbers = [
        ("START WITH", sequence.start, start),
        ("INCREMENT BY", sequence.increment, 1),
        ("MINVALUE", sequence.min, min),
        ("MAXVALUE", sequence.max, max),
        ("CACHE", sequence.cache, 1),
    ];
    let changed = numbers.iter().filter(|(_, value, usual)| value != usual);
    let mut words: Vec<String> = changed.map(|(word, value, _)| format!("{word} {value}")).collect();
    if sequence.cycle {
        words.push("CYCLE".to_owned());
    }
    words.join(" ")
}

pub(super) fn sequence_owners(scope: &Scope<'_>) -> Vec<String> {
    let owned = own_sequences(scope).filter_map(|(name, sequence)| Some((name, sequence.owned_by.as_ref()?)));
    let owned = owned.filter(|(_, owner)| {
        scope.catalog.tables.get(&owner.table).is_some_and(is_written) && !scope.members.contains(&owner.table)
    });
    owned
        .map(|(name, owner)| {
            let (table, column) = (readable_name(&owner.table), readable(&owner.column));
            format!("ALTER SEQUENCE {} OWNED BY {table}.{column}", readable_name(name))
        })
        .collect()
}
