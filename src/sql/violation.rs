//! Counts rows against constraints that PostgreSQL keeps by triggers alone, with the constraints' own operators.

use crate::catalog::{Ident, QualifiedName};
use crate::sql::expr::{commas, only};
use crate::sql::{ident, name};

/// One column of a foreign key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Column of the referring table.
    pub near: Ident,
    /// Column of the referenced one.
    pub far: Ident,
    /// `OPERATOR(schema.name)`: referenced value on the left, as `conpfeqop` has it.
    pub equals: String,
    /// Collation of the referenced column, quoted, when its type has one: PostgreSQL compares by that.
    pub collation: Option<String>,
}

/// The catalog's name of an operator, for use between two operands.
pub fn operator(schema: &Ident, symbol: &str) -> String {
    format!("OPERATOR({}.{symbol})", ident(schema))
}

/// Rows of `near` that refer to no row of `far`; under MATCH FULL also those that are NULL in part.
/// `near` is a table as FROM takes it.
pub fn orphans(near: &str, far: &QualifiedName, columns: &[Reference], match_full: bool) -> String {
    let near_of = |column: &Reference| format!("n.{}", ident(&column.near));
    let complete: Vec<String> = columns.iter().map(|column| format!("{} IS NOT NULL", near_of(column))).collect();
    let equal = columns.iter().map(|column| {
        let collation = column.collation.as_ref().map(|own| format!(" COLLATE {own}")).unwrap_or_default();
        format!("f.{}{collation} {} {}{collation}", ident(&column.far), column.equals, near_of(column))
    });
    let missing = format!(
        "({} AND NOT EXISTS (SELECT FROM {} AS f WHERE {}))",
        complete.join(" AND "),
        name(far),
        equal.collect::<Vec<_>>().join(" AND ")
    );
    let partial = format!("(NOT ({}) AND NOT ({}))", complete.join(" AND "), {
        let empty: Vec<String> = columns.iter().map(|column| format!("{} IS NULL", near_of(column))).collect();
        empty.join(" AND ")
    });
    let bad = if match_full { format!("{missing} OR {partial}") } else { missing };
    format!("SELECT count(*) FROM {near} AS n WHERE {bad}")
}

/// Pairs of rows that an exclusion constraint forbids. `elements` are SQL over the table's columns, each with its
/// operator.
pub fn overlaps(table: &QualifiedName, elements: &[(String, String)], predicate: Option<&str>) -> String {
    let named = commas(elements.iter().zip(1..).map(|((element, _), nth)| format!("({element}) AS k{nth}")));
    let condition = predicate.map(|own| format!(" WHERE ({own})")).unwrap_or_default();
    let side = format!("(SELECT ctid AS id, {named} FROM {}{condition})", only(table));
    let both: Vec<String> =
        elements.iter().zip(1..).map(|((_, operator), nth)| format!("a.k{nth} {operator} b.k{nth}")).collect();
    format!("SELECT count(*) FROM {side} AS a JOIN {side} AS b ON a.id <> b.id AND {}", both.join(" AND "))
}
