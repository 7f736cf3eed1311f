//! A run goes on under another plan: what both plans do alike is kept, what they do otherwise is taken back and done again.
//! One transaction of the target decides: before it the run is that of the earlier plan, after it that of the new one.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::error::SqlState;

use super::context::Run;
use super::fence::{self, Standing};
use super::preflight;
use super::restart_point::{self, Point};
use super::table::{self, TableTask};
use super::{
    ExecError, added, admission, back, continuity, failpoint, in_the_way, published, renamed, slot, target_partitions,
    witness,
};
use crate::catalog::{Ident, QualifiedName};
use crate::ledger::added as columns;
use crate::ledger::adoption::{self as ledger_of, Adoption, Forgotten};
use crate::ledger::cutover::{self, CutoverState};
use crate::ledger::migration::{Migration, Registration};
use crate::ledger::step::StepState;
use crate::ledger::unreadable::{self, Unreadable};
use crate::ledger::{LedgerError, chunk, given, migration, progress, step};
use crate::pg::client::Client;
use crate::plan::adoption::{self, NotAdoptable, Recorded, Steps};
use crate::plan::{Check, End, OnDdl, Op, Plan, StepId};
use crate::replay::Lsn;
use crate::sql;

/// What goes on, as far as the databases say.
struct Earlier<'a> {
    /// The earlier plan as a run, for what asks in its name.
    run: Run,
    /// Its row.
    known: &'a Migration,
    /// Its tasks and those of the new plan.
    tasks: (Vec<TableTask>, Vec<TableTask>),
}

/// Takes the run of the earlier plan over. Changes nothing when it fails.
///
/// # Errors
/// [`ExecError::NotAdoptable`] when the run cannot go on under this plan, [`ExecError::Stale`] when the plan does not fit the
/// source, and what the servers refuse.
pub async fn adopt(
    run: &Run,
    before: &Plan,
    ledger: &mut Client,
    source: &Client,
    registration: &Registration,
) -> Result<(), ExecError> {
    adoption::check(before, &run.plan)?;
    let found = migration::find(ledger, &before.id.0).await?;
    let Some(known) = found.filter(|found| found.state == "running") else {
        return Err(NotAdoptable::NotRunning(before.id.0.clone()).into());
    };
    migration::create_ledger(ledger).await?;
    let earlier = Earlier {
        run: Run::new(before.clone(), run.source.clone(), run.target.clone(), run.events.clone(), run.shutdown.clone()),
        known: &known,
        tasks: (table::tasks(before)?, table::tasks(&run.plan)?),
    };
    before_cutover(&earlier, ledger, source).await?;
    let stage = stage(&earlier, ledger, source).await?;
    if stage != Stage::NoSlot {
        published::check(run, source).await?;
    }
    let broken = broken(run, &earlier, ledger, source).await?;
    let restarted = restarted(run, &earlier, ledger, broken).await?;
    let again = |task: &&TableTask| restarted.contains_key(&task.projection.target);
    if let Some(task) = earlier.tasks.0.iter().chain(&earlier.tasks.1).find(|task| again(task) && !task.in_lanes())
        && stage == Stage::Streaming
    {
        let table = task.projection.target.clone();
        let why = restarted[&table].clone();
        return Err(NotAdoptable::CopiedWhole { table, why }.into());
    }
    fits(run, &earlier, &restarted, ledger, source).await?;
    let references = in_the_way::references(before, &run.plan, &restarted, ledger).await?;
    let recorded = recorded(ledger, before).await?;
    let followed = followed(&earlier, ledger).await?;
    let tables = restarted.keys().cloned().collect();
    let altered = followed.iter().map(|(table, _)| table.clone()).collect();
    let all = adoption::Again { tables: &tables, altered: &altered };
    let steps = adoption::steps(before, &run.plan, all, &references, &recorded);
    let tasks: Vec<TableTask> = earlier.tasks.1.iter().filter(again).cloned().collect();
    if tasks.is_empty() && before.id == run.plan.id {
        run.note("the plan is that of the run, and no table has to be copied again");
        return Ok(());
    }
    // Without a slot nothing was read, and nothing will be streamed from before.
    let point = if tasks.is_empty() || stage == Stage::NoSlot {
        None
    } else {
        let found = restart_point::find(run, source, &tasks).await;
        Some(in_the_way::room(found, (End::Source, source), tasks.len()).await?)
    };
    failpoint::hit("adopt.after-point")?;
    let former = former(&earlier, ledger, point.as_ref()).await?;
    let change = Change { earlier: &earlier, restarted: &restarted, steps, point, former, followed };
    // What an attempt to cut over made there is not the new plan's, and lacks the tables that it makes; the next one makes it.
    back::disarm(&earlier.run, ledger).await?;
    let committed = commit(run, ledger, registration, &change).await;
    in_the_way::room(committed, (End::Target, &*ledger), tasks.len()).await?;
    failpoint::hit("adopt.after-commit")?;
    say(run, before, &restarted);
    Ok(())
}

