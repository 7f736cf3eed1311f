//! Constraints and indexes of a file in the catalog's form.

use std::collections::BTreeMap;

use super::figure::figure;
use super::tree::{ConstraintKind as Kind, KeyColumns, SqlConstraint, SqlIndex, SqlTable};
use super::written::{Writing, WrittenTable, normal_options};
use crate::catalog::{Constraint, ConstraintKind, Ident, Index, IndexElement, Key, References};
use crate::desired::At;
use crate::sql::ddl_index::{foreign_key, timing};
use crate::sql::rewrite;
use crate::sql::token::tokens;
use crate::sql::{ddl, ident, name};

impl Writing<'_> {
    pub(super) fn constraint(&mut self, table: &SqlTable, sql: &SqlConstraint, out: &mut WrittenTable) {
        let columns_of = |list: &[At<Ident>]| list.iter().map(|column| column.value.clone()).collect::<Vec<_>>();
        let with = ddl::with_options(&normal_options(&sql.options));
        let late = timing(sql.deferrable, sql.initially_deferred);
        let mut key_index = None;
        let mut expression = None;
        let mut references = None;
        let (kind, columns, definition) = match &sql.kind {
            Kind::PrimaryKey(key) => {
                key_index = Some(index_of_key(key, sql));
                (
                    ConstraintKind::PrimaryKey,
                    columns_of(&key.columns),
                    format!("PRIMARY KEY {}{with}{late}", list_of(key)),
                )
            }
            Kind::Unique { key, nulls_not_distinct } => {
                let nulls = if *nulls_not_distinct { " NULLS NOT DISTINCT" } else { "" };
                let index = Index { nulls_not_distinct: *nulls_not_distinct, ..index_of_key(key, sql) };
                key_index = Some(index);
                (
                    ConstraintKind::Unique,
                    columns_of(&key.columns),
                    format!("UNIQUE{nulls} {}{with}{late}", list_of(key)),
                )
            }
            Kind::UsingIndex { primary, index } => {
                let used =
                    table.indexes.iter().find(|one| one.name.as_ref().is_some_and(|own| own.value == index.value));
                let Some(used) = used else { return };
                let columns: Vec<At<Ident>> = used
                    .elements
                    .iter()
                    .filter_map(|element| Some(At { value: element.column.clone()?, span: element.text.span.clone() }))
                    .collect();
                let key = KeyColumns { columns, include: used.include.clone(), without_overlaps: false };
                let mut made = index_of_key(&key, sql);
                made.nulls_not_distinct = used.nulls_not_distinct;
                key_index = Some(made);
                let word = if *primary { "PRIMARY KEY" } else { "UNIQUE" };
                let nulls = if used.nulls_not_distinct { " NULLS NOT DISTINCT" } else { "" };
                let kind = if *primary { ConstraintKind::PrimaryKey } else { ConstraintKind::Unique };
                (kind, columns_of(&key.columns), format!("{word}{nulls} {}{with}{late}", list_of(&key)))
            }
            Kind::Check(check) => {
                let reads = reads(out, &check.value);
                expression = Some(check.value.clone());
                let no_inherit = if sql.no_inherit { " NO INHERIT" } else { "" };
                let not_enforced = if sql.not_enforced { " NOT ENFORCED" } else { "" };
                (ConstraintKind::Check, reads, format!("CHECK ({}){no_inherit}{not_enforced}", check.value))
            }
            Kind::Exclude(text) => {
                (ConstraintKind::Exclude, reads(out, &text.value), format!("EXCLUDE {}{late}", text.value))
            }
            Kind::ForeignKey(foreign) => {
                let mut far = columns_of(&foreign.references);
                if far.is_empty() {
                    far = self.schema.table(&foreign.table.value).map(primary_columns).unwrap_or_default();
                }
                let mut actions = String::new();
                if foreign.match_full {
                    actions.push_str(" MATCH FULL");
                }
                for (word, action) in [("ON UPDATE", &foreign.on_update), ("ON DELETE", &foreign.on_delete)] {
                    if let Some(action) = action.as_ref().filter(|action| action.value != "NO ACTION") {
                        actions.push_str(&format!(" {word} {}", action.value));
                    }
                }
                let near = columns_of(&foreign.columns);
                let enforced = if sql.not_enforced { " NOT ENFORCED" } else { "" };
                let definition = foreign_key(&near, &foreign.table.value, &far, &actions, late);
                references = Some(References {
                    table: foreign.table.value.clone(),
                    columns: far,
                    actions: actions.trim().to_owned(),
                });
                (ConstraintKind::ForeignKey, near, format!("{definition}{enforced}"))
            }
        };
        let chosen = match (&sql.name, &sql.kind) {
            (Some(name), _) => name.value.clone(),
            (None, Kind::UsingIndex { index, .. }) => index.value.clone(),
            (None, kind) => {
                let name = self.names.constraint(&table.name.value, kind, &columns);
                out.unnamed.insert(name.clone());
                name
            }
        };
        out.places.constraints.insert(chosen.clone(), sql.span.clone());
        let comment = sql.comment.as_ref().map(|comment| comment.value.clone());
        if let Some(index) = key_index {
            let index = Index { constraint: Some(chosen.clone()), ..index };
            if kind == ConstraintKind::PrimaryKey {
                out.table.primary_key = Some(Key {
                    name: chosen.clone(),
                    columns: columns.clone(),
                    include: index.include.clone(),
                    deferrable: sql.deferrable,
                });
            }
            out.table.indexes.insert(chosen.clone(), index);
        }
        let has_index = out.table.indexes.contains_key(&chosen);
        let made = Constraint {
            kind,
            definition,
            columns,
            references,
            expression,
            index: has_index.then(|| chosen.clone()),
            deferrable: sql.deferrable,
            initially_deferred: sql.initially_deferred,
            validated: !sql.not_valid && !sql.not_enforced,
            no_inherit: sql.no_inherit,
            comment,
        };
        out.table.constraints.insert(chosen, made);
    }

    pub(super) fn index(&mut self, table: &SqlTable, sql: &SqlIndex, out: &mut WrittenTable) {
        let parts = sql.elements.iter().map(|element| {
            let column = element.column.as_ref();
            column.map_or_else(|| figure(&element.text.value), Ident::to_string)
        });
        let parts: Vec<String> = parts.collect();
        let chosen = sql.name.as_ref().map_or_else(
            || {
                let name = self.names.index(&table.name.value, &parts);
                out.unnamed.insert(name.clone());
                name
            },
            |name| name.value.clone(),
        );
        out.places.indexes.insert(chosen.clone(), sql.span.clone());
        let predicate = sql.predicate.as_ref().map(|predicate| predicate.value.clone());
        let include: Vec<Ident> = sql.include.iter().map(|column| column.value.clone()).collect();
        let method = sql.method.as_ref().map_or("btree", |method| method.value.as_str());
        let texts: Vec<&str> = sql.elements.iter().map(|element| element.text.value.as_str()).collect();
        let definition = format!(
            "CREATE {}INDEX {} ON {} USING {} ({}){}{}{}{}",
            if sql.unique { "UNIQUE " } else { "" },
            ident(&chosen),
            name(&table.name.value),
            ident(&Ident::new(method).expect("it was a name")),
            texts.join(", "),
            if include.is_empty() { String::new() } else { format!(" INCLUDE ({})", ddl::list(&include)) },
            if sql.nulls_not_distinct { " NULLS NOT DISTINCT" } else { "" },
            ddl::with_options(&normal_options(&sql.options)),
            predicate.as_ref().map_or_else(String::new, |predicate| format!(" WHERE {predicate}")),
        );
        let elements = sql.elements.iter().map(|element| element_of(element.column.as_ref(), &element.text.value));
        let mut read: Vec<Ident> = predicate.iter().flat_map(|predicate| reads(out, predicate)).collect();
        for element in sql.elements.iter().filter(|element| element.column.is_none()) {
            read.extend(reads(out, &element.text.value));
        }
        let index = Index {
            definition,
            method: Ident::new(method).expect("it was a name"),
            elements: elements.collect(),
            include,
            unique: sql.unique,
            nulls_not_distinct: sql.nulls_not_distinct,
            immediate: true,
            valid: true,
            clustered: false,
            predicate,
            expression_columns: read,
            reloptions: normal_options(&sql.options),
            constraint: None,
            comment: sql.comment.as_ref().map(|comment| comment.value.clone()),
        };
        if !sql.statistics.is_empty() {
            out.left.push(("statistics target", format!("{}.{chosen}", out.name)));
        }
        if sql.tablespace.is_some() {
            out.left.push(("tablespace", format!("{}.{chosen}", out.name)));
        }
        out.table.indexes.insert(chosen, index);
    }
}

