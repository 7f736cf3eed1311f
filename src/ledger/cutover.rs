//! The state machine of the cutover, written before each arrow.

use std::fmt;
use std::str::FromStr;

use tokio_postgres::Client;

use super::LedgerError;
use crate::replay::Lsn;

/// States, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CutoverState {
    /// Nothing is fenced.
    Ready,
    /// A fence may exist on the source.
    Fencing,
    /// The fence stands.
    Fenced,
    /// Everything up to the fence is applied.
    Drained,
    /// The dirty keys are equal.
    VerifiedFinal,
    /// Sequences are past the source's.
    SequencesSet,
    /// The fence is permanent; the target is the database now.
    Switched,
}

const NAMES: [(CutoverState, &str); 7] = [
    (CutoverState::Ready, "ready"),
    (CutoverState::Fencing, "fencing"),
    (CutoverState::Fenced, "fenced"),
    (CutoverState::Drained, "drained"),
    (CutoverState::VerifiedFinal, "verified_final"),
    (CutoverState::SequencesSet, "sequences_set"),
    (CutoverState::Switched, "switched"),
];

impl fmt::Display for CutoverState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES.iter().find(|(state, _)| state == self).map_or("", |(_, name)| name))
    }
}

impl FromStr for CutoverState {
    type Err = LedgerError;

    fn from_str(text: &str) -> Result<Self, LedgerError> {
        NAMES
            .iter()
            .find(|(_, name)| *name == text)
            .map(|(state, _)| *state)
            .ok_or_else(|| LedgerError::damaged("cutover state", text))
    }
}

/// What the ledger says of the cutover.
#[derive(Debug, Clone)]
pub struct Cutover {
    /// State.
    pub state: CutoverState,
    /// Number of the attempt.
    pub attempt: i32,
    /// SHA-256 of the sentinel's nonce, hexadecimal.
    pub nonce_sha256: Option<String>,
    /// End of the fence transaction.
    pub fence_lsn: Option<Lsn>,
}

/// Reads it; `Ready` when there was no attempt yet.
pub async fn read(client: &Client, id: &str) -> Result<Cutover, LedgerError> {
    let Some(row) = client
        .query_opt(
            "SELECT state, attempt, nonce_sha256, fence_lsn::text FROM pcrd.cutover WHERE migration = $1",
            &[&id],
        )
        .await?
    else {
        return Ok(Cutover { state: CutoverState::Ready, attempt: 0, nonce_sha256: None, fence_lsn: None });
    };
    let fence_lsn = row.get::<_, Option<String>>(3).map(|text| text.parse()).transpose();
    Ok(Cutover {
        state: row.get::<_, String>(0).parse()?,
        attempt: row.get(1),
        nonce_sha256: row.get(2),
        fence_lsn: fence_lsn.map_err(|why| LedgerError::damaged("fence position", why))?,
    })
}

/// Begins an attempt: from here on a fence may exist.
pub async fn begin(client: &Client, id: &str, epoch: i64, nonce_sha256: &str) -> Result<(), LedgerError> {
    let n = client
        .execute(
            "INSERT INTO pcrd.cutover AS c (migration, epoch, state, attempt, nonce_sha256) SELECT id, epoch, 'fencing', 1, $3 FROM pcrd.migration WHERE id = $1 AND epoch = $2 FOR SHARE \
             ON CONFLICT (migration) DO UPDATE SET epoch = excluded.epoch, state = 'fencing', attempt = c.attempt + 1, nonce_sha256 = excluded.nonce_sha256, \
             fence_lsn = NULL, updated_at = clock_timestamp() WHERE c.state = 'ready'",
            &[&id, &epoch, &nonce_sha256],
        )
        .await?;
    if n == 1 { Ok(()) } else { Err(LedgerError::Fenced { epoch, lsn: Lsn(0) }) }
}

/// Goes from one state to the next; 0 rows means that somebody else moved it.
pub async fn advance(
    client: &Client,
    id: &str,
    epoch: i64,
    from: CutoverState,
    to: CutoverState,
    fence_lsn: Option<Lsn>,
) -> Result<(), LedgerError> {
    let n = client
        .execute(
            "UPDATE pcrd.cutover SET state = $4, fence_lsn = coalesce($5::text::pg_lsn, fence_lsn), updated_at = clock_timestamp() \
             WHERE migration = $1 AND epoch = $2 AND state = $3",
            &[&id, &epoch, &from.to_string(), &to.to_string(), &fence_lsn.map(|lsn| lsn.to_string())],
        )
        .await?;
    if n == 1 { Ok(()) } else { Err(LedgerError::Fenced { epoch, lsn: fence_lsn.unwrap_or(Lsn(0)) }) }
}

/// Holds the record of an attempt in this state until the transaction ends: nobody gives it up or takes it over meanwhile.
///
/// # Errors
/// [`LedgerError::Fenced`] when it is another executor's, or in another state.
pub async fn hold(client: &Client, id: &str, epoch: i64, state: CutoverState) -> Result<(), LedgerError> {
    let query = "SELECT FROM pcrd.cutover WHERE migration = $1 AND epoch = $2 AND state = $3 FOR UPDATE";
    let held = client.query_opt(query, &[&id, &epoch, &state.to_string()]).await?;
    held.map(drop).ok_or(LedgerError::Fenced { epoch, lsn: Lsn(0) })
}

/// Goes back to ready: the fence is gone.
pub async fn reset(client: &Client, id: &str) -> Result<(), LedgerError> {
    client
        .execute(
            "UPDATE pcrd.cutover SET state = 'ready', fence_lsn = NULL, nonce_sha256 = NULL, updated_at = clock_timestamp() WHERE migration = $1 AND state <> 'switched'",
            &[&id],
        )
        .await?;
    Ok(())
}

/// Lets a new executor go on with an attempt that a dead one had decided.
pub async fn take_over(client: &Client, id: &str, epoch: i64) -> Result<(), LedgerError> {
    client.execute("UPDATE pcrd.cutover SET epoch = $2 WHERE migration = $1", &[&id, &epoch]).await?;
    Ok(())
}
