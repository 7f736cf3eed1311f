//! An application that is deployed again and again while it is migrated, under random writers and commits that become
//! visible late: each deployment adds a column and writes it, and the target has all of it in the end.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::migration::Migration;
use crate::support::{TestPair, connect_to, run, sorted_copy, text};
use crate::writers::{self, COMPOSITE, INT, KEYLESS, KeyKind, TEXT, Writers};

const COLUMNS: [&str; 8] = [
    "integer DEFAULT 5",
    "text",
    "text NOT NULL DEFAULT 'none'",
    "numeric(8,3) NOT NULL DEFAULT 1.25",
    "timestamptz",
    "jsonb DEFAULT '{}'",
    "boolean NOT NULL DEFAULT false",
    "text[] DEFAULT '{a,b}'",
];
/// What is written to each.
const VALUES: [&str; 8] =
    ["n", "md5(n::text)", "'x' || n", "n", "'2024-01-01'", "to_jsonb(n)", "true", "ARRAY[n::text]"];

async fn deployed(kind: KeyKind, rows: u32) {
    let pair = TestPair::start(15, 15);
    let source = connect_to(&pair.source, "postgres").await;
    run(&source, &kind.ddl(rows)).await;
    writers::delay_visibility(&pair).await;
    let more = format!(
        "  batch_size: 200\n  workers: 2\n  max_rows_per_second: {}\n  lag_threshold_bytes: 33554432\n  on_ddl: follow_additive",
        rows / 8
    );
    let migration = Migration::new(&pair, &kind.yaml(), &more);
    migration.plan();
    let writers = Writers::start(&pair, kind, rows, if kind.has_key { 4 } else { 1 }, true).await;
    let running = migration.start(&["--json", "apply", "plan.json", "--yes", "--through", "cutover"], "");
    let target = connect_to(&pair.target, "postgres").await;
    run(&source, "SET synchronous_commit = local; SET deadlock_timeout = '100ms'").await;
    let mut random = StdRng::seed_from_u64(7);
    for (n, (column, value)) in COLUMNS.iter().zip(VALUES).enumerate() {
        tokio::time::sleep(Duration::from_millis(random.random_range(200..700))).await;
        run(&source, &format!("ALTER TABLE items ADD COLUMN c{n} {column}")).await;
        for _ in 0..5 {
            let (part, rest) = (random.random_range(3..40), random.random_range(0..3));
            // A deadlock with a writer is no harm here: the next one will do.
            let write =
                format!("UPDATE items SET c{n} = {value} WHERE (n + ascii(md5(items::text))) % {part} = {rest}");
            let _may_be_a_victim = source.batch_execute(&write).await;
        }
    }
    let switched = "SELECT count(*)::text FROM pcrd.cutover WHERE state = 'switched'";
    let switched = if text(&target, "SELECT to_regclass('pcrd.cutover') IS NULL").await == "t" {
        "0".to_owned()
    } else {
        text(&target, switched).await
    };
    assert_eq!(switched, "0", "it was too quick: nothing came while it ran");
    let said = tokio::task::block_in_place(|| running.finish());
    let commits = writers.stop().await;
    said.assert_switched();
    let columns = (0..COLUMNS.len()).map(|n| format!(", c{n}")).collect::<String>();
    let with = |query: String| query.replace(" FROM items", &format!("{columns} FROM items"));
    let left = sorted_copy(&source, &with(kind.source_query())).await;
    assert!(left == sorted_copy(&target, &with(kind.target_query())).await, "{}: source and target differ", kind.name);
    let restarts = said.lines.iter().filter(|line| line.contains("looking at what it is")).count();
    println!("{}: {commits} commits, {restarts} restarts, {} bytes equal", kind.name, left.len());
    assert!(restarts > 0, "nothing came while it ran");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_integer_key() {
    deployed(INT, 12_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_key() {
    deployed(TEXT, 12_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_composite_key() {
    deployed(COMPOSITE, 12_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key() {
    deployed(KEYLESS, 600).await;
}
