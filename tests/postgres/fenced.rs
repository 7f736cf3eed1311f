//! Writers that try to get around the fence, and those that were there before it.

use tokio_postgres::Client;

use crate::phase::{Phase, change_in};
use crate::stage::Stage;
use crate::support::{TestPair, connect, connect_to, run, sorted_copy, text};

/// `boxes` and `journal` are not migrated: what is done to them reaches `items` all the same.
const DDL: &str = "CREATE TABLE boxes (id integer PRIMARY KEY);
    INSERT INTO boxes SELECT generate_series(1, 20);
    CREATE TABLE items (id integer PRIMARY KEY, n integer NOT NULL, box integer REFERENCES boxes ON DELETE CASCADE ON UPDATE CASCADE);
    INSERT INTO items SELECT g, 0, 1 + g % 20 FROM generate_series(1, 400) g;
    CREATE TABLE journal (t text);
    CREATE FUNCTION follow() RETURNS trigger LANGUAGE plpgsql AS
      'BEGIN UPDATE public.items SET n = n + 1 WHERE id = 7; RETURN NEW; END';
    CREATE TRIGGER follow AFTER INSERT ON journal FOR EACH ROW EXECUTE FUNCTION follow();
    ALTER TABLE journal ENABLE ALWAYS TRIGGER follow;
    CREATE TABLE ruled (id integer);
    CREATE RULE ruled AS ON INSERT TO ruled DO INSTEAD DELETE FROM items WHERE id = NEW.id;
    CREATE VIEW seen AS SELECT id, n, box FROM items;
    CREATE FUNCTION as_owner() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'DELETE FROM public.items WHERE id = 9';
    CREATE ROLE other; GRANT ALL ON items TO other;
    CREATE ROLE low LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON items TO low; GRANT other TO low;
    GRANT INSERT ON journal TO low; GRANT SELECT ON boxes TO low;
    ANALYZE";
const TABLES: &str = "    - { name: items, columns: { id: { type: bigint } } }\n";
const ROWS: &str = "SELECT id::bigint, n, box FROM items";
const READY: &str = "\"type\":\"gate\",\"ready\":true";

/// By the superuser, who owns the table.
const ATTEMPTS: &[&str] = &[
    "INSERT INTO items VALUES (5001, 0, 1)",
    "UPDATE items SET n = 1 WHERE id = 1",
    "DELETE FROM items WHERE id = 2",
    "TRUNCATE items",
    "UPDATE items SET n = 1 WHERE false",
    "INSERT INTO items VALUES (1, 0, 1) ON CONFLICT (id) DO UPDATE SET n = 5",
    "MERGE INTO items USING (VALUES (1)) AS v (id) ON items.id = v.id WHEN MATCHED THEN UPDATE SET n = 6",
    "WITH gone AS (DELETE FROM items WHERE id = 3 RETURNING *) SELECT count(*) FROM gone",
    "COPY items FROM PROGRAM 'echo 8001,1,1' WITH (FORMAT csv)",
    "SET session_replication_role = replica; UPDATE items SET n = 2 WHERE id = 1",
    "SET session_replication_role = local; UPDATE items SET n = 2 WHERE id = 1",
    "SET default_transaction_read_only = off; SET transaction_read_only = off; DELETE FROM items",
    "SET ROLE other; DELETE FROM items WHERE id = 4",
    "SET SESSION AUTHORIZATION low; UPDATE items SET n = 3",
    "INSERT INTO seen VALUES (5002, 0, 1)",
    "UPDATE seen SET n = 8 WHERE id = 8",
    "INSERT INTO ruled VALUES (5)",
    "SELECT as_owner()",
    "INSERT INTO journal VALUES ('follow')",
    "SET session_replication_role = replica; INSERT INTO journal VALUES ('follow')",
    "DELETE FROM boxes WHERE id = 4",
    "UPDATE boxes SET id = 1000 WHERE id = 5",
    "DO $$ BEGIN BEGIN UPDATE items SET n = 99; EXCEPTION WHEN OTHERS THEN NULL; END; INSERT INTO items VALUES (5003, 0, 1); END $$",
    "BEGIN; DECLARE c CURSOR FOR SELECT FROM items FOR UPDATE; FETCH c; DELETE FROM items WHERE CURRENT OF c; COMMIT",
    "BEGIN; SAVEPOINT s; UPDATE items SET n = 4; COMMIT",
    "BEGIN ISOLATION LEVEL SERIALIZABLE; UPDATE items SET n = 4; COMMIT",
    "CREATE TEMPORARY TABLE t (id integer); CREATE TRIGGER t AFTER INSERT ON t EXECUTE FUNCTION follow(); INSERT INTO t VALUES (1)",
];
/// By a role that may write and nothing else.
const BY_LOW: &[&str] = &[
    "INSERT INTO items VALUES (5001, 0, 1)",
    "SET ROLE other; DELETE FROM items WHERE id = 4",
    "SELECT as_owner()",
    "INSERT INTO journal VALUES ('follow')",
];

