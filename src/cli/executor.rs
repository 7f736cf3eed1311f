//! What the commands share that run a plan or speak to the executor that runs it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::context::Context;
use super::database::{connect, conninfo, load_config};
use super::error::{CommandError, Exit};
use super::events::show_events;
use super::in_doubt::{next_of_doubt, next_of_not_started};
use super::programs::{check_programs, pooler, way_back};
use super::row_key::next_of_refused;
use crate::catalog::Fingerprint;
use crate::config::Config;
use crate::exec::apply::{self, Outcome, Request, Until};
use crate::exec::back::Wish;
use crate::exec::context::Run;
use crate::exec::cutover::Limits;
use crate::exec::event::{Event, EventKind};
use crate::exec::switch::Word;
use crate::exec::verify;
use crate::exec::{ExecError, preflight};
use crate::ledger::{LedgerError, lock, migration, request};
use crate::pg::client::Client;
use crate::plan::adoption::NotAdoptable;
use crate::plan::check::check;
use crate::plan::{End, Plan, PlanFile, PlanId, file};
use crate::state::{Journal, JournalError, JournalView, StepStatus};

/// The text of a plan file.
///
/// # Errors
/// It cannot be read.
pub fn read_plan_text(path: &Path) -> Result<String, CommandError> {
    std::fs::read_to_string(path)
        .map_err(|error| CommandError::new(Exit::Usage, format!("cannot read {}: {error}", path.display())))
}

/// Reads and checks a plan file.
pub fn read_plan(path: &Path) -> Result<PlanFile, CommandError> {
    let text = read_plan_text(path)?;
    file::read(&text).map_err(|error| {
        CommandError::new(Exit::Stale, format!("{} is refused: {error}", path.display()))
            .with_next("pcrd plan --out plan.json, and review it again")
    })
}

/// What is to be run, and how.
#[derive(Debug)]
pub struct Job {
    /// The plan.
    pub plan: Plan,
    /// The plan whose run is to go on under this one.
    pub adopts: Option<Plan>,
    /// How far.
    pub until: Until,
    /// What is asked of the cutover.
    pub limits: Limits,
    /// What is said of a switch hook that is in doubt.
    pub word: Option<Word>,
    /// What the comparison before the gate does about rows that differ.
    pub repair: Option<verify::Wish>,
    /// What is wanted of the way back.
    pub wish: Option<Wish>,
    /// An error may name a row by any key.
    pub show_values: bool,
    /// Nothing is begun, nor begun again.
    pub only_goes_on: bool,
    /// The source is gone for good.
    pub source_is_lost: bool,
}

impl Job {
    /// With nothing special asked for.
    pub fn new(plan: Plan, until: Until) -> Self {
        Self {
            plan,
            adopts: None,
            until,
            limits: Limits::default(),
            word: None,
            repair: None,
            wish: None,
            show_values: false,
            only_goes_on: false,
            source_is_lost: false,
        }
    }
}

/// Runs a plan, showing its events and keeping the journal.
pub async fn run_plan(ctx: &Context, job: Job) -> Result<Outcome, CommandError> {
    run_plan_with(ctx, &load_config(ctx)?, job, |_| ()).await
}

