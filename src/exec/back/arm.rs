//! Before the switch: publication, slot and rights while writes go on; behind the fence the position, and a message that
//! goes the whole way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_postgres::error::SqlState;

use super::disarm::{disarm, is_ours};
use super::mirror::mirror;
use super::watch::{self, Watch};
use super::{follow, looks, rights};
use crate::exec::ExecError;
use crate::exec::context::Run;
use crate::exec::identity::Identity;
use crate::exec::sentinel::Nonce;
use crate::exec::steps::Steps;
use crate::exec::table::TableTask;
use crate::exec::{constraints, failpoint, published, sequences, slot, snapshots};
use crate::ledger::{migration, progress, step, way_back};
use crate::pg::client::Client;
use crate::plan::{End, Op, Step};
use crate::sql;

/// What the message begins with that goes all of the way back.
pub const PROBE: &str = "probe:";

/// What was looked at before writes stopped, so that little has to be asked behind the fence.
#[derive(Debug)]
pub struct Prepared {
    mirrored: Run,
    tables: Vec<TableTask>,
    watch: Watch,
}

/// Everything that may take time, before writes stop. Can be repeated. `None` without a way back.
///
/// # Errors
/// A server, or the role, cannot do it: the cutover is given up before it began.
pub async fn prepare(run: &Run, ledger: &Client, source: &Client) -> Result<Option<Prepared>, ExecError> {
    let Some(user) = rights::role(run) else { return Ok(None) };
    let (mut mirrored, mut tables) = mirror(run, ledger).await?;
    tables.iter().try_for_each(watch::is_sent_as_planned)?;
    if !is_whole(run, &mirrored, ledger).await? {
        disarm(run, ledger).await?;
    }
    let found = slot::state(ledger, &mirrored).await.map_err(ExecError::mirrored)?;
    rights::of_target(run, ledger, found.is_some()).await?;
    rights::of_role(run, source).await?;
    rights::nobody_else(run, source).await?;
    rights::of_tables(run, source).await?;
    answered_in_time(run, (&mirrored, &tables), source).await?;
    sequences::may_be_set(&mirrored, source).await.map_err(ExecError::mirrored)?;
    let limit = Duration::from_millis(run.plan.settings.fence_timeout_ms) / 2;
    sequences::try_out(&mirrored, source, limit).await.map_err(ExecError::mirrored)?;
    // The position of the way back is written with its rows, on the source.
    migration::exists(source).await?;
    migration::create_ledger(source).await?;
    let role = sql::ident(
        &crate::catalog::Ident::new(user)
            .map_err(|error| ExecError::Step { step: "probe_back".to_owned(), reason: error.to_string() })?,
    );
    let grants = format!(
        "GRANT USAGE ON SCHEMA pcrd TO {role}; GRANT SELECT, INSERT, UPDATE, DELETE ON pcrd.migration, pcrd.progress, \
         pcrd.reread, pcrd.skipped, pcrd.unreadable, pcrd.step TO {role}"
    );
    source
        .batch_execute(&grants)
        .await
        .map_err(ExecError::source("let the role of the way back write its position"))?;
    let mut steps = Steps::read(run, ledger).await?;
    for step in &run.plan.steps {
        let there = match &step.op {
            Op::PublishBack(op) => {
                let query = "SELECT FROM pg_catalog.pg_publication WHERE pubname = $1";
                let row = ledger.query_opt(query, &[&op.publication.as_str()]).await;
                row.map_err(ExecError::target("look for the publication of the way back"))?.is_some()
            }
            Op::CreateBackSlot(_) => found.is_some(),
            _ => continue,
        };
        create(&mut steps, (&mirrored, ledger, &run.id), step, there).await?;
    }
    failpoint::hit("back.prepared")?;
    // The role can log in, and write to every table as the applier will.
    let writer = mirrored.connect_applier("probe").await.map_err(ExecError::mirrored)?;
    let mut tries = "BEGIN".to_owned();
    for way in run.plan.back.iter().filter_map(|way| way.projection.as_ref()) {
        let name = sql::name(&way.target);
        let columns: Vec<String> = way.columns.iter().map(|column| sql::ident(&column.target)).collect();
        let columns = columns.join(", ");
        tries.push_str(&format!(
            "; DELETE FROM ONLY {name} WHERE false; INSERT INTO {name} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM ONLY {name} WHERE false"
        ));
    }
    tries.push_str("; ROLLBACK");
    writer.batch_execute(&tries).await.map_err(ExecError::source("write as the role of the way back"))?;
    seen_in_slot(run, ledger).await?;
    mirrored.epoch = follow::take_over(&mirrored, source).await?;
    let watch = watch::begin(&mirrored, source, ledger, &run.plan.back, &mut tables).await;
    let watch = watch.map_err(ExecError::mirrored)?;
    Ok(Some(Prepared { mirrored, tables, watch }))
}

