//! Who is the database, when a server is another one than it was: a target that was promoted in the middle of a rollback, a
//! source that is open, refuses, or is not there.

use std::path::PathBuf;
use std::process::Command;

use pcrd::pg::local::Cluster;

use crate::support::{TestPair, connect_to, run, text};
use crate::way_back::{
    CLOSED, TOUCH_SOURCE, TOUCH_TARGET, assert_code, assert_refused, command, left_open, refusal, stage, wait,
};
use crate::way_back_life::{copy_of, fail_over};

const ROLLBACK: &[&str] = &["rollback", "--yes"];
const FINALIZE: &[&str] = &["finalize", "--yes"];
const WITHOUT_SOURCE: &[&str] = &["finalize", "--yes", "--without-source"];

fn signal(which: &str, pids: &[String]) {
    assert!(Command::new("kill").arg(which).args(pids).status().unwrap().success());
}

/// A copy of what the server has at this moment, under whoever is connected: a standby that heard of nothing after it.
fn standby_of(cluster: &Cluster, name: &str) -> PathBuf {
    let postmaster = std::fs::read_to_string(cluster.data_dir().join("postmaster.pid")).unwrap();
    let postmaster = postmaster.lines().next().unwrap().to_owned();
    signal("-STOP", std::slice::from_ref(&postmaster));
    let children = Command::new("pgrep").args(["-P", &postmaster]).output().unwrap();
    let mut pids: Vec<String> = String::from_utf8(children.stdout).unwrap().lines().map(str::to_owned).collect();
    assert!(!pids.is_empty());
    pids.push(postmaster);
    signal("-STOP", &pids);
    let other = cluster.data_dir().with_file_name(name);
    let copied = Command::new("cp").arg("-a").arg(cluster.data_dir()).arg(&other).status().unwrap();
    signal("-CONT", &pids);
    assert!(copied.success());
    std::fs::remove_file(other.join("postmaster.pid")).unwrap();
    other
}

/// It knows where the rollback closed it, and not that it was closed for good.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_was_promoted_before_the_decision_is_not_believed() {
    let mut pair = TestPair::start(15, 17);
    let mut stage = stage(&pair, "promoted").await;
    left_open(&stage);
    run(&stage.target, "INSERT INTO items (id, count, price) VALUES (100, 1, 1)").await;
    let rollback = stage.migration.start(ROLLBACK, "back.after-sequences=sleep(5000)");
    stage.until_source("SELECT count(*) = 1 FROM pcrd.cutover WHERE state = 'sequences_set'").await;
    let standby = standby_of(&pair.target, "standby");
    assert_code(&wait(rollback), Some(0));
    fail_over(&mut pair.target, &standby);
    stage.target = connect_to(&pair.target, "promoted").await;
    assert_eq!(text(&stage.target, "SELECT state FROM pcrd.way_back").await, "rolling_back");
    assert_eq!(text(&stage.target, "SELECT until < 'infinity' FROM pcrd.fence").await, "t");
    for args in [ROLLBACK, FINALIZE, WITHOUT_SOURCE, &["apply", "plan.json", "--yes"], &["cleanup", "--yes"]] {
        let said = command(&stage, args, "");
        assert_refused(&said, "the target was restored, or failed over to a server that is behind");
        assert!(said.stderr.contains("the source is the database"), "{args:?}: {}", said.stderr);
    }
    assert_eq!(text(&stage.source, "SELECT count(*) FROM items").await, "51");
    assert_eq!(refusal(&stage.source, TOUCH_SOURCE).await, None);
}

/// Behind a decided rollback a source from before the switch takes writes, and lacks what the target wrote: two ends that take
/// writes must not come of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_from_before_the_switch_is_stopped_before_the_target_opens() {
    let mut pair = TestPair::start(15, 17);
    let mut stage = stage(&pair, "early").await;
    let early = copy_of(&mut pair.source, "early");
    stage.source = connect_to(&pair.source, "early").await;
    left_open(&stage);
    run(&stage.target, "INSERT INTO items (id, count, price) VALUES (100, 1, 1)").await;
    assert_code(&command(&stage, ROLLBACK, "back.after-permanent=return(kill)"), None);
    fail_over(&mut pair.source, &early);
    stage.source = connect_to(&pair.source, "early").await;
    assert_eq!(refusal(&stage.source, TOUCH_SOURCE).await, None);
    for args in [ROLLBACK, FINALIZE, WITHOUT_SOURCE] {
        let said = command(&stage, args, "");
        assert_refused(&said, "the source was restored, or failed over to a server that is behind");
        let words = said.stderr.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
        assert!(words.contains("stop it, and then pcrd finalize --without-source"), "{args:?}: {words}");
        assert_eq!(refusal(&stage.target, TOUCH_TARGET).await.as_deref(), CLOSED);
    }
    pair.source.stop().unwrap();
    assert_code(&command(&stage, WITHOUT_SOURCE, ""), Some(0));
    assert_eq!(refusal(&stage.target, TOUCH_TARGET).await, None);
    assert_eq!(text(&stage.target, "SELECT count(*) FROM items WHERE id = 100").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_answers_is_not_lost() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "answers").await;
    left_open(&stage);
    let other = connect_to(&pair.source, "postgres").await;
    run(&other, "ALTER DATABASE answers ALLOW_CONNECTIONS false").await;
    for args in [FINALIZE, WITHOUT_SOURCE] {
        assert_refused(&command(&stage, args, ""), "the source cannot be asked");
        assert_eq!(text(&stage.target, "SELECT state FROM pcrd.way_back").await, "open");
    }
    run(&other, "ALTER DATABASE answers ALLOW_CONNECTIONS true").await;
    assert_code(&command(&stage, FINALIZE, ""), Some(0));
}

