//! `verify --repair`: what differs is copied again, exactly, on record, under writers, and over a crash.

use std::process::Output;

use pcrd::exec::failpoint;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use crate::merge;
use crate::migration::{Migration, Said};
use crate::stage::Stage;
use crate::support::{TestPair, connect_to, run, sorted_copy, text};
use crate::writers::{self, INT, Writers};

const READY: &str = "\"type\":\"gate\",\"ready\":true";
/// With a unique value beside the key, a part of a table, and a table that nobody can name rows of.
const DDL: &str =
    "CREATE TABLE items (id integer PRIMARY KEY, code text NOT NULL UNIQUE, n integer, old boolean NOT NULL);
    INSERT INTO items SELECT g, 'code ' || g, g, g % 7 = 0 FROM generate_series(1, 60000) AS g;
    CREATE TABLE bag (n integer, t text); ALTER TABLE bag REPLICA IDENTITY FULL;
    INSERT INTO bag SELECT g % 10, 'canary' FROM generate_series(1, 200) AS g;
    ANALYZE";
const TABLES: &str = "    - { name: items, columns: { id: { type: bigint } }, where: \"NOT old\" }
    - name: bag
";
const ON_SOURCE: &str = "SELECT id::bigint, code, n FROM items WHERE NOT old";
const ON_TARGET: &str = "SELECT id, code, n FROM items";

fn verify(migration: &Migration, args: &[&str]) -> Output {
    tokio::task::block_in_place(|| migration.run(&[&["verify"], args].concat()))
}

#[track_caller]
fn says(output: &Output, code: i32) -> String {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let said = said.replace('│', " ").split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_is_copied_again_and_recorded() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "mended", DDL, TABLES, "  batch_size: 5000\n  workers: 2\n").await;
    let mut running = stage.start("");
    tokio::task::block_in_place(|| running.wait_for(READY));
    // Unique values that changed places are in two ranges, and a third has a value that a missing row needs.
    run(
        &stage.target,
        "UPDATE items SET code = code || 'x' WHERE id IN (1, 59999);
         UPDATE items SET code = CASE id WHEN 1 THEN 'code 59999' ELSE 'code 1' END WHERE id IN (1, 59999);
         UPDATE items SET n = NULL WHERE id = 3; DELETE FROM items WHERE id BETWEEN 20000 AND 20100;
         INSERT INTO items (id, code, n, old) VALUES (4000000000, 'code 20001', 1, false), (-5, 'extra', 1, false);
         INSERT INTO items (id, code, n, old) SELECT id + 4, 'no more ' || id, n, old FROM items WHERE id = 10;
         UPDATE items SET id = 70000 WHERE id = 30001",
    )
    .await;
    let asked = says(&verify(&stage.migration, &["--repair"]), 64);
    assert!(asked.contains("--yes") && asked.contains("cannot be asked"), "{asked}");
    let refused = says(&verify(&stage.migration, &["--repair", "--yes", "--sample-size", "5"]), 64);
    assert!(refused.contains("--sample-size"), "{refused}");
    // Another table's differences are no matter of a wish for this one.
    assert!(says(&verify(&stage.migration, &["--repair", "--yes", "--table", "bag"]), 0).contains("passed in full"));
    let found = says(&verify(&stage.migration, &[]), 5);
    assert!(found.contains("row (14) is on the target only") && found.contains("row (1) differs in code"), "{found}");
    assert_eq!(text(&stage.target, "SELECT count(*) FROM pcrd.repair").await, "0");

    let said = says(&verify(&stage.migration, &["--repair", "--yes", "--reason", "a disk lied"]), 0);
    assert!(said.contains("passed in full") && said.contains("(a disk lied; "), "{said}");
    stage.assert_equal(ON_SOURCE, ON_TARGET).await;
    let record = "SELECT tbl || ' ' || reason || ' ' || (by <> '') || ' ' || (jsonb_array_length(ranges) > 2) || ' ' || \
                  (rows_copied - rows_deleted) || ' ' || keys_spared FROM pcrd.repair";
    // 87 were missing, and one that had another key; three were too many, and the one with that key.
    assert_eq!(text(&stage.target, record).await, "public.items a disk lied true true 84 0");
    let deleted = text(&stage.target, "SELECT rows_deleted FROM pcrd.repair").await.parse::<u32>().unwrap();
    assert!(deleted < 6_000, "{deleted} rows deleted for a hundred that differ");
    let status = tokio::task::block_in_place(|| stage.migration.ok(&["status"]));
    assert!(status.contains("repaired  public.items was repaired at ") && status.contains("a disk lied"), "{status}");
    assert!(status.contains("ready     yes"), "{status}");
    assert!(says(&verify(&stage.migration, &[]), 0).contains("a disk lied"));

    // More than is listed.
    run(&stage.target, "DELETE FROM items WHERE id % 5 <> 0").await;
    let said = says(&verify(&stage.migration, &["--repair", "--yes"]), 0);
    assert!(said.contains("passed in full") && said.contains("no reason was given"), "{said}");
    stage.assert_equal(ON_SOURCE, ON_TARGET).await;

    run(&stage.source, "UPDATE items SET n = n + 1; DELETE FROM items WHERE id % 11 = 0; UPDATE items SET old = NOT old WHERE id % 3 = 0")
        .await;
    tokio::task::block_in_place(|| stage.migration.ok(&["cutover", "--yes"]));
    tokio::task::block_in_place(|| running.finish()).assert_switched();
    stage.assert_equal(ON_SOURCE, ON_TARGET).await;
    run(&stage.target, "UPDATE items SET n = -1 WHERE id = 2").await;
    let refused = says(&verify(&stage.migration, &["--repair", "--yes"]), 1);
    assert!(refused.contains("is cut over") && refused.contains("since"), "{refused}");
    assert_eq!(text(&stage.target, "SELECT n FROM items WHERE id = 2").await, "-1");
    assert!(says(&verify(&stage.migration, &[]), 5).contains("a disk lied"));
}

