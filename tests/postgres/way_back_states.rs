//! What the way back may become, and when: what closes it and what does not, who decides, what is removed after it.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::migration::{Migration, Running};
use crate::stage::Stage;
use crate::support::{TestPair, connect_to, run, text};
use crate::way_back::{
    CLOSED, CUTOVER, TABLES, TOUCH_SOURCE, TOUCH_TARGET, assert_code, assert_rolled_back, command, left_open, refusal,
    stage, stage_of, switched, wait,
};

async fn state(stage: &Stage) -> String {
    text(&stage.target, "SELECT state FROM pcrd.way_back").await
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rollback_cleanup_is_about_the_target() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "cleans").await;
    left_open(&stage);
    run(&stage.target, "INSERT INTO items (id, count, price) VALUES (100, 1, 1)").await;
    assert_code(&command(&stage, &["cleanup", "--yes", "--drop-target", "--yes-drop", "public.items"], ""), Some(1));
    assert_code(&command(&stage, &["rollback", "--yes"], ""), Some(0));
    let drop_source = ["cleanup", "--yes", "--drop-source", "--yes-drop", "public.items"];
    for _ in 0..2 {
        let said = command(&stage, &drop_source, "");
        assert_code(&said, Some(1));
        assert!(said.stderr.contains("the source's tables are the database"), "{}", said.stderr);
        assert_eq!(text(&stage.source, "SELECT count(*) FROM items").await, "51");
        stage.migration.ok(&["cleanup", "--yes"]);
    }
    assert_eq!(refusal(&stage.target, TOUCH_TARGET).await.as_deref(), CLOSED, "a forgotten writer must not be lost");
    stage.migration.ok(&["cleanup", "--yes", "--drop-target", "--yes-drop", "public.items"]);
    assert_eq!(text(&stage.target, "SELECT to_regclass('items') IS NULL").await, "t");
    assert_eq!(text(&stage.target, "SELECT count(*) FROM pcrd.fence").await, "0");
    assert_eq!(text(&stage.source, "SELECT count(*) FROM items").await, "51");
    assert_eq!(refusal(&stage.source, TOUCH_SOURCE).await, None);
    assert_eq!(text(&stage.source, "SELECT count(*) FROM pg_namespace WHERE nspname = 'pcrd'").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_to_go_back_is_not_cleaned_away() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "waits").await;
    let running = stage.start_through("cutover.after-permanent=sleep(1500)");
    stage.until_target("SELECT state = 'armed' FROM pcrd.way_back").await;
    let holder = connect_to(&pair.target, "waits").await;
    run(&holder, "BEGIN; LOCK TABLE pcrd.way_back IN SHARE MODE").await;
    stage.until_target("SELECT state = 'cut_over' FROM pcrd.migration").await;
    tokio::task::block_in_place(|| running.kill());
    run(&holder, "ROLLBACK").await;
    run(&stage.target, "INSERT INTO items (id, count, price) VALUES (100, 1, 1)").await;
    assert_eq!(state(&stage).await, "armed");
    let said = command(&stage, &["cleanup", "--yes"], "");
    assert_code(&said, Some(1));
    assert!(said.stderr.contains("pcrd finalize"), "{}", said.stderr);
    assert_eq!(text(&stage.target, "SELECT count(*) FROM pg_replication_slots").await, "1");
    assert_code(&command(&stage, &["rollback", "--yes"], ""), Some(0));
    assert_rolled_back(&stage).await;
    assert_eq!(text(&stage.source, "SELECT count(*) FROM pg_replication_slots").await, "0", "it would keep the log");
}

/// The cutover is completed before changes go back.
#[tokio::test(flavor = "multi_thread")]
async fn killed_between_switch_and_way_back() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "between").await;
    assert_code(&wait(stage.start_through("cutover.after-switched=return(kill)")), None);
    let running = switched(&stage);
    assert_eq!(text(&stage.target, "SELECT state FROM pcrd.migration").await, "cut_over");
    assert_code(&tokio::task::block_in_place(|| running.interrupt()), Some(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_another_server_closes_nothing() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "elsewhere").await;
    left_open(&stage);
    run(&stage.target, "INSERT INTO items (id, count, price) VALUES (100, 1, 1)").await;
    let path = stage.migration.dir.path().join("pcrd.config.yml");
    let config = std::fs::read_to_string(&path).unwrap();
    let port = |port: u16| format!("port: {port}");
    let other = pcrd::pg::local::Cluster::start(15).unwrap();
    run(&connect_to(&other, "postgres").await, "CREATE DATABASE elsewhere").await;
    std::fs::write(&path, config.replace(&port(pair.source.port()), &port(other.port()))).unwrap();
    let said = command(&stage, &["--json", "apply", "plan.json", "--yes"], "");
    assert_code(&said, Some(4));
    assert!(said.stderr.contains("system identifier"), "{}", said.stderr);
    assert_eq!(state(&stage).await, "open");
    std::fs::write(&path, config).unwrap();
    assert_code(&command(&stage, &["rollback", "--yes"], ""), Some(0));
    assert_rolled_back(&stage).await;
}

