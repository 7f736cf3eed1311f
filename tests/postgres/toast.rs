//! Values that the stream leaves out because they did not change, keys that change, and unique values that move:
//! for rows that are copied, being copied and not copied yet, under every replica identity.

use std::time::Duration;

use crate::stage::Stage;
use crate::support::{TestPair, run, text};

const ROWS: u32 = 600;

/// How the source identifies rows.
const IDENTITIES: [(&str, &str); 3] = [
    ("key", ""),
    ("full", "ALTER TABLE items REPLICA IDENTITY FULL;"),
    ("other", "ALTER TABLE items REPLICA IDENTITY USING INDEX items_code;"),
];

/// Keys step by 10, so that new ones fit between; `code` runs the other way than `id`.
fn ddl(identity: &str) -> String {
    format!(
        "CREATE TABLE items (id integer PRIMARY KEY, code integer NOT NULL, email text UNIQUE, n integer, big text, more jsonb, parts text[]);
         CREATE UNIQUE INDEX items_code ON items (code);
         ALTER TABLE items ALTER big SET STORAGE EXTERNAL, ALTER more SET STORAGE EXTERNAL, ALTER parts SET STORAGE EXTERNAL;
         {identity}
         INSERT INTO items SELECT g * 10, 100000 - g * 10, 'mail' || g, g, repeat(md5(g::text), 100),
           jsonb_build_object('v', repeat(md5(g::text), 100)), array_fill(repeat(md5(g::text), 50), ARRAY[3])
         FROM generate_series(1, {ROWS}) g; ANALYZE items"
    )
}

const TABLES: &str = "    - name: items
      columns: { id: { type: bigint }, n: { type: bigint, rename: number } }
      add_columns: [{ name: added, type: integer, default: 7 }]
";

/// Changes around row `a`, with `b` a row in another part of the table. None sends the large values again, if it
/// can be helped.
fn changes(a: u32, b: u32) -> Vec<String> {
    let id = |row: u32, step: u32| row * 10 + step;
    let set = |row: u32, step: u32, to: String| format!("UPDATE items SET {to} WHERE id = {}", id(row, step));
    let key = |row: u32, step: u32| format!("id = {}, code = {}", id(row, step), 100_000 - id(row, step));
    vec![
        // The same key.
        set(a, 0, "n = n + 1".into()),
        // Only the large value, then only the small one.
        format!("BEGIN; {}; {}; COMMIT", set(a + 1, 0, "big = big || '!'".into()), set(a + 1, 0, "n = -1".into())),
        // The key alone, nearby, one column of it at a time, and far away.
        set(a + 2, 0, key(a + 2, 1)),
        set(a + 3, 0, format!("id = {}", id(a + 3, 1))),
        set(a + 4, 0, format!("code = {}", 100_000 - id(a + 4, 1))),
        set(a + 5, 0, key(b, 1)),
        // A chain through three places, in one transaction and in three.
        format!(
            "BEGIN; {}; {}; {}; {}; COMMIT",
            set(a + 6, 0, key(b, 2)),
            set(b, 2, "n = n + 5".into()),
            set(b, 2, key(a, 3)),
            set(a, 3, key(b, 3))
        ),
        set(a + 7, 0, key(b, 4)),
        set(b, 4, key(a, 5)),
        set(a, 5, key(b, 5)),
        // There and back again.
        format!("BEGIN; {}; {}; COMMIT", set(a + 8, 0, key(b, 6)), set(b, 6, key(a + 8, 0))),
        // Two rows swap keys by way of a third, with the far part of the table.
        format!(
            "BEGIN; {}; {}; {}; COMMIT",
            set(a + 9, 0, "id = 999999, code = -1".into()),
            set(b + 9, 0, key(a + 9, 0)),
            format!("UPDATE items SET {} WHERE id = 999999", key(b + 9, 0))
        ),
        // Deleted and inserted with the same key, in one transaction and in two; reused by another row.
        format!(
            "BEGIN; DELETE FROM items WHERE id = {0}; INSERT INTO items VALUES ({0}, {1}, 'new{0}', 0, repeat('n', 3000)); \
             UPDATE items SET n = 1 WHERE id = {0}; COMMIT",
            id(a + 10, 0),
            100_000 - id(a + 10, 0)
        ),
        format!("DELETE FROM items WHERE id = {}", id(a + 11, 0)),
        format!(
            "INSERT INTO items VALUES ({}, {}, 'again{a}', 0, NULL, NULL, '{{}}')",
            id(a + 11, 0),
            100_000 - id(a + 11, 0)
        ),
        format!(
            "BEGIN; DELETE FROM items WHERE id = {}; {}; {}; COMMIT",
            id(a + 12, 0),
            set(b + 12, 0, key(a + 12, 0)),
            set(a + 12, 0, "n = 12".into())
        ),
        // A row comes, changes its key and goes.
        format!(
            "BEGIN; INSERT INTO items VALUES ({}, {}, 'guest{a}', 0, repeat('g', 3000)); {}; DELETE FROM items WHERE id = {}; COMMIT",
            id(a, 7),
            100_000 - id(a, 7),
            set(a, 7, key(b, 7)),
            id(b, 7)
        ),
        // A unique value goes from row to row, and around in a circle.
        format!(
            "BEGIN; UPDATE items SET email = NULL WHERE id = {x}; UPDATE items SET email = 'mail{r}' WHERE id = {y}; \
             UPDATE items SET email = 'mail{s}' WHERE id = {x}; COMMIT",
            x = id(a + 13, 0),
            y = id(a + 14, 0),
            r = a + 13,
            s = a + 14,
        ),
        format!("UPDATE items SET email = 'spare{a}' WHERE id = {}", id(a + 15, 0)),
        format!("UPDATE items SET email = 'mail{}' WHERE id = {}", a + 15, id(b + 15, 0)),
        format!(
            "BEGIN; DELETE FROM items WHERE id = {}; UPDATE items SET email = 'mail{}' WHERE id = {}; COMMIT",
            id(a + 16, 0),
            a + 16,
            id(a + 17, 0)
        ),
    ]
}

