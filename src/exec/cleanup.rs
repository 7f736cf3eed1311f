//! Removes what the plan created, and only that: after the cutover, or when a migration is given up.

use tokio_postgres::error::SqlState;

use super::ExecError;
use super::context::Run;
use super::fence::{self, Standing};
use super::slot;
use super::steps::Steps;
use super::{admission, failpoint, late, open_partitions, partition_guard, renamed, switch, target_partitions};
use crate::catalog::QualifiedName;
use crate::ledger::cutover::{self, CutoverState};
use crate::ledger::hook::Direction;
use crate::ledger::way_back::{self, WayBackState};
use crate::ledger::{adoption, lock, migration};
use crate::pg::client::Client;
use crate::plan::views;
use crate::plan::{CreateView, End, Op};
use crate::sql;

/// The switch cannot be undone any more, and the applications cannot use the target yet.
pub const DECIDED: &str = "the switch is decided and not complete: the source takes no writes for good, and applications may \
                           lack their rights on the target. pcrd apply completes it";

/// Gives the migration up: the source is as it was, the target has none of the plan's objects.
pub async fn abort(run: &Run) -> Result<Vec<String>, ExecError> {
    let (mut ledger, source) = (run.connect(End::Target, "abort").await?, run.connect(End::Source, "abort").await?);
    check_databases(run, &ledger, &source).await?;
    let targets: Vec<_> = run.plan.targets().into_iter().cloned().collect();
    admission::take_lock(run, &ledger, &source, &targets).await?;
    let is_closed = fence::standing(run, &source).await? == Standing::Permanent;
    if switch::is_in_doubt(run, &ledger).await? {
        return Err(switch::unknown_switch(run, Direction::Forward, "was called, and that is not settled".to_owned()));
    }
    let is_decided = is_closed && !switch::is_given_up(run, &ledger, &mut None).await?;
    let is_over = is_cut_over(run, &ledger).await?;
    if is_decided || is_over {
        let reason = match is_over {
            true => "the migration has been cut over; there is nothing to abort. pcrd cleanup removes what is left",
            false => DECIDED,
        };
        return Err(ExecError::Step { step: "abort".to_owned(), reason: reason.to_owned() });
    }
    for (table, own) in &target_partitions::own(run, &ledger).await? {
        target_partitions::none_of_others(&*ledger, table, own).await?;
    }
    let mut removed = super::back::remove_from_target(run, &ledger).await?;
    removed.extend(super::back::remove_from_source(run, &ledger, &source).await?);
    removed.extend(from_source(run, &ledger, &source).await?);
    removed.extend(from_target(run, &mut ledger).await?);
    migration::forget_work(&mut ledger, &run.id).await?;
    migration::set_state(&ledger, &run.id, "aborted").await?;
    adoption::release(&ledger, &run.id).await?;
    Ok(removed)
}

/// The ledger knows it also when the source has lost its fence: to a cleanup, or in a failover. The target's rows may be
/// the only ones then.
async fn is_cut_over(run: &Run, ledger: &Client) -> Result<bool, ExecError> {
    let state = migration::find(ledger, &run.id).await?.map(|found| found.state);
    Ok(matches!(state.as_deref(), Some("cut_over" | "cleaned" | "rolled_back"))
        || cutover::read(ledger, &run.id).await?.state == CutoverState::Switched)
}

/// What the operator lets go besides what nobody needs any more.
#[derive(Debug, Default)]
pub struct Wishes {
    /// Tables of the source, which is not the database any more.
    pub drop_source: Vec<QualifiedName>,
    /// Tables of the target, which is not the database: after a rollback.
    pub drop_target: Vec<QualifiedName>,
    /// The source takes writes again.
    pub open_source: bool,
    /// With the slot goes what is known of writes that came behind a fence that refuses none: only with this.
    pub late_writes_known: bool,
}

