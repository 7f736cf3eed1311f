//! A server, or both, or everything crashes at each arrow of a cutover, under writers: the source takes writes again by itself
//! where nothing was decided, also when pcrd never comes back; never again where it was; and no write that was acknowledged is
//! missing when the same command has ended it. `PCRD_FULL=1` makes each crash at each arrow.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pcrd::pg::conninfo::Conninfo;
use tokio::task::JoinSet;
use tokio_postgres::Client;

use crate::crash::{Arrow, Crash, End, chosen};
use crate::migration::Running;
use crate::stage::Stage;
use crate::support::{TestPair, rows, text, try_connect};
use crate::way_back::{self, CLOSED, ROLE, assert_code, command, refusal, wait};

const DDL: &str = "CREATE TABLE items (id bigserial PRIMARY KEY, n integer NOT NULL, note text);
    INSERT INTO items (n, note) SELECT g, repeat('x', g % 90) FROM generate_series(1, 3000) AS g; ANALYZE items";
const TABLES: &str = "    - name: items\n      columns:\n        n: { rename: count, type: bigint }\n";
/// The lease, and what a busy machine adds.
const OPEN_AGAIN: Duration = Duration::from_secs(60);

/// A point of the cutover, and what says that it is reached: on the target or the source.
const ARROWS: [Arrow; 8] = [
    ("cutover.after-fence", End::Source, "SELECT count(*) > 0 FROM pg_trigger WHERE tgname = 'pcrd_fence'"),
    ("cutover.after-fenced", End::Target, "SELECT state = 'fenced' FROM pcrd.cutover"),
    ("cutover.after-drained", End::Target, "SELECT state = 'drained' FROM pcrd.cutover"),
    ("cutover.after-verified", End::Target, "SELECT state = 'verified_final' FROM pcrd.cutover"),
    ("cutover.after-sequences", End::Target, "SELECT state = 'sequences_set' FROM pcrd.cutover"),
    ("cutover.before-permanent", End::Target, "SELECT state = 'sequences_set' FROM pcrd.cutover"),
    ("cutover.after-permanent", End::Source, "SELECT count(*) > 0 FROM pcrd.fence WHERE until = 'infinity'"),
    ("cutover.after-switched", End::Target, "SELECT state = 'switched' FROM pcrd.cutover"),
];

/// The same of a cutover with a way back, where that is made.
const ARROWS_BACK: [Arrow; 4] = [
    ("back.prepared", End::Target, "SELECT count(*) > 0 FROM pg_replication_slots WHERE slot_type = 'logical'"),
    ("back.advanced", End::Target, "SELECT state = 'sequences_set' FROM pcrd.cutover"),
    ("back.probed", End::Source, "SELECT count(*) > 0 FROM pcrd.progress"),
    ("cutover.before-permanent", End::Target, "SELECT state = 'armed' FROM pcrd.way_back"),
];

/// Adds rows to the source, and gives the keys of those that it was told are there.
async fn writer(conninfo: Conninfo, number: i64, stop: Arc<AtomicBool>) -> Vec<i64> {
    let (mut acknowledged, mut client) = (Vec::new(), None::<Client>);
    let mut next = number * 1_000_000;
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(4)).await;
        if client.as_ref().is_none_or(Client::is_closed) {
            client = try_connect(&conninfo).await.ok();
        }
        let Some(client) = &client else { continue };
        next += 1;
        let add = format!("INSERT INTO items (id, n, note) VALUES ({next}, 1, 'added')");
        if client.batch_execute(&add).await.is_ok() {
            acknowledged.push(next);
        }
    }
    acknowledged
}

async fn takes_writes(client: &Client) -> bool {
    refusal(client, "UPDATE items SET n = n WHERE false").await.is_none()
}

async fn is_decided(stage: &Stage) -> bool {
    let permanent = "SELECT count(*) > 0 FROM pcrd.fence WHERE until = 'infinity'";
    text(&stage.source, "SELECT to_regclass('pcrd.fence') IS NOT NULL").await == "t"
        && text(&stage.source, permanent).await == "t"
}

