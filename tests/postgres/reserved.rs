//! The schema `pcrd` is pcrd's own on both ends: what somebody else has put there is neither adopted, nor replaced, nor
//! dropped, nor trusted.

use crate::migration::Migration;
use crate::support::{TestPair, connect_to, run, text};

const TABLE: &str = "    - { name: items, columns: { id: { type: bigint } } }";

async fn pair() -> TestPair {
    let pair = TestPair::start(15, 15);
    let source = connect_to(&pair.source, "postgres").await;
    run(&source, "CREATE TABLE items (id integer PRIMARY KEY); INSERT INTO items SELECT generate_series(1, 10)").await;
    let target = connect_to(&pair.target, "postgres").await;
    // Both servers come from one template, so only the database tells them apart.
    run(&target, "CREATE DATABASE shop").await;
    pair
}

fn migration(pair: &TestPair, tables: &str) -> Migration {
    let migration = Migration::new(pair, tables, "");
    let file = migration.dir.path().join("pcrd.config.yml");
    let config = std::fs::read_to_string(&file).unwrap();
    let target = format!("port: {}, database: postgres", pair.target.port());
    assert!(config.contains(&target));
    let shop = target.replace("postgres", "shop");
    std::fs::write(&file, config.replace(&target, &shop)).unwrap();
    migration
}

async fn assert_nothing_written(pair: &TestPair) {
    let source = connect_to(&pair.source, "postgres").await;
    let left = "SELECT (SELECT count(*) FROM pg_replication_slots) + (SELECT count(*) FROM pg_publication) \
                + (SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal)";
    assert_eq!(text(&source, left).await, "0");
    let target = connect_to(&pair.target, "shop").await;
    assert_eq!(text(&target, "SELECT count(*) FROM pg_class WHERE relname IN ('items', 'step')").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_in_it_are_not_migrated() {
    let pair = pair().await;
    let source = connect_to(&pair.source, "postgres").await;
    run(&source, "CREATE SCHEMA pcrd; CREATE TABLE pcrd.fence (id integer PRIMARY KEY)").await;
    for table in ["    - { name: pcrd.fence }", "    - { name: items, target: pcrd.migration }"] {
        let output = migration(&pair, table).run(&["plan", "--out", "plan.json"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("schema of pcrd itself"), "{}: {said}", output.status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_s_table_where_the_fence_goes_stays() {
    let pair = pair().await;
    let source = connect_to(&pair.source, "postgres").await;
    run(&source, "CREATE SCHEMA pcrd; CREATE TABLE pcrd.fence (posts integer); INSERT INTO pcrd.fence VALUES (7)")
        .await;
    let migration = migration(&pair, TABLE);
    migration.plan();
    let said = migration.cut_over("");
    assert_eq!(said.code, Some(3), "{}", said.stderr);
    assert!(said.stderr.contains("reserved_schema"), "{}", said.stderr);
    assert_nothing_written(&pair).await;
    // Nothing was begun, so there is nothing to give up either.
    migration.run(&["abort", "--yes"]);
    assert_eq!(text(&source, "SELECT posts FROM pcrd.fence").await, "7");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_somebody_else_made_is_not_read() {
    let pair = pair().await;
    let target = connect_to(&pair.target, "shop").await;
    // Read by a superuser, the view would make its owner one.
    let trap = "CREATE ROLE mallory LOGIN; GRANT CREATE ON DATABASE shop TO mallory; SET ROLE mallory; CREATE SCHEMA pcrd; \
        CREATE FUNCTION pcrd.trap() RETURNS text LANGUAGE plpgsql AS $$ BEGIN ALTER ROLE mallory SUPERUSER; RETURN 'x'; END $$; \
        CREATE VIEW pcrd.migration AS SELECT pcrd.trap() AS id, 1::bigint AS epoch, 'running'::text AS state, ''::text AS host, \
        1 AS pid, now() AS heartbeat_at, 'pcrd_items'::text AS slot, ''::text AS publication, now() AS created_at, '{}'::text[] AS tables; \
        RESET ROLE";
    run(&target, trap).await;
    let migration = migration(&pair, TABLE);
    migration.plan();
    for args in [
        &["--json", "apply", "plan.json", "--yes"][..],
        &["status"],
        &["cutover"],
        &["abort", "--yes"],
        &["cleanup", "--yes"],
    ] {
        let output = migration.run(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{args:?}: {said}");
        assert!(said.contains("mallory"), "{args:?}: {said}");
    }
    assert_eq!(text(&target, "SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'").await, "f");
    assert_nothing_written(&pair).await;
}
