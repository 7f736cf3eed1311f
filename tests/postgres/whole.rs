//! Tables that are copied whole, in pieces and by several readers of one snapshot, without a key and with one: exact under
//! writers, after kills and refusals at every point, and held when the copy is to be held.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pcrd::pg::local::Cluster;
use pcrd::sql::blocks::{Blocks, predicate};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::migration::{Migration, Said};
use crate::stage::Stage;
use crate::support::{TestPair, connect_to, run, sorted_copy, text};

use self::Kind::{ByBlocks, Keyless};

/// Two rows fill a block, so these are four pieces, and an updated row moves to another block.
const ROWS: u32 = 14_000;
const READY: &str = "\"type\":\"gate\",\"ready\":true";
const PIECE: &str = "\"work\":\"copy\",\"table\":\"public.items\"";
const QUERY: &str = "SELECT id, n::integer, length(pad), md5(pad) FROM items";

/// Why the table is copied whole.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// It has no key.
    Keyless,
    /// It has one, and the plan says so.
    ByBlocks,
}

impl Kind {
    fn yaml(self) -> &'static str {
        match self {
            Keyless => "    - { name: items, columns: { n: { type: integer } } }\n",
            ByBlocks => "    - { name: items, copy: by_blocks, columns: { n: { type: integer } } }\n",
        }
    }

    fn items(self, schema: &str, rows: u32) -> String {
        let key = match self {
            Keyless => "ALTER TABLE $items REPLICA IDENTITY FULL; CREATE INDEX ON $items (id)",
            ByBlocks => "ALTER TABLE $items ADD PRIMARY KEY (id)",
        };
        let ddl = format!(
            "CREATE TABLE $items (id integer, n bigint, pad text); {key}; ALTER TABLE $items ALTER pad SET STORAGE PLAIN; \
             INSERT INTO $items SELECT g, 0, repeat('x', 3000) FROM generate_series(1, {rows}) AS g; ANALYZE $items"
        );
        ddl.replace("$items", &format!("{schema}.items"))
    }
}

/// A key whose order only PostgreSQL knows, and a table of one piece.
fn more_tables() -> String {
    format!(
        "CREATE TABLE names (name text COLLATE \"en-x-icu\" PRIMARY KEY, n bigint, pad text); \
         ALTER TABLE names ALTER pad SET STORAGE PLAIN; \
         INSERT INTO names SELECT 'É' || md5(g::text), 0, repeat('x', 3000) FROM generate_series(1, {ROWS}) AS g; \
         CREATE TABLE few (a text); ALTER TABLE few REPLICA IDENTITY FULL; INSERT INTO few VALUES ('a'), ('a'), (NULL); ANALYZE"
    )
}

async fn stage(pair: &TestPair, kind: Kind, name: &str, more: &str) -> Stage {
    Stage::new(pair, name, &kind.items("public", ROWS), kind.yaml(), more).await
}

fn pieces(said: &Said, table: &str) -> usize {
    let named = format!("\"work\":\"copy\",\"table\":\"public.{table}\"");
    said.lines.iter().filter(|line| line.contains(&named)).count()
}