fn signal(running: &Running, name: &str) {
    let sent = Command::new("kill").args([name, &running.child.id().to_string()]).status().unwrap();
    assert!(sent.success(), "{sent}");
}

/// It wakes up with changes in its buffers that another one has applied by then: to it rows are not what they were.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_slept_through_a_takeover_closes_nothing() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "sleeps").await;
    let sleeper = switched(&stage);
    signal(&sleeper, "-STOP");
    run(&stage.target, "DELETE FROM items WHERE id = 1; UPDATE items SET count = 9 WHERE id < 20").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    for client in [&stage.source, &stage.target] {
        run(
            client,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pcrd/%' \
             AND application_name NOT LIKE '%/apply'",
        )
        .await;
    }
    let other = Migration::between(&pair, "sleeps", TABLES, "");
    for file in ["pcrd.config.yml", "plan.json"] {
        std::fs::copy(stage.migration.dir.path().join(file), other.dir.path().join(file)).unwrap();
    }
    let mut second = other.start(&["--json", "apply", "plan.json", "--yes"], "");
    tokio::task::block_in_place(|| second.wait_for("changes of the target go back"));
    stage.until_source("SELECT count(*) = 18 FROM items WHERE n = 9 AND id < 20").await;
    signal(&sleeper, "-CONT");
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(state(&stage).await, "open");
    tokio::task::block_in_place(|| sleeper.kill());
    tokio::task::block_in_place(|| other.ok(&["rollback", "--yes"]));
    assert_code(&wait(second), Some(0));
    assert_rolled_back(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_do_not_go_to_a_source_without_its_fence() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "unfenced").await;
    left_open(&stage);
    run(&stage.target, "INSERT INTO items (id, count, price) VALUES (100, 1, 1)").await;
    // As a standby that was promoted before it had heard of the switch.
    run(&stage.source, "DROP TRIGGER pcrd_fence ON items; DELETE FROM pcrd.fence").await;
    for args in [["--json", "apply", "plan.json", "--yes"].as_slice(), &["rollback", "--yes"]] {
        let said = command(&stage, args, "");
        assert_code(&said, Some(1));
        assert!(said.stderr.contains("failed over to a server that is behind"), "{args:?}: {}", said.stderr);
    }
    assert_eq!(state(&stage).await, "open");
    assert_eq!(text(&stage.source, "SELECT count(*) FROM items WHERE id = 100").await, "0");
    assert_eq!(refusal(&stage.target, TOUCH_TARGET).await, None);
    let said = command(&stage, &["finalize", "--yes"], "");
    assert_code(&said, Some(1));
    assert!(said.stderr.contains("pcrd finalize --without-source"), "{}", said.stderr);
    assert_code(&command(&stage, &["finalize", "--yes", "--without-source"], ""), Some(0));
    assert_eq!(text(&stage.target, "SELECT count(*) FROM pg_replication_slots").await, "0");
}