/// The option's own words.
#[tokio::test(flavor = "multi_thread")]
async fn another_server_in_the_sources_place_is_not_asked_where_the_operator_says_so() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "another").await;
    left_open(&stage);
    let elsewhere = TestPair::start(15, 17);
    run(&connect_to(&elsewhere.source, "postgres").await, "CREATE DATABASE another").await;
    let path = stage.migration.dir.path().join("pcrd.config.yml");
    let config = std::fs::read_to_string(&path).unwrap();
    let [here, there] = [&pair, &elsewhere].map(|pair| format!("port: {}", pair.source.port()));
    std::fs::write(&path, config.replacen(&here, &there, 1)).unwrap();
    let said = command(&stage, FINALIZE, "");
    assert_code(&said, Some(4));
    assert!(said.stderr.contains("system identifier"), "{}", said.stderr);
    assert_eq!(text(&stage.target, "SELECT state FROM pcrd.way_back").await, "open");
    assert_code(&command(&stage, WITHOUT_SOURCE, ""), Some(0));
    assert_eq!(text(&stage.target, "SELECT count(*) FROM pg_replication_slots").await, "0");
}

/// It has not heard of what was decided, and nobody may take it for the source.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_not_the_source() {
    let mut pair = TestPair::start(15, 17);
    let stage = stage(&pair, "standby").await;
    left_open(&stage);
    let standby = copy_of(&mut pair.source, "standby");
    run(&stage.target, "INSERT INTO items (id, count, price) VALUES (100, 1, 1)").await;
    assert_code(&command(&stage, ROLLBACK, "back.after-open=return(kill)"), None);
    std::fs::write(standby.join("standby.signal"), "").unwrap();
    let (primary, data) = (pair.source.data_dir().with_file_name("primary"), pair.source.data_dir());
    pair.source.stop().unwrap();
    std::fs::rename(&data, &primary).unwrap();
    std::fs::rename(&standby, &data).unwrap();
    pair.source.resume().unwrap();
    for args in [FINALIZE, WITHOUT_SOURCE] {
        assert_refused(&command(&stage, args, ""), "it is a standby");
        assert_eq!(refusal(&stage.target, TOUCH_TARGET).await.as_deref(), CLOSED);
    }
    pair.source.stop().unwrap();
    std::fs::rename(&data, &standby).unwrap();
    std::fs::rename(&primary, &data).unwrap();
    pair.source.resume().unwrap();
    assert_code(&command(&stage, ROLLBACK, ""), Some(0));
}

/// A standby was promoted that lacks the last rows, and the opening: what it has is not the database, and the target must not
/// go.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_a_rollback_did_not_open_is_not_opened_by_cleanup() {
    let mut pair = TestPair::start(15, 17);
    let mut stage = stage(&pair, "unopened").await;
    left_open(&stage);
    let standby = copy_of(&mut pair.source, "standby");
    stage.source = connect_to(&pair.source, "unopened").await;
    run(&stage.target, "INSERT INTO items (id, count, price) VALUES (100, 1, 1)").await;
    assert_code(&command(&stage, ROLLBACK, ""), Some(0));
    // The source that it opened is the database.
    assert_refused(&command(&stage, FINALIZE, ""), "the source is the database");
    fail_over(&mut pair.source, &standby);
    stage.source = connect_to(&pair.source, "unopened").await;
    let drop_target = ["cleanup", "--yes", "--drop-target", "--yes-drop", "public.items"];
    for args in [["cleanup", "--yes"].as_slice(), &drop_target] {
        assert_refused(
            &command(&stage, args, ""),
            "the source was restored, or failed over to a server that is behind",
        );
        assert_eq!(refusal(&stage.source, TOUCH_SOURCE).await.as_deref(), CLOSED);
    }
    assert_eq!(text(&stage.target, "SELECT count(*) FROM items").await, "51");
    assert_code(&command(&stage, FINALIZE, "back.finalized=return(kill)"), None);
    assert_code(&command(&stage, FINALIZE, ""), Some(0));
    assert_eq!(refusal(&stage.target, TOUCH_TARGET).await, None);
    assert_eq!(refusal(&stage.source, TOUCH_SOURCE).await.as_deref(), CLOSED);
    stage.migration.ok(&["cleanup", "--yes", "--drop-source", "--yes-drop", "public.items"]);
    assert_eq!(text(&stage.target, "SELECT count(*) FROM items").await, "51");
}

#[tokio::test(flavor = "multi_thread")]
async fn status_says_that_both_ends_are_closed() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "closed").await;
    left_open(&stage);
    assert_code(&command(&stage, ROLLBACK, "back.after-fence=return(kill)"), None);
    assert!(stage.migration.ok(&["status"]).contains("a rollback was interrupted before it was decided"));
    assert_code(&command(&stage, ROLLBACK, "back.after-permanent=return(kill)"), None);
    assert!(stage.migration.ok(&["status"]).contains("both ends are closed until the source is there"));
    assert_code(&command(&stage, ROLLBACK, ""), Some(0));
}
