//! What earlier tools of this kind lost, corrupted or silently left out: each case of docs/defects.md that is not the
//! subject of another file.

use std::time::{Duration, Instant};

use crate::migration::{Migration, Said};
use crate::stage::Stage;
use crate::support::{TestPair, connect_to, rows, run, text};

const READY: &str = "\"ready\":true";
const ITEMS: &str = "
    CREATE TABLE items (id integer PRIMARY KEY, n bigint, email text, big text);
    ALTER TABLE items ALTER big SET STORAGE EXTERNAL;
    INSERT INTO items SELECT g, g, 'mail' || g / 2, repeat(md5(g::text), 100) FROM generate_series(1, 400) g; ANALYZE items";
const YAML: &str = "    - { name: items, columns: { id: { type: bigint } } }\n";
const ROW: &str = "SELECT id, n, email, big FROM items";

fn ended(running: crate::migration::Running) -> Said {
    tokio::task::block_in_place(|| running.finish())
}

/// A row that was deleted, or changed without its large value, after its chunk was read and before it was written.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_change_while_their_chunk_is_copied() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "held", ITEMS, YAML, "  batch_size: 100\n  workers: 1\n").await;
    let mut running = stage.start("chunk.after-commit=sleep(150)");
    let holder = stage.hold_chunks(&pair).await;
    stage.until_held().await;
    run(&stage.source, "DELETE FROM items WHERE id % 10 = 0; UPDATE items SET n = 999 WHERE id % 10 = 1").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    run(&holder, "COMMIT").await;
    running.wait_for(READY);
    stage.until_applied().await;
    stage.assert_equal(ROW, ROW).await;
    let changed = "SELECT count(*) FILTER (WHERE n = 999) || ' of ' || count(*) FROM items";
    assert_eq!(text(&stage.target, changed).await, "40 of 360");
    let said = tokio::task::block_in_place(|| running.interrupt());
    assert!(Stage::counter(&said, "gate_waits") > 0, "the stream never met the chunk: {:?}", said.counters());
}

/// `INCLUDE` columns are not of the key: a change of one is no other row.
#[tokio::test(flavor = "multi_thread")]
async fn columns_that_a_key_only_includes() {
    let pair = TestPair::start(15, 15);
    let ddl = "CREATE TABLE items (id integer, x integer, PRIMARY KEY (id) INCLUDE (x));
        INSERT INTO items SELECT g, g FROM generate_series(1, 100) g";
    let stage = Stage::new(&pair, "included", ddl, "    - { name: items, columns: { x: { rename: y } } }\n", "").await;
    let mut running = stage.start("");
    running.wait_for(READY);
    run(
        &stage.source,
        "UPDATE items SET x = -x; DELETE FROM items WHERE id = 7; UPDATE items SET id = 700 WHERE id = 8",
    )
    .await;
    stage.until_applied().await;
    stage.assert_equal("SELECT id, x FROM items", "SELECT id, y FROM items").await;
    let key =
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'items'::regclass AND contype = 'p'";
    assert_eq!(text(&stage.target, key).await, "PRIMARY KEY (id) INCLUDE (y)");
    running.kill();
}

