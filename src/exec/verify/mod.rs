//! Verification: of chunks while the stream goes on, of what was written since when writes have stopped.

pub mod chunk_rows;
pub mod fence;
pub mod keys;
pub mod left_out;
pub mod live;
pub mod moment;
pub mod pass;
pub mod ranges;
pub mod repair;
pub mod sides;
pub mod standalone;
pub mod strays;
pub mod whole;
pub mod wish;

pub use fence::{Ready, at_fence, ready};
pub use pass::{before_fence, tables};
pub use repair::answer;
pub use standalone::standalone;
pub use wish::{Asked, Wish};
