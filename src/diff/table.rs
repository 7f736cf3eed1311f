//! One table before and after.

use std::collections::BTreeMap;

use crate::catalog::{Column, Ident, QualifiedName, Table};
use crate::diff::object::{self, attribute_changes, object_changes};
use crate::diff::{Action, Change};
use crate::projection::{ColumnValue, ProjectedColumn, Projection};
use crate::sql::rewrite::{sequences, sequences_named, skeleton};

/// A table on both ends and what connects them.
#[derive(Debug, Clone, Copy)]
pub struct TableDiff<'a> {
    /// Source name.
    pub source: &'a QualifiedName,
    /// The source goes into other targets too: then changes speak of the table by its target's name.
    pub split: bool,
    /// Target name.
    pub target: &'a QualifiedName,
    /// Source structure.
    pub before: &'a Table,
    /// Target structure.
    pub after: &'a Table,
    /// What the source's structure becomes by changes of names and types alone; `None` when nothing else can change.
    pub carried: Option<&'a Table>,
    /// How rows are made.
    pub projection: &'a Projection,
    /// Target names of the kept source columns.
    pub renames: &'a BTreeMap<Ident, Ident>,
    /// Why each changed column's values survive, by target column.
    pub reasons: &'a BTreeMap<Ident, String>,
    /// Bytes per row before and after, when columns were packed.
    pub packed: Option<(u64, u64)>,
    /// Bytes per row before and after.
    pub row_bytes: (u64, u64),
}

impl TableDiff<'_> {
    fn address(&self) -> &QualifiedName {
        if self.split { self.target } else { self.source }
    }
}

/// Changes of the table: kept columns in target order, then dropped, then the order.
pub fn table_changes(diff: &TableDiff<'_>) -> Vec<Change> {
    let mut changes = vec![Change {
        before: Some(diff.source.to_string()),
        after: Some(diff.target.to_string()),
        ..change(diff.address().to_string(), Action::Migrate)
    }];
    if diff.source != diff.target && !diff.split {
        changes.push(Change {
            before: Some(diff.source.to_string()),
            after: Some(diff.target.to_string()),
            ..change(diff.address().to_string(), Action::Rename)
        });
    }
    if let Some(filter) = &diff.projection.filter {
        changes.push(Change {
            after: Some(format!("where {}", filter.sql)),
            note: Some(if diff.split { "other rows do not come here" } else { "other rows are not copied" }.to_owned()),
            ..change(diff.address().to_string(), Action::Filter)
        });
    }
    for before in &diff.before.columns {
        let kept = diff.renames.get(&before.name).and_then(|name| diff.after.column(name));
        match kept {
            Some(after) => changes.extend(column_changes(diff, before, after)),
            None => changes.push(Change {
                before: Some(before.ty.sql.clone()),
                note: Some("the values are not copied".to_owned()),
                ..change(address(diff.address(), &before.name), Action::Drop)
            }),
        }
    }
    let from_source: Vec<&Ident> = diff.renames.values().collect();
    let added = diff.after.columns.iter().filter(|column| !from_source.contains(&&column.name));
    changes.extend(added.map(|column| added_change(diff, column)));
    changes.extend(diff.carried.into_iter().flat_map(|carried| object_changes(diff.address(), carried, diff.after)));
    changes.extend(order_change(diff));
    changes
}

pub(super) fn change(address: String, action: Action) -> Change {
    Change { address, action, before: None, after: None, class: None, expr: None, note: None }
}

fn address(table: &QualifiedName, column: &Ident) -> String {
    format!("{table}.{column}")
}

fn projected<'a>(diff: &TableDiff<'a>, column: &Ident) -> Option<&'a ProjectedColumn> {
    diff.projection.columns.iter().find(|projected| &projected.target == column)
}

