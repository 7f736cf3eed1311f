//! Cutovers, one after another, under clients that come through pgbouncer: how many errors they see, which are to be none, how long
//! they wait, and whether any acknowledged write is missing or there twice.

use std::collections::BTreeSet;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pcrd::pg::local::{Cluster, installed_majors};
use tokio_postgres::NoTls;

use crate::cutover::{PAUSE_MAX_MS, PAUSE_MS};
use crate::figures::{Figures, quantile};
use crate::work::{connect, done, pcrd};

const PROGRAM: &str = "/usr/sbin/pgbouncer";
/// The clients are alone for this long before the plan is made and after the switch.
const ALONE: Duration = Duration::from_secs(2);
/// Of the errors that clients see, so many are shown.
const SHOWN_MAX: usize = 10;
/// Ids that one client has for itself.
const IDS: u64 = 10_000_000;

const SOURCE: &str = "CREATE TABLE items (id integer PRIMARY KEY, n integer NOT NULL DEFAULT 0, note text);
    DO $$ BEGIN CREATE ROLE goes_back LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
    GRANT SET ON PARAMETER session_replication_role TO goes_back;
    GRANT SELECT, INSERT, UPDATE, DELETE ON items TO goes_back";

/// What is wanted of a round.
pub(crate) struct Wish {
    pub(crate) rows: u64,
    pub(crate) tps: u64,
    pub(crate) clients: u64,
    /// A rollback, so many seconds after the switch.
    pub(crate) back_after: Option<u64>,
}

pub(crate) async fn run(wish: Wish, rounds: usize) -> Figures {
    let Wish { rows, tps, clients, back_after } = wish;
    let mut figures = Figures::new("cutover behind pgbouncer");
    let newest = installed_majors().into_iter().max().unwrap();
    let and_back = back_after.map_or_else(String::new, |seconds| format!(" and {seconds} s later a rollback"));
    figures.note(format!(
        "{rounds} migrations of {rows} rows from plan to cutover{and_back}, PostgreSQL 15 to {newest}, under {tps} writes a second \
         by {clients} clients through pgbouncer"
    ));
    figures.note("pause: of each client, the longest time that one write took".to_owned());
    figures
        .note("wrong: writes that are not on the database as the clients' log of acknowledged writes says".to_owned());
    let settings = [("wal_level", "logical"), ("max_connections", "200")];
    let source = Cluster::start_with(15, &settings).unwrap();
    let target = Cluster::start_with(newest, &settings).unwrap();
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        let database = format!("round_{round}");
        for cluster in [&source, &target] {
            let session = connect(cluster, "postgres").await;
            session.batch_execute(&format!("CREATE DATABASE {database}")).await.unwrap();
        }
        let seed = format!("INSERT INTO items SELECT -g, 0, repeat('x', 80) FROM generate_series(1, {rows}) AS g");
        let session = connect(&source, &database).await;
        session.batch_execute(&format!("{SOURCE}; {seed}; ANALYZE items")).await.unwrap();
        let log = migrate((&source, &target), &database, &wish).await;
        let end = if back_after.is_some() { &source } else { &target };
        let found = connect(end, &database).await;
        let wrong = log.wrong(&found, rows, clients).await;
        figures.add("writes a second", log.written as f64 / log.lasted.as_secs_f64(), "", None);
        figures.add("errors that clients saw", log.errors.len() as f64, "", Some(0.0));
        figures.add("writes wrong", wrong as f64, "", Some(0.0));
        figures.add("writes compared", log.written as f64, "", None);
        figures.add("pause, median of the clients", quantile(&log.pauses_ms, 0.5), "ms", Some(PAUSE_MS));
        figures.add("pause, longest", quantile(&log.pauses_ms, 1.0), "ms", Some(PAUSE_MAX_MS));
        for error in log.errors.iter().take(SHOWN_MAX) {
            eprintln!("  {error}");
        }
        // They would keep log, and so would the slots.
        for (cluster, session) in [(&source, session), (&target, found)] {
            drop(session);
            let session = connect(cluster, "postgres").await;
            let drop_slots = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active";
            session.batch_execute(drop_slots).await.unwrap();
            session.batch_execute(&format!("DROP DATABASE {database} WITH (FORCE)")).await.unwrap();
        }
    }
    figures
}

