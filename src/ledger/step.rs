//! Which steps were started and which are done.

use std::collections::BTreeMap;

use tokio_postgres::{Client, GenericClient};

use super::LedgerError;

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepState {
    /// Its intent is recorded; whether it had its effect is for the database to say.
    Started,
    /// Done.
    Succeeded,
}

/// Records the intent before the effect.
pub async fn start(client: &impl GenericClient, id: &str, epoch: i64, step: &str) -> Result<(), LedgerError> {
    let n = client
        .execute(
            "INSERT INTO pcrd.step AS s (migration, step, status, epoch) SELECT id, $3, 'started', epoch FROM pcrd.migration WHERE id = $1 AND epoch = $2 FOR SHARE \
             ON CONFLICT (migration, step) DO UPDATE SET epoch = excluded.epoch, started_at = clock_timestamp() WHERE s.status = 'started'",
            &[&id, &epoch, &step],
        )
        .await?;
    if n == 1 {
        Ok(())
    } else {
        Err(LedgerError::damaged("step", format!("{step} cannot be started by epoch {epoch}")))
    }
}

/// Records the end; runs in the transaction of the effect where there is one. An executor that was overtaken must not
/// have an effect: the error rolls it back.
pub async fn succeed(client: &impl GenericClient, id: &str, epoch: i64, step: &str) -> Result<(), LedgerError> {
    let n = client
        .execute(
            "UPDATE pcrd.step SET status = 'succeeded', ended_at = clock_timestamp() \
             WHERE migration = $1 AND step = $2 AND epoch = $3 AND EXISTS (SELECT FROM pcrd.migration WHERE id = $1 AND epoch = $3)",
            &[&id, &step, &epoch],
        )
        .await?;
    if n == 1 { Ok(()) } else { Err(LedgerError::damaged("step", format!("{step} cannot be ended by epoch {epoch}"))) }
}

/// Takes a step back to "never done".
pub async fn reset(client: &Client, id: &str, step: &str) -> Result<(), LedgerError> {
    client.execute("DELETE FROM pcrd.step WHERE migration = $1 AND step = $2", &[&id, &step]).await?;
    Ok(())
}

/// All steps of the migration that were started.
pub async fn all(client: &Client, id: &str) -> Result<BTreeMap<String, StepState>, LedgerError> {
    let rows = client.query("SELECT step, status FROM pcrd.step WHERE migration = $1", &[&id]).await?;
    rows.iter()
        .map(|row| {
            let state = match row.get::<_, String>(1).as_str() {
                "started" => StepState::Started,
                "succeeded" => StepState::Succeeded,
                other => return Err(LedgerError::damaged("step status", other)),
            };
            Ok((row.get(0), state))
        })
        .collect()
}

/// When a step began and ended, RFC 3339.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Times {
    /// Its last beginning.
    pub started_at: Option<String>,
    /// Its end.
    pub ended_at: Option<String>,
}

/// The times of all steps that were started.
pub async fn times(client: &Client, id: &str) -> Result<BTreeMap<String, Times>, LedgerError> {
    let text = |column: &str| format!("to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')");
    let query =
        format!("SELECT step, {}, {} FROM pcrd.step WHERE migration = $1", text("started_at"), text("ended_at"));
    let rows = client.query(&query, &[&id]).await?;
    Ok(rows.iter().map(|row| (row.get(0), Times { started_at: row.get(1), ended_at: row.get(2) })).collect())
}
