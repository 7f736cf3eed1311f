//! The values of a projection as SQL expressions, and typed rows for them to read.

use std::collections::BTreeMap;

use crate::catalog::{ColumnType, Ident, QualifiedName, TypeKind};
use crate::projection::{ColumnValue, Projection, SourceColumn};
use crate::sql::{ident, literal, name};

/// Values of frozen defaults by target column, as SQL literals (`'2024-01-01 00:00:00+00'`).
pub type Frozen = BTreeMap<Ident, String>;

/// Why a projection cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProjectionError {
    /// The caller has no value for a frozen default.
    #[error("the frozen default of {table}.{column} has no value yet")]
    NotFrozen {
        /// Target table.
        table: QualifiedName,
        /// Target column.
        column: Ident,
    },
    /// A key column of the target has no expression.
    #[error("the key column {table}.{column} is not made from the source's key columns")]
    KeyNotProjected {
        /// Target table.
        table: QualifiedName,
        /// Target column.
        column: Ident,
    },
    /// An expression reads a column that the source does not publish.
    #[error("{table} publishes no column {column}")]
    NoSourceColumn {
        /// Source table.
        table: QualifiedName,
        /// Source column.
        column: Ident,
    },
}

/// One target column and the expression that makes it from the source columns.
#[derive(Debug, Clone)]
pub(crate) struct Value<'a> {
    /// Target column.
    pub(crate) target: &'a Ident,
    /// Its type.
    pub(crate) ty: &'a ColumnType,
    /// Expression of exactly that type.
    pub(crate) sql: String,
    /// Source columns it reads; none for frozen values.
    pub(crate) reads: &'a [Ident],
    /// True for a frozen value.
    pub(crate) frozen: bool,
}

/// `=` between two values of the type. Our sessions look for operators in `pg_catalog` only, and the one of a base type that
/// came with an extension is where the type is.
pub(crate) fn equals(ty: &ColumnType) -> String {
    if has_own_operators(ty) { format!("OPERATOR({}.=)", ident(&ty.schema)) } else { "=".to_owned() }
}

/// True for a type whose operators `pg_catalog` does not have.
pub(crate) fn has_own_operators(ty: &ColumnType) -> bool {
    ty.kind == TypeKind::Base && !ty.is_builtin()
}

/// Every column of the projection, in target order.
pub(crate) fn values<'a>(projection: &'a Projection, frozen: &Frozen) -> Result<Vec<Value<'a>>, ProjectionError> {
    let value = |column: &'a crate::projection::ProjectedColumn| {
        Ok(match &column.value {
            ColumnValue::Expr { sql, reads } => {
                Value { target: &column.target, ty: &column.ty, sql: sql.clone(), reads, frozen: false }
            }
            ColumnValue::Frozen { .. } => {
                let text = frozen.get(&column.target).ok_or_else(|| ProjectionError::NotFrozen {
                    table: projection.target.clone(),
                    column: column.target.clone(),
                })?;
                let sql = format!("CAST({text} AS {})", column.ty.sql);
                Value { target: &column.target, ty: &column.ty, sql, reads: &[], frozen: true }
            }
        })
    };
    projection.columns.iter().map(value).collect()
}

/// Every column that is compared: what is written, then what the target computes.
pub(crate) fn compared<'a>(projection: &'a Projection, frozen: &Frozen) -> Result<Vec<Value<'a>>, ProjectionError> {
    let computed = projection.computed.iter().map(|column| Value {
        target: &column.target,
        ty: &column.ty,
        sql: ident(&column.source),
        reads: std::slice::from_ref(&column.source),
        frozen: false,
    });
    Ok(values(projection, frozen)?.into_iter().chain(computed).collect())
}

/// The values of the target key, in key order. They read key columns only: nothing else is known of an old row.
pub(crate) fn key_values(projection: &Projection) -> Result<Vec<Value<'_>>, ProjectionError> {
    let missing =
        |column: &Ident| ProjectionError::KeyNotProjected { table: projection.target.clone(), column: column.clone() };
    let source_key = projection.source_key();
    projection
        .target_key()
        .into_iter()
        .map(|key| {
            let column = projection.columns.iter().find(|c| &c.target == key).ok_or_else(|| missing(key))?;
            match &column.value {
                ColumnValue::Expr { sql, reads } if reads.iter().all(|read| source_key.contains(&read)) => {
                    Ok(Value { target: &column.target, ty: &column.ty, sql: sql.clone(), reads, frozen: false })
                }
                ColumnValue::Expr { .. } | ColumnValue::Frozen { .. } => Err(missing(key)),
            }
        })
        .collect()
}

/// Position of a source column: what the stream calls it.
pub(crate) fn position(projection: &Projection, column: &Ident) -> Result<usize, ProjectionError> {
    projection
        .source_columns
        .iter()
        .position(|c| &c.name == column)
        .ok_or_else(|| ProjectionError::NoSourceColumn { table: projection.source.clone(), column: column.clone() })
}

/// The source column of this name.
pub(crate) fn source_column<'a>(
    projection: &'a Projection,
    column: &Ident,
) -> Result<&'a SourceColumn, ProjectionError> {
    Ok(&projection.source_columns[position(projection, column)?])
}

/// `FROM ONLY "s"."t"`: children are tables of their own.
pub(crate) fn only(table: &QualifiedName) -> String {
    format!("ONLY {}", name(table))
}

/// A table as FROM and LOCK TABLE take it: by itself, or a partitioned one with its partitions.
pub fn with_partitions(table: &QualifiedName, partitioned: bool) -> String {
    if partitioned { name(table) } else { only(table) }
}

/// The source of a projection as FROM takes it.
pub fn source_table(projection: &Projection) -> String {
    with_partitions(&projection.source, projection.partitioned)
}

/// The target of a projection as FROM takes it.
pub fn target_table(projection: &Projection) -> String {
    with_partitions(&projection.target, projection.onto_partitions)
}

/// Joins rendered pieces with commas.
pub(crate) fn commas<I: IntoIterator<Item = String>>(pieces: I) -> String {
    pieces.into_iter().collect::<Vec<_>>().join(", ")
}

/// A value in its text form, as a constant of a type.
pub(crate) fn constant(text: &str, ty: &ColumnType) -> String {
    format!("CAST({} AS {})", literal(text), ty.sql)
}

/// A subquery with one row of typed constants under their source names: `(SELECT CAST('1' AS integer) AS "id") AS s`.
pub(crate) fn constant_row(
    projection: &Projection,
    columns: &[&Ident],
    texts: &[String],
) -> Result<String, ProjectionError> {
    let items: Result<Vec<String>, ProjectionError> = columns
        .iter()
        .zip(texts)
        .map(|(column, text)| {
            Ok(format!("{} AS {}", constant(text, &source_column(projection, column)?.ty), ident(column)))
        })
        .collect();
    Ok(format!("(SELECT {}) AS s", items?.join(", ")))
}
