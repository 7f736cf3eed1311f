//! Columns that only the target has.

use crate::casts::CastClass;
use crate::catalog::Column;
use crate::desired::{AddedColumn, At};
use crate::findings::Severity;
use crate::findings::rules::DEFAULT_FROZEN;
use crate::projection::{ColumnValue, ProjectedColumn};
use crate::resolve::column::{Columns, Predicate, check_shape, sql_error, user_expression, wanted_type};
use crate::resolve::error::{ResolveError, ResolveErrorKind};
use crate::resolve::report::Report;
use crate::resolve::scope::Scope;
use crate::resolve::types::{exists_on_target, reads_on_target};
use crate::resolve::volatility::{Volatility, volatility};

/// Adds one column.
pub(crate) fn added(
    scope: &Scope<'_>,
    added: &At<AddedColumn>,
    out: &mut Columns,
    report: &mut Report,
) -> Result<(), ResolveError> {
    let wish = &added.value;
    let at = scope.added(&wish.name.value);
    let ty = wanted_type(scope, &at, &wish.ty)?;
    wish.default.as_ref().map_or(Ok(()), |default| check_shape(&at, default))?;
    exists_on_target(scope, &at, &ty, report)?;
    let mut class = CastClass::Identical;
    let value = if let Some(backfill) = &wish.backfill {
        class = CastClass::Custom;
        let expression = user_expression(scope, &at, backfill, &ty)?;
        out.reasons.insert(wish.name.value.clone(), format!("backfill: using {}", backfill.value));
        if wish.not_null {
            let bad = format!("({}) IS NULL", expression.sql);
            out.predicates.push(Predicate {
                address: at.clone(),
                bad,
                meaning: "NULL".to_owned(),
                of_every_row: false,
            });
        }
        ColumnValue::Expr { sql: expression.sql, reads: expression.reads.into_iter().collect() }
    } else if let Some(default) = &wish.default {
        from_default(&at, default, &ty.sql, report)?
    } else if wish.not_null {
        let kind = ResolveErrorKind::NoValue(at);
        return Err(ResolveError::new(kind).at(&added.span).help("give it `default:` or `backfill:`"));
    } else {
        ColumnValue::Expr { sql: format!("CAST(NULL AS {})", ty.sql), reads: Vec::new() }
    };
    if matches!(value, ColumnValue::Frozen { .. }) {
        out.late_defaults.insert(wish.name.value.clone());
        out.reasons.insert(wish.name.value.clone(), "rows that exist get one value, evaluated once".to_owned());
    }
    out.wanted.push(Column {
        name: wish.name.value.clone(),
        ty: ty.clone(),
        not_null: wish.not_null,
        default: wish.default.as_ref().map(|default| default.value.clone()),
        identity: None,
        generated: None,
        collation: None,
        storage: None,
        compression: None,
        statistics_target: None,
        options: Vec::new(),
        comment: None,
        grants: Vec::new(),
    });
    let projected = ProjectedColumn { target: wish.name.value.clone(), ty, value, class, inverse: None };
    reads_on_target(scope, &at, &projected, report)?;
    out.projected.push(projected);
    Ok(())
}

/// A constant is part of the projection. Anything else would give other values when a row is made again, so it is
/// evaluated once.
fn from_default(at: &str, default: &At<String>, ty: &str, report: &mut Report) -> Result<ColumnValue, ResolveError> {
    let found = volatility(&default.value).map_err(|error| sql_error(at, error).at(&default.span))?;
    let frozen = ColumnValue::Frozen { default: default.value.clone() };
    let (severity, function) = match found {
        Volatility::Constant => {
            return Ok(ColumnValue::Expr { sql: format!("CAST(({}) AS {ty})", default.value), reads: Vec::new() });
        }
        Volatility::Stable(function) => (Severity::Info, function),
        Volatility::Unknown(function) => (Severity::Warning, function),
        Volatility::Volatile(function) => (Severity::Error, function),
    };
    let message = format!(
        "{function} is evaluated once: every row that exists or is streamed before the switch gets that one value; \
         new rows get their own from the switch on"
    );
    report.find_as(&DEFAULT_FROZEN, severity, at, message);
    Ok(frozen)
}
