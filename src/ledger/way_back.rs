//! What has become of the way back, on the target: from before the switch until it is used or given up.

use std::fmt;
use std::str::FromStr;

use tokio_postgres::Client;

use super::LedgerError;
use crate::replay::Lsn;

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
    /// Of the last executor, from the source's ledger.
    pub epoch: i64,
    /// Where the target's log was when the last rollback had fenced it: nothing that belongs to the source comes after.
    pub fence_lsn: Option<Lsn>,
}

/// Reads it; `None` where there is none, also of a ledger that an earlier version made.
pub async fn read(client: &Client, id: &str) -> Result<Option<WayBack>, LedgerError> {
    let there = client.query_one("SELECT pg_catalog.to_regclass('pcrd.way_back') IS NOT NULL", &[]).await?;
    if !there.get::<_, bool>(0) {
        return Ok(None);
    }
    let query = "SELECT state, reason, fence_lsn::text, epoch FROM pcrd.way_back WHERE migration = $1";
    let Some(row) = client.query_opt(query, &[&id]).await? else { return Ok(None) };
    let fence_lsn = row.get::<_, Option<String>>(2).map(|text| text.parse()).transpose();
    Ok(Some(WayBack {
        state: row.get::<_, String>(0).parse()?,
        reason: row.get(1),
        epoch: row.get(3),
        fence_lsn: fence_lsn.map_err(|why| LedgerError::damaged("fence position of the way back", why))?,
    }))
}

/// Records that it is proven, by the executor of this epoch; `back` is the epoch that the source's ledger gave it. May come
/// again, for a cutover that was given up.
pub async fn arm(client: &Client, id: &str, epoch: i64, back: i64) -> Result<(), LedgerError> {
    let n = client
        .execute(
            "INSERT INTO pcrd.way_back AS w (migration, epoch, state) SELECT id, $3::int8, 'armed' FROM pcrd.migration \
             WHERE id = $1 AND epoch = $2 FOR SHARE ON CONFLICT (migration) DO UPDATE SET epoch = excluded.epoch, \
             updated_at = clock_timestamp() WHERE w.state = 'armed'",
            &[&id, &epoch, &back],
        )
        .await?;
    if n == 1 { Ok(()) } else { Err(LedgerError::Fenced { epoch, lsn: Lsn(0) }) }
}

/// Lets the executor that the source's ledger gave this epoch go on with it, and nobody before it; false when a later one
/// was here.
pub async fn take_over(client: &Client, id: &str, epoch: i64) -> Result<bool, LedgerError> {
    let query = "UPDATE pcrd.way_back SET epoch = $2 WHERE migration = $1 AND epoch < $2";
    Ok(client.execute(query, &[&id, &epoch]).await? == 1)
}

/// Records that the target is fenced, before that can become permanent.
pub async fn fenced(client: &Client, id: &str, epoch: i64, lsn: Lsn) -> Result<(), LedgerError> {
    let n = client
        .execute(
            "UPDATE pcrd.way_back SET fence_lsn = $3::text::pg_lsn, updated_at = clock_timestamp() \
             WHERE migration = $1 AND epoch = $2 AND state = 'rolling_back'",
            &[&id, &epoch, &lsn.to_string()],
        )
        .await?;
    if n == 1 { Ok(()) } else { Err(LedgerError::Fenced { epoch, lsn }) }
}

/// Goes from one state to another; false when it is in none of `from`, or in another executor's hands. Without an epoch for
/// what only depends on the databases, under the executor's locks.
pub async fn advance(
    client: &Client,
    id: &str,
    epoch: Option<i64>,
    from: &[WayBackState],
    to: WayBackState,
    reason: Option<&str>,
) -> Result<bool, LedgerError> {
    let from: Vec<String> = from.iter().map(ToString::to_string).collect();
    let n = client
        .execute(
            "UPDATE pcrd.way_back SET state = $3, reason = $4, updated_at = clock_timestamp() \
             WHERE migration = $1 AND state = ANY ($2) AND epoch = coalesce($5, epoch)",
            &[&id, &from, &to.to_string(), &reason, &epoch],
        )
        .await?;
    Ok(n == 1)
}
