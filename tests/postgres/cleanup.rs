//! What the plan created goes, and only that: after the cutover, and when a migration is given up, also with a crash
//! between any two of the removals.

use crate::migration::Migration;
use crate::support::{TestPair, connect_to, rows, run, text};
use pcrd::exec::failpoint;

const TABLES: &str = "CREATE TABLE items (id serial PRIMARY KEY, note text);
    CREATE TABLE logs (at integer PRIMARY KEY, note text);
    CREATE TABLE others (id integer PRIMARY KEY);
    CREATE PUBLICATION others FOR TABLE others;
    INSERT INTO items (note) SELECT 'item ' || n FROM generate_series(1, 500) AS n; ANALYZE items";
const YAML: &str = "    - { name: items, columns: { id: { type: bigint } } }\n    - name: logs\n";
const POINTS: [&str; 3] = ["cleanup.after-slot", "cleanup.after-publication", "cleanup.after-fence"];

async fn pair(source_major: u32) -> (TestPair, Migration) {
    let pair = TestPair::start(source_major, 15);
    run(&connect_to(&pair.source, "postgres").await, TABLES).await;
    let migration = Migration::new(&pair, YAML, "");
    migration.plan();
    (pair, migration)
}

/// Everything that a plan can leave on a source.
async fn left_on_source(pair: &TestPair) -> Vec<Vec<Option<String>>> {
    let source = connect_to(&pair.source, "postgres").await;
    rows(
        &source,
        "SELECT 'slot', slot_name::text FROM pg_replication_slots
         UNION ALL SELECT 'publication', pubname FROM pg_publication WHERE pubname <> 'others'
         UNION ALL SELECT 'trigger', tgname FROM pg_trigger WHERE NOT tgisinternal
         UNION ALL SELECT 'schema', nspname FROM pg_namespace WHERE nspname = 'pcrd'",
    )
    .await
}

fn killed(migration: &Migration, args: &[&str], point: &str) {
    let said = migration.start(args, &format!("{point}=return(kill)")).wait();
    assert_eq!(said.code, None, "{args:?} did not die at {point}: {}\n{}", said.lines.join("\n"), said.stderr);
}

#[test]
fn every_point_of_the_removals_is_in_the_lists_here() {
    let all: Vec<_> = failpoint::ALL.iter().copied().filter(|point| point.starts_with("cleanup.")).collect();
    for point in &all {
        assert!(POINTS.contains(point), "{point} has no test");
    }
    assert_eq!(all.len(), POINTS.len());
}

/// A server that does not replicate TRUNCATE has a guard as well.
#[tokio::test(flavor = "multi_thread")]
async fn after_the_cutover_the_fence_stands_until_it_is_told_to_go() {
    for major in [10, 15] {
        let (pair, migration) = pair(major).await;
        tokio::task::block_in_place(|| migration.cut_over("")).assert_switched();
        migration.ok(&["cleanup", "--yes"]);
        let left = left_on_source(&pair).await;
        assert!(left.iter().all(|what| what[0].as_deref() != Some("slot")), "{left:?}");
        assert!(left.iter().all(|what| what[0].as_deref() != Some("publication")), "{left:?}");
        assert!(left.iter().all(|what| what[1].as_deref() != Some("pcrd_no_truncate")), "{left:?}");
        let source = connect_to(&pair.source, "postgres").await;
        let refused = source.batch_execute("INSERT INTO items VALUES (DEFAULT, 'late')").await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "25006", "a forgotten writer must not be lost");

        tokio::task::block_in_place(|| {
            for point in POINTS {
                killed(&migration, &["cleanup", "--yes", "--open-source"], point);
            }
            migration.ok(&["cleanup", "--yes", "--open-source"]);
            migration.ok(&["cleanup", "--yes", "--open-source"]);
        });
        assert_eq!(left_on_source(&pair).await, Vec::<Vec<Option<String>>>::new());
        run(&source, "INSERT INTO items VALUES (DEFAULT, 'again'); INSERT INTO others VALUES (1)").await;
        assert_eq!(text(&source, "SELECT count(*) FROM pg_publication WHERE pubname = 'others'").await, "1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn source_tables_go_only_by_name_and_with_them_the_fence() {
    let (pair, migration) = pair(15).await;
    let early = migration.run(&["cleanup", "--yes"]);
    assert!(!early.status.success(), "cleanup before a cutover");
    tokio::task::block_in_place(|| migration.cut_over("")).assert_switched();
    let source = connect_to(&pair.source, "postgres").await;
    migration.ok(&["cleanup", "--yes", "--drop-source", "--yes-drop", "public.items"]);
    assert_eq!(text(&source, "SELECT to_regclass('items') IS NULL, to_regclass('logs') IS NULL").await, "t");
    let refused = source.batch_execute("INSERT INTO logs VALUES (1)").await.unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "25006", "a table that stays stays closed");

    run(&source, "CREATE VIEW reader AS SELECT * FROM logs").await;
    let said = migration.run(&["cleanup", "--yes", "--drop-source", "--yes-drop", "public.logs"]);
    assert!(!said.status.success(), "a view must not be dropped along");
    run(&source, "DROP VIEW reader").await;

    let all = ["cleanup", "--yes", "--drop-source", "--yes-drop", "public.items", "--yes-drop", "public.logs"];
    tokio::task::block_in_place(|| {
        for point in POINTS {
            killed(&migration, &all, point);
        }
        migration.ok(&all);
    });
    assert_eq!(text(&source, "SELECT to_regclass('logs') IS NULL").await, "t");
    assert_eq!(text(&source, "SELECT to_regclass('others') IS NULL").await, "f");
    assert_eq!(left_on_source(&pair).await, Vec::<Vec<Option<String>>>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn given_up_with_a_crash_between_any_two_removals() {
    for major in [10, 15] {
        let (pair, migration) = pair(major).await;
        let target = connect_to(&pair.target, "postgres").await;
        tokio::task::block_in_place(|| {
            migration.ok(&["apply", "plan.json", "--yes", "--through", "catchup"]);
            for point in POINTS {
                killed(&migration, &["abort", "--yes"], point);
            }
            migration.ok(&["abort", "--yes"]);
        });
        assert_eq!(left_on_source(&pair).await, Vec::<Vec<Option<String>>>::new());
        let source = connect_to(&pair.source, "postgres").await;
        run(&source, "INSERT INTO items VALUES (DEFAULT, 'after'); TRUNCATE logs").await;
        let tables = "SELECT to_regclass('items') IS NULL AND to_regclass('logs') IS NULL";
        assert_eq!(text(&target, tables).await, "t");
        assert_eq!(text(&target, "SELECT count(*) FROM pg_sequences WHERE schemaname <> 'pcrd'").await, "0");
        // The same plan again, from the beginning.
        tokio::task::block_in_place(|| migration.cut_over("")).assert_switched();
        assert_eq!(text(&target, "SELECT count(*) FROM items").await, "501");
    }
}
