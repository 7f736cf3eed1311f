//! The command line: one file per command. Commands print through [`context::Context`] only; `error` decides exit codes.

pub mod analysis;
pub mod args;
pub mod catalogs;
pub mod command;
pub mod compile;
pub mod config_schema;
pub mod confirm;
pub mod context;
pub mod database;
pub mod demo_run;
pub mod desired;
pub mod diagnostic;
pub mod error;
pub mod events;
pub mod executor;
pub mod expressions;
pub mod in_doubt;
pub mod manifest;
pub mod output;
pub mod planning;
pub mod programs;
pub mod row_key;
pub mod run;
pub mod schema_files;
pub mod shutdown;
pub mod under_way;
mod views;

pub use error::{CommandError, Exit};
pub use run::main;