const AS_BEFORE: &str = "ROLLBACK; RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; DROP TABLE IF EXISTS pg_temp.t";

/// Fails unless the fence refuses it, by its code and with the name of the migration.
async fn assert_refused(client: &Client, attempt: &str) {
    let Err(error) = client.batch_execute(attempt).await else { panic!("it passed the fence: {attempt}") };
    let said = error.as_db_error().unwrap_or_else(|| panic!("{attempt}: {error}"));
    assert_eq!(said.code().code(), "25006", "{attempt}: {said}");
    assert!(said.detail().is_some_and(|detail| detail.starts_with("pcrd migration ")), "{attempt}: {said:?}");
    run(client, AS_BEFORE).await;
}

/// Every attempt, in sessions that were there before the fence and in new ones; changes nothing.
async fn assert_closed(pair: &TestPair, stage: &Stage, before: (&Client, &Client)) {
    let rows = sorted_copy(&stage.source, ROWS).await;
    let new = (connect_to(&pair.source, &stage.name).await, connect(&low(pair, stage)).await);
    for (owner, low) in [before, (&new.0, &new.1)] {
        for attempt in ATTEMPTS {
            assert_refused(owner, attempt).await;
        }
        for attempt in BY_LOW {
            assert_refused(low, attempt).await;
        }
        // Of its own: the driver ends a connection whose COPY is refused half-way.
        let copier = connect(&self::low(pair, stage)).await;
        let sink = copier.copy_in::<_, bytes::Bytes>("COPY items FROM STDIN").await;
        let refused = match sink {
            Err(error) => error,
            Ok(sink) => {
                use futures_util::SinkExt;
                let mut sink = std::pin::pin!(sink);
                // Whether the server refuses it here or at the end is the server's matter.
                let _early = sink.send(bytes::Bytes::from_static(b"8002\t1\t1\n")).await;
                sink.finish().await.unwrap_err()
            }
        };
        assert_eq!(refused.code().unwrap().code(), "25006", "COPY by a role: {refused}");
    }
    assert!(rows == sorted_copy(&stage.source, ROWS).await, "the source changed behind the fence");
}

fn low(pair: &TestPair, stage: &Stage) -> pcrd::pg::conninfo::Conninfo {
    let mut low = pair.source.conninfo(&stage.name);
    "low".clone_into(&mut low.user);
    low
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_around_it() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "fenced", DDL, TABLES, "").await;
    let (owner, low) = (connect_to(&pair.source, "fenced").await, connect(&low(&pair, &stage)).await);
    // Each of them passes as long as there is no fence: what is refused later is refused by the fence.
    for attempt in ATTEMPTS {
        run(&owner, attempt).await;
        run(&owner, AS_BEFORE).await;
        run(&owner, "TRUNCATE items, boxes; INSERT INTO boxes SELECT generate_series(1, 20)").await;
        run(&owner, "INSERT INTO items SELECT g, 0, 1 + g % 20 FROM generate_series(1, 400) g").await;
    }
    let said = change_in(Phase::Fenced, &pair, &stage, async {
        assert_closed(&pair, &stage, (&owner, &low)).await;
    })
    .await;
    said.assert_switched();
    assert_closed(&pair, &stage, (&owner, &low)).await;
    stage.assert_equal(ROWS, "SELECT id, n, box FROM items").await;
}

