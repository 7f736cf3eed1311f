//! The torture of random writers and random crashes, with every option of the data path switched on in turn. A table of lanes:
//! a new option is one more line. `PCRD_FULL=1` makes each lane ten minutes long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rcgen::ExtendedKeyUsagePurpose;

use crate::certificates::{authority, issue, named, put};
use crate::migration::{Migration, Said};
use crate::support::{TestPair, connect_to, run, sorted_copy, text};
use crate::tls::encrypt;
use crate::writers::{self, BY_BLOCKS, INT, KEYLESS, KeyKind, TEXT, Writers};

/// What goes on beside the writers.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Beside {
    Nothing,
    /// Columns come to the table, and are written.
    Columns,
    /// An operator turns every knob of `pcrd throttle`.
    Operator,
    /// Sessions that are at work on the source come and go.
    Sessions,
    /// Transactions that write every row.
    LargeTransactions,
}

struct Lane {
    majors: (u32, u32),
    kind: KeyKind,
    rows: u32,
    /// What is done to the table, in SQL.
    ddl: &'static str,
    /// Below `migrate:`.
    more: &'static str,
    /// What the plan file must have, so that the lane is what it says.
    planned: &'static str,
    /// What the runs must say.
    said: &'static str,
    /// A query that must be true on the target in the end.
    proven: &'static str,
    tls: bool,
    beside: Beside,
}

const PLAIN: Lane = Lane {
    majors: (15, 15),
    kind: INT,
    rows: 6_000,
    ddl: "",
    more: "  workers: 2\n  max_rows_per_second: 1000\n",
    planned: "",
    said: "step_progress",
    proven: "SELECT true",
    tls: false,
    beside: Beside::Nothing,
};

/// More log than the stream gets through between two kills.
const BEHIND: &str = "SELECT coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)) > 8000000, false) \
     FROM pg_replication_slots";

fn lasts() -> Duration {
    Duration::from_secs(if std::env::var_os("PCRD_FULL").is_some() { 600 } else { 20 })
}

