//! Damage of every kind behind pcrd's back, one at a time: named by key and column while the source is written, and behind
//! the fence. And what is no damage.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tokio::task::JoinHandle;

use crate::stage::Stage;
use crate::support::{TestPair, connect_to, run};

const READY: &str = "\"type\":\"gate\",\"ready\":true";

/// Rows up to 999 are damaged, the others are written meanwhile. What a kind of damage needs is where `id % 50` says.
const DDL: &str = "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
    CREATE TABLE things (id integer PRIMARY KEY, b bytea, n bigint, i integer, t text, v varchar(30), c char(8), bp bpchar,
      num numeric, f float8, r real, at timestamptz, ts timestamp, d date, j json, jb jsonb, a integer[], ta text[],
      iv interval, yes boolean, m mood, u uuid, x text, y text, big text);
    INSERT INTO things SELECT g, decode('00' || md5(g::text), 'hex'), g * 4294967311,
      CASE g % 50 WHEN 5 THEN NULL WHEN 6 THEN 0 ELSE g END,
      CASE g % 50 WHEN 3 THEN NULL WHEN 4 THEN '' ELSE 'canary é ' || g END,
      'Canary ' || g, 'c' || g, 'bp' || g, 1.0, CASE g % 50 WHEN 17 THEN 0 ELSE 0.3 END, 0.1,
      timestamptz '2024-03-31 00:30:00+00' + g * interval '1 second', timestamp '2024-03-31 02:30:00' + g * interval '1 second',
      date '2024-02-28' + g, '{\"a\": 1, \"b\": 2}', '{\"a\": 1.0, \"b\": [1, null]}', '{1,2,3,4}', '{NULL,x}',
      CASE g % 50 WHEN 36 THEN interval '1 day' ELSE interval '1 mon' END, g % 2 = 0, 'ok', md5(g::text)::uuid,
      'left ' || g, 'right ' || g, CASE WHEN g % 20 = 0 THEN repeat(md5(g::text), 200) END
      FROM generate_series(1, 2000) AS g;
    CREATE TABLE words (word text COLLATE \"en-x-icu\" PRIMARY KEY, n integer);
    INSERT INTO words SELECT 'wörd ' || g, g FROM generate_series(1, 300) AS g;
    CREATE TABLE bag (n integer, t text); ALTER TABLE bag REPLICA IDENTITY FULL;
    INSERT INTO bag SELECT g % 10, CASE WHEN g % 3 = 0 THEN 'canary' END FROM generate_series(1, 300) AS g;
    ANALYZE";
const TYPES: &str = "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')";
const TABLES: &str = "    - { name: things, columns: { id: { type: bigint }, i: { type: bigint }, x: { rename: z } } }
    - name: words
    - name: bag
";

/// Name, damage, and what is said of it: a key with the columns that differ, or that it is `missing` or `extra`. `*` is a row
/// without a key.
type Corruption = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const CORRUPTIONS: &[Corruption] = &[
    ("a bit of a bytea", "UPDATE things SET b = set_bit(b, 11, 1 - get_bit(b, 11)) WHERE id = 101", &[("101", "b")]),
    ("a zero byte less", "UPDATE things SET b = substr(b, 2) WHERE id = 102", &[("102", "b")]),
    ("a bit of a bigint", "UPDATE things SET n = n # (1::bigint << 40) WHERE id = 101", &[("101", "n")]),
    ("NULL became ''", "UPDATE things SET t = '' WHERE id = 103", &[("103", "t")]),
    ("'' became NULL", "UPDATE things SET t = NULL WHERE id = 104", &[("104", "t")]),
    ("NULL became 0", "UPDATE things SET i = 0 WHERE id = 105", &[("105", "i")]),
    ("0 became NULL", "UPDATE things SET i = NULL WHERE id = 106", &[("106", "i")]),
    (
        "two rows changed places in a column",
        "UPDATE things AS a SET n = b.n FROM things AS b WHERE (a.id, b.id) IN ((107, 907), (907, 107))",
        &[("107", "n"), ("907", "n")],
    ),
    ("two columns changed places", "UPDATE things SET z = y, y = z WHERE id = 108", &[("108", "y, z")]),
    ("a missing row", "DELETE FROM things WHERE id = 109", &[("109", "missing")]),
    ("the first row", "DELETE FROM things WHERE id = 1", &[("1", "missing")]),
    ("an extra row", "INSERT INTO things (id, n) VALUES (90110, 1)", &[("90110", "extra")]),
    ("an extra row before the first", "INSERT INTO things (id, n) VALUES (-5, 1)", &[("-5", "extra")]),
    ("another key", "UPDATE things SET id = 90111 WHERE id = 111", &[("111", "missing"), ("90111", "extra")]),
    ("another range", "UPDATE things SET id = 4000000000 WHERE id = 11", &[("11", "missing"), ("4000000000", "extra")]),
    ("a space behind a text", "UPDATE things SET t = t || ' ' WHERE id = 112", &[("112", "t")]),
    ("a space behind a varchar", "UPDATE things SET v = v || ' ' WHERE id = 113", &[("113", "v")]),
    ("a space behind a bpchar", "UPDATE things SET bp = (bp::text || ' ')::bpchar WHERE id = 114", &[("114", "bp")]),
    ("a letter of a char", "UPDATE things SET c = 'd' WHERE id = 114", &[("114", "c")]),
    ("a scale", "UPDATE things SET num = 1.00 WHERE id = 115", &[("115", "num")]),
    ("the last bit of a float8", "UPDATE things SET f = 0.30000000000000004 WHERE id = 116", &[("116", "f")]),
    ("the last bit of a real", "UPDATE things SET r = '0.10000001' WHERE id = 116", &[("116", "r")]),
    ("a negative zero", "UPDATE things SET f = '-0' WHERE id = 117", &[("117", "f")]),
    ("not a number", "UPDATE things SET f = 'NaN' WHERE id = 118", &[("118", "f")]),
    ("no numeric", "UPDATE things SET num = 'NaN' WHERE id = 119", &[("119", "num")]),
    ("an hour", "UPDATE things SET at = at + interval '1 hour' WHERE id = 120", &[("120", "at")]),
    ("a microsecond", "UPDATE things SET at = at + interval '1 microsecond' WHERE id = 121", &[("121", "at")]),
    ("an hour without zone", "UPDATE things SET ts = ts - interval '1 hour' WHERE id = 122", &[("122", "ts")]),
    ("an endless date", "UPDATE things SET d = 'infinity' WHERE id = 123", &[("123", "d")]),
    ("an order in json", "UPDATE things SET j = '{\"b\": 2, \"a\": 1}' WHERE id = 124", &[("124", "j")]),
    ("a space in json", "UPDATE things SET j = '{\"a\":1, \"b\": 2}' WHERE id = 125", &[("125", "j")]),
    ("a scale in jsonb", "UPDATE things SET jb = '{\"a\": 1.00, \"b\": [1, null]}' WHERE id = 126", &[("126", "jb")]),
    ("a null in jsonb", "UPDATE things SET jb = '{\"a\": 1.0, \"b\": [1, \"null\"]}' WHERE id = 126", &[("126", "jb")]),
    ("a dimension", "UPDATE things SET a = '{{1,2},{3,4}}' WHERE id = 127", &[("127", "a")]),
    ("a lower bound", "UPDATE things SET a = '[0:3]={1,2,3,4}' WHERE id = 128", &[("128", "a")]),
    ("a NULL in an array", "UPDATE things SET ta = '{\"NULL\",x}' WHERE id = 129", &[("129", "ta")]),
    ("the case of a letter", "UPDATE things SET v = lower(v) WHERE id = 130", &[("130", "v")]),
    ("composed and decomposed", "UPDATE things SET t = normalize(t, NFD) WHERE id = 131", &[("131", "t")]),
    ("a letter that looks the same", "UPDATE things SET t = replace(t, 'a', 'а') WHERE id = 132", &[("132", "t")]),
    ("what nobody sees", "UPDATE things SET t = t || E'\\u200d' WHERE id = 133", &[("133", "t")]),
    (
        "changes that make up for one another",
        "UPDATE things SET n = n + CASE id WHEN 134 THEN 5 ELSE -5 END WHERE id IN (134, 137)",
        &[("134", "n"), ("137", "n")],
    ),
    ("a month became 30 days", "UPDATE things SET iv = '30 days' WHERE id = 135", &[("135", "iv")]),
    ("a day became 24 hours", "UPDATE things SET iv = '24:00:00' WHERE id = 136", &[("136", "iv")]),
    ("a boolean", "UPDATE things SET yes = NOT yes WHERE id = 137", &[("137", "yes")]),
    ("a label", "UPDATE things SET m = 'sad' WHERE id = 138", &[("138", "m")]),
    (
        "a digit of a uuid",
        "UPDATE things SET u = encode(set_byte(uuid_send(u), 15, get_byte(uuid_send(u), 15) # 1), 'hex')::uuid WHERE id = 139",
        &[("139", "u")],
    ),
    (
        "a letter in the middle of a large text",
        "UPDATE things SET big = overlay(big placing '_' from 3000 for 1) WHERE id = 140",
        &[("140", "big")],
    ),
    ("a number of an unordered key", "UPDATE words SET n = NULL WHERE word = 'wörd 7'", &[("wörd 7", "n")]),
    ("a missing row of an unordered key", "DELETE FROM words WHERE word = 'wörd 8'", &[("wörd 8", "missing")]),
    (
        "an unordered key in capitals",
        "UPDATE words SET word = upper(word) WHERE word = 'wörd 9'",
        &[("WÖRD 9", "extra"), ("wörd 9", "missing")],
    ),
    (
        "a duplicate without a key",
        "INSERT INTO bag SELECT * FROM bag WHERE n = 3 AND t IS NULL LIMIT 1",
        &[("*", "extra")],
    ),
    (
        "one of many without a key",
        "DELETE FROM bag WHERE ctid = (SELECT min(ctid) FROM bag WHERE n = 4)",
        &[("*", "missing")],
    ),
    (
        "NULL became '' without a key",
        "UPDATE bag SET t = '' WHERE ctid = (SELECT min(ctid) FROM bag WHERE t IS NULL)",
        &[("*", "extra"), ("*", "missing")],
    ),
];

/// Written otherwise, and the same value.
const THE_SAME: &[&str] = &[
    "UPDATE things SET n = n, big = big || '' WHERE id < 500",
    "UPDATE things SET jb = '{\"b\": [1,null],   \"a\": 1.0}' WHERE id = 124",
    "UPDATE things SET c = rtrim(c) WHERE id = 125",
    "UPDATE things SET at = timestamptz '2024-03-31 09:30:00+09' + id * interval '1 second' WHERE id = 126",
    "UPDATE things SET v = v::text::varchar, f = f::text::float8, u = upper(u::text)::uuid WHERE id = 127",
    "UPDATE things SET iv = '1 month 0 days' WHERE id = 128",
    "DELETE FROM bag; INSERT INTO bag SELECT * FROM kept.bag ORDER BY n DESC, t",
];

/// What is damaged, so that it can be put back.
const KEEP: &str = "CREATE SCHEMA kept; CREATE TABLE kept.things AS SELECT * FROM things WHERE id < 1000;
    CREATE TABLE kept.words AS TABLE words; CREATE TABLE kept.bag AS TABLE bag";
const PUT_BACK: &str = "BEGIN; DELETE FROM things WHERE id < 1000 OR id > 2000; INSERT INTO things SELECT * FROM kept.things;
    DELETE FROM words; INSERT INTO words SELECT * FROM kept.words; DELETE FROM bag; INSERT INTO bag SELECT * FROM kept.bag;
    COMMIT";

/// Writes the rows that are not damaged, until told to stop.
async fn write(pair: &TestPair, stage: &Stage) -> (JoinHandle<u64>, Arc<AtomicBool>) {
    let (client, stop) = (connect_to(&pair.source, &stage.name).await, Arc::new(AtomicBool::new(false)));
    let told = Arc::clone(&stop);
    let task = tokio::spawn(async move {
        let mut n = 0;
        while !told.load(Ordering::SeqCst) {
            let id = 1_000 + n * 7 % 1_000;
            run(
                &client,
                &format!(
                    "BEGIN; UPDATE things SET n = n + 1, t = 'new {n}' WHERE id = {id}; \
                     UPDATE things SET iv = iv + interval '1 day' WHERE id = 1999; DELETE FROM things WHERE id = 1500; \
                     INSERT INTO things (id, t) VALUES (1500, 'again'); COMMIT"
                ),
            )
            .await;
            n += 1;
            tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        }
        n
    });
    (task, stop)
}

/// What `verify --json` says, as the table above writes it.
fn found(report: &Value) -> Vec<(String, String)> {
    let differences = report["tables"].as_array().unwrap().iter();
    let differences = differences.flat_map(|table| table["differences"].as_array().unwrap());
    let texts = |list: &Value| {
        list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut found: Vec<(String, String)> = differences
        .map(|difference| {
            assert!(difference["values"].is_null(), "values that nobody asked for: {difference}");
            let mut columns = texts(&difference["columns"]);
            columns.sort();
            let what = match difference["kind"].as_str().unwrap() {
                "missing_on_target" => "missing".to_owned(),
                "extra_on_target" => "extra".to_owned(),
                _ => columns.join(", "),
            };
            let key = texts(&difference["key"]).join(", ");
            (if key.starts_with("ctid (") { "*".to_owned() } else { key }, what)
        })
        .collect();
    found.sort();
    found
}

fn verify(stage: &Stage, args: &[&str]) -> (Option<i32>, String) {
    let output = tokio::task::block_in_place(|| stage.migration.run(args));
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_is_named_by_key_and_column_while_the_source_is_written() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::with_target(&pair, "corrupt", DDL, TYPES, TABLES, "").await;
    let mut running = stage.start("");
    tokio::task::block_in_place(|| running.wait_for(READY));
    run(&stage.target, KEEP).await;
    let (writer, stop) = write(&pair, &stage).await;
    assert!(CORRUPTIONS.len() >= 40);
    let mut failures = Vec::new();
    for (n, (name, damage, expected)) in CORRUPTIONS.iter().enumerate() {
        let changed = stage.target.execute(*damage, &[]).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert!(changed > 0, "{name} damages nothing");
        let table = damage.split(' ').find(|word| ["things", "words", "bag"].contains(word)).unwrap();
        let mut args = vec!["--json", "verify"];
        match n % 5 {
            0 => args.push("--paranoid"),
            1 => {}
            _ => args.extend(["--table", table]),
        }
        let (code, said) = verify(&stage, &args);
        assert!(!said.to_lowercase().contains("canary"), "{name}: a value is shown: {said}");
        let report: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{name}: {error}: {said}"));
        let expected: Vec<(String, String)> =
            expected.iter().map(|(key, what)| ((*key).to_owned(), (*what).to_owned())).collect();
        if (code, &report["passed"]) != (Some(5), &false.into()) || found(&report) != expected {
            failures.push(format!("{name}: {code:?} {:?}", found(&report)));
        }
        if n % 9 == 0 {
            // The same in text.
            let (code, said) = verify(&stage, &["verify"]);
            assert!(
                code == Some(5) && said.contains("NOT passed") && !said.to_lowercase().contains("canary"),
                "{said}"
            );
            for (key, what) in expected.iter().filter(|(key, _)| key != "*") {
                let line = match what.as_str() {
                    "missing" => format!("row ({key}) is missing on the target\n"),
                    "extra" => format!("row ({key}) is on the target only\n"),
                    column => format!("row ({key}) differs in {column}\n"),
                };
                assert!(said.contains(&line), "{name}: {line}: {said}");
            }
        }
        run(&stage.target, PUT_BACK).await;
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), CORRUPTIONS.len(), failures.join("\n"));
    for change in THE_SAME {
        run(&stage.target, change).await;
        let (code, said) = verify(&stage, &["--json", "verify"]);
        assert_eq!(code, Some(0), "{change}: {said}");
        run(&stage.target, PUT_BACK).await;
    }
    run(&stage.target, "UPDATE things SET t = t || ' ' WHERE id = 112").await;
    let (code, said) = verify(&stage, &["verify", "--show-values"]);
    let values = "row (112) differs in t; t: 'canary é 112' on the source, 'canary é 112 ' on the target";
    assert!(code == Some(5) && said.contains(values), "{said}");
    run(&stage.target, PUT_BACK).await;
    assert_eq!(verify(&stage, &["verify"]).0, Some(0));
    stop.store(true, Ordering::SeqCst);
    assert!(writer.await.unwrap() > 100, "hardly anything was written meanwhile");
    tokio::task::block_in_place(|| stage.migration.ok(&["cutover", "--yes"]));
    tokio::task::block_in_place(|| running.finish()).assert_switched();
}

/// Of a row that was written since it was last compared the fence finds what nobody can have seen before.
#[tokio::test(flavor = "multi_thread")]
async fn of_rows_that_were_just_written_the_fence_finds_it() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::with_target(&pair, "dirty", DDL, TYPES, TABLES, "").await;
    for (key, damage, expected) in [
        (101, "UPDATE things SET b = set_bit(b, 11, 1 - get_bit(b, 11)) WHERE id = 101", "row (101) differs in b"),
        (117, "UPDATE things SET f = '-0' WHERE id = 117", "row (117) differs in f"),
        (103, "UPDATE things SET t = '' WHERE id = 103", "row (103) differs in t"),
        (109, "DELETE FROM things WHERE id = 109", "row (109) is missing on the target"),
        (110, "INSERT INTO things SELECT * FROM kept.things WHERE id = 110", "row (110) is on the target only"),
    ] {
        let mut running = stage.start("");
        tokio::task::block_in_place(|| running.wait_for(READY));
        if key == 101 {
            run(&stage.target, KEEP).await;
        }
        // The last one is deleted by the stream, and comes back.
        let write = if key == 110 {
            "DELETE FROM things WHERE id = 110".to_owned()
        } else {
            format!("UPDATE things SET n = n WHERE id = {key}")
        };
        run(&stage.source, &write).await;
        stage.until_applied().await;
        run(&stage.target, damage).await;
        let refused = tokio::task::block_in_place(|| stage.migration.run(&["cutover", "--yes"]));
        let said = String::from_utf8_lossy(&refused.stderr).replace('│', " ");
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(refused.status.code() == Some(1) && said.contains(expected), "{said}");
        running.kill();
        run(&stage.target, PUT_BACK).await;
        if key == 110 {
            run(&stage.target, "DELETE FROM things WHERE id = 110").await;
        }
    }
    stage.cut_over().assert_switched();
}
