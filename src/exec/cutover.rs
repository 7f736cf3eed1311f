//! The cutover up to the permanent fence: fence, drain, final verification, sequences; `switch` does the rest. Each arrow is
//! written to the ledger before the next; a crash at any of them ends either open again or decided, read from the databases.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::apply::{Outcome, overdue};
use super::context::Run;
use super::engine::Engine;
use super::event::EventKind;
use super::fence::{self, Standing};
use super::hook::{self, Hold};
use super::owners_and_grants::{Earlier, Wanted};
use super::sentinel::{Nonce, SENTINEL};
use super::steps::Steps;
use super::switch::{self, Word};
use super::{
    ExecError, back, constraints, failpoint, gaps, late, open_beside, owners_and_grants, pooler, sequences,
    target_partitions, verify, views,
};
use crate::catalog::QualifiedName;
use crate::ledger::cutover::{self as state, CutoverState};
use crate::ledger::hook::Direction;
use crate::pg::client::Client;
use crate::plan::{End, FenceKind, Hook, Op};
use crate::replay::Lsn;

/// Of a switch that an executor completes for another one.
pub(super) const COMPLETE: &str = "the cutover had been decided before the interruption; it is complete now";

/// What the operator asks of one cutover; where nothing is asked the plan holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Between fence and switch, before the source is opened again.
    pub fence_timeout_ms: Option<u64>,
    /// Sessions that have kept the fence waiting for longer are terminated.
    pub terminate_after_ms: Option<u64>,
    /// The operator says that nobody writes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub maintenance_confirmed: bool,
}

impl Limits {
    /// As the argument of a request.
    pub fn to_request(self) -> String {
        serde_json::to_string(&self).expect("numbers are JSON")
    }

    /// From the argument of a request.
    ///
    /// # Errors
    /// Another version's words.
    pub fn of_request(argument: Option<&str>) -> Result<Self, String> {
        argument.map_or(Ok(Self::default()), |text| {
            serde_json::from_str(text).map_err(|error| format!("this pcrd does not know the request `{text}`: {error}"))
        })
    }
}

/// The source is closed for good and the target has everything: what is left is to move the clients.
#[derive(Debug)]
pub struct Decided {
    /// When the fence stood.
    pub fenced_at: Instant,
    /// Who is to have what on the target, as the source had it behind the fence.
    pub rights: Wanted,
    /// A stop waits for the rest.
    pub hold: Hold,
}

/// Cuts over up to the permanent fence, or opens the source again and says why.
pub async fn run(engine: &mut Engine, limits: Limits) -> Result<Decided, ExecError> {
    // On the heap, for in a debug build it does not fit on the stack of a thread.
    let error = match Box::pin(forward(engine, limits)).await {
        Ok(decided) => return Ok(decided),
        Err(error) => error,
    };
    // A transaction that was broken off is not the one in which it is given up. It is said before whatever comes, and the source
    // does not wait for a target that does not answer.
    let _late = tokio::time::timeout(Duration::from_secs(1), engine.ledger.batch_execute("ROLLBACK")).await;
    // Before the switch was decided nothing is lost by going back, whatever the reason.
    match fence::standing(&engine.run, &engine.source).await {
        Ok(Standing::Permanent) => return Err(error),
        Ok(Standing::None | Standing::Leased) => {}
        Err(error) => {
            if engine.is_held {
                pooler::let_go(&engine.run).await;
            }
            return Err(error);
        }
    }
    let trouble = match switch::give_up(&engine.run, &engine.ledger, &engine.source).await {
        Ok(trouble) => trouble,
        Err(trouble) => {
            // What ended it would not be heard of otherwise.
            engine.run.note(format!("the cutover is given up: {error}"));
            return Err(trouble);
        }
    };
    back::disarm_or_say(&engine.run, &engine.ledger).await;
    let error = match error.is_refusal_of_source() {
        // What changed says more than the statement that met it first.
        true => match fence::unchanged(&engine.run, &engine.source, &engine.tables).await {
            Err(stale @ (ExecError::Stale { .. } | ExecError::Reshaped { .. })) => stale,
            _ => error,
        },
        false => error,
    };
    let with_trouble = |reason: String| match &trouble {
        Some(trouble) => format!("{reason}; {trouble}"),
        None => reason,
    };
    match error {
        ExecError::CutoverAborted { reason } => Err(ExecError::CutoverAborted { reason: with_trouble(reason) }),
        // A plan that does not fit any more will not fit at the next attempt, unless it says what is to be done.
        ExecError::Interrupted | ExecError::Stale { .. } | ExecError::Reshaped { .. } => Err(error),
        other => Err(ExecError::CutoverAborted { reason: with_trouble(other.to_string()) }),
    }
}

