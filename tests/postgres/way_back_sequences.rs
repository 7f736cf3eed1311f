//! Sequences after a rollback: the source's were in use before, and may be meanwhile; none gives a number twice.

use std::time::Duration;

use crate::hooks::plan_with;
use crate::migration::Migration;
use crate::stage::Stage;
use crate::support::{TestPair, connect_to, run, text};
use crate::way_back::{CUTOVER, ROLE, TABLES, assert_code, assert_rolled_back, command, left_open, refusal, stage_of};

async fn next(stage: &Stage, sequence: &str) -> i64 {
    text(&stage.source, &format!("SELECT nextval('{sequence}')")).await.parse().unwrap()
}

/// No fence stops who takes numbers for a table that does not move.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_in_use_meanwhile_does_not_go_back() {
    let pair = TestPair::start(15, 17);
    let more = "CREATE TABLE notes (id bigint PRIMARY KEY DEFAULT nextval('items_id_seq'));
        CREATE SEQUENCE down INCREMENT -1; ALTER TABLE items ADD COLUMN lot bigint DEFAULT nextval('down');
        CREATE TABLE others (id bigint PRIMARY KEY DEFAULT nextval('down'));
        CREATE SEQUENCE inv; CREATE SEQUENCE around MAXVALUE 60 CYCLE;
        ALTER TABLE items ADD COLUMN code text DEFAULT 'INV-' || nextval('inv'), ADD COLUMN turn integer DEFAULT nextval('around');
        GRANT USAGE ON SEQUENCE items_id_seq, down, inv, around TO goes_back";
    let stage = stage_of(&pair, "shared", more, TABLES, CUTOVER).await;
    left_open(&stage);
    run(&stage.target, "INSERT INTO items (id, count, price) VALUES (1500, 1, 1)").await;
    run(&stage.source, "INSERT INTO notes SELECT FROM generate_series(1, 9000)").await;
    run(&stage.source, "INSERT INTO others SELECT FROM generate_series(1, 9000)").await;
    assert_code(&command(&stage, &["rollback", "--yes"], ""), Some(0));
    assert_eq!(refusal(&stage.source, "INSERT INTO notes SELECT FROM generate_series(1, 100)").await, None);
    assert_eq!(refusal(&stage.source, "INSERT INTO others SELECT FROM generate_series(1, 100)").await, None);
    assert!(next(&stage, "items_id_seq").await > 9_000);
    assert!(next(&stage, "down").await < -9_000);
    assert_rolled_back(&stage).await;
}

/// The application gives the target's keys; after the rollback the source's default does again.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_nothing_on_the_target_goes_on_from_is_past_what_the_target_wrote() {
    let pair = TestPair::start(15, 17);
    for cluster in [&pair.source, &pair.target] {
        run(&connect_to(cluster, "postgres").await, "CREATE DATABASE unpaired").await;
    }
    let (source, target) = (connect_to(&pair.source, "unpaired").await, connect_to(&pair.target, "unpaired").await);
    run(
        &source,
        &format!(
            "{ROLE}; CREATE TABLE items (id serial PRIMARY KEY, n integer);
             CREATE TABLE events (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n integer);
             CREATE SEQUENCE inv; CREATE TABLE invoices (code text PRIMARY KEY DEFAULT 'INV-' || nextval('inv'), n integer);
             CREATE TABLE ends (id serial PRIMARY KEY, n integer);
             INSERT INTO ends VALUES (2147483647, 1);
             INSERT INTO items (n) SELECT g FROM generate_series(1, 50) AS g;
             INSERT INTO events (n) SELECT g FROM generate_series(1, 50) AS g; ANALYZE"
        ),
    )
    .await;
    let desired = "CREATE TABLE items (id bigint PRIMARY KEY, n integer);
                   CREATE TABLE invoices (code text PRIMARY KEY, n integer);
                   CREATE TABLE ends (id bigint PRIMARY KEY, n integer);
                   CREATE TABLE events (id bigint PRIMARY KEY, n integer);";
    let more = "  replication_slot: pcrd_unpaired\n  lag_threshold_bytes: 33554432";
    let migration = Migration::of_schema(&pair, "unpaired", desired, more);
    std::fs::write(migration.dir.path().join("plan.json"), "").unwrap();
    plan_with(&migration, "cutover: { fence_timeout: 60, reverse: { user: goes_back } }");
    let stage = Stage { name: "unpaired".to_owned(), source, target, migration };
    left_open(&stage);
    for table in ["items", "events"] {
        run(&stage.target, &format!("INSERT INTO {table} (id, n) SELECT g, g FROM generate_series(51, 700) AS g"))
            .await;
    }
    run(&stage.target, "INSERT INTO invoices VALUES ('INV-7', 1)").await;
    let said = command(&stage, &["rollback", "--yes"], "");
    assert_code(&said, Some(0));
    assert!(said.stderr.contains("sequence public.ends_id_seq stays at 1: 2147483647 is stored"), "{}", said.stderr);
    for table in ["ends", "invoices"] {
        assert_eq!(refusal(&stage.source, &format!("INSERT INTO {table} (n) VALUES (1)")).await, None, "{table}");
    }
    for table in ["items", "events"] {
        assert_eq!(refusal(&stage.source, &format!("INSERT INTO {table} (n) VALUES (1)")).await, None, "{table}");
        assert_eq!(text(&stage.source, &format!("SELECT count(*) FROM {table} WHERE id > 700")).await, "1", "{table}");
    }
}