/// After the cutover: slot, publication and guard go. The fence stands as long as a table of the end that is not the
/// database does, because what a forgotten writer writes there is lost; `open_source` gives the source's tables back.
///
/// # Errors
/// Changes go back still, or a table is to go that is the database.
pub async fn cleanup(run: &Run, wishes: &Wishes) -> Result<Vec<String>, ExecError> {
    let (ledger, source) = (run.connect(End::Target, "cleanup").await?, run.connect(End::Source, "cleanup").await?);
    check_databases(run, &ledger, &source).await?;
    let targets: Vec<_> = run.plan.targets().into_iter().cloned().collect();
    admission::take_lock(run, &ledger, &source, &targets).await?;
    let refuse = |reason: &str| Err(ExecError::Step { step: "cleanup".to_owned(), reason: reason.to_owned() });
    let is_over = is_cut_over(run, &ledger).await?;
    let back = way_back::read(&ledger, &run.id).await?.map(|found| found.state);
    if matches!(back, Some(WayBackState::Open | WayBackState::RollingBack))
        && let Err(behind @ ExecError::TargetBehind { .. }) = super::back::is_closed(run, &ledger, &source).await
    {
        return Err(behind);
    }
    match back {
        Some(WayBackState::Open) => {
            return refuse(
                "changes of the target go back to the source: pcrd finalize ends that, pcrd rollback goes back",
            );
        }
        Some(WayBackState::Armed) if is_over => {
            return refuse(
                "what the target has written since the switch waits to go back to the source: pcrd apply lets it, pcrd \
                 finalize ends the way back",
            );
        }
        Some(WayBackState::RollingBack) => {
            return refuse("a rollback was begun and is not complete: pcrd rollback goes on with it");
        }
        _ => {}
    }
    if !is_over && fence::standing(run, &source).await? == Standing::Permanent {
        return refuse(DECIDED);
    }
    if !is_over {
        return refuse("the migration has not been cut over; pcrd abort gives it up");
    }
    let is_rolled_back = back == Some(WayBackState::RolledBack);
    match is_rolled_back {
        true if !wishes.drop_source.is_empty() => {
            return refuse(
                "the migration was rolled back: the source's tables are the database, and nothing of them was removed. \
                 pcrd cleanup --drop-target removes the target's",
            );
        }
        false if !wishes.drop_target.is_empty() => {
            return refuse("the target's tables are the database, and nothing of them was removed");
        }
        _ => {}
    }
    // It was opened behind its permanent fence: one that has it still was not, and may lack what the target wrote. What proves
    // that goes later.
    if is_rolled_back && fence::standing(run, &source).await? == Standing::Permanent {
        super::back::has_everything(run, &ledger, &source).await?;
        fence::end(run, &source).await?;
    }
    let late = if wishes.late_writes_known { Vec::new() } else { late::lines(run, &ledger).await? };
    if !late.is_empty() {
        return refuse(&format!(
            "{}. Only the slot remembers them: when they are seen to, pcrd cleanup --late-writes-known removes it",
            late.join("; ")
        ));
    }
    if back.is_some()
        && let Some(table) = takes_writes(run, &source, &wishes.drop_source).await?
    {
        return refuse(&format!(
            "the source takes writes to {table}, whose fence is not there: it may be the database. Nothing was removed; drop it \
             yourself when it is not"
        ));
    }
    let mut removed = Vec::new();
    if wishes.open_source {
        renamed::rename_back(run, &source).await?;
    } else if let Err(error) = renamed::rename(run).await {
        removed.push(format!("nothing of the source's names: {error}"));
    }
    let is_closed = open_partitions::are_others_closed(&run.plan, &run.id, &source).await?;
    let open = if is_rolled_back { Vec::new() } else { open_partitions::of(&run.plan, &run.id, &source).await? };
    removed.extend(open_partitions::lines(&open).into_iter().map(|line| format!("nothing of what is open: {line}")));
    for table in &wishes.drop_source {
        let filters = run.plan.projections.iter().filter(|projection| projection.source == *table);
        if !sql::filter::cover(&filters.map(|projection| projection.filter.as_ref()).collect::<Vec<_>>()) {
            return refuse(&format!(
                "{table} has rows that were not migrated, because of its filter; drop it yourself"
            ));
        }
        // A cleanup that was broken off may have dropped it.
        let Some(found) = renamed::current(run, (&ledger, &source), table).await? else {
            removed.push(format!("nothing of {table}: it is not on the source any more"));
            continue;
        };
        // While it is locked nobody renames it, nor writes to a partition of it that the fence does not close.
        let doing = || ExecError::source(format!("lock {table}"));
        let lock = format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", sql::name(&found));
        source.batch_execute(&format!("BEGIN; SET LOCAL lock_timeout = '10s'; {lock}")).await.map_err(doing())?;
        if renamed::current(run, (&ledger, &source), table).await?.as_ref() != Some(&found) {
            return refuse(&format!("{table} got another name a moment ago: run the same command again"));
        }
        if is_closed
            && run.plan.partitioned().contains(table)
            && let Some(partition) = open_partitions::with_rows(&found, &source).await?
        {
            return refuse(&format!(
                "partition {partition} of {table} came after the switch and has rows that no other server has: move them, or \
                     drop {table} yourself"
            ));
        }
        drop_table(End::Source, &source, &found, &mut removed).await?;
        source.batch_execute("COMMIT").await.map_err(doing())?;
    }
    let of_dropped = |view: &&CreateView| view.tables.iter().any(|table| wishes.drop_target.contains(table));
    let views: Vec<&CreateView> = views::made(&run.plan).filter(of_dropped).collect();
    for view in views.into_iter().rev() {
        let drop = sql::view::drop_if_there(&view.name, &view.def);
        ledger.batch_execute(&drop).await.map_err(ExecError::target(format!("drop {}", view.name)))?;
        removed.push(format!("view {} on the target", view.name));
    }
    for table in &wishes.drop_target {
        drop_table(End::Target, &ledger, table, &mut removed).await?;
    }
    let is_slot_gone = slot_is_gone(run, &ledger).await?;
    removed.extend(slot_and_publication(run, &source, is_slot_gone).await?);
    removed.extend(super::back::remove_from_target(run, &ledger).await?);
    removed.extend(super::back::remove_from_source(run, &ledger, &source).await?);
    remove_guard(run, &ledger, &source, &mut removed).await?;
    // After a rollback the source takes writes: triggers that could not be taken down at once refuse none.
    if fence::standing(run, &source).await? != Standing::None
        && (wishes.open_source || is_rolled_back || fence::fenced(run, &source).await?.is_empty())
    {
        fence::remove(run, &source).await?;
        removed.push("write fence".to_owned());
    }
    let on_target = super::back::id(&run.id);
    if fence::standing_of(&on_target, &ledger).await? != Standing::None
        && (!is_rolled_back || fence::fenced_of(&on_target, &ledger).await?.is_empty())
    {
        fence::remove_of(&on_target, &ledger).await?;
        removed.push("write fence of the target".to_owned());
    }
    failpoint::hit("cleanup.after-fence")?;
    remove_schema(&source, &mut removed).await?;
    migration::set_state(&ledger, &run.id, "cleaned").await?;
    Ok(removed)
}

