//! How the way back begins and ends: what an attempt leaves behind, which server is believed, and who is waited for.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use pcrd::pg::local::Cluster;

use crate::support::{TestPair, connect_to, run, text};
use crate::way_back::{
    CLOSED, CUTOVER, TABLES, TOUCH_SOURCE, TOUCH_TARGET, assert_code, assert_refused, assert_rolled_back, command,
    left_open, refusal, stage, stage_of, switched, wait,
};

const NO_SLOT: &str = "SELECT count(*) = 0 FROM pg_replication_slots";
const DROP_SOURCE: [&str; 5] = ["cleanup", "--yes", "--drop-source", "--yes-drop", "public.items"];

/// It would keep the target's log for as long as the run waits at the gate.
#[tokio::test(flavor = "multi_thread")]
async fn the_slot_of_an_attempt_that_died_goes() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "died").await;
    assert_code(&wait(stage.start_through("back.prepared=return(kill)")), None);
    assert_eq!(text(&stage.target, "SELECT count(*) FROM pg_replication_slots").await, "1");
    let running = stage.start("");
    stage.until_target(NO_SLOT).await;
    assert_code(&tokio::task::block_in_place(|| running.interrupt()), Some(6));
    let running = switched(&stage);
    assert_code(&tokio::task::block_in_place(|| running.interrupt()), Some(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_slot_of_an_attempt_whose_stream_failed_goes() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "failed").await;
    let mut running = stage.start("back.prepared=1*sleep(3000)");
    tokio::task::block_in_place(|| running.wait_for("\"ready\":true"));
    let asked = stage.migration.start(&["cutover", "--yes"], "");
    stage.until_target("SELECT count(*) = 1 FROM pg_replication_slots").await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pcrd/%/apply'";
    run(&stage.target, end).await;
    assert_ne!(wait(asked).code, Some(0));
    stage.until_target(NO_SLOT).await;
    assert_eq!(refusal(&stage.source, TOUCH_SOURCE).await, None);
    assert_code(&tokio::task::block_in_place(|| running.interrupt()), Some(6));
}

/// As with the slot of the way there.
#[tokio::test(flavor = "multi_thread")]
async fn who_keeps_the_slot_from_being_created_is_named() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "keeps").await;
    let writer = connect_to(&pair.target, "keeps").await;
    run(&writer, "BEGIN; CREATE TABLE unfinished ()").await;
    let pid = text(&writer, "SELECT pg_backend_pid()").await;
    let mut running = stage.start_through("");
    let who = format!("creating slot pcrd_keeps_back waits until running write transactions end: pid {pid} (");
    tokio::task::block_in_place(|| running.wait_for(&who));
    assert_code(&tokio::task::block_in_place(|| running.interrupt()), Some(6));
    stage.until_target(NO_SLOT).await;
    assert_eq!(refusal(&stage.source, TOUCH_SOURCE).await, None);
    run(&writer, "ROLLBACK").await;
    let running = switched(&stage);
    assert_code(&tokio::task::block_in_place(|| running.interrupt()), Some(6));
}

/// A copy of what the server has now.
pub fn copy_of(cluster: &mut Cluster, name: &str) -> std::path::PathBuf {
    cluster.stop().unwrap();
    let other = cluster.data_dir().with_file_name(name);
    let copied = Command::new("cp").arg("-a").arg(cluster.data_dir()).arg(&other).status().unwrap();
    assert!(copied.success());
    cluster.resume().unwrap();
    other
}

