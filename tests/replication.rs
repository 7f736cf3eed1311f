//! The replication connection against real servers of the oldest, the usual, and the newest version that is here.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::future::pending;
use std::time::{Duration, Instant};

use pcrd::catalog::Ident;
use pcrd::pg::client::{self, Client};
use pcrd::pg::local::{Cluster, installed_majors};
use pcrd::pg::pgoutput::{ColumnData, Message, OldKind, ReplicaIdentity, Tuple, decode};
use pcrd::pg::replication::{self, Incoming, NewSlot, PgoutputOptions, Replication, Stream, StreamLimits};
use pcrd::replay::Lsn;

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

fn options(server_version_num: u32) -> PgoutputOptions {
    PgoutputOptions { publications: vec![ident("p'q\"")], messages: server_version_num >= 140_000, origin_none: false }
}

async fn sql(cluster: &Cluster) -> Client {
    client::connect(&cluster.conninfo("postgres"), "pcrd/test/sql").await.unwrap()
}

async fn replicate(cluster: &Cluster) -> Replication {
    replication::connect(&cluster.conninfo("postgres"), "pcrd/test/repl").await.unwrap()
}

/// A publication of everything and a slot `s`; streams from its start.
async fn stream(cluster: &Cluster, sql: &Client, limits: StreamLimits) -> (Stream, Lsn) {
    sql.batch_execute("CREATE PUBLICATION \"p'q\"\"\" FOR ALL TABLES").await.unwrap();
    let mut connection = replicate(cluster).await;
    let created = connection.create_slot(&slot("s"), PATIENCE, pending()).await.unwrap();
    let options = options(connection.server_version_num);
    let from = created.consistent_point;
    (connection.start(&ident("s"), from, &options, limits).await.unwrap(), from)
}

async fn next(stream: &mut Stream) -> Incoming {
    tokio::time::timeout(PATIENCE, stream.next()).await.unwrap().unwrap()
}

/// Messages up to and with the `commits`-th commit, and its end.
async fn until_commit(stream: &mut Stream, commits: usize) -> (Vec<Message>, Lsn) {
    let mut messages = Vec::new();
    let mut seen = 0;
    loop {
        let Incoming::XLogData { data, .. } = next(stream).await else { continue };
        let message = decode(data).unwrap();
        let end = if let Message::Commit(commit) = &message { Some(commit.end_lsn) } else { None };
        messages.push(message);
        if let Some(end) = end {
            seen += 1;
            if seen == commits {
                return (messages, end);
            }
        }
    }
}

fn text(value: &str) -> ColumnData<'_> {
    ColumnData::Text(value.as_bytes())
}

fn tuple<'a>(columns: impl IntoIterator<Item = ColumnData<'a>>) -> Tuple {
    columns.into_iter().collect()
}

/// First columns of the inserted rows.
fn inserted(messages: &[Message]) -> Vec<String> {
    let first = |new: &Tuple| String::from_utf8(new.text(0).expect("a value").to_vec()).unwrap();
    messages.iter().filter_map(|m| if let Message::Insert { new, .. } = m { Some(first(new)) } else { None }).collect()
}