/// Values are what PostgreSQL's own casts make of them, copied and streamed, whatever the databases' settings.
#[tokio::test(flavor = "multi_thread")]
async fn values_are_what_the_casts_of_postgresql_make_of_them() {
    const TYPES: &str = "CREATE TYPE mood AS ENUM ('ok', 'sad'); CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
        CREATE TYPE two AS (a integer, b text);";
    let row = "g, g / 10.0, 'c' || g, '2024-02-01 01:02:03.004'::timestamp + g * interval '1 day', \
         '2024-02-01 23:00:00.5+00'::timestamptz + g * interval '1 hour', '2024-02-01'::date + g, g + 0.00, \
         CASE WHEN g % 2 = 0 THEN 'sad'::mood END, g, ROW(g, E'\\\\N \"é')::two, ARRAY['ok', NULL]::mood[]";
    let columns = "id, f, c, at, tz, d, amount, m, p, pr, moods";
    let ddl = format!(
        "{TYPES} CREATE TABLE vals (id integer PRIMARY KEY, f real, c char(10), at timestamp, tz timestamptz, d date,
           amount numeric(10,2), m mood, p positive, pr two, moods mood[],
           twice integer GENERATED ALWAYS AS (id * 2) STORED, word text DEFAULT 'generated');
         INSERT INTO vals ({columns}) SELECT {row} FROM generate_series(1, 300) g;
         ALTER DATABASE casts SET datestyle = 'SQL, DMY'; ALTER DATABASE casts SET timezone = 'Asia/Tokyo'"
    );
    let on_target = format!("{TYPES} ALTER DATABASE casts SET timezone = 'America/New_York'");
    let yaml = "    - name: vals
      columns: { f: { type: double precision }, c: { type: text }, at: { type: timestamptz }, tz: { type: timestamp },
        d: { type: timestamp }, amount: { type: bigint } }
";
    let pair = TestPair::start(15, 15);
    let stage = Stage::with_target(&pair, "casts", &ddl, &on_target, yaml, "").await;
    let mut running = stage.start("");
    running.wait_for(READY);
    run(&stage.source, &format!("INSERT INTO vals ({columns}) SELECT {row} FROM generate_series(1001, 1300) g")).await;
    run(&stage.source, "UPDATE vals SET f = f / 3, m = 'ok', id = id + 5000 WHERE id % 7 = 0").await;
    assert!(stage.migration.ok(&["verify"]).contains("passed in full"));
    running.kill();
    stage.cut_over().assert_switched();
    let rest = "m, p, pr, moods, twice, word FROM vals";
    let source = format!(
        "SELECT id, f::double precision, c::text, at AT TIME ZONE 'UTC', tz AT TIME ZONE 'UTC', d::timestamp, amount::bigint, {rest}"
    );
    stage.assert_equal(&source, &format!("SELECT id, f, c, at, tz, d, amount, {rest}")).await;
    run(&stage.target, "INSERT INTO vals (id, f) VALUES (90000, 0.1)").await;
    let own = "SELECT word || twice FROM vals WHERE id = 90000";
    assert_eq!(text(&stage.target, own).await, "generated180000");
}

/// Sequences that no column owns, that count down, or that belong to a renamed column of a table with a name of its own.
#[tokio::test(flavor = "multi_thread")]
async fn sequences_go_on_where_they_were() {
    let ddl = "
        CREATE TABLE \"Users\" (id serial PRIMARY KEY, note text);
        CREATE SEQUENCE free INCREMENT 5; CREATE SEQUENCE down INCREMENT -3;
        CREATE TABLE tickets (no integer PRIMARY KEY DEFAULT nextval('free'), d integer DEFAULT nextval('down'),
          v integer GENERATED ALWAYS AS IDENTITY (INCREMENT BY 10 START WITH 7));
        CREATE SEQUENCE two; CREATE TABLE pairs (id integer PRIMARY KEY, low bigint DEFAULT nextval('two'), high bigint DEFAULT nextval('two'));
        INSERT INTO pairs VALUES (1, 70, 9000);
        INSERT INTO \"Users\" (note) SELECT 'n' FROM generate_series(1, 50);
        INSERT INTO tickets SELECT FROM generate_series(1, 50)";
    let yaml = "    - { name: '\"Users\"', columns: { id: { rename: user_id, type: bigint } } }\n    - name: tickets\n    - name: pairs\n";
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "counted", ddl, yaml, "").await;
    let mut running = stage.start("");
    running.wait_for(READY);
    run(&stage.source, "INSERT INTO \"Users\" (note) VALUES ('late'); INSERT INTO tickets DEFAULT VALUES").await;
    running.kill();
    stage.cut_over().assert_switched();
    run(&stage.target, "INSERT INTO \"Users\" (note) SELECT 'new' FROM generate_series(1, 3)").await;
    run(&stage.target, "INSERT INTO tickets SELECT FROM generate_series(1, 3)").await;
    // Two columns use one sequence: the value of neither may come again.
    assert_eq!(text(&stage.target, "SELECT nextval('two') > 9000").await, "t");
    let beyond = "SELECT (SELECT min(user_id) FILTER (WHERE note = 'new') > max(user_id) FILTER (WHERE note <> 'new') FROM \"Users\")";
    assert_eq!(text(&stage.target, beyond).await, "t");
    let newest = rows(&stage.target, "SELECT no, d, v FROM tickets ORDER BY no DESC LIMIT 3").await;
    let last = rows(&stage.source, "SELECT max(no), min(d), max(v) FROM tickets").await.remove(0);
    let number = |value: &Option<String>| value.as_ref().unwrap().parse::<i64>().unwrap();
    let [a, b] = [&newest[0], &newest[2]];
    assert!(number(&b[0]) > number(&last[0]) && number(&b[1]) < number(&last[1]) && number(&b[2]) > number(&last[2]));
    let steps: Vec<i64> = (0..3).map(|n| number(&a[n]) - number(&b[n])).collect();
    assert_eq!(steps, [10, -6, 20], "the steps of the sequences");
    let refused = stage.target.batch_execute("INSERT INTO tickets (v) VALUES (1)").await.unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "428C9", "GENERATED ALWAYS is kept");
}

