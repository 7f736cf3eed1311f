//! Roles with too few rights are told which, before anything is written, in statements that can be run as they are;
//! and the rights that the documents name are enough for the whole path.

use std::collections::BTreeSet;

use tokio_postgres::Client;

use crate::migration::Migration;
use crate::support::{TestPair, connect, connect_to, run, sorted_copy, text};

const MOVER: &str = "data\"mover";
const OWNER: &str = "the owner's";

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A table of an application with its own roles, in a schema of its own; on the target only an empty database.
async fn pair(source_major: u32, target_major: u32) -> TestPair {
    let pair = TestPair::start(source_major, target_major);
    for cluster in [&pair.source, &pair.target] {
        let admin = connect_to(cluster, "postgres").await;
        run(&admin, &format!("CREATE ROLE {} LOGIN", quoted(MOVER))).await;
        run(&admin, "REVOKE CREATE ON SCHEMA public FROM PUBLIC").await;
        run(&admin, "CREATE DATABASE \"the Shop\"").await;
        let admin = connect_to(cluster, "the Shop").await;
        run(&admin, "REVOKE CREATE ON SCHEMA public FROM PUBLIC").await;
    }
    let source = connect_to(&pair.source, "the Shop").await;
    let owner = quoted(OWNER);
    run(
        &source,
        &format!(
            "CREATE ROLE {owner}; CREATE ROLE app LOGIN; CREATE SCHEMA \"App\" AUTHORIZATION {owner}; SET ROLE {owner}; \
             CREATE TABLE \"App\".items (id serial PRIMARY KEY, t text); INSERT INTO \"App\".items (t) SELECT g FROM generate_series(1, 1000) g; \
             GRANT USAGE ON SCHEMA \"App\" TO app; GRANT SELECT, INSERT, UPDATE, DELETE ON \"App\".items TO app; \
             GRANT USAGE ON SEQUENCE \"App\".items_id_seq TO app; RESET ROLE"
        ),
    )
    .await;
    pair
}

fn migration(pair: &TestPair) -> Migration {
    let end = |port: u16| serde_json::json!({"host": "127.0.0.1", "port": port, "database": "the Shop", "user": MOVER});
    let config = serde_json::json!({
        "source": end(pair.source.port()), "target": end(pair.target.port()),
        "migrate": {"checkpoint_db": "./state.sqlite3", "tables": [
            {"name": "\"App\".items", "target": "public.items", "columns": {"id": {"type": "bigint"}}}]},
        "cutover": {"fence_timeout": 60},
    });
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("pcrd.config.yml"), config.to_string()).unwrap();
    Migration { dir, environment: Vec::new() }
}

async fn assert_nothing_written(source: &Client, target: &Client) {
    let left = "SELECT (SELECT count(*) FROM pg_replication_slots) + (SELECT count(*) FROM pg_publication) \
                + (SELECT count(*) FROM pg_namespace WHERE nspname = 'pcrd') + (SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal)";
    assert_eq!(text(source, left).await, "0");
    let left = "SELECT (SELECT count(*) FROM pg_class WHERE relname LIKE 'items%') + (SELECT count(*) FROM pg_namespace WHERE nspname = 'pcrd')";
    assert_eq!(text(target, left).await, "0");
}

