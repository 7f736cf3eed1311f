//! TRUNCATE on the source at every moment: what it removed must not come back, and what came after it must be there.

use std::time::Duration;

use crate::migration::{Migration, Said};
use crate::stage::Stage;
use crate::support::{TestPair, connect_to, run, sorted_copy, text};
use crate::writers::{INT, KEYLESS, KeyKind, Writers};

const DDL: &str = "
    CREATE TABLE items (id serial PRIMARY KEY, n integer, big text);
    CREATE TABLE parts (id integer PRIMARY KEY, item integer REFERENCES items ON UPDATE CASCADE, n integer);
    CREATE TABLE loose (a integer, b text);
    ALTER TABLE loose REPLICA IDENTITY FULL;
    ALTER TABLE items ALTER COLUMN big SET STORAGE EXTERNAL;
    INSERT INTO items (n, big) SELECT g, repeat('x', 3000) FROM generate_series(1, 600) g;
    INSERT INTO parts SELECT g, g, g FROM generate_series(1, 600) g;
    INSERT INTO loose SELECT g % 50, 'b' FROM generate_series(1, 200) g;
    ANALYZE";

const TABLES: &str = "    - name: items
      columns: { id: { type: bigint } }
    - name: parts
      columns: { id: { type: bigint } }
    - name: loose
      columns: { a: { type: bigint } }
";

/// What is done, and whether it truncates.
const CHANGES: [(&str, &str, bool); 8] = [
    ("plain", "TRUNCATE parts", true),
    ("several", "TRUNCATE items, parts, loose", true),
    ("cascaded", "TRUNCATE items CASCADE", true),
    ("restart", "TRUNCATE items, parts RESTART IDENTITY", true),
    (
        "filled_again",
        "BEGIN; UPDATE parts SET n = -1 WHERE id < 50; TRUNCATE items, parts, loose; \
         INSERT INTO items (id, n, big) SELECT g, -g, repeat('y', 3000) FROM generate_series(1, 600, 2) g; \
         INSERT INTO parts SELECT g, g, -g FROM generate_series(1, 600, 2) g; INSERT INTO loose VALUES (1, NULL), (1, NULL); COMMIT",
        true,
    ),
    (
        "twice",
        "BEGIN; TRUNCATE parts, loose; INSERT INTO parts SELECT g, NULL, 1 FROM generate_series(1, 300) g; \
         INSERT INTO loose VALUES (9, 'gone'); TRUNCATE parts, loose; INSERT INTO parts VALUES (7, NULL, 7), (590, NULL, 7); \
         INSERT INTO loose VALUES (9, 'kept'); COMMIT",
        true,
    ),
    (
        "savepoint",
        "BEGIN; SAVEPOINT s; TRUNCATE items, parts, loose; INSERT INTO loose VALUES (8, 'gone'); ROLLBACK TO s; \
         UPDATE items SET n = n + 1; COMMIT",
        false,
    ),
    ("rolled_back", "BEGIN; TRUNCATE items, parts, loose; INSERT INTO items (n) VALUES (1); ROLLBACK", false),
];

/// Rows in ranges that are copied, being copied and not copied yet.
const AFTERWARDS: &str = "
    INSERT INTO items (id, n, big) SELECT g, 5, repeat('z', 2500) FROM generate_series(1, 900, 7) g ON CONFLICT DO NOTHING;
    UPDATE items SET n = 6, big = big || 'w' WHERE id % 5 = 0;
    UPDATE items SET id = id + 2000 WHERE id % 11 = 0;
    INSERT INTO parts SELECT g, NULL, 5 FROM generate_series(1, 900, 7) g ON CONFLICT DO NOTHING;
    DELETE FROM parts WHERE id % 4 = 0;
    INSERT INTO loose SELECT g % 3, 'after' FROM generate_series(1, 20) g";

