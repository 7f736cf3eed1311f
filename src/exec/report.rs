//! Where a migration stands, from the target's ledger and the source's slot: from any machine, executor or not.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::fence::{self, Standing};
use super::throttle::{self, HeldBack};
use super::{ExecError, back, owners_and_grants};
use crate::ledger::adoption::{self, Adoption};
use crate::ledger::cutover::CutoverState;
use crate::ledger::hook::{CallEnd, Direction};
use crate::ledger::way_back::{self, WayBackState};
use crate::ledger::{cutover, given, hook, lock, migration, progress, skipped, step};
use crate::pg::client::Client;
use crate::plan::{Hook, Op, Phase, Plan};
use crate::replay::Lsn;
use crate::sql;

/// `status --json`.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// Plan id.
    pub plan: String,
    /// `running`, `cut_over`, `aborted`, `cleaned`, `replaced`.
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
    /// What holds the copy or the comparison back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_back: Option<HeldBack>,
    /// Why the copy or the comparison goes slower than it could, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pace: Option<String>,
    /// Changes that are left out on purpose, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
    /// Rows that were copied again because they differed, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub repaired: Vec<String>,
    /// Columns that came to tables of the source since the plan, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub added_columns: Vec<String>,
    /// Writes that came to the source behind a fence that refuses none, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub late_writes: Vec<String>,
    /// Owners and grants that the target lacks since the switch, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_given: Vec<String>,
    /// What became of the way back, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub way_back: Option<String>,
    /// How the run came to this plan, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub adopted: Vec<String>,
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
    /// Phase, where the plan is known.
    pub phase: Option<Phase>,
    /// `pending`, `started`, `succeeded`; `not_done` for an owner or a grant that the target lacks.
    pub status: String,
    /// Rows copied, for a copy.
    pub rows_done: Option<i64>,
    /// Rows of the source, as far as its statistics know, for a copy.
    pub rows_estimate: Option<u64>,
    /// Bytes passed through, for a copy.
    pub bytes_done: Option<i64>,
    /// RFC 3339.
    pub started_at: Option<String>,
    /// RFC 3339.
    pub ended_at: Option<String>,
}

/// A table.
#[derive(Debug, Clone, Serialize)]
pub struct TableRow {
    /// Target table; the source table where the target has several.
    pub table: String,
    /// Rows copied.
    pub rows_done: i64,
    /// Bytes passed through.
    pub bytes_done: i64,
}

/// Positions.
#[derive(Debug, Clone, Serialize)]
pub struct Stream {
    /// Received by the executor; `None` when it is not connected.
    pub received_lsn: Option<String>,
    /// Applied on the target.
    pub applied_lsn: String,
    /// Confirmed to the slot.
    pub confirmed_lsn: Option<String>,
    /// The source's write position.
    pub source_lsn: String,
    /// Difference of source and applied.
    pub lag_bytes: u64,
    /// Seconds since the applied position moved; 0 when nothing is missing.
    pub lag_seconds: f64,
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
    let rows = ledger
        .query(
            "SELECT tbl, sum(rows)::int8, sum(bytes)::int8 FROM (SELECT tbl, rows, bytes FROM pcrd.chunk WHERE migration = $1 \
             UNION ALL SELECT tbl, rows, 0 FROM pcrd.whole_copy WHERE migration = $1) AS copied GROUP BY tbl ORDER BY tbl",
            &[&found.id],
        )
        .await
        .map_err(ExecError::target("read the copied rows"))?;
    let tables: Vec<TableRow> =
        rows.iter().map(|row| TableRow { table: row.get(0), rows_done: row.get(1), bytes_done: row.get(2) }).collect();
    let steps = step_rows(found, ledger, source, plan, &tables).await?;
    let stream = stream(ledger, source, found).await?;
    // What an executor said that is gone holds nothing.
    let held_back = if alive { throttle::recorded(ledger, &found.id).await? } else { None };
    let pace = if alive { throttle::recorded_pace(ledger, &found.id).await? } else { None };
    let mut blocked_by = Vec::new();
    if found.state == "running" {
        blocked_by.extend(switch_in_doubt(ledger, found, plan.ok()).await?);
        if !alive {
            blocked_by.push("no executor is running".to_owned());
            let is_near = cutover::read(ledger, &found.id).await?.state == CutoverState::SequencesSet;
            if let Some(source) = source.filter(|_| is_near)
                && fence::standing_of(&found.id, source).await? == Standing::Permanent
            {
                blocked_by.insert(0, format!("ALARM: {}", super::cleanup::DECIDED));
            }
        }
        let open = |step: &&StepRow| {
            step.status != "succeeded"
                && ["copy:", "create_index:", "add_constraint:", "validate_constraint:", "verify:"]
                    .iter()
                    .any(|kind| step.id.starts_with(kind))
        };
        blocked_by.extend(super::gate::differences(ledger, &found.id).await?);
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
        held_back,
        adopted: adoption::history(ledger, &found.id).await?.iter().map(adopted).collect(),
        pace,
        way_back: way_back_line(ledger, source, found, (plan.ok(), alive)).await?,
        not_given: owners_and_grants::lines_of(ledger, &found.id, plan.ok()).await?,
        late_writes: late_writes(ledger, source, found, plan.ok()).await,
        added_columns: super::added::lines(ledger, &found.id).await?,
        repaired: super::verify::repair::lines(ledger, &found.id).await?,
        skipped: skipped::all(ledger, &found.id).await?.iter().map(super::left_out::in_words).collect(),
        steps,
        tables,
        stream,
        blocked_by,
    })
}

