//! A partitioned source and a target with the same partitions: every row in the partition where it belongs, and nothing lost
//! where the target has none for it.

use serde_json::Value;

use crate::migration::Migration;
use crate::stage::Stage;
use crate::support::{TestPair, connect_to, rows, run, sorted_copy, text};
use crate::writers::{SPLIT_UP, Writers};

const READY: &str = "\"type\":\"gate\",\"ready\":true";

/// Name, parent, bound and key of each partition of a table.
const TREE: &str = "SELECT t.relid::regclass::text, t.parentrelid::regclass::text, replace(pg_get_expr(c.relpartbound, c.oid), '''', ''),
     pg_get_partkeydef(c.oid) FROM pg_partition_tree('items') t JOIN pg_class c ON c.oid = t.relid WHERE t.level > 0";

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_under_writers_stays_one() {
    for majors in [(15, 15), (13, 18)] {
        let pair = TestPair::start(majors.0, majors.1);
        let source = connect_to(&pair.source, "postgres").await;
        run(&source, &SPLIT_UP.ddl(2_000)).await;
        run(&source, "CREATE INDEX items_n ON items (n); ALTER TABLE items ADD CHECK (n > -9)").await;
        let more = "  batch_size: 200\n  workers: 2\n  vacuum: true\n  lag_threshold_bytes: 33554432";
        let migration = Migration::new(&pair, &SPLIT_UP.yaml(), more);
        migration.plan();
        let writers = Writers::start(&pair, SPLIT_UP, 2_000, 3, false).await;
        let mut running = migration.start(&["--json", "apply", "plan.json", "--yes"], "chunk.after-commit=sleep(20)");
        running.wait_for(READY);
        running.kill();
        tokio::task::block_in_place(|| migration.cut_over("")).assert_switched();
        let commits = writers.stop().await;
        let target = connect_to(&pair.target, "postgres").await;
        let left = sorted_copy(&source, &SPLIT_UP.source_query()).await;
        assert!(left == sorted_copy(&target, &SPLIT_UP.target_query()).await, "{majors:?}: source and target differ");
        assert!(commits > 0 && !left.is_empty());
        assert_eq!(sorted_copy(&source, TREE).await, sorted_copy(&target, TREE).await, "{majors:?}");
        // The hashes of integers are the same on all versions.
        let places = "SELECT tableoid::regclass::text, id::bigint FROM items";
        assert_eq!(sorted_copy(&source, places).await, sorted_copy(&target, places).await, "{majors:?}");
        let on_leaves = "SELECT count(*)::text FROM pg_indexes WHERE tablename IN ('items_odd', 'items_h0', 'items_h1', 'items_rest')";
        assert_eq!(text(&target, on_leaves).await, "8", "{majors:?}: a key and an index on each");
        migration.ok(&["cleanup", "--yes", "--open-source"]);
    }
}

