//! Ctrl-C, SIGTERM and a panic, anywhere: a clean end with a documented exit, and the same command goes on.

use std::process::Command;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::migration::{Migration, Running, Said};
use crate::support::{TestPair, connect_to, run, sorted_copy, text};
use crate::writers::{INT, Writers};

const ROWS: u32 = 2_000;
/// What the contract gives an operator's signal.
const LIMIT: Duration = Duration::from_secs(5);

struct Scene {
    pair: TestPair,
    migration: Migration,
    source: Client,
    writers: Writers,
}

/// Two servers, a plan, and writers. `more` stands below `migrate:`.
async fn scene(more: &str, writers: u64) -> Scene {
    let pair = TestPair::start(15, 15);
    let source = connect_to(&pair.source, "postgres").await;
    run(&source, &INT.ddl(ROWS)).await;
    run(&source, "CREATE INDEX items_n ON items (n); ALTER TABLE items ADD CHECK (n > -2)").await;
    let more = format!("  batch_size: 100\n  workers: 2\n  lag_threshold_bytes: 33554432\n{more}");
    let migration = Migration::new(&pair, &INT.yaml(), &more);
    migration.plan();
    let writers = Writers::start(&pair, INT, ROWS, writers, false).await;
    Scene { pair, migration, source, writers }
}

impl Scene {
    fn apply(&self, failpoints: &str) -> Running {
        self.migration.start(&["--json", "apply", "plan.json", "--yes", "--through", "cutover"], failpoints)
    }

    /// The same command again ends with the target equal to the source.
    async fn goes_on(self, what: &str) {
        let again = self.apply("");
        let said = tokio::task::block_in_place(|| again.wait_at_most(Duration::from_secs(120)));
        assert_eq!(said.code, Some(0), "{what}: {}\n{}", said.lines.join("\n"), said.stderr);
        self.writers.stop().await;
        let target = connect_to(&self.pair.target, "postgres").await;
        let left = sorted_copy(&self.source, &INT.source_query()).await;
        assert!(left == sorted_copy(&target, &INT.target_query()).await, "{what}: source and target differ");
    }
}

fn signal(running: &Running, name: &str) {
    let pid = running.child.id().to_string();
    assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
}

