//! The target is the source, row for row, after random writes during everything: for every kind of key, with commits
//! that become visible late, and with a kill in the middle. With a rule switched off it must not be.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::migration::{Migration, Said};
use crate::support::{TestPair, connect_to, run, sorted_copy};
use crate::writers::{self, KeyKind, Writers};

/// Rows of the table at the start. A table without a key is scanned for every change of a row.
fn rows(kind: KeyKind) -> u32 {
    if kind.has_key { 12_000 } else { 600 }
}

/// How a run ended, compared without pcrd.
struct Compared {
    equal: bool,
    detail: String,
    said: Said,
}

struct Lane {
    majors: (u32, u32),
    kind: KeyKind,
    delayed: bool,
    rows_per_second: u32,
    failpoints: &'static str,
}

async fn migrate_under_writes(lane: &Lane) -> Compared {
    let Lane { majors, kind, delayed, rows_per_second, failpoints } = *lane;
    let pair = TestPair::start(majors.0, majors.1);
    let source = connect_to(&pair.source, "postgres").await;
    run(&source, &kind.ddl(rows(kind))).await;
    if delayed {
        writers::delay_visibility(&pair).await;
    }
    let more = format!(
        "  batch_size: 300\n  workers: 2\n  max_rows_per_second: {rows_per_second}\n  lag_threshold_bytes: 33554432"
    );
    let migration = Migration::new(&pair, &kind.yaml(), &more);
    // Planning reads while nothing is written, so that the plan itself is the same in every run.
    migration.plan();
    let writers = if kind.has_key { 6 } else { 1 };
    let writers = Writers::start(&pair, kind, rows(kind), writers, delayed).await;
    let said = tokio::task::block_in_place(|| migration.cut_over(failpoints));
    let commits = writers.stop().await;
    let target = connect_to(&pair.target, "postgres").await;
    let left = sorted_copy(&source, &kind.source_query()).await;
    let equal = said.code == Some(0) && left == sorted_copy(&target, &kind.target_query()).await;
    let counters = said.counters();
    let detail = format!(
        "{} on {}→{}, delayed {delayed}: {} bytes compared, {commits} commits, {counters:?}",
        kind.name,
        majors.0,
        majors.1,
        left.len()
    );
    println!("{detail}");
    Compared { equal, detail, said }
}

#[track_caller]
fn assert_equal(compared: &Compared) {
    compared.said.assert_switched();
    assert!(compared.equal, "source and target differ: {}", compared.detail);
}

fn lane(kind: KeyKind) -> Lane {
    Lane { majors: (15, 15), kind, delayed: true, rows_per_second: 1_500, failpoints: "" }
}

/// What a run must have met to count.
const MUST_HAPPEN: [&str; 9] = [
    "transactions",
    "discarded",
    "skipped",
    "applied_over_chunk",
    "gate_waits",
    "barrier_waits",
    "key_changes_across",
    "rereads",
    "chunks_resumed",
];
/// Commits of the writers, and how long they write during the copy.
const COMMITS: u64 = 5_000;
const WRITING: Duration = Duration::from_secs(20);

