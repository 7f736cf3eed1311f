//! One executor at a time per target table: session advisory locks.
//!
//! Any role could take such a lock, so it only gives an early, clear refusal; the epoch in `pcrd.progress` is the guard.

use sha2::{Digest, Sha256};
use tokio_postgres::Client;

use super::LedgerError;
use crate::catalog::QualifiedName;

fn lock_key(table: &QualifiedName) -> i64 {
    key_of(&table.to_string())
}

/// Held while the schema `pcrd` of a server is made or removed.
pub fn ledger_key() -> i64 {
    key_of("the ledger itself")
}

fn slot_key(slot: &str) -> i64 {
    key_of(&format!("slot {slot}"))
}

fn key_of(what: &str) -> i64 {
    let digest = Sha256::digest(format!("pcrd {what}"));
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(bytes)
}

/// Takes the locks of all tables for the life of the session, or tells which one somebody else holds.
pub async fn take(client: &Client, tables: &[QualifiedName]) -> Result<Result<(), QualifiedName>, LedgerError> {
    let mut sorted = tables.to_vec();
    sorted.sort();
    for table in sorted {
        let row = client.query_one("SELECT pg_catalog.pg_try_advisory_lock($1)", &[&lock_key(&table)]).await?;
        if !row.get::<_, bool>(0) {
            return Ok(Err(table));
        }
    }
    Ok(Ok(()))
}

/// Takes the lock of a slot's name on the source: two targets, or two sets of tables, may be planned with one slot.
pub async fn take_slot(source: &Client, slot: &str) -> Result<bool, LedgerError> {
    let row = source.query_one("SELECT pg_catalog.pg_try_advisory_lock($1)", &[&slot_key(slot)]).await?;
    Ok(row.get(0))
}

/// Gives back every lock of this session.
pub async fn release_all(client: &Client) -> Result<(), LedgerError> {
    client.execute("SELECT pg_catalog.pg_advisory_unlock_all()", &[]).await?;
    Ok(())
}

/// True when a session of this server holds the lock of the table: an executor is alive.
pub async fn held(client: &Client, table: &QualifiedName) -> Result<bool, LedgerError> {
    key_held(client, lock_key(table)).await
}

/// True when a session of this server holds the lock of the slot's name.
pub async fn slot_held(source: &Client, slot: &str) -> Result<bool, LedgerError> {
    key_held(source, slot_key(slot)).await
}

async fn key_held(client: &Client, key: i64) -> Result<bool, LedgerError> {
    let (high, low) = ((key >> 32) as u32, key as u32);
    let row = client
        .query_one(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 \
             AND classid = $1 AND objid = $2 AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))",
            &[&high, &low],
        )
        .await?;
    Ok(row.get(0))
}
