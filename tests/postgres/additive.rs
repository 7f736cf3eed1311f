//! Columns that come to tables of the source while they are migrated: ignored or followed where the plan says so, in every
//! phase and under writers that use the new column; everything else stops the run as ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use crate::migration::Said;
use crate::phase::{Phase, change_in};
use crate::stage::Stage;
use crate::support::{TestPair, connect_to, run, text};

/// A table with a key that is widened, one without a key, and one that is empty.
const DDL: &str = "
    CREATE TYPE mood AS ENUM ('ok', 'sad');
    CREATE DOMAIN small AS integer CHECK (VALUE < 100);
    CREATE TABLE items (id integer PRIMARY KEY, n integer NOT NULL, legacy text, big text);
    ALTER TABLE items ALTER big SET STORAGE EXTERNAL;
    INSERT INTO items SELECT g, g, 'l', repeat('x', 2500) FROM generate_series(1, 600) g;
    CREATE TABLE notes (n integer, t text);
    ALTER TABLE notes REPLICA IDENTITY FULL;
    INSERT INTO notes SELECT g % 20, 'note' FROM generate_series(1, 100) g;
    CREATE TABLE vacant (id integer PRIMARY KEY, t text);
    ANALYZE items, notes, vacant";

const ON_TARGET: &str = "CREATE TYPE mood AS ENUM ('ok', 'sad'); CREATE DOMAIN small AS integer CHECK (VALUE < 100)";

const TABLES: &str = "    - name: items
      columns: { id: { type: bigint }, n: { rename: number }, legacy: { drop: true } }
    - name: notes
    - { name: vacant, columns: { id: { type: bigint } } }
";

const MORE: &str = "  batch_size: 100\n  workers: 1\n";

const IGNORE: &str = "ignore_additive";
const FOLLOW: &str = "follow_additive";

async fn stage(pair: &TestPair, name: &str, policy: &str) -> Stage {
    let more = format!("{MORE}  on_ddl: {policy}\n");
    Stage::with_target(pair, name, DDL, ON_TARGET, TABLES, &more).await
}

fn servers() -> [(&'static str, &'static str); 3] {
    [("fsync", "off"), ("max_replication_slots", "40"), ("max_connections", "200")]
}

/// An application that writes all the time, to the new columns too once they are there.
struct Application {
    task: JoinHandle<u64>,
    knows: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
}