/// Puts another data directory in the place of the source's, and the source's aside.
fn exchange(pair: &mut TestPair, other: &Path) {
    pair.source.stop().unwrap();
    let (data, aside) = (pair.source.data_dir(), pair.source.data_dir().with_file_name("exchanged"));
    std::fs::rename(&data, &aside).unwrap();
    std::fs::rename(other, &data).unwrap();
    std::fs::rename(&aside, other).unwrap();
    pair.source.resume().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_behind_is_not_opened() {
    for is_lost in [false, true] {
        let mut pair = TestPair::start(15, 17);
        let mut stage = stage(&pair, "behind").await;
        left_open(&stage);
        pair.source.stop().unwrap();
        let other = pair.source.data_dir().with_file_name("behind");
        let copied = Command::new("cp").arg("-a").arg(pair.source.data_dir()).arg(&other).status().unwrap();
        assert!(copied.success());
        pair.source.resume().unwrap();
        run(&stage.target, "INSERT INTO items (id, count, price) VALUES (100, 1, 1)").await;
        assert_code(&command(&stage, &["rollback", "--yes"], "back.after-permanent=return(kill)"), None);
        exchange(&mut pair, &other);
        stage.source = connect_to(&pair.source, "behind").await;
        for _ in 0..2 {
            let said = command(&stage, &["rollback", "--yes"], "");
            assert_code(&said, Some(1));
            assert!(said.stderr.contains("failed over to a server that is behind"), "{}", said.stderr);
            assert_eq!(refusal(&stage.source, TOUCH_SOURCE).await.as_deref(), CLOSED);
            assert_eq!(refusal(&stage.target, TOUCH_TARGET).await.as_deref(), CLOSED);
        }
        if is_lost {
            // It does not come back: the target has everything, and is opened instead.
            assert_code(&command(&stage, &["finalize", "--yes"], "back.finalized=return(kill)"), None);
            assert_eq!(refusal(&stage.target, TOUCH_TARGET).await.as_deref(), CLOSED);
            assert_code(&command(&stage, &["finalize", "--yes"], ""), Some(0));
            assert_eq!(refusal(&stage.target, TOUCH_TARGET).await, None);
            assert_eq!(refusal(&stage.source, TOUCH_SOURCE).await.as_deref(), CLOSED);
            continue;
        }
        exchange(&mut pair, &other);
        stage.source = connect_to(&pair.source, "behind").await;
        assert_code(&command(&stage, &["finalize", "--yes"], ""), Some(1));
        assert_code(&command(&stage, &["rollback", "--yes"], ""), Some(0));
        assert_rolled_back(&stage).await;
    }
}

/// A lease that a later executor has raised is not an earlier one's to decide with. The table of the fence may be an earlier
/// version's.
#[tokio::test(flavor = "multi_thread")]
async fn a_fence_is_its_executors() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "fences").await;
    run(
        &stage.source,
        "CREATE SCHEMA IF NOT EXISTS pcrd; \
         CREATE TABLE pcrd.fence (migration text PRIMARY KEY, until timestamptz NOT NULL); \
         INSERT INTO pcrd.fence VALUES ('theirs', 'infinity')",
    )
    .await;
    let running = stage.start_through("cutover.after-sequences=sleep(2500)");
    stage.until_target("SELECT state = 'sequences_set' FROM pcrd.cutover").await;
    run(&stage.source, "UPDATE pcrd.fence SET epoch = epoch + 1 WHERE migration <> 'theirs'").await;
    let said = wait(running);
    assert_code(&said, Some(1));
    assert!(said.stderr.contains("the cutover was given up"), "{}", said.stderr);
    assert_eq!(refusal(&stage.source, TOUCH_SOURCE).await, None);
    let running = switched(&stage);
    assert_eq!(text(&stage.source, "SELECT count(*) FROM pcrd.fence WHERE until = 'infinity'").await, "2");
    assert_code(&tokio::task::block_in_place(|| running.interrupt()), Some(6));
}

async fn until_open(client: &Client, touch: &str) {
    let began = Instant::now();
    while refusal(client, touch).await.is_some() {
        assert!(began.elapsed() < Duration::from_secs(90), "it never took writes");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_does_not_keep_the_source_closed() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "reads").await;
    let running = switched(&stage);
    // The slot of the way there would keep the source's log.
    stage.until_source("SELECT count(*) = 0 FROM pg_replication_slots").await;
    let reader = connect_to(&pair.source, "reads").await;
    run(&reader, "BEGIN; SELECT count(*) FROM items").await;
    let rollback = stage.migration.start(&["rollback", "--yes"], "");
    until_open(&stage.source, TOUCH_SOURCE).await;
    assert_eq!(refusal(&stage.target, TOUCH_TARGET).await.as_deref(), CLOSED);
    run(&reader, "COMMIT").await;
    assert_code(&wait(rollback), Some(0));
    assert_code(&wait(running), Some(0));
    assert_rolled_back(&stage).await;
    stage.migration.ok(&["cleanup", "--yes"]);
    assert_eq!(text(&stage.source, "SELECT count(*) FROM pg_trigger WHERE tgname = 'pcrd_fence'").await, "0");
}

