//! After the switch the source is closed for good, and `status` says so as soon as it is not any more.

use crate::hooks::{DDL, TABLES, plan_with};
use crate::stage::Stage;
use crate::support::{TestPair, run, text};

#[tokio::test(flavor = "multi_thread")]
async fn status_says_when_the_source_takes_writes() {
    let pair = TestPair::start(15, 17);
    for fence in ["trigger", "rename"] {
        let stage = Stage::new(&pair, &format!("beside_{fence}"), DDL, TABLES, "").await;
        plan_with(&stage.migration, &format!("cutover: {{ fence: {fence}, fence_timeout: 60 }}"));
        stage.cut_over().assert_switched();
        let status = || tokio::task::block_in_place(|| stage.migration.ok(&["status"]));
        assert!(!status().contains("ALARM"), "{}", status());
        let own = "SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname = 'pcrd_fence'";
        let table = text(&stage.source, own).await;
        assert_eq!(table == "items", fence == "trigger", "{table}");
        let alarm = format!("ALARM: public.{table} of the source takes writes beside the target");
        for (off, on) in [("DISABLE", "ENABLE ALWAYS"), ("ENABLE", "ENABLE ALWAYS")] {
            run(&stage.source, &format!("ALTER TABLE {table} {off} TRIGGER pcrd_fence")).await;
            assert!(status().contains(&alarm), "{off}: {}", status());
            run(&stage.source, &format!("ALTER TABLE {table} {on} TRIGGER pcrd_fence")).await;
            assert!(!status().contains("ALARM"), "{}", status());
        }
        run(&stage.source, &format!("DROP TRIGGER pcrd_fence ON {table}")).await;
        assert!(status().contains(&alarm), "{}", status());
        run(&stage.source, "DELETE FROM pcrd.fence").await;
        assert!(status().contains("ALARM: the source takes writes beside the target"), "{}", status());
    }
}
