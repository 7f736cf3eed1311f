//! Sources in other encodings than UTF-8: every character arrives, and bytes that are none are found before anything starts.

use pcrd::resolve::encoding::WITHOUT_CHARACTER;
use tokio_postgres::Client;

use crate::migration::Migration;
use crate::support::{TestPair, connect, connect_to, rows, run, text};
use crate::way_back::wait;

/// Both databases by one name; the target's is UTF8.
async fn databases(pair: &TestPair, encoding: &str) -> (Client, Client) {
    let create =
        format!("CREATE DATABASE encoded ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
    run(&connect_to(&pair.source, "postgres").await, &create).await;
    run(&connect_to(&pair.target, "postgres").await, "CREATE DATABASE encoded ENCODING 'UTF8' TEMPLATE template0")
        .await;
    (connect_to(&pair.source, "encoded").await, connect_to(&pair.target, "encoded").await)
}

/// The bytes of every row in UTF-8, from a server that converts and one that does not need to.
async fn assert_same_characters(source: &Client, target: &Client, at: &str) {
    let query = "SELECT encode(convert_to(concat_ws('|', id, t, v, a, j, e), 'UTF8'), 'hex') FROM \"té\" ORDER BY id";
    let (here, there) = (rows(source, query).await, rows(target, query).await);
    assert!(here.len() > 100, "{at}");
    assert_eq!(here, there, "{at}");
}

fn migration(pair: &TestPair) -> Migration {
    let migration =
        Migration::between(pair, "encoded", "    - { name: \"té\", columns: { n: { type: bigint } } }\n", "");
    migration.plan();
    migration
}

async fn every_character_of(encoding: &str, pair: &TestPair) {
    let (source, target) = databases(pair, encoding).await;
    let without = WITHOUT_CHARACTER.iter().find(|(name, _)| *name == encoding).map_or(&[][..], |(_, bytes)| bytes);
    let bytes: Vec<String> = (1..=255u8).filter(|byte| !without.contains(byte)).map(|byte| byte.to_string()).collect();
    run(
        &source,
        &format!(
            "CREATE TYPE \"sté\" AS ENUM ('é', 'plain'); CREATE TABLE \"té\" (id integer PRIMARY KEY, t text COLLATE \"C\" UNIQUE, v varchar(9), a text[], j json, n integer, e \"sté\");
             INSERT INTO \"té\" SELECT b, chr(b) || 'x', repeat(chr(b), 9), ARRAY[chr(b), NULL, chr(b) || '\"'], to_json(chr(b)), b, 'é'
             FROM unnest(ARRAY[{}]) b; ANALYZE \"té\"",
            bytes.join(", ")
        ),
    )
    .await;
    let migration = migration(pair);
    let mut running = migration.start(&["--json", "apply", "plan.json", "--yes", "--through", "cutover"], "");
    tokio::task::block_in_place(|| running.wait_for("\"work\":\"copy\""));
    run(
        &source,
        "INSERT INTO \"té\" SELECT id + 1000, t || 'new', v, a, j, n, e FROM \"té\"; UPDATE \"té\" SET v = reverse(t), e = NULL WHERE id % 2 = 0; \
         UPDATE \"té\" SET id = id + 5000 WHERE id % 5 = 0; DELETE FROM \"té\" WHERE id % 7 = 0",
    )
    .await;
    wait(running).assert_switched();
    assert_same_characters(&source, &target, encoding).await;
    migration.ok(&["verify"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_character_of_latin1() {
    every_character_of("LATIN1", &TestPair::start(15, 15)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_character_of_win1252_from_10_to_18() {
    every_character_of("WIN1252", &TestPair::start(10, 18)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_that_is_no_character_is_found_before_anything_starts() {
    let pair = TestPair::start(15, 15);
    let (source, target) = databases(&pair, "WIN1252").await;
    run(
        &source,
        "CREATE TABLE t (id integer PRIMARY KEY, t text, dropped text); INSERT INTO t SELECT g, 'é', 'x' FROM generate_series(1, 200) g; \
         UPDATE t SET dropped = chr(129) WHERE id = 77; ANALYZE t",
    )
    .await;
    let tables = "    - name: t\n      where: id <> 77\n      columns: { dropped: { drop: true } }\n";
    let migration = Migration::between(&pair, "encoded", tables, "");
    let path = migration.dir.path().join("pcrd.config.yml");
    let accept = "accept: [{ code: ROW_FILTER, address: public.t, reason: x }, { code: DELETES_DATA, address: public.t.dropped, reason: x }]\n";
    std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + accept).unwrap();
    // The stream sends whole rows, also of columns that are dropped and of rows that do not belong.
    let output = migration.run(&["plan", "--out", "plan.json", "--show-values"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{said}");
    assert!(
        said.contains("public.t.dropped") && said.contains("no character in WIN1252") && said.contains("77"),
        "{said}"
    );
    assert_eq!(text(&target, "SELECT to_regclass('t') IS NULL").await, "t");
    run(&source, "UPDATE t SET dropped = 'y' WHERE id = 77").await;
    migration.ok(&["plan", "--out", "plan.json"]);
    migration.cut_over("").assert_switched();
    assert_eq!(text(&target, "SELECT count(*) FROM t WHERE t = 'é'").await, "199");
}

/// A client that says what the bytes are: the server keeps them as they come.
async fn bytewise(pair: &TestPair) -> Client {
    let client = connect(&pair.source.conninfo("encoded")).await;
    run(&client, "SET client_encoding = 'SQL_ASCII'").await;
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn text_without_an_encoding_is_utf8_or_found() {
    let pair = TestPair::start(15, 17);
    let (source, target) = databases(&pair, "SQL_ASCII").await;
    run(
        &source,
        "CREATE TABLE \"té\" (id integer PRIMARY KEY, t text COLLATE \"C\" UNIQUE, v varchar(9), a text[], j json, n integer, e text); \
         INSERT INTO \"té\" SELECT g, 'é€😀' || g, 'é', ARRAY['日本', NULL], '\"ü\"', g, '\u{10ffff}' FROM generate_series(1, 300) g; ANALYZE \"té\"",
    )
    .await;
    let bytes = bytewise(&pair).await;
    // Cut off, overlong, a surrogate, beyond the last character, and no sequence at all.
    for bad in ["\\303", "\\300\\200", "\\355\\240\\200", "\\364\\220\\200\\200", "\\377", "a\\302b"] {
        run(&bytes, &format!("UPDATE \"té\" SET e = E'{bad}' WHERE id = 7")).await;
        let migration = Migration::between(&pair, "encoded", "    - { name: \"té\" }\n", "");
        let output = migration.run(&["plan", "--out", "plan.json"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(
            !output.status.success() && said.contains("1 of 300 rows") && said.contains("not UTF-8"),
            "{bad}: {said}"
        );
    }
    run(&bytes, "UPDATE \"té\" SET e = E'\\303\\251' WHERE id = 7").await;
    let migration = migration(&pair);
    let mut running = migration.start(&["--json", "apply", "plan.json", "--yes", "--through", "cutover"], "");
    tokio::task::block_in_place(|| running.wait_for("\"work\":\"copy\""));
    run(&source, "UPDATE \"té\" SET v = 'ü' || id WHERE id % 3 = 0; INSERT INTO \"té\" (id, t) VALUES (1000, '€')")
        .await;
    wait(running).assert_switched();
    assert_same_characters(&source, &target, "SQL_ASCII").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_counts_characters_is_refused_where_the_source_counts_bytes() {
    let pair = TestPair::start(15, 15);
    let (source, _target) = databases(&pair, "SQL_ASCII").await;
    run(&source, "CREATE TABLE t (id integer PRIMARY KEY, c char(5), t text, n integer); \
         CREATE DOMAIN code AS char(5); CREATE TYPE coded AS (c code); CREATE TABLE inside (id integer PRIMARY KEY, c coded[]); \
         CREATE TABLE computed (id integer PRIMARY KEY, t text, n integer GENERATED ALWAYS AS (length(t)) STORED)").await;
    let accept = "accept: [{ code: ROW_FILTER, address: public.t, reason: x }, { code: DELETES_DATA, address: public.t.c, reason: x }]\n";
    for (table, why) in [
        ("{ name: t }", Some("filled up to n bytes")),
        ("{ name: t, columns: { c: { drop: true }, t: { type: varchar(9) } } }", Some("made of other text")),
        ("{ name: t, columns: { c: { drop: true }, t: { using: upper(t) } } }", Some("made of other text")),
        ("{ name: t, where: t <> 'x', columns: { c: { drop: true } } }", Some("its filter reads text")),
        ("{ name: inside }", Some("filled up to n bytes")),
        ("{ name: computed }", Some("a generated column reads text")),
        ("{ name: t, where: n > 0, columns: { c: { drop: true }, n: { type: bigint } } }", None),
    ] {
        let migration = Migration::between(&pair, "encoded", &format!("    - {table}\n"), "");
        let path = migration.dir.path().join("pcrd.config.yml");
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + accept).unwrap();
        let output = migration.run(&["plan", "--out", "plan.json"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.success(), why.is_none(), "{table}: {said}");
        // The report folds long lines.
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ").replace(" │ ", " ");
        assert!(why.is_none_or(|why| said.contains(why) && said.contains("INVALID_TEXT")), "{table}: {said}");
    }
}

/// The table in the code is the servers' own.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_without_a_character_are_those_of_the_server() {
    const ENCODINGS: [&str; 27] = [
        "ISO_8859_5",
        "ISO_8859_6",
        "ISO_8859_7",
        "ISO_8859_8",
        "KOI8R",
        "KOI8U",
        "LATIN1",
        "LATIN10",
        "LATIN2",
        "LATIN3",
        "LATIN4",
        "LATIN5",
        "LATIN6",
        "LATIN7",
        "LATIN8",
        "LATIN9",
        "WIN1250",
        "WIN1251",
        "WIN1252",
        "WIN1253",
        "WIN1254",
        "WIN1255",
        "WIN1256",
        "WIN1257",
        "WIN1258",
        "WIN866",
        "WIN874",
    ];
    for major in [10, 18] {
        let pair = TestPair::start(major, 15);
        let client = connect_to(&pair.source, "postgres").await;
        run(
            &client,
            "CREATE FUNCTION has_none(name text, byte integer) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN \
             PERFORM convert(set_byte('\\x00'::bytea, 0, byte), name, 'UTF8'); RETURN false; \
             EXCEPTION WHEN untranslatable_character OR character_not_in_repertoire THEN RETURN true; END $$",
        )
        .await;
        for encoding in ENCODINGS {
            let query = format!(
                "SELECT string_agg(b::text, ',' ORDER BY b) FROM generate_series(128, 255) b WHERE has_none('{encoding}', b)"
            );
            let found = rows(&client, &query).await.remove(0).remove(0).unwrap_or_default();
            let known =
                WITHOUT_CHARACTER.iter().find(|(name, _)| *name == encoding).map_or(&[][..], |(_, bytes)| bytes);
            let known: Vec<String> = known.iter().map(u8::to_string).collect();
            assert_eq!(found, known.join(","), "{encoding} on {major}");
        }
    }
}
