//! Runs a plan: one file per kind of step. Emits [`event::Event`]s; never prints.

pub mod admission;
pub mod apply;
pub mod batch;
pub mod catchup;
pub mod checks;
pub mod cleanup;
pub mod context;
pub mod copy;
pub mod cutover;
pub mod engine;
pub mod error;
pub mod event;
pub mod failpoint;
pub mod fence;
pub mod gate;
pub mod lanes;
pub mod preflight;
pub mod published;
pub mod report;
pub mod reread;
pub mod sequences;
pub mod setup;
pub mod shared;
pub mod slot;
pub mod snapshots;
pub mod steps;
pub mod stream;
pub mod table;
pub mod throttle;
pub mod touched;
pub mod truncate;
pub mod upkeep;
pub mod verify;
pub mod whole;

pub use error::ExecError;
