//! One table: CREATE TABLE, and what has a statement of its own.

use super::objects;
use super::schema::Scope;
use crate::catalog::{
    Column, Compression, Constraint, ConstraintKind, Ident, Identity, Index, Persistence, QualifiedName,
    ReplicaIdentity, Storage, Table, TableKind,
};
use crate::sql::ddl::comment;
use crate::sql::ddl_index::timing;
use crate::sql::literal;
use crate::sql::quote::{readable, readable_name};

/// CREATE TABLE with columns and constraints, its indexes, and what is said of all of them.
pub(super) fn create_table(table_name: &QualifiedName, table: &Table, scope: &Scope<'_>) -> Vec<String> {
    let name = readable_name(table_name);
    let parents = parents(table, scope);
    let mut elements: Vec<String> = table
        .columns
        .iter()
        .filter(|column| !is_inherited(column, &parents))
        .map(|column| column_sql(column, table_name, table, scope))
        .collect();
    let (inline, later): (Vec<_>, Vec<_>) = own_constraints(table, &parents).partition(|(_, own)| own.validated);
    elements.extend(inline.iter().map(|(own, constraint)| constraint_sql(own, constraint, table)));
    let body = if elements.is_empty() { String::new() } else { format!("\n    {}\n", elements.join(",\n    ")) };
    let unlogged = if table.persistence == Persistence::Unlogged { "UNLOGGED " } else { "" };
    let inherits = match parents.is_empty() {
        true => String::new(),
        false => {
            format!(
                " INHERITS ({})",
                parents.iter().map(|(name, _)| readable_name(name)).collect::<Vec<_>>().join(", ")
            )
        }
    };
    let partition_by = table.partition_key.as_ref().map_or_else(String::new, |key| format!(" PARTITION BY {key}"));
    let options = with_options(&table.reloptions);
    let mut statements = vec![format!("CREATE {unlogged}TABLE {name} ({body}){inherits}{partition_by}{options}")];
    for (own, constraint) in later {
        statements.push(format!("ALTER TABLE {name} ADD {}", constraint_sql(own, constraint, table)));
    }
    for (column, storage) in table.columns.iter().filter_map(|column| Some((column, column.storage?))) {
        // Within CREATE TABLE only from 16 on.
        let word = match storage {
            Storage::Plain => "PLAIN",
            Storage::External => "EXTERNAL",
            Storage::Main => "MAIN",
            Storage::Extended => "EXTENDED",
        };
        let column = readable(&column.name);
        statements.push(format!("ALTER TABLE ONLY {name} ALTER COLUMN {column} SET STORAGE {word}"));
    }
    for column in &table.columns {
        let altered = format!("ALTER TABLE ONLY {name} ALTER COLUMN {} SET", readable(&column.name));
        statements.extend(column.statistics_target.map(|target| format!("{altered} STATISTICS {target}")));
        if !column.options.is_empty() {
            statements.push(format!("{altered} ({})", options_list(&column.options)));
        }
    }
    statements.extend(own_indexes(table).map(|(_, index)| index.definition.clone()));
    statements.extend(replica_identity(&name, &table.replica_identity));
    statements.extend(comments(table_name, table));
    statements
}

/// FOREIGN KEY constraints: when all tables are there.
pub(super) fn foreign_keys(table_name: &QualifiedName, table: &Table, _: &Scope<'_>) -> Vec<String> {
    let keys = table.constraints.iter().filter(|(_, key)| key.kind == ConstraintKind::ForeignKey);
    let mut statements = Vec::new();
    for (key_name, key) in keys {
        let name = readable_name(table_name);
        statements.push(format!("ALTER TABLE {name} ADD {}", constraint_sql(key_name, key, table)));
        statements.extend(constraint_comment(table_name, key_name, key));
    }
    statements
}

/// Partitions are tables like any other until they are attached, when parent and partition have all that they need: so each
/// keeps its own names.
pub(super) fn partitions(table_name: &QualifiedName, table: &Table, scope: &Scope<'_>) -> Vec<String> {
    let Some(bound) = &table.partition_bound else { return Vec::new() };
    let parents = table.parents.iter().filter(|parent| scope.catalog.tables.contains_key(parent));
    let attach = |parent| format!("ALTER TABLE ONLY {parent} ATTACH PARTITION {} {bound}", readable_name(table_name));
    parents.map(|parent| attach(readable_name(parent))).collect()
}