/// A statement that was planned, and a snapshot that was taken, before the fence.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_before_it_does_not_pass_either() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "begun", DDL, TABLES, "").await;
    let (planned, old) = (connect_to(&pair.source, "begun").await, connect_to(&pair.source, "begun").await);
    let update = planned.prepare("UPDATE items SET n = n + 1 WHERE id = $1").await.unwrap();
    for _ in 0..10 {
        assert_eq!(planned.execute(&update, &[&11]).await.unwrap(), 1);
    }
    run(&old, "BEGIN ISOLATION LEVEL REPEATABLE READ").await;
    assert_eq!(text(&old, "SELECT count(*) FROM items").await, "400");
    let said = change_in(Phase::Fenced, &pair, &stage, async {
        let refused = planned.execute(&update, &[&11]).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "25006", "{refused}");
        let refused = old.batch_execute("UPDATE items SET n = 1 WHERE id = 12").await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "25006", "{refused}");
    })
    .await;
    said.assert_switched();
    stage.assert_equal(ROWS, "SELECT id, n, box FROM items").await;
}

/// Writes of transactions that were open when the cutover began: it waits for them, and the target has them.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_is_waited_for() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "open", DDL, TABLES, "").await;
    let mut running = stage.start("");
    tokio::task::block_in_place(|| running.wait_for(READY));
    let (one, other) = (connect_to(&pair.source, "open").await, connect_to(&pair.source, "open").await);
    run(&one, "BEGIN; INSERT INTO items VALUES (5001, 1, 1); UPDATE items SET n = 5 WHERE id = 5").await;
    run(&other, "BEGIN; DELETE FROM items WHERE id = 6; SAVEPOINT s; INSERT INTO items VALUES (5002, 2, 2)").await;
    let asked = stage.migration.start(&["cutover", "--yes"], "");
    tokio::task::block_in_place(|| running.wait_for("the fence waits for"));
    run(&one, "INSERT INTO items VALUES (5003, 3, 3); COMMIT").await;
    run(&other, "ROLLBACK TO s; UPDATE items SET n = 7 WHERE id = 7; COMMIT").await;
    let asked = tokio::task::block_in_place(|| asked.finish());
    assert_eq!(asked.code, Some(0), "{}\n{}", asked.lines.join("\n"), asked.stderr);
    tokio::task::block_in_place(|| running.finish()).assert_switched();
    let there = "SELECT string_agg(id || ':' || n, ' ' ORDER BY id) FROM items WHERE id IN (5, 6, 7, 5001, 5002, 5003)";
    assert_eq!(text(&stage.target, there).await, "5:5 7:7 5001:1 5003:3");
    stage.assert_equal(ROWS, "SELECT id, n, box FROM items").await;
}

/// Nobody can wait for the end of a prepared transaction that nobody remembers.
#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_transaction_is_named_and_the_source_stays_open() {
    let settings = [("fsync", "off"), ("deadlock_timeout", "40ms")];
    let pair = TestPair::start_with(15, 15, &settings);
    let stage = Stage::new(&pair, "prepared", DDL, TABLES, "").await;
    let mut running = stage.start("");
    tokio::task::block_in_place(|| running.wait_for(READY));
    run(
        &stage.source,
        "BEGIN; INSERT INTO items VALUES (5001, 1, 1); UPDATE items SET n = 5 WHERE id = 5; \
         PREPARE TRANSACTION 'left ''behind'",
    )
    .await;
    let refused = tokio::task::block_in_place(|| stage.migration.start(&["cutover", "--yes"], "").finish());
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    let said = refused.stderr.replace('│', " ").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("prepared transaction 'left ''behind' (RowExclusiveLock on public.items)"), "{said}");
    assert!(said.contains("the source is open again"), "{said}");
    run(&stage.source, "INSERT INTO items VALUES (5002, 2, 2)").await;
    assert_eq!(text(&stage.source, "SELECT count(*) FROM pg_trigger WHERE tgname = 'pcrd_fence'").await, "0");
    run(&stage.source, "COMMIT PREPARED 'left ''behind'").await;
    tokio::task::block_in_place(|| stage.migration.ok(&["cutover", "--yes"]));
    tokio::task::block_in_place(|| running.finish()).assert_switched();
    assert_eq!(text(&stage.target, "SELECT count(*) FROM items WHERE id IN (5001, 5002)").await, "2");
    stage.assert_equal(ROWS, "SELECT id, n, box FROM items").await;
}

