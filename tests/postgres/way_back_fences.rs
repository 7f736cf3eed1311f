//! What is asked behind the fences of cutover and rollback: little, about every table at once, and never for longer than the
//! fence may stand.

use std::time::{Duration, Instant};

use pcrd::pg::local::Cluster;
use tokio_postgres::Client;

use crate::stage::Stage;
use crate::support::{TestPair, connect_to, rows, run, text};
use crate::way_back::{
    CUTOVER, ROLE, TABLES, assert_code, assert_rolled_back, refusal, stage, stage_of, staged, switched, wait,
};

const BACK: &str = "cutover: { fence_timeout: 60, reverse: { user: goes_back } }";
const FAMILY: &str = "CREATE TABLE people (id integer PRIMARY KEY, name varchar(20) UNIQUE DEFERRABLE);
    CREATE TABLE orders (id integer PRIMARY KEY, person integer NOT NULL REFERENCES people);
    INSERT INTO people SELECT g, 'p' || g FROM generate_series(1, 20) AS g;
    INSERT INTO orders SELECT g, g FROM generate_series(1, 20) AS g";
const WIDER: &str = "    - { name: people, columns: { id: { type: bigint } } }
    - { name: orders, columns: { id: { type: bigint }, person: { type: bigint } } }
";

fn log(cluster: &Cluster) -> String {
    String::from_utf8_lossy(&std::fs::read(cluster.log_path()).unwrap()).into_owned()
}

/// Each line of a statement of ours begins with `app=pcrd/`.
fn logging() -> TestPair {
    TestPair::start_with(15, 17, &[("fsync", "off"), ("log_statement", "all"), ("log_line_prefix", "app=%a ")])
}

/// What a constraint of the target promises of values that only become shorter is not asked of every row of the source.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_widened_is_no_question() {
    let pair = logging();
    let stage = staged(&pair, "widened", &format!("{ROLE}; {FAMILY}"), WIDER, BACK).await;
    let running = switched(&stage);
    run(&stage.target, "INSERT INTO people VALUES (21, 'p21'); INSERT INTO orders VALUES (21, 21)").await;
    tokio::task::block_in_place(|| stage.migration.ok(&["rollback", "--yes"]));
    assert_code(&wait(running), Some(0));
    stage.assert_equal("SELECT id, person FROM orders", "SELECT id, person FROM orders").await;
    let asked: Vec<String> = log(&pair.source)
        .lines()
        .filter(|line| line.contains("FROM ONLY") && line.contains("count(*)"))
        .map(str::to_owned)
        .collect();
    assert!(
        !asked.iter().any(|line| [" AS n WHERE ", "HAVING", "AS n FROM ONLY"].iter().any(|part| line.contains(part))),
        "{asked:#?}"
    );
}

/// `notes` do not move, and refer to what does.
const NOTES: &str =
    "CREATE TABLE notes (id integer PRIMARY KEY, item integer REFERENCES items); INSERT INTO notes VALUES (1, 1)";

/// Nobody can read the table, as if that took long.
async fn lock_notes(pair: &TestPair, name: &str) -> Client {
    let holder = connect_to(&pair.source, name).await;
    run(&holder, "BEGIN; LOCK TABLE notes IN ACCESS EXCLUSIVE MODE").await;
    holder
}

const WAITS: &str = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pcrd/%' \
    AND state = 'active' AND query LIKE '%SELECT count(*) FROM ONLY%'";

/// A constraint of the source alone, of which a count takes twenty seconds.
const SLOW: &str =
    "CREATE FUNCTION slow(integer, integer) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM pg_sleep(0.4); RETURN $1 = $2; END';
    CREATE OPERATOR === (PROCEDURE = slow, LEFTARG = integer, RIGHTARG = integer, COMMUTATOR = ===);
    CREATE OPERATOR CLASS slow_ops FOR TYPE integer USING hash AS OPERATOR 1 ===, FUNCTION 1 hashint4(integer)";
const ADD_SLOW: &str = "ALTER TABLE items ADD CONSTRAINT apart EXCLUDE USING hash (id slow_ops WITH ===) DEFERRABLE";

