//! A failover in the middle of an attempt: open connections stay on the old primary, new ones reach the new one.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use pcrd::pg::local::Cluster;
use tokio::net::{TcpListener, TcpStream};

use crate::migration::Migration;
use crate::support::{TestPair, connect_to, run, text};

/// Passes every connection on to the port that `to` has when it comes, and keeps it there.
async fn forward(to: Arc<AtomicU16>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let to = to.load(Ordering::Relaxed);
            tokio::spawn(async move {
                let mut server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                // Either side may go away; the other one is told by the end of its connection.
                let _ended = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    port
}

/// A standby of `primary` that was promoted: a copy of its data on a timeline of its own.
async fn promoted(primary: &mut Cluster) -> Cluster {
    let mut standby = Cluster::start(15).unwrap();
    standby.stop().unwrap();
    primary.stop().unwrap();
    let kept = |name: &str| std::fs::read(standby.data_dir().join(name)).unwrap();
    let (conf, hba) = (kept("postgresql.conf"), kept("pg_hba.conf"));
    std::fs::remove_dir_all(standby.data_dir()).unwrap();
    let copied = Command::new("cp").arg("-a").arg(primary.data_dir()).arg(standby.data_dir()).status().unwrap();
    assert!(copied.success());
    primary.resume().unwrap();
    let write = |name: &str, text: &[u8]| std::fs::write(standby.data_dir().join(name), text).unwrap();
    write("postgresql.conf", &[&conf[..], b"\nrestore_command = 'false'\n"].concat());
    write("pg_hba.conf", &hba);
    write("recovery.signal", b"");
    standby.resume().unwrap();
    let client = connect_to(&standby, "postgres").await;
    let began = Instant::now();
    while text(&client, "SELECT pg_is_in_recovery()").await == "t" {
        assert!(began.elapsed() < Duration::from_secs(60), "recovery does not end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    standby
}

async fn until(client: &tokio_postgres::Client, query: &str) {
    let began = Instant::now();
    while text(client, query).await != "t" {
        assert!(began.elapsed() < Duration::from_secs(60), "never true: {query}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn fails_over(end: &str) {
    let mut pair = TestPair::start(15, 15);
    let ddl = "CREATE TABLE orders (id integer PRIMARY KEY, note text); \
        INSERT INTO orders SELECT n, 'order ' || n FROM generate_series(1, 2000) AS n; ANALYZE orders";
    run(&connect_to(&pair.source, "postgres").await, ddl).await;
    let migration = Migration::new(&pair, "    - { name: orders, columns: { id: { type: bigint } } }\n", "");
    let cluster = if end == "source" { &mut pair.source } else { &mut pair.target };
    let to = Arc::new(AtomicU16::new(cluster.port()));
    let port = forward(Arc::clone(&to)).await;
    let path = migration.dir.path().join("pcrd.config.yml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config.replace(&format!("port: {}", cluster.port()), &format!("port: {port}"))).unwrap();
    tokio::task::block_in_place(|| {
        migration.plan();
        migration.ok(&["apply", "plan.json", "--yes", "--through", "catchup"]);
    });
    let standby = promoted(cluster).await;
    // The new primary never heard of these.
    let source = connect_to(&pair.source, "postgres").await;
    run(&source, "UPDATE orders SET note = 'lost' WHERE id <= 10").await;
    let position = text(&source, "SELECT pg_current_wal_insert_lsn()").await;
    let mut running = migration.start(&["--json", "apply", "plan.json", "--yes"], "verify.begin=sleep(6000)");
    let target = connect_to(&pair.target, "postgres").await;
    until(&target, &format!("SELECT applied_lsn >= '{position}' FROM pcrd.progress")).await;
    tokio::task::block_in_place(|| running.wait_for("\"step\":\"verify:public.orders\""));
    to.store(standby.port(), Ordering::Relaxed);
    let said = tokio::task::block_in_place(|| running.finish());
    let lines = said.lines.join("\n");
    assert_ne!(said.code, Some(0), "{lines}\n{}", said.stderr);
    assert!(lines.contains(&format!("{end}: the connection leads to another server")), "{lines}\n{}", said.stderr);
    assert!(lines.contains("it is on timeline 2, not 1"), "{lines}");
    // The next attempt sees the new history only, and that it has lost commits.
    assert!(said.stderr.contains("continuity of the change stream cannot be proved"), "{}", said.stderr);
    assert!(!said.stderr.contains("verification found"), "{}", said.stderr);
    assert_eq!(text(&connect_to(&standby, "postgres").await, "SELECT count(*) FROM orders").await, "2000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_fails_over_under_way() {
    fails_over("source").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_fails_over_under_way() {
    fails_over("target").await;
}
