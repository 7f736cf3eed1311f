//! What the position of a table that starts again rests on, and shapes of migrations beside the plain one.

use std::time::{Duration, Instant};

use crate::migration::Migration;
use crate::support::{TestPair, connect_to, run, sorted_copy, text};

/// A commit that is written and not visible: its transaction must be over before the position is read, or a chunk would
/// lack what the stream has been told to ignore.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_commit_that_is_not_visible_yet() {
    let pair = TestPair::start(15, 15);
    let source = connect_to(&pair.source, "postgres").await;
    let target = connect_to(&pair.target, "postgres").await;
    run(&source, "CREATE TABLE items (id integer PRIMARY KEY, n integer); INSERT INTO items SELECT g, g FROM generate_series(1, 300) g").await;
    let migration = Migration::new(&pair, "    - { name: items, columns: { id: { type: bigint } } }\n", "");
    migration.plan();
    migration.ok(&["apply", "plan.json", "--yes", "--through", "copy"]);
    run(&source, "SET synchronous_commit = local; ALTER TABLE items ALTER n TYPE bigint").await;
    migration.ok(&["plan", "--out", "new.json"]);
    run(&source, "ALTER SYSTEM SET synchronous_standby_names = 'nosuch'").await;
    run(&source, "SELECT pg_reload_conf()").await;
    let late = connect_to(&pair.source, "postgres").await;
    let late = tokio::spawn(async move {
        late.batch_execute("SET synchronous_commit = on; UPDATE items SET n = -id WHERE id <= 200").await
    });
    let waits = "SELECT count(*)::text FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    until(&source, waits, "1").await;
    let written = text(&source, "SELECT pg_current_wal_insert_lsn()::text").await;
    let mut running = migration.start(&["--json", "apply", "new.json", "--yes", "--adopt", "--through", "copy"], "");
    tokio::task::block_in_place(|| running.wait_for("cannot be locked yet"));
    assert_eq!(text(&target, "SELECT string_agg(state, '') FROM pcrd.migration").await, "running");
    assert_eq!(text(&source, waits).await, "1");
    run(&source, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'").await;
    late.await.unwrap().unwrap();
    let said = tokio::task::block_in_place(|| running.finish());
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(text(&target, &format!("SELECT (lsn >= '{written}')::text FROM pcrd.restarted")).await, "true");
    run(&source, "ALTER SYSTEM RESET synchronous_standby_names").await;
    run(&source, "SELECT pg_reload_conf()").await;
    let said = tokio::task::block_in_place(|| {
        migration.start(&["--json", "apply", "new.json", "--yes", "--through", "cutover"], "").finish()
    });
    said.assert_switched();
    let query = "SELECT * FROM items";
    assert!(sorted_copy(&source, query).await == sorted_copy(&target, query).await);
}

