//! Transactions larger than memory should be: exact, and pcrd does not keep them.

use crate::migration::Running;
use crate::stage::Stage;
use crate::support::{TestPair, connect_to, run, text};

const ROWS: u32 = 100_000;

/// Peak memory that is allowed while transactions of more than 100 MB pass.
const PEAK_KB_MAX: u64 = 250_000;

/// A wide column makes the transactions large, not the table.
const DDL: &str = "
    CREATE TABLE items (id integer PRIMARY KEY, n integer NOT NULL, pad text);
    CREATE TABLE parts (id integer PRIMARY KEY, n integer NOT NULL);
    CREATE TABLE loose (a integer NOT NULL, n integer);
    ALTER TABLE loose REPLICA IDENTITY FULL;
    CREATE INDEX loose_a ON loose (a);
    INSERT INTO items SELECT g, 0, '' FROM generate_series(1, 100000) g;
    INSERT INTO parts SELECT g, 0 FROM generate_series(1, 20000) g;
    INSERT INTO loose SELECT g, 0 FROM generate_series(1, 2000) g;
    ANALYZE";

const TABLES: &str = "    - name: items
      columns: { id: { type: bigint } }
    - name: parts
      columns: { id: { type: bigint } }
    - name: loose
      columns: { a: { type: bigint } }
";

/// 200,000 row changes and more than 100 MB, over three tables.
fn wide() -> String {
    format!(
        "BEGIN; UPDATE items SET n = n + 1, pad = repeat(md5(id::text || n), 30) WHERE id <= {half}; \
         UPDATE parts SET n = n + 1; DELETE FROM loose WHERE a % 10 = 0; INSERT INTO loose SELECT g, NULL FROM generate_series(5000, 5100) g; \
         UPDATE items SET n = n + 1, pad = repeat(md5(id::text || n), 30) WHERE id <= {half}; \
         UPDATE items SET n = n + 1, pad = '' WHERE id <= {half}; \
         UPDATE items SET id = id + 1000000 WHERE id % 100 = 7; DELETE FROM items WHERE id % 100 = 8; \
         INSERT INTO items SELECT g, 3, 'new' FROM generate_series(500000, 530000) g; DELETE FROM items WHERE id BETWEEN 500000 AND 530000; COMMIT",
        half = ROWS / 2
    )
}

/// 10,000 subtransactions, every third rolled back, some nested.
const SUBTRANSACTIONS: &str = "DO $$ BEGIN
    FOR i IN 1..10000 LOOP
      BEGIN
        UPDATE items SET n = n + 1 WHERE id = i * 9;
        INSERT INTO parts VALUES (100000 + i, i);
        IF i % 3 = 0 THEN RAISE EXCEPTION 'back'; END IF;
        BEGIN
          UPDATE loose SET n = i WHERE a = i;
          IF i % 5 = 0 THEN RAISE EXCEPTION 'back'; END IF;
        EXCEPTION WHEN raise_exception THEN DELETE FROM parts WHERE id = i;
        END;
      EXCEPTION WHEN raise_exception THEN NULL;
      END;
    END LOOP; END $$";

/// Peak resident memory in kilobytes.
fn peak_kb(running: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn assert_exact(stage: &Stage) {
    for query in ["SELECT id, n, pad FROM items", "SELECT id, n FROM parts", "SELECT a, n FROM loose"] {
        stage.assert_equal(query, query).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_transactions_are_exact_and_not_kept() {
    let pair = TestPair::start(15, 15);
    let more = "  batch_size: 5000\n  workers: 2\n";
    let stage = Stage::new(&pair, "large", DDL, TABLES, more).await;
    let mut running = stage.start("chunk.after-commit=sleep(100)");
    // While the tables are copied: parts of the transaction are discarded, skipped, applied.
    stage.until_target("SELECT count(*) >= 2 FROM pcrd.chunk").await;
    let holder = stage.hold_chunks(&pair).await;
    run(&stage.source, &wide()).await;
    run(&holder, "COMMIT").await;
    running.wait_for("\"gate\"");
    stage.until_applied().await;
    assert_exact(&stage).await;
    let before = text(&stage.source, "SELECT pg_current_wal_insert_lsn()::text").await;
    let again =
        wide().replace("1000000", "2000000").replace("% 100 = 7", "% 100 = 9").replace("% 100 = 8", "% 100 = 11");
    run(&stage.source, &again).await;
    let size = format!("SELECT (pg_current_wal_insert_lsn() - '{before}'::pg_lsn > 100000000)::text");
    assert_eq!(text(&stage.source, &size).await, "true", "the transaction is too small to prove anything");
    run(&connect_to(&pair.source, "large").await, SUBTRANSACTIONS).await;
    stage.until_applied().await;
    let peak = peak_kb(&running);
    println!("peak memory {peak} kB");
    assert!(peak < PEAK_KB_MAX, "pcrd took {peak} kB");
    assert_exact(&stage).await;
    let first = tokio::task::block_in_place(|| running.interrupt());
    assert!(Stage::counter(&first, "changes") > 200_000, "{:?}", first.counters());
    for counter in ["discarded", "applied_over_chunk"] {
        assert!(Stage::counter(&first, counter) > 0, "{counter}: {:?}", first.counters());
    }
    run(&stage.source, SUBTRANSACTIONS.replace("100000 + i", "200000 + i").as_str()).await;
    stage.cut_over().assert_switched();
    assert_exact(&stage).await;
}

/// Killed in the middle of a large transaction: nothing of it is on the target, and then all of it.
#[tokio::test(flavor = "multi_thread")]
async fn killed_inside_a_large_transaction() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "halfway", DDL, TABLES, "").await;
    let mut running = stage.start("apply.mid-transaction=30000*off->return(kill)");
    running.wait_for("\"gate\"");
    run(&stage.source, &wide()).await;
    let said = tokio::task::block_in_place(|| running.finish());
    assert_eq!(said.code, None, "it did not die: {}", said.stderr);
    assert_eq!(text(&stage.target, "SELECT max(n)::text FROM items").await, "0");
    stage.cut_over().assert_switched();
    assert_exact(&stage).await;
}
