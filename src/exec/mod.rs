//! Runs a plan: one file per kind of step. Emits [`event::Event`]s; never prints.

pub mod checks;
pub mod event;
