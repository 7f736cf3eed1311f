//! The copy holds itself back while the servers cannot bear it, or cannot be asked, and goes on afterwards.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use pcrd::pg::local::{Cluster, find_binaries};
use serde_json::Value;
use tokio_postgres::Client;

use crate::migration::{Migration, Running};
use crate::stage::Stage;
use crate::support::{TestPair, connect_to, run, text, try_connect};

const ROWS: u32 = 4_000;
const READY: &str = "\"type\":\"gate\",\"ready\":true";
const HELD: &str = "\"type\":\"held_back\",\"work\":\"copy\"";
const ITEMS: &str = "CREATE TABLE noise (id integer PRIMARY KEY, t text); INSERT INTO noise VALUES (1, 'a'); \
     CREATE TABLE items (id integer PRIMARY KEY, t text); \
     INSERT INTO items SELECT g, md5(g::text) FROM generate_series(1, 4000) AS g; \
     CREATE INDEX items_t ON items (t); ANALYZE";
const YAML: &str = "    - { name: noise, columns: { id: { type: bigint } } }\n    - { name: items, columns: { id: { type: bigint } } }\n";
/// At this rate the copy takes long enough for a test to step in; it is ended by raising the limit.
const SLOW: &str = "  batch_size: 20\n  workers: 1\n  max_rows_per_second: 60\n";

async fn stage(pair: &TestPair, name: &str, throttle: &str) -> Stage {
    Stage::new(pair, name, ITEMS, YAML, &format!("{SLOW}  throttle: {{ {throttle} }}\n")).await
}

/// Runs a command from another terminal; gives what it said.
#[track_caller]
fn command(migration: &Migration, args: &[&str]) -> String {
    let said = migration.start(args, "").wait_at_most(Duration::from_secs(60));
    assert_eq!(said.code, Some(0), "{args:?}: {:?}\n{}", said.lines, said.stderr);
    format!("{}\n{}", said.lines.join("\n"), said.stderr)
}

fn faster(migration: &Migration) {
    let _ = command(migration, &["throttle", "--rows-per-second", "0"]);
}

async fn chunks(stage: &Stage) -> String {
    text(&stage.target, "SELECT count(*) FROM pcrd.chunk").await
}

/// Fails unless the copy stands still: a chunk that had begun may still arrive, then none does.
async fn assert_stands_still(stage: &Stage) {
    let until = Instant::now() + Duration::from_secs(60);
    let mut before = chunks(stage).await;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = chunks(stage).await;
        if now == before {
            break;
        }
        assert!(Instant::now() < until, "chunks go on arriving");
        before = now;
    }
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        assert_eq!(chunks(stage).await, before, "a chunk was copied while the copy was held back");
    }
    let copied = text(&stage.target, "SELECT count(*) FROM items").await;
    assert!(copied.parse::<u32>().unwrap() < ROWS, "the copy was too fast to be held back");
}

/// `status` names what holds the copy back, for people and for programs.
fn assert_status_says(migration: &Migration, why: &str) {
    let said = command(migration, &["status"]);
    assert!(said.contains("held      copy held back: ") && said.contains(why), "{said}");
    let status: Value =
        serde_json::from_str(command(migration, &["--json", "status"]).lines().next().unwrap()).unwrap();
    let held = &status["held_back"];
    assert_eq!(held["work"], "copy", "{status}");
    assert!(held["reasons"].as_array().unwrap().iter().any(|reason| reason.as_str().unwrap().contains(why)), "{held}");
    assert!(held["seconds"].is_number(), "{held}");
}

/// Waits for the end of the copy and of the migration, and compares.
async fn finish(stage: &Stage, mut running: Running) {
    faster(&stage.migration);
    running.wait_for(READY);
    stage.until_target("SELECT count(*) = 0 FROM pcrd.setting WHERE name = 'held_back'").await;
    assert!(!command(&stage.migration, &["status"]).contains("held back"));
    let _ = command(&stage.migration, &["cutover", "--yes"]);
    tokio::task::block_in_place(|| running.finish()).assert_switched();
    for table in ["noise", "items"] {
        stage.assert_equal(&format!("SELECT id::bigint, t FROM {table}"), &format!("SELECT id, t FROM {table}")).await;
    }
}

