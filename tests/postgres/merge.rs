//! Several source tables into one: their keys are the same, their rows never are.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::migration::{Migration, Running};
use crate::ordeal::{Survived, die_and_go_on, survive};
use crate::support::{TestPair, connect_to, run, sorted_copy, text};
use crate::writers::{self, KeyKind, Writers};

pub const READY: &str = "\"type\":\"gate\",\"ready\":true";

/// The schema of a source, and what its rows are known by.
type Part = (&'static str, &'static str);

const TWO: &[Part] = &[("public", "it's a"), ("other", "b")];
const THREE: &[Part] = &[("other", "b"), ("public", ""), ("\"C c\"", "B")];

/// Every source with the same keys, but other rows.
async fn create(source: &Client, kind: KeyKind, parts: &[Part], rows: u32) {
    for (number, (schema, _)) in parts.iter().enumerate() {
        run(source, &format!("CREATE SCHEMA IF NOT EXISTS {schema}; SET search_path = {schema}")).await;
        run(source, &kind.ddl(rows)).await;
        run(source, &format!("UPDATE items SET n = {number}, legacy = NULL WHERE price > 40; ANALYZE items")).await;
    }
    run(source, "RESET search_path").await;
}

fn columns(kind: KeyKind) -> &'static str {
    match kind.name {
        "int" => "id bigint",
        "composite" => "a integer, b uuid",
        "no key" => "id bigint",
        _ => kind.columns,
    }
}

/// One table for all parts, with a unique index beside the key.
fn desired(kind: KeyKind, parts: &[Part], more: &str) -> String {
    let from = |(schema, value): &Part| {
        format!("-- pcrd: merged_from {schema}.items with origin = '{}'\n", value.replace('\'', "''"))
    };
    let from: String = parts.iter().map(from).collect();
    let key = if kind.has_key { format!(",\n PRIMARY KEY ({}, origin)", kind.names) } else { String::new() };
    format!(
        "{from}-- pcrd: drops legacy\n{more}CREATE TABLE public.items (\n origin text NOT NULL,\n {},\n \
         -- pcrd: renamed_from price\n exact_price numeric(14,4),\n n integer NOT NULL,\n big text,\n \
         at timestamptz DEFAULT now(),\n added_at timestamptz DEFAULT now(){key}\n);\nCREATE INDEX items_n ON public.items (n);\n",
        columns(kind)
    )
}

/// Every source against its own rows of the target, which has no others.
async fn assert_merged(source: &Client, target: &Client, kind: KeyKind, parts: &[Part], detail: &str) {
    for (schema, value) in parts {
        let left =
            sorted_copy(source, &kind.source_query().replace("FROM items", &format!("FROM {schema}.items"))).await;
        let origin = format!("FROM items WHERE origin = '{}'", value.replace('\'', "''"));
        let right = sorted_copy(target, &kind.target_query().replace("FROM items", &origin)).await;
        assert!(left == right, "{schema}.items is not the rows of {value:?}: {detail}");
        assert!(!left.is_empty(), "{schema}.items has no rows: {detail}");
    }
    let values: Vec<String> = parts.iter().map(|(_, value)| format!("'{}'", value.replace('\'', "''"))).collect();
    let strays = format!("SELECT count(*)::text FROM items WHERE origin NOT IN ({})", values.join(", "));
    assert_eq!(text(target, &strays).await, "0", "{detail}");
    let frozen = "SELECT count(DISTINCT added_at)::text FROM items";
    assert_eq!(text(target, frozen).await, "1", "one value for the rows of all sources: {detail}");
}

struct Lane {
    majors: (u32, u32),
    kind: KeyKind,
    parts: &'static [Part],
    /// More of the source before the plan.
    ddl: &'static str,
    rows: u32,
    must: &'static [&'static str],
}