fn say(run: &Run, before: &Plan, restarted: &BTreeMap<QualifiedName, String>) {
    run.note(format!("this run goes on with the finished work of plan {}", before.id));
    for target in run.plan.targets() {
        match restarted.get(target) {
            Some(why) => run.note(format!("{target} starts again: {why}")),
            None => run.note(format!("{target} keeps what is done")),
        }
    }
}

/// The source must be the writer, and nobody may have decided otherwise.
async fn before_cutover(earlier: &Earlier<'_>, ledger: &Client, source: &Client) -> Result<(), ExecError> {
    let state = cutover::read(ledger, &earlier.run.id).await?.state;
    if state != CutoverState::Ready {
        return Err(NotAdoptable::Cutover(state.to_string()).into());
    }
    // What tells that others may have put code on the target's tables does not come along.
    if !given::all(&**ledger, &earlier.run.id).await?.is_empty() {
        return Err(NotAdoptable::Cutover("given up, and its rights are not all taken back".to_owned()).into());
    }
    if fence::standing(&earlier.run, source).await? != Standing::None {
        return Err(NotAdoptable::Cutover("fenced".to_owned()).into());
    }
    Ok(())
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing is read or streamed.
    NoSlot,
    /// Some table is still to be copied whole: the slot will be made again, and all of them copied.
    SlotAgain,
    /// Chunks and stream belong to this slot.
    Streaming,
}

/// Where the run stands. A stream must be without a gap.
async fn stage(earlier: &Earlier<'_>, ledger: &Client, source: &Client) -> Result<Stage, ExecError> {
    let Some(progress) = progress::read(ledger, &earlier.run.id).await? else { return Ok(Stage::NoSlot) };
    let done = chunk::whole(ledger, &earlier.run.id).await?;
    let mut whole = earlier.tasks.0.iter().filter(|task| !task.in_lanes());
    if whole.any(|task| !done.iter().any(|(name, _)| *name == task.name)) {
        return Ok(Stage::SlotAgain);
    }
    let gone = || ExecError::Gap {
        reason: format!(
            "slot {} is gone from the source: what it kept cannot be known",
            earlier.run.plan.settings.slot
        ),
    };
    let found = slot::state(source, &earlier.run).await?.ok_or_else(gone)?;
    continuity::check(&earlier.run, ledger, source, &progress, &found).await?;
    Ok(Stage::Streaming)
}

