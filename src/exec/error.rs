//! Why a run stops. Values are masked; SQLSTATEs are kept.

use std::sync::Arc;

use crate::catalog::QualifiedName;
use crate::ledger::LedgerError;
use crate::plan::End;
use crate::plan::adoption::NotAdoptable;
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
    #[error("the change stream: {0}")]
    Replication(crate::pg::error::PgError),
    /// The stream has bytes that are no pgoutput message.
    #[error("the change stream: {0}")]
    Decode(#[from] crate::pg::pgoutput::DecodeError),
    /// Something is not as the plan says.
    #[error("{what} is not as the plan says: {difference}")]
    Stale {
        /// The object.
        what: String,
        /// What differs.
        difference: String,
    },
    /// A source table has not the shape that this attempt knows. The plan lets columns come: the next attempt looks at
    /// what it is.
    #[error("{table} changed on the {end}: {difference}")]
    Reshaped {
        /// Where the stream comes from.
        end: End,
        /// Source table.
        table: QualifiedName,
        /// Columns that the stream has and the attempt does not know.
        columns: Vec<String>,
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
    /// A comparison of one moment was asked for, and there is none to be had.
    #[error("the two ends were not compared at one moment: {reason}")]
    NoMoment {
        /// Why.
        reason: String,
    },
    /// The run cannot go on under the new plan, and is as it was.
    #[error("the run cannot go on under this plan: {0}; nothing was changed")]
    NotAdoptable(#[from] NotAdoptable),
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
        "strict apply: {kind} on {table}{row} changed {found} rows instead of 1, in the transaction that ends at {lsn}; the {end} was changed by somebody else"
    )]
    Strict {
        /// Where the stream goes.
        end: End,
        /// insert, update or delete.
        kind: &'static str,
        /// Target table.
        table: String,
        /// `, row (7)`, with a key that may be shown.
        row: String,
        /// Rows changed.
        found: u64,
        /// Commit position of the source transaction.
        lsn: Lsn,
    },
    /// The target refuses a streamed row.
    #[error(transparent)]
    Refused(Arc<Refused>),
    /// A connection reached another server, or another history, than the attempt began with.
    #[error("{side}: the connection leads to another server than the run began with: {difference}")]
    Moved {
        /// Which end.
        side: End,
        /// What differs.
        difference: String,
    },
    /// The session that held the executor's locks is gone.
    #[error("{side}: the session that held the executor's locks was lost")]
    LockLost {
        /// Which end.
        side: End,
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
    /// Nobody knows where the clients are.
    #[error(
        "the switch hook {why}\nwhether the clients were moved is not known: {ends}, and the hook is not run again by itself"
    )]
    SwitchUnknown {
        /// They were to go back to the source.
        is_back: bool,
        /// What becomes of writes at either end.
        ends: &'static str,
        /// What is known of the call.
        why: String,
    },
    /// The clients were not moved.
    #[error("the switch hook did not run, and {ends}: {why}")]
    SwitchNotStarted {
        /// They were to go back to the source.
        is_back: bool,
        /// What becomes of writes at either end.
        ends: &'static str,
        /// Why.
        why: String,
    },
    /// The rollback was given up; the target is open for writes.
    #[error("the rollback was given up and the target takes writes: {reason}")]
    RollbackAborted {
        /// Why.
        reason: String,
    },
    /// The source is not the one that was closed at the switch, or lacks what came to it since. Nothing was changed.
    #[error("the source was restored, or failed over to a server that is behind: {reason}")]
    SourceBehind {
        /// What it lacks.
        reason: String,
    },
    /// The fence of the switch was taken down by hand. Nothing goes back, and nothing was closed.
    #[error("the source may take writes beside the target, and nothing goes back to it: {reason}")]
    Unfenced {
        /// What is missing.
        reason: String,
    },
    /// The target is not the one that the source was opened for, or is a state of it from before. Nothing was changed.
    #[error("the target was restored, or failed over to a server that is behind: {reason}")]
    TargetBehind {
        /// What it does not know.
        reason: String,
    },
    /// Only the source knows whether it is the database. Nothing was changed.
    #[error("{state}; the source cannot be asked: {error}")]
    SourceUnknown {
        /// What the target says.
        state: &'static str,
        /// Why it cannot be asked.
        error: Box<Self>,
    },
    /// A change of the target that cannot be made on the source as it was made there.
    #[error("{what} has no way back, in the transaction that commits at {lsn}: {why}")]
    NoWayBack {
        /// The change, with its table.
        what: String,
        /// Why.
        why: String,
        /// Commit position of its transaction on the target.
        lsn: Lsn,
    },
    /// A row could not go back. The target goes on.
    #[error("the way back is closed, and the target goes on: {reason}")]
    WayBackClosed {
        /// Which row, and why.
        reason: String,
    },
    /// The pooler does not do what it is asked for.
    #[error("pgbouncer: {reason}")]
    Pooler {
        /// What was asked for, and why it was not done.
        reason: String,
    },
    /// The stream was ended for a cutover that was then given up: the run begins again from the ledger.
    #[error("the stream was ended for a cutover that was given up")]
    StreamEnded,
    /// After the switch: what can be done about it is not what could be done before.
    #[error(transparent)]
    AfterSwitch(Box<Self>),
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

