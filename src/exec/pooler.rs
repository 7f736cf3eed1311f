//! The pgbouncer that holds its clients during the cutover: they wait, and see no error.

use std::time::{Duration, Instant};

use super::ExecError;
use super::context::Run;
use crate::catalog::Ident;
use crate::ledger::migration;
use crate::pg::error::PgError;
use crate::pg::pgbouncer::{self, Console, Database};
use crate::plan::{End, Pooler};

/// A pgbouncer that is restarted a moment later holds nobody any more, and can be asked again.
const RESUMES_MAX: u32 = 5;
const RESUME_PAUSE: Duration = Duration::from_millis(500);
/// Longer than any answer but that to PAUSE.
const ANSWER: Duration = Duration::from_secs(5);

/// Finds out, before anything is stopped, that it can be asked, knows the databases, and nobody else has paused them. `from` is
/// the end that the clients are to leave.
///
/// # Errors
/// What is wrong with it: nothing was done.
pub async fn check(run: &Run, from: End) -> Result<(), ExecError> {
    let Some(pooler) = &run.plan.settings.cutover.pgbouncer else { return Ok(()) };
    let console = console(run).await?;
    for name in &pooler.databases {
        let found = database(&console, name).await?;
        if found.paused {
            return Err(refused(format!("its database {name} is paused already, by somebody else")));
        }
        if !leads_to(run, from, &found) {
            run.note(format!(
                "pgbouncer's database {name} leads to {}, which is not what the config calls the {from}; whether the switch hook \
                 has changed it cannot be checked",
                address(&found)
            ));
        }
    }
    Ok(())
}

/// Holds the clients of all databases. Until `deadline` transactions may end by themselves.
///
/// # Errors
/// It cannot be asked, or transactions go on for too long; some databases may be held.
pub async fn pause(run: &Run, deadline: Instant) -> Result<(), ExecError> {
    let Some(pooler) = &run.plan.settings.cutover.pgbouncer else { return Ok(()) };
    let console = console(run).await?;
    for name in &pooler.databases {
        let left = deadline.saturating_duration_since(Instant::now());
        match tokio::time::timeout(left, console.pause(name)).await {
            Ok(result) => result.map_err(failed("PAUSE"))?,
            Err(_) => {
                return Err(refused(format!(
                    "transactions of clients of {name} were still open after all the time for it"
                )));
            }
        }
    }
    run.note("pgbouncer holds its clients");
    Ok(())
}

/// Lets all clients go on; those of a database that is not paused do already. Can be repeated.
///
/// # Errors
/// It cannot be asked: its clients may go on waiting.
pub async fn resume(run: &Run) -> Result<(), ExecError> {
    let Some(pooler) = &run.plan.settings.cutover.pgbouncer else { return Ok(()) };
    let mut attempt = 1;
    loop {
        match resume_once(run, pooler).await {
            Ok(()) => return Ok(()),
            Err(error) if attempt >= RESUMES_MAX => {
                return Err(refused(format!(
                    "{error}; its clients may still be held: say RESUME there, or run the same command again"
                )));
            }
            Err(_) => attempt += 1,
        }
        tokio::time::sleep(RESUME_PAUSE).await;
    }
}

/// As [`resume`], where nothing can be done about a failure and something else went wrong before.
pub async fn let_go(run: &Run) {
    if run.plan.settings.cutover.pgbouncer.is_none() {
        return;
    }
    let _hold = run.holds.take();
    match is_ours(run).await {
        Ok(true) => {}
        Ok(false) => {
            run.note("pgbouncer is left as it is: another executor has the migration, and may hold its clients");
            return;
        }
        // The fence refuses who is let go too early. Where it refuses nobody, being held is all that keeps writers away.
        Err(_) if run.plan.settings.cutover.fence.refuses() => {}
        Err(error) => {
            run.note(format!(
                "ALARM: pgbouncer may hold its clients, and goes on: whether another executor has the migration cannot be asked \
                 ({error}). The same command again lets them go, or RESUME there once no executor is at work"
            ));
            return;
        }
    }
    if let Err(error) = resume(run).await {
        run.note(error.to_string());
    }
}

/// No executor has come since: one that was away for long may wake up without its sessions.
async fn is_ours(run: &Run) -> Result<bool, ExecError> {
    let client = run.connect(End::Target, "pooler").await?;
    let found = migration::find(&client, &run.id).await?;
    Ok(found.is_none_or(|found| found.epoch == run.epoch))
}

async fn resume_once(run: &Run, pooler: &Pooler) -> Result<(), ExecError> {
    let console = console(run).await?;
    for name in &pooler.databases {
        if database(&console, name).await?.paused {
            in_time(console.resume(name)).await.map_err(failed("RESUME"))?;
        }
    }
    Ok(())
}

/// After the switch hook: makes it read its configuration, and gives a database that still leads to the end
/// that the clients are to leave.
///
/// # Errors
/// It cannot be asked.
pub async fn still_on(run: &Run, from: End) -> Result<Option<String>, ExecError> {
    let Some(pooler) = &run.plan.settings.cutover.pgbouncer else { return Ok(None) };
    let console = console(run).await?;
    in_time(console.reload()).await.map_err(failed("RELOAD"))?;
    for name in &pooler.databases {
        let found = database(&console, name).await?;
        if leads_to(run, from, &found) {
            return Ok(Some(format!("pgbouncer's database {name} still leads to {}", address(&found))));
        }
    }
    Ok(None)
}

async fn console(run: &Run) -> Result<Console, ExecError> {
    let info = run.pooler.as_ref().ok_or_else(|| refused("the config has no cutover.pgbouncer".to_owned()))?;
    pgbouncer::connect(info, &run.session_name("pooler")).await.map_err(failed("connect to its console"))
}

async fn database(console: &Console, name: &Ident) -> Result<Database, ExecError> {
    let found = in_time(console.database(name)).await.map_err(failed("SHOW DATABASES"))?;
    found.ok_or_else(|| refused(format!("it has no database {name}")))
}

async fn in_time<T>(answer: impl Future<Output = Result<T, PgError>>) -> Result<T, PgError> {
    match tokio::time::timeout(ANSWER, answer).await {
        Ok(result) => result,
        Err(_) => Err(PgError::Timeout { target: "pgbouncer".to_owned(), seconds: ANSWER.as_secs() }),
    }
}

/// By the words of the config: two names of one server are not found out.
fn leads_to(run: &Run, end: End, found: &Database) -> bool {
    let info = match end {
        End::Source => &run.source,
        End::Target => &run.target,
    };
    found.host.as_deref() == Some(info.host.as_str())
        && found.port == Some(info.port)
        && found.database == info.database
}

fn address(found: &Database) -> String {
    let port = found.port.map_or_else(String::new, |port| format!(":{port}"));
    format!("{}{port}/{}", found.host.as_deref().unwrap_or("its default server"), found.database)
}

fn refused(reason: String) -> ExecError {
    ExecError::Pooler { reason }
}

fn failed(doing: &'static str) -> impl FnOnce(PgError) -> ExecError {
    move |error| ExecError::Pooler { reason: format!("{doing}: {error}") }
}
