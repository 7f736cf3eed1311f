//! The rest of a cutover whose source is lost. Behind the switch the target needs nothing of it; before that only the operator
//! knows whether the source comes back, and with it whoever writes there.

use super::apply::{Outcome, Request};
use super::context::Run;
use super::event::EventKind;
use super::owners_and_grants::{Piece, Wanted};
use super::switch::Word;
use super::{ExecError, admission, cutover, switch};
use crate::ledger::cutover::{self as state, CutoverState};
use crate::ledger::hook::Direction;
use crate::ledger::migration;
use crate::pg::client::Client;

/// Completes a cutover that the target has everything of, without the source that `lost` speaks of.
///
/// # Errors
/// `lost`, where there is nothing that could be completed without the source.
pub(super) async fn complete(
    run: &mut Run,
    ledger: &mut Client,
    (request, word): (&Request, &mut Option<Word>),
    lost: ExecError,
) -> Result<Outcome, ExecError> {
    let is_running = migration::exists(ledger).await?
        && migration::find(ledger, &run.id).await?.is_some_and(|found| found.state == "running");
    let found = if is_running { state::read(ledger, &run.id).await?.state } else { CutoverState::Ready };
    match found {
        CutoverState::Switched => {}
        CutoverState::SequencesSet if request.source_is_lost => {}
        CutoverState::SequencesSet => {
            run.note(
                "the target has everything up to the fence, and the switch may have been decided. Where the source never comes \
                 back, and nobody can write to it: pcrd cutover --source-lost",
            );
            return Err(lost);
        }
        _ if request.source_is_lost => {
            let reason = format!(
                "it has come to `{found}` only: the target does not have everything that the source had, or nobody knows whether \
                 it has ({lost})"
            );
            return Err(ExecError::Step { step: "cutover".to_owned(), reason });
        }
        _ => return Err(lost),
    }
    run.epoch = admission::admit_without_source(run, ledger).await?;
    run.emit(None, EventKind::Admitted);
    run.note(format!("the source cannot be asked: {lost}"));
    // Another executor may have come to an end of it, before this one had the lock.
    let rights = match state::read(ledger, &run.id).await?.state {
        CutoverState::Switched => Wanted::default(),
        _ => {
            state::take_over(ledger, &run.id, run.epoch).await?;
            run.note(
                "owners, grants, policies and triggers are given as the plan has them, for the source cannot be asked",
            );
            as_planned(run)?
        }
    };
    switch::check_word(run, ledger, Direction::Forward, *word).await?;
    switch::complete(run, ledger, (word, &rights)).await?;
    run.note(cutover::COMPLETE);
    Ok(Outcome::SwitchedAlone)
}

/// What the steps of the plan give, whatever has become of it on the source since.
fn as_planned(run: &Run) -> Result<Wanted, ExecError> {
    let steps = run.plan.steps.iter().filter(|step| step.op.gives());
    let pieces = steps.map(|step| Piece::of(run, &step.id, step.op.clone())).collect::<Result<_, _>>()?;
    Ok(Wanted { pieces, gone: Vec::new() })
}
