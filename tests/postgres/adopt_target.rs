//! What stands on the target when a new plan goes on with a run: of the run, and of others.

use crate::migration::{Migration, Said};
use crate::stage::Stage;
use crate::support::{TestPair, connect_to, run, text};

const DDL: &str = "CREATE TABLE items (id integer PRIMARY KEY, n integer, note text); \
     INSERT INTO items SELECT g, g, 'item' FROM generate_series(1, 300) g; \
     CREATE TABLE notes (id integer PRIMARY KEY, t text); INSERT INTO notes SELECT g, 'note' FROM generate_series(1, 300) g";
const TABLES: &str = "    - { name: items, columns: { id: { type: bigint } } }\n    - name: notes\n";

fn apply(migration: &Migration, plan: &str, more: &[&str]) -> Said {
    let args = [&["--json", "apply", plan, "--yes"], more].concat();
    tokio::task::block_in_place(|| migration.start(&args, "").finish())
}

fn plan_again(migration: &Migration, more: &[&str]) -> String {
    let args = [&["plan", "--out", "new.json"], more].concat();
    let output = tokio::task::block_in_place(|| migration.run(&args));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

fn assert_done(said: &Said) {
    assert_eq!(said.code, Some(0), "{}\n{}", said.lines.join("\n"), said.stderr);
}

fn assert_refused(said: &Said, words: &[&str]) {
    assert_eq!(said.code, Some(3), "{}\n{}", said.lines.join("\n"), said.stderr);
    for words in words {
        assert!(said.stderr.contains(words), "{words}: {}", said.stderr);
    }
}

/// A table that starts again as it is keeps what others gave it; one that would be created otherwise is not dropped over it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_others_have_put_on_a_table() {
    let pair = TestPair::start(15, 15);
    // The owner's defaults give this to every table that is created: nothing that could be lost.
    let defaults = "CREATE ROLE reader; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reader";
    let stage = Stage::with_target(&pair, "others", DDL, defaults, TABLES, "").await;
    let migration = &stage.migration;
    tokio::task::block_in_place(|| migration.ok(&["apply", "plan.json", "--yes", "--through", "catchup"]));
    run(
        &stage.target,
        "GRANT INSERT ON items TO reader; GRANT UPDATE (note) ON items TO reader; COMMENT ON COLUMN items.n IS 'by hand'; \
         CREATE INDEX by_hand ON items (n); CREATE VIEW seen AS SELECT n FROM items; ALTER TABLE items ENABLE ROW LEVEL SECURITY; \
         CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''refused''; END'; \
         CREATE TRIGGER refuse BEFORE TRUNCATE ON items EXECUTE FUNCTION refuse()",
    )
    .await;
    let theirs = "SELECT concat('items'::regclass::oid, relacl, (SELECT attacl FROM pg_attribute WHERE attrelid = 'items'::regclass AND attname = 'note'), \
         col_description('items'::regclass, 2), to_regclass('by_hand'), relrowsecurity, \
         (SELECT count(*) FROM pg_trigger WHERE tgname = 'refuse')) FROM pg_class WHERE oid = 'items'::regclass";
    let before = text(&stage.target, theirs).await;
    run(&stage.source, "ALTER TABLE items ALTER n TYPE bigint").await;
    run(&stage.source, "ALTER TABLE items ALTER n TYPE integer; UPDATE items SET n = n + 1 WHERE id % 3 = 0").await;
    assert_done(&apply(migration, "plan.json", &["--adopt", "--through", "catchup"]));
    assert_eq!(text(&stage.target, theirs).await, before);
    run(&stage.source, "ALTER TABLE items ALTER n TYPE bigint; UPDATE items SET n = 8589934592 WHERE id % 5 = 0").await;
    plan_again(migration, &[]);
    let said = apply(migration, "new.json", &["--adopt"]);
    assert!(said.code != Some(0) && said.stderr.contains("depend"), "{}", said.stderr);
    run(&stage.target, "DROP VIEW seen").await;
    let said = apply(migration, "new.json", &["--adopt"]);
    let lost = [
        "index by_hand on",
        "grant of INSERT to reader",
        "grant of UPDATE of column note to reader",
        "comment on column n",
        "trigger refuse",
        "row security",
    ];
    assert_refused(&said, &lost);
    assert!(!said.stderr.contains("SELECT") && !said.stderr.contains("items_pkey"), "{}", said.stderr);
    assert_eq!(text(&stage.target, theirs).await, before);
    run(
        &stage.target,
        "REVOKE INSERT ON items FROM reader; REVOKE UPDATE (note) ON items FROM reader; COMMENT ON COLUMN items.n IS NULL; \
         DROP INDEX by_hand; DROP TRIGGER refuse ON items; ALTER TABLE items DISABLE ROW LEVEL SECURITY",
    )
    .await;
    apply(migration, "new.json", &["--adopt", "--through", "cutover"]).assert_switched();
    stage.assert_equal("SELECT id::bigint, n, note FROM items", "SELECT * FROM items").await;
    stage.assert_equal("SELECT * FROM notes", "SELECT * FROM notes").await;
}

