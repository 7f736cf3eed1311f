//! What an operator does from another terminal, or another machine, while `apply` runs.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_postgres::Client;

use crate::migration::{Migration, Running};
use crate::support::{TestPair, connect_to, run, sorted_copy, text};
use crate::writers::{INT, Writers};

const ROWS: u32 = 4_000;
const READY: &str = "\"type\":\"gate\",\"ready\":true";

struct Scene {
    pair: TestPair,
    migration: Migration,
    source: Client,
    target: Client,
}

/// Two servers and a plan. `more` stands below `migrate:`.
async fn scene(more: &str) -> Scene {
    let pair = TestPair::start(15, 15);
    let source = connect_to(&pair.source, "postgres").await;
    run(&source, &INT.ddl(ROWS)).await;
    run(&source, "CREATE INDEX items_n ON items (n)").await;
    let migration = Migration::new(&pair, &INT.yaml(), &format!("  batch_size: 50\n  workers: 1\n{more}"));
    migration.plan();
    let target = connect_to(&pair.target, "postgres").await;
    Scene { pair, migration, source, target }
}

impl Scene {
    fn apply(&self) -> Running {
        self.migration.start(&["--json", "apply", "plan.json", "--yes"], "")
    }

    /// `status --json` of an operator who has this state file.
    fn status(&self, state: &str) -> Value {
        let said = self.command(&["--json", "--state", state, "status"], 0);
        serde_json::from_str(&said).unwrap()
    }

    /// Runs a command from another terminal; gives what it said.
    #[track_caller]
    fn command(&self, args: &[&str], code: i32) -> String {
        let said = self.migration.start(args, "").wait_at_most(Duration::from_secs(60));
        let all = said.lines.join("\n");
        assert_eq!(said.code, Some(code), "{args:?}: {all}\n{}", said.stderr);
        if args.contains(&"--json") { all } else { format!("{all}\n{}", said.stderr) }
    }

    async fn copied(&self) -> u64 {
        text(&self.target, "SELECT count(*) FROM items").await.parse().unwrap()
    }

    async fn assert_equal(&self) {
        let left = sorted_copy(&self.source, &INT.source_query()).await;
        assert!(left == sorted_copy(&self.target, &INT.target_query()).await, "source and target differ");
    }
}

fn blocked_by(status: &Value) -> String {
    let reasons = status["blocked_by"].as_array().unwrap();
    reasons.iter().map(|reason| reason.as_str().unwrap()).collect::<Vec<_>>().join("; ")
}

