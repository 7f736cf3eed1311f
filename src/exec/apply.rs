//! Runs a plan from wherever it stands: checks, setup, copy and stream, catch-up, verification, gate, cutover.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::back::{self, Wish};
use super::context::Run;
use super::cutover::Limits;
use super::error::Refused;
use super::event::{Event, EventKind};
use super::hook::Holds;
use super::identity::{Identities, Identity};
use super::switch::Word;
use super::verify;
use super::{
    ExecError, added, admission, engine, failpoint, limits, published, setup, slot, source_lost, table,
    target_partitions, whole, witness,
};
use crate::catalog::QualifiedName;
use crate::ledger::added as columns;
use crate::ledger::{chunk, progress, request};
use crate::pg::conninfo::Conninfo;
use crate::plan::{End, Phase, Plan};

/// After a broken connection the run begins again from the ledger, at most this often without progress.
const RETRIES_MAX: u32 = 8;
/// Rows that may be read again in one run because the target refused what was streamed of them.
const REFUSED_MAX: usize = 1_000;
/// Changes of tables that are looked at in one run.
const RESHAPED_MAX: u32 = 200;
/// A run that was asked to stop and has not by then is left where it stands, whatever it waits for: every command can
/// be continued.
const STOP_BY: Duration = Duration::from_millis(3_600);

/// By target table and key.
type RefusedRows = BTreeMap<(String, Vec<String>), Arc<Refused>>;

/// What to run, and how far.
pub struct Request {
    /// The plan, already checked against its id.
    pub plan: Plan,
    /// The plan whose run is to go on under this one.
    pub adopts: Option<Arc<Plan>>,
    /// The source.
    pub source: Conninfo,
    /// The target.
    pub target: Conninfo,
    /// Where to stop.
    pub until: Until,
    /// What the operator asks of the cutover.
    pub limits: Limits,
    /// What the operator says of a switch hook that is in doubt.
    pub word: Option<Word>,
    /// The comparison before the gate repairs what differs, as this wish says.
    pub repair: Option<verify::Wish>,
    /// The admin console of the pooler, where the config has one.
    pub pooler: Option<Conninfo>,
    /// The source as the role of the way back, where the config names one.
    pub back: Option<Conninfo>,
    /// What the operator wants of the way back.
    pub wish: Option<Wish>,
    /// A migration that somebody has given up meanwhile is not begun again.
    pub only_goes_on: bool,
    /// The operator says that the source is gone for good.
    pub source_is_lost: bool,
    /// Where events go.
    pub events: mpsc::UnboundedSender<Event>,
    /// True once the operator asks to stop.
    pub shutdown: watch::Receiver<bool>,
}

/// How far to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// To the end of a phase before the cutover; the stream stops there and can be continued.
    Phase(Phase),
    /// To the gate, keeping the target up to date until somebody asks for the cutover.
    Gate,
    /// Through the cutover, as soon as the gate opens.
    Cutover,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Stopped after this phase, as asked.
    Reached(Phase),
    /// The target is the database now.
    Switched,
    /// The target is the database now, and the source could not be asked any more.
    SwitchedAlone,
    /// The source is open again, behind a switch that the operator gave up.
    GivenUp,
    /// The source is the database again, with everything that the target wrote.
    RolledBack,
    /// The way back has ended.
    Finalized,
}

/// Runs the plan, and after the switch the way back, where it is asked for.
pub async fn run(request: Request) -> Result<Outcome, ExecError> {
    if back::is_under_way(&request).await? {
        return back::stand(&request).await.map_err(ExecError::after_switch);
    }
    if request.wish.is_some() {
        let reason = "no change goes back: there is no switch, or the way back has ended".to_owned();
        return Err(ExecError::Step { step: "stream_back".to_owned(), reason });
    }
    match forward(&request).await? {
        Outcome::Switched | Outcome::SwitchedAlone
            if request.plan.settings.cutover.reverse.is_some() && !request.source_is_lost =>
        {
            back::stand(&request).await.map_err(ExecError::after_switch)
        }
        outcome => Ok(outcome),
    }
}