async fn assert_exact(stage: &Stage) {
    stage
        .assert_equal(
            "SELECT id, code, email, n, big, more, parts, 7 FROM items",
            "SELECT id, code, email, number, big, more, parts, added FROM items",
        )
        .await;
}

/// A held chunk lies between copied rows and rows that are not copied: changes go from each to each.
async fn around_a_held_chunk(name: &str, identity: &str) {
    let pair = TestPair::start(15, 15);
    // The next chunk does not give way to the changes.
    let migrate = "  batch_size: 100\n  workers: 1\n  throttle: { source_commit_slowdown_percent: 0 }\n";
    let stage = Stage::new(&pair, name, &ddl(identity), TABLES, migrate).await;
    // The stream takes its time: the chunk after the held one sees changes that it has not come to.
    let mut running = stage.start("chunk.after-commit=sleep(150);apply.begin=sleep(5)");
    stage.until_target("SELECT count(*) >= 2 FROM pcrd.chunk").await;
    let holder = stage.hold_chunks(&pair).await;
    stage.until_held().await;
    let copied: u32 = text(&stage.target, "SELECT count(*)::text FROM pcrd.chunk").await.parse().unwrap();
    assert!((2..=3).contains(&copied), "{copied} chunks of 100 rows are copied; 2 or 3 are expected");
    // Rows by number from either end: copied, in the held chunk, not copied; `code` as the key turns the table around.
    let (copied_rows, held, later) = (30, copied * 100 + 30, copied * 100 + 160);
    let mut pairs = Vec::new();
    for (n, (a, b)) in [
        (copied_rows, copied_rows + 40),
        (copied_rows + 80, held),
        (held + 20, copied_rows + 120),
        (held + 40, held + 60),
        (copied_rows + 100, later),
        (later + 20, copied_rows + 140),
        (later + 40, later + 60),
        (held + 80, later + 80),
        (later + 100, held + 99),
    ]
    .into_iter()
    .enumerate()
    {
        assert!(a.max(b) + 17 < ROWS, "pair {n} is outside of the table");
        pairs.push((a, b));
    }
    // Rows of different pairs may be the same row; then a later change finds nothing, which is fine.
    let mut changed = 0;
    for (a, b) in pairs {
        for sql in changes(a, b) {
            match stage.source.batch_execute(&sql).await {
                Ok(()) => changed += 1,
                Err(error) => {
                    assert!(error.code().is_some_and(|code| code.code() == "23505"), "{sql}: {error:?}");
                    run(&stage.source, "ROLLBACK").await;
                }
            }
        }
    }
    assert!(changed > 150, "only {changed} changes were possible");
    tokio::time::sleep(Duration::from_millis(300)).await;
    run(&holder, "COMMIT").await;
    running.wait_for("\"gate\"");
    // Everything is copied and the unique indexes are built: again.
    for sql in changes(200, 400) {
        if stage.source.batch_execute(&sql).await.is_err() {
            run(&stage.source, "ROLLBACK").await;
        }
    }
    stage.until_applied().await;
    assert_exact(&stage).await;
    let first = tokio::task::block_in_place(|| running.interrupt());
    assert_eq!(first.code, Some(6), "{}", first.stderr);
    for counter in ["discarded", "skipped", "applied_over_chunk", "gate_waits", "key_changes", "key_changes_across"] {
        assert!(Stage::counter(&first, counter) > 0, "{counter} never happened: {:?}", first.counters());
    }
    // With the full row the stream has every value.
    assert_eq!(Stage::counter(&first, "rereads") > 0, !identity.contains("FULL"), "{:?}", first.counters());
    for sql in changes(230, 90) {
        if stage.source.batch_execute(&sql).await.is_err() {
            run(&stage.source, "ROLLBACK").await;
        }
    }
    let said = stage.cut_over();
    said.assert_switched();
    assert_exact(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_primary_key() {
    around_a_held_chunk(IDENTITIES[0].0, IDENTITIES[0].1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_full_row() {
    around_a_held_chunk(IDENTITIES[1].0, IDENTITIES[1].1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_another_index() {
    around_a_held_chunk(IDENTITIES[2].0, IDENTITIES[2].1).await;
}

/// Two rows swap a deferrable key in one transaction: without an immediate key the whole row is the identity.
#[tokio::test(flavor = "multi_thread")]
async fn deferrable_keys() {
    let pair = TestPair::start(15, 15);
    let ddl = "CREATE TABLE items (id integer, u integer UNIQUE DEFERRABLE INITIALLY DEFERRED, big text, PRIMARY KEY (id) DEFERRABLE);
         ALTER TABLE items ALTER big SET STORAGE EXTERNAL;
         INSERT INTO items SELECT g, g, repeat(md5(g::text), 100) FROM generate_series(1, 200) g";
    let tables = "    - name: items\n      columns: { id: { type: bigint } }\n";
    for cluster in [&pair.source, &pair.target] {
        run(&crate::support::connect_to(cluster, "postgres").await, "CREATE DATABASE refused").await;
    }
    let source = crate::support::connect_to(&pair.source, "refused").await;
    run(&source, ddl).await;
    let refused =
        crate::migration::Migration::between(&pair, "refused", tables, "").run(&["plan", "--out", "plan.json"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("DEFERRABLE primary key"), "{said}");

    let full = format!("{ddl}; ALTER TABLE items REPLICA IDENTITY FULL");
    let stage = Stage::new(&pair, "deferrable", &full, tables, "").await;
    let swap = |a: u32, b: u32| {
        format!(
            "BEGIN; SET CONSTRAINTS ALL DEFERRED; UPDATE items SET id = {b} WHERE id = {a} AND u = {a}; \
             UPDATE items SET id = {a} WHERE id = {b} AND u = {b}; UPDATE items SET u = {b} + {a} - u WHERE u IN ({a}, {b}); COMMIT"
        )
    };
    let mut running = stage.start("chunk.before-commit=sleep(500)");
    stage.until_source("SELECT count(*) > 0 FROM pg_replication_slots WHERE slot_name = 'pcrd_deferrable'").await;
    run(&stage.source, &swap(1, 2)).await;
    running.wait_for("\"gate\"");
    run(&stage.source, &swap(3, 4)).await;
    run(&stage.source, &swap(150, 7)).await;
    run(&stage.source, "BEGIN; SET CONSTRAINTS ALL DEFERRED; UPDATE items SET id = id % 200 + 1; COMMIT").await;
    stage.until_applied().await;
    stage.assert_equal("SELECT id, u, big FROM items", "SELECT id, u, big FROM items").await;
    running.kill();
    run(&stage.source, &swap(11, 12)).await;
    stage.cut_over().assert_switched();
    stage.assert_equal("SELECT id, u, big FROM items", "SELECT id, u, big FROM items").await;
}