/// A slow copy under random writers of every source, killed once; one source is emptied on the way. Then on to the
/// cutover under them.
async fn survives(lane: Lane) {
    let Lane { majors, kind, parts, ddl, rows, must } = lane;
    let pair = TestPair::start(majors.0, majors.1);
    let source = connect_to(&pair.source, "postgres").await;
    create(&source, kind, parts, rows).await;
    run(&source, ddl).await;
    writers::delay_visibility(&pair).await;
    let more = "  batch_size: 300\n  workers: 3\n  max_rows_per_second: 2000\n  lag_threshold_bytes: 33554432";
    let migration = Migration::of_schema(&pair, "postgres", &desired(kind, parts, ""), more);
    migration.plan();
    let mut all = Vec::new();
    for (schema, _) in parts {
        all.push(Writers::start_in(&pair, schema, kind, rows, 2, true).await);
    }
    let emptied = async {
        // Not in the stream of a source this old.
        if majors.0 >= 11 {
            run(&source, "TRUNCATE other.items").await;
        }
    };
    let Survived { counters, commits } = survive(&migration, all, 1_200, emptied).await;
    let detail = format!("{} on {}→{}, {commits} commits, {counters:?}", kind.name, majors.0, majors.1);
    println!("{detail}");
    let target = connect_to(&pair.target, "postgres").await;
    assert_merged(&source, &target, kind, parts, &detail).await;
    for counter in must {
        assert!(counters[*counter] > 0, "{counter} never happened: {detail}");
    }
}

const ALL: &[&str] = &["transactions", "discarded", "skipped", "applied_over_chunk", "key_changes_across"];

const AND_EMPTIED: &[&str] =
    &["transactions", "discarded", "skipped", "applied_over_chunk", "key_changes_across", "truncates"];

#[tokio::test(flavor = "multi_thread")]
async fn two_with_the_same_keys_on_15() {
    let (kind, parts) = (writers::INT, TWO);
    survives(Lane { majors: (15, 15), kind, parts, ddl: "", rows: 3_000, must: AND_EMPTIED }).await;
}

/// Keys of two columns, and three sources on servers of another version.
#[tokio::test(flavor = "multi_thread")]
async fn three_with_composite_keys_from_11_to_18() {
    let (kind, parts) = (writers::COMPOSITE, THREE);
    survives(Lane { majors: (11, 18), kind, parts, ddl: "", rows: 2_000, must: ALL }).await;
}