/// False when the publication of the way back is ours and does not publish what it must: a table was created anew since an
/// earlier attempt made it, or only the slot is left. What the slot has seen cannot be read with another publication.
async fn is_whole(run: &Run, mirrored: &Run, ledger: &Client) -> Result<bool, ExecError> {
    let steps = Steps::read(run, ledger).await?;
    if !is_ours(run, &steps, |op| matches!(op, Op::PublishBack(_) | Op::CreateBackSlot(_))) {
        return Ok(true);
    }
    match published::check(mirrored, ledger).await {
        Ok(()) => Ok(true),
        Err(ExecError::Stale { .. }) => Ok(false),
        Err(error) => Err(error.mirrored()),
    }
}

/// What is asked behind the target's fence is asked once before the switch: a question that nothing decides, or that takes
/// too long, would keep every rollback away.
async fn answered_in_time(
    run: &Run,
    (mirrored, tables): (&Run, &[TableTask]),
    source: &Client,
) -> Result<(), ExecError> {
    let (began, limit) = (Instant::now(), Duration::from_millis(run.plan.settings.fence_timeout_ms) / 2);
    let asking = async {
        let questions = constraints::questions_back(mirrored, source, &watch::with_others(tables), limit).await?;
        constraints::ask_back(source, &questions, limit, "before the switch").await?;
        Ok(questions.len())
    };
    let asked = constraints::unless_stopped(run, source, asking).await?;
    if asked > 0 {
        run.note(format!(
            "{asked} constraint(s) of the source, which no constraint of the target promises, are looked at by a rollback \
             behind the target's fence; now that took {} ms",
            began.elapsed().as_millis()
        ));
    }
    Ok(())
}

/// A message of the target comes out of the slot.
async fn seen_in_slot(run: &Run, ledger: &Client) -> Result<(), ExecError> {
    let text = Nonce::new().digest();
    let (slot, publication) = (run.plan.settings.back_slot(), run.plan.settings.back_publication());
    // What the target has applied since the slot was made would be collected in its memory.
    ledger
        .execute(
            "SELECT pg_catalog.pg_replication_slot_advance(slot_name, \
             greatest(confirmed_flush_lsn, pg_catalog.pg_current_wal_flush_lsn())) \
             FROM pg_catalog.pg_replication_slots WHERE slot_name = $1",
            &[&slot.as_str()],
        )
        .await
        .map_err(ExecError::target("move the slot of the way back"))?;
    ledger
        .execute("SELECT pg_catalog.pg_logical_emit_message(true, 'pcrd', $1)", &[&text])
        .await
        .map_err(ExecError::target("write the probe of the way back"))?;
    // Behind the message's commit: before it the look would end without it.
    let upto = snapshots::write_position(ledger).await.map_err(ExecError::mirrored)?;
    let row = ledger
        .query_one(
            "SELECT count(*) FROM pg_catalog.pg_logical_slot_peek_binary_changes($1, $4::text::pg_lsn, NULL, 'proto_version', '1', \
             'publication_names', $2, 'messages', 'true') WHERE position(pg_catalog.convert_to($3, 'UTF8') IN data) > 0",
            &[&slot.as_str(), &sql::ident(&publication), &text, &upto.to_string()],
        )
        .await
        .map_err(ExecError::target("look for the probe of the way back"))?;
    if row.get::<_, i64>(0) == 1 {
        return Ok(());
    }
    Err(ExecError::CutoverAborted { reason: "the probe of the way back did not come out of its slot".to_owned() })
}

async fn create(
    steps: &mut Steps<'_>,
    (mirrored, ledger, id): (&Run, &Client, &str),
    step: &Step,
    there: bool,
) -> Result<(), ExecError> {
    if there && !steps.started(&step.id) {
        let reason = "an object of this name exists on the target and is not this plan's".to_owned();
        return Err(ExecError::Step { step: step.id.to_string(), reason });
    }
    if there {
        return Ok(());
    }
    let began = Instant::now();
    if steps.done(&step.id) {
        // It went with a cutover that was given up.
        step::reset(ledger, id, &step.id.0).await?;
    }
    steps.start(ledger, step).await?;
    for statement in step.statements.iter().filter(|statement| statement.on == End::Target) {
        match step.op {
            Op::CreateBackSlot(_) => create_slot(mirrored, ledger, &statement.sql).await?,
            _ => ledger.batch_execute(&statement.sql).await.map_err(ExecError::target(format!("step {}", step.id)))?,
        }
    }
    steps.succeed(ledger, step, began).await
}