/// The margin takes nothing from one that is near its end; one that has come to it stays there, or begins anew.
#[tokio::test(flavor = "multi_thread")]
async fn sequences_near_their_end_keep_what_is_left() {
    let ddl = "CREATE SEQUENCE near MAXVALUE 1100; CREATE SEQUENCE down INCREMENT -1 MINVALUE -1100; CREATE SEQUENCE over MAXVALUE 60;
        CREATE SEQUENCE around MAXVALUE 60 CYCLE;
        CREATE TABLE t (id smallserial PRIMARY KEY, a bigint DEFAULT nextval('near'), b bigint DEFAULT nextval('down'),
          c bigint DEFAULT nextval('over'), d bigint DEFAULT nextval('around'));
        SELECT setval('near', 990), setval('down', -990), setval('over', 60), setval('around', 60), setval('t_id_seq', 32767);
        INSERT INTO t VALUES (32767, 990, -990, 60, 60)";
    let pair = TestPair::start(15, 17);
    let stage =
        Stage::new(&pair, "at_the_end", ddl, "    - { name: t, columns: { id: { type: integer } } }\n", "").await;
    stage.cut_over().assert_switched();
    let next =
        "SELECT nextval('near'), nextval('down'), nextval('around'), nextval('t_id_seq') BETWEEN 32768 AND 34000";
    let given = rows(&stage.target, next).await.remove(0);
    let given: Vec<&str> = given.iter().map(|value| value.as_deref().unwrap()).collect();
    assert_eq!(given, ["991", "-991", "1", "t"]);
    for end in [&stage.source, &stage.target] {
        let refused = end.batch_execute("SELECT nextval('over')").await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "2200H");
    }
}

