//! `CREATE INDEX` and key constraints from their parts.

use std::collections::BTreeMap;

use crate::catalog::{Constraint, ConstraintKind, Ident, Index, IndexElement, QualifiedName};
use crate::sql::ddl::{list, options_list, with_options};
use crate::sql::{ident, name};

/// `CREATE [UNIQUE] INDEX`. No CONCURRENTLY: before the switch nobody but pcrd uses the table.
pub fn create_index(index_name: &Ident, table: &QualifiedName, index: &Index) -> String {
    let unique = if index.unique { "UNIQUE " } else { "" };
    let predicate = index.predicate.as_ref().map_or_else(String::new, |predicate| format!(" WHERE {predicate}"));
    format!(
        "CREATE {unique}INDEX {} ON {} USING {} ({}){}{}{}{predicate}",
        ident(index_name),
        name(table),
        ident(&index.method),
        index.elements.iter().map(element).collect::<Vec<_>>().join(", "),
        include(&index.include),
        if index.nulls_not_distinct { " NULLS NOT DISTINCT" } else { "" },
        with_options(&index.reloptions),
    )
}

fn include(columns: &[Ident]) -> String {
    if columns.is_empty() { String::new() } else { format!(" INCLUDE ({})", list(columns)) }
}

fn element(element: &IndexElement) -> String {
    let mut text = match (&element.column, &element.expression) {
        (Some(column), _) => ident(column),
        (None, Some(expression)) if expression.starts_with('(') => expression.clone(),
        (None, Some(expression)) => format!("({expression})"),
        (None, None) => String::new(),
    };
    if let Some(collation) = &element.collation {
        text.push_str(&format!(" COLLATE {}", name(collation)));
    }
    if let Some(opclass) = &element.opclass {
        text.push_str(&format!(" {}{}", name(opclass), options_list(&element.opclass_options)));
    }
    match (element.descending, element.nulls_first) {
        (false, false) => {}
        (false, true) => text.push_str(" NULLS FIRST"),
        (true, true) => text.push_str(" DESC"),
        (true, false) => text.push_str(" DESC NULLS LAST"),
    }
    text
}

/// `PRIMARY KEY (…)` or `UNIQUE (…)` from the index behind it.
pub fn key_constraint(primary: bool, index: &Index, deferrable: bool, initially_deferred: bool) -> String {
    let columns: Vec<Ident> = index.elements.iter().filter_map(|element| element.column.clone()).collect();
    let kind = if primary { "PRIMARY KEY" } else { "UNIQUE" };
    let nulls = if index.nulls_not_distinct { " NULLS NOT DISTINCT" } else { "" };
    format!(
        "{kind}{nulls} ({}){}{}{}",
        list(&columns),
        include(&index.include),
        with_options(&index.reloptions),
        timing(deferrable, initially_deferred)
    )
}

/// The definition with the storage parameters of the index behind it, which the catalog's text leaves out.
pub fn key_with_options(constraint: &Constraint, indexes: &BTreeMap<Ident, Index>) -> String {
    let index = constraint.index.as_ref().and_then(|name| indexes.get(name));
    let is_plain = !constraint.definition.contains("WITHOUT OVERLAPS");
    let index = index.filter(|index| is_plain && !index.reloptions.is_empty());
    match (constraint.kind, index) {
        (ConstraintKind::PrimaryKey | ConstraintKind::Unique, Some(index)) => key_constraint(
            constraint.kind == ConstraintKind::PrimaryKey,
            index,
            constraint.deferrable,
            constraint.initially_deferred,
        ),
        _ => constraint.definition.clone(),
    }
}

/// ` DEFERRABLE [INITIALLY DEFERRED]`, or nothing.
pub fn timing(deferrable: bool, initially_deferred: bool) -> &'static str {
    match (deferrable, initially_deferred) {
        (_, true) => " DEFERRABLE INITIALLY DEFERRED",
        (true, false) => " DEFERRABLE",
        (false, false) => "",
    }
}

/// `FOREIGN KEY (…) REFERENCES …`.
pub fn foreign_key(columns: &[Ident], table: &QualifiedName, far: &[Ident], actions: &str, timing: &str) -> String {
    let actions = actions.trim();
    let space = if actions.is_empty() { "" } else { " " };
    format!("FOREIGN KEY ({}) REFERENCES {} ({}){space}{actions}{timing}", list(columns), name(table), list(far))
}
