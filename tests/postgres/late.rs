//! Fences that refuse no write: whoever writes all the same is found out, before the switch and after it.

use crate::hooks::plan_with;
use crate::migration::{Running, Said};
use crate::stage::Stage;
use crate::support::{TestPair, run, text};

const DDL: &str = "CREATE TABLE items (id integer PRIMARY KEY, note text); CREATE TABLE logs (at integer PRIMARY KEY);
    INSERT INTO items SELECT n, 'item ' || n FROM generate_series(1, 200) AS n; ANALYZE items";
const TABLES: &str = "    - { name: items, columns: { id: { type: bigint } } }\n    - name: logs\n";

async fn stage(pair: &TestPair, name: &str, cutover: &str) -> Stage {
    let stage = Stage::new(pair, name, DDL, TABLES, "").await;
    plan_with(&stage.migration, &format!("cutover: {{ fence_timeout: 60, {cutover} }}"));
    stage
}

fn wait(running: Running) -> Said {
    tokio::task::block_in_place(|| running.finish())
}

fn command(stage: &Stage, args: &[&str]) -> Said {
    wait(stage.migration.start(args, ""))
}

#[track_caller]
fn assert_code(said: &Said, code: Option<i32>) {
    assert_eq!(said.code, code, "{}\n{}", said.lines.join("\n"), said.stderr);
}

