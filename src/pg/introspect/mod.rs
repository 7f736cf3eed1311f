//! Reads a database into [`Catalog`](crate::catalog::Catalog), PostgreSQL 10 to 18.
//!
//! One query per family of objects, whatever the number of tables; the queries are in `pg/queries`. They give one JSON
//! document per row (`row`), which `assemble*` turns into the model.

mod assemble;
mod assemble_table;
mod error;
mod query;
mod read;
mod row;

pub use error::IntrospectError;
pub use read::{catalog, server, tables, tables_inside};
