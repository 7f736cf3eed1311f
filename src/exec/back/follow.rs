//! The applier of the way back, with what it needs to be started and ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::exec::ExecError;
use crate::exec::context::Run;
use crate::exec::engine::start_applier;
use crate::exec::shared::Shared;
use crate::exec::slot;
use crate::exec::stream::Sentinel;
use crate::exec::table::TableTask;
use crate::exec::touched::Touched;
use crate::ledger::{migration, progress};
use crate::pg::client::Client;
use crate::replay::{Router, TableRoute};

/// A message takes this long at most from one end to the other, when nothing else is in its way.
const PROBE_PATIENCE: Duration = Duration::from_secs(30);

/// Changes are going back.
pub(super) struct Following {
    /// The mirrored run.
    pub run: Arc<Run>,
    /// Positions.
    pub shared: Arc<Shared>,
    sentinels: mpsc::UnboundedReceiver<Sentinel>,
    stop: watch::Sender<bool>,
    applier: JoinSet<Result<(), ExecError>>,
}

/// Registers this executor in the source's ledger; an older one cannot write from here on.
pub(super) async fn take_over(mirrored: &Run, source: &Client) -> Result<i64, ExecError> {
    let plan = &mirrored.plan;
    let registration = migration::Registration {
        id: mirrored.id.clone(),
        source_system: plan.source.server.system_identifier.clone(),
        source_database_oid: plan.source.server.database_oid,
        slot: plan.settings.slot.as_str().to_owned(),
        publication: plan.settings.publication.as_str().to_owned(),
        tables: plan.targets().into_iter().cloned().collect(),
        host: "the way back".to_owned(),
        pid: std::process::id(),
    };
    Ok(migration::take_over(source, &registration).await?)
}

/// Starts where the source's ledger says. `source` is the ledger's connection, `target` one to where changes come from: none is
/// made for these questions, for this is done behind the fence too.
///
/// # Errors
/// [`ExecError::WayBackClosed`] when the target has not kept what it wrote: that ends the way back.
pub(super) async fn start(
    run: Arc<Run>,
    tables: Vec<TableTask>,
    (source, target): (&Client, &Client),
) -> Result<Following, ExecError> {
    let tables = Arc::new(tables);
    let progress = progress::read(source, &run.id).await?;
    let progress = progress
        .ok_or_else(|| ExecError::SourceBehind { reason: "its ledger has no position of the way back".to_owned() })?;
    slot::wait_inactive(&run, target).await.map_err(ExecError::mirrored)?;
    let slot = &run.plan.settings.slot;
    let found =
        slot::state(target, &run).await.map_err(ExecError::mirrored)?.ok_or_else(|| ExecError::WayBackClosed {
            reason: format!("the target has no slot {slot}: what it wrote since cannot be read"),
        })?;
    if found.lost {
        let reason = format!("the target has removed log that slot {slot} needs (max_slot_wal_keep_size)");
        return Err(ExecError::WayBackClosed { reason });
    }
    if let Some(confirmed) = found.confirmed.filter(|confirmed| *confirmed > progress.applied) {
        let reason = format!(
            "slot {slot} of the target is confirmed up to {confirmed}, and the source has its changes up to {} only",
            progress.applied
        );
        return Err(ExecError::SourceBehind { reason });
    }
    let routes = tables.iter().map(|_| TableRoute::Whole).collect();
    let shared = Arc::new(Shared::new(Router::new(routes), progress.applied, vec![(0, 0); tables.len()]));
    let touched = Arc::new(Touched::new(tables.len()));
    let (sender, sentinels) = mpsc::unbounded_channel();
    let applier = start_applier(&run, source, &shared, &tables, &touched, &progress, sender).await;
    let applier = applier.map_err(ExecError::mirrored)?;
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    tasks.spawn(applier.apply(stopped));
    Ok(Following { run, shared, sentinels, stop, applier: tasks })
}

impl Following {
    /// Waits until everything before this message of ours is applied.
    pub(super) async fn wait_for(&mut self, text: &str) -> Result<(), ExecError> {
        loop {
            tokio::select! {
                biased;
                found = self.sentinels.recv() => match found {
                    Some(found) if found.content == text => return Ok(()),
                    Some(_) => {}
                    None => return Err(failed(self.applier.join_next().await)),
                },
                ended = self.applier.join_next() => return Err(failed(ended)),
            }
        }
    }

    /// As [`Self::wait_for`], where nothing else is in the message's way.
    pub(super) async fn wait_for_probe(&mut self, text: &str) -> Result<(), ExecError> {
        match tokio::time::timeout(PROBE_PATIENCE, self.wait_for(text)).await {
            Ok(arrived) => arrived,
            Err(_) => Err(ExecError::CutoverAborted {
                reason: format!("a message did not go the way back within {} s", PROBE_PATIENCE.as_secs()),
            }),
        }
    }

    /// Waits until the applier fails.
    pub(super) async fn failed(&mut self) -> ExecError {
        failed(self.applier.join_next().await)
    }

    /// Ends the stream between two transactions, with everything confirmed that is committed.
    pub(super) async fn end(&mut self) -> Result<(), ExecError> {
        self.stop.send_replace(true);
        match self.applier.join_next().await {
            Some(Ok(result)) => result.map_err(ExecError::mirrored),
            Some(Err(error)) => Err(ExecError::task(error)),
            None => Ok(()),
        }
    }
}

fn failed(ended: Option<Result<Result<(), ExecError>, tokio::task::JoinError>>) -> ExecError {
    ended.map_or(ExecError::StreamEnded, ExecError::ended).mirrored()
}