/// The first of these tables of the source that the fence of the switch does not close. A target that failed over may not know
/// that a rollback opened them.
async fn takes_writes<'t>(
    run: &Run,
    source: &Client,
    tables: &'t [QualifiedName],
) -> Result<Option<&'t QualifiedName>, ExecError> {
    let is_permanent = fence::standing(run, source).await? == Standing::Permanent;
    let fenced = fence::fenced(run, source).await?;
    for table in tables.iter().filter(|table| !is_permanent || !fenced.contains(table)) {
        if is_there(source, table).await? {
            return Ok(Some(table));
        }
    }
    Ok(None)
}

async fn is_there(source: &Client, table: &QualifiedName) -> Result<bool, ExecError> {
    let there = "SELECT pg_catalog.to_regclass($1) IS NOT NULL";
    let row = source.query_one(there, &[&sql::name(table)]).await;
    Ok(row.map_err(ExecError::source("look for the source's tables"))?.get(0))
}

/// No CASCADE: what depends on the table is the operator's to decide.
async fn drop_table(
    end: End,
    client: &Client,
    table: &QualifiedName,
    removed: &mut Vec<String>,
) -> Result<(), ExecError> {
    let dropped = client.batch_execute(&format!("DROP TABLE IF EXISTS {}", sql::name(table))).await;
    dropped.map_err(|error| ExecError::Postgres { side: end, doing: format!("drop {table}"), error: error.into() })?;
    removed.push(format!("table {table} on the {end}"));
    Ok(())
}