/// By list, by hash and by dates, sixty partitions, names that break statements, foreign keys in both directions.
#[tokio::test(flavor = "multi_thread")]
async fn other_trees_and_what_hangs_on_them() {
    let pair = TestPair::start(15, 15);
    let mut ddl = "CREATE TABLE kinds (kind text PRIMARY KEY);
        INSERT INTO kinds VALUES ('a'), ('b'), ('it''s'), ('c');
        CREATE TABLE listed (id serial, kind text NOT NULL REFERENCES kinds, v text DEFAULT 'v', PRIMARY KEY (kind, id)) PARTITION BY LIST (kind);
        CREATE TABLE \"li;s\"\"ted $1\" PARTITION OF listed FOR VALUES IN ('a', 'it''s');
        CREATE TABLE listed_b PARTITION OF listed FOR VALUES IN ('b') WITH (fillfactor = 70);
        CREATE TABLE \"DEFAULT\" PARTITION OF listed DEFAULT;
        CREATE INDEX listed_v ON listed (v); CREATE INDEX only_b ON listed_b (id);
        CREATE TABLE hashed (id bigserial PRIMARY KEY, v integer) PARTITION BY HASH (id);
        CREATE TABLE hashed_0 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE hashed_1 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);
        CREATE TABLE refers (id integer PRIMARY KEY, hashed bigint REFERENCES hashed);
        CREATE TABLE days (\"The Day\" timestamptz, n integer, PRIMARY KEY (\"The Day\", n)) PARTITION BY RANGE (\"The Day\");
        INSERT INTO listed (kind) SELECT (ARRAY['a', 'b', 'it''s', 'c'])[1 + g % 4] FROM generate_series(1, 900) g;
        INSERT INTO hashed (v) SELECT g FROM generate_series(1, 900) g;
        INSERT INTO refers SELECT g, g FROM generate_series(1, 300) g;"
        .to_owned();
    for day in 0..60 {
        ddl.push_str(&format!(
            "CREATE TABLE day_{day} PARTITION OF days FOR VALUES FROM ('2024-01-01 00:00Z'::timestamptz + '{day} d') \
             TO ('2024-01-01 00:00Z'::timestamptz + '{} d');",
            day + 1
        ));
    }
    ddl.push_str("INSERT INTO days SELECT '2024-01-01 00:00Z'::timestamptz + g * '1 h'::interval, g FROM generate_series(0, 1439) g; ANALYZE");
    let tables = "    - kinds
    - { name: listed, columns: { kind: { rename: sort } } }
    - { name: hashed, target: far.hashed }
    - refers
    - { name: days, partitions: same, columns: { 'The Day': { rename: 'the day' } } }
";
    let stage = Stage::new(&pair, "trees", &ddl, tables, "").await;
    let plan = std::fs::read_to_string(stage.migration.dir.path().join("plan.json")).unwrap();
    let plan = serde_json::from_str::<Value>(&plan).unwrap();
    let findings = plan["plan"]["findings"].to_string();
    assert!(findings.contains("the same 60 partition(s), by RANGE"), "{findings}");
    assert!(plan["plan"]["not_carried"].to_string().contains("public.listed_b.only_b"), "{plan}");

    let mut running = stage.start("");
    running.wait_for(READY);
    run(
        &stage.source,
        "UPDATE listed SET kind = 'c' WHERE id % 7 = 0; UPDATE listed SET kind = 'a' WHERE id % 11 = 0; \
         UPDATE listed SET v = v || 'x', kind = 'b' WHERE id % 13 = 0; DELETE FROM listed_b WHERE id % 5 = 0; \
         UPDATE hashed SET id = id + 1000, v = v + 1 WHERE id > 300; \
         UPDATE days SET \"The Day\" = \"The Day\" + '30 d' WHERE n < 100",
    )
    .await;
    running.kill();
    stage.cut_over().assert_switched();
    for (on_source, on_target) in [
        ("SELECT id, kind, v FROM listed", "SELECT id, sort, v FROM listed"),
        (
            "SELECT tableoid::regclass::text, id, kind FROM listed",
            "SELECT tableoid::regclass::text, id, sort FROM listed",
        ),
        ("SELECT id, v FROM hashed", "SELECT id, v FROM far.hashed"),
        (
            "SELECT tableoid::regclass::text, \"The Day\", n FROM days",
            "SELECT tableoid::regclass::text, \"the day\", n FROM days",
        ),
        ("SELECT id, hashed FROM refers", "SELECT id, hashed FROM refers"),
    ] {
        stage.assert_equal(on_source, on_target).await;
    }
    let keys = "SELECT conrelid::regclass::text, contype::text, convalidated::text FROM pg_constraint WHERE contype IN ('p', 'f') \
                AND conrelid IN ('listed'::regclass, 'refers'::regclass, 'listed_b'::regclass)";
    stage.assert_equal(keys, keys).await;
    assert_eq!(
        text(&stage.target, "SELECT reloptions::text FROM pg_class WHERE relname = 'listed_b'").await,
        "{fillfactor=70}"
    );
    // The application goes on there.
    run(&stage.target, "INSERT INTO listed (sort) VALUES ('b'); INSERT INTO far.hashed (v) VALUES (1)").await;
    let refused = stage.target.batch_execute("INSERT INTO refers VALUES (301, 5000)").await.unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "23503");
}

