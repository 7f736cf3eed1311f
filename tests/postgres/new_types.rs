//! Types of users that the target lacks are created there as they are on the source, and go with what was created.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use crate::migration::Migration;
use crate::stage::Stage;
use crate::support::{TestPair, connect_to, run, text};
use crate::way_back::{assert_code, wait};

/// Of every kind, made of one another, with names and words that must be quoted.
const TYPES: &str = r#"CREATE SCHEMA "the Types"; SET search_path = pg_catalog;
    CREATE TYPE "the Types"."Mo""od" AS ENUM ('first', 'sad', 'it''s \ok', 'a,b', '$1');
    ALTER TYPE "the Types"."Mo""od" ADD VALUE 'between' BEFORE 'sad';
    CREATE TYPE public.empty AS ENUM ();
    CREATE DOMAIN public.name_c AS text COLLATE "C" DEFAULT 'n/a' NOT NULL CONSTRAINT "not ""short" CHECK (length(VALUE) > 1);
    CREATE DOMAIN "the Types".moods AS "the Types"."Mo""od"[] CHECK (array_length(VALUE, 1) < 9);
    CREATE TYPE public.pair AS ("a b" "the Types".moods, n public.name_c, c text COLLATE "POSIX", v varchar(7), d numeric(9,2)[]);
    CREATE TYPE public.nothing AS ();
    CREATE TYPE public.words AS RANGE (subtype = text, subtype_opclass = text_pattern_ops, collation = "C");
    CREATE TYPE public.measured AS RANGE (subtype = float8, subtype_diff = float8mi);
    CREATE TYPE public.of_pairs AS (p public.pair, r public.words[]);
    RESET search_path"#;
const TABLE: &str = r#"CREATE TABLE items (id integer PRIMARY KEY, mood "the Types"."Mo""od" DEFAULT 'sad', moods "the Types".moods,
    name public.name_c, pairs pair[], w words, m measured, o of_pairs, e empty, z nothing);
    INSERT INTO items SELECT g, (ARRAY['first', 'sad', 'a,b', '$1'])[g % 4 + 1]::"the Types"."Mo""od", ARRAY['sad', 'first']::"the Types"."Mo""od"[],
    'name ' || g, ARRAY[ROW(ARRAY['sad']::"the Types"."Mo""od"[], 'nn', 'c', 'v', ARRAY[g, NULL])::pair, NULL], words('a', 'b' || g),
    measured(g, g + 0.5), ROW(ROW(NULL, 'n' || g, NULL, '"q"', NULL)::pair, ARRAY[words('x', 'z')])::of_pairs, NULL, ROW()::nothing
    FROM generate_series(1, 300) g; ANALYZE items"#;
const CHANGES: &str = r#"UPDATE items SET mood = 'it''s \ok', m = 'empty' WHERE id % 3 = 0; DELETE FROM items WHERE id % 7 = 0;
    INSERT INTO items (id, mood, name, w, o) VALUES (1000, 'first', 'new name', '[a,)', ROW(NULL, ARRAY['(,z]'::words]));
    UPDATE items SET id = id + 5000, moods = '{a\,b,"a,b"}'::text[]::"the Types"."Mo""od"[] WHERE id % 50 = 1 AND false"#;

/// What a type is, from the catalogs and not from pcrd.
async fn catalog(client: &Client) -> BTreeMap<String, String> {
    let query = r"SELECT format('%I.%I', n.nspname, t.typname), concat_ws(' | ', t.typtype,
        (SELECT string_agg(enumlabel, ',' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid),
        CASE t.typtype WHEN 'd' THEN format_type(t.typbasetype, t.typtypmod) END, t.typnotnull, t.typdefault, nullif(t.typcollation::regcollation::text, '-'),
        (SELECT string_agg(concat(conname, pg_get_constraintdef(oid)), ',' ORDER BY conname) FROM pg_constraint WHERE contypid = t.oid AND contype = 'c'),
        (SELECT string_agg(concat(attname, ' ', format_type(atttypid, atttypmod), ' ', attcollation::regcollation), ',' ORDER BY attnum) FROM pg_attribute
         WHERE attrelid = t.typrelid AND attnum > 0),
        (SELECT concat(format_type(rngsubtype, NULL), ' ', opcname, ' ', rngcollation::regcollation, ' ', rngsubdiff) FROM pg_range
         JOIN pg_opclass c ON c.oid = rngsubopc WHERE rngtypid = t.oid))
        FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class r ON r.oid = t.typrelid
        WHERE n.nspname IN ('public', 'the Types') AND t.typtype IN ('e', 'd', 'c', 'r') AND coalesce(r.relkind, 'c') = 'c'";
    let query = if text(client, "SHOW server_version_num").await.parse::<u32>().unwrap() >= 130_000 {
        query.to_owned()
    } else {
        query.replace("::regcollation", "::oid")
    };
    let rows = crate::support::rows(client, &query).await;
    rows.into_iter().map(|row| (row[0].clone().unwrap(), row[1].clone().unwrap())).collect()
}

