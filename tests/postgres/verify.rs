//! What `verify` can be asked for: some tables, a sample, a hash that nobody can forge, values.

use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::stage::Stage;
use crate::support::{TestPair, connect_to, run, text};

const READY: &str = "\"type\":\"gate\",\"ready\":true";
const DDL: &str = "CREATE TABLE items (id integer PRIMARY KEY, a text, b text);
    INSERT INTO items SELECT g, 'a' || g, CASE WHEN g % 3 = 0 THEN 'b' END FROM generate_series(1, 40000) AS g;
    CREATE TABLE notes (id integer PRIMARY KEY, t text);
    INSERT INTO notes SELECT g, 'n' FROM generate_series(1, 100) AS g;
    CREATE TABLE bag (n integer, t text);
    ALTER TABLE bag REPLICA IDENTITY FULL;
    INSERT INTO bag SELECT g % 10, 't' FROM generate_series(1, 100) AS g;
    ANALYZE";
const YAML: &str = "    - { name: items, columns: { id: { type: bigint }, b: { rename: c } } }
    - { name: notes, columns: { id: { type: bigint } } }
    - name: bag
";

fn verify(stage: &Stage, args: &[&str]) -> Output {
    tokio::task::block_in_place(|| stage.migration.run(&[&["verify"], args].concat()))
}

#[track_caller]
fn says(output: &Output, code: i32) -> String {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

#[track_caller]
fn report(output: &Output, code: i32) -> Value {
    let _ = says(output, code);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn json(stage: &Stage, args: &[&str]) -> Output {
    tokio::task::block_in_place(|| stage.migration.run(&[&["--json", "verify"], args].concat()))
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_the_stream() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "asked", DDL, YAML, "").await;
    let mut running = stage.start("");
    running.wait_for(READY);

    assert!(says(&verify(&stage, &[]), 0).contains("passed in full"));
    assert!(says(&verify(&stage, &["--paranoid"]), 0).contains("passed in full"));
    let said = says(&verify(&stage, &["--sample-size", "2500"]), 0);
    assert!(said.contains("sampled: no difference") && !said.contains("passed in full"), "{said}");
    let found = report(&json(&stage, &["--sample-size", "2500"]), 0);
    assert_eq!(found["passed"], false, "a sample is never passed in full: {found}");
    let items = &found["tables"][0];
    assert_eq!((&items["table"], &items["sampled"]), (&"public.items".into(), &true.into()), "{found}");
    let rows = items["rows_compared"].as_u64().unwrap();
    assert!((1_000..=4_000).contains(&rows), "{found}");
    assert!(found["tables"][1]["sampled"].is_null() && found["tables"][1]["rows_compared"] == 100, "{found}");
    let whole = report(&json(&stage, &["--sample-size", "40000"]), 0);
    assert_eq!((&whole["passed"], &whole["tables"][0]["rows_compared"]), (&true.into(), &40_000.into()), "{whole}");

    run(
        &stage.target,
        "UPDATE items SET c = '' WHERE id = 7; DELETE FROM notes WHERE id = 3; INSERT INTO bag VALUES (77, NULL)",
    )
    .await;
    // Only the table that was asked for.
    let found = report(&json(&stage, &["--table", "notes"]), 5);
    assert_eq!(found["tables"].as_array().unwrap().len(), 1, "{found}");
    assert!(says(&verify(&stage, &["--table", "nowhere"]), 64).contains("the migration has no table public.nowhere"));
    for paranoid in [&[][..], &["--paranoid"]] {
        let said = says(&verify(&stage, paranoid), 5);
        for line in
            ["row (7) differs in c\n", "row (3) is missing on the target\n", "is on the target only\n", "NOT passed"]
        {
            assert!(said.contains(line), "{line}: {said}");
        }
        let said = says(&verify(&stage, &[&["--show-values"], paranoid].concat()), 5);
        for line in [
            "row (7) differs in c; c: NULL on the source, '' on the target\n",
            "row (3) is missing on the target; id = '3', t = 'n'\n",
            "is on the target only; n = '77', t = NULL\n",
        ] {
            assert!(said.contains(line), "{line}: {said}");
        }
    }
    // What was found stays found, whatever a sample says of other rows.
    let _ = verify(&stage, &["--sample-size", "1"]);
    let status = tokio::task::block_in_place(|| stage.migration.ok(&["status"]));
    assert!(status.contains("the last comparison of public.items found 1 difference(s)"), "{status}");

    run(
        &stage.target,
        "UPDATE items SET c = NULL WHERE id = 7; INSERT INTO notes VALUES (3, 'n'); DELETE FROM bag WHERE n = 77",
    )
    .await;
    assert!(says(&verify(&stage, &["--paranoid"]), 0).contains("passed in full"));
    running.wait_for(READY);
    let said = running.kill();
    let progress: Vec<&String> = said
        .lines
        .iter()
        .filter(|line| line.contains("\"work\":\"verify\"") && line.contains("public.items"))
        .collect();
    assert!(progress.iter().any(|line| line.contains("\"rows_estimate\":40000")), "{progress:?}");
    stage.cut_over().assert_switched();

    run(&stage.target, "UPDATE items SET c = 'late' WHERE id = 9").await;
    assert!(says(&verify(&stage, &["--table", "notes", "--paranoid"]), 0).contains("passed in full"));
    let said = says(&verify(&stage, &["--paranoid", "--show-values"]), 5);
    assert!(said.contains("row (9) differs in c; c: 'b' on the source, 'late' on the target"), "{said}");
}

/// Whoever ends it, it has not passed: the command, the executor that compares, or both.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_broken_off_has_not_passed() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "broken_off", DDL, YAML, "").await;
    let running = stage.start("verify.begin=sleep(3000)");
    stage.until_target("SELECT count(*) > 0 FROM pcrd.step WHERE step LIKE 'verify%'").await;
    let said = tokio::task::block_in_place(|| running.interrupt());
    assert_eq!(said.code, Some(6), "{}", said.stderr);
    let done = "SELECT (SELECT count(*) FROM pcrd.verified) + (SELECT count(*) FROM pcrd.step WHERE step LIKE 'verify%' AND status = 'succeeded')";
    assert_eq!(text(&stage.target, done).await, "0");

    let mut running = stage.start("verify.begin=1*off->sleep(3000)");
    tokio::task::block_in_place(|| running.wait_for(READY));
    let taken =
        |n: u32| format!("SELECT count(*) = {n} FROM pcrd.request WHERE kind = 'verify' AND taken_at IS NOT NULL");
    let asked = stage.migration.start(&["verify"], "");
    stage.until_target(&taken(1)).await;
    let said = tokio::task::block_in_place(|| asked.interrupt());
    assert_eq!(said.code, Some(6), "{}", said.stderr);
    assert!(!said.lines.iter().any(|line| line.contains("passed")), "{:?}", said.lines);
    let asked = stage.migration.start(&["--json", "verify"], "");
    stage.until_target(&taken(2)).await;
    tokio::task::block_in_place(|| running.kill());
    let said = tokio::task::block_in_place(|| asked.finish());
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    assert!(
        said.stderr.contains("ended before it answered") && said.lines.is_empty(),
        "{:?} {}",
        said.lines,
        said.stderr
    );
    stage.cut_over().assert_switched();
}

