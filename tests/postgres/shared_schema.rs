//! Two migrations share the schema `pcrd` on the source: one removes it while the other raises its fence.

use std::time::{Duration, Instant};

use crate::stage::Stage;
use crate::support::{TestPair, connect_to, run, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_cleanup_beside_a_fence_that_is_being_raised() {
    for major in [15, 10] {
        let pair = TestPair::start(major, 15);
        let ddl = "CREATE TABLE items (id integer PRIMARY KEY); CREATE TABLE other (id integer PRIMARY KEY)";
        let yaml = "    - { name: items, columns: { id: { type: bigint } } }\n";
        let stage = Stage::new(&pair, "shared", ddl, yaml, "").await;
        stage.cut_over().assert_switched();
        // What the other executor does, in its words, up to its COMMIT.
        let other = connect_to(&pair.source, "shared").await;
        run(
            &other,
            "BEGIN; LOCK TABLE other IN SHARE ROW EXCLUSIVE MODE; \
            INSERT INTO pcrd.fence VALUES ('theirs', clock_timestamp() + '60 s'); \
            CREATE TRIGGER pcrd_fence BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON other FOR EACH STATEMENT \
            EXECUTE PROCEDURE pcrd.fence('theirs'); ALTER TABLE other ENABLE ALWAYS TRIGGER pcrd_fence",
        )
        .await;
        let cleanup = stage.migration.start(&["cleanup", "--yes", "--open-source"], "");
        let waits = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = 'pcrd.fence'::regclass";
        let began = Instant::now();
        while text(&stage.source, waits).await != "t" {
            assert!(began.elapsed() < Duration::from_secs(30), "it did not wait");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        run(&other, "COMMIT").await;
        let said = tokio::task::block_in_place(|| cleanup.finish());
        assert_eq!(said.code, Some(0), "{}", said.stderr);
        assert!(!said.stderr.contains("schema pcrd on the source"), "{}", said.stderr);
        let refused = stage.source.batch_execute("INSERT INTO other VALUES (1)").await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "25006", "{refused:?}");
        run(&stage.source, "DROP TRIGGER pcrd_fence ON other; DELETE FROM pcrd.fence").await;
        run(&stage.source, "INSERT INTO items VALUES (1)").await;
        stage.migration.ok(&["cleanup", "--yes"]);
        assert_eq!(text(&stage.source, "SELECT to_regnamespace('pcrd') IS NULL").await, "t");
    }
}
