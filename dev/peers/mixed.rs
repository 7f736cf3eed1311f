//! A copy while an application works, then the application alone: what it costs the source and the application, and how
//! far the target is behind.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::figures::{Figures, quantile};
use crate::load::{Load, Probe, now};
use crate::work::{SOURCE, Servers, TABLES, configure, connect, done, pcrd, text};

/// 3,000,000 rows are 1.1 GB.
const ROW_BYTES: f64 = 367.0;
const MIB: f64 = 1024.0 * 1024.0;
/// The bars of the copy: log kept in MiB, snapshots in chunks, latency to that without pcrd, delays in milliseconds.
const WAL_MIB: f64 = 256.0;
const SNAPSHOT_CHUNKS: f64 = 2.0;
const P99_RATIO: f64 = 1.5;
const AFTER_MS: f64 = 100.0;
const STEADY_MS: f64 = 50.0;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish {
    /// Size of the table.
    pub(crate) gb: f64,
    /// Transactions a second during the copy.
    pub(crate) tps: u64,
    /// And afterwards.
    pub(crate) steady_tps: u64,
    /// Length of the parts without a natural end.
    pub(crate) seconds: u64,
}

pub(crate) async fn run(wish: Wish, rounds: usize) -> Figures {
    let Wish { gb, tps, steady_tps, seconds } = wish;
    let rows = (gb * 1e9 / ROW_BYTES) as u64;
    let servers = Servers::start(rows).await;
    let source = connect(&servers.source, "postgres").await;
    source.batch_execute("CREATE TABLE probe (id integer PRIMARY KEY)").await.unwrap();
    let mut figures = Figures::new("mixed");
    let bytes = text(&source, "SELECT pg_relation_size('listings')").await;
    figures.note(format!("a table of {rows} rows, {bytes} bytes on disk, copied under {tps} transactions a second (insert 40, update 45, delete 15 per cent); then {steady_tps} a second followed for {seconds} s; PostgreSQL 15 to 15"));
    figures.note("latency of a transaction counts from the moment at which it was due; delay is from the return of COMMIT on the source to the row being seen on the target".to_owned());
    eprintln!("warming up");
    servers.recycle().await;
    figures.note("both servers have log files to use again, as servers have that have been running for a while: a new one is written twice, and on one disk the other server waits for it".to_owned());
    let load = Load::start(&servers.source, tps, rows);
    sleep(seconds as f64 / 2.0).await;
    drop(load);
    // What the preparation wrote the kernel would write to the disk in the middle of a round.
    done(&mut Command::new("sync"));
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        one(&servers, wish, rows, &mut figures).await;
    }
    figures
}

async fn sleep(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}