/// Keeps row 1 of the source from being written to.
async fn block(pair: &TestPair, name: &str) -> Client {
    let blocker = connect_to(&pair.source, name).await;
    run(&blocker, "BEGIN; SELECT FROM items WHERE id = 1 FOR UPDATE").await;
    blocker
}

#[tokio::test(flavor = "multi_thread")]
async fn the_target_is_not_closed_for_a_source_that_is_far_behind() {
    let pair = TestPair::start(15, 17);
    let cutover = CUTOVER.replace("fence_timeout: 60", "fence_timeout: 60, lag_drain_timeout: 6");
    let stage = stage_of(&pair, "far", "", TABLES, &cutover).await;
    let running = switched(&stage);
    let blocker = block(&pair, "far").await;
    run(&stage.target, "UPDATE items SET count = 7 WHERE id = 1").await;
    run(&stage.target, "CREATE TABLE noise AS SELECT repeat('x', 1000) FROM generate_series(1, 45000)").await;
    let said = command(&stage, &["rollback", "--yes"], "");
    assert_code(&said, Some(1));
    assert!(said.stderr.contains("bytes behind the target"), "{}", said.stderr);
    assert_eq!(text(&stage.target, "SELECT to_regclass('pcrd.fence') IS NULL").await, "t", "it was never fenced");
    run(&blocker, "ROLLBACK").await;
    stage.until_source("SELECT n = 7 FROM items WHERE id = 1").await;
    assert_code(&command(&stage, &["rollback", "--yes"], ""), Some(0));
    assert_code(&wait(running), Some(0));
    assert_rolled_back(&stage).await;
}

/// The command that wanted it ends: nobody has asked it to stay and be the executor.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_that_was_given_up_ends_its_command() {
    let pair = TestPair::start(15, 17);
    let cutover = CUTOVER.replace("fence_timeout: 60", "fence_timeout: 8");
    let stage = stage_of(&pair, "ends_too", "", TABLES, &cutover).await;
    left_open(&stage);
    let blocker = block(&pair, "ends_too").await;
    run(&stage.target, "UPDATE items SET count = 7 WHERE id = 1").await;
    let said = command(&stage, &["rollback", "--yes"], "");
    assert_code(&said, Some(1));
    assert!(
        said.stderr.contains("the rollback was given up and the target takes writes: not drained"),
        "{}",
        said.stderr
    );
    assert_eq!(refusal(&stage.target, TOUCH_TARGET).await, None);
    assert_eq!(state(&stage).await, "open");
    run(&blocker, "ROLLBACK").await;
    assert_code(&command(&stage, &["rollback", "--yes"], ""), Some(0));
    assert_rolled_back(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_logged_in_as_the_role_is_named() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "named").await;
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(pair.source.port()).dbname("named").user("goes_back").application_name("cron");
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    let said = wait(stage.start_through(""));
    assert_code(&said, Some(1));
    assert!(said.stderr.contains("(cron) of the source has logged in as role goes_back"), "{}", said.stderr);
    assert_eq!(refusal(&stage.source, TOUCH_SOURCE).await, None);
    drop(client);
    connection.await.unwrap().unwrap();
    stage.until_source("SELECT count(*) = 0 FROM pg_stat_activity WHERE usename = 'goes_back'").await;
    let running = switched(&stage);
    assert_code(&tokio::task::block_in_place(|| running.interrupt()), Some(6));
}

/// Also from a machine that has nothing but the config.
#[tokio::test(flavor = "multi_thread")]
async fn status_says_how_far_the_source_is_behind() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "behind_by").await;
    let running = switched(&stage);
    let status = || tokio::task::block_in_place(|| stage.migration.ok(&["status"]));
    let said = status();
    assert!(said.contains("way back  open; the source is ") && said.contains("its slot keeps "), "{said}");
    assert!(!said.contains("nothing goes back"), "{said}");
    assert_code(&tokio::task::block_in_place(|| running.interrupt()), Some(6));
    let large = "INSERT INTO items (id, count, price) SELECT g, 0, 1 FROM generate_series(1000, 20000) AS g";
    run(&stage.target, large).await;
    let said = status();
    assert!(said.contains("nothing goes back, for no executor is running: pcrd apply goes on"), "{said}");
    let behind = said.split("the source is ").nth(1).unwrap().split(' ').next().unwrap().parse::<u64>().unwrap();
    assert!(behind > 1_000_000, "{said}");
    assert_code(&command(&stage, &["rollback", "--yes"], ""), Some(0));
    assert!(status().contains("way back  rolled back"));
}
