//! Constraints that only the target has and that triggers keep: the stream is applied without triggers, so rows that come
//! after they were validated are looked at again before the switch.

use std::time::Duration;

use tokio_postgres::Client;

use crate::migration::Migration;
use crate::support::{TestPair, connect_to, run, text};

const READY: &str = "\"type\":\"gate\",\"ready\":true";

struct Scene {
    source: Client,
    target: Client,
    migration: Migration,
}

async fn scene(pair: &TestPair, name: &str, ddl: &str, desired: &str) -> Scene {
    for cluster in [&pair.source, &pair.target] {
        run(&connect_to(cluster, "postgres").await, &format!("CREATE DATABASE {name}")).await;
    }
    let (source, target) = (connect_to(&pair.source, name).await, connect_to(&pair.target, name).await);
    run(&source, ddl).await;
    let more = format!("  replication_slot: pcrd_{name}");
    let migration = Migration::of_schema(pair, name, desired, &more);
    migration.plan();
    Scene { source, target, migration }
}

struct Case {
    name: &'static str,
    ddl: &'static str,
    desired: &'static str,
    /// Breaks the constraint on the source, which does not have it.
    breaks: &'static str,
    mends: &'static str,
    /// In the reason.
    says: &'static str,
}

const PARENTS: &str = "CREATE TABLE parents (id int PRIMARY KEY, n int); CREATE TABLE children (id int PRIMARY KEY, parent int); \
    INSERT INTO parents SELECT g, g FROM generate_series(1, 50) g; INSERT INTO children SELECT g, g FROM generate_series(1, 50) g";

