//! A run that goes on under another plan: what it takes along, what it forgets, and the record of it.

use tokio_postgres::{Client, GenericClient};

use super::LedgerError;
use super::migration::{Migration, Registration};
use super::progress::Discarded;
use crate::catalog::QualifiedName;
use crate::plan::StepId;
use crate::replay::Lsn;

/// Tables that belong to a migration, but for those of its lanes. `request` stays with the plan that it was put to.
const WORK: [&str; 14] = [
    "progress",
    "whole_copy",
    "reread",
    "frozen",
    "step",
    "cutover",
    "hook",
    "verified",
    "repair",
    "skipped",
    "added_column",
    "setting",
    "restarted",
    "unreadable",
];

/// One adoption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adoption {
    /// The earlier plan.
    pub before: String,
    /// The later one; the same when only tables were started again.
    pub after: String,
    /// Target tables that kept their rows.
    pub kept: Vec<String>,
    /// Target tables that were started again, with the reason.
    pub restarted: Vec<String>,
    /// When, RFC 3339.
    pub at: String,
}

/// A table that is started again, by the names that the ledger has for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forgotten {
    /// Source table.
    pub source: QualifiedName,
    /// Target table.
    pub target: QualifiedName,
    /// Name of its work.
    pub task: String,
}

/// Hands all work of a running migration to another plan and gives the epoch there; for the same plan only a new epoch.
/// From the commit on, an executor of the earlier plan cannot write.
///
/// # Errors
/// [`LedgerError::Fenced`] when somebody has taken the migration over since it was read.
pub async fn hand_over(
    client: &impl GenericClient,
    before: &Migration,
    after: &Registration,
) -> Result<i64, LedgerError> {
    let fenced = || LedgerError::Fenced { epoch: before.epoch, lsn: Lsn(0) };
    let state = if before.id == after.id { "running" } else { "replaced" };
    // Waits for whoever is about to commit, and keeps everybody of this epoch from doing so later.
    let row = client
        .query_opt(
            "UPDATE pcrd.migration SET epoch = epoch + 1, state = $3, ended_at = CASE WHEN $3 = 'replaced' THEN clock_timestamp() END \
             WHERE id = $1 AND state = 'running' AND epoch = $2 RETURNING epoch",
            &[&before.id, &before.epoch, &state],
        )
        .await?;
    let epoch: i64 = row.ok_or_else(fenced)?.get(0);
    if before.id == after.id {
        client.execute("UPDATE pcrd.progress SET epoch = $2 WHERE migration = $1", &[&after.id, &epoch]).await?;
        return Ok(epoch);
    }
    let tables: Vec<String> = after.tables.iter().map(ToString::to_string).collect();
    let row = client
        .query_opt(
            "INSERT INTO pcrd.migration AS m (id, format, epoch, state, source_system, source_database_oid, slot, publication, tables, host, pid) \
             SELECT $1, format, $3, 'running', source_system, source_database_oid, slot, publication, $4, $5, $6 FROM pcrd.migration WHERE id = $2 \
             ON CONFLICT (id) DO UPDATE SET epoch = greatest(m.epoch + 1, excluded.epoch), state = 'running', ended_at = NULL, \
             tables = excluded.tables, host = excluded.host, pid = excluded.pid, created_at = now(), heartbeat_at = now() \
             WHERE m.state IN ('replaced', 'aborted', 'cleaned_aborted') RETURNING epoch",
            &[&after.id, &before.id, &epoch, &tables, &after.host, &(after.pid as i32)],
        )
        .await?;
    let epoch: i64 = row.ok_or_else(|| LedgerError::Finished(after.id.clone()))?.get(0);
    let ids: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&before.id, &after.id];
    // Lanes first, chunks refer to them.
    client
        .execute("INSERT INTO pcrd.lane (migration, tbl, lane, lo, hi) SELECT $2, tbl, lane, lo, hi FROM pcrd.lane WHERE migration = $1", &ids)
        .await?;
    client.execute("UPDATE pcrd.chunk SET migration = $2 WHERE migration = $1", &ids).await?;
    client.execute("DELETE FROM pcrd.lane WHERE migration = $1", &[&before.id]).await?;
    // What an executor of that plan still noted when its work had gone already.
    client.execute("DELETE FROM pcrd.setting WHERE migration = $1", &[&after.id]).await?;
    for table in WORK {
        client.execute(&format!("UPDATE pcrd.{table} SET migration = $2 WHERE migration = $1"), &ids).await?;
    }
    for table in ["progress", "cutover"] {
        let query = format!("UPDATE pcrd.{table} SET epoch = $2 WHERE migration = $1");
        client.execute(&query, &[&after.id, &epoch]).await?;
    }
    Ok(epoch)
}

