//! DDL that is taken back, with writes between: the catalog is as planned, and what the stream has of the time between is not.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::migration::{Migration, Said};
use crate::support::{TestPair, connect_to, run, sorted_copy, text};

const DDL: &str = "CREATE TABLE items (id integer PRIMARY KEY, n integer, note text); \
     INSERT INTO items SELECT g, g, 'item' FROM generate_series(1, 400) g; \
     CREATE TABLE others (id integer PRIMARY KEY, n integer, note text); \
     INSERT INTO others SELECT g, -g, 'other' FROM generate_series(1, 300) g; \
     CREATE TABLE notes (id integer PRIMARY KEY, t text); \
     INSERT INTO notes SELECT g, 'note' FROM generate_series(1, 300) g";
const TABLES: &str =
    "    - { name: items, columns: { id: { type: bigint } } }\n    - name: others\n    - name: notes\n";

struct Case {
    /// Ends with the case.
    _pair: TestPair,
    source: Client,
    target: Client,
    migration: Migration,
}

impl Case {
    /// Everything is copied and built, and nobody is at work.
    async fn start(source_major: u32, target_major: u32) -> Self {
        let pair = TestPair::start(source_major, target_major);
        let source = connect_to(&pair.source, "postgres").await;
        let target = connect_to(&pair.target, "postgres").await;
        run(&source, DDL).await;
        let migration = Migration::new(&pair, TABLES, "  batch_size: 100\n  lag_threshold_bytes: 33554432");
        migration.plan();
        migration.ok(&["apply", "plan.json", "--yes", "--through", "catchup"]);
        Self { _pair: pair, source, target, migration }
    }

    /// Each in a transaction of its own.
    async fn on_source(&self, statements: &[&str]) {
        for statement in statements {
            run(&self.source, statement).await;
        }
    }

    fn apply(&self, plan: &str, more: &[&str], failpoints: &str) -> Said {
        let args = [&["--json", "apply", plan, "--yes"], more].concat();
        tokio::task::block_in_place(|| self.migration.start(&args, failpoints).finish())
    }

    /// What is kept of a table that does not start again.
    async fn kept(&self, table: &str) -> String {
        let query = format!(
            "SELECT concat('{table}'::regclass::oid, ' ', pg_relation_filenode('{table}'), ' ', \
             (SELECT string_agg(concat(seq, at), ';' ORDER BY lane, seq) FROM pcrd.chunk WHERE tbl = 'public.{table}'))"
        );
        text(&self.target, &query).await
    }

