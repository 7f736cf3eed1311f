//! The fence that renames: after the switch whoever still reads the source fails.

use pcrd::exec::failpoint;

use crate::migration::Said;
use crate::stage::Stage;
use crate::support::{TestPair, connect_to, run, text};
use crate::way_back::{refusal, staged};

const DDL: &str = r#"CREATE SCHEMA "My shop";
    CREATE TABLE items (id integer PRIMARY KEY, n integer NOT NULL);
    INSERT INTO items SELECT g, g FROM generate_series(1, 500) AS g;
    CREATE TABLE "My shop"."A ""table"" whose name is as long as a name of PostgreSQL may " (id integer PRIMARY KEY);
    INSERT INTO "My shop"."A ""table"" whose name is as long as a name of PostgreSQL may " SELECT generate_series(1, 5);
    CREATE VIEW seen AS SELECT * FROM items;
    ANALYZE"#;
const TABLES: &str = r#"    - { name: items, columns: { id: { type: bigint } } }
    - { name: '"My shop"."A ""table"" whose name is as long as a name of PostgreSQL may "', columns: { id: { type: bigint } } }
"#;
const RENAMES: &str = "cutover: { fence_timeout: 60, fence: rename }";
const TO_OTHER: &str = "SELECT count(*) FROM items";

async fn stage(pair: &TestPair, name: &str) -> Stage {
    staged(pair, name, DDL, TABLES, RENAMES).await
}

fn switched(stage: &Stage, failpoints: &str) -> Said {
    tokio::task::block_in_place(|| stage.start_through(failpoints).finish())
}

async fn names(stage: &Stage) -> String {
    let query = "SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_class WHERE relkind = 'r' \
                 AND relnamespace IN ('public'::regnamespace, '\"My shop\"'::regnamespace)";
    text(&stage.source, query).await
}

