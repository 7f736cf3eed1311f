//! Attempts to lose a row or to be told that none is lost: by the wrong command at the wrong time, by changes that hide
//! from the stream, by a key whose order is not what it seems.

use std::time::Duration;

use crate::migration::{Migration, Running, Said};
use crate::support::{TestPair, connect_to, run, text};

const READY: &str = "\"type\":\"gate\",\"ready\":true";
const APPLY: [&str; 4] = ["--json", "apply", "plan.json", "--yes"];
const ITEMS: &str = "CREATE TABLE items (id integer PRIMARY KEY, n integer);
    INSERT INTO items SELECT g, g FROM generate_series(1, 400) g; ANALYZE items";
const YAML: &str = "    - { name: items, columns: { id: { type: bigint } } }\n";

async fn scene() -> (TestPair, Migration) {
    let pair = TestPair::start(15, 15);
    run(&connect_to(&pair.source, "postgres").await, ITEMS).await;
    let migration = Migration::new(&pair, YAML, "  lag_threshold_bytes: 33554432");
    migration.plan();
    (pair, migration)
}

/// Runs a command to its end, or fails.
#[track_caller]
fn command(migration: &Migration, args: &[&str], code: i32) -> Said {
    tokio::task::block_in_place(|| {
        let said = migration.start(args, "").wait_at_most(Duration::from_secs(60));
        assert_eq!(said.code, Some(code), "{args:?}: {}\n{}", said.lines.join("\n"), said.stderr);
        said
    })
}

fn ready(migration: &Migration) -> Running {
    tokio::task::block_in_place(|| {
        let mut running = migration.start(&APPLY, "");
        running.wait_for(READY);
        running
    })
}

/// After cleanup the source has no fence, or no tables: the target's rows are the only ones.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_is_carried_through_cannot_be_given_up() {
    for cleanup in [
        &["cleanup", "--yes", "--open-source"][..],
        &["cleanup", "--yes", "--drop-source", "--yes-drop", "public.items"],
    ] {
        let (pair, migration) = scene().await;
        let target = connect_to(&pair.target, "postgres").await;
        tokio::task::block_in_place(|| migration.cut_over("")).assert_switched();
        run(&target, "INSERT INTO items VALUES (1000, 1)").await;
        command(&migration, cleanup, 0);
        let said = command(&migration, &["abort", "--yes"], 1);
        assert!(said.stderr.contains("cut over"), "{cleanup:?}: {}", said.stderr);
        assert_eq!(text(&target, "SELECT count(*) FROM items").await, "401", "{cleanup:?}");
    }
}

/// The ledger knows of the switch even if the source has lost its fence, as after a failover to a late standby.
#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_is_recorded_is_believed_without_the_fence() {
    let (pair, migration) = scene().await;
    let (source, target) = (connect_to(&pair.source, "postgres").await, connect_to(&pair.target, "postgres").await);
    let said = tokio::task::block_in_place(|| migration.cut_over("cutover.after-switched=return(kill)"));
    assert_eq!(said.code, None, "{}", said.stderr);
    run(&source, "DROP TRIGGER pcrd_fence ON items; DROP SCHEMA pcrd CASCADE").await;
    run(&target, "UPDATE items SET n = -1 WHERE id = 7").await;
    run(&source, "UPDATE items SET n = 77 WHERE id = 7").await;
    command(&migration, &["abort", "--yes"], 1);
    tokio::task::block_in_place(|| migration.cut_over("")).assert_switched();
    assert_eq!(text(&target, "SELECT n FROM items WHERE id = 7").await, "-1", "the source's row came after the switch");
    assert_eq!(text(&target, "SELECT state FROM pcrd.migration").await, "cut_over");
}

/// Rows that were not written since are not compared at the fence: what a comparison found keeps the gate shut.
#[tokio::test(flavor = "multi_thread")]
async fn known_differences_keep_the_gate_shut_until_they_are_gone() {
    let (pair, migration) = scene().await;
    let target = connect_to(&pair.target, "postgres").await;
    let running = ready(&migration);
    run(&target, "UPDATE items SET n = -1 WHERE id = 7").await;
    command(&migration, &["verify"], 5);
    let said = tokio::task::block_in_place(|| {
        migration.start(&["cutover", "--yes"], "").wait_at_most(Duration::from_secs(90))
    });
    assert_ne!(said.code, Some(0), "switched with a difference that was known: {}", said.lines.join("\n"));
    run(&target, "UPDATE items SET n = 7 WHERE id = 7").await;
    command(&migration, &["verify"], 0);
    command(&migration, &["cutover", "--yes"], 0);
    tokio::task::block_in_place(|| running.wait_at_most(Duration::from_secs(30))).assert_switched();
}

