//! Names that break out of naive SQL, config, plan, terminal and protocol: database, role, schema, tables, columns,
//! key, index, constraints, sequences, types, defaults and comments, through the whole path, under writes.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::migration::Migration;
use crate::support::{TestPair, connect, connect_to, rows, run, sorted_copy, text};

const DATABASE: &str = "d\"b'; -- $$ é %s {}";
const ROLE: &str = "r'o\"le %s {} $1";
const SCHEMA: &str = "s\"1' .;-- %s {}";
const OTHER_SCHEMA: &str = "TABLE";
/// Holds the placeholders of statements that the executor fills in, and ends in a blank.
const PARENT: &str = "t\"a'b\\e;-- $$ ($migration)\n\t$until $sentinel ";
const CHILD: &str = "$lo $hi (select) $ctid_range";
/// A name of pcrd's own.
const EMPTIED: &str = "pcrd_fence";
const ENUM: &str = "e(n)u\"m'ty;pe--";
const DOMAIN: &str = "d(o)m\"a'in";

/// Column of the source, its type, its new name on the target.
fn columns() -> Vec<(String, &'static str, String)> {
    let mut columns = vec![
        ("k\"e'y\n;--".to_owned(), "integer", "new\"k'ey\t\\".to_owned()),
        (" lead and trail ".to_owned(), "text", "from\";DROP TABLE x;--".to_owned()),
        ("select".to_owned(), "integer", "table".to_owned()),
        ("MiXed Case".to_owned(), "numeric(10,2)", "mixed case".to_owned()),
        ("😀𝒳".to_owned(), "jsonb", "𝒳😀".to_owned()),
        // 63 bytes each, at the limit.
        ("é".repeat(30) + "abc", "text", "ü".repeat(31) + "x"),
        ("it's".to_owned(), "text", "it's".to_owned()),
        ("$1".to_owned(), "text", "$2".to_owned()),
        ("%s{}%%".to_owned(), "bytea", "{}%n".to_owned()),
        ("a\\nb".to_owned(), "timestamptz", "a\nb".to_owned()),
        ("se\"q".to_owned(), "bigint", "se\"q".to_owned()),
    ];
    // Names that statements of pcrd use themselves.
    for own in ["n", "k", "row", "lsn", "ctid2", "s", "t", "v0", "k0", "o", "u", "f", "at", "r", "h", "pcrd"] {
        columns.push((own.to_owned(), "integer", own.to_owned()));
    }
    // Two of them change places.
    columns.push(("x y".to_owned(), "text", "y x".to_owned()));
    columns.push(("y x".to_owned(), "text", "x y".to_owned()));
    columns
}