async fn assert_exact(stage: &Stage, said: &Said) {
    said.assert_switched();
    stage.assert_equal("SELECT id, n, big FROM items", "SELECT id, n, big FROM items").await;
    stage.assert_equal("SELECT id, item, n FROM parts", "SELECT id, item, n FROM parts").await;
    stage.assert_equal("SELECT a, b FROM loose", "SELECT a, b FROM loose").await;
    // The sequence goes on behind everything that was given out on the source.
    let next = |client| text(client, "SELECT nextval(pg_get_serial_sequence('items', 'id'))::text");
    let (source, target) = (next(&stage.source).await, next(&stage.target).await);
    assert!(target.parse::<i64>().unwrap() >= source.parse::<i64>().unwrap(), "{}: {target} < {source}", stage.name);
    let last = text(&stage.target, "SELECT coalesce(max(id), 0)::text FROM items").await;
    let used: i64 =
        text(&stage.source, "SELECT coalesce(max(id), 0)::text FROM items WHERE id < 2000").await.parse().unwrap();
    assert!(target.parse::<i64>().unwrap() > used.min(last.parse().unwrap()), "{}: {target} is in use", stage.name);
}

/// One worker copies `items` first: `parts` is not begun while a chunk of `items` is held.
async fn stages(moment: &str) -> Vec<(Stage, &'static str, bool, TestPairRef)> {
    let pair = std::sync::Arc::new(TestPair::start(15, 15));
    let mut stages = Vec::new();
    for (name, sql, truncates) in CHANGES {
        let name = format!("{name}_{moment}");
        let stage = Stage::new(&pair, &name, DDL, TABLES, "  batch_size: 100\n  workers: 1\n").await;
        stages.push((stage, sql, truncates, std::sync::Arc::clone(&pair)));
    }
    stages
}

type TestPairRef = std::sync::Arc<TestPair>;

