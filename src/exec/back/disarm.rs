//! What an attempt to cut over has made for the way back goes with it.

use super::remove::drop_slot;
use super::rights;
use crate::exec::context::Run;
use crate::exec::steps::Steps;
use crate::exec::{ExecError, failpoint};
use crate::pg::client::Client;
use crate::plan::Op;
use crate::sql;

/// Drops slot and publication: the slot would keep the target's log until the next attempt, and the publication would not have
/// what is created meanwhile. Can be repeated.
///
/// # Errors
/// [`ExecError::Busy`] when somebody reads the slot: then both stay. Or the target refuses.
pub async fn disarm(run: &Run, ledger: &Client) -> Result<(), ExecError> {
    if rights::role(run).is_none() {
        return Ok(());
    }
    let steps = Steps::read(run, ledger).await?;
    if is_ours(run, &steps, |op| matches!(op, Op::CreateBackSlot(_))) {
        match drop_slot(run, ledger).await {
            Err(ExecError::Postgres { error, .. }) if error.sqlstate() == Some("55006") => {
                return Err(ExecError::Busy { what: in_use(run, ledger).await? });
            }
            other => other.map(drop)?,
        }
        failpoint::hit("back.disarmed-slot")?;
    }
    if is_ours(run, &steps, |op| matches!(op, Op::PublishBack(_))) {
        let publication = run.plan.settings.back_publication();
        let drop = format!("DROP PUBLICATION IF EXISTS {}", sql::ident(&publication));
        ledger.batch_execute(&drop).await.map_err(ExecError::target("drop the publication of the way back"))?;
    }
    Ok(())
}

/// The same where the next attempt does what cannot be done now: for a cutover that was given up, whose reason is what is told.
pub async fn disarm_or_say(run: &Run, ledger: &Client) {
    if let Err(error) = disarm(run, ledger).await {
        run.note(format!(
            "slot and publication of the way back could not be removed, and keep the target's log: {error}. The next pcrd apply \
             removes them"
        ));
    }
}

/// The slot, who reads it, and what can be done about it.
async fn in_use(run: &Run, ledger: &Client) -> Result<String, ExecError> {
    let slot = run.plan.settings.back_slot();
    let row = ledger
        .query_opt(
            "SELECT active_pid, coalesce(nullif(a.application_name, ''), 'no name'), coalesce(a.usename::text, 'unknown') \
             FROM pg_catalog.pg_replication_slots s LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = s.active_pid \
             WHERE slot_name = $1 AND active_pid IS NOT NULL",
            &[&slot.as_str()],
        )
        .await
        .map_err(ExecError::target("look who reads the slot of the way back"))?;
    Ok(match row {
        Some(row) => {
            let (pid, name, role): (i32, String, String) = (row.get(0), row.get(1), row.get(2));
            format!(
                "slot {slot} of the target, which pid {pid} ({name}, role {role}) reads: when that has ended \
                 (SELECT pg_terminate_backend({pid}) on the target ends it), run the same command again"
            )
        }
        None => format!("slot {slot} of the target, whose reader has ended a moment ago: run the same command again"),
    })
}

/// A step of this plan has made it, or was about to.
pub(super) fn is_ours(run: &Run, steps: &Steps<'_>, wanted: fn(&Op) -> bool) -> bool {
    run.plan.steps.iter().any(|step| wanted(&step.op) && steps.started(&step.id))
}