    /// The server rolls back when it notices that a client was killed.
    async fn until_alone(&self) {
        let query = "SELECT count(*)::text FROM pg_stat_activity WHERE application_name LIKE 'pcrd/%'";
        let began = Instant::now();
        while text(&self.target, query).await != "0" {
            assert!(began.elapsed() < Duration::from_secs(60), "sessions stay");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn assert_equal(&self) {
        for table in ["items", "others", "notes"] {
            let query = format!("SELECT * FROM {table}");
            let (left, right) = (sorted_copy(&self.source, &query).await, sorted_copy(&self.target, &query).await);
            assert!(left == right && !left.is_empty(), "{table} differs");
        }
    }
}

fn assert_stopped(said: &Said, words: &str) {
    assert_eq!(said.code, Some(4), "{}\n{}", said.lines.join("\n"), said.stderr);
    assert!(said.stderr.contains("--adopt") && said.stderr.contains(words), "{}", said.stderr);
}

/// Killed before, in and after the adoption; then whoever planned again goes on.
async fn a_column(source_major: u32, target_major: u32) {
    let case = Case::start(source_major, target_major).await;
    case.on_source(&[
        "ALTER TABLE items RENAME n TO m",
        "UPDATE items SET m = m + 1 WHERE id % 3 = 0; DELETE FROM items WHERE id % 50 = 1",
        "TRUNCATE others; INSERT INTO others VALUES (1, 1)",
        "ALTER TABLE items RENAME m TO n",
        "UPDATE items SET n = n + 10 WHERE id % 5 = 0; INSERT INTO items VALUES (1000, 1, 'late')",
        "UPDATE notes SET t = 'late' WHERE id % 4 = 0",
    ])
    .await;
    let (items, notes) = (case.kept("items").await, case.kept("notes").await);
    for _ in 0..2 {
        assert_stopped(&case.apply("plan.json", &["--through", "catchup"], ""), "column n is gone");
    }
    let recorded = "SELECT string_agg(concat(tbl, ': ', why), ';') FROM pcrd.unreadable";
    assert_eq!(text(&case.target, recorded).await, "public.items: column n is gone, column m is new");
    let planned = tokio::task::block_in_place(|| case.migration.run(&["plan", "--out", "new.json"]));
    let planned = String::from_utf8_lossy(&planned.stderr).into_owned();
    assert!(
        planned.contains("public.items would start again: public.items on the source: the change stream"),
        "{planned}"
    );
    assert!(planned.contains("public.notes would keep what is done"), "{planned}");
    for point in ["adopt.after-point", "adopt.before-commit"] {
        let said = case.apply("new.json", &["--adopt"], &format!("{point}=return(kill)"));
        assert_eq!(said.code, None, "{point}: {}", said.stderr);
        case.until_alone().await;
        assert_eq!(case.kept("items").await, items, "{point}");
        assert_stopped(&case.apply("new.json", &["--through", "catchup"], ""), "column n is gone");
    }
    let said = case.apply("new.json", &["--adopt"], "adopt.after-commit=return(kill)");
    assert_eq!(said.code, None, "{}", said.stderr);
    assert_ne!(case.kept("items").await, items);
    // The stream goes on behind the position, and what was recorded counts no more.
    let said = case.apply("new.json", &["--adopt", "--through", "catchup"], "apply.after-commit=return(kill)");
    assert_eq!(said.code, None, "{}", said.stderr);
    assert_eq!(text(&case.target, "SELECT count(*)::text FROM pcrd.adoption").await, "1");
    case.apply("new.json", &["--adopt", "--through", "cutover"], "").assert_switched();
    assert_eq!(text(&case.target, "SELECT count(*)::text FROM pcrd.adoption").await, "1");
    assert_eq!(case.kept("notes").await, notes);
    case.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_column_is_renamed_and_renamed_back() {
    a_column(15, 15).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_column_is_renamed_and_renamed_back_from_13_to_18() {
    a_column(13, 18).await;
}

/// In one transaction, so that nobody but the stream can notice it, while the run waits at the gate.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_one_transaction_beside_a_running_executor() {
    let case = Case::start(15, 15).await;
    let mut running = case.migration.start(&["--json", "apply", "plan.json", "--yes"], "");
    tokio::task::block_in_place(|| running.wait_for("\"gate\""));
    case.on_source(&[
        "BEGIN; UPDATE items SET n = 0 WHERE id = 2; ALTER TABLE items RENAME n TO m; UPDATE items SET m = 7 WHERE id % 2 = 0; \
         ALTER TABLE items RENAME m TO n; UPDATE items SET n = 8 WHERE id % 4 = 0; COMMIT",
        "UPDATE items SET note = 'late' WHERE id % 3 = 0; UPDATE others SET note = 'late'",
    ])
    .await;
    assert_stopped(&tokio::task::block_in_place(|| running.finish()), "column n is gone");
    case.apply("plan.json", &["--adopt", "--through", "cutover"], "").assert_switched();
    case.assert_equal().await;
}

/// One of them has the other's name for a time: what is written to the one must not land in the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tables_take_each_others_names_and_give_them_back() {
    let case = Case::start(15, 15).await;
    case.on_source(&[
        "ALTER TABLE items RENAME TO stuff",
        "UPDATE stuff SET n = n + 1000 WHERE id % 2 = 0; DELETE FROM stuff WHERE id % 30 = 1",
        "ALTER TABLE others RENAME TO items",
        "UPDATE items SET n = n - 1000 WHERE id % 2 = 0; INSERT INTO items VALUES (5000, 1, 'other')",
        "ALTER TABLE items RENAME TO others",
        "ALTER TABLE stuff RENAME TO items",
        "UPDATE items SET note = 'late' WHERE id % 7 = 0; UPDATE others SET note = 'late' WHERE id % 7 = 1",
    ])
    .await;
    let notes = case.kept("notes").await;
    assert_stopped(&case.apply("plan.json", &["--through", "catchup"], ""), "as public.stuff");
    assert_stopped(&case.apply("plan.json", &["--adopt", "--through", "cutover"], ""), "as public.items");
    case.apply("plan.json", &["--adopt", "--through", "cutover"], "").assert_switched();
    assert_eq!(case.kept("notes").await, notes);
    case.assert_equal().await;
}

/// The stream has the changes of the table that was there before, under the name that it was put aside with.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn another_table_in_the_place_of_one() {
    let case = Case::start(15, 15).await;
    let publication = text(&case.source, "SELECT pubname FROM pg_publication").await;
    case.on_source(&[
        "ALTER TABLE items RENAME TO items_old",
        "UPDATE items_old SET n = 7 WHERE id % 2 = 0",
        "CREATE TABLE items (LIKE items_old INCLUDING ALL)",
        &format!("ALTER PUBLICATION {publication} DROP TABLE items_old"),
        &format!("ALTER PUBLICATION {publication} ADD TABLE items"),
        "INSERT INTO items SELECT * FROM items_old WHERE id <= 350",
        "UPDATE items SET note = 'late' WHERE id % 3 = 0; UPDATE notes SET t = 'late' WHERE id % 3 = 0",
    ])
    .await;
    let notes = case.kept("notes").await;
    tokio::task::block_in_place(|| case.migration.ok(&["plan", "--out", "new.json"]));
    case.apply("new.json", &["--adopt", "--through", "cutover"], "").assert_switched();
    assert_eq!(
        text(&case.target, "SELECT string_agg(tbl, ' ') FROM pcrd.unreadable WHERE lsn = '0/0'").await,
        "public.items"
    );
    assert_eq!(case.kept("notes").await, notes);
    case.assert_equal().await;
}
