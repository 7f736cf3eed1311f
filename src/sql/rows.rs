//! COPY through a projection.

use crate::catalog::QualifiedName;
use crate::projection::{ColumnValue, CopyFormat, KeyColumn, KeyOrder, Projection, RowIdentity};
use crate::sql::ddl::list;
use crate::sql::{ident, name};

/// `COPY (SELECT …) TO STDOUT` on the source. `$lo` and `$hi` stand for the chunk's bounds, `$ctid_range` for a part
/// of a table without an ordered key; `$frozen.x` for the value that the ledger keeps for column x.
pub fn copy_out(projection: &Projection) -> String {
    let values = projection.columns.iter().map(|column| match &column.value {
        ColumnValue::Expr { sql, .. } => sql.clone(),
        ColumnValue::Frozen { .. } => format!("$frozen.{}", ident(&column.target)),
    });
    let range = match &projection.identity {
        RowIdentity::OrderedKey { source, .. } => {
            let key = key_tuple(source);
            format!("{key} >= $lo AND {key} < $hi")
        }
        RowIdentity::Key { .. } | RowIdentity::FullRow => "$ctid_range".to_owned(),
    };
    format!(
        "COPY (SELECT {} FROM ONLY {} WHERE {range}) TO STDOUT (FORMAT {})",
        values.collect::<Vec<_>>().join(", "),
        name(&projection.source),
        format_word(projection.format)
    )
}

fn key_tuple(columns: &[KeyColumn]) -> String {
    let parts = columns.iter().map(|column| match column.order {
        KeyOrder::TextC => format!("{} COLLATE pg_catalog.\"C\"", ident(&column.name)),
        KeyOrder::Int
        | KeyOrder::Bool
        | KeyOrder::Uuid
        | KeyOrder::Bytea
        | KeyOrder::Date
        | KeyOrder::Timestamp
        | KeyOrder::Timestamptz => ident(&column.name),
    });
    format!("({})", parts.collect::<Vec<_>>().join(", "))
}

/// `COPY … FROM STDIN` on the target.
pub fn copy_in(projection: &Projection) -> String {
    let columns: Vec<_> = projection.columns.iter().map(|column| column.target.clone()).collect();
    format!(
        "COPY {} ({}) FROM STDIN (FORMAT {})",
        name(&projection.target),
        list(&columns),
        format_word(projection.format)
    )
}

fn format_word(format: CopyFormat) -> &'static str {
    match format {
        CopyFormat::Binary => "binary",
        CopyFormat::Text => "text",
    }
}

/// The lock that keeps TRUNCATE and rewrites out; taken before the snapshot, or the snapshot could show an empty table.
pub fn lock_for_reading(table: &QualifiedName) -> String {
    format!("LOCK TABLE ONLY {} IN ACCESS SHARE MODE", name(table))
}
