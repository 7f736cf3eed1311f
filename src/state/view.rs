//! Reading the journal.

use rusqlite::Connection;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};

use crate::plan::{PlanId, StepId};

use super::error::JournalError;
use super::status::StepStatus;

/// A journal opened for reading.
#[derive(Debug)]
pub struct JournalView {
    pub(super) connection: Connection,
}

/// What the journal knows of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRow {
    /// The step.
    pub id: StepId,
    /// Where it stands.
    pub status: StepStatus,
    /// Milliseconds since the Unix epoch.
    pub started_at: Option<u64>,
    /// Milliseconds since the Unix epoch.
    pub ended_at: Option<u64>,
    /// Why it failed.
    pub message: Option<String>,
}

impl FromSql for StepStatus {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map_err(|error: String| FromSqlError::Other(error.into()))
    }
}

impl JournalView {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection }
    }

    /// Ids of the plans that were recorded, oldest first.
    pub fn plans(&self) -> Result<Vec<PlanId>, JournalError> {
        let mut statement = self.connection.prepare("SELECT id FROM plan ORDER BY rowid")?;
        let rows = statement.query_map([], |row| row.get::<_, String>(0).map(crate::catalog::Fingerprint))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The recorded text of a plan.
    pub fn plan_body(&self, plan: &PlanId) -> Result<Option<String>, JournalError> {
        let mut statement = self.connection.prepare("SELECT body FROM plan WHERE id = ?1")?;
        let mut rows = statement.query([&plan.0])?;
        rows.next()?.map(|row| row.get(0)).transpose().map_err(JournalError::from)
    }

    /// The steps of a plan in plan order; empty when the plan is unknown.
    pub fn steps(&self, plan: &PlanId) -> Result<Vec<StepRow>, JournalError> {
        let mut statement = self
            .connection
            .prepare("SELECT id, status, started_at, ended_at, message FROM step WHERE plan = ?1 ORDER BY ordinal")?;
        let rows = statement.query_map([&plan.0], |row| {
            Ok(StepRow {
                id: StepId(row.get(0)?),
                status: row.get(1)?,
                started_at: row.get(2)?,
                ended_at: row.get(3)?,
                message: row.get(4)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The recorded events of a plan as JSON, oldest first, at most the last `limit`.
    pub fn events(&self, plan: &PlanId, limit: u32) -> Result<Vec<String>, JournalError> {
        let mut statement = self.connection.prepare(
            "SELECT body FROM (SELECT seq, body FROM event WHERE plan = ?1 ORDER BY seq DESC LIMIT ?2) ORDER BY seq",
        )?;
        let rows = statement.query_map(rusqlite::params![plan.0, limit], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// A setting that an operator left (`throttle`, `pause`).
    pub fn setting(&self, name: &str) -> Result<Option<String>, JournalError> {
        let mut statement = self.connection.prepare("SELECT value FROM setting WHERE name = ?1")?;
        let mut rows = statement.query([name])?;
        rows.next()?.map(|row| row.get(0)).transpose().map_err(JournalError::from)
    }
}