async fn forward(engine: &mut Engine, limits: Limits) -> Result<Decided, ExecError> {
    let run = Arc::clone(&engine.run);
    failpoint::hit("cutover.begin")?;
    engine.is_held = false;
    if run.plan.settings.cutover.fence == FenceKind::None && !limits.maintenance_confirmed {
        let reason = "`cutover.fence: none` stops nobody: run pcrd cutover --maintenance-confirmed when nobody writes";
        return Err(ExecError::CutoverAborted { reason: reason.to_owned() });
    }
    hook::check_programs(&run)?;
    pooler::check(&run, End::Source).await?;
    let in_default = target_partitions::complete(&run, &engine.ledger, &engine.source, &engine.tables).await?;
    verify::before_fence(engine).await?;
    let questions = constraints::questions(&run, &engine.ledger).await?;
    constraints::ask(&engine.ledger, &questions).await?;
    gaps::ask(&run, &engine.source).await?;
    sequences::try_out(&run, &engine.ledger, fence_limit(&run, limits) / 2).await?;
    views::unchanged(&run, &engine.source).await?;
    let wanted = owners_and_grants::wanted(&run, &engine.source, Earlier::Nothing).await?;
    owners_and_grants::try_out(&run, &engine.shared, &wanted).await?;
    failpoint::hit("cutover.asked")?;
    let prepared = back::prepare(&run, &engine.ledger, &engine.source).await?;
    let nonce = Nonce::new();
    state::begin(&engine.ledger, &run.id, run.epoch, &nonce.digest()).await?;
    enter(&run, CutoverState::Fencing);
    let keeper = run.connect(End::Source, "lease").await?;
    run.stop_check()?;
    if let Some(ended) = hook::call(&run, &engine.ledger, (Direction::Forward, run.epoch), Hook::BeforeFence).await?
        && let Some(why) = ended.trouble()
    {
        return Err(ExecError::CutoverAborted { reason: format!("the before_fence hook failed: {why}") });
    }
    let ready = verify::ready(engine).await?;
    run.stop_check()?;
    // Of an attempt whose triggers a reader kept from being taken down.
    if fence::standing(&run, &engine.source).await? == Standing::Leased {
        fence::lower(&run.id, &engine.source).await?;
    }
    let limit = fence_limit(&run, limits);
    let patience = limits.terminate_after_ms.map(Duration::from_millis);
    engine.is_held = run.plan.settings.cutover.pgbouncer.is_some();
    let raised = raise(engine, &nonce, patience, limit).await?;
    engine.raised.push(nonce.sentinel(&run));
    failpoint::hit("cutover.after-fence")?;
    let began = Instant::now();
    let bounded = tokio::time::timeout(limit, async {
        tokio::select! {
            result = fenced(engine, (&nonce, raised.lsn), (&ready, &questions), (prepared, &wanted), &in_default) => result,
            error = keep_lease(&run, &keeper) => Err(error),
            // The source must not stay closed for an operator who has asked to stop.
            () = overdue(&run.shutdown, Duration::ZERO) => Err(ExecError::Interrupted),
        }
    })
    .await;
    let rights = match bounded {
        Ok(result) => result?,
        Err(_) => {
            return Err(ExecError::CutoverAborted {
                reason: format!("not switched within {} ms after the fence", limit.as_millis()),
            });
        }
    };
    // From here on there is no way back but the reverse path.
    let left = limit.saturating_sub(began.elapsed());
    // Who asks for a stop while the decision waits for its commit is not to go without knowing what was decided.
    let hold = run.holds.take();
    if !fence::make_permanent(&run, &engine.source, &engine.tables, (&raised, left)).await? {
        return Err(ExecError::CutoverAborted {
            reason: "the fence's lease ran out before the switch, or is another executor's".to_owned(),
        });
    }
    failpoint::hit("cutover.after-permanent")?;
    Ok(Decided { fenced_at: began, rights, hold })
}

/// How long everything behind the fence may take.
fn fence_limit(run: &Run, limits: Limits) -> Duration {
    Duration::from_millis(limits.fence_timeout_ms.unwrap_or(run.plan.settings.fence_timeout_ms))
}

