//! How rows travel: format, identity, order of columns.

use std::collections::BTreeSet;

use crate::catalog::{Catalog, Column, Ident, Table, TypeKind};
use crate::layout::{self, Cell};
use crate::projection::{CopyFormat, KeyColumn, KeyOrder, ProjectedColumn, RowIdentity};
use crate::resolve::RowBytes;
use crate::resolve::scope::Scope;

/// How rows are found, and whether pcrd knows the order of their key on both ends.
pub(crate) fn identity(scope: &Scope<'_>, wanted: &Table, order_preserving: &BTreeSet<Ident>) -> RowIdentity {
    let Some(key) = &scope.key else { return RowIdentity::FullRow };
    let target: Vec<Ident> = key.columns.iter().filter_map(|column| scope.renames.get(column).cloned()).collect();
    let order = |(source, target): (&Ident, &Ident)| {
        let (before, after) = (scope.table.column(source), wanted.column(target));
        let (Some(before), Some(after)) = (before, after) else { return Err(format!("{source} is not copied")) };
        let order = key_order(before, scope.source)
            .ok_or_else(|| format!("pcrd does not know the order of {source} ({})", before.ty.sql))?;
        if !order_preserving.contains(target) || (order == KeyOrder::TextC && key_order(after, scope.target).is_none())
        {
            return Err(format!("{source} has another order on the target"));
        }
        Ok(KeyColumn { name: source.clone(), order })
    };
    match key.columns.iter().zip(&target).map(order).collect() {
        Ok(source) => RowIdentity::OrderedKey { source, target },
        Err(reason) => RowIdentity::Key { source: key.columns.clone(), target, reason },
    }
}

/// The order of a column's values, where Rust reproduces it.
fn key_order(column: &Column, catalog: &Catalog) -> Option<KeyOrder> {
    const ORDERS: [(&str, KeyOrder); 10] = [
        ("int2", KeyOrder::Int),
        ("int4", KeyOrder::Int),
        ("int8", KeyOrder::Int),
        ("oid", KeyOrder::Int),
        ("bool", KeyOrder::Bool),
        ("uuid", KeyOrder::Uuid),
        ("bytea", KeyOrder::Bytea),
        ("date", KeyOrder::Date),
        ("timestamp", KeyOrder::Timestamp),
        ("timestamptz", KeyOrder::Timestamptz),
    ];
    if column.ty.is("text") || column.ty.is("varchar") {
        let bytewise = |name: &str| matches!(name, "C" | "POSIX");
        let collation = column.collation.as_ref().map_or(catalog.server.collate.as_str(), |name| name.name.as_str());
        return (bytewise(collation) && catalog.server.encoding == "UTF8").then_some(KeyOrder::TextC);
    }
    ORDERS.into_iter().find(|(name, _)| column.ty.is(name)).map(|(_, order)| order)
}

/// Types whose binary form is the same from PG 10 to 18 and holds no oid.
const BINARY: &str = " bit bool box bpchar bytea char cidr circle date float4 float8 inet int2 int4 int8 interval json \
    jsonb line lseg macaddr macaddr8 money name numeric oid path pg_lsn point polygon text time timestamp timestamptz \
    timetz uuid varbit varchar xid ";

/// The wire format of COPY: binary when every column's binary form means the same on both ends.
pub(crate) fn format(columns: &[ProjectedColumn]) -> (CopyFormat, String) {
    let same = |column: &&ProjectedColumn| {
        let name = column.ty.name.as_str();
        // An array's binary form holds the oid of its element type, which is the same everywhere for built-in ones.
        let element = if column.ty.kind == TypeKind::Array { name.strip_prefix('_').unwrap_or(name) } else { name };
        let known = BINARY.contains(&format!(" {element} "));
        column.ty.kind == TypeKind::Enum || (column.ty.is_builtin() && known)
    };
    match columns.iter().find(|column| !same(column)) {
        None => (CopyFormat::Binary, "every column has one binary form on both ends".to_owned()),
        Some(column) => {
            let reason =
                format!("the binary form of {} ({}) may differ between the ends", column.target, column.ty.sql);
            (CopyFormat::Text, reason)
        }
    }
}

/// Columns with the least padding. Statistics are left aside: a plan must not change because a table was analysed.
pub(crate) fn pack(columns: Vec<Column>) -> Vec<Column> {
    let order = layout::pack(&cells(&columns));
    order.into_iter().map(|place| columns[place].clone()).collect()
}

/// Bytes of a typical row on both ends, by the tuple model and without statistics.
pub(crate) fn row_bytes(before: &Table, after: &Table) -> RowBytes {
    let of = |table: &Table| layout::row_bytes(&cells(&table.columns));
    RowBytes { before: of(before), after: of(after) }
}

fn cells(columns: &[Column]) -> Vec<Cell> {
    columns.iter().map(|column| Cell::new(column, None)).collect()
}