/// With nobody to help it.
async fn assert_alone(stage: &Stage, at: &str) {
    if is_decided(stage).await {
        assert_eq!(refusal(&stage.source, "UPDATE items SET n = n").await.as_deref(), CLOSED, "{at}");
        assert_eq!(refusal(&stage.target, "UPDATE items SET count = count WHERE false").await, None, "{at}");
        return;
    }
    let began = Instant::now();
    while !takes_writes(&stage.source).await {
        assert!(began.elapsed() < OPEN_AGAIN, "{at}: nothing is decided, and the source takes no writes");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_ne!(text(&stage.target, "SELECT state FROM pcrd.cutover").await, "switched", "{at}");
}

/// The code of an executor that was spared. One that comes through stays for the way back: it is asked to stop then.
async fn end_of(mut running: Running, stage: &Stage, is_back: bool) -> Option<i32> {
    while is_back && running.child.try_wait().unwrap().is_none() {
        let state = stage.target.query_opt("SELECT FROM pcrd.way_back WHERE state = 'open'", &[]).await;
        if state.is_ok_and(|row| row.is_some()) {
            assert_code(&tokio::task::block_in_place(|| running.interrupt()), Some(6));
            return Some(0);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    wait(running).code
}

async fn crash_at(pair: &mut TestPair, (point, end, reached): Arrow, crash: Crash, (number, is_back): (usize, bool)) {
    let at = format!("{point} {crash:?}");
    let name = format!("crash_{number}");
    let mut stage = if is_back {
        let cutover = "cutover: { fence_timeout: 60, reverse: { user: goes_back } }";
        way_back::staged(pair, &name, &format!("{ROLE}; {DDL}"), TABLES, cutover).await
    } else {
        Stage::new(pair, &name, DDL, TABLES, "").await
    };
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for writer_number in 1..=2 {
        writers.spawn(writer(pair.source.conninfo(&stage.name), writer_number, Arc::clone(&stop)));
    }
    let running = stage.start_through(&format!("{point}=1*sleep(3000)"));
    match end {
        End::Source => {
            let table = if reached.contains("pcrd.progress") { "pcrd.progress" } else { "pcrd.fence" };
            stage.until_source(&format!("SELECT to_regclass('{table}') IS NOT NULL")).await;
            stage.until_source(reached).await;
        }
        End::Target => stage.until_target(reached).await,
    }
    let running = crash.strike(pair, &mut stage, running).await;
    let code = match running {
        Some(running) => end_of(running, &stage, is_back).await,
        None => {
            assert_alone(&stage, &at).await;
            None
        }
    };
    println!("{at}: ended with {code:?}");
    assert!(code != Some(0) || is_decided(&stage).await, "{at}: it says that it has switched");
    if code != Some(0) {
        if code.is_some() {
            assert_alone(&stage, &at).await;
        }
        match is_back {
            true => way_back::left_open(&stage),
            false => assert_code(&stage.cut_over(), Some(0)),
        }
    }
    stop.store(true, Ordering::Relaxed);
    assert_eq!(refusal(&stage.source, "UPDATE items SET n = n").await.as_deref(), CLOSED, "{at}");
    stage.assert_equal("SELECT id, n, note FROM items", "SELECT id, count, note FROM items").await;
    let found = rows(&stage.target, "SELECT id FROM items WHERE id > 1000000 ORDER BY id").await;
    let found: Vec<i64> = found.into_iter().map(|row| row[0].as_ref().unwrap().parse().unwrap()).collect();
    while let Some(acknowledged) = writers.join_next().await {
        let acknowledged = acknowledged.unwrap();
        assert!(acknowledged.len() > 10, "{at}: {} rows were written", acknowledged.len());
        let lost: Vec<_> = acknowledged.iter().filter(|id| found.binary_search(id).is_err()).collect();
        assert!(lost.is_empty(), "{at}: lost {lost:?}");
    }
    if is_back {
        assert_code(&command(&stage, &["rollback", "--yes"], ""), Some(0));
        assert!(takes_writes(&stage.source).await, "{at}");
        assert_eq!(refusal(&stage.target, "UPDATE items SET count = count").await.as_deref(), CLOSED, "{at}");
    }
    stage.migration.ok(&["cleanup", "--yes"]);
}

async fn crash_at_each(places: Range<usize>) {
    let mut pair = TestPair::durable(15, 17);
    // The first four by turns, the worst of them where it decides, and the executor alone on both sides of that.
    let shortened = |at, with| with == at % 4 || (with == 3 && at == 5) || (with == 4 && [2, 6].contains(&at));
    for (arrow, crash, number) in chosen(&ARROWS, places, shortened) {
        crash_at(&mut pair, arrow, crash, (number, false)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_crashes_behind_the_fence() {
    crash_at_each(0..3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_crashes_before_the_decision() {
    crash_at_each(3..6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_crashes_behind_the_decision() {
    crash_at_each(6..ARROWS.len()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_crashes_while_the_way_back_is_made() {
    let mut pair = TestPair::durable(15, 17);
    let shortened = |at, with| with == at % 4 || (with == 3 && at == 3);
    for (arrow, crash, number) in chosen(&ARROWS_BACK, 0..ARROWS_BACK.len(), shortened) {
        crash_at(&mut pair, arrow, crash, (number, true)).await;
    }
}
