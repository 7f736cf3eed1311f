//! The row of a migration: identity, epoch, life.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use super::{FORMAT, LedgerError, SCHEMA_SQL, lock};
use crate::catalog::QualifiedName;
use crate::replay::Lsn;

/// What a migration is registered with.
#[derive(Debug, Clone)]
pub struct Registration {
    /// Plan id.
    pub id: String,
    /// Source `system_identifier`.
    pub source_system: String,
    /// Source database oid.
    pub source_database_oid: u32,
    /// Slot.
    pub slot: String,
    /// Publication.
    pub publication: String,
    /// Target tables.
    pub tables: Vec<QualifiedName>,
    /// Host of the executor, for people.
    pub host: String,
    /// Process id of the executor, for people.
    pub pid: u32,
}

/// A row of `pcrd.migration`.
#[derive(Debug, Clone)]
pub struct Migration {
    /// Plan id.
    pub id: String,
    /// Epoch of the current executor.
    pub epoch: i64,
    /// `running`, `cut_over`, `aborted`, `cleaned`, `replaced` (its run goes on under another plan).
    pub state: String,
    /// Host of the last executor.
    pub host: String,
    /// Its process id.
    pub pid: i32,
    /// Seconds since its last sign of life.
    pub heartbeat_age_s: f64,
    /// `system_identifier` of its source.
    pub source_system: String,
    /// Oid of its source's database.
    pub source_database_oid: u32,
    /// Slot.
    pub slot: String,
    /// Publication.
    pub publication: String,
    /// When it began, RFC 3339.
    pub created_at: String,
    /// Target tables.
    pub tables: Vec<QualifiedName>,
}

/// True when the ledger exists on this server. A schema of this name that somebody else made is not read: its tables
/// may be views that run their owner's code with our rights.
pub async fn exists(client: &Client) -> Result<bool, LedgerError> {
    if let Some(owner) = foreign_owner(client).await? {
        return Err(LedgerError::Foreign { owner });
    }
    let row = client.query_one("SELECT pg_catalog.to_regclass('pcrd.migration') IS NOT NULL", &[]).await?;
    Ok(row.get(0))
}

/// The owner of the schema `pcrd`, when that is neither this role, nor one that it belongs to, nor a superuser.
pub async fn foreign_owner(client: &Client) -> Result<Option<String>, LedgerError> {
    let row = client
        .query_opt(
            "SELECT o.rolname::text FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles o ON o.oid = n.nspowner \
             JOIN pg_catalog.pg_roles u ON u.rolname = current_user WHERE n.nspname = 'pcrd' AND NOT (o.oid = u.oid \
             OR o.rolsuper OR NOT u.rolsuper AND pg_catalog.pg_has_role(u.oid, o.oid, 'MEMBER'))",
            &[],
        )
        .await?;
    Ok(row.map(|row| row.get(0)))
}

/// Creates what is missing of the ledger. `IF NOT EXISTS` does not keep two sessions from creating a schema at once:
/// a lock does. A session that saw no schema `pcrd` before it waited would remember that: only the lock of a relation,
/// here that of `pg_namespace`, makes a backend hear what others have committed (`AcceptInvalidationMessages`).
pub async fn create_ledger(client: &Client) -> Result<(), LedgerError> {
    let lock = lock::ledger_key();
    let text = format!(
        "BEGIN; SELECT pg_catalog.pg_advisory_xact_lock({lock}); SELECT FROM pg_catalog.pg_namespace LIMIT 0; {SCHEMA_SQL} COMMIT"
    );
    Ok(client.batch_execute(&text).await?)
}

/// Registers the migration or takes it over, and gives the new epoch. From this commit on, an older executor's
/// next transaction fails. A plan that was carried through is refused; an aborted or cleaned one starts again.
pub async fn take_over(client: &Client, registration: &Registration) -> Result<i64, LedgerError> {
    let tables: Vec<String> = registration.tables.iter().map(ToString::to_string).collect();
    let row = client
        .query_one(
            "INSERT INTO pcrd.migration AS m (id, format, epoch, state, source_system, source_database_oid, slot, publication, tables, host, pid) \
             VALUES ($1, $2, 1, 'running', $3, $4, $5, $6, $7, $8, $9) \
             ON CONFLICT (id) DO UPDATE SET epoch = m.epoch + 1, host = excluded.host, pid = excluded.pid, heartbeat_at = now(), \
             state = CASE WHEN m.state IN ('aborted', 'cleaned_aborted') THEN 'running' ELSE m.state END \
             RETURNING epoch, state, format",
            &[
                &registration.id,
                &FORMAT,
                &registration.source_system,
                &i64::from(registration.source_database_oid),
                &registration.slot,
                &registration.publication,
                &tables,
                &registration.host,
                &(registration.pid as i32),
            ],
        )
        .await?;
    let found: i32 = row.get(2);
    if found != FORMAT {
        return Err(LedgerError::Format { found, expected: FORMAT });
    }
    let state: String = row.get(1);
    if matches!(state.as_str(), "cut_over" | "cleaned" | "rolled_back") {
        return Err(LedgerError::Finished(registration.id.clone()));
    }
    client
        .execute(
            "UPDATE pcrd.progress SET epoch = $2 WHERE migration = $1 AND epoch < $2",
            &[&registration.id, &row.get::<_, i64>(0)],
        )
        .await?;
    Ok(row.get(0))
}