/// Forty thousand rows would take minutes at this rate, which another terminal can change.
#[tokio::test(flavor = "multi_thread")]
async fn at_the_rate_and_by_the_hash_of_the_plan() {
    let pair = TestPair::start(15, 15);
    let yaml = format!("{YAML}verify: {{ hash: sha256, max_rows_per_second: 100 }}\n");
    let stage = Stage::new(&pair, "rate", DDL, &yaml, "").await;
    let plan = tokio::task::block_in_place(|| stage.migration.run(&["show", "plan.json"]));
    let said = says(&plan, 0);
    assert!(said.contains("verify.max_rows_per_second 100") && said.contains("verify.hash sha256"), "{said}");
    let mut running = stage.start("");
    running.wait_for("\"work\":\"verify\"");
    stage
        .until_source(
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE '%sha256(%' AND pid <> pg_backend_pid() \
             AND application_name LIKE 'pcrd/%'",
        )
        .await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(text(&stage.target, "SELECT count(*) FROM pcrd.verified WHERE tbl = 'public.items'").await, "0");
    let raised = tokio::task::block_in_place(|| stage.migration.run(&["throttle", "--verify-rows-per-second", "0"]));
    assert!(says(&raised, 0).contains("no limit of rows compared a second"));
    running.wait_for(READY);
    assert_eq!(text(&stage.target, "SELECT rows FROM pcrd.verified WHERE tbl = 'public.items'").await, "40000");
    tokio::task::block_in_place(|| running.interrupt());
}

/// Two servers may compute one expression differently: by the body of a function here, by version or collation elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_target_computes_is_compared_with_what_the_source_has() {
    let pair = TestPair::start(15, 17);
    let function = |body: &str| {
        format!("CREATE FUNCTION public.f(integer) RETURNS integer IMMUTABLE STRICT LANGUAGE sql AS 'SELECT {body}'")
    };
    let ddl = format!(
        "{}; CREATE TABLE items (id integer PRIMARY KEY, n integer, twice integer GENERATED ALWAYS AS (public.f(n)) STORED, \
         other integer GENERATED ALWAYS AS (n + 1) STORED); INSERT INTO items SELECT g, g FROM generate_series(1, 300) AS g; ANALYZE items",
        function("$1 * 2")
    );
    let tables = "    - { name: items, columns: { id: { type: bigint }, twice: { rename: double } } }\n";
    let stage = Stage::with_target(&pair, "alike", &ddl, &function("$1 * 2"), tables, "").await;
    let mut running = stage.start("");
    tokio::task::block_in_place(|| running.wait_for(READY));
    run(&stage.source, "UPDATE items SET n = n + 1000 WHERE id > 200").await;
    for args in [&[][..], &["--paranoid"]] {
        says(&verify(&stage, args), 0);
    }
    // Nothing of the target writes it: it is computed anew from other values.
    run(&stage.target, "ALTER TABLE items DISABLE TRIGGER USER; UPDATE items SET n = n + 1 WHERE id = 77").await;
    let said = says(&verify(&stage, &["--table", "public.items"]), 5);
    assert!(["(77)", "n", "double", "other"].iter().all(|word| said.contains(word)), "{said}");
    tokio::task::block_in_place(|| running.interrupt());
    let differs_once = function("CASE $1 WHEN 77 THEN 0 ELSE $1 * 2 END");
    let stage = Stage::with_target(&pair, "unlike", &ddl, &differs_once, tables, "").await;
    let said = tokio::task::block_in_place(|| stage.start("").finish());
    assert_eq!(said.code, Some(5), "{}", said.stderr);
    assert!(said.stderr.contains("row (77) differs in double"), "{}", said.stderr);
}