/// Forgets what was done for these tables, and all steps but those of `kept`.
pub async fn forget(
    client: &impl GenericClient,
    id: &str,
    tables: &[Forgotten],
    kept: &[&StepId],
) -> Result<(), LedgerError> {
    let names = |name: fn(&Forgotten) -> String| tables.iter().map(name).collect::<Vec<String>>();
    let (tasks, sources) = (names(|one| one.task.clone()), names(|one| one.source.to_string()));
    for table in ["chunk", "lane", "reread", "whole_copy", "verified", "skipped"] {
        client
            .execute(&format!("DELETE FROM pcrd.{table} WHERE migration = $1 AND tbl = ANY ($2)"), &[&id, &tasks])
            .await?;
    }
    client
        .execute(
            "DELETE FROM pcrd.frozen WHERE migration = $1 AND tbl = ANY ($2)",
            &[&id, &names(|one| one.target.to_string())],
        )
        .await?;
    client.execute("DELETE FROM pcrd.added_column WHERE migration = $1 AND tbl = ANY ($2)", &[&id, &sources]).await?;
    let witnesses: Vec<String> = sources.iter().map(|source| format!("witness:{source}")).collect();
    client.execute("DELETE FROM pcrd.setting WHERE migration = $1 AND name = ANY ($2)", &[&id, &witnesses]).await?;
    let kept: Vec<&str> = kept.iter().map(|step| step.0.as_str()).collect();
    client.execute("DELETE FROM pcrd.step WHERE migration = $1 AND step <> ALL ($2)", &[&id, &kept]).await?;
    let row = client.query_opt("SELECT discarded FROM pcrd.progress WHERE migration = $1", &[&id]).await?;
    let Some(row) = row else { return Ok(()) };
    let mut discarded: Vec<Discarded> =
        serde_json::from_value(row.get(0)).map_err(|why| LedgerError::damaged("discarded transactions", why))?;
    discarded.retain(|list| !tasks.contains(&list.table));
    let discarded =
        serde_json::to_value(discarded).map_err(|why| LedgerError::damaged("discarded transactions", why))?;
    client.execute("UPDATE pcrd.progress SET discarded = $2 WHERE migration = $1", &[&id, &discarded]).await?;
    Ok(())
}

/// Records from where on the stream of a source table counts, on which timeline of the source.
pub async fn restart(
    client: &impl GenericClient,
    id: &str,
    source: &QualifiedName,
    (lsn, timeline): (Lsn, u32),
) -> Result<(), LedgerError> {
    client
        .execute(
            "INSERT INTO pcrd.restarted (migration, tbl, lsn, timeline) VALUES ($1, $2, $3::text::pg_lsn, $4) \
             ON CONFLICT (migration, tbl) DO UPDATE SET lsn = excluded.lsn, timeline = excluded.timeline, at = excluded.at",
            &[&id, &source.to_string(), &lsn.to_string(), &i64::from(timeline)],
        )
        .await?;
    Ok(())
}

