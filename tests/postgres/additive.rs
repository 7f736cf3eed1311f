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
    CREATE DOMAIN small AS integer;
    CREATE TABLE items (id integer PRIMARY KEY, n integer NOT NULL, legacy text, big text);
    ALTER TABLE items ALTER big SET STORAGE EXTERNAL;
    INSERT INTO items SELECT g, g, 'l', repeat('x', 2500) FROM generate_series(1, 600) g;
    CREATE TABLE notes (n integer, t text);
    ALTER TABLE notes REPLICA IDENTITY FULL;
    INSERT INTO notes SELECT g % 20, 'note' FROM generate_series(1, 100) g;
    CREATE TABLE vacant (id integer PRIMARY KEY, t text);
    ANALYZE items; ANALYZE notes; ANALYZE vacant";

const ON_TARGET: &str = "CREATE TYPE mood AS ENUM ('ok', 'sad'); CREATE DOMAIN small AS integer";

const TABLES: &str = "    - name: items
      columns: { id: { type: bigint }, n: { rename: number }, legacy: { drop: true } }
    - name: notes
    - { name: vacant, columns: { id: { type: bigint } } }
";

const MORE: &str = "  batch_size: 100\n  workers: 1\n";

pub const IGNORE: &str = "ignore_additive";
pub const FOLLOW: &str = "follow_additive";

pub async fn stage(pair: &TestPair, name: &str, policy: &str) -> Stage {
    let more = format!("{MORE}  on_ddl: {policy}\n");
    Stage::with_target(pair, name, DDL, ON_TARGET, TABLES, &more).await
}

