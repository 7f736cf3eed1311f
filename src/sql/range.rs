//! Ranges of the key: predicates for chunks, and where the next chunk ends.
//!
//! Key values travel in PostgreSQL's text form, in key order. The order of text keys is the column's own:
//! `projection::identity` calls a text key ordered only if both ends compare it bytewise, and a COLLATE that the index
//! does not have would turn every chunk into a scan of the table.

use crate::projection::Projection;
use crate::sql::expr::{ProjectionError, commas, constant, constant_row, key_values, source_column, source_table};
use crate::sql::filter::source_condition;
use crate::sql::{ident, literal};

/// Which end a query runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The source: expressions over source columns.
    Source,
    /// The target: its columns as stored.
    Target,
}

/// A half-open range of the key, in text form. `None` is unbounded.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeyRange<'a> {
    /// First key of the range.
    pub lo: Option<&'a [String]>,
    /// First key after the range.
    pub hi: Option<&'a [String]>,
}

/// Which rows of a range are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Every row of the source.
    All,
    /// Those that belong to the target.
    Belonging,
}

/// `key >= lo AND key < hi` for one side, or `None` for the whole table.
///
/// On the target the bounds go through the projection's own expressions, so a key of another type is compared as that
/// type.
pub fn range_predicate(
    projection: &Projection,
    side: Side,
    range: KeyRange<'_>,
) -> Result<Option<String>, ProjectionError> {
    let bounds = [(range.lo, ">="), (range.hi, "<")];
    let parts: Result<Vec<String>, ProjectionError> = bounds
        .into_iter()
        .filter_map(|(bound, operator)| bound.map(|bound| compare(projection, side, operator, bound)))
        .collect();
    let parts = parts?;
    Ok(if parts.is_empty() { None } else { Some(parts.join(" AND ")) })
}

/// `key = values` for one side: the row of one key.
pub fn key_predicate(projection: &Projection, side: Side, key: &[String]) -> Result<String, ProjectionError> {
    compare(projection, side, "=", key)
}

fn compare(projection: &Projection, side: Side, operator: &str, texts: &[String]) -> Result<String, ProjectionError> {
    let (columns, bounds) = match side {
        Side::Source => {
            let key = projection.source_key();
            let bounds: Result<Vec<String>, ProjectionError> = key
                .iter()
                .zip(texts)
                .map(|(column, text)| Ok(constant(text, &source_column(projection, column)?.ty)))
                .collect();
            (key.into_iter().map(ident).collect::<Vec<_>>(), bounds?)
        }
        Side::Target => {
            let row = constant_row(projection, &projection.source_key(), texts)?;
            let values = key_values(projection)?;
            let bounds = values.iter().map(|value| format!("(SELECT {} FROM {row})", value.sql)).collect();
            (values.iter().map(|value| ident(value.target)).collect(), bounds)
        }
    };
    Ok(match (columns.as_slice(), bounds.as_slice()) {
        ([column], [bound]) => format!("{column} {operator} {bound}"),
        _ => format!("ROW({}) {operator} ROW({})", columns.join(", "), bounds.join(", ")),
    })
}

/// The key `offset` rows after the start of `range`, as text columns in key order; no row when fewer are left.
/// Rows that do not belong are counted too, so that the work is bounded, unless only the others can be meant.
pub fn next_key(
    projection: &Projection,
    range: KeyRange<'_>,
    offset: u64,
    counted: Counted,
) -> Result<String, ProjectionError> {
    let key = projection.source_key();
    let predicate = range_predicate(projection, Side::Source, range)?;
    let predicate = match counted {
        Counted::All => predicate,
        Counted::Belonging => source_condition(projection, predicate.as_deref()),
    };
    // `CAST("id" AS text)` is an output column called "id": a bare ORDER BY "id" would sort numbers as text.
    Ok(format!(
        "SELECT {} FROM {} AS t{} ORDER BY {} OFFSET {offset} LIMIT 1",
        commas(key.iter().map(|column| format!("CAST(t.{} AS pg_catalog.text)", ident(column)))),
        source_table(projection),
        predicate.map(|predicate| format!(" WHERE {predicate}")).unwrap_or_default(),
        commas(key.iter().map(|column| format!("t.{}", ident(column)))),
    ))
}

/// The planner's estimate of the table's rows, 0 when it was never analysed: one bigint. Of a partitioned table, the sum of
/// its partitions' estimates: nobody analyses the table itself.
pub fn estimate(projection: &Projection) -> String {
    of_all(projection, "greatest(c.reltuples, 0)")
}

/// Asks for the size of the source's rows, without indexes and large values.
pub fn bytes(projection: &Projection) -> String {
    of_all(projection, "COALESCE(pg_catalog.pg_relation_size(c.oid), 0)")
}

/// A sum over the source table, or over its partitions.
fn of_all(projection: &Projection, figure: &str) -> String {
    let (schema, table) = (literal(projection.source.schema.as_str()), literal(projection.source.name.as_str()));
    let of = format!(
        "FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE n.nspname = {schema} AND c.relname = {table}"
    );
    if projection.partitioned {
        return format!(
            "WITH RECURSIVE tree AS (SELECT c.oid {of} UNION ALL SELECT h.inhrelid FROM tree \
             JOIN pg_catalog.pg_inherits AS h ON h.inhparent = tree.oid) \
             SELECT COALESCE(sum({figure}), 0)::pg_catalog.int8 FROM tree \
             JOIN pg_catalog.pg_class AS c ON c.oid = tree.oid WHERE c.relkind = 'r'"
        );
    }
    format!("SELECT ({figure})::pg_catalog.int8 {of}")
}

/// Keys of about `percent` per cent of the table's blocks, in key order, as text columns.
pub fn sample(projection: &Projection, percent: f64) -> String {
    let key = projection.source_key();
    format!(
        "SELECT {} FROM {} AS t TABLESAMPLE SYSTEM ({percent:.6}) ORDER BY {}",
        commas(key.iter().map(|column| format!("CAST(t.{} AS pg_catalog.text)", ident(column)))),
        source_table(projection),
        commas(key.iter().map(|column| format!("t.{}", ident(column)))),
    )
}
