//! What has become of the way back, on the target: from before the switch until it is used or given up.

use std::fmt;
use std::str::FromStr;

use tokio_postgres::Client;

use super::LedgerError;

/// States.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WayBackState {
    /// Proven, before the switch.
    Armed,
    /// Changes of the target go back.
    Open,
    /// A fence may exist on the target.
    RollingBack,
    /// The source is the database again.
    RolledBack,
    /// A row could not go back.
    Closed,
    /// The operator has given it up.
    Finalized,
}

const NAMES: [(WayBackState, &str); 6] = [
    (WayBackState::Armed, "armed"),
    (WayBackState::Open, "open"),
    (WayBackState::RollingBack, "rolling_back"),
    (WayBackState::RolledBack, "rolled_back"),
    (WayBackState::Closed, "closed"),
    (WayBackState::Finalized, "finalized"),
];

impl fmt::Display for WayBackState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES.iter().find(|(state, _)| state == self).map_or("", |(_, name)| name))
    }
}

impl FromStr for WayBackState {
    type Err = LedgerError;

    fn from_str(text: &str) -> Result<Self, LedgerError> {
        let found = NAMES.iter().find(|(_, name)| *name == text).map(|(state, _)| *state);
        found.ok_or_else(|| LedgerError::damaged("state of the way back", text))
    }
}

/// What the ledger says of the way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WayBack {
    /// State.
    pub state: WayBackState,
    /// Why it is closed.
    pub reason: Option<String>,
}

/// Reads it; `None` where there is none, also of a ledger that an earlier version made.
pub async fn read(client: &Client, id: &str) -> Result<Option<WayBack>, LedgerError> {
    let there = client.query_one("SELECT pg_catalog.to_regclass('pcrd.way_back') IS NOT NULL", &[]).await?;
    if !there.get::<_, bool>(0) {
        return Ok(None);
    }
    let row = client.query_opt("SELECT state, reason FROM pcrd.way_back WHERE migration = $1", &[&id]).await?;
    row.map(|row| Ok(WayBack { state: row.get::<_, String>(0).parse()?, reason: row.get(1) })).transpose()
}

/// Records that it is proven. May come again, for a cutover that was given up.
pub async fn arm(client: &Client, id: &str, epoch: i64) -> Result<(), LedgerError> {
    let n = client
        .execute(
            "INSERT INTO pcrd.way_back AS w (migration, epoch, state) SELECT id, epoch, 'armed' FROM pcrd.migration \
             WHERE id = $1 AND epoch = $2 FOR SHARE ON CONFLICT (migration) DO UPDATE SET epoch = excluded.epoch, \
             updated_at = clock_timestamp() WHERE w.state = 'armed'",
            &[&id, &epoch],
        )
        .await?;
    if n == 1 { Ok(()) } else { Err(LedgerError::Fenced { epoch, lsn: crate::replay::Lsn(0) }) }
}

/// Goes from one state to another; false when it is in none of `from`.
pub async fn advance(
    client: &Client,
    id: &str,
    from: &[WayBackState],
    to: WayBackState,
    reason: Option<&str>,
) -> Result<bool, LedgerError> {
    let from: Vec<String> = from.iter().map(ToString::to_string).collect();
    let n = client
        .execute(
            "UPDATE pcrd.way_back SET state = $3, reason = $4, updated_at = clock_timestamp() WHERE migration = $1 AND state = ANY ($2)",
            &[&id, &from, &to.to_string(), &reason],
        )
        .await?;
    Ok(n == 1)
}
