//! One source table into several: each target holds just the rows of its filter, whatever moves between them.

use std::time::Duration;

use tokio_postgres::Client;

use crate::migration::Migration;
use crate::ordeal::{Survived, die_and_go_on, survive};
use crate::stage::Stage;
use crate::support::{TestPair, connect_to, run, sorted_copy, text};
use crate::writers::{self, KeyKind, Writers};

const READY: &str = "\"type\":\"gate\",\"ready\":true";
const ALL: &[&str] = &["transactions", "discarded", "skipped", "applied_over_chunk", "key_changes_across", "rereads"];

/// A target and its filter; none takes every row.
type Part = (&'static str, Option<&'static str>);

/// No row is in two of them and each is in one, NULL included.
const DISJOINT: &[Part] = &[
    ("items", Some("left(big, 1) IN ('0', '1', '2', '3', '4', '5')")),
    ("\"The rest\".items", Some("(left(big, 1) IN ('0', '1', '2', '3', '4', '5')) IS NOT TRUE")),
];
/// A row is in one, two or three of them.
const OVERLAPPING: &[Part] = &[("even", Some("n % 2 = 0")), ("third", Some("n % 3 <> 0")), ("every", None)];

/// The kind's YAML once for each target.
fn yaml(kind: KeyKind, parts: &[Part]) -> String {
    let entry = |(target, filter): &Part| {
        let filter = filter.map_or_else(String::new, |filter| format!("      where: \"{filter}\"\n"));
        let head = format!("- name: items\n      target: '{target}'\n{filter}");
        kind.yaml().replacen("- name: items\n", &head, 1)
    };
    parts.iter().map(entry).collect()
}

/// Every target against its own part of the source; gives the rows of all targets together.
async fn assert_parts(source: &Client, target: &Client, kind: KeyKind, parts: &[Part], detail: &str) {
    for (name, filter) in parts {
        let belongs = filter.map_or_else(String::new, |filter| format!(" WHERE {filter}"));
        let left = sorted_copy(source, &format!("{}{belongs}", kind.source_query())).await;
        let query = kind.target_query().replace("FROM items", &format!("FROM {name}"));
        let right = sorted_copy(target, &query).await;
        assert!(left == right, "{name} is not the rows of the source{belongs}: {detail}");
        assert!(!left.is_empty(), "{name} has no rows: {detail}");
    }
}

struct Lane {
    majors: (u32, u32),
    kind: KeyKind,
    parts: &'static [Part],
    /// More of the source before the plan.
    ddl: &'static str,
    rows: u32,
    writers: u64,
    must: &'static [&'static str],
}

/// A slow copy under random writers, killed once, then on to the cutover under them.
async fn survives(lane: Lane) {
    let Lane { majors, kind, parts, ddl, rows, writers: n_writers, must } = lane;
    let pair = TestPair::start(majors.0, majors.1);
    let source = connect_to(&pair.source, "postgres").await;
    run(&source, &kind.ddl(rows)).await;
    run(&source, ddl).await;
    writers::delay_visibility(&pair).await;
    let more = "  batch_size: 300\n  workers: 3\n  max_rows_per_second: 2000\n  lag_threshold_bytes: 33554432";
    let migration = Migration::new(&pair, &yaml(kind, parts), more);
    migration.plan();
    let writers = Writers::start(&pair, kind, rows, n_writers, true).await;
    let Survived { counters, commits } = survive(&migration, vec![writers], 1_500, async {}).await;
    let detail = format!("{} on {}→{}, {commits} commits, {counters:?}", kind.name, majors.0, majors.1);
    println!("{detail}");
    let target = connect_to(&pair.target, "postgres").await;
    assert_parts(&source, &target, kind, parts, &detail).await;
    for counter in must {
        assert!(counters[*counter] > 0, "{counter} never happened: {detail}");
    }
}

const SCHEMA: &str = "CREATE SCHEMA \"The rest\"";