/// Puts another data directory in the place of the server's.
pub fn fail_over(cluster: &mut Cluster, other: &Path) {
    cluster.stop().unwrap();
    std::fs::rename(cluster.data_dir(), cluster.data_dir().with_file_name("lost")).unwrap();
    std::fs::rename(other, cluster.data_dir()).unwrap();
    cluster.resume().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_does_not_know_of_the_rollback_is_not_believed() {
    for is_cleaned in [false, true] {
        let mut pair = TestPair::start(15, 17);
        let mut stage = stage(&pair, "forgets").await;
        left_open(&stage);
        let standby = copy_of(&mut pair.target, "standby");
        stage.target = connect_to(&pair.target, "forgets").await;
        run(&stage.target, "INSERT INTO items (id, count, price) VALUES (100, 1, 1)").await;
        assert_code(&command(&stage, &["rollback", "--yes"], ""), Some(0));
        if is_cleaned {
            stage.migration.ok(&["cleanup", "--yes"]);
        }
        fail_over(&mut pair.target, &standby);
        stage.target = connect_to(&pair.target, "forgets").await;
        assert_eq!(text(&stage.target, "SELECT state FROM pcrd.way_back").await, "open");
        let why = match is_cleaned {
            // Nobody knows any more; its tables take writes.
            true => "so that both ends may take writes",
            false => "the target was restored, or failed over to a server that is behind",
        };
        assert_refused(&command(&stage, &["finalize", "--yes"], ""), why);
        assert_refused(&command(&stage, &DROP_SOURCE, ""), "");
        if is_cleaned {
            // As after a source that was lost: what the operator says is believed, but no table is dropped for it.
            stage.migration.ok(&["finalize", "--yes", "--without-source"]);
            assert_refused(&command(&stage, &DROP_SOURCE, ""), "the source takes writes");
        } else {
            for args in [["rollback", "--yes"].as_slice(), &["finalize", "--yes", "--without-source"]] {
                assert_refused(&command(&stage, args, ""), why);
            }
        }
        assert_eq!(text(&stage.source, "SELECT count(*) FROM items").await, "51");
        assert_eq!(refusal(&stage.source, TOUCH_SOURCE).await, None);
    }
}

/// Behind a rollback that was decided both ends are closed until the source comes back, or the operator says that it does
/// not.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_is_opened_without_the_source_only_when_the_operator_says_so() {
    let mut pair = TestPair::start(15, 17);
    let mut stage = stage(&pair, "alone").await;
    left_open(&stage);
    run(&stage.target, "INSERT INTO items (id, count, price) VALUES (100, 1, 1)").await;
    assert_code(&command(&stage, &["rollback", "--yes"], "back.after-permanent=return(kill)"), None);
    // One that can be asked is asked.
    assert_refused(&command(&stage, &["finalize", "--yes", "--without-source"], ""), "pcrd rollback ends it");
    pair.source.stop().unwrap();
    let said = command(&stage, &["finalize", "--yes"], "");
    assert_refused(&said, "both ends are closed");
    assert!(said.stderr.contains("pcrd finalize --without-source"), "{}", said.stderr);
    let mut waits = stage.migration.start(&["--json", "rollback", "--yes"], "");
    tokio::task::block_in_place(|| waits.wait_for("both ends are closed until the source is there"));
    assert_code(&tokio::task::block_in_place(|| waits.interrupt()), Some(6));
    assert_eq!(refusal(&stage.target, TOUCH_TARGET).await.as_deref(), CLOSED);
    let without = ["finalize", "--yes", "--without-source"];
    assert_code(&command(&stage, &without, "back.finalized=return(kill)"), None);
    assert_eq!(refusal(&stage.target, TOUCH_TARGET).await.as_deref(), CLOSED);
    assert_code(&command(&stage, &without, ""), Some(0));
    assert_eq!(refusal(&stage.target, TOUCH_TARGET).await, None);
    // It comes back all the same: it stays closed.
    pair.source.resume().unwrap();
    stage.source = connect_to(&pair.source, "alone").await;
    assert_refused(&command(&stage, &["rollback", "--yes"], ""), "the way back is over");
    assert_eq!(refusal(&stage.source, TOUCH_SOURCE).await.as_deref(), CLOSED);
    stage.migration.ok(&["cleanup", "--yes"]);
}

/// Whether a rollback was made that this target does not know can be asked of the source only.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_way_back_ends_without_the_source_only_when_the_operator_says_so() {
    let mut pair = TestPair::start(15, 17);
    let stage = stage(&pair, "gone").await;
    left_open(&stage);
    pair.source.stop().unwrap();
    let said = command(&stage, &["finalize", "--yes"], "");
    assert_refused(&said, "pcrd finalize --without-source");
    assert_eq!(text(&stage.target, "SELECT state FROM pcrd.way_back").await, "open");
    stage.migration.ok(&["finalize", "--yes", "--without-source"]);
    assert_eq!(text(&stage.target, "SELECT count(*) FROM pg_replication_slots").await, "0");
}

/// New rows take the default of a column that the target does not have.
#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_that_the_role_may_not_use_is_told_before_the_fence() {
    let pair = TestPair::start(15, 17);
    let tables =
        TABLES.replace("        kind: { drop: true }\n", "        kind: { drop: true }\n        ref: { drop: true }\n");
    let accepted = "accept: [{ code: DELETES_DATA, address: public.items.ref, reason: test }, ";
    let cutover = CUTOVER.replace("accept: [", accepted);
    let more = "ALTER TABLE items ADD COLUMN ref serial; REVOKE ALL ON SEQUENCE items_ref_seq FROM goes_back";
    let stage = stage_of(&pair, "serial", more, &tables, &cutover).await;
    assert_refused(&wait(stage.start_through("")), "GRANT USAGE ON SEQUENCE public.items_ref_seq TO");
    assert_eq!(refusal(&stage.source, TOUCH_SOURCE).await, None);
    run(&stage.source, "GRANT USAGE ON SEQUENCE items_ref_seq TO goes_back").await;
    let running = switched(&stage);
    run(&stage.target, "INSERT INTO items (id, count, price) VALUES (100, 1, 1)").await;
    stage.until_source("SELECT count(*) = 1 FROM items WHERE id = 100 AND ref > 50").await;
    assert_code(&tokio::task::block_in_place(|| running.interrupt()), Some(6));
}

