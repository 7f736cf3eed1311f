//! Validation queries: one scan per table counts the bad rows of every predicate.

use crate::catalog::{Ident, QualifiedName};
use crate::sql::expr::{commas, only};
use crate::sql::ident;

/// Rows that a sample lists at most.
pub const SAMPLE_ROWS: u32 = 10;

/// `SELECT count(*), count(*) FILTER (WHERE bad), …`: the rows of the table, then one count per predicate.
///
/// A predicate that is NULL does not count the row: predicates say themselves what NULL means.
pub fn table_check(source: &QualifiedName, bad: &[String]) -> String {
    let counts = bad.iter().map(|predicate| format!("count(*) FILTER (WHERE {predicate})"));
    format!("SELECT {} FROM {}", commas(std::iter::once("count(*)".to_owned()).chain(counts)), only(source))
}

/// Keys of up to [`SAMPLE_ROWS`] bad rows as text columns; their `ctid` when the table has no key.
pub fn sample(source: &QualifiedName, key: &[&Ident], bad: &str) -> String {
    let items = if key.is_empty() {
        "CAST(ctid AS pg_catalog.text)".to_owned()
    } else {
        commas(key.iter().map(|column| format!("CAST({} AS pg_catalog.text)", ident(column))))
    };
    format!("SELECT {items} FROM {} WHERE {bad} LIMIT {SAMPLE_ROWS}", only(source))
}

/// Rows, and rows that share their values with another: what a key must not have after its cast.
pub fn duplicates(source: &QualifiedName, values: &[String], condition: Option<&str>) -> String {
    format!(
        "SELECT COALESCE(sum(n), 0)::pg_catalog.int8, COALESCE(sum(n) FILTER (WHERE n > 1), 0)::pg_catalog.int8 \
         FROM (SELECT count(*) AS n FROM {}{} GROUP BY {}) AS keys",
        only(source),
        filtered(condition),
        commas(values.iter().cloned())
    )
}

/// Up to [`SAMPLE_ROWS`] values that stand more than once.
pub fn duplicates_sample(source: &QualifiedName, values: &[String], condition: Option<&str>) -> String {
    format!(
        "SELECT {} FROM {}{} GROUP BY {} HAVING count(*) > 1 LIMIT {SAMPLE_ROWS}",
        commas(values.iter().map(|value| format!("CAST({value} AS pg_catalog.text)"))),
        only(source),
        filtered(condition),
        commas(values.iter().cloned())
    )
}

fn filtered(condition: Option<&str>) -> String {
    condition.map_or_else(String::new, |condition| format!(" WHERE {condition}"))
}
