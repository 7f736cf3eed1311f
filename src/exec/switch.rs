//! From the permanent fence to the end of the cutover: owners and applications get their rights on the target, the operator's
//! program moves the clients, at most once, and the target becomes the database. Every restart goes through here again.

use serde::{Deserialize, Serialize};

use super::context::Run;
use super::event::EventKind;
use super::fence::{self, Standing};
use super::hook::{self, Ended};
use super::owners_and_grants::{self, Wanted};
use super::{ExecError, failpoint, late, pooler, renamed};
use crate::ledger::cutover::{self as state, CutoverState};
use crate::ledger::hook::{self as calls, Call, CallEnd, Direction};
use crate::ledger::{migration, progress};
use crate::pg::client::Client;
use crate::plan::{End, Hook};

/// What the operator says of a switch hook of which nobody knows whether it did its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Word {
    /// The clients use the target.
    Happened,
    /// They do not, and it may run once more.
    NotHappened,
    /// They do not, and the source is to be open again.
    GiveUp,
}

/// Gives rights on the target, moves the clients and makes it the database; can be repeated. `word` is about the last call
/// that is written down, and counts once.
///
/// # Errors
/// Nobody knows whether the clients were moved: then the source stays closed.
pub async fn complete(
    run: &Run,
    ledger: &Client,
    (word, rights): (&mut Option<Word>, &Wanted),
) -> Result<(), ExecError> {
    let _hold = run.holds.take();
    let found = state::read(ledger, &run.id).await?.state;
    if found != CutoverState::Switched {
        // The fence is made permanent after that was written: a target that does not know it is not the one that was to be
        // switched to, or is behind it.
        if found != CutoverState::SequencesSet {
            return Err(ExecError::Gap {
                reason: format!(
                    "the fence on the source is permanent, but on the target the cutover has come to `{found}` only: the target was \
                     restored, or failed over to a server that is behind"
                ),
            });
        }
        owners_and_grants::give_all(run, ledger, rights).await?;
        move_clients(run, ledger, (Direction::Forward, run.epoch), word).await?;
        state::advance(ledger, &run.id, run.epoch, CutoverState::SequencesSet, CutoverState::Switched, None).await?;
    }
    failpoint::hit("cutover.after-switched")?;
    // From here on the target takes the clients' writes, whatever becomes of the rest.
    pooler::resume(run).await?;
    failpoint::hit("cutover.after-resume")?;
    after_switch(run, ledger, (Direction::Forward, run.epoch)).await?;
    // Writers are refused, and the clients are on the target: who still reads the source must not keep anything open.
    if let Err(error) = renamed::rename(run).await {
        run.note(format!("ALARM: tables of the source keep their names, so that who reads them does not fail: {error}. pcrd cleanup tries again"));
    }
    for line in late::lines(run, ledger).await.unwrap_or_else(|error| vec![unknown(&error)]) {
        run.note(line);
    }
    migration::set_state(ledger, &run.id, "cut_over").await?;
    run.emit(None, EventKind::Cutover { state: CutoverState::Switched.to_string() });
    Ok(())
}

/// Writes that cannot be looked for must not look like none.
pub fn unknown(error: &ExecError) -> String {
    format!("whether writes came to the source after the fence could not be found out: {error}")
}

/// Calls the program for after the switch, which may have been called before; that it fails is told.
///
/// # Errors
/// The ledger cannot be written.
pub async fn after_switch(run: &Run, ledger: &Client, by: (Direction, i64)) -> Result<(), ExecError> {
    let said = calls::last(ledger, &run.id, by.0, Hook::AfterSwitch.word()).await?.and_then(|call| call.end);
    if matches!(said, Some(CallEnd::Succeeded | CallEnd::Failed | CallEnd::NotStarted)) {
        return Ok(());
    }
    match hook::call(run, ledger, by, Hook::AfterSwitch).await {
        // The switch is made: one that another executor has left running takes nothing of it back.
        Err(ExecError::Step { reason, .. }) => {
            run.note(format!("ALARM: the after_switch hook was not called: {reason}"));
            Ok(())
        }
        other => other.map(drop),
    }
}

/// The operator's word is about what has an end.
///
/// # Errors
/// The program that it is about still runs.
pub async fn check_word(run: &Run, ledger: &Client, direction: Direction, word: Option<Word>) -> Result<(), ExecError> {
    let last = match word {
        Some(_) => calls::last(ledger, &run.id, direction, Hook::Switch.word()).await?,
        None => None,
    };
    match last.as_ref().and_then(hook::running) {
        Some(why) => Err(unknown_switch(run, direction, format!("cannot be answered for yet: {why}"))),
        None => Ok(()),
    }
}