/// A streamed row that the target does not take, or on the way back the source.
#[derive(Debug, thiserror::Error)]
#[error("the {end} refuses {kind} on {table}{row}{constraint}, in the transaction that commits at {lsn}: {error}")]
pub struct Refused {
    /// Where the stream goes.
    pub end: End,
    /// insert, update or delete.
    pub kind: &'static str,
    /// Target table.
    pub table: String,
    /// `, row (7)`, with a key that may be shown.
    pub row: String,
    /// The key, when the row has one.
    pub key: Option<Vec<String>>,
    /// ` (constraint …)`, when the server names one.
    pub constraint: String,
    /// Commit position of the source transaction.
    pub lsn: Lsn,
    /// The server's error.
    pub error: crate::pg::error::PgError,
    /// Rows of the target are newer than the stream, because they were read again.
    pub beside_reread: bool,
    /// The target has the partitions of its source, and none for the row. Every row of that partition would fare alike, and the
    /// next attempt looks for the partition before anything else.
    pub lacks_partition: bool,
}

impl Refused {
    /// The row's key, when it is the row that is refused, and not the server that cannot go on or a table that is not what
    /// it was: then no other row would fare better.
    pub fn to_leave_out(&self) -> Option<&[String]> {
        let class = self.error.sqlstate()?.get(..2)?;
        let is_of_row =
            !matches!(class, "08" | "25" | "28" | "3B" | "40" | "42" | "53" | "55" | "57" | "58" | "F0" | "XX");
        self.key.as_deref().filter(|_| is_of_row && !self.lacks_partition)
    }

    /// The key under which the source can be asked for the row again: a value that does not fit may have been mended
    /// since.
    pub fn to_read_again(&self) -> Option<(String, Vec<String>)> {
        let code = self.error.sqlstate();
        let may_fit = code.is_some_and(is_of_value) || self.beside_reread && matches!(code, Some("23505" | "23P01"));
        self.key.clone().filter(|_| may_fit && !self.lacks_partition).map(|key| (self.table.clone(), key))
    }
}

/// Of a table with partitions no other refusal of this code is about no constraint.
pub(super) fn lacks_partition(
    task: &super::table::TableTask,
    sqlstate: Option<&str>,
    constraint: Option<&str>,
) -> bool {
    task.projection.onto_partitions && sqlstate == Some("23514") && constraint.is_none()
}

/// A value does not fit its type, its domain, a check, or what a function of the user's asks for.
pub(super) fn is_of_value(sqlstate: &str) -> bool {
    sqlstate.starts_with("22") || matches!(sqlstate, "23502" | "23514" | "P0001")
}

impl ExecError {
    /// True when the same thing may succeed by beginning again from the ledger.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Postgres { error, .. } | Self::Replication(error) => error.is_transient(),
            Self::Refused(refused) => refused.error.is_transient(),
            Self::Ledger(LedgerError::Postgres(error)) => {
                let code = error.code().map_or("", |code| code.code());
                error.is_closed()
                    || code.starts_with("08")
                    || code.starts_with("57P")
                    || matches!(code, "40001" | "40P01" | "55P03")
            }
            // What the new history has lost, if anything, is decided at the beginning of the next attempt.
            Self::StreamEnded | Self::LockLost { .. } | Self::Moved { .. } => true,
            _ => false,
        }
    }

    /// Why a task ended that goes on for as long as the run.
    pub(super) fn ended(ended: Result<Result<(), Self>, tokio::task::JoinError>) -> Self {
        match ended {
            Ok(Ok(())) => {
                Self::Stale { what: "executor".to_owned(), difference: "a background task ended early".to_owned() }
            }
            Ok(Err(error)) => error,
            Err(error) => Self::task(error),
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

    /// Of a run in a mirror: its source is the target.
    pub(super) fn mirrored(self) -> Self {
        match self {
            Self::Postgres { side, doing, error } => Self::Postgres { side: side.other(), doing, error },
            Self::Moved { side, difference } => Self::Moved { side: side.other(), difference },
            Self::LockLost { side } => Self::LockLost { side: side.other() },
            Self::Reshaped { end, table, columns, difference } => {
                Self::Reshaped { end: end.other(), table, columns, difference }
            }
            Self::Strict { end, kind, table, row, found, lsn } => {
                Self::Strict { end: end.other(), kind, table, row, found, lsn }
            }
            Self::Refused(mut refused) => {
                if let Some(refused) = Arc::get_mut(&mut refused) {
                    refused.end = refused.end.other();
                }
                Self::Refused(refused)
            }
            other => other,
        }
    }

    /// With advice for after the switch, unless it has its own.
    pub fn after_switch(self) -> Self {
        match self {
            own @ (Self::WayBackClosed { .. }
            | Self::RollbackAborted { .. }
            | Self::SourceBehind { .. }
            | Self::Unfenced { .. }
            | Self::TargetBehind { .. }
            | Self::SourceUnknown { .. }
            | Self::SwitchUnknown { .. }
            | Self::SwitchNotStarted { .. }
            | Self::Interrupted
            | Self::AbortRequested
            | Self::AfterSwitch(_)) => own,
            other => Self::AfterSwitch(Box::new(other)),
        }
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