/// It would make other rows of those that come; that can be undone.
#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_came_to_the_source_stops_it_and_closes_nothing() {
    let pair = TestPair::start(15, 17);
    let more = "CREATE FUNCTION other() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.n := 77; RETURN NEW; END'; \
                CREATE TRIGGER other BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION other()";
    let stage = stage_of(&pair, "fires", more, TABLES, CUTOVER).await;
    let why = "TRIGGER other of public.items fires for rows that come back too";
    let running = switched(&stage);
    run(&stage.source, "ALTER TABLE items ENABLE ALWAYS TRIGGER other").await;
    assert_refused(&wait(running), why);
    run(&stage.target, "UPDATE items SET count = 5").await;
    for args in [["--json", "rollback", "--yes"].as_slice(), &["--json", "apply", "plan.json", "--yes"]] {
        assert_refused(&command(&stage, args, ""), why);
        assert_eq!(text(&stage.target, "SELECT state FROM pcrd.way_back").await, "open");
    }
    assert_eq!(text(&stage.source, "SELECT count(*) FROM items WHERE n = 77").await, "0");
    assert_eq!(refusal(&stage.target, TOUCH_TARGET).await, None);
    run(&stage.source, "ALTER TABLE items ENABLE TRIGGER other").await;
    assert_code(&command(&stage, &["rollback", "--yes"], ""), Some(0));
    assert_rolled_back(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_holds_the_tables_keeps_the_source_closed_no_longer_than_the_fences_timeout() {
    let pair = TestPair::start(15, 17);
    let cutover = CUTOVER.replace("fence_timeout: 60", "fence_timeout: 8");
    let stage = stage_of(&pair, "holds", "", TABLES, &cutover).await;
    let running = stage.start_through("back.probed=sleep(3000)");
    stage.until_target("SELECT state = 'sequences_set' FROM pcrd.cutover").await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let holder = connect_to(&pair.source, "holds").await;
    run(&holder, "BEGIN; LOCK TABLE items").await;
    let pid = text(&holder, "SELECT pg_backend_pid()").await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    run(&holder, "ROLLBACK").await;
    let said = wait(running);
    assert_refused(
        &said,
        "the cutover was given up and the source is open again: the tables could not be held for the switch",
    );
    assert!(said.stderr.contains(&format!("pid {pid} (")), "{}", said.stderr);
    assert_eq!(refusal(&stage.source, TOUCH_SOURCE).await, None);
    let running = switched(&stage);
    assert_code(&tokio::task::block_in_place(|| running.interrupt()), Some(6));
}

/// The ledger on the source may have rows of a plan that this one took over, and be an earlier version's.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_on_the_source_of_a_plan_that_was_taken_over() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "taken").await;
    assert_code(&wait(stage.start_through("cutover.before-permanent=1*return(error)")), Some(1));
    let path = stage.migration.dir.path().join("pcrd.config.yml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config.replace("reason: test", "reason: other")).unwrap();
    stage.migration.ok(&["plan", "--out", "new.json"]);
    let mut running =
        stage.migration.start(&["--json", "apply", "new.json", "--yes", "--adopt", "--through", "cutover"], "");
    tokio::task::block_in_place(|| running.wait_for("changes of the target go back"));
    assert_eq!(text(&stage.source, "SELECT count(*) FROM pcrd.migration").await, "2");
    run(&stage.source, "DROP TABLE pcrd.unreadable, pcrd.skipped").await;
    stage.migration.ok(&["finalize", "--yes"]);
    assert_code(&wait(running), Some(0));
    stage.migration.ok(&["cleanup", "--yes", "--drop-source", "--yes-drop", "public.items"]);
    assert_eq!(text(&stage.source, "SELECT count(*) FROM pg_namespace WHERE nspname = 'pcrd'").await, "0");
}

/// In the mirror the source is where rows go, and nothing can be aborted or left out any more.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_on_the_way_back_names_the_right_server() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "says").await;
    let running = switched(&stage);
    run(&stage.source, "REVOKE UPDATE ON items FROM goes_back").await;
    run(&stage.target, "UPDATE items SET count = 5 WHERE id = 1").await;
    let said = wait(running);
    assert_refused(&said, "the source refuses update on public.items");
    for word in ["pcrd abort", "pcrd skip", "--adopt", "the target refuses"] {
        assert!(!said.stderr.contains(word), "{word}: {}", said.stderr);
    }
    assert!(said.stderr.contains("pcrd finalize ends the way back"), "{}", said.stderr);
    run(&stage.source, "GRANT UPDATE ON items TO goes_back").await;
    let mut running = stage.start("");
    tokio::task::block_in_place(|| running.wait_for("changes of the target go back"));
    stage.until_source("SELECT n = 5 FROM items WHERE id = 1").await;
    run(
        &stage.source,
        "SET SESSION AUTHORIZATION goes_back; DELETE FROM items WHERE id = 1; RESET SESSION AUTHORIZATION",
    )
    .await;
    run(&stage.target, "UPDATE items SET count = 6 WHERE id = 1").await;
    assert_refused(&wait(running), "the source was changed by somebody else");
    let why = text(&stage.target, "SELECT reason FROM pcrd.way_back").await;
    assert!(why.contains("the source was changed by somebody else"), "{why}");
}
