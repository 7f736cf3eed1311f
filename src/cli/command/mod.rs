//! One file per command: its arguments (doc comments are the help texts) and its `run`.

pub mod completions;
pub mod man;
pub mod schema;