/// As [`run_plan`], and hands every event to `heed` before it is shown.
pub async fn run_plan_with(
    ctx: &Context,
    config: &Config,
    job: Job,
    mut heed: impl FnMut(&Event),
) -> Result<Outcome, CommandError> {
    let Job { plan, adopts, until, limits, word, repair, wish, show_values, only_goes_on, source_is_lost } = job;
    check_programs(config, &plan)?;
    let source = conninfo(ctx, config, End::Source)?;
    let target = conninfo(ctx, config, End::Target)?;
    let pooler = pooler(ctx, config)?;
    let back = way_back(ctx, config)?;
    let path = state_path(ctx, config);
    let (mut journal, rebuilt) = Journal::open_or_rebuild(&path)?;
    if let Some(rebuilt) = rebuilt {
        ctx.note(&rebuilt.to_string());
    }
    let body = serde_json::to_string(&plan).map_err(|error| CommandError::new(Exit::Failed, error))?;
    let steps: Vec<_> = plan.steps.iter().map(|step| step.id.clone()).collect();
    let id = plan.id.clone();
    let shutdown = ctx.shutdown.clone();
    show_events(ctx, Some(id.clone()), |shown| async move {
        let (events, mut receiver) = mpsc::unbounded_channel::<Event>();
        let adopts = adopts.map(Arc::new);
        let shutdown_heard = shutdown.subscribe();
        let request = Request {
            plan,
            adopts,
            source,
            target,
            until,
            limits,
            word,
            repair,
            pooler,
            back,
            wish,
            only_goes_on,
            source_is_lost,
            events,
            shutdown: shutdown_heard,
        };
        let keep = async {
            let mut kept = Ok(());
            let mut admitted = false;
            while let Some(event) = receiver.recv().await {
                heed(&event);
                admitted |= matches!(event.kind, EventKind::Admitted);
                if kept.is_ok() {
                    kept = match event.kind {
                        // A plan that is refused leaves nothing behind, here neither.
                        EventKind::Admitted => journal.record_plan(&id, &body, &steps),
                        _ => journal_event(&mut journal, &id, &event),
                    };
                    if kept.is_err() {
                        // What the operator cannot read back later must not go on: a clean stop, then the error.
                        shutdown.request();
                    }
                }
                // The display may have ended on a broken pipe; the run goes on.
                let _no_display = shown.send(event);
            }
            kept.map(|()| admitted)
        };
        let (outcome, kept) = tokio::join!(apply::run(request), keep);
        let admitted = kept?;
        if matches!(outcome, Err(ExecError::Ledger(LedgerError::Finished(_)))) {
            // The ledger knows it, and `cleanup` will ask for it.
            journal.record_plan(&id, &body, &steps)?;
        }
        outcome.map_err(|error| {
            let shown = match &error {
                ExecError::Refused(refused) if show_values => Some(next_of_refused(refused, true)),
                ExecError::Stale { .. } if admitted => Some(AFTER_DDL.to_owned()),
                _ => None,
            };
            let error = explain(error);
            match shown {
                Some(next) => error.with_next(next),
                None => error,
            }
        })
    })
    .await
}

/// Keeps a step's event. The executor has asked the ledger what is done, so where the journal says otherwise (it was
/// killed between the two, or is an older copy) the journal follows.
fn journal_event(journal: &mut Journal, plan: &PlanId, event: &Event) -> Result<(), JournalError> {
    let Some(step) = &event.step else { return Ok(()) };
    let at_ms = event.at_ms;
    let (recorded, status) = match &event.kind {
        EventKind::StepStart => (journal.step_started(plan, step, at_ms), StepStatus::Started),
        EventKind::StepDone { .. } => (journal.step_succeeded(plan, step, at_ms), StepStatus::Succeeded),
        EventKind::StepFailed { message } => (journal.step_failed(plan, step, at_ms, message), StepStatus::Failed),
        EventKind::StepAlreadyDone => {
            (journal.step_found(plan, step, StepStatus::Succeeded, at_ms), StepStatus::Succeeded)
        }
        EventKind::CopyProgress { .. }
        | EventKind::Admitted
        | EventKind::VerifyProgress { .. }
        | EventKind::Lag { .. }
        | EventKind::HeldBack { .. }
        | EventKind::Waiting { .. }
        | EventKind::Gate { .. }
        | EventKind::Cutover { .. }
        | EventKind::Note { .. }
        | EventKind::Counter { .. }
        | EventKind::Summary { .. } => return Ok(()),
    };
    match recorded {
        Err(JournalError::Transition { .. }) => journal.step_found(plan, step, status, at_ms),
        other => other,
    }
}

/// What to do when a table changed under a run.
const AFTER_DDL: &str = "pcrd plan --out new-plan.json, review it, then pcrd apply new-plan.json --adopt, which goes on with \
                         the work that still holds; pcrd abort gives the run up";

/// What to do after the switch: nothing can be aborted, and no other plan can go on with it.
const AFTER_SWITCH: &str = "mend what it names, then the same command again goes on and loses nothing; pcrd status shows where it \
     stands; pcrd finalize ends the way back, and the target stays the database";

