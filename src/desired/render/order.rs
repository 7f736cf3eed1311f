//! What must be created before what: types of types, of columns and of rows, parents before their children.

use std::collections::{BTreeMap, BTreeSet};

use super::schema::Scope;
use crate::catalog::type_def::named;
use crate::catalog::{QualifiedName, Table, TableKind, TypeDef};

/// Something with a CREATE statement of its own.
#[derive(Debug, Clone, Copy)]
pub(super) enum Object<'c> {
    Type(&'c QualifiedName, &'c TypeDef),
    Table(&'c QualifiedName, &'c Table),
}

/// Types and tables that can be written, each behind what it needs, else types first and by name.
pub(super) fn in_order<'c>(scope: &Scope<'c>) -> Vec<Object<'c>> {
    let types = scope.catalog.types.iter().filter(|(_, def)| !matches!(def, TypeDef::Base));
    let tables = scope.catalog.tables.iter().filter(|(_, table)| is_written(table));
    let types = types.map(|(name, def)| (name, Object::Type(name, def)));
    let objects = types.chain(tables.map(|(name, table)| (name, Object::Table(name, table))));
    let objects: Vec<_> = objects.filter(|(name, _)| !scope.members.contains(name)).collect();
    let by_name: BTreeMap<&QualifiedName, Object<'c>> = objects.iter().copied().collect();
    let mut done = BTreeSet::new();
    let mut ordered = Vec::with_capacity(objects.len());
    for (name, _) in &objects {
        // Depth first, without recursion. What is open already cannot be waited for.
        let mut stack = vec![(*name, false)];
        while let Some((name, is_ready)) = stack.pop() {
            let Some(object) = by_name.get(name) else { continue };
            if is_ready {
                ordered.push(*object);
            } else if done.insert(name) {
                stack.push((name, true));
                let needs = needed(object);
                let needs = needs.iter().rev().filter_map(|need| by_name.get_key_value(need));
                stack.extend(needs.map(|(need, _)| (*need, false)));
            }
        }
    }
    ordered
}

/// Tables that the file can create. Views, foreign tables and the like are listed.
pub(super) fn is_written(table: &Table) -> bool {
    matches!(table.kind, TableKind::Table | TableKind::Partitioned)
}

fn needed(object: &Object<'_>) -> Vec<QualifiedName> {
    match object {
        Object::Type(_, def) => def.needs(),
        Object::Table(_, table) => {
            let types = table.columns.iter().filter_map(|column| named(&column.ty.sql));
            table.parents.iter().cloned().chain(types).collect()
        }
    }
}