async fn torture(lane: Lane) {
    let seed = std::env::var("PCRD_SEED").map_or_else(|_| rand::rng().random(), |text| text.parse().unwrap());
    println!("PCRD_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut pair = TestPair::start(lane.majors.0, lane.majors.1);
    let servers = lane.tls.then(|| encrypted(&mut pair));
    let source = connect_to(&pair.source, "postgres").await;
    run(&source, &lane.kind.ddl(lane.rows)).await;
    run(&source, lane.ddl).await;
    writers::delay_visibility(&pair).await;
    let more = format!("{}  batch_size: 200\n  lag_threshold_bytes: 33554432", lane.more);
    let migration = Arc::new(Migration::new(&pair, &lane.kind.yaml(), &more));
    if let Some(servers) = servers {
        put(migration.dir.path(), "root.crt", &servers);
        let path = migration.dir.path().join("pcrd.config.yml");
        let config = std::fs::read_to_string(&path).unwrap();
        let over_tls = "host: localhost, sslmode: verify-full, sslrootcert: root.crt";
        let config = config.replace("host: 127.0.0.1", over_tls);
        assert_eq!(config.matches(over_tls).count(), 2, "{config}");
        std::fs::write(path, config).unwrap();
    }
    migration.plan();
    let planned = std::fs::read_to_string(migration.dir.path().join("plan.json")).unwrap();
    assert!(planned.contains(lane.planned), "the plan has no {}", lane.planned);
    // A table without a key is scanned for every change of a row.
    let n_writers = if lane.kind.has_key { 4 } else { 1 };
    let writers = Writers::start(&pair, lane.kind, lane.rows, n_writers, true).await;

    let stop = Arc::new(AtomicBool::new(false));
    let behind = Arc::new(AtomicBool::new(false));
    let beside = tokio::spawn({
        let (migration, stop, behind) = (Arc::clone(&migration), Arc::clone(&stop), Arc::clone(&behind));
        let sessions = if lane.beside == Beside::Sessions { 6 } else { 1 };
        let mut clients = Vec::new();
        for _ in 0..sessions {
            clients.push(connect_to(&pair.source, "postgres").await);
        }
        beside(lane.beside, clients, migration, StdRng::seed_from_u64(seed ^ 1), (stop, behind))
    });
    let begun = Instant::now();
    let (mut kills, mut heard) = (0, false);
    let mut hear = |said: &Said| {
        assert_eq!(said.code, None, "it ended by itself: {}\n{}", said.lines.join("\n"), said.stderr);
        let words = said.lines.join("\n");
        assert!(!words.contains("strict apply") && !said.stderr.contains("strict apply"), "{words}\n{}", said.stderr);
        heard |= words.contains(lane.said);
    };
    let apply = || migration.start(&["--json", "apply", "plan.json", "--yes"], "");
    let mut process = apply();
    loop {
        tokio::time::sleep(Duration::from_millis(random.random_range(500..5_000))).await;
        if begun.elapsed() >= lasts() {
            break;
        }
        // A stream that is killed all the time and shares its machine is slower than they are: they give way to it, and the
        // end does not have to wait for ten minutes of log.
        let is_behind = text(&source, BEHIND).await == "t";
        writers.rest_at_least(if is_behind { 200 } else { 0 });
        behind.store(is_behind, Ordering::Relaxed);
        kills += 1;
        hear(&tokio::task::block_in_place(|| process.kill()));
        process = apply();
    }
    stop.store(true, Ordering::Relaxed);
    let columns = beside.await.unwrap();
    writers.slow_down();
    hear(&tokio::task::block_in_place(|| process.kill()));
    let over = migration.start(&["--json", "apply", "plan.json", "--yes", "--through", "cutover"], "");
    let said = tokio::task::block_in_place(|| over.wait_at_most(Duration::from_secs(300)));
    said.assert_switched();
    let commits = writers.stop().await;
    tokio::task::block_in_place(|| migration.ok(&["verify"]));
    let target = connect_to(&pair.target, "postgres").await;
    let with = |query: String| query.replace(" FROM items", &format!("{columns} FROM items"));
    let left = sorted_copy(&source, &with(lane.kind.source_query())).await;
    let compared =
        format!("{commits} commits, {kills} kills, {} bytes compared{columns}; {:?}", left.len(), said.counters());
    println!("{compared}");
    assert!(
        left == sorted_copy(&target, &with(lane.kind.target_query())).await,
        "source and target differ: {compared}"
    );
    assert_eq!(text(&target, lane.proven).await, "t", "{}: {compared}", lane.proven);
    assert!(commits > 0 && kills > 0 && !left.is_empty(), "{compared}");
    assert!(heard || said.lines.join("\n").contains(lane.said), "no run said {}: {compared}", lane.said);
}

/// Both servers with a certificate; gives their authority's.
fn encrypted(pair: &mut TestPair) -> String {
    let servers = authority("servers");
    for cluster in [&mut pair.source, &mut pair.target] {
        let certificate = issue(&servers, named("db", &["localhost"]), ExtendedKeyUsagePurpose::ServerAuth);
        encrypt(cluster, &certificate, "");
    }
    servers.pem
}

/// Goes on until it is stopped, and gives the columns that came, as they stand in a list of columns.
async fn beside(
    what: Beside,
    clients: Vec<tokio_postgres::Client>,
    migration: Arc<Migration>,
    mut random: StdRng,
    (stop, behind): (Arc<AtomicBool>, Arc<AtomicBool>),
) -> String {
    const COLUMNS_MAX: u32 = 8;
    let (mut columns, mut n_columns, mut turned) = (String::new(), 0, 0);
    let client = &clients[0];
    // Its own commits are not to wait for a standby that does not exist.
    run(client, "SET synchronous_commit = local; SET lock_timeout = '1s'").await;
    let begun = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        match what {
            Beside::Nothing => {}
            Beside::Columns => {
                let name = format!("extra_{n_columns}");
                let add = format!("ALTER TABLE items ADD COLUMN {name} integer DEFAULT {n_columns}");
                let due = begun.elapsed() > lasts() * n_columns / COLUMNS_MAX;
                if due && client.batch_execute(&add).await.is_ok() {
                    columns.push_str(&format!(", {name}"));
                    n_columns += 1;
                }
                if n_columns > 0 {
                    let name = format!("extra_{}", random.random_range(0..n_columns));
                    let update =
                        format!("UPDATE items SET {name} = {name} + 1 WHERE id % 50 = {}", random.random_range(0..50));
                    // A writer may be in the way.
                    let _taken = client.batch_execute(&update).await;
                }
            }
            Beside::Operator => turned += u32::from(turn(&migration, &mut random)),
            Beside::Sessions => {
                let asleep = clients.iter().map(|client| client.batch_execute("SELECT pg_sleep(1.5)"));
                futures_util::future::join_all(asleep).await.into_iter().for_each(|slept| slept.unwrap());
                tokio::time::sleep(Duration::from_millis(1_000)).await;
            }
            Beside::LargeTransactions if behind.load(Ordering::Relaxed) => {}
            Beside::LargeTransactions => {
                let sql = match random.random_range(0..3) {
                    0 => "UPDATE items SET n = n + 1, price = price + 1".to_owned(),
                    1 => "UPDATE items SET big = repeat(md5(n::text), 100) WHERE id % 2 = 0".to_owned(),
                    _ => "INSERT INTO items (id, n) SELECT g, 0 FROM generate_series(1000000, 1010000) AS g; \
                          DELETE FROM items WHERE id >= 1000000 AND id % 3 > 0; DELETE FROM items WHERE id >= 1000000"
                        .to_owned(),
                };
                // A writer may be in the way.
                turned += u32::from(client.batch_execute(&format!("BEGIN; {sql}; COMMIT")).await.is_ok());
                let _nothing_to_undo = client.batch_execute("ROLLBACK").await;
            }
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(100..800))).await;
    }
    match what {
        Beside::Nothing | Beside::Sessions => {}
        Beside::Columns => assert!(n_columns > 2, "the columns never came"),
        Beside::LargeTransactions => assert!(turned > 0, "no large transaction was ever committed"),
        Beside::Operator => {
            assert!(turned > 0, "the operator was never heard");
            // Limits outlive the process: without an end of them the copy would not end.
            let off =
                ["throttle", "--rows-per-second", "0", "--bytes-per-second", "0", "--limit", "stream_lag_bytes=0"];
            tokio::task::block_in_place(|| {
                let until = Instant::now() + Duration::from_secs(30);
                while !migration.run(&off).status.success() {
                    assert!(Instant::now() < until, "the operator is not heard any more");
                }
            });
        }
    }
    columns
}

