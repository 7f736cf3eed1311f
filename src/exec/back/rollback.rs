//! Back to the source: the fence of the cutover, on the other end. Until the target's fence is permanent everything can be
//! undone; from there on the source is the database, whatever dies. The source is opened only behind that, so that never both
//! ends take writes.

use std::time::Duration;

use super::follow::Following;
use super::watch::{Watch, with_others};
use crate::exec::context::Run;
use crate::exec::fence::{self, Nonce, Standing};
use crate::exec::{ExecError, constraints, failpoint, sequences};
use crate::ledger::migration;
use crate::ledger::way_back::{self, WayBackState};
use crate::pg::client::Client;
use crate::plan::{End, Op};

use super::stand::remove_from_target;

/// Closes the target, applies what it wrote, and decides.
pub(super) async fn decide(
    run: &Run,
    ledger: &Client,
    source: &Client,
    (following, watch): (&mut Following, &Watch),
) -> Result<(), ExecError> {
    let (mirrored, tables) = (following.run.clone(), watch.tables.clone());
    let questions = constraints::questions_back(&mirrored, source, &with_others(&tables)).await?;
    constraints::ask_back(source, &questions).await?;
    if !way_back::advance(ledger, &run.id, &[WayBackState::Open], WayBackState::RollingBack, None).await? {
        return Err(ExecError::Step { step: "rollback".to_owned(), reason: "the way back is not open".to_owned() });
    }
    failpoint::hit("back.begin")?;
    let nonce = Nonce::new();
    let keeper = mirrored.connect(End::Source, "lease").await?;
    fence::raise(&mirrored, ledger, &tables, &nonce, None).await?;
    failpoint::hit("back.after-fence")?;
    let limit = Duration::from_millis(run.plan.settings.fence_timeout_ms);
    let fenced = async {
        following.wait_for(&nonce.sentinel(&mirrored)).await?;
        following.end().await?;
        failpoint::hit("back.after-drained")?;
        constraints::ask_back(source, &questions).await?;
        for step in &mirrored.plan.steps {
            if let Op::SetSequence(set) = &step.op {
                sequences::set(&mirrored, ledger, source, set).await?;
            }
        }
        failpoint::hit("back.after-sequences")
    };
    let bounded = tokio::time::timeout(limit, async {
        tokio::select! {
            result = fenced => result,
            error = keep_lease(&mirrored, &keeper) => Err(error),
        }
    });
    match bounded.await {
        Ok(result) => result?,
        Err(_) => {
            let reason = format!("not drained within {} ms after the target's fence", limit.as_millis());
            return Err(ExecError::CutoverAborted { reason });
        }
    }
    if !fence::make_permanent(&mirrored, ledger, &tables).await? {
        return Err(ExecError::CutoverAborted { reason: "the lease of the target's fence ran out".to_owned() });
    }
    failpoint::hit("back.after-permanent")
}

async fn keep_lease(mirrored: &Run, keeper: &Client) -> ExecError {
    loop {
        tokio::time::sleep(fence::LEASE / 4).await;
        match fence::renew(mirrored, keeper).await {
            Ok(true) => {}
            Ok(false) => {
                return ExecError::CutoverAborted { reason: "the lease of the target's fence ran out".to_owned() };
            }
            Err(error) => return error,
        }
    }
}

/// Opens the source behind the target's permanent fence. Can be repeated.
pub(super) async fn complete(run: &Run, ledger: &Client, source: &Client) -> Result<(), ExecError> {
    if fence::standing(run, source).await? != Standing::None {
        fence::remove(run, source).await?;
    }
    failpoint::hit("back.after-open")?;
    remove_from_target(run, ledger).await?;
    way_back::advance(ledger, &run.id, &[WayBackState::RollingBack], WayBackState::RolledBack, None).await?;
    migration::set_state(ledger, &run.id, "rolled_back").await?;
    Ok(())
}

/// Opens the target again, before anything was decided.
pub(super) async fn undo(run: &Run, mirrored: &Run, ledger: &Client) -> Result<(), ExecError> {
    if fence::standing(mirrored, ledger).await? == Standing::Leased {
        fence::lower(mirrored, ledger).await?;
    }
    way_back::advance(ledger, &run.id, &[WayBackState::RollingBack], WayBackState::Open, None).await?;
    Ok(())
}