/// Names that agree in their first 60 bytes, a schema that the target lacks, and constraints and indexes of every kind.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_table_has_beside_its_rows() {
    let long = "a_table_whose_name_is_as_long_as_a_name_in_postgresql_may_be_";
    let ddl = format!(
        "CREATE SCHEMA old; CREATE TABLE old.{long}x (id integer PRIMARY KEY, v text);
         CREATE TABLE old.{long}y (id integer PRIMARY KEY, span int4range, v text, EXCLUDE USING gist (span WITH &&));
         CREATE UNIQUE INDEX by_v ON old.{long}y (lower(v)) WHERE length(v) > 2;
         INSERT INTO old.{long}x SELECT g, 'x' || g FROM generate_series(1, 100) g;
         INSERT INTO old.{long}y SELECT g, int4range(g, g + 1), 'y' || g FROM generate_series(1, 100) g"
    );
    let yaml = format!(
        "    - name: old.{long}x\n    - {{ name: old.{long}y, columns: {{ v: {{ rename: word }}, span: {{ rename: covers }} }} }}\n"
    );
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "around", &ddl, &yaml, "").await;
    stage.cut_over().assert_switched();
    for (source, target) in [("x", "SELECT id, v FROM"), ("y", "SELECT id, covers, word FROM")] {
        stage.assert_equal(&format!("TABLE old.{long}{source}"), &format!("{target} old.{long}{source}")).await;
    }
    for (values, code) in [("900, '[5,6)', 'new'", "23P01"), ("901, '[900,901)', 'Y17'", "23505")] {
        let refused =
            stage.target.batch_execute(&format!("INSERT INTO old.{long}y VALUES ({values})")).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), code, "{values}");
    }
}

/// Refused by the plan: nothing is written anywhere.
#[tokio::test(flavor = "multi_thread")]
async fn tables_and_keys_that_would_lose_rows_are_refused() {
    let pair = TestPair::start(15, 15);
    let source = connect_to(&pair.source, "postgres").await;
    run(&connect_to(&pair.target, "postgres").await, "CREATE DATABASE other").await;
    run(
        &source,
        "CREATE TABLE parent (id integer PRIMARY KEY); CREATE TABLE child () INHERITS (parent); INSERT INTO child VALUES (1);
         CREATE TABLE leaves (id integer) PARTITION BY RANGE (id);
         CREATE TABLE cents (id numeric PRIMARY KEY); INSERT INTO cents VALUES (1.1), (1.4), (2)",
    )
    .await;
    for (table, says) in [
        ("{ name: parent }", "a parent of other tables"),
        ("{ name: child }", "a child of another table"),
        ("{ name: leaves }", "a partitioned table"),
        ("{ name: cents, columns: { id: { type: integer } } }", "cents.id: 2 of 3 rows"),
        ("{ name: cents, columns: { id: { type: integer, using: \"round(id)\" } } }", "of 3 rows"),
    ] {
        let migration = Migration::new(&pair, &format!("    - {table}\n"), "");
        let said = migration.run(&["plan", "--out", "plan.json"]);
        let stderr = String::from_utf8_lossy(&said.stderr);
        assert!(matches!(said.status.code(), Some(3 | 64)) && stderr.contains(says), "{table}: {stderr}");
        assert!(!migration.dir.path().join("plan.json").exists(), "{table}");
    }
}

/// An index that an operator made early refuses copied rows; they must not vanish.
#[tokio::test(flavor = "multi_thread")]
async fn a_copied_row_that_somebody_s_index_refuses() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "early", ITEMS, YAML, "").await;
    let running = stage.start("chunk.begin=sleep(2500)");
    stage.until_target("SELECT to_regclass('items') IS NOT NULL").await;
    run(&stage.target, "CREATE UNIQUE INDEX one_mail ON items (email)").await;
    let said = ended(running);
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    assert!(said.stderr.contains("23505") && said.stderr.contains("items"), "{}", said.stderr);
    run(&stage.target, "DROP INDEX one_mail").await;
    stage.cut_over().assert_switched();
    stage.assert_equal(ROW, ROW).await;
}

/// Only the rest of the server is busy: the log that it writes must not be kept for a stream that has nothing to do.
#[tokio::test(flavor = "multi_thread")]
async fn idle_tables_on_a_busy_server() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "idle", ITEMS, YAML, "").await;
    let mut running = stage.start("");
    running.wait_for(READY);
    run(&stage.source, "CREATE TABLE noise AS SELECT repeat(md5(g::text), 30) FROM generate_series(1, 10000) g").await;
    let busy = text(&stage.source, "SELECT pg_current_wal_lsn()").await;
    let kept = "pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)";
    assert_eq!(text(&stage.source, &format!("SELECT {kept} > 5000000 FROM pg_replication_slots")).await, "t");
    stage.until_source(&format!("SELECT confirmed_flush_lsn >= '{busy}' FROM pg_replication_slots")).await;
    let said = stage.migration.start(&["cutover", "--yes", "--timeout", "30"], "");
    assert_eq!(ended(said).code, Some(0));
    ended(running).assert_switched();
}