/// A physical standby of the cluster.
async fn standby_of(primary: &Cluster) -> (Cluster, Client) {
    let mut standby = Cluster::start_with(15, &[("fsync", "off")]).unwrap();
    standby.stop().unwrap();
    let data = standby.data_dir();
    let settings = std::fs::read_to_string(data.join("postgresql.conf")).unwrap();
    let owner = std::fs::metadata(&data).unwrap();
    std::fs::remove_dir_all(&data).unwrap();
    let output = Command::new(find_binaries(15).unwrap().program("pg_basebackup"))
        .args([
            "-h",
            "127.0.0.1",
            "-U",
            "postgres",
            "-X",
            "stream",
            "-c",
            "fast",
            "-R",
            "-p",
            &primary.port().to_string(),
        ])
        .arg("-D")
        .arg(&data)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::write(data.join("postgresql.conf"), settings).unwrap();
    give(&data, owner.uid(), owner.gid());
    standby.resume().unwrap();
    let client = connect_to(&standby, "postgres").await;
    let primary = connect_to(primary, "postgres").await;
    let began = Instant::now();
    while text(&primary, "SELECT count(*) > 0 FROM pg_stat_replication WHERE state = 'streaming'").await != "t" {
        assert!(began.elapsed() < Duration::from_secs(60), "the standby does not stream");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    (standby, client)
}

fn give(path: &Path, uid: u32, gid: u32) {
    std::os::unix::fs::lchown(path, Some(uid), Some(gid)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        std::fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path(), uid, gid));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn standbys_that_fall_behind() {
    let pair = TestPair::start(15, 15);
    let (_source_standby, of_source) = standby_of(&pair.source).await;
    let (_target_standby, of_target) = standby_of(&pair.target).await;
    let limits = "source_replica_lag_seconds: 2, target_replica_lag_seconds: 2";
    let stage = stage(&pair, "standbys", limits).await;
    let mut running = stage.start("");
    for (standby, why) in [(&of_source, "lag of the source's standby"), (&of_target, "lag of the target's standby")] {
        running.wait_for("\"step_progress\"");
        run(standby, "SELECT pg_wal_replay_pause()").await;
        run(&stage.source, "UPDATE noise SET t = t || 'b'").await;
        running.wait_for(why);
        assert_stands_still(&stage).await;
        assert_status_says(&stage.migration, why);
        // The stream is not held back.
        run(&stage.source, "UPDATE noise SET t = t || 'c'").await;
        stage.until_applied().await;
        run(standby, "SELECT pg_wal_replay_resume()").await;
        running.wait_for("\"over\":true");
    }
    finish(&stage, running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_at_work_hold_copy_and_comparison() {
    let pair = TestPair::start(15, 15);
    let stage = stage(&pair, "sessions", "source_active_sessions: 4").await;
    let mut running = stage.start("");
    let at_work = || async {
        let mut sessions = Vec::new();
        for _ in 0..6 {
            let client = connect_to(&pair.source, &stage.name).await;
            sessions.push(tokio::spawn(async move { client.batch_execute("SELECT pg_sleep(600)").await }));
        }
        sessions
    };
    let end = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)'";

    running.wait_for("\"step_progress\"");
    let sessions = at_work().await;
    running.wait_for(HELD);
    assert_stands_still(&stage).await;
    assert_status_says(&stage.migration, "active sessions on the source 6 of 4");
    run(&stage.source, end).await;
    running.wait_for("\"over\":true");

    // Between copy and comparison there is nothing to hold back: the sessions come while an index waits to be built.
    let holder = connect_to(&pair.target, &stage.name).await;
    run(&holder, "BEGIN; LOCK TABLE items IN SHARE UPDATE EXCLUSIVE MODE").await;
    faster(&stage.migration);
    running.wait_for("\"step\":\"create_index:");
    let more = at_work().await;
    for _ in 0..3 {
        running.wait_for("\"type\":\"lag\"");
    }
    run(&holder, "COMMIT").await;
    running.wait_for("\"type\":\"held_back\",\"work\":\"comparison\"");
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        assert_eq!(text(&stage.target, "SELECT count(*) FROM pcrd.verified").await, "0", "compared while held back");
    }
    run(&stage.source, end).await;
    finish(&stage, running).await;
    for session in sessions.into_iter().chain(more) {
        assert!(session.await.unwrap().is_err(), "a session ended before its time");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn log_that_the_slot_keeps() {
    let pair = TestPair::start(15, 15);
    let stage = stage(&pair, "retained", "wal_retained_bytes: 8_388_608, stream_lag_bytes: 0").await;
    let mut running = stage.start("");
    stage.until_target("SELECT count(*) > 0 FROM items").await;
    // The stream cannot get past the first change, and the source goes on writing.
    let holder = connect_to(&pair.target, &stage.name).await;
    run(&holder, "BEGIN; LOCK TABLE noise IN SHARE MODE").await;
    run(&stage.source, "UPDATE noise SET t = 'b'").await;
    run(&stage.source, "SELECT pg_logical_emit_message(true, 'noise', repeat('x', 12000000))").await;
    running.wait_for("WAL retained ");
    assert_stands_still(&stage).await;
    assert_status_says(&stage.migration, " of 8 MiB");
    run(&holder, "COMMIT").await;
    running.wait_for("\"over\":true");
    finish(&stage, running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_behind() {
    let pair = TestPair::start(15, 15);
    let stage = stage(&pair, "behind", "wal_retained_bytes: 0, stream_lag_bytes: 4_194_304").await;
    let mut running = stage.start("");
    stage.until_target("SELECT count(*) > 0 FROM items").await;
    let holder = connect_to(&pair.target, &stage.name).await;
    run(&holder, "BEGIN; LOCK TABLE noise IN SHARE MODE").await;
    run(&stage.source, "UPDATE noise SET t = 'b'").await;
    run(&stage.source, "SELECT pg_logical_emit_message(true, 'noise', repeat('x', 6000000))").await;
    running.wait_for("lag of the stream ");
    assert_stands_still(&stage).await;
    // An operator who knows better; what was said outlives the executor.
    assert!(
        command(&stage.migration, &["throttle", "--limit", "stream_lag_bytes=0"])
            .contains("stream_lag_bytes is not heeded")
    );
    running.wait_for("\"over\":true");
    running.kill();
    run(&holder, "COMMIT").await;
    assert_eq!(text(&stage.target, "SELECT value FROM pcrd.setting WHERE name = 'stream_lag_bytes'").await, "0");
    finish(&stage, stage.start("")).await;
}

/// Nobody may connect to the source's database any more; the connections that are there go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_be_asked() {
    let pair = TestPair::start(15, 15);
    let stage = stage(&pair, "blind", "").await;
    let mut running = stage.start("");
    running.wait_for("\"step_progress\"");
    let admin = connect_to(&pair.source, "postgres").await;
    run(&admin, "ALTER DATABASE blind ALLOW_CONNECTIONS false").await;
    assert!(try_connect(&pair.source.conninfo("blind")).await.is_err());
    let ended =
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'pcrd/%/throttle'";
    assert_eq!(text(&admin, ended).await, "1");
    running.wait_for("the state of the source has not been read for ");
    assert_stands_still(&stage).await;
    assert_status_says(&stage.migration, "not currently accepting connections");
    run(&stage.source, "UPDATE noise SET t = 'seen'").await;
    stage.until_target("SELECT count(*) = 1 FROM noise WHERE t = 'seen'").await;
    run(&admin, "ALTER DATABASE blind ALLOW_CONNECTIONS true").await;
    running.wait_for("\"over\":true");
    finish(&stage, running).await;
}

/// Standbys and sessions are shown to members of pg_monitor only.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_role_may_not_see() {
    let pair = TestPair::start(15, 15);
    let admin = connect_to(&pair.source, "postgres").await;
    run(&admin, "CREATE ROLE mover LOGIN REPLICATION IN ROLE pg_read_all_data").await;
    let stage = stage(&pair, "hidden", "").await;
    let owned =
        "GRANT CREATE ON DATABASE hidden TO mover; ALTER TABLE noise OWNER TO mover; ALTER TABLE items OWNER TO mover";
    run(&stage.source, owned).await;
    let path = stage.migration.dir.path().join("pcrd.config.yml");
    let config = std::fs::read_to_string(&path).unwrap().replacen("user: postgres", "user: mover", 1);
    std::fs::write(&path, &config).unwrap();

    // By default it is told, and no reason to stop.
    let said = command(&stage.migration, &["plan", "--out", "plan.json"]);
    assert!(said.contains("[monitor_right] source: ") && said.contains("Run GRANT pg_monitor TO \"mover\""), "{said}");
    assert!(said.contains("source_replica_lag_seconds") && !said.contains("source_active_sessions"), "{said}");

    // Asked for, it is refused before anything is written …
    std::fs::write(&path, config.replace("throttle: {  }", "throttle: { source_active_sessions: 50 }")).unwrap();
    stage.migration.plan();
    let output = stage.migration.run(&["apply", "plan.json", "--yes"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("monitor_right"), "{said}");

    // … and holds the copy when the right is lost on the way.
    run(&admin, "GRANT pg_monitor TO mover").await;
    let mut running = stage.start("");
    running.wait_for("\"step_progress\"");
    run(&admin, "REVOKE pg_monitor FROM mover").await;
    running.wait_for("active sessions on the source cannot be read: the role on the source needs GRANT pg_monitor");
    assert_stands_still(&stage).await;
    run(&admin, "GRANT pg_monitor TO mover").await;
    running.wait_for("\"over\":true");
    finish(&stage, running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_that_change_while_it_runs() {
    let pair = TestPair::start(15, 15);
    // At these rates the copy would take longer than anybody waits here.
    for (name, limit, change) in [
        ("rows", "max_rows_per_second: 5", "--rows-per-second"),
        ("bytes", "max_bytes_per_second: 200", "--bytes-per-second"),
    ] {
        let more = format!("  batch_size: 20\n  workers: 1\n  {limit}\n");
        let stage = Stage::new(&pair, name, ITEMS, YAML, &more).await;
        let mut running = stage.start("");
        running.wait_for("\"step_progress\"");
        assert!(
            command(&stage.migration, &["throttle", change, "0"]).contains(&format!("no limit of {name} a second"))
        );
        running.wait_for(READY);
        running.kill();
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_come_and_go() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(
        &pair,
        "workers",
        "CREATE TABLE noise (id integer PRIMARY KEY, t text); INSERT INTO noise SELECT g, 'n' FROM generate_series(1, 4000) AS g; \
         CREATE TABLE items (id integer PRIMARY KEY, t text); INSERT INTO items SELECT g, 'i' FROM generate_series(1, 4000) AS g; ANALYZE",
        YAML,
        SLOW,
    )
    .await;
    let mut running = stage.start("");
    running.wait_for("\"step_progress\"");
    let at_work = |n| format!("SELECT count(*) = {n} FROM pg_stat_activity WHERE application_name LIKE 'pcrd/%/copy'");
    stage.until_source(&at_work(1)).await;
    assert!(command(&stage.migration, &["throttle", "--workers", "2"]).contains("2 at work at a time"));
    stage.until_source(&at_work(2)).await;
    let lanes = "SELECT count(DISTINCT tbl) = 2 FROM pcrd.chunk";
    stage.until_target(lanes).await;

    // With one again the two lanes that have begun take turns.
    assert!(
        command(&stage.migration, &["throttle", "--workers", "1", "--rows-per-second", "2000"]).contains("1 at work")
    );
    running.kill();
    let running = stage.start("");
    finish(&stage, running).await;
    assert_eq!(text(&stage.target, "SELECT value FROM pcrd.setting WHERE name = 'workers'").await, "1");
}

/// The copy's rate is its own: what its last chunk has used up is nothing to the comparison.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_copy_does_not_slow_its_comparison() {
    let pair = TestPair::start(15, 15);
    let ddl = "CREATE TABLE items (id integer PRIMARY KEY, t text); INSERT INTO items SELECT g FROM generate_series(1, 2000) AS g";
    let yaml = "    - { name: items, columns: { id: { type: bigint } } }\n";
    let stage = Stage::new(&pair, "debt", ddl, yaml, "  workers: 1\n  max_rows_per_second: 1\n").await;
    let mut running = stage.start("");
    running.wait_for(READY);
    running.kill();
}

/// Log of tables that are not migrated is no lag of the stream: it has nothing to apply of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_others_write_is_no_lag() {
    let pair = TestPair::start(15, 15);
    let stage = stage(&pair, "others", "stream_lag_bytes: 4194304").await;
    run(&stage.source, "CREATE TABLE others (t text); ALTER TABLE others ALTER t SET STORAGE EXTERNAL").await;
    let mut running = stage.start("");
    running.wait_for("\"step_progress\"");
    // More than the limit between two times at which an idle stream says by itself how far it is.
    for _ in 0..24 {
        run(&stage.source, "INSERT INTO others SELECT repeat('x', 524288)").await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    faster(&stage.migration);
    running.wait_for(READY);
    let said = tokio::task::block_in_place(|| running.interrupt());
    let held: Vec<&String> = said.lines.iter().filter(|line| line.contains("lag of the stream")).collect();
    assert!(held.is_empty(), "{held:?}");
}

/// While somebody writes, commits are timed on the source, and only then; the operator can switch it off.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn commits_are_timed_beside_an_application() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "commits", ITEMS, YAML, SLOW).await;
    run(&stage.source, "CREATE TABLE others (t text); ALTER TABLE others ALTER t SET STORAGE EXTERNAL").await;
    // Who sees the messages that are committed.
    run(&stage.source, "SELECT pg_create_logical_replication_slot('witness', 'test_decoding')").await;
    let messages = "SELECT count(*) FROM pg_logical_slot_get_changes('witness', NULL, NULL) WHERE data LIKE '%prefix: pcrd.commit,%'";
    let mut running = stage.start("");
    running.wait_for("\"step_progress\"");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(text(&stage.source, messages).await, "0", "nobody writes");

    let writer = connect_to(&pair.source, &stage.name).await;
    let write = tokio::spawn(async move {
        loop {
            run(&writer, "INSERT INTO others SELECT repeat('x', 8000) FROM generate_series(1, 10)").await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let timed = async || {
        let until = Instant::now() + Duration::from_secs(60);
        while text(&stage.source, messages).await.parse::<u32>().unwrap() < 10 {
            assert!(Instant::now() < until, "no commit is timed");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    timed().await;
    let off = ["throttle", "--limit", "source_commit_slowdown_percent=0"];
    assert!(command(&stage.migration, &off).contains("source_commit_slowdown_percent"));
    let _ = text(&stage.source, messages).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(text(&stage.source, messages).await, "0", "it was switched off");
    let _ = command(&stage.migration, &["throttle", "--limit", "source_commit_slowdown_percent=50"]);
    timed().await;
    write.abort();
    run(&stage.source, "SELECT pg_drop_replication_slot('witness')").await;
    finish(&stage, running).await;
}