/// Source tables of which the stream does not tell everything, or tells what does not fit, whatever the plans say of them.
async fn broken(
    run: &Run,
    earlier: &Earlier<'_>,
    ledger: &Client,
    source: &Client,
) -> Result<BTreeMap<QualifiedName, String>, ExecError> {
    let mut broken = BTreeMap::new();
    let known = columns::all(ledger, &earlier.run.id).await?;
    let mut tasks = earlier.tasks.0.clone();
    added::amend(&mut tasks, &known, &earlier.run);
    for task in &tasks {
        let table = task.source_name();
        match witness::unbroken(&earlier.run, ledger, source, task).await {
            Ok(()) => {}
            Err(ExecError::Stale { difference, .. }) => _ = broken.insert(table.clone(), difference),
            Err(error) => return Err(error),
        }
        let numbers: Vec<i16> = known.iter().filter(|one| &one.table == table).map(|one| one.attnum).collect();
        if run.plan.settings.on_ddl != OnDdl::IgnoreAdditive
            && witness::has_lost(&earlier.run, ledger, source, table, &numbers).await?
        {
            let why = "a column was added and is gone again, and the stream has both".to_owned();
            broken.entry(table.clone()).or_insert(why);
        }
    }
    for (table, why) in unreadable::in_force(ledger, &earlier.run.id).await? {
        broken.entry(table).or_insert(unreadable::reason(&why));
    }
    Ok(broken)
}

/// Target tables that are copied again, with the reason.
async fn restarted(
    run: &Run,
    earlier: &Earlier<'_>,
    ledger: &Client,
    mut broken: BTreeMap<QualifiedName, String>,
) -> Result<BTreeMap<QualifiedName, String>, ExecError> {
    let (old, new) = (earlier.run.plan.settings.on_ddl, run.plan.settings.on_ddl);
    if old != new {
        // What the stream has of them was to be read in the old way.
        for column in columns::all(ledger, &earlier.run.id).await? {
            let why = format!(
                "column {} came to it under on_ddl: {}, which is {} now",
                column.column.name,
                old.word(),
                new.word()
            );
            broken.entry(column.table).or_insert(why);
        }
    }
    Ok(adoption::restarted(&earlier.run.plan, &run.plan, &broken))
}

/// The new plan must fit the source as it is, and the rows that are copied again must fit the new plan.
async fn fits(
    run: &Run,
    earlier: &Earlier<'_>,
    restarted: &BTreeMap<QualifiedName, String>,
    ledger: &Client,
    source: &Client,
) -> Result<(), ExecError> {
    let again: BTreeSet<&QualifiedName> = run
        .plan
        .projections
        .iter()
        .filter(|projection| restarted.contains_key(&projection.target))
        .map(|projection| &projection.source)
        .collect();
    let known = columns::all(ledger, &earlier.run.id).await?;
    let known: Vec<_> = known.into_iter().filter(|column| !again.contains(&column.table)).collect();
    added::look(run, ledger, source, &known).await?;
    let mut failures = preflight::target_checks(run, ledger, source).await?;
    failures.extend(renamed::hindrances(run, source).await?);
    if !failures.is_empty() {
        return Err(ExecError::Preflight(failures));
    }
    let is_new = |check: &Check| !earlier.run.plan.checks.contains(check);
    admission::data_checks(run, |check| again.contains(&check.table) || is_new(check)).await
}

/// Columns that the run has added to its targets since it created them.
async fn followed(earlier: &Earlier<'_>, ledger: &Client) -> Result<BTreeSet<(QualifiedName, Ident)>, ExecError> {
    let mut followed = BTreeSet::new();
    for added in columns::all(ledger, &earlier.run.id).await?.into_iter().filter(|added| added.followed) {
        let of_table = earlier.tasks.0.iter().filter(|task| task.source_name() == &added.table);
        followed.extend(of_table.map(|task| (task.projection.target.clone(), added.column.name.clone())));
    }
    Ok(followed)
}

async fn recorded(ledger: &Client, before: &Plan) -> Result<Recorded, ExecError> {
    let mut recorded = Recorded::default();
    for (id, state) in step::all(ledger, &before.id.0).await? {
        let id = StepId(id);
        if state == StepState::Succeeded {
            recorded.done.insert(id.clone());
        }
        recorded.begun.insert(id);
    }
    Ok(recorded)
}