async fn forward(request: &Request) -> Result<Outcome, ExecError> {
    let mut failures = 0;
    let mut reached = None;
    let mut admitted = false;
    let mut refused = BTreeMap::new();
    let mut came = BTreeSet::new();
    let mut reshaped = 0;
    let mut shape = None;
    let mut word = request.word;
    let holds = Holds::default();
    loop {
        let result = tokio::select! {
            result = attempt(request, (&mut admitted, &mut word), &holds, (refused.clone(), came.clone())) => result,
            () = stopped(&request.shutdown, STOP_BY, &holds) => Err(ExecError::Interrupted),
        };
        let error = match result {
            Ok(outcome) => return Ok(outcome),
            Err(error) => by_drift(request, error).await,
        };
        if let ExecError::Refused(row) = &error
            && let Some(key) = row.to_read_again()
            && refused.len() < REFUSED_MAX
            && refused.insert(key, Arc::clone(row)).is_none()
        {
            note(request, format!("{error}; looking at what the source has there by now"));
            continue;
        }
        let mut looks_again = false;
        if let ExecError::Reshaped { table, columns, .. } = &error
            && reshaped < RESHAPED_MAX
        {
            reshaped += 1;
            looks_again = true;
            came.extend(columns.iter().map(|column| (table.clone(), column.clone())));
            // The same once more: the look at it found nothing, and may never find anything.
            let is_new = shape.replace(error.to_string()) != Some(error.to_string());
            if is_new && !*request.shutdown.borrow() {
                note(request, format!("{error}; looking at what it is"));
                continue;
            }
        }
        // What never worked is a mistake to report, not a disturbance to wait out.
        let transient = looks_again || error.is_transient() || matches!(error, ExecError::Busy { .. });
        if !admitted || !transient || *request.shutdown.borrow() {
            return Err(error);
        }
        let applied = applied_position(request).await;
        if applied.is_some() && applied != reached {
            failures = 0;
            reached = applied;
        }
        failures += 1;
        if failures > RETRIES_MAX {
            return Err(error);
        }
        let pause = Duration::from_millis(250 << failures.min(6));
        note(request, format!("{error}; trying again in {} ms", pause.as_millis()));
        let mut shutdown = request.shutdown.clone();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = shutdown.wait_for(|stop| *stop) => return Err(ExecError::Interrupted),
        }
    }
}