async fn one(servers: &Servers, wish: Wish, rows: u64, figures: &mut Figures) {
    let Wish { tps, steady_tps, seconds, .. } = wish;
    servers.fresh("of_nobody").await;
    servers.fresh("of_pcrd").await;
    let load = Load::start(&servers.source, tps, rows);
    // What measures the delay is there without pcrd too.
    connect(&servers.target, "of_nobody").await.batch_execute("CREATE TABLE probe (id integer)").await.unwrap();
    let unseen = Probe::start(&servers.source, &servers.target, "of_nobody").await;
    let alone_from = now() + 2.0;
    sleep(seconds as f64 + 2.0).await;
    let alone_to = now();
    subscribe(servers).await;
    let followed_from = now() + 2.0;
    sleep(seconds as f64 + 2.0).await;
    let followed_to = now();
    unsubscribe(servers).await;
    drop(unseen);

    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), servers, "of_pcrd", &format!("{TABLES}    - name: probe\n"));
    let probe = Probe::start(&servers.source, &servers.target, "of_pcrd").await;
    let mut apply = Apply::start(dir.path());
    let copying_from = apply.until("\"step\":\"copy:public.listings\",\"type\":\"step_start\"", None).await;
    let mut watch = Watch::start(servers).await;
    let copying_to = apply.until("\"step\":\"copy:public.listings\",\"type\":\"step_done\"", Some(&mut watch)).await;
    sleep(10.0).await;
    let latencies = load.stop();

    let seconds_of_copy = copying_to - copying_from;
    figures.add("duration of the copy", seconds_of_copy, "s", None);
    figures.add("held back for", apply.held_back, "s", None);
    let kept: Vec<f64> = watch.kept.iter().map(|point| point.1).collect();
    figures.add("WAL retained by the slot", quantile(&kept, 1.0), "MiB", Some(WAL_MIB));
    figures.over_time("WAL retained in MiB", watch.kept.iter().map(|(at, mib)| (at - copying_from, *mib)).collect());
    let oldest = quantile(&watch.snapshots, 1.0);
    let chunks = chunk_seconds(servers).await;
    figures.add("a chunk, median", quantile(&chunks, 0.5), "s", None);
    // Between the longest times of a lane it was left alone.
    figures.add("a chunk, slowest tenth", quantile(&chunks, 0.9), "s", None);
    figures.add("oldest snapshot held on the source", oldest, "s", None);
    figures.add("the same in chunks", oldest / quantile(&chunks, 0.9), "", Some(SNAPSHOT_CHUNKS));
    for (name, share, wanted) in [("p50", 0.5, None), ("p90", 0.9, None), ("p99", 0.99, Some(P99_RATIO))] {
        let alone = quantile(&latencies.between(alone_from, alone_to), share);
        let followed = quantile(&latencies.between(followed_from, followed_to), share);
        let with = quantile(&latencies.between(copying_from, copying_to), share);
        figures.add(&format!("{name} of the application without pcrd"), alone, "ms", None);
        figures.add(&format!("{name} beside a native subscription without a copy"), followed, "ms", None);
        figures.add(&format!("{name} beside it, ratio"), followed / alone, "", None);
        figures.add(&format!("{name} during the copy"), with, "ms", None);
        figures.add(&format!("{name}, ratio"), with / alone, "", wanted);
    }
    let by_time = (0..(seconds_of_copy / 2.0) as u64).map(|n| {
        let at = n as f64 * 2.0;
        (at, quantile(&latencies.between(copying_from + at, copying_from + at + 2.0), 0.99))
    });
    figures.over_time("p99 of the application in ms", by_time.collect());
    figures.over_time("share of its speed that the copy has, in per cent", watch.shares_from(copying_from));
    let at_end = probe.between(copying_to - 1.0, copying_to + 0.5);
    figures.add("delay when the copy ends", quantile(&at_end, 1.0), "ms", None);
    let after = probe.between(copying_to + 5.0, copying_to + 9.0);
    figures.add("delay 5 s after, median", quantile(&after, 0.5), "ms", Some(AFTER_MS));

    eprintln!("waiting for the comparison");
    apply.until("\"type\":\"gate\",\"ready\":true", None).await;
    let load = Load::start(&servers.source, steady_tps, rows);
    let steady_from = now() + 3.0;
    sleep(seconds as f64 + 3.0).await;
    let delays = probe.between(steady_from, now() - 0.5);
    figures.add("steady delay, median", quantile(&delays, 0.5), "ms", Some(STEADY_MS));
    figures.add("steady delay, p99", quantile(&delays, 0.99), "ms", None);
    let steady = load.stop().between(steady_from, steady_from + seconds as f64);
    figures.add("p50 of the application meanwhile", quantile(&steady, 0.5), "ms", None);
    figures.add("p99 of the application meanwhile", quantile(&steady, 0.99), "ms", None);
    let done_tps = steady.len() as f64 / seconds as f64;
    figures.add("transactions a second meanwhile", done_tps, "", None);
    drop(probe);
    done(&mut pcrd(dir.path(), &["abort", "--yes"]));
}

/// Follows the same changes as PostgreSQL does by itself, into an empty table: what following costs at the least.
async fn subscribe(servers: &Servers) {
    servers.fresh("of_native").await;
    let target = connect(&servers.target, "of_native").await;
    target.batch_execute(SOURCE).await.unwrap();
    let source = connect(&servers.source, "postgres").await;
    source.batch_execute("CREATE PUBLICATION native FOR TABLE listings").await.unwrap();
    let subscription = format!(
        "CREATE SUBSCRIPTION native CONNECTION 'host=127.0.0.1 port={} user=postgres dbname=postgres' PUBLICATION native \
         WITH (copy_data = false)",
        servers.source.port()
    );
    target.batch_execute(&subscription).await.unwrap();
}

