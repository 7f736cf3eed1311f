//! The tables on the target that make progress atomic with the data: the truth that every restart reads.
//!
//! Stores ids, positions and key texts, never plan operations or row values.

pub mod added;
pub mod adoption;
pub mod chunk;
pub mod cutover;
pub mod error;
pub mod given;
pub mod hook;
pub mod lock;
pub mod migration;
pub mod progress;
pub mod repair;
pub mod request;
pub mod skipped;
pub mod step;
pub mod unreadable;
pub mod way_back;

pub use error::LedgerError;

/// DDL of the ledger; every statement can run again.
pub const SCHEMA_SQL: &str = include_str!("schema.sql");

/// Version of the ledger's layout.
pub const FORMAT: i32 = 1;
