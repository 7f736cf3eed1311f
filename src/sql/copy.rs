//! COPY on both ends: the casts run in the query on the source, the bytes pass through.

use crate::projection::{CopyFormat, Projection};
use crate::sql::expr::{Frozen, ProjectionError, commas, source_table, values};
use crate::sql::filter::source_condition;
use crate::sql::{ident, name};

/// `COPY (SELECT expression AS "target", … FROM ONLY source WHERE …) TO STDOUT`.
///
/// # Errors
/// When a frozen default has no value in `frozen`.
pub fn copy_out(projection: &Projection, frozen: &Frozen, predicate: Option<&str>) -> Result<String, ProjectionError> {
    let items =
        values(projection, frozen)?.into_iter().map(|value| format!("{} AS {}", value.sql, ident(value.target)));
    Ok(format!(
        "COPY (SELECT {} FROM {}{}) TO STDOUT WITH (FORMAT {})",
        commas(items),
        source_table(projection),
        source_condition(projection, predicate).map(|condition| format!(" WHERE {condition}")).unwrap_or_default(),
        keyword(projection.format),
    ))
}

/// `COPY target (columns) FROM STDIN`, in the order of [`copy_out`].
pub fn copy_in(projection: &Projection) -> String {
    format!(
        "COPY {} ({}) FROM STDIN WITH (FORMAT {})",
        name(&projection.target),
        commas(projection.columns.iter().map(|column| ident(&column.target))),
        keyword(projection.format),
    )
}

fn keyword(format: CopyFormat) -> &'static str {
    match format {
        CopyFormat::Binary => "binary",
        CopyFormat::Text => "text",
    }
}
