//! What becomes of slot and publication of the way back when a cutover is given up, or its run goes on under another plan: they go
//! last, they hide no reason, and who reads the slot is named.

use pcrd::catalog::Ident;
use pcrd::pg::local::Cluster;
use pcrd::pg::replication::{self, PgoutputOptions, Stream, StreamLimits};
use pcrd::replay::Lsn;

use crate::hooks::{until_file, write_program};
use crate::migration::Said;
use crate::stage::Stage;
use crate::support::{TestPair, run, text};
use crate::way_back::{CUTOVER, TABLES, TOUCH_SOURCE, assert_code, refusal, stage, stage_of, switched, wait};

const SLOTS: &str = "SELECT count(*) FROM pg_replication_slots";
const PUBLICATIONS: &str = "SELECT count(*) FROM pg_publication";
const NO_PUBLICATION: &str = "SELECT count(*) = 0 FROM pg_publication";
/// Goes on when it may.
const PROGRAM: &str = "#!/bin/sh\ntouch aborting\nwhile [ ! -e go ]; do sleep 0.02; done\n";

/// What is said to people, on one line.
fn unfolded(said: &Said) -> String {
    said.stderr.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
}

fn stopped(running: crate::migration::Running) {
    assert_code(&tokio::task::block_in_place(|| running.interrupt()), Some(6));
}

/// Somebody reads the slot of the way back until it is dropped; also says as which process.
async fn read_slot(stage: &Stage, target: &Cluster) -> (Stream, i32) {
    let slot = Ident::new(text(&stage.target, "SELECT slot_name FROM pg_replication_slots").await).unwrap();
    let publication = Ident::new(text(&stage.target, "SELECT pubname FROM pg_publication").await).unwrap();
    let connection = replication::connect(&target.conninfo(&stage.name), "somebody").await.unwrap();
    let options = PgoutputOptions { publications: vec![publication], messages: true, origin_none: false };
    let stream = connection.start(&slot, Lsn(0), &options, StreamLimits::default()).await.unwrap();
    stage.until_target("SELECT active FROM pg_replication_slots").await;
    let pid = stream.backend_pid();
    (stream, pid)
}

/// A plan of the same run that has no way back.
fn plan_without_way_back(stage: &Stage) {
    let path = stage.migration.dir.path().join("pcrd.config.yml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config.replace(", reverse: { user: goes_back }", "")).unwrap();
    stage.migration.ok(&["plan", "--out", "new.json"]);
}

fn adopt(stage: &Stage) -> Said {
    wait(stage.migration.start(&["--json", "apply", "new.json", "--yes", "--adopt", "--through", "verify"], ""))
}

/// The new plan has no step that would ever drop it.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_not_adopted_while_somebody_reads_its_slot() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "busy").await;
    assert_code(&wait(stage.start_through("back.prepared=return(kill)")), None);
    plan_without_way_back(&stage);
    let (reader, pid) = read_slot(&stage, &pair.target).await;
    let said = adopt(&stage);
    assert_code(&said, Some(7));
    let words = unfolded(&said);
    for word in ["slot pcrd_busy_back", &format!("pid {pid} (somebody, role postgres)"), "run the same command again"] {
        assert!(words.contains(word), "{word}: {words}");
    }
    assert_eq!(text(&stage.target, "SELECT string_agg(state, ' ') FROM pcrd.migration").await, "running");
    assert_eq!(text(&stage.target, PUBLICATIONS).await, "1", "what the slot has could not be read without it");
    drop(reader);
    assert_code(&adopt(&stage), Some(0));
    assert_eq!(text(&stage.target, SLOTS).await, "0");
    assert_eq!(text(&stage.target, PUBLICATIONS).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_lost_a_table_is_not_used_because_somebody_reads_the_slot() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "wrong").await;
    assert_code(&wait(stage.start_through("back.prepared=return(kill)")), None);
    let publication = text(&stage.target, "SELECT pubname FROM pg_publication").await;
    run(&stage.target, &format!("ALTER PUBLICATION \"{publication}\" DROP TABLE items")).await;
    let (reader, pid) = read_slot(&stage, &pair.target).await;
    let said = wait(stage.start_through(""));
    assert_code(&said, Some(1));
    assert!(unfolded(&said).contains(&format!("slot pcrd_wrong_back of the target, which pid {pid} (")), "{said:?}");
    assert_eq!(text(&stage.source, "SELECT to_regclass('pcrd.fence') IS NULL").await, "t", "it was never fenced");
    drop(reader);
    let running = switched(&stage);
    run(&stage.target, "INSERT INTO items (id, count, price) VALUES (100, 1, 1)").await;
    stage.until_source("SELECT count(*) = 1 FROM items WHERE id = 100").await;
    stopped(running);
}

