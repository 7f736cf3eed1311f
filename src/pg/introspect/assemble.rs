//! Rows of the catalog queries → [`Catalog`]. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::assemble_table::{self, Parts};
use super::error::IntrospectError;
use super::row::{
    ColumnRefRow, DefaultGrantsRow, DependentRow, FunctionRow, OtherRow, Pair, RoleRow, Rows, SequenceRow, ServerRow,
    TypeRow, ViewRow,
};
use crate::catalog::{
    Attribute, Catalog, ColumnRef, DefaultGrants, Dependent, Extension, Ident, Other, QualifiedName, RangeDef, Roles,
    SchemaRights, Sequence, Server, Stats, Table, TableKind, TriggerFunction, TypeDef, View,
};

pub(super) fn server(rows: Vec<ServerRow>) -> Result<Server, IntrospectError> {
    let Some(row) = rows.into_iter().next() else {
        return Err(IntrospectError::Missing {
            object: "the server".to_owned(),
            part: "entry for the current database",
        });
    };
    Ok(Server {
        system_identifier: row.system_identifier,
        database: row.database,
        database_oid: row.database_oid,
        version_num: row.version_num,
        encoding: row.encoding,
        collate: row.collate,
        ctype: row.ctype,
    })
}

pub(super) fn catalog(server: Server, rows: Rows) -> Result<Catalog, IntrospectError> {
    let mut schemas = Vec::with_capacity(rows.schemas.len());
    let mut schema_rights = BTreeMap::new();
    let mut kept_from: BTreeMap<Ident, BTreeSet<Ident>> = BTreeMap::new();
    for row in rows.schemas {
        let owner = ident(row.owner, "the owner of schema", &row.name)?;
        let name = ident(row.name, "schema", "the database")?;
        if rows.roles.is_some() {
            schema_rights.insert(name.clone(), SchemaRights { owner, grants: sorted(row.grants) });
            // One that has no name here cannot be named by a plan either.
            for role in row.kept_from.into_iter().filter_map(|role| Ident::new(role).ok()) {
                kept_from.entry(name.clone()).or_default().insert(role);
            }
        }
        schemas.push(name);
    }
    schemas.sort();
    let roles = rows.roles.map(|rows| roles(rows, kept_from)).transpose()?;
    let mut default_grants = rows.default_grants.into_iter().map(default_grant).collect::<Result<Vec<_>, _>>()?;
    default_grants.sort();
    let mut extensions = BTreeMap::new();
    for row in rows.extensions {
        let schema = ident(row.schema, "the schema of extension", &row.name)?;
        let mut members =
            row.members.into_iter().map(|pair| qualified(pair, "object")).collect::<Result<Vec<_>, _>>()?;
        members.sort();
        let extension = Extension { version: row.version, schema, members };
        extensions.insert(ident(row.name, "extension", "the database")?, extension);
    }
    let mut types = BTreeMap::new();
    for row in rows.types {
        let (name, def) = type_def(row)?;
        types.insert(name, def);
    }
    let mut parts = Parts::group(
        (rows.columns, rows.column_stats),
        (rows.indexes, rows.constraints, rows.statistics),
        (rows.triggers, rows.policies),
    );
    let mut tables = BTreeMap::new();
    let mut names = BTreeMap::new();
    for row in rows.tables {
        let oid = row.oid;
        let (name, table) = assemble_table::table(row, &mut parts)?;
        names.insert(oid, name.clone());
        tables.insert(name, table);
    }
    sum_partitions(&mut tables);
    let mut sequences = BTreeMap::new();
    for row in rows.sequences {
        let (name, sequence) = sequence(row)?;
        sequences.insert(name, sequence);
    }
    let dependents = dependents(rows.dependents, &names)?;
    // One that has no name here cannot be named by a plan either.
    let function = |row: FunctionRow| {
        let FunctionRow { schema, name, definition, owner, grants, extension } = row;
        let extension = extension.map(Ident::new).transpose().ok()?;
        let owner = Ident::new(owner).ok()?;
        let function = TriggerFunction { definition, owner, grants: sorted(grants), extension };
        Some((QualifiedName::new(schema, name).ok()?, function))
    };
    let trigger_functions = rows.trigger_functions.map(|rows| rows.into_iter().filter_map(function).collect());
    Ok(Catalog {
        server,
        schemas,
        extensions,
        types,
        tables,
        sequences,
        dependents,
        roles,
        schema_rights,
        default_grants,
        trigger_functions,
        functions: rows.functions.map(|rows| rows.into_iter().map(|row| row.signature).collect()),
        views: rows.views.into_iter().map(view).collect::<Result<_, _>>()?,
        others: rows.others.into_iter().map(other).collect::<Result<_, _>>()?,
    })
}