const CASES: &[Case] = &[
    Case {
        name: "new_foreign_key",
        ddl: PARENTS,
        desired: "CREATE TABLE parents (id int PRIMARY KEY, n int);\n\
            CREATE TABLE children (id int PRIMARY KEY, parent bigint CONSTRAINT kept REFERENCES parents);\n",
        breaks: "DELETE FROM parents WHERE id = 7",
        mends: "DELETE FROM children WHERE parent = 7",
        says: "public.children.kept: 1 row(s) without their row of public.parents",
    },
    Case {
        name: "match_full",
        ddl: "CREATE TABLE parents (a int, b text, PRIMARY KEY (a, b)); INSERT INTO parents VALUES (1, 'x'), (2, 'y'); \
            CREATE TABLE children (id int PRIMARY KEY, a int, b text); INSERT INTO children VALUES (1, 1, 'x'), (2, NULL, NULL)",
        desired: "CREATE TABLE parents (a int, b text, PRIMARY KEY (a, b));\n\
            CREATE TABLE children (id int PRIMARY KEY, a int, b text, \
            CONSTRAINT kept FOREIGN KEY (a, b) REFERENCES parents MATCH FULL);\n",
        breaks: "UPDATE children SET b = NULL WHERE id = 1",
        mends: "UPDATE children SET a = NULL WHERE id = 1",
        says: "public.children.kept: 1 row(s)",
    },
    Case {
        name: "filtered_parent",
        ddl: "CREATE TABLE parents (id int PRIMARY KEY, n int); \
            CREATE TABLE children (id int PRIMARY KEY, parent int CONSTRAINT kept REFERENCES parents); \
            INSERT INTO parents SELECT g, g FROM generate_series(1, 50) g; INSERT INTO children SELECT g, g FROM generate_series(1, 40) g",
        desired: "-- pcrd: where n <= 40\nCREATE TABLE parents (id int PRIMARY KEY, n int);\n\
            CREATE TABLE children (id int PRIMARY KEY, parent int CONSTRAINT kept REFERENCES parents);\n",
        breaks: "UPDATE children SET parent = 50 WHERE id IN (1, 2)",
        mends: "UPDATE parents SET n = 0 WHERE id = 50",
        says: "public.children.kept: 2 row(s) without their row of public.parents",
    },
    Case {
        name: "deferrable_key",
        ddl: "CREATE TABLE items (id int PRIMARY KEY, code text); INSERT INTO items SELECT g, 'c' || g FROM generate_series(1, 50) g",
        desired: "CREATE TABLE items (id int PRIMARY KEY, code text, CONSTRAINT kept UNIQUE (code) DEFERRABLE INITIALLY DEFERRED);\n",
        breaks: "INSERT INTO items VALUES (51, 'c50')",
        mends: "UPDATE items SET code = 'c51' WHERE id = 51",
        says: "public.items.kept: 2 row(s) with the same values",
    },
    Case {
        name: "deferrable_exclusion",
        ddl: "CREATE TABLE items (id int PRIMARY KEY, span int4range, live bool); \
            INSERT INTO items SELECT g, int4range(g, g + 1), true FROM generate_series(1, 50) g",
        desired: "CREATE TABLE items (id int PRIMARY KEY, span int4range, live bool, \
            CONSTRAINT kept EXCLUDE USING gist (span WITH &&) WHERE (live) DEFERRABLE);\n",
        breaks: "INSERT INTO items VALUES (51, int4range(50, 60), true), (52, int4range(1, 9), false)",
        mends: "UPDATE items SET live = false WHERE id = 51",
        says: "public.items.kept: 2 row(s) that exclude each other",
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn broken_by_the_stream_they_forbid_the_switch() {
    let pair = TestPair::start(15, 15);
    for case in CASES {
        let scene = scene(&pair, case.name, case.ddl, case.desired).await;
        let mut running = scene.migration.start(&["--json", "apply", "plan.json", "--yes"], "");
        running.wait_for(READY);
        run(&scene.source, case.breaks).await;
        let said = tokio::task::block_in_place(|| {
            scene.migration.start(&["cutover", "--yes"], "").wait_at_most(Duration::from_secs(90))
        });
        assert_ne!(said.code, Some(0), "{}: switched", case.name);
        assert!(said.stderr.contains("open again"), "{}: {}", case.name, said.stderr);
        // The source is in use again, and mends it.
        run(&scene.source, case.mends).await;
        tokio::task::block_in_place(|| scene.migration.ok(&["cutover", "--yes"]));
        let ended = tokio::task::block_in_place(|| running.finish());
        ended.assert_switched();
        let lines = ended.lines.join("\n");
        assert!(lines.contains(case.says), "{}: {lines}", case.name);
    }
}

/// Between the first question and the fence: the second one, behind the fence, sees it.
#[tokio::test(flavor = "multi_thread")]
async fn broken_at_the_last_moment() {
    let pair = TestPair::start(15, 15);
    let case = &CASES[0];
    let scene = scene(&pair, "late", case.ddl, case.desired).await;
    let mut running = scene.migration.start(&["--json", "apply", "plan.json", "--yes"], "cutover.asked=sleep(6000)");
    running.wait_for(READY);
    let cutting = scene.migration.start(&["cutover", "--yes"], "");
    tokio::time::sleep(Duration::from_millis(2500)).await;
    run(&scene.source, case.breaks).await;
    let said = tokio::task::block_in_place(|| cutting.wait_at_most(Duration::from_secs(90)));
    assert_ne!(said.code, Some(0), "switched with a broken foreign key");
    let stopped = tokio::task::block_in_place(|| running.interrupt());
    let lines = stopped.lines.join("\n");
    assert!(lines.contains("\"drained\"") && lines.contains(case.says), "{lines}");
    run(&scene.source, "INSERT INTO parents VALUES (7, 7)").await;
}

/// What the source has itself holds without a question: the write pause must not grow with the tables.
#[tokio::test(flavor = "multi_thread")]
async fn those_of_the_source_are_not_asked_for() {
    let pair = TestPair::start(15, 15);
    let ddl = "CREATE TABLE parents (id int PRIMARY KEY, code varchar(9) UNIQUE, alias text UNIQUE DEFERRABLE); \
        CREATE TABLE children (id int PRIMARY KEY, parent int REFERENCES parents ON DELETE CASCADE, code varchar(9) REFERENCES parents (code), \
        span int4range, EXCLUDE USING gist (span WITH &&) DEFERRABLE); \
        INSERT INTO parents VALUES (1, 'a', 'x'); INSERT INTO children VALUES (1, 1, 'a', '[1,2)')";
    let desired = "CREATE TABLE parents (key bigint PRIMARY KEY, -- pcrd: renamed_from id\n code varchar(20) UNIQUE, alias text UNIQUE DEFERRABLE);\n\
        CREATE TABLE kids ( -- pcrd: renamed_from public.children\n id int PRIMARY KEY, code varchar(20) REFERENCES parents (code), \n\
        span int4range, EXCLUDE USING gist (span WITH &&) DEFERRABLE,\n\
        parent_key bigint REFERENCES parents ON DELETE CASCADE -- pcrd: renamed_from parent\n);\n";
    let scene = scene(&pair, "promised", ddl, desired).await;
    let mut running = scene.migration.start(&["--json", "apply", "plan.json", "--yes"], "");
    running.wait_for(READY);
    run(&scene.source, "DELETE FROM parents WHERE false; INSERT INTO parents VALUES (2, 'b')").await;
    tokio::task::block_in_place(|| scene.migration.ok(&["cutover", "--yes"]));
    let ended = tokio::task::block_in_place(|| running.finish());
    ended.assert_switched();
    assert!(!ended.lines.join("\n").contains("that only the target has"), "{}", ended.lines.join("\n"));
    assert_eq!(text(&scene.target, "SELECT count(*) FROM parents").await, "2");
}