/// Statistics that have moved would have a table copied in another order, in which no run could go on: first a run by key,
/// then one by blocks.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn statistics_that_have_moved() {
    let pair = TestPair::start(15, 15);
    for (name, begun, now) in [("by_key", "by key", "by blocks"), ("by_blocks", "by blocks", "by key")] {
        let stage = Stage::new(&pair, name, &format!("{DDL}; ANALYZE items; ANALYZE notes"), TABLES, "").await;
        let migration = &stage.migration;
        let scattered = || {
            tokio::task::block_in_place(|| migration.ok(&["inspect", "--out", "scattered.json"]));
            let path = migration.dir.path().join("scattered.json");
            let mut catalog: serde_json::Value =
                serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            let stats = &mut catalog["tables"]["public.items"]["stats"];
            assert!(stats["table_bytes"].is_number(), "{stats}");
            stats["table_bytes"] = (2_u64 << 30).into();
            stats["correlation_ppm"]["id"] = 1_000.into();
            std::fs::write(&path, catalog.to_string()).unwrap();
        };
        if name == "by_blocks" {
            scattered();
            let args = ["plan", "--source-catalog", "scattered.json", "--out", "plan.json"];
            tokio::task::block_in_place(|| migration.ok(&args));
        }
        let planned = std::fs::read_to_string(migration.dir.path().join("plan.json")).unwrap();
        assert_eq!(planned.contains("\"by_blocks\""), name == "by_blocks", "{planned}");
        tokio::task::block_in_place(|| migration.ok(&["apply", "plan.json", "--yes", "--through", "catchup"]));
        run(&stage.source, "ALTER TABLE notes ALTER t TYPE varchar(40); UPDATE items SET n = 0 WHERE id % 3 = 0").await;
        let items = "SELECT concat('items'::regclass::oid, ' ', pg_relation_filenode('items'))";
        let before = text(&stage.target, items).await;
        scattered();
        let more: &[&str] = if name == "by_key" { &["--source-catalog", "scattered.json"] } else { &[] };
        let said = plan_again(migration, more);
        let words = format!("public.items is copied {begun} as by the run that is under way");
        assert!(said.contains(&words) && said.contains(&format!("it would be copied {now} now")), "{said}");
        assert!(said.contains("public.items would keep what is done"), "{said}");
        apply(migration, "new.json", &["--adopt", "--through", "cutover"]).assert_switched();
        assert_eq!(text(&stage.target, items).await, before);
        stage.assert_equal("SELECT id::bigint, n, note FROM items", "SELECT * FROM items").await;
        stage.assert_equal("SELECT * FROM notes", "SELECT * FROM notes").await;
    }
}

