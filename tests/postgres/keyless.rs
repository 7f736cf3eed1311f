//! Tables without a key: rows that are alike, NULLs everywhere, a kill during the copy, and an index that finds the row.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::stage::Stage;
use crate::support::{TestPair, connect_to, run, text};

/// Types with and without `=`, with and without an index that could help.
const DDL: &str = "
    CREATE TYPE pair AS (x integer, y text);
    CREATE TABLE items (a integer, b text, c json, d numeric, e point, f pair, g timestamptz, h text COLLATE \"C\", i integer[], j xml);
    ALTER TABLE items REPLICA IDENTITY FULL;
    CREATE INDEX items_a ON items (a, b);
    CREATE INDEX items_h ON items (h);
    CREATE FUNCTION filled(n integer) RETURNS SETOF items LANGUAGE sql AS $$
      SELECT CASE WHEN g % 4 <> 0 THEN g % 7 END, CASE WHEN g % 3 <> 0 THEN 'b' || g % 5 END,
             CASE WHEN g % 5 <> 0 THEN '{\"k\": 1, \"k\": 2}'::json END, CASE WHEN g % 2 <> 0 THEN 1.50 END,
             CASE WHEN g % 6 <> 0 THEN point(g % 2, 1) END, CASE WHEN g % 9 <> 0 THEN ROW(g % 2, NULL)::pair END,
             CASE WHEN g % 2 <> 0 THEN '2020-01-01'::timestamptz END, CASE WHEN g % 8 <> 0 THEN 'É' END,
             CASE WHEN g % 3 <> 0 THEN ARRAY[1, NULL, g % 2] END, CASE WHEN g % 4 <> 0 THEN '<a/>'::xml END
      FROM generate_series(1, n) g $$;
    INSERT INTO items SELECT * FROM filled(300);
    INSERT INTO items (a, b) VALUES (77, 'three'), (77, 'three'), (77, 'three'), (78, 'two'), (78, 'two');
    INSERT INTO items DEFAULT VALUES; INSERT INTO items DEFAULT VALUES; INSERT INTO items DEFAULT VALUES;
    ANALYZE items";

const ON_TARGET: &str = "CREATE TYPE pair AS (x integer, y text)";

const TABLES: &str = "    - name: items
      columns: { a: { type: bigint }, d: { type: \"numeric(20,4)\" } }
      add_columns: [{ name: at, type: timestamptz, default: \"now()\" }]
";

const SOURCE: &str = "SELECT a, b, c, d::numeric(20,4), e, f, g, h, i, j FROM items";
const TARGET: &str = "SELECT a, b, c, d, e, f, g, h, i, j FROM items";

/// Deletes or changes one of several rows that are alike.
fn one_of(condition: &str) -> String {
    format!("ctid = (SELECT ctid FROM items WHERE {condition} LIMIT 1)")
}

fn changes() -> Vec<String> {
    let mut list = vec![
        format!("DELETE FROM items WHERE {}", one_of("b = 'three'")),
        format!("UPDATE items SET c = '{{}}' WHERE {}", one_of("b = 'two'")),
        format!("DELETE FROM items WHERE {}", one_of("items IS NULL")),
        format!("UPDATE items SET a = 5 WHERE {}", one_of("items IS NULL")),
        "UPDATE items SET a = NULL WHERE a = 3 AND b = 'b1'".to_owned(),
        "UPDATE items SET d = 1.5 WHERE d IS NULL AND a = 2".to_owned(),
        // The same number, another image.
        "UPDATE items SET d = 1.500 WHERE d = 1.5 AND a = 1".to_owned(),
        "UPDATE items SET c = '{\"k\": 1,\"k\": 2}' WHERE a = 4".to_owned(),
        "UPDATE items SET f = ROW(NULL, '')::pair WHERE a = 6".to_owned(),
        "INSERT INTO items SELECT * FROM filled(20)".to_owned(),
    ];
    let mut random = StdRng::seed_from_u64(7);
    for _ in 0..60 {
        let n = random.random_range(0..7);
        list.push(match random.random_range(0..4) {
            0 => format!("DELETE FROM items WHERE {}", one_of(&format!("a = {n}"))),
            1 => format!(
                "UPDATE items SET h = h || 'x', i = i || {n} WHERE {}",
                one_of(&format!("a = {n} AND h IS NOT NULL"))
            ),
            2 => format!("UPDATE items SET a = {n} WHERE {}", one_of("a IS NULL")),
            _ => format!("INSERT INTO items SELECT * FROM filled({n})"),
        });
    }
    list
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_alike() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::with_target(&pair, "alike", DDL, ON_TARGET, TABLES, "").await;
    // Killed with the rows written and not committed, and again with the table committed and nothing else.
    for point in ["chunk.before-commit=return(kill)", "setup.after-whole-table=return(kill)"] {
        let said = tokio::task::block_in_place(|| stage.start(point).finish());
        assert_eq!(said.code, None, "{point}: {}", said.stderr);
        for sql in changes().iter().take(20) {
            run(&stage.source, sql).await;
        }
    }
    let mut running = stage.start("");
    running.wait_for("\"gate\"");
    for sql in changes() {
        run(&stage.source, &sql).await;
    }
    stage.until_applied().await;
    stage.assert_equal(SOURCE, TARGET).await;
    let left = "SELECT count(*)::text FROM items WHERE b = 'three'";
    assert_eq!(text(&stage.target, left).await, text(&stage.source, left).await);
    let first = tokio::task::block_in_place(|| running.interrupt());
    assert!(Stage::counter(&first, "changes") >= 60, "{:?}", first.counters());
    for sql in changes() {
        run(&stage.source, &sql).await;
    }
    stage.cut_over().assert_switched();
    stage.assert_equal(SOURCE, TARGET).await;
}

/// Somebody takes one of two rows that are alike away from the target: the next change of such a row is refused when
/// none is left, and nothing is counted as done.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_not_there_stops_the_stream() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::with_target(&pair, "missing", DDL, ON_TARGET, TABLES, "").await;
    let mut running = stage.start("");
    running.wait_for("\"gate\"");
    run(&stage.target, "DELETE FROM items WHERE b = 'two'").await;
    run(&stage.source, &format!("UPDATE items SET a = 1 WHERE {}", one_of("b = 'two'"))).await;
    let said = tokio::task::block_in_place(|| running.finish());
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    assert!(said.stderr.contains("strict apply: update on public.items changed 0 rows"), "{}", said.stderr);
}

/// With an index on the target over any of its columns a row is found by it, also when another column is NULL.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_finds_the_row() {
    let pair = TestPair::start(15, 15);
    let ddl = "CREATE TABLE events (at timestamptz NOT NULL, who text, n numeric, note json);
        ALTER TABLE events REPLICA IDENTITY FULL;
        CREATE INDEX events_who ON events (who);
        INSERT INTO events SELECT '2020-01-01'::timestamptz + g * interval '1 second', CASE WHEN g % 1000 <> 0 THEN 'user' || g END,
          g / 10.0, '{}' FROM generate_series(1, 100000) g; ANALYZE events";
    let stage = Stage::new(
        &pair,
        "indexed",
        ddl,
        "    - name: events\n      columns: { n: { type: \"numeric(20,6)\" } }\n",
        "",
    )
    .await;
    let mut running = stage.start("");
    running.wait_for("\"gate\"");
    let scanned = "SELECT seq_tup_read::text FROM pg_stat_user_tables WHERE relname = 'events'";
    let before: u64 = text(&stage.target, scanned).await.parse().unwrap();
    let began = Instant::now();
    run(&stage.source, "UPDATE events SET note = '[]' WHERE who LIKE 'user%7' OR who IS NULL").await;
    run(&stage.source, "DELETE FROM events WHERE who LIKE 'user%8'").await;
    stage.until_applied().await;
    println!("20,000 changes without a key in {:?}", began.elapsed());
    // Statistics of a session are reported a moment later.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let watcher = connect_to(&pair.target, "indexed").await;
    let after: u64 = text(&watcher, scanned).await.parse().unwrap();
    // Index builds and comparisons scan it once each, and may be reported late; the changes would scan it 20,000 times.
    assert!(after - before < 1_000_000, "the table was scanned: {before} → {after}");
    let query = "SELECT at, who, n::numeric(20,6), note FROM events";
    stage.assert_equal(query, query).await;
    running.kill();
    stage.cut_over().assert_switched();
    stage.assert_equal(query, query).await;
}