/// The slot went when changes of the target began to go back: one of its name is somebody else's.
async fn slot_is_gone(run: &Run, ledger: &Client) -> Result<bool, ExecError> {
    let steps = Steps::read(run, ledger).await?;
    Ok(run.plan.steps.iter().any(|step| matches!(step.op, Op::DropSlot(_)) && steps.done(&step.id)))
}

async fn check_databases(run: &Run, ledger: &Client, source: &Client) -> Result<(), ExecError> {
    admission::check_database(End::Source, &run.plan.source.server, source).await?;
    admission::check_database(End::Target, &run.plan.target.server, ledger).await
}

async fn slot_and_publication(run: &Run, source: &Client, is_slot_gone: bool) -> Result<Vec<String>, ExecError> {
    let mut removed = Vec::new();
    if !is_slot_gone && slot::state(source, run).await?.is_some() {
        slot::wait_inactive(run, source).await?;
        source
            .execute("SELECT pg_catalog.pg_drop_replication_slot($1)", &[&run.plan.settings.slot.as_str()])
            .await
            .map_err(ExecError::source("drop the replication slot"))?;
        removed.push(format!("replication slot {}", run.plan.settings.slot));
    }
    failpoint::hit("cleanup.after-slot")?;
    let exists = source
        .query_opt(
            "SELECT 1 FROM pg_catalog.pg_publication WHERE pubname = $1",
            &[&run.plan.settings.publication.as_str()],
        )
        .await
        .map_err(ExecError::source("look for the publication"))?;
    if exists.is_some() {
        source
            .batch_execute(&sql::publication::drop(&run.plan.settings.publication))
            .await
            .map_err(ExecError::source("drop the publication"))?;
        removed.push(format!("publication {}", run.plan.settings.publication));
    }
    failpoint::hit("cleanup.after-publication")?;
    Ok(removed)
}

async fn from_source(run: &Run, ledger: &Client, source: &Client) -> Result<Vec<String>, ExecError> {
    let mut removed = Vec::new();
    if fence::standing(run, source).await? != Standing::None {
        switch::open_source(run, ledger, source).await?;
        removed.push("write fence".to_owned());
    }
    super::owners_and_grants::take_back(run, ledger).await?;
    let epoch = migration::find(ledger, &run.id).await?.map_or(0, |found| found.epoch);
    removed
        .extend(switch::after_opening(run, ledger, epoch).await?.map(|trouble| format!("write fence, but {trouble}")));
    failpoint::hit("cleanup.after-fence")?;
    // What was never begun is not ours, whatever its name.
    let steps = Steps::read(run, ledger).await?;
    let ours = |wanted: fn(&Op) -> bool| run.plan.steps.iter().any(|step| wanted(&step.op) && steps.started(&step.id));
    if ours(|op| matches!(op, Op::CreateSlot(_) | Op::CreatePublication(_))) {
        removed.extend(slot_and_publication(run, source, false).await?);
    }
    remove_guard(run, ledger, source, &mut removed).await?;
    remove_schema(source, &mut removed).await?;
    Ok(removed)
}

async fn remove_guard(run: &Run, ledger: &Client, source: &Client, removed: &mut Vec<String>) -> Result<(), ExecError> {
    let steps = Steps::read(run, ledger).await?;
    let Some(step) = run.plan.steps.iter().find(|step| matches!(step.op, Op::GuardTruncate(_))) else { return Ok(()) };
    if !run.plan.partitioned().is_empty() {
        let left = partition_guard::remove_guards(run, source).await?;
        removed.extend(left.into_iter().map(|why| format!("TRUNCATE guard, but not everywhere: {why}")));
    }
    if steps.started(&step.id)
        && let Op::GuardTruncate(op) = &step.op
    {
        // Under the names that they have: another table of a name may be guarded for another migration.
        for table in &op.tables {
            let Some(found) = renamed::current(run, (ledger, source), table).await? else { continue };
            for statement in sql::fence::drop_guard(&[found]) {
                partition_guard::drop_patiently(source, &statement).await?;
            }
        }
        removed.push("TRUNCATE guard".to_owned());
    }
    Ok(())
}