/// On the session that holds the executor's locks: while it waits for transactions of the target nobody takes over, and one
/// that is dropped meanwhile is cancelled with it.
async fn create_slot(mirrored: &Run, ledger: &Client, statement: &str) -> Result<(), ExecError> {
    let doing = || ExecError::target("create the slot of the way back");
    let pid: i32 = ledger.query_one("SELECT pg_catalog.pg_backend_pid()", &[]).await.map_err(doing())?.get(0);
    let patience = slot::PATIENCE;
    let limit = format!("SET statement_timeout = {}", patience.as_millis());
    ledger.batch_execute(&limit).await.map_err(doing())?;
    let naming = async {
        let Err(error) = slot::name_blockers(mirrored, pid).await;
        mirrored.note(format!("who keeps the slot from being created cannot be told: {}", error.mirrored()));
        std::future::pending::<()>().await;
    };
    let created = tokio::select! {
        created = ledger.batch_execute(statement) => created,
        () = naming => unreachable!("it never ends"),
    };
    ledger.batch_execute("SET statement_timeout = 0").await.map_err(doing())?;
    match created {
        Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => {
            let who = slot::blockers(ledger, pid)
                .await
                .map_err(ExecError::mirrored)?
                .unwrap_or_else(|| "write transactions that have ended since".to_owned());
            let slot = &mirrored.plan.settings.slot;
            let reason = format!(
                "slot {slot} of the target was not created within {} s: it waits for {who}",
                patience.as_secs()
            );
            Err(ExecError::CutoverAborted { reason })
        }
        other => other.map_err(doing()),
    }
}

/// Behind the fence, when the target has everything and nobody writes to it: whatever is in its log up to here came from
/// the source. From here on the way back counts, and a message goes all of it.
pub async fn arm(run: &Run, ledger: &Client, source: &Client, prepared: Option<Prepared>) -> Result<(), ExecError> {
    let Some(Prepared { mirrored, tables, watch }) = prepared else { return Ok(()) };
    // What became of the tables since they were looked at would be missed.
    watch.compare_source(source).await.map_err(ExecError::mirrored)?;
    watch.look(&mirrored, source, ledger).await.map_err(|error| match error {
        // The next attempt looks at them anew.
        ExecError::Stale { .. } => ExecError::CutoverAborted { reason: format!("{error}, since this cutover began") },
        other => other.mirrored(),
    })?;
    looks::record_fence(run, ledger, source).await?;
    ledger
        .batch_execute("SELECT pg_catalog.pg_logical_emit_message(true, 'pcrd', 'armed')")
        .await
        .map_err(ExecError::target("mark the beginning of the way back"))?;
    let (snapshot, lsn) = snapshots::snapshot(ledger).await.map_err(ExecError::mirrored)?;
    let advance = "SELECT pg_catalog.pg_replication_slot_advance($1, $2::text::pg_lsn)";
    let slot = run.plan.settings.back_slot();
    ledger
        .execute(advance, &[&slot.as_str(), &lsn.to_string()])
        .await
        .map_err(ExecError::target("move the slot of the way back"))?;
    failpoint::hit("back.advanced")?;
    let timeline = Identity::read(End::Target, ledger).await?.timeline;
    let timeline = timeline.ok_or_else(|| ExecError::CutoverAborted {
        reason: "the way back cannot be taken: the target is a standby".to_owned(),
    })?;
    progress::delete_own(source, &mirrored.id, mirrored.epoch).await?;
    progress::create(source, &mirrored.id, mirrored.epoch, timeline, lsn, &snapshot).await?;
    let nonce = Nonce::new();
    let epoch = mirrored.epoch;
    let mut following = follow::start(Arc::new(mirrored), tables, (source, ledger)).await?;
    let text = format!("{PROBE}{}", nonce.digest());
    ledger
        .execute("SELECT pg_catalog.pg_logical_emit_message(true, 'pcrd', $1)", &[&text])
        .await
        .map_err(ExecError::target("write the probe of the way back"))?;
    following.wait_for_probe(&text).await?;
    following.end().await?;
    failpoint::hit("back.probed")?;
    rights::nobody_else(run, source).await?;
    way_back::arm(ledger, &run.id, run.epoch, epoch).await?;
    Ok(())
}
