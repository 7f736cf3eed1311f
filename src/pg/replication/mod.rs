//! Replication connections: slots, exported snapshots, and the stream of changes. The driver has none of it.

mod auth;
mod connect;
mod feedback;
mod reader;
mod slot;
mod stream;
mod wire;

pub use connect::{Replication, connect};
pub use feedback::Confirm;
pub use slot::{CreatedSlot, NewSlot, SystemIdentity};
pub use stream::{Incoming, Nudge, PgoutputOptions, Stream, StreamLimits};
