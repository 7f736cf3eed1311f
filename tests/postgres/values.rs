//! Values that are easily lost on the way: copied, streamed, and found again as an old row.

use crate::migration::Migration;
use crate::stage::Stage;
use crate::support::{TestPair, run, text};

/// Types on both ends.
const TYPES: &str = r#"
    CREATE TYPE mood AS ENUM ('ok', 'so so', 'it''s', 'Ünï', 'a,b"c\d');
    CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
    CREATE DOMAIN word AS text NOT NULL CHECK (VALUE <> 'no');
    CREATE TYPE inner_row AS (x integer, y text, z timestamptz[]);
    CREATE TYPE outer_row AS (a inner_row, b inner_row[], c positive, m mood);
    CREATE TYPE span AS RANGE (subtype = timestamptz);
    CREATE DOMAIN words AS text[];
"#;

/// Column type and values that it has a hard time with.
const COLUMNS: &[(&str, &[&str])] = &[
    ("boolean", &["'t'", "'f'"]),
    ("smallint", &["-32768", "32767"]),
    ("integer", &["-2147483648", "2147483647"]),
    ("bigint", &["-9223372036854775808", "9223372036854775807"]),
    (
        "numeric",
        &[
            "'NaN'",
            "'Infinity'",
            "'-Infinity'",
            "0.000",
            "-0",
            "1e-1000",
            "1e1000",
            "repeat('9', 4000)::numeric",
            "1.50",
            "1.5",
        ],
    ),
    ("numeric(1000,500)", &["1e499", "1e-500", "'NaN'"]),
    ("numeric(5,-2)", &["1234500"]),
    ("real", &["'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "1e-45", "3.4028235e38", "0.1", "16777217"]),
    (
        "double precision",
        &[
            "'NaN'",
            "'Infinity'",
            "'-Infinity'",
            "'-0'",
            "5e-324",
            "1.7976931348623157e308",
            "0.1",
            "0.30000000000000004",
        ],
    ),
    ("money", &["'-92233720368547758.08'", "'92233720368547758.07'", "0.01"]),
    ("date", &["'infinity'", "'-infinity'", "'4714-11-24 BC'", "'5874897-12-31'", "'0001-12-31 BC'", "'2024-02-29'"]),
    ("time", &["'24:00:00'", "'00:00:00.000001'", "'23:59:59.999999'"]),
    ("timetz", &["'24:00:00+15:59'", "'00:00:00-15:59:59'"]),
    (
        "timestamp",
        &[
            "'infinity'",
            "'-infinity'",
            "'4714-11-24 00:00:00 BC'",
            "'294276-12-31 23:59:59.999999'",
            "'1999-12-31 24:00:00'",
        ],
    ),
    (
        "timestamptz",
        &[
            "'infinity'",
            "'-infinity'",
            "'4714-11-24 00:00:00+00 BC'",
            "'294276-12-31 23:59:59.999999+00'",
            "'2024-03-31 01:59:59.5+00'",
        ],
    ),
    (
        "interval",
        &[
            "'1 month -1 day 25:00:00'",
            "'-1 year 2 mons -3 days 04:05:06.000007'",
            "'178000000 years'",
            "'-178000000 years'",
            "'1 day'",
            "'24 hours'",
            "'0'",
        ],
    ),
    (
        "text",
        &[
            "''",
            "' '",
            r"'\'",
            r"'\\'",
            r"'\N'",
            r"'\.'",
            r"E'a\n\\.\nb'",
            r"E'\t'",
            r"E'\r'",
            r"E'\r\n'",
            r"E'\n'",
            r"E'\b\f\x0B\x01\x7f'",
            "'NULL'",
            "'null'",
            "'''quoted'''",
            "'\"'",
            "'😀🇩🇪'",
            "E'e\\u0301'",
            "E'\\u200f\\ufeff'",
            "E'\\U0010FFFF'",
            "repeat(E'\\\\\\t', 5000)",
            "'{\"a\",NULL}'",
            "'$1'",
            "'%s'",
            "';--'",
        ],
    ),
    ("varchar(3)", &["''", "'ßÄ '", "'a  '"]),
    ("char(5)", &["''", "'a'", "'ßÄö  '", r"'\.'"]),
    ("name", &["repeat('n', 63)", "''"]),
    ("\"char\"", &["'a'", "''", r"'\'"]),
    ("bytea", &["''", r"'\x00'", r"'\x5c2e0a'", r"'\xdeadbeef00ff'", "decode(repeat('00ff5c0a', 3000), 'hex')"]),
    (
        "json",
        &[
            r#"'{"a": 1, "a": 2,   "b":[]}'"#,
            "'null'",
            r#"'"\u00e9\ud83d\ude00"'"#,
            "'1e400'",
            r#"'"\u0000"'"#,
            r#"' {} '"#,
        ],
    ),
    (
        "jsonb",
        &[
            r#"'{"a": 1, "b": [null, 1.10, 1e2], "": ""}'"#,
            "'null'",
            r#"'"\\ \" \n"'"#,
            r#"'12345678901234567890.0123456789'"#,
        ],
    ),
    ("jsonpath", &["'$.a[*] ? (@ > 1)'"]),
    ("xml", &["'<a b=\"1\">&lt;</a>'", "'text <b/> more'", "''"]),
    ("uuid", &["'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"]),
    ("inet", &["'192.168.0.1/24'", "'::ffff:1.2.3.4/128'", "'0.0.0.0/0'", "'fe80::1'"]),
    ("cidr", &["'10.0.0.0/8'", "'::/0'"]),
    ("macaddr", &["'08:00:2b:01:02:03'"]),
    ("macaddr8", &["'08:00:2b:01:02:03:04:05'"]),
    ("bit(5)", &["B'10101'"]),
    ("bit varying", &["B''", "B'1'", "B'0000000000000000000000000000000000000001'"]),
    ("oid", &["4294967295", "0"]),
    ("xid8", &["'18446744073709551615'"]),
    ("pg_lsn", &["'FFFFFFFF/FFFFFFFF'", "'0/0'"]),
    ("point", &["'(-0,Infinity)'", "'(NaN,1e-300)'", "'(0.1,0.30000000000000004)'"]),
    ("line", &["'{1,-1,0.1}'"]),
    ("lseg", &["'[(0,0),(1e300,-1e300)]'"]),
    ("box", &["'(3,4),(1,2)'"]),
    ("path", &["'[(0,0),(1,1),(2,0)]'", "'((0,0),(1,1))'"]),
    ("polygon", &["'((0,0),(1,1),(2,0))'"]),
    ("circle", &["'<(0.1,-0.2),3>'"]),
    ("tsvector", &["'a:1A,2B b ''it''''s'':3 \"'", "''"]),
    ("tsquery", &["'a & !(b | c:*A) <2> d'", "''"]),
    ("integer[]", &["'{}'", "'{NULL}'", "'[-2:0]={1,NULL,3}'", "'[0:1][5:6]={{1,2},{3,4}}'"]),
    ("text[]", &[r#"ARRAY['', 'NULL', NULL, 'null', '"', '\', ',', '{}', E'\n', ' a ', '😀']"#, "'{{a,b},{c,NULL}}'"]),
    ("bytea[]", &[r"ARRAY['\x00'::bytea, '\x', NULL]"]),
    ("json[]", &[r#"ARRAY['{"a":1,"a":2}'::json, NULL]"#]),
    ("timestamptz[]", &["ARRAY['infinity'::timestamptz, '0044-03-15 00:00:00+00 BC', NULL]"]),
    ("int4range", &["'empty'", "'(,)'", "'[1,10)'", "'(,5]'"]),
    ("numrange", &["'[1.50,1.5]'", "'(-Infinity,NaN]'"]),
    ("tstzrange", &["'[-infinity,infinity)'", "'[,2020-01-01 00:00:00+00)'", "'empty'"]),
    ("daterange", &["'[2020-01-01,infinity)'"]),
    ("span", &["'(2020-01-01 00:00:00+00,2021-01-01 00:00:00+00]'", "'empty'"]),
    ("int8multirange", &["'{}'", "'{(,1),[5,6),[10,)}'"]),
    ("nummultirange", &["'{[1.0,2.00)}'"]),
    ("mood", &["'so so'", "'it''s'", "'Ünï'", r#"'a,b"c\d'"#]),
    ("mood[]", &[r#"ARRAY['a,b"c\d', NULL, 'ok']::mood[]"#]),
    ("positive", &["1"]),
    ("word", &["''", r"'\N'"]),
    ("words", &["'{a,NULL,\"\"}'"]),
    (
        "inner_row",
        &[
            "ROW(NULL, NULL, NULL)",
            r#"ROW(1, E'a,"b"\\(c)\n', ARRAY['infinity'::timestamptz, NULL])"#,
            "ROW(NULL, '', '{}')",
        ],
    ),
    (
        "outer_row",
        &[
            r#"ROW(ROW(1, '', NULL), ARRAY[ROW(NULL, '"', '{}')::inner_row, NULL], 5, 'a,b"c\d')"#,
            "ROW(NULL, NULL, NULL, NULL)",
        ],
    ),
    ("inner_row[]", &["ARRAY[ROW(1, 'x', NULL)::inner_row, NULL]"]),
    ("regclass", &["'pg_class'"]),
    ("pg_snapshot", &["'10:20:10,14,15'"]),
];

fn column(n: usize) -> String {
    format!("\"c{n} \"\"ü\"")
}

/// A table with every column, dropped ones in between, and a name that needs quotes.
fn ddl(identity: &str) -> String {
    let mut sql =
        format!("{TYPES} CREATE TABLE \"Odd; \"\"name\" (id integer {identity}, gone1 text, gone2 integer DEFAULT 7");
    for (n, (ty, _)) in COLUMNS.iter().enumerate() {
        sql += &format!(", {} {ty}", column(n));
    }
    sql += "); ALTER TABLE \"Odd; \"\"name\" DROP COLUMN gone1, ALTER COLUMN gone2 SET NOT NULL; ALTER TABLE \"Odd; \"\"name\" DROP COLUMN gone2;";
    sql
}

/// One row per value, the other columns NULL (the domain that refuses NULL has a word), ids from `base`.
fn inserts(base: usize) -> Vec<String> {
    let word = COLUMNS.iter().position(|(ty, _)| *ty == "word").unwrap();
    let mut list = Vec::new();
    let mut id = base;
    for (n, (ty, values)) in COLUMNS.iter().enumerate() {
        for value in *values {
            id += 1;
            let also = if n == word { (String::new(), "") } else { (format!(", {}", column(word)), ", 'w'") };
            list.push(format!(
                "INSERT INTO \"Odd; \"\"name\" (id, {}{}) VALUES ({id}, ({value})::{ty}{})",
                column(n),
                also.0,
                also.1
            ));
        }
    }
    // And one row that is full.
    let columns = (0..COLUMNS.len()).map(column).collect::<Vec<_>>().join(", ");
    let values = COLUMNS.iter().map(|(ty, values)| format!("({})::{ty}", values[0])).collect::<Vec<_>>().join(", ");
    list.push(format!("INSERT INTO \"Odd; \"\"name\" (id, {columns}) VALUES ({}, {values})", base + 9_000));
    list
}

/// Changes rows so that every value is also the value of an old row.
const CHANGES: &str = "
    UPDATE \"Odd; \"\"name\" SET id = id + 100000 WHERE id % 3 = 0;
    DELETE FROM \"Odd; \"\"name\" WHERE id % 3 = 1 AND id > 10000;
    UPDATE \"Odd; \"\"name\" SET \"c0 \"\"ü\" = NULL WHERE id % 5 = 0";

const TABLES: &str = "    - name: \"\\\"Odd; \\\"\\\"name\\\"\"
      columns: { id: { type: bigint } }
";

async fn by_copy_and_by_stream(name: &str, identity: &str, after: &str, in_batches: bool) {
    let pair = TestPair::start(15, 15);
    // Settings that change how values are written, on roles and databases of both ends.
    let ddl = format!("{} {after}", ddl(identity));
    let stage = Stage::with_target(&pair, name, &ddl, TYPES, TABLES, "").await;
    for client in [&stage.source, &stage.target] {
        for setting in [
            "datestyle TO 'German'",
            "intervalstyle TO 'sql_standard'",
            "extra_float_digits TO 0",
            "bytea_output TO 'escape'",
            "timezone TO 'Asia/Kathmandu'",
            "xmloption TO 'document'",
        ] {
            run(client, &format!("ALTER DATABASE \"{name}\" SET {setting}")).await;
        }
    }
    for sql in inserts(0) {
        run(&stage.source, &sql).await;
    }
    stage.migration.plan();
    let mut running = stage.start("");
    running.wait_for("\"gate\"");
    let columns = (0..COLUMNS.len()).map(column).collect::<Vec<_>>().join(", ");
    let query = format!("SELECT id, {columns} FROM \"Odd; \"\"name\"");
    stage.assert_equal(&query, &query).await;
    if in_batches {
        run(&stage.source, &format!("BEGIN; {}; COMMIT", inserts(20_000).join("; "))).await;
    } else {
        for sql in inserts(20_000) {
            run(&stage.source, &sql).await;
        }
    }
    stage.until_applied().await;
    stage.assert_equal(&query, &query).await;
    let streamed = text(&stage.target, "SELECT count(*)::text FROM \"Odd; \"\"name\" WHERE id > 20000").await;
    assert!(streamed.parse::<u32>().unwrap() > 150, "{streamed} rows");
    run(&stage.source, CHANGES).await;
    stage.until_applied().await;
    stage.assert_equal(&query, &query).await;
    if in_batches {
        // Every value is written over by itself, in rows that are found by their keys.
        let all = (0..COLUMNS.len()).map(|n| format!("{0} = {0}", column(n))).collect::<Vec<_>>().join(", ");
        run(&stage.source, &format!("UPDATE \"Odd; \"\"name\" SET {all}")).await;
        run(&stage.source, "DELETE FROM \"Odd; \"\"name\" WHERE id % 7 = 0").await;
        stage.until_applied().await;
        stage.assert_equal(&query, &query).await;
        let said = tokio::task::block_in_place(|| running.interrupt());
        let count = |name| Stage::counter(&said, name);
        assert!(count("batches_together") >= 3 && count("batches_again") == 0, "{:?}", said.counters());
    } else {
        running.kill();
    }
    stage.cut_over().assert_switched();
    stage.assert_equal(&query, &query).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_key() {
    by_copy_and_by_stream("keyed", "PRIMARY KEY", "", false).await;
}

/// Every value is compared as part of an old row.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_key() {
    by_copy_and_by_stream("loose", "", "ALTER TABLE \"Odd; \"\"name\" REPLICA IDENTITY FULL", false).await;
}

/// The values of many rows travel together.
#[tokio::test(flavor = "multi_thread")]
async fn in_batches() {
    by_copy_and_by_stream("batches", "PRIMARY KEY", "", true).await;
}

/// What jsonb cannot hold is refused by the copy and by the stream, and the message says where.
#[tokio::test(flavor = "multi_thread")]
async fn json_with_a_zero_character() {
    let pair = TestPair::start(15, 15);
    let ddl = "CREATE TABLE items (id integer PRIMARY KEY, doc json); INSERT INTO items VALUES (1, '{\"a\": 1}')";
    let tables = "    - name: items\n      columns: { doc: { type: jsonb } }\naccept:\n  - { code: LOSSY_CAST, address: public.items.doc, reason: test }\n";
    let stage = Stage::new(&pair, "zero", ddl, tables, "").await;
    let mut running = stage.start("");
    running.wait_for("\"gate\"");
    run(&stage.source, r#"INSERT INTO items VALUES (2, '"canary \u0000"')"#).await;
    let said = tokio::task::block_in_place(|| running.finish());
    let clear = |said: &str| said.contains("22P05") && said.contains("public.items") && !said.contains("canary");
    assert!(said.code == Some(1) && clear(&said.stderr), "{:?} {}", said.code, said.stderr);
    assert_eq!(text(&stage.target, "SELECT count(*)::text FROM items").await, "1");
    let again = stage.cut_over();
    assert!(again.code == Some(1) && clear(&again.stderr), "{:?} {}", again.code, again.stderr);
    // Mended on the source it is read again as it is now; the value that is still in the stream is none of it.
    run(&stage.source, "UPDATE items SET doc = '2' WHERE id = 2").await;
    stage.cut_over().assert_switched();
    assert_eq!(text(&stage.target, "SELECT doc::text FROM items WHERE id = 2").await, "2");

    // By the copy: the plan's checks refuse it, or the copy does.
    for cluster in [&pair.source, &pair.target] {
        run(&crate::support::connect_to(cluster, "postgres").await, "CREATE DATABASE copied").await;
    }
    let source = crate::support::connect_to(&pair.source, "copied").await;
    run(
        &source,
        r#"CREATE TABLE items (id integer PRIMARY KEY, doc json); INSERT INTO items VALUES (2, '"canary \u0000"')"#,
    )
    .await;
    let migration = Migration::between(&pair, "copied", tables, "  replication_slot: pcrd_copied\n");
    let planned = migration.run(&["plan", "--out", "plan.json"]);
    let mut said = String::from_utf8_lossy(&planned.stderr).into_owned();
    if planned.status.success() {
        let ran = tokio::task::block_in_place(|| migration.cut_over(""));
        assert_ne!(ran.code, Some(0), "it was cut over");
        said = ran.stderr;
    }
    assert!(said.contains("public.items") && !said.contains("canary"), "{said}");
}

/// A table that has rows and no columns, and one whose only column was dropped.
#[tokio::test(flavor = "multi_thread")]
async fn no_columns() {
    let pair = TestPair::start(15, 15);
    for (name, ddl) in [
        ("never", "CREATE TABLE items (); ALTER TABLE items REPLICA IDENTITY FULL; INSERT INTO items DEFAULT VALUES"),
        (
            "dropped",
            "CREATE TABLE items (a integer); ALTER TABLE items REPLICA IDENTITY FULL; INSERT INTO items VALUES (1), (2); ALTER TABLE items DROP COLUMN a",
        ),
    ] {
        for cluster in [&pair.source, &pair.target] {
            run(&crate::support::connect_to(cluster, "postgres").await, &format!("CREATE DATABASE {name}")).await;
        }
        let source = crate::support::connect_to(&pair.source, name).await;
        run(&source, ddl).await;
        let migration =
            Migration::between(&pair, name, "    - name: items\n", &format!("  replication_slot: pcrd_{name}\n"));
        let planned = migration.run(&["plan", "--out", "plan.json"]);
        let said = String::from_utf8_lossy(&planned.stderr).into_owned();
        assert!(
            !planned.status.success() && said.contains("public.items is a table without a column"),
            "{name}: {said}"
        );
    }
}