/// It may wait for a reader, and nobody is to wait with it: neither writers nor the operator's program.
#[tokio::test(flavor = "multi_thread")]
async fn the_slot_goes_after_the_source_is_open_and_the_program_has_run() {
    let pair = TestPair::start(15, 17);
    let cutover = CUTOVER.replace("goes_back } }", "goes_back }, hooks: { abort: [./hook.sh], timeout: 60 } }");
    let stage = stage_of(&pair, "order", "", TABLES, &cutover).await;
    write_program(stage.migration.dir.path(), "hook.sh", PROGRAM);
    let mut running = stage.start("cutover.after-fenced=1*sleep(3000)");
    tokio::task::block_in_place(|| running.wait_for("\"ready\":true"));
    let asked = stage.migration.start(&["cutover", "--yes"], "");
    stage.until_target("SELECT state = 'fenced' FROM pcrd.cutover").await;
    // Of what goes on beside the stream: it notices at once, whether or not the stream has ended.
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pcrd/%/upkeep'";
    run(&stage.target, end).await;
    tokio::task::block_in_place(|| running.wait_for("the abort hook runs"));
    tokio::task::block_in_place(|| until_file(&stage, "aborting"));
    assert_eq!(refusal(&stage.source, TOUCH_SOURCE).await, None);
    assert_eq!(text(&stage.target, SLOTS).await, "1", "the program waits for nothing");
    std::fs::write(stage.migration.dir.path().join("go"), "").unwrap();
    stage.until_target("SELECT count(*) = 0 FROM pg_replication_slots").await;
    stage.until_target(NO_PUBLICATION).await;
    assert_ne!(wait(asked).code, Some(0));
    stopped(running);
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_cutover_was_given_up_is_told_whatever_could_not_be_removed() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "told").await;
    run(
        &stage.target,
        "CREATE FUNCTION keep() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''kept''; END'; \
         CREATE EVENT TRIGGER keep ON ddl_command_start WHEN TAG IN ('DROP PUBLICATION') EXECUTE FUNCTION keep()",
    )
    .await;
    let said = wait(stage.start_through("back.probed=1*return(error)"));
    assert_code(&said, Some(1));
    let words = unfolded(&said);
    assert!(words.contains("the cutover was given up and the source is open again: failpoint back.probed"), "{words}");
    let notes = said.lines.join("\n");
    assert!(notes.contains("slot and publication of the way back could not be removed"), "{notes}");
    assert!(notes.contains("drop the publication of the way back"), "{notes}");
    assert_eq!(refusal(&stage.source, TOUCH_SOURCE).await, None);
    assert_eq!(text(&stage.target, PUBLICATIONS).await, "1");
    run(&stage.target, "DROP EVENT TRIGGER keep").await;
    let running = stage.start("");
    stage.until_target(NO_PUBLICATION).await;
    stopped(running);
    stopped(switched(&stage));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_slot_and_publication() {
    let pair = TestPair::start(15, 17);
    for (name, goes_on) in [("other", false), ("same", true)] {
        let stage = stage(&pair, name).await;
        let kill = "back.probed=1*return(error);back.disarmed-slot=return(kill)";
        assert_code(&wait(stage.start_through(kill)), None);
        assert_eq!(text(&stage.target, SLOTS).await, "0");
        assert_eq!(text(&stage.target, PUBLICATIONS).await, "1");
        assert_eq!(refusal(&stage.source, TOUCH_SOURCE).await, None, "the source was opened before");
        if goes_on {
            let running = stage.start("");
            stage.until_target(NO_PUBLICATION).await;
            stopped(running);
            stopped(switched(&stage));
        } else {
            plan_without_way_back(&stage);
            assert_code(&adopt(&stage), Some(0));
            assert_eq!(text(&stage.target, PUBLICATIONS).await, "0");
        }
    }
}