/// A server that the source could be fed from.
async fn upstream(pair: &TestPair) -> Client {
    run(&connect_to(&pair.target, "postgres").await, "CREATE DATABASE upstream").await;
    let upstream = connect_to(&pair.target, "upstream").await;
    run(
        &upstream,
        "CREATE TABLE items (id integer PRIMARY KEY, n integer NOT NULL, box integer); CREATE PUBLICATION p FOR TABLE items",
    )
    .await;
    upstream
}

/// The slot is made before: making one waits for transactions that the phase holds open.
async fn subscribe(pair: &TestPair, stage: &Stage) {
    let subscribe = format!(
        "CREATE SUBSCRIPTION fed CONNECTION 'host=127.0.0.1 port={} user=postgres dbname=upstream' PUBLICATION p \
         WITH (copy_data = false, create_slot = false)",
        pair.target.port()
    );
    run(&stage.source, &subscribe).await;
}

const SLOT: &str = "SELECT pg_create_logical_replication_slot('fed', 'pgoutput')";

/// The worker of a subscription fires no statement trigger. Whenever one comes, the cutover does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_is_refused_whenever_it_comes() {
    let pair = TestPair::start(15, 15);
    let upstream = upstream(&pair).await;
    let stage = Stage::new(&pair, "fed", DDL, TABLES, "").await;
    run(&upstream, SLOT).await;
    subscribe(&pair, &stage).await;
    let said = stage.cut_over();
    assert_eq!(said.code, Some(4), "{}", said.stderr);
    assert!(said.stderr.contains("subscribed was nothing, is true"), "{}", said.stderr);
    run(&stage.source, "DROP SUBSCRIPTION fed").await;

    let mut running = stage.start("");
    tokio::task::block_in_place(|| running.wait_for(READY));
    run(&upstream, SLOT).await;
    subscribe(&pair, &stage).await;
    run(&upstream, "INSERT INTO items VALUES (6001, 1, 1)").await;
    stage.until_source("SELECT count(*) = 1 FROM items WHERE id = 6001").await;
    let refused = tokio::task::block_in_place(|| stage.migration.start(&["cutover", "--yes"], "").finish());
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    let words = refused.stderr.replace('│', " ").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("a subscription writes public.items") && words.contains("source is open again"), "{words}");
    run(&stage.source, "DROP SUBSCRIPTION fed").await;
    tokio::task::block_in_place(|| running.interrupt());

    // Behind the fence, where its worker writes what nobody would look at any more.
    run(&upstream, SLOT).await;
    let said = change_in(Phase::Fenced, &pair, &stage, async {
        subscribe(&pair, &stage).await;
        run(&upstream, "INSERT INTO items VALUES (6002, 2, 2)").await;
        stage.until_source("SELECT count(*) = 1 FROM items WHERE id = 6002").await;
    })
    .await;
    assert_eq!(said.code, Some(1), "{}\n{}", said.lines.join("\n"), said.stderr);
    assert!(said.stderr.contains("subscription"), "{}", said.stderr);
    run(&stage.source, "DROP SUBSCRIPTION fed").await;
    run(&stage.source, "INSERT INTO items VALUES (6003, 3, 3)").await;
    stage.cut_over().assert_switched();
    assert_eq!(text(&stage.target, "SELECT count(*) FROM items WHERE id > 6000").await, "3");
    stage.assert_equal(ROWS, "SELECT id, n, box FROM items").await;
}