/// Relations that were in the place of these tables until now: the stream has their changes under whatever name they got.
async fn former(earlier: &Earlier<'_>, ledger: &Client, point: Option<&Point>) -> Result<Vec<Unreadable>, ExecError> {
    let mut former = Vec::new();
    for (table, now) in point.iter().flat_map(|point| &point.witnesses) {
        let before = witness::last_oid(&earlier.run, ledger, table).await?;
        if let Some(relation) = before.filter(|before| *before != now.oid) {
            let why = "it was in the place of the table".to_owned();
            former.push(Unreadable { table: table.clone(), relation, lsn: Lsn(0), why });
        }
    }
    Ok(former)
}

/// Everything that the transaction does.
struct Change<'a> {
    earlier: &'a Earlier<'a>,
    restarted: &'a BTreeMap<QualifiedName, String>,
    steps: Steps,
    point: Option<Point>,
    former: Vec<Unreadable>,
    followed: BTreeSet<(QualifiedName, Ident)>,
}

async fn commit(
    run: &Run,
    ledger: &mut Client,
    registration: &Registration,
    change: &Change<'_>,
) -> Result<(), ExecError> {
    let doing = || ExecError::target("go on under another plan");
    let transaction = ledger.transaction().await.map_err(doing())?;
    transaction.batch_execute("SET LOCAL lock_timeout = '10s'").await.map_err(doing())?;
    let epoch = ledger_of::hand_over(&transaction, change.earlier.known, registration).await?;
    if let Some(point) = &change.point {
        not_behind(run, &transaction, point).await?;
    }
    let (before, dropped) = (&change.earlier.run.plan, &change.steps.dropped);
    for table in dropped.iter().filter(|table| before.is_split_up(table)) {
        target_partitions::lock(&transaction, table).await?;
    }
    let others = in_the_way::of_others(&transaction, (before, &run.plan), &change.followed, dropped).await?;
    for statement in &change.steps.undo {
        let doing = ExecError::target(format!("take back what the new plan does otherwise ({statement})"));
        transaction.batch_execute(statement).await.map_err(doing)?;
    }
    empty(&transaction, &run.plan, &change.steps.emptied).await?;
    ledger_of::forget(&transaction, &run.id, &forgotten(change), &change.steps.kept.iter().collect::<Vec<_>>()).await?;
    if let Some(point) = &change.point {
        for (table, _) in &point.witnesses {
            ledger_of::restart(&transaction, &run.id, table, (point.lsn, point.timeline)).await?;
        }
        for relation in &change.former {
            unreadable::put(&transaction, &run.id, epoch, relation).await?;
        }
        for (name, value) in restart_point::settings(point)? {
            put_setting(&transaction, &run.id, &name, &value).await?;
        }
    }
    build(run, &transaction, change, epoch).await?;
    in_the_way::none_lost(&transaction, others, dropped).await?;
    let names = |kept: bool| {
        run.plan.targets().into_iter().filter(move |target| change.restarted.contains_key(*target) != kept)
    };
    ledger_of::record(
        &transaction,
        &Adoption {
            before: change.earlier.run.id.clone(),
            after: run.id.clone(),
            kept: names(true).map(ToString::to_string).collect(),
            restarted: names(false).map(|target| format!("{target}: {}", change.restarted[target])).collect(),
            at: String::new(),
        },
    )
    .await?;
    failpoint::hit("adopt.before-commit")?;
    transaction.commit().await.map_err(doing())
}

/// What was applied since the position was read went to a table that is thrown away, and its changes would not come again.
async fn not_behind(run: &Run, transaction: &tokio_postgres::Transaction<'_>, point: &Point) -> Result<(), ExecError> {
    let query = "SELECT applied_lsn <= $2::text::pg_lsn FROM pcrd.progress WHERE migration = $1";
    let row = transaction.query_opt(query, &[&run.id, &point.lsn.to_string()]).await.map_err(LedgerError::from)?;
    match row.map(|row| row.get::<_, bool>(0)) {
        Some(false) => Err(ExecError::Busy { what: "this run, which went on meanwhile; try again".to_owned() }),
        _ => Ok(()),
    }
}