/// Starts the switch hook, unless it was started before: then only its own success or the operator's word counts. Behind it
/// the pooler must lead elsewhere.
///
/// # Errors
/// Nobody knows whether the clients were moved, or they were not.
pub async fn move_clients(
    run: &Run,
    ledger: &Client,
    by: (Direction, i64),
    word: &mut Option<Word>,
) -> Result<(), ExecError> {
    if is_to_start(run, ledger, by.0, word).await? {
        match hook::call(run, ledger, by, Hook::Switch).await? {
            None | Some(Ended::Well) => {}
            Some(Ended::Badly(why)) => return Err(unknown_switch(run, by.0, why)),
            Some(Ended::NotStarted(why)) => {
                return Err(ExecError::SwitchNotStarted {
                    is_back: by.0 == Direction::Back,
                    ends: ends(run, by.0),
                    why,
                });
            }
        }
    }
    let from = match by.0 {
        Direction::Forward => End::Source,
        Direction::Back => End::Target,
    };
    match pooler::still_on(run, from).await? {
        Some(found) => Err(unknown_switch(run, by.0, format!("said that it had succeeded, but {found}"))),
        None => Ok(()),
    }
}

/// `word` is taken once it is written down, or would be said of a call that it was not said of.
async fn is_to_start(
    run: &Run,
    ledger: &Client,
    direction: Direction,
    word: &mut Option<Word>,
) -> Result<bool, ExecError> {
    if run.plan.settings.cutover.hooks.switch.is_empty() {
        return Ok(false);
    }
    let last = calls::last(ledger, &run.id, direction, Hook::Switch.word()).await?;
    match (last, *word) {
        (Some(call), Some(Word::Happened)) => {
            calls::end(ledger, call.number, CallEnd::SaidYes, "the operator says that it happened").await?;
            *word = None;
            Ok(false)
        }
        (Some(call), Some(Word::NotHappened)) => {
            calls::end(ledger, call.number, CallEnd::SaidNo, "the operator says that it did not happen").await?;
            *word = None;
            failpoint::hit("hook.switch-answered")?;
            Ok(true)
        }
        (Some(Call { end: Some(CallEnd::Succeeded | CallEnd::SaidYes), .. }), _) => Ok(false),
        (Some(Call { end: Some(CallEnd::NotStarted | CallEnd::SaidNo), .. }) | None, _) => {
            *word = None;
            Ok(true)
        }
        (Some(call), _) => Err(unknown_switch(run, direction, in_doubt(&call))),
    }
}

/// Nobody knows whether the clients were moved.
pub fn unknown_switch(run: &Run, direction: Direction, why: String) -> ExecError {
    ExecError::SwitchUnknown { is_back: direction == Direction::Back, ends: ends(run, direction), why }
}

/// What becomes of writes.
fn ends(run: &Run, direction: Direction) -> &'static str {
    match (direction, run.plan.settings.cutover.fence.refuses()) {
        (Direction::Forward, true) => "the source takes no writes, the target takes them",
        (Direction::Forward, false) => {
            "the source refuses no writes, for its fence refuses nobody, the target takes them"
        }
        (Direction::Back, _) => "the target takes no writes, the source takes them",
    }
}

/// Before the clients are moved, where the fence keeps nobody from the source: a write that came since the end of the
/// stream ends the cutover as long as no client uses the target. Gives what came.
pub async fn came_before(
    run: &Run,
    ledger: &Client,
    source: &Client,
    word: Option<Word>,
) -> Result<Vec<String>, ExecError> {
    let state = state::read(ledger, &run.id).await?.state;
    if run.plan.settings.cutover.fence.refuses() || state != CutoverState::SequencesSet {
        return Ok(Vec::new());
    }
    let last = calls::last(ledger, &run.id, Direction::Forward, Hook::Switch.word()).await?;
    let nobody_moved = match (&last, word) {
        (None, _) | (Some(Call { end: Some(CallEnd::NotStarted | CallEnd::SaidNo), .. }), None) => true,
        (_, word) => word == Some(Word::NotHappened),
    };
    let progress = progress::read(ledger, &run.id).await?;
    let (Some(progress), true) = (progress, nobody_moved) else { return Ok(Vec::new()) };
    let came = late::look(source, &run.plan.settings, progress.applied).await?.lines();
    if let (Some(call), false) = (last, came.is_empty()) {
        calls::end(ledger, call.number, CallEnd::GivenUp, "writes came to the source before the clients were moved")
            .await?;
    }
    Ok(came)
}

fn in_doubt(call: &Call) -> String {
    if let Some(detail) = &call.detail {
        return detail.clone();
    }
    let now = hook::running(call).or_else(|| hook::elsewhere(call));
    format!(
        "was started by an executor that died or lost the target before it could write down how it ended; {}",
        now.unwrap_or_else(|| "it does not run any more".to_owned())
    )
}

