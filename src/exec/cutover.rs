//! The cutover: fence, drain, final verification, sequences, switch. Each arrow is written to the ledger before the
//! next; a crash at any of them ends either open again or switched, decided from the databases.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::apply::{Outcome, overdue};
use super::context::Run;
use super::engine::Engine;
use super::event::EventKind;
use super::fence::{self, Nonce, Standing};
use super::steps::Steps;
use super::{ExecError, added, constraints, failpoint, gaps, sequences, verify};
use crate::ledger::cutover::{self as state, CutoverState};
use crate::ledger::migration;
use crate::pg::client::Client;
use crate::plan::{End, Op};
use crate::replay::Lsn;

/// What the operator asks of one cutover; where nothing is asked the plan holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Between fence and switch, before the source is opened again.
    pub fence_timeout_ms: Option<u64>,
    /// Sessions that have kept the fence waiting for longer are terminated.
    pub terminate_after_ms: Option<u64>,
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

/// Cuts over, or opens the source again and says why.
pub async fn run(engine: &mut Engine, limits: Limits) -> Result<(), ExecError> {
    let result = forward(engine, limits).await;
    let Err(error) = result else { return Ok(()) };
    // Before the switch was decided nothing is lost by going back, whatever the reason.
    let standing = fence::standing(&engine.run, &engine.source).await?;
    if standing == Standing::Permanent {
        return Err(error);
    }
    open_again(&engine.run, &engine.ledger, &engine.source).await?;
    let error = match fence::unchanged(&engine.run, &engine.source, &engine.tables).await {
        // What changed says more than the statement that met it first.
        Err(stale @ (ExecError::Stale { .. } | ExecError::Reshaped { .. })) if error.is_refusal_of_source() => stale,
        _ => error,
    };
    match error {
        // A plan that does not fit any more will not fit at the next attempt, unless it says what is to be done.
        ExecError::CutoverAborted { .. }
        | ExecError::Interrupted
        | ExecError::Stale { .. }
        | ExecError::Reshaped { .. } => Err(error),
        other => Err(ExecError::CutoverAborted { reason: other.to_string() }),
    }
}

async fn forward(engine: &mut Engine, limits: Limits) -> Result<(), ExecError> {
    let run = Arc::clone(&engine.run);
    failpoint::hit("cutover.begin")?;
    verify::before_fence(engine).await?;
    let questions = constraints::questions(&run, &engine.ledger).await?;
    constraints::ask(&engine.ledger, &questions).await?;
    gaps::ask(&run, &engine.source).await?;
    failpoint::hit("cutover.asked")?;
    let nonce = Nonce::new();
    state::begin(&engine.ledger, &run.id, run.epoch, &nonce.digest()).await?;
    enter(&run, CutoverState::Fencing);
    let keeper = run.connect(End::Source, "lease").await?;
    let patience = limits.terminate_after_ms.map(Duration::from_millis);
    let fence_lsn = fence::raise(&run, &engine.source, &engine.tables, &nonce, patience).await?;
    failpoint::hit("cutover.after-fence")?;
    let began = Instant::now();
    let limit = Duration::from_millis(limits.fence_timeout_ms.unwrap_or(run.plan.settings.fence_timeout_ms));
    let bounded = tokio::time::timeout(limit, async {
        tokio::select! {
            result = fenced(engine, &nonce, fence_lsn, &questions) => result,
            error = keep_lease(&run, &keeper) => Err(error),
            // The source must not stay closed for an operator who has asked to stop.
            () = overdue(&run.shutdown, Duration::ZERO) => Err(ExecError::Interrupted),
        }
    })
    .await;
    match bounded {
        Ok(result) => result?,
        Err(_) => {
            return Err(ExecError::CutoverAborted {
                reason: format!("not switched within {} ms after the fence", limit.as_millis()),
            });
        }
    }
    // From here on there is no way back but the reverse path.
    if !fence::make_permanent(&run, &engine.source, &engine.tables).await? {
        return Err(ExecError::CutoverAborted { reason: "the fence's lease ran out before the switch".to_owned() });
    }
    failpoint::hit("cutover.after-permanent")?;
    finish(&run, &engine.ledger).await?;
    run.note(format!("fenced to switched in {} ms", began.elapsed().as_millis()));
    // The switch is made, whatever becomes of what is said about it.
    let _said = added::say(&run, &engine.ledger).await;
    Ok(())
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
    nonce: &Nonce,
    fence_lsn: Lsn,
    questions: &[constraints::Question],
) -> Result<(), ExecError> {
    let run = Arc::clone(&engine.run);
    advance(engine, CutoverState::Fencing, CutoverState::Fenced, Some(fence_lsn)).await?;
    failpoint::hit("cutover.after-fenced")?;
    drain(engine, nonce, fence_lsn).await?;
    advance(engine, CutoverState::Fenced, CutoverState::Drained, None).await?;
    failpoint::hit("cutover.after-drained")?;
    verify::at_fence(engine).await?;
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
    if !fence::renew(&run, &engine.source).await? {
        return Err(ExecError::CutoverAborted { reason: "the fence's lease ran out".to_owned() });
    }
    Ok(())
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
            if sentinel.content.starts_with("fence:") {
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

/// Records what the permanent fence decided. Can be repeated.
async fn finish(run: &Run, ledger: &Client) -> Result<(), ExecError> {
    state::advance(ledger, &run.id, run.epoch, CutoverState::SequencesSet, CutoverState::Switched, None).await?;
    failpoint::hit("cutover.after-switched")?;
    migration::set_state(ledger, &run.id, "cut_over").await?;
    enter(run, CutoverState::Switched);
    Ok(())
}

async fn open_again(run: &Run, ledger: &Client, source: &Client) -> Result<(), ExecError> {
    if fence::standing(run, source).await? != Standing::None {
        fence::lower(run, source).await?;
    }
    state::reset(ledger, &run.id).await?;
    enter(run, CutoverState::Ready);
    Ok(())
}

/// Opens the source after a cutover that was broken off, unless it was decided. The lease does it otherwise.
pub async fn give_up(run: &Run, ledger: &Client) -> Result<(), ExecError> {
    let found = state::read(ledger, &run.id).await?.state;
    if matches!(found, CutoverState::Ready | CutoverState::Switched) {
        return Ok(());
    }
    let source = run.connect(End::Source, "open again").await?;
    if fence::standing(run, &source).await? == Standing::Permanent {
        return Ok(());
    }
    open_again(run, ledger, &source).await
}

/// Decides what a cutover that died became: a permanent fence means that the switch was decided, anything else that
/// the source is to be opened again.
pub async fn finish_interrupted(run: &Run, ledger: &mut Client, source: &Client) -> Result<Option<Outcome>, ExecError> {
    let found = state::read(ledger, &run.id).await?;
    let standing = fence::standing(run, source).await?;
    match (found.state, standing) {
        (CutoverState::Ready, Standing::None) => Ok(None),
        // The target is in use since, whatever became of the fence: in a failover to a late standby it is lost.
        (CutoverState::Switched, _) | (_, Standing::Permanent) => {
            if found.state != CutoverState::Switched {
                state::take_over(ledger, &run.id, run.epoch).await?;
                finish(run, ledger).await?;
            } else {
                migration::set_state(ledger, &run.id, "cut_over").await?;
            }
            run.note("the cutover had been decided before the interruption; it is complete now");
            Ok(Some(Outcome::Switched))
        }
        _ => {
            open_again(run, ledger, source).await?;
            run.note("an interrupted cutover was given up; the source is open for writes");
            Ok(None)
        }
    }
}