/// Whole old rows of one source, keys of the others; no TRUNCATE in the stream.
#[tokio::test(flavor = "multi_thread")]
async fn whole_rows_of_one_source_on_10() {
    let (kind, parts) = (writers::INT, TWO);
    let ddl = "ALTER TABLE other.items REPLICA IDENTITY FULL";
    survives(Lane { majors: (10, 15), kind, parts, ddl, rows: 2_000, must: ALL }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_only_the_server_orders_the_key() {
    let (kind, parts) = (writers::COLLATED, THREE);
    survives(Lane { majors: (15, 15), kind, parts, ddl: "", rows: 1_000, must: &["transactions"] }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key() {
    let (kind, parts) = (writers::KEYLESS, TWO);
    survives(Lane { majors: (15, 18), kind, parts, ddl: "", rows: 300, must: &["transactions"] }).await;
}

/// Dies at every point of copy, stream and cutover, and goes on.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_point() {
    for (kind, point) in [
        (writers::INT, "lanes.after-layout"),
        (writers::INT, "chunk.after-snapshot"),
        (writers::INT, "chunk.before-commit"),
        (writers::INT, "chunk.after-commit"),
        (writers::INT, "apply.mid-transaction"),
        (writers::INT, "apply.before-commit"),
        (writers::INT, "apply.after-commit"),
        (writers::INT, "cutover.after-fence"),
        (writers::INT, "cutover.after-permanent"),
        (writers::COLLATED, "setup.after-whole-table"),
        (writers::COLLATED, "chunk.before-commit"),
    ] {
        let pair = TestPair::start(15, 15);
        let source = connect_to(&pair.source, "postgres").await;
        let parts = TWO;
        create(&source, kind, parts, 1_200).await;
        let more = "  batch_size: 200\n  workers: 2\n  lag_threshold_bytes: 33554432";
        let migration = Migration::of_schema(&pair, "postgres", &desired(kind, parts, ""), more);
        migration.plan();
        let mut all = Vec::new();
        for (schema, _) in parts {
            let writers = Writers::start_in(&pair, schema, kind, 1_200, 2, false).await;
            writers.slow_down();
            all.push(writers);
        }
        let once = point.starts_with("cutover") || point.starts_with("lanes");
        let times = match (kind.name, once) {
            ("int", false) => "3*off->",
            // The first source is copied, the second is not.
            ("collated text", _) if point.starts_with("chunk") => "1*off->",
            _ => "",
        };
        die_and_go_on(&migration, point, times);
        for writers in all {
            writers.stop().await;
        }
        let target = connect_to(&pair.target, "postgres").await;
        assert_merged(&source, &target, kind, parts, point).await;
    }
}

const NUMBERED: &str = "CREATE TABLE \"eas't\" (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text); \
    CREATE TABLE west (id serial PRIMARY KEY, note text, weight real); \
    ALTER TABLE \"eas't\" ALTER note SET STORAGE EXTERNAL; ALTER TABLE west ALTER note SET STORAGE EXTERNAL; \
    INSERT INTO \"eas't\" (note) SELECT repeat('e', 4000) FROM generate_series(1, 20); \
    INSERT INTO west (note, weight) SELECT repeat('w', 4000), g FROM generate_series(1, 900) g; \
    DELETE FROM west WHERE id > 10";
const NUMBERED_SQL: &str = "-- pcrd: merged_from \"eas't\" with side = 1\n-- pcrd: merged_from west with side = -2\n\
    CREATE TABLE public.\"wor\"\"ld\" (\n id int GENERATED ALWAYS AS IDENTITY,\n note text,\n weight real,\n \
    side smallint,\n PRIMARY KEY (side, id)\n);\n";

pub async fn ready(pair: &TestPair, desired: &str) -> (Migration, Running) {
    let migration = Migration::of_schema(pair, "postgres", desired, "  lag_threshold_bytes: 33554432");
    migration.plan();
    migration.ok(&["audit", "plan.json"]);
    let mut running = migration.start(&["--json", "apply", "plan.json", "--yes"], "");
    running.wait_for(READY);
    (migration, running)
}

pub async fn until_applied(source: &Client, target: &Client) {
    let lsn = text(source, "SELECT pg_current_wal_insert_lsn()::text").await;
    run(source, "SELECT pg_logical_emit_message(true, 'noise', '')").await;
    let began = Instant::now();
    while text(target, &format!("SELECT bool_or(applied_lsn >= '{lsn}') FROM pcrd.progress")).await != "t" {
        assert!(began.elapsed() < Duration::from_secs(60), "the stream stands still");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Each change reaches the rows of its own source and no other's, whatever their keys; afterwards one sequence goes on past
/// those of both.
#[tokio::test(flavor = "multi_thread")]
async fn every_change_stays_with_its_own_rows() {
    let pair = TestPair::start(15, 15);
    let (source, target) = (connect_to(&pair.source, "postgres").await, connect_to(&pair.target, "postgres").await);
    run(&source, NUMBERED).await;
    let (migration, running) = ready(&pair, NUMBERED_SQL).await;
    let east = "\"eas't\"";
    for sql in [
        "UPDATE west SET note = 'short' WHERE id = 3".to_owned(),
        format!("DELETE FROM {east} WHERE id = 3"),
        "UPDATE west SET weight = 7 WHERE id = 4".to_owned(),
        format!("UPDATE {east} SET note = NULL WHERE id = 4"),
        // Another key, with a large value that was not sent; onto a key that only the other source has.
        "UPDATE west SET id = 15 WHERE id = 5".to_owned(),
        format!("UPDATE {east} SET id = DEFAULT WHERE id IN (5, 6)"),
        format!("BEGIN; DELETE FROM west WHERE id = 7; UPDATE {east} SET note = 'x' WHERE id = 7; COMMIT"),
        format!("INSERT INTO {east} (note) VALUES ('new'); INSERT INTO west (id, note) VALUES (3000, 'far')"),
        format!("TRUNCATE {east}; INSERT INTO {east} (note) VALUES ('after')"),
        "BEGIN; TRUNCATE west; INSERT INTO west (note) VALUES ('first'), ('second'); COMMIT".to_owned(),
        format!(
            "TRUNCATE west, {east}; INSERT INTO west (id) VALUES (1), (2); INSERT INTO {east} (note) VALUES ('last')"
        ),
    ] {
        run(&source, &sql).await;
        until_applied(&source, &target).await;
        for (query, side) in
            [(format!("SELECT id, note, NULL::real FROM {east}"), 1), ("SELECT * FROM west".to_owned(), -2)]
        {
            let left = sorted_copy(&source, &query).await;
            let right =
                sorted_copy(&target, &format!("SELECT id, note, weight FROM \"wor\"\"ld\" WHERE side = {side}")).await;
            assert!(left == right && !left.is_empty(), "side {side} after {sql}");
        }
    }
    tokio::task::block_in_place(|| migration.ok(&["verify"]));
    tokio::task::block_in_place(|| migration.ok(&["cutover", "--yes"]));
    tokio::task::block_in_place(|| running.finish()).assert_switched();
    let next = text(&target, "INSERT INTO \"wor\"\"ld\" (side) VALUES (1) RETURNING id::text").await;
    assert!(next.parse::<i64>().unwrap() > 902, "{next} is not past what west has given out");
    let again = migration.ok(&["plan"]);
    assert!(again.contains("No changes"), "{again}");
    migration.ok(&["cleanup", "--yes", "--drop-source", "--yes-drop", "public.west", "--yes-drop", "public.\"eas't\""]);
}

/// A difference is found in its part and named by it; a row that is nobody's too. Giving up removes the table once.
#[tokio::test(flavor = "multi_thread")]
async fn verification_and_abort() {
    let pair = TestPair::start(15, 15);
    let (source, target) = (connect_to(&pair.source, "postgres").await, connect_to(&pair.target, "postgres").await);
    for (kind, parts) in [(writers::INT, TWO), (writers::COLLATED, TWO)] {
        create(&source, kind, parts, 40).await;
        let (migration, running) = ready(&pair, &desired(kind, parts, "")).await;
        let third = kind.key(3);
        let copy = "INSERT INTO items SELECT";
        let rest = format!("exact_price, n, big, at, added_at FROM items WHERE id = {third}");
        for (damage, found, sound) in [
            (format!("UPDATE items SET n = n + 5 WHERE id = {third} AND origin = 'b'"), "other.items", "public.items"),
            (format!("DELETE FROM items WHERE id = {third} AND origin = 'it''s a'"), "public.items", "other.items"),
            (format!("{copy} 'b', {}, {rest} AND origin = 'b'", kind.key(300)), "other.items", "public.items"),
            (format!("{copy} 'nobody', id, {rest} AND origin = 'b'"), "public.items", "other.items"),
        ] {
            run(&target, "DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT * FROM items").await;
            run(&target, &damage).await;
            let verified = tokio::task::block_in_place(|| migration.run(&["--json", "verify"]));
            let said = String::from_utf8_lossy(&[verified.stdout, verified.stderr].concat()).into_owned();
            assert_eq!(verified.status.code(), Some(5), "{damage}: {said}");
            let of = |table: &str| {
                let report = said.lines().find(|line| line.contains("\"tables\""));
                let report = report.and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok());
                let report = report.unwrap_or_else(|| serde_json::from_str(&said).unwrap());
                let tables = report["tables"].as_array().unwrap().clone();
                let table = tables.iter().find(|one| one["table"] == table).unwrap().clone();
                table["differences"].as_array().unwrap().len()
            };
            assert_eq!((of(found), of(sound)), (1, 0), "{damage}: {said}");
            run(&target, "TRUNCATE items; INSERT INTO items SELECT * FROM kept; DROP TABLE kept").await;
        }
        tokio::task::block_in_place(|| migration.ok(&["verify"]));
        tokio::task::block_in_place(|| running.kill());
        let aborted = migration.run(&["abort", "--yes"]);
        let removed = String::from_utf8_lossy(&[aborted.stdout, aborted.stderr].concat()).into_owned();
        assert_eq!(removed.matches("create_table:public.items").count(), 1, "{removed}");
        assert_eq!(text(&target, "SELECT count(*)::text FROM pg_tables WHERE schemaname = 'public'").await, "0");
        assert_eq!(text(&source, "SELECT count(*)::text FROM pg_replication_slots").await, "0");
        run(&source, "DROP TABLE public.items; DROP SCHEMA other CASCADE").await;
    }
}

/// Only rows of a filter, from each of the sources; an update brings one in and takes one out.
#[tokio::test(flavor = "multi_thread")]
async fn with_a_filter() {
    let pair = TestPair::start(15, 18);
    let (source, target) = (connect_to(&pair.source, "postgres").await, connect_to(&pair.target, "postgres").await);
    let (kind, parts) = (writers::INT, TWO);
    create(&source, kind, parts, 60).await;
    let filter = "-- pcrd: where n % 2 = 0\n-- pcrd: accept ROW_FILTER reason=\"even ones\"\n";
    let (migration, running) = ready(&pair, &desired(kind, parts, filter)).await;
    run(&source, "UPDATE public.items SET n = 1 WHERE id IN (3, 4); UPDATE other.items SET n = 3 WHERE id IN (4, 5)")
        .await;
    run(&source, "UPDATE public.items SET n = 2 WHERE id IN (3, 7); UPDATE other.items SET n = 4 WHERE id IN (4, 7)")
        .await;
    run(
        &source,
        "DELETE FROM public.items WHERE id IN (8, 9); UPDATE other.items SET id = id + 100 WHERE id IN (8, 9)",
    )
    .await;
    until_applied(&source, &target).await;
    tokio::task::block_in_place(|| migration.ok(&["verify"]));
    tokio::task::block_in_place(|| migration.ok(&["cutover", "--yes"]));
    tokio::task::block_in_place(|| running.finish()).assert_switched();
    for (schema, value) in parts {
        let query = kind.source_query().replace("FROM items", &format!("FROM {schema}.items WHERE n % 2 = 0"));
        let origin = format!("FROM items WHERE origin = '{}'", value.replace('\'', "''"));
        let (left, right) = (
            sorted_copy(&source, &query).await,
            sorted_copy(&target, &kind.target_query().replace("FROM items", &origin)).await,
        );
        assert!(left == right && !left.is_empty(), "{schema}");
    }
}

const REFERRING: &str = "CREATE TABLE orders_eu (id int PRIMARY KEY); CREATE TABLE orders_us (id int PRIMARY KEY); \
    CREATE TABLE lines_eu (id int PRIMARY KEY, of int); CREATE TABLE lines_us (id int PRIMARY KEY, of int); \
    INSERT INTO orders_eu SELECT generate_series(1, 9); INSERT INTO orders_us SELECT generate_series(1, 9); \
    INSERT INTO lines_eu SELECT g, g FROM generate_series(1, 9) g; INSERT INTO lines_us SELECT g, g FROM generate_series(1, 9) g";
const REFERRING_SQL: &str = "-- pcrd: merged_from orders_eu with region = 'eu'\n-- pcrd: merged_from orders_us with region = 'us'\n\
    CREATE TABLE public.orders (region text, id int, PRIMARY KEY (region, id));\n\
    -- pcrd: merged_from lines_eu with region = 'eu'\n-- pcrd: merged_from lines_us with region = 'us'\n\
    CREATE TABLE public.lines (region text, id int, of int, PRIMARY KEY (region, id),\n \
    FOREIGN KEY (region, of) REFERENCES public.orders (region, id));\n";

/// A row that the other source has with the same key is not the one that is referred to: the cutover is given up.
#[tokio::test(flavor = "multi_thread")]
async fn references_stay_within_a_part() {
    let pair = TestPair::start(15, 15);
    let (source, target) = (connect_to(&pair.source, "postgres").await, connect_to(&pair.target, "postgres").await);
    run(&source, REFERRING).await;
    let (migration, running) = ready(&pair, REFERRING_SQL).await;
    run(&source, "DELETE FROM orders_us WHERE id = 5; DELETE FROM orders_eu WHERE id = 6").await;
    run(&source, "UPDATE lines_eu SET of = NULL WHERE of = 6; UPDATE lines_us SET of = 4 WHERE id = 3").await;
    until_applied(&source, &target).await;
    let refused = tokio::task::block_in_place(|| migration.run(&["cutover", "--yes"]));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    let flat = said.replace('│', " ").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!refused.status.success() && flat.contains("1 row(s) without their row of public.orders"), "{said}");
    run(&source, "INSERT INTO orders_us VALUES (5)").await;
    until_applied(&source, &target).await;
    tokio::task::block_in_place(|| migration.ok(&["cutover", "--yes"]));
    tokio::task::block_in_place(|| running.finish()).assert_switched();
    for (sources, query) in [("orders", "SELECT region, id FROM orders"), ("lines", "SELECT region, id, of FROM lines")]
    {
        let all = format!("SELECT 'eu', * FROM {sources}_eu UNION ALL SELECT 'us', * FROM {sources}_us");
        let (left, right) = (sorted_copy(&source, &all).await, sorted_copy(&target, query).await);
        assert!(left == right && !left.is_empty(), "{sources}");
    }
    let valid = "SELECT string_agg(convalidated::text, ',') FROM pg_constraint WHERE conrelid = 'lines'::regclass AND contype = 'f'";
    assert_eq!(text(&target, valid).await, "true");
}

const BATCHED: &str = "CREATE TABLE east (id int PRIMARY KEY, n int, v text); CREATE TABLE west (id int PRIMARY KEY, n int, v text); \
    INSERT INTO east SELECT g, 0, 'e' FROM generate_series(1, 60) g; INSERT INTO west SELECT g, 0, 'w' FROM generate_series(1, 60) g";
const BATCHED_SQL: &str = "-- pcrd: merged_from east with side = 'e'\n-- pcrd: merged_from west with side = 'w'\n\
    CREATE TABLE public.world (id int, side text, n bigint, v text, PRIMARY KEY (id, side));\n";

async fn assert_both(source: &Client, target: &Client, what: &str) {
    let all = "SELECT id, 'e', n, v FROM east UNION ALL SELECT id, 'w', n, v FROM west";
    let (left, right) = (sorted_copy(source, all).await, sorted_copy(target, "SELECT * FROM world").await);
    assert!(left == right, "source and target differ after {what}");
}

/// Many rows by one statement: only those of the source that they come from, and as many as it has.
#[tokio::test(flavor = "multi_thread")]
async fn many_rows_by_one_statement() {
    let pair = TestPair::start(15, 15);
    let (source, target) = (connect_to(&pair.source, "postgres").await, connect_to(&pair.target, "postgres").await);
    run(&source, BATCHED).await;
    let (migration, running) = ready(&pair, BATCHED_SQL).await;
    for sql in [
        "UPDATE east SET n = n + 1; UPDATE west SET n = n - 1 WHERE id <= 30",
        "DELETE FROM west WHERE id <= 20; UPDATE east SET v = 'x' WHERE id <= 40; INSERT INTO west SELECT g, 7 FROM generate_series(1, 15) g",
        "DELETE FROM east WHERE id > 20; DELETE FROM west WHERE id BETWEEN 10 AND 40",
    ] {
        run(&source, &format!("BEGIN; {sql}; COMMIT")).await;
        until_applied(&source, &target).await;
        assert_both(&source, &target, sql).await;
    }
    let stopped = tokio::task::block_in_place(|| running.interrupt());
    let counters = stopped.counters();
    // How many depends on how the stream arrives: a few rows are not worth a set.
    assert!(counters["batches_together"] >= 1, "{counters:?}");
    assert_eq!(counters["batches_again"], 0, "{counters:?}");
    tokio::task::block_in_place(|| migration.cut_over("")).assert_switched();
    assert_both(&source, &target, "the cutover").await;
}

/// Where one source's row is missing on the target, the other's with its key is not taken for it, though the number of
/// rows would be right.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_the_other_source_is_no_substitute() {
    let pair = TestPair::start(15, 15);
    let (source, target) = (connect_to(&pair.source, "postgres").await, connect_to(&pair.target, "postgres").await);
    for change in ["DELETE FROM east WHERE id <= 30", "UPDATE east SET n = 5 WHERE id <= 30"] {
        run(&source, &format!("DROP TABLE IF EXISTS east, west; {BATCHED}; DELETE FROM west WHERE id <> 17")).await;
        let (migration, running) = ready(&pair, BATCHED_SQL).await;
        run(&target, "DELETE FROM world WHERE side = 'e' AND id = 17").await;
        run(&source, change).await;
        let said = tokio::task::block_in_place(|| running.finish());
        assert_eq!(said.code, Some(1), "{change}: {}", said.stderr);
        assert!(said.stderr.contains("public.east"), "{change}: {}", said.stderr);
        assert_eq!(text(&target, "SELECT id || v || n FROM world WHERE side = 'w'").await, "17w0", "{change}");
        assert_eq!(text(&target, "SELECT count(*) || ' ' || sum(n) FROM world").await, "60 0", "{change}");
        migration.ok(&["abort", "--yes"]);
    }
}
