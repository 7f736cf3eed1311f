//! The way back: what the target takes after the switch goes to the source, and a rollback loses nothing of it, whatever
//! dies meanwhile, with never both ends taking writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pcrd::exec::failpoint;
use tokio::task::JoinSet;
use tokio_postgres::Client;

use crate::hooks::plan_with;
use crate::migration::{Running, Said};
use crate::stage::Stage;
use crate::support::{TestPair, connect_to, rows, run, text, try_connect};

const DDL: &str = "CREATE TABLE items (id serial PRIMARY KEY, n integer NOT NULL, cents integer, kind text NOT NULL DEFAULT 'old', note text);
    INSERT INTO items (n, cents, kind, note) SELECT 0, g * 10, 'kept', repeat('x', g) FROM generate_series(1, 50) AS g; ANALYZE items;
    DO $$ BEGIN CREATE ROLE goes_back LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
    GRANT SET ON PARAMETER session_replication_role TO goes_back; GRANT SELECT, INSERT, UPDATE, DELETE ON items TO goes_back";
/// The role as which changes go back.
pub const ROLE: &str = "DO $$ BEGIN CREATE ROLE goes_back LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
    GRANT SET ON PARAMETER session_replication_role TO goes_back;
    ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO goes_back;
    ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO goes_back";
