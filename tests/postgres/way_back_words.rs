//! What is said on the way back names the end that it is about, and says what is true.

use pcrd::ledger::migration;
use pcrd::pg::client;

use crate::support::{TestPair, connect_to, run};
use crate::way_back::{ROLE, assert_code, stage, staged, wait};

/// As nobody else can connect, neither can who would look.
#[tokio::test(flavor = "multi_thread")]
async fn who_keeps_the_slot_from_being_created_is_looked_for_on_the_target() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "looks").await;
    let writer = connect_to(&pair.target, "looks").await;
    run(&writer, "BEGIN; CREATE TABLE unfinished ()").await;
    let target = connect_to(&pair.target, "postgres").await;
    // Between the publication and the slot too.
    let mut running = stage.start_through("step.after-start=sleep(1500)");
    stage.until_target("SELECT count(*) = 1 FROM pg_publication").await;
    run(&target, "ALTER DATABASE looks ALLOW_CONNECTIONS false").await;
    tokio::task::block_in_place(|| {
        running.wait_for("who keeps the slot from being created cannot be told: target: connect as watch");
    });
    run(&target, "ALTER DATABASE looks ALLOW_CONNECTIONS true").await;
    run(&writer, "ROLLBACK").await;
    tokio::task::block_in_place(|| running.kill());
}

const ROOMS: &str = "CREATE TABLE rooms (id integer PRIMARY KEY, room int4range NOT NULL, valid daterange NOT NULL); \
    INSERT INTO rooms SELECT g, int4range(g, g + 1), '[2026-01-01,2027-01-01)' FROM generate_series(1, 20) AS g";
/// Of a table that does not move.
const STAYS: &str = "ALTER TABLE rooms ADD UNIQUE (room, valid WITHOUT OVERLAPS); \
    CREATE TABLE stays (id integer PRIMARY KEY, room int4range, valid daterange, \
      CONSTRAINT stays_in FOREIGN KEY (room, PERIOD valid) REFERENCES rooms (room, PERIOD valid))";

#[tokio::test(flavor = "multi_thread")]
async fn a_constraint_that_only_the_source_has_is_said_to_be_the_sources() {
    let pair = TestPair::start(18, 18);
    let yaml = "    - { name: rooms, columns: { id: { type: bigint } } }\n";
    let cutover = "cutover: { fence_timeout: 60, reverse: { user: goes_back } }";
    let stage = staged(&pair, "periods", &format!("{ROLE}; {ROOMS}"), yaml, cutover).await;
    let mut running = stage.start("");
    tokio::task::block_in_place(|| running.wait_for("\"ready\":true"));
    run(&stage.source, STAYS).await;
    let said = wait(stage.migration.start(&["cutover", "--yes"], ""));
    assert_code(&said, Some(1));
    let words = said.stderr.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
    assert!(words.contains("public.stays.stays_in is over a PERIOD and only the source has it"), "{words}");
    assert!(words.contains("Drop it there"), "{words}");
    assert_code(&tokio::task::block_in_place(|| running.interrupt()), Some(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_of_a_migration_that_is_gone_says_so() {
    let pair = TestPair::start(15, 15);
    let ledger = client::connect(&pair.target.conninfo("postgres"), "pcrd/test").await.unwrap();
    migration::create_ledger(&ledger).await.unwrap();
    let settings = [("name".to_owned(), "value".to_owned())];
    let error = migration::set_settings(&ledger, "forgotten", None, &settings).await.unwrap_err().to_string();
    assert!(error.contains("no migration forgotten") && !error.contains("epoch"), "{error}");
    let error = migration::set_settings(&ledger, "forgotten", Some(3), &settings).await.unwrap_err().to_string();
    assert!(error.contains("epoch 3") && !error.contains("0/0"), "{error}");
}