async fn unsubscribe(servers: &Servers) {
    connect(&servers.target, "of_native").await.batch_execute("DROP SUBSCRIPTION native").await.unwrap();
    connect(&servers.source, "postgres").await.batch_execute("DROP PUBLICATION native").await.unwrap();
}

/// How long chunks took, by the times at which those of a lane were committed one after another.
async fn chunk_seconds(servers: &Servers) -> Vec<f64> {
    let target = connect(&servers.target, "of_pcrd").await;
    let rows = target
        .query(
            "SELECT extract(epoch FROM at - lag(at) OVER (PARTITION BY tbl, lane ORDER BY seq))::float8 FROM pcrd.chunk WHERE tbl = 'public.listings'",
            &[],
        )
        .await
        .unwrap();
    rows.iter().filter_map(|row| row.get(0)).collect()
}

/// A running `apply`, with its events.
struct Apply {
    child: Child,
    events: mpsc::Receiver<(f64, String)>,
    held_back: f64,
}

impl Apply {
    fn start(dir: &Path) -> Self {
        let mut command: Command = pcrd(dir, &["--json", "apply", "plan.json", "--yes"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let (sender, events) = mpsc::channel();
        let out = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if sender.send((now(), line)).is_err() {
                    return;
                }
            }
        });
        Self { child, events, held_back: 0.0 }
    }

    /// Waits for an event with this text; gives when it came.
    async fn until(&mut self, wanted: &str, mut watch: Option<&mut Watch>) -> f64 {
        loop {
            while let Ok((at, line)) = self.events.try_recv() {
                if line.contains("\"held_back\"") && line.contains("\"over\":true") {
                    let event: serde_json::Value = serde_json::from_str(&line).unwrap();
                    self.held_back += event["seconds"].as_f64().unwrap();
                }
                if line.contains(wanted) {
                    return at;
                }
            }
            assert!(self.child.try_wait().unwrap().is_none(), "apply ended before `{wanted}`");
            match &mut watch {
                Some(watch) => watch.look().await,
                None => sleep(0.02).await,
            }
        }
    }
}

impl Drop for Apply {
    fn drop(&mut self) {
        // One that has ended is no error.
        let _ended = self.child.kill();
        self.child.wait().unwrap();
    }
}

/// What pcrd keeps on the source.
struct Watch {
    source: tokio_postgres::Client,
    target: tokio_postgres::Client,
    /// What `status` says of the pace.
    paces: Vec<(f64, String)>,
    kept: Vec<(f64, f64)>,
    snapshots: Vec<f64>,
}

impl Watch {
    async fn start(servers: &Servers) -> Self {
        let source = connect(&servers.source, "postgres").await;
        let target = connect(&servers.target, "of_pcrd").await;
        Self { source, target, paces: Vec::new(), kept: Vec::new(), snapshots: Vec::new() }
    }

    /// What the copy gave way to, by the time since then.
    fn shares_from(&self, from: f64) -> Vec<(f64, f64)> {
        let share = |pace: &str| pace.strip_prefix("slowed to ")?.split(' ').next()?.parse().ok();
        self.paces.iter().filter_map(|(at, pace)| Some((at - from, share(pace)?))).collect()
    }

    async fn look(&mut self) {
        sleep(0.1).await;
        let row = self
            .source
            .query_one(
                "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::float8, \
                   (SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8 FROM pg_stat_activity \
                     WHERE application_name LIKE 'pcrd/%' AND backend_xmin IS NOT NULL) \
                 FROM pg_replication_slots WHERE plugin = 'pgoutput'",
                &[],
            )
            .await
            .unwrap();
        let pace = self.target.query_opt("SELECT value FROM pcrd.setting WHERE name = 'pace'", &[]).await.unwrap();
        if let Some(pace) = pace.map(|row| row.get::<_, String>(0))
            && self.paces.last().is_none_or(|(_, last)| *last != pace)
        {
            eprintln!("  {pace}");
            self.paces.push((now(), pace));
        }
        self.kept.push((now(), row.get::<_, f64>(0) / MIB));
        self.snapshots.push(row.get(1));
    }
}