/// What to do when the config leads elsewhere.
const ANOTHER_SERVER: &str =
    "let the config name the server of the switch, then the same command again; nothing was changed";

/// What to do when the source is not what it was.
const SOURCE_BEHIND: &str = "bring back the server that was the source at the switch, then the same command again; pcrd finalize \
     gives the way back up, and the target is the database; where the server that is there takes writes, stop it, and then pcrd \
     finalize --without-source";

/// What to do when somebody has taken the source's fence down.
const UNFENCED: &str = "see to it that nobody writes to the source; pcrd finalize --without-source ends the way back, and the target \
     stays the database. What was written to the source meanwhile the target does not have";

/// What to do when the target does not know that the source was opened.
const TARGET_BEHIND: &str = "the source is the database: see to it that nobody writes to this target. To bring back the target that \
     knows of the rollback lets pcrd cleanup go on; otherwise drop its tables yourself";

/// What to do when the source is not there to be asked.
const SOURCE_UNKNOWN: &str = "bring the source back, then the same command again; behind a rollback that was decided pcrd rollback \
     opens it. Where it never comes back: pcrd finalize --without-source, when no server answers at its address or another one does, and \
     the target is the database";

/// An executor's error as a command's.
pub fn explain(error: ExecError) -> CommandError {
    let error = match error {
        ExecError::AfterSwitch(error) => {
            let is_elsewhere = matches!(&*error, ExecError::Stale { what, .. } if what.ends_with(" server"));
            let next = if is_elsewhere { ANOTHER_SERVER } else { AFTER_SWITCH };
            return explain(*error).with_next(next);
        }
        other => other,
    };
    let exit = match &error {
        ExecError::Interrupted | ExecError::AbortRequested => Exit::Interrupted,
        ExecError::Stale { .. } | ExecError::Reshaped { .. } | ExecError::Ledger(LedgerError::Finished(_)) => {
            Exit::Stale
        }
        ExecError::Ledger(LedgerError::Replaced { .. }) => Exit::Stale,
        ExecError::Busy { .. } | ExecError::Ledger(LedgerError::Fenced { .. }) => Exit::Busy,
        ExecError::Preflight(_)
        | ExecError::Checks(_)
        | ExecError::NotAdoptable(_)
        | ExecError::Ledger(LedgerError::Foreign { .. }) => Exit::Blocked,
        ExecError::Different { .. } => Exit::Different,
        _ => Exit::Failed,
    };
    let next = match exit {
        _ if matches!(error, ExecError::Ledger(LedgerError::Finished(_))) => {
            "pcrd status; pcrd verify compares again; pcrd cleanup removes slot and publication"
        }
        _ if matches!(error, ExecError::AbortRequested) => "pcrd status",
        _ if matches!(error, ExecError::Ledger(LedgerError::Replaced { .. })) => {
            "pcrd apply with the plan that the run has now; pcrd status names it"
        }
        _ if matches!(error, ExecError::NotAdoptable(NotAdoptable::Cutover(_))) => {
            "pcrd apply with the plan of the run, which ends the cutover or gives it up"
        }
        _ if matches!(error, ExecError::NotAdoptable(NotAdoptable::NotRunning(_))) => "pcrd status",
        _ if matches!(error, ExecError::NotAdoptable(NotAdoptable::WouldLose(_))) => {
            "keep the statements that bring it back, take it off the table, then the same command again; pcrd abort gives the run up"
        }
        _ if matches!(error, ExecError::NotAdoptable(NotAdoptable::Locks { .. })) => {
            "raise max_locks_per_transaction there (its server must start again), then the same command again"
        }
        _ if matches!(error, ExecError::NotAdoptable(_)) => {
            "pcrd abort, then pcrd plan and pcrd apply, to begin again; or plan without that difference"
        }
        Exit::Stale => "pcrd plan --out plan.json, review it, and apply the new plan",
        Exit::Busy => "pcrd status",
        Exit::Blocked => "mend what is listed, then run the same command again",
        Exit::Different => {
            "pcrd verify --repair copies what differs again, once it is known why; pcrd abort gives the migration up and leaves the source as it is"
        }
        _ => "the same command again continues; pcrd status shows where it stands; pcrd abort gives it up",
    };
    let next = match &error {
        ExecError::Refused(refused) => next_of_refused(refused, false),
        ExecError::WayBackClosed { .. } => "pcrd finalize".to_owned(),
        ExecError::RollbackAborted { .. } => {
            "mend what it names, then pcrd rollback; pcrd apply lets changes go on going back".to_owned()
        }
        ExecError::SourceBehind { .. } => SOURCE_BEHIND.to_owned(),
        ExecError::Unfenced { .. } => UNFENCED.to_owned(),
        ExecError::TargetBehind { .. } => TARGET_BEHIND.to_owned(),
        ExecError::SourceUnknown { .. } => SOURCE_UNKNOWN.to_owned(),
        ExecError::SwitchUnknown { is_back, .. } => next_of_doubt(*is_back).to_owned(),
        ExecError::SwitchNotStarted { is_back, .. } => next_of_not_started(*is_back).to_owned(),
        _ => next.to_owned(),
    };
    let error = match error {
        ExecError::Preflight(failures) => CommandError::new(exit, list(&failures)),
        other => CommandError::new(exit, other),
    };
    error.with_next(next)
}

