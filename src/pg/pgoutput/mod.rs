//! The messages of the `pgoutput` plugin, protocol version 1, as data.
//!
//! Pure, and zero-copy: every value is a slice of the buffer it arrived in.

#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

mod cursor;
mod decode;
mod message;
mod tuple;

pub use decode::{DecodeError, decode};
pub use message::{
    Begin, Commit, LogicalMessage, Message, OldKind, Origin, Relation, RelationColumn, ReplicaIdentity, Truncate,
    TypeName,
};
pub use tuple::{ColumnData, Tuple};
