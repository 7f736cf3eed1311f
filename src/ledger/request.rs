//! What operators ask of a running executor, from any terminal.

use tokio_postgres::Client;

use super::LedgerError;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Number.
    pub id: i64,
    /// `cutover`, `pause`, `resume`, `throttle`, `abort`.
    pub kind: String,
    /// Its argument.
    pub argument: Option<String>,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Done as asked.
    pub ok: bool,
    /// In words.
    pub text: String,
}

/// Puts a request; gives its number.
pub async fn put(
    client: &Client,
    migration: &str,
    kind: &str,
    argument: Option<&str>,
    by: &str,
) -> Result<i64, LedgerError> {
    let row = client
        .query_one(
            "INSERT INTO pcrd.request (migration, kind, argument, by) VALUES ($1, $2, $3, $4) RETURNING id",
            &[&migration, &kind, &argument, &by],
        )
        .await?;
    Ok(row.get(0))
}

/// Takes the oldest request that nobody took.
pub async fn take(client: &Client, migration: &str) -> Result<Option<Request>, LedgerError> {
    let row = client
        .query_opt(
            "UPDATE pcrd.request SET taken_at = clock_timestamp() WHERE id = \
             (SELECT id FROM pcrd.request WHERE migration = $1 AND taken_at IS NULL AND ended_at IS NULL ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) \
             RETURNING id, kind, argument",
            &[&migration],
        )
        .await?;
    Ok(row.map(|row| Request { id: row.get(0), kind: row.get(1), argument: row.get(2) }))
}

/// Ends a request.
pub async fn end(client: &Client, id: i64, ok: bool, text: &str) -> Result<(), LedgerError> {
    client
        .execute(
            "UPDATE pcrd.request SET ended_at = clock_timestamp(), ok = $2, outcome = $3 WHERE id = $1",
            &[&id, &ok, &text],
        )
        .await?;
    Ok(())
}

/// Ends what was taken and is done by now, by another attempt than the one that took it.
pub async fn end_taken(client: &Client, migration: &str, kind: &str, text: &str) -> Result<(), LedgerError> {
    client
        .execute(
            "UPDATE pcrd.request SET ended_at = clock_timestamp(), ok = true, outcome = $3 \
             WHERE migration = $1 AND kind = $2 AND taken_at IS NOT NULL AND ended_at IS NULL",
            &[&migration, &kind, &text],
        )
        .await?;
    Ok(())
}

/// The outcome, once there is one.
pub async fn outcome(client: &Client, id: i64) -> Result<Option<Outcome>, LedgerError> {
    let row =
        client.query_opt("SELECT ok, outcome FROM pcrd.request WHERE id = $1 AND ended_at IS NOT NULL", &[&id]).await?;
    Ok(row.map(|row| Outcome { ok: row.get(0), text: row.get(1) }))
}

/// Takes back a request; false when somebody has taken it before.
pub async fn withdraw(client: &Client, id: i64) -> Result<bool, LedgerError> {
    let n = client
        .execute(
            "UPDATE pcrd.request SET taken_at = clock_timestamp(), ended_at = clock_timestamp(), ok = false, outcome = 'withdrawn' \
             WHERE id = $1 AND taken_at IS NULL",
            &[&id],
        )
        .await?;
    Ok(n == 1)
}

/// Ends requests that a dead executor took or never saw. What was asked a moment ago was asked of this one, while it
/// began.
pub async fn end_stale(client: &Client, migration: &str) -> Result<(), LedgerError> {
    client
        .execute(
            "UPDATE pcrd.request SET taken_at = coalesce(taken_at, clock_timestamp()), ended_at = clock_timestamp(), ok = false, outcome = 'the executor stopped before it answered' \
             WHERE migration = $1 AND ended_at IS NULL AND (taken_at IS NOT NULL OR at < clock_timestamp() - interval '10 seconds')",
            &[&migration],
        )
        .await?;
    Ok(())
}