/// What has become of the way back; while it is open, how far the source is behind, and what waits for it.
async fn way_back_line(
    ledger: &Client,
    source: Option<&Client>,
    found: &migration::Migration,
    (plan, is_alive): (Option<&Plan>, bool),
) -> Result<Option<String>, ExecError> {
    let Some(way) = way_back::read(ledger, &found.id).await? else { return Ok(None) };
    let state = match (way.state, way.reason) {
        (WayBackState::Closed, Some(reason)) => {
            return Ok(Some(format!(
                "CLOSED: {reason}. The target goes on, the source lacks what came after; next: pcrd finalize"
            )));
        }
        (WayBackState::Open, _) => "open",
        (WayBackState::Armed, _) if found.state == "cut_over" => "not begun",
        (WayBackState::RollingBack, _) if !is_alive => {
            return back::left(ledger, &found.id, plan).await.map(Some);
        }
        (state, _) => return Ok(Some(state.to_string().replace('_', " "))),
    };
    let mut said = vec![state.to_owned()];
    if !is_alive {
        said.push("nothing goes back, for no executor is running: pcrd apply goes on".to_owned());
    }
    if let Some(plan) = plan {
        let query = "SELECT pg_catalog.pg_current_wal_insert_lsn()::text, \
                     pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), restart_lsn)::int8 \
                     FROM pg_catalog.pg_replication_slots WHERE slot_name = $1";
        let row = ledger.query_opt(query, &[&plan.settings.back_slot().as_str()]).await;
        let row = row.map_err(ExecError::target("read the slot of the way back"))?;
        let applied = match source {
            Some(source) if migration::exists(source).await? => progress::read(source, &back::id(&found.id)).await?,
            _ => None,
        };
        if let (Some(row), Some(applied)) = (&row, applied) {
            let behind = lsn(row.get(0))?.0.saturating_sub(applied.applied.0);
            said.push(format!("the source is {behind} bytes behind the target"));
        }
        match row {
            Some(row) => {
                let kept = row.get::<_, Option<i64>>(1).unwrap_or(0);
                said.push(format!("its slot keeps {kept} bytes of the target's log"));
            }
            None => said.push("its slot is gone".to_owned()),
        }
    }
    Ok(Some(format!("{}; pcrd rollback goes back, pcrd finalize ends it", said.join("; "))))
}

fn lsn(text: String) -> Result<Lsn, ExecError> {
    text.parse().map_err(|error: crate::replay::position::LsnError| ExecError::Gap { reason: error.to_string() })
}

