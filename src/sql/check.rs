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