async fn assert_renamed(stage: &Stage) {
    let found = names(stage).await;
    let found: Vec<&str> = found.split(',').collect();
    assert!(found.len() == 2 && found.iter().all(|name| name.starts_with("pcrd_old_")), "{found:?}");
    assert_eq!(refusal(&stage.source, TO_OTHER).await.as_deref(), Some("42P01"));
    assert_eq!(refusal(&stage.source, "DELETE FROM pcrd_old_items").await.as_deref(), Some("25006"));
    // A view goes where its table goes, and so does the fence.
    assert_eq!(refusal(&stage.source, "DELETE FROM seen").await.as_deref(), Some("25006"));
    assert_eq!(text(&stage.target, TO_OTHER).await, "500");
    assert_eq!(refusal(&stage.target, "UPDATE items SET n = n + 1").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_the_source_fail_after_the_switch() {
    for major in [10, 15] {
        let pair = TestPair::start(major, 17);
        let stage = stage(&pair, "renames").await;
        let shown = stage.migration.ok(&["plan", "--out", "again.json"]);
        assert!(shown.contains("fence: rename, and after the switch"), "{shown}");
        let mut running = stage.start("");
        tokio::task::block_in_place(|| running.wait_for("\"type\":\"gate\",\"ready\":true"));
        let before = names(&stage).await;
        run(&stage.source, "UPDATE items SET n = 0 WHERE id = 1").await;
        stage.migration.ok(&["cutover", "--yes"]);
        assert_eq!(tokio::task::block_in_place(|| running.finish()).code, Some(0));
        run(&stage.source, "CREATE TABLE items (its integer)").await;
        stage.migration.ok(&["verify"]);
        run(&stage.source, "DROP TABLE items").await;
        assert_renamed(&stage).await;
        // They are the source's still, until it is told otherwise.
        stage.migration.ok(&["cleanup", "--yes"]);
        assert_eq!(refusal(&stage.source, "DELETE FROM pcrd_old_items").await.as_deref(), Some("25006"));
        stage.migration.ok(&["cleanup", "--yes", "--open-source"]);
        assert_eq!(names(&stage).await, before);
        assert_eq!(refusal(&stage.source, "DELETE FROM seen").await, None);
        assert_eq!(refusal(&stage.source, "TRUNCATE items").await, None, "{major}");
        let left = "SELECT count(*) FROM pg_namespace WHERE nspname = 'pcrd'";
        assert_eq!(text(&stage.source, left).await, "0", "{major}");
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_under_the_name_that_it_has() {
    let pair = TestPair::start(15, 15);
    let stage = stage(&pair, "drops").await;
    assert_eq!(switched(&stage, "").code, Some(0));
    run(&stage.source, "DROP VIEW seen; CREATE TABLE items (its integer)").await;
    for _ in 0..2 {
        stage.migration.ok(&["cleanup", "--yes", "--drop-source", "--yes-drop", "public.items"]);
        let left = names(&stage).await;
        assert!(left.starts_with("items,pcrd_old_A"), "another table of the name stays: {left}");
    }
    stage.end().await;
    // Nor where somebody else has renamed it.
    let stage = staged(&pair, "by_hand", DDL, TABLES, "cutover: { fence_timeout: 60 }").await;
    assert_eq!(switched(&stage, "").code, Some(0));
    run(&stage.source, "DROP VIEW seen; ALTER TABLE items RENAME TO older; CREATE TABLE items (its integer)").await;
    stage.migration.ok(&["cleanup", "--yes", "--drop-source", "--yes-drop", "public.items"]);
    let left = names(&stage).await;
    assert!(left.contains("items") && !left.contains("older"), "{left}");
}

/// The clients are on the target: the switch is done, and what is left is told and tried again.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_meanwhile_keeps_nothing_open() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "meanwhile").await;
    let mut running = stage.start("");
    tokio::task::block_in_place(|| running.wait_for("\"type\":\"gate\",\"ready\":true"));
    run(&stage.source, "CREATE TYPE pcrd_old_items AS ENUM ()").await;
    stage.migration.ok(&["cutover", "--yes"]);
    let said = tokio::task::block_in_place(|| running.finish());
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.lines.iter().any(|line| line.contains("ALARM: tables of the source keep their names")), "{said:?}");
    assert_eq!(refusal(&stage.source, "DELETE FROM items").await.as_deref(), Some("25006"));
    run(&stage.source, "DROP TYPE pcrd_old_items").await;
    stage.migration.ok(&["cleanup", "--yes"]);
    assert_renamed(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_renames() {
    let pair = TestPair::start(15, 17);
    for point in failpoint::ALL.iter().filter(|point| point.starts_with("rename.")) {
        let stage = stage(&pair, &point.replace(['.', '-'], "_")).await;
        assert_eq!(switched(&stage, &format!("{point}=return(kill)")).code, None, "{point}");
        assert_eq!(refusal(&stage.target, "UPDATE items SET n = n + 1").await, None, "{point}: the target is open");
        let said = switched(&stage, "");
        assert_eq!(said.code, Some(0), "{point}: {}", said.stderr);
        assert_renamed(&stage).await;
    }
}

/// The lock that a rename needs waits for readers; writers are refused and the target is open meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn waits_for_readers_and_names_them() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "waits").await;
    let reader = connect_to(&pair.source, "waits").await;
    run(&reader, "SET application_name = 'report'; BEGIN; SELECT count(*) FROM items").await;
    let mut running = stage.start_through("");
    tokio::task::block_in_place(|| running.wait_for("to rename public.items waits for pid"));
    assert_eq!(refusal(&stage.target, "UPDATE items SET n = n + 1").await, None);
    assert_eq!(refusal(&stage.source, "UPDATE items SET n = n + 1").await.as_deref(), Some("25006"));
    run(&reader, "COMMIT").await;
    let said = tokio::task::block_in_place(|| running.finish());
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.lines.iter().any(|line| line.contains("report")), "{}", said.lines.join("\n"));
    assert_renamed(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_is_found_before_anything_begins() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "taken").await;
    run(&stage.source, "CREATE SEQUENCE pcrd_old_items").await;
    let said = switched(&stage, "");
    assert_eq!(said.code, Some(3), "{}", said.stderr);
    assert!(said.stderr.contains("other_name") && said.stderr.contains("pcrd_old_items"), "{}", said.stderr);
    assert_eq!(text(&stage.source, "SELECT count(*) FROM pg_replication_slots").await, "0");
}