/// All migrations of this target, newest first.
pub async fn list(client: &Client) -> Result<Vec<Migration>, LedgerError> {
    let rows = client
        .query(
            "SELECT id, epoch, state, host, pid, extract(epoch FROM clock_timestamp() - heartbeat_at)::float8, slot, publication, \
             to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), tables, source_system, source_database_oid FROM pcrd.migration ORDER BY created_at DESC",
            &[],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let tables = row.get::<_, Vec<String>>(9).iter().map(|name| name.parse()).collect::<Result<_, _>>();
            Ok(Migration {
                id: row.get(0),
                epoch: row.get(1),
                state: row.get(2),
                host: row.get(3),
                pid: row.get(4),
                heartbeat_age_s: row.get(5),
                source_system: row.get(10),
                source_database_oid: u32::try_from(row.get::<_, i64>(11))
                    .map_err(|why| LedgerError::damaged("source database", why))?,
                slot: row.get(6),
                publication: row.get(7),
                created_at: row.get(8),
                tables: tables.map_err(|why| LedgerError::damaged("table list", why))?,
            })
        })
        .collect()
}

/// The migration with this id.
pub async fn find(client: &Client, id: &str) -> Result<Option<Migration>, LedgerError> {
    Ok(list(client).await?.into_iter().find(|migration| migration.id == id))
}

/// Another migration, still running, that owns one of the target tables, or the slot or publication on the source.
pub async fn owner_of(client: &Client, wanted: &Registration) -> Result<Option<String>, LedgerError> {
    let tables: Vec<String> = wanted.tables.iter().map(ToString::to_string).collect();
    let row = client
        .query_opt(
            "SELECT id FROM pcrd.migration WHERE id <> $1 AND state = 'running' \
             AND (tables && $2 OR source_system = $3 AND (slot = $4 OR source_database_oid = $5 AND publication = $6)) LIMIT 1",
            &[
                &wanted.id,
                &tables,
                &wanted.source_system,
                &wanted.slot,
                &i64::from(wanted.source_database_oid),
                &wanted.publication,
            ],
        )
        .await?;
    Ok(row.map(|row| row.get(0)))
}

/// Says that this executor lives; tells false when another one has taken over.
pub async fn heartbeat(client: &Client, id: &str, epoch: i64) -> Result<bool, LedgerError> {
    let n = client
        .execute(
            "UPDATE pcrd.migration SET heartbeat_at = clock_timestamp() WHERE id = $1 AND epoch = $2",
            &[&id, &epoch],
        )
        .await?;
    Ok(n == 1)
}

/// Ends the migration's life in this state.
pub async fn set_state(client: &Client, id: &str, state: &str) -> Result<(), LedgerError> {
    client
        .execute("UPDATE pcrd.migration SET state = $2, ended_at = clock_timestamp() WHERE id = $1", &[&id, &state])
        .await?;
    Ok(())
}

/// Forgets all work of an aborted migration, so that the same plan can start afresh.
pub async fn forget_work(client: &mut Client, id: &str) -> Result<(), LedgerError> {
    // One that an earlier version began may lack a table.
    create_ledger(client).await?;
    let transaction = client.transaction().await?;
    for table in [
        "skipped",
        "added_column",
        "progress",
        "whole_copy",
        "chunk",
        "lane",
        "reread",
        "frozen",
        "step",
        "hook",
        "cutover",
        "verified",
        "repair",
        "setting",
        "restarted",
        "unreadable",
        "way_back",
        "given",
        "not_given",
    ] {
        transaction.execute(&format!("DELETE FROM pcrd.{table} WHERE migration = $1"), &[&id]).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Reads a setting that an operator changed while running.
pub async fn setting(client: &Client, id: &str, name: &str) -> Result<Option<String>, LedgerError> {
    let row =
        client.query_opt("SELECT value FROM pcrd.setting WHERE migration = $1 AND name = $2", &[&id, &name]).await?;
    Ok(row.map(|row| row.get(0)))
}

/// All settings of a migration, by name.
pub async fn settings(client: &Client, id: &str) -> Result<BTreeMap<String, String>, LedgerError> {
    let rows = client.query("SELECT name, value FROM pcrd.setting WHERE migration = $1", &[&id]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Sets these at once, by name. With an epoch only for the executor that has it.
///
/// # Errors
/// [`LedgerError::Fenced`] when another one has taken the migration over, [`LedgerError::Gone`] when there is none.
pub async fn set_settings(
    client: &Client,
    id: &str,
    epoch: Option<i64>,
    settings: &[(String, String)],
) -> Result<(), LedgerError> {
    if settings.is_empty() {
        return Ok(());
    }
    let (names, values): (Vec<&str>, Vec<&str>) =
        settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).unzip();
    let n = client
        .execute(
            "WITH own AS (SELECT id FROM pcrd.migration WHERE id = $1 AND epoch = coalesce($4, epoch) FOR SHARE) \
             INSERT INTO pcrd.setting (migration, name, value) \
             SELECT own.id, s.name, s.value FROM own, \
             ROWS FROM (pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::text[])) AS s (name, value) \
             ON CONFLICT (migration, name) DO UPDATE SET value = excluded.value",
            &[&id, &names, &values, &epoch],
        )
        .await?;
    match epoch {
        _ if n == settings.len() as u64 => Ok(()),
        Some(epoch) => Err(LedgerError::Fenced { epoch, lsn: Lsn(0) }),
        None => Err(LedgerError::Gone { id: id.to_owned() }),
    }
}

/// Changes a setting; `None` removes it.
pub async fn set_setting(client: &Client, id: &str, name: &str, value: Option<&str>) -> Result<(), LedgerError> {
    match value {
        Some(value) => {
            client
                .execute(
                    "INSERT INTO pcrd.setting (migration, name, value) VALUES ($1, $2, $3) \
                     ON CONFLICT (migration, name) DO UPDATE SET value = excluded.value",
                    &[&id, &name, &value],
                )
                .await?;
        }
        None => {
            client.execute("DELETE FROM pcrd.setting WHERE migration = $1 AND name = $2", &[&id, &name]).await?;
        }
    }
    Ok(())
}