/// There, and back again where that is wanted.
async fn migrate((source, target): (&Cluster, &Cluster), database: &str, wish: &Wish) -> Log {
    let dir = tempfile::tempdir().unwrap();
    let pgbouncer = Pgbouncer::start(source, database);
    configure(dir.path(), (source, target), database, (&pgbouncer, wish.back_after.is_some()));
    let clients = Clients::start(pgbouncer.port, wish);
    tokio::time::sleep(ALONE).await;
    done(&mut pcrd(dir.path(), &["plan", "--out", "plan.json"]));
    let mut apply = pcrd(dir.path(), &["apply", "plan.json", "--yes", "--through", "cutover"]);
    match wish.back_after {
        None => done(&mut apply),
        Some(seconds) => {
            let mut apply = apply.stdout(Stdio::null()).spawn().unwrap();
            let is_open = "SELECT to_regclass('pcrd.way_back') IS NOT NULL AND EXISTS \
                           (SELECT FROM pcrd.way_back WHERE state = 'open')";
            let session = connect(target, database).await;
            // The ledger comes a moment after the start.
            while !session.query_one(is_open, &[]).await.is_ok_and(|row| row.get(0)) {
                assert!(apply.try_wait().unwrap().is_none(), "apply has ended before the switch");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            done(&mut pcrd(dir.path(), &["rollback", "--yes"]));
            assert!(apply.wait().unwrap().success());
        }
    }
    tokio::time::sleep(ALONE).await;
    clients.stop()
}

fn configure(
    dir: &Path,
    (source, target): (&Cluster, &Cluster),
    database: &str,
    (pgbouncer, goes_back): (&Pgbouncer, bool),
) {
    let switch = dir.join("switch.sh");
    let ini = pgbouncer.dir.path().join("pgbouncer.ini");
    let program = format!("#!/bin/sh\nexec sed -i \"s/port=$PCRD_FROM_PORT/port=$PCRD_TO_PORT/\" {}\n", ini.display());
    std::fs::write(&switch, program).unwrap();
    std::fs::set_permissions(&switch, std::fs::Permissions::from_mode(0o755)).unwrap();
    let end = |cluster: &Cluster| {
        format!("{{ host: 127.0.0.1, port: {}, database: {database}, user: postgres }}", cluster.port())
    };
    // With it apply does not end with the cutover.
    let reverse = if goes_back { "reverse: { user: goes_back }, " } else { "" };
    let config = format!(
        "source: {}\ntarget: {}\nmigrate:\n  tables:\n    - {{ name: items, columns: {{ id: {{ type: bigint }} }} }}\n\
         cutover: {{ fence: pgbouncer, {reverse}hooks: {{ switch: [./switch.sh] }}, pgbouncer: \
         {{ admin_uri: 'postgresql://pgbouncer@127.0.0.1:{}/pgbouncer', databases: [shop] }} }}\n",
        end(source),
        end(target),
        pgbouncer.port
    );
    std::fs::write(dir.join("pcrd.config.yml"), config).unwrap();
}

/// One with a database `shop`.
struct Pgbouncer {
    dir: tempfile::TempDir,
    port: u16,
    child: Child,
}

impl Pgbouncer {
    fn start(source: &Cluster, database: &str) -> Self {
        assert!(Path::new(PROGRAM).exists(), "needs {PROGRAM}: apt-get install pgbouncer");
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let ini = format!(
            "[databases]\nshop = host=127.0.0.1 port={} dbname={database} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\nadmin_users = pgbouncer\npool_mode = transaction\n",
            source.port()
        );
        let path = dir.path().join("pgbouncer.ini");
        std::fs::write(&path, ini).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let mut command = Command::new(PROGRAM);
        // It refuses to be root.
        if Command::new("id").arg("-u").output().unwrap().stdout == b"0\n" {
            command.args(["-u", "postgres"]);
        }
        let child = command.arg("-q").arg(path).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(30), "pgbouncer does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { dir, port, child }
    }
}

impl Drop for Pgbouncer {
    fn drop(&mut self) {
        // One that has ended is no error.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// What the clients were told.
#[derive(Default)]
struct Log {
    written: u64,
    /// Ids of rows that were added.
    added: BTreeSet<u64>,
    /// How often each client has counted up its row.
    counted: Vec<u64>,
    errors: Vec<String>,
    pauses_ms: Vec<f64>,
    lasted: Duration,
}

impl Log {
    /// Writes that are missing, or there and not in the log. What was answered by an error may be either.
    async fn wrong(&self, found: &tokio_postgres::Client, rows: u64, clients: u64) -> u64 {
        let ids = found.query("SELECT id::bigint FROM items WHERE id > 0", &[]).await.unwrap();
        let ids: BTreeSet<u64> = ids.iter().map(|row| row.get::<_, i64>(0) as u64).collect();
        let mut wrong = self.added.symmetric_difference(&ids).count() as u64;
        let counts = "SELECT n::bigint FROM items WHERE id < 0 AND id >= -$1::bigint ORDER BY id DESC";
        let counts = found.query(counts, &[&(clients as i64)]).await.unwrap();
        assert_eq!(counts.len() as u64, clients.min(rows), "each client has a row");
        for (row, counted) in counts.iter().zip(&self.counted) {
            wrong += (row.get::<_, i64>(0) as u64).abs_diff(*counted);
        }
        wrong
    }
}

/// Clients on a thread of their own, so that nothing that is waited for here keeps them waiting.
struct Clients {
    thread: std::thread::JoinHandle<Log>,
    stop: Arc<AtomicBool>,
}

impl Clients {
    fn start(port: u16, wish: &Wish) -> Self {
        assert!(wish.rows >= wish.clients, "each client counts up a row of its own");
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, clients) = (Arc::clone(&stop), wish.clients);
        let every = Duration::from_secs_f64(wish.clients as f64 / wish.tps as f64);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(all(port, clients, every, stopped))
        });
        Self { thread, stop }
    }

    fn stop(self) -> Log {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

async fn all(port: u16, clients: u64, every: Duration, stop: Arc<AtomicBool>) -> Log {
    let began = Instant::now();
    let written = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (1..=clients)
        .map(|number| tokio::spawn(one(port, number, every, (Arc::clone(&stop), Arc::clone(&written)))))
        .collect();
    let mut log = Log::default();
    for task in tasks {
        let own = task.await.unwrap();
        log.added.extend(own.added);
        log.counted.extend(own.counted);
        log.errors.extend(own.errors);
        log.pauses_ms.extend(own.pauses_ms);
    }
    Log { written: written.load(Ordering::Relaxed), lasted: began.elapsed(), ..log }
}

/// Adds a row, or counts its own row up, at a steady rate.
async fn one(port: u16, number: u64, every: Duration, (stop, written): (Arc<AtomicBool>, Arc<AtomicU64>)) -> Log {
    let mut log = Log::default();
    let (mut session, mut counted, mut longest) = (None, 0, Duration::ZERO);
    let mut due = tokio::time::interval(every);
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for n in 0.. {
        due.tick().await;
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if session.is_none() {
            let mut config = tokio_postgres::Config::new();
            config.host("127.0.0.1").port(port).dbname("shop").user("postgres");
            match config.connect(NoTls).await {
                Ok((client, connection)) => {
                    tokio::spawn(connection);
                    session = Some(client);
                }
                Err(error) => log.errors.push(format!("client {number}: connect: {error}")),
            }
        }
        let Some(client) = &session else { continue };
        let (id, adds) = (number * IDS + n, n % 2 == 0);
        let statement = match adds {
            true => format!("INSERT INTO items (id, note) VALUES ({id}, 'by {number}')"),
            false => format!("UPDATE items SET n = n + 1 WHERE id = -{number}"),
        };
        let asked = Instant::now();
        match client.simple_query(&statement).await {
            Ok(_) => {
                longest = longest.max(asked.elapsed());
                written.fetch_add(1, Ordering::Relaxed);
                match adds {
                    true => drop(log.added.insert(id)),
                    false => counted += 1,
                }
            }
            Err(error) => {
                log.errors.push(format!("client {number}: {error}: {:?}", error.as_db_error()));
                session = None;
            }
        }
    }
    log.counted.push(counted);
    log.pauses_ms.push(longest.as_secs_f64() * 1e3);
    log
}
