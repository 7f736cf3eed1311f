//! The process dies at a failpoint; the same command again ends with the target equal to the source.

use crate::migration::Migration;
use crate::support::{TestPair, connect_to, run, sorted_copy, text};
use crate::writers::{BY_BLOCKS, INT, KEYLESS, KeyKind, PARTITIONED, SPLIT_UP, Writers};
use pcrd::exec::failpoint;

fn rows(kind: KeyKind) -> u32 {
    if kind.has_key { 3_000 } else { 500 }
}

async fn die_and_go_on(kind: KeyKind, points: &[&str]) {
    for point in points {
        let pair = TestPair::start(15, 15);
        let source = connect_to(&pair.source, "postgres").await;
        run(&source, &kind.ddl(rows(kind))).await;
        run(&source, "CREATE INDEX items_n ON items (n); ALTER TABLE items ADD COLUMN s serial; ALTER TABLE items ADD CHECK (n > -2)")
            .await;
        let migration =
            Migration::new(&pair, &kind.yaml(), "  batch_size: 200\n  workers: 2\n  lag_threshold_bytes: 33554432");
        migration.plan();
        // A stream that is never idle does not reach the point of an idle one.
        let idle = *point == "apply.idle-advance";
        let count = if idle {
            0
        } else if kind.has_key {
            3
        } else {
            1
        };
        let writers = Writers::start(&pair, kind, rows(kind), count, false).await;
        // The second time that the point is reached, where it is reached often: then there is something to lose.
        let often = kind.has_key && (point.starts_with("chunk.") || point.starts_with("apply."));
        let times = if often { "2*off->" } else { "" };
        let said = tokio::task::block_in_place(|| migration.cut_over(&format!("{point}={times}return(kill)")));
        assert_ne!(said.code, Some(0), "{point} was never reached: {}\n{}", said.lines.join("\n"), said.stderr);
        assert_ne!(said.code, Some(1), "{point}: {}", said.stderr);
        let said = tokio::task::block_in_place(|| migration.cut_over(""));
        if said.code != Some(0) {
            // Died after everything was decided: the plan is finished.
            assert!(said.stderr.contains("is finished"), "{point}: {}\n{}", said.lines.join("\n"), said.stderr);
        }
        writers.stop().await;
        let target = connect_to(&pair.target, "postgres").await;
        let left = sorted_copy(&source, &kind.source_query()).await;
        assert!(left == sorted_copy(&target, &kind.target_query()).await, "{point}: source and target differ");
        let fenced = source.batch_execute("DELETE FROM items").await.unwrap_err();
        assert_eq!(fenced.code().unwrap().code(), "25006", "{point}: the source takes writes after the switch");
        println!("{point}: {} bytes equal", left.len());
    }
}

#[test]
fn every_point_has_a_test() {
    let elsewhere = ["setup.after-whole-table", "apply.idle-advance"];
    let families = ["partitions.", "setup.", "step.", "lanes.", "chunk.", "apply.", "verify.", "cutover."];
    let in_whole = ["whole.after-empty", "whole.after-piece", "whole.before-done"];
    for point in failpoint::ALL {
        let here = families.iter().any(|family| point.starts_with(family)) || elsewhere.contains(point);
        // Those of the removals are in `cleanup`, those of new columns in `additive`, of copies in pieces in `whole`, of a new plan
        // in `adopt`.
        // Those of a repair are in `repair`, of a moment of both ends in `verify_moment`.
        // Those of new partitions are in `same_partitions`.
        // Those of owners and grants are in `owners_and_grants` and `given_rights`.
        // Those of the operator's programs are in `hooks`, of the pooler in `pgbouncer`, of the way back in `way_back`,
        // `way_back_hooks`, `way_back_pgbouncer` and `way_back_kills`,
        // of the other names in `rename_fence`.
        let of_another = [
            "cleanup.",
            "added.",
            "adopt.",
            "hook.",
            "moment.",
            "pooler.",
            "repair.",
            "back.",
            "rename.",
            "rights.",
            "target-partitions.",
        ]
        .iter()
        .any(|family| point.starts_with(family));
        assert!(here || of_another || in_whole.contains(point), "{point} is in no test");
    }
}