fn q(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn in_schema(schema: &str, name: &str) -> String {
    format!("{}.{}", q(schema), q(name))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

const DEFAULT: &str = "'it''s \\ $$ %s {} \"q\"\n;--'";
const COMMENT: &str = "it's \"a\" \\ comment;\n-- $$ %s {} '; DROP TABLE x";

fn types() -> String {
    format!(
        "CREATE SCHEMA {schema}; CREATE TYPE {} AS ENUM ('a''b\"c\\d;--', 'plain', '{{,}}'); \
         CREATE DOMAIN {} AS text CHECK (VALUE <> 'x''\"y;--')",
        in_schema(SCHEMA, ENUM),
        in_schema(SCHEMA, DOMAIN),
        schema = q(SCHEMA),
    )
}

fn ddl() -> String {
    let (parent, child) = (in_schema(SCHEMA, PARENT), in_schema(SCHEMA, CHILD));
    let key = q("k\"e'y\n;--");
    let listed: Vec<String> = columns().iter().map(|(name, ty, _)| format!("{} {ty}", q(name))).collect();
    let own =
        columns().iter().filter(|column| column.1 == "integer").skip(2).map(|column| q(&column.0)).collect::<Vec<_>>();
    format!(
        "{types}; CREATE SCHEMA {other}; \
         CREATE TABLE {parent} ({columns}, {enum_column} {enum_type} DEFAULT 'a''b\"c\\d;--', {domain_column} {domain}, \
           {dropped} text, CONSTRAINT {pk} PRIMARY KEY ({key}), \
           CONSTRAINT {check} CHECK (\"MiXed Case\" >= 0 AND \" lead and trail \" <> 'no''pe \"k\"\"e\" $$ ;--'), \
           CONSTRAINT {unique} UNIQUE (\"select\", {key})); \
         ALTER TABLE {parent} ALTER COLUMN \"it's\" SET DEFAULT {DEFAULT}; \
         CREATE SEQUENCE {sequence} OWNED BY {parent}.\"se\"\"q\"; \
         ALTER TABLE {parent} ALTER COLUMN \"se\"\"q\" SET DEFAULT nextval({sequence_text}); \
         CREATE INDEX {index} ON {parent} (lower(\" lead and trail \"), (\"select\" + 1)) WHERE \"MiXed Case\" IS NOT NULL; \
         COMMENT ON TABLE {parent} IS {comment}; COMMENT ON COLUMN {parent}.{key} IS {comment}; \
         CREATE TABLE {child} ({child_key} integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, {reference} integer NOT NULL, b boolean, \
           CONSTRAINT {fk} FOREIGN KEY ({reference}) REFERENCES {parent} ({key})); \
         CREATE TABLE {emptied} (\"pcrd\" text COLLATE \"C\" PRIMARY KEY, \"migration\" text); \
         INSERT INTO {parent} ({key}, \" lead and trail \", \"select\", \"MiXed Case\", \"😀𝒳\", \"$1\", \"%s{{}}%%\", \"a\\nb\", {own}, {dropped}) \
           SELECT g, E'it''s\\t\\\\N\\n' || g, g, g, jsonb_build_object('k\"', g), '\\.', '\\x00ff'::bytea, now(), {numbers}, 'x' \
           FROM generate_series(1, 3000) g; \
         UPDATE {parent} SET {key} = {key}, {enum_column} = 'plain' WHERE {key} % 7 = 0; \
         INSERT INTO {child} ({reference}) SELECT 1 + g % 50 FROM generate_series(1, 500) g; \
         INSERT INTO {emptied} SELECT 'k''\"' || g, repeat('x', g) FROM generate_series(1, 300) g; ANALYZE",
        types = types(),
        other = q(OTHER_SCHEMA),
        columns = listed.join(", "),
        enum_column = q("en\"um"),
        enum_type = in_schema(SCHEMA, ENUM),
        domain_column = q("do;--"),
        domain = in_schema(SCHEMA, DOMAIN),
        dropped = q("gone;--\"'"),
        pk = q("pk\"'\n;--"),
        check = q("ck\" '$$ {} %s"),
        unique = q("un\"'iq"),
        sequence = in_schema(SCHEMA, "se\"q'u\\e"),
        sequence_text = literal(&in_schema(SCHEMA, "se\"q'u\\e")),
        index = q("ix\"'\n;-- é*"),
        comment = literal(COMMENT),
        child_key = q("i'd\""),
        reference = q("re f\""),
        fk = q("fk\"'\\"),
        emptied = in_schema(OTHER_SCHEMA, EMPTIED),
        own = own.join(", "),
        numbers = vec!["g"; own.len()].join(", "),
    )
}

fn config(pair: &TestPair) -> String {
    let address = |schema, name| pcrd::catalog::QualifiedName::new(schema, name).unwrap().to_string();
    let end = |port: u16| json!({"host": "127.0.0.1", "port": port, "database": DATABASE, "user": ROLE});
    let mut changes = serde_json::Map::new();
    for (name, ty, new) in columns() {
        let mut change = serde_json::Map::new();
        if name != new {
            change.insert("rename".to_owned(), json!(new));
        }
        match ty {
            "numeric(10,2)" => drop(change.insert("type".to_owned(), json!("numeric(14,4)"))),
            "integer" if name.starts_with("k\"") => drop(change.insert("type".to_owned(), json!("bigint"))),
            _ => {}
        }
        changes.insert(name, serde_json::Value::Object(change));
    }
    changes.insert("gone;--\"'".to_owned(), json!({"drop": true}));
    // JSON is YAML.
    json!({
        "source": end(pair.source.port()),
        "target": end(pair.target.port()),
        "migrate": {
            "checkpoint_db": "./state.sqlite3",
            "batch_size": 200,
            "max_rows_per_second": 1500,
            "tables": [
                {"name": address(SCHEMA, PARENT), "optimize_column_order": true, "columns": changes},
                {"name": address(SCHEMA, CHILD), "columns": {"re f\"": {"rename": "ref';--", "type": "bigint"}}},
                {"name": address(OTHER_SCHEMA, EMPTIED), "target": address(SCHEMA, "pcrd.migration"), "columns": {"migration": {"rename": "user"}}},
            ],
        },
        "cutover": {"fence_timeout": 60},
    })
    .to_string()
}

async fn prepare(pair: &TestPair) -> (Client, Client) {
    for cluster in [&pair.source, &pair.target] {
        let admin = connect_to(cluster, "postgres").await;
        run(&admin, &format!("CREATE ROLE {} SUPERUSER LOGIN", q(ROLE))).await;
        run(&admin, &format!("CREATE DATABASE {} OWNER {}", q(DATABASE), q(ROLE))).await;
    }
    let source = connect_to(&pair.source, DATABASE).await;
    run(&source, &ddl()).await;
    let target = connect_to(&pair.target, DATABASE).await;
    run(&target, &types()).await;
    (source, target)
}

/// Changes everything, one small transaction after the other, until the fence stops it. Gives the number of commits.
fn write(client: Client, truncates: bool) -> JoinHandle<u32> {
    let (parent, child, emptied) =
        (in_schema(SCHEMA, PARENT), in_schema(SCHEMA, CHILD), in_schema(OTHER_SCHEMA, EMPTIED));
    tokio::spawn(async move {
        let key = q("k\"e'y\n;--");
        for n in 1.. {
            let (fresh, old) = (10_000 + n, 100 + n * 13 % 2_900);
            let empty = if truncates && n % 60 == 0 { format!("TRUNCATE {emptied};") } else { String::new() };
            let sql = format!(
                "BEGIN; INSERT INTO {parent} ({key}, \" lead and trail \", \"select\", \"é\", \"$1\") VALUES ({fresh}, '\\N', {n}, NULL, '$1'); \
                 UPDATE {parent} SET \"x y\" = 'x''{n}', \"y x\" = E'y\\\\\\t{n}', n = n + 1, t = {n}, row = {n} WHERE {key} = {old}; \
                 UPDATE {parent} SET {key} = {key} + 100000 WHERE {key} = {old} + 1; \
                 UPDATE {parent} SET \"en\"\"um\" = '{{,}}', \"do;--\" = 'd\"' WHERE {key} = {old} + 2; \
                 DELETE FROM {parent} WHERE {key} = {old} + 3; {empty} \
                 INSERT INTO {child} (\"re f\"\"\", b) VALUES (1 + {n} % 50, true); \
                 UPDATE {child} SET b = NOT b WHERE \"i'd\"\"\" = {n} % 400; DELETE FROM {child} WHERE \"i'd\"\"\" = 400 + {n} % 90; \
                 INSERT INTO {emptied} VALUES ('w''\"{n}', NULL); COMMIT"
            )
            .replace("\"é\"", &q(&("é".repeat(30) + "abc")))
            .replace(" row =", " \"row\" =");
            match client.batch_execute(&sql).await {
                Ok(()) => {}
                Err(error) if error.code().is_some_and(|code| code.code() == "25006") => return n - 1,
                Err(error) => panic!("{error:?}: {sql}"),
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        unreachable!()
    })
}

/// What each table holds, first on the source, then on the target.
fn queries() -> [(String, String); 3] {
    let of = |name: &str, ty: &str| if ty == "numeric(10,2)" { format!("{}::numeric(14,4)", q(name)) } else { q(name) };
    let source: Vec<String> = columns().iter().map(|(name, ty, _)| of(name, ty)).collect();
    let target: Vec<String> = columns().iter().map(|(_, _, new)| q(new)).collect();
    let (parent, child) = (in_schema(SCHEMA, PARENT), in_schema(SCHEMA, CHILD));
    let emptied = in_schema(OTHER_SCHEMA, EMPTIED);
    [
        (
            format!("SELECT {}, \"en\"\"um\", \"do;--\" FROM {parent}", source.join(", ")),
            format!("SELECT {}, \"en\"\"um\", \"do;--\" FROM {parent}", target.join(", ")),
        ),
        (
            format!("SELECT \"i'd\"\"\", \"re f\"\"\", b FROM {child}"),
            format!("SELECT \"i'd\"\"\", \"ref';--\", b FROM {child}"),
        ),
        (
            format!("SELECT pcrd, migration FROM {emptied}"),
            format!("SELECT pcrd, \"user\" FROM {}", in_schema(SCHEMA, "pcrd.migration")),
        ),
    ]
}

async fn names_and_texts(client: &Client, emptied: &str) -> Vec<Vec<Option<String>>> {
    let tables = format!(
        "ANY (ARRAY[{}, {}, {}]::regclass[])",
        literal(&in_schema(SCHEMA, PARENT)),
        literal(&in_schema(SCHEMA, CHILD)),
        literal(emptied)
    );
    let query = format!(
        "SELECT 'constraint', conname::text, contype::text FROM pg_constraint WHERE conrelid = {tables} AND contype <> 'n' \
         UNION ALL SELECT 'index', relname, indisunique::text FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE indrelid = {tables} \
         UNION ALL SELECT 'comment', CASE WHEN objsubid > 0 THEN 'column' END, description FROM pg_description WHERE objoid = {tables} \
         UNION ALL SELECT 'sequence', relname, NULL FROM pg_class WHERE relkind = 'S' AND relnamespace = {}::regnamespace \
         UNION ALL SELECT 'default', attname, pg_get_expr(adbin, adrelid) FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum \
           WHERE adrelid = {tables} ORDER BY 1, 2, 3",
        literal(&q(SCHEMA)),
    );
    rows(client, &query).await
}

async fn migrates(source_major: u32, target_major: u32) {
    let pair = TestPair::start(source_major, target_major);
    let (source, target) = prepare(&pair).await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("pcrd.config.yml"), config(&pair)).unwrap();
    let migration = Migration { dir, environment: Vec::new() };
    migration.plan();
    let before = names_and_texts(&source, &in_schema(OTHER_SCHEMA, EMPTIED)).await;

    let mut as_role = pair.source.conninfo(DATABASE);
    as_role.user = ROLE.to_owned();
    let writer = write(connect(&as_role).await, source_major >= 11);
    migration.cut_over("").assert_switched();
    let commits = writer.await.unwrap();
    assert!(commits > 100, "only {commits} transactions were written");

    for (on_source, on_target) in queries() {
        let left = sorted_copy(&source, &on_source).await;
        let right = sorted_copy(&target, &on_target).await;
        assert!(!left.is_empty());
        assert!(left == right, "{}\n---\n{}", String::from_utf8_lossy(&left), String::from_utf8_lossy(&right));
    }
    assert_eq!(names_and_texts(&target, &in_schema(SCHEMA, "pcrd.migration")).await, before);
    // The target works on its own: default, sequence, identity, constraints.
    let parent = in_schema(SCHEMA, PARENT);
    run(&target, &format!("INSERT INTO {parent} (\"new\"\"k'ey\t\\\") VALUES (5000000000)")).await;
    let inserted = format!("SELECT \"it's\" FROM {parent} WHERE \"new\"\"k'ey\t\\\" = 5000000000");
    assert_eq!(text(&target, &inserted).await, "it's \\ $$ %s {} \"q\"\n;--");
    let refused = format!("INSERT INTO {parent} (\"new\"\"k'ey\t\\\", \"mixed case\") VALUES (5000000001, -1)");
    let error = target.batch_execute(&refused).await.unwrap_err();
    assert_eq!(error.as_db_error().unwrap().constraint(), Some("ck\" '$$ {} %s"));
    run(&target, &format!("DELETE FROM {parent} WHERE \"new\"\"k'ey\t\\\" = 5000000000")).await;

    assert!(migration.ok(&["verify"]).contains("passed in full"));
    migration.ok(&["status"]);
    let address = pcrd::catalog::QualifiedName::new(SCHEMA, CHILD).unwrap().to_string();
    migration.ok(&["cleanup", "--yes", "--drop-source", "--yes-drop", &address]);
    let left = format!("SELECT count(*) FROM pg_class WHERE oid = to_regclass({})", literal(&in_schema(SCHEMA, CHILD)));
    assert_eq!(text(&source, &left).await, "0");
    let left = "SELECT (SELECT count(*) FROM pg_replication_slots) + (SELECT count(*) FROM pg_publication)";
    assert_eq!(text(&source, left).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_on_15() {
    migrates(15, 15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_from_10_to_18() {
    migrates(10, 18).await;
}
