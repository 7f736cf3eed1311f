//! The way back: after the switch, changes of the target go to the source through the inverse projections, by the same
//! code that brought them, until the operator goes back or gives the way back up.
//!
//! The same run, seen in a mirror: its source is the target, and its ledger is on the source.

mod arm;
mod clients;
mod disarm;
mod follow;
mod looks;
mod mirror;
mod remove;
mod rights;
mod rollback;
mod stand;
mod watch;

pub use arm::{PROBE, Prepared, arm, prepare};
pub use clients::{is_in_doubt, left};
pub use disarm::{disarm, disarm_or_say};
pub use mirror::id;
pub use remove::{BOTH_CLOSED, give_up, remove_from_source, remove_from_target};
pub use rights::hidden;
pub use rollback::{has_everything, is_closed};
pub use stand::{Wish, is_under_way, stand};