/// Rows without a key that both ends order are left as they are, and so is what the target does not take.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_repaired_is_told_and_left() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "left", DDL, TABLES, "").await;
    let mut running = stage.start("");
    tokio::task::block_in_place(|| running.wait_for(READY));
    run(&stage.target, "INSERT INTO bag VALUES (77, 'extra'); UPDATE items SET n = 0 WHERE id = 8").await;
    let said = says(&verify(&stage.migration, &["--repair", "--yes"]), 5);
    assert!(
        said.contains("public.bag still differs in rows that cannot be repaired") && said.contains("NOT passed"),
        "{said}"
    );
    assert_eq!(text(&stage.target, "SELECT count(*) FROM bag WHERE n = 77").await, "1");
    assert_eq!(text(&stage.target, "SELECT n FROM items WHERE id = 8").await, "8");
    run(&stage.target, "DELETE FROM bag WHERE n = 77").await;

    run(
        &stage.target,
        "DELETE FROM items WHERE id BETWEEN 8 AND 13; ALTER TABLE items ADD CONSTRAINT theirs CHECK (code <> 'code 12')",
    )
    .await;
    let said = says(&verify(&stage.migration, &["--repair", "--yes"]), 5);
    assert!(said.contains("the repair of public.items was refused, and nothing of it is done"), "{said}");
    assert!(said.contains("23514") && said.contains("theirs"), "{said}");
    assert_eq!(text(&stage.target, "SELECT count(*) FROM items WHERE id < 14").await, "6");
    assert_eq!(text(&stage.target, "SELECT count(*) FROM pcrd.repair").await, "1");
    run(&stage.target, "ALTER TABLE items DROP CONSTRAINT theirs").await;
    let _ = says(&verify(&stage.migration, &["--repair", "--yes"]), 0);
    stage.assert_equal(ON_SOURCE, ON_TARGET).await;
    tokio::task::block_in_place(|| running.interrupt());
    stage.cut_over().assert_switched();
}