/// Nobody's triggers are to run for it. No CASCADE: foreign keys of others to these tables are refused before, and row security
/// does not hold for TRUNCATE. Sequences go on: they are set when the target is switched to.
async fn empty(
    transaction: &tokio_postgres::Transaction<'_>,
    plan: &Plan,
    tables: &BTreeSet<QualifiedName>,
) -> Result<(), ExecError> {
    if tables.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = tables.iter().map(|table| sql::with_partitions(table, plan.is_split_up(table))).collect();
    let statement = format!(
        "SET LOCAL session_replication_role = replica; TRUNCATE {}; SET LOCAL session_replication_role = DEFAULT",
        names.join(", ")
    );
    transaction.batch_execute(&statement).await.map_err(ExecError::target("empty the tables that are copied again"))
}

async fn put_setting(
    transaction: &tokio_postgres::Transaction<'_>,
    id: &str,
    name: &str,
    value: &str,
) -> Result<(), ExecError> {
    transaction
        .execute(
            "INSERT INTO pcrd.setting (migration, name, value) VALUES ($1, $2, $3) \
             ON CONFLICT (migration, name) DO UPDATE SET value = excluded.value",
            &[&id, &name, &value],
        )
        .await
        .map_err(LedgerError::from)?;
    Ok(())
}

/// Both plans' names of the work: a table may have got, or lost, other sources of its target.
fn forgotten(change: &Change<'_>) -> Vec<Forgotten> {
    let tasks = change.earlier.tasks.0.iter().chain(&change.earlier.tasks.1);
    tasks
        .filter(|task| change.restarted.contains_key(&task.projection.target))
        .map(|task| Forgotten {
            source: task.source_name().clone(),
            target: task.projection.target.clone(),
            task: task.name.clone(),
        })
        .collect()
}

/// Creates the tables anew, and tries what is to come on them: what the server refuses must be known before the work is given
/// up for it.
async fn build(
    run: &Run,
    transaction: &tokio_postgres::Transaction<'_>,
    change: &Change<'_>,
    epoch: i64,
) -> Result<(), ExecError> {
    let doing = |id: &StepId| ExecError::target(format!("step {id}"));
    let left = || run.plan.steps.iter().filter(|step| !change.steps.kept.contains(&step.id));
    let statements = |step: &'_ crate::plan::Step| {
        let on_target = step.statements.iter().filter(|statement| statement.on == End::Target);
        on_target.map(|statement| statement.sql.clone()).collect::<Vec<_>>()
    };
    let creates =
        |op: &Op| matches!(op, Op::CreateSchema(_) | Op::CreateType(_) | Op::CreateTable(_) | Op::CreateSequence(_));
    for step in left().filter(|step| creates(&step.op)) {
        step::start(transaction, &run.id, epoch, &step.id.0).await?;
        for statement in statements(step) {
            transaction.batch_execute(&statement).await.map_err(doing(&step.id))?;
        }
        step::succeed(transaction, &run.id, epoch, &step.id.0).await?;
    }
    let is_again = |op: &Op| op.table().is_some_and(|table| change.restarted.contains_key(table));
    transaction.batch_execute("SAVEPOINT rehearsal").await.map_err(ExecError::target("rehearse"))?;
    // Not on tables that have their rows, and no proof over rows that are not there yet.
    for step in left().filter(|step| is_again(&step.op)) {
        if matches!(step.op, Op::CreateIndex(_) | Op::CreateStatistics(_) | Op::AddConstraint(_) | Op::SetDefault(_)) {
            for statement in statements(step) {
                transaction.batch_execute("SAVEPOINT statement").await.map_err(doing(&step.id))?;
                match transaction.batch_execute(&statement).await {
                    // The key that a foreign key needs on a table that is kept may not be built yet.
                    Err(error) if error.code() == Some(&SqlState::INVALID_FOREIGN_KEY) => {
                        transaction.batch_execute("ROLLBACK TO statement").await.map_err(doing(&step.id))?;
                    }
                    result => result.map_err(doing(&step.id))?,
                }
            }
        }
    }
    transaction.batch_execute("ROLLBACK TO rehearsal").await.map_err(ExecError::target("rehearse"))
}
