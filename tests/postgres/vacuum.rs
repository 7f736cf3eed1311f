//! VACUUM (FREEZE) of the target before the cutover: done where it is asked for, while the stream goes on, and done again
//! after whatever broke it off.

use crate::migration::{Migration, Running};
use crate::stage::Stage;
use crate::support::{TestPair, run, text};

const READY: &str = "\"type\":\"gate\",\"ready\":true";
const ITEMS: &str = "CREATE TABLE items (id integer PRIMARY KEY, n integer, pad text); \
     INSERT INTO items SELECT g, g % 7, repeat('x', 500) FROM generate_series(1, 3000) AS g; \
     CREATE INDEX items_n ON items (n); \
     CREATE TABLE plain (id integer PRIMARY KEY); INSERT INTO plain SELECT generate_series(1, 100); ANALYZE";
const YAML: &str = "    - { name: items, columns: { id: { type: bigint } } }\n    - { name: plain, vacuum: false }\n";
const QUERY: &str = "SELECT id::bigint, n, pad FROM items";
/// Every page with a row is visible to all, and no row is newer than what the table is frozen up to. Since 16 the server may
/// have pages at the end without rows.
const FROZEN: &str = "SELECT relallvisible > 100 AND relallvisible = (SELECT count(DISTINCT (ctid::text::point)[0]) FROM items) \
     AND age(relfrozenxid) < (SELECT min(age(xmin)) FROM items) FROM pg_class WHERE oid = 'items'::regclass";

async fn stage(pair: &TestPair, name: &str) -> Stage {
    Stage::new(pair, name, ITEMS, YAML, "  vacuum: true\n  on_ddl: follow_additive\n").await
}

fn at_the_gate(stage: &Stage) -> Running {
    let mut running = stage.start("");
    tokio::task::block_in_place(|| running.wait_for(READY));
    running
}

async fn finish(stage: &Stage, running: Running) {
    let cutover = |migration: &Migration| migration.ok(&["cutover", "--yes"]);
    tokio::task::block_in_place(|| cutover(&stage.migration));
    tokio::task::block_in_place(|| running.finish()).assert_switched();
    stage.assert_equal(QUERY, QUERY).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_target_is_frozen_at_the_gate() {
    for (source, target) in [(10, 10), (13, 18)] {
        let pair = TestPair::start(source, target);
        let stage = stage(&pair, "frozen").await;
        let running = at_the_gate(&stage);
        assert_eq!(text(&stage.target, FROZEN).await, "t", "{source}→{target}");
        let steps = "SELECT string_agg(step || ' ' || status, ', ' ORDER BY step) FROM pcrd.step \
             WHERE step ~ '^(vacuum|analyze):'";
        let said = "analyze:public.plain succeeded, vacuum:public.items succeeded";
        assert_eq!(text(&stage.target, steps).await, said);
        finish(&stage, running).await;
    }
}

/// So slow that it can be met at work.
async fn slow(stage: &Stage, delay: &str) {
    run(&stage.target, &format!("ALTER SYSTEM SET vacuum_cost_delay = '{delay}'")).await;
    run(&stage.target, "ALTER SYSTEM SET vacuum_cost_limit = 1").await;
    run(&stage.target, "SELECT pg_reload_conf()").await;
}

/// Ours, and none of the server's own.
const AT_WORK: &str =
    "FROM pg_stat_progress_vacuum JOIN pg_stat_activity USING (pid) WHERE application_name LIKE 'pcrd/%'";

async fn until_at_work(stage: &Stage) {
    stage.until_target(&format!("SELECT count(*) = 1 {AT_WORK} AND heap_blks_scanned > 3")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_in_nobodys_way_and_can_be_broken_off() {
    let pair = TestPair::start(15, 15);
    let stage = stage(&pair, "broken").await;
    let nobody = format!("SELECT count(*) = 0 {AT_WORK}");
    slow(&stage, "100ms").await;

    // The stream goes on, a column that comes is not kept waiting, and Ctrl-C ends it with the run.
    let running = stage.start("");
    until_at_work(&stage).await;
    run(&stage.source, "UPDATE items SET n = -1 WHERE id % 100 = 1; DELETE FROM items WHERE id % 100 = 2").await;
    stage.until_applied().await;
    assert_eq!(text(&stage.target, &nobody).await, "f", "it ended before the stream had shown that it goes on");
    run(
        &stage.source,
        "ALTER TABLE items ADD COLUMN extra integer DEFAULT 5; UPDATE items SET extra = id WHERE id % 100 = 3",
    )
    .await;
    stage.until_target("SELECT count(*) > 20 FROM items WHERE extra > 5").await;
    until_at_work(&stage).await;
    let said = tokio::task::block_in_place(|| running.interrupt());
    assert_eq!(said.code, Some(6), "{}\n{}", said.lines.join("\n"), said.stderr);
    stage.until_target(&nobody).await;

    // A crash leaves the server's session at work, which would take a minute and a half, and notices soon that nobody is there.
    let running = stage.start("");
    until_at_work(&stage).await;
    let said = tokio::task::block_in_place(|| running.kill());
    assert_eq!(said.code, None);
    assert_eq!(
        text(
            &stage.target,
            "SELECT count(*) FROM pcrd.step WHERE step = 'vacuum:public.items' AND status = 'succeeded'"
        )
        .await,
        "0"
    );
    slow(&stage, "0").await;
    stage.until_target(&nobody).await;
    let running = at_the_gate(&stage);
    assert_eq!(
        text(&stage.target, "SELECT status FROM pcrd.step WHERE step = 'vacuum:public.items'").await,
        "succeeded"
    );
    finish(&stage, running).await;
    let extra = "SELECT id::bigint, extra FROM items";
    stage.assert_equal(extra, extra).await;
}
