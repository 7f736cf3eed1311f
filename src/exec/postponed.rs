//! Rows that were read again and cannot be written yet: another row still has a unique value that the source has given
//! away since.
//!
//! A row that is read again is as of now, while the rows around it are as of the stream. Two rows that exchange a unique
//! value meet on the target although they never did on the source. Such a row waits, and its group with it, until the
//! stream has passed whatever had been read again by then: what still collides is no accident.

use std::sync::Arc;

use bytes::Bytes;

use super::ExecError;
use super::batch::shown;
use super::copy::paste;
use super::error::{Refused, is_of_value, lacks_partition};
use super::stream::Applier;
use super::table::TableTask;
use crate::pg::error::PgError;
use crate::plan::End;
use crate::replay::{Key, Lsn};

/// A row that changes while it waits is tried again and waits anew, this often; then its wait is not prolonged any more, so
/// that it ends however often the row changes.
const RENEWALS_MAX: u32 = 10;

/// A row that waits.
pub struct Postponed {
    /// Number of its table.
    pub table: usize,
    /// Its key.
    pub key: Key,
    /// The row in the form of the table's COPY.
    copy: Bytes,
    /// Commit position of the transaction whose change it was read again for.
    commit: Lsn,
    /// Where it is due: fixed when it collides, however much is read again later.
    due: Due,
    /// It was tried and still collided.
    tried: bool,
    /// Changes that were read again after it had been tried in vain.
    renewals: u32,
}

/// The position by which a collision must have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// What it collides with is behind it, or ahead of the stream: there, both are as of the stream.
    First(Lsn),
    /// At the first position another row, ahead of the stream, may have taken the value since. Before this position the
    /// stream would then have brought a change of the waiting row, which gave the value away.
    Last(Lsn),
}

impl Due {
    /// What becomes of the wait at a position where the row still collides, with every row as of the stream from `newest`
    /// on; none when it is over.
    fn at(self, reached: Lsn, newest: Option<Lsn>) -> Option<Self> {
        match self {
            Self::First(until) | Self::Last(until) if until > reached => Some(self),
            Self::First(_) => newest.filter(|newest| *newest > reached).map(Self::Last),
            Self::Last(_) => None,
        }
    }

    fn until(self) -> Lsn {
        match self {
            Self::First(until) | Self::Last(until) => until,
        }
    }
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

    /// An answer to a row that was read again for a change of the transaction that commits at `lsn`, as the refusal of
    /// that row; on the source only what its values are to blame for.
    pub(super) fn refused_read_again(self, task: &TableTask, key: Option<Vec<String>>, lsn: Lsn) -> Self {
        let error = match self {
            Self::Postgres { side: End::Target, error, .. } if error.sqlstate().is_some() => error,
            Self::Postgres { error, .. } if error.sqlstate().is_some_and(is_of_value) => error,
            other => return other,
        };
        let constraint = match &error {
            PgError::Server(server) => server.constraint.as_ref().map(|name| format!(" (constraint {name})")),
            _ => None,
        };
        let lacks_partition = lacks_partition(task, error.sqlstate(), constraint.as_deref());
        Self::Refused(Arc::new(Refused {
            end: End::Target,
            kind: "a row read again",
            table: task.name.clone(),
            row: key.as_ref().map_or_else(String::new, |key| shown(key, task)),
            key,
            constraint: constraint.unwrap_or_default(),
            lsn,
            error,
            beside_reread: false,
            lacks_partition,
        }))
    }
}

impl Applier {
    /// Writes a row that was read again, or keeps it for later.
    pub(super) async fn write_or_postpone(&mut self, table: usize, key: Key, copy: Bytes) -> Result<(), ExecError> {
        if self.write_one(table, copy.clone()).await?.is_some() {
            // The row itself is among those that were read again.
            let due = Due::First(self.shared.router().rereads_until().unwrap_or_default());
            let commit = self.source()?.commit;
            self.postponed.push(Postponed { table, key, copy, commit, due, tried: false, renewals: 0 });
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

    /// Takes a row out of those that wait.
    pub(super) fn take_postponed(&mut self, table: usize, key: &Key) -> Option<Postponed> {
        let at = self.postponed.iter().position(|row| row.table == table && row.key == *key)?;
        Some(self.postponed.swap_remove(at))
    }

    /// Counts a change of a row that waited; one that collides again and again comes to its end as well.
    pub(super) fn renew_postponed(&mut self, before: &Postponed, key: &Key) {
        let rows = self.postponed.iter_mut();
        for row in rows.filter(|row| row.table == before.table && row.key == *key) {
            row.renewals = before.renewals + u32::from(before.tried);
            if row.renewals > RENEWALS_MAX {
                row.due = Due::Last(before.due.until());
            }
        }
    }

    /// Writes what waits, now that the stream has reached a position; false when something must wait on.
    ///
    /// # Errors
    /// A collision that no change of the stream will end.
    pub(super) async fn write_postponed(&mut self, reached: Lsn) -> Result<bool, ExecError> {
        for mut row in std::mem::take(&mut self.postponed) {
            let Some(collision) = self.write_one(row.table, row.copy.clone()).await? else { continue };
            let newest = self.shared.router().rereads_until();
            let Some(due) = row.due.at(reached, newest) else { return Err(self.stays(&row, collision)) };
            // An idle source must be made to move.
            self.shared.want(due.until());
            (row.due, row.tried) = (due, true);
            self.postponed.push(row);
        }
        Ok(self.postponed.is_empty())
    }

    /// The refusal of a row that waited in vain.
    fn stays(&self, row: &Postponed, collision: ExecError) -> ExecError {
        let task = &self.tables[row.table];
        collision.refused_read_again(task, task.key_literals(&row.key).ok(), row.commit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_at_positions_that_were_fixed_before() {
        let first = Due::First(Lsn(100));
        assert_eq!(first.at(Lsn(99), Some(Lsn(500))), Some(first), "read again later: no reason to wait for longer");
        assert_eq!(first.at(Lsn(100), None), None);
        assert_eq!(first.at(Lsn(100), Some(Lsn(100))), None);
        let last = Due::Last(Lsn(500));
        assert_eq!(first.at(Lsn(100), Some(Lsn(500))), Some(last));
        assert_eq!(last.at(Lsn(499), Some(Lsn(900))), Some(last));
        assert_eq!(last.at(Lsn(500), Some(Lsn(900))), None);
    }
}