/// What is said to people, on one line.
fn unfolded(said: &crate::migration::Said) -> String {
    said.stderr.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_takes_too_long_is_told_before_any_fence() {
    let pair = TestPair::start(15, 17);
    let cutover = CUTOVER.replace("fence_timeout: 60", "fence_timeout: 6");
    let stage = stage_of(&pair, "too_long", &format!("{NOTES}; {SLOW}"), TABLES, &cutover).await;
    let mut running = stage.start("");
    tokio::task::block_in_place(|| running.wait_for("\"type\":\"gate\",\"ready\":true"));
    run(&stage.source, ADD_SLOW).await;
    let said = wait(stage.migration.start(&["cutover", "--yes"], ""));
    assert_ne!(said.code, Some(0));
    assert!(unfolded(&said).contains("whether public.items.apart holds was not answered"), "{}", said.stderr);
    assert!(unfolded(&said).contains("cutover.fence_timeout"), "{}", said.stderr);
    run(&stage.source, "ALTER TABLE items DROP CONSTRAINT apart").await;
    let holder = lock_notes(&pair, "too_long").await;
    let said = wait(stage.migration.start(&["cutover", "--yes"], ""));
    assert_ne!(said.code, Some(0));
    assert!(unfolded(&said).contains("AccessExclusiveLock on"), "{}", said.stderr);
    assert_eq!(text(&stage.source, "SELECT count(*) FROM pg_trigger WHERE tgname = 'pcrd_fence'").await, "0");
    run(&holder, "ROLLBACK").await;
    tokio::task::block_in_place(|| stage.migration.ok(&["cutover", "--yes"]));
    tokio::task::block_in_place(|| running.wait_for("changes of the target go back"));
    run(&stage.source, ADD_SLOW).await;
    let said = wait(stage.migration.start(&["rollback", "--yes"], ""));
    assert_code(&said, Some(1));
    assert!(unfolded(&said).contains("whether public.items.apart holds was not answered"), "{}", said.stderr);
    assert_eq!(text(&stage.target, "SELECT to_regclass('pcrd.fence') IS NULL").await, "t", "it was never fenced");
    assert_eq!(text(&stage.source, WAITS).await, "0");
    run(&stage.source, "ALTER TABLE items DROP CONSTRAINT apart").await;
    assert_code(&wait(stage.migration.start(&["rollback", "--yes"], "")), Some(0));
    assert_code(&wait(running), Some(0));
    assert_rolled_back(&stage).await;
}

/// Behind the fence it ends with the fence's time, or with the command, and nothing of it is left on the server.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_behind_the_fence_ends_on_the_server_too() {
    let pair = TestPair::start(15, 17);
    for (name, timeout) in [("in_time", 8), ("stopped", 300)] {
        let cutover = CUTOVER.replace("fence_timeout: 60", &format!("fence_timeout: {timeout}"));
        let stage = stage_of(&pair, name, NOTES, TABLES, &cutover).await;
        assert_code(&tokio::task::block_in_place(|| switched(&stage).interrupt()), Some(6));
        run(&stage.target, "UPDATE items SET count = 7 WHERE id = 1").await;
        let rollback = stage.migration.start(&["rollback", "--yes"], "back.after-drained=1*sleep(2000)");
        stage.until_source("SELECT coalesce((SELECT state = 'drained' FROM pcrd.cutover), false)").await;
        let holder = lock_notes(&pair, name).await;
        let said = if timeout == 300 {
            stage.until_source(&WAITS.replacen("count(*)", "count(*) > 0", 1)).await;
            tokio::task::block_in_place(|| rollback.interrupt())
        } else {
            let said = wait(rollback);
            assert_code(&said, Some(1));
            assert!(said.stderr.contains("the rollback was given up and the target takes writes"), "{}", said.stderr);
            assert!(said.stderr.contains("notes_item_fkey"), "{}", said.stderr);
            said
        };
        assert_ne!(said.code, Some(0), "{}", said.stderr);
        assert_eq!(text(&stage.source, WAITS).await, "0", "{name}: {}", said.stderr);
        assert_eq!(refusal(&stage.target, "UPDATE items SET count = count WHERE false").await, None, "{name}");
        run(&holder, "ROLLBACK").await;
        assert_code(&wait(stage.migration.start(&["rollback", "--yes"], "")), Some(0));
        assert_rolled_back(&stage).await;
        stage.end().await;
    }
}

/// Statements of ours that a server has logged so far, but for those of the look that goes round all tables.
fn said_to(cluster: &Cluster) -> usize {
    let is_asked = |line: &&str| line.contains("app=pcrd/") && line.contains("LOG:  ") && !line.contains("/upkeep ");
    log(cluster).lines().filter(is_asked).count()
}