/// A foreign key of the run to a key that the new plan has otherwise is added again; one of somebody else's is named.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_key_that_is_referred_to_has_another_name() {
    let pair = TestPair::start(15, 15);
    let ddl = "CREATE TABLE items (id integer PRIMARY KEY, code integer CONSTRAINT items_code_key UNIQUE); \
         INSERT INTO items SELECT g, g * 2 FROM generate_series(1, 300) g; \
         CREATE TABLE lines (id integer PRIMARY KEY, code integer CONSTRAINT lines_code_fkey REFERENCES items (code)); \
         INSERT INTO lines SELECT g, g * 2 FROM generate_series(1, 300) g";
    let tables = "    - { name: items, columns: { id: { type: bigint } } }\n    - name: lines\n";
    let stage = Stage::new(&pair, "referred", ddl, tables, "").await;
    let migration = &stage.migration;
    tokio::task::block_in_place(|| migration.ok(&["apply", "plan.json", "--yes", "--through", "catchup"]));
    run(
        &stage.source,
        "ALTER TABLE lines DROP CONSTRAINT lines_code_fkey; \
         ALTER TABLE items DROP CONSTRAINT items_code_key, ADD CONSTRAINT items_code_unique UNIQUE (code); \
         ALTER TABLE lines ADD CONSTRAINT lines_code_fkey FOREIGN KEY (code) REFERENCES items (code)",
    )
    .await;
    run(&stage.source, "INSERT INTO items VALUES (1000, 1); UPDATE lines SET code = 1 WHERE id = 7").await;
    let said = plan_again(migration, &[]);
    assert!(said.contains("public.items would keep") && said.contains("public.lines would keep"), "{said}");
    let files = "SELECT concat(pg_relation_filenode('items'), ' ', pg_relation_filenode('lines'))";
    let before = text(&stage.target, files).await;
    run(&stage.target, "CREATE TABLE own (code integer REFERENCES items (code))").await;
    assert_refused(
        &apply(migration, "new.json", &["--adopt"]),
        &["own.own_code_fkey", "a key of public.items otherwise"],
    );
    run(&stage.target, "DROP TABLE own").await;
    apply(migration, "new.json", &["--adopt", "--through", "cutover"]).assert_switched();
    assert_eq!(text(&stage.target, files).await, before);
    let keys = "SELECT string_agg(conname, ' ' ORDER BY conname) FROM pg_constraint WHERE convalidated AND contype IN ('f', 'u') AND connamespace = 'public'::regnamespace";
    assert_eq!(text(&stage.target, keys).await, "items_code_unique lines_code_fkey");
    stage.assert_equal("SELECT id::bigint, code FROM items", "SELECT * FROM items").await;
    stage.assert_equal("SELECT * FROM lines", "SELECT * FROM lines").await;
}

/// More tables than the target has room for locks of.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn more_tables_than_there_is_room_for() {
    const TABLES: u32 = 400;
    let mut pair = TestPair::start(15, 15);
    let ddl = format!(
        "DO $$ BEGIN FOR i IN 1..{TABLES} LOOP EXECUTE format('CREATE TABLE t%s (id integer PRIMARY KEY, n integer)', i); END LOOP; END $$"
    );
    let tables: String = (1..=TABLES).map(|n| format!("    - name: t{n}\n")).collect();
    let stage = Stage::new(&pair, "many", &ddl, &tables, "").await;
    let migration = &stage.migration;
    tokio::task::block_in_place(|| migration.ok(&["apply", "plan.json", "--yes", "--through", "copy"]));
    let ddl = format!(
        "DO $$ BEGIN FOR i IN 1..{TABLES} LOOP EXECUTE format('ALTER TABLE t%s ALTER n TYPE bigint', i); END LOOP; END $$"
    );
    run(&stage.source, &ddl).await;
    for setting in ["max_locks_per_transaction = 10", "max_connections = 30"] {
        run(&stage.target, &format!("ALTER SYSTEM SET {setting}")).await;
    }
    pair.target.restart().unwrap();
    let target = connect_to(&pair.target, "many").await;
    plan_again(migration, &[]);
    let state = "SELECT concat((SELECT string_agg(concat(id, state), ' ') FROM pcrd.migration), \
         (SELECT string_agg(concat(oid, relfilenode), ' ' ORDER BY oid) FROM pg_class WHERE relnamespace = 'public'::regnamespace))";
    let before = text(&target, state).await;
    let said = apply(migration, "new.json", &["--adopt"]);
    assert_refused(
        &said,
        &["400 tables start again in one transaction", "max_locks_per_transaction is 10", "nothing was changed"],
    );
    assert_eq!(text(&target, state).await, before);
}

/// The same names on another database of the source are another run's.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_slot_of_this_name_on_another_source() {
    let pair = TestPair::start(15, 15);
    let source = connect_to(&pair.source, "postgres").await;
    run(&source, DDL).await;
    run(&source, "CREATE DATABASE elsewhere").await;
    run(&connect_to(&pair.source, "elsewhere").await, "CREATE TABLE words (id integer PRIMARY KEY)").await;
    let migration = Migration::new(&pair, TABLES, "");
    migration.plan();
    tokio::task::block_in_place(|| migration.ok(&["apply", "plan.json", "--yes", "--through", "copy"]));
    let path = migration.dir.path().join("pcrd.config.yml");
    let config = std::fs::read_to_string(&path).unwrap();
    let config = config.replacen("database: postgres", "database: elsewhere", 1).replace(TABLES, "    - name: words\n");
    std::fs::write(&path, config).unwrap();
    plan_again(&migration, &[]);
    assert_refused(
        &apply(&migration, "new.json", &["--adopt"]),
        &["no run with this plan's tables or slot is under way"],
    );
}
