//! What a chunk of a table is, before its bounds are known.

use crate::catalog::QualifiedName;
use crate::projection::{CopyOrder, Projection, RowIdentity};
use crate::sql::ident;
use crate::sql::with_partitions;

/// The predicate of a chunk with placeholders: `$lo` and `$hi` are the bounds of the key, `$ctid_range` a range
/// of blocks of a table that is not copied in the order of a key.
pub fn predicate(projection: &Projection) -> String {
    match &projection.identity {
        RowIdentity::OrderedKey { source, copy: CopyOrder::ByKey, .. } => {
            let key = source.iter().map(|column| ident(&column.name)).collect::<Vec<_>>().join(", ");
            format!("ROW({key}) >= ROW($lo) AND ROW({key}) < ROW($hi)")
        }
        RowIdentity::OrderedKey { copy: CopyOrder::ByBlocks { .. }, .. }
        | RowIdentity::Key { .. }
        | RowIdentity::FullRow => "$ctid_range".to_owned(),
    }
}

/// The lock that keeps TRUNCATE and rewrites out; taken before the snapshot, or the snapshot could show an empty table.
pub fn lock_for_reading(table: &QualifiedName, partitioned: bool) -> String {
    format!("LOCK TABLE {} IN ACCESS SHARE MODE", with_partitions(table, partitioned))
}