async fn until(client: &tokio_postgres::Client, query: &str, wanted: &str) {
    let began = Instant::now();
    while text(client, query).await != wanted {
        assert!(began.elapsed() < Duration::from_secs(60), "never {wanted}: {query}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A source table with two targets, two source tables with one, and one that has nothing to do with them, from the oldest
/// major to the newest.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tables_that_are_split_and_merged() {
    let pair = TestPair::start(10, 18);
    let source = connect_to(&pair.source, "postgres").await;
    let target = connect_to(&pair.target, "postgres").await;
    run(
        &source,
        "CREATE TABLE orders (id integer PRIMARY KEY, total integer, note text); INSERT INTO orders SELECT g, g, 'n' FROM generate_series(1, 400) g; \
         CREATE TABLE east (id integer PRIMARY KEY, note text); INSERT INTO east SELECT g, 'e' FROM generate_series(1, 300) g; \
         CREATE TABLE west (id integer PRIMARY KEY, note text); INSERT INTO west SELECT g, 'w' FROM generate_series(1, 300) g; \
         CREATE TABLE alone (id integer PRIMARY KEY, note text); INSERT INTO alone SELECT g, 'a' FROM generate_series(1, 300) g",
    )
    .await;
    let desired = "
-- pcrd: renamed_from orders
-- pcrd: where id <= 200
CREATE TABLE small (id bigint PRIMARY KEY, total bigint, note text);
-- pcrd: renamed_from orders
-- pcrd: where id > 200
CREATE TABLE large (id bigint PRIMARY KEY, total bigint, note text);
-- pcrd: merged_from east with side = '1'
-- pcrd: merged_from west with side = '2'
CREATE TABLE world (side integer NOT NULL, id integer NOT NULL, note text, PRIMARY KEY (side, id));
CREATE TABLE alone (id integer PRIMARY KEY, note text);
";
    let migration = Migration::of_schema(&pair, "postgres", desired, "  batch_size: 100");
    migration.plan();
    migration.ok(&["apply", "plan.json", "--yes", "--through", "catchup"]);
    // A table that is emptied has another file too.
    let oids = "SELECT concat(pg_relation_filenode('small'), ' ', pg_relation_filenode('large')), \
                concat(pg_relation_filenode('world')), concat(pg_relation_filenode('alone'))";
    let before = crate::support::rows(&target, oids).await.remove(0);
    run(&source, "UPDATE orders SET total = total + 1; ALTER TABLE orders ALTER total TYPE bigint; UPDATE orders SET id = id + 150 WHERE id % 10 = 0 AND id > 300").await;
    run(&source, "INSERT INTO orders SELECT g, 8589934592 FROM generate_series(1001, 1050) g; UPDATE alone SET note = 'b' WHERE id % 3 = 0").await;
    migration.ok(&["plan", "--out", "second.json"]);
    migration.ok(&["apply", "second.json", "--yes", "--adopt", "--through", "catchup"]);
    let after = crate::support::rows(&target, oids).await.remove(0);
    assert_ne!(after[0], before[0]);
    assert_eq!(after[1..], before[1..]);
    // One source of the merged table differs: both start again.
    run(
        &source,
        "UPDATE east SET note = 'early'; ALTER TABLE west ALTER note TYPE varchar(20); UPDATE west SET note = 'late' WHERE id % 2 = 0; \
         DELETE FROM east WHERE id = 3",
    )
    .await;
    migration.ok(&["plan", "--out", "third.json"]);
    let args = ["--json", "apply", "third.json", "--yes", "--adopt", "--through", "cutover"];
    tokio::task::block_in_place(|| migration.start(&args, "").finish()).assert_switched();
    for (left, right) in [
        ("SELECT * FROM orders WHERE id <= 200", "SELECT * FROM small"),
        ("SELECT * FROM orders WHERE id > 200", "SELECT * FROM large"),
        ("SELECT id, note, 1 FROM east UNION ALL SELECT id, note, 2 FROM west", "SELECT id, note, side FROM world"),
        ("SELECT * FROM alone", "SELECT * FROM alone"),
    ] {
        let (left, right) = (sorted_copy(&source, left).await, sorted_copy(&target, right).await);
        assert!(
            left == right && !left.is_empty(),
            "{}\n{}",
            String::from_utf8_lossy(&left),
            String::from_utf8_lossy(&right)
        );
    }
    assert_eq!(text(&target, "SELECT concat(pg_relation_filenode('alone'))").await, *before[2].as_ref().unwrap());
}

/// A column that was followed is planned by the new plan, and its table starts again with the one that stopped the run.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn beside_columns_that_were_followed() {
    let pair = TestPair::start(15, 15);
    let source = connect_to(&pair.source, "postgres").await;
    let target = connect_to(&pair.target, "postgres").await;
    run(
        &source,
        "CREATE TABLE items (id integer PRIMARY KEY, n integer); INSERT INTO items SELECT g, g FROM generate_series(1, 300) g; \
         CREATE TABLE notes (id integer PRIMARY KEY, n integer); INSERT INTO notes SELECT g, g FROM generate_series(1, 300) g; \
         CREATE TABLE still (id integer PRIMARY KEY, n integer); INSERT INTO still SELECT g, g FROM generate_series(1, 300) g",
    )
    .await;
    let tables = "    - { name: items, columns: { id: { type: bigint } } }\n    - name: notes\n    - name: still\n";
    let migration = Migration::new(&pair, tables, "  on_ddl: follow_additive");
    migration.plan();
    migration.ok(&["apply", "plan.json", "--yes", "--through", "catchup"]);
    run(&source, "ALTER TABLE notes ADD COLUMN extra integer DEFAULT 7; UPDATE notes SET extra = id WHERE id < 50")
        .await;
    migration.ok(&["apply", "plan.json", "--yes", "--through", "catchup"]);
    assert_eq!(text(&target, "SELECT count(*)::text FROM notes WHERE extra IS NOT NULL").await, "300");
    run(&source, "ALTER TABLE items RENAME n TO m; UPDATE notes SET extra = -1 WHERE id > 250").await;
    let still = text(&target, "SELECT 'still'::regclass::oid::text").await;
    migration.ok(&["plan", "--out", "new.json"]);
    let args = ["--json", "apply", "new.json", "--yes", "--adopt", "--through", "cutover"];
    tokio::task::block_in_place(|| migration.start(&args, "").finish()).assert_switched();
    for table in ["items", "notes", "still"] {
        let query = format!("SELECT * FROM {table}");
        let (left, right) = (sorted_copy(&source, &query).await, sorted_copy(&target, &query).await);
        assert!(left == right && !left.is_empty(), "{table} differs");
    }
    assert_eq!(text(&target, "SELECT 'still'::regclass::oid::text").await, still);
    let status = migration.ok(&["status"]);
    assert!(!status.contains("\ncolumn ") && status.contains("kept: public.still"), "{status}");
}

/// Where nothing is streamed yet, a table that is copied whole may start again too.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn before_anything_is_streamed() {
    for point in [
        "setup.after-ledger",
        "setup.after-publication",
        "setup.after-slot",
        "setup.after-progress",
        "whole.after-piece",
    ] {
        let pair = TestPair::start(15, 15);
        let source = connect_to(&pair.source, "postgres").await;
        let target = connect_to(&pair.target, "postgres").await;
        run(
            &source,
            "CREATE TABLE items (id integer PRIMARY KEY, n integer); INSERT INTO items SELECT g, g FROM generate_series(1, 200) g; \
             CREATE TABLE notes (n integer, t text); ALTER TABLE notes REPLICA IDENTITY FULL; INSERT INTO notes SELECT g, 'note' FROM generate_series(1, 100) g",
        )
        .await;
        let migration =
            Migration::new(&pair, "    - { name: items, columns: { id: { type: bigint } } }\n    - name: notes\n", "");
        migration.plan();
        let said = tokio::task::block_in_place(|| migration.cut_over(&format!("{point}=return(kill)")));
        assert_eq!(said.code, None, "{point}: {}", said.stderr);
        run(&source, "ALTER TABLE notes ALTER n TYPE bigint; UPDATE notes SET n = 8589934592 WHERE n = 7; ALTER TABLE items RENAME n TO m").await;
        migration.ok(&["plan", "--out", "new.json"]);
        let args = ["--json", "apply", "new.json", "--yes", "--adopt", "--through", "cutover"];
        if point == "setup.after-ledger" {
            // It died before it kept its plan: whoever adopts the work is told how to bring the plan back.
            let said = tokio::task::block_in_place(|| migration.start(&args, "").finish());
            assert!(said.stderr.contains("which records the plan again"), "{}", said.stderr);
            let said = tokio::task::block_in_place(|| migration.cut_over(""));
            assert_eq!(said.code, Some(4), "{}", said.stderr);
        }
        let said = tokio::task::block_in_place(|| migration.start(&args, "").finish());
        assert_eq!(said.code, Some(0), "{point}: {}", said.stderr);
        for table in ["items", "notes"] {
            let query = format!("SELECT * FROM {table}");
            let (left, right) = (sorted_copy(&source, &query).await, sorted_copy(&target, &query).await);
            assert!(left == right && !left.is_empty(), "{point}: {table} differs");
        }
    }
}
