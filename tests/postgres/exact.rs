//! The target is the source, row for row, after random writes during everything: for every kind of key, with commits
//! that become visible late, and with a kill in the middle. With a rule switched off it must not be.

use std::collections::BTreeMap;

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
    counters: BTreeMap<String, u64>,
    commits: u64,
    said: Said,
}

struct Lane {
    majors: (u32, u32),
    kind: KeyKind,
    delayed: bool,
    kill: bool,
    rows_per_second: u32,
    failpoints: &'static str,
}

async fn migrate_under_writes(lane: &Lane) -> Compared {
    let Lane { majors, kind, delayed, kill, rows_per_second, failpoints } = *lane;
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
    let mut resumed = 0;
    if kill {
        let mut first = migration.start(&["--json", "apply", "plan.json", "--yes"], failpoints);
        first.wait_for("step_progress");
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        first.kill();
        resumed = 1;
    }
    let said = tokio::task::block_in_place(|| migration.cut_over(failpoints));
    let commits = writers.stop().await;
    let target = connect_to(&pair.target, "postgres").await;
    let left = sorted_copy(&source, &kind.source_query()).await;
    let equal = said.code == Some(0) && left == sorted_copy(&target, &kind.target_query()).await;
    let mut counters = said.counters();
    counters.insert("kills".to_owned(), resumed);
    let detail = format!(
        "{} on {}→{}, delayed {delayed}, killed {kill}: {} bytes compared, {commits} commits, {counters:?}",
        kind.name,
        majors.0,
        majors.1,
        left.len()
    );
    println!("{detail}");
    Compared { equal, detail, counters, commits, said }
}

#[track_caller]
fn assert_equal(compared: &Compared) {
    compared.said.assert_switched();
    assert!(compared.equal, "source and target differ: {}", compared.detail);
}

fn lane(kind: KeyKind) -> Lane {
    Lane { majors: (15, 15), kind, delayed: true, kill: false, rows_per_second: 1_500, failpoints: "" }
}

#[tokio::test(flavor = "multi_thread")]
async fn int_key_with_late_visibility_and_a_kill() {
    let compared = migrate_under_writes(&Lane { kill: true, rows_per_second: 700, ..lane(writers::INT) }).await;
    assert_equal(&compared);
    assert!(compared.commits >= 5_000, "too few commits: {}", compared.detail);
    for counter in [
        "transactions",
        "discarded",
        "skipped",
        "applied_over_chunk",
        "gate_waits",
        "barrier_waits",
        "key_changes_across",
        "rereads",
        "chunks_resumed",
    ] {
        assert!(compared.counters[counter] > 0, "{counter} never happened: {}", compared.detail);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bigint_key() {
    assert_equal(&migrate_under_writes(&lane(writers::BIGINT)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn uuid_key() {
    assert_equal(&migrate_under_writes(&lane(writers::UUID)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn text_key_in_collation_c() {
    assert_equal(&migrate_under_writes(&lane(writers::TEXT)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn composite_key() {
    assert_equal(&migrate_under_writes(&lane(writers::COMPOSITE)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn key_in_another_collation() {
    assert_equal(&migrate_under_writes(&lane(writers::COLLATED)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key() {
    assert_equal(&migrate_under_writes(&lane(writers::KEYLESS)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_oldest_to_the_newest_major() {
    assert_equal(&migrate_under_writes(&Lane { majors: (10, 18), ..lane(writers::INT) }).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn from_13_to_17() {
    assert_equal(&migrate_under_writes(&Lane { majors: (13, 17), ..lane(writers::COMPOSITE) }).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_major() {
    assert_equal(&migrate_under_writes(&Lane { majors: (18, 18), ..lane(writers::INT) }).await);
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
        let found = ["strict apply", "the target refuses", "verification found", "differ"];
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
