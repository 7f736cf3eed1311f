//! `verify --one-moment`: every row of both ends as of one position, under writers, and for nobody who waits.

use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::stage::Stage;
use crate::support::{TestPair, connect_to, run, text};

const READY: &str = "\"type\":\"gate\",\"ready\":true";
const DDL: &str = "CREATE TABLE items (id integer PRIMARY KEY, n integer, t text);
    INSERT INTO items SELECT g, 0, 'a' || g FROM generate_series(1, 20000) AS g;
    CREATE TABLE bag (n integer, t text);
    CREATE INDEX ON bag (n);
    ALTER TABLE bag REPLICA IDENTITY FULL;
    INSERT INTO bag SELECT g, 't' FROM generate_series(1, 2000) AS g;
    ANALYZE";
const YAML: &str = "    - { name: items, columns: { id: { type: bigint }, t: { rename: u } } }\n    - name: bag\n";

fn verify(stage: &Stage, args: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } =
        tokio::task::block_in_place(|| stage.migration.run(&[&["verify", "--one-moment"], args].concat()));
    // An error is broken to the width of the screen.
    let words = (String::from_utf8_lossy(&stdout) + String::from_utf8_lossy(&stderr)).replace('│', "");
    (status.code(), words.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn json(stage: &Stage) -> (Value, String) {
    let Output { stdout, stderr, .. } =
        tokio::task::block_in_place(|| stage.migration.run(&["--json", "verify", "--one-moment"]));
    let said = String::from_utf8_lossy(&stderr).into_owned();
    (serde_json::from_slice(&stdout).unwrap_or_else(|_| panic!("{said}")), said)
}

const LEFT: &str = "SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'pcrd_verify%'";

/// Two tables are written in one transaction, one of them without a key: it is never at rest, and compared all the same.
async fn under_writers((from, to): (u32, u32)) {
    let pair = TestPair::start(from, to);
    let stage = Stage::new(&pair, "moment", DDL, YAML, "").await;
    let mut running = stage.start("");
    running.wait_for(READY);

    let stop = Arc::new(AtomicBool::new(false));
    let written = Arc::new(AtomicU64::new(0));
    let mut writers = Vec::new();
    for writer in 0..2 {
        let client = connect_to(&pair.source, "moment").await;
        let (stop, written) = (Arc::clone(&stop), Arc::clone(&written));
        writers.push(tokio::spawn(async move {
            for n in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let (id, row) = ((n * 37 + writer) % 7_000 + 1, (n * 2 + writer) % 1_000 + 1);
                let write = format!(
                    "BEGIN; UPDATE items SET n = n + 1 WHERE id = {id}; UPDATE bag SET t = 't{n}' WHERE n = {row}; \
                     INSERT INTO items VALUES ({}, 1, 'new'); COMMIT",
                    100_000 + n * 2 + writer
                );
                client.batch_execute(&write).await.unwrap();
                written.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(4)).await;
            }
        }));
    }
    for _ in 0..5 {
        let before = written.load(Ordering::Relaxed);
        let (report, said) = json(&stage);
        assert!(report["passed"] == true, "{report} {said}");
        assert!(said.contains("every row was compared as of "), "{said}");
        for table in report["tables"].as_array().unwrap() {
            assert_eq!(table["rows_source"], table["rows_target"], "{report}");
            assert_eq!(table["rows_source"], table["rows_compared"], "of one moment all rows are compared: {report}");
            assert_eq!(table["keys_pending"], 0, "{report}");
        }
        assert!(written.load(Ordering::Relaxed) > before, "nobody wrote meanwhile");
    }
    // What is wrong is found, with and without a key, while they write.
    run(
        &stage.target,
        "UPDATE items SET u = '' WHERE id = 7777; DELETE FROM bag WHERE ctid = (SELECT min(ctid) FROM bag WHERE n = 1500)",
    )
    .await;
    let (code, said) = verify(&stage, &["--paranoid"]);
    assert!(
        code == Some(5) && said.contains("row (7777) differs in u") && said.contains("missing on the target"),
        "{said}"
    );
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    run(&stage.target, "UPDATE items SET u = 'a7777' WHERE id = 7777").await;
    let row = text(&stage.source, "SELECT t FROM bag WHERE n = 1500").await;
    run(&stage.target, &format!("INSERT INTO bag VALUES (1500, '{row}')")).await;
    let (code, said) = verify(&stage, &[]);
    assert!(code == Some(0) && said.contains("passed in full"), "{said}");
    assert_eq!(text(&stage.source, LEFT).await, "0", "its slot is gone");
    drop(tokio::task::block_in_place(|| running.interrupt()));
    stage.cut_over().assert_switched();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_never_at_rest_is_compared() {
    under_writers((15, 15)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_never_at_rest_is_compared_from_10_to_18() {
    under_writers((10, 18)).await;
}

/// A transaction that writes for long keeps the position from being known: the stream goes on without it.
#[tokio::test(flavor = "multi_thread")]
async fn beside_a_transaction_that_does_not_end() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "moment", DDL, YAML, "").await;
    let mut running = stage.start("");
    running.wait_for(READY);
    let long = connect_to(&pair.source, "moment").await;
    long.batch_execute("BEGIN; UPDATE items SET n = 9 WHERE id = 9").await.unwrap();
    let (code, said) = verify(&stage, &[]);
    assert!(code == Some(1) && said.contains("not compared at one moment"), "{code:?} {said}");
    assert!(said.contains("transactions that write on the source have not ended within"), "{said}");
    assert!(!said.contains("passed"), "{said}");
    run(&stage.source, "UPDATE items SET n = 10 WHERE id = 10").await;
    stage.until_applied().await;
    assert_eq!(text(&stage.source, LEFT).await, "0");
    long.batch_execute("COMMIT").await.unwrap();
    let (code, said) = verify(&stage, &[]);
    assert!(code == Some(0) && said.contains("passed in full"), "{said}");
    drop(tokio::task::block_in_place(|| running.interrupt()));
    stage.cut_over().assert_switched();
}