#[tokio::test]
async fn every_message_kind_arrives() {
    for major in majors() {
        let cluster = Cluster::start(major).unwrap();
        let sql = sql(&cluster).await;
        sql.batch_execute(
            "CREATE TYPE public.mood AS ENUM ('glad');
             CREATE TABLE public.t (id int PRIMARY KEY, big text, m public.mood);
             ALTER TABLE public.t ALTER big SET STORAGE EXTERNAL;
             CREATE TABLE public.\"F.ull\" (a int, b text);
             ALTER TABLE public.\"F.ull\" REPLICA IDENTITY FULL",
        )
        .await
        .unwrap();
        let (mut stream, from) = stream(&cluster, &sql, StreamLimits::default()).await;
        let truncate = if major >= 11 { "TRUNCATE public.t, public.\"F.ull\" RESTART IDENTITY CASCADE;" } else { "" };
        sql.batch_execute(&format!(
            "BEGIN;
             INSERT INTO public.t VALUES (1, repeat('x', 9000), 'glad'), (2, NULL, NULL);
             UPDATE public.t SET m = NULL WHERE id = 1;
             UPDATE public.t SET id = 3 WHERE id = 1;
             DELETE FROM public.t WHERE id = 2;
             INSERT INTO public.\"F.ull\" VALUES (7, 'a');
             UPDATE public.\"F.ull\" SET b = '';
             SELECT pg_logical_emit_message(true, 'pcrd', 'hello');
             {truncate}
             COMMIT"
        ))
        .await
        .unwrap();
        let (mut messages, end) = until_commit(&mut stream, 1).await;
        // The server describes a table again whenever its cache was reset, for instance by an ANALYZE beside us.
        let mut described = Vec::new();
        messages.retain(|message| {
            let description = matches!(message, Message::Type(_) | Message::Relation(_));
            let again = description && described.contains(message);
            described.extend(description.then(|| message.clone()));
            !again
        });
        let mut messages = messages.into_iter();

        let Some(Message::Begin(begin)) = messages.next() else { panic!("no begin") };
        assert!(begin.final_lsn > from && begin.final_lsn < end && begin.xid > 0 && begin.commit_ts > 0);
        let Some(Message::Type(mood)) = messages.next() else { panic!("no type") };
        assert_eq!((mood.schema.as_str(), mood.name.as_str()), ("public", "mood"));
        let Some(Message::Relation(t)) = messages.next() else { panic!("no relation") };
        assert_eq!((t.schema.as_str(), t.name.as_str(), t.replica_identity), ("public", "t", ReplicaIdentity::Default));
        let columns: Vec<_> = t.columns.iter().map(|c| (c.name.as_str(), c.is_key, c.type_oid)).collect();
        assert_eq!(columns, [("id", true, 23), ("big", false, 25), ("m", false, mood.oid)]);
        let large = "x".repeat(9000);
        let big = || text(&large);
        let (null, toast) = (|| ColumnData::Null, || ColumnData::UnchangedToast);
        let relation = t.oid;
        for expected in [
            Message::Insert { relation, new: tuple([text("1"), big(), text("glad")]) },
            Message::Insert { relation, new: tuple([text("2"), null(), null()]) },
            Message::Update { relation, old: None, new: tuple([text("1"), toast(), null()]) },
            Message::Update {
                relation,
                old: Some((OldKind::Key, tuple([text("1"), null(), null()]))),
                new: tuple([text("3"), toast(), null()]),
            },
            Message::Delete { relation, kind: OldKind::Key, old: tuple([text("2"), null(), null()]) },
        ] {
            assert_eq!(messages.next().unwrap(), expected, "PostgreSQL {major}");
        }
        let Some(Message::Relation(full)) = messages.next() else { panic!("no relation") };
        assert_eq!((full.name.as_str(), full.replica_identity), ("F.ull", ReplicaIdentity::Full));
        let relation = full.oid;
        let row = |b: &str| tuple([text("7"), text(b)]);
        assert_eq!(messages.next().unwrap(), Message::Insert { relation, new: row("a") });
        let update = Message::Update { relation, old: Some((OldKind::Full, row("a"))), new: row("") };
        assert_eq!(messages.next().unwrap(), update);
        if major >= 14 {
            let Some(Message::Message(message)) = messages.next() else { panic!("no message") };
            assert!(message.transactional && message.lsn > from);
            assert_eq!((message.prefix.as_str(), &message.content[..]), ("pcrd", &b"hello"[..]));
        }
        if major >= 11 {
            // Both tables got a new file, and are announced again.
            let next = messages.find(|m| !matches!(m, Message::Relation(_) | Message::Type(_)));
            let Some(Message::Truncate(truncate)) = next else { panic!("{next:?} for a truncate") };
            assert!(truncate.cascade && truncate.restart_identity);
            assert_eq!(truncate.relations, [t.oid, full.oid]);
        }
        let Some(Message::Commit(commit)) = messages.next() else { panic!("no commit") };
        assert_eq!((commit.commit_lsn, commit.end_lsn, commit.commit_ts), (begin.final_lsn, end, begin.commit_ts));
        assert_eq!(messages.next(), None);
    }
}