/// Statements behind the source's fence from the last sequence to the end of the arming, and between the target's fence and
/// the decision.
async fn counted(pair: &TestPair, tables: usize) -> (usize, usize) {
    let name = format!("many_{tables}");
    let ddl: Vec<String> = (0..tables)
        .map(|at| format!("CREATE TABLE t{at} (id integer PRIMARY KEY, n integer); INSERT INTO t{at} VALUES (1, 1)"))
        .collect();
    let yaml: String = (0..tables).map(|at| format!("    - {{ name: t{at} }}\n")).collect();
    let stage = staged(pair, &name, &format!("{ROLE}; {}", ddl.join("; ")), &yaml, BACK).await;
    let both = || said_to(&pair.source) + said_to(&pair.target);
    let points = "cutover.after-sequences=sleep(1500);back.probed=sleep(1500)";
    let mut running = stage.start_through(points);
    stage.until_target("SELECT state = 'sequences_set' FROM pcrd.cutover").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = both();
    stage.until_source("SELECT count(*) = 1 FROM pcrd.progress").await;
    tokio::time::sleep(Duration::from_millis(1000)).await;
    let arming = both() - before;
    tokio::task::block_in_place(|| running.wait_for("changes of the target go back"));
    assert_code(&tokio::task::block_in_place(|| running.interrupt()), Some(6));
    let points = "back.begin=sleep(1500);back.after-permanent=sleep(1500)";
    let rollback = stage.migration.start(&["rollback", "--yes"], points);
    stage.until_target("SELECT state = 'rolling_back' FROM pcrd.way_back").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = both();
    stage.until_target("SELECT coalesce((SELECT until = 'infinity' FROM pcrd.fence), false)").await;
    let deciding = both() - before;
    assert_code(&wait(rollback), Some(0));
    (arming, deciding)
}

/// What lasts longer with every table would make every cutover of many of them too slow.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_behind_the_fences_does_not_grow_with_the_tables() {
    let pair = logging();
    let few = counted(&pair, 4).await;
    let many = counted(&pair, 40).await;
    println!("statements with 4 and 40 tables: {few:?} {many:?}");
    // A lease is renewed and a heart beats meanwhile.
    assert!(many.0 < few.0 + 20, "arming: {few:?} {many:?}");
    assert!(many.1 < few.1 + 20, "deciding: {few:?} {many:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_the_publication_lost_is_published_again_before_the_switch() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "unpublished").await;
    assert_code(&wait(stage.start_through("back.prepared=return(kill)")), None);
    // As with a table that was dropped and created again.
    let publication = text(&stage.target, "SELECT pubname FROM pg_publication").await;
    run(&stage.target, &format!("ALTER PUBLICATION \"{publication}\" DROP TABLE items")).await;
    let running = switched(&stage);
    run(&stage.target, "INSERT INTO items (id, count, price) VALUES (100, 1, 1)").await;
    stage.until_source("SELECT count(*) = 1 FROM items WHERE id = 100").await;
    tokio::task::block_in_place(|| stage.migration.ok(&["rollback", "--yes"]));
    assert_code(&wait(running), Some(0));
    assert_rolled_back(&stage).await;
}

/// Of a cutover that is given up nothing stays that would keep the target's log, or would be in the way of another plan.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_cutover_made_for_the_way_back_goes_with_it() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "given_up").await;
    let said = wait(stage.start_through("back.probed=1*return(error)"));
    assert_code(&said, Some(1));
    let left = "SELECT (SELECT count(*) FROM pg_publication) + (SELECT count(*) FROM pg_replication_slots)";
    assert_eq!(text(&stage.target, left).await, "0");
    let running = switched(&stage);
    assert_code(&tokio::task::block_in_place(|| running.interrupt()), Some(6));
}

/// A publication of the way back that an earlier plan of the same run has made is ours, with whatever tables it has.
#[tokio::test(flavor = "multi_thread")]
async fn another_plan_makes_the_publication_of_the_way_back_anew() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "adopted").await;
    assert_code(&wait(stage.start_through("back.prepared=return(kill)")), None);
    assert_eq!(text(&stage.target, "SELECT count(*) FROM pg_publication_tables").await, "1");
    let path = stage.migration.dir.path().join("pcrd.config.yml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config.replace("default: \"'eu'\"", "default: \"'us'\"")).unwrap();
    stage.migration.ok(&["plan", "--out", "new.json"]);
    let adopt = ["--json", "apply", "new.json", "--yes", "--adopt", "--through", "cutover"];
    let mut running = stage.migration.start(&adopt, "");
    tokio::task::block_in_place(|| running.wait_for("changes of the target go back"));
    run(&stage.target, "INSERT INTO items (id, count, price) VALUES (100, 1, 1)").await;
    stage.until_source("SELECT count(*) = 1 FROM items WHERE id = 100").await;
    assert_eq!(text(&stage.target, "SELECT region FROM items WHERE id = 1").await, "us");
    assert_code(&tokio::task::block_in_place(|| running.interrupt()), Some(6));
}