/// To read a virtual column may fail, and the application's own rows must not end a verification.
#[tokio::test(flavor = "multi_thread")]
async fn virtual_columns_are_not_read() {
    let pair = TestPair::start(18, 18);
    let ddl = "CREATE TABLE items (id integer PRIMARY KEY, n integer, \
               share integer GENERATED ALWAYS AS (100 / n) VIRTUAL, twice integer GENERATED ALWAYS AS (2 * n) STORED); \
               INSERT INTO items SELECT g, g - 1 FROM generate_series(1, 50) AS g; ANALYZE items";
    let stage =
        Stage::new(&pair, "virtual", ddl, "    - { name: items, columns: { id: { type: bigint } } }\n", "").await;
    let mut running = stage.start("");
    tokio::task::block_in_place(|| running.wait_for(READY));
    says(&verify(&stage, &[]), 0);
    tokio::task::block_in_place(|| running.interrupt());
}

/// A counter that is written all the time: what could not be compared is not called compared, nor different.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_never_at_rest() {
    let pair = TestPair::start(15, 15);
    let ddl =
        format!("{DDL}; CREATE TABLE counter (id integer PRIMARY KEY, n bigint); INSERT INTO counter VALUES (1, 0)");
    let stage = Stage::new(&pair, "never", &ddl, &format!("{YAML}    - name: counter\n"), "").await;
    let writer = crate::support::connect_to(&pair.source, "never").await;
    let writing = tokio::spawn(async move {
        while writer.batch_execute("UPDATE counter SET n = n + 1 WHERE id = 1").await.is_ok() {}
    });
    let mut running = stage.start("");
    running.wait_for(READY);
    for _ in 0..5 {
        let found = json(&stage, &[]);
        let code = found.status.code().unwrap();
        let report: Value = serde_json::from_slice(&found.stdout).unwrap();
        let tables = report["tables"].as_array().unwrap();
        let counter = tables.iter().find(|table| table["table"] == "public.counter").unwrap();
        assert!(counter["differences"].as_array().unwrap().is_empty(), "{report}");
        let compared = counter["rows_compared"].as_u64().unwrap() > 0 && counter["keys_pending"].is_u64();
        assert_eq!((report["passed"].as_bool().unwrap(), code == 0), (compared, compared), "{code}: {report}");
        assert!(code == 0 || code == 1, "nothing differs: {code}: {report}");
    }
    let said = tokio::task::block_in_place(|| stage.migration.start(&["cutover", "--yes"], "").finish());
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    tokio::task::block_in_place(|| running.finish()).assert_switched();
    writing.await.unwrap();
    stage.assert_equal("SELECT id, n FROM counter", "SELECT id, n FROM counter").await;
}

/// Every chunk fails: its session is ended as soon as it is there.
#[tokio::test(flavor = "multi_thread")]
async fn one_whose_chunks_all_fail_has_not_passed() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "all_fail", DDL, YAML, "").await;
    let mut running = stage.start("");
    running.wait_for(READY);
    let stop = Arc::new(AtomicBool::new(false));
    let ended = tokio::spawn({
        let (client, stop) = (connect_to(&pair.target, "postgres").await, Arc::clone(&stop));
        async move {
            let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                       WHERE datname = 'all_fail' AND application_name LIKE 'pcrd/%verify%'";
            let mut ended = 0_usize;
            while !stop.load(Ordering::Relaxed) {
                ended += text(&client, end).await.parse::<usize>().unwrap();
            }
            ended
        }
    });
    let output = verify(&stage, &[]);
    stop.store(true, Ordering::Relaxed);
    assert!(ended.await.unwrap() > 0);
    let said = says(&output, 1);
    assert!(!said.contains("passed in full"), "{said}");
    // Nothing of it stays: the next one is as good as any.
    running.wait_for(READY);
    assert!(says(&verify(&stage, &[]), 0).contains("passed in full"));
    running.kill();
}