/// Parents by inheritance, as far as they are written.
fn parents<'c>(table: &Table, scope: &Scope<'c>) -> Vec<(&'c QualifiedName, &'c Table)> {
    if table.partition_bound.is_some() {
        return Vec::new();
    }
    table.parents.iter().filter_map(|parent| scope.catalog.tables.get_key_value(parent)).collect()
}

/// True for a partition whose parent is written, too.
fn is_attached(table: &Table, scope: &Scope<'_>) -> bool {
    table.partition_bound.is_some() && table.parents.iter().any(|parent| scope.catalog.tables.contains_key(parent))
}

/// True when each parent that has the column has it like this.
fn is_inherited(column: &Column, parents: &[(&QualifiedName, &Table)]) -> bool {
    let plain = |column: &Column| Column { comment: None, grants: Vec::new(), ..column.clone() };
    let mut theirs = parents.iter().filter_map(|(_, parent)| parent.column(&column.name)).peekable();
    theirs.peek().is_some() && theirs.all(|their| plain(their) == plain(column))
}

/// Constraints that belong into or behind CREATE TABLE.
fn own_constraints<'c>(
    table: &'c Table,
    parents: &[(&QualifiedName, &Table)],
) -> impl Iterator<Item = (&'c Ident, &'c Constraint)> + use<'c> {
    let inherited: Vec<(Ident, String)> = parents
        .iter()
        .flat_map(|(_, parent)| &parent.constraints)
        .filter(|(_, constraint)| constraint.kind == ConstraintKind::Check && !constraint.no_inherit)
        .map(|(name, constraint)| (name.clone(), constraint.definition.clone()))
        .collect();
    table.constraints.iter().filter(move |(name, constraint)| match constraint.kind {
        ConstraintKind::PrimaryKey | ConstraintKind::Unique | ConstraintKind::Exclude => true,
        ConstraintKind::Check => {
            !inherited.iter().any(|(parent, definition)| parent == *name && *definition == constraint.definition)
        }
        ConstraintKind::ForeignKey | ConstraintKind::Trigger => false,
    })
}

/// Indexes that are no constraint's.
pub(super) fn own_indexes(table: &Table) -> impl Iterator<Item = (&Ident, &Index)> {
    table.indexes.iter().filter(|(_, index)| index.constraint.is_none() && index.valid)
}

fn column_sql(column: &Column, table_name: &QualifiedName, table: &Table, scope: &Scope<'_>) -> String {
    let mut sql = format!("{} {}", readable(&column.name), column.ty.sql);
    if let Some(compression) = column.compression {
        sql.push_str(match compression {
            Compression::Pglz => " COMPRESSION pglz",
            Compression::Lz4 => " COMPRESSION lz4",
        });
    }
    if let Some(collation) = &column.collation {
        sql.push_str(&format!(" COLLATE {}", readable_name(collation)));
    }
    if let Some(default) = &column.default {
        sql.push_str(&format!(" DEFAULT {default}"));
    }
    if let Some(generated) = &column.generated {
        let kind = if generated.stored { "STORED" } else { "VIRTUAL" };
        sql.push_str(&format!(" GENERATED ALWAYS AS ({}) {kind}", generated.expr));
    }
    // The identity of a partition's column is its parent's.
    if let Some(identity) = column.identity.as_ref().filter(|_| !is_attached(table, scope)) {
        sql.push_str(&identity_sql(identity, &column.name, table_name, scope));
    }
    if column.not_null {
        sql.push_str(" NOT NULL");
    }
    sql
}

fn identity_sql(identity: &Identity, column: &Ident, table: &QualifiedName, scope: &Scope<'_>) -> String {
    let when = if identity.always { "ALWAYS" } else { "BY DEFAULT" };
    let mut options = Vec::new();
    // The name that PostgreSQL would choose; it cuts longer ones.
    let usual = Ident::new(format!("{}_{}_seq", table.name.as_str(), column.as_str())).ok();
    if identity.sequence.schema != table.schema || usual.as_ref() != Some(&identity.sequence.name) {
        options.push(format!("SEQUENCE NAME {}", readable_name(&identity.sequence)));
    }
    let sequence = scope.catalog.sequences.get(&identity.sequence);
    options.extend(sequence.map(objects::options).filter(|options| !options.is_empty()));
    let options = if options.is_empty() { String::new() } else { format!(" ({})", options.join(" ")) };
    format!(" GENERATED {when} AS IDENTITY{options}")
}