/// Source tables that were started again, with the position from which on their changes count.
pub async fn restarts(client: &Client, id: &str) -> Result<Vec<(String, Lsn)>, LedgerError> {
    let rows = client.query("SELECT tbl, lsn::text FROM pcrd.restarted WHERE migration = $1", &[&id]).await?;
    rows.iter()
        .map(|row| {
            let lsn: Lsn = row.get::<_, String>(1).parse().map_err(|why| LedgerError::damaged("restart", why))?;
            Ok((row.get(0), lsn))
        })
        .collect()
}

/// The last position on each timeline of the source from which on a table counts.
pub async fn restarts_by_timeline(client: &Client, id: &str) -> Result<Vec<(u32, Lsn)>, LedgerError> {
    let query = "SELECT DISTINCT ON (timeline) timeline, lsn::text FROM pcrd.restarted WHERE migration = $1 \
                 ORDER BY timeline, lsn DESC";
    let rows = client.query(query, &[&id]).await?;
    rows.iter()
        .map(|row| {
            let lsn: Lsn = row.get::<_, String>(1).parse().map_err(|why| LedgerError::damaged("restart", why))?;
            let timeline = u32::try_from(row.get::<_, i64>(0)).map_err(|why| LedgerError::damaged("restart", why))?;
            Ok((timeline, lsn))
        })
        .collect()
}

/// Forgets from where on streams of an earlier slot counted.
pub async fn forget_restarts(client: &Client, id: &str) -> Result<(), LedgerError> {
    client.execute("DELETE FROM pcrd.restarted WHERE migration = $1", &[&id]).await?;
    Ok(())
}

/// Records an adoption.
pub async fn record(client: &impl GenericClient, adoption: &Adoption) -> Result<(), LedgerError> {
    client
        .execute(
            "INSERT INTO pcrd.adoption (before, after, kept, restarted) VALUES ($1, $2, $3, $4)",
            &[&adoption.before, &adoption.after, &adoption.kept, &adoption.restarted],
        )
        .await?;
    Ok(())
}

/// How a run came to its plan, oldest first; nothing in a ledger of a version that knew of none.
pub async fn history(client: &Client, id: &str) -> Result<Vec<Adoption>, LedgerError> {
    if !is_there(client).await? {
        return Ok(Vec::new());
    }
    let rows = client
        .query(
            "WITH RECURSIVE h AS (SELECT * FROM pcrd.adoption WHERE after = $1 UNION \
             SELECT a.* FROM pcrd.adoption a JOIN h ON a.after = h.before AND a.number < h.number) \
             SELECT before, after, kept, restarted, to_char(h.at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM h ORDER BY number",
            &[&id],
        )
        .await?;
    let adoption = |row: &tokio_postgres::Row| Adoption {
        before: row.get(0),
        after: row.get(1),
        kept: row.get(2),
        restarted: row.get(3),
        at: row.get(4),
    };
    Ok(rows.iter().map(adoption).collect())
}

/// The plan that has adopted the work of this one, if there is one.
pub async fn successor(client: &Client, id: &str) -> Result<Option<String>, LedgerError> {
    if !is_there(client).await? {
        return Ok(None);
    }
    let query = "SELECT after FROM pcrd.adoption WHERE before = $1 AND after <> $1 ORDER BY number DESC LIMIT 1";
    Ok(client.query_opt(query, &[&id]).await?.map(|row| row.get(0)))
}

/// The plans that led to one that was given up may begin afresh.
pub async fn release(client: &Client, id: &str) -> Result<(), LedgerError> {
    client
        .execute(
            "WITH RECURSIVE h AS (SELECT before, number FROM pcrd.adoption WHERE after = $1 UNION \
             SELECT a.before, a.number FROM pcrd.adoption a JOIN h ON a.after = h.before AND a.number < h.number) \
             UPDATE pcrd.migration SET state = 'aborted' WHERE state = 'replaced' AND id IN (SELECT before FROM h)",
            &[&id],
        )
        .await?;
    Ok(())
}

async fn is_there(client: &Client) -> Result<bool, LedgerError> {
    let row = client.query_one("SELECT pg_catalog.to_regclass('pcrd.adoption') IS NOT NULL", &[]).await?;
    Ok(row.get(0))
}
