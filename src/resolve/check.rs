//! Validation queries of a table: one scan for all predicates, and one for the key when its cast may merge values.

use std::collections::BTreeSet;

use crate::catalog::Ident;
use crate::findings::rules::KEY_COLLAPSES;
use crate::projection::{ColumnValue, ProjectedColumn, Projection};
use crate::resolve::column::Predicate;
use crate::resolve::report::Report;
use crate::resolve::{Check, CheckPredicate};
use crate::sql::check::{duplicates, duplicates_sample, sample, table_check};

/// The predicates of every column in one query.
pub(crate) fn of_rows(projection: &Projection, predicates: &[Predicate]) -> Option<Check> {
    if predicates.is_empty() {
        return None;
    }
    let bad: Vec<String> = predicates.iter().map(|predicate| predicate.bad.clone()).collect();
    let key = projection.source_key();
    let predicates = predicates.iter().map(|predicate| CheckPredicate {
        address: predicate.address.clone(),
        bad: predicate.bad.clone(),
        meaning: predicate.meaning.clone(),
        sample_sql: sample(&projection.source, &key, &predicate.bad),
    });
    Some(Check {
        id: format!("check:{}", projection.source),
        table: projection.source.clone(),
        sql: table_check(&projection.source, &bad),
        predicates: predicates.collect(),
        among: None,
    })
}

/// A key whose cast can make two values one is counted by its target value.
pub(crate) fn of_key(projection: &Projection, injective: &BTreeSet<Ident>, report: &mut Report) -> Option<Check> {
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
    let message = "two keys may become one; the plan counts them, and none may be left";
    report.find(&KEY_COLLAPSES, &projection.source, message);
    Some(Check {
        id: format!("check:{}:key", projection.source),
        table: projection.source.clone(),
        sql: duplicates(&projection.source, &values),
        predicates: vec![CheckPredicate {
            address: projection.source.to_string(),
            bad: "count(*) > 1".to_owned(),
            meaning: "the same key after the cast".to_owned(),
            sample_sql: duplicates_sample(&projection.source, &values),
        }],
        among: None,
    })
}
