//! How rows travel: format, identity, order of columns.

use crate::casts::CastClass;
use crate::catalog::{Column, Ident, Table};
use crate::projection::{CopyFormat, KeyColumn, KeyOrder, ProjectedColumn, RowIdentity, SourceColumn};
use crate::resolve::RowBytes;
use crate::resolve::scope::Scope;

pub(crate) fn identity(scope: &Scope<'_>, projected: &[ProjectedColumn], _wanted: &Table) -> RowIdentity {
    let Some(key) = &scope.key else { return RowIdentity::FullRow };
    let target: Vec<Ident> = key.columns.iter().filter_map(|column| scope.renames.get(column).cloned()).collect();
    let order = |column: &Ident| {
        let ty = &scope.table.column(column)?.ty;
        let keeps = projected.iter().find(|projected| scope.renames.get(column) == Some(&projected.target))?;
        let ordered = [
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
        matches!(keeps.class, CastClass::Identical | CastClass::Widening)
            .then(|| ordered.into_iter().find(|(name, _)| ty.is(name)).map(|(_, order)| order))?
    };
    let source: Option<Vec<KeyColumn>> =
        key.columns.iter().map(|column| Some(KeyColumn { name: column.clone(), order: order(column)? })).collect();
    match source {
        Some(source) => RowIdentity::OrderedKey { source, target },
        None => RowIdentity::Key {
            source: key.columns.clone(),
            target,
            reason: "the order of its key is known to PostgreSQL alone".to_owned(),
        },
    }
}

pub(crate) fn format(_source: &[SourceColumn], _columns: &[ProjectedColumn]) -> (CopyFormat, String) {
    (CopyFormat::Text, "text is read by every version".to_owned())
}

pub(crate) fn pack(columns: Vec<Column>) -> Vec<Column> {
    columns
}

pub(crate) fn row_bytes(_before: &Table, _after: &Table) -> RowBytes {
    RowBytes { before: 0, after: 0 }
}
