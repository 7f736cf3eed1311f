//! Where a migration stands, from the target's ledger and the source's slot: from any machine, executor or not.

use serde::Serialize;

use super::ExecError;
use crate::ledger::{cutover, lock, migration, progress, step};
use crate::pg::client::Client;
use crate::plan::Plan;
use crate::replay::Lsn;

/// `status --json`.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// Plan id.
    pub plan: String,
    /// `running`, `cut_over`, `aborted`, `cleaned`.
    pub state: String,
    /// State of the cutover.
    pub phase: String,
    /// The executor.
    pub executor: Executor,
    /// The plan could be read here; without it only steps that were begun are known.
    pub plan_is_known: bool,
    /// Steps, in the plan's order where the plan is known.
    pub steps: Vec<StepRow>,
    /// Tables.
    pub tables: Vec<TableRow>,
    /// The stream; `None` before there is a slot, or when the source does not answer.
    pub stream: Option<Stream>,
    /// Everything that a cutover needs is there.
    pub ready_for_cutover: bool,
    /// What is missing.
    pub blocked_by: Vec<String>,
}

/// Who runs the plan.
#[derive(Debug, Clone, Serialize)]
pub struct Executor {
    /// It holds its locks.
    pub alive: bool,
    /// Its host and process.
    pub host: String,
    /// Since when the migration exists.
    pub since: String,
}

/// A step.
#[derive(Debug, Clone, Serialize)]
pub struct StepRow {
    /// Id.
    pub id: String,
    /// `pending`, `started`, `succeeded`.
    pub status: String,
}

/// A table.
#[derive(Debug, Clone, Serialize)]
pub struct TableRow {
    /// Target table.
    pub table: String,
    /// Rows copied.
    pub rows_done: i64,
    /// Bytes passed through.
    pub bytes_done: i64,
}

/// Positions.
#[derive(Debug, Clone, Serialize)]
pub struct Stream {
    /// Applied on the target.
    pub applied_lsn: String,
    /// Confirmed to the slot.
    pub confirmed_lsn: Option<String>,
    /// The source's write position.
    pub source_lsn: String,
    /// Difference of source and applied.
    pub lag_bytes: u64,
    /// Log that the slot keeps.
    pub wal_retained_bytes: i64,
}

/// Reads it. Without the plan, `plan` says why: then nobody can tell which steps are missing, so it is never ready.
pub async fn status(
    ledger: &Client,
    source: Option<&Client>,
    found: &migration::Migration,
    plan: Result<&Plan, &str>,
) -> Result<Status, ExecError> {
    let mut alive = false;
    for table in &found.tables {
        alive |= lock::held(ledger, table).await?;
    }
    let states = step::all(ledger, &found.id).await?;
    let word = |id: &str| match states.get(id) {
        None => "pending",
        Some(step::StepState::Started) => "started",
        Some(step::StepState::Succeeded) => "succeeded",
    };
    let ids: Vec<String> = match plan {
        Ok(plan) => plan.steps.iter().map(|step| step.id.to_string()).collect(),
        Err(_) => states.keys().cloned().collect(),
    };
    let steps: Vec<StepRow> = ids.into_iter().map(|id| StepRow { status: word(&id).to_owned(), id }).collect();
    let rows = ledger
        .query(
            "SELECT tbl, sum(rows)::int8, sum(bytes)::int8 FROM (SELECT tbl, rows, bytes FROM pcrd.chunk WHERE migration = $1 \
             UNION ALL SELECT tbl, rows, 0 FROM pcrd.whole_copy WHERE migration = $1) AS copied GROUP BY tbl ORDER BY tbl",
            &[&found.id],
        )
        .await
        .map_err(ExecError::target("read the copied rows"))?;
    let tables =
        rows.iter().map(|row| TableRow { table: row.get(0), rows_done: row.get(1), bytes_done: row.get(2) }).collect();
    let stream = stream(ledger, source, found).await?;
    let mut blocked_by = Vec::new();
    if found.state == "running" {
        if !alive {
            blocked_by.push("no executor is running".to_owned());
        }
        let open = |step: &&StepRow| {
            step.status != "succeeded"
                && ["copy:", "create_index:", "add_constraint:", "validate_constraint:", "verify:"]
                    .iter()
                    .any(|kind| step.id.starts_with(kind))
        };
        blocked_by.extend(steps.iter().filter(open).map(|step| format!("{} is {}", step.id, step.status)));
        match (&stream, source, plan) {
            (None, None, _) => blocked_by.push("the source does not answer".to_owned()),
            (None, Some(_), _) => blocked_by.push("there is no stream yet".to_owned()),
            (Some(stream), _, Ok(plan)) if stream.lag_bytes > plan.settings.lag_threshold_bytes => {
                let threshold = plan.settings.lag_threshold_bytes;
                blocked_by
                    .push(format!("the stream is {} bytes behind; the threshold is {threshold}", stream.lag_bytes));
            }
            (Some(_), _, _) => {}
        }
        if let Err(why) = plan {
            blocked_by.push(format!("the plan cannot be read, so what is missing is not known: {why}"));
        }
    }
    Ok(Status {
        plan: found.id.clone(),
        state: found.state.clone(),
        phase: cutover::read(ledger, &found.id).await?.state.to_string(),
        executor: Executor {
            alive,
            host: format!("{} (pid {})", found.host, found.pid),
            since: found.created_at.clone(),
        },
        ready_for_cutover: found.state == "running" && blocked_by.is_empty(),
        plan_is_known: plan.is_ok(),
        steps,
        tables,
        stream,
        blocked_by,
    })
}

async fn stream(
    ledger: &Client,
    source: Option<&Client>,
    found: &migration::Migration,
) -> Result<Option<Stream>, ExecError> {
    let (Some(progress), Some(source)) = (progress::read(ledger, &found.id).await?, source) else { return Ok(None) };
    let row = source
        .query_opt(
            "SELECT pg_catalog.pg_current_wal_insert_lsn()::text, confirmed_flush_lsn::text, \
             pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), restart_lsn)::int8 \
             FROM pg_catalog.pg_replication_slots WHERE slot_name = $1",
            &[&found.slot],
        )
        .await
        .map_err(ExecError::source("read the replication slot"))?;
    let Some(row) = row else { return Ok(None) };
    let source_lsn: Lsn = row
        .get::<_, String>(0)
        .parse()
        .map_err(|error: crate::replay::position::LsnError| ExecError::Gap { reason: error.to_string() })?;
    Ok(Some(Stream {
        applied_lsn: progress.applied.to_string(),
        confirmed_lsn: row.get(1),
        source_lsn: source_lsn.to_string(),
        lag_bytes: source_lsn.0.saturating_sub(progress.applied.0),
        wal_retained_bytes: row.get::<_, Option<i64>>(2).unwrap_or(0),
    }))
}