const DDL: &str = "CREATE TABLE items (id integer PRIMARY KEY, n integer) PARTITION BY RANGE (id);
    CREATE TABLE items_0 PARTITION OF items FOR VALUES FROM (0) TO (1000);
    INSERT INTO items SELECT g, g FROM generate_series(1, 999) g; ANALYZE";
const TABLES: &str = "    - { name: items, columns: { id: { type: bigint } } }\n";
const PLACES: &str = "SELECT tableoid::regclass::text, id::bigint, n FROM items";

/// Created ahead of its rows, at two levels, during the copy and the stream; pcrd dies while it creates one.
#[tokio::test(flavor = "multi_thread")]
async fn new_partitions_come_to_the_target_before_their_rows() {
    for majors in [(15, 15), (13, 18)] {
        let pair = TestPair::start(majors.0, majors.1);
        let stage = Stage::new(&pair, "comes", DDL, TABLES, "").await;
        // The second attempt first creates what the first one could not.
        for (nth, point) in [(1, "before-create=return(kill)"), (2, "before-commit=1*off->return(kill)")] {
            let mut running = stage.start(&format!("target-partitions.{point}"));
            running.wait_for(READY);
            let comes = format!("CREATE TABLE items_{nth} PARTITION OF items FOR VALUES FROM ({nth}000) TO ({nth}999)");
            run(&stage.source, &comes).await;
            let said = tokio::task::block_in_place(|| running.finish());
            assert_eq!(said.code, None, "{point}: {}\n{}", said.lines.join("\n"), said.stderr);
        }
        let mut running = stage.start("");
        running.wait_for(READY);
        run(
            &stage.source,
            "CREATE TABLE \"it's\" PARTITION OF items FOR VALUES FROM (5000) TO (6000) PARTITION BY HASH (id); \
             CREATE TABLE \"it's 0\" PARTITION OF \"it's\" FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
        )
        .await;
        running.wait_for("has the new partition public.\\\"it's 0\\\" on the target too");
        run(&stage.source, "INSERT INTO items SELECT g, g FROM generate_series(5000, 5100) g; INSERT INTO items VALUES (1500, 1), (2500, 2)")
            .await;
        stage.until_applied().await;
        running.kill();
        stage.cut_over().assert_switched();
        stage.assert_equal(PLACES, PLACES).await;
        stage.assert_equal(TREE, TREE).await;
        stage.end().await;
    }
}

/// A table of somebody else's has the name of a new partition: the row stops the run, nothing invites to leave it out, and once
/// the name is free the same command goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_without_a_partition_stops_the_run_and_nothing_is_lost() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "stops", DDL, TABLES, "").await;
    let mut running = stage.start("");
    running.wait_for(READY);
    run(&stage.target, "CREATE TABLE items_1 (mine integer)").await;
    run(&stage.source, "CREATE TABLE items_1 PARTITION OF items FOR VALUES FROM (1000) TO (2000)").await;
    running.wait_for("the target has no partition public.items_1 yet");
    run(&stage.source, "INSERT INTO items VALUES (1001, 1), (1002, 2); UPDATE items SET n = -1 WHERE id = 5").await;
    let said = tokio::task::block_in_place(|| running.finish());
    assert!(said.code.is_some_and(|code| code != 0), "{}\n{}", said.lines.join("\n"), said.stderr);
    assert!(said.stderr.contains("run the same command again"), "{}", said.stderr);
    assert!(!said.stderr.contains("pcrd skip"), "{}", said.stderr);
    let said = stage.cut_over();
    assert_ne!(said.code, Some(0));
    let statement =
        "CREATE TABLE \"public\".\"items_1\" PARTITION OF \"public\".\"items\" FOR VALUES FROM (1000) TO (2000)";
    let words = |text: &str| {
        text.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ").replace("\\\"", "\"")
    };
    assert!(words(&said.stderr).contains(statement), "{}", said.stderr);
    run(&stage.target, "ALTER TABLE items_1 RENAME TO others").await;
    // By hand, as it says.
    run(&stage.target, statement).await;
    stage.cut_over().assert_switched();
    stage.assert_equal(PLACES, PLACES).await;
}

