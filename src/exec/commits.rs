//! Times commits on the source while rows are copied or compared and somebody writes there: what an application feels.
//! The smallest thing that can be committed is an empty message in the log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ExecError;
use super::context::Run;
use super::share::{Controller, SHARE_UNKNOWN};
use crate::pg::client::Client;
use crate::pg::error::PgError;
use crate::plan::{End, Signal};
use crate::replay::Lsn;

/// While there is nothing to slow down.
const IDLE: Duration = Duration::from_millis(50);
/// A look that takes longer is given up, with its connection …
const PATIENCE: Duration = Duration::from_secs(5);
/// … and tried again after this time.
const REST: Duration = Duration::from_secs(2);

/// Where the log ends.
const END: &str = "SELECT pg_catalog.pg_current_wal_insert_lsn()::text";
/// The same with a commit. Not under our own prefix: it says nothing to the stream.
const COMMIT: &str = "SELECT pg_catalog.pg_current_wal_insert_lsn()::text, \
     pg_catalog.pg_logical_emit_message(true, 'pcrd.commit', '')";

/// Sets the pace until it is dropped.
pub async fn run(run: Arc<Run>) -> Result<(), ExecError> {
    let mut controller = Controller::default();
    let mut session = None;
    let mut said = false;
    loop {
        let limit = run.throttle.limit(Signal::SourceCommitSlowdown);
        let Some(percent) = limit.filter(|_| run.throttle.is_at_work()) else {
            controller = Controller::default();
            // Whoever begins meanwhile does not begin with all that the servers have.
            run.throttle.set_pace(limit.map_or(1.0, |_| SHARE_UNKNOWN), None);
            tokio::time::sleep(IDLE).await;
            continue;
        };
        match tokio::time::timeout(PATIENCE, look(&run, &mut session, &mut controller)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) if is_refusal(&error) => {
                run.note(format!("how long commits on the source take is not known, and slows nothing down: {error}"));
                run.throttle.set_pace(1.0, None);
                return std::future::pending().await;
            }
            // Who does not answer at all is the sampler's affair.
            _failed_or_late => {
                session = None;
                controller.failed(Instant::now());
                run.throttle.set_pace(controller.share(Instant::now(), 1.0), controller.slowed());
                tokio::time::sleep(REST).await;
                controller.failed(Instant::now());
            }
        }
        let share = controller.share(Instant::now(), 1.0 + percent as f64 / 100.0);
        let slowed = controller.slowed();
        run.throttle.set_pace(share, slowed);
        if let Some(slowed) = slowed.filter(|slowed| !said && slowed.share < 0.2) {
            said = true;
            run.note(format!("the copy gives way to the application: {slowed}"));
        }
        tokio::time::sleep(controller.pause()).await;
    }
}

async fn look(run: &Run, session: &mut Option<Client>, controller: &mut Controller) -> Result<(), ExecError> {
    let doing = || ExecError::source("time a commit");
    let client = match session {
        Some(client) => client,
        None => {
            let client = run.connect(End::Source, "commits").await?;
            // A standby that keeps commits waiting must not keep this session for ever.
            client.batch_execute("SET synchronous_commit = local").await.map_err(doing())?;
            session.insert(client)
        }
    };
    let query = client.prepared(if controller.is_busy() { COMMIT } else { END }).await.map_err(doing())?;
    let began = Instant::now();
    let row = client.query_one(&query, &[]).await.map_err(doing())?;
    let now = Instant::now();
    let end: Lsn = row
        .get::<_, &str>(0)
        .parse()
        .map_err(|error: crate::replay::position::LsnError| ExecError::Gap { reason: error.to_string() })?;
    controller.wrote(now, end);
    if controller.is_busy() {
        controller.committed(now, now - began);
    }
    Ok(())
}

/// No right to write messages, or a server that takes none.
fn is_refusal(error: &ExecError) -> bool {
    let ExecError::Postgres { error, .. } = error else { return false };
    !error.is_transient() && matches!(error, PgError::Server(_)) && error.sqlstate().is_some()
}