async fn late_writes(
    ledger: &Client,
    source: Option<&Client>,
    found: &migration::Migration,
    plan: Option<&Plan>,
) -> Vec<String> {
    let (Some(source), Some(plan)) = (source, plan) else { return Vec::new() };
    let lines = super::late::lines_of(ledger, source, &found.id, &plan.settings).await;
    let mut lines = lines.unwrap_or_else(|error| vec![super::switch::unknown(&error)]);
    if found.state == "cut_over" {
        let beside = super::open_beside::lines(plan, &found.id, (ledger, source)).await;
        lines.extend(beside.unwrap_or_else(|error| vec![super::switch::unknown(&error)]));
        let open = super::open_partitions::of(plan, &found.id, source).await;
        lines.extend(
            open.map_or_else(|error| vec![super::switch::unknown(&error)], |open| super::open_partitions::lines(&open)),
        );
    }
    lines
}

/// What is to be said of a switch hook that was called and is not settled.
async fn switch_in_doubt(
    ledger: &Client,
    found: &migration::Migration,
    plan: Option<&Plan>,
) -> Result<Option<String>, ExecError> {
    // Without the hook there may be no table for it: an earlier version may have made the ledger.
    if plan.is_none_or(|plan| plan.settings.cutover.hooks.switch.is_empty()) {
        return Ok(None);
    }
    let Some(call) = hook::last(ledger, &found.id, Direction::Forward, Hook::Switch.word()).await? else {
        return Ok(None);
    };
    let is_open = matches!(call.end, None | Some(CallEnd::Failed | CallEnd::NotStarted));
    Ok(is_open.then(|| format!("{}: pcrd cutover --switch-happened yes, or no", call.in_words())))
}

/// One line about a change of plan.
fn adopted(one: &Adoption) -> String {
    let Adoption { before, after, kept, restarted, at } = one;
    let plans = if before == after { format!("plan {after}") } else { format!("plan {before} became {after}") };
    let list = |word: &str, list: &[String]| {
        if list.is_empty() { String::new() } else { format!("; {word} {}", list.join(", ")) }
    };
    format!("at {at} {plans}{}{}", list("started again:", restarted), list("kept:", kept))
}

/// Every step of the plan, or, without the plan, every step that was begun.
async fn step_rows(
    found: &migration::Migration,
    ledger: &Client,
    source: Option<&Client>,
    plan: Result<&Plan, &str>,
    tables: &[TableRow],
) -> Result<Vec<StepRow>, ExecError> {
    let states = step::all(ledger, &found.id).await?;
    let estimates = match (source, plan) {
        (Some(source), Ok(plan)) => estimates(source, plan).await?,
        _ => BTreeMap::new(),
    };
    let mut times = step::times(ledger, &found.id).await?;
    let not_given = given::not_given(&**ledger, &found.id).await?.into_iter().map(|one| one.step).collect();
    let beyond = match plan {
        Ok(plan) => {
            beyond_steps(plan, cutover::read(ledger, &found.id).await?.state, found.state == "cleaned", &not_given)
        }
        Err(_) => BTreeMap::new(),
    };
    let word = |id: &str| match (states.get(id), beyond.get(id)) {
        (Some(step::StepState::Succeeded), _) => "succeeded",
        (_, Some(word)) => word,
        (Some(step::StepState::Started), None) => "started",
        (None, None) => "pending",
    };
    let ids: Vec<(String, Option<Phase>)> = match plan {
        Ok(plan) => plan.steps.iter().map(|step| (step.id.to_string(), Some(step.phase))).collect(),
        Err(_) => states.keys().map(|id| (id.clone(), None)).collect(),
    };
    let rows = ids.into_iter().map(|(id, phase)| {
        let times = times.remove(&id).unwrap_or_default();
        let name = id.strip_prefix("copy:");
        let copied = name.map_or_else(Vec::new, |name| copied(plan.ok(), tables, name));
        StepRow {
            phase,
            status: word(&id).to_owned(),
            rows_done: name.map(|_| copied.iter().map(|table| table.rows_done).sum()),
            rows_estimate: name.and_then(|name| estimates.get(name).copied()),
            bytes_done: name.map(|_| copied.iter().map(|table| table.bytes_done).sum()),
            started_at: times.started_at,
            ended_at: times.ended_at,
            id,
        }
    });
    Ok(rows.collect())
}

