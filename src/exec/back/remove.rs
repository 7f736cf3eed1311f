//! What ends the way back, and what it leaves behind on both ends.

use std::time::{Duration, Instant};

use super::clients;
use super::{mirror, rollback};
use crate::exec::context::Run;
use crate::exec::fence::{self, Standing};
use crate::exec::identity::Identity;
use crate::exec::steps::{self, Steps};
use crate::exec::{ExecError, admission, failpoint, slot};
use crate::ledger::way_back::{self, WayBackState};
use crate::ledger::{LedgerError, adoption, lock, migration};
use crate::pg::client::Client;
use crate::pg::error::PgError;
use crate::plan::{End, Op};
use crate::replay::Lsn;
use crate::sql;

/// The reader of a stream ends a moment after the stream.
pub(super) const READER_PATIENCE: Duration = Duration::from_secs(10);

/// Ends the way back because a row could not go: the slot goes, so that it does not keep the target's log for a way that
/// nobody can go. `mirrored` is the run of an executor that holds its locks; `ledger` and `source` are the sessions that do.
///
/// # Errors
/// Another executor has it, or it is decided already: then nothing is changed.
pub(super) async fn close(
    run: &Run,
    mirrored: &Run,
    (ledger, source): (&Client, &Client),
    reason: &str,
) -> Result<(), ExecError> {
    let doing = || ExecError::source("close the way back");
    // Nobody can take over between the look at the epoch and what is written.
    source.batch_execute("BEGIN").await.map_err(doing())?;
    let closed = close_as_ours(run, mirrored, (ledger, source), reason).await;
    source.batch_execute("ROLLBACK").await.map_err(doing())?;
    closed?;
    failpoint::hit("back.closed")?;
    remove_from_target(run, ledger).await.map(drop)
}

async fn close_as_ours(
    run: &Run,
    mirrored: &Run,
    (ledger, source): (&Client, &Client),
    reason: &str,
) -> Result<(), ExecError> {
    let (id, epoch) = (&mirrored.id, mirrored.epoch);
    let query = "SELECT epoch FROM pcrd.migration WHERE id = $1 FOR UPDATE";
    let row = source.query_opt(query, &[id]).await.map_err(ExecError::source("close the way back"))?;
    let fenced = || ExecError::from(LedgerError::Fenced { epoch, lsn: Lsn(0) });
    if row.map(|row| row.get::<_, i64>(0)) != Some(epoch) {
        return Err(fenced());
    }
    if fence::standing(mirrored, ledger).await.map_err(ExecError::mirrored)? == Standing::Permanent {
        let reason = format!("the rollback is decided, so nothing is closed: {reason}");
        return Err(ExecError::Step { step: "rollback".to_owned(), reason });
    }
    let from = [WayBackState::Armed, WayBackState::Open];
    match way_back::advance(ledger, &run.id, Some(epoch), &from, WayBackState::Closed, Some(reason)).await? {
        true => Ok(()),
        false => Err(fenced()),
    }
}

/// Both ends are closed, and only the source can end that.
pub const BOTH_CLOSED: &str = "ALARM: a rollback is decided and not done, and both ends are closed until the source is \
     there: bring it back, and pcrd rollback opens it. Where it never comes back: pcrd finalize --without-source opens the \
     target, which has everything";

