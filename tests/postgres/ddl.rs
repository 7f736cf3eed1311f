//! DDL on the source in every phase: what does not change rows goes on exactly, everything else ends in an error that
//! names the difference, never in a target that silently lacks something.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::migration::Said;
use crate::phase::{Phase, change_in};
use crate::stage::Stage;
use crate::support::{TestPair, run, text};

const DDL: &str = "
    CREATE TYPE mood AS ENUM ('ok', 'sad');
    CREATE TABLE items (id integer PRIMARY KEY, code integer NOT NULL, n integer NOT NULL, mood mood, legacy text, big text);
    CREATE UNIQUE INDEX items_code ON items (code);
    INSERT INTO items SELECT g, -g, g, CASE WHEN g % 2 = 0 THEN 'sad'::mood END, 'l', repeat('x', 1500)
    FROM generate_series(1, 600) g; ANALYZE items";

const ON_TARGET: &str = "CREATE TYPE mood AS ENUM ('ok', 'sad')";

const TABLES: &str = "    - name: items
      columns: { id: { type: bigint }, legacy: { drop: true } }
";

#[derive(Clone, Copy, PartialEq)]
enum Then {
    /// Stops, and the message has this.
    Stops(&'static str),
    /// Stops once a row needs it.
    StopsWhenUsed(&'static str),
    /// The migration ends with equal rows.
    GoesOn,
}

use Then::{GoesOn, Stops, StopsWhenUsed};

/// Name, statement, and what must become of the migration.
const CHANGES: [(&str, &str, Then); 24] = [
    ("add_nullable", "ALTER TABLE items ADD COLUMN extra integer", Stops("extra")),
    ("add_default", "ALTER TABLE items ADD COLUMN extra integer DEFAULT 5", Stops("extra")),
    ("drop_used", "ALTER TABLE items DROP COLUMN n", Stops("n")),
    ("drop_unused", "ALTER TABLE items DROP COLUMN legacy", Stops("legacy")),
    ("rename_column", "ALTER TABLE items RENAME COLUMN n TO m", Stops("m")),
    ("rename_key", "ALTER TABLE items RENAME COLUMN id TO key", Stops("key")),
    ("rename_table", "ALTER TABLE items RENAME TO things", Stops("items")),
    ("move_table", "CREATE SCHEMA elsewhere; ALTER TABLE items SET SCHEMA elsewhere", Stops("items")),
    ("alter_type", "ALTER TABLE items ALTER n TYPE bigint", Stops("n")),
    ("rewrite_alike", "ALTER TABLE items ALTER n TYPE integer USING n + 1000", Stops("rewrote")),
    ("nullable", "ALTER TABLE items ALTER n DROP NOT NULL", Stops("n")),
    ("drop_key", "ALTER TABLE items DROP CONSTRAINT items_pkey", Stops("key")),
    (
        "replace_key",
        "ALTER TABLE items DROP CONSTRAINT items_pkey, ADD PRIMARY KEY USING INDEX items_code",
        Stops("key"),
    ),
    ("identity_nothing", "ALTER TABLE items REPLICA IDENTITY NOTHING", Stops("identity")),
    ("identity_full", "ALTER TABLE items REPLICA IDENTITY FULL", Stops("identity")),
    ("identity_index", "ALTER TABLE items REPLICA IDENTITY USING INDEX items_code", Stops("identity")),
    ("child", "CREATE TABLE kid () INHERITS (items)", Stops("children")),
    ("enum_add", "ALTER TYPE mood ADD VALUE 'new'", StopsWhenUsed("mood")),
    ("enum_rename", "ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'", Stops("sad")),
    (
        "recreate",
        "BEGIN; CREATE TABLE copied AS TABLE items; DROP TABLE items; ALTER TABLE copied RENAME TO items; \
         ALTER TABLE items ALTER id SET NOT NULL, ALTER code SET NOT NULL, ALTER n SET NOT NULL, ADD PRIMARY KEY (id); \
         CREATE UNIQUE INDEX items_code ON items (code); COMMIT",
        Stops("created again"),
    ),
    ("drop_table", "DROP TABLE items", Stops("items")),
    ("vacuum_full", "VACUUM FULL items", GoesOn),
    ("cluster", "CLUSTER items USING items_code", GoesOn),
    ("reindex", "REINDEX TABLE items", GoesOn),
];

/// After the change an application does this; what fails is not the point.
async fn write(stage: &Stage, name: &str) {
    for sql in [
        "UPDATE items SET big = 'changed' WHERE id % 50 = 1",
        "INSERT INTO items (id, code, n, mood) VALUES (10001, -10001, 1, 'ok')",
        "DELETE FROM items WHERE id = 599",
        "UPDATE items SET id = id + 20000 WHERE id % 90 = 1",
        if name == "enum_add" { "UPDATE items SET mood = 'new' WHERE id IN (17, 590)" } else { "SELECT 1" },
    ] {
        let _refused = stage.source.batch_execute(sql).await;
    }
}

/// What the application and the operator do in the phase.
async fn change(stage: &Stage, name: &str, sql: &str) {
    for sql in sql.split("; ") {
        run(&stage.source, sql).await;
    }
    write(stage, name).await;
}

async fn in_phase(phase: Phase, label: &'static str) {
    under("stop", phase, label).await;
}

/// Under every policy but for columns that come.
async fn under(on_ddl: &'static str, phase: Phase, label: &'static str) {
    let settings = [("fsync", "off"), ("max_replication_slots", "40"), ("max_connections", "200")];
    let pair = Arc::new(TestPair::start_with(15, 15, &settings));
    // Most of a run is waiting.
    let at_once = Arc::new(Semaphore::new(4));
    let mut tasks = JoinSet::new();
    for (name, sql, then) in CHANGES {
        let (pair, at_once) = (Arc::clone(&pair), Arc::clone(&at_once));
        tasks.spawn(async move {
            let _permit = at_once.acquire().await.unwrap();
            let stage_name = format!("{name}_{label}");
            let more = format!("  batch_size: 100\n  workers: 1\n  on_ddl: {on_ddl}\n");
            let stage = Stage::with_target(&pair, &stage_name, DDL, ON_TARGET, TABLES, &more).await;
            let then = if on_ddl != "stop" && name.starts_with("add_") { GoesOn } else { then };
            let said = change_in(phase, &pair, &stage, change(&stage, name, sql)).await;
            let judged = judge(phase, &stage, then, &said).await;
            stage.end().await;
            judged.err().map(|failure| {
                let events: Vec<&String> = said.lines.iter().filter(|line| !line.contains("\"step_")).collect();
                format!("{stage_name}: {failure}: {:?} {}\n{events:?}", said.code, said.stderr.trim())
            })
        });
    }
    let failures: Vec<String> = tasks.join_all().await.into_iter().flatten().collect();
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

async fn judge(phase: Phase, stage: &Stage, then: Then, said: &Said) -> Result<(), String> {
    // Before the slot any rows will do, if the shape is the same; behind the fence nothing is written.
    let then = match (then, phase) {
        (Stops("rewrote" | "created again"), Phase::Planned) => GoesOn,
        (Stops("sad"), Phase::Planned) => Stops("mood"),
        (StopsWhenUsed(_), Phase::Fenced) => GoesOn,
        (StopsWhenUsed(text), _) => Stops(text),
        (other, _) => other,
    };
    let columns = "id, code, n, mood, big";
    match then {
        GoesOn => {
            if said.code != Some(0) {
                return Err("must go on".to_owned());
            }
            let query = format!("SELECT {columns} FROM items");
            stage.assert_equal(&query, &query).await;
            Ok(())
        }
        Stops(text_of) | StopsWhenUsed(text_of) => {
            let again = stage.cut_over();
            for (when, said) in [("", said), ("again: ", &again)] {
                // The plan is stale, or a row is refused by name.
                let typed = match said.code {
                    Some(4) => true,
                    Some(1) => said.stderr.contains("22P02"),
                    _ => false,
                };
                // A new table of the same name is not published; from the second start on that is what is found first.
                let named =
                    said.stderr.contains(text_of) || (again.stderr.contains("it publishes []") && !when.is_empty());
                if !typed || !named {
                    return Err(format!("{when}must stop and name `{text_of}`, said {:?} {}", said.code, said.stderr));
                }
            }
            let state =
                text(&stage.target, "SELECT coalesce((SELECT to_regclass('pcrd.migration') IS NOT NULL), false)").await;
            if state == "t"
                && text(&stage.target, "SELECT count(*)::text FROM pcrd.migration WHERE state = 'cut_over'").await
                    != "0"
            {
                return Err("it was cut over".to_owned());
            }
            let fenced = text(&stage.source, "SELECT count(*)::text FROM pg_trigger WHERE tgname = 'pcrd_fence'").await;
            if fenced == "0" { Ok(()) } else { Err("the source is still fenced".to_owned()) }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn between_plan_and_apply() {
    in_phase(Phase::Planned, "planned").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn between_slot_and_copy() {
    in_phase(Phase::Slot, "slot").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn while_a_chunk_is_copied() {
    in_phase(Phase::Chunk, "chunk").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn while_changes_are_streamed() {
    in_phase(Phase::Streaming, "streaming").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn while_rows_are_compared() {
    in_phase(Phase::Verifying, "verifying").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn behind_the_fence() {
    in_phase(Phase::Fenced, "fenced").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn while_a_chunk_is_copied_and_columns_are_followed() {
    under("follow_additive", Phase::Chunk, "chunk").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn while_changes_are_streamed_and_columns_are_ignored() {
    under("ignore_additive", Phase::Streaming, "streaming").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn behind_the_fence_and_columns_are_followed() {
    under("follow_additive", Phase::Fenced, "fenced").await;
}

/// A published table cannot become unlogged; before that the plan is stale.
#[tokio::test(flavor = "multi_thread")]
async fn unlogged() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::with_target(&pair, "later", DDL, ON_TARGET, TABLES, "").await;
    let mut running = stage.start("");
    running.wait_for("\"gate\"");
    let error = stage.source.batch_execute("ALTER TABLE items SET UNLOGGED").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "55000", "{error}");
    running.kill();
    stage.cut_over().assert_switched();
    let early = Stage::with_target(&pair, "early", DDL, ON_TARGET, TABLES, "").await;
    run(&early.source, "ALTER TABLE items SET UNLOGGED").await;
    let said = early.cut_over();
    assert!(said.code == Some(4) && said.stderr.contains("unlogged"), "{:?} {}", said.code, said.stderr);
}