/// Who would change a table waits for its readers, and everybody else for him: nobody is made to.
#[tokio::test(flavor = "multi_thread")]
async fn it_gives_way() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "moment", DDL, &format!("{YAML}verify: {{ max_rows_per_second: 8000 }}\n"), "").await;
    let mut running = stage.start("");
    running.wait_for(READY);
    for end in [&pair.source, &pair.target] {
        let asked = stage.migration.start(&["verify", "--one-moment"], "");
        let client = connect_to(end, "moment").await;
        let reads = "SELECT count(*)::int FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.relation = 'items'::regclass \
                     AND a.backend_xmin IS NOT NULL AND a.state = 'idle in transaction' AND a.application_name LIKE 'pcrd/%'";
        while client.query_one(reads, &[]).await.unwrap().get::<_, i32>(0) == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let held = "BEGIN; SET LOCAL lock_timeout = '20s'; LOCK TABLE items IN ACCESS EXCLUSIVE MODE; COMMIT";
        client.batch_execute(held).await.unwrap();
        let said = tokio::task::block_in_place(|| asked.finish());
        let words = format!("{} {}", said.lines.join(" "), said.stderr).replace('│', "");
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.code == Some(1) && words.contains("waits for a table that is being read"), "{words}");
    }
    let (code, said) = verify(&stage, &[]);
    assert!(code == Some(0) && said.contains("passed in full"), "{said}");
    drop(tokio::task::block_in_place(|| running.interrupt()));
}

/// The executor dies while it holds the stream, and behind that: nothing is left, and nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn killed_while_the_stream_is_held() {
    let pair = TestPair::start(15, 15);
    for point in ["moment.held", "moment.taken"] {
        let name = point.replace('.', "_");
        let stage = Stage::new(&pair, &name, DDL, YAML, "").await;
        let mut running = stage.start(&format!("{point}=return(kill)"));
        running.wait_for(READY);
        run(&stage.source, "UPDATE items SET n = 1 WHERE id < 50").await;
        let (code, said) = verify(&stage, &[]);
        assert!(code != Some(0) && !said.contains("passed"), "{point}: {said}");
        drop(tokio::task::block_in_place(|| running.finish()));
        run(&stage.source, "UPDATE bag SET t = 'later' WHERE n < 50").await;
        let mut running = stage.start("");
        running.wait_for(READY);
        stage.until_applied().await;
        stage.assert_equal("SELECT id, n, t FROM items", "SELECT id, n, u FROM items").await;
        stage.assert_equal("SELECT * FROM bag", "SELECT * FROM bag").await;
        assert_eq!(text(&stage.source, LEFT).await, "0", "{point}");
        let (code, said) = verify(&stage, &[]);
        assert!(code == Some(0) && said.contains("passed in full"), "{point}: {said}");
        drop(tokio::task::block_in_place(|| running.interrupt()));
    }
}