/// A DEFAULT partition takes the rows whose own partition could not be created: nothing stops, nothing is lost, and it is said.
#[tokio::test(flavor = "multi_thread")]
async fn a_default_partition_takes_what_has_no_other() {
    let pair = TestPair::start(15, 15);
    let ddl = format!(
        "CREATE TABLE items_rest (n integer, id integer NOT NULL); {DDL}; ALTER TABLE items ATTACH PARTITION items_rest DEFAULT"
    );
    let stage = Stage::new(&pair, "rest", &ddl, TABLES, "").await;
    let mut running = stage.start("");
    running.wait_for(READY);
    run(&stage.target, "CREATE TABLE items_1 (mine integer); CREATE TABLE items_2 (mine integer)").await;
    for nth in [1, 2] {
        let comes = format!("CREATE TABLE items_{nth} PARTITION OF items FOR VALUES FROM ({nth}000) TO ({nth}999)");
        run(&stage.source, &comes).await;
        running.wait_for(&format!("the target has no partition public.items_{nth} yet, and is asked again"));
    }
    run(&stage.source, "INSERT INTO items VALUES (1001, 1), (2002, 2); UPDATE items SET id = 1002 WHERE id = 5").await;
    stage.until_applied().await;
    run(&stage.target, "DROP TABLE items_1; DROP TABLE items_2").await;
    running.wait_for("the target has no partition public.items_2 yet: rows of it are in a DEFAULT partition");
    // Nothing is in the way of one of them any more.
    run(&stage.source, "DELETE FROM items WHERE id = 2002").await;
    stage.until_applied().await;
    running.kill();
    stage.cut_over().assert_switched();
    stage.assert_equal("SELECT id::bigint, n FROM items", "SELECT id, n FROM items").await;
    let places =
        "SELECT string_agg(format('%s in %s', id, tableoid::regclass), ', ' ORDER BY id) FROM items WHERE id >= 1000";
    assert_eq!(text(&stage.target, places).await, "1001 in items_rest, 1002 in items_rest");
    let tree =
        "SELECT count(*)::text FROM pg_inherits WHERE inhparent = 'items'::regclass AND inhrelid = 'items_2'::regclass";
    assert_eq!(text(&stage.target, tree).await, "1");
    stage.end().await;
}

/// What is given up leaves nothing of pcrd's on the target, and what others have attached there stays.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_takes_no_partition_of_others() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "gone", DDL, TABLES, "").await;
    stage.migration.ok(&["apply", "plan.json", "--yes", "--through", "catchup"]);
    run(
        &stage.target,
        "CREATE TABLE mine (id bigint NOT NULL, n integer); ALTER TABLE items ATTACH PARTITION mine FOR VALUES FROM (9000) TO (9999)",
    )
    .await;
    let refused = stage.migration.run(&["abort", "--yes"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("public.mine"), "{said}");
    run(&stage.target, "ALTER TABLE items DETACH PARTITION mine").await;
    stage.migration.ok(&["abort", "--yes"]);
    let left = rows(
        &stage.target,
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')",
    )
    .await;
    assert_eq!(left, vec![vec![Some("mine".to_owned())]]);
}

