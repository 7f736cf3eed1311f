//! Who had what on the target before the cutover gave rights there, so that one that is given up can take them back; and
//! what could not be given.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tokio_postgres::{Client, GenericClient};

use super::LedgerError;
use crate::catalog::{GrantTarget, Holding};

/// An object before somebody got rights on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Before {
    /// The object.
    pub object: GrantTarget,
    /// Its owner and its grants.
    pub holding: Holding,
    /// What a table consists of, in words; empty for everything else.
    pub parts: BTreeSet<String>,
}

/// A step that gave nobody anything, or less than the plan says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotGiven {
    /// Id of the step.
    pub step: String,
    /// What does it; `None` where it is not to be done any more.
    pub statement: Option<String>,
    /// Why.
    pub reason: String,
}

/// Records objects, unless they are recorded: the first look is the one before anything was given. One statement, however
/// many there are.
pub async fn record(client: &impl GenericClient, id: &str, list: &[Before]) -> Result<(), LedgerError> {
    let query = "INSERT INTO pcrd.given (migration, object, before) SELECT $1, x -> 'object', x \
                 FROM pg_catalog.jsonb_array_elements($2::jsonb) AS x ON CONFLICT (migration, object) DO NOTHING";
    let list = serde_json::to_value(list).map_err(damaged)?;
    client.execute(query, &[&id, &list]).await?;
    Ok(())
}

fn damaged(why: serde_json::Error) -> LedgerError {
    LedgerError::damaged("object that was given", why)
}

/// Everything that is recorded; nothing in a ledger that an earlier version made.
pub async fn all(client: &impl GenericClient, id: &str) -> Result<Vec<Before>, LedgerError> {
    if !exists(client).await? {
        return Ok(Vec::new());
    }
    let rows = client.query("SELECT before FROM pcrd.given WHERE migration = $1", &[&id]).await?;
    rows.iter().map(|row| serde_json::from_value(row.get(0)).map_err(damaged)).collect()
}

/// Nothing is given any more.
pub async fn forget(client: &Client, id: &str) -> Result<(), LedgerError> {
    if exists(client).await? {
        client.execute("DELETE FROM pcrd.given WHERE migration = $1", &[&id]).await?;
        client.execute("DELETE FROM pcrd.not_given WHERE migration = $1", &[&id]).await?;
    }
    Ok(())
}

/// Replaces what is recorded as not given.
pub async fn set_not_given(client: &impl GenericClient, id: &str, list: &[NotGiven]) -> Result<(), LedgerError> {
    client.execute("DELETE FROM pcrd.not_given WHERE migration = $1", &[&id]).await?;
    for one in list {
        let query = "INSERT INTO pcrd.not_given (migration, step, statement, reason) VALUES ($1, $2, $3, $4)";
        client.execute(query, &[&id, &one.step, &one.statement, &one.reason]).await?;
    }
    Ok(())
}

/// What was not given.
pub async fn not_given(client: &impl GenericClient, id: &str) -> Result<Vec<NotGiven>, LedgerError> {
    if !exists(client).await? {
        return Ok(Vec::new());
    }
    let query = "SELECT step, statement, reason FROM pcrd.not_given WHERE migration = $1 ORDER BY 1, 3";
    let rows = client.query(query, &[&id]).await?;
    Ok(rows.iter().map(|row| NotGiven { step: row.get(0), statement: row.get(1), reason: row.get(2) }).collect())
}

async fn exists(client: &impl GenericClient) -> Result<bool, LedgerError> {
    let query = "SELECT pg_catalog.to_regclass('pcrd.not_given') IS NOT NULL";
    Ok(client.query_one(query, &[]).await?.get(0))
}
