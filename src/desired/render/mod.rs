//! A catalog → the desired schema in SQL that describes it: what `pcrd inspect --format sql` writes. Read again it says the
//! same, and PostgreSQL makes the same tables of it.

mod left;
mod objects;
mod order;
mod schema;
mod table;

pub use schema::desired_sql;
