//! Writes that reach the source behind a fence that refuses none: found in the log that the slot keeps, counted by table.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio_postgres::error::SqlState;

use super::ExecError;
use super::context::Run;
use super::fence::{self, Standing};
use crate::ledger::{cutover as state, progress};
use crate::pg::client::Client;
use crate::pg::pgoutput::{self, Message};
use crate::plan::{End, Settings};
use crate::replay::Lsn;
use crate::sql;

/// Of more changes than these only so many are counted.
const CHANGES_MAX: i32 = 100_000;
/// The reader of the stream ends a moment after the stream.
const READER_PATIENCE: Duration = Duration::from_secs(10);

/// Changes by source table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Late {
    tables: BTreeMap<String, u64>,
    is_cut: bool,
}

impl Late {
    /// One line a table; nothing when there is none.
    pub fn lines(&self) -> Vec<String> {
        let least = if self.is_cut { "at least " } else { "" };
        let line = |(table, count): (&String, &u64)| {
            format!("{least}{count} change(s) of {table} came to the source after the fence and are not on the target")
        };
        self.tables.iter().map(line).collect()
    }
}

/// Changes that were committed at or after `since`, where the stream ended: what came after the fence and before that
/// is on the target. Nobody may read the slot meanwhile.
///
/// # Errors
/// The slot is in use or cannot be read.
pub async fn look(source: &Client, settings: &Settings, since: Lsn) -> Result<Late, ExecError> {
    // What was acknowledged without having been flushed is flushed with a commit of ours.
    source
        .batch_execute("SELECT pg_catalog.pg_logical_emit_message(true, 'pcrd', 'late')")
        .await
        .map_err(ExecError::source("flush the log"))?;
    let began = Instant::now();
    let publication = sql::ident(&settings.publication);
    let rows = loop {
        let peek = source
            .query(
                "SELECT data FROM pg_catalog.pg_logical_slot_peek_binary_changes($1, NULL, $2, 'proto_version', '1', 'publication_names', $3)",
                &[&settings.slot.as_str(), &CHANGES_MAX, &publication],
            )
            .await;
        match peek {
            Err(error) if error.code() == Some(&SqlState::OBJECT_IN_USE) && began.elapsed() < READER_PATIENCE => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            other => break other.map_err(ExecError::source("look for late writes"))?,
        }
    };
    let mut late = Late { is_cut: rows.len() >= CHANGES_MAX as usize, ..Late::default() };
    let (mut names, mut counts, mut begun) = (BTreeMap::new(), false, false);
    for row in rows {
        let tables = match pgoutput::decode(Bytes::from(row.get::<_, Vec<u8>>(0)))? {
            Message::Begin(begin) => {
                counts = begin.final_lsn >= since;
                begun |= counts;
                continue;
            }
            Message::Relation(relation) => {
                names.insert(relation.oid, format!("{}.{}", relation.schema, relation.name));
                continue;
            }
            Message::Insert { relation, .. } | Message::Update { relation, .. } | Message::Delete { relation, .. } => {
                vec![relation]
            }
            Message::Truncate(truncate) => truncate.relations,
            _ => continue,
        };
        for oid in tables.into_iter().filter(|_| counts) {
            let name = names.get(&oid).cloned().unwrap_or_else(|| format!("table {oid}"));
            *late.tables.entry(name).or_default() += 1;
        }
    }
    if late.is_cut && !begun {
        let reason =
            "the slot keeps more changes of before the end of the stream than are looked through for late ones";
        return Err(ExecError::Gap { reason: reason.to_owned() });
    }
    Ok(late)
}

/// Nobody has written since the stream ended at `since`, where the fence keeps nobody from it.
///
/// # Errors
/// Somebody has, or it cannot be found out.
pub async fn none_came(run: &Run, source: &Client, since: Lsn) -> Result<(), ExecError> {
    if run.plan.settings.cutover.fence.refuses() {
        return Ok(());
    }
    let lines = look(source, &run.plan.settings, since).await?.lines();
    if lines.is_empty() { Ok(()) } else { Err(ExecError::CutoverAborted { reason: lines.join("; ") }) }
}

/// What came to the source after the target became the database, in words; also that it cannot be found out.
pub async fn lines(run: &Run, ledger: &Client) -> Result<Vec<String>, ExecError> {
    if run.plan.settings.cutover.fence.refuses() {
        return Ok(Vec::new());
    }
    let source = run.connect(End::Source, "late").await?;
    lines_of(ledger, &source, &run.id, &run.plan.settings).await
}

/// As [`lines`], of a plan that nobody runs.
pub async fn lines_of(
    ledger: &Client,
    source: &Client,
    migration: &str,
    settings: &Settings,
) -> Result<Vec<String>, ExecError> {
    if settings.cutover.fence.refuses() {
        return Ok(Vec::new());
    }
    // A permanent fence is behind the end of the stream, whether or not the clients have been moved.
    let is_decided = match state::read(ledger, migration).await?.state {
        state::CutoverState::Switched => true,
        state::CutoverState::SequencesSet => fence::standing_of(migration, source).await? == Standing::Permanent,
        _ => false,
    };
    if !is_decided {
        return Ok(Vec::new());
    }
    let Some(progress) = progress::read(ledger, migration).await? else { return Ok(Vec::new()) };
    let slot = source
        .query_opt("SELECT FROM pg_catalog.pg_replication_slots WHERE slot_name = $1", &[&settings.slot.as_str()])
        .await
        .map_err(ExecError::source("look for the slot"))?;
    // Gone with a cleanup, which told of them.
    if slot.is_none() {
        return Ok(Vec::new());
    }
    Ok(look(source, settings, progress.applied).await?.lines())
}
