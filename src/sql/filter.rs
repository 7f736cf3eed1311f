//! Statements of the stream for a table of which only some rows are migrated. The filter is evaluated on the target,
//! over the same typed row that the values are made from; only TRUE counts.
//!
//! Each affects exactly one row when the target is what the stream believes, as far as the change tells: it says which
//! rows belonged before only when it brings the columns that the filter reads.

use crate::projection::{Filter, Projection};
use crate::sql::apply::{Applied, OldTuple, Params, Statement, Tuple, find_row};
use crate::sql::expr::{ProjectionError, Value, commas, position, target_table, values};
use crate::sql::{ident, name};

/// `… IS TRUE`, over unqualified source columns.
pub fn belongs(filter: &Filter) -> String {
    format!("({}) IS TRUE", filter.sql)
}

/// True when every row surely meets one of the filters of one source table: there is none somewhere, or one is another's
/// opposite, written `(…) IS NOT TRUE`. `NOT (…)` is none: where the condition is NULL both are.
pub fn cover(filters: &[Option<&Filter>]) -> bool {
    let Some(all) = filters.iter().copied().collect::<Option<Vec<&Filter>>>() else { return true };
    all.iter().any(|one| all.iter().any(|other| is_opposite(&one.sql, &other.sql)))
}

/// True when `other` is `(one) IS NOT TRUE`, character by character.
fn is_opposite(one: &str, other: &str) -> bool {
    let rest = other.trim().strip_prefix('(').map(str::trim_start).and_then(|text| text.strip_prefix(one.trim()));
    let said = rest.map(str::trim_start).and_then(|text| text.strip_prefix(')'));
    said.is_some_and(|said| said.split_whitespace().map(str::to_ascii_lowercase).eq(["is", "not", "true"]))
}

/// The rows that meet none of the filters.
pub fn left_out(filters: &[&Filter]) -> String {
    let out = |filter: &&Filter| format!("({}) IS NOT TRUE", filter.sql);
    filters.iter().map(out).collect::<Vec<_>>().join(" AND ")
}

/// A condition of a query on the source with the projection's filter.
pub fn source_condition(projection: &Projection, predicate: Option<&str>) -> Option<String> {
    match (&projection.filter, predicate) {
        (Some(filter), Some(predicate)) => Some(format!("({predicate}) AND {}", belongs(filter))),
        (Some(filter), None) => Some(belongs(filter)),
        (None, predicate) => predicate.map(str::to_owned),
    }
}

/// Statements that fail unless PostgreSQL takes the filter for an immutable condition over one row: that of an index of
/// a table that is never kept.
///
/// # Errors
/// A column that the source does not publish.
pub fn test(projection: &Projection) -> Option<Result<Vec<String>, ProjectionError>> {
    let filter = projection.filter.as_ref()?;
    let columns: Result<Vec<String>, ProjectionError> = filter
        .reads
        .iter()
        .map(|column| {
            let source = &projection.source_columns[position(projection, column)?];
            Ok(format!("{} {}", ident(&source.name), source.ty.sql))
        })
        .collect();
    Some(columns.map(|columns| {
        vec![
            format!("CREATE TEMPORARY TABLE \"pcrd_filter\" ({}) ON COMMIT DROP", columns.join(", ")),
            format!("CREATE INDEX ON pg_temp.\"pcrd_filter\" ((true)) WHERE {}", belongs(filter)),
        ]
    }))
}

/// Rows of a subquery that belong. The planner must not move values past it: those of a row that does not belong may
/// be no values of the target's types, and constants are computed while planning.
pub(crate) fn only_belonging(filter: &Filter, row: &str) -> String {
    format!("(SELECT * FROM {row} WHERE {} OFFSET 0) AS s", belongs(filter))
}

/// Adds the new tuple if it belongs.
///
/// # Errors
/// When a frozen default has no value.
pub fn insert(applied: Applied<'_>, filter: &Filter) -> Result<Statement, ProjectionError> {
    let mut params = Params::default();
    let values = values(applied.projection, applied.frozen)?;
    let row = params.row_reading(applied.projection, reads(values.iter(), filter), &|_| Tuple::New)?;
    let sql = format!(
        "WITH i AS (INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {}) SELECT 1",
        name(&applied.projection.target),
        commas(values.iter().map(|value| ident(value.target))),
        commas(values.iter().map(|value| value.sql.clone())),
        only_belonging(filter, &row),
    );
    Ok(Statement { sql, params: params.0 })
}