/// Ends a way back that is closed, or that nobody goes. One that is not closed yet needs the source, which alone knows whether
/// it was opened; or, `without_source`, the operator's word that it is not the database.
///
/// # Errors
/// An executor is at work, the way back was used, or a server cannot be asked.
pub async fn give_up(run: &Run, without_source: bool) -> Result<(), ExecError> {
    let ledger = run.connect(End::Target, "finalize").await?;
    admission::check_database(End::Target, &run.plan.target.server, &ledger).await?;
    let targets: Vec<_> = run.plan.targets().into_iter().cloned().collect();
    let began = Instant::now();
    while let Err(table) = lock::take(&ledger, &targets).await? {
        lock::release_all(&ledger).await?;
        if began.elapsed() > admission::LOCK_PATIENCE {
            return Err(ExecError::Busy { what: table.to_string() });
        }
        run.sleep(Duration::from_millis(100)).await?;
    }
    let found = way_back::read(&ledger, &run.id).await?;
    match found.as_ref().map(|found| found.state) {
        Some(state @ (WayBackState::Armed | WayBackState::Open | WayBackState::RollingBack)) => {
            source_is_not_the_database(run, &ledger, state, without_source).await?;
        }
        Some(WayBackState::RolledBack) => was_never_opened(run, &ledger).await?,
        // No rollback comes behind these.
        Some(WayBackState::Closed | WayBackState::Finalized) | None => {}
    }
    if let Some(found) = found.filter(|found| found.state == WayBackState::RollingBack)
        && fence::standing_of(&mirror::id(&run.id), &ledger).await? != Standing::Permanent
    {
        say(run, rollback::undo(run, &ledger, found.epoch).await?);
    }
    finalize(run, &ledger).await
}

fn say(run: &Run, trouble: Option<String>) {
    if let Some(trouble) = trouble {
        run.note(trouble);
    }
}

/// It is closed, and a rollback that was begun cannot open it, because it lacks what the target wrote. A target that failed
/// over may not know of a rollback that did.
async fn source_is_not_the_database(
    run: &Run,
    ledger: &Client,
    state: WayBackState,
    without_source: bool,
) -> Result<(), ExecError> {
    let is_decided = fence::standing_of(&mirror::id(&run.id), ledger).await? == Standing::Permanent;
    let source = match run.connect(End::Source, "finalize").await {
        Ok(source) => source,
        Err(error) if without_source && is_out_of_reach(&error) => return Ok(()),
        Err(error) => return Err(source_unknown(is_decided, error)),
    };
    match admission::check_database(End::Source, &run.plan.source.server, &source).await {
        // Another server is in its place.
        Err(ExecError::Stale { .. }) if without_source => return Ok(()),
        other => other?,
    }
    // What it has not heard of yet may have been decided.
    if Identity::read(End::Source, &source).await?.timeline.is_none() {
        let error = ExecError::Moved { side: End::Source, difference: "it is a standby".to_owned() };
        return Err(source_unknown(is_decided, error));
    }
    if state == WayBackState::RollingBack {
        match rollback::has_everything(run, ledger, &source).await {
            Err(ExecError::SourceBehind { .. }) => {}
            Err(error) => return Err(error),
            Ok(()) => {
                if !is_decided {
                    rollback::is_closed(run, ledger, &source).await?;
                }
                let reason = "a rollback was begun: pcrd rollback ends it".to_owned();
                return Err(ExecError::Step { step: "finalize".to_owned(), reason });
            }
        }
    }
    match rollback::is_closed(run, ledger, &source).await {
        // The target takes writes anyway.
        Err(ExecError::SourceBehind { .. }) if without_source && !is_decided => Ok(()),
        other => other,
    }
}

fn source_unknown(is_decided: bool, error: ExecError) -> ExecError {
    let state = match is_decided {
        true => "a rollback is decided and not done, and both ends are closed",
        false => "only the source knows whether a rollback has made it the database",
    };
    ExecError::SourceUnknown { state, error: Box::new(error) }
}

/// No server answers there. One that refuses, or that is starting, can be asked, now or later.
fn is_out_of_reach(error: &ExecError) -> bool {
    let ExecError::Postgres { error, .. } = error else { return false };
    matches!(error, PgError::Connect { .. } | PgError::Timeout { .. } | PgError::Io(_) | PgError::Closed)
}