fn list(failures: &[preflight::Failure]) -> String {
    let lines: Vec<String> = failures.iter().map(|failure| format!("\n  {failure}")).collect();
    format!("{} preflight check(s) failed; nothing was written:{}", failures.len(), lines.concat())
}

/// A connection to the ledger, and the migration that a command speaks of: the only one that is not over, or the newest.
pub async fn current(ctx: &Context) -> Result<(Config, Client, migration::Migration), CommandError> {
    let config = load_config(ctx)?;
    let ledger = connect(ctx, &config, End::Target, "command").await?;
    let mut found = migrations(&config, &ledger).await?;
    if found.is_empty() {
        let error = CommandError::new(Exit::Failed, "the target knows of no migration");
        return Err(error.with_next("pcrd apply plan.json"));
    }
    let at = found.iter().position(|migration| migration.state == "running").unwrap_or(0);
    Ok((config, ledger, found.swap_remove(at)))
}

/// The migrations of the config's slot, newest first.
pub async fn migrations(config: &Config, ledger: &Client) -> Result<Vec<migration::Migration>, CommandError> {
    if !migration::exists(ledger).await.map_err(failed)? {
        return Ok(Vec::new());
    }
    let mut found = migration::list(ledger).await.map_err(failed)?;
    found.retain(|migration| migration.slot == config.migrate.slot.as_str());
    Ok(found)
}

/// A ledger error as a command's.
pub fn failed(error: LedgerError) -> CommandError {
    explain(ExecError::Ledger(error))
}