async fn assert_equal(stage: &Stage) {
    stage.assert_equal("SELECT id::bigint, note FROM items", "SELECT id, note FROM items").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn none_needs_a_word_and_finds_who_writes_after_it() {
    let pair = TestPair::start(15, 15);
    let stage = stage(&pair, "none", "fence: none").await;
    let shown = stage.migration.ok(&["show", "-v", "plan.json"]);
    assert!(shown.contains("fence: none") && shown.contains("WRITES_NOT_STOPPED@source"), "{shown}");
    let said = wait(stage.start_through(""));
    assert_code(&said, Some(1));
    assert!(said.stderr.contains("--maintenance-confirmed"), "{}", said.stderr);
    assert_eq!(text(&stage.target, "SELECT state FROM pcrd.migration").await, "running");
    run(&stage.source, "INSERT INTO items VALUES (1000, 'before')").await;
    assert_code(&command(&stage, &["cutover", "--maintenance-confirmed"]), Some(0));
    assert_equal(&stage).await;
    assert!(!stage.migration.ok(&["status"]).contains("change(s)"));
    run(&stage.source, "INSERT INTO items VALUES (1001, 'after'), (1002, 'after'); DELETE FROM items WHERE id = 1")
        .await;
    // What was acknowledged is found, flushed or not.
    run(&stage.source, "SET synchronous_commit = off; INSERT INTO logs VALUES (1)").await;
    let status = stage.migration.ok(&["status"]);
    for line in ["3 change(s) of public.items came to the source", "1 change(s) of public.logs came to the source"] {
        assert!(status.contains(line), "{status}");
        let said = command(&stage, &["cleanup", "--yes"]);
        assert_code(&said, Some(1));
        assert!(said.stderr.contains(line), "{}", said.stderr);
    }
    assert_eq!(
        text(&stage.source, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'pcrd_none'").await,
        "1"
    );
    assert_code(&command(&stage, &["cleanup", "--yes", "--late-writes-known"]), Some(0));
    assert_eq!(
        text(&stage.source, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'pcrd_none'").await,
        "0"
    );
}

/// The program was to stop the writers, and one goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_before_the_switch_ends_the_attempt() {
    let pair = TestPair::start(15, 15);
    for (state, write, found) in [
        ("drained", "UPDATE items SET note = 'late' WHERE id < 5", "4 change(s) of public.items"),
        ("verified", "DELETE FROM items WHERE id = 7", "1 change(s) of public.items"),
        ("sequences", "TRUNCATE logs", "1 change(s) of public.logs"),
    ] {
        let stage = stage(&pair, state, "fence: hooks, hooks: { before_fence: ['true'] }").await;
        let running = stage.start_through(&format!("cutover.after-{state}=sleep(2000)"));
        let reached = match state {
            "verified" => "verified_final",
            "sequences" => "sequences_set",
            other => other,
        };
        stage.until_target(&format!("SELECT state = '{reached}' FROM pcrd.cutover")).await;
        run(&stage.source, write).await;
        let said = wait(running);
        assert_code(&said, Some(1));
        assert!(said.stderr.contains(found), "{state}: {}", said.stderr);
        assert_eq!(text(&stage.target, "SELECT state FROM pcrd.migration").await, "running");
        assert_code(&wait(stage.start_through("")), Some(0));
        assert_equal(&stage).await;
        stage.end().await;
    }
    // As long as the stream goes on it is not late.
    let stage = stage(&pair, "fenced", "fence: hooks, hooks: { before_fence: ['true'] }").await;
    let running = stage.start_through("cutover.after-fenced=sleep(2000)");
    stage.until_target("SELECT state = 'fenced' FROM pcrd.cutover").await;
    run(&stage.source, "UPDATE items SET note = 'in time' WHERE id < 5").await;
    stage.until_target("SELECT count(*) = 4 FROM items WHERE note = 'in time'").await;
    assert_code(&wait(running), Some(0));
    assert_equal(&stage).await;
    assert!(!stage.migration.ok(&["status"]).contains("change(s)"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_after_the_decision_is_told_of() {
    let pair = TestPair::start(15, 15);
    for point in ["cutover.after-permanent", "cutover.after-switched"] {
        let name = point.replace(['.', '-'], "_");
        let stage = stage(&pair, &name, "fence: hooks, hooks: { before_fence: ['true'] }").await;
        let running = stage.start_through(&format!("{point}=sleep(2000)"));
        let reached = if point.ends_with("permanent") { "sequences_set" } else { "switched" };
        stage.until_target(&format!("SELECT state = '{reached}' FROM pcrd.cutover")).await;
        stage.until_source("SELECT until = 'infinity' FROM pcrd.fence").await;
        run(&stage.source, "INSERT INTO items VALUES (1000, 'late')").await;
        let said = wait(running);
        assert_code(&said, Some(0));
        let told = said.lines.join("\n");
        assert!(told.contains("1 change(s) of public.items came to the source after the fence"), "{point}: {told}");
        assert!(stage.migration.ok(&["status"]).contains("1 change(s) of public.items"));
        stage.end().await;
    }
}

/// Killed when the fence was permanent, with no client moved yet: nobody was refused until pcrd came back.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_between_a_crash_and_the_switch_ends_the_attempt() {
    let pair = TestPair::start(15, 15);
    for (name, hooks) in [("crash", ""), ("crash_hook", ", switch: [touch, moved]")] {
        let stage = stage(&pair, name, &format!("fence: hooks, hooks: {{ before_fence: ['true']{hooks} }}")).await;
        assert_eq!(wait(stage.start_through("cutover.after-permanent=return(kill)")).code, None);
        run(&stage.source, "INSERT INTO items VALUES (1000, 'late')").await;
        assert!(stage.migration.ok(&["status"]).contains("1 change(s) of public.items"));
        let said = wait(stage.start_through(""));
        assert_code(&said, Some(1));
        assert!(said.stderr.contains("1 change(s) of public.items"), "{}", said.stderr);
        assert!(
            !stage.migration.dir.path().join("moved").exists(),
            "the clients were moved to a target that lacks a row"
        );
        assert_eq!(text(&stage.target, "SELECT state FROM pcrd.migration").await, "running");
        assert_code(&wait(stage.start_through("")), Some(0));
        assert_equal(&stage).await;
        assert_eq!(stage.migration.dir.path().join("moved").exists(), !hooks.is_empty());
        stage.end().await;
    }
}

/// A target that was restored, or failed over to a server that is behind, is not what the fence was made permanent for.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_behind_is_not_switched_to() {
    let pair = TestPair::start(15, 15);
    let stage = stage(&pair, "behind", "hooks: { switch: [touch, moved] }").await;
    assert_eq!(wait(stage.start_through("cutover.after-permanent=return(kill)")).code, None);
    run(&stage.target, "UPDATE pcrd.cutover SET state = 'drained'").await;
    let said = wait(stage.start_through(""));
    assert_code(&said, Some(1));
    assert!(said.stderr.contains("the cutover has come to `drained` only"), "{}", said.stderr);
    assert!(!stage.migration.dir.path().join("moved").exists(), "the clients were moved");
    run(&stage.target, "UPDATE pcrd.cutover SET state = 'sequences_set'").await;
    assert_code(&wait(stage.start_through("")), Some(0));
    assert!(stage.migration.dir.path().join("moved").exists());
    assert_equal(&stage).await;
}