fn step<'s>(status: &'s Value, id: &str) -> &'s str {
    let steps = status["steps"].as_array().unwrap();
    steps.iter().find(|step| step["id"] == id).map_or("absent", |step| step["status"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn status_from_another_terminal() {
    let scene = scene("  max_rows_per_second: 600\n  lag_threshold_bytes: 4096").await;
    let mut running = scene.apply();
    running.wait_for("\"step_progress\"");
    let status = scene.status("state.sqlite3");
    assert_eq!((&status["state"], &status["executor"]["alive"]), (&"running".into(), &true.into()));
    assert_eq!(step(&status, "create_table:public.items"), "succeeded");
    assert_eq!(step(&status, "copy:public.items"), "started");
    assert_eq!(step(&status, "verify:public.items"), "pending");
    assert_eq!(status["ready_for_cutover"], false);
    assert!(blocked_by(&status).contains("copy:public.items is started"), "{status}");
    let steps = status["steps"].as_array().unwrap();
    let copy = steps.iter().find(|step| step["id"] == "copy:public.items").unwrap();
    let rows = copy["rows_done"].as_u64().unwrap();
    assert!(rows > 0 && rows < u64::from(ROWS), "{status}");
    assert_eq!((&copy["phase"], &copy["rows_estimate"]), (&"copy".into(), &ROWS.into()), "{copy}");
    assert!(copy["bytes_done"].as_u64().unwrap() > rows && copy["started_at"].is_string(), "{copy}");
    assert!(copy["ended_at"].is_null() && steps[0]["ended_at"].is_string(), "{status}");
    assert!(status["stream"]["received_lsn"].is_string() && status["stream"]["lag_seconds"].is_number(), "{status}");
    let _ = scene.command(&["throttle", "--rows-per-second", "0"], 0);

    running.wait_for(READY);
    let status = scene.status("state.sqlite3");
    assert_eq!(blocked_by(&status), "");
    assert_eq!((&status["ready_for_cutover"], &status["plan_is_known"]), (&true.into(), &true.into()));
    assert!(scene.command(&["status"], 0).contains("ready     yes; next: pcrd cutover"));

    // The stream cannot go on: what is missing grows, and the threshold says so.
    run(&scene.target, "BEGIN; LOCK TABLE items IN ACCESS EXCLUSIVE MODE").await;
    run(&scene.source, "UPDATE items SET n = n + 1 WHERE id <= 300").await;
    let status = scene.status("state.sqlite3");
    assert!(status["stream"]["lag_bytes"].as_u64().unwrap() > 4096, "{status}");
    assert_eq!(status["ready_for_cutover"], false, "{status}");
    assert!(blocked_by(&status).contains("bytes behind; the threshold is 4096"), "{status}");
    run(&scene.target, "ROLLBACK").await;

    // Another machine: no state file. The ledger says what was done, nobody can say what is missing.
    let status = scene.status("nowhere.sqlite3");
    assert_eq!((&status["plan_is_known"], &status["ready_for_cutover"]), (&false.into(), &false.into()), "{status}");
    assert_eq!(step(&status, "verify:public.items"), "succeeded");
    assert!(blocked_by(&status).contains("the plan cannot be read"), "{status}");
    assert!(!scene.migration.dir.path().join("nowhere.sqlite3").exists());
    let said = scene.command(&["--state", "nowhere.sqlite3", "status"], 0);
    assert!(said.contains("ready     no:") && said.contains("the plan cannot be read"), "{said}");

    // A state file that is damaged is as good as none.
    std::fs::write(scene.migration.dir.path().join("damaged.sqlite3"), "garbage".repeat(2_000)).unwrap();
    let status = scene.status("damaged.sqlite3");
    assert_eq!(status["ready_for_cutover"], false, "{status}");
    assert!(blocked_by(&status).contains("the plan cannot be read"), "{status}");

    running.kill();
    let status = scene.status("state.sqlite3");
    assert_eq!((&status["executor"]["alive"], &status["ready_for_cutover"]), (&false.into(), &false.into()));
    assert!(blocked_by(&status).contains("no executor is running"), "{status}");

    let said = scene.command(&["cutover", "--maintenance-confirmed"], 0);
    assert!(said.contains("continues the plan itself"), "{said}");
    let status = scene.status("state.sqlite3");
    assert_eq!((&status["state"], &status["phase"]), (&"cut_over".into(), &"switched".into()));
    assert_eq!((&status["ready_for_cutover"], blocked_by(&status).as_str()), (&false.into(), ""));
    let status = scene.status("nowhere.sqlite3");
    assert_eq!((&status["state"], &status["ready_for_cutover"]), (&"cut_over".into(), &false.into()));
    scene.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pause_resume_and_throttle() {
    let scene = scene("  max_rows_per_second: 200").await;
    let mut running = scene.apply();
    running.wait_for("\"step_progress\"");
    assert!(scene.command(&["pause"], 0).contains("the copy is paused"));
    // A chunk that had begun may still arrive; then nothing does.
    let mut before = scene.copied().await;
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let now = scene.copied().await;
        if now == before {
            break;
        }
        assert!(Instant::now() < until, "rows go on arriving");
        before = now;
    }
    assert!(before < u64::from(ROWS), "the copy was too fast to be paused");
    // The stream goes on meanwhile.
    run(&scene.source, "UPDATE items SET n = 4242 WHERE id = (SELECT min(id) FROM items)").await;
    wait_until(&scene.target, "SELECT count(*) = 1 FROM items WHERE n = 4242").await;
    assert_eq!(scene.copied().await, before);

    // It stays paused over a crash.
    running.kill();
    let mut running = scene.apply();
    running.wait_for("\"type\":\"lag\"");
    running.wait_for("\"type\":\"lag\"");
    assert_eq!(scene.copied().await, before);

    // At 200 rows a second the rest would take a quarter of a minute and more.
    assert!(scene.command(&["throttle", "--rows-per-second", "1000000"], 0).contains("at most 1000000 rows a second"));
    let began = Instant::now();
    assert!(scene.command(&["resume"], 0).contains("the copy goes on"));
    running.wait_for(READY);
    assert!(began.elapsed() < Duration::from_secs(u64::from(ROWS) / 200 - 5), "the limit was not raised");
    assert_eq!(scene.copied().await, u64::from(ROWS));

    // A report on what runs, and a change of the limit that is no number.
    let report: Value = serde_json::from_str(&scene.command(&["--json", "verify"], 0)).unwrap();
    assert_eq!((&report["passed"], &report["tables"][0]["rows_compared"]), (&true.into(), &ROWS.into()));
    let _ = scene.command(&["throttle", "--rows-per-second", "many"], 64);
    assert!(scene.command(&["cutover", "--yes"], 0).contains("the target is the database now"));
    let said = tokio::task::block_in_place(|| running.wait_at_most(Duration::from_secs(30)));
    said.assert_switched();
    scene.assert_equal().await;
}

async fn wait_until(client: &Client, query: &str) {
    let until = Instant::now() + Duration::from_secs(60);
    while text(client, query).await != "t" {
        assert!(Instant::now() < until, "never true: {query}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Nobody is there to answer: a command must not wait for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_an_executor_is_refused() {
    let scene = scene("").await;
    let said = scene.command(&["pause"], 1);
    assert!(said.contains("knows of no migration"), "{said}");
    let mut running = scene.apply();
    running.wait_for(READY);
    running.kill();
    for args in [&["pause"][..], &["resume"], &["throttle", "--rows-per-second", "5"]] {
        let said = scene.command(args, 1);
        assert!(said.contains("no executor is running") && said.contains("pcrd apply"), "{args:?}: {said}");
    }
    assert_eq!(text(&scene.target, "SELECT count(*) FROM pcrd.request WHERE ended_at IS NULL").await, "0");
}

/// The executor dies while a command waits for its answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_to_an_executor_that_dies_is_answered() {
    let scene = scene("  max_rows_per_second: 100").await;
    let mut running = scene.apply();
    running.wait_for("\"step_progress\"");
    // It waits for the gate, which is far.
    let asked = scene.migration.start(&["cutover", "--yes"], "");
    wait_until(&scene.target, "SELECT count(*) = 1 FROM pcrd.request WHERE taken_at IS NOT NULL").await;
    running.kill();
    let said = tokio::task::block_in_place(|| asked.wait_at_most(Duration::from_secs(30)));
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    assert!(said.stderr.contains("the executor ended before it answered"), "{}", said.stderr);
}

/// An executor that stands where it can take nothing, dies there, and has been asked for the cutover.
async fn asked_of_the_dead(scene: &Scene) -> Running {
    let mut running = scene.apply();
    running.wait_for(READY);
    let pid = running.child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-STOP", &pid]).status().unwrap().success());
    let asked = scene.migration.start(&["cutover", "--yes"], "");
    wait_until(&scene.target, "SELECT count(*) = 1 FROM pcrd.request WHERE kind = 'cutover'").await;
    running.kill();
    asked
}

/// Nobody will do it: whoever asks goes on alone, as if nobody had been there.
#[tokio::test(flavor = "multi_thread")]
async fn a_cutover_that_nobody_took_is_made_by_who_asked() {
    let scene = scene("").await;
    let asked = asked_of_the_dead(&scene).await;
    let said = tokio::task::block_in_place(|| asked.wait_at_most(Duration::from_secs(120)));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(text(&scene.target, "SELECT state FROM pcrd.migration").await, "cut_over");
    assert_eq!(text(&scene.target, "SELECT outcome FROM pcrd.request WHERE kind = 'cutover'").await, "withdrawn");
}

/// Whoever has asked before must not begin again what was given up since.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_is_given_up_meanwhile_is_not_cut_over() {
    let scene = scene("").await;
    let asked = asked_of_the_dead(&scene).await;
    let signal = |name: &str| {
        let pid = asked.child.id().to_string();
        assert!(std::process::Command::new("kill").args([name, &pid]).status().unwrap().success());
    };
    signal("-STOP");
    scene.command(&["abort", "--yes"], 0);
    signal("-CONT");
    let said = tokio::task::block_in_place(|| asked.wait_at_most(Duration::from_secs(60)));
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    assert!(said.stderr.contains("the migration is aborted by now"), "{}", said.stderr);
    assert_eq!(text(&scene.target, "SELECT state FROM pcrd.migration").await, "aborted");
    assert_eq!(text(&scene.target, "SELECT (to_regclass('items') IS NULL)::text").await, "true");
}

/// It was told that nobody did it: the next executor must not do it after all.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_nobody_took_is_not_done_later() {
    let scene = scene("").await;
    let asked = asked_of_the_dead(&scene).await;
    tokio::task::block_in_place(|| asked.kill());
    // As one of an earlier version that was ended and never taken.
    run(&scene.target, "UPDATE pcrd.request SET ended_at = clock_timestamp() WHERE kind = 'cutover'").await;
    let mut running = scene.apply();
    running.wait_for(READY);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(text(&scene.target, "SELECT count(*) FROM pcrd.cutover WHERE state <> 'ready'").await, "0");
    assert_eq!(text(&scene.target, "SELECT state FROM pcrd.migration").await, "running");
    running.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn abort_while_it_runs() {
    for (what, more, at) in [("copy", "  max_rows_per_second: 300", "\"step_progress\""), ("gate", "", READY)] {
        let scene = scene(&format!("{more}\n  lag_threshold_bytes: 33554432")).await;
        let writers = Writers::start(&scene.pair, INT, ROWS, 2, false).await;
        let mut running = scene.apply();
        running.wait_for(at);
        let said = scene.command(&["abort", "--yes"], 0);
        assert!(said.contains("removed: replication slot"), "{what}: {said}");
        let ended = tokio::task::block_in_place(|| running.wait_at_most(Duration::from_secs(30)));
        assert_eq!(ended.code, Some(6), "{what}: {}", ended.stderr);
        assert!(ended.stderr.contains("aborted by request"), "{what}: {}", ended.stderr);
        for (client, query) in [
            (
                &scene.source,
                "SELECT (SELECT count(*) FROM pg_replication_slots) + (SELECT count(*) FROM pg_publication) \
              + (SELECT count(*) FROM pg_namespace WHERE nspname = 'pcrd') \
              + (SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'pcrd%') = 0",
            ),
            (&scene.target, "SELECT to_regclass('public.items') IS NULL"),
            (&scene.target, "SELECT count(*) = 0 FROM pcrd.migration WHERE state = 'running'"),
        ] {
            assert_eq!(text(client, query).await, "t", "{what}: {query}");
        }
        let commits = writers.commits.load(std::sync::atomic::Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(writers.stop().await > commits, "{what}: the application was stopped");

        // The same plan can begin afresh, from nothing.
        let _ = scene.command(&["throttle", "--rows-per-second", "0"], 1);
        let again = scene.migration.start(&["--json", "apply", "plan.json", "--yes", "--through", "cutover"], "");
        let said = tokio::task::block_in_place(|| again.wait_at_most(Duration::from_secs(120)));
        said.assert_switched();
        scene.assert_equal().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cutover_with_a_timeout_of_its_own() {
    // The config says 60 s.
    let scene = scene("").await;
    let mut running =
        scene.migration.start(&["--json", "apply", "plan.json", "--yes"], "cutover.after-fenced=1*sleep(2500)");
    running.wait_for(READY);
    let said = scene.command(&["cutover", "--yes", "--timeout", "1"], 1);
    assert!(said.contains("not switched within 1000 ms") && said.contains("the source is open again"), "{said}");
    run(&scene.source, "UPDATE items SET n = 7 WHERE id = 7").await;
    let said = scene.command(&["cutover", "--yes", "--timeout", "30"], 0);
    assert!(said.contains("the target is the database now"), "{said}");
    let ended = tokio::task::block_in_place(|| running.wait_at_most(Duration::from_secs(30)));
    ended.assert_switched();
    scene.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cutover_that_terminates_who_stands_in_its_way() {
    let scene = scene("  lag_threshold_bytes: 33554432").await;
    let mut running = scene.apply();
    running.wait_for(READY);
    let forgotten = connect_to(&scene.pair.source, "postgres").await;
    run(&forgotten, "SET application_name = 'forgotten'; BEGIN; UPDATE items SET n = 99999 WHERE id = 1").await;
    let pid = text(&forgotten, "SELECT pg_backend_pid()::text").await;
    let reader = connect_to(&scene.pair.source, "postgres").await;
    run(&reader, "BEGIN; SELECT count(*) FROM items").await;
    let writers = Writers::start(&scene.pair, INT, ROWS, 2, false).await;
    let _ = scene.command(&["cutover", "--yes", "--terminate-after", "2"], 0);
    let commits = writers.stop().await;
    assert!(commits > 0);
    assert!(forgotten.batch_execute("COMMIT").await.is_err(), "the transaction in the way was not terminated");
    run(&reader, "COMMIT").await;
    let ended = tokio::task::block_in_place(|| running.wait_at_most(Duration::from_secs(30)));
    ended.assert_switched();
    let named = format!("the fence waits for pid {pid} (forgotten, role postgres, in a transaction for ");
    assert!(
        ended.lines.iter().any(|line| line.contains(&named) && line.contains("RowExclusiveLock on ")),
        "{}",
        ended.lines.join("\n")
    );
    assert!(ended.lines.iter().any(|line| line.contains("kept the fence waiting")), "{}", ended.lines.join("\n"));
    assert_eq!(text(&scene.source, "SELECT count(*) FROM items WHERE n = 99999").await, "0");
    scene.assert_equal().await;
}
