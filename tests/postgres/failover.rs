//! The source is replaced by a server that left the same history earlier: a promoted standby, or a restored backup.

use std::path::Path;
use std::process::Command;

use crate::migration::Migration;
use crate::support::{TestPair, connect_to, run, sorted_copy, text};

const TABLE: &str = "CREATE TABLE orders (id integer PRIMARY KEY, note text);
    INSERT INTO orders SELECT n, 'order ' || n FROM generate_series(1, 2000) AS n; ANALYZE orders;
    CREATE TABLE noise (n integer)";
const YAML: &str = "    - { name: orders, columns: { id: { type: bigint } } }\n";

/// The data directory of a stopped server, set aside.
fn copy_dir(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

struct Failover {
    pair: TestPair,
    migration: Migration,
    aside: std::path::PathBuf,
}

/// A migration that streams, and a cold copy of its source with slot and all.
async fn streaming() -> Failover {
    let mut pair = TestPair::start(15, 15);
    run(&connect_to(&pair.source, "postgres").await, TABLE).await;
    let migration = Migration::new(&pair, YAML, "");
    migration.plan();
    migration.ok(&["apply", "plan.json", "--yes", "--through", "catchup"]);
    pair.source.stop().unwrap();
    let aside = pair.source.data_dir().with_file_name("aside");
    copy_dir(&pair.source.data_dir(), &aside);
    pair.source.resume().unwrap();
    Failover { pair, migration, aside }
}

/// Puts the copy in the place of the source. With `promote` it begins a new timeline, as a standby does.
fn replace_source(pair: &mut TestPair, aside: &Path, promote: bool) {
    pair.source.stop().unwrap();
    std::fs::remove_dir_all(pair.source.data_dir()).unwrap();
    std::fs::rename(aside, pair.source.data_dir()).unwrap();
    if promote {
        std::fs::write(pair.source.data_dir().join("recovery.signal"), "").unwrap();
        let conf = pair.source.data_dir().join("postgresql.auto.conf");
        let mut text = std::fs::read_to_string(&conf).unwrap();
        text.push_str("restore_command = 'false'\n");
        std::fs::write(&conf, text).unwrap();
    }
    pair.source.resume().unwrap();
}

/// Moves the source's position on, past everything that the other history ever had.
async fn move_on(pair: &TestPair) {
    let source = connect_to(&pair.source, "postgres").await;
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while text(&source, "SELECT pg_is_in_recovery()").await == "t" {
        assert!(std::time::Instant::now() < until, "recovery does not end");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    run(&source, "INSERT INTO noise SELECT n FROM generate_series(1, 20000) AS n; CHECKPOINT").await;
    run(&source, "INSERT INTO orders SELECT n, 'new ' || n FROM generate_series(5001, 5010) AS n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_that_lost_commits_is_a_gap() {
    let Failover { mut pair, migration, aside } = streaming().await;
    let source = connect_to(&pair.source, "postgres").await;
    // Applied on the target, and then lost with the old primary.
    run(&source, "UPDATE orders SET note = 'lost' WHERE id <= 10").await;
    drop(source);
    migration.ok(&["apply", "plan.json", "--yes", "--through", "catchup"]);
    replace_source(&mut pair, &aside, true);
    move_on(&pair).await;
    let before = applied(&pair).await;
    let said = tokio::task::block_in_place(|| migration.cut_over(""));
    assert_ne!(said.code, Some(0), "{}", said.lines.join("\n"));
    assert!(said.stderr.contains("timeline 2"), "{}\n{}", said.lines.join("\n"), said.stderr);
    assert_eq!(applied(&pair).await, before, "it went on with a history that it had not proved");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_that_lost_nothing_goes_on() {
    let Failover { mut pair, migration, aside } = streaming().await;
    replace_source(&mut pair, &aside, true);
    move_on(&pair).await;
    let said = tokio::task::block_in_place(|| migration.cut_over(""));
    said.assert_switched();
    let (source, target) = (connect_to(&pair.source, "postgres").await, connect_to(&pair.target, "postgres").await);
    let orders = "SELECT * FROM orders";
    assert!(sorted_copy(&source, orders).await == sorted_copy(&target, orders).await);
    assert_eq!(text(&target, "SELECT source_timeline FROM pcrd.progress").await, "2");
}

/// A file-system copy that is started again has no new timeline; its transaction ids are behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_restored_from_an_older_copy_is_a_gap() {
    let Failover { mut pair, migration, aside } = streaming().await;
    let source = connect_to(&pair.source, "postgres").await;
    for n in 1..=50 {
        run(&source, &format!("UPDATE orders SET note = 'lost {n}' WHERE id = {n}")).await;
    }
    // Not `--through catchup`, which may end with these still in the stream.
    let position = text(&source, "SELECT pg_current_wal_lsn()").await;
    drop(source);
    let apply = migration.start(&["--json", "apply", "plan.json", "--yes"], "");
    let target = connect_to(&pair.target, "postgres").await;
    let reached = format!("SELECT applied_lsn >= '{position}' FROM pcrd.progress");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while text(&target, &reached).await == "f" {
        assert!(std::time::Instant::now() < until, "the updates were never applied");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    apply.kill();
    replace_source(&mut pair, &aside, false);
    move_on(&pair).await;
    let said = tokio::task::block_in_place(|| migration.cut_over(""));
    assert_ne!(said.code, Some(0), "{}", said.lines.join("\n"));
    assert!(said.stderr.contains("restored"), "{}\n{}", said.lines.join("\n"), said.stderr);
}

/// Nothing was applied since, but a chunk was copied: it has rows of a history that is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_restored_from_a_copy_that_is_older_than_a_chunk_is_a_gap() {
    let mut pair = TestPair::start(15, 15);
    run(&connect_to(&pair.source, "postgres").await, TABLE).await;
    let migration = Migration::new(&pair, YAML, "  batch_size: 500\n  workers: 1\n");
    migration.plan();
    let dies_at = |failpoints: &str| {
        let said = tokio::task::block_in_place(|| migration.cut_over(failpoints));
        assert_eq!(said.code, None, "{failpoints}: {}\n{}", said.lines.join("\n"), said.stderr);
    };
    dies_at("lanes.after-layout=return(kill)");
    pair.source.stop().unwrap();
    let aside = pair.source.data_dir().with_file_name("aside");
    copy_dir(&pair.source.data_dir(), &aside);
    pair.source.resume().unwrap();
    run(&connect_to(&pair.source, "postgres").await, "UPDATE orders SET note = repeat('lost ', 100)").await;
    dies_at("apply.begin=sleep(20000);chunk.after-commit=return(kill)");
    replace_source(&mut pair, &aside, false);
    let target = connect_to(&pair.target, "postgres").await;
    let ahead = "SELECT bool_and(lsn_hi > applied_lsn) FROM pcrd.chunk, pcrd.progress";
    assert_eq!(text(&target, ahead).await, "t", "the chunk is not what the position is");
    let said = tokio::task::block_in_place(|| {
        let again = migration.start(&["--json", "apply", "plan.json", "--yes"], "");
        again.wait_at_most(std::time::Duration::from_secs(60))
    });
    assert_ne!(said.code, Some(0), "{}", said.lines.join("\n"));
    assert!(said.stderr.contains("restored"), "{}\n{}", said.lines.join("\n"), said.stderr);
}

async fn applied(pair: &TestPair) -> String {
    text(&connect_to(&pair.target, "postgres").await, "SELECT applied_lsn FROM pcrd.progress").await
}

/// The plan is changed after a failover that lost nothing: from where on the table counts is said on the new timeline.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_plan_after_a_failover() {
    let Failover { mut pair, migration, aside } = streaming().await;
    replace_source(&mut pair, &aside, true);
    move_on(&pair).await;
    let source = connect_to(&pair.source, "postgres").await;
    run(&source, "ALTER TABLE orders ALTER note TYPE varchar(90)").await;
    run(&source, "UPDATE orders SET note = 'after' WHERE id <= 10").await;
    let said = tokio::task::block_in_place(|| migration.cut_over(""));
    assert_eq!(said.code, Some(4), "{}\n{}", said.lines.join("\n"), said.stderr);
    migration.ok(&["plan", "--out", "new.json"]);
    let args = ["--json", "apply", "new.json", "--yes", "--adopt", "--through", "cutover"];
    let said = tokio::task::block_in_place(|| migration.start(&args, "").finish());
    said.assert_switched();
    let target = connect_to(&pair.target, "postgres").await;
    let orders = "SELECT * FROM orders";
    assert!(sorted_copy(&source, orders).await == sorted_copy(&target, orders).await);
    assert_eq!(text(&target, "SELECT source_timeline FROM pcrd.progress").await, "2");
    assert_eq!(text(&target, "SELECT timeline FROM pcrd.restarted").await, "2");
}