/// What was written while the table was not published is in no stream, and nobody looks at it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_was_altered_and_put_back() {
    for (away, back) in [
        ("ALTER PUBLICATION p DROP TABLE items", "ALTER PUBLICATION p ADD TABLE items"),
        (
            "ALTER PUBLICATION p SET (publish = 'insert')",
            "ALTER PUBLICATION p SET (publish = 'insert, update, delete, truncate')",
        ),
        // Long enough for the run to see it away.
        ("ALTER PUBLICATION p DROP TABLE items; SELECT pg_sleep(3)", "ALTER PUBLICATION p ADD TABLE items"),
    ] {
        let (pair, migration) = scene().await;
        let source = connect_to(&pair.source, "postgres").await;
        let running = ready(&migration);
        let name = text(&source, "SELECT pubname FROM pg_publication").await;
        let named = |sql: &str| sql.replacen(" p ", &format!(" {name} "), 1);
        run(&source, &named(away)).await;
        run(&source, "UPDATE items SET n = 77 WHERE id = 7").await;
        run(&source, &named(back)).await;
        let said = tokio::task::block_in_place(|| {
            migration.start(&["cutover", "--yes"], "").wait_at_most(Duration::from_secs(90))
        });
        let target = connect_to(&pair.target, "postgres").await;
        let n = text(&target, "SELECT n FROM items WHERE id = 7").await;
        assert!(said.code != Some(0) || n == "77", "{away}: switched, and the row has n = {n}");
        assert_ne!(said.code, Some(0), "{away}");
        let ended = tokio::task::block_in_place(|| running.wait_at_most(Duration::from_secs(30)));
        assert!(ended.stderr.contains("publication"), "{away}: {}", ended.stderr);
    }
}

/// In WIN1252 the byte of € is less than that of é; in UTF-8, in which keys arrive, it is the other way round.
#[tokio::test(flavor = "multi_thread")]
async fn keys_by_bytes_of_another_encoding() {
    let pair = TestPair::start(15, 15);
    run(
        &connect_to(&pair.source, "postgres").await,
        "CREATE DATABASE win ENCODING 'WIN1252' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    )
    .await;
    run(&connect_to(&pair.target, "postgres").await, "CREATE DATABASE win").await;
    let (source, target) = (connect_to(&pair.source, "win").await, connect_to(&pair.target, "win").await);
    run(
        &source,
        "CREATE TABLE words (word text COLLATE \"C\" PRIMARY KEY, n integer);
         INSERT INTO words SELECT c || g, g FROM generate_series(100, 299) g, unnest(ARRAY['€', 'é']) c; ANALYZE words",
    )
    .await;
    let yaml = "    - { name: words, columns: { n: { type: bigint } } }\n";
    let more = "  batch_size: 100\n  workers: 1\n  lag_threshold_bytes: 33554432";
    let migration = Migration::between(&pair, "win", yaml, more);
    migration.plan();
    // Copied by ranges of its keys, the third range would begin with é, and its copy would wait here.
    let running = tokio::task::block_in_place(|| {
        let mut running = migration.start(&APPLY, "chunk.begin=1*off->1*off->1*sleep(3000)->off");
        running.wait_for("\"work\":\"copy\"");
        running
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    run(&source, "UPDATE words SET n = -n WHERE word LIKE '€%'").await;
    command(&migration, &["cutover", "--yes"], 0);
    tokio::task::block_in_place(|| running.wait_at_most(Duration::from_secs(30))).assert_switched();
    assert_eq!(text(&target, "SELECT count(*) || ' ' || sum(n) FROM words").await, "400 0");
}

/// What was looked at before the first run says nothing about the second.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_was_given_up_is_checked_again() {
    let pair = TestPair::start(15, 15);
    let source = connect_to(&pair.source, "postgres").await;
    run(&source, ITEMS).await;
    let yaml = "    - { name: items, columns: { n: { type: smallint } } }\n";
    let migration = Migration::new(&pair, yaml, "");
    migration.ok(&["plan", "--out", "plan.json"]);
    command(&migration, &["apply", "plan.json", "--yes", "--through", "schema"], 0);
    command(&migration, &["abort", "--yes"], 0);
    run(&source, "UPDATE items SET n = 100000 WHERE id = 7").await;
    let said = tokio::task::block_in_place(|| migration.start(&APPLY, "").wait_at_most(Duration::from_secs(60)));
    assert!(said.stderr.contains("data check failed"), "{}", said.stderr);
    assert_eq!(text(&source, "SELECT count(*) FROM pg_replication_slots").await, "0");
}