/// What was copied to a target table, from each of its sources.
fn copied<'t>(plan: Option<&Plan>, tables: &'t [TableRow], target: &str) -> Vec<&'t TableRow> {
    let onto = plan.into_iter().flat_map(|plan| &plan.projections).filter(|one| one.target.to_string() == target);
    let names: Vec<String> = onto.map(|projection| projection.task().to_string()).collect();
    let is_of = |table: &&TableRow| if names.is_empty() { table.table == target } else { names.contains(&table.table) };
    tables.iter().filter(is_of).collect()
}

/// Steps that have no record of their own: those of the cutover are its states, and the stream ends in it.
fn beyond_steps(
    plan: &Plan,
    state: CutoverState,
    cleaned: bool,
    not_given: &BTreeSet<String>,
) -> BTreeMap<String, &'static str> {
    let of = |begun: CutoverState, done: CutoverState| match state {
        _ if state >= done => Some("succeeded"),
        _ if state >= begun => Some("started"),
        _ => None,
    };
    let words = plan.steps.iter().filter_map(|step| {
        let word = match step.op {
            Op::Fence(_) => of(CutoverState::Fencing, CutoverState::Fenced),
            Op::Drain(_) => of(CutoverState::Fenced, CutoverState::Drained),
            Op::VerifyFinal(_) => of(CutoverState::Drained, CutoverState::VerifiedFinal),
            Op::SetSequence(_) => of(CutoverState::VerifiedFinal, CutoverState::SequencesSet),
            _ if step.op.gives() => match not_given.contains(&step.id.0) {
                true => Some("not_done"),
                false => of(CutoverState::SequencesSet, CutoverState::Switched),
            },
            Op::Switch(_) | Op::RenameSource(_) => of(CutoverState::SequencesSet, CutoverState::Switched),
            Op::StreamChanges(_) => (state >= CutoverState::Drained).then_some("succeeded"),
            // Whether the fence stands after a cleanup is the operator's choice.
            Op::DropSlot(_) | Op::DropPublication(_) => cleaned.then_some("succeeded"),
            _ => None,
        };
        Some((step.id.to_string(), word?))
    });
    words.collect()
}

/// Rows of the source tables by target table, as far as the source's statistics know.
async fn estimates(source: &Client, plan: &Plan) -> Result<BTreeMap<String, u64>, ExecError> {
    let mut found = BTreeMap::new();
    for projection in &plan.projections {
        let row = source
            .query_one(
                "SELECT (SELECT reltuples::int8 FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass($1))",
                &[&sql::name(&projection.source)],
            )
            .await
            .map_err(ExecError::source("read the row estimates"))?;
        if let Some(rows) = row.get::<_, Option<i64>>(0).and_then(|rows| u64::try_from(rows).ok()) {
            *found.entry(projection.target.to_string()).or_default() += rows;
        }
    }
    Ok(found)
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
             pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), restart_lsn)::int8, \
             (SELECT write_lsn::text FROM pg_catalog.pg_stat_replication WHERE pid = active_pid) \
             FROM pg_catalog.pg_replication_slots WHERE slot_name = $1",
            &[&found.slot],
        )
        .await
        .map_err(ExecError::source("read the replication slot"))?;
    let Some(row) = row else { return Ok(None) };
    let source_lsn = lsn(row.get(0))?;
    let moved = ledger
        .query_one(
            "SELECT extract(epoch FROM clock_timestamp() - updated_at)::float8 FROM pcrd.progress WHERE migration = $1",
            &[&found.id],
        )
        .await
        .map_err(ExecError::target("read the age of the position"))?;
    let lag_bytes = source_lsn.0.saturating_sub(progress.applied.0);
    Ok(Some(Stream {
        received_lsn: row.get(3),
        applied_lsn: progress.applied.to_string(),
        confirmed_lsn: row.get(1),
        source_lsn: source_lsn.to_string(),
        lag_bytes,
        lag_seconds: if lag_bytes == 0 { 0.0 } else { moved.get(0) },
        wal_retained_bytes: row.get::<_, Option<i64>>(2).unwrap_or(0),
    }))
}
