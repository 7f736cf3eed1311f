//! `where:`: the same rows in copy, stream and verification, whatever moves into the filter or out of it.

use crate::migration::Migration;
use crate::ordeal::{Survived, die_and_go_on, survive};
use crate::stage::Stage;
use crate::support::{TestPair, connect_to, run, sorted_copy, text};
use crate::writers::{self, KeyKind, Writers};

const READY: &str = "\"type\":\"gate\",\"ready\":true";

/// The kind's YAML with a filter.
fn yaml(kind: KeyKind, filter: &str) -> String {
    kind.yaml().replacen("- name: items\n", &format!("- name: items\n      where: \"{filter}\"\n"), 1)
}

struct Lane {
    majors: (u32, u32),
    kind: KeyKind,
    filter: &'static str,
    /// More of the source before the plan.
    ddl: &'static str,
    /// Rows at the start.
    rows: u32,
    writers: u64,
    /// What a run must have met to count.
    must: &'static [&'static str],
}

/// A slow copy under random writers, killed once, then on to the cutover under them.
async fn survives(lane: Lane) {
    let Lane { majors, kind, filter, ddl, rows, writers: n_writers, must } = lane;
    let pair = TestPair::start(majors.0, majors.1);
    let source = connect_to(&pair.source, "postgres").await;
    run(&source, &kind.ddl(rows)).await;
    run(&source, ddl).await;
    writers::delay_visibility(&pair).await;
    let more = "  batch_size: 300\n  workers: 2\n  max_rows_per_second: 1000\n  lag_threshold_bytes: 33554432";
    let migration = Migration::new(&pair, &yaml(kind, filter), more);
    migration.plan();
    let writers = Writers::start(&pair, kind, rows, n_writers, true).await;
    let Survived { counters, commits } = survive(&migration, vec![writers], 1_500, async {}).await;
    let target = connect_to(&pair.target, "postgres").await;
    let left = sorted_copy(&source, &format!("{} WHERE {filter}", kind.source_query())).await;
    let outside = text(&source, &format!("SELECT count(*) FROM items WHERE ({filter}) IS NOT TRUE")).await;
    let detail = format!(
        "{} on {}→{} where {filter}: {} bytes compared, {outside} rows outside, {commits} commits, {counters:?}",
        kind.name,
        majors.0,
        majors.1,
        left.len()
    );
    println!("{detail}");
    assert!(left == sorted_copy(&target, &kind.target_query()).await, "source and target differ: {detail}");
    assert!(!left.is_empty() && outside != "0", "nothing was filtered: {detail}");
    for counter in must {
        assert!(counters[*counter] > 0, "{counter} never happened: {detail}");
    }
}

const ALL: &[&str] = &["transactions", "discarded", "skipped", "applied_over_chunk", "key_changes_across", "rereads"];
const PARITY: &str = "n % 2 = 0";
/// NULL where `big` is NULL and `n` is odd; and `big` is TOASTed, so the stream often leaves it out.
const TOASTED: &str = "n % 2 = 0 OR left(big, 1) IN ('0', '1', '2', '3', '4', '5')";

