//! How rows are found, and the order of columns.

use std::collections::BTreeSet;

use crate::catalog::{Column, Ident, Server, Table};
use crate::layout::{self, Cell};
use crate::projection::identity::is_bytewise;
use crate::projection::{KeyNotInjective, KeyPart, RowIdentity, row_identity};
use crate::resolve::RowBytes;
use crate::resolve::scope::Scope;

/// How rows are found, and whether pcrd knows the order of their key on both ends. A key whose cast may merge values is
/// checked by a query ([`super::check::of_key`]), so it is taken to be injective here.
pub(crate) fn identity(
    scope: &Scope<'_>,
    wanted: &Table,
    order_preserving: &BTreeSet<Ident>,
) -> Result<RowIdentity, KeyNotInjective> {
    let part = |source: &'_ Ident| {
        let before = scope.table.columns.iter().find(|column| &column.name == source)?;
        let after = wanted.column(scope.renames.get(source)?)?;
        Some(KeyPart {
            source: &before.name,
            source_type: &before.ty,
            source_bytewise: by_utf8_bytes(before, &scope.source.server),
            target: &after.name,
            target_type: &after.ty,
            target_bytewise: by_utf8_bytes(after, &scope.target.server),
            order_preserving: order_preserving.contains(&after.name),
            injective: true,
        })
    };
    let parts: Vec<KeyPart<'_>> = scope.key.iter().flat_map(|key| &key.columns).filter_map(part).collect();
    row_identity(&parts)
}

/// Keys arrive in UTF-8. The bytes of another encoding may have another order: in WIN1252 € is before é.
fn by_utf8_bytes(column: &Column, server: &Server) -> bool {
    server.encoding == "UTF8" && is_bytewise(column.collation.as_deref(), default_is_c(server))
}

/// From PG 15 on the database's own collation may be ICU's, whatever `datcollate` says.
fn default_is_c(server: &Server) -> bool {
    server.major() < 15 && matches!(server.collate.as_str(), "C" | "POSIX")
}

/// Puts the columns in the order with the least padding, and gives what that alone does to a row; nothing when the
/// order is the best one already. Statistics are left aside: a plan must not change because a table was analysed.
pub(crate) fn pack(table: &mut Table) -> Option<RowBytes> {
    let order = layout::pack(&cells(&table.columns));
    if order.is_sorted() {
        return None;
    }
    let packed =
        Table { columns: order.into_iter().map(|place| table.columns[place].clone()).collect(), ..table.clone() };
    let bytes = row_bytes(table, &packed);
    *table = packed;
    Some(bytes)
}

/// Bytes of a typical row on both ends, by the tuple model and without statistics.
pub(crate) fn row_bytes(before: &Table, after: &Table) -> RowBytes {
    let of = |table: &Table| layout::row_bytes(&cells(&table.columns));
    RowBytes { before: of(before), after: of(after) }
}

fn cells(columns: &[Column]) -> Vec<Cell> {
    columns.iter().map(|column| Cell::new(column, None)).collect()
}