/// Behind the fence it would be read in vain, at every attempt.
#[tokio::test(flavor = "multi_thread")]
async fn a_furthest_value_that_takes_too_long_is_told_before_the_fence() {
    let pair = TestPair::start(15, 17);
    let stage = stage_of(&pair, "slow", "", TABLES, CUTOVER).await;
    left_open(&stage);
    let file = std::fs::read_to_string(stage.migration.dir.path().join("plan.json")).unwrap();
    let plan = pcrd::plan::read(&file).unwrap().plan;
    let [source, target] = [&pair.source, &pair.target].map(|cluster| cluster.conninfo("slow"));
    let session = pcrd::pg::client::connect(&target, "pcrd/test").await.unwrap();
    let (events, _events) = tokio::sync::mpsc::unbounded_channel();
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let executor = pcrd::exec::context::Run::new(plan, source, target, events, stopped);
    let limit = Duration::from_secs(1);
    pcrd::exec::sequences::try_out(&executor, &session, limit * 60).await.unwrap();
    // Who reads the table waits, as in a scan that takes long.
    // Nobody else's can be set either.
    let holder = connect_to(&pair.target, "slow").await;
    run(&holder, "CREATE ROLE low LOGIN; GRANT SELECT ON SEQUENCE items_id_seq TO low").await;
    let low = pcrd::pg::conninfo::Conninfo { user: "low".to_owned(), ..pair.target.conninfo("slow") };
    let session_of_low = pcrd::pg::client::connect(&low, "pcrd/test").await.unwrap();
    let error = pcrd::exec::sequences::may_be_set(&executor, &session_of_low).await.unwrap_err().to_string();
    assert!(error.contains("GRANT SELECT, UPDATE ON SEQUENCE"), "{error}");
    pcrd::exec::sequences::may_be_set(&executor, &session).await.unwrap();
    run(&holder, "BEGIN; LOCK TABLE items IN ACCESS EXCLUSIVE MODE").await;
    let error = pcrd::exec::sequences::try_out(&executor, &session, limit).await.unwrap_err().to_string();
    for said in ["the furthest value of sequence public.items_id_seq", "from public.items.id", "than 1000 ms"] {
        assert!(error.contains(said), "{error}");
    }
    let still = "SELECT count(*) = 0 FROM pg_stat_activity WHERE query LIKE 'SELECT max(%' AND state = 'active'";
    stage.until_target(still).await;
    run(&holder, "ROLLBACK").await;
    assert_code(&command(&stage, &["rollback", "--yes"], ""), Some(0));
    assert_rolled_back(&stage).await;
}
