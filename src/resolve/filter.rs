//! Which rows of a table are migrated.

use crate::catalog::{Ident, ReplicaIdentity};
use crate::findings::rules::{FILTERED_PARENT, ROW_FILTER, TOAST_UNCHANGED};
use crate::projection::{Filter, Projection, RowIdentity, SourceColumn};
use crate::resolve::column::{pure_expression, sql_error};
use crate::resolve::error::{ResolveError, ResolveErrorKind};
use crate::resolve::report::Report;
use crate::resolve::scope::Scope;
use crate::resolve::split::referenced;
use crate::resolve::tables::may_be_large;
use crate::resolve::types::exists_on_target;
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
    match wanted(scope, report) {
        Ok(found) => {
            if let Some(filter) = &found {
                let message = format!("rows are migrated only where {}", filter.sql);
                report.find(&ROW_FILTER, scope.at(), message);
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
    let is_large = |name: &&Ident| !key.contains(name) && scope.table.column(name).is_some_and(may_be_large);
    if let (Some(column), false) =
        (filter.reads.iter().find(is_large), scope.table.replica_identity == ReplicaIdentity::Full)
    {
        let message = format!(
            "the filter reads {column}: an update that leaves a large one alone does not bring it along, and the row is \
             read from the source again"
        );
        report.find(&TOAST_UNCHANGED, scope.at(), message);
    }
}

/// Foreign keys that point to rows which may be left out: they are validated before the cutover.
pub(crate) fn filtered_parents(scopes: &[Scope<'_>], report: &mut Report) {
    for scope in scopes {
        for (name, constraint) in &scope.table.constraints {
            let Some(references) = &constraint.references else { continue };
            if constraint.columns.iter().any(|column| scope.dropped.contains(column)) {
                continue;
            }
            let far = referenced(scopes, scope, name, references).ok().flatten();
            if let Some(far) = far.filter(|far| far.desired.filter.is_some()) {
                let message = format!("{} may lack the row that it refers to", far.at());
                report.find(&FILTERED_PARENT, scope.address(name), message);
            }
        }
    }
}

/// A filtered table whose rows cannot be read again one by one, and whose stream does not send whole rows: a row that
/// comes to belong may come without a large value.
pub(crate) fn unfit(scope: &Scope<'_>, projection: &Projection) -> Option<ResolveError> {
    let RowIdentity::Key { reason, .. } = &projection.identity else { return None };
    let large = |column: &SourceColumn| scope.table.column(&column.name).is_some_and(may_be_large);
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

fn wanted(scope: &Scope<'_>, report: &mut Report) -> Result<Option<Filter>, ResolveError> {
    let Some(text) = &scope.desired.filter else { return Ok(None) };
    let at = scope.at().to_string();
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
        exists_on_target(scope, &scope.address(name), &column.ty, report)?;
    }
    Ok(Some(Filter { sql: expression.sql, reads: expression.reads.into_iter().collect() }))
}
