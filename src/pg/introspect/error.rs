//! What can go wrong while a catalog is read.

use crate::catalog::NameError;

/// Why a catalog could not be read.
#[derive(Debug, thiserror::Error)]
pub enum IntrospectError {
    /// The server refused or broke off a query.
    #[error("failed to read {what} from the catalog")]
    Query {
        /// The family of objects.
        what: &'static str,
        /// The server's error.
        #[source]
        source: tokio_postgres::Error,
    },
    /// A row is not what the query promises: an object vanished while it was read, or the server is too new.
    #[error("the catalog gave an unreadable row for {what}")]
    Row {
        /// The family of objects.
        what: &'static str,
        /// The first difference.
        #[source]
        source: serde_json::Error,
    },
    /// A name that no statement of ours could carry safely.
    #[error("{object} has a name that cannot be used: {source}")]
    Name {
        /// The object, as far as it can be named.
        object: String,
        /// The rule that its name breaks.
        #[source]
        source: NameError,
    },
    /// A catalog code that this version does not know.
    #[error("{object} has the unknown {code} `{value}`")]
    Code {
        /// The object.
        object: String,
        /// The catalog column.
        code: &'static str,
        /// Its value.
        value: String,
    },
    /// An identity column without its sequence, a replica identity without its index, and the like.
    #[error("{object} has no {part}; the catalog is damaged or changed while it was read")]
    Missing {
        /// The object.
        object: String,
        /// What belongs to it.
        part: &'static str,
    },
    /// Older or newer than any version that the queries were written for.
    #[error("the server has PostgreSQL {0}; versions from 10 on are supported")]
    Version(u32),
}