/// Returns once the operator has asked to stop and this much time has passed.
pub(in crate::exec) async fn overdue(shutdown: &watch::Receiver<bool>, grace: Duration) {
    if shutdown.clone().wait_for(|stop| *stop).await.is_err() {
        // Nobody is left who could ask.
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(grace).await;
}

/// As [`overdue`], and once nothing is under way that must not be left in the middle.
pub(super) async fn stopped(shutdown: &watch::Receiver<bool>, grace: Duration, holds: &Holds) {
    overdue(shutdown, grace).await;
    holds.released().await;
}

/// A table or column that is gone fails in many places; what changed says more than which statement met it first.
async fn by_drift(request: &Request, error: ExecError) -> ExecError {
    let Request { plan, source, target, events, shutdown, .. } = request;
    let run = Run::new(plan.clone(), source.clone(), target.clone(), events.clone(), shutdown.clone());
    let mut error = error;
    if error.is_refusal_of_source()
        && let Ok(client) = run.connect(End::Source, "drift").await
        && let Ok(ledger) = run.connect(End::Target, "drift").await
        && let Ok(known) = columns::all(&ledger, &run.id).await
        && let Err(stale @ ExecError::Stale { .. }) = added::look(&run, &ledger, &client, &known).await
    {
        error = stale;
    }
    added::with_advice(&run, error).await
}

fn note(request: &Request, text: String) {
    let kind = EventKind::Note { text };
    // The reader of events may end before the run does.
    let _no_reader = request.events.send(Event { at_ms: super::context::now_ms(), step: None, kind });
}

/// The position of the stream, if the target answers: tells progress from standstill.
async fn applied_position(request: &Request) -> Option<crate::replay::Lsn> {
    let client = crate::pg::client::connect(&request.target, "pcrd/progress").await.ok()?;
    progress::read(&client, &request.plan.id.0).await.ok()?.map(|progress| progress.applied)
}

async fn attempt(
    request: &Request,
    (admitted, word): (&mut bool, &mut Option<Word>),
    holds: &Holds,
    (refused, came): (RefusedRows, BTreeSet<(QualifiedName, String)>),
) -> Result<Outcome, ExecError> {
    let Request { plan, source, target, events, shutdown, .. } = request;
    let mut run = Run::new(plan.clone(), source.clone(), target.clone(), events.clone(), shutdown.clone());
    run.holds = holds.clone();
    run.pooler.clone_from(&request.pooler);
    run.repair.clone_from(&request.repair);
    run.back.clone_from(&request.back);
    run.refused = refused;
    run.came = came;
    run.only_goes_on = request.only_goes_on;
    // Once; an attempt after that finds it done.
    run.adopts = request.adopts.clone().filter(|_| !*admitted);
    let mut ledger = run.connect(End::Target, "executor").await?;
    let source = match run.connect(End::Source, "executor").await {
        Ok(_) if request.source_is_lost => {
            let reason = "the source answers, so it is not lost: the same command without --source-lost";
            return Err(ExecError::Step { step: "cutover".to_owned(), reason: reason.to_owned() });
        }
        Ok(source) => source,
        Err(lost) => return source_lost::complete(&mut run, &mut ledger, (request, word), lost).await,
    };
    run.identities = Some(Identities {
        source: Identity::read(End::Source, &source).await?,
        target: Identity::read(End::Target, &ledger).await?,
    });
    run.epoch = admission::admit(&run, &mut ledger, &source).await?;
    run.emit(None, EventKind::Admitted);
    *admitted = true;
    failpoint::hit("setup.after-ledger")?;
    limits::restore(&run, &ledger).await?;
    request::end_stale(&ledger, &run.id).await?;

    if let Some(outcome) = super::cutover::finish_interrupted(&run, &ledger, &source, word).await? {
        return Ok(outcome);
    }
    let known = added::adopt(&run, &mut ledger, &source).await?;
    setup::prepare(&run, &mut ledger, &source).await?;
    published::check(&run, &source).await?;
    let mut tables = table::tasks(&run.plan)?;
    added::amend(&mut tables, &known, &run);
    for task in &mut tables {
        task.read_published(&source).await?;
    }
    witness::remember(&run, &ledger, &source, &mut tables).await?;
    let whole_done = chunk::whole(&ledger, &run.id).await?;
    let whole_missing =
        tables.iter().any(|task| !task.in_lanes() && !whole_done.iter().any(|(name, _)| *name == task.name));
    setup::slot_intended(&run, &ledger).await?;
    let slot = slot::ensure(&run, &ledger, &source, whole_missing).await?;
    setup::slot_created(&run, &ledger).await?;
    setup::create_objects(&run, &mut ledger).await?;
    added::complete(&run, &mut ledger, &known).await?;
    target_partitions::complete(&run, &ledger, &source, &tables).await?;
    if let Until::Phase(phase @ (Phase::Prepare | Phase::Schema)) = request.until {
        return Ok(Outcome::Reached(phase));
    }
    for task in &mut tables {
        task.frozen = setup::frozen(&run, &ledger, task).await?;
    }
    let (run, tables) = (Arc::new(run), Arc::new(tables));
    let (cutover_sender, cutovers) = mpsc::unbounded_channel();
    whole::copy(&run, &ledger, &tables, slot, &cutover_sender).await?;
    let cutovers = (cutover_sender, cutovers);
    engine::run(Arc::clone(&run), ledger, source, tables, cutovers, (request.until, request.limits)).await
}
