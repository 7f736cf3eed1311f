//! What changes besides names, types and values, when the whole target table is given: attributes of columns,
//! constraints, indexes.

use std::collections::{BTreeMap, BTreeSet};

use super::table::change;
use crate::catalog::{
    Column, Compression, Constraint, ConstraintKind, Ident, Identity, Index, QualifiedName, Storage, Table,
};
use crate::diff::{Action, Change};
use crate::sql::alike::alike;
use crate::sql::ddl_index::{create_index, key_with_options};
use crate::sql::name;

/// Collation, storage, statistics, identity, generation and comment of a column; `carried` has the new name and type.
pub(super) fn attribute_changes(at: &str, carried: &Column, after: &Column) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut compare = |action, before: Option<String>, after: Option<String>| {
        if before != after {
            changes.push(Change { before, after, ..change(at.to_owned(), action) });
        }
    };
    let collation = |column: &Column| column.collation.as_deref().map(name);
    compare(Action::Collation, collation(carried), collation(after));
    compare(Action::Storage, storage(carried), storage(after));
    compare(Action::Statistics, statistics(carried), statistics(after));
    compare(Action::Identity, carried.identity.as_deref().map(identity), after.identity.as_deref().map(identity));
    let (old, new) = (generated(carried), generated(after));
    if !same(old.as_deref(), new.as_deref()) {
        compare(Action::Generated, old, new);
    }
    compare(Action::Comment, carried.comment.clone(), after.comment.clone());
    changes
}

pub(super) fn generated(column: &Column) -> Option<String> {
    let generated = column.generated.as_ref()?;
    let kind = if generated.stored { "STORED" } else { "VIRTUAL" };
    Some(format!("GENERATED ALWAYS AS ({}) {kind}", generated.expr))
}

pub(super) fn identity(identity: &Identity) -> String {
    let when = if identity.always { "ALWAYS" } else { "BY DEFAULT" };
    format!("GENERATED {when} AS IDENTITY")
}

