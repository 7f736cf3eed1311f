//! The wire format of COPY.

use super::{CopyFormat, ProjectedColumn};
use crate::catalog::ColumnType;

/// Built-in types whose binary form is the same on every major from 10 to 18, by test. Text of the others passes
/// through both servers' own output and input functions.
const BINARY: &[&str] = &[
    "bit",
    "bool",
    "bpchar",
    "bytea",
    "char",
    "cidr",
    "date",
    "float4",
    "float8",
    "inet",
    "int2",
    "int4",
    "int8",
    "interval",
    "json",
    "jsonb",
    "macaddr",
    "macaddr8",
    "name",
    "numeric",
    "oid",
    "pg_lsn",
    "text",
    "time",
    "timestamp",
    "timestamptz",
    "timetz",
    "uuid",
    "varbit",
    "varchar",
];

/// True when values of the type may travel in binary.
pub fn is_binary_safe(ty: &ColumnType) -> bool {
    ty.is_builtin() && BINARY.contains(&ty.name.as_str())
}

/// Binary if every target column allows it; and why, for the reviewer.
pub fn copy_format(columns: &[ProjectedColumn]) -> (CopyFormat, String) {
    match columns.iter().find(|column| !is_binary_safe(&column.ty)) {
        None => (CopyFormat::Binary, "every column is of a type with one binary form".to_owned()),
        Some(column) => (
            CopyFormat::Text,
            format!("{} is of type {}, whose binary form is not pinned", column.target, column.ty.sql),
        ),
    }
}