#[tokio::test]
async fn settings_of_the_role_change_no_value_and_no_timeout() {
    for major in majors() {
        let cluster = Cluster::start(major).unwrap();
        let admin = sql(&cluster).await;
        admin
            .batch_execute(
                "CREATE TABLE public.t (f float8 PRIMARY KEY, d timestamptz, i interval, b bytea, s text);
                 ALTER ROLE postgres SET DateStyle = 'German';
                 ALTER ROLE postgres SET IntervalStyle = 'sql_standard';
                 ALTER ROLE postgres SET TimeZone = 'America/New_York';
                 ALTER ROLE postgres SET extra_float_digits = -10;
                 ALTER ROLE postgres SET bytea_output = 'escape';
                 ALTER ROLE postgres SET client_encoding = 'LATIN1';
                 ALTER ROLE postgres SET search_path = 'evil';
                 ALTER ROLE postgres SET default_transaction_read_only = 'on';
                 ALTER ROLE postgres SET default_transaction_isolation = 'serializable';
                 ALTER ROLE postgres SET statement_timeout = '200ms';
                 ALTER ROLE postgres SET idle_in_transaction_session_timeout = '200ms'",
            )
            .await
            .unwrap();
        for (since, setting) in [(14, "idle_session_timeout"), (17, "transaction_timeout")] {
            if major >= since {
                admin.batch_execute(&format!("ALTER ROLE postgres SET {setting} = '400ms'")).await.unwrap();
            }
        }
        let sql = sql(&cluster).await;
        let (mut stream, _) = stream(&cluster, &sql, StreamLimits::default()).await;
        sql.batch_execute(
            "INSERT INTO public.t VALUES (0.1::float8 + 0.2::float8, '2024-02-01 12:00:00.000001+00',
             '-1 mon +2 days -03:04:05', '\\x00ff', 'Ωµ')",
        )
        .await
        .unwrap();
        // The shortest exact text is of PostgreSQL 12; before, 17 digits and one to spare.
        let float = if major >= 12 { "0.30000000000000004" } else { "0.300000000000000044" };
        let expected = [float, "2024-02-01 12:00:00.000001+00", "-1 mons +2 days -03:04:05", "\\x00ff", "Ωµ"];
        let (messages, _) = until_commit(&mut stream, 1).await;
        let streamed = messages.iter().find_map(|message| match message {
            Message::Insert { new, .. } => Some(new.clone()),
            _ => None,
        });
        assert_eq!(streamed.unwrap(), tuple(expected.map(text)), "PostgreSQL {major}");
        let row = sql.query_one("SELECT f::text, d::text, i::text, b::text, s FROM public.t", &[]).await.unwrap();
        let read: Vec<String> = (0..5).map(|column| row.get(column)).collect();
        assert_eq!(read, expected, "PostgreSQL {major}");
        let isolation = sql.query_one("SHOW transaction_isolation", &[]).await.unwrap();
        assert_eq!(isolation.get::<_, &str>(0), "read committed");
        sql.batch_execute("BEGIN; SELECT pg_sleep(0.3)").await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        sql.batch_execute("COMMIT").await.unwrap();
        stream.stop(PATIENCE).await.unwrap();
    }
}

#[tokio::test]
async fn a_consumer_that_reads_nothing_loses_neither_the_connection_nor_a_row() {
    for major in majors() {
        let cluster = Cluster::start_with(major, &[("wal_sender_timeout", "1s")]).unwrap();
        let sql = sql(&cluster).await;
        sql.batch_execute("CREATE TABLE public.t (id int PRIMARY KEY, v text)").await.unwrap();
        let limits = StreamLimits { queue_bytes: 64 * 1024, ..StreamLimits::default() };
        let (mut stream, _) = stream(&cluster, &sql, limits).await;
        sql.batch_execute("INSERT INTO public.t SELECT i, repeat('y', 500) FROM generate_series(1, 20000) i")
            .await
            .unwrap();
        // One value is larger than the whole queue.
        sql.batch_execute("INSERT INTO public.t VALUES (20001, repeat('z', 3000000))").await.unwrap();
        tokio::time::sleep(Duration::from_secs(4)).await;
        let (messages, _) = until_commit(&mut stream, 2).await;
        let expected: Vec<_> = (1..=20001).map(|id| id.to_string()).collect();
        assert_eq!(inserted(&messages), expected, "PostgreSQL {major}");
        let left: i64 = sql
            .query_one("SELECT count(*) FROM pg_stat_replication WHERE pid = $1", &[&stream.backend_pid()])
            .await
            .unwrap()
            .get(0);
        assert_eq!(left, 1, "PostgreSQL {major}");
    }
}

