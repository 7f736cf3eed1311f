//! What can go wrong in the demo.

use std::path::PathBuf;

use crate::pg::error::PgError;
use crate::pg::local::LocalError;

/// Why the demo did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The database is somebody's, as far as we can tell.
    #[error("the database {database} is not marked as demo and not empty ({found}): refusing to touch it")]
    NotDemo {
        /// The database.
        database: String,
        /// What was found there.
        found: String,
    },
    /// `seed` or `reset` before `setup`.
    #[error("the database {0} is not marked as demo: run `pcrd demo setup` first")]
    NotSetUp(String),
    /// `down` or `run` before `up`.
    #[error("no demo in {}: run `pcrd demo up` first", .0.display())]
    NotUp(PathBuf),
    /// The directory exists and was not written by `up`.
    #[error("{} was not written by `pcrd demo up`: refusing to touch it", .0.display())]
    Foreign(PathBuf),
    /// No server programs at all.
    #[error("no PostgreSQL server programs on this machine: install PostgreSQL, or run `dev/postgres fetch 15`")]
    NoServer,
    /// Every port of the range is taken.
    #[error("no free port between {0} and {1} on 127.0.0.1")]
    NoPort(u16, u16),
    /// The writer met an error that no retry mends.
    #[error("the demo's writer stopped")]
    Writer(#[source] PgError),
    /// The database said no.
    #[error(transparent)]
    Pg(#[from] PgError),
    /// A local server did not do what it should.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// A file operation failed.
    #[error("failed to {action} {}", path.display())]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl From<tokio_postgres::Error> for DemoError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Pg(error.into())
    }
}