#[tokio::test(flavor = "multi_thread")]
async fn by_a_column_on_15() {
    survives(Lane {
        majors: (15, 15),
        kind: writers::INT,
        filter: PARITY,
        ddl: "",
        rows: 6_000,
        writers: 4,
        must: ALL,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_a_toasted_column_on_15() {
    survives(Lane {
        majors: (15, 15),
        kind: writers::COMPOSITE,
        filter: TOASTED,
        ddl: "",
        rows: 4_000,
        writers: 3,
        must: ALL,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_a_toasted_column_on_18() {
    survives(Lane {
        majors: (18, 18),
        kind: writers::INT,
        filter: TOASTED,
        ddl: "",
        rows: 4_000,
        writers: 3,
        must: ALL,
    })
    .await;
}

/// Key changes move rows in and out.
#[tokio::test(flavor = "multi_thread")]
async fn by_the_key_on_18() {
    survives(Lane {
        majors: (18, 18),
        kind: writers::INT,
        filter: "id % 3 <> 0",
        ddl: "",
        rows: 6_000,
        writers: 4,
        must: ALL,
    })
    .await;
}

/// Whole old rows: what belonged before is known, and must have been there.
#[tokio::test(flavor = "multi_thread")]
async fn with_whole_rows_from_the_stream_from_10_to_18() {
    survives(Lane {
        majors: (10, 18),
        kind: writers::INT,
        filter: TOASTED,
        ddl: "ALTER TABLE items REPLICA IDENTITY FULL",
        rows: 6_000,
        writers: 4,
        must: &["transactions", "discarded", "skipped", "applied_over_chunk", "key_changes_across"],
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_table_whose_key_only_the_server_orders() {
    survives(Lane {
        majors: (15, 15),
        kind: writers::COLLATED,
        filter: TOASTED,
        ddl: "ALTER TABLE items REPLICA IDENTITY FULL",
        rows: 3_000,
        writers: 3,
        must: &["transactions"],
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_table_without_a_key() {
    survives(Lane {
        majors: (15, 18),
        kind: writers::KEYLESS,
        filter: PARITY,
        ddl: "",
        rows: 600,
        writers: 1,
        must: &["transactions"],
    })
    .await;
}

/// Dies at every point of copy and stream, and goes on.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_point() {
    for point in [
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
        let kind = writers::INT;
        run(&source, &kind.ddl(2_000)).await;
        let more = "  batch_size: 200\n  workers: 2\n  lag_threshold_bytes: 33554432";
        let migration = Migration::new(&pair, &yaml(kind, PARITY), more);
        migration.plan();
        let writers = Writers::start(&pair, kind, 2_000, 3, false).await;
        writers.slow_down();
        die_and_go_on(&migration, point, if point.starts_with("cutover") { "" } else { "2*off->" });
        writers.stop().await;
        let target = connect_to(&pair.target, "postgres").await;
        let left = sorted_copy(&source, &format!("{} WHERE {PARITY}", kind.source_query())).await;
        assert!(!left.is_empty() && left == sorted_copy(&target, &kind.target_query()).await, "{point}: they differ");
    }
}

const ITEMS: &str = "CREATE TABLE items (id bigint PRIMARY KEY, n bigint, code text, big text); \
    ALTER TABLE items ALTER big SET STORAGE EXTERNAL; \
    INSERT INTO items SELECT g, CASE WHEN g % 2 = 0 THEN g ELSE 5000000000 + g END, 'c' || g, repeat('x', 4000) \
    FROM generate_series(1, 200) g";
/// Rows outside have numbers that the target's type cannot hold, and codes that it would refuse.
const SMALL: &str =
    "    - name: items\n      where: \"n < 1000 AND code <> ''\"\n      columns: { n: { type: integer } }\n";
const ROW: &str = "SELECT id, n::integer, code, big FROM items WHERE n < 1000 AND code <> ''";

/// One by one, on every kind of replica identity: what the stream says, and what becomes of it.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_come_and_go() {
    let pair = TestPair::start(15, 15);
    for (name, identity) in [("by_key", ""), ("whole", "ALTER TABLE items REPLICA IDENTITY FULL")] {
        let stage = Stage::new(&pair, name, &format!("{ITEMS}; {identity}"), SMALL, "").await;
        let mut running = stage.start("");
        running.wait_for(READY);
        for sql in [
            // Outside and staying there, with values that no cast takes.
            "INSERT INTO items VALUES (1001, 6000000000, 'far', NULL); UPDATE items SET n = n + 1 WHERE id IN (1, 1001); \
             UPDATE items SET id = 1002 WHERE id = 1001; DELETE FROM items WHERE id = 1002",
            // In, and in again with a value that was not sent.
            "UPDATE items SET n = 1 WHERE id = 3",
            "UPDATE items SET code = code || '!' WHERE id IN (2, 3)",
            // Out: by the number, by NULL, by the other column; and deleted outside.
            "UPDATE items SET n = 7000000000 WHERE id = 4; DELETE FROM items WHERE id = 4",
            "UPDATE items SET n = NULL WHERE id = 6",
            "UPDATE items SET code = '' WHERE id = 8",
            "UPDATE items SET n = 8 WHERE id = 6; UPDATE items SET code = 'back' WHERE id = 8",
            // Out and in within one transaction, with and without another key.
            "BEGIN; UPDATE items SET n = NULL WHERE id = 10; UPDATE items SET n = 10 WHERE id = 10; COMMIT",
            "BEGIN; UPDATE items SET n = NULL, id = 2010 WHERE id = 12; UPDATE items SET n = 12, id = 12 WHERE id = 2010; COMMIT",
            // Another key: in to in, in to out, out to in, out to out.
            "UPDATE items SET id = 3014 WHERE id = 14",
            "UPDATE items SET id = 3016, n = NULL WHERE id = 16",
            "UPDATE items SET id = 3017, n = 17 WHERE id = 17",
            "UPDATE items SET id = 3019 WHERE id = 19",
            // A key that an outside row leaves, and an inside row takes.
            "BEGIN; DELETE FROM items WHERE id = 21; UPDATE items SET id = 21 WHERE id = 22; COMMIT",
            "INSERT INTO items VALUES (4001, 1, 'new', repeat('y', 5000)), (4002, NULL, 'no', repeat('z', 5000))",
            "DELETE FROM items WHERE id IN (24, 25)",
        ] {
            run(&stage.source, sql).await;
            stage.until_applied().await;
            stage.assert_equal(ROW, "SELECT id, n, code, big FROM items").await;
        }
        stage.migration.ok(&["verify"]);
        run(
            &stage.source,
            "TRUNCATE items; INSERT INTO items VALUES (5001, 1, 'a', 'b'), (5002, 5000000000, 'a', 'b')",
        )
        .await;
        stage.until_applied().await;
        stage.assert_equal(ROW, "SELECT id, n, code, big FROM items").await;
        assert_eq!(text(&stage.target, "SELECT count(*) FROM items").await, "1");
        stage.migration.ok(&["cutover", "--yes"]);
        tokio::task::block_in_place(|| running.finish()).assert_switched();
        stage.end().await;
    }
}

/// Each row that the filter leaves out counts when it is on the target, and each that it lets in when it is not.
#[tokio::test(flavor = "multi_thread")]
async fn verification_finds_strays() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "strays", ITEMS, SMALL, "").await;
    stage.migration.ok(&["apply", "plan.json", "--yes", "--through", "verify"]);
    let mut running = stage.start("");
    running.wait_for(READY);
    for (damage, said, mend) in [
        (
            "INSERT INTO items VALUES (1, 1, 'c1', 'x')",
            "row (1) is on the target only",
            "DELETE FROM items WHERE id = 1",
        ),
        (
            "DELETE FROM items WHERE id = 2",
            "row (2) is missing on the target",
            "INSERT INTO items VALUES (2, 2, 'c2', repeat('x', 4000))",
        ),
        ("UPDATE items SET n = 5 WHERE id = 6", "row (6) differs in n", "UPDATE items SET n = 6 WHERE id = 6"),
    ] {
        run(&stage.target, damage).await;
        let found = stage.migration.run(&["verify"]);
        let text = String::from_utf8_lossy(&[found.stdout, found.stderr].concat()).into_owned();
        assert_eq!(found.status.code(), Some(5), "{text}");
        assert!(text.contains(said), "`{said}` is not in {text}");
        run(&stage.target, mend).await;
    }
    // A stray also keeps the cutover from happening: a change of its key makes it be compared again.
    run(&stage.target, "INSERT INTO items VALUES (5, 5, 'c5', 'x')").await;
    let said = stage.migration.run(&["cutover", "--yes"]);
    assert!(!said.status.success());
    running.kill();
    run(&stage.target, "DELETE FROM items WHERE id = 5").await;
    stage.cut_over().assert_switched();
    // Rows outside of the filter are on the source only.
    let said = stage.migration.run(&["cleanup", "--yes", "--drop-source", "--yes-drop", "public.items"]);
    let stderr = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(!said.status.success() && stderr.contains("not migrated"), "{stderr}");
    assert_eq!(text(&stage.source, "SELECT count(*) FROM items").await, "200");
}

/// What only a server knows of a filter is told by preflight, before anything is written.
#[tokio::test(flavor = "multi_thread")]
async fn filters_that_the_server_refuses() {
    let pair = TestPair::start(15, 15);
    let source = connect_to(&pair.source, "postgres").await;
    run(&source, ITEMS).await;
    for cluster in [&pair.source, &pair.target] {
        let client = connect_to(cluster, "postgres").await;
        run(&client, "CREATE FUNCTION public.moody(bigint) RETURNS boolean LANGUAGE sql AS 'SELECT random() < 0.5'")
            .await;
    }
    for (filter, why) in [
        ("public.moody(n)", "must be marked IMMUTABLE"),
        ("public.nowhere(n)", "SQLSTATE 42883"),
        ("code", "must be type boolean"),
        ("n::timestamptz > '2020-01-01'", "cannot cast type"),
        ("'2020-01-01'::timestamptz + n * interval '1 s' > '2020-01-01'::date", "must be marked IMMUTABLE"),
    ] {
        let yaml = format!("    - {{ name: items, where: \"{filter}\" }}\n");
        let migration = Migration::new(&pair, &yaml, "");
        let planned = migration.run(&["plan", "--out", "plan.json", "--skip-data-checks"]);
        // Long lines are wrapped.
        let said = String::from_utf8_lossy(&planned.stderr).replace('│', "");
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(why), "{filter}: {said}");
        if !planned.status.success() {
            assert!(said.contains("the plan is blocked"), "{filter}: {said}");
            continue;
        }
        assert!(said.contains("apply will refuse: [filter]"), "{filter}: {said}");
        let applied = migration.run(&["apply", "plan.json", "--yes"]);
        assert_eq!(applied.status.code(), Some(3), "{filter}: {}", String::from_utf8_lossy(&applied.stderr));
    }
}

/// The copy asks the source, the stream the target: where the two order values differently, a row could be kept by one and
/// left out by the other.
#[tokio::test(flavor = "multi_thread")]
async fn filters_that_the_two_ends_would_answer_differently() {
    let pair = TestPair::start(12, 18);
    let (source, target) = (connect_to(&pair.source, "postgres").await, connect_to(&pair.target, "postgres").await);
    run(
        &source,
        "CREATE TYPE size AS ENUM ('small', 'large'); CREATE COLLATION loose (provider = icu, locale = 'und', deterministic = false); \
         CREATE TABLE things (id integer PRIMARY KEY, n integer, c text, s text COLLATE \"en-x-icu\", l text COLLATE loose, size size)",
    )
    .await;
    run(&target, "CREATE TYPE size AS ENUM ('large', 'huge', 'small'); CREATE COLLATION loose (provider = icu, locale = 'und', deterministic = false)").await;
    for (key, refused) in [
        ("where: \"s < 'b'\"", true),
        ("where: \"n > 0 AND s BETWEEN 'a' AND 'b'\"", true),
        ("where: \"lower(s) = 'b'\"", true),
        ("where: \"s ~* 'b'\"", true),
        ("where: \"greatest(s, 'b') = 'b'\"", true),
        ("where: \"(n, s) < (1, 'b')\"", true),
        ("where: \"l = 'b'\"", true),
        ("where: \"size < 'large'\"", true),
        ("where: \"greatest(size, 'small') = size\"", true),
        ("columns: { s: { using: \"upper(s)\" } }", true),
        ("where: \"s = 'b' AND n < 5\"", false),
        ("where: \"s LIKE 'b%' OR s IN ('c', 'd') OR length(s) > 3\"", false),
        ("where: \"s COLLATE \\\"C\\\" < 'b'\"", false),
        ("where: \"c < 'b' AND lower(c) = c\"", false),
        ("where: \"size = 'large'\"", false),
        ("columns: { s: { using: \"left(s, 1)\" } }", false),
    ] {
        let yaml = format!("    - {{ name: things, {key} }}\n");
        let migration = Migration::new(&pair, &yaml, "");
        let planned = migration.run(&["plan", "--out", "plan.json", "--skip-data-checks"]);
        let said = String::from_utf8_lossy(&planned.stderr);
        assert!(planned.status.success(), "{key}: {said}");
        assert_eq!(said.contains("[order_differs]"), refused, "{key}: {said}");
        if refused {
            let applied = migration.run(&["apply", "plan.json", "--yes"]);
            assert_eq!(applied.status.code(), Some(3), "{key}: {}", String::from_utf8_lossy(&applied.stderr));
        }
    }
}

/// The same said in the desired SQL.
#[tokio::test(flavor = "multi_thread")]
async fn by_a_directive() {
    let pair = TestPair::start(15, 15);
    let (source, target) = (connect_to(&pair.source, "postgres").await, connect_to(&pair.target, "postgres").await);
    run(&source, ITEMS).await;
    let desired = "-- pcrd: where n < 1000 AND code <> ''\n\
        CREATE TABLE public.items (\n id bigint PRIMARY KEY,\n n integer,\n code text,\n big text\n);\n";
    let migration = Migration::of_schema(&pair, "postgres", desired, "");
    migration.plan();
    let mut running = migration.start(&["--json", "apply", "plan.json", "--yes"], "");
    running.wait_for(READY);
    run(&source, "UPDATE items SET n = 1 WHERE id = 3; UPDATE items SET n = 5000000000 WHERE id = 4").await;
    tokio::task::block_in_place(|| migration.ok(&["cutover", "--yes"]));
    tokio::task::block_in_place(|| running.finish()).assert_switched();
    let (left, right) =
        (sorted_copy(&source, ROW).await, sorted_copy(&target, "SELECT id, n, code, big FROM items").await);
    assert!(left == right && !left.is_empty(), "source and target differ");
    assert_eq!(text(&target, "SELECT count(*) FROM items").await, "100");
}