fn roles(rows: Vec<RoleRow>, kept_from: BTreeMap<Ident, BTreeSet<Ident>>) -> Result<Roles, IntrospectError> {
    let mut current = None;
    let mut login = BTreeMap::new();
    let mut out_of_reach = BTreeSet::new();
    for row in rows {
        // One that has no name here cannot be named by a plan either.
        let Ok(name) = Ident::new(row.name) else { continue };
        if row.current {
            current = Some(name.clone());
        }
        if row.out_of_reach {
            out_of_reach.insert(name.clone());
        }
        login.insert(name, row.login);
    }
    let missing = || IntrospectError::Missing { object: "the cluster".to_owned(), part: "role of this session" };
    Ok(Roles { current: current.ok_or_else(missing)?, login, out_of_reach, kept_from })
}

fn default_grant(row: DefaultGrantsRow) -> Result<DefaultGrants, IntrospectError> {
    Ok(DefaultGrants {
        role: ident(row.role, "role", "default privileges")?,
        schema: row.schema.map(|schema| ident(schema, "schema", "default privileges")).transpose()?,
        kind: row.kind,
        grants: sorted(row.grants),
    })
}

/// A partitioned table has no rows of its own: its sizes are those of its partitions together.
fn sum_partitions(tables: &mut BTreeMap<QualifiedName, Table>) {
    let mut sums: BTreeMap<QualifiedName, Stats> = BTreeMap::new();
    for table in tables.values().filter(|table| table.kind == TableKind::Table && table.partition_bound.is_some()) {
        let Some(stats) = &table.stats else { continue };
        let mut parent = table.parents.first();
        while let Some(name) = parent {
            let Some(found) = tables.get(name) else { break };
            let Some(own) = &found.stats else { break };
            let sum = sums.entry(name.clone()).or_insert_with(|| Stats {
                rows_estimate: Some(0),
                table_bytes: 0,
                index_bytes: 0,
                ..own.clone()
            });
            sum.rows_estimate = sum.rows_estimate.zip(stats.rows_estimate).map(|(sum, rows)| sum.saturating_add(rows));
            sum.table_bytes = sum.table_bytes.saturating_add(stats.table_bytes);
            sum.index_bytes = sum.index_bytes.saturating_add(stats.index_bytes);
            parent = found.parents.first();
        }
    }
    for (name, sum) in sums {
        if let Some(table) = tables.get_mut(&name) {
            table.stats = Some(sum);
        }
    }
}

fn type_def(row: TypeRow) -> Result<(QualifiedName, TypeDef), IntrospectError> {
    let name = qualified(Pair(row.schema, row.name), "type")?;
    let object = || format!("type {name}");
    let def = match row.kind.as_str() {
        "e" => TypeDef::Enum(row.labels),
        "d" => {
            let mut checks = BTreeMap::new();
            for Pair(check, definition) in row.checks {
                checks.insert(ident(check, "constraint of", &object())?, definition);
            }
            TypeDef::Domain {
                base: row.base.ok_or_else(|| IntrospectError::Missing { object: object(), part: "base type" })?,
                not_null: row.not_null,
                checks,
                default: row.default,
                collation: row.collation.map(|pair| qualified(pair, "collation")).transpose()?,
            }
        }
        "c" => {
            let mut attributes = Vec::with_capacity(row.attributes.len());
            for attribute in row.attributes {
                attributes.push(Attribute {
                    name: ident(attribute.name, "attribute of", &object())?,
                    ty: attribute.ty,
                    collation: attribute.collation.map(|pair| qualified(pair, "collation")).transpose()?,
                });
            }
            TypeDef::Composite(attributes)
        }
        "r" => {
            let range = row.range.ok_or_else(|| IntrospectError::Missing { object: object(), part: "subtype" })?;
            let named = |pair: Option<Pair>, kind| pair.map(|pair| qualified(pair, kind)).transpose();
            TypeDef::Range(RangeDef {
                subtype: range.subtype,
                opclass: named(range.opclass, "operator class")?,
                collation: named(range.collation, "collation")?,
                canonical: named(range.canonical, "function")?,
                subtype_diff: named(range.subtype_diff, "function")?,
                multirange: named(range.multirange, "type")?,
            })
        }
        "b" => TypeDef::Base,
        _ => return Err(IntrospectError::Code { object: object(), code: "typtype", value: row.kind }),
    };
    Ok((name, def))
}

