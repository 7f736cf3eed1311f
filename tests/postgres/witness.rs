//! GRANT on a column and VACUUM FULL are no rewrite, in whatever order they come; a rewrite among them is one.

use crate::stage::Stage;
use crate::support::{TestPair, run, text};

const ITEMS: &str = "CREATE TABLE items (id integer PRIMARY KEY, n integer); \
    INSERT INTO items SELECT g, g FROM generate_series(1, 400) g; CREATE ROLE reader";
const YAML: &str = "    - { name: items, columns: { id: { type: bigint } } }\n";
const READY: &str = "\"type\":\"gate\",\"ready\":true";
const SEEN: &str = "SELECT value FROM pcrd.setting WHERE name = 'witness:public.items'";

/// Makes a change and waits until the run has looked at the table since.
async fn change(stage: &Stage, sql: &str) {
    let before = text(&stage.target, SEEN).await;
    run(&stage.source, sql).await;
    stage.until_target(&format!("SELECT value <> '{before}' FROM ({SEEN}) AS s")).await;
    run(&stage.source, "UPDATE items SET n = n + 1 WHERE id % 7 = 0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_and_vacuum_full_in_turn() {
    for majors in [(15, 15), (10, 18)] {
        let pair = TestPair::start(majors.0, majors.1);
        let stage = Stage::new(&pair, "granted", ITEMS, YAML, "").await;
        let mut running = stage.start("");
        running.wait_for(READY);
        change(&stage, "GRANT SELECT (n) ON items TO reader").await;
        change(&stage, "VACUUM FULL items").await;
        change(&stage, "REVOKE SELECT (n) ON items FROM reader").await;
        change(&stage, "ALTER TABLE items ALTER n SET STATISTICS 500").await;
        change(&stage, "CLUSTER items USING items_pkey").await;
        running.kill();
        // What was seen is kept: the next executor compares with it.
        stage.cut_over().assert_switched();
        stage.assert_equal("SELECT id::bigint, n FROM items", "SELECT id, n FROM items").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_among_them_stops_the_run() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "rewritten", ITEMS, YAML, "").await;
    let mut running = stage.start("");
    running.wait_for(READY);
    change(&stage, "GRANT SELECT (n) ON items TO reader").await;
    change(&stage, "VACUUM FULL items").await;
    run(&stage.source, "ALTER TABLE items ALTER n TYPE integer USING n + 1000").await;
    // Nobody asked for anything: the look itself stops it.
    let said = tokio::task::block_in_place(|| running.finish());
    assert_eq!(said.code, Some(4), "{}", said.stderr);
    assert!(said.stderr.contains("rewrote"), "{}", said.stderr);
    assert_eq!(stage.cut_over().code, Some(4));
}

/// Both while nobody looks: rows that are older than the last look show that none was rewritten.
#[tokio::test(flavor = "multi_thread")]
async fn both_while_nobody_looks() {
    for majors in [(15, 15), (10, 18)] {
        let pair = TestPair::start(majors.0, majors.1);
        let stage = Stage::new(&pair, "unseen", ITEMS, YAML, "").await;
        stage.migration.ok(&["apply", "plan.json", "--yes", "--through", "catchup"]);
        run(&stage.source, "GRANT SELECT (n) ON items TO reader").await;
        run(&stage.source, "VACUUM FULL items").await;
        run(&stage.source, "UPDATE items SET n = n + 1 WHERE id < 390").await;
        stage.cut_over().assert_switched();
        stage.assert_equal("SELECT id::bigint, n FROM items", "SELECT id, n FROM items").await;
    }
}

/// A rewrite beside them leaves no such row, also where other rows came since.
#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_and_both_while_nobody_looks() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "unseen_rewrite", ITEMS, YAML, "").await;
    stage.migration.ok(&["apply", "plan.json", "--yes", "--through", "catchup"]);
    run(&stage.source, "ALTER TABLE items ALTER n TYPE integer USING n + 1000").await;
    run(&stage.source, "GRANT SELECT (n) ON items TO reader").await;
    run(&stage.source, "VACUUM FULL items").await;
    run(&stage.source, "INSERT INTO items VALUES (1000, 1)").await;
    let said = stage.cut_over();
    assert_eq!(said.code, Some(4), "{}", said.stderr);
    assert!(said.stderr.contains("rewrote"), "{}", said.stderr);
}

/// Of a table that is empty nobody can tell: what the rewrite made of keys is gone, and the stream deletes only those.
#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_of_keys_that_are_deleted_then() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "unseen_keys", ITEMS, YAML, "").await;
    stage.migration.ok(&["apply", "plan.json", "--yes", "--through", "catchup"]);
    run(&stage.source, "ALTER TABLE items ALTER id TYPE integer USING id + 1000").await;
    run(&stage.source, "DELETE FROM items").await;
    let said = stage.cut_over();
    assert_eq!(said.code, Some(4), "{}", said.stderr);
    assert!(said.stderr.contains("rewrote"), "{}", said.stderr);
}

/// The shape is the same, no row was rewritten, and every value is another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_is_dropped_and_added_again_stops_the_run() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "again", ITEMS, YAML, "").await;
    let mut running = stage.start("");
    running.wait_for(READY);
    run(&stage.source, "ALTER TABLE items DROP COLUMN n, ADD COLUMN n integer").await;
    // Whoever does not look at it, and finds it as the plan has it, would cut over.
    tokio::task::block_in_place(|| stage.migration.run(&["cutover", "--yes"]));
    let said = tokio::task::block_in_place(|| running.finish());
    assert_eq!(said.code, Some(4), "{}", said.stderr);
    assert!(said.stderr.contains("column n was dropped and added again"), "{}", said.stderr);
    assert_eq!(stage.cut_over().code, Some(4));
}
