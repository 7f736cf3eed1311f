//! Rows of a target with several sources that come from none of them, and what is asked of a large one.

use pcrd::exec::verify::sides;
use pcrd::plan::read;
use pcrd::sql::hash::{self, Keys, Rows};
use pcrd::sql::{KeyRange, Side, part, range};
use serde_json::Value;
use tokio_postgres::Client;

use crate::merge::{ready, until_applied};
use crate::migration::Migration;
use crate::support::{TestPair, connect_to, rows, run, text};

const TEXT: &str = "-- pcrd: merged_from east with side = 'e'\n-- pcrd: merged_from west with side = 'W'\n\
    -- pcrd: merged_from north with side = ''\n\
    CREATE TABLE public.world (side text NOT NULL, id serial, v text, PRIMARY KEY (side, id));\n";
/// In the other order, and by bytes, where `W` is before `e`.
const BYTES: &str = "-- pcrd: merged_from east with side = 'e'\n-- pcrd: merged_from west with side = 'W'\n\
    -- pcrd: merged_from north with side = 'p'\n\
    CREATE TABLE public.world (id serial, side varchar COLLATE \"C\" NOT NULL, v text, PRIMARY KEY (id, side));\n";
/// By another order than the database's.
const BY_LANGUAGE: &str = "-- pcrd: merged_from east with side = 'e'\n-- pcrd: merged_from west with side = 'W'\n\
    -- pcrd: merged_from north with side = 'p'\n\
    CREATE TABLE public.world (side text COLLATE \"en-x-icu\" NOT NULL, id serial, v text, PRIMARY KEY (side, id));\n";
const NUMBERS: &str = "-- pcrd: merged_from east with side = 7\n-- pcrd: merged_from west with side = -20\n\
    -- pcrd: merged_from north with side = 100\n\
    CREATE TABLE public.world (side smallint NOT NULL, id serial, v text, PRIMARY KEY (side, id));\n";
/// Rows that only the server orders: copied and compared whole.
const KEYLESS: &str = "-- pcrd: merged_from east with side = 'e'\n-- pcrd: merged_from west with side = 'W'\n\
    -- pcrd: merged_from north with side = ''\n\
    CREATE TABLE public.world (side text NOT NULL, id serial, v text);\n";

async fn create(source: &Client, n: u32, key: &str) {
    for table in ["east", "west", "north"] {
        let ddl = format!("CREATE TABLE {table} (id serial {key}, v text)");
        run(source, &format!("DROP TABLE IF EXISTS {table}; {ddl}")).await;
        run(
            source,
            &format!("ALTER TABLE {table} REPLICA IDENTITY {}", if key.is_empty() { "FULL" } else { "DEFAULT" }),
        )
        .await;
        run(source, &format!("INSERT INTO {table} (v) SELECT 'v' FROM generate_series(1, {n}); ANALYZE {table}")).await;
    }
}

/// The tables with differences, and what differs.
async fn differing(migration: &Migration) -> Vec<(String, Value)> {
    let verified = tokio::task::block_in_place(|| migration.run(&["--json", "verify"]));
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    let report = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let report = report.chain(serde_json::from_str(&said)).find(|value| value["tables"].is_array());
    let report = report.unwrap_or_else(|| panic!("no report: {said}\n{}", String::from_utf8_lossy(&verified.stderr)));
    let tables = report["tables"].as_array().unwrap().iter();
    let found: Vec<(String, Value)> = tables
        .flat_map(|table| {
            let name = table["table"].as_str().unwrap().to_owned();
            table["differences"].as_array().unwrap().iter().map(move |one| (name.clone(), one.clone()))
        })
        .collect();
    assert_eq!(verified.status.code(), Some(if found.is_empty() { 0 } else { 5 }), "{said}");
    found
}

#[track_caller]
fn assert_nobodys(found: &[(String, Value)], side: &str) {
    let [(table, difference)] = found else { panic!("{side}: {found:?}") };
    assert_eq!((table.as_str(), &difference["kind"]), ("public.east", &Value::from("extra_on_target")), "{side}");
    let key = difference["key"].as_array().unwrap();
    assert_eq!(key.last().unwrap(), &format!("side = '{side}'"), "{key:?}");
    assert!(key[0] == "3" || key[0].as_str().unwrap().starts_with("ctid ("), "{key:?}");
}

