//! A limit for many statements of one session together. The server's own limits are for each of them.

use std::time::Duration;

use super::ExecError;
use super::context::Run;
use crate::pg::client::Client;
use crate::plan::End;

/// The server ends a statement by itself so much later, where it cannot be asked to.
pub(super) const GRACE: Duration = Duration::from_secs(1);
/// As often the statement that is under way is cancelled: the first time may have been between two of them.
const CANCEL_EVERY: Duration = Duration::from_millis(300);

/// The session's process on the server.
pub(super) async fn pid(source: &Client) -> Result<i32, ExecError> {
    let row = source.query_one("SELECT pg_catalog.pg_backend_pid()", &[]).await;
    Ok(row.map_err(ExecError::source("ask for the session's process"))?.get(0))
}

/// Lets statements of one session of the source go on for as long as `limit`, all of them together. When the time is over
/// nothing of it counts, even if it came to its end: the caller rolls back. `why` says which limit that is.
///
/// # Errors
/// [`ExecError::CutoverAborted`] with what took too long, or what the work says.
pub(super) async fn all_within<T>(
    run: &Run,
    pid: i32,
    limit: Duration,
    why: &str,
    work: impl Future<Output = Result<T, ExecError>>,
) -> Result<T, ExecError> {
    let mut work = std::pin::pin!(work);
    if let Ok(done) = tokio::time::timeout(limit, &mut work).await {
        return done;
    }
    let done = loop {
        // Waited for to its end: one that came later would end a statement that has nothing to do with this.
        let cancelled = cancel(run, pid).await;
        if let Ok(done) = tokio::time::timeout(CANCEL_EVERY, &mut work).await {
            break done;
        }
        if let Err(error) = cancelled {
            // The server's own limit is near.
            run.note(format!("what takes too long could not be cancelled: {error}"));
            break work.await;
        }
    };
    match done {
        Ok(_) => Err(ExecError::CutoverAborted { reason: format!("all of it took too long: {why}") }),
        Err(error) => Err(late(run, error, why)),
    }
}

/// A statement that was ended, as what keeps the cutover from being made.
pub(super) fn late(run: &Run, error: ExecError, why: &str) -> ExecError {
    match error {
        ExecError::Postgres { side, doing, error } if error.sqlstate() == Some("57014") => ExecError::CutoverAborted {
            reason: format!("`{doing}` took too long on the {}, or was cancelled ({error}): {why}", run.end(side)),
        },
        other => other,
    }
}

/// From a session of its own, whose answer says that the signal is sent.
async fn cancel(run: &Run, pid: i32) -> Result<(), ExecError> {
    let other = run.connect(End::Source, "limit").await?;
    let query = "SELECT pg_catalog.pg_cancel_backend($1)";
    other.execute(query, &[&pid]).await.map_err(ExecError::source("cancel what takes too long"))?;
    Ok(())
}
