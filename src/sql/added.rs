//! A column that a table of the source got while it was migrated, for the target.

use crate::catalog::{Column, QualifiedName};
use crate::sql::{ident, literal, name, with_partitions};

/// `ALTER TABLE … ADD COLUMN`, where there is such a table without such a column. Rows that are there get `missing`, which is also the default from then on: never the
/// source's own text, which nobody has reviewed.
/// A partitioned table has it in all of its partitions.
pub fn add_column(table: &QualifiedName, partitioned: bool, column: &Column, missing: Option<&str>) -> String {
    let (table, column_name) = (with_partitions(table, partitioned), ident(&column.name));
    let mut sql = format!("ALTER TABLE IF EXISTS {table} ADD COLUMN IF NOT EXISTS {column_name} {}", column.ty.sql);
    if let Some(collation) = &column.collation {
        sql.push_str(&format!(" COLLATE {}", name(collation)));
    }
    if let Some(missing) = missing {
        sql.push_str(&format!(" DEFAULT CAST({} AS {})", literal(missing), column.ty.sql));
    }
    if column.not_null {
        sql.push_str(" NOT NULL");
    }
    sql
}
