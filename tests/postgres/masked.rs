//! A value of a row that breaks something is named by table, column, constraint and position, and never shown: neither
//! to the operator, nor in the ledger, nor in the journal.

use crate::migration::{Migration, Said};
use crate::support::{TestPair, connect_to, rows, run, sorted_copy};

const CANARY: &str = "v4lue-CANARY";

const SCHEMA: &str = "CREATE TABLE items (id integer PRIMARY KEY, t text, u text, m text); \
    INSERT INTO items SELECT g, g, g, g FROM generate_series(1, 300) g";
/// Raises its argument, as functions of applications do.
const FUNCTION: &str = "CREATE FUNCTION public.checked(v text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN \
    IF v LIKE 'v4lue%' THEN RAISE EXCEPTION 'bad value %', v USING HINT = 'not ' || v; END IF; RETURN v; END $$";
const TABLES: &str =
    "    - name: items\n      columns:\n        t: { type: integer }\n        m: { using: \"public.checked(m)\" }";

struct Stage {
    pair: TestPair,
    migration: Migration,
}

impl Stage {
    async fn start() -> Self {
        let pair = TestPair::start(15, 15);
        run(&connect_to(&pair.source, "postgres").await, SCHEMA).await;
        for cluster in [&pair.source, &pair.target] {
            run(&connect_to(cluster, "postgres").await, FUNCTION).await;
        }
        // Both servers come from one template, so only the database tells them apart.
        let target = connect_to(&pair.target, "postgres").await;
        run(&target, "CREATE DATABASE shop TEMPLATE template0").await;
        run(&connect_to(&pair.target, "shop").await, FUNCTION).await;
        let migration = Migration::new(&pair, TABLES, "  batch_size: 50\n");
        let file = migration.dir.path().join("pcrd.config.yml");
        let config = std::fs::read_to_string(&file).unwrap();
        let place = format!("port: {}, database: postgres", pair.target.port());
        assert!(config.contains(&place));
        std::fs::write(&file, config.replace(&place, &place.replace("postgres", "shop"))).unwrap();
        Self { pair, migration }
    }

    /// Nothing that pcrd says or keeps has the value; what it said is given back.
    async fn assert_untold(&self, said: &Said) -> String {
        let text = said.lines.join("\n") + &said.stderr;
        assert!(!text.contains(CANARY), "{text}");
        let target = connect_to(&self.pair.target, "shop").await;
        let tables = rows(&target, "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'pcrd'").await;
        assert!(!tables.is_empty());
        for table in tables {
            let kept = sorted_copy(&target, &format!("SELECT * FROM pcrd.{}", table[0].as_deref().unwrap())).await;
            assert!(!String::from_utf8_lossy(&kept).contains(CANARY), "{table:?}");
        }
        for entry in std::fs::read_dir(self.migration.dir.path()).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()), "{}", path.display());
        }
        text
    }

    /// Runs until the stream is up to date, changes something, and gives what the run ended with.
    async fn stream(&self, code: i32, on_target: &str, on_source: &str) -> String {
        self.migration.plan();
        let mut apply = self.migration.start(&["-vv", "--json", "apply", "plan.json", "--yes"], "");
        apply.wait_for("\"ready\":true");
        run(&connect_to(&self.pair.target, "shop").await, on_target).await;
        run(&connect_to(&self.pair.source, "postgres").await, on_source).await;
        let said = apply.wait();
        assert_eq!(said.code, Some(code), "{said:?}");
        self.assert_untold(&said).await
    }
}

fn insert(t: &str, u: &str, m: &str) -> String {
    format!("INSERT INTO items VALUES (1000, '{t}', '{u}', '{m}')")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_value_that_cannot_be_cast() {
    let said = Stage::start().await.stream(1, "", &insert(CANARY, "", "")).await;
    assert!(said.contains("22P02") && said.contains("items"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_a_function_raises() {
    let said = Stage::start().await.stream(1, "", &insert("1", "", CANARY)).await;
    assert!(said.contains("P0001") && said.contains("items"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_value_that_a_constraint_of_somebody_else_refuses() {
    let stage = Stage::start().await;
    let constraint = "ALTER TABLE items ADD CONSTRAINT short CHECK (u NOT LIKE 'v4lue%')";
    let said = stage.stream(1, constraint, &insert("1", CANARY, "")).await;
    assert!(said.contains("23514") && said.contains("short"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_value_that_stands_there_already() {
    let stage = Stage::start().await;
    let unique = format!("CREATE UNIQUE INDEX one_u ON items (u); INSERT INTO items VALUES (-1, 1, '{CANARY}', '')");
    let said = stage.stream(1, &unique, &insert("1", CANARY, "")).await;
    assert!(said.contains("23505") && said.contains("one_u"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_value_of_a_table_that_has_changed() {
    let drift = format!(
        "{}; ALTER TABLE items DROP COLUMN u, ADD COLUMN v text; UPDATE items SET v = '{CANARY}'",
        insert("1", CANARY, "")
    );
    let said = Stage::start().await.stream(4, "", &drift).await;
    assert!(said.contains("items"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_value_that_is_refused() {
    let stage = Stage::start().await;
    let source = connect_to(&stage.pair.source, "postgres").await;
    run(&source, &format!("UPDATE items SET u = '{CANARY}' WHERE id = 7")).await;
    stage.migration.plan();
    let apply = stage.migration.start(&["-vv", "--json", "apply", "plan.json", "--yes"], "chunk.begin=sleep(4000)");
    let target = connect_to(&stage.pair.target, "shop").await;
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while target.batch_execute("ALTER TABLE items ADD CONSTRAINT short CHECK (u NOT LIKE 'v4lue%')").await.is_err() {
        assert!(std::time::Instant::now() < until, "the table was never created");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let said = apply.wait();
    assert_eq!(said.code, Some(1), "{said:?}");
    let said = stage.assert_untold(&said).await;
    assert!(said.contains("23514") && said.contains("items"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_differs_is_found_by_key_and_column() {
    let stage = Stage::start().await;
    stage.migration.plan();
    let mut apply = stage.migration.start(&["-vv", "--json", "apply", "plan.json", "--yes"], "");
    apply.wait_for("\"ready\":true");
    run(&connect_to(&stage.pair.target, "shop").await, &format!("UPDATE items SET u = '{CANARY}' WHERE id = 177"))
        .await;
    for args in [&["-vv", "verify"][..], &["--json", "verify"]] {
        let output = stage.migration.run(args);
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{said}");
        assert!(said.contains("177") && said.contains('u') && !said.contains(CANARY), "{said}");
    }
    let said = apply.kill();
    stage.assert_untold(&said).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_fails_a_data_check() {
    let stage = Stage::start().await;
    let source = connect_to(&stage.pair.source, "postgres").await;
    stage.migration.plan();
    run(&source, &format!("UPDATE items SET t = '{CANARY}' WHERE id = 7")).await;
    for args in [
        &["-vv", "apply", "plan.json", "--yes"][..],
        &["-vv", "plan"],
        &["--json", "plan"],
        &["-vv", "migrate", "--yes"],
    ] {
        let output = stage.migration.run(args);
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{args:?}: {said}");
        assert!(said.contains("items.t") && !said.contains(CANARY), "{args:?}: {said}");
    }
}