/// Points that a whole run of the table passes; the others have tests of their own.
fn points(filter: impl Fn(&str) -> bool) -> Vec<&'static str> {
    failpoint::ALL.iter().copied().filter(|point| filter(point)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_during_setup() {
    die_and_go_on(INT, &points(|point| point.starts_with("setup.") && point != "setup.after-whole-table")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_the_lanes_are_cut_and_before_verification() {
    die_and_go_on(INT, &points(|point| point.starts_with("lanes.") || point.starts_with("verify."))).await;
}

/// Each run gets past the step at which the one before died, and dies at the next.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_step() {
    for point in points(|point| point.starts_with("step.")) {
        let pair = TestPair::start(15, 15);
        let source = connect_to(&pair.source, "postgres").await;
        run(&source, &INT.ddl(rows(INT))).await;
        run(
            &source,
            "CREATE INDEX items_n ON items (n); ALTER TABLE items ADD COLUMN s serial; ALTER TABLE items ADD CHECK (n > -2)",
        )
        .await;
        let migration = Migration::new(&pair, &INT.yaml(), "  vacuum: true\n  lag_threshold_bytes: 33554432");
        migration.plan();
        let writers = Writers::start(&pair, INT, rows(INT), 2, false).await;
        let target = connect_to(&pair.target, "postgres").await;
        let (mut died, mut passes) = (Vec::new(), 0);
        loop {
            let failpoints = format!("{point}={passes}*off->return(kill)");
            let said = tokio::task::block_in_place(|| migration.cut_over(&failpoints));
            if said.code == Some(0) {
                break;
            }
            assert_eq!(said.code, None, "{point}, {died:?}: {}\n{}", said.lines.join("\n"), said.stderr);
            let step = text(&target, "SELECT step FROM pcrd.step ORDER BY started_at DESC, step LIMIT 1").await;
            // Several steps may be started together, and are started together again.
            passes = if died.last() == Some(&step) { passes + 1 } else { 1 };
            died.push(step);
            assert!(died.len() < 100, "{point}: no progress, {died:?}");
        }
        writers.stop().await;
        println!("{point}: died at {died:?}");
        // Copy and stream are started together.
        for kind in ["create_publication", "create_table", "create_index", "vacuum", "stream", "set_default"] {
            assert!(died.iter().any(|step| step.starts_with(kind)), "{point}: never died at {kind}: {died:?}");
        }
        let left = sorted_copy(&source, &INT.source_query()).await;
        assert!(left == sorted_copy(&target, &INT.target_query()).await, "{point}: source and target differ");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_during_a_chunk() {
    die_and_go_on(INT, &points(|point| point.starts_with("chunk."))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_applying() {
    die_and_go_on(INT, &points(|point| point.starts_with("apply.") && point != "apply.idle-advance")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_during_the_cutover() {
    die_and_go_on(INT, &points(|point| point.starts_with("cutover."))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_a_table_without_a_key_is_copied() {
    die_and_go_on(KEYLESS, &["setup.after-slot", "setup.after-whole-table", "chunk.before-commit"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_a_table_is_copied_by_blocks() {
    die_and_go_on(BY_BLOCKS, &["setup.after-slot", "setup.after-whole-table", "lanes.after-layout"]).await;
    die_and_go_on(BY_BLOCKS, &points(|point| point.starts_with("apply.") && point != "apply.idle-advance")).await;
}

/// Between two triggers, in the copy, while changes of rows that move between partitions are applied, and behind the fence.
#[tokio::test(flavor = "multi_thread")]
async fn killed_with_a_partitioned_source() {
    die_and_go_on(PARTITIONED, &points(|point| point.starts_with("partitions."))).await;
    let others = ["setup.after-publication", "chunk.before-commit", "apply.before-commit", "cutover.after-fence"];
    die_and_go_on(PARTITIONED, &others).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_with_the_same_partitions() {
    let points = [
        "step.after-effect",
        "chunk.mid-copy",
        "chunk.before-commit",
        "apply.mid-transaction",
        "apply.before-commit",
        "cutover.after-fence",
    ];
    die_and_go_on(SPLIT_UP, &points).await;
}

/// Only the rest of the server is busy: the position moves on without a change of ours.
#[tokio::test(flavor = "multi_thread")]
async fn killed_while_an_idle_stream_moves_on() {
    let pair = TestPair::start(15, 15);
    let source = connect_to(&pair.source, "postgres").await;
    run(&source, &INT.ddl(rows(INT))).await;
    run(&source, "CREATE TABLE noise (n integer)").await;
    let migration = Migration::new(&pair, &INT.yaml(), "");
    migration.plan();
    let noise = tokio::spawn(async move {
        while source.batch_execute("INSERT INTO noise VALUES (1)").await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    });
    let said = tokio::task::block_in_place(|| {
        migration.start(&["--json", "apply", "plan.json", "--yes"], "apply.idle-advance=return(kill)").wait()
    });
    assert_eq!(said.code, None, "it did not die: {}\n{}", said.lines.join("\n"), said.stderr);
    let said = tokio::task::block_in_place(|| migration.cut_over(""));
    said.assert_switched();
    noise.abort();
    let (source, target) = (connect_to(&pair.source, "postgres").await, connect_to(&pair.target, "postgres").await);
    let left = sorted_copy(&source, &INT.source_query()).await;
    assert!(left == sorted_copy(&target, &INT.target_query()).await, "source and target differ");
}