/// Holds the pooler's clients, where there is one, and raises the fence.
async fn raise(
    engine: &Engine,
    nonce: &Nonce,
    patience: Option<Duration>,
    limit: Duration,
) -> Result<fence::Raised, ExecError> {
    let (run, source) = (&engine.run, &engine.source);
    let raised = fence::raise(run, source, &engine.tables, nonce, (patience, limit));
    if run.plan.settings.cutover.pgbouncer.is_none() {
        return raised.await;
    }
    // Held clients do not wait for as many attempts as there may be.
    let deadline = Instant::now() + limit;
    tokio::select! {
        paused = pooler::pause(run, deadline) => paused?,
        () = overdue(&run.shutdown, Duration::ZERO) => return Err(ExecError::Interrupted),
    }
    failpoint::hit("pooler.after-pause")?;
    match tokio::time::timeout_at(deadline.into(), raised).await {
        Ok(raised) => raised,
        Err(_) => {
            source.batch_execute("ROLLBACK").await.map_err(ExecError::source("give up the fence"))?;
            let reason = format!("pgbouncer's clients waited for {} ms and the fence was not up", limit.as_millis());
            Err(ExecError::CutoverAborted { reason })
        }
    }
}

/// Renews the lease until it cannot be renewed.
async fn keep_lease(run: &Run, keeper: &Client) -> ExecError {
    loop {
        tokio::time::sleep(fence::LEASE / 4).await;
        match fence::renew(run, keeper).await {
            Ok(true) => {}
            Ok(false) => {
                return ExecError::CutoverAborted { reason: "the fence's lease ran out".to_owned() };
            }
            Err(error) => return error,
        }
    }
}

/// Between fence and switch.
async fn fenced(
    engine: &mut Engine,
    (nonce, fence_lsn): (&Nonce, Lsn),
    (ready, questions): (&verify::Ready, &[constraints::Question]),
    (prepared, wanted): (Option<back::Prepared>, &Wanted),
    in_default: &BTreeSet<QualifiedName>,
) -> Result<Wanted, ExecError> {
    let run = Arc::clone(&engine.run);
    advance(engine, CutoverState::Fencing, CutoverState::Fenced, Some(fence_lsn)).await?;
    failpoint::hit("cutover.after-fenced")?;
    drain(engine, nonce, fence_lsn).await?;
    advance(engine, CutoverState::Fenced, CutoverState::Drained, None).await?;
    failpoint::hit("cutover.after-drained")?;
    late::none_came(&run, &engine.source, engine.shared.applied()).await?;
    verify::at_fence(engine, ready).await?;
    constraints::ask(&engine.ledger, questions).await?;
    gaps::ask(&run, &engine.source).await?;
    if !questions.is_empty() {
        run.note(format!("{} constraint(s) that only the target has hold for all rows", questions.len()));
    }
    advance(engine, CutoverState::Drained, CutoverState::VerifiedFinal, None).await?;
    failpoint::hit("cutover.after-verified")?;
    set_sequences(engine).await?;
    advance(engine, CutoverState::VerifiedFinal, CutoverState::SequencesSet, None).await?;
    failpoint::hit("cutover.after-sequences")?;
    back::arm(&run, &engine.ledger, &engine.source, prepared).await?;
    let rights = owners_and_grants::wanted(&run, &engine.source, Earlier::Look(wanted)).await?;
    late::none_came(&run, &engine.source, engine.shared.applied()).await?;
    target_partitions::complete_behind_fence(&run, &engine.ledger, &engine.source, &engine.tables, in_default).await?;
    if !fence::renew(&run, &engine.source).await? {
        return Err(ExecError::CutoverAborted { reason: "the fence's lease ran out".to_owned() });
    }
    Ok(rights)
}

/// Every write is before the sentinel. It proves itself by its nonce where the server delivers messages; elsewhere the
/// applied position does.
async fn drain(engine: &mut Engine, nonce: &Nonce, fence_lsn: Lsn) -> Result<(), ExecError> {
    let wanted = nonce.sentinel(&engine.run);
    if engine.run.plan.source.server.major() >= 14 {
        loop {
            // Without an applier its own error ends the run.
            let Some(sentinel) = engine.sentinels.recv().await else { return std::future::pending().await };
            if sentinel.content == wanted {
                break;
            }
            if sentinel.content.starts_with(SENTINEL) && !engine.raised.contains(&sentinel.content) {
                engine.run.note(
                    "a message that pretends to be a fence was ignored; some role wrote it into the source's log",
                );
            }
        }
    } else {
        engine.shared.wait_applied(fence_lsn, &engine.run).await?;
    }
    engine.end_stream().await
}

