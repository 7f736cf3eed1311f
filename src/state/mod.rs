//! The operator's journal: one SQLite file with plans, steps and events. A record and a cache; the ledger on the
//! target is the truth, and losing this file loses nothing.
//!
//! Architecture invariant: it stores ids, positions and times, never ops.

pub mod error;
pub mod journal;
mod lock;
pub mod open;
pub mod status;
pub mod view;

pub use error::JournalError;
pub use journal::Journal;
pub use open::Rebuilt;
pub use status::{IllegalTransition, StepStatus};
pub use view::{JournalView, StepRow};