/// The schema goes with the last object in it that anybody needs; another migration's fence keeps it.
async fn remove_schema(source: &Client, removed: &mut Vec<String>) -> Result<(), ExecError> {
    let doing = "remove the schema pcrd";
    // The lock of whoever makes it. A fence that is being raised holds its lease row, and so the table: it is waited for,
    // and then seen. Without the table's lock the function would go from under a trigger that nobody sees yet.
    let lock = lock::ledger_key();
    source
        .batch_execute(&format!(
            "BEGIN; SET LOCAL lock_timeout = '10s'; SELECT pg_catalog.pg_advisory_xact_lock({lock}); \
             DO $$ BEGIN LOCK TABLE pcrd.fence IN ACCESS EXCLUSIVE MODE; \
             EXCEPTION WHEN undefined_table OR invalid_schema_name THEN NULL; END $$"
        ))
        .await
        .map_err(ExecError::source(doing))?;
    let left = source
        .query_one(
            "SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgname IN ('pcrd_fence', 'pcrd_no_truncate')) \
             AND pg_catalog.to_regclass('pcrd.migration') IS NULL AND EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'pcrd')",
            &[],
        )
        .await
        .map_err(ExecError::source("look for objects of pcrd"))?;
    if left.get(0) {
        for statement in sql::fence::drop_schema() {
            source.batch_execute(&statement).await.map_err(ExecError::source(doing))?;
        }
    }
    source.batch_execute("COMMIT").await.map_err(ExecError::source(doing))?;
    if left.get(0) {
        removed.push("schema pcrd on the source".to_owned());
    }
    Ok(())
}

async fn from_target(run: &Run, ledger: &mut Client) -> Result<Vec<String>, ExecError> {
    let steps = Steps::read(run, ledger).await?;
    let mut removed = Vec::new();
    let partitions = target_partitions::own(run, ledger).await?;
    let transaction = ledger.transaction().await.map_err(ExecError::target("abort"))?;
    for (table, own) in &partitions {
        target_partitions::lock(&transaction, table).await?;
        target_partitions::none_of_others(&transaction, table, own).await?;
    }
    for step in run.plan.steps.iter().rev() {
        // Only what this plan recorded as created; a table that was there before stays.
        if !steps.done(&step.id) {
            continue;
        }
        let drop = match &step.op {
            Op::CreateTable(create) => format!("DROP TABLE IF EXISTS {}", sql::name(&create.name)),
            Op::CreateView(create) => sql::view::drop_if_there(&create.name, &create.def),
            Op::CreateSequence(create) => format!("DROP SEQUENCE IF EXISTS {}", sql::name(&create.name)),
            Op::CreateType(create) => {
                format!(
                    "SAVEPOINT object; DROP {} IF EXISTS {}",
                    sql::ddl_type::word(&create.def),
                    sql::name(&create.name)
                )
            }
            // Made by a statement that fails where it was there before: the same plan can begin afresh.
            Op::CreateSchema(create) if create.must_be_new => {
                format!("SAVEPOINT object; DROP SCHEMA IF EXISTS {}", sql::ident(&create.schema))
            }
            _ => continue,
        };
        match transaction.batch_execute(&drop).await {
            // Somebody has made something of it since.
            Err(error) if error.code() == Some(&SqlState::DEPENDENT_OBJECTS_STILL_EXIST) && may_stay(&step.op) => {
                let doing = ExecError::target(format!("undo {}", step.id));
                transaction.batch_execute("ROLLBACK TO SAVEPOINT object").await.map_err(doing)?;
                run.note(format!("{} stays on the target: other objects there depend on it", step.id));
                continue;
            }
            dropped => dropped.map_err(ExecError::target(format!("undo {}", step.id)))?,
        }
        removed.push(format!("{} on the target", step.id));
    }
    transaction.commit().await.map_err(ExecError::target("abort"))?;
    Ok(removed)
}

fn may_stay(op: &Op) -> bool {
    matches!(op, Op::CreateType(_) | Op::CreateSchema(_))
}
