//! What goes wrong on a connection surfaces with its real cause, and leaves nothing behind.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::future::pending;
use std::time::{Duration, Instant};

use pcrd::catalog::Ident;
use pcrd::pg::client::{self, Client};
use pcrd::pg::error::PgError;
use pcrd::pg::local::{Cluster, installed_majors};
use pcrd::pg::replication::{self, NewSlot, PgoutputOptions, Replication, Stream, StreamLimits};
use pcrd::replay::Lsn;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

const PATIENCE: Duration = Duration::from_secs(20);

/// 15, and the oldest and the newest of the others.
fn majors() -> Vec<u32> {
    let installed = installed_majors();
    let mut majors = vec![installed[0], 15, *installed.last().unwrap()];
    majors.dedup();
    println!("majors: {majors:?}");
    majors
}

fn ident(name: &str) -> Ident {
    Ident::new(name).unwrap()
}

fn slot(name: &str) -> NewSlot {
    NewSlot { name: ident(name), temporary: false, failover: false }
}

async fn sql(cluster: &Cluster) -> Client {
    client::connect(&cluster.conninfo("postgres"), "pcrd/test/sql").await.unwrap()
}

async fn replicate(cluster: &Cluster) -> Replication {
    replication::connect(&cluster.conninfo("postgres"), "pcrd/test/repl").await.unwrap()
}

async fn start(connection: Replication, from: Lsn) -> Result<Stream, PgError> {
    let options = PgoutputOptions { publications: vec![ident("p")], messages: false, origin_none: false };
    connection.start(&ident("s"), from, &options, StreamLimits::default()).await
}

async fn error(stream: &mut Stream) -> PgError {
    loop {
        if let Err(error) = tokio::time::timeout(PATIENCE, stream.next()).await.unwrap() {
            return error;
        }
    }
}