/// Only the rows of the source in question are touched; rows of nobody stay.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_target_with_several_sources() {
    let pair = TestPair::start(15, 15);
    let (source, target) = (connect_to(&pair.source, "postgres").await, connect_to(&pair.target, "postgres").await);
    for table in ["east", "west"] {
        run(&source, &format!("CREATE TABLE {table} (id serial PRIMARY KEY, v text)")).await;
        run(
            &source,
            &format!("INSERT INTO {table} (v) SELECT '{table} ' || g FROM generate_series(1, 900) g; ANALYZE"),
        )
        .await;
    }
    let desired = "-- pcrd: merged_from east with side = 'e'\n-- pcrd: merged_from west with side = 'w'\n\
        CREATE TABLE public.world (side text NOT NULL, id serial, v text, PRIMARY KEY (side, id));\n";
    let (migration, running) = merge::ready(&pair, desired).await;
    run(
        &target,
        "UPDATE world SET v = 'wrong' WHERE (side, id) = ('e', 5); DELETE FROM world WHERE (side, id) = ('w', 5); \
         INSERT INTO world VALUES ('n', 5, 'nobody'), ('w', 5000, 'extra')",
    )
    .await;
    let said = says(&verify(&migration, &["--repair", "--yes"]), 5);
    assert!(said.contains("row (5, side = 'n') is on the target only"), "{said}");
    assert!(said.contains("come from none of its sources"), "{said}");
    run(&target, "DELETE FROM world WHERE side = 'n'").await;
    assert!(says(&verify(&migration, &[]), 0).contains("passed in full"));
    for (table, side) in [("east", "e"), ("west", "w")] {
        let left = sorted_copy(&source, &format!("SELECT id, v FROM {table}")).await;
        assert!(
            left == sorted_copy(&target, &format!("SELECT id, v FROM world WHERE side = '{side}'")).await,
            "{table}"
        );
    }
    tokio::task::block_in_place(|| migration.ok(&["cutover", "--yes"]));
    tokio::task::block_in_place(|| running.finish()).assert_switched();
}

/// Killed at each point of it, in the executor that was asked and in one that was begun for it.
#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "killed", DDL, TABLES, "").await;
    let wait = |said: crate::migration::Running| -> Said { tokio::task::block_in_place(|| said.finish()) };
    let points: Vec<_> = failpoint::ALL.iter().copied().filter(|point| point.starts_with("repair.")).collect();
    assert_eq!(points.len(), 3);
    for point in points {
        let done = point == "repair.after-commit";
        let mut running = stage.start(&format!("{point}=return(kill)"));
        tokio::task::block_in_place(|| running.wait_for(READY));
        run(&stage.target, "UPDATE items SET n = -n WHERE id BETWEEN 100 AND 110; DELETE FROM items WHERE id = 200")
            .await;
        let (count, repaired) = ("SELECT count(*) FROM items", "SELECT count(*) FROM pcrd.repair");
        let before = (text(&stage.target, count).await, text(&stage.target, repaired).await);
        let _ = says(&verify(&stage.migration, &["--repair", "--yes"]), 1);
        assert_eq!(wait(running).code, None, "{point}");
        let now = (text(&stage.target, count).await, text(&stage.target, repaired).await);
        assert_eq!(now == before, !done, "{point}: {before:?} {now:?}");
        if done {
            stage.assert_equal(ON_SOURCE, ON_TARGET).await;
            run(&stage.target, "DELETE FROM items WHERE id = 200").await;
        }
        // Nobody runs: the gate would never open again by itself.
        let different = wait(stage.start(""));
        assert_eq!(different.code, Some(5), "{}", different.stderr);
        assert!(different.stderr.contains("--repair"), "{}", different.stderr);
        let killed = stage.migration.start(&["verify", "--repair", "--yes"], &format!("{point}=return(kill)"));
        assert_eq!(wait(killed).code, None, "{point}");
        let said = says(&verify(&stage.migration, &["--repair", "--yes", "--reason", "again"]), 0);
        assert!(said.contains("nothing differs"), "{point}: {said}");
        stage.assert_equal(ON_SOURCE, ON_TARGET).await;
    }
    // A cutover that was decided must not be ended by a wish for something else.
    let said = wait(stage.start_through("cutover.after-permanent=return(kill)"));
    assert_eq!(said.code, None, "{}", said.stderr);
    let refused = says(&verify(&stage.migration, &["--repair", "--yes"]), 1);
    assert!(refused.contains("a cutover was broken off"), "{refused}");
    stage.cut_over().assert_switched();
}

