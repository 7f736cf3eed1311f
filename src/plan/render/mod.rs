//! A plan for people: one document, written in several ways so that they cannot drift apart.

pub mod amount;
pub mod back;
mod bare;
pub mod comparison;
mod cutover;
pub mod ddl;
pub mod document;
pub mod escape;
pub mod graph;
pub mod json;
mod known;
pub mod limits;
mod lookup;
pub mod markdown;
pub mod sql;
pub mod text;

pub use document::{Document, document, document_at};
pub use json::json;
pub use markdown::markdown;
pub use sql::sql;
pub use text::{Detail, text};
