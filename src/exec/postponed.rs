//! Rows that were read again and cannot be written yet: another row still has a unique value that the source has given
//! away since.
//!
//! A row that is read again is as of now, while the rows around it are as of the stream. Two rows that exchange a unique
//! value meet on the target although they never did on the source. Such a row waits, and its group with it, until the
//! stream has passed whatever was read again: then all rows are as of one moment, and what still collides is no accident.

use bytes::Bytes;

use super::ExecError;
use super::copy::paste;
use super::stream::Applier;
use crate::replay::{Key, Lsn};

/// A row that waits.
pub struct Postponed {
    /// Number of its table.
    pub table: usize,
    /// Its key.
    pub key: Key,
    /// The row in the form of the table's COPY.
    copy: Bytes,
}

impl ExecError {
    /// True when two rows cannot stand side by side on the target.
    pub(super) fn is_collision(&self) -> bool {
        let code = match self {
            Self::Postgres { error, .. } => error.sqlstate(),
            Self::Refused(refused) => refused.error.sqlstate(),
            _ => None,
        };
        matches!(code, Some("23505" | "23P01"))
    }
}

impl Applier {
    /// Writes a row that was read again, or keeps it for later.
    pub(super) async fn write_or_postpone(&mut self, table: usize, key: Key, copy: Bytes) -> Result<(), ExecError> {
        if self.write_one(table, copy.clone()).await?.is_some() {
            self.postponed.push(Postponed { table, key, copy });
        }
        Ok(())
    }

    /// Writes a row in a subtransaction; gives the collision that kept it out.
    async fn write_one(&mut self, table: usize, copy: Bytes) -> Result<Option<ExecError>, ExecError> {
        let doing = "write a row that was read again";
        self.target.batch_execute("SAVEPOINT pcrd_row").await.map_err(ExecError::target(doing))?;
        let (found, end) = match paste(&self.target, &self.tables[table], copy).await {
            Ok(()) => (None, "RELEASE pcrd_row"),
            Err(error) if error.is_collision() => (Some(error), "ROLLBACK TO pcrd_row; RELEASE pcrd_row"),
            Err(error) => return Err(error),
        };
        self.target.batch_execute(end).await.map_err(ExecError::target(doing))?;
        Ok(found)
    }

    /// Takes a row out of those that wait; false when it does not.
    pub(super) fn take_postponed(&mut self, table: usize, key: &Key) -> bool {
        let before = self.postponed.len();
        self.postponed.retain(|row| row.table != table || row.key != *key);
        self.postponed.len() < before
    }

    /// Writes what waits, now that the stream has reached a position; false when something must wait on.
    ///
    /// # Errors
    /// A collision that no change of the stream will end.
    pub(super) async fn write_postponed(&mut self, reached: Lsn) -> Result<bool, ExecError> {
        let mut collision = None;
        for row in std::mem::take(&mut self.postponed) {
            if let Some(found) = self.write_one(row.table, row.copy.clone()).await? {
                collision = Some(found);
                self.postponed.push(row);
            }
        }
        let Some(collision) = collision else { return Ok(true) };
        match self.shared.router().rereads_until() {
            Some(until) if until > reached => {
                // An idle source must be made to move.
                self.shared.want(until);
                Ok(false)
            }
            _ => Err(collision),
        }
    }
}
