//! The position from which on the stream of a table counts that is copied again: whoever commits before it is seen by every
//! snapshot taken after it, and whoever commits at or after it wrote to the table as it is now.
//!
//! A commit can be decoded before it is visible, so that no position read at any moment will do. It is read under a lock that
//! no writer of the table can hold beside it, and that a writer gives back only when its commit is visible: there is none then
//! whose commit record stands before the position and who is not visible, and no DDL in between either.

use std::time::Duration;

use rand::Rng;

use super::context::Run;
use super::fence::{self, is_lock_trouble};
use super::lock_holders::{conflicting, in_the_way};
use super::table::TableTask;
use super::witness::{self, Witness};
use super::{ExecError, admission, copy, published, snapshots};
use crate::catalog::QualifiedName;
use crate::pg::client::Client;
use crate::pg::introspect;
use crate::replay::Lsn;
use crate::sql;

/// Attempts to get the lock. Writers wait at most for one of them at a time.
const ATTEMPTS_MAX: u32 = 30;
/// What is looked at under the lock takes milliseconds; whatever keeps it longer, writers do not wait for it.
const LOOK: Duration = Duration::from_secs(2);
/// Looks at the flushed position after a commit that flushes.
const FLUSHED_LOOKS: u32 = 100;

/// What was seen under the lock.
#[derive(Debug)]
pub struct Point {
    /// From here on changes count.
    pub lsn: Lsn,
    /// The source's timeline.
    pub timeline: u32,
    /// The tables, by source name.
    pub witnesses: Vec<(QualifiedName, Witness)>,
}

/// Proves that the tables are as the plan has them, locks them for a moment, and reads the position.
///
/// # Errors
/// [`ExecError::Stale`] when a table is not what the plan says; a step error when the lock cannot be had.
pub async fn find(run: &Run, source: &Client, tasks: &[TableTask]) -> Result<Point, ExecError> {
    let mut names: Vec<QualifiedName> = tasks.iter().map(|task| task.source_name().clone()).collect();
    names.sort();
    names.dedup();
    let wait = fence::lock_wait(source).await?;
    for attempt in 1..=ATTEMPTS_MAX {
        run.stop_check()?;
        // To queue behind a vacuum or an index build would stop writers, and end in nothing.
        if conflicting(source, &names).await?.is_empty() {
            let error = match look(run, source, tasks, &names, wait).await {
                Ok(point) => {
                    wait_flushed(run, source, point.lsn).await?;
                    return Ok(point);
                }
                Err(error) => error,
            };
            source.batch_execute("ROLLBACK").await.map_err(ExecError::source("give up the lock"))?;
            if !is_lock_trouble(&error) {
                return Err(error);
            }
        }
        if attempt % 5 == 1 {
            let who = in_the_way(source, &names).await?;
            run.waiting(format!("the tables that are copied again cannot be locked yet: {who}"));
        }
        let rest = wait * 5 + Duration::from_millis(rand::rng().random_range(0..300));
        run.sleep(rest).await?;
    }
    let who = in_the_way(source, &names).await?;
    Err(ExecError::Step {
        step: "adopt".to_owned(),
        reason: format!(
            "the tables that are copied again could not be locked in {ATTEMPTS_MAX} attempts: {who}; nothing was changed"
        ),
    })
}