/// Rows that are damaged, written and repaired all at once, with commits that are streamed before they are visible.
#[tokio::test(flavor = "multi_thread")]
async fn exact_under_writers() {
    const ROWS: u32 = 6_000;
    let seed = std::env::var("PCRD_SEED").map_or_else(|_| rand::rng().random(), |text| text.parse().unwrap());
    println!("PCRD_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let pair = TestPair::start(15, 15);
    let source = connect_to(&pair.source, "postgres").await;
    run(&source, &INT.ddl(ROWS)).await;
    // Rows that no writer knows: those may be missing, and the stream does not trip over it.
    run(&source, "INSERT INTO items (id, n) SELECT g, 0 FROM generate_series(1000000, 1000999) g; ANALYZE").await;
    writers::delay_visibility(&pair).await;
    let migration = Migration::new(&pair, &INT.yaml(), "  workers: 2\n  lag_threshold_bytes: 33554432");
    migration.plan();
    let writers = Writers::start(&pair, INT, ROWS, 3, true).await;
    writers.rest_at_least(5);
    let mut running = migration.start(&["--json", "apply", "plan.json", "--yes"], "");
    tokio::task::block_in_place(|| running.wait_for(READY));
    let target = connect_to(&pair.target, "postgres").await;
    let rounds = if std::env::var_os("PCRD_FULL").is_some() { 200 } else { 6 };
    for round in 0..rounds {
        let (every, missing) = (random.random_range(3..300), random.random_range(0..1_000));
        run(
            &target,
            &format!(
                // A lock of the whole table: row by row the two would be in one another's way.
                "BEGIN; LOCK TABLE items IN SHARE ROW EXCLUSIVE MODE; UPDATE items SET n = n - 1000000 WHERE id % {every} = 1 AND id < 1000000; \
                 DELETE FROM items WHERE id = 1000000 + {missing}; INSERT INTO items (id, n) VALUES (-{round} - 1, 0); COMMIT"
            ),
        )
        .await;
        // What was written while it was repaired is compared again by the next one.
        let mut tries = 0;
        loop {
            let output = verify(&migration, &["--repair", "--yes", "--json"]);
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let report: Value = serde_json::from_str(&said)
                .unwrap_or_else(|error| panic!("{error}: {said}{}", String::from_utf8_lossy(&output.stderr)));
            if output.status.code() == Some(0) {
                assert!(report["passed"] == true, "{report}");
                break;
            }
            tries += 1;
            assert!(tries < 10, "round {round}: {report}");
        }
    }
    let commits = writers.stop().await;
    writers::see_at_once(&pair).await;
    let spared =
        text(&target, "SELECT count(*) || ' repairs, keys spared: ' || sum(keys_spared) FROM pcrd.repair").await;
    println!("{commits} commits, {spared}");
    tokio::task::block_in_place(|| migration.ok(&["cutover", "--yes"]));
    tokio::task::block_in_place(|| running.finish()).assert_switched();
    let left = sorted_copy(&source, &INT.source_query()).await;
    assert!(left == sorted_copy(&target, &INT.target_query()).await, "source and target differ; PCRD_SEED={seed}");
    assert!(commits > 50 && text(&target, "SELECT count(*) FROM pcrd.repair").await != "0");
}
