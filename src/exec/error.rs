//! Why a run stops. Values are masked; SQLSTATEs are kept.

use crate::ledger::LedgerError;
use crate::plan::End;
use crate::replay::Lsn;

/// A run stopped.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// A connection or statement failed.
    #[error("{side}: {doing}: {error}")]
    Postgres {
        /// Which end.
        side: End,
        /// What was being done.
        doing: String,
        /// The server's or the connection's error.
        error: crate::pg::error::PgError,
    },
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The replication connection failed.
    #[error("replication from the source: {0}")]
    Replication(crate::pg::error::PgError),
    /// The stream has bytes that are no pgoutput message.
    #[error("replication from the source: {0}")]
    Decode(#[from] crate::pg::pgoutput::DecodeError),
    /// Something is not as the plan says.
    #[error("{what} is not as the plan says: {difference}")]
    Stale {
        /// The object.
        what: String,
        /// What differs.
        difference: String,
    },
    /// The projection cannot be rendered.
    #[error(transparent)]
    Projection(#[from] crate::sql::expr::ProjectionError),
    /// Another executor is at work.
    #[error("another executor is at work on {what}")]
    Busy {
        /// The table or migration that is locked.
        what: String,
    },
    /// Preflight found something that must be mended first.
    #[error("{} check(s) failed before anything was written", .0.len())]
    Preflight(Vec<super::preflight::Failure>),
    /// Rows of the source would not survive the change.
    #[error("a data check failed before anything was written:\n  {}", .0.join("\n  "))]
    Checks(Vec<String>),
    /// The catalogs could not be read.
    #[error(transparent)]
    Introspect(#[from] crate::pg::introspect::IntrospectError),
    /// The slot or the position cannot prove that no change is missing.
    #[error("continuity of the change stream cannot be proved: {reason}")]
    Gap {
        /// Why.
        reason: String,
    },
    /// A statement changed another number of rows than the one row it must change.
    #[error(
        "strict apply: {kind} on {table} changed {found} rows instead of 1, in the transaction that ends at {lsn}; the target was changed by somebody else"
    )]
    Strict {
        /// insert, update or delete.
        kind: &'static str,
        /// Target table.
        table: String,
        /// Rows changed.
        found: u64,
        /// Commit position of the source transaction.
        lsn: Lsn,
    },
    /// The target refuses a streamed row.
    #[error("the target refuses {kind} on {table}{constraint}, in the transaction that commits at {lsn}: {error}")]
    Poison {
        /// insert, update or delete.
        kind: &'static str,
        /// Target table.
        table: String,
        /// ` (constraint …)`, when the server names one.
        constraint: String,
        /// Commit position of the source transaction.
        lsn: Lsn,
        /// The server's error.
        error: crate::pg::error::PgError,
    },
    /// Rows differ.
    #[error("verification found {count} difference(s): {first}")]
    Different {
        /// Number of differences.
        count: u64,
        /// The first ones.
        first: String,
    },
    /// The cutover was given up; the source is open for writes.
    #[error("the cutover was given up and the source is open again: {reason}")]
    CutoverAborted {
        /// Why.
        reason: String,
    },
    /// The stream was ended for a cutover that was then given up: the run begins again from the ledger.
    #[error("the stream was ended for a cutover that was given up")]
    StreamEnded,
    /// Asked to stop; everything can be continued.
    #[error("interrupted; run the same command again to continue")]
    Interrupted,
    /// Somebody asked for `abort`.
    #[error("aborted by request")]
    AbortRequested,
    /// A step of the plan cannot be decided or done.
    #[error("step {step}: {reason}")]
    Step {
        /// The step.
        step: String,
        /// Why.
        reason: String,
    },
    /// A part of pcrd panicked: a mistake in pcrd, not in what it was given.
    #[error("internal error: {0}; this is a bug in pcrd, please report it")]
    Panic(String),
    /// The fault harness asked for an error here.
    #[error("failpoint {0}")]
    Failpoint(&'static str),
}

impl ExecError {
    /// True when the same thing may succeed by beginning again from the ledger.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Postgres { error, .. } | Self::Replication(error) | Self::Poison { error, .. } => {
                error.is_transient()
            }
            Self::Ledger(LedgerError::Postgres(error)) => {
                let code = error.code().map_or("", |code| code.code());
                error.is_closed()
                    || code.starts_with("08")
                    || code.starts_with("57P")
                    || matches!(code, "40001" | "40P01" | "55P03")
            }
            Self::StreamEnded => true,
            _ => false,
        }
    }

    /// What a task that did not end by itself died of.
    pub(super) fn task(error: tokio::task::JoinError) -> Self {
        match error.try_into_panic() {
            Ok(panic) => Self::panic(panic.as_ref()),
            Err(_cancelled) => Self::Interrupted,
        }
    }

    /// A panic that was caught.
    pub fn panic(panic: &(dyn std::any::Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Self::Panic(text.unwrap_or("a panic without words").to_owned())
    }

    /// True when the source refused a statement: what it is about may have changed.
    pub fn is_refusal_of_source(&self) -> bool {
        matches!(self, Self::Postgres { side: End::Source, .. }) && !self.is_transient()
    }

    /// Wraps a tokio-postgres error on the source.
    pub(super) fn source(doing: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> Self {
        let doing = doing.into();
        move |error| Self::Postgres { side: End::Source, doing, error: error.into() }
    }

    /// Wraps a tokio-postgres error on the target.
    pub(super) fn target(doing: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> Self {
        let doing = doing.into();
        move |error| Self::Postgres { side: End::Target, doing, error: error.into() }
    }
}