fn sequence(row: SequenceRow) -> Result<(QualifiedName, Sequence), IntrospectError> {
    let name = qualified(Pair(row.schema, row.name), "sequence")?;
    let owner = ident(row.owner, "the owner of sequence", &name.to_string())?;
    let mut used_by = row.used_by.into_iter().map(column_ref).collect::<Result<Vec<_>, _>>()?;
    used_by.sort();
    let sequence = Sequence {
        ty: row.ty,
        start: row.start,
        increment: row.increment,
        min: row.min,
        max: row.max,
        cache: row.cache,
        cycle: row.cycle,
        owned_by: row.owned_by.map(column_ref).transpose()?,
        used_by,
        identity: row.identity,
        owner,
        grants: sorted(row.grants),
        comment: row.comment,
    };
    Ok((name, sequence))
}

fn other(row: OtherRow) -> Result<Other, IntrospectError> {
    let schema = row.schema.map(|schema| ident(schema, "the schema of", &row.name)).transpose()?;
    Ok(Other { kind: row.kind, schema, name: row.name })
}

fn view(row: ViewRow) -> Result<(QualifiedName, View), IntrospectError> {
    let name = qualified(Pair(row.schema, row.name), "view")?;
    let mut reads: BTreeMap<QualifiedName, BTreeSet<Ident>> = BTreeMap::new();
    for (schema, relation, column) in row.reads {
        let relation = qualified(Pair(schema, relation), "relation")?;
        let column = column.map(|column| ident(column, "column of", &relation.to_string())).transpose()?;
        reads.entry(relation).or_default().extend(column);
    }
    let definition = row.definition.trim().trim_end_matches(';').to_owned();
    Ok((name, View { definition, reads, unpopulated: row.unpopulated }))
}

fn column_ref(row: ColumnRefRow) -> Result<ColumnRef, IntrospectError> {
    let table = qualified(Pair(row.schema, row.table), "table")?;
    let column = ident(row.column, "column of", &table.to_string())?;
    Ok(ColumnRef { table, column })
}

fn dependents(
    rows: Vec<DependentRow>,
    names: &BTreeMap<u32, QualifiedName>,
) -> Result<Vec<Dependent>, IntrospectError> {
    let mut found = BTreeSet::new();
    for row in rows {
        let Some(table) = names.get(&row.table_oid) else {
            return Err(IntrospectError::Missing { object: format!("{} {}", row.kind, row.name), part: "table" });
        };
        found.insert(Dependent { kind: row.kind, name: row.name, table: table.clone() });
    }
    Ok(found.into_iter().collect())
}

/// `what` and `of` say in an error which object it is, e.g. `column of public.orders`.
pub(super) fn ident(name: String, what: &str, of: &str) -> Result<Ident, IntrospectError> {
    let shown = format!("{what} {of} ({name:?})");
    Ident::new(name).map_err(|source| IntrospectError::Name { object: shown, source })
}

pub(super) fn qualified(Pair(schema, name): Pair, what: &str) -> Result<QualifiedName, IntrospectError> {
    let shown = format!("{what} {schema:?}.{name:?}");
    QualifiedName::new(schema, name).map_err(|source| IntrospectError::Name { object: shown, source })
}

pub(super) fn sorted(mut items: Vec<String>) -> Vec<String> {
    items.sort();
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_postgres_would_cut_is_an_error_that_names_the_object() {
        // A server with a single-byte encoding holds 63 of these; in UTF-8 they are 126 bytes.
        let error = ident("é".repeat(63), "column of", "public.t").unwrap_err().to_string();
        assert!(error.contains("column of public.t") && error.contains("126 bytes"), "{error}");
    }
}