#[tokio::test(flavor = "multi_thread")]
async fn disjoint_by_a_toasted_column_on_15() {
    let (kind, parts, must) = (writers::COMPOSITE, DISJOINT, ALL);
    survives(Lane { majors: (15, 15), kind, parts, ddl: SCHEMA, rows: 4_000, writers: 3, must }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn overlapping_on_18() {
    let (kind, parts, must) = (writers::INT, OVERLAPPING, ALL);
    survives(Lane { majors: (18, 18), kind, parts, ddl: "", rows: 3_000, writers: 3, must }).await;
}

/// Whole old rows: what belonged to which target before is known, and must have been there.
#[tokio::test(flavor = "multi_thread")]
async fn disjoint_with_whole_rows_from_10_to_18() {
    let must = &["transactions", "discarded", "skipped", "applied_over_chunk", "key_changes_across"];
    let ddl = "CREATE SCHEMA \"The rest\"; ALTER TABLE items REPLICA IDENTITY FULL";
    let (kind, parts) = (writers::INT, DISJOINT);
    survives(Lane { majors: (10, 18), kind, parts, ddl, rows: 4_000, writers: 3, must }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn overlapping_where_only_the_server_orders_the_key() {
    let (kind, parts, must) = (writers::COLLATED, OVERLAPPING, &["transactions"]);
    let ddl = "ALTER TABLE items REPLICA IDENTITY FULL";
    survives(Lane { majors: (15, 15), kind, parts, ddl, rows: 2_000, writers: 3, must }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn overlapping_without_a_key() {
    let (kind, parts, must) = (writers::KEYLESS, OVERLAPPING, &["transactions"]);
    survives(Lane { majors: (15, 18), kind, parts, ddl: "", rows: 500, writers: 1, must }).await;
}

/// Dies at every point of copy and stream, and goes on.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_point() {
    for point in [
        "lanes.after-layout",
        "chunk.after-snapshot",
        "chunk.before-commit",
        "chunk.after-commit",
        "apply.mid-transaction",
        "apply.before-commit",
        "apply.after-commit",
        "cutover.after-fence",
        "cutover.after-permanent",
    ] {
        let pair = TestPair::start(15, 15);
        let source = connect_to(&pair.source, "postgres").await;
        let (kind, parts) = (writers::INT, OVERLAPPING);
        run(&source, &kind.ddl(1_500)).await;
        let more = "  batch_size: 200\n  workers: 2\n  lag_threshold_bytes: 33554432";
        let migration = Migration::new(&pair, &yaml(kind, parts), more);
        migration.plan();
        let writers = Writers::start(&pair, kind, 1_500, 3, false).await;
        // Three targets and one stream: it must not fall behind for good.
        writers.slow_down();
        let times = if point.starts_with("cutover") || point.starts_with("lanes") { "" } else { "3*off->" };
        die_and_go_on(&migration, point, times);
        writers.stop().await;
        let target = connect_to(&pair.target, "postgres").await;
        assert_parts(&source, &target, kind, parts, point).await;
    }
}

/// Names that would break out of texts, a number from a sequence in each target, and a value that only one can hold.
const HOSTILE: &str = "CREATE TABLE \"or'ders\" (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \"st\"\"ate\" text, n bigint, note text); \
    CREATE INDEX \"or'ders_n\" ON \"or'ders\" (n); \
    ALTER TABLE \"or'ders\" ALTER note SET STORAGE EXTERNAL; \
    INSERT INTO \"or'ders\" (\"st\"\"ate\", n, note) SELECT CASE g % 3 WHEN 0 THEN 'open' WHEN 1 THEN 'it''s done' END, \
    CASE g % 3 WHEN 0 THEN g ELSE 5000000000 + g END, repeat('x', 4000) FROM generate_series(1, 90) g";
const HOSTILE_YAML: &str = "    - name: '\"or''ders\"'\n      target: '\"op\"\"en; --\"'\n      where: \"\\\"st\\\"\\\"ate\\\" = 'open'\"\n      columns: { n: { type: integer } }\n    \
    - name: '\"or''ders\"'\n      target: '\"$done\"'\n      where: \"(\\\"st\\\"\\\"ate\\\" = 'open') IS NOT TRUE\"\n      columns: { note: { drop: true } }\naccept:\n  - { code: DELETES_DATA, address: 'public.\"$done\".note', reason: closed }\n";

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_move_between_them() {
    let pair = TestPair::start(15, 15);
    for (name, identity) in [("by_key", ""), ("whole", "ALTER TABLE \"or'ders\" REPLICA IDENTITY FULL")] {
        let stage = Stage::new(&pair, name, &format!("{HOSTILE}; {identity}"), HOSTILE_YAML, "").await;
        let mut running = stage.start("");
        running.wait_for(READY);
        let equal = async || {
            stage.until_applied().await;
            let rows = "FROM \"or'ders\" WHERE \"st\"\"ate\" = 'open'";
            stage
                .assert_equal(
                    &format!("SELECT id, \"st\"\"ate\", n::int, note {rows}"),
                    "SELECT * FROM \"op\"\"en; --\"",
                )
                .await;
            let rows = "FROM \"or'ders\" WHERE \"st\"\"ate\" IS DISTINCT FROM 'open'";
            stage.assert_equal(&format!("SELECT id, \"st\"\"ate\", n {rows}"), "SELECT * FROM \"$done\"").await;
        };
        let t = "\"or'ders\"";
        let state = "\"st\"\"ate\"";
        for sql in [
            format!("UPDATE {t} SET {state} = 'it''s done', n = 6000000000 WHERE id = 3"),
            // Back, with a large value that was not sent.
            format!("UPDATE {t} SET {state} = 'open', n = 1 WHERE id = 3"),
            format!("UPDATE {t} SET {state} = NULL WHERE id = 6"),
            format!("UPDATE {t} SET {state} = 'open', n = 2 WHERE id = 2"),
            format!(
                "BEGIN; UPDATE {t} SET {state} = NULL WHERE id = 9; UPDATE {t} SET {state} = 'open' WHERE id = 9; COMMIT"
            ),
            // Another key, in each and between them.
            format!("UPDATE {t} SET id = DEFAULT WHERE id IN (12, 13)"),
            format!("UPDATE {t} SET id = DEFAULT, {state} = 'shut' WHERE id = 15"),
            format!("UPDATE {t} SET id = DEFAULT, {state} = 'open', n = 16 WHERE id = 16"),
            // A key that a row of one leaves, and a row of the other takes.
            format!(
                "BEGIN; DELETE FROM {t} WHERE id = 18; \
                 INSERT INTO {t} (id, {state}, n) OVERRIDING SYSTEM VALUE VALUES (18, 'shut', 5000000000); COMMIT"
            ),
            format!("INSERT INTO {t} ({state}, n, note) VALUES ('open', 7, 'a'), (NULL, 6000000000, 'b')"),
            format!("DELETE FROM {t} WHERE id IN (20, 21)"),
        ] {
            run(&stage.source, &sql).await;
            equal().await;
        }
        stage.migration.ok(&["verify"]);
        run(&stage.source, &format!("TRUNCATE {t}; INSERT INTO {t} ({state}, n) VALUES ('open', 1), ('shut', 2)"))
            .await;
        equal().await;
        stage.migration.ok(&["cutover", "--yes"]);
        tokio::task::block_in_place(|| running.finish()).assert_switched();
        // Both go on past everything that the source gave out.
        let last = text(&stage.source, &format!("SELECT max(id)::text FROM {t}")).await.parse::<i64>().unwrap();
        for target in ["\"op\"\"en; --\"", "\"$done\""] {
            let next = text(&stage.target, &format!("INSERT INTO {target} (n) VALUES (0) RETURNING id::text")).await;
            assert!(next.parse::<i64>().unwrap() > last, "{target}: {next} is not past {last}");
        }
        let indexes = "SELECT string_agg(tablename || '/' || indexname, ' ' ORDER BY indexname) FROM pg_indexes WHERE schemaname = 'public'";
        assert_eq!(
            text(&stage.target, indexes).await,
            "$done/$done_n $done/$done_pkey op\"en; --/op\"en; --_n op\"en; --/op\"en; --_pkey"
        );
        // Every row has a place, so the source table may go.
        stage.migration.ok(&["cleanup", "--yes", "--drop-source", "--yes-drop", "public.\"or'ders\""]);
        assert_eq!(text(&stage.source, "SELECT count(*)::text FROM pg_class WHERE relname = 'or''ders'").await, "0");
        assert_eq!(text(&stage.source, "SELECT count(*)::text FROM pg_publication").await, "0");
    }
}

const GAP_YAML: &str =
    "    - { name: items, target: low, where: \"n < 10\" }\n    - { name: items, target: high, where: \"n > 20\" }\n";
const ITEMS: &str =
    "CREATE TABLE items (id bigint PRIMARY KEY, n bigint); INSERT INTO items SELECT g, g FROM generate_series(1, 30) g";

/// Rows that no target takes block the plan and the run, until somebody accepts that they stay behind.
#[tokio::test(flavor = "multi_thread")]
async fn rows_without_a_place_are_counted() {
    let pair = TestPair::start(15, 15);
    let source = connect_to(&pair.source, "postgres").await;
    run(&source, ITEMS).await;
    let migration = Migration::new(&pair, GAP_YAML, "");
    let planned = migration.run(&["plan", "--out", "plan.json"]);
    let said = String::from_utf8_lossy(&planned.stderr).into_owned();
    assert_eq!(planned.status.code(), Some(3), "{said}");
    assert!(said.contains("public.items: 11 of 30 rows in none of its targets"), "{said}");
    // None at the time of the plan, one when it is applied.
    run(&source, "DELETE FROM items WHERE n BETWEEN 10 AND 20").await;
    migration.plan();
    run(&source, "INSERT INTO items VALUES (100, NULL)").await;
    let applied = migration.run(&["apply", "plan.json", "--yes"]);
    let said = String::from_utf8_lossy(&applied.stderr).into_owned();
    assert!(!applied.status.success() && said.contains("1 of 20 rows: in none of its targets"), "{said}");
    migration.ok(&["plan", "--out", "plan.json", "--allow", "SPLIT_GAP@public.items=the middle is not wanted"]);
    tokio::task::block_in_place(|| migration.cut_over("")).assert_switched();
    let target = connect_to(&pair.target, "postgres").await;
    assert_eq!(text(&target, "SELECT (SELECT count(*) FROM low) || ' ' || (SELECT count(*) FROM high)").await, "9 10");
    let said = migration.run(&["cleanup", "--yes", "--drop-source", "--yes-drop", "public.items"]);
    let stderr = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(!said.status.success() && stderr.contains("not migrated"), "{stderr}");
}

/// What came without a place while the stream went on: the cutover is given up before writes stop, and behind the fence.
#[tokio::test(flavor = "multi_thread")]
async fn rows_without_a_place_stop_the_cutover() {
    // Before the line is wrapped.
    const LOST: &str = "1 of 19 rows of public.items are in";
    let pair = TestPair::start(15, 15);
    let ddl = format!("{ITEMS}; DELETE FROM items WHERE n BETWEEN 10 AND 20");
    let stage = Stage::new(&pair, "late", &ddl, GAP_YAML, "").await;
    let mut running = stage.start("cutover.asked=sleep(3000)");
    running.wait_for(READY);
    run(&stage.source, "UPDATE items SET n = 15 WHERE id = 5").await;
    let refused = async || {
        let said = tokio::task::block_in_place(|| stage.migration.run(&["cutover", "--yes"]));
        let stderr = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(!said.status.success() && stderr.contains(LOST), "{stderr}");
        // The source is open again.
        run(&stage.source, "UPDATE items SET n = 1 WHERE id = 5").await;
    };
    refused().await;
    let asked = "SELECT count(*) > 0 FROM pcrd.request WHERE taken_at IS NOT NULL AND ended_at IS NULL";
    let asks = stage.migration.start(&["cutover", "--yes"], "");
    stage.until_target(asked).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    run(&stage.source, "UPDATE items SET n = NULL WHERE id = 5").await;
    let said = tokio::task::block_in_place(|| asks.finish());
    assert!(said.code != Some(0) && said.stderr.contains(LOST), "{}", said.stderr);
    run(&stage.source, "UPDATE items SET n = 1 WHERE id = 5").await;
    stage.until_applied().await;
    tokio::task::block_in_place(|| stage.migration.ok(&["cutover", "--yes"]));
    let said = tokio::task::block_in_place(|| running.finish());
    said.assert_switched();
    // The second one was given up behind the fence, the first before it.
    let fenced = said.lines.iter().filter(|line| line.contains("\"fenced\"")).count();
    assert_eq!(fenced, 2, "{}", said.lines.join("\n"));
    stage.assert_equal("SELECT * FROM items WHERE n < 10", "SELECT * FROM low").await;
    stage.assert_equal("SELECT * FROM items WHERE n > 20", "SELECT * FROM high").await;
}

/// A difference in one target is found there and nowhere else; giving up removes both.
#[tokio::test(flavor = "multi_thread")]
async fn verification_and_abort() {
    let pair = TestPair::start(15, 15);
    let ddl = format!("{ITEMS}; DELETE FROM items WHERE n BETWEEN 10 AND 20");
    let stage = Stage::new(&pair, "strays", &ddl, GAP_YAML, "").await;
    stage.migration.ok(&["apply", "plan.json", "--yes", "--through", "verify"]);
    let mut running = stage.start("");
    running.wait_for(READY);
    for (damage, said, mend) in [
        ("INSERT INTO low VALUES (25, 25)", "public.low", "DELETE FROM low WHERE id = 25"),
        ("DELETE FROM high WHERE id = 22", "public.high", "INSERT INTO high VALUES (22, 22)"),
    ] {
        run(&stage.target, damage).await;
        let found = stage.migration.run(&["--json", "verify"]);
        let text = String::from_utf8_lossy(&[found.stdout, found.stderr].concat()).into_owned();
        assert_eq!(found.status.code(), Some(5), "{text}");
        assert!(text.contains(said), "`{said}` is not in {text}");
        run(&stage.target, mend).await;
    }
    stage.migration.ok(&["verify"]);
    running.kill();
    stage.migration.ok(&["abort", "--yes"]);
    assert_eq!(text(&stage.target, "SELECT count(*)::text FROM pg_tables WHERE schemaname = 'public'").await, "0");
    assert_eq!(text(&stage.source, "SELECT count(*)::text FROM pg_publication").await, "0");
    assert_eq!(text(&stage.source, "SELECT count(*)::text FROM pg_replication_slots").await, "0");
}

const SQL: &str = "-- pcrd: renamed_from orders\n-- pcrd: drops note\n-- pcrd: accept DELETES_DATA reason=\"in notes\"\n\
    CREATE TABLE public.heads (\n id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,\n total numeric(10,2) NOT NULL\n);\n\n\
    -- pcrd: renamed_from orders\n-- pcrd: drops total\n-- pcrd: where note IS NOT NULL\n-- pcrd: accept DELETES_DATA reason=\"in heads\"\n\
    CREATE TABLE public.notes (\n order_id bigint PRIMARY KEY REFERENCES public.heads (id),\n -- pcrd: renamed_from id\n\
    note text NOT NULL\n);\n";

/// Columns may part too, in the desired SQL: the rows of the one refer to those of the other.
#[tokio::test(flavor = "multi_thread")]
async fn columns_that_part_by_directives() {
    let pair = TestPair::start(15, 18);
    let (source, target) = (connect_to(&pair.source, "postgres").await, connect_to(&pair.target, "postgres").await);
    run(
        &source,
        "CREATE TABLE orders (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, total numeric(10,2) NOT NULL, note text); \
         INSERT INTO orders (total, note) SELECT g / 3.0, CASE WHEN g % 4 = 0 THEN 'note ' || g END FROM generate_series(1, 100) g",
    )
    .await;
    let desired = SQL.replace(
        " order_id bigint PRIMARY KEY REFERENCES public.heads (id),\n -- pcrd: renamed_from id\n",
        " -- pcrd: renamed_from id\n order_id bigint PRIMARY KEY REFERENCES public.heads (id),\n",
    );
    let migration = Migration::of_schema(&pair, "postgres", &desired, "");
    migration.plan();
    migration.ok(&["audit", "plan.json"]);
    let mut running = migration.start(&["--json", "apply", "plan.json", "--yes"], "");
    running.wait_for(READY);
    run(&source, "UPDATE orders SET note = 'late' WHERE id = 1; UPDATE orders SET note = NULL WHERE id = 4").await;
    run(&source, "INSERT INTO orders (total, note) VALUES (1, 'new'); DELETE FROM orders WHERE id = 8").await;
    tokio::task::block_in_place(|| migration.ok(&["cutover", "--yes"]));
    tokio::task::block_in_place(|| running.finish()).assert_switched();
    for (left, right) in [
        ("SELECT id, total FROM orders", "SELECT id, total FROM heads"),
        ("SELECT id, note FROM orders WHERE note IS NOT NULL", "SELECT order_id, note FROM notes"),
    ] {
        let (left, right) = (sorted_copy(&source, left).await, sorted_copy(&target, right).await);
        assert!(left == right && !left.is_empty(), "source and target differ");
    }
    let again = migration.ok(&["plan"]);
    assert!(again.contains("No changes"), "{again}");
}
