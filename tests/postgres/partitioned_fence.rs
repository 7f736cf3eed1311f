//! The fence of a partitioned source closes every partition, by whatever name somebody writes.

use crate::stage::Stage;
use crate::support::{TestPair, connect_to, run, text};

const DDL: &str = "CREATE TABLE items (id integer PRIMARY KEY, n integer) PARTITION BY RANGE (id);
    CREATE TABLE items_1 PARTITION OF items FOR VALUES FROM (0) TO (1000);
    CREATE TABLE items_2 PARTITION OF items FOR VALUES FROM (1000) TO (2000) PARTITION BY HASH (id);
    CREATE TABLE items_2a PARTITION OF items_2 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE items_2b PARTITION OF items_2 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    INSERT INTO items SELECT g, g FROM generate_series(1, 1999) g; ANALYZE";
const TABLES: &str = "    - { name: items, partitions: none }\n";
const ROWS: &str = "SELECT id, n FROM items";

const ATTEMPTS: [&str; 12] = [
    "INSERT INTO items VALUES (0, 0)",
    "INSERT INTO items_1 VALUES (0, 0)",
    "INSERT INTO items_2 VALUES (1000, 0) ON CONFLICT DO NOTHING",
    "UPDATE items_2a SET n = 1",
    "DELETE FROM items_2b WHERE false",
    "UPDATE items SET id = 0 WHERE id = 1500",
    "UPDATE items_2 SET id = id WHERE id = 1500",
    "TRUNCATE items_1",
    "TRUNCATE items_2b",
    "TRUNCATE items",
    "COPY items_1 FROM PROGRAM 'echo 0,1' WITH (FORMAT csv)",
    "SET session_replication_role = replica; INSERT INTO items_2a VALUES (1000, 1)",
];

async fn assert_closed(stage: &Stage) {
    for attempt in ATTEMPTS {
        let Err(error) = stage.source.batch_execute(attempt).await else { panic!("it passed the fence: {attempt}") };
        assert_eq!(error.code().unwrap().code(), "25006", "{attempt}: {error}");
        run(&stage.source, "RESET ALL").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_partition_is_closed_and_opened_again() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "closed", DDL, TABLES, "").await;
    let running = stage.start_through("cutover.after-fence=sleep(4000)");
    stage.until_source("SELECT count(*) = 5 FROM pg_trigger WHERE tgname = 'pcrd_fence' AND tgenabled = 'A'").await;
    assert_closed(&stage).await;
    tokio::task::block_in_place(|| running.finish()).assert_switched();
    assert_closed(&stage).await;
    stage.assert_equal(ROWS, ROWS).await;
    // What is detached then stays closed, and is opened with the others.
    run(&stage.source, "ALTER TABLE items DETACH PARTITION items_1").await;
    assert!(stage.source.batch_execute("DELETE FROM items_1").await.is_err());
    stage.migration.ok(&["cleanup", "--yes", "--open-source"]);
    assert_eq!(text(&stage.source, "SELECT count(*)::text FROM pg_trigger WHERE NOT tgisinternal").await, "0");
    run(&stage.source, "DELETE FROM items_1; INSERT INTO items_2a SELECT id + 2000, n FROM items_2 WHERE false").await;
}

/// The fence stops writes, not DDL: a partition that comes behind it voids the attempt, filled or not.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_come_behind_the_fence() {
    let pair = TestPair::start(15, 15);
    for (name, sql, says) in [
        (
            "empty",
            "CREATE TABLE items_3 PARTITION OF items FOR VALUES FROM (3000) TO (4000)",
            "items_3 came behind the fence",
        ),
        (
            "filled",
            "BEGIN; CREATE TABLE items_3 (id integer PRIMARY KEY, n integer); INSERT INTO items_3 VALUES (3000, 1); \
             ALTER TABLE items ATTACH PARTITION items_3 FOR VALUES FROM (3000) TO (4000); COMMIT",
            "items_3 came with rows",
        ),
        ("gone", "ALTER TABLE items DETACH PARTITION items_1", "items_1 was detached"),
    ] {
        let stage = Stage::new(&pair, name, DDL, TABLES, "").await;
        let running = stage.start_through("cutover.after-fence=1*sleep(3000)");
        stage.until_source("SELECT count(*) = 5 FROM pg_trigger WHERE tgname = 'pcrd_fence' AND tgenabled = 'A'").await;
        run(&connect_to(&pair.source, name).await, sql).await;
        let said = tokio::task::block_in_place(|| running.finish());
        assert_ne!(said.code, Some(0), "{name}: {}", said.lines.join("\n"));
        let all = format!("{}\n{}", said.lines.join("\n"), said.stderr);
        assert!(all.contains(says), "{name}: {all}");
        // The source is open again.
        stage.until_source("SELECT coalesce(bool_and(until < clock_timestamp()), true) FROM pcrd.fence").await;
        run(&stage.source, "UPDATE items SET n = n + 1 WHERE id > 1000").await;
        let again = stage.cut_over();
        if name == "empty" {
            again.assert_switched();
            stage.assert_equal(ROWS, ROWS).await;
        } else {
            assert_eq!(again.code, Some(4), "{name}: {}", again.stderr);
        }
        stage.end().await;
    }
}

/// What is given up leaves no trigger on any partition, wherever it dies.
#[tokio::test(flavor = "multi_thread")]
async fn given_up_with_all_triggers() {
    let pair = TestPair::start(15, 15);
    for point in ["partitions.before-guard", "partitions.after-guard", "setup.after-slot", "cutover.after-fence"] {
        let name = point.replace(['.', '-'], "_");
        let stage = Stage::new(&pair, &name, DDL, TABLES, "").await;
        let times = if point.starts_with("partitions") { "1*off->" } else { "" };
        let said = tokio::task::block_in_place(|| stage.start_through(&format!("{point}={times}return(kill)")).wait());
        assert_eq!(said.code, None, "{point}: {}", said.stderr);
        run(&stage.source, "ALTER TABLE items DETACH PARTITION items_1").await;
        stage.migration.ok(&["abort", "--yes"]);
        assert_eq!(
            text(&stage.source, "SELECT count(*)::text FROM pg_trigger WHERE NOT tgisinternal").await,
            "0",
            "{point}"
        );
        run(&stage.source, "TRUNCATE items; TRUNCATE items_1; DROP TABLE items").await;
        assert_eq!(text(&stage.source, "SELECT count(*)::text FROM pg_publication").await, "0", "{point}");
    }
}
