//! `verify` after the cutover, where no executor runs: in chunks, with what it has done so far, and broken off without a word
//! of having passed.

use std::time::Duration;

use serde_json::Value;

use crate::hooks::plan_with;
use crate::stage::Stage;
use crate::support::{TestPair, run, text};
use crate::way_back::{assert_code, command};

const DDL: &str = "CREATE TABLE items (id integer PRIMARY KEY, a text);
    INSERT INTO items SELECT g, 'a' || g FROM generate_series(1, 50000) AS g; ANALYZE items";
const TABLES: &str = "    - { name: items, columns: { id: { type: bigint } } }\n";

#[tokio::test(flavor = "multi_thread")]
async fn every_chunk_is_compared() {
    let pair = TestPair::start(15, 17);
    let stage = Stage::new(&pair, "chunks", DDL, TABLES, "").await;
    stage.cut_over().assert_switched();
    let said = command(&stage, &["verify"], "");
    assert_code(&said, Some(0));
    assert!(said.lines.join("\n").contains("passed in full"), "{}", said.lines.join("\n"));
    assert!(said.stderr.contains("verify public.items: "), "{}", said.stderr);

    run(
        &stage.target,
        "UPDATE items SET a = 'b' WHERE id IN (1, 20001, 50000); DELETE FROM items WHERE id = 30000; \
         INSERT INTO items VALUES (-7, 'before'), (90000, 'behind')",
    )
    .await;
    let said = command(&stage, &["--json", "verify"], "");
    assert_code(&said, Some(5));
    let report: Value = serde_json::from_str(&said.lines.join("\n")).unwrap();
    let items = &report["tables"][0];
    assert!(items["chunks_compared"].as_u64().unwrap() > 1, "{report}");
    assert_eq!((&items["rows_source"], &items["rows_target"]), (&50_000.into(), &50_001.into()), "{report}");
    let mut keys: Vec<&str> =
        items["differences"].as_array().unwrap().iter().map(|found| found["key"][0].as_str().unwrap()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["-7", "1", "20001", "30000", "50000", "90000"], "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_broken_off_has_not_passed() {
    let pair = TestPair::start(15, 17);
    let stage = Stage::new(&pair, "broken_off", DDL, TABLES, "").await;
    plan_with(&stage.migration, "verify: { max_rows_per_second: 4000 }\ncutover: { fence_timeout: 60 }");
    stage.cut_over().assert_switched();
    let at_work = "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name LIKE 'pcrd/%verify%'";
    for how in ["interrupted", "without its session"] {
        let running = stage.migration.start(&["verify"], "");
        stage.until_source(at_work).await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let said = if how == "interrupted" {
            tokio::task::block_in_place(|| running.interrupt())
        } else {
            let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'pcrd/%verify%'";
            assert_eq!(text(&stage.target, end).await, "1");
            tokio::task::block_in_place(|| running.finish())
        };
        assert_code(&said, Some(if how == "interrupted" { 6 } else { 1 }));
        assert!(!said.lines.join("\n").contains("passed"), "{how}: {}", said.lines.join("\n"));
        stage
            .until_source("SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name LIKE 'pcrd/%verify%'")
            .await;
    }
}