async fn slots(sql: &Client) -> i64 {
    sql.query_one("SELECT count(*) FROM pg_replication_slots", &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn slot_creation_that_waits_can_be_given_up() {
    for major in majors() {
        let cluster = Cluster::start(major).unwrap();
        let (writer, sql) = (sql(&cluster).await, sql(&cluster).await);
        writer.batch_execute("CREATE TABLE public.t (); BEGIN; INSERT INTO public.t DEFAULT VALUES").await.unwrap();
        let mut connection = replicate(&cluster).await;
        let brief = Duration::from_millis(400);
        let gave_up = connection.create_slot(&slot("s"), brief, pending()).await.unwrap_err();
        assert!(matches!(gave_up, PgError::GaveUp { .. }), "PostgreSQL {major}: {gave_up:?}");
        let stopped = connection.create_slot(&slot("s"), PATIENCE, tokio::time::sleep(brief)).await.unwrap_err();
        assert!(matches!(stopped, PgError::Stopped { .. }), "PostgreSQL {major}: {stopped:?}");
        assert_eq!(slots(&sql).await, 0, "PostgreSQL {major}");

        writer.batch_execute("COMMIT").await.unwrap();
        let created = connection.create_slot(&slot("s"), PATIENCE, pending()).await.unwrap();
        let snapshot = created.snapshot;
        let import = format!("BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '{snapshot}'");
        sql.batch_execute(&import).await.unwrap();
        let seen: i64 = sql.query_one("SELECT count(*) FROM public.t", &[]).await.unwrap().get(0);
        assert_eq!(seen, 1);
        sql.batch_execute("COMMIT").await.unwrap();
        let exists = connection.create_slot(&slot("s"), PATIENCE, pending()).await.unwrap_err();
        assert_eq!(exists.sqlstate(), Some("42710"), "PostgreSQL {major}: {exists}");
        assert_eq!(slots(&sql).await, 1);
    }
}

#[tokio::test]
async fn a_slot_that_was_created_before_its_cancellation_is_dropped_again() {
    let cluster = Cluster::start(15).unwrap();
    let sql = sql(&cluster).await;
    let mut connection = replicate(&cluster).await;
    // Anything may win the race; a slot may only stay if the answer says so.
    for micros in (0..3000).step_by(100) {
        let stop = tokio::time::sleep(Duration::from_micros(micros));
        match connection.create_slot(&slot("s"), PATIENCE, stop).await {
            Ok(_) => connection.drop_slot(&ident("s")).await.unwrap(),
            Err(PgError::Stopped { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
        assert_eq!(slots(&sql).await, 0, "stopped after {micros} µs");
    }
}

#[tokio::test]
async fn a_temporary_slot_and_its_snapshot_live_as_long_as_the_connection() {
    for major in majors() {
        let cluster = Cluster::start(major).unwrap();
        let sql = sql(&cluster).await;
        let mut connection = replicate(&cluster).await;
        let new = NewSlot { temporary: true, ..slot("s") };
        connection.create_slot(&new, PATIENCE, pending()).await.unwrap();
        assert_eq!(slots(&sql).await, 1);
        assert!(tokio::time::timeout(Duration::from_millis(300), connection.ended()).await.is_err());
        sql.execute("SELECT pg_terminate_backend($1)", &[&connection.backend_pid()]).await.unwrap();
        let why = tokio::time::timeout(PATIENCE, connection.ended()).await.unwrap();
        assert_eq!(why.sqlstate(), Some("57P01"), "PostgreSQL {major}: {why}");

        let mut connection = replicate(&cluster).await;
        connection.create_slot(&new, PATIENCE, pending()).await.unwrap();
        connection.close().await.unwrap();
        assert_eq!(slots(&sql).await, 0, "PostgreSQL {major}");
    }
}

#[tokio::test]
async fn the_failover_option_reaches_the_server() {
    let newest = *installed_majors().last().unwrap();
    if newest < 17 {
        println!("no PostgreSQL 17 or later is installed");
        return;
    }
    let cluster = Cluster::start(newest).unwrap();
    let new = NewSlot { failover: true, ..slot("s") };
    replicate(&cluster).await.create_slot(&new, PATIENCE, pending()).await.unwrap();
    let failover: bool =
        sql(&cluster).await.query_one("SELECT failover FROM pg_replication_slots", &[]).await.unwrap().get(0);
    assert!(failover);
}

#[tokio::test]
async fn the_cause_of_a_stream_that_ends_or_never_starts_is_the_servers_own() {
    for major in majors() {
        let cluster = Cluster::start(major).unwrap();
        let sql = sql(&cluster).await;
        let no_slot = start(replicate(&cluster).await, Lsn(0)).await.unwrap_err();
        assert_eq!(no_slot.sqlstate(), Some("42704"), "PostgreSQL {major}: {no_slot}");

        let mut connection = replicate(&cluster).await;
        let from = connection.create_slot(&slot("s"), PATIENCE, pending()).await.unwrap().consistent_point;
        let mut stream = start(connection, from).await.unwrap();
        sql.batch_execute("CREATE TABLE public.t (id int PRIMARY KEY); INSERT INTO public.t VALUES (1)").await.unwrap();
        // No publication `p`: an error at the first change, or, on newer servers, a warning and silence.
        if major < 18 {
            let no_publication = error(&mut stream).await;
            assert_eq!(no_publication.sqlstate(), Some("42704"), "PostgreSQL {major}: {no_publication}");
            assert!(!no_publication.is_transient());
            assert!(matches!(stream.next().await, Err(PgError::Closed)));
        }
        drop(stream);
        wait_until_free(&sql).await;
        sql.batch_execute("CREATE PUBLICATION p FOR TABLE public.t").await.unwrap();
        sql.batch_execute("SELECT pg_drop_replication_slot('s')").await.unwrap();

        let mut connection = replicate(&cluster).await;
        let from = connection.create_slot(&slot("s"), PATIENCE, pending()).await.unwrap().consistent_point;
        let mut stream = start(connection, from).await.unwrap();
        let in_use = start(replicate(&cluster).await, from).await.unwrap_err();
        assert_eq!(in_use.sqlstate(), Some("55006"), "PostgreSQL {major}: {in_use}");
        assert!(in_use.is_transient());
        sql.execute("SELECT pg_terminate_backend($1)", &[&stream.backend_pid()]).await.unwrap();
        let killed = error(&mut stream).await;
        assert_eq!(killed.sqlstate(), Some("57P01"), "PostgreSQL {major}: {killed}");
        assert!(killed.is_transient());
        let late = stream.stop(PATIENCE).await.unwrap_err();
        assert!(matches!(late, PgError::Closed), "PostgreSQL {major}: {late}");
    }
}

/// The server notices a closed socket when it next uses it.
async fn wait_until_free(sql: &Client) {
    let query = "SELECT count(*) FROM pg_replication_slots WHERE active";
    for _ in 0..200 {
        let active: i64 = sql.query_one(query, &[]).await.unwrap().get(0);
        if active == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the slot is still in use");
}

#[tokio::test]
async fn a_slot_that_lost_its_log_says_so() {
    let settings = [("max_slot_wal_keep_size", "1MB"), ("min_wal_size", "32MB"), ("max_wal_size", "32MB")];
    let cluster = Cluster::start_with(15, &settings).unwrap();
    let sql = sql(&cluster).await;
    sql.batch_execute("CREATE TABLE public.t (id int); CREATE PUBLICATION p FOR TABLE public.t").await.unwrap();
    let mut connection = replicate(&cluster).await;
    let from = connection.create_slot(&slot("s"), PATIENCE, pending()).await.unwrap().consistent_point;
    for _ in 0..4 {
        sql.batch_execute("INSERT INTO public.t VALUES (1)").await.unwrap();
        sql.batch_execute("SELECT pg_switch_wal()").await.unwrap();
    }
    sql.batch_execute("CHECKPOINT").await.unwrap();
    let lost = start(connection, from).await.unwrap_err();
    assert_eq!(lost.sqlstate(), Some("55000"), "{lost}");
    assert!(!lost.is_transient());
}

#[tokio::test]
async fn a_killed_sql_session_tells_why() {
    let cluster = Cluster::start(15).unwrap();
    let (mut victim, sql) = (sql(&cluster).await, sql(&cluster).await);
    let pid: i32 = victim.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    assert!(victim.why_ended().is_none());
    // The driver closes the statement behind our back; a server that ends with that unread resets the connection.
    victim.batch_execute("SELECT 1").await.unwrap();
    sql.execute("SELECT pg_terminate_backend($1)", &[&pid]).await.unwrap();
    for _ in 0..200 {
        if victim.why_ended().is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(victim.why_ended().unwrap().sqlstate(), Some("57P01"));
    let error = victim.batch_execute("SELECT 1").await.unwrap_err();
    let why = victim.explain(error).await;
    assert_eq!(why.sqlstate(), Some("57P01"), "{why}");
}

#[tokio::test]
async fn a_statement_can_be_cancelled() {
    let cluster = Cluster::start(15).unwrap();
    let sql = sql(&cluster).await;
    let (result, ()) = tokio::join!(sql.batch_execute("SELECT pg_sleep(30)"), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        sql.cancel().await.unwrap();
    });
    assert_eq!(PgError::from(result.unwrap_err()).sqlstate(), Some("57014"));
}

#[tokio::test]
async fn a_server_that_went_down_is_worth_another_try() {
    let mut cluster = Cluster::start(15).unwrap();
    sql(&cluster).await.batch_execute("CREATE PUBLICATION p FOR ALL TABLES").await.unwrap();
    let mut connection = replicate(&cluster).await;
    let from = connection.create_slot(&slot("s"), PATIENCE, pending()).await.unwrap().consistent_point;
    let mut stream = start(connection, from).await.unwrap();
    cluster.kill_immediate().unwrap();
    let crashed = error(&mut stream).await;
    assert!(crashed.is_transient(), "{crashed:?}");
    let info = cluster.conninfo("postgres");
    let refused = [
        client::connect(&info, "pcrd/test/sql").await.unwrap_err(),
        replication::connect(&info, "pcrd/test/repl").await.unwrap_err(),
    ];
    for refused in refused {
        assert!(matches!(refused, PgError::Connect { .. }) && refused.is_transient(), "{refused:?}");
    }
}

/// Passes one connection on to `port` until told to swallow everything, with both sides still open.
async fn proxy(port: u16) -> (u16, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = listener.local_addr().unwrap().port();
    let (swallow, swallowing) = oneshot::channel();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
            _ = swallowing => pending().await,
        }
    });
    (here, swallow)
}

#[tokio::test]
async fn a_server_that_fell_silent_is_noticed() {
    let cluster = Cluster::start(15).unwrap();
    sql(&cluster).await.batch_execute("CREATE PUBLICATION p FOR ALL TABLES").await.unwrap();
    let (port, swallow) = proxy(cluster.port()).await;
    let mut info = cluster.conninfo("postgres");
    info.port = port;
    let mut connection = replication::connect(&info, "pcrd/test/repl").await.unwrap();
    let from = connection.create_slot(&slot("s"), PATIENCE, pending()).await.unwrap().consistent_point;
    let options = PgoutputOptions { publications: vec![ident("p")], messages: false, origin_none: false };
    let limits = StreamLimits { silence_max: Duration::from_secs(2), ..StreamLimits::default() };
    let mut stream = connection.start(&ident("s"), from, &options, limits).await.unwrap();
    // An idle server is not a silent one: it answers when asked.
    let idle = tokio::time::timeout(Duration::from_secs(5), error(&mut stream)).await;
    assert!(idle.is_err(), "{idle:?}");
    swallow.send(()).unwrap();
    let start = Instant::now();
    let silent = error(&mut stream).await;
    assert!(matches!(silent, PgError::Io(_)) && silent.is_transient(), "{silent:?}");
    assert!(start.elapsed() < Duration::from_secs(4));
}
