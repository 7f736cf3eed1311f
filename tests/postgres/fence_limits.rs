//! Under a fence's lock, and behind the fence, nothing takes for ever: only the lock is tried again, and what takes too long is named.

use tokio_postgres::Client;

use crate::hooks::{plan_with, until_file, write_program};
use crate::migration::Said;
use crate::stage::Stage;
use crate::support::{TestPair, connect_to, run, text};
use crate::way_back::{self, assert_code, assert_rolled_back, refusal, switched, wait};

const DDL: &str = "CREATE TABLE items (id integer PRIMARY KEY, n integer NOT NULL); \
    INSERT INTO items SELECT g, g FROM generate_series(1, 200) AS g; ANALYZE items";
const TABLES: &str = "    - { name: items, columns: { id: { type: bigint } } }\n";
const ROWS: &str = "SELECT id::bigint, n FROM items";
/// Goes on when it may.
const PROGRAM: &str = "#!/bin/sh\ntouch fencing\nwhile [ ! -e go ]; do sleep 0.02; done\n";
const FENCES: &str = "SELECT count(*) FROM pg_trigger WHERE tgname = 'pcrd_fence'";

/// What is said to people, on one line.
fn unfolded(said: &Said) -> String {
    said.stderr.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
}

/// Nobody can ask which subscriptions write to a table, as if that took long.
async fn nobody_asks(client: &Client) {
    run(client, "BEGIN; LOCK TABLE pg_catalog.pg_subscription_rel IN ACCESS EXCLUSIVE MODE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_takes_too_long_under_the_lock_gives_the_fence_up() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "asks", DDL, TABLES, "").await;
    let hooks = "cutover: { fence_timeout: 60, hooks: { before_fence: [./hook.sh], timeout: 60 } }";
    plan_with(&stage.migration, hooks);
    write_program(stage.migration.dir.path(), "hook.sh", PROGRAM);
    let running = stage.start_through("");
    tokio::task::block_in_place(|| until_file(&stage, "fencing"));
    let holder = connect_to(&pair.source, "asks").await;
    nobody_asks(&holder).await;
    std::fs::write(stage.migration.dir.path().join("go"), "").unwrap();
    let said = wait(running);
    assert_code(&said, Some(1));
    let words = unfolded(&said);
    assert!(words.contains("the cutover was given up and the source is open again"), "{words}");
    assert!(words.contains("`look for subscriptions` took too long on the source"), "{words}");
    assert!(words.contains("57014"), "{words}");
    assert_eq!(text(&stage.source, FENCES).await, "0");
    assert_eq!(refusal(&stage.source, "UPDATE items SET n = 0 WHERE id = 1").await, None);
    run(&holder, "ROLLBACK").await;
    stage.cut_over().assert_switched();
    stage.assert_equal(ROWS, "SELECT id, n FROM items").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_it_does_on_the_way_back() {
    let pair = TestPair::start(15, 17);
    let stage = way_back::stage(&pair, "asks_back").await;
    assert_code(&tokio::task::block_in_place(|| switched(&stage).interrupt()), Some(6));
    run(&stage.target, "UPDATE items SET count = 7 WHERE id = 1").await;
    let rollback = stage.migration.start(&["rollback", "--yes"], "back.begin=1*sleep(3000)");
    stage.until_target("SELECT state = 'rolling_back' FROM pcrd.way_back").await;
    let holder = connect_to(&pair.target, "asks_back").await;
    nobody_asks(&holder).await;
    let said = wait(rollback);
    assert_code(&said, Some(1));
    let words = unfolded(&said);
    assert!(words.contains("the rollback was given up and the target takes writes"), "{words}");
    assert!(words.contains("`look for subscriptions` took too long on the target"), "{words}");
    assert_eq!(text(&stage.target, FENCES).await, "0");
    assert_eq!(refusal(&stage.target, "UPDATE items SET count = 8 WHERE id = 2").await, None);
    run(&holder, "ROLLBACK").await;
    assert_code(&wait(stage.migration.start(&["rollback", "--yes"], "")), Some(0));
    assert_rolled_back(&stage).await;
}

/// Each of its statements might have taken all of the time that was left, and the last of them any.
#[tokio::test(flavor = "multi_thread")]
async fn the_fence_is_permanent_in_time_or_not_at_all() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "permanent", DDL, TABLES, "").await;
    plan_with(&stage.migration, "cutover: { fence_timeout: 6 }");
    let running = stage.start_through("cutover.after-sequences=1*sleep(1500)");
    stage.until_target("SELECT state = 'sequences_set' FROM pcrd.cutover").await;
    run(
        &stage.source,
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_catalog.pg_sleep(12); RETURN NEW; END'; \
         CREATE TRIGGER slow BEFORE UPDATE ON pcrd.fence FOR EACH ROW WHEN (NEW.until = 'infinity') EXECUTE FUNCTION slow()",
    )
    .await;
    let said = wait(running);
    assert_code(&said, Some(1));
    let words = unfolded(&said);
    assert!(words.contains("the cutover was given up and the source is open again"), "{words}");
    assert!(words.contains("`make the fence permanent` took too long on the source"), "{words}");
    assert_eq!(text(&stage.source, FENCES).await, "0");
    assert_eq!(refusal(&stage.source, "UPDATE items SET n = 0 WHERE id = 1").await, None);
    run(&stage.source, "DROP FUNCTION slow CASCADE").await;
    stage.cut_over().assert_switched();
    stage.assert_equal(ROWS, "SELECT id, n FROM items").await;
}