fn storage(column: &Column) -> Option<String> {
    let storage = column.storage.map(|storage| match storage {
        Storage::Plain => "STORAGE plain",
        Storage::External => "STORAGE external",
        Storage::Main => "STORAGE main",
        Storage::Extended => "STORAGE extended",
    });
    let compression = column.compression.map(|compression| match compression {
        Compression::Pglz => "COMPRESSION pglz",
        Compression::Lz4 => "COMPRESSION lz4",
    });
    let words: Vec<&str> = storage.into_iter().chain(compression).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

fn statistics(column: &Column) -> Option<String> {
    let target = column.statistics_target.map(|target| format!("STATISTICS {target}"));
    let words: Vec<String> = target.into_iter().chain(column.options.iter().cloned()).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

fn same(one: Option<&str>, other: Option<&str>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => alike(one, other),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// What keeps a table that is there from being the wanted one; empty when it is.
pub fn differences(table: &QualifiedName, wanted: &Table, there: &Table) -> Vec<Change> {
    let mut changes = Vec::new();
    let at = |column: &Column| format!("{table}.{}", column.name);
    let names =
        |table: &Table| table.columns.iter().map(|column| column.name.to_string()).collect::<Vec<_>>().join(", ");
    if names(wanted) != names(there) || (wanted.kind, wanted.persistence) != (there.kind, there.persistence) {
        let (before, after) = (Some(names(there)), Some(names(wanted)));
        changes.push(Change { before, after, ..change(table.to_string(), Action::Reorder) });
        return changes;
    }
    for (there, wanted) in there.columns.iter().zip(&wanted.columns) {
        let mut compare = |action, before: Option<&str>, after: Option<&str>| {
            if !same(before, after) {
                let (before, after) = (before.map(str::to_owned), after.map(str::to_owned));
                changes.push(Change { before, after, ..change(at(wanted), action) });
            }
        };
        compare(Action::Cast, Some(&there.ty.sql), Some(&wanted.ty.sql));
        let null = |column: &Column| Some(if column.not_null { "NOT NULL" } else { "NULL" });
        compare(Action::Nullability, null(there), null(wanted));
        compare(Action::Default, there.default.as_deref(), wanted.default.as_deref());
        changes.extend(attribute_changes(&at(wanted), there, wanted));
    }
    changes.extend(object_changes(table, there, wanted));
    changes
}

/// Constraints, indexes, storage parameters and comment of a table.
pub(super) fn object_changes(source: &QualifiedName, carried: &Table, after: &Table) -> Vec<Change> {
    let mut changes = Vec::new();
    let at = |object: &Ident| format!("{source}.{object}");
    let constraint = |table: &Table, constraint: &Constraint| {
        let definition = key_with_options(constraint, &table.indexes);
        let said = ["NOT VALID", "NOT ENFORCED"].iter().any(|words| definition.ends_with(words));
        let not_valid = if constraint.validated || said { "" } else { " NOT VALID" };
        format!("CONSTRAINT {definition}{not_valid}")
    };
    // A constraint trigger is one of the triggers.
    let is_trigger = |one: Option<&Constraint>| one.is_some_and(|one| one.kind == ConstraintKind::Trigger);
    let pairs = both(&carried.constraints, &after.constraints).into_iter();
    for (own, (old, new)) in pairs.filter(|(_, (old, new))| !is_trigger(*old) && !is_trigger(*new)) {
        let texts = (old.map(|one| constraint(carried, one)), new.map(|one| constraint(after, one)));
        let same_comment = old.map(|one| &one.comment) == new.map(|one| &one.comment) || old.is_none() || new.is_none();
        if !same(texts.0.as_deref(), texts.1.as_deref()) {
            changes.push(Change { before: texts.0, after: texts.1, ..change(at(own), Action::Constraint) });
        } else if !same_comment {
            let comment = |one: Option<&Constraint>| one.and_then(|one| one.comment.clone());
            changes.push(Change { before: comment(old), after: comment(new), ..change(at(own), Action::Comment) });
        }
    }
    let plain = |indexes: &BTreeMap<Ident, Index>| -> BTreeMap<Ident, Index> {
        let own = indexes.iter().filter(|(_, index)| index.constraint.is_none());
        own.map(|(name, index)| (name.clone(), index.clone())).collect()
    };
    let (old_indexes, new_indexes) = (plain(&carried.indexes), plain(&after.indexes));
    for (own, (old, new)) in both(&old_indexes, &new_indexes) {
        let texts = (old.map(|index| index.definition.clone()), new.map(|index| index.definition.clone()));
        let is_same = same(texts.0.as_deref(), texts.1.as_deref())
            || matches!((old, new), (Some(old), Some(new)) if same_parts(source, own, old, new));
        if !is_same {
            changes.push(Change { before: texts.0, after: texts.1, ..change(at(own), Action::Index) });
        } else if let (Some(old), Some(new)) = (old, new)
            && old.comment != new.comment
        {
            let (before, after) = (old.comment.clone(), new.comment.clone());
            changes.push(Change { before, after, ..change(at(own), Action::Comment) });
        }
    }
    let options = |table: &Table| {
        let mut options = table.reloptions.clone();
        options.sort();
        (!options.is_empty()).then(|| format!("WITH ({})", options.join(", ")))
    };
    let (before, new) = (options(carried), options(after));
    if before != new {
        changes.push(Change { before, after: new, ..change(source.to_string(), Action::Options) });
    }
    if carried.comment != after.comment {
        let (before, after) = (carried.comment.clone(), after.comment.clone());
        changes.push(Change { before, after, ..change(source.to_string(), Action::Comment) });
    }
    changes
}

/// Both indexes in our own words, when these say all that is wanted: the catalog has other brackets and another order of
/// parameters.
fn same_parts(table: &QualifiedName, own: &Ident, old: &Index, new: &Index) -> bool {
    let wanted = create_index(own, table, new);
    let from_method = |text: &str| text.find(" USING ").map(|at| text[at..].to_owned());
    from_method(&wanted) == from_method(&new.definition) && create_index(own, table, old) == wanted
}

type Pair<'p, T> = (Option<&'p T>, Option<&'p T>);

/// What is on one side or both, by name.
fn both<'p, T>(old: &'p BTreeMap<Ident, T>, new: &'p BTreeMap<Ident, T>) -> BTreeMap<&'p Ident, Pair<'p, T>> {
    let names: BTreeSet<&Ident> = old.keys().chain(new.keys()).collect();
    names.into_iter().map(|own| (own, (old.get(own), new.get(own)))).collect()
}
