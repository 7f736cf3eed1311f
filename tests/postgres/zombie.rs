//! An executor that was frozen and overtaken wakes up: it must not write anything any more.

use std::process::Command;
use std::time::Duration;

use crate::migration::{Migration, Running};
use crate::support::{TestPair, connect_to, run, sorted_copy};
use crate::writers::{INT, Writers};

const ROWS: u32 = 3_000;

fn signal(running: &Running, name: &str) {
    let sent = Command::new("kill").args([name, &running.child.id().to_string()]).status().unwrap();
    assert!(sent.success(), "{sent}");
}

/// What an administrator or a broken network does to the sessions of a machine that hangs.
async fn end_its_sessions(pair: &TestPair) {
    for cluster in [&pair.source, &pair.target] {
        let client = connect_to(cluster, "postgres").await;
        run(&client, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pcrd/%'")
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_executor_that_was_overtaken() {
    for after_the_switch in [false, true] {
        let pair = TestPair::start(15, 15);
        let source = connect_to(&pair.source, "postgres").await;
        run(&source, &INT.ddl(ROWS)).await;
        let more = "  batch_size: 100\n  workers: 2\n  max_rows_per_second: 400\n  lag_threshold_bytes: 33554432";
        let migration = Migration::new(&pair, &INT.yaml(), more);
        migration.plan();
        let writers = Writers::start(&pair, INT, ROWS, 2, false).await;
        let mut frozen = migration.start(&["--json", "apply", "plan.json", "--yes"], "");
        frozen.wait_for("step_progress");
        signal(&frozen, "-STOP");
        // Another machine has the files of the pull request, and no journal.
        let other = Migration::new(&pair, &INT.yaml(), more);
        std::fs::copy(migration.dir.path().join("plan.json"), other.dir.path().join("plan.json")).unwrap();
        // Its locks are its sessions': as long as they live, nobody gets in.
        let early = tokio::task::block_in_place(|| other.start(&["apply", "plan.json", "--yes"], "").finish());
        assert_eq!(early.code, Some(7), "{}", early.stderr);
        end_its_sessions(&pair).await;

        let command = ["--json", "apply", "plan.json", "--yes", "--through", "cutover"];
        let mut second = other.start(&command, "");
        second.wait_for("step_progress");
        let (frozen, second) = tokio::task::block_in_place(|| {
            if after_the_switch {
                let second = second.finish();
                signal(&frozen, "-CONT");
                (frozen.wait_at_most(Duration::from_secs(120)), second)
            } else {
                signal(&frozen, "-CONT");
                (frozen.wait_at_most(Duration::from_secs(120)), second.finish())
            }
        });
        second.assert_switched();
        // It asks again for a while whether the other one has ended, and then finds the plan finished.
        assert!(matches!(frozen.code, Some(4 | 7)), "{after_the_switch}, {:?}: {}", frozen.code, frozen.stderr);
        writers.stop().await;
        let target = connect_to(&pair.target, "postgres").await;
        let left = sorted_copy(&source, &INT.source_query()).await;
        assert!(left == sorted_copy(&target, &INT.target_query()).await, "source and target differ");
    }
}
