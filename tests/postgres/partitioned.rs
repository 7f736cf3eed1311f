//! A partitioned source and a flat target: every row of every partition, whatever the tree, under writers that move rows.

use serde_json::Value;

use crate::migration::Migration;
use crate::stage::Stage;
use crate::support::{TestPair, connect_to, rows, run, sorted_copy, text};
use crate::writers::{PARTITIONED, Writers};

const READY: &str = "\"type\":\"gate\",\"ready\":true";

/// Triggers, functions, publications and slots of ours.
async fn left_on_source(pair: &TestPair) -> Vec<Vec<Option<String>>> {
    let source = connect_to(&pair.source, "postgres").await;
    let query = "SELECT 'slot', slot_name::text FROM pg_replication_slots UNION ALL SELECT 'publication', pubname FROM pg_publication
         UNION ALL SELECT 'trigger on ' || tgrelid::regclass, tgname FROM pg_trigger WHERE NOT tgisinternal
         UNION ALL SELECT 'schema', nspname FROM pg_namespace WHERE nspname = 'pcrd'";
    rows(&source, query).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_under_writers_becomes_one_table() {
    for majors in [(15, 15), (13, 15), (18, 18)] {
        let pair = TestPair::start(majors.0, majors.1);
        let source = connect_to(&pair.source, "postgres").await;
        run(&source, &PARTITIONED.ddl(2_000)).await;
        let more = "  batch_size: 200\n  workers: 2\n  lag_threshold_bytes: 33554432";
        let migration = Migration::new(&pair, &PARTITIONED.yaml(), more);
        migration.plan();
        let writers = Writers::start(&pair, PARTITIONED, 2_000, 3, false).await;
        let mut running = migration.start(&["--json", "apply", "plan.json", "--yes"], "chunk.after-commit=sleep(20)");
        running.wait_for(READY);
        for table in ["items", "items_odd", "items_h1", "items_hashed", "items_rest"] {
            let refused = source.batch_execute(&format!("TRUNCATE {table}")).await.unwrap_err();
            assert_eq!(refused.code().unwrap().code(), "25006", "TRUNCATE {table}");
        }
        run(&source, "VACUUM FULL items_odd, items_h0").await;
        running.kill();
        tokio::task::block_in_place(|| migration.cut_over("")).assert_switched();
        let commits = writers.stop().await;
        let target = connect_to(&pair.target, "postgres").await;
        let left = sorted_copy(&source, &PARTITIONED.source_query()).await;
        assert!(
            left == sorted_copy(&target, &PARTITIONED.target_query()).await,
            "{majors:?}: source and target differ"
        );
        assert!(commits > 0 && !left.is_empty());
        assert_eq!(text(&target, "SELECT relkind::text FROM pg_class WHERE oid = 'items'::regclass").await, "r");
        migration.ok(&["cleanup", "--yes", "--open-source"]);
        assert_eq!(left_on_source(&pair).await, Vec::<Vec<Option<String>>>::new());
    }
}

/// By list, by hash and by a key that only PostgreSQL orders, with serials, foreign keys and indexes.
#[tokio::test(flavor = "multi_thread")]
async fn other_trees_and_what_hangs_on_them() {
    let pair = TestPair::start(15, 15);
    let ddl = "CREATE TABLE kinds (kind text PRIMARY KEY);
        INSERT INTO kinds VALUES ('a'), ('b'), ('c');
        CREATE TABLE listed (id serial, kind text NOT NULL REFERENCES kinds, v text DEFAULT 'v', PRIMARY KEY (kind, id)) PARTITION BY LIST (kind);
        CREATE TABLE listed_ab PARTITION OF listed FOR VALUES IN ('a', 'b');
        CREATE TABLE listed_c PARTITION OF listed FOR VALUES IN ('c');
        CREATE INDEX listed_v ON listed (v); CREATE INDEX only_c ON listed_c (id);
        ALTER TABLE listed_c ADD CONSTRAINT small CHECK (id < 100000); ALTER TABLE listed_ab ALTER v SET DEFAULT 'w';
        CREATE TABLE hashed (id bigserial PRIMARY KEY, v integer) PARTITION BY HASH (id);
        CREATE TABLE hashed_0 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE hashed_1 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);
        CREATE TABLE bare (id integer PRIMARY KEY) PARTITION BY RANGE (id);
        INSERT INTO listed (kind) SELECT chr(97 + g % 3) FROM generate_series(1, 900) g;
        INSERT INTO hashed (v) SELECT g FROM generate_series(1, 900) g; ANALYZE";
    let tables = "    - kinds
    - { name: listed, partitions: none, columns: { id: { type: bigint } } }
    - { name: hashed, partitions: none }
    - { name: bare, partitions: none }
";
    let stage = Stage::new(&pair, "trees", ddl, tables, "").await;
    let plan = std::fs::read_to_string(stage.migration.dir.path().join("plan.json")).unwrap();
    let plan = serde_json::from_str::<Value>(&plan).unwrap();
    let left: Vec<&str> =
        plan["plan"]["not_carried"].as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
    for own in ["public.listed_c.only_c", "public.listed_c.small", "public.listed_ab.v"] {
        assert!(left.contains(&own), "{own} stays behind without a word: {left:?}");
    }
    let findings = plan["plan"]["findings"].to_string();
    assert!(findings.contains("2 partition(s) now (public.listed_ab, public.listed_c)"), "{findings}");
    assert!(plan["evidence"]["sizes"]["public.listed"]["rows_estimate"].as_u64() == Some(900), "{plan}");

    let mut running = stage.start("");
    running.wait_for(READY);
    run(&stage.source, "UPDATE listed SET kind = 'c' WHERE id % 7 = 0; UPDATE listed SET kind = 'a' WHERE id % 11 = 0")
        .await;
    run(
        &stage.source,
        "DELETE FROM listed_c WHERE id % 5 = 0; INSERT INTO listed_ab (kind) VALUES ('b'); UPDATE hashed SET v = v + 1",
    )
    .await;
    running.kill();
    stage.cut_over().assert_switched();
    stage.assert_equal("SELECT id::bigint, kind, v FROM listed", "SELECT id, kind, v FROM listed").await;
    stage.assert_equal("SELECT id, v FROM hashed", "SELECT id, v FROM hashed").await;
    let keys = "SELECT count(*)::text FROM pg_constraint WHERE conrelid = 'listed'::regclass AND contype IN ('p', 'f')";
    assert_eq!(text(&stage.target, keys).await, "2");
}