#[tokio::test]
async fn the_idle_position_advances_and_the_slot_with_it() {
    for major in majors() {
        let cluster = Cluster::start(major).unwrap();
        let sql = sql(&cluster).await;
        let (mut stream, from) = stream(&cluster, &sql, StreamLimits::default()).await;
        // Log that holds nothing for us.
        sql.batch_execute("CREATE TEMP TABLE elsewhere AS SELECT 1").await.unwrap();
        let query = "SELECT pg_current_wal_flush_lsn()::text";
        let goal: Lsn = sql.query_one(query, &[]).await.unwrap().get::<_, &str>(0).parse().unwrap();
        assert!(goal > from);
        let start = Instant::now();
        stream.nudge().nudge();
        let mut keepalives = 0;
        loop {
            if let Incoming::Keepalive { wal_end, .. } = next(&mut stream).await {
                keepalives += 1;
                stream.confirm(wal_end);
                if wal_end >= goal {
                    break;
                }
            }
        }
        let most = 3 + start.elapsed().as_millis() / 100;
        assert!(keepalives <= most, "PostgreSQL {major}: {keepalives} keepalives, at most {most} are due");
        let query = "SELECT confirmed_flush_lsn >= $1::text::pg_lsn FROM pg_replication_slots";
        let mut advanced = false;
        while !advanced && start.elapsed() < PATIENCE {
            advanced = sql.query_one(query, &[&goal.to_string()]).await.unwrap().get(0);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(advanced, "PostgreSQL {major}");
    }
}

#[tokio::test]
async fn a_stream_resumes_after_what_was_confirmed() {
    for major in majors() {
        let cluster = Cluster::start(major).unwrap();
        let sql = sql(&cluster).await;
        sql.batch_execute("CREATE TABLE public.t (id int PRIMARY KEY)").await.unwrap();
        let (mut stream, _) = stream(&cluster, &sql, StreamLimits::default()).await;
        for id in 1..=3 {
            sql.batch_execute(&format!("INSERT INTO public.t VALUES ({id})")).await.unwrap();
        }
        let (_, end) = until_commit(&mut stream, 2).await;
        stream.confirm(end);
        stream.confirm(Lsn(1));
        stream.stop(PATIENCE).await.unwrap();
        let confirmed: String =
            sql.query_one("SELECT confirmed_flush_lsn::text FROM pg_replication_slots", &[]).await.unwrap().get(0);
        assert_eq!(confirmed.parse::<Lsn>().unwrap(), end, "PostgreSQL {major}");
        let connection = replicate(&cluster).await;
        let options = options(connection.server_version_num);
        let mut stream = connection.start(&ident("s"), end, &options, StreamLimits::default()).await.unwrap();
        let (messages, _) = until_commit(&mut stream, 1).await;
        assert_eq!(inserted(&messages), ["3"], "PostgreSQL {major}");
        stream.stop(PATIENCE).await.unwrap();
        let mut connection = replicate(&cluster).await;
        connection.drop_slot(&ident("s")).await.unwrap();
        let missing = connection.drop_slot(&ident("s")).await.unwrap_err();
        assert_eq!(missing.sqlstate(), Some("42704"));
        let identity = connection.identify_system().await.unwrap();
        assert!(identity.flushed >= end && identity.database == "postgres" && identity.timeline == 1);
        connection.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_stream_in_the_middle_of_a_large_transaction_stops_within_its_bound() {
    let cluster = Cluster::start(15).unwrap();
    let sql = sql(&cluster).await;
    sql.batch_execute("CREATE TABLE public.t (id int PRIMARY KEY, v text)").await.unwrap();
    let limits = StreamLimits { queue_bytes: 64 * 1024, ..StreamLimits::default() };
    let (mut stream, _) = stream(&cluster, &sql, limits).await;
    sql.batch_execute("INSERT INTO public.t SELECT i, repeat('y', 500) FROM generate_series(1, 100000) i")
        .await
        .unwrap();
    while !matches!(next(&mut stream).await, Incoming::XLogData { .. }) {}
    let start = Instant::now();
    // Ended in time or given up in time: both keep the bound.
    let _ = stream.stop(Duration::from_secs(3)).await;
    assert!(start.elapsed() < Duration::from_secs(4));
}

/// The reader waits for room in the middle of a piece when it is told to stop.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_nobody_reads_ends_politely() {
    let cluster = Cluster::start(15).unwrap();
    let sql = sql(&cluster).await;
    sql.batch_execute("CREATE TABLE public.t (id int PRIMARY KEY)").await.unwrap();
    let limits = StreamLimits { queue_bytes: 64 * 1024, ..StreamLimits::default() };
    let (stream, _) = stream(&cluster, &sql, limits).await;
    sql.batch_execute("SET synchronous_commit = off").await.unwrap();
    sql.batch_execute("DO $$ BEGIN FOR i IN 1..5000 LOOP INSERT INTO public.t VALUES (i); COMMIT; END LOOP; END $$")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    stream.stop(Duration::from_secs(20)).await.unwrap();
}

#[tokio::test]
async fn what_waits_for_the_consumer_is_bounded_in_bytes() {
    let cluster = Cluster::start(15).unwrap();
    let sql = sql(&cluster).await;
    sql.batch_execute("CREATE TABLE public.t (id int PRIMARY KEY, v text)").await.unwrap();
    let limits = StreamLimits { queue_bytes: 1024 * 1024, ..StreamLimits::default() };
    let (mut stream, _) = stream(&cluster, &sql, limits).await;
    sql.batch_execute("INSERT INTO public.t SELECT i, repeat('y', 500) FROM generate_series(1, 20000) i")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Without an await the reader, on the same thread, cannot refill.
    let mut waiting = 0;
    while let Some(incoming) = stream.try_next().unwrap() {
        if let Incoming::XLogData { data, .. } = incoming {
            waiting += data.len();
        }
    }
    // Messages are handed over in pieces, one of which may just not have fitted.
    assert!((512 * 1024..=1024 * 1024).contains(&waiting), "{waiting} bytes");
}