fn constraint_sql(name: &Ident, constraint: &Constraint, table: &Table) -> String {
    let mut definition = constraint.definition.clone();
    let is_key = matches!(constraint.kind, ConstraintKind::PrimaryKey | ConstraintKind::Unique);
    let index = constraint.index.as_ref().and_then(|index| table.indexes.get(index));
    if let Some(index) = index.filter(|index| is_key && !index.reloptions.is_empty()) {
        // `pg_get_constraintdef` leaves them out, and they stand before DEFERRABLE.
        let timing = timing(constraint.deferrable, constraint.initially_deferred);
        let key = definition.strip_suffix(timing).unwrap_or(&definition);
        definition = format!("{key}{}{timing}", with_options(&index.reloptions));
    }
    format!("CONSTRAINT {} {definition}", readable(name))
}

fn with_options(reloptions: &[String]) -> String {
    if reloptions.is_empty() {
        return String::new();
    }
    format!(" WITH ({})", options_list(reloptions))
}

fn options_list(list: &[String]) -> String {
    let options = list.iter().map(|option| match option.split_once('=') {
        Some((key, value)) => format!("{}={}", option_name(key), literal(value)),
        None => option_name(option),
    });
    options.collect::<Vec<_>>().join(", ")
}

/// `toast.autovacuum_enabled` has a namespace.
fn option_name(key: &str) -> String {
    let parts = key.split('.').map(|part| Ident::new(part).map_or_else(|_| part.to_owned(), |part| readable(&part)));
    parts.collect::<Vec<_>>().join(".")
}

fn replica_identity(table: &str, identity: &ReplicaIdentity) -> Option<String> {
    let what = match identity {
        ReplicaIdentity::Default => return None,
        ReplicaIdentity::Full => "FULL".to_owned(),
        ReplicaIdentity::Nothing => "NOTHING".to_owned(),
        ReplicaIdentity::Index(index) => format!("USING INDEX {}", readable(index)),
    };
    Some(format!("ALTER TABLE ONLY {table} REPLICA IDENTITY {what}"))
}

fn comments(table_name: &QualifiedName, table: &Table) -> Vec<String> {
    let name = readable_name(table_name);
    let mut statements = Vec::new();
    statements.extend(table.comment.as_ref().map(|text| comment(&format!("TABLE {name}"), text)));
    for column in &table.columns {
        let object = format!("COLUMN {name}.{}", readable(&column.name));
        statements.extend(column.comment.as_ref().map(|text| comment(&object, text)));
    }
    let constraints = table.constraints.iter().filter(|(_, own)| own.kind != ConstraintKind::ForeignKey);
    statements.extend(constraints.filter_map(|(own, constraint)| constraint_comment(table_name, own, constraint)));
    for (index_name, index) in table.indexes.iter().filter(|(_, index)| index.valid) {
        let index_name = QualifiedName { schema: table_name.schema.clone(), name: index_name.clone() };
        let object = format!("INDEX {}", readable_name(&index_name));
        statements.extend(index.comment.as_ref().map(|text| comment(&object, text)));
    }
    statements
}

fn constraint_comment(table: &QualifiedName, name: &Ident, constraint: &Constraint) -> Option<String> {
    // One that stands for a trigger is not written.
    let text = constraint.comment.as_ref().filter(|_| constraint.kind != ConstraintKind::Trigger)?;
    Some(comment(&format!("CONSTRAINT {} ON {}", readable(name), readable_name(table)), text))
}

/// The word for what is only listed; `None` for tables.
pub(super) fn kind_word(kind: TableKind) -> Option<&'static str> {
    match kind {
        TableKind::Table | TableKind::Partitioned => None,
        TableKind::Foreign => Some("foreign table"),
        TableKind::View => Some("view"),
        TableKind::MaterializedView => Some("materialized view"),
    }
}
