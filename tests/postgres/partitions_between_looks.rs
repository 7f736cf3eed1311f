//! Partitions that come and go while nobody looks: no row of theirs stays on the target without a word.

use crate::stage::Stage;
use crate::support::{TestPair, connect_to, run};

const DDL: &str = "CREATE TABLE items (id integer PRIMARY KEY, n integer) PARTITION BY RANGE (id);
    CREATE TABLE items_1 PARTITION OF items FOR VALUES FROM (0) TO (1000);
    INSERT INTO items SELECT g, g FROM generate_series(1, 999) g; ANALYZE;
    CREATE TABLE extra (id integer PRIMARY KEY, n integer); INSERT INTO extra SELECT g, g FROM generate_series(3000, 3100) g";
const TABLES: &str = "    - { name: items, partitions: none }\n";
const READY: &str = "\"type\":\"gate\",\"ready\":true";
const ROWS: &str = "SELECT id, n FROM items";
/// Only what is asked for is looked at.
const NO_LOOKS: &str = "rule.look=return";
const COMES: &str = "CREATE TABLE items_9 PARTITION OF items FOR VALUES FROM (9000) TO (9999)";
/// Each statement is a transaction.
const WAYS: [(&str, &[&str]); 4] = [
    ("dropped", &[COMES, "INSERT INTO items VALUES (9001, 1)", "DROP TABLE items_9"]),
    ("detached", &[COMES, "INSERT INTO items VALUES (9001, 1)", "ALTER TABLE items DETACH PARTITION items_9"]),
    (
        "attached",
        &[
            "ALTER TABLE items ATTACH PARTITION extra FOR VALUES FROM (3000) TO (4000)",
            "UPDATE items SET n = 0 WHERE id = 3001",
            "ALTER TABLE items DETACH PARTITION extra",
        ],
    ),
    // Its file is the one that it was created with, and the rows are in the stream.
    (
        "truncated",
        &["BEGIN; CREATE TABLE items_9 PARTITION OF items FOR VALUES FROM (9000) TO (9999); \
                     INSERT INTO items VALUES (9001, 1); TRUNCATE items_9; COMMIT"],
    ),
];

/// The next plan over the same run copies the table again.
async fn a_new_plan_goes_on(stage: &Stage) {
    stage.migration.ok(&["plan", "--out", "new.json"]);
    let args = ["--json", "apply", "new.json", "--adopt", "--yes", "--through", "cutover"];
    tokio::task::block_in_place(|| stage.migration.start(&args, "").wait()).assert_switched();
    stage.assert_equal(ROWS, ROWS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn written_between_two_looks() {
    for majors in [(15, 15), (13, 15)] {
        let pair = TestPair::start(majors.0, majors.1);
        for (name, statements) in WAYS {
            let stage = Stage::new(&pair, name, DDL, TABLES, "").await;
            let mut running = stage.start(NO_LOOKS);
            running.wait_for(READY);
            for statement in statements {
                run(&stage.source, statement).await;
            }
            // The stream alone tells.
            let said = tokio::task::block_in_place(|| running.finish());
            assert_eq!(said.code, Some(4), "{name}: {}\n{}", said.lines.join("\n"), said.stderr);
            assert!(said.stderr.contains("its partition public."), "{name}: {}", said.stderr);
            let again = stage.cut_over();
            assert_eq!(again.code, Some(4), "{name}: it goes on at the next start: {}", again.stderr);
            a_new_plan_goes_on(&stage).await;
            stage.end().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn written_while_nothing_runs() {
    let pair = TestPair::start(15, 15);
    for (name, statements) in WAYS {
        let stage = Stage::new(&pair, name, DDL, TABLES, "").await;
        stage.migration.ok(&["apply", "plan.json", "--yes", "--through", "catchup"]);
        for statement in statements {
            run(&stage.source, statement).await;
        }
        let said = stage.cut_over();
        assert_eq!(said.code, Some(4), "{name}: {}\n{}", said.lines.join("\n"), said.stderr);
        stage.end().await;
    }
}

/// The planner sees a partition that was attached behind the chunk's snapshot, and the look through that snapshot does not.
#[tokio::test(flavor = "multi_thread")]
async fn read_between_two_looks() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "read", DDL, TABLES, "  batch_size: 100000\n  workers: 1\n").await;
    let running = stage.start_through(&format!("{NO_LOOKS};chunk.after-snapshot=sleep(3000)"));
    let reads = "SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.relation = 'items'::regclass \
                 AND l.mode = 'AccessShareLock' AND l.granted AND a.state = 'idle in transaction' \
                 AND clock_timestamp() - a.state_change > interval '300 ms')";
    stage.until_source(reads).await;
    run(&stage.source, "ALTER TABLE items ATTACH PARTITION extra FOR VALUES FROM (3000) TO (4000)").await;
    // Waits for the chunk.
    run(&connect_to(&pair.source, "read").await, "ALTER TABLE items DETACH PARTITION extra").await;
    let said = tokio::task::block_in_place(|| running.finish());
    assert_eq!(said.code, Some(4), "{}\n{}", said.lines.join("\n"), said.stderr);
    assert!(said.stderr.contains("extra came with rows while rows were read"), "{}", said.stderr);
    stage.cut_over().assert_switched();
    stage.assert_equal(ROWS, ROWS).await;
}
