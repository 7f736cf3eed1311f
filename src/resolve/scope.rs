//! One table of the config with everything that its parts look up.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{Catalog, Ident, Persistence, QualifiedName, Table, TableKind};
use crate::desired::{ColumnWish, DesiredTable, Whole};
use crate::findings::{Rule, rules};
use crate::projection::Part;
use crate::resolve::error::{ResolveError, ResolveErrorKind, did_you_mean};
use crate::resolve::key::{RowKey, row_key};
use crate::resolve::partitions::{self, Refusal};
use crate::resolve::report::Report;
use crate::resolve::split::Split;
use crate::sql::rewrite::{self, Rewritten};
use crate::sql::token::TokenError;

/// A table that exists, may be migrated, and whose names are settled.
#[derive(Debug)]
pub(crate) struct Scope<'a> {
    pub(crate) source: &'a Catalog,
    pub(crate) target: &'a Catalog,
    pub(crate) desired: &'a DesiredTable,
    pub(crate) name: &'a QualifiedName,
    pub(crate) table: &'a Table,
    pub(crate) target_name: &'a QualifiedName,
    pub(crate) key: Option<RowKey>,
    /// Kept source columns and their target names.
    pub(crate) renames: BTreeMap<Ident, Ident>,
    pub(crate) dropped: BTreeSet<Ident>,
    /// Set when the source goes into several targets.
    pub(crate) split: Option<Split>,
    /// Set when the target has several sources.
    pub(crate) part: Option<Part>,
}

impl<'a> Scope<'a> {
    /// The user's wish about a source column.
    pub(crate) fn wish(&self, column: &Ident) -> Option<&'a ColumnWish> {
        self.desired.columns.get(column).map(|wish| &wish.value)
    }

    /// The whole target table, when the file gives it.
    pub(crate) fn whole(&self) -> Option<&'a Whole> {
        self.desired.whole.as_deref()
    }

    /// The name by which findings, changes and checks speak of the table: the source's, or the target's where the source
    /// goes into several.
    pub(crate) fn at(&self) -> &'a QualifiedName {
        if self.split.is_some() { self.target_name } else { self.name }
    }

    /// `schema.table.column`, the column by its name on the source.
    pub(crate) fn address(&self, column: &Ident) -> String {
        format!("{}.{column}", self.at())
    }

    /// The address of a column that only the target has: by the target's name, where its column has one value.
    pub(crate) fn added(&self, column: &Ident) -> String {
        format!("{}.{column}", if self.part.is_some() { self.name } else { self.target_name })
    }

    /// The target's name for an index of the source, or for a constraint with an index.
    pub(crate) fn object(&self, name: &Ident) -> Ident {
        self.split.as_ref().map_or_else(|| name.clone(), |split| split.object(self.name, self.target_name, name))
    }

    /// Text with target names; what it reads is checked by the caller against `dropped`.
    pub(crate) fn rename(&self, sql: &str) -> Result<Rewritten, TokenError> {
        let mut names = self.renames.clone();
        names.extend(self.dropped.iter().map(|column| (column.clone(), column.clone())));
        rewrite::columns(sql, &self.name.name, &names)
    }

    /// Text over source columns, every one quoted.
    pub(crate) fn quote(&self, sql: &str) -> Result<Rewritten, TokenError> {
        let names = self.table.columns.iter().map(|column| (column.name.clone(), column.name.clone())).collect();
        rewrite::columns(sql, &self.name.name, &names)
    }

    /// Text over target columns, every one quoted.
    pub(crate) fn quote_on_target(&self, sql: &str) -> Result<Rewritten, TokenError> {
        let added = self.desired.add.iter().map(|added| &added.value.name.value);
        let names = self.renames.values().chain(added).map(|name| (name.clone(), name.clone())).collect();
        rewrite::columns(sql, &self.target_name.name, &names)
    }
}