/// A rollback is complete, and the source that is there is one that it did not open: a standby was promoted that lacks what the
/// target wrote. Both ends are closed then, and the target has everything.
///
/// # Errors
/// The source is the database, as far as anybody can tell, or is not there to be asked.
async fn was_never_opened(run: &Run, ledger: &Client) -> Result<(), ExecError> {
    let refuse = |reason: String| Err(ExecError::Step { step: "finalize".to_owned(), reason });
    let source = match run.connect(End::Source, "finalize").await {
        Ok(source) => source,
        Err(error) => {
            return refuse(format!(
                "the way back is rolled back, and the source, which is the database, cannot be asked: {error}"
            ));
        }
    };
    admission::check_database(End::Source, &run.plan.source.server, &source).await?;
    if Identity::read(End::Source, &source).await?.timeline.is_none() {
        return refuse("the way back is rolled back, and the server at the source's address is a standby".to_owned());
    }
    if rollback::is_closed(run, ledger, &source).await.is_err() {
        return refuse("the way back is rolled back: the source is the database".to_owned());
    }
    match rollback::has_everything(run, ledger, &source).await {
        Err(ExecError::SourceBehind { .. }) => Ok(migration::set_state(ledger, &run.id, "cut_over").await?),
        Err(error) => Err(error),
        Ok(()) => refuse(
            "the way back is rolled back, and the source has everything: it is the database, and where it is closed still pcrd cleanup \
             opens it"
                .to_owned(),
        ),
    }
}

/// Ends it under the executor's lock.
pub(super) async fn finalize(run: &Run, ledger: &Client) -> Result<(), ExecError> {
    let before = way_back::read(ledger, &run.id).await?;
    // Behind a rollback only who has looked at the source comes here.
    let from = [
        WayBackState::Armed,
        WayBackState::Open,
        WayBackState::RollingBack,
        WayBackState::Closed,
        WayBackState::RolledBack,
    ];
    if !way_back::advance(ledger, &run.id, None, &from, WayBackState::Finalized, None).await? {
        let state = way_back::read(ledger, &run.id).await?.map(|found| found.state);
        if state != Some(WayBackState::Finalized) {
            let state = state.map_or_else(|| "gone".to_owned(), |state| state.to_string().replace('_', " "));
            let reason = format!("the way back is {state}");
            return Err(ExecError::Step { step: "finalize".to_owned(), reason });
        }
    }
    failpoint::hit("back.finalized")?;
    remove_from_target(run, ledger).await?;
    // Of a rollback that was given up: last, when nobody would open the source any more.
    let back = mirror::id(&run.id);
    if fence::standing_of(&back, ledger).await? == Standing::None {
        return Ok(());
    }
    fence::end_of(&back, ledger).await?;
    failpoint::hit("back.finalized-open")?;
    // Its clients wait for the source still, or were told to. As long as the fence is not taken down this is said again.
    let of_rollback = [WayBackState::RollingBack, WayBackState::Finalized];
    if let Some(before) = before.filter(|before| of_rollback.contains(&before.state)) {
        say(run, clients::stay(run, ledger, before.epoch).await?);
    }
    fence::remove_of(&back, ledger).await
}

/// Drops the slot of the way back, when its reader has ended; false when there is none.
pub(super) async fn drop_slot(run: &Run, ledger: &Client) -> Result<bool, ExecError> {
    let slot = run.plan.settings.back_slot();
    let began = Instant::now();
    loop {
        let query = "SELECT active FROM pg_catalog.pg_replication_slots WHERE slot_name = $1";
        let row = ledger.query_opt(query, &[&slot.as_str()]).await;
        let row = row.map_err(ExecError::target("look for the slot of the way back"))?;
        match row.map(|row| row.get::<_, bool>(0)) {
            None => return Ok(false),
            Some(true) if began.elapsed() < READER_PATIENCE => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Some(_) => {
                let drop = sql::publication::drop_slot(&slot);
                ledger.batch_execute(&drop).await.map_err(ExecError::target("drop the slot of the way back"))?;
                return Ok(true);
            }
        }
    }
}