/// A copy that is slow on purpose, killed once, under writes until enough of everything has happened; then to the end.
async fn long_run(majors: (u32, u32), kind: KeyKind) {
    let pair = TestPair::start(majors.0, majors.1);
    let source = connect_to(&pair.source, "postgres").await;
    run(&source, &kind.ddl(rows(kind))).await;
    writers::delay_visibility(&pair).await;
    let more = "  batch_size: 300\n  workers: 2\n  max_rows_per_second: 300\n  lag_threshold_bytes: 33554432";
    let migration = Migration::new(&pair, &kind.yaml(), more);
    migration.plan();
    let writers = Writers::start(&pair, kind, rows(kind), 6, true).await;
    let began = Instant::now();
    let mut counters = BTreeMap::new();
    let mut count = |said: &Said| {
        for (name, value) in said.counters() {
            *counters.entry(name).or_insert(0) += value;
        }
    };
    let mut first = migration.start(&["--json", "apply", "plan.json", "--yes"], "");
    first.wait_for("step_progress");
    tokio::time::sleep(Duration::from_secs(2)).await;
    first.kill();
    let second = migration.start(&["--json", "apply", "plan.json", "--yes"], "");
    while writers.commits.load(Ordering::Relaxed) < COMMITS || began.elapsed() < WRITING {
        assert!(began.elapsed() < Duration::from_secs(180), "the writers are too slow");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    writers.slow_down();
    let stopped = tokio::task::block_in_place(|| {
        migration.ok(&["throttle", "--rows-per-second", "5000"]);
        second.interrupt()
    });
    assert_eq!(stopped.code, Some(6), "{}\n{}", stopped.lines.join("\n"), stopped.stderr);
    count(&stopped);
    let said = tokio::task::block_in_place(|| migration.cut_over(""));
    said.assert_switched();
    count(&said);
    let commits = writers.stop().await;
    let target = connect_to(&pair.target, "postgres").await;
    let left = sorted_copy(&source, &kind.source_query()).await;
    let detail = format!(
        "{} on {}→{}: {} bytes compared, {commits} commits in {:.0?}, {counters:?}",
        kind.name,
        majors.0,
        majors.1,
        left.len(),
        began.elapsed()
    );
    println!("{detail}");
    assert!(left == sorted_copy(&target, &kind.target_query()).await, "source and target differ: {detail}");
    // A table that is not copied by key is copied at once: nothing but the stream is left to meet.
    let by_key = kind.has_key && kind.options.is_empty();
    let must = if by_key { &MUST_HAPPEN[..] } else { &["transactions", "changes"] };
    for counter in must {
        assert!(counters[*counter] > 0, "{counter} never happened: {detail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn int_key_on_15() {
    long_run((15, 15), writers::INT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn int_key_on_18() {
    long_run((18, 18), writers::INT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bigint_key_on_15() {
    long_run((15, 15), writers::BIGINT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bigint_key_on_18() {
    long_run((18, 18), writers::BIGINT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uuid_key_on_15() {
    long_run((15, 15), writers::UUID).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uuid_key_on_18() {
    long_run((18, 18), writers::UUID).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn text_key_on_15() {
    long_run((15, 15), writers::TEXT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn text_key_on_18() {
    long_run((18, 18), writers::TEXT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn composite_key_on_15() {
    long_run((15, 15), writers::COMPOSITE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn composite_key_on_18() {
    long_run((18, 18), writers::COMPOSITE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_on_15() {
    long_run((15, 15), writers::KEYLESS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_on_18() {
    long_run((18, 18), writers::KEYLESS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_blocks_on_15() {
    long_run((15, 15), writers::BY_BLOCKS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_blocks_on_18() {
    long_run((18, 18), writers::BY_BLOCKS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_blocks_of_a_source_that_cannot_read_a_range() {
    assert_equal(&migrate_under_writes(&Lane { majors: (13, 17), ..lane(writers::BY_BLOCKS) }).await);
}

/// Rows that move between partitions, at two levels.
#[tokio::test(flavor = "multi_thread")]
async fn partitioned_on_15() {
    long_run((15, 15), writers::PARTITIONED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitioned_from_13_to_18() {
    assert_equal(&migrate_under_writes(&Lane { majors: (13, 18), ..lane(writers::PARTITIONED) }).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn key_in_another_collation() {
    assert_equal(&migrate_under_writes(&lane(writers::COLLATED)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_oldest_to_the_newest_major() {
    assert_equal(&migrate_under_writes(&Lane { majors: (10, 18), ..lane(writers::INT) }).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn from_13_to_17() {
    assert_equal(&migrate_under_writes(&Lane { majors: (13, 17), ..lane(writers::COMPOSITE) }).await);
}

/// Every pair of majors upwards; `PCRD_FULL=1` asks for it.
#[tokio::test(flavor = "multi_thread")]
async fn every_pair_of_majors() {
    let majors: &[u32] =
        if std::env::var_os("PCRD_FULL").is_some() { &[10, 11, 12, 13, 14, 15, 16, 17, 18] } else { &[17] };
    for source in majors {
        for target in majors.iter().filter(|target| *target >= source) {
            assert_equal(&migrate_under_writes(&Lane { majors: (*source, *target), ..lane(writers::INT) }).await);
        }
    }
}

/// The comparison must notice what the rules prevent, or it proves nothing.
async fn must_go_red(rule: &'static str) {
    for _ in 0..3 {
        let compared = migrate_under_writes(&Lane { failpoints: rule, ..lane(writers::INT) }).await;
        if compared.equal {
            continue;
        }
        // Red by this rule: rows differ, or the strict applier or the verification met a row that cannot be.
        let said = &compared.said;
        let found = ["strict apply", "the target refuses", "verification found", "differ", "duplicate key"];
        let by_the_rule = said.code == Some(0) || found.iter().any(|text| said.stderr.contains(text));
        assert!(by_the_rule, "{rule}: red for another reason: {}", said.stderr);
        return;
    }
    panic!("{rule}: the comparison found nothing in three runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_visibility_filter_it_goes_red() {
    must_go_red("rule.visibility-filter=return").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_barrier_it_goes_red() {
    must_go_red("rule.barrier=return").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_reread_it_goes_red() {
    must_go_red("rule.reread=return").await;
}