/// Settles names and key of a table; errors go to the report.
pub(crate) fn scope<'a>(
    desired: &'a DesiredTable,
    source: &'a Catalog,
    target: &'a Catalog,
    report: &mut Report,
) -> Option<Scope<'a>> {
    let name = &desired.source.value;
    let target_name = desired.target.as_ref().map_or(name, |target| &target.value);
    if let Some(reserved) = [name, target_name].into_iter().find(|table| table.schema.as_str() == "pcrd") {
        let what = "in the schema of pcrd itself";
        let kind = ResolveErrorKind::NotOrdinary { table: reserved.clone(), what, rule: None };
        let help = "the schema `pcrd` holds what pcrd keeps on both ends; rename yours, or name another `target:`";
        report.errors.push(ResolveError::new(kind).at(&desired.source.span).help(help));
        return None;
    }
    let Some(table) = source.tables.get(name) else {
        let error = ResolveError::new(ResolveErrorKind::UnknownTable(name.clone())).at(&desired.source.span);
        let help = did_you_mean(&name.to_string(), source.tables.keys());
        report.errors.push(ResolveError { help, ..error });
        return None;
    };
    if table.kind == TableKind::Partitioned {
        if let Some(Refusal { what, rule, help }) = partitions::refusal(desired, table, source) {
            let kind = ResolveErrorKind::NotOrdinary { table: name.clone(), what, rule: Some(rule) };
            let help = if desired.by_glob {
                format!("{help}; or leave it out with `migrate.exclude: ['{name}']`")
            } else {
                help
            };
            report.errors.push(ResolveError::new(kind).at(&desired.source.span).help(help));
            return None;
        }
    } else if let Some((what, rule)) = not_ordinary(table) {
        let kind = ResolveErrorKind::NotOrdinary { table: name.clone(), what, rule: Some(rule) };
        let only = "only ordinary, permanent tables without inheritance can be migrated so far";
        let help = if desired.by_glob {
            format!("{only}; leave it out with `migrate.exclude: ['{name}']`")
        } else {
            only.to_owned()
        };
        report.errors.push(ResolveError::new(kind).at(&desired.source.span).help(help));
        return None;
    }
    let before = report.errors.len();
    for (column, wish) in &desired.columns {
        if table.column(column).is_none() {
            let kind = ResolveErrorKind::UnknownColumn { table: name.clone(), column: column.clone() };
            let help = did_you_mean(column.as_str(), table.columns.iter().map(|column| &column.name));
            report.errors.push(ResolveError { help, ..ResolveError::new(kind).at(&wish.span) });
        }
    }
    let mut scope = Scope {
        source,
        target,
        desired,
        name,
        table,
        target_name,
        key: None,
        renames: BTreeMap::new(),
        dropped: BTreeSet::new(),
        split: None,
        part: None,
    };
    settle_names(&mut scope, report);
    match row_key(name, table, desired.key.as_ref()) {
        Ok(key) => scope.key = key,
        Err(error) => report.errors.push(if error.span.is_none() { error.at(&desired.source.span) } else { error }),
    }
    for column in scope.key.iter().flat_map(|key| &key.columns) {
        if scope.dropped.contains(column) {
            let kind = ResolveErrorKind::KeyColumnDropped { table: name.clone(), column: column.clone() };
            let span = desired.columns.get(column).map_or(&desired.source.span, |wish| &wish.span);
            let help = "keep the column, or name another key with `key:`";
            report.errors.push(ResolveError::new(kind).at(span).help(help));
        }
    }
    (report.errors.len() == before).then_some(scope)
}

fn settle_names(scope: &mut Scope<'_>, report: &mut Report) {
    let mut taken = BTreeSet::new();
    let taken_error = |column: &Ident, span| {
        let kind = ResolveErrorKind::NameTaken { table: scope.target_name.clone(), column: column.clone() };
        ResolveError::new(kind).at(span)
    };
    for column in &scope.table.columns {
        let wish = scope.desired.columns.get(&column.name);
        if wish.is_some_and(|wish| wish.value.drop) {
            scope.dropped.insert(column.name.clone());
            continue;
        }
        let rename = wish.and_then(|wish| wish.value.rename.as_ref());
        let new = rename.map_or(&column.name, |rename| &rename.value);
        if !taken.insert(new.clone()) {
            // The one of the two that was renamed is to blame; it may stand before or after the other.
            let blamed = scope.desired.columns.values().filter_map(|wish| wish.value.rename.as_ref());
            let span = blamed.filter(|rename| rename.value == *new).map(|rename| &rename.span).next();
            report.errors.push(taken_error(new, span.unwrap_or(&scope.desired.source.span)));
        }
        scope.renames.insert(column.name.clone(), new.clone());
    }
    for added in &scope.desired.add {
        let name = &added.value.name;
        if !taken.insert(name.value.clone()) {
            report.errors.push(taken_error(&name.value, &name.span));
        }
    }
}

fn not_ordinary(table: &Table) -> Option<(&'static str, &'static Rule)> {
    match (table.kind, table.persistence) {
        (TableKind::Foreign, _) => return Some(("a foreign table", &rules::FOREIGN_TABLE)),
        (TableKind::View, _) => return Some(("a view", &rules::NOT_A_TABLE)),
        (TableKind::MaterializedView, _) => return Some(("a materialized view", &rules::NOT_A_TABLE)),
        (TableKind::Table, Persistence::Unlogged) => {
            return Some(("an unlogged table, which is not replicated", &rules::UNLOGGED));
        }
        (TableKind::Table, Persistence::Temporary) => return Some(("a temporary table", &rules::TEMPORARY)),
        (TableKind::Table, Persistence::Permanent) | (TableKind::Partitioned, _) => {}
    }
    if table.partition_bound.is_some() {
        return Some(("a partition", &rules::PARTITION_LEAF));
    }
    if !table.parents.is_empty() {
        return Some(("a child of another table", &rules::INHERITED));
    }
    if !table.children.is_empty() {
        return Some(("a parent of other tables", &rules::INHERITED));
    }
    let written = ("written by a subscription, which the fence would not stop", &rules::SUBSCRIPTION);
    table.subscribed.then_some(written)
}
