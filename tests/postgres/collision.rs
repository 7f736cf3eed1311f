//! Unique values that change hands while rows are read again: a row of now meets rows of the stream on the target.

use std::time::Duration;

use crate::stage::Stage;
use crate::support::{TestPair, connect_to, run, text};

const ITEMS: &str = "CREATE TABLE items (id integer PRIMARY KEY, u integer UNIQUE, n integer, big text); \
    ALTER TABLE items ALTER big SET STORAGE EXTERNAL; \
    INSERT INTO items SELECT g, g, 0, CASE WHEN g <= 10 THEN repeat('x', 4000) END FROM generate_series(1, 100) g";
/// Rows with a large value are read again whenever anything else of them changes.
const YAML: &str = "    - name: items\n      add_columns: [{ name: mark, type: text, backfill: \"n || coalesce(left(big, 1), '-')\" }]\n";
const READY: &str = "\"type\":\"gate\",\"ready\":true";

async fn goes_through(name: &str, writes: &[&str]) {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, name, ITEMS, YAML, "").await;
    let mut running = stage.start("");
    running.wait_for(READY);
    for sql in writes {
        // One transaction: the stream brings it when all of it is visible.
        run(&stage.source, &format!("BEGIN; {sql}; COMMIT")).await;
        stage.until_applied().await;
        let (source, target) =
            ("SELECT id, u, n, big, n || coalesce(left(big, 1), '-') FROM items", "SELECT * FROM items");
        stage.assert_equal(source, target).await;
    }
    stage.migration.ok(&["cutover", "--yes"]);
    let said = tokio::task::block_in_place(|| running.finish());
    said.assert_switched();
    assert!(Stage::counter(&said, "rereads") > 0, "{:?}", said.counters());
}

#[tokio::test(flavor = "multi_thread")]
async fn both_rows_are_read_again() {
    goes_through(
        "both",
        &[
            "UPDATE items SET u = -1 WHERE id = 1; UPDATE items SET u = 1 WHERE id = 2; UPDATE items SET u = 2 WHERE id = 1",
            // Three in a ring, one of them deleted in the end, and its value taken by a new row.
            "UPDATE items SET u = -3 WHERE id = 3; UPDATE items SET u = 3 WHERE id = 4; UPDATE items SET u = 4 WHERE id = 5; \
             UPDATE items SET u = 5 WHERE id = 3; DELETE FROM items WHERE id = 4; INSERT INTO items VALUES (1001, 3, 1, NULL)",
            // The key changes with it.
            "UPDATE items SET u = -6 WHERE id = 6; UPDATE items SET u = 6, id = 1007 WHERE id = 7; UPDATE items SET u = 7, id = 1006 WHERE id = 6",
        ],
    )
    .await;
}

/// The other row is sent whole, and collides with the one that is ahead.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_them_is_not() {
    goes_through(
        "one",
        &[
            "UPDATE items SET n = 1, u = -1 WHERE id = 1; UPDATE items SET u = 1 WHERE id = 50; UPDATE items SET u = 50 WHERE id = 1",
            "UPDATE items SET n = 1 WHERE id = 2; UPDATE items SET u = 1000 WHERE id = 51; UPDATE items SET u = 1001 WHERE id = 51; \
             UPDATE items SET u = 1000 WHERE id = 2",
        ],
    )
    .await;
}

/// One that no change of the source will end is an error, and names the constraint.
#[tokio::test(flavor = "multi_thread")]
async fn a_collision_that_stays() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "stays", ITEMS, YAML, "").await;
    let mut running = stage.start("");
    running.wait_for(READY);
    run(&stage.target, "INSERT INTO items VALUES (-5, 2000, 0, NULL, '0-')").await;
    run(&stage.source, "UPDATE items SET u = 2000 WHERE id = 3").await;
    let said = tokio::task::block_in_place(|| running.finish());
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    assert!(said.stderr.contains("23505"), "{}", said.stderr);
    assert_eq!(text(&stage.target, "SELECT u FROM items WHERE id = 3").await, "3");
    run(&stage.target, "DELETE FROM items WHERE id = -5").await;
    stage.cut_over().assert_switched();
}

/// The same beside writers that never rest: whatever else is read again, and however often the row itself changes, the run
/// does not wait for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_stream_does_not_hide_a_collision_that_stays() {
    let pair = TestPair::start(15, 15);
    // Another row that is read again, one that is not, and the row itself.
    for (name, busy) in [("busy", "(7), (8), (60)"), ("busier", "(3), (7), (8)")] {
        let stage = Stage::new(&pair, name, ITEMS, YAML, "").await;
        let mut running = stage.start("");
        running.wait_for(READY);
        run(&stage.target, "INSERT INTO items VALUES (-5, 2000, 0, NULL, '0-')").await;
        run(&stage.source, "UPDATE items SET u = 2000 WHERE id = 3").await;
        let rows = format!("SELECT column1 AS id FROM (VALUES {busy}) AS busy");
        let ids = crate::support::rows(&stage.source, &rows).await;
        let mut writers = tokio::task::JoinSet::new();
        for id in ids.into_iter().flatten().flatten() {
            let writer = connect_to(&pair.source, name).await;
            writers.spawn(async move {
                loop {
                    run(&writer, &format!("UPDATE items SET n = n + 1 WHERE id = {id}")).await;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            });
        }
        let said = tokio::task::block_in_place(|| running.finish());
        writers.shutdown().await;
        assert_eq!(said.code, Some(1), "{}", said.stderr);
        // Table, key and constraint; never the value.
        for part in ["23505", "public.items", "row (3)", "items_u_key"] {
            assert!(said.stderr.contains(part), "{part}: {}", said.stderr);
        }
        assert!(!said.stderr.contains("2000"), "{}", said.stderr);
        run(&stage.target, "DELETE FROM items WHERE id = -5").await;
        stage.cut_over().assert_switched();
        let said = "SELECT id, u, n, big, n || coalesce(left(big, 1), '-') FROM items";
        stage.assert_equal(said, "SELECT * FROM items").await;
    }
}