/// Removes the row of the old tuple. Where the old tuple tells whether it belonged, it must have been there or not
/// accordingly.
///
/// # Errors
/// When the projection has no key where it should.
pub fn delete(applied: Applied<'_>, filter: &Filter, old: OldTuple) -> Result<Statement, ProjectionError> {
    let projection = applied.projection;
    let key = projection.source_key();
    let known = old == OldTuple::Full || filter.reads.iter().all(|column| key.contains(&column));
    let mut params = Params::default();
    let found = find_row(applied, &mut params, &|_| Tuple::Old, known.then_some(filter))?;
    let removed = format!(
        "WITH d AS (DELETE FROM {} AS t USING {} WHERE {} RETURNING 1)",
        target_table(projection),
        found.from,
        found.found
    );
    let sql = if known {
        let row = params.row_reading(projection, filter.reads.iter(), &|_| Tuple::Old)?;
        format!(
            "{removed} SELECT 1 FROM (SELECT {} AS belonged FROM {row}) AS b \
             WHERE CAST(b.belonged AS pg_catalog.int4) = (SELECT count(*) FROM d)",
            belongs(filter)
        )
    } else {
        format!("{removed} SELECT 1 FROM (SELECT count(*) AS n FROM d) AS c WHERE c.n <= 1")
    };
    Ok(Statement { sql, params: params.0 })
}

/// Whether the new tuple belongs, and whether the row of the old key is there: two booleans. `None` when the filter
/// reads a column that was not sent.
///
/// # Errors
/// When the projection has no key where it should.
pub fn look(
    applied: Applied<'_>,
    filter: &Filter,
    sent: &[bool],
    old: OldTuple,
) -> Result<Option<Statement>, ProjectionError> {
    let projection = applied.projection;
    for column in &filter.reads {
        if !sent[position(projection, column)?] {
            return Ok(None);
        }
    }
    let key_tuple = if old == OldTuple::None { Tuple::New } else { Tuple::Old };
    let mut params = Params::default();
    let row = params.row_reading(projection, filter.reads.iter(), &|_| Tuple::New)?;
    let found = find_row(applied, &mut params, &|_| key_tuple, None)?;
    let sql = format!(
        "SELECT (SELECT {} FROM {row}), EXISTS (SELECT FROM {} AS t, {} WHERE {})",
        belongs(filter),
        target_table(projection),
        found.from,
        found.found
    );
    Ok(Some(Statement { sql, params: params.0 }))
}

fn reads<'a>(
    values: impl Iterator<Item = &'a Value<'a>>,
    filter: &'a Filter,
) -> impl Iterator<Item = &'a crate::catalog::Ident> {
    values.flat_map(|value| value.reads).chain(&filter.reads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_opposite_or_no_filter_covers_all_rows() {
        let filters = |texts: &[&str]| -> Vec<Filter> {
            texts.iter().map(|sql| Filter { sql: (*sql).to_owned(), reads: Vec::new() }).collect()
        };
        let covers = |texts: &[&str]| {
            let filters = filters(texts);
            cover(&filters.iter().map(Some).collect::<Vec<_>>())
        };
        assert!(covers(&["\"n\" > 1", "(\"n\" > 1) IS NOT TRUE"]));
        assert!(covers(&["( \"n\" > 1 ) is  not true", "\"k\"", "\"n\" > 1 "]));
        assert!(!covers(&["\"n\" > 1", "NOT (\"n\" > 1)"]));
        assert!(!covers(&["\"n\" > 1", "(\"n\" > 10) IS NOT TRUE"]));
        assert!(!covers(&["\"n\" > 1", "(\"n\" > 1) IS NOT TRUE AND \"k\""]));
        assert!(!covers(&["\"n\" > 1 OR \"k\"", "\"n\" > 1 OR (\"k\") IS NOT TRUE"]));
        assert!(!covers(&["\"n\" > 1"]));
        let one = filters(&["\"n\" > 1"]);
        assert!(cover(&[None]) && cover(&[one.first(), None]));
        assert_eq!(left_out(&[&one[0], &one[0]]), "(\"n\" > 1) IS NOT TRUE AND (\"n\" > 1) IS NOT TRUE");
    }
}