const UPKEEP: [(&str, &str); 5] = [
    ("full", "VACUUM FULL items; ALTER TABLE items ALTER n SET STATISTICS 500"),
    ("default", "ALTER TABLE items ALTER n SET DEFAULT 3; CLUSTER items USING items_pkey"),
    ("granted", "VACUUM FULL items; GRANT SELECT (n) ON items TO PUBLIC"),
    ("emptied", "TRUNCATE items; ALTER TABLE items ALTER n SET STATISTICS 500"),
    (
        "filled",
        "VACUUM FULL items; ALTER TABLE items ALTER n SET STATISTICS 9; INSERT INTO items SELECT g, 0 FROM generate_series(100, 300) AS g",
    ),
];
const REWRITES: [(&str, &str); 3] = [
    ("full", "ALTER TABLE items ALTER n TYPE integer USING n + 1000; VACUUM FULL items"),
    (
        "filled",
        "ALTER TABLE items ALTER n TYPE integer USING n + 1000; ALTER TABLE items ALTER n SET STATISTICS 9; INSERT INTO items SELECT g, 0 FROM generate_series(100, 300) AS g",
    ),
    (
        "reset",
        "TRUNCATE items; INSERT INTO items SELECT g, 0 FROM generate_series(100, 300) AS g; ALTER TABLE items ALTER n TYPE integer USING n + 1000",
    ),
];
const ITEMS: &str = "CREATE TABLE items (id integer PRIMARY KEY, n integer NOT NULL);
    INSERT INTO items SELECT g, g FROM generate_series(1, 60) AS g";

async fn unseen(pair: &TestPair, name: &str, sql: &str) -> Stage {
    let yaml = "    - { name: items, columns: { id: { type: bigint } } }\n";
    let stage = staged(pair, name, &format!("{ROLE}; {ITEMS}"), yaml, BACK).await;
    assert_code(&tokio::task::block_in_place(|| switched(&stage).interrupt()), Some(6));
    for statement in sql.split("; ") {
        run(&stage.target, statement).await;
    }
    stage
}

/// Two of them between two looks: what a row is by itself tells them from a rewrite.
#[tokio::test(flavor = "multi_thread")]
async fn upkeep_while_nobody_looks_does_not_close_it() {
    let pair = TestPair::start(15, 17);
    for (name, sql) in UPKEEP {
        let stage = unseen(&pair, name, sql).await;
        assert_code(&wait(stage.migration.start(&["rollback", "--yes"], "")), Some(0));
        stage.assert_equal("SELECT id, n FROM items", "SELECT id, n FROM items").await;
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_beside_upkeep_closes_it() {
    let pair = TestPair::start(15, 17);
    for (name, sql) in REWRITES {
        let stage = unseen(&pair, &format!("rewritten_{name}"), sql).await;
        let said = wait(stage.migration.start(&["rollback", "--yes"], ""));
        assert_code(&said, Some(1));
        assert!(said.stderr.contains("the way back is closed, and the target goes on"), "{}", said.stderr);
        assert!(said.stderr.contains("ALTER TABLE rewrote"), "{}", said.stderr);
        stage.end().await;
    }
}

/// Every attempt would end with the same row.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_too_large_for_an_index_of_the_source_closes_it() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "indexed").await;
    let running = switched(&stage);
    run(&stage.source, "CREATE INDEX items_note ON items (note)").await;
    run(
        &stage.target,
        "INSERT INTO items (id, count, price, note) SELECT 100, 1, 1, string_agg(md5(g::text), '') FROM generate_series(1, 400) AS g",
    )
    .await;
    let began = Instant::now();
    let said = wait(running);
    assert_code(&said, Some(1));
    assert!(said.stderr.contains("the way back is closed, and the target goes on"), "{}", said.stderr);
    for word in ["public.items", "row (100)", "54000"] {
        assert!(said.stderr.contains(word), "{word}: {}", said.stderr);
    }
    println!("after {} s", began.elapsed().as_secs());
    assert_eq!(rows(&stage.target, "SELECT state FROM pcrd.way_back").await[0][0].as_deref(), Some("closed"));
    assert_eq!(refusal(&stage.target, "UPDATE items SET count = 1 WHERE id = 1").await, None);
}