/// A table that is not there cannot be counted, which is no equality.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_cannot_be_compared_never_passes() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "gone", ITEMS, YAML, "").await;
    let mut running = stage.start("");
    running.wait_for(READY);
    run(&stage.target, "ALTER TABLE items RENAME TO elsewhere").await;
    for args in [&["verify"][..], &["cutover", "--yes"]] {
        let said = ended(stage.migration.start(args, ""));
        let passed = said.lines.join("\n").contains("passed in full");
        assert!(said.code != Some(0) && !passed, "{args:?}: {:?} {}", said.lines, said.stderr);
    }
    let fences = "SELECT count(*) FROM pg_trigger WHERE tgname = 'pcrd_fence'";
    assert_eq!(text(&stage.source, fences).await, "0");
    let said = stage.cut_over();
    assert!(said.code != Some(0), "{:?}", said.lines);
    running.kill();
    run(&stage.source, "UPDATE items SET n = 0").await;
    run(&stage.target, "ALTER TABLE elsewhere RENAME TO items").await;
    stage.cut_over().assert_switched();
    stage.assert_equal(ROW, ROW).await;
    run(&stage.target, "DROP TABLE items").await;
    let said = stage.migration.run(&["verify"]);
    assert!(!said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
}

/// Every connection is lost at once, several times, and then only the one that holds the lock.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_are_lost() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "lost", ITEMS, YAML, "  batch_size: 20\n  max_rows_per_second: 100\n").await;
    let mut running = stage.start("");
    let sessions = "FROM pg_stat_activity WHERE application_name LIKE 'pcrd/%'";
    for round in 1..=3 {
        stage.until_target(&format!("SELECT count(*) >= {round} FROM pcrd.chunk")).await;
        // What was lost came back by itself.
        stage.until_source(&format!("SELECT count(*) > 0 {sessions} AND application_name LIKE '%/stream'")).await;
        let end = format!("SELECT count(pg_terminate_backend(pid)) {sessions}");
        assert_ne!(text(&stage.source, &end).await, "0");
        // Those of the target may have ended by themselves by now.
        run(&stage.target, &end).await;
        let writes = format!("UPDATE items SET n = -{round} WHERE id % 3 = 0; DELETE FROM items WHERE id = {round}");
        run(&stage.source, &writes).await;
    }
    running.wait_for(READY);
    let holder = "SELECT pid FROM pg_locks WHERE locktype = 'advisory'";
    let pid = text(&stage.target, holder).await;
    assert_eq!(text(&stage.target, &format!("SELECT pg_terminate_backend({pid})")).await, "t");
    stage
        .until_target(&format!("SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND pid <> {pid}"))
        .await;
    running.wait_for(READY);
    let second = stage.cut_over();
    assert_eq!(second.code, Some(7), "{}", second.stderr);
    assert_eq!(ended(stage.migration.start(&["cutover", "--yes"], "")).code, Some(0));
    ended(running).assert_switched();
    stage.assert_equal(ROW, ROW).await;
}

/// Longer than any lock may be waited for: the slot waits for what was begun before it, and says for whom.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_open_while_the_slot_is_made() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "open", ITEMS, YAML, "").await;
    let writer = connect_to(&pair.source, "open").await;
    run(&writer, "BEGIN; UPDATE items SET n = 4711 WHERE id = 7").await;
    let pid = text(&writer, "SELECT pg_backend_pid()").await;
    let began = Instant::now();
    let mut running = stage.start("");
    running.wait_for(&format!("pid {pid} (transaction "));
    tokio::time::sleep(Duration::from_secs(8).saturating_sub(began.elapsed())).await;
    assert!(running.child.try_wait().unwrap().is_none(), "it gave up");
    run(&writer, "COMMIT").await;
    running.wait_for(READY);
    stage.until_applied().await;
    stage.assert_equal(ROW, ROW).await;
    running.kill();
}

