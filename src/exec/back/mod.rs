//! The way back: after the switch, changes of the target go to the source through the inverse projections, by the same
//! code that brought them, until the operator goes back or gives the way back up.
//!
//! The same run, seen in a mirror: its source is the target, and its ledger is on the source.

mod arm;
mod follow;
mod mirror;
mod rights;
mod rollback;
mod stand;
mod watch;

pub use arm::{arm, disarm, prepare};
pub use mirror::id;
pub use stand::{Wish, give_up, is_under_way, remove_from_source, remove_from_target, stand};
