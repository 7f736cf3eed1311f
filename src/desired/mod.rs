//! What the user wrote, with spans: the tables of the config (`yaml`), checked and collected in one model;
//! schemas in SQL (`sql`), and a catalog written as one (`render`).
//!
//! Pure: `config` reads the file and hands the text over.

#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

pub mod carry;
pub mod check;
pub mod document;
pub mod fields;
pub mod glob;
pub mod model;
pub mod problem;
pub mod render;
pub mod selection;
pub mod sql;
pub mod yaml;

pub use carry::Carry;
pub use model::*;
