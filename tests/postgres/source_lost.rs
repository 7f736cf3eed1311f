//! The source's server is gone in the middle of a cutover: behind the switch the target is the database without it, before
//! that only when the operator says that it never comes back, and never where the target does not have everything.

use crate::hooks::{DDL, PROGRAM, TABLES, calls, write_program};
use crate::stage::Stage;
use crate::support::{TestPair, connect_to, run, text};
use crate::way_back::{self, CLOSED, TOUCH_SOURCE, TOUCH_TARGET, assert_code, assert_refused, command, refusal};

const APPLY: &[&str] = &["apply", "plan.json", "--yes"];
const LOST: &[&str] = &["cutover", "--source-lost", "--yes"];
const READS: &str = "DO $$ BEGIN CREATE ROLE reads; EXCEPTION WHEN duplicate_object THEN NULL; END $$";

/// With a role that may read the table, and a program behind the switch.
async fn stage(pair: &TestPair, name: &str) -> Stage {
    run(&connect_to(&pair.target, "postgres").await, READS).await;
    let ddl = format!("{DDL}; {READS}; GRANT SELECT ON items TO reads");
    let cutover = "cutover: { fence_timeout: 60, hooks: { after_switch: [./hook.sh] } }";
    let stage = way_back::staged(pair, name, &ddl, TABLES, cutover).await;
    write_program(stage.migration.dir.path(), "hook.sh", PROGRAM);
    stage
}

fn die_at(stage: &Stage, point: &str) {
    let said = way_back::wait(stage.start_through(&format!("{point}=return(kill)")));
    assert_eq!(said.code, None, "{point}: {}", said.stderr);
}

async fn assert_is_the_database(stage: &Stage) {
    assert_eq!(text(&stage.target, "SELECT state FROM pcrd.migration").await, "cut_over");
    assert_eq!(text(&stage.target, "SELECT state FROM pcrd.cutover").await, "switched");
    assert_eq!(text(&stage.target, "SELECT has_table_privilege('reads', 'items', 'SELECT')").await, "t");
    assert_eq!(text(&stage.target, "SELECT count(*) FROM items").await, "200");
    assert_eq!(calls(stage), "after_switch");
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_the_switch_nothing_of_it_is_needed() {
    let mut pair = TestPair::durable(15, 17);
    let stage = stage(&pair, "behind").await;
    die_at(&stage, "cutover.after-switched");
    pair.source.kill_immediate().unwrap();
    assert_eq!(calls(&stage), "");
    let said = command(&stage, APPLY, "");
    assert_code(&said, Some(0));
    assert!(said.stderr.contains("the source could not be asked"), "{}", said.stderr);
    assert_is_the_database(&stage).await;
    pair.source.resume().unwrap();
    let source = connect_to(&pair.source, "behind").await;
    assert_eq!(refusal(&source, "DELETE FROM items").await.as_deref(), CLOSED);
    stage.migration.ok(&["cleanup", "--yes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn before_it_the_operator_has_to_say_that_it_is() {
    let mut pair = TestPair::durable(15, 17);
    // The fence is permanent, and it might have been: on the target both look the same.
    for (name, point, comes_back_closed) in
        [("decided", "cutover.after-permanent", true), ("undecided", "cutover.before-permanent", false)]
    {
        let stage = stage(&pair, name).await;
        die_at(&stage, point);
        let said = command(&stage, LOST, "");
        assert_refused(&said, "the source answers, so it is not lost");
        pair.source.kill_immediate().unwrap();
        let said = command(&stage, APPLY, "");
        assert_code(&said, Some(1));
        assert!(said.stderr.contains("pcrd cutover --source-lost"), "{}", said.stderr);
        assert_eq!(text(&stage.target, "SELECT state FROM pcrd.cutover").await, "sequences_set");
        let asked = command(&stage, &["cutover", "--source-lost", "--maintenance-confirmed"], "");
        assert_ne!(asked.code, Some(0), "nobody said yes: {}", asked.stderr);
        assert_eq!(text(&stage.target, "SELECT state FROM pcrd.cutover").await, "sequences_set");
        assert_code(&command(&stage, LOST, ""), Some(0));
        assert_is_the_database(&stage).await;
        let again = command(&stage, LOST, "");
        assert_refused(&again, "cut over");
        pair.source.resume().unwrap();
        let source = connect_to(&pair.source, name).await;
        if comes_back_closed {
            assert_eq!(refusal(&source, "DELETE FROM items").await.as_deref(), CLOSED);
            stage.migration.ok(&["cleanup", "--yes"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_may_lack_something_is_not_made_the_database() {
    let mut pair = TestPair::durable(15, 17);
    let stage = stage(&pair, "lacks").await;
    die_at(&stage, "cutover.after-drained");
    pair.source.kill_immediate().unwrap();
    assert_refused(&command(&stage, LOST, ""), "`drained` only");
    assert_eq!(text(&stage.target, "SELECT state FROM pcrd.cutover").await, "drained");
    pair.source.resume().unwrap();
    assert_code(&command(&stage, &["cutover", "--yes"], ""), Some(0));
    assert_is_the_database(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_way_back_can_be_ended() {
    let mut pair = TestPair::durable(15, 17);
    run(&connect_to(&pair.target, "postgres").await, way_back::ROLE).await;
    let stage = way_back::stage(&pair, "no_way_back").await;
    die_at(&stage, "cutover.after-permanent");
    pair.source.kill_immediate().unwrap();
    assert_code(&command(&stage, LOST, ""), Some(0));
    assert_eq!(refusal(&stage.target, TOUCH_TARGET).await, None);
    assert_code(&command(&stage, &["finalize", "--without-source", "--yes"], ""), Some(0));
    let slots = "SELECT count(*) FROM pg_replication_slots";
    assert_eq!(text(&stage.target, slots).await, "0", "it would keep the target's log");
    assert_eq!(refusal(&stage.target, TOUCH_TARGET).await, None);
    pair.source.resume().unwrap();
    let source = connect_to(&pair.source, "no_way_back").await;
    assert_eq!(refusal(&source, TOUCH_SOURCE).await.as_deref(), CLOSED);
}
