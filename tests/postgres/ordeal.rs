//! What a migration under random writers must live through.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::migration::Migration;
use crate::writers::Writers;

const THROUGH: &[&str] = &["--json", "apply", "plan.json", "--yes", "--through", "cutover"];

/// What a migration has met on its way.
pub struct Survived {
    /// Of all its processes but the killed one.
    pub counters: BTreeMap<String, u64>,
    /// Of the writers.
    pub commits: u64,
}

/// Kills a slow copy, lets the next process go on until the writers have made that many commits more, and cuts over under
/// them. `halfway` is done once in between.
pub async fn survive(
    migration: &Migration,
    all: Vec<Writers>,
    commits: u64,
    halfway: impl Future<Output = ()>,
) -> Survived {
    let made = || all.iter().map(|writers| writers.commits.load(Ordering::Relaxed)).sum::<u64>();
    let mut first = migration.start(&["--json", "apply", "plan.json", "--yes"], "");
    first.wait_for("step_progress");
    tokio::time::sleep(Duration::from_secs(1)).await;
    first.kill();
    let (before, began) = (made(), Instant::now());
    let second = migration.start(&["--json", "apply", "plan.json", "--yes"], "");
    let mut halfway = Some(halfway);
    while made() < before + commits || began.elapsed() < Duration::from_secs(3) {
        assert!(began.elapsed() < Duration::from_secs(150), "the writers are too slow");
        tokio::time::sleep(Duration::from_millis(50)).await;
        if made() > before + commits / 2
            && let Some(once) = halfway.take()
        {
            once.await;
        }
    }
    all.iter().for_each(Writers::slow_down);
    let stopped = tokio::task::block_in_place(|| second.interrupt());
    assert_eq!(stopped.code, Some(6), "{}\n{}", stopped.lines.join("\n"), stopped.stderr);
    let said = tokio::task::block_in_place(|| migration.cut_over(""));
    said.assert_switched();
    let mut survived = Survived { counters: stopped.counters(), commits: 0 };
    for (name, value) in said.counters() {
        *survived.counters.entry(name).or_insert(0) += value;
    }
    for writers in all {
        survived.commits += writers.stop().await;
    }
    tokio::task::block_in_place(|| migration.ok(&["verify"]));
    survived
}

/// Dies at a failpoint, and goes on through the cutover.
#[track_caller]
pub fn die_and_go_on(migration: &Migration, point: &str, times: &str) {
    let dies = migration.start(THROUGH, &format!("{point}={times}return(kill)"));
    let said = tokio::task::block_in_place(|| dies.finish());
    assert_eq!(said.code, None, "{point}: {}\n{}", said.lines.join("\n"), said.stderr);
    let said = tokio::task::block_in_place(|| migration.start(THROUGH, "").finish());
    said.assert_switched();
    println!("{point}: {:?}", said.counters());
}