/// A renewal that was sent before the decision and arrives behind it must not give the fence an end.
#[tokio::test(flavor = "multi_thread")]
async fn a_permanent_fence_is_not_renewed() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "renewed", DDL, TABLES, "").await;
    assert_eq!(stage.cut_over().code, Some(0));
    let file = std::fs::read_to_string(stage.migration.dir.path().join("plan.json")).unwrap();
    let plan = pcrd::plan::read(&file).unwrap().plan;
    let ends = [&pair.source, &pair.target].map(|cluster| cluster.conninfo("renewed"));
    let (events, _events) = tokio::sync::mpsc::unbounded_channel();
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let [source, target] = ends.clone();
    let mut executor = pcrd::exec::context::Run::new(plan, source, target, events, stopped);
    executor.epoch = text(&stage.source, "SELECT epoch FROM pcrd.fence").await.parse().unwrap();
    let session = pcrd::pg::client::connect(&ends[0], "pcrd/lease").await.unwrap();
    assert!(!pcrd::exec::fence::renew(&executor, &session).await.unwrap(), "it has no end to put off");
    assert_eq!(text(&stage.source, "SELECT until = 'infinity' FROM pcrd.fence").await, "t");
}

/// Whatever the clock does then.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_has_ended_does_not_come_back() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "ended", DDL, TABLES, "").await;
    // Whoever reads the table keeps the trigger on it.
    let reader = connect_to(&pair.source, "ended").await;
    let running = stage.start_through("cutover.after-verified=sleep(1500);cutover.after-sequences=return(error)");
    stage.until_target("SELECT state = 'verified_final' FROM pcrd.cutover").await;
    run(&reader, "BEGIN; SELECT count(*) FROM items").await;
    stage.until_source("SELECT until = '-infinity' FROM pcrd.fence").await;
    assert_eq!(text(&stage.source, "UPDATE items SET n = n + 1 WHERE id = 1 RETURNING 'passes'").await, "passes");
    // The reader is no reason to hide why the cutover was given up, nor to call the source closed.
    let said = tokio::task::block_in_place(|| running.finish());
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    let words = said.stderr.replace('│', " ").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("the source is open again") && words.contains("cutover.after-sequences"), "{words}");
    let noted = "the source takes writes; its fence's triggers are still there";
    assert!(said.lines.iter().any(|line| line.contains(noted)), "{}", said.lines.join("\n"));
    // Neither the next attempt nor the one after the reader has gone meets what was left.
    let said = stage.cut_over();
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    assert!(said.stderr.contains("open again"), "{}", said.stderr);
    run(&reader, "ROLLBACK").await;
    stage.cut_over().assert_switched();
    stage.assert_equal(ROWS, "SELECT id, n, box FROM items").await;
}

/// As loaders do (pg_dump --disable-triggers): the rows come behind the last that is looked at.
#[tokio::test(flavor = "multi_thread")]
async fn triggers_that_were_off_behind_it_end_the_cutover() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "loaded", DDL, TABLES, "").await;
    let loads = [
        "BEGIN; ALTER TABLE items DISABLE TRIGGER ALL; UPDATE items SET n = 68 WHERE id = 8; \
         ALTER TABLE items ENABLE TRIGGER ALL; COMMIT",
        "ALTER TABLE items DISABLE TRIGGER pcrd_fence; UPDATE items SET n = 69 WHERE id = 9; \
         ALTER TABLE items ENABLE ALWAYS TRIGGER pcrd_fence",
        "ALTER TABLE items ENABLE REPLICA TRIGGER pcrd_fence; UPDATE items SET n = 70 WHERE id = 10",
        "DROP TRIGGER pcrd_fence ON items; UPDATE items SET n = 71 WHERE id = 11",
    ];
    for load in loads {
        let said = change_in(Phase::Fenced, &pair, &stage, run(&stage.source, load)).await;
        assert_eq!(said.code, Some(1), "{load}: {}\n{}", said.lines.join("\n"), said.stderr);
        let words = said.stderr.replace('│', " ").split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("behind the fence") || words.contains("lost its trigger"), "{load}: {words}");
        assert!(words.contains("the source is open again"), "{load}: {words}");
    }
    stage.cut_over().assert_switched();
    stage.assert_equal(ROWS, "SELECT id, n, box FROM items").await;
    let loaded = "SELECT count(*) FROM items WHERE n BETWEEN 68 AND 71";
    assert_eq!(text(&stage.target, loaded).await, "4");
}
