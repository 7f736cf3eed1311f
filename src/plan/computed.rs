//! Columns that the target computes, against what a plan compares them with.

use crate::catalog::{Column, Ident, Table};
use crate::plan::CreateTable;
use crate::projection::Projection;

/// A computed column that is compared with something else than a column of the source of its type.
pub(super) fn wrongly_compared<'p>(
    projection: &'p Projection,
    source: &Table,
    table: &'p CreateTable,
) -> Option<&'p Ident> {
    let entry = |name: &Ident| projection.computed.iter().find(|one| &one.target == name);
    let is_wrong = |column: &&Column| match entry(&column.name) {
        Some(one) => one.ty != column.ty || source.column(&one.source).is_none_or(|there| there.ty != one.ty),
        None => false,
    };
    let (computed, written): (Vec<_>, Vec<_>) = table.columns.iter().partition(|column| column.generated.is_some());
    let other = projection.computed.iter().find(|one| written.iter().any(|column| column.name == one.target));
    let unknown = projection.computed.iter().find(|one| table.columns.iter().all(|column| column.name != one.target));
    other.or(unknown).map(|one| &one.target).or_else(|| computed.into_iter().find(is_wrong).map(|column| &column.name))
}