#[tokio::test(flavor = "multi_thread")]
async fn before_a_table_is_copied() {
    for (stage, sql, _, pair) in stages("before").await {
        let mut running = stage.start("");
        let holder = stage.hold_chunks(&pair).await;
        stage.until_held().await;
        run(&stage.source, sql).await;
        run(&stage.source, AFTERWARDS).await;
        run(&holder, "COMMIT").await;
        running.wait_for("\"gate\"");
        stage.until_applied().await;
        running.kill();
        let said = stage.cut_over();
        assert_exact(&stage, &said).await;
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_table_is_copied() {
    let mut gate_waits = 0;
    for (stage, sql, truncates, pair) in stages("midway").await {
        let running = stage.start_through("chunk.after-commit=sleep(120)");
        stage.until_target("SELECT count(*) >= 2 FROM pcrd.chunk").await;
        let holder = stage.hold_chunks(&pair).await;
        // Chunks are committed, one is read and not committed, others are to come.
        stage.until_held().await;
        let copied = text(&stage.target, "SELECT count(*)::text FROM pcrd.chunk WHERE tbl LIKE '%items'").await;
        assert!((2..6).contains(&copied.parse::<u32>().unwrap()), "{copied} chunks");
        run(&stage.source, sql).await;
        run(&stage.source, AFTERWARDS).await;
        // Time for the stream to get to the gate.
        tokio::time::sleep(Duration::from_millis(200)).await;
        run(&holder, "COMMIT").await;
        let said = tokio::task::block_in_place(|| running.finish());
        assert_exact(&stage, &said).await;
        assert_eq!(Stage::counter(&said, "truncates") > 0, truncates, "{}: {:?}", stage.name, said.counters());
        gate_waits += Stage::counter(&said, "gate_waits");
        stage.end().await;
    }
    assert!(gate_waits > 0, "nothing met the gate");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_changes_are_streamed() {
    for (stage, sql, truncates, _pair) in stages("streaming").await {
        let mut running = stage.start("");
        running.wait_for("\"gate\"");
        run(&stage.source, sql).await;
        run(&stage.source, AFTERWARDS).await;
        if truncates {
            // Killed with the TRUNCATE applied, or not, or being applied.
            tokio::time::sleep(Duration::from_millis(20)).await;
        } else {
            stage.until_applied().await;
        }
        running.kill();
        let said = stage.cut_over();
        assert_exact(&stage, &said).await;
        stage.end().await;
    }
}

/// The reader of a chunk keeps TRUNCATE waiting: a snapshot older than it would silently read nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_is_being_read_keeps_it_waiting() {
    let pair = TestPair::start(15, 15);
    let more = "  batch_size: 10000\n  workers: 1\n";
    let stage = Stage::new(&pair, "reading", DDL, TABLES, more).await;
    let running = stage.start_through("chunk.after-snapshot=sleep(2500)");
    let other = connect_to(&pair.source, "reading").await;
    stage
        // Looking for a chunk's end, or for a snapshot that will do, takes the lock too, for a moment.
        .until_source("SELECT count(*) > 0 FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.relation = 'items'::regclass AND a.application_name LIKE '%copy%' AND a.state = 'idle in transaction' AND a.state_change < clock_timestamp() - interval '300 milliseconds'")
        .await;
    let truncating = tokio::spawn(async move {
        run(&other, "TRUNCATE items, parts, loose").await;
        run(&other, AFTERWARDS).await;
    });
    stage.until_source("SELECT count(*) > 0 FROM pg_locks WHERE relation = 'items'::regclass AND NOT granted").await;
    let said = tokio::task::block_in_place(|| running.finish());
    truncating.await.unwrap();
    assert_exact(&stage, &said).await;
    assert!(Stage::counter(&said, "truncates") > 0, "{:?}", said.counters());
}

/// Whoever wants the table for itself has a transaction id while it waits for our lock, and creating the slot waits for
/// every transaction id: the slot must give way, or the table stays shut until somebody's patience ends.
#[tokio::test(flavor = "multi_thread")]
async fn while_the_slot_is_created() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "entangled", DDL, TABLES, "  workers: 1\n").await;
    // An open transaction keeps the slot from being created until the TRUNCATE waits for the guard.
    let open = connect_to(&pair.source, "entangled").await;
    run(&open, "BEGIN; INSERT INTO items (n) VALUES (1)").await;
    let running = stage.start_through("");
    stage
        .until_source("SELECT count(*) > 0 FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.relation = 'loose'::regclass AND a.application_name LIKE '%guard%'")
        .await;
    let other = connect_to(&pair.source, "entangled").await;
    let began = std::time::Instant::now();
    run(&other, "BEGIN; TRUNCATE loose; INSERT INTO loose VALUES (1, 'new'); COMMIT").await;
    let waited = began.elapsed();
    run(&open, "COMMIT").await;
    let said = tokio::task::block_in_place(|| running.finish());
    assert!(waited < Duration::from_secs(30), "TRUNCATE waited {waited:?}");
    assert_exact(&stage, &said).await;
    assert!(said.lines.iter().any(|line| line.contains("the slot was given up for now")), "{:?}", said.lines);
}

/// A TRUNCATE that waits for the lock under which a table is read whole must not come between that lock and the reader.
#[tokio::test(flavor = "multi_thread")]
async fn before_a_table_is_read_whole() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "queued", DDL, TABLES, "  workers: 1\n").await;
    let running = stage.start_through("setup.after-progress=sleep(2000)");
    stage.until_target("SELECT count(*) > 0 FROM pcrd.progress").await;
    let other = connect_to(&pair.source, "queued").await;
    let truncating = tokio::spawn(async move {
        run(&other, "TRUNCATE loose; INSERT INTO loose VALUES (2, 'new')").await;
    });
    stage.until_source("SELECT count(*) > 0 FROM pg_locks WHERE relation = 'loose'::regclass AND NOT granted").await;
    let said = tokio::task::block_in_place(|| running.finish());
    truncating.await.unwrap();
    assert_exact(&stage, &said).await;
}

