//! Crashes of everything at random moments, under random writes. `PCRD_FULL=1` makes it long; `PCRD_SEED` repeats one.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::migration::{Migration, Running};
use crate::support::{TestPair, connect_to, run, sorted_copy};
use crate::writers::{self, INT, Writers};

const ROWS: u32 = 6_000;

#[tokio::test(flavor = "multi_thread")]
async fn crashes_of_pcrd_and_of_both_servers() {
    let lasts = Duration::from_secs(if std::env::var_os("PCRD_FULL").is_some() { 600 } else { 25 });
    let seed = std::env::var("PCRD_SEED").map_or_else(|_| rand::rng().random(), |text| text.parse().unwrap());
    println!("PCRD_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut pair = TestPair::durable(15, 15);
    let source = connect_to(&pair.source, "postgres").await;
    run(&source, &INT.ddl(ROWS)).await;
    writers::delay_visibility(&pair).await;
    drop(source);
    let more = "  batch_size: 100\n  workers: 2\n  max_rows_per_second: 600\n  lag_threshold_bytes: 33554432";
    let migration = Migration::new(&pair, &INT.yaml(), more);
    migration.plan();
    let writers = Writers::start(&pair, INT, ROWS, 3, true).await;

    let begun = Instant::now();
    let (mut of_pcrd, mut of_source, mut of_target) = (0, 0, 0);
    let mut running: Option<Running> = None;
    while begun.elapsed() < lasts {
        let process = running.take().unwrap_or_else(|| migration.start(&["--json", "apply", "plan.json", "--yes"], ""));
        tokio::time::sleep(Duration::from_millis(random.random_range(50..1_500))).await;
        let what = random.random_range(0..10);
        if what >= 6 {
            let (source, target) = (what != 7, what != 6);
            if source {
                of_source += 1;
                pair.source.kill_immediate().unwrap();
            }
            if target {
                of_target += 1;
                pair.target.kill_immediate().unwrap();
                pair.target.resume().unwrap();
            }
            if source {
                pair.source.resume().unwrap();
            }
        }
        // Half of the time it lives on, and has to come back by itself.
        if what < 6 || random.random_bool(0.5) {
            of_pcrd += 1;
            let said = tokio::task::block_in_place(|| process.kill());
            let ended = said.code.is_some_and(|code| !matches!(code, 0 | 1 | 7));
            assert!(!ended, "{:?}: {}\n{}", said.code, said.lines.join("\n"), said.stderr);
        } else {
            running = Some(process);
        }
    }
    if let Some(process) = running {
        let _said = tokio::task::block_in_place(|| process.kill());
    }
    let said = tokio::task::block_in_place(|| migration.cut_over(""));
    said.assert_switched();
    let commits = writers.stop().await;
    let (source, target) = (connect_to(&pair.source, "postgres").await, connect_to(&pair.target, "postgres").await);
    let left = sorted_copy(&source, &INT.source_query()).await;
    println!(
        "crashes: pcrd {of_pcrd}, source {of_source}, target {of_target}; {commits} commits, {} bytes compared",
        left.len()
    );
    assert!(left == sorted_copy(&target, &INT.target_query()).await, "source and target differ; PCRD_SEED={seed}");
    assert!(of_pcrd > 0 && commits > 0);
}
