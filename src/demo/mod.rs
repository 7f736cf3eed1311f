//! The demo: two local clusters, three tables, and an application that keeps writing. Uses the library as anyone would.

mod clusters;
mod error;
mod guard;
mod op;
mod seed;
mod settings;
mod summary;
mod writer;

pub use clusters::{Demo, down, find, up};
pub use error::DemoError;
pub use guard::{MARK, TABLES, check_marked, mark, reset, setup};
pub use op::Side;
pub use seed::{Seeded, seed};
pub use summary::{Checked, Counts, Summary, check_acknowledged};
pub use writer::{Load, Writer};
