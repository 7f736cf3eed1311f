//! A server, or both, or pcrd crashes at each arrow of a rollback: never do both ends take writes; where nothing is decided the target
//! takes them again by itself, also when pcrd never comes back; and the same command again ends it.
//! `PCRD_FULL=1` crashes each server at each arrow.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::crash::{Arrow, Crash, End, chosen};
use crate::stage::Stage;
use crate::support::{TestPair, run, text};
use crate::way_back::{TOUCH_SOURCE, TOUCH_TARGET, assert_code, assert_rolled_back, left_open, refusal, stage, wait};

/// The lease, and what a busy machine adds.
const OPEN_AGAIN: Duration = Duration::from_secs(60);

/// A point of the rollback, and what says that it is reached: on the target or the source.
const ARROWS: [Arrow; 6] = [
    ("back.begin", End::Target, "SELECT state = 'rolling_back' FROM pcrd.way_back"),
    ("back.after-fence", End::Target, "SELECT fence_lsn IS NOT NULL FROM pcrd.way_back"),
    ("back.after-drained", End::Source, "SELECT coalesce((SELECT state = 'drained' FROM pcrd.cutover), false)"),
    ("back.after-sequences", End::Source, "SELECT coalesce((SELECT state = 'sequences_set' FROM pcrd.cutover), false)"),
    ("back.after-permanent", End::Target, "SELECT until = 'infinity' FROM pcrd.fence"),
    ("back.after-open", End::Source, "SELECT until = '-infinity' FROM pcrd.fence"),
];

/// The source is looked at first: what it takes then, the target has not taken since before.
async fn assert_not_both(stage: &Stage, at: &str) {
    let source = refusal(&stage.source, TOUCH_SOURCE).await;
    let target = refusal(&stage.target, TOUCH_TARGET).await;
    assert!(source.is_some() || target.is_some(), "{at}: both ends take writes");
}

/// With nobody to help it.
async fn assert_alone(stage: &Stage, at: &str) {
    let decided = "SELECT count(*) > 0 FROM pcrd.fence WHERE until = 'infinity'";
    if text(&stage.target, "SELECT to_regclass('pcrd.fence') IS NOT NULL").await == "t"
        && text(&stage.target, decided).await == "t"
    {
        return;
    }
    let began = Instant::now();
    while refusal(&stage.target, TOUCH_TARGET).await.is_some() {
        assert!(began.elapsed() < OPEN_AGAIN, "{at}: nothing is decided, and the target takes no writes");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(refusal(&stage.source, TOUCH_SOURCE).await.is_some(), "{at}: the source takes writes");
}

async fn crash_at(pair: &mut TestPair, (point, end, reached): Arrow, crash: Crash, number: usize) {
    let at = format!("{point} {crash:?}");
    let mut stage = stage(pair, &format!("kills_{number}")).await;
    left_open(&stage);
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
    let rollback = crash.strike(pair, &mut stage, rollback).await;
    assert_not_both(&stage, &at).await;
    let code = match rollback {
        Some(rollback) => wait(rollback).code,
        None => {
            assert_alone(&stage, &at).await;
            None
        }
    };
    assert_not_both(&stage, &at).await;
    println!("{at}: ended with {code:?}");
    if code != Some(0) {
        let said = wait(stage.migration.start(&["rollback", "--yes"], ""));
        assert_code(&said, Some(0));
    }
    assert_rolled_back(&stage).await;
    stage.migration.ok(&["cleanup", "--yes"]);
}

async fn crash_at_each(places: Range<usize>) {
    let mut pair = TestPair::durable(15, 17);
    // Each arrow with one of the first three, and with all of them at once; the executor alone on both sides of the decision.
    let shortened = |at, with| with == 3 || with == at % 3 || (with == 4 && [2, 4].contains(&at));
    for (arrow, crash, number) in chosen(&ARROWS, places, shortened) {
        crash_at(&mut pair, arrow, crash, number).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_crash_before_the_decision() {
    crash_at_each(0..4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_crash_behind_the_decision() {
    crash_at_each(4..ARROWS.len()).await;
}