/// The switch hook was called, and whether it did its work is not settled.
pub async fn is_in_doubt(run: &Run, ledger: &Client) -> Result<bool, ExecError> {
    if run.plan.settings.cutover.hooks.switch.is_empty() {
        return Ok(false);
    }
    let is_over = state::read(ledger, &run.id).await?.state == CutoverState::Switched;
    let last = calls::last(ledger, &run.id, Direction::Forward, Hook::Switch.word()).await?;
    Ok(!is_over && last.is_some_and(|call| call.end != Some(CallEnd::GivenUp)))
}

/// The operator wants the source open again behind a switch that did not happen, now or in a run that died over it.
pub async fn is_given_up(run: &Run, ledger: &Client, word: &mut Option<Word>) -> Result<bool, ExecError> {
    let has_hook = !run.plan.settings.cutover.hooks.switch.is_empty();
    if !has_hook || state::read(ledger, &run.id).await?.state == CutoverState::Switched {
        return Ok(false);
    }
    let Some(call) = calls::last(ledger, &run.id, Direction::Forward, Hook::Switch.word()).await? else {
        return Ok(false);
    };
    if *word == Some(Word::GiveUp) && call.end != Some(CallEnd::GivenUp) {
        calls::end(ledger, call.number, CallEnd::GivenUp, "the operator gives the cutover up").await?;
        *word = None;
        failpoint::hit("hook.switch-given-up")?;
        return Ok(true);
    }
    Ok(call.end == Some(CallEnd::GivenUp))
}

/// Opens the source, lets the pooler's clients go on, and tells the operator's program: for a cutover that is given up.
/// Can be repeated. Gives what went wrong with that program.
pub async fn give_up(run: &Run, ledger: &Client, source: &Client) -> Result<Option<String>, ExecError> {
    // Writes pass from here on: the clients need not wait until a reader lets the trigger be taken down.
    if fence::standing(run, source).await? == Standing::Leased {
        fence::end_lease(&run.id, source).await?;
        pooler::let_go(run).await;
    }
    if let Err(error) = open_source(run, ledger, source).await {
        // Clients that are held for a source that cannot be asked would be held when it is back.
        let_go(run, ledger).await;
        return Err(error);
    }
    // Before the stream goes on: it is applied with rights that no code of others may have.
    if let Err(error) = take_rights_back(run, ledger).await {
        let_go(run, ledger).await;
        return Err(error);
    }
    after_opening(run, ledger, run.epoch).await
}

/// Lets the pooler's clients go on, unless no attempt has held them.
async fn let_go(run: &Run, ledger: &Client) {
    if !matches!(state::read(ledger, &run.id).await, Ok(found) if found.state == CutoverState::Ready) {
        pooler::let_go(run).await;
    }
}

/// Before anything is applied again. Without rights that were given it does nothing.
pub async fn take_rights_back(run: &Run, ledger: &Client) -> Result<(), ExecError> {
    owners_and_grants::take_back(run, ledger).await?;
    failpoint::hit("rights.taken-back")?;
    owners_and_grants::nothing_left(run, ledger).await
}

/// Opens the source, unless the switch was decided and the operator has not taken that back.
pub async fn open_source(run: &Run, ledger: &Client, source: &Client) -> Result<(), ExecError> {
    let standing = fence::standing(run, source).await?;
    if standing != Standing::None {
        renamed::rename_back(run, source).await?;
    }
    match standing {
        Standing::None => Ok(()),
        Standing::Permanent if is_given_up(run, ledger, &mut None).await? => fence::remove(run, source).await,
        Standing::Leased | Standing::Permanent => match fence::lower(&run.id, source).await {
            // The lease has ended, so writes pass; the next attempt takes the triggers down first.
            Err(error) if standing == Standing::Leased && fence::is_lock_trouble(&error) => {
                run.note(format!("the source takes writes; its fence's triggers are still there: {error}"));
                Ok(())
            }
            other => other,
        },
    }
}

/// After the source is open again. What the ledger says is changed last: who dies before that does all of it again.
pub async fn after_opening(run: &Run, ledger: &Client, epoch: i64) -> Result<Option<String>, ExecError> {
    let _hold = run.holds.take();
    let mut trouble = None;
    if state::read(ledger, &run.id).await?.state != CutoverState::Ready {
        // The program of the operator's may be what makes it answer again.
        let resumed = pooler::resume(run).await;
        let ended = hook::call(run, ledger, (Direction::Forward, epoch), Hook::Abort).await?;
        trouble = ended.as_ref().and_then(Ended::trouble).map(|why| format!("the abort hook failed: {why}"));
        resumed?;
    }
    state::reset(ledger, &run.id).await?;
    run.emit(None, EventKind::Cutover { state: CutoverState::Ready.to_string() });
    Ok(trouble)
}