/// Random writers, a TRUNCATE every few hundred milliseconds, and a kill.
async fn in_a_storm(kind: KeyKind, rows: u32) {
    let pair = TestPair::start(15, 15);
    let source = connect_to(&pair.source, "postgres").await;
    run(&source, &kind.ddl(rows)).await;
    let more = "  batch_size: 150\n  workers: 2\n  max_rows_per_second: 600\n  lag_threshold_bytes: 33554432";
    let migration = Migration::new(&pair, &kind.yaml(), more);
    migration.plan();
    let writers = Writers::start(&pair, kind, rows, if kind.has_key { 4 } else { 1 }, false).await;
    let truncator = connect_to(&pair.source, "postgres").await;
    let fill = format!(
        "INSERT INTO items ({}, n) SELECT {}, 3 FROM generate_series(1, {rows}) g",
        kind.names,
        kind.nth.replace("$n", "g")
    );
    let truncating = tokio::spawn(async move {
        let mut done = 0;
        for sql in ["TRUNCATE items", &fill, "BEGIN; TRUNCATE items; {fill}; COMMIT", "BEGIN; TRUNCATE items; ROLLBACK"]
            .iter()
            .cycle()
        {
            tokio::time::sleep(Duration::from_millis(150)).await;
            match truncator.batch_execute(&sql.replace("{fill}", &fill)).await {
                Ok(()) => done += 1,
                Err(error) if error.code().is_none_or(|code| code.code() == "25006") => break,
                // A row of a writer is in the way of the filling.
                Err(_) => {
                    let _closed = truncator.batch_execute("ROLLBACK").await;
                }
            }
        }
        done
    });
    let mut first = migration.start(&["--json", "apply", "plan.json", "--yes"], "");
    first.wait_for("step_progress");
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    first.kill();
    let said = tokio::task::block_in_place(|| migration.cut_over(""));
    writers.stop().await;
    let truncates = truncating.await.unwrap();
    said.assert_switched();
    let target = connect_to(&pair.target, "postgres").await;
    let left = sorted_copy(&source, &kind.source_query()).await;
    assert!(left == sorted_copy(&target, &kind.target_query()).await, "{}: source and target differ", kind.name);
    assert!(truncates >= 5, "only {truncates} statements of the truncator");
    assert!(Stage::counter(&said, "truncates") > 0, "{:?}", said.counters());
}

#[tokio::test(flavor = "multi_thread")]
async fn with_writers_and_a_kill() {
    in_a_storm(INT, 2_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_writers_and_a_kill_without_a_key() {
    in_a_storm(KEYLESS, 300).await;
}

/// PG 10 does not send TRUNCATE: it is refused on the source, for everybody, until the migration is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_send_it_refuses_it() {
    let pair = TestPair::start(10, 15);
    let stage = Stage::new(&pair, "old", DDL, TABLES, "  batch_size: 100\n  workers: 1\n").await;
    let mut running = stage.start("chunk.after-commit=sleep(100)");
    let refused = async |when: &str| {
        for sql in [
            "TRUNCATE parts",
            "TRUNCATE items CASCADE",
            "SET session_replication_role = replica; TRUNCATE loose",
            "SET session_replication_role = origin; TRUNCATE items, parts, loose RESTART IDENTITY",
        ] {
            let error = stage.source.batch_execute(sql).await.expect_err(sql);
            assert_eq!(error.code().unwrap().code(), "25006", "{when}: {sql}: {error}");
        }
        run(&stage.source, "RESET session_replication_role").await;
    };
    stage.until_target("SELECT count(*) >= 1 FROM pcrd.chunk").await;
    refused("while copying").await;
    running.wait_for("\"gate\"");
    refused("while streaming").await;
    running.kill();
    refused("while pcrd is away").await;
    run(&stage.source, "DELETE FROM loose; DELETE FROM parts; INSERT INTO loose VALUES (1, 'again')").await;
    run(&stage.source, AFTERWARDS).await;
    let said = stage.cut_over();
    assert_exact(&stage, &said).await;

    let other = Stage::new(&pair, "given_up", DDL, TABLES, "").await;
    let mut running = other.start("");
    running.wait_for("\"gate\"");
    running.kill();
    other.migration.ok(&["abort", "--yes"]);
    run(&other.source, "TRUNCATE items, parts, loose").await;
}