/// Sends a signal and expects the end that the contract promises.
#[track_caller]
fn stopped(running: Running, name: &str, what: &str) -> Said {
    let asked = Instant::now();
    signal(&running, name);
    let said = running.wait_at_most(Duration::from_secs(30));
    let took = asked.elapsed();
    assert_eq!(said.code, Some(6), "{what}: {}\n{}", said.lines.join("\n"), said.stderr);
    assert!(took < LIMIT, "{what}: it took {took:?} to stop");
    assert!(said.stderr.contains("run the same command again to continue"), "{what}: {}", said.stderr);
    println!("{what}: SIG{name} to exit in {took:?}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn in_every_phase() {
    for (what, more, failpoints, said) in [
        ("copy", "  max_rows_per_second: 400", "", "\"step_progress\""),
        ("catch-up", "", "step.after-effect=sleep(400)", "\"step\":\"create_index:"),
        ("verification", "", "verify.begin=sleep(800)", "\"step\":\"verify:"),
    ] {
        for name in ["INT", "TERM"] {
            let scene = scene(more, 2).await;
            let mut running = scene.apply(failpoints);
            running.wait_for(said);
            let _ = tokio::task::block_in_place(|| stopped(running, name, what));
            scene.goes_on(what).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_keeps_the_target_up_to_date() {
    let scene = scene("", 2).await;
    let mut running = scene.migration.start(&["--json", "apply", "plan.json", "--yes"], "");
    running.wait_for("\"type\":\"gate\",\"ready\":true");
    let _ = tokio::task::block_in_place(|| stopped(running, "INT", "gate"));
    scene.goes_on("gate").await;
}

/// The source takes writes, and no trigger of ours is in their way.
async fn assert_open(source: &Client, what: &str) {
    run(source, "UPDATE items SET n = n WHERE false").await;
    let triggers = "SELECT count(*) FROM pg_trigger WHERE tgname = 'pcrd_fence'";
    assert_eq!(text(source, triggers).await, "0", "{what}: the fence stands");
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_the_fence_it_opens_the_source_again() {
    for point in ["cutover.after-fence", "cutover.after-fenced", "cutover.after-drained", "cutover.after-sequences"] {
        for name in ["INT", "TERM"] {
            let scene = scene("", 0).await;
            let mut running = scene.apply(&format!("{point}=sleep(1500)"));
            running.wait_for("\"state\":\"fencing\"");
            wait_until(&scene.source, "SELECT count(*) = 1 FROM pg_trigger WHERE tgname = 'pcrd_fence'").await;
            let _ = tokio::task::block_in_place(|| stopped(running, name, point));
            assert_open(&scene.source, point).await;
            scene.goes_on(point).await;
        }
    }
}

async fn wait_until(client: &Client, query: &str) {
    let until = Instant::now() + Duration::from_secs(60);
    while text(client, query).await != "t" {
        assert!(Instant::now() < until, "never true: {query}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A statement that waits on the server does not keep the operator waiting, and does not go on without us.
async fn while_the_target_is_locked(through: &str, what: &str) {
    for name in ["INT", "TERM"] {
        let scene = scene("", 0).await;
        let _ = scene.migration.ok(&["apply", "plan.json", "--yes", "--through", through]);
        let blocker = connect_to(&scene.pair.target, "postgres").await;
        run(&blocker, "BEGIN; LOCK TABLE items IN ACCESS EXCLUSIVE MODE").await;
        let running = scene.apply("");
        let target = connect_to(&scene.pair.target, "postgres").await;
        let waiting = "FROM pg_stat_activity WHERE application_name LIKE 'pcrd/%' AND wait_event_type = 'Lock'";
        wait_until(&target, &format!("SELECT count(*) > 0 {waiting} AND query ILIKE '{what}%'")).await;
        let _ = tokio::task::block_in_place(|| stopped(running, name, what));
        if through == "copy" {
            // It would hold the executor's locks until it is done.
            wait_until(&target, &format!("SELECT count(*) = 0 {waiting}")).await;
        }
        run(&blocker, "ROLLBACK").await;
        scene.goes_on(what).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_an_index_build_waits_for_a_lock() {
    while_the_target_is_locked("copy", "create index").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_comparison_waits_for_a_lock() {
    while_the_target_is_locked("catchup", "begin isolation").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_setup_waits_for_a_lock() {
    let scene = scene("", 0).await;
    let blocker = connect_to(&scene.pair.source, "postgres").await;
    run(&blocker, "BEGIN; LOCK TABLE items IN ACCESS EXCLUSIVE MODE").await;
    let running = scene.apply("");
    let waiting = "FROM pg_stat_activity WHERE application_name LIKE 'pcrd/%' AND wait_event_type = 'Lock'";
    wait_until(&scene.source, &format!("SELECT count(*) > 0 {waiting}")).await;
    let _ = tokio::task::block_in_place(|| stopped(running, "TERM", "setup"));
    run(&blocker, "ROLLBACK").await;
    scene.goes_on("setup").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_slot_waits_for_a_transaction() {
    let scene = scene("", 0).await;
    let writer = connect_to(&scene.pair.source, "postgres").await;
    run(&writer, "BEGIN; UPDATE items SET n = n + 1 WHERE id = 1").await;
    let running = scene.apply("");
    wait_until(&scene.source, "SELECT count(*) > 0 FROM pg_replication_slots").await;
    let _ = tokio::task::block_in_place(|| stopped(running, "INT", "slot"));
    wait_until(&scene.source, "SELECT count(*) = 0 FROM pg_replication_slots").await;
    run(&writer, "COMMIT").await;
    scene.goes_on("slot").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_an_internal_error_and_the_same_command_goes_on() {
    for point in ["chunk.before-commit", "apply.before-commit", "verify.begin", "step.after-effect"] {
        let scene = scene("", 2).await;
        let running = scene.apply(&format!("{point}=panic"));
        let said = tokio::task::block_in_place(|| running.wait_at_most(Duration::from_secs(60)));
        assert_panicked(&said, point);
        scene.goes_on(point).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_behind_the_fence_opens_the_source_again() {
    for point in ["cutover.after-fenced", "cutover.after-sequences"] {
        let scene = scene("", 0).await;
        let running = scene.apply(&format!("{point}=panic"));
        let said = tokio::task::block_in_place(|| running.wait_at_most(Duration::from_secs(60)));
        assert_panicked(&said, point);
        assert_open(&scene.source, point).await;
        scene.goes_on(point).await;
    }
}

/// The stream is lost at the worst time: the source opens, and a second attempt of the same run cuts over.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_lost_behind_the_fence() {
    for point in ["cutover.after-fence", "cutover.after-fenced"] {
        let scene = scene("", 2).await;
        let running = scene.apply(&format!("{point}=1*sleep(1500)"));
        wait_until(&scene.source, "SELECT count(*) = 1 FROM pg_trigger WHERE tgname = 'pcrd_fence'").await;
        let lost = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pcrd/%/stream'";
        assert_eq!(text(&scene.source, lost).await, "t", "{point}");
        let said = tokio::task::block_in_place(|| running.wait_at_most(Duration::from_secs(60)));
        let all = said.lines.join("\n");
        assert_eq!(said.code, Some(0), "{point}: {all}\n{}", said.stderr);
        assert!(all.contains("trying again in"), "{point}: {all}");
        assert_eq!(all.matches("\"state\":\"fencing\"").count(), 2, "{point}: {all}");
        scene.writers.stop().await;
        let target = connect_to(&scene.pair.target, "postgres").await;
        let left = sorted_copy(&scene.source, &INT.source_query()).await;
        assert!(left == sorted_copy(&target, &INT.target_query()).await, "{point}: source and target differ");
    }
}

#[track_caller]
fn assert_panicked(said: &Said, point: &str) {
    assert_eq!(said.code, Some(1), "{point}: {}\n{}", said.lines.join("\n"), said.stderr);
    for says in ["internal error", point, "the same command again continues"] {
        assert!(said.stderr.contains(says), "{point}: `{says}` is not in {}", said.stderr);
    }
}