pub const TABLES: &str = "    - name: items
      columns:
        id: { type: bigint }
        n: { rename: count, type: bigint }
        cents: { rename: price, type: \"numeric(12,2)\", using: cents / 100.0, reverse: \"(price * 100)::int\" }
        kind: { drop: true }
      add_columns:
        - { name: region, type: text, default: \"'eu'\", not_null: true }
";
pub const CUTOVER: &str = "accept: [{ code: DELETES_DATA, address: public.items.kind, reason: test }]\n\
                       cutover: { fence_timeout: 60, reverse: { user: goes_back } }";

/// A write that changes nothing, by the source's names, …
pub const TOUCH_SOURCE: &str = "UPDATE items SET n = n WHERE false";
/// … and by the target's.
pub const TOUCH_TARGET: &str = "UPDATE items SET count = count WHERE false";
/// SQLSTATE of a fence.
pub const CLOSED: Option<&str> = Some("25006");

pub async fn stage(pair: &TestPair, name: &str) -> Stage {
    stage_of(pair, name, "", TABLES, CUTOVER).await
}

pub async fn stage_of(pair: &TestPair, name: &str, more: &str, tables: &str, cutover: &str) -> Stage {
    staged(pair, name, &format!("{DDL}; {more}"), tables, cutover).await
}

/// With a plan that has the way back. `ddl` makes the role too, as [`ROLE`] does.
pub async fn staged(pair: &TestPair, name: &str, ddl: &str, tables: &str, cutover: &str) -> Stage {
    for cluster in [&pair.source, &pair.target] {
        run(&connect_to(cluster, "postgres").await, &format!("CREATE DATABASE \"{name}\"")).await;
    }
    let (source, target) = (connect_to(&pair.source, name).await, connect_to(&pair.target, name).await);
    run(&source, ddl).await;
    let more = format!("  replication_slot: pcrd_{name}\n  lag_threshold_bytes: 33554432");
    let migration = crate::migration::Migration::between(pair, name, tables, &more);
    std::fs::write(migration.dir.path().join("plan.json"), "").unwrap();
    plan_with(&migration, cutover);
    Stage { name: name.to_owned(), source, target, migration }
}

pub fn wait(running: Running) -> Said {
    tokio::task::block_in_place(|| running.finish())
}

#[track_caller]
pub fn assert_code(said: &Said, code: Option<i32>) {
    assert_eq!(said.code, code, "{}\n{}", said.lines.join("\n"), said.stderr);
}

/// Runs a command to its end.
pub fn command(stage: &Stage, args: &[&str], failpoints: &str) -> Said {
    wait(stage.migration.start(args, failpoints))
}

#[track_caller]
pub fn assert_refused(said: &Said, why: &str) {
    assert_code(said, Some(1));
    assert!(said.stderr.contains(why), "{}", said.stderr);
}

/// Through the cutover, until the executor is asked to stop; the way back stays open.
pub fn left_open(stage: &Stage) {
    let running = switched(stage);
    assert_code(&tokio::task::block_in_place(|| running.interrupt()), Some(6));
}

/// Through the cutover; changes go back from here on.
pub fn switched(stage: &Stage) -> Running {
    let mut running = stage.start_through("");
    tokio::task::block_in_place(|| running.wait_for("changes of the target go back"));
    running
}

/// SQLSTATE of a write, if it is refused.
pub async fn refusal(client: &Client, sql: &str) -> Option<String> {
    let error = client.batch_execute(sql).await.err()?;
    Some(error.code().unwrap().code().to_owned())
}

/// The source takes writes and the target does not.
pub async fn assert_rolled_back(stage: &Stage) {
    assert_eq!(
        refusal(&stage.target, "UPDATE items SET count = count").await.as_deref(),
        Some("25006"),
        "{}",
        stage.name
    );
    assert_eq!(refusal(&stage.source, "INSERT INTO items (n, cents) VALUES (-1, 1)").await, None, "{}", stage.name);
    run(&stage.source, "DELETE FROM items WHERE n = -1").await;
    let columns = "id, n, (cents / 100.0)::numeric(12,2), note";
    stage.assert_equal(&format!("SELECT {columns} FROM items"), "SELECT id, count, price, note FROM items").await;
}

/// What a client was told is written: the rows that it added, and how often it counted up one of the first rows.
#[derive(Debug, Default)]
struct Acknowledged {
    added: Vec<i64>,
    counted: u64,
    attempts: u64,
}

/// Writes to whichever end takes it.
async fn client(ends: [String; 2], number: i64, stop: Arc<AtomicBool>) -> Acknowledged {
    let mut acknowledged = Acknowledged::default();
    let mut clients: Vec<Option<Client>> = vec![None, None];
    // Downwards: no sequence meets what is written behind its back.
    let mut next = number * 1_000_000 + 999_999;
    while !stop.load(Ordering::Relaxed) {
        for (end, conninfo) in ends.iter().enumerate() {
            if clients[end].is_none() {
                let (client, connection) = tokio_postgres::connect(conninfo, tokio_postgres::NoTls).await.unwrap();
                tokio::spawn(connection);
                clients[end] = Some(client);
            }
            let (count, price) = [("n", "cents"), ("count", "price")][end];
            let client = clients[end].as_ref().unwrap();
            next -= 1;
            let add = format!("INSERT INTO items (id, {count}, {price}, note) VALUES ({next}, 0, 7, 'added')");
            if client.batch_execute(&add).await.is_ok() {
                acknowledged.added.push(next);
            }
            acknowledged.attempts += 1;
            if client
                .batch_execute(&format!("UPDATE items SET {count} = {count} + 1 WHERE id = {number}"))
                .await
                .is_ok()
            {
                acknowledged.counted += 1;
            }
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_under_load_loses_and_doubles_nothing() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "load").await;
    let running = switched(&stage);
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    let end = |port: u16| format!("host=127.0.0.1 port={port} user=postgres dbname=load");
    let ends = [end(pair.source.port()), end(pair.target.port())];
    for number in 1..=3 {
        let (ends, stop) = (ends.clone(), Arc::clone(&stop));
        clients.spawn(async move { (number, client(ends, number, stop).await) });
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    run(&stage.target, "DELETE FROM items WHERE id = 50; UPDATE items SET id = 777, region = 'us' WHERE id = 49").await;
    tokio::task::block_in_place(|| stage.migration.ok(&["rollback", "--yes"]));
    assert_code(&wait(running), Some(0));
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = clients.join_next().await {
        let (number, said) = ended.unwrap();
        let range = format!("id BETWEEN {} AND {}", number * 1_000_000, number * 1_000_000 + 999_999);
        let found = rows(&stage.source, &format!("SELECT id FROM items WHERE {range} ORDER BY id DESC")).await;
        let found: Vec<i64> = found.into_iter().map(|row| row[0].as_ref().unwrap().parse().unwrap()).collect();
        assert_eq!(found, said.added, "client {number}");
        let counted: u64 =
            text(&stage.source, &format!("SELECT n FROM items WHERE id = {number}")).await.parse().unwrap();
        assert_eq!(counted, said.counted, "client {number}: nothing is lost, nothing comes twice");
        assert!(said.added.len() > 50, "client {number} wrote {}", said.added.len());
    }
    assert_eq!(refusal(&stage.target, "UPDATE items SET count = 1").await.as_deref(), Some("25006"));
    // Dropped columns keep what they were, and new rows have the default; sequences are past everything.
    let kinds =
        text(&stage.source, "SELECT string_agg(DISTINCT kind, ' ' ORDER BY kind) FROM items WHERE id < 1000").await;
    assert_eq!(kinds, "kept");
    assert_eq!(text(&stage.source, "SELECT kind FROM items WHERE id > 1000000 LIMIT 1").await, "old");
    assert_eq!(text(&stage.source, "SELECT count(*) FROM items WHERE id IN (49, 50)").await, "0");
    assert_eq!(text(&stage.source, "SELECT cents FROM items WHERE id = 777").await, "490");
    assert_eq!(refusal(&stage.source, "INSERT INTO items (n) VALUES (1)").await, None);
    let said = stage.migration.run(&["rollback", "--yes"]);
    assert!(String::from_utf8_lossy(&said.stderr).contains("it is rolled back"), "{said:?}");
    stage.migration.ok(&["cleanup", "--yes"]);
    assert_eq!(text(&stage.target, "SELECT count(*) FROM pg_replication_slots").await, "0");
    assert_eq!(text(&stage.source, "SELECT count(*) FROM pg_replication_slots").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_too_large_closes_the_way_back_and_not_the_target() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "large").await;
    let running = switched(&stage);
    run(&stage.target, "INSERT INTO items (id, count, price) VALUES (100, 1, 1)").await;
    stage.until_source("SELECT count(*) = 1 FROM items WHERE id = 100").await;
    run(&stage.target, "INSERT INTO items (id, count, price) VALUES (101, 3000000000, 1)").await;
    let said = wait(running);
    assert_code(&said, Some(1));
    assert!(said.stderr.contains("the way back is closed, and the target goes on"), "{}", said.stderr);
    assert!(said.stderr.contains("the source refuses insert on public.items"), "{}", said.stderr);
    assert!(said.stderr.contains("pcrd finalize"), "{}", said.stderr);
    assert_eq!(refusal(&stage.target, "INSERT INTO items (id, count, price) VALUES (102, 1, 1)").await, None);
    assert_eq!(
        text(&stage.source, "SELECT count(*) FROM items WHERE id >= 100").await,
        "1",
        "up to the row, and no further"
    );
    assert!(stage.migration.ok(&["status"]).contains("way back  CLOSED"));
    let said = stage.migration.run(&["rollback", "--yes"]);
    assert!(String::from_utf8_lossy(&said.stderr).contains("the way back is closed"), "{said:?}");
    assert_eq!(text(&stage.target, "SELECT count(*) FROM pg_replication_slots").await, "0", "no log is kept for it");
    stage.migration.ok(&["finalize", "--yes"]);
    assert_eq!(refusal(&stage.source, "DELETE FROM items").await.as_deref(), Some("25006"), "the source stays fenced");
    stage.migration.ok(&["cleanup", "--yes"]);
}

/// A table that has no way back, which somebody accepted.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_row_of_a_table_without_a_way_back_closes_it() {
    let pair = TestPair::start(15, 17);
    let more = "CREATE TABLE notes (id integer PRIMARY KEY, t text); GRANT SELECT, INSERT, UPDATE, DELETE ON notes TO goes_back";
    let tables = format!("{TABLES}    - {{ name: notes, columns: {{ t: {{ using: lower(t) }} }} }}\n");
    let accepted = "accept: [{ code: IRREVERSIBLE, address: public.notes.t, reason: test }, ";
    let stage = stage_of(&pair, "oneway", more, &tables, &CUTOVER.replace("accept: [", accepted)).await;
    let running = switched(&stage);
    run(&stage.target, "UPDATE items SET count = 1").await;
    stage.until_source("SELECT bool_and(n = 1) FROM items").await;
    run(&stage.target, "INSERT INTO notes VALUES (1, 'x')").await;
    let said = wait(running);
    assert_code(&said, Some(1));
    assert!(said.stderr.contains("a row of public.notes was written, which has no way back"), "{}", said.stderr);
    assert_eq!(refusal(&stage.target, "INSERT INTO notes VALUES (2, 'x')").await, None);
}

/// What is wrong with the role or the target is told before writes stop.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_is_not_alone_is_refused_before_the_fence() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "alone").await;
    for (harm, mend, said) in [
        (
            "REVOKE DELETE ON items FROM goes_back",
            "GRANT DELETE ON items TO goes_back",
            "may not write to the source's tables",
        ),
        ("CREATE ROLE app; GRANT goes_back TO app", "REVOKE goes_back FROM app", "it must stand alone"),
        ("CREATE TABLE own (); ALTER TABLE own OWNER TO goes_back", "DROP TABLE own", "must be nobody else's"),
        (
            "REVOKE SET ON PARAMETER session_replication_role FROM goes_back",
            "GRANT SET ON PARAMETER session_replication_role TO goes_back",
            "may not set session_replication_role on the source: GRANT SET ON PARAMETER",
        ),
        ("ALTER ROLE goes_back NOLOGIN", "ALTER ROLE goes_back LOGIN", "may not log in"),
    ] {
        run(&stage.source, harm).await;
        let refused = wait(stage.start_through(""));
        assert_code(&refused, Some(1));
        assert!(refused.stderr.contains(said), "{harm}: {}", refused.stderr);
        assert_eq!(refusal(&stage.source, "UPDATE items SET n = n").await, None, "the source is open");
        run(&stage.source, mend).await;
    }
    let running = switched(&stage);
    assert_code(&tokio::task::block_in_place(|| running.interrupt()), Some(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn finalize_ends_the_way_back() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "ends").await;
    let running = switched(&stage);
    tokio::task::block_in_place(|| stage.migration.ok(&["finalize", "--yes"]));
    assert_code(&wait(running), Some(0));
    assert_eq!(refusal(&stage.source, "DELETE FROM items").await.as_deref(), Some("25006"));
    assert_eq!(refusal(&stage.target, "INSERT INTO items (id, count) VALUES (200, 1)").await, None);
    assert_eq!(text(&stage.target, "SELECT count(*) FROM pg_replication_slots").await, "0");
    stage.migration.ok(&["cleanup", "--yes"]);
}

/// What comes back to the source does not go to the target again, and what came from it does not come back.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_round() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "round").await;
    let running = switched(&stage);
    run(&stage.target, "UPDATE items SET count = count + 1").await;
    stage.until_source("SELECT bool_and(n = 1) FROM items").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(text(&stage.target, "SELECT bool_and(count = 1) FROM items").await, "t");
    assert_eq!(text(&stage.source, "SELECT bool_and(n = 1) FROM items").await, "t");
    // Killed, what was written meanwhile waits in the slot for the next executor, and comes once.
    tokio::task::block_in_place(|| running.kill());
    run(&stage.target, "UPDATE items SET count = count + 1").await;
    let said = stage.migration.run(&["cleanup", "--yes"]);
    assert!(String::from_utf8_lossy(&said.stderr).contains("pcrd finalize"), "{said:?}");
    let mut running = stage.start("");
    tokio::task::block_in_place(|| running.wait_for("changes of the target go back"));
    stage.until_source("SELECT bool_and(n = 2) FROM items").await;
    // The only one that passes the fence.
    let as_role =
        "SET SESSION AUTHORIZATION goes_back; UPDATE items SET note = note WHERE false; RESET SESSION AUTHORIZATION";
    assert_eq!(refusal(&stage.source, as_role).await, None);
    let by_set_role = "SET ROLE goes_back; UPDATE items SET note = note WHERE false";
    assert_eq!(refusal(&stage.source, by_set_role).await.as_deref(), Some("25006"));
    run(&stage.source, "RESET ROLE").await;
    assert_code(&tokio::task::block_in_place(|| running.interrupt()), Some(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_each_arrow() {
    let pair = TestPair::start(15, 17);
    for point in failpoint::ALL.iter().filter(|point| point.starts_with("back.")) {
        // Where the way back is closed or ended: in the tests above; where a cutover is given up: in `way_back_given_up`; where
        // clients are held: in `way_back_pgbouncer`.
        let elsewhere =
            ["back.closed", "back.finalized", "back.disarmed-slot", "back.after-pause", "back.finalized-open"];
        if elsewhere.contains(point) {
            continue;
        }
        let name = point.replace(['.', '-'], "_");
        let stage = stage(&pair, &name).await;
        let kill = format!("{point}=return(kill)");
        let before_the_switch = ["back.prepared", "back.advanced", "back.probed"].contains(point);
        if before_the_switch {
            assert_code(&wait(stage.start_through(&kill)), None);
        }
        let running = switched(&stage);
        assert_code(&tokio::task::block_in_place(|| running.interrupt()), Some(6));
        run(
            &stage.target,
            "INSERT INTO items (id, count, price) VALUES (100, 1, 1); UPDATE items SET count = 5 WHERE id < 20",
        )
        .await;
        if !before_the_switch {
            let said = wait(stage.migration.start(&["rollback", "--yes"], &kill));
            assert_code(&said, None);
            let source_open = refusal(&stage.source, "UPDATE items SET n = n WHERE false").await.is_none();
            let target_open = refusal(&stage.target, "UPDATE items SET count = count WHERE false").await.is_none();
            assert!(!(source_open && target_open), "{point}: both ends take writes");
        }
        let said = wait(stage.migration.start(&["rollback", "--yes"], ""));
        assert_code(&said, Some(0));
        assert_rolled_back(&stage).await;
        stage.migration.ok(&["cleanup", "--yes"]);
        println!("{point}");
    }
    drop(try_connect(&pair.source.conninfo("postgres")).await.unwrap());
}