fn column_changes(diff: &TableDiff<'_>, before: &Column, after: &Column) -> Vec<Change> {
    let at = || address(diff.address(), &before.name);
    let mut changes = Vec::new();
    if before.name != after.name {
        changes.push(Change {
            before: Some(before.name.to_string()),
            after: Some(after.name.to_string()),
            ..change(at(), Action::Rename)
        });
    }
    let projected = projected(diff, &after.name);
    let custom = projected.is_some_and(|column| column.class == crate::casts::CastClass::Custom);
    if before.ty != after.ty || custom {
        changes.push(Change {
            before: Some(before.ty.sql.clone()),
            after: Some(after.ty.sql.clone()),
            class: projected.map(|column| column.class),
            expr: projected.and_then(expression),
            note: diff.reasons.get(&after.name).cloned(),
            ..change(at(), Action::Cast)
        });
    }
    if before.not_null != after.not_null {
        changes.push(Change {
            before: Some(nullability(before).to_owned()),
            after: Some(nullability(after).to_owned()),
            ..change(at(), Action::Nullability)
        });
    }
    let carried = diff.carried.and_then(|carried| carried.column(&after.name));
    let old_default = carried.map_or(&before.default, |carried| &carried.default);
    if *old_default != after.default && !same_meaning(carried.unwrap_or(before), after) {
        changes.push(Change {
            before: before.default.clone(),
            after: after.default.clone(),
            ..change(at(), Action::Default)
        });
    }
    changes.extend(carried.into_iter().flat_map(|carried| attribute_changes(&at(), carried, after)));
    changes
}

/// Defaults that differ in text only: in quoting, in the schema of a sequence that moved with its table, or in a cast
/// to the new type.
fn same_meaning(before: &Column, after: &Column) -> bool {
    let (Some(old), Some(new)) = (before.default.as_deref(), after.default.as_deref()) else { return false };
    if new == format!("CAST(({old}) AS {})", after.ty.sql) {
        return true;
    }
    let without_schemas = |text: &str| {
        let names = sequences_named(text)?;
        let bare = |name: &QualifiedName| QualifiedName { schema: name.name.clone(), name: name.name.clone() };
        skeleton(&sequences(text, &names.iter().map(|name| (name.clone(), bare(name))).collect())?)
    };
    without_schemas(old).is_ok_and(|old| without_schemas(new).is_ok_and(|new| old == new))
}

fn nullability(column: &Column) -> &'static str {
    if column.not_null { "NOT NULL" } else { "NULL" }
}

fn expression(column: &ProjectedColumn) -> Option<String> {
    match &column.value {
        ColumnValue::Expr { sql, .. } => Some(sql.clone()),
        ColumnValue::Frozen { .. } => None,
    }
}

fn added_change(diff: &TableDiff<'_>, column: &Column) -> Change {
    let mut after = column.ty.sql.clone();
    if column.not_null {
        after.push_str(" NOT NULL");
    }
    if let Some(default) = &column.default {
        after.push_str(&format!(" DEFAULT {default}"));
    }
    for attribute in [object::generated(column), column.identity.as_deref().map(object::identity)].into_iter().flatten()
    {
        after.push_str(&format!(" {attribute}"));
    }
    let projected = projected(diff, &column.name);
    Change {
        after: Some(after),
        class: projected.map(|column| column.class),
        expr: projected.and_then(expression),
        note: diff.reasons.get(&column.name).cloned(),
        ..change(address(diff.projection.task(), &column.name), Action::Add)
    }
}

/// A new order is a change when it is wanted: packed, or as a whole table has it.
fn order_change(diff: &TableDiff<'_>) -> Option<Change> {
    let Some((before, after)) = diff.packed else { return written_order(diff) };
    Some(Change {
        before: Some(format!("{before} B")),
        after: Some(format!("{after} B")),
        note: Some("column order packed".to_owned()),
        ..change(diff.address().to_string(), Action::Reorder)
    })
}

fn written_order(diff: &TableDiff<'_>) -> Option<Change> {
    let kept = |column: &&Column| diff.renames.values().any(|name| *name == column.name);
    let after: Vec<&Ident> = diff.after.columns.iter().filter(kept).map(|column| &column.name).collect();
    let before: Vec<&Ident> = diff
        .before
        .columns
        .iter()
        .filter_map(|column| diff.renames.get(&column.name))
        .filter(|name| after.contains(name))
        .collect();
    diff.carried?;
    (before != after).then(|| Change {
        before: Some(format!("{} B", diff.row_bytes.0)),
        after: Some(format!("{} B", diff.row_bytes.1)),
        note: Some("column order as written".to_owned()),
        ..change(diff.address().to_string(), Action::Reorder)
    })
}
