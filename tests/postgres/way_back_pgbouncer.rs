//! Rollbacks behind a real pgbouncer: its clients wait there as they do in a cutover, whoever dies, and see no error.

use std::collections::BTreeSet;

use crate::pgbouncer::{Clients, Pgbouncer, ids};
use crate::stage::Stage;
use crate::support::{TestPair, run, text};
use crate::way_back::{CLOSED, ROLE, assert_code, command, left_open, refusal, staged, switched, wait};

const DDL: &str = "CREATE TABLE items (id integer PRIMARY KEY, note text);
    INSERT INTO items SELECT -n, 'item ' || n FROM generate_series(1, 200) AS n; ANALYZE items";
const TABLES: &str = "    - { name: items, columns: { id: { type: bigint } } }\n";
const REVERSE: &str = ", reverse: { user: goes_back }";
const ROLLBACK: &[&str] = &["rollback", "--yes"];
const TOUCH: &str = "UPDATE items SET note = note WHERE false";

/// `more` is done before the switch hook points the pgbouncer elsewhere.
async fn stage(pair: &TestPair, name: &str, fence_timeout: u32, more: &str) -> (Stage, Pgbouncer) {
    let cutover = "cutover: { reverse: { user: goes_back } }";
    let stage = staged(pair, name, &format!("{ROLE}; {DDL}"), TABLES, cutover).await;
    let pgbouncer = Pgbouncer::start(&stage, pair);
    pgbouncer.plan_with(&stage, fence_timeout, more, REVERSE);
    (stage, pgbouncer)
}