async fn advance(
    engine: &Engine,
    from: CutoverState,
    to: CutoverState,
    fence_lsn: Option<Lsn>,
) -> Result<(), ExecError> {
    state::advance(&engine.ledger, &engine.run.id, engine.run.epoch, from, to, fence_lsn).await?;
    enter(&engine.run, to);
    Ok(())
}

fn enter(run: &Run, to: CutoverState) {
    run.emit(None, EventKind::Cutover { state: to.to_string() });
}

async fn set_sequences(engine: &mut Engine) -> Result<(), ExecError> {
    let run = Arc::clone(&engine.run);
    let mut steps = Steps::read(&run, &engine.ledger).await?;
    for step in &run.plan.steps {
        match &step.op {
            Op::SetSequence(set) => {
                sequences::set(&run, &engine.source, &engine.ledger, set).await?;
                failpoint::hit("cutover.between-sequences")?;
            }
            Op::SetDefault(_) => steps.run_on_target(&mut engine.ledger, &[step]).await?,
            _ => {}
        }
    }
    Ok(())
}

/// What is left to be done of a cutover that was broken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokenOff {
    /// It was decided: nothing is undone.
    Decided,
    /// No fence was raised yet.
    Unfenced,
    /// The source is open: the rest of giving up.
    Opened,
}

/// Opens the source after a cutover that was broken off, unless it was decided. The lease does it otherwise.
pub async fn open_source(run: &Run, ledger: &Client) -> Result<BrokenOff, ExecError> {
    match state::read(ledger, &run.id).await?.state {
        CutoverState::Ready => return Ok(BrokenOff::Unfenced),
        CutoverState::Switched => return Ok(BrokenOff::Decided),
        _ => {}
    }
    let source = run.connect(End::Source, "open again").await?;
    if fence::standing(run, &source).await? == Standing::Permanent {
        return Ok(BrokenOff::Decided);
    }
    switch::open_source(run, ledger, &source).await?;
    Ok(BrokenOff::Opened)
}

/// Decides what a cutover that died became: a permanent fence means that the switch was decided, anything else that
/// the source is to be opened again.
pub async fn finish_interrupted(
    run: &Run,
    ledger: &Client,
    source: &Client,
    word: &mut Option<Word>,
) -> Result<Option<Outcome>, ExecError> {
    let found = state::read(ledger, &run.id).await?;
    let standing = fence::standing(run, source).await?;
    // In a failover to a late standby the fence is lost; the clients may be on the target all the same.
    let is_decided = found.state == CutoverState::Switched
        || standing == Standing::Permanent
        || switch::is_in_doubt(run, ledger).await?;
    if !is_decided && found.state == CutoverState::Ready && standing == Standing::None {
        *word = None;
        // One that died before its fence has left the slot of the way back.
        back::disarm_or_say(run, ledger).await;
        // An abort that died after it had opened the source, and before it looked what is left on the tables.
        if owners_and_grants::is_given(run, ledger).await? {
            switch::take_rights_back(run, ledger).await?;
        }
        return Ok(None);
    }
    if found.state != CutoverState::Switched {
        state::take_over(ledger, &run.id, run.epoch).await?;
    }
    switch::check_word(run, ledger, Direction::Forward, *word).await?;
    let is_given_up = switch::is_given_up(run, ledger, word).await?;
    if is_decided && !is_given_up {
        let came = switch::came_before(run, ledger, source, *word).await?;
        if !came.is_empty() {
            *word = None;
            fence::remove(run, source).await?;
            let trouble = switch::give_up(run, ledger, source).await?;
            let reason = came.into_iter().chain(trouble).collect::<Vec<_>>().join("; ");
            return Err(ExecError::CutoverAborted { reason });
        }
        // What the source is like since the switch is its own affair.
        let rights = match found.state {
            CutoverState::Switched => Wanted::default(),
            _ => owners_and_grants::wanted(run, source, Earlier::Lost).await?,
        };
        switch::complete(run, ledger, (word, &rights)).await?;
        run.note(COMPLETE);
        if run.plan.settings.cutover.fence.refuses() && standing != Standing::Permanent {
            run.note(open_beside::UNFENCED);
        }
        return Ok(Some(Outcome::Switched));
    }
    // What is said is said of the call that it was said of, and not of one that comes after it.
    *word = None;
    let trouble = switch::give_up(run, ledger, source).await?;
    back::disarm_or_say(run, ledger).await;
    run.note("an interrupted cutover was given up; the source is open for writes");
    if let Some(trouble) = trouble {
        run.note(trouble);
    }
    Ok(is_given_up.then_some(Outcome::GivenUp))
}