async fn types_of_every_kind(source_major: u32, target_major: u32) {
    let pair = TestPair::start(source_major, target_major);
    let multirange = if source_major >= 14 && target_major >= 14 {
        "; CREATE TYPE public.span AS RANGE (subtype = int8, multirange_type_name = \"the Types\".\"Spans\"); \
         ALTER TABLE items ADD COLUMN spans \"the Types\".\"Spans\"; UPDATE items SET spans = '{[1,3),[7,9)}'"
    } else {
        ""
    };
    let ddl = format!("{TYPES}; {TABLE}{multirange}");
    let tables = "    - { name: items, columns: { id: { type: bigint } } }\n";
    let stage = Stage::new(&pair, "types", &ddl, tables, "").await;
    let mut apply = stage.start_through("");
    tokio::task::block_in_place(|| apply.wait_for("\"work\":\"copy\""));
    run(&stage.source, CHANGES).await;
    wait(apply).assert_switched();
    stage.assert_equal("SELECT * FROM items", "SELECT * FROM items").await;
    let (here, there) = (catalog(&stage.source).await, catalog(&stage.target).await);
    assert!(here.len() >= 9, "{here:?}");
    if source_major >= 13 {
        assert_eq!(here, there);
    } else {
        // OIDs of collations are those of each cluster.
        assert_eq!(here.keys().collect::<Vec<_>>(), there.keys().collect::<Vec<_>>());
    }
    // Another label is the source's own affair now.
    run(&stage.source, "ALTER TYPE \"the Types\".\"Mo\"\"od\" ADD VALUE 'later'").await;
    stage.migration.ok(&["verify"]);
    stage.migration.ok(&["cleanup", "--yes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_every_kind_on_15() {
    types_of_every_kind(15, 15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_every_kind_from_10_to_18() {
    types_of_every_kind(10, 18).await;
}

const MOOD: &str = "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE items (id integer PRIMARY KEY, m mood, t text); \
    INSERT INTO items SELECT g, 'ok', 'sad' FROM generate_series(1, 100) g; ANALYZE items";
const ITEMS: &str = "    - { name: items }\n";

async fn has_type(client: &Client) -> bool {
    text(client, "SELECT to_regtype('public.mood') IS NOT NULL").await == "t"
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_given_up_leaves_none_behind() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "given_up", MOOD, ITEMS, "").await;
    assert!(!has_type(&stage.target).await, "a plan writes nothing");
    let mut apply = stage.start("");
    tokio::task::block_in_place(|| apply.wait_for("\"ready\":true"));
    assert!(has_type(&stage.target).await);
    stage.migration.ok(&["abort", "--yes"]);
    let _said = wait(apply);
    assert!(!has_type(&stage.target).await);
    // And begins afresh; what somebody has made of the type keeps it.
    let mut apply = stage.start("");
    tokio::task::block_in_place(|| apply.wait_for("\"ready\":true"));
    run(&stage.target, "CREATE TABLE others (m mood)").await;
    stage.migration.ok(&["abort", "--yes"]);
    let _said = wait(apply);
    assert!(has_type(&stage.target).await);
    assert_eq!(text(&stage.target, "SELECT to_regclass('items') IS NULL").await, "t");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_was_altered_since_the_plan_is_told() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "altered", MOOD, ITEMS, "").await;
    run(&stage.source, "ALTER TYPE mood ADD VALUE 'happy' AFTER 'ok'").await;
    let said = stage.cut_over();
    assert_code(&said, Some(4));
    assert!(
        said.stderr.contains("type public.mood") && said.stderr.contains("altered on the source"),
        "{}",
        said.stderr
    );
    assert!(!has_type(&stage.target).await);
    stage.migration.plan();
    stage.cut_over().assert_switched();
    assert_eq!(text(&stage.target, "SELECT enum_range(NULL::mood)").await, "{sad,ok,happy}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_that_came_later_stops_the_row_that_has_it_until_the_target_has_it_too() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "later", MOOD, ITEMS, "").await;
    let mut apply = stage.start("");
    tokio::task::block_in_place(|| apply.wait_for("\"ready\":true"));
    run(&stage.source, "ALTER TYPE mood ADD VALUE 'happy'").await;
    run(&stage.source, "INSERT INTO items VALUES (1000, 'ok')").await;
    stage.until_target("SELECT count(*) = 1 FROM items WHERE id = 1000").await;
    run(&stage.source, "INSERT INTO items VALUES (1001, 'happy')").await;
    let said = wait(apply);
    assert!(said.code != Some(0) && said.stderr.contains("22P02"), "{}", said.stderr);
    run(&stage.target, "ALTER TYPE mood ADD VALUE 'happy'").await;
    stage.cut_over().assert_switched();
    stage.assert_equal("SELECT * FROM items", "SELECT * FROM items").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_plan_goes_on_with_the_types_that_are_there() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "adopted", MOOD, ITEMS, "").await;
    let mut apply = stage.start("");
    tokio::task::block_in_place(|| apply.wait_for("\"ready\":true"));
    let _said = apply.kill();
    let path = stage.migration.dir.path().join("pcrd.config.yml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config.replace("{ name: items }", "{ name: items, columns: { t: { rename: words } } }"))
        .unwrap();
    stage.migration.ok(&["plan", "--out", "other.json"]);
    let adopt = ["--json", "apply", "other.json", "--adopt", "--yes", "--through", "cutover"];
    let said = wait(stage.migration.start(&adopt, ""));
    said.assert_switched();
    stage.assert_equal("SELECT id, m, t FROM items", "SELECT id, m, words FROM items").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_made_of_a_type_that_is_not_there_yet() {
    let pair = TestPair::start(15, 15);
    let tables = "    - name: items\n      where: m <> 'sad'\n      columns:\n        t: { type: mood, using: \"t::public.mood\" }\n";
    let ddl = format!("{MOOD}; INSERT INTO items VALUES (1000, 'sad', 'ok')");
    for cluster in [&pair.source, &pair.target] {
        run(&connect_to(cluster, "postgres").await, "CREATE DATABASE made").await;
    }
    let (source, target) = (connect_to(&pair.source, "made").await, connect_to(&pair.target, "made").await);
    run(&source, &ddl).await;
    let migration = Migration::between(&pair, "made", tables, "  replication_slot: made");
    let path = migration.dir.path().join("pcrd.config.yml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{config}accept: [{{ code: ROW_FILTER, address: public.items, reason: test }}]\n"))
        .unwrap();
    migration.plan();
    let stage = Stage { name: "made".to_owned(), source, target, migration };
    let mut apply = stage.start_through("");
    tokio::task::block_in_place(|| apply.wait_for("\"work\":\"copy\""));
    run(&stage.source, "UPDATE items SET t = 'ok', m = 'ok' WHERE id IN (5, 1000)").await;
    wait(apply).assert_switched();
    stage.assert_equal("SELECT id, m, t FROM items WHERE m <> 'sad'", "SELECT id, m, t FROM items").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_type_of_an_extension_is_asked_for_by_its_statement() {
    let pair = TestPair::start(15, 15);
    let source = connect_to(&pair.source, "postgres").await;
    run(
        &source,
        "CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext; CREATE DOMAIN email AS ext.citext CHECK (VALUE <> ''); \
         CREATE TABLE items (id integer PRIMARY KEY, e email); INSERT INTO items VALUES (1, 'A@b')",
    )
    .await;
    let migration = Migration::new(&pair, ITEMS, "");
    let output = migration.run(&["plan", "--out", "plan.json"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("CREATE EXTENSION \"citext\" WITH SCHEMA \"ext\""), "{said}");
    let target = connect_to(&pair.target, "postgres").await;
    run(&target, "CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext").await;
    migration.plan();
    migration.cut_over("").assert_switched();
    assert_eq!(text(&target, "SELECT e OPERATOR(ext.=) 'a@B' FROM items").await, "t");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_desired_schema_in_sql_may_name_types_of_the_source() {
    let pair = TestPair::start(15, 15);
    let source = connect_to(&pair.source, "postgres").await;
    run(&source, &format!("{TYPES}; {MOOD}")).await;
    let desired = "CREATE TYPE mood AS ENUM ('sad', 'ok');\nCREATE TABLE items (id bigint PRIMARY KEY, m mood DEFAULT 'ok', t text, p pair[]);\n";
    let migration = Migration::of_schema(&pair, "postgres", desired, "");
    migration.plan();
    migration.cut_over("").assert_switched();
    let target = connect_to(&pair.target, "postgres").await;
    assert_eq!(text(&target, "SELECT count(*) FROM items WHERE m = 'ok'").await, "100");
    assert_eq!(text(&target, "SELECT to_regtype('public.words') IS NULL").await, "t", "only what is needed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_created_as_it_is_is_refused() {
    let pair = TestPair::start(18, 11);
    let source = connect_to(&pair.source, "postgres").await;
    run(
        &source,
        "CREATE DOMAIN unproven AS text; CREATE SEQUENCE s; CREATE DOMAIN numbered AS bigint DEFAULT nextval('s'); \
         CREATE SCHEMA m; CREATE TYPE span AS RANGE (subtype = int8, multirange_type_name = m.spans); \
         CREATE TABLE a (id integer PRIMARY KEY, v unproven); INSERT INTO a VALUES (1, 'xx'); \
         ALTER DOMAIN unproven ADD CHECK (VALUE <> 'xx') NOT VALID; CREATE TABLE b (id integer PRIMARY KEY, v numbered); \
         CREATE TABLE c (id integer PRIMARY KEY, v m.spans[]); CREATE TABLE d (id integer PRIMARY KEY, v span); \
         INSERT INTO d VALUES (1, '[3,5)')",
    )
    .await;
    for (table, why) in [("a", "VALIDATE CONSTRAINT"), ("b", "draws from a sequence"), ("c", "has no multiranges")] {
        let migration = Migration::new(&pair, &format!("    - {{ name: {table} }}\n"), "");
        let output = migration.run(&["plan", "--out", "plan.json"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ").replace(" │ ", " ");
        assert!(!output.status.success() && said.contains("TYPE_MISSING") && said.contains(why), "{table}: {said}");
    }
    // The range itself needs none.
    let migration = Migration::new(&pair, "    - { name: d }\n", "");
    migration.plan();
    migration.cut_over("").assert_switched();
    let target = connect_to(&pair.target, "postgres").await;
    assert_eq!(text(&target, "SELECT v FROM d").await, "[3,5)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_made_again_while_a_run_with_new_types_is_under_way() {
    let pair = TestPair::start(15, 15);
    let source = connect_to(&pair.source, "postgres").await;
    run(
        &source,
        &format!(
            "CREATE SCHEMA m; {MOOD}; CREATE TYPE span AS RANGE (subtype = int8, multirange_type_name = m.spans); \
        ALTER TABLE items ADD COLUMN s span"
        ),
    )
    .await;
    let desired = "CREATE TABLE items (id bigint PRIMARY KEY, m mood, t text, s span);\n";
    let migration = Migration::of_schema(&pair, "postgres", desired, "");
    migration.plan();
    let mut apply = migration.start(&["--json", "apply", "plan.json", "--yes"], "");
    tokio::task::block_in_place(|| apply.wait_for("\"ready\":true"));
    let _said = apply.kill();
    let other = desired.replace("m mood, t text", "m text, t varchar(9)");
    std::fs::write(migration.dir.path().join("desired.sql"), other).unwrap();
    migration.ok(&["plan", "--out", "other.json"]);
    let mut apply = migration.start(&["--json", "apply", "other.json", "--adopt", "--yes"], "");
    tokio::task::block_in_place(|| apply.wait_for("\"ready\":true"));
    let target = connect_to(&pair.target, "postgres").await;
    assert!(has_type(&target).await, "the stream makes its text from it");
    assert_eq!(text(&target, "SELECT to_regtype('m.spans') IS NOT NULL").await, "t");
    migration.ok(&["abort", "--yes"]);
    let _said = wait(apply);
    assert!(!has_type(&target).await);
    assert_eq!(text(&target, "SELECT to_regtype('public.span') IS NULL AND to_regtype('m.spans') IS NULL").await, "t");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_a_new_plan_does_not_need_goes() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "unneeded", MOOD, ITEMS, "").await;
    let mut apply = stage.start("");
    tokio::task::block_in_place(|| apply.wait_for("\"ready\":true"));
    let _said = apply.kill();
    let path = stage.migration.dir.path().join("pcrd.config.yml");
    let config = std::fs::read_to_string(&path)
        .unwrap()
        .replace("{ name: items }", "{ name: items, columns: { m: { drop: true } } }");
    let accept = "accept: [{ code: DELETES_DATA, address: public.items.m, reason: test }]\n";
    std::fs::write(&path, config + accept).unwrap();
    stage.migration.ok(&["plan", "--out", "other.json"]);
    let mut apply = stage.migration.start(&["--json", "apply", "other.json", "--adopt", "--yes"], "");
    tokio::task::block_in_place(|| apply.wait_for("\"ready\":true"));
    assert!(!has_type(&stage.target).await);
    stage.migration.ok(&["abort", "--yes"]);
    let _said = wait(apply);
}