/// What the clients were told is on the source and nothing else, and the target takes nothing.
async fn assert_back(stage: &Stage, acknowledged: &BTreeSet<u64>) {
    let (source, target) = (ids(&stage.source).await, ids(&stage.target).await);
    assert!(
        source == *acknowledged,
        "{}: lost {:?}, came from nowhere {:?}",
        stage.name,
        acknowledged - &source,
        &source - acknowledged
    );
    assert!(target.is_subset(&source) && target.len() < source.len(), "{}: none came after the rollback", stage.name);
    assert_eq!(text(&stage.source, "SELECT count(*) FROM items WHERE id < 0").await, "200");
    assert_eq!(text(&stage.target, "SELECT state FROM pcrd.way_back").await, "rolled_back");
    assert_eq!(refusal(&stage.target, TOUCH).await.as_deref(), CLOSED);
    assert_eq!(refusal(&stage.source, TOUCH).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_wait_on_both_ways_and_see_no_error() {
    let pair = TestPair::start(15, 17);
    let (stage, pgbouncer) = stage(&pair, "both_ways", 60, "").await;
    let clients = Clients::start(&pgbouncer).await;
    let running = switched(&stage);
    clients.go_on().await;
    let before = ids(&stage.target).await.len();
    tokio::task::block_in_place(|| stage.migration.ok(ROLLBACK));
    assert_code(&wait(running), Some(0));
    assert!(!pgbouncer.paused().await);
    clients.go_on().await;
    let acknowledged = clients.stop().await;
    assert!(before < acknowledged.len());
    assert_back(&stage, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_is_paused_the_next_one_lets_the_clients_go_on() {
    let pair = TestPair::start(15, 17);
    let decided =
        ["back.after-permanent", "back.after-open", "hook.switch-kept", "back.after-moved"].map(|point| (point, true));
    let undecided = ["back.after-pause", "back.after-fence", "back.after-sequences"].map(|point| (point, false));
    for (point, is_decided) in undecided.into_iter().chain(decided) {
        let (stage, pgbouncer) = stage(&pair, &point.replace(['.', '-'], "_"), 60, "").await;
        let clients = Clients::start(&pgbouncer).await;
        left_open(&stage);
        clients.go_on().await;
        let said = command(&stage, ROLLBACK, &format!("{point}=return(kill)"));
        assert_eq!(said.code, None, "{point} was never reached: {}\n{}", said.lines.join("\n"), said.stderr);
        assert!(pgbouncer.paused().await, "{point}");
        let status = stage.migration.ok(&["status"]);
        assert!(status.contains("pgbouncer may hold its clients"), "{point}: {status}");
        if !is_decided {
            // Also the command that only goes on: it gives the rollback up.
            let mut running = stage.start_through("");
            running.wait_for("an interrupted rollback was given up");
            clients.go_on().await;
            assert!(!pgbouncer.paused().await, "{point}");
            assert_code(&tokio::task::block_in_place(|| running.interrupt()), Some(6));
        }
        assert_code(&command(&stage, ROLLBACK, ""), Some(0));
        assert!(!pgbouncer.paused().await, "{point}");
        clients.go_on().await;
        let acknowledged = clients.stop().await;
        assert_back(&stage, &acknowledged).await;
    }
}

/// Who ends the way back instead lets them go on as well.
#[tokio::test(flavor = "multi_thread")]
async fn finalize_lets_the_clients_of_an_interrupted_rollback_go_on() {
    let pair = TestPair::start(15, 17);
    for point in ["back.after-pause", "back.after-drained"] {
        let (stage, pgbouncer) = stage(&pair, &point.replace(['.', '-'], "_"), 60, "").await;
        let clients = Clients::start(&pgbouncer).await;
        left_open(&stage);
        clients.go_on().await;
        assert_code(&command(&stage, ROLLBACK, &format!("{point}=return(kill)")), None);
        assert!(pgbouncer.paused().await, "{point}");
        assert_code(&command(&stage, &["finalize", "--yes"], ""), Some(0));
        assert!(!pgbouncer.paused().await, "{point}");
        clients.go_on().await;
        let acknowledged = clients.stop().await;
        assert_eq!(ids(&stage.target).await, acknowledged, "{point}");
        assert_eq!(refusal(&stage.source, TOUCH).await.as_deref(), CLOSED, "{point}");
    }
}

/// Behind the decision both ends are closed, and the source never comes back.
#[tokio::test(flavor = "multi_thread")]
async fn finalize_without_the_source_lets_the_clients_go_on() {
    let mut pair = TestPair::durable(15, 17);
    let (stage, pgbouncer) = stage(&pair, "lost", 60, "").await;
    let clients = Clients::start(&pgbouncer).await;
    left_open(&stage);
    clients.go_on().await;
    assert_code(&command(&stage, ROLLBACK, "back.after-permanent=return(kill)"), None);
    assert!(pgbouncer.paused().await);
    pair.source.kill_immediate().unwrap();
    let args = ["finalize", "--yes", "--without-source"];
    assert_code(&command(&stage, &args, "back.finalized-open=return(kill)"), None);
    assert!(pgbouncer.paused().await);
    assert_code(&command(&stage, &args, ""), Some(0));
    assert!(!pgbouncer.paused().await);
    clients.go_on().await;
    let acknowledged = clients.stop().await;
    assert_eq!(ids(&stage.target).await, acknowledged);
}

/// A transaction that does not end keeps PAUSE waiting: everybody goes on as before, and so do the changes that go back.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_is_given_up_lets_the_clients_go_on() {
    let pair = TestPair::start(15, 17);
    let (stage, pgbouncer) = stage(&pair, "long", 5, "").await;
    let clients = Clients::start(&pgbouncer).await;
    let mut running = stage.start("");
    running.wait_for("\"type\":\"gate\",\"ready\":true");
    assert_code(&command(&stage, &["cutover", "--yes", "--timeout", "60"], ""), Some(0));
    tokio::task::block_in_place(|| running.wait_for("changes of the target go back"));
    clients.go_on().await;
    let idle = pgbouncer.connect("shop").await;
    run(&idle, "BEGIN; SELECT count(*) FROM items").await;
    let said = command(&stage, ROLLBACK, "");
    assert_code(&said, Some(1));
    assert!(said.stderr.contains("pgbouncer: transactions of clients of"), "{}", said.stderr);
    assert!(said.stderr.contains("the rollback was given up and the target takes writes"), "{}", said.stderr);
    assert!(!pgbouncer.paused().await);
    clients.go_on().await;
    run(&idle, "COMMIT").await;
    tokio::task::block_in_place(|| running.wait_for("changes of the target go back"));
    assert_code(&command(&stage, ROLLBACK, ""), Some(0));
    assert_code(&wait(running), Some(0));
    clients.go_on().await;
    let acknowledged = clients.stop().await;
    assert_back(&stage, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_be_asked_stops_nothing() {
    let pair = TestPair::start(15, 17);
    let (stage, mut pgbouncer) = stage(&pair, "gone", 60, "").await;
    left_open(&stage);
    pgbouncer.kill();
    let said = command(&stage, ROLLBACK, "");
    assert_code(&said, Some(1));
    assert!(said.stderr.contains("pgbouncer: connect to its console"), "{}", said.stderr);
    run(&stage.target, "INSERT INTO items VALUES (1, 'open')").await;
    // One that somebody else has paused is not ours to let go on.
    pgbouncer.start_again();
    let console = pgbouncer.connect("pgbouncer").await;
    console.simple_query("PAUSE shop").await.unwrap();
    let said = command(&stage, ROLLBACK, "");
    assert_code(&said, Some(1));
    assert!(said.stderr.contains("paused already"), "{}", said.stderr);
    assert!(pgbouncer.paused().await);
    run(&stage.target, "INSERT INTO items VALUES (2, 'open')").await;
    console.simple_query("RESUME shop").await.unwrap();
    assert_code(&command(&stage, ROLLBACK, ""), Some(0));
    let through = pgbouncer.connect("shop").await;
    run(&through, "INSERT INTO items VALUES (3, 'back')").await;
    assert_back(&stage, &BTreeSet::from([1, 2, 3])).await;
}

/// A switch hook that was written for one direction only: the clients are not sent back to a target that is closed.
#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_did_nothing_is_found_out() {
    let pair = TestPair::start(15, 17);
    let more = "if [ $PCRD_DIRECTION = back ] && [ ! -e really ]; then exit 0; fi";
    let (stage, pgbouncer) = stage(&pair, "nothing", 60, more).await;
    let clients = Clients::start(&pgbouncer).await;
    left_open(&stage);
    clients.go_on().await;
    for _ in 0..2 {
        let said = command(&stage, ROLLBACK, "");
        assert_code(&said, Some(1));
        assert!(said.stderr.contains("database shop still leads to"), "{}", said.stderr);
        assert!(said.stderr.contains("pcrd rollback --switch-happened"), "{}", said.stderr);
        assert!(pgbouncer.paused().await);
    }
    std::fs::write(stage.migration.dir.path().join("really"), "").unwrap();
    assert_code(&command(&stage, &["rollback", "--yes", "--switch-happened", "no"], ""), Some(0));
    clients.go_on().await;
    let acknowledged = clients.stop().await;
    assert_back(&stage, &acknowledged).await;
}