/// The slot of the way there would keep the source's log for as long as changes go back, and after a rollback: nothing reads
/// it any more. True once it is gone.
pub(super) async fn drop_forward_slot(run: &Run, ledger: &Client, source: &Client) -> Result<bool, ExecError> {
    let Some(step) = steps::find(&run.plan, |op| matches!(op, Op::DropSlot(_))) else { return Ok(true) };
    let mut steps = Steps::read(run, ledger).await?;
    if steps.done(&step.id) {
        return Ok(true);
    }
    let began = Instant::now();
    // The reader of before the switch ends a moment later.
    if let Some(found) = slot::state(source, run).await? {
        if found.active_pid.is_some() {
            return Ok(false);
        }
        steps.start(ledger, step).await?;
        let drop = sql::publication::drop_slot(&run.plan.settings.slot);
        source.batch_execute(&drop).await.map_err(ExecError::source("drop the replication slot"))?;
    } else {
        steps.start(ledger, step).await?;
    }
    steps.succeed(ledger, step, began).await?;
    Ok(true)
}

/// Slot and publication of the way back.
pub async fn remove_from_target(run: &Run, ledger: &Client) -> Result<Vec<String>, ExecError> {
    let mut removed = Vec::new();
    let steps = Steps::read(run, ledger).await?;
    let ours = |wanted: fn(&Op) -> bool| run.plan.steps.iter().any(|step| wanted(&step.op) && steps.started(&step.id));
    let slot = run.plan.settings.back_slot();
    if ours(|op| matches!(op, Op::CreateBackSlot(_))) && drop_slot(run, ledger).await? {
        removed.push(format!("replication slot {slot} on the target"));
    }
    failpoint::hit("back.after-slot-dropped")?;
    let publication = run.plan.settings.back_publication();
    if ours(|op| matches!(op, Op::PublishBack(_))) {
        let query = "SELECT FROM pg_catalog.pg_publication WHERE pubname = $1";
        let row = ledger.query_opt(query, &[&publication.as_str()]).await;
        if row.map_err(ExecError::target("look for the publication of the way back"))?.is_some() {
            let drop = sql::publication::drop(&publication);
            ledger.batch_execute(&drop).await.map_err(ExecError::target("drop the publication of the way back"))?;
            removed.push(format!("publication {publication} on the target"));
        }
    }
    Ok(removed)
}

/// The rows of the way back in the source's ledger, also those of plans that this one took over, and the ledger with the last
/// of them: it is nobody else's target.
pub async fn remove_from_source(run: &Run, ledger: &Client, source: &Client) -> Result<Vec<String>, ExecError> {
    let doing = || ExecError::source("remove the ledger of the way back");
    if run.plan.settings.cutover.reverse.is_none() || !migration::exists(source).await? {
        return Ok(Vec::new());
    }
    let before = adoption::history(ledger, &run.id).await?;
    let ids: Vec<String> = before.iter().map(|one| &one.before).chain([&run.id]).map(|id| mirror::id(id)).collect();
    let mut removed = Vec::new();
    let tables = source
        .query(
            "SELECT c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = 'pcrd' AND c.relkind = 'r' AND c.relname <> 'fence'",
            &[],
        )
        .await
        .map_err(doing())?;
    let tables: Vec<String> = tables.iter().map(|row| row.get(0)).collect();
    let rows = ["progress", "reread", "skipped", "unreadable", "setting", "step", "cutover"];
    // A ledger of an earlier version lacks some.
    for table in rows.into_iter().filter(|name| tables.iter().any(|table| table == name)) {
        let delete = format!("DELETE FROM pcrd.{table} WHERE migration = ANY ($1)");
        source.execute(&delete, &[&ids]).await.map_err(doing())?;
    }
    source.execute("DELETE FROM pcrd.migration WHERE id = ANY ($1)", &[&ids]).await.map_err(doing())?;
    let left: i64 = source.query_one("SELECT count(*) FROM pcrd.migration", &[]).await.map_err(doing())?.get(0);
    if left == 0 {
        let names: Vec<String> = tables.iter().map(|name| format!("pcrd.\"{name}\"")).collect();
        source.batch_execute(&format!("DROP TABLE {}", names.join(", "))).await.map_err(doing())?;
        removed.push("ledger of the way back on the source".to_owned());
    }
    Ok(removed)
}
