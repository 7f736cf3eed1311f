//! What can be wrong with the ledger.

use crate::replay::Lsn;

/// The ledger could not be read or written, or does not say what it must.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Somebody else's schema stands where the ledger goes.
    #[error(
        "the target's schema pcrd belongs to {owner:?}: it may be made to run code with our rights. If it is a ledger of pcrd, \
         run ALTER SCHEMA pcrd OWNER TO this role; else rename it"
    )]
    Foreign {
        /// Its owner.
        owner: String,
    },
    /// A statement failed.
    #[error("the ledger on the target: {0}")]
    Postgres(#[from] tokio_postgres::Error),
    /// Another executor took the migration over, or the row is gone: nothing was written.
    #[error("another executor has taken over this migration (epoch {epoch} is no longer the current one{})", or_past(.lsn))]
    Fenced {
        /// The epoch of this executor.
        epoch: i64,
        /// The position that it wanted to record; 0 when it was none.
        lsn: Lsn,
    },
    /// The migration is not registered, or not any more.
    #[error("the ledger has no migration {id} any more; nothing was written")]
    Gone {
        /// Its id.
        id: String,
    },
    /// The ledger has another layout.
    #[error(
        "the ledger has format {found}, this pcrd writes format {expected}; use the version that started the migration"
    )]
    Format {
        /// In the database.
        found: i32,
        /// Of this build.
        expected: i32,
    },
    /// A stored value cannot be read: the ledger was edited or damaged.
    #[error("the ledger's {what} cannot be read: {why}")]
    Damaged {
        /// Which value.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// The run goes on under another plan.
    #[error("plan {id} was replaced: its run goes on under plan {by}")]
    Replaced {
        /// The earlier plan.
        id: String,
        /// The one that adopted its work.
        by: String,
    },
    /// The plan was carried through already.
    #[error("plan {0} is finished; a finished plan cannot be applied again")]
    Finished(String),
}

impl LedgerError {
    pub(super) fn damaged(what: &'static str, why: impl ToString) -> Self {
        Self::Damaged { what, why: why.to_string() }
    }
}

fn or_past(lsn: &Lsn) -> String {
    if *lsn == Lsn(0) { String::new() } else { format!(", or applied position is already past {lsn}") }
}