/// Schemas, partitions and columns whose names need quotes, or are what statements of pcrd hold; it dies at every new trigger.
#[tokio::test(flavor = "multi_thread")]
async fn names_that_break_statements_and_deaths_in_between() {
    let pair = TestPair::start(15, 15);
    let q = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let long = "é".repeat(30) + "abc";
    let names = ["a.b", "it's \"$1\"", "back\\slash %s", "TABLE", "line\nbreak; --", long.as_str()];
    let address = pcrd::catalog::QualifiedName::new("Odd.S'", "We're \"it\" $lo").unwrap().to_string();
    let root = format!("{}.{}", q("Odd.S'"), q("We're \"it\" $lo"));
    let mut ddl = format!(
        "CREATE SCHEMA {}; CREATE SCHEMA \"select\"; \
         CREATE TABLE {root} (\"Id \"\"x\" integer, \"a'b\" integer, PRIMARY KEY (\"Id \"\"x\")) PARTITION BY RANGE (\"Id \"\"x\");",
        q("Odd.S'")
    );
    let partition = |nth: usize| format!("{}.{}", q(["Odd.S'", "select"][nth % 2]), q(names[nth]));
    for nth in 0..names.len() {
        let (name, from, to) = (partition(nth), nth * 100, nth * 100 + 100);
        ddl.push_str(&format!("CREATE TABLE {name} PARTITION OF {root} FOR VALUES FROM ({from}) TO ({to});"));
    }
    ddl.push_str(&format!("INSERT INTO {root} SELECT g, g FROM generate_series(0, 599) g; ANALYZE"));
    let tables = format!("    - {{ name: {}, partitions: none }}\n", Value::String(address));
    let stage = Stage::new(&pair, "odd", &ddl, &tables, "  batch_size: 50\n").await;
    for point in ["partitions.after-guard", "partitions.before-guard", "chunk.before-commit"] {
        let said = tokio::task::block_in_place(|| stage.start(&format!("{point}=1*off->return(kill)")).wait());
        assert_eq!(said.code, None, "{point}: {}", said.stderr);
        run(&stage.source, &format!("UPDATE {root} SET \"a'b\" = \"a'b\" + 1")).await;
    }
    let mut running = stage.start("");
    running.wait_for(READY);
    run(
        &stage.source,
        &format!("CREATE TABLE \"select\".\"new; 'one'\" PARTITION OF {root} FOR VALUES FROM (600) TO (700)"),
    )
    .await;
    running.wait_for("which is followed");
    run(&stage.source, "INSERT INTO \"select\".\"new; 'one'\" SELECT g, g FROM generate_series(600, 650) g").await;
    running.kill();
    stage.cut_over().assert_switched();
    let all = format!("SELECT * FROM {root}");
    stage.assert_equal(&all, &all).await;
    for (nth, name) in names.iter().enumerate() {
        let refused = stage.source.batch_execute(&format!("DELETE FROM {}", partition(nth))).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "25006", "{name}");
    }
    stage.migration.ok(&["cleanup", "--yes", "--open-source"]);
    assert_eq!(text(&stage.source, "SELECT count(*)::text FROM pg_trigger WHERE NOT tgisinternal").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_source_is_refused_by_name() {
    let by_range = "CREATE TABLE t (id integer PRIMARY KEY, n integer) PARTITION BY RANGE (id);";
    let with_leaf = format!("{by_range} CREATE TABLE leaf PARTITION OF t FOR VALUES FROM (0) TO (9);");
    let flat = "{ name: t, partitions: none }";
    for (nth, (major, ddl, table, says)) in [
        (
            15,
            format!("CREATE SCHEMA s; {by_range} CREATE TABLE s.leaf PARTITION OF t FOR VALUES FROM (0) TO (9);"),
            "{ name: t }",
            "partitions: none",
        ),
        (15, with_leaf.clone(), "{ name: leaf, partitions: none }", "a partition"),
        (12, with_leaf.clone(), flat, "by partition only"),
        (15, "CREATE TABLE t (id integer) PARTITION BY RANGE (id)".to_owned(), flat, "without a primary key"),
        (
            16,
            "CREATE TABLE t (id integer PRIMARY KEY, n integer GENERATED ALWAYS AS (id * 2) STORED) PARTITION BY RANGE (id); \
             CREATE TABLE leaf PARTITION OF t (n GENERATED ALWAYS AS (id * 3) STORED) FOR VALUES FROM (0) TO (9)"
                .to_owned(),
            flat,
            "generates a column in its own way",
        ),
        (15, format!("{with_leaf} ALTER TABLE leaf REPLICA IDENTITY NOTHING"), flat, "replica identity"),
        (15, format!("{with_leaf} ALTER TABLE t REPLICA IDENTITY FULL"), flat, "replica identity"),
        (
            15,
            format!("{by_range} CREATE UNLOGGED TABLE leaf PARTITION OF t FOR VALUES FROM (0) TO (9)"),
            flat,
            "unlogged",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let pair = TestPair::start(major, 15);
        let source = connect_to(&pair.source, "postgres").await;
        run(&source, &ddl).await;
        let migration = Migration::new(&pair, &format!("    - {table}\n"), "");
        let said = migration.run(&["plan", "--out", "plan.json"]);
        let stderr = String::from_utf8_lossy(&said.stderr);
        assert!(
            matches!(said.status.code(), Some(3 | 64)) && stderr.contains(says),
            "{nth}: {:?} {stderr}",
            said.status
        );
    }
}
