//! What the file does not say: by name, in comments at its end.

use std::collections::BTreeSet;

use super::objects::own_sequences;
use super::order::is_written;
use super::schema::Scope;
use super::table::kind_word;
use crate::catalog::{ConstraintKind, QualifiedName, Table, TypeDef};
use crate::sql::quote::{readable, readable_name};

pub(super) fn left_out(scope: &Scope<'_>) -> String {
    let mut lines = BTreeSet::new();
    for (name, table) in scope.catalog.tables.iter().filter(|(name, _)| !scope.members.contains(name)) {
        of_table(name, table, scope, &mut lines);
    }
    for (name, sequence) in own_sequences(scope) {
        if !sequence.grants.is_empty() {
            lines.insert(format!("grants on sequence {}", readable_name(name)));
        }
    }
    for (name, def) in scope.catalog.types.iter().filter(|(name, _)| !scope.members.contains(name)) {
        let name = readable_name(name);
        match def {
            TypeDef::Base => lines.insert(format!("base type {name}, which must exist before")),
            TypeDef::Range(range) => {
                let form = range.canonical.as_ref();
                lines.extend(form.map(|form| format!("the canonical function {form} of the range type {name}")));
                range.collation.as_ref().is_some_and(|used| collation_line(used, &mut lines))
            }
            TypeDef::Domain { collation, .. } => {
                collation.as_ref().is_some_and(|used| collation_line(used, &mut lines))
            }
            TypeDef::Composite(attributes) => {
                let used = attributes.iter().filter_map(|attribute| attribute.collation.as_ref());
                used.filter(|used| collation_line(used, &mut lines)).count() > 0
            }
            TypeDef::Enum(_) => false,
        };
    }
    for dependent in &scope.catalog.dependents {
        // Columns of a table's row type are written, and these foreign keys are another table's.
        if !matches!(dependent.kind.as_str(), "column" | "foreign key") {
            lines.insert(format!("{} {}", dependent.kind, dependent.name));
        }
    }
    let head = "-- Not in this file: functions, owners, tablespaces, access methods, statistics targets, CLUSTER ON";
    let lines: Vec<String> = lines.iter().map(|line| format!("--   {}\n", on_one_line(line))).collect();
    if lines.is_empty() { format!("{head}.\n") } else { format!("{head}, and\n{}", lines.concat()) }
}

fn of_table(name: &QualifiedName, table: &Table, scope: &Scope<'_>, lines: &mut BTreeSet<String>) {
    let shown = readable_name(name);
    if let Some(kind) = kind_word(table.kind) {
        lines.insert(format!("{kind} {shown}"));
        return;
    }
    if !table.grants.is_empty() || table.columns.iter().any(|column| !column.grants.is_empty()) {
        lines.insert(format!("grants on table {shown}"));
    }
    if table.row_security {
        lines.insert(format!("row security of {shown}"));
    }
    lines.extend(table.policies.keys().map(|policy| format!("policy {} on {shown}", readable(policy))));
    lines.extend(table.triggers.keys().map(|trigger| format!("trigger {} on {shown}", readable(trigger))));
    lines.extend(table.statistics.keys().map(|own| format!("statistics {}", readable_name(own))));
    let clustered = table.indexes.iter().filter(|(_, index)| index.clustered);
    lines.extend(clustered.map(|(index, _)| format!("clustered index {} of {shown}", readable(index))));
    let invalid = table.indexes.iter().filter(|(_, index)| !index.valid);
    lines.extend(invalid.map(|(index, _)| format!("index {} of {shown}, which is not valid", readable(index))));
    for parent in &table.parents {
        if !scope.catalog.tables.get(parent).is_some_and(is_written) {
            lines.insert(format!("table {}, which {shown} is a part of", readable_name(parent)));
        }
    }
    let far = table.constraints.values().filter(|own| own.kind == ConstraintKind::ForeignKey);
    for far in far.filter_map(|key| key.references.as_ref()) {
        if !scope.catalog.tables.contains_key(&far.table) {
            lines.insert(format!("table {}, which {shown} refers to", readable_name(&far.table)));
        }
    }
    let elements = table.indexes.values().flat_map(|index| &index.elements);
    let collations = table.columns.iter().filter_map(|column| column.collation.as_deref());
    for collation in collations.chain(elements.filter_map(|element| element.collation.as_ref())) {
        collation_line(collation, lines);
    }
}

fn collation_line(collation: &QualifiedName, lines: &mut BTreeSet<String>) -> bool {
    collation.schema.as_str() != "pg_catalog"
        && lines.insert(format!("collation {}, which must exist before", readable_name(collation)))
}

/// A name that has a line break must not end the comment that it stands in.
pub(super) fn on_one_line(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_debug().collect() } else { vec![c] }).collect()
}
