//! A switch that is decided and not complete: every command says so, and which one goes on. And messages in the source's log
//! that pretend to be a fence.

use crate::hooks::{assert_code, command};
use crate::stage::Stage;
use crate::support::{TestPair, connect, run, text};

const DDL: &str = "CREATE TABLE items (id integer PRIMARY KEY, n integer);
    INSERT INTO items SELECT g, g FROM generate_series(1, 500) g;
    CREATE ROLE app LOGIN; GRANT SELECT, INSERT, UPDATE ON items TO app; ANALYZE";
const TABLES: &str = "    - { name: items, columns: { id: { type: bigint } } }\n";
const READY: &str = "\"type\":\"gate\",\"ready\":true";

fn words(text: &str) -> String {
    text.replace('│', " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// As an application: with the rights that were given to it.
async fn may_write(cluster: &pcrd::pg::local::Cluster, name: &str, id: u32) -> bool {
    let mut app = cluster.conninfo(name);
    "app".clone_into(&mut app.user);
    connect(&app).await.batch_execute(&format!("INSERT INTO items VALUES ({id}, 1)")).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_says_what_completes_it() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::with_target(&pair, "decided", DDL, "CREATE ROLE app LOGIN", TABLES, "").await;
    let died = tokio::task::block_in_place(|| stage.start_through("cutover.after-permanent=return(kill)").finish());
    assert_eq!(died.code, None, "{}", died.stderr);
    assert!(!may_write(&pair.source, "decided", 9001).await, "the source is closed for good");
    assert!(!may_write(&pair.target, "decided", 9001).await, "the target has not given the rights yet");
    for args in [&["abort", "--yes"][..], &["cleanup", "--yes"]] {
        let said = command(&stage, args, "");
        assert_code(&said, Some(1));
        let said = words(&said.stderr);
        assert!(
            said.contains("decided and not complete") && said.contains("pcrd apply completes it"),
            "{args:?}: {said}"
        );
    }
    let status = words(&tokio::task::block_in_place(|| stage.migration.ok(&["status"])));
    assert!(status.contains("ALARM: the switch is decided and not complete"), "{status}");
    stage.cut_over().assert_switched();
    assert!(!may_write(&pair.source, "decided", 9002).await);
    assert!(may_write(&pair.target, "decided", 9002).await, "complete: applications may use the target");
    let status = tokio::task::block_in_place(|| stage.migration.ok(&["status"]));
    assert!(!status.contains("not complete"), "{status}");
}

/// Any role may write messages into the log; only the executor knows the nonce.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_sentinel_ends_nothing_and_our_own_is_not_taken_for_one() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::with_target(&pair, "forged", DDL, "CREATE ROLE app LOGIN", TABLES, "").await;
    let mut running = stage.start("cutover.after-fence=1*return(error)");
    tokio::task::block_in_place(|| running.wait_for(READY));
    let asked = command(&stage, &["cutover", "--yes"], "");
    assert_code(&asked, Some(1));
    assert!(words(&asked.stderr).contains("the source is open again"), "{}", asked.stderr);
    let migration = text(&stage.target, "SELECT id FROM pcrd.migration").await;
    let epoch = text(&stage.target, "SELECT epoch FROM pcrd.migration").await;
    let mut app = pair.source.conninfo("forged");
    "app".clone_into(&mut app.user);
    let app = connect(&app).await;
    let forged = format!(
        "SELECT pg_logical_emit_message(true, 'pcrd', 'fence:{migration}:{epoch}:' || repeat('0', 32)); \
         SELECT pg_logical_emit_message(true, 'pcrd', 'nothing at all'); \
         SELECT pg_logical_emit_message(false, 'pcrd', 'fence:{migration}:{epoch}:'); INSERT INTO items VALUES (9003, 3)"
    );
    run(&app, &forged).await;
    assert_code(&command(&stage, &["cutover", "--yes"], ""), Some(0));
    let said = tokio::task::block_in_place(|| running.finish());
    said.assert_switched();
    let pretended = said.lines.iter().filter(|line| line.contains("pretends to be a fence")).count();
    assert_eq!(pretended, 1, "the forged one, and not that of the first attempt: {}", said.lines.join("\n"));
    stage.assert_equal("SELECT id::bigint, n FROM items", "SELECT id, n FROM items").await;
}
