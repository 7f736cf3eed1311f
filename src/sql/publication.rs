//! Publication, slot and stream.

use crate::catalog::{Ident, QualifiedName};
use crate::sql::{ident, literal, name};

/// First major that decodes TRUNCATE and knows it in `publish`.
pub const TRUNCATE_SINCE: u32 = 11;
/// First major whose pgoutput delivers messages.
pub const MESSAGES_SINCE: u32 = 14;

/// First major that publishes a partitioned table's changes as its own.
pub const ROOTS_SINCE: u32 = 13;

/// `CREATE PUBLICATION` for exactly these tables, children left out. With `via_root`, what is written to a partition is
/// published as written to the table that it is a partition of.
pub fn create(publication: &Ident, tables: &[QualifiedName], via_root: bool, source_major: u32) -> String {
    let only = tables.iter().map(|table| format!("ONLY {}", name(table))).collect::<Vec<_>>().join(", ");
    let kinds =
        if source_major >= TRUNCATE_SINCE { "insert, update, delete, truncate" } else { "insert, update, delete" };
    let via_root = if via_root { ", publish_via_partition_root = true" } else { "" };
    format!("CREATE PUBLICATION {} FOR TABLE {only} WITH (publish = {}{via_root})", ident(publication), literal(kinds))
}

/// `DROP PUBLICATION`.
pub fn drop(publication: &Ident) -> String {
    format!("DROP PUBLICATION {}", ident(publication))
}

/// Replication command; every supported version reads this form.
pub fn create_slot(slot: &Ident) -> String {
    format!("CREATE_REPLICATION_SLOT {} LOGICAL pgoutput EXPORT_SNAPSHOT", ident(slot))
}

/// Drops a slot that nobody reads.
pub fn drop_slot(slot: &Ident) -> String {
    format!("SELECT pg_catalog.pg_drop_replication_slot({})", literal(slot.as_str()))
}

/// Replication command; `$applied_lsn` is the position that the ledger holds.
pub fn start(slot: &Ident, publication: &Ident, source_major: u32) -> String {
    let messages = if source_major >= MESSAGES_SINCE { ", messages 'true'" } else { "" };
    let names = literal(&ident(publication));
    format!(
        "START_REPLICATION SLOT {} LOGICAL $applied_lsn (proto_version '1', publication_names {names}{messages})",
        ident(slot)
    )
}

/// Creates a slot without a snapshot.
pub fn create_slot_now(slot: &Ident) -> String {
    format!("SELECT pg_catalog.pg_create_logical_replication_slot({}, 'pgoutput')", literal(slot.as_str()))
}

/// Moves a slot that nobody reads; `$target_lsn` is known when nothing more comes from the source.
pub fn advance_slot(slot: &Ident) -> String {
    format!("SELECT pg_catalog.pg_replication_slot_advance({}, $target_lsn)", literal(slot.as_str()))
}

/// The message that shows the way back; the nonce in it is secret until then.
pub fn probe() -> String {
    "SELECT pg_catalog.pg_logical_emit_message(true, 'pcrd', $probe)".to_owned()
}