/// A stream that cannot go on ends the run at once, not when the copy is done.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_fails_stops_the_copy() {
    let pair = TestPair::start(15, 15);
    let yaml = "    - { name: items, columns: { n: { type: integer } } }\n";
    let stage =
        Stage::new(&pair, "early_end", ITEMS, yaml, "  batch_size: 10\n  max_rows_per_second: 10\n  workers: 1\n")
            .await;
    let running = stage.start("");
    stage.until_target("SELECT count(*) >= 2 FROM pcrd.chunk").await;
    run(&stage.source, "UPDATE items SET n = 3000000000 WHERE id = 1").await;
    let said = ended(running);
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    let copied: u32 = text(&stage.target, "SELECT count(*) FROM items").await.parse().unwrap();
    assert!(copied < 400, "all rows were copied first");
}

/// `cleanup` beside a run that lives removes nothing, and least of all says that it did.
#[tokio::test(flavor = "multi_thread")]
async fn cleanup_while_it_runs() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "kept", ITEMS, YAML, "").await;
    let mut running = stage.start("");
    running.wait_for(READY);
    for args in [&["cleanup", "--yes"][..], &["cleanup", "--yes", "--drop-source", "--yes-drop", "public.items"]] {
        let said = stage.migration.run(args);
        let stderr = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.status.code() != Some(0) && !stderr.contains("removed"), "{args:?}: {stderr}");
    }
    let left = "SELECT (SELECT count(*) FROM pg_replication_slots) || ' ' || (SELECT count(*) FROM pg_publication)";
    assert_eq!(text(&stage.source, left).await, "1 1");
    assert_eq!(text(&stage.source, "SELECT count(*) FROM items").await, "400");
    assert!(stage.migration.dir.path().join("state.sqlite3").exists());
    assert_eq!(ended(stage.migration.start(&["cutover", "--yes"], "")).code, Some(0));
    ended(running).assert_switched();
}

/// A row that came after the checks and does not fit: the run stops there and says where, as often as it is started,
/// until somebody mends the row.
#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_row_that_does_not_fit() {
    let pair = TestPair::start(15, 15);
    let yaml = "    - { name: items, columns: { n: { type: integer } } }\n";
    let stage = Stage::new(&pair, "unfit", ITEMS, yaml, "").await;
    let mut running = stage.start("");
    running.wait_for(READY);
    run(&stage.source, "UPDATE items SET n = 1 WHERE id = 5").await;
    stage.until_applied().await;
    let before = text(&stage.source, "SELECT pg_current_wal_insert_lsn()").await;
    run(&stage.source, "UPDATE items SET n = 3000000000 WHERE id = 77").await;
    run(&stage.source, "UPDATE items SET n = 2 WHERE id = 5").await;
    for said in [ended(running), stage.cut_over()] {
        assert_eq!(said.code, Some(1), "{}", said.stderr);
        let stderr = said.stderr.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
        for word in ["update", "public.items", "77", "22003", "commits at"] {
            assert!(stderr.contains(word), "`{word}` is not in {stderr}");
        }
        let lsn = stderr.split("commits at ").nth(1).unwrap().split(':').next().unwrap().to_owned();
        let beyond = format!("SELECT '{lsn}'::pg_lsn >= '{before}'");
        assert_eq!(text(&stage.source, &beyond).await, "t", "{lsn}");
        // What came before is there, what came after is not.
        assert_eq!(text(&stage.target, "SELECT n FROM items WHERE id = 5").await, "1");
    }
    // Mended on the source, the same command goes on, past what it could not apply.
    run(&stage.source, "UPDATE items SET n = 77 WHERE id = 77").await;
    let said = stage.cut_over();
    said.assert_switched();
    assert_eq!(Stage::counter(&said, "rereads"), 1, "{:?}", said.counters());
    stage.assert_equal(ROW, ROW).await;
}

