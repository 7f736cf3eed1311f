//! The whole file, in an order in which PostgreSQL can run it.

use std::collections::BTreeSet;

use super::order::{Object, in_order};
use super::{left, objects, table};
use crate::catalog::{Catalog, Ident, QualifiedName};

/// What goes into a file, and what helps to decide it.
pub(super) struct Scope<'c> {
    pub(super) catalog: &'c Catalog,
    /// What extensions bring along.
    pub(super) members: BTreeSet<&'c QualifiedName>,
}

/// Writes a desired schema: the same catalog always gives the same bytes. Names that it has to leave out are listed at its
/// end.
pub fn desired_sql(catalog: &Catalog) -> String {
    let members = catalog.extensions.values().flat_map(|extension| &extension.members).collect();
    let scope = Scope { catalog, members };
    let written = in_order(&scope);
    let mut parts = vec![head(catalog)];
    parts.push(statements(objects::schemas(&scope, &schemas(&written, &scope))));
    parts.push(statements(objects::extensions(catalog)));
    parts.push(statements(objects::sequences(&scope)));
    parts.extend(written.iter().map(|object| object_sql(object, &scope)));
    let each_table = |say: fn(&QualifiedName, &crate::catalog::Table, &Scope<'_>) -> Vec<String>| {
        let tables = written.iter().filter_map(|object| match object {
            Object::Table(name, table) => Some(say(name, table, &scope)),
            Object::Type(..) => None,
        });
        statements(tables.flatten().collect())
    };
    parts.push(statements(objects::sequence_owners(&scope)));
    parts.push(each_table(table::foreign_keys));
    parts.push(each_table(table::partitions));
    parts.push(left::left_out(&scope));
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

fn object_sql(object: &Object<'_>, scope: &Scope<'_>) -> String {
    match object {
        Object::Type(name, def) => statements(objects::create_type(name, def)),
        Object::Table(name, table) => statements(table::create_table(name, table, scope)),
    }
}

/// Schemas of everything that is written.
fn schemas<'s>(written: &[Object<'s>], scope: &'s Scope<'_>) -> BTreeSet<&'s Ident> {
    let names = written.iter().map(|object| match object {
        Object::Type(name, _) | Object::Table(name, _) => &name.schema,
    });
    let sequences = objects::own_sequences(scope).map(|(name, _)| &name.schema);
    let extensions = scope.catalog.extensions.values().map(|extension| &extension.schema);
    names.chain(sequences).chain(extensions).collect()
}

fn head(catalog: &Catalog) -> String {
    let server = &catalog.server;
    let version = match server.version_num / 10_000 {
        major @ 10.. => format!("{major}.{}", server.version_num % 10_000),
        _ => server.version_num.to_string(),
    };
    format!(
        "-- Desired schema, as `pcrd inspect --format sql` found it in the database {} (PostgreSQL {version}).\n\
         -- What is not in it is listed at the end.\n",
        left::on_one_line(&server.database)
    )
}

/// One statement after the other; empty for none.
fn statements(statements: Vec<String>) -> String {
    statements.into_iter().map(|statement| format!("{statement};\n")).collect()
}
