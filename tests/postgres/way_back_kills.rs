//! A server, or both, crash at each arrow of a rollback: never do both ends take writes, and the same command again ends it.
//! `PCRD_FULL=1` crashes each server at each arrow.

use crate::stage::Stage;
use crate::support::{TestPair, connect_to, run};
use crate::way_back::{assert_code, assert_rolled_back, refusal, stage, switched, wait};

/// A point of the rollback, and what says that it is reached: on the target or the source.
const ARROWS: [(&str, End, &str); 6] = [
    ("back.begin", End::Target, "SELECT state = 'rolling_back' FROM pcrd.way_back"),
    ("back.after-fence", End::Target, "SELECT fence_lsn IS NOT NULL FROM pcrd.way_back"),
    ("back.after-drained", End::Source, "SELECT coalesce((SELECT state = 'drained' FROM pcrd.cutover), false)"),
    ("back.after-sequences", End::Source, "SELECT coalesce((SELECT state = 'sequences_set' FROM pcrd.cutover), false)"),
    ("back.after-permanent", End::Target, "SELECT until = 'infinity' FROM pcrd.fence"),
    ("back.after-open", End::Source, "SELECT count(*) = 0 FROM pcrd.fence"),
];

#[derive(Clone, Copy, Debug)]
enum End {
    Source,
    Target,
}

/// With these servers.
#[derive(Clone, Copy, Debug)]
struct Crash {
    source: bool,
    target: bool,
    /// And the executor.
    executor: bool,
}

const CRASHES: [Crash; 4] = [
    Crash { source: true, target: false, executor: false },
    Crash { source: false, target: true, executor: false },
    Crash { source: true, target: true, executor: false },
    Crash { source: true, target: true, executor: true },
];

/// The source is looked at first: what it takes then, the target has not taken since before.
async fn assert_not_both(stage: &Stage, at: &str) {
    let source = refusal(&stage.source, "UPDATE items SET n = n WHERE false").await;
    let target = refusal(&stage.target, "UPDATE items SET count = count WHERE false").await;
    assert!(source.is_some() || target.is_some(), "{at}: both ends take writes");
}

async fn crash_at(pair: &mut TestPair, (point, end, reached): (&str, End, &str), crash: Crash, number: usize) {
    let at = format!("{point} {crash:?}");
    let mut stage = stage(pair, &format!("kills_{number}")).await;
    let running = switched(&stage);
    assert_code(&tokio::task::block_in_place(|| running.interrupt()), Some(6));
    run(
        &stage.target,
        "INSERT INTO items (id, count, price) VALUES (100, 1, 1); UPDATE items SET count = 5 WHERE id < 20",
    )
    .await;
    let rollback = stage.migration.start(&["rollback", "--yes"], &format!("{point}=1*sleep(3000)"));
    match end {
        End::Source => stage.until_source(reached).await,
        End::Target => stage.until_target(reached).await,
    }
    let mut rollback = Some(rollback);
    if crash.executor {
        tokio::task::block_in_place(|| rollback.take().unwrap().kill());
    }
    if crash.source {
        pair.source.kill_immediate().unwrap();
    }
    if crash.target {
        pair.target.kill_immediate().unwrap();
    }
    if crash.source {
        pair.source.resume().unwrap();
    }
    if crash.target {
        pair.target.resume().unwrap();
    }
    stage.source = connect_to(&pair.source, &stage.name).await;
    stage.target = connect_to(&pair.target, &stage.name).await;
    assert_not_both(&stage, &at).await;
    let code = rollback.and_then(|rollback| wait(rollback).code);
    assert_not_both(&stage, &at).await;
    println!("{at}: ended with {code:?}");
    if code != Some(0) {
        let said = wait(stage.migration.start(&["rollback", "--yes"], ""));
        assert_code(&said, Some(0));
    }
    assert_rolled_back(&stage).await;
    stage.migration.ok(&["cleanup", "--yes"]);
}

async fn crash_at_each(from: usize, until: usize) {
    let mut pair = TestPair::durable(15, 17);
    let is_full = std::env::var_os("PCRD_FULL").is_some();
    for (at, arrow) in ARROWS.into_iter().enumerate().filter(|(at, _)| (from..until).contains(at)) {
        for (with, crash) in CRASHES.into_iter().enumerate() {
            // Each arrow with one of the first three, and with all of them at once.
            if is_full || with == 3 || with == at % 3 {
                crash_at(&mut pair, arrow, crash, at * CRASHES.len() + with).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_crash_before_the_decision() {
    crash_at_each(0, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_crash_behind_the_decision() {
    crash_at_each(4, ARROWS.len()).await;
}