impl Application {
    async fn start(pair: &TestPair, stage: &Stage, seed: u64) -> Self {
        let (knows, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let source = connect_to(&pair.source, &stage.name).await;
        let task = tokio::spawn({
            let (knows, stop) = (Arc::clone(&knows), Arc::clone(&stop));
            async move {
                let mut random = StdRng::seed_from_u64(seed);
                let mut with_extra = 0;
                while !stop.load(Ordering::Relaxed) {
                    let extra = knows.load(Ordering::Relaxed) && random.random_bool(0.6);
                    let sql = statement(&mut random, extra);
                    // A fence that is lifted again is an outage of some seconds.
                    if source.batch_execute(&sql).await.is_ok() && extra {
                        with_extra += 1;
                    }
                    tokio::time::sleep(Duration::from_millis(random.random_range(1..15))).await;
                }
                with_extra
            }
        });
        Self { task, knows, stop }
    }

    /// Gives the number of writes to the new columns.
    async fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

fn statement(random: &mut StdRng, extra: bool) -> String {
    let id = random.random_range(1..700);
    let value = random.random_range(100..200);
    match (random.random_range(0..8), extra) {
        (0, false) => format!("INSERT INTO items (id, n) VALUES ({id}, {value}) ON CONFLICT (id) DO NOTHING"),
        (0, true) => format!("INSERT INTO items (id, n, extra) VALUES ({id}, 1, {value}) ON CONFLICT (id) DO NOTHING"),
        (1, _) => format!("DELETE FROM items WHERE id = {id}"),
        (2, _) => format!("UPDATE items SET id = id + 1000 WHERE id = {id}"),
        (3, false) => format!("INSERT INTO notes VALUES ({}, 'more')", id % 20),
        (3, true) => format!("INSERT INTO notes (n, t, extra) VALUES ({}, 'more', {value})", id % 20),
        (4, false) => format!("UPDATE notes SET t = t || '.' WHERE n = {}", id % 20),
        (4, true) => format!("UPDATE notes SET extra = {value} WHERE n = {}", id % 20),
        (5, _) => format!("DELETE FROM notes WHERE ctid = (SELECT min(ctid) FROM notes WHERE n = {})", id % 20),
        (_, false) => format!("UPDATE items SET n = {value} WHERE id = {id}"),
        (_, true) => format!("UPDATE items SET extra = {value} WHERE id = {id}"),
    }
}

/// The column comes to all three tables, and the application begins to use it.
async fn add(stage: &Stage, application: &Application, column: &str) {
    for table in ["items", "notes", "vacant"] {
        run(&stage.source, &format!("ALTER TABLE {table} ADD COLUMN {column}")).await;
    }
    application.knows.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(300)).await;
}

async fn columns_of_target(stage: &Stage) -> String {
    let query = "SELECT count(*)::text FROM pg_attribute WHERE attname = 'extra' AND attrelid IN \
                 ('items'::regclass, 'notes'::regclass, 'vacant'::regclass)";
    text(&stage.target, query).await
}

/// Ends with equal rows, the new column among them or not on the target at all.
async fn assert_ended(stage: &Stage, policy: &str, said: &Said) {
    said.assert_switched();
    let (extra, n) = if policy == FOLLOW { (", extra", "3") } else { ("", "0") };
    assert_eq!(columns_of_target(stage).await, n, "{}", stage.name);
    let (left, right) =
        (format!("SELECT id::bigint, n, big{extra} FROM items"), format!("SELECT id, number, big{extra} FROM items"));
    stage.assert_equal(&left, &right).await;
    let notes = format!("SELECT n, t{extra} FROM notes");
    stage.assert_equal(&notes, &notes).await;
    let words = if policy == FOLLOW { "followed: column extra" } else { "not migrated: column extra" };
    let said = |text: &str| assert!(text.matches(words).count() >= 3, "{}: {text}", stage.name);
    said(&said_lines(&said_all(stage)));
}

fn said_all(stage: &Stage) -> [String; 3] {
    tokio::task::block_in_place(|| {
        let verified = stage.migration.run(&["verify"]);
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
        [stage.migration.ok(&["status"]), stage.migration.ok(&["--json", "status"]), {
            String::from_utf8_lossy(&verified.stderr).into_owned()
        }]
    })
}

/// What all three of them say.
fn said_lines(said: &[String; 3]) -> String {
    let fewest = said.iter().min_by_key(|text| text.matches("column extra").count());
    fewest.unwrap().clone()
}

async fn in_phase(phase: Phase) {
    let pair = Arc::new(TestPair::start_with(15, 15, &servers()));
    let at_once = Arc::new(Semaphore::new(3));
    let mut tasks = JoinSet::new();
    let columns = [
        ("nullable", "extra integer"),
        ("constant", "extra integer DEFAULT 5"),
        ("not_null", "extra bigint NOT NULL DEFAULT 7"),
    ];
    for (seed, (label, column)) in columns.into_iter().enumerate() {
        for policy in [IGNORE, FOLLOW] {
            let (pair, at_once) = (Arc::clone(&pair), Arc::clone(&at_once));
            tasks.spawn(async move {
                let _permit = at_once.acquire().await.unwrap();
                let stage = stage(&pair, &format!("{label}_{}", &policy[..6]), policy).await;
                let application = Application::start(&pair, &stage, seed as u64).await;
                let said = change_in(phase, &pair, &stage, add(&stage, &application, column)).await;
                let writes = application.end().await;
                assert_ended(&stage, policy, &said).await;
                assert!(writes > 0, "{}: nobody wrote to the new column", stage.name);
                stage.end().await;
            });
        }
    }
    tasks.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn between_plan_and_apply() {
    in_phase(Phase::Planned).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn between_slot_and_copy() {
    in_phase(Phase::Slot).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn while_a_chunk_is_copied() {
    in_phase(Phase::Chunk).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn while_changes_are_streamed() {
    in_phase(Phase::Streaming).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn while_rows_are_compared() {
    in_phase(Phase::Verifying).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn behind_the_fence() {
    in_phase(Phase::Fenced).await;
}