/// Rows that were inserted, moved, deleted again or changed again since the target refused them.
#[tokio::test(flavor = "multi_thread")]
async fn streamed_rows_that_did_not_fit_and_went_on() {
    let pair = TestPair::start(15, 15);
    let yaml = "    - { name: items, columns: { n: { type: integer } } }\n";
    let stage = Stage::new(&pair, "mended", ITEMS, yaml, "").await;
    let mut running = stage.start("");
    running.wait_for(READY);
    let writes =
        "INSERT INTO items VALUES (1001, 3000000000, 'a', 'b'), (1002, 5, 'c', 'd'), (1003, 3000000001, 'e', 'f');
        UPDATE items SET n = 3000000002 WHERE id IN (7, 8, 9);
        UPDATE items SET id = id + 2000, n = 3000000003 WHERE id IN (11, 12)";
    run(&stage.source, &format!("BEGIN; {writes}; COMMIT")).await;
    let said = ended(running);
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    assert!(said.stderr.contains("public.items, row (1001)"), "{}", said.stderr);
    for sql in [
        "UPDATE items SET n = 1 WHERE id = 1001",
        "DELETE FROM items WHERE id IN (1003, 9)",
        "INSERT INTO items VALUES (9, 9, 'new', 'row')",
        "UPDATE items SET id = 3008, n = 2 WHERE id = 8",
        "UPDATE items SET id = 8 WHERE id = 1002",
        "UPDATE items SET n = 3 WHERE id IN (7, 2011)",
        "UPDATE items SET id = 12, n = 4 WHERE id = 2012",
    ] {
        run(&stage.source, sql).await;
    }
    let said = stage.cut_over();
    said.assert_switched();
    assert!(Stage::counter(&said, "rereads") > 4, "{:?}", said.counters());
    stage.assert_equal(ROW, ROW).await;
}

/// What reports say is missing is missing, from the gate to the last cleanup.
#[tokio::test(flavor = "multi_thread")]
async fn reports_after_the_cutover() {
    let pair = TestPair::start(15, 15);
    let ddl = "CREATE TABLE \"Rows\" (id serial PRIMARY KEY, n integer DEFAULT 5); CREATE INDEX by_n ON \"Rows\" (n)";
    let stage =
        Stage::new(&pair, "reported", ddl, "    - { name: '\"Rows\"', columns: { id: { type: bigint } } }\n", "").await;
    let pending = || -> Vec<String> {
        let status: serde_json::Value = serde_json::from_str(&stage.migration.ok(&["--json", "status"])).unwrap();
        let steps = status["steps"].as_array().unwrap().iter();
        let open = steps.filter(|step| step["status"] != "succeeded").map(|step| step["id"].as_str().unwrap());
        open.map(|id| id.split(':').next().unwrap().to_owned()).collect()
    };
    stage.migration.ok(&["apply", "plan.json", "--yes", "--through", "verify"]);
    let cutover = ["stream", "fence", "drain", "verify_final", "set_sequence", "set_default", "switch"];
    let cleanup = ["drop_fence", "drop_slot", "drop_publication"];
    let mut open = pending();
    open.sort();
    let mut all = [&cutover[..], &cleanup].concat();
    all.sort();
    assert_eq!(open, all);
    stage.cut_over().assert_switched();
    assert_eq!(pending(), cleanup);
    let readiness = stage.migration.ok(&["readiness"]);
    assert!(readiness.contains(" 0 planned"), "{readiness}");
    stage.migration.ok(&["cleanup", "--yes"]);
    assert_eq!(pending(), ["drop_fence"], "the fence stands as long as nobody opens the source");
}