/// True when an executor holds the lock of the migration's tables.
pub async fn executor_alive(ledger: &Client, found: &migration::Migration) -> Result<bool, CommandError> {
    for table in &found.tables {
        if lock::held(ledger, table).await.map_err(failed)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How long an executor may be away, to begin again after a disturbance, before it counts as dead.
const ABSENCE_MAX: Duration = Duration::from_secs(5);

/// As [`executor_alive`], and waits for one that gave a sign of life a moment ago.
pub async fn executor_comes_back(
    ctx: &Context,
    ledger: &Client,
    found: &migration::Migration,
) -> Result<bool, CommandError> {
    loop {
        if executor_alive(ledger, found).await? {
            return Ok(true);
        }
        let age_s = migration::find(ledger, &found.id).await.map_err(failed)?.map(|newer| newer.heartbeat_age_s);
        if age_s.is_none_or(|age_s| age_s > ABSENCE_MAX.as_secs_f64()) {
            return Ok(false);
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
            () = ctx.shutdown.requested() => return Err(CommandError::interrupted()),
        }
    }
}

/// Asks the running executor for something and waits until it was done; a refusal is an error.
pub async fn ask(
    ctx: &Context,
    ledger: &Client,
    found: &migration::Migration,
    kind: &str,
    argument: Option<&str>,
) -> Result<String, CommandError> {
    if !executor_comes_back(ctx, ledger, found).await? {
        let text = format!("no executor is running, so nobody can {kind}");
        return Err(CommandError::new(Exit::Failed, text).with_next("pcrd apply plan.json goes on; pcrd status"));
    }
    let said = ask_whoever_is_left(ctx, ledger, found, kind, argument).await?;
    said.ok_or_else(ended)
}

/// The same; `None` when the executor ended before it had begun with it, and nobody will.
pub async fn ask_whoever_is_left(
    ctx: &Context,
    ledger: &Client,
    found: &migration::Migration,
    kind: &str,
    argument: Option<&str>,
) -> Result<Option<String>, CommandError> {
    match answer(ctx, ledger, found, kind, argument).await? {
        Some(answer) if !answer.ok => Err(CommandError::new(Exit::Failed, answer.text)),
        answer => Ok(answer.map(|answer| answer.text)),
    }
}

/// The executor asked ended.
pub fn ended() -> CommandError {
    CommandError::new(Exit::Failed, "the executor ended before it answered").with_next("pcrd status")
}

/// Asks the running executor for something and waits for its answer; `None` when it ended before it had begun with it, and
/// nobody will.
pub async fn answer(
    ctx: &Context,
    ledger: &Client,
    found: &migration::Migration,
    kind: &str,
    argument: Option<&str>,
) -> Result<Option<request::Outcome>, CommandError> {
    let by = format!("pid {}", std::process::id());
    let id = request::put(ledger, &found.id, kind, argument, &by).await.map_err(failed)?;
    let mut seen = std::time::Instant::now();
    loop {
        if let Some(outcome) = request::outcome(ledger, id).await.map_err(failed)? {
            return Ok(Some(outcome));
        }
        if executor_alive(ledger, found).await? {
            seen = std::time::Instant::now();
        } else if seen.elapsed() > ABSENCE_MAX {
            // The next executor must not do what nobody waits for any more.
            if request::withdraw(ledger, id).await.map_err(failed)? {
                return Ok(None);
            }
            if executor_alive(ledger, found).await? {
                continue;
            }
            request::end(ledger, id, false, "the executor ended before it answered").await.map_err(failed)?;
            return Err(ended());
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
            () = ctx.shutdown.requested() => {
                return Err(match request::withdraw(ledger, id).await.map_err(failed)? {
                    true => CommandError::interrupted(),
                    false => CommandError::new(
                        Exit::Interrupted,
                        format!("interrupted; the executor is at the {kind} already, and goes on with it"),
                    )
                    .with_next("pcrd status"),
                });
            }
        }
    }
}

/// The journal: `--state`, else as the config says.
pub fn state_path(ctx: &Context, config: &Config) -> PathBuf {
    ctx.state.clone().unwrap_or_else(|| config.migrate.checkpoint_db.clone())
}

/// The plan of a migration, from the journal; checked like a plan file, because the journal is one more file that
/// somebody may have edited.
pub fn plan_of(ctx: &Context, config: &Config, id: &str) -> Result<Plan, CommandError> {
    let path = state_path(ctx, config);
    let missing = || {
        CommandError::new(Exit::Failed, format!("plan {id} is not in {}", path.display()))
            .with_next("pcrd apply plan.json, which records the plan again")
    };
    let id = Fingerprint(id.to_owned());
    let journal = JournalView::open(&path)?.ok_or_else(missing)?;
    let body = journal.plan_body(&id)?.ok_or_else(missing)?;
    let refused =
        |why: String| CommandError::new(Exit::Stale, format!("the plan in {} is refused: {why}", path.display()));
    let plan: Plan = serde_json::from_str(&body).map_err(|error| refused(error.to_string()))?;
    check(&plan).map_err(|error| refused(error.to_string()))?;
    if plan.id == id { Ok(plan) } else { Err(refused("it has another id".to_owned())) }
}

/// The ends of a plan for a command that does its work at once, without events.
pub fn quiet_run(ctx: &Context, config: &Config, plan: Plan) -> Result<Run, CommandError> {
    let (source, target) = (conninfo(ctx, config, End::Source)?, conninfo(ctx, config, End::Target)?);
    let (events, _unread) = mpsc::unbounded_channel();
    let mut run = Run::new(plan, source, target, events, ctx.shutdown.subscribe());
    run.pooler = pooler(ctx, config)?;
    Ok(run)
}
