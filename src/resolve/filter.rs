//! Which rows of a table are migrated.

use crate::catalog::{Column, ReplicaIdentity, TypeKind};
use crate::projection::{Filter, Projection, RowIdentity, SourceColumn};
use crate::resolve::Severity;
use crate::resolve::column::{exists_on_target, pure_expression, sql_error};
use crate::resolve::error::{ResolveError, ResolveErrorKind};
use crate::resolve::report::Report;
use crate::resolve::scope::Scope;
use crate::sql;
use crate::sql::token::{TokenKind, tokens};

/// Only rows of the table itself can decide about a row: the target has no others to ask.
const NOT_OF_THE_ROW: &[(&str, &str)] = &[
    ("select", "has a subquery"),
    ("ctid", "reads a system column"),
    ("xmin", "reads a system column"),
    ("xmax", "reads a system column"),
    ("cmin", "reads a system column"),
    ("cmax", "reads a system column"),
    ("tableoid", "reads a system column"),
];

/// The filter of a table, if the user wants one; errors go to the report.
pub(crate) fn filter(scope: &Scope<'_>, report: &mut Report) -> Option<Filter> {
    match wanted(scope) {
        Ok(found) => {
            if let Some(filter) = &found {
                let message = format!("rows without {} are left out: they are not copied", filter.sql);
                report.find("DELETES_DATA", scope.name, Severity::Warning, message);
                reads_large(scope, filter, report);
            }
            found
        }
        Err(error) => {
            report.errors.push(error);
            None
        }
    }
}

/// The stream leaves a large value out when it did not change, and only the source knows then whether the row belongs.
fn reads_large(scope: &Scope<'_>, filter: &Filter, report: &mut Report) {
    let key = scope.key.iter().flat_map(|key| &key.columns).collect::<Vec<_>>();
    let large = filter.reads.iter().find(|name| {
        !key.contains(name) && scope.table.column(name).is_some_and(|column| column.ty.len == -1 && !is_short(column))
    });
    if let (Some(column), false) = (large, scope.table.replica_identity == ReplicaIdentity::Full) {
        let message = format!(
            "the filter reads {column}, which updates leave out when it is large: such a row is read again from the \
             source, some hundred a second; REPLICA IDENTITY FULL makes the stream send it"
        );
        report.find("FILTER_READS_LARGE", scope.name, Severity::Warning, message);
    }
}

/// Never stored apart: not toastable, or too short for it.
fn is_short(column: &Column) -> bool {
    const SHORT: i32 = 500;
    let limit = column.ty.typmod;
    let text = ["varchar", "bpchar"].iter().any(|name| column.ty.is(name));
    column.ty.is("numeric") || column.ty.kind == TypeKind::Enum || text && (0..SHORT).contains(&limit)
}

/// Foreign keys that point to rows which may be left out: they are validated before the cutover.
pub(crate) fn filtered_parents(scopes: &[Scope<'_>], report: &mut Report) {
    for scope in scopes {
        for (name, constraint) in &scope.table.constraints {
            let Some(references) = &constraint.references else { continue };
            let is_filtered = |other: &Scope<'_>| *other.name == references.table && other.desired.filter.is_some();
            if scopes.iter().any(is_filtered) {
                let message = format!(
                    "it points to {}, of which some rows are left out; a row that misses its parent stops the \
                     migration when the constraint is validated",
                    references.table
                );
                report.find("FILTERED_PARENT", scope.address(name), Severity::Error, message);
            }
        }
    }
}

/// A filtered table whose rows cannot be read again one by one, and whose stream does not send whole rows: a row that
/// comes to belong may come without a large value.
pub(crate) fn unfit(scope: &Scope<'_>, projection: &Projection) -> Option<ResolveError> {
    let RowIdentity::Key { reason, .. } = &projection.identity else { return None };
    let large = |column: &SourceColumn| scope.table.column(&column.name).is_some_and(|found| found.ty.len == -1);
    if projection.filter.is_none()
        || scope.table.replica_identity == ReplicaIdentity::Full
        || !projection.source_columns.iter().any(large)
    {
        return None;
    }
    let what = format!("needs whole rows from the stream, because {reason}");
    let kind = ResolveErrorKind::FilterUnusable { table: scope.name.clone(), what };
    let full = format!("on the source: ALTER TABLE {} REPLICA IDENTITY FULL;", sql::name(scope.name));
    Some(ResolveError::new(kind).at(&scope.desired.source.span).help(full))
}

fn wanted(scope: &Scope<'_>) -> Result<Option<Filter>, ResolveError> {
    let Some(text) = &scope.desired.filter else { return Ok(None) };
    let at = scope.name.to_string();
    let refuse = |what: String| {
        Err(ResolveError::new(ResolveErrorKind::FilterUnusable { table: scope.name.clone(), what }).at(&text.span))
    };
    let expression = pure_expression(scope, &at, text)?;
    for token in tokens(&text.value).map_err(|error| sql_error(&at, error).at(&text.span))? {
        let TokenKind::Word(word) = &token.kind else { continue };
        let is_column = scope.table.columns.iter().any(|column| column.name.as_str() == word);
        if let Some((_, what)) = NOT_OF_THE_ROW.iter().find(|(name, _)| name == word && !is_column) {
            return refuse((*what).to_owned());
        }
    }
    if expression.reads.is_empty() {
        return refuse("reads no column".to_owned());
    }
    for name in &expression.reads {
        let Some(column) = scope.table.column(name) else { continue };
        if column.generated.is_some() {
            return refuse(format!("reads {name}, which is generated and not in the change stream"));
        }
        exists_on_target(scope, &scope.address(name), &column.ty)?;
    }
    Ok(Some(Filter { sql: expression.sql, reads: expression.reads.into_iter().collect() }))
}