pub fn servers() -> [(&'static str, &'static str); 3] {
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
    let said = tokio::task::block_in_place(|| {
        let verified = stage.migration.run(&["verify"]);
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
        let verified = String::from_utf8_lossy(&verified.stderr).into_owned();
        [stage.migration.ok(&["status"]), stage.migration.ok(&["--json", "status"]), verified, said.lines.join("\n")]
    });
    for said in said {
        assert!(said.matches(words).count() >= 3, "{}: {said}", stage.name);
    }
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

/// A run that is at the gate, and an application.
pub async fn streaming(pair: &TestPair, name: &str, policy: &str) -> (Stage, crate::migration::Running) {
    let stage = stage(pair, name, policy).await;
    let mut running = stage.start("");
    tokio::task::block_in_place(|| running.wait_for("\"gate\""));
    (stage, running)
}

/// Waits until the executor has recorded so many columns, dropped or not.
pub async fn until_recorded(stage: &Stage, n: usize) {
    stage.until_target(&format!("SELECT count(*) = {n} FROM pcrd.added_column")).await;
}

/// Constants of every sort of type come one after the other, while rows with and without them are written.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn columns_of_many_types_are_followed() {
    let columns = [
        "smallint DEFAULT -3",
        "numeric(10,2) NOT NULL DEFAULT 1.5",
        "varchar(40) DEFAULT 'it''s \\ \"so\", {really}'",
        "char(5) DEFAULT 'ab'",
        "text COLLATE \"C\" DEFAULT ''",
        "text DEFAULT 'NULL'",
        "timestamptz NOT NULL DEFAULT '2024-05-06 07:08:09.123456+02'",
        "interval DEFAULT '1 day 02:03:04.5'",
        "bytea DEFAULT '\\x00ff'",
        "jsonb NOT NULL DEFAULT '{\"a\": [1, 2], \"b\": null}'",
        "text[] DEFAULT '{}'",
        "integer[] DEFAULT ARRAY[1, NULL, 3]",
        "int4range DEFAULT '[1,5)'",
        "double precision DEFAULT 0.1",
        "mood NOT NULL DEFAULT 'sad'",
        "uuid DEFAULT '00000000-0000-0000-0000-00000000000a'",
        "bit(3) DEFAULT B'101'",
        "xml",
    ];
    for (source, target) in [(11, 18), (15, 15), (18, 11)] {
        let pair = TestPair::start_with(source, target, &servers());
        let (stage, mut running) = streaming(&pair, "typed", FOLLOW).await;
        let mut names = Vec::new();
        for (n, column) in columns.iter().enumerate() {
            let table = if n % 3 == 0 { "notes" } else { "items" };
            run(&stage.source, &format!("ALTER TABLE {table} ADD COLUMN \"c {n}\" {column}")).await;
            run(&stage.source, &format!("UPDATE items SET n = n + 1 WHERE id % 40 = {n}")).await;
            run(&stage.source, &format!("INSERT INTO items (id, n) VALUES ({}, 1)", 10_000 + n)).await;
            run(&stage.source, &format!("DELETE FROM notes WHERE ctid = (SELECT min(ctid) FROM notes WHERE n = {n})"))
                .await;
            run(&stage.source, &format!("INSERT INTO notes (n) VALUES ({n})")).await;
            if n % 3 == 0 || column.contains("NOT NULL") {
                run(&stage.source, &format!("UPDATE {table} SET n = n + 1 WHERE n = {n}")).await;
            } else {
                run(&stage.source, &format!("UPDATE {table} SET \"c {n}\" = NULL WHERE id % 30 = {n}")).await;
            }
            // The text of a float differs between versions.
            let cast = if column.starts_with("double") { "float8send" } else { "" };
            names.push((table, format!("{cast}(\"c {n}\")::text")));
            // Some come alone, some by twos.
            if n % 2 == 1 {
                until_recorded(&stage, n + 1).await;
            }
        }
        until_recorded(&stage, columns.len()).await;
        tokio::task::block_in_place(|| running.wait_for("\"gate\""));
        running.interrupt();
        stage.cut_over().assert_switched();
        for (table, planned, there) in [("items", "id, n", "id, number"), ("notes", "n, t", "n, t")] {
            let of_table = names.iter().filter(|(of, _)| *of == table).map(|(_, name)| name.as_str());
            let of_table = of_table.collect::<Vec<_>>().join(", ");
            let (left, right) = (
                format!("SELECT {planned}, {of_table} FROM {table}"),
                format!("SELECT {there}, {of_table} FROM {table}"),
            );
            stage.assert_equal(&left, &right).await;
        }
        // The defaults came too: both ends fill in the same.
        let defaults = "SELECT attname, attnotnull, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attname LIKE 'c %' \
                        AND attrelid IN ('items'::regclass, 'notes'::regclass)";
        stage.assert_equal(defaults, defaults).await;
        run(&stage.target, "INSERT INTO notes (n) VALUES (-77); INSERT INTO items (id, number) VALUES (-77, 0)").await;
        run(&stage.source, "ALTER TABLE notes DISABLE TRIGGER ALL; ALTER TABLE items DISABLE TRIGGER ALL").await;
        run(&stage.source, "INSERT INTO notes (n) VALUES (-77); INSERT INTO items (id, n) VALUES (-77, 0)").await;
        for table in ["items", "notes"] {
            let of_table = names.iter().filter(|(of, _)| *of == table).map(|(_, name)| name.as_str());
            let of_table = of_table.collect::<Vec<_>>().join(", ");
            let query =
                format!("SELECT {of_table} FROM {table} WHERE {} = -77", if table == "items" { "id" } else { "n" });
            stage.assert_equal(&query, &query).await;
        }
    }
}

/// From PG 10 only a column without a default: any other is a rewrite there.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn from_version_10() {
    let pair = TestPair::start_with(10, 15, &servers());
    for policy in [IGNORE, FOLLOW] {
        let stage = stage(&pair, &format!("ten_{}", &policy[..6]), policy).await;
        let application = Application::start(&pair, &stage, 10).await;
        let said = change_in(Phase::Streaming, &pair, &stage, add(&stage, &application, "extra integer")).await;
        assert!(application.end().await > 0);
        assert_ended(&stage, policy, &said).await;
        stage.end().await;
    }
    let (stage, running) = streaming(&pair, "ten_rewritten", FOLLOW).await;
    run(&stage.source, "ALTER TABLE items ADD COLUMN extra integer DEFAULT 5").await;
    let said = tokio::task::block_in_place(|| running.finish());
    assert_eq!(said.code, Some(4), "{}", said.stderr);
    assert!(said.stderr.contains("rewrote"), "{}", said.stderr);
}