/// A partition that goes makes the table stale, and the next plan over the same run copies it again into the partitions that are
/// left; one that came before it stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_plan_copies_again_what_lost_a_partition() {
    let pair = TestPair::start(15, 15);
    let more =
        "CREATE TABLE items_8 PARTITION OF items FOR VALUES FROM (8000) TO (9000); INSERT INTO items VALUES (8001, 1)";
    let stage = Stage::new(&pair, "again", &format!("{DDL}; {more}"), TABLES, "").await;
    let mut running = stage.start("");
    running.wait_for(READY);
    run(&stage.source, "CREATE TABLE items_1 PARTITION OF items FOR VALUES FROM (1000) TO (2000)").await;
    running.wait_for("has the new partition public.items_1 on the target too");
    run(&stage.source, "INSERT INTO items VALUES (1001, 1)").await;
    stage.until_applied().await;
    run(&stage.source, "DROP TABLE items_8").await;
    let said = tokio::task::block_in_place(|| running.finish());
    assert_eq!(said.code, Some(4), "{}", said.stderr);
    stage.migration.ok(&["plan", "--out", "new.json"]);
    let args = ["--json", "apply", "new.json", "--adopt", "--yes", "--through", "cutover"];
    tokio::task::block_in_place(|| stage.migration.start(&args, "").wait()).assert_switched();
    stage.assert_equal(PLACES, PLACES).await;
    stage.assert_equal(TREE, TREE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_have_the_same_partitions_is_refused_by_name() {
    let pair = TestPair::start(15, 15);
    let tree = "CREATE TABLE t (id integer, k text COLLATE \"C\", PRIMARY KEY (id, k)) PARTITION BY RANGE (id); \
                CREATE TABLE leaf PARTITION OF t FOR VALUES FROM (0) TO (9);";
    for (nth, (ddl, table, says)) in [
        (tree, "{ name: t, where: id > 5 }", "some rows are left out"),
        (tree, "{ name: t, columns: { id: { type: text } } }", "bounds would mean something else"),
        (tree, "{ name: t, columns: { id: { type: numeric } } }", "bounds would mean something else"),
        (tree, "{ name: t, target: leaf }", "would be called public.leaf"),
        (
            "CREATE TABLE t (id integer, k text, PRIMARY KEY (id, k)) PARTITION BY RANGE (k text_pattern_ops)",
            "{ name: t }",
            "a collation or an operator class",
        ),
        (
            "CREATE SCHEMA s; CREATE TABLE t (id integer PRIMARY KEY) PARTITION BY RANGE (id); \
             CREATE TABLE s.leaf PARTITION OF t FOR VALUES FROM (0) TO (9)",
            "{ name: t }",
            "in another schema",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("refused_{nth}");
        for cluster in [&pair.source, &pair.target] {
            run(&connect_to(cluster, "postgres").await, &format!("CREATE DATABASE {name}")).await;
        }
        run(&connect_to(&pair.source, &name).await, ddl).await;
        let migration = Migration::between(&pair, &name, &format!("    - {table}\n"), "");
        let said = migration.run(&["plan", "--out", "plan.json"]);
        let stderr = String::from_utf8_lossy(&said.stderr);
        let words = stderr.replace('│', " ").split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(!said.status.success() && words.contains(says), "{nth}: {:?} {stderr}", said.status);
    }
}

/// Partitions go to the owner of their table with it.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_get_the_owner_of_their_table() {
    let pair = TestPair::start(15, 15);
    for cluster in [&pair.source, &pair.target] {
        run(&connect_to(cluster, "postgres").await, "CREATE ROLE shop; CREATE ROLE other").await;
    }
    let ddl = format!(
        "{DDL}; CREATE TABLE items_1 PARTITION OF items FOR VALUES FROM (1000) TO (2000); \
         ALTER TABLE items OWNER TO shop; ALTER TABLE items_0 OWNER TO shop; ALTER TABLE items_1 OWNER TO other; \
         GRANT SELECT ON items_1 TO other; GRANT CREATE ON SCHEMA public TO shop"
    );
    let stage = Stage::with_target(&pair, "owned", &ddl, "GRANT CREATE ON SCHEMA public TO shop", TABLES, "").await;
    let plan = std::fs::read_to_string(stage.migration.dir.path().join("plan.json")).unwrap();
    let plan = serde_json::from_str::<Value>(&plan).unwrap();
    let left = plan["plan"]["not_carried"].to_string();
    assert!(left.contains("other of public.items_1"), "{left}");
    stage.cut_over().assert_switched();
    let owners = "SELECT string_agg(relname || ' ' || relowner::regrole, ', ' ORDER BY relname) FROM pg_class \
                  WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace";
    assert_eq!(text(&stage.target, owners).await, "items shop, items_0 shop, items_1 shop");
    stage.assert_equal(PLACES, PLACES).await;
}