/// An element whose text is more than its column keeps the whole text as its expression: the definition is what counts.
fn element_of(column: Option<&Ident>, text: &str) -> IndexElement {
    let words: Vec<String> = tokens(text).map_or_else(
        |_| Vec::new(),
        |list| list.iter().skip(1).filter_map(|token| token.word().map(str::to_owned)).collect(),
    );
    let has = |word: &str| words.iter().any(|one| one == word);
    let descending = has("desc");
    IndexElement {
        column: column.cloned(),
        expression: column.is_none().then(|| text.to_owned()),
        collation: None,
        opclass: None,
        opclass_options: Vec::new(),
        descending,
        nulls_first: has("first") || (descending && !has("last")),
    }
}

fn primary_columns(table: &SqlTable) -> Vec<Ident> {
    table.constraints.iter().find_map(SqlConstraint::primary_columns).unwrap_or_default()
}

fn index_of_key(key: &KeyColumns, sql: &SqlConstraint) -> Index {
    let element = |column: &At<Ident>| element_of(Some(&column.value), "");
    Index {
        definition: String::new(),
        method: Ident::new("btree").expect("a name"),
        elements: key.columns.iter().map(element).collect(),
        include: key.include.iter().map(|column| column.value.clone()).collect(),
        unique: true,
        nulls_not_distinct: false,
        immediate: !sql.deferrable,
        valid: true,
        clustered: false,
        predicate: None,
        expression_columns: Vec::new(),
        reloptions: normal_options(&sql.options),
        constraint: None,
        comment: None,
    }
}

fn list_of(key: &KeyColumns) -> String {
    let columns = |list: &[At<Ident>]| list.iter().map(|column| ident(&column.value)).collect::<Vec<_>>().join(", ");
    let overlaps = if key.without_overlaps { " WITHOUT OVERLAPS" } else { "" };
    let include = if key.include.is_empty() { String::new() } else { format!(" INCLUDE ({})", columns(&key.include)) };
    format!("({}{overlaps}){include}", columns(&key.columns))
}

/// Columns of the table that the text reads, in the table's order.
fn reads(table: &WrittenTable, sql: &str) -> Vec<Ident> {
    let names: BTreeMap<Ident, Ident> =
        table.table.columns.iter().map(|column| (column.name.clone(), column.name.clone())).collect();
    // Text that cannot be read into tokens is refused by whoever runs it.
    let read = rewrite::columns(sql, &table.name.name, &names).map(|rewritten| rewritten.reads).unwrap_or_default();
    table.table.columns.iter().map(|column| column.name.clone()).filter(|name| read.contains(name)).collect()
}
