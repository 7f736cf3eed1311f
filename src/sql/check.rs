//! Validation queries: one scan per table counts the bad rows of every predicate.

use crate::catalog::{Ident, QualifiedName};
use crate::sql::expr::{commas, only};
use crate::sql::{ident, literal};

/// Rows that a sample lists at most.
pub const SAMPLE_ROWS: u32 = 10;

/// `SELECT count(*), count(*) FILTER (WHERE bad), …`: the rows of the table, then one count per predicate.
///
/// A predicate that is NULL does not count the row: predicates say themselves what NULL means.
pub fn table_check(source: &QualifiedName, bad: &[String]) -> String {
    let counts = bad.iter().map(|predicate| format!("count(*) FILTER (WHERE {predicate})"));
    format!("SELECT {} FROM {}", commas(std::iter::once("count(*)".to_owned()).chain(counts)), only(source))
}

/// True of a row whose value, as text, is one of these.
pub fn is_any(column: &Ident, values: &[&str]) -> String {
    let list = commas(values.iter().map(|value| literal(value)));
    format!("CAST({} AS pg_catalog.text) IN ({list})", ident(column))
}

/// True of a row whose array has one of these among its elements, as text.
pub fn contains_any(column: &Ident, values: &[&str]) -> String {
    let list = commas(values.iter().map(|value| literal(value)));
    format!(
        "CAST({} AS pg_catalog.text[]) OPERATOR(pg_catalog.&&) CAST(ARRAY[{list}] AS pg_catalog.text[])",
        ident(column)
    )
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
pub fn duplicates(source: &QualifiedName, values: &[String]) -> String {
    format!(
        "SELECT COALESCE(sum(n), 0)::pg_catalog.int8, COALESCE(sum(n) FILTER (WHERE n > 1), 0)::pg_catalog.int8 \
         FROM (SELECT count(*) AS n FROM {} GROUP BY {}) AS keys",
        only(source),
        commas(values.iter().cloned())
    )
}

/// Up to [`SAMPLE_ROWS`] values that stand more than once.
pub fn duplicates_sample(source: &QualifiedName, values: &[String]) -> String {
    format!(
        "SELECT {} FROM {} GROUP BY {} HAVING count(*) > 1 LIMIT {SAMPLE_ROWS}",
        commas(values.iter().map(|value| format!("CAST({value} AS pg_catalog.text)"))),
        only(source),
        commas(values.iter().cloned())
    )
}

/// Whether NULLs are all different from each other, as SQL has it unless told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DistinctNulls {
    /// NULLS DISTINCT: a row with a NULL has no duplicate.
    Yes,
    /// NULLS NOT DISTINCT.
    No,
}

fn condition(values: &[String], predicate: Option<&str>, nulls: DistinctNulls) -> String {
    let mut parts: Vec<String> = predicate.iter().map(|predicate| format!("({predicate})")).collect();
    if nulls == DistinctNulls::Yes {
        parts.extend(values.iter().map(|value| format!("({value}) IS NOT NULL")));
    }
    if parts.is_empty() { String::new() } else { format!(" WHERE {}", parts.join(" AND ")) }
}

/// As [`duplicates`], of the rows that a unique index would have.
pub fn duplicates_where(
    source: &QualifiedName,
    values: &[String],
    predicate: Option<&str>,
    nulls: DistinctNulls,
) -> String {
    format!(
        "SELECT COALESCE(sum(n), 0)::pg_catalog.int8, COALESCE(sum(n) FILTER (WHERE n > 1), 0)::pg_catalog.int8 \
         FROM (SELECT count(*) AS n FROM {}{} GROUP BY {}) AS keys",
        only(source),
        condition(values, predicate, nulls),
        commas(values.iter().cloned())
    )
}

/// Up to [`SAMPLE_ROWS`] values that stand more than once in a unique index.
pub fn duplicates_where_sample(
    source: &QualifiedName,
    values: &[String],
    predicate: Option<&str>,
    nulls: DistinctNulls,
) -> String {
    format!(
        "SELECT {} FROM {}{} GROUP BY {} HAVING count(*) > 1 LIMIT {SAMPLE_ROWS}",
        commas(values.iter().map(|value| format!("CAST({value} AS pg_catalog.text)"))),
        only(source),
        condition(values, predicate, nulls),
        commas(values.iter().cloned())
    )
}

/// One end of a foreign key: the table, its columns in order, and which rows count.
pub type End<'a> = (&'a QualifiedName, &'a [String], Option<&'a str>);

/// Rows whose reference is complete (with `match_full`, those with any part of one), and those of them that refer to no
/// row of the far table.
pub fn orphans(near: End<'_>, far: End<'_>, match_full: bool) -> String {
    format!("SELECT count(*), count(*) FILTER (WHERE f.found IS NULL) FROM {}", joined(near, far, match_full))
}

/// Up to [`SAMPLE_ROWS`] references to no row.
pub fn orphans_sample(near: End<'_>, far: End<'_>, match_full: bool) -> String {
    let columns = commas((1..=near.1.len()).map(|nth| format!("CAST(n.k{nth} AS pg_catalog.text)")));
    let joined = joined(near, far, match_full);
    format!("SELECT DISTINCT {columns} FROM {joined} WHERE f.found IS NULL LIMIT {SAMPLE_ROWS}")
}

fn joined(near: End<'_>, far: End<'_>, match_full: bool) -> String {
    let ((near, values, near_is), (far, far_values, far_is)) = (near, far);
    let named = |values: &[String]| commas(values.iter().zip(1..).map(|(value, nth)| format!("{value} AS k{nth}")));
    let complete: Vec<String> = values.iter().map(|value| format!("({value}) IS NOT NULL")).collect();
    let asked = if match_full { format!("({})", complete.join(" OR ")) } else { complete.join(" AND ") };
    let asked: Vec<String> = [asked].into_iter().chain(near_is.map(str::to_owned)).collect();
    let far_where = far_is.map_or_else(String::new, |condition| format!(" WHERE {condition}"));
    let equal: Vec<String> = (1..=values.len()).map(|nth| format!("f.k{nth} = n.k{nth}")).collect();
    format!(
        "(SELECT {} FROM {} WHERE {}) AS n LEFT JOIN (SELECT DISTINCT {}, true AS found FROM {}{far_where}) AS f ON {}",
        named(values),
        only(near),
        asked.join(" AND "),
        named(far_values),
        only(far),
        equal.join(" AND ")
    )
}

/// True for a value whose text has one of these characters, in an encoding of one byte each.
pub fn has_bytes(value: &str, bytes: &[u8]) -> String {
    let characters: Vec<String> = bytes.iter().map(|byte| format!("pg_catalog.chr({byte})")).collect();
    let text = format!("CAST({value} AS pg_catalog.text)");
    format!("pg_catalog.translate({text}, {}, '') <> {text} COLLATE \"C\"", characters.join(" || "))
}

/// True for a value whose text is not UTF-8, on a server that takes every byte for a character. The sequences are those of
/// RFC 3629, section 4.
pub fn is_no_utf8(value: &str) -> String {
    const SEQUENCE: &str = r"[\x01-\x7f]|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}";
    format!("CAST({value} AS pg_catalog.text) COLLATE \"C\" !~ '^({SEQUENCE})*$'")
}