/// Inserts at the end, moves rows to other blocks and to other keys, deletes them.
fn write(source: Client, tables: &'static [(&'static str, &'static str)], stop: Arc<AtomicBool>) -> JoinHandle<u32> {
    tokio::spawn(async move {
        let mut random = StdRng::seed_from_u64(3);
        let mut n = ROWS;
        while !stop.load(Ordering::Relaxed) {
            let (table, key) = tables[random.random_range(0..tables.len())];
            n += 1;
            let key_of = |n: u32| key.replace("$n", &n.to_string());
            let [one, two, three] = [(); 3].map(|()| key_of(random.random_range(1..ROWS)));
            let name = if table == "names" { "name" } else { "id" };
            let sql = format!(
                "BEGIN; INSERT INTO {table} VALUES ({}, 1, repeat('n', 2900)); \
                 UPDATE {table} SET n = n + 1, pad = repeat('u', 2950) WHERE {name} = {one}; \
                 DELETE FROM {table} WHERE {name} = {two}; UPDATE {table} SET {name} = {} WHERE {name} = {three}; COMMIT",
                key_of(n),
                key_of(1_000_000 + n)
            );
            run(&source, &sql).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        n - ROWS
    })
}

/// Under writers, from a server with or without scans of TID ranges.
async fn exact(kind: Kind, majors: (u32, u32), ranges: bool) {
    let pair = TestPair::start(majors.0, majors.1);
    let name = format!("from{}", majors.0);
    let ddl = format!("{}; {}", kind.items("public", ROWS), more_tables());
    let yaml = format!(
        "{}    - {{ name: names, columns: {{ n: {{ type: \"numeric(20,0)\" }} }} }}\n    \
         - {{ name: few, columns: {{ a: {{ rename: b }} }} }}\n",
        kind.yaml()
    );
    let stage =
        Stage::new(&pair, &name, &ddl, &yaml, "  workers: 3\n  throttle: { source_commit_slowdown_percent: 0 }\n")
            .await;
    let stop = Arc::new(AtomicBool::new(false));
    let tables: &[_] = &[("items", "$n"), ("names", "'É' || md5('$n')")];
    let writer = write(connect_to(&pair.source, &name).await, tables, Arc::clone(&stop));
    // Between two pieces there is time to see who reads.
    let mut running = stage.start("whole.after-piece=sleep(400)");
    // Without ranges the reader of the small table may have left already.
    let readers = if ranges { 3 } else { 2 };
    stage
        .until_source(&format!(
            "SELECT count(*) >= {readers} FROM pg_stat_activity WHERE application_name LIKE 'pcrd/%/guard' \
             AND query LIKE 'COPY (SELECT%'"
        ))
        .await;
    running.wait_for(READY);
    stop.store(true, Ordering::Relaxed);
    let commits = writer.await.unwrap();
    let said = tokio::task::block_in_place(|| running.interrupt());
    let found = (pieces(&said, "items"), pieces(&said, "names"), pieces(&said, "few"));
    println!("{kind:?}, {majors:?}: {commits} commits, {found:?} pieces");
    assert!(commits > 5, "nobody wrote");
    let many = |found: usize| if ranges { found >= 4 } else { found == 1 };
    assert!(many(found.0) && many(found.1) && found.2 == 1, "{found:?}");
    stage.cut_over().assert_switched();
    stage.assert_equal(QUERY, QUERY).await;
    let names = "SELECT name, n::numeric(20,0), length(pad), md5(pad) FROM names";
    stage.assert_equal(names, names).await;
    stage.assert_equal("SELECT a FROM few", "SELECT b FROM few").await;
    let condition = predicate(Blocks { lo: 10, hi: Some(20) }).unwrap();
    let plan = text(&stage.source, &format!("EXPLAIN SELECT n FROM ONLY items WHERE {condition}")).await;
    assert_eq!(plan.starts_with("Tid Range Scan"), ranges, "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn exact_from_10() {
    exact(Keyless, (10, 15), false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_blocks_exact_from_10() {
    exact(ByBlocks, (10, 15), false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exact_from_13() {
    exact(Keyless, (13, 17), false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_blocks_exact_from_13() {
    exact(ByBlocks, (13, 17), false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exact_from_15() {
    exact(Keyless, (15, 15), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_blocks_exact_from_15() {
    exact(ByBlocks, (15, 15), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exact_from_18() {
    exact(Keyless, (18, 18), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_blocks_exact_from_18() {
    exact(ByBlocks, (18, 18), true).await;
}

/// Rows without the record of the whole table are never trusted.
#[tokio::test(flavor = "multi_thread")]
async fn killed_between_pieces_and_before_the_record() {
    kills(Keyless).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_blocks_killed_between_pieces_and_before_the_record() {
    kills(ByBlocks).await;
}

async fn kills(kind: Kind) {
    let pair = TestPair::start(15, 15);
    for (number, (point, times, rows)) in [
        ("whole.after-empty", "", 0..1),
        ("whole.after-piece", "1*off->", 1..ROWS),
        ("whole.before-done", "", ROWS..ROWS + 1),
        ("setup.after-whole-table", "", ROWS..ROWS + 1),
    ]
    .into_iter()
    .enumerate()
    {
        let stage = stage(&pair, kind, &format!("killed{number}"), "  workers: 2\n").await;
        let said = tokio::task::block_in_place(|| stage.start(&format!("{point}={times}return(kill)")).finish());
        assert_eq!(said.code, None, "{point}: {}\n{}", said.lines.join("\n"), said.stderr);
        let found: u32 = text(&stage.target, "SELECT count(*) FROM items").await.parse().unwrap();
        assert!(rows.contains(&found), "{point}: {found} rows");
        let recorded = text(&stage.target, "SELECT count(*) FROM pcrd.whole_copy").await;
        assert_eq!(recorded == "1", point.starts_with("setup."), "{point}: {recorded}");
        run(&stage.source, "UPDATE items SET n = 7, pad = repeat('u', 2950) WHERE id % 1000 = 5").await;
        run(&stage.source, "DELETE FROM items WHERE id % 1000 = 7; INSERT INTO items VALUES (7, 3, 'new')").await;
        stage.cut_over().assert_switched();
        stage.assert_equal(QUERY, QUERY).await;
        stage.end().await;
    }
}

/// Both fill one table: each attempt empties its own part of it, and of each part.
#[tokio::test(flavor = "multi_thread")]
async fn a_merge_killed_between_pieces() {
    merge(Keyless).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_blocks_a_merge_killed_between_pieces() {
    merge(ByBlocks).await;
}

async fn merge(kind: Kind) {
    let pair = TestPair::start(15, 15);
    let (source, target) = (connect_to(&pair.source, "postgres").await, connect_to(&pair.target, "postgres").await);
    run(&source, &format!("CREATE SCHEMA other; {}; {}", kind.items("public", 9_000), kind.items("other", 9_000)))
        .await;
    let (copy, key, index) = match kind {
        Keyless => ("", "", "CREATE INDEX items_id ON public.items (origin, id);"),
        ByBlocks => ("-- pcrd: copy by_blocks\n", ",\n PRIMARY KEY (origin, id)", ""),
    };
    let desired = format!(
        "{copy}-- pcrd: merged_from public.items with origin = 'a'\n-- pcrd: merged_from other.items with origin = 'b'\n\
         CREATE TABLE public.items (\n origin text NOT NULL,\n id integer,\n n bigint,\n pad text{key}\n);\n{index}\n"
    );
    let migration = Migration::of_schema(&pair, "postgres", &desired, "  workers: 2\n  lag_threshold_bytes: 33554432");
    migration.plan();
    // Three pieces each: at the fourth one is whole at most, and both have rows or one is recorded.
    let said = tokio::task::block_in_place(|| migration.cut_over("whole.after-piece=3*off->return(kill)"));
    assert_eq!(said.code, None, "{}\n{}", said.lines.join("\n"), said.stderr);
    let parts = text(&target, "SELECT count(DISTINCT origin) FROM items").await;
    assert_eq!(parts, "2", "of which parts there are rows");
    for schema in ["public", "other"] {
        let sql = "UPDATE items SET n = 1, pad = 'moved' WHERE id % 1000 = 5; DELETE FROM items WHERE id % 1000 = 7";
        run(&source, &sql.replace("items", &format!("{schema}.items"))).await;
    }
    let said = tokio::task::block_in_place(|| migration.cut_over(""));
    said.assert_switched();
    for (schema, origin) in [("public", "a"), ("other", "b")] {
        let left = sorted_copy(&source, &format!("SELECT id, n, md5(pad) FROM {schema}.items")).await;
        let right = format!("SELECT id, n, md5(pad) FROM items WHERE origin = '{origin}'");
        assert!(left == sorted_copy(&target, &right).await, "{schema}");
        assert!(!left.is_empty());
    }
}

/// A row that no check saw, because its transaction was open until the slot had waited for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_does_not_fit_names_its_table() {
    refusal(Keyless).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_blocks_a_row_that_does_not_fit_names_its_table() {
    refusal(ByBlocks).await;
}

async fn refusal(kind: Kind) {
    let pair = TestPair::start(15, 15);
    let stage = stage(&pair, kind, "refused", "  workers: 2\n").await;
    let other = connect_to(&pair.source, &stage.name).await;
    run(&other, "BEGIN; UPDATE items SET n = 5000000000 WHERE id = 9000").await;
    let running = stage.start("");
    stage.until_source("SELECT count(*) > 0 FROM pg_replication_slots").await;
    run(&other, "COMMIT").await;
    let said = tokio::task::block_in_place(|| running.finish());
    assert_eq!(said.code, Some(1), "{}\n{}", said.lines.join("\n"), said.stderr);
    assert!(said.stderr.contains("read public.items") && said.stderr.contains("22003"), "{}", said.stderr);
    assert_eq!(text(&stage.target, "SELECT count(*) FROM pcrd.whole_copy").await, "0");
    run(&stage.source, "UPDATE items SET n = 5 WHERE id = 9000").await;
    stage.cut_over().assert_switched();
    stage.assert_equal(QUERY, QUERY).await;
}

fn command(stage: &Stage, args: &[&str]) {
    let said = stage.migration.start(args, "").wait_at_most(Duration::from_secs(60));
    assert_eq!(said.code, Some(0), "{args:?}: {:?}\n{}", said.lines, said.stderr);
}

async fn copied(stage: &Stage) -> u32 {
    text(&stage.target, "SELECT count(*) FROM items").await.parse().unwrap()
}

/// A piece that had begun may still arrive, then none does.
async fn assert_stands_still(stage: &Stage) {
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = copied(stage).await;
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        assert_eq!(copied(stage).await, before, "a piece was copied while the copy was held");
    }
    assert!(before < ROWS, "the copy was too fast to be held");
}

#[tokio::test(flavor = "multi_thread")]
async fn held_by_rates_and_by_the_operator() {
    held(Keyless).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_blocks_held_by_rates_and_by_the_operator() {
    held(ByBlocks).await;
}

async fn held(kind: Kind) {
    let pair = TestPair::start(15, 15);
    let stage = stage(&pair, kind, "held", "  workers: 1\n  max_rows_per_second: 20\n").await;
    let mut running = stage.start("");
    running.wait_for(PIECE);
    assert_stands_still(&stage).await;
    command(&stage, &["pause"]);
    command(&stage, &["throttle", "--rows-per-second", "0"]);
    assert_stands_still(&stage).await;
    command(&stage, &["resume"]);
    running.wait_for(READY);
    running.kill();
    stage.cut_over().assert_switched();
    stage.assert_equal(QUERY, QUERY).await;
}

/// What the servers cannot bear holds it, and log that only the stream can release does not: that begins afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn held_by_sessions_and_not_by_the_log() {
    sessions(Keyless).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_blocks_held_by_sessions_and_not_by_the_log() {
    sessions(ByBlocks).await;
}

async fn sessions(kind: Kind) {
    let pair = TestPair::start(15, 15);
    let limits = "  throttle: { source_active_sessions: 4, stream_lag_bytes: 1000000, wal_retained_bytes: 1000000 }\n";
    let stage = stage(&pair, kind, "sessions", limits).await;
    let at_work = |cluster: &Cluster| {
        let server = cluster.conninfo(&stage.name);
        tokio::spawn(async move {
            let client = crate::support::connect(&server).await;
            client.batch_execute("SELECT pg_sleep(600)").await
        })
    };
    let sessions: Vec<_> = (0..6).map(|_| at_work(&pair.source)).collect();
    let mut running = stage.start("");
    running.wait_for("active sessions on the source");
    assert_stands_still(&stage).await;
    assert_eq!(copied(&stage).await, 0);
    // Behind the slot's snapshot, and more than the limits.
    run(&stage.source, "INSERT INTO items SELECT 20000 + g, 1, repeat('l', 3000) FROM generate_series(1, 1000) AS g")
        .await;
    run(&stage.source, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)'")
        .await;
    running.wait_for(PIECE);
    running.wait_for(READY);
    for session in sessions {
        assert!(session.await.unwrap().is_err(), "it was cancelled");
    }
    running.kill();
    stage.cut_over().assert_switched();
    stage.assert_equal(QUERY, QUERY).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_and_aborted_on_the_way() {
    stopped(Keyless).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_blocks_stopped_and_aborted_on_the_way() {
    stopped(ByBlocks).await;
}

async fn stopped(kind: Kind) {
    let pair = TestPair::start(15, 15);
    let stopped = stage(&pair, kind, "stopped", "  workers: 2\n").await;
    let mut running = stopped.start("whole.after-piece=sleep(3000)");
    running.wait_for(PIECE);
    let said = tokio::task::block_in_place(|| running.interrupt());
    assert_eq!(said.code, Some(6), "{}\n{}", said.lines.join("\n"), said.stderr);
    assert!(copied(&stopped).await < ROWS + 1);
    assert_eq!(text(&stopped.target, "SELECT count(*) FROM pcrd.whole_copy").await, "0");
    stopped.cut_over().assert_switched();
    stopped.assert_equal(QUERY, QUERY).await;

    let aborted = stage(&pair, kind, "aborted", "  workers: 1\n  max_rows_per_second: 20\n").await;
    let mut running = aborted.start("");
    running.wait_for(PIECE);
    command(&aborted, &["abort", "--yes"]);
    let said = tokio::task::block_in_place(|| running.finish());
    assert!(said.stderr.contains("aborted by request"), "{}", said.stderr);
    let slots = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'pcrd_aborted'";
    assert_eq!(text(&aborted.source, slots).await, "0");
}
