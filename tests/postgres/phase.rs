//! Runs a migration up to a phase, lets something happen there, and lets the run go on to wherever it goes.

use std::future::Future;
use std::time::Duration;

use crate::migration::Said;
use crate::stage::Stage;
use crate::support::{TestPair, connect_to, run};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Phase {
    Planned,
    Slot,
    Chunk,
    Streaming,
    Verifying,
    Fenced,
}

/// Keeps the run from writing to a table of the ledger, until COMMIT: the phase cannot end before the change is made.
async fn hold(pair: &TestPair, stage: &Stage, table: &str) -> tokio_postgres::Client {
    let holder = connect_to(&pair.target, &stage.name).await;
    run(&holder, &format!("BEGIN; LOCK TABLE pcrd.{table} IN SHARE MODE")).await;
    holder
}

/// Makes the change in the phase. While changes are streamed, somebody who does not notice it there has the time until the
/// cutover, which is asked for until the run ends.
pub async fn change_in(phase: Phase, pair: &TestPair, stage: &Stage, change: impl Future<Output = ()>) -> Said {
    let (mut running, holder) = match phase {
        Phase::Planned => {
            change.await;
            return stage.cut_over();
        }
        Phase::Slot => {
            let running = stage.start_through("setup.after-progress=sleep(1500)");
            stage.until_target("SELECT count(*) > 0 FROM pcrd.progress").await;
            (running, Some(hold(pair, stage, "lane").await))
        }
        Phase::Chunk => {
            let running = stage.start_through("chunk.after-commit=sleep(600)");
            stage.until_target("SELECT count(*) >= 2 FROM pcrd.chunk").await;
            let holder = stage.hold_chunks(pair).await;
            stage.until_held().await;
            (running, Some(holder))
        }
        Phase::Streaming => {
            let mut running = stage.start("");
            tokio::task::block_in_place(|| running.wait_for("\"gate\""));
            (running, None)
        }
        Phase::Verifying => {
            let running = stage.start_through("verify.begin=sleep(1500)");
            stage.until_target("SELECT count(*) > 0 FROM pcrd.step WHERE step LIKE 'verify%'").await;
            (running, Some(hold(pair, stage, "cutover").await))
        }
        Phase::Fenced => {
            let running = stage.start_through("cutover.after-drained=sleep(1500)");
            stage.until_target("SELECT count(*) > 0 FROM pcrd.cutover WHERE state = 'drained'").await;
            (running, Some(hold(pair, stage, "cutover").await))
        }
    };
    change.await;
    if let Some(holder) = holder {
        run(&holder, "COMMIT").await;
    }
    if phase == Phase::Streaming {
        // Whoever does not notice in the stream must notice at the cutover.
        for _ in 0..30 {
            tokio::time::sleep(Duration::from_millis(700)).await;
            if running.child.try_wait().unwrap().is_some() {
                break;
            }
            tokio::task::block_in_place(|| stage.migration.run(&["cutover", "--yes"]));
        }
    }
    tokio::task::block_in_place(|| running.finish())
}