/// The process dies around the transaction that adds the column; the same command again goes on from either side of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_while_a_column_is_taken_over() {
    let pair = TestPair::start_with(15, 15, &servers());
    for policy in [IGNORE, FOLLOW] {
        for (point, after) in [("added.before-commit", "before"), ("added.after-commit", "after")] {
            for (phase, label) in [(Phase::Planned, "planned"), (Phase::Chunk, "chunk")] {
                let stage = stage(&pair, &format!("{after}_{label}_{}", &policy[..6]), policy).await;
                let application = Application::start(&pair, &stage, 3).await;
                if phase == Phase::Chunk {
                    let running = stage.start_through("chunk.after-commit=sleep(100)");
                    stage.until_target("SELECT count(*) >= 2 FROM pcrd.chunk").await;
                    running.kill();
                }
                add(&stage, &application, "extra integer NOT NULL DEFAULT 5").await;
                // At the second of the three columns: one is done, one is not begun.
                let failpoints = format!("{point}=1*off->return(kill)");
                let died = tokio::task::block_in_place(|| stage.start_through(&failpoints).finish());
                assert_eq!(died.code, None, "{}: it did not die: {}", stage.name, died.stderr);
                let recorded = text(&stage.target, "SELECT count(*)::text FROM pcrd.added_column").await;
                assert_eq!(recorded, if after == "before" { "1" } else { "2" }, "{}", stage.name);
                let said = stage.cut_over();
                application.end().await;
                assert_ended(&stage, policy, &said).await;
                stage.end().await;
            }
        }
    }
}

/// What was reviewed says it.
#[tokio::test(flavor = "multi_thread")]
async fn the_plan_says_the_policy() {
    let pair = TestPair::start_with(15, 15, &servers());
    for (policy, words) in [(IGNORE, "is NOT migrated"), (FOLLOW, "is added to the target too")] {
        let stage = stage(&pair, &policy[..6], policy).await;
        assert!(stage.migration.ok(&["show", "plan.json"]).contains(words));
        assert!(stage.migration.ok(&["show", "plan.json", "--format", "markdown"]).contains(words));
        let plan = std::fs::read_to_string(stage.migration.dir.path().join("plan.json")).unwrap();
        assert!(plan.contains(&format!("\"on_ddl\": \"{policy}\"")));
        let edited = plan.replace(policy, "stop");
        std::fs::write(stage.migration.dir.path().join("plan.json"), edited).unwrap();
        let said = stage.cut_over();
        assert!(said.code == Some(4) && said.stderr.contains("edited"), "{:?} {}", said.code, said.stderr);
    }
}

/// Who reads a followed column's table on the target is in nobody's way when the run begins again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_do_not_keep_a_run_from_going_on() {
    let pair = TestPair::start_with(15, 15, &servers());
    let (stage, running) = streaming(&pair, "readers", FOLLOW).await;
    run(&stage.source, "ALTER TABLE items ADD COLUMN extra integer DEFAULT 5").await;
    run(&stage.source, "UPDATE items SET extra = 6 WHERE id = 1").await;
    until_recorded(&stage, 1).await;
    running.kill();
    let reader = connect_to(&pair.target, &stage.name).await;
    run(&reader, "BEGIN; SELECT count(*) FROM items").await;
    let mut running = stage.start("");
    tokio::task::block_in_place(|| running.wait_for("\"gate\""));
    run(&reader, "COMMIT").await;
    running.kill();
    stage.cut_over().assert_switched();
}

/// Between the last look at the tables and the switch no column can come: whoever adds it waits, and then it is the old
/// cluster's.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_comes_between_the_last_look_and_the_switch() {
    let pair = TestPair::start_with(15, 15, &servers());
    for policy in ["stop", IGNORE, FOLLOW] {
        let stage = stage(&pair, &format!("last_{}", &policy[..4]), policy).await;
        let running = stage.start_through("cutover.before-permanent=sleep(3000)");
        stage
            .until_source(
                "SELECT count(*) = 3 FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.granted AND l.mode = 'RowExclusiveLock' \
                 AND a.state = 'idle in transaction' AND a.application_name LIKE 'pcrd/%/executor' \
                 AND l.relation IN ('items'::regclass, 'notes'::regclass, 'vacant'::regclass)",
            )
            .await;
        let late = connect_to(&pair.source, &stage.name).await;
        let add = "SET lock_timeout = '300ms'; ALTER TABLE items ADD COLUMN late integer";
        let refused = late.batch_execute(add).await.unwrap_err();
        assert_eq!(refused.code().map(|code| code.code()), Some("55P03"), "{policy}: {refused}");
        tokio::task::block_in_place(|| running.finish()).assert_switched();
        run(&late, "ALTER TABLE items ADD COLUMN late integer").await;
        stage.end().await;
    }
}
