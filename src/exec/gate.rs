//! The operator gate: everything that must hold before the source is fenced.

use std::time::{Duration, Instant};

use super::ExecError;
use super::engine::Engine;
use super::event::EventKind;
use super::{added, left_out, snapshots, verify};
use crate::ledger::request;
use crate::pg::client::Client;

/// Waits until the gate opens, at most the plan's `lag_drain_timeout`.
pub async fn wait_open(engine: &mut Engine) -> Result<(), ExecError> {
    let began = Instant::now();
    let limit = Duration::from_secs(engine.run.plan.settings.lag_drain_timeout_s);
    // They do not go away by waiting.
    let differences = differences(&engine.ledger, &engine.run.id).await?;
    if !differences.is_empty() {
        return Err(ExecError::CutoverAborted { reason: differences.join("; ") });
    }
    left_out::say(&engine.run, &engine.ledger).await?;
    added::say(&engine.run, &engine.ledger).await?;
    loop {
        let blocked_by = look(engine).await?;
        engine.run.emit(None, EventKind::Gate { ready: blocked_by.is_empty(), blocked_by: blocked_by.clone() });
        if blocked_by.is_empty() {
            return Ok(());
        }
        if began.elapsed() > limit {
            return Err(ExecError::CutoverAborted {
                reason: format!("not ready within {} s: {}", limit.as_secs(), blocked_by.join("; ")),
            });
        }
        engine.run.sleep(Duration::from_millis(200)).await?;
    }
}

/// What keeps the gate shut; nothing when it is open.
pub async fn look(engine: &Engine) -> Result<Vec<String>, ExecError> {
    let mut blocked_by = differences(&engine.ledger, &engine.run.id).await?;
    let now = snapshots::write_position(&engine.source).await?;
    let lag = now.0.saturating_sub(engine.shared.applied().0);
    let threshold = engine.run.plan.settings.lag_threshold_bytes;
    if lag > threshold {
        engine.shared.want(now);
        blocked_by.push(format!("the stream is {lag} bytes behind; the threshold is {threshold}"));
    }
    Ok(blocked_by)
}

/// What the last comparison found. Rows that were not written since are not compared at the fence.
pub async fn differences(ledger: &Client, id: &str) -> Result<Vec<String>, ExecError> {
    let query = "SELECT tbl, differences FROM pcrd.verified WHERE migration = $1 AND differences > 0 ORDER BY tbl";
    let rows = ledger.query(query, &[&id]).await.map_err(ExecError::target("read what was compared"))?;
    let say = |table: String, count: i64| {
        format!("the last comparison of {table} found {count} difference(s): mend the target, then run pcrd verify")
    };
    Ok(rows.iter().map(|row| say(row.get(0), row.get(1))).collect())
}

/// Keeps the target up to date until somebody asks for the cutover.
pub async fn wait_for_request(engine: &mut Engine) -> Result<request::Request, ExecError> {
    left_out::say(&engine.run, &engine.ledger).await?;
    added::say(&engine.run, &engine.ledger).await?;
    let mut said = None;
    loop {
        let blocked_by = look(engine).await?;
        let ready = blocked_by.is_empty();
        if said != Some(ready) {
            engine.run.emit(None, EventKind::Gate { ready, blocked_by });
            said = Some(ready);
        }
        tokio::select! {
            asked = engine.cutovers.recv() => {
                // Who sent them has ended, and its own error ends the run.
                let Some(asked) = asked else { return std::future::pending().await };
                if asked.kind == "verify" {
                    let wish = match verify::Wish::of_request(asked.argument.as_deref()) {
                        Ok(wish) => wish,
                        Err(why) => {
                            request::end(&engine.ledger, asked.id, false, &why).await?;
                            continue;
                        }
                    };
                    let report = match verify::answer(engine, &wish).await {
                        Err(error @ ExecError::NoMoment { .. }) => {
                            request::end(&engine.ledger, asked.id, false, &error.to_string()).await?;
                            continue;
                        }
                        other => other?,
                    };
                    let text = serde_json::to_string(&report).expect("a report is JSON");
                    request::end(&engine.ledger, asked.id, report.passed, &text).await?;
                    continue;
                }
                match wait_open(engine).await {
                    Err(ExecError::CutoverAborted { reason }) => {
                        request::end(&engine.ledger, asked.id, false, &reason).await?;
                    }
                    other => {
                        other?;
                        return Ok(asked);
                    }
                }
            }
            slept = engine.run.sleep(Duration::from_secs(1)) => slept?,
        }
    }
}
