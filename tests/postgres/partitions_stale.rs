//! What happens to partitions and is in no stream stops the run by name; a new, empty one is followed.

use crate::migration::Said;
use crate::stage::Stage;
use crate::support::{TestPair, run, text};

const DDL: &str = "CREATE TABLE items (id integer PRIMARY KEY, n integer) PARTITION BY RANGE (id);
    CREATE TABLE items_1 PARTITION OF items FOR VALUES FROM (0) TO (1000);
    CREATE TABLE items_2 PARTITION OF items FOR VALUES FROM (1000) TO (2000) PARTITION BY HASH (id);
    CREATE TABLE items_2a PARTITION OF items_2 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE items_2b PARTITION OF items_2 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    INSERT INTO items SELECT g, g FROM generate_series(1, 1999) g; ANALYZE;
    CREATE TABLE extra (id integer PRIMARY KEY, n integer); INSERT INTO extra SELECT g, g FROM generate_series(3000, 3100) g";
const TABLES: &str = "    - { name: items, partitions: none, columns: { id: { type: bigint } } }\n";
const READY: &str = "\"type\":\"gate\",\"ready\":true";
const EQUAL: [&str; 2] = ["SELECT id::bigint, n FROM items", "SELECT id, n FROM items"];

/// What is done, and what is said of it.
const CHANGES: [(&str, &str, &[&str], &str); 9] = [
    (
        "attached",
        "items",
        &["ALTER TABLE items ATTACH PARTITION extra FOR VALUES FROM (3000) TO (4000)"],
        "extra came with rows",
    ),
    ("detached", "items", &["ALTER TABLE items DETACH PARTITION items_1"], "items_1 was detached or dropped"),
    ("inner", "items", &["ALTER TABLE items_2 DETACH PARTITION items_2a"], "items_2a was detached or dropped"),
    ("dropped", "items", &["DROP TABLE items_2"], "was detached or dropped"),
    (
        "again",
        "items",
        &["BEGIN; ALTER TABLE items DETACH PARTITION items_1; INSERT INTO items_1 VALUES (0, 0); \
           ALTER TABLE items ATTACH PARTITION items_1 FOR VALUES FROM (0) TO (1000); COMMIT"],
        "items_1 was detached and attached again",
    ),
    ("concurrently", "items", &["ALTER TABLE items DETACH PARTITION items_1 CONCURRENTLY"], "items_1"),
    (
        "truncated",
        "items",
        &["DROP TRIGGER pcrd_no_truncate ON items_2b; TRUNCATE items_2b"],
        "items_2b was without the trigger pcrd_no_truncate",
    ),
    ("unlogged", "items", &["ALTER TABLE items_1 SET UNLOGGED"], "items_1 is not logged"),
    ("nameless", "items", &["ALTER PUBLICATION pcrd SET (publish_via_partition_root = false)"], "publication"),
];

fn assert_stale(name: &str, said: &Said, says: &str) {
    assert_eq!(said.code, Some(4), "{name}: {}\n{}", said.lines.join("\n"), said.stderr);
    assert!(said.stderr.contains(says), "{name}: {}", said.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_changes_are_streamed() {
    let pair = TestPair::start(15, 15);
    for (name, _, statements, says) in CHANGES {
        let stage = Stage::new(&pair, name, DDL, TABLES, "").await;
        let mut running = stage.start("");
        running.wait_for(READY);
        for statement in statements {
            let publication = format!("ALTER PUBLICATION {}", publication(&stage).await);
            run(&stage.source, &statement.replace("ALTER PUBLICATION pcrd", &publication)).await;
        }
        // Nobody asked for anything: the look itself stops it.
        let said = tokio::task::block_in_place(|| running.finish());
        assert_stale(name, &said, says);
        assert_eq!(stage.cut_over().code, Some(4), "{name}: it goes on at the next start");
        stage.end().await;
    }
}

async fn publication(stage: &Stage) -> String {
    text(&stage.source, "SELECT quote_ident(pubname) FROM pg_publication").await
}

#[tokio::test(flavor = "multi_thread")]
async fn while_rows_are_copied_and_while_nobody_looks() {
    let pair = TestPair::start(15, 15);
    for (name, _, statements, says) in &CHANGES[..8] {
        let stage =
            Stage::new(&pair, &format!("{name}_midway"), DDL, TABLES, "  batch_size: 100\n  workers: 1\n").await;
        let running = stage.start("chunk.after-commit=sleep(300)");
        stage.until_target("SELECT count(*) >= 2 FROM pcrd.chunk").await;
        for statement in *statements {
            run(&stage.source, statement).await;
        }
        let said = tokio::task::block_in_place(|| running.finish());
        assert_stale(name, &said, says);
        stage.end().await;

        let stage = Stage::new(&pair, &format!("{name}_unseen"), DDL, TABLES, "").await;
        stage.migration.ok(&["apply", "plan.json", "--yes", "--through", "catchup"]);
        for statement in *statements {
            run(&stage.source, statement).await;
        }
        assert_stale(name, &stage.cut_over(), says);
        stage.end().await;
    }
}

/// The usual partition of tomorrow.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_partition_that_comes_is_followed() {
    for majors in [(15, 15), (13, 15)] {
        let pair = TestPair::start(majors.0, majors.1);
        let stage = Stage::new(&pair, "tomorrow", DDL, TABLES, "").await;
        let mut running = stage.start("");
        running.wait_for(READY);
        run(&stage.source, "CREATE TABLE items_3 PARTITION OF items FOR VALUES FROM (5000) TO (6000)").await;
        running.wait_for("public.items_3, which is followed");
        run(&stage.source, "INSERT INTO items SELECT g, g FROM generate_series(5000, 5100) g").await;
        run(&stage.source, "UPDATE items SET id = id + 4900 WHERE id BETWEEN 300 AND 400 AND id NOT IN (300)").await;
        let guarded = "SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'items_3'::regclass AND tgname = 'pcrd_no_truncate')";
        stage.until_source(guarded).await;
        let refused = stage.source.batch_execute("TRUNCATE items_3").await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "25006");
        run(&stage.source, "ALTER TABLE items_1 RENAME TO items_first").await;
        stage.until_applied().await;
        running.kill();
        // One that came while nobody looked, and has no rows yet.
        run(
            &stage.source,
            "CREATE TABLE items_4 PARTITION OF items FOR VALUES FROM (6000) TO (7000) PARTITION BY RANGE (id)",
        )
        .await;
        run(&stage.source, "CREATE TABLE items_4a PARTITION OF items_4 FOR VALUES FROM (6000) TO (7000)").await;
        let mut running = stage.start("");
        running.wait_for(READY);
        run(&stage.source, "INSERT INTO items SELECT g, g FROM generate_series(6000, 6100) g").await;
        running.kill();
        stage.cut_over().assert_switched();
        stage.assert_equal(EQUAL[0], EQUAL[1]).await;
        for leaf in ["items_3", "items_4a", "items_first"] {
            let refused = stage.source.batch_execute(&format!("DELETE FROM {leaf}")).await.unwrap_err();
            assert_eq!(refused.code().unwrap().code(), "25006", "{leaf}");
        }
    }
}