async fn look(
    run: &Run,
    source: &Client,
    tasks: &[TableTask],
    names: &[QualifiedName],
    wait: Duration,
) -> Result<Point, ExecError> {
    // All of it takes time, so before the lock; under it only whether anything has happened since.
    let before = witnesses(source, tasks, names).await?;
    as_planned(run, source, names).await?;
    let doing = || ExecError::source("lock the tables that are copied again");
    let begin = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = local; \
         SET LOCAL idle_in_transaction_session_timeout = '5s'; SET LOCAL statement_timeout = {}",
        wait.as_millis()
    );
    source.batch_execute(&begin).await.map_err(doing())?;
    let list = sql::fence::listed(names, &run.plan.partitioned());
    // A message of its own: older servers arm the timeout only for the next one.
    source.batch_execute(&format!("LOCK TABLE {list} IN SHARE MODE")).await.map_err(doing())?;
    let limit = format!("SET LOCAL statement_timeout = {}", LOOK.as_millis());
    source.batch_execute(&limit).await.map_err(doing())?;
    let inside = async {
        published::check(run, source).await?;
        let witnesses = witnesses(source, tasks, names).await?;
        if let Some((_, (table, _))) = before.iter().zip(&witnesses).find(|(before, now)| !before.1.is_same(&now.1)) {
            let difference = "it was altered while it was looked at; try again".to_owned();
            return Err(ExecError::Stale { what: table.to_string(), difference });
        }
        copy::check_shapes(source, &tasks.iter().collect::<Vec<_>>()).await?;
        let lsn = snapshots::write_position(source).await?;
        // Flushes the log up to behind the position when it commits.
        let message = "SELECT pg_catalog.pg_logical_emit_message(true, 'pcrd', 'restart')";
        source.query(message, &[]).await.map_err(doing())?;
        Ok((lsn, witnesses))
    };
    let Ok(looked) = tokio::time::timeout(LOOK, inside).await else {
        let reason = "the source took too long to be looked at under the lock; try again, nothing was changed";
        return Err(ExecError::Step { step: "adopt".to_owned(), reason: reason.to_owned() });
    };
    let (lsn, witnesses) = looked?;
    source.batch_execute("COMMIT").await.map_err(doing())?;
    let timeline = run.identities.as_ref().and_then(|identities| identities.source.timeline);
    let timeline = timeline.ok_or_else(|| ExecError::Stale {
        what: "source server".to_owned(),
        difference: "it is a standby".to_owned(),
    })?;
    Ok(Point { lsn, timeline, witnesses })
}

async fn witnesses(
    source: &Client,
    tasks: &[TableTask],
    names: &[QualifiedName],
) -> Result<Vec<(QualifiedName, Witness)>, ExecError> {
    let task = |name: &QualifiedName| tasks.iter().find(|task| task.source_name() == name).ok_or_else(|| gone(name));
    let tasks: Vec<&TableTask> = names.iter().map(task).collect::<Result<_, _>>()?;
    let mut witnesses = Vec::new();
    for (name, seen) in names.iter().zip(Witness::of_all(source, &tasks).await?) {
        witnesses.push((name.clone(), seen.ok_or_else(|| gone(name))?));
    }
    Ok(witnesses)
}

fn gone(table: &QualifiedName) -> ExecError {
    ExecError::Stale { what: table.to_string(), difference: "it is gone from the source".to_owned() }
}

async fn as_planned(run: &Run, source: &Client, names: &[QualifiedName]) -> Result<(), ExecError> {
    let found = introspect::tables(source, names).await?;
    for name in names {
        let planned = run.plan.source.tables.get(name).ok_or_else(|| gone(name))?;
        let now = found.tables.get(name).ok_or_else(|| gone(name))?;
        let difference = admission::drift(planned, &now.structure());
        if !difference.is_empty() {
            return Err(ExecError::Stale { what: name.to_string(), difference });
        }
    }
    Ok(())
}

/// A position that the source could lose in a crash would be given to another commit.
async fn wait_flushed(run: &Run, source: &Client, lsn: Lsn) -> Result<(), ExecError> {
    for _ in 0..FLUSHED_LOOKS {
        if snapshots::flushed(source).await? >= lsn {
            return Ok(());
        }
        run.sleep(Duration::from_millis(50)).await?;
    }
    Err(ExecError::Step { step: "adopt".to_owned(), reason: format!("the source has not flushed its log up to {lsn}") })
}

/// The witnesses as settings of the ledger.
///
/// # Errors
/// A witness that cannot be written.
pub fn settings(point: &Point) -> Result<Vec<(String, String)>, ExecError> {
    point.witnesses.iter().map(|(table, seen)| Ok((witness::setting_of(table), witness::text(seen)?))).collect()
}
