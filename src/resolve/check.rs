//! Validation queries of a table: one scan for all predicates, and one for the key when its cast may merge values.

use std::collections::BTreeSet;

use crate::catalog::{Ident, QualifiedName};
use crate::findings::rules::KEY_COLLAPSES;
use crate::projection::{ColumnValue, ProjectedColumn, Projection};
use crate::resolve::column::Predicate;
use crate::resolve::report::Report;
use crate::resolve::{Check, CheckPredicate};
use crate::sql::check::{
    DistinctNulls, duplicates, duplicates_sample, duplicates_where, duplicates_where_sample, sample, table_check,
};
use crate::sql::filter::belongs;

/// The predicates of every column in one query.
pub(crate) fn of_rows(at: &QualifiedName, projection: &Projection, predicates: &[Predicate]) -> Option<Check> {
    if predicates.is_empty() {
        return None;
    }
    let key = projection.source_key();
    let bad: Vec<String> = predicates.iter().map(|predicate| bad(at, projection, predicate)).collect();
    let predicates = predicates.iter().zip(&bad).map(|(predicate, bad)| CheckPredicate {
        address: predicate.address.clone(),
        bad: bad.clone(),
        meaning: predicate.meaning.clone(),
        sample_sql: sample(&projection.source, &key, bad),
    });
    Some(Check {
        id: format!("check:{at}"),
        table: projection.source.clone(),
        sql: table_check(&projection.source, &bad),
        predicates: predicates.collect(),
        among: None,
    })
}

/// Rows that do not belong may hold anything, but for their keys: a delete says no more of a row than its key, which is
/// cast to look for the row, unless the filter reads nothing else.
fn bad(at: &QualifiedName, projection: &Projection, predicate: &Predicate) -> String {
    let Some(filter) = projection.filter.as_ref().filter(|_| !predicate.of_every_row) else {
        return predicate.bad.clone();
    };
    let key = projection.source_key();
    let of_key = key.iter().any(|column| predicate.address == format!("{at}.{column}"));
    if of_key && !filter.reads.iter().all(|column| key.contains(&column)) {
        return predicate.bad.clone();
    }
    format!("CASE WHEN {} THEN {} ELSE false END", belongs(filter), predicate.bad)
}

/// A key whose cast can make two values one is counted by its target value.
pub(crate) fn of_key(
    at: &QualifiedName,
    projection: &Projection,
    injective: &BTreeSet<Ident>,
    report: &mut Report,
) -> Option<Check> {
    let key: Vec<&ProjectedColumn> = projection
        .target_key()
        .into_iter()
        .filter_map(|key| projection.columns.iter().find(|column| &column.target == key))
        .collect();
    if key.iter().all(|column| injective.contains(&column.target)) {
        return None;
    }
    let values: Vec<String> = key
        .iter()
        .filter_map(|column| match &column.value {
            ColumnValue::Expr { sql, .. } => Some(sql.clone()),
            ColumnValue::Frozen { .. } => None,
        })
        .collect();
    let condition = projection.filter.as_ref().map(belongs);
    let message = "two keys may become one; the plan counts them, and none may be left";
    report.find(&KEY_COLLAPSES, at, message);
    Some(Check {
        id: format!("check:{at}:key"),
        table: projection.source.clone(),
        sql: match &condition {
            None => duplicates(&projection.source, &values),
            // No key is NULL.
            some => duplicates_where(&projection.source, &values, some.as_deref(), DistinctNulls::No),
        },
        predicates: vec![CheckPredicate {
            address: at.to_string(),
            bad: "count(*) > 1".to_owned(),
            meaning: "the same key after the cast".to_owned(),
            sample_sql: match &condition {
                None => duplicates_sample(&projection.source, &values),
                some => duplicates_where_sample(&projection.source, &values, some.as_deref(), DistinctNulls::No),
            },
        }],
        among: None,
    })
}