/// Before, between and after the constants, in the order of the column: while the stream goes on, behind the fence, and
/// when nothing runs any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_nobody_is_found_everywhere() {
    let pair = TestPair::start(15, 15);
    let (source, target) = (connect_to(&pair.source, "postgres").await, connect_to(&pair.target, "postgres").await);
    for (desired, key, strays) in [
        (TEXT, "PRIMARY KEY", ["!", "E", "zz"]),
        (BYTES, "PRIMARY KEY", ["!", "Z", "zz"]),
        (NUMBERS, "PRIMARY KEY", ["-21", "8", "101"]),
        (KEYLESS, "", ["!", "f", "zz"]),
    ] {
        create(&source, 20, key).await;
        let (migration, running) = ready(&pair, desired).await;
        assert_eq!(differing(&migration).await, []);
        let add = |side: &str| format!("INSERT INTO world (side, id, v) VALUES ('{side}', 3, 'v')");
        let remove = |side: &str| format!("DELETE FROM world WHERE side = '{side}'");
        for side in strays {
            run(&target, &add(side)).await;
            assert_nobodys(&differing(&migration).await, side);
            run(&target, &remove(side)).await;
        }
        // Without it the cutover would be refused for what was found before, and not come to its fence.
        assert_eq!(differing(&migration).await, []);
        run(&target, &add(strays[1])).await;
        let refused = tokio::task::block_in_place(|| migration.run(&["cutover", "--yes"]));
        let said = String::from_utf8_lossy(&refused.stderr).replace('│', " ");
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        let found = format!("side = '{}') is on the target only", strays[1]);
        assert!(said.contains("the source is open again") && said.contains(&found), "{said}");
        run(&source, "INSERT INTO east (v) VALUES ('still open')").await;
        run(&target, &remove(strays[1])).await;
        until_applied(&source, &target).await;
        assert_eq!(differing(&migration).await, []);
        tokio::task::block_in_place(|| migration.ok(&["cutover", "--yes"]));
        tokio::task::block_in_place(|| running.finish()).assert_switched();
        assert_eq!(differing(&migration).await, []);
        run(&target, &add(strays[2])).await;
        assert_nobodys(&differing(&migration).await, strays[2]);
        migration.ok(&["cleanup", "--yes"]);
        run(&target, "DROP TABLE world").await;
    }
}

/// Whatever comparison asks of a source's rows, and of nobody's, an index over the column and the key answers: a lane's
/// range does not read the table, nor do some keys.
#[tokio::test(flavor = "multi_thread")]
async fn no_question_reads_the_whole_table() {
    let pair = TestPair::start(15, 15);
    let (source, target) = (connect_to(&pair.source, "postgres").await, connect_to(&pair.target, "postgres").await);
    for (desired, order, is_leading) in
        [(BYTES, ["W", "e", "p"], false), (BY_LANGUAGE, ["e", "p", "W"], true), (NUMBERS, ["-20", "7", "100"], true)]
    {
        create(&source, 20_000, "PRIMARY KEY").await;
        let (migration, running) = ready(&pair, desired).await;
        tokio::task::block_in_place(|| running.kill());
        let plan = read(&std::fs::read_to_string(migration.dir.path().join("plan.json")).unwrap()).unwrap().plan;
        run(&target, "ANALYZE world").await;
        let (digest, frozen) = (sides::digest(&plan), Default::default());
        for projection in &plan.projections {
            let (lo, hi) = (["5000".to_owned()], ["5100".to_owned()]);
            let lane = KeyRange { lo: Some(&lo), hi: Some(&hi) };
            let lane = range::range_predicate(projection, Side::Target, lane).unwrap();
            let lane = Rows { side: Side::Target, predicate: lane.as_deref(), keys: Keys::All };
            let keys = Rows { side: Side::Target, predicate: None, keys: Keys::Only };
            let mut queries = vec![
                hash::chunk(projection, &frozen, digest, lane).unwrap(),
                hash::chunk(projection, &frozen, digest, keys).unwrap(),
                hash::row_digests(projection, &frozen, (digest, hash::Columns::Digests), keys).unwrap(),
            ];
            if let Some(query) = part::constants(projection) {
                let constants = rows(&target, &query).await;
                let constants: Vec<String> = constants.into_iter().map(|mut row| row.remove(0).unwrap()).collect();
                assert_eq!(constants, order, "{desired}");
                queries.extend(part::strays(projection, &constants, 10).filter(|_| is_leading));
            }
            for query in queries {
                let query = query.replace("$1::", "'{7,70,700}'::");
                let lines = rows(&target, &format!("EXPLAIN {query}")).await;
                let lines = lines.into_iter().map(|mut row| row.remove(0).unwrap() + "\n").collect::<String>();
                let by_index = lines.lines().any(|line| line.contains("Index Cond:") && line.contains("side"));
                assert!(by_index && !lines.contains("Seq Scan on world"), "{query}\n{lines}");
            }
        }
        migration.ok(&["abort", "--yes"]);
    }
}

/// Whichever way the key is written, numbers go on past the stored ones of every source.
#[tokio::test(flavor = "multi_thread")]
async fn the_sequence_goes_past_what_each_source_stores() {
    let pair = TestPair::start(15, 15);
    let (source, target) = (connect_to(&pair.source, "postgres").await, connect_to(&pair.target, "postgres").await);
    for desired in [TEXT, BYTES, KEYLESS] {
        create(&source, 20, if desired == KEYLESS { "" } else { "PRIMARY KEY" }).await;
        run(&source, "INSERT INTO west (id) VALUES (700000); INSERT INTO east (id) VALUES (5000)").await;
        let (migration, running) = ready(&pair, desired).await;
        run(&source, "INSERT INTO north (id) VALUES (900000)").await;
        tokio::task::block_in_place(|| migration.ok(&["cutover", "--yes"]));
        tokio::task::block_in_place(|| running.finish()).assert_switched();
        let next = text(&target, "INSERT INTO world (side) VALUES ('e') RETURNING id::text").await;
        assert!(next.parse::<i64>().unwrap() > 900_000, "{next}: {desired}");
        migration.ok(&["cleanup", "--yes"]);
        run(&target, "DROP TABLE world").await;
    }
}
