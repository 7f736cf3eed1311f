//! A plan for people: one document, written in several ways so that they cannot drift apart.

pub mod amount;
pub mod document;
pub mod json;
pub mod sql;
pub mod text;

pub use document::{Document, document};
pub use json::json;
pub use sql::sql;
pub use text::{Detail, text};