/// A chunk that reads through a snapshot of before it came sees fewer partitions than the last look, and none is gone.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_partition_that_comes_while_a_chunk_is_read() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "midway", DDL, TABLES, "  batch_size: 100\n  workers: 1\n").await;
    let mut running = stage.start("chunk.after-snapshot=sleep(2000)");
    for (nth, from) in [(3, 5000), (4, 6000)] {
        stage.until_target(&format!("SELECT count(*) = {} FROM pcrd.chunk", nth - 2)).await;
        let to = from + 1000;
        run(&stage.source, &format!("CREATE TABLE items_{nth} PARTITION OF items FOR VALUES FROM ({from}) TO ({to})"))
            .await;
        running.wait_for(&format!("public.items_{nth}, which is followed"));
        run(&stage.source, &format!("INSERT INTO items SELECT g, g FROM generate_series({from}, {from} + 50) g")).await;
        run(&stage.source, &format!("UPDATE items SET id = id + {from} - 1000 WHERE id BETWEEN 1500 AND 1510")).await;
    }
    running.wait_for(READY);
    running.kill();
    stage.cut_over().assert_switched();
    stage.assert_equal(EQUAL[0], EQUAL[1]).await;
}

/// Created and filled while nobody looked: nothing tells that all of its rows are in the stream.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_was_filled_while_nobody_looked() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "filled", DDL, TABLES, "").await;
    stage.migration.ok(&["apply", "plan.json", "--yes", "--through", "catchup"]);
    run(
        &stage.source,
        "CREATE TABLE items_3 PARTITION OF items FOR VALUES FROM (5000) TO (6000); INSERT INTO items VALUES (5001, 1)",
    )
    .await;
    assert_stale("filled", &stage.cut_over(), "items_3 came with rows");
}

/// Between plan and apply partitions come and go as they like.
#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_look() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "early", DDL, TABLES, "").await;
    run(&stage.source, "ALTER TABLE items ATTACH PARTITION extra FOR VALUES FROM (3000) TO (4000); DROP TABLE items_1")
        .await;
    stage.cut_over().assert_switched();
    stage.assert_equal(EQUAL[0], EQUAL[1]).await;
}

/// A new plan over the same run copies the table again, with what was attached and without what was dropped.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_attached_is_copied_by_a_new_plan() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "once_more", DDL, TABLES, "").await;
    stage.migration.ok(&["apply", "plan.json", "--yes", "--through", "catchup"]);
    run(&stage.source, "ALTER TABLE items ATTACH PARTITION extra FOR VALUES FROM (3000) TO (4000); DROP TABLE items_1")
        .await;
    assert_eq!(stage.cut_over().code, Some(4));
    stage.migration.ok(&["plan", "--out", "new.json"]);
    let args = ["--json", "apply", "new.json", "--adopt", "--yes", "--through", "cutover"];
    let said = tokio::task::block_in_place(|| stage.migration.start(&args, "").wait());
    said.assert_switched();
    stage.assert_equal(EQUAL[0], EQUAL[1]).await;
    stage.migration.ok(&["cleanup", "--yes", "--open-source"]);
    assert_eq!(text(&stage.source, "SELECT count(*)::text FROM pg_trigger WHERE NOT tgisinternal").await, "0");
}