/// Turns one knob; false when no process was there to hear of it.
fn turn(migration: &Migration, random: &mut StdRng) -> bool {
    let (knob, values) = [
        ("--rows-per-second", ["0", "100", "2000"]),
        ("--bytes-per-second", ["0", "20000", "1000000"]),
        ("--workers", ["1", "3", "6"]),
        ("--limit", ["stream_lag_bytes=0", "stream_lag_bytes=2000", "stream_lag_bytes=1000000"]),
    ][random.random_range(0..4)];
    let output = tokio::task::block_in_place(|| migration.run(&["throttle", knob, values[random.random_range(0..3)]]));
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    // Between two processes nobody is there to ask; before the first has begun there is no migration.
    let gone =
        ["no executor is running", "before it answered", "knows of no migration"].iter().any(|why| words.contains(why));
    assert!(output.status.success() || gone, "{words}");
    output.status.success()
}

#[tokio::test(flavor = "multi_thread")]
async fn binary_format() {
    torture(Lane { planned: "\"format\": \"binary\"", ..PLAIN }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn text_format() {
    let ddl = "ALTER TABLE items ADD COLUMN tags text[] DEFAULT '{a,NULL,\"\"}'";
    torture(Lane { kind: TEXT, ddl, planned: "\"format\": \"text\"", ..PLAIN }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_are_followed() {
    let more = "  on_ddl: follow_additive\n  max_rows_per_second: 1000\n";
    let (planned, beside) = ("follow_additive", Beside::Columns);
    torture(Lane { more, planned, said: "followed: column extra_1", beside, ..PLAIN }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn throttled_by_what_comes_and_goes() {
    let more = "  workers: 2\n  max_rows_per_second: 1000\n  \
                throttle: { source_active_sessions: 4, stream_lag_bytes: 1_000_000, wal_retained_bytes: 16_000_000 }\n";
    let (planned, beside) = ("source_active_sessions", Beside::Sessions);
    torture(Lane { more, planned, said: "\"type\":\"held_back\"", beside, ..PLAIN }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn throttled_by_an_operator() {
    torture(Lane { more: "  workers: 2\n", beside: Beside::Operator, ..PLAIN }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copied_by_blocks() {
    torture(Lane { kind: BY_BLOCKS, planned: "\"by_blocks\"", ..PLAIN }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copied_by_blocks_from_13() {
    torture(Lane { majors: (13, 18), kind: BY_BLOCKS, planned: "\"by_blocks\"", ..PLAIN }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vacuumed() {
    let proven = "SELECT status = 'succeeded' FROM pcrd.step WHERE step = 'vacuum:public.items'";
    torture(Lane { more: "  vacuum: true\n  max_rows_per_second: 1000\n", planned: "VACUUM (FREEZE", proven, ..PLAIN })
        .await;
}

/// Large enough to be laid out in several lanes.
#[tokio::test(flavor = "multi_thread")]
async fn several_workers() {
    let more = "  workers: 6\n  max_rows_per_second: 10000\n";
    let (planned, proven) = ("\"workers\": 6", "SELECT count(*) >= 6 FROM pcrd.lane");
    torture(Lane { rows: 60_000, more, planned, proven, ..PLAIN }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replica_identity_full() {
    let ddl = "ALTER TABLE items REPLICA IDENTITY FULL";
    torture(Lane { ddl, planned: "\"replica_identity\": \"full\"", ..PLAIN }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replica_identity_index() {
    let ddl = "CREATE UNIQUE INDEX items_identity ON items (id); ALTER TABLE items REPLICA IDENTITY USING INDEX items_identity; \
               ALTER TABLE items DROP CONSTRAINT items_pkey; ALTER TABLE items ALTER id SET NOT NULL";
    torture(Lane { ddl, planned: "items_identity", ..PLAIN }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key() {
    torture(Lane { kind: KEYLESS, rows: 600, planned: "\"full_row\"", ..PLAIN }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_transactions_amid_small_ones() {
    torture(Lane { beside: Beside::LargeTransactions, ..PLAIN }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls() {
    torture(Lane { tls: true, ..PLAIN }).await;
}
