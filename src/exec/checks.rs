//! Runs the plan's validation queries on the source: when it is planned, and again before anything is written.

use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::error::SqlState;

use crate::pg::client::Client;
use crate::pg::error::PgError;
use crate::plan::{Check, CheckResult};

/// Runs one check: a single scan of its table counts the bad rows of every predicate. With `show_values` the keys of up
/// to ten bad rows per predicate are read too; without it no value of a row leaves the server.
///
/// # Errors
/// The query failed (for instance: an expression raised an error for some row), or its answer is no count.
pub async fn run(client: &Client, check: &Check, show_values: bool) -> Result<CheckResult, PgError> {
    let row = client.query_one(check.sql.as_str(), &[]).await?;
    if row.len() != check.predicates.len() + 1 {
        let (found, expected) = (row.len(), check.predicates.len() + 1);
        return Err(PgError::Protocol(format!("{}: {found} counts instead of {expected}", check.id)));
    }
    let mut counts = Vec::with_capacity(row.len());
    for column in 0..row.len() {
        let count: i64 = row.try_get(column)?;
        counts.push(u64::try_from(count).map_err(|_| PgError::Protocol(format!("{}: a negative count", check.id)))?);
    }
    let rows = counts.remove(0);
    let mut samples = vec![Vec::new(); counts.len()];
    if show_values {
        for (at, predicate) in check.predicates.iter().enumerate().filter(|(at, _)| counts[*at] > 0) {
            samples[at] = match keys(client, &predicate.sample_sql).await {
                // A key may be what is wrong.
                Err(error) if cannot_be_sent(&error) => vec!["a key that cannot be sent in UTF-8".to_owned()],
                found => found?,
            };
        }
    }
    Ok(CheckResult { id: check.id.clone(), rows, failing: counts, samples })
}

/// Keys as text; the columns of a composite key are joined by a comma.
async fn keys(client: &Client, sql: &str) -> Result<Vec<String>, PgError> {
    let messages = client.simple_query(sql).await?;
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    Ok(rows
        .map(|row| (0..row.len()).map(|column| row.get(column).unwrap_or("NULL")).collect::<Vec<_>>().join(", "))
        .collect())
}

fn cannot_be_sent(error: &PgError) -> bool {
    let codes = [SqlState::UNTRANSLATABLE_CHARACTER, SqlState::CHARACTER_NOT_IN_REPERTOIRE];
    error.sqlstate().is_some_and(|code| codes.iter().any(|one| one.code() == code))
}