/// Runs `apply` and grants what it asks for until it asks for nothing more; gives the ids of the checks that failed.
pub async fn grant_what_is_asked(migration: &Migration, source: &Client, target: &Client) -> BTreeSet<String> {
    let mut asked = BTreeSet::new();
    for _ in 0..5 {
        let output = migration.run(&["apply", "plan.json", "--yes", "--through", "prepare"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            return asked;
        }
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert_nothing_written(source, target).await;
        // The report folds long lines.
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ").replace(" │ ", " ");
        for failure in said.split(" [").skip(1) {
            let (id, rest) = failure.split_once("] ").unwrap();
            let (end, rest) = rest.split_once(':').unwrap();
            let statement = rest.split_once(" Run ").unwrap_or_else(|| panic!("no fix in {failure}")).1;
            let statement = &statement[..statement.rfind('.').unwrap()];
            run(if end == "source" { source } else { target }, statement).await;
            asked.insert(format!("{end} {id}"));
        }
    }
    panic!("still refused after {asked:?}");
}

async fn carries_the_whole_path(source_major: u32, target_major: u32) {
    let pair = pair(source_major, target_major).await;
    let (source, target) = (connect_to(&pair.source, "the Shop").await, connect_to(&pair.target, "the Shop").await);
    let migration = migration(&pair);
    let planned = migration.run(&["plan", "--out", "plan.json", "--skip-data-checks"]);
    let said = String::from_utf8_lossy(&planned.stderr).into_owned();
    assert!(planned.status.success(), "{said}");
    // Not run here: `apply` has to ask for the same.
    let script = said.split_once("as one script:\n").unwrap().1;
    let (on_source, on_target) = script.split_once("-- on the target\n").unwrap();
    assert!(on_source.starts_with("-- on the source\n"), "{script}");
    assert!(on_source.contains("\nALTER ROLE \"data\"\"mover\" REPLICATION;\n"), "{script}");
    assert!(on_target.starts_with("GRANT CREATE ON DATABASE \"the Shop\" TO \"data\"\"mover\";\n"), "{script}");
    let asked = grant_what_is_asked(&migration, &source, &target).await;
    let expected = [
        "source create_on_database",
        "source replication_right",
        "source schema_usage",
        "source select_right",
        "source table_owner",
        "target create_on_database",
        "target create_on_schema",
        "target replication_role",
    ];
    assert_eq!(asked, expected.map(str::to_owned).into());
    let superuser = "SELECT rolsuper FROM pg_roles WHERE rolname = 'data\"mover'";
    for client in [&source, &target] {
        assert_eq!(text(client, superuser).await, "f");
    }

    let mut apply = migration.start(&["--json", "apply", "plan.json", "--yes"], "");
    apply.wait_for("\"ready\":true");
    // The application knows nothing of pcrd and has no right to any of it.
    let mut app = pair.source.conninfo("the Shop");
    app.user = "app".to_owned();
    let app = connect(&app).await;
    run(&app, "INSERT INTO \"App\".items (t) VALUES ('a'); UPDATE \"App\".items SET t = 'b' WHERE id % 7 = 0; DELETE FROM \"App\".items WHERE id % 11 = 0")
        .await;
    migration.ok(&["status"]);
    migration.ok(&["verify"]);
    migration.ok(&["cutover", "--maintenance-confirmed"]);
    apply.wait().assert_switched();
    let fenced = app.batch_execute("INSERT INTO \"App\".items (t) VALUES ('late')").await.unwrap_err();
    assert_eq!(fenced.code().unwrap().code(), "25006", "{fenced:?}");
    let left = sorted_copy(&source, "SELECT id::bigint, t FROM \"App\".items").await;
    assert!(!left.is_empty() && left == sorted_copy(&target, "SELECT id, t FROM items").await);
    migration.ok(&["verify"]);
    migration.ok(&["cleanup", "--yes", "--drop-source", "--yes-drop", "\"App\".items"]);
    assert_eq!(text(&source, "SELECT count(*) FROM pg_class WHERE relname = 'items'").await, "0");
    assert_eq!(text(&source, "SELECT count(*) FROM pg_replication_slots").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_with_only_the_rights_that_preflight_asks_for_on_15() {
    carries_the_whole_path(15, 15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_with_only_the_rights_that_preflight_asks_for_from_10_to_18() {
    carries_the_whole_path(10, 18).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_a_policy_hides_are_not_left_behind() {
    let pair = pair(15, 15).await;
    let (source, target) = (connect_to(&pair.source, "the Shop").await, connect_to(&pair.target, "the Shop").await);
    run(
        &source,
        "ALTER TABLE \"App\".items ENABLE ROW LEVEL SECURITY; ALTER TABLE \"App\".items FORCE ROW LEVEL SECURITY",
    )
    .await;
    let migration = migration(&pair);
    migration.ok(&["plan", "--out", "plan.json", "--skip-data-checks"]);
    let asked = grant_what_is_asked(&migration, &source, &target).await;
    assert!(asked.contains("source row_security"), "{asked:?}");
    migration.cut_over("").assert_switched();
    assert_eq!(text(&target, "SELECT count(*) FROM items").await, "1000");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_takes_no_more_rights_than_the_migration() {
    let pair = pair(15, 15).await;
    let (source, target) = (connect_to(&pair.source, "the Shop").await, connect_to(&pair.target, "the Shop").await);
    let migration = migration(&pair);
    migration.ok(&["plan", "--out", "plan.json", "--skip-data-checks"]);
    grant_what_is_asked(&migration, &source, &target).await;
    let mut apply = migration.start(&["--json", "apply", "plan.json", "--yes"], "");
    apply.wait_for("\"ready\":true");
    apply.kill();
    migration.ok(&["abort", "--yes"]);
    let left = "SELECT (SELECT count(*) FROM pg_replication_slots) + (SELECT count(*) FROM pg_publication) \
                + (SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal)";
    assert_eq!(text(&source, left).await, "0");
    assert_eq!(text(&target, "SELECT count(*) FROM pg_class WHERE relname LIKE 'items%'").await, "0");
}

/// The statements of docs/rights.md: of the source, of the target, and with a way back more of the target and of the source.
fn documented() -> [String; 4] {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/rights.md")).unwrap();
    let blocks = page.split("```sql\n").skip(1).map(|rest| rest.split_once("```").unwrap().0.to_owned());
    blocks.collect::<Vec<_>>().try_into().unwrap()
}

/// The application of docs/rights.md, to be migrated by the documented role.
async fn shop(pair: &TestPair, cutover: serde_json::Value) -> (Client, Client, Migration) {
    for cluster in [&pair.source, &pair.target] {
        run(&connect_to(cluster, "postgres").await, "CREATE DATABASE shop").await;
    }
    let (source, target) = (connect_to(&pair.source, "shop").await, connect_to(&pair.target, "shop").await);
    let schema = "CREATE ROLE app_owner; CREATE SCHEMA app AUTHORIZATION app_owner; SET ROLE app_owner; \
        CREATE TABLE app.orders (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, t text); CREATE INDEX ON app.orders (t); \
        CREATE TABLE app.lines (id serial PRIMARY KEY, parent integer REFERENCES app.orders, CHECK (parent > 0)); \
        INSERT INTO app.orders (t) SELECT g FROM generate_series(1, 500) g; \
        INSERT INTO app.lines (parent) SELECT g FROM generate_series(1, 500) g; RESET ROLE";
    run(&source, schema).await;
    let end = |port: u16| serde_json::json!({"host": "127.0.0.1", "port": port, "database": "shop", "user": "mover"});
    let config = serde_json::json!({
        "source": end(pair.source.port()), "target": end(pair.target.port()),
        "migrate": {"checkpoint_db": "./state.sqlite3", "tables": [
            {"name": "app.orders", "columns": {"t": {"rename": "title"}}}, {"name": "app.lines"}]},
        "cutover": cutover,
    });
    let migration = Migration { dir: tempfile::tempdir().unwrap(), environment: Vec::new() };
    std::fs::write(migration.dir.path().join("pcrd.config.yml"), config.to_string()).unwrap();
    (source, target, migration)
}

async fn assert_shops_equal(source: &Client, target: &Client) {
    for (on_source, on_target) in [
        ("SELECT id, t FROM app.orders", "SELECT id, title FROM app.orders"),
        ("SELECT * FROM app.lines", "SELECT * FROM app.lines"),
    ] {
        let left = sorted_copy(source, on_source).await;
        assert!(!left.is_empty() && left == sorted_copy(target, on_target).await, "{on_source}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_rights_suffice() {
    for majors in [(15, 15), (10, 18)] {
        let pair = TestPair::start(majors.0, majors.1);
        let (source, target, migration) = shop(&pair, serde_json::json!({"fence_timeout": 60})).await;
        let [on_source, on_target, _, _] = documented();
        run(&source, &on_source).await;
        run(&target, &on_target).await;
        migration.plan();
        let mut apply = migration.start(&["--json", "apply", "plan.json", "--yes"], "");
        apply.wait_for("\"ready\":true");
        run(&source, "UPDATE app.orders SET t = 'new' WHERE id % 3 = 0; DELETE FROM app.lines WHERE id % 5 = 0").await;
        migration.ok(&["verify"]);
        migration.ok(&["cutover", "--maintenance-confirmed"]);
        apply.wait().assert_switched();
        assert_shops_equal(&source, &target).await;
        migration.ok(&["verify"]);
        migration.ok(&["cleanup", "--yes"]);
        assert_eq!(text(&source, "SELECT count(*) FROM pg_replication_slots").await, "0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_rights_of_the_way_back_suffice() {
    let pair = TestPair::start(15, 17);
    let cutover = serde_json::json!({"fence_timeout": 60, "reverse": {"user": "goes_back"}});
    let (source, target, migration) = shop(&pair, cutover).await;
    let [on_source, on_target, back_on_target, back_on_source] = documented();
    run(&source, &(on_source + &back_on_source)).await;
    run(&target, &(on_target + &back_on_target)).await;
    migration.plan();
    let mut apply = migration.start(&["--json", "apply", "plan.json", "--yes"], "");
    apply.wait_for("\"ready\":true");
    migration.ok(&["cutover", "--maintenance-confirmed"]);
    apply.wait_for("changes of the target go back");
    let written = "INSERT INTO app.orders (title) SELECT 'later' FROM generate_series(1, 9); \
        UPDATE app.orders SET title = 'new' WHERE id % 3 = 0; DELETE FROM app.lines WHERE id % 5 = 0; \
        INSERT INTO app.lines (parent) SELECT max(id) FROM app.orders";
    run(&target, written).await;
    migration.ok(&["rollback", "--yes"]);
    let said = apply.finish();
    assert_eq!(said.code, Some(0), "{}\n{}", said.lines.join("\n"), said.stderr);
    assert_shops_equal(&source, &target).await;
    run(
        &source,
        "INSERT INTO app.orders (t) VALUES ('last'); INSERT INTO app.lines (parent) SELECT max(id) FROM app.orders",
    )
    .await;
    migration.ok(&["cleanup", "--yes"]);
    for end in [&source, &target] {
        assert_eq!(text(end, "SELECT count(*) FROM pg_replication_slots").await, "0");
    }
}
