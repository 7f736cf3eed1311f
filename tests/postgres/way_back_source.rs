//! The source while changes go back to it: what was done to its rows closes the way back, what can be undone stops it.

use tokio_postgres::Client;

use crate::migration::{Running, Said};
use crate::stage::Stage;
use crate::support::{TestPair, connect_to, run, text};
use crate::way_back::{ROLE, assert_code, command, left_open, refusal, staged, switched, wait};
use crate::way_back_rows::assert_closed;

/// Notes have no way back, and `empty` has no row.
const ITEMS: &str = "CREATE TABLE items (id integer PRIMARY KEY, p numeric(12,4), kind text);
    INSERT INTO items SELECT g, g + 0.1111, 'kind ' || g FROM generate_series(1, 60) AS g;
    CREATE TABLE notes (id integer PRIMARY KEY, t text); INSERT INTO notes SELECT g, 'T' FROM generate_series(1, 9) AS g;
    CREATE TABLE empty (id integer PRIMARY KEY, n integer)";
const TABLES: &str = "    - { name: items, columns: { id: { type: bigint }, kind: { drop: true } } }
    - { name: notes, columns: { t: { using: lower(t) } } }
    - { name: empty }
";
const CUTOVER: &str = "accept: [{ code: IRREVERSIBLE, address: public.notes.t, reason: test }, \
                       { code: DELETES_DATA, address: public.items.kind, reason: test }]\n\
                       cutover: { fence_timeout: 60, reverse: { user: goes_back } }";
const TOUCH_TARGET: &str = "UPDATE items SET p = p WHERE false";

async fn stage(pair: &TestPair, name: &str) -> Stage {
    staged(pair, name, &format!("{ROLE}; {ITEMS}"), TABLES, CUTOVER).await
}

async fn state(stage: &Stage) -> String {
    text(&stage.target, "SELECT state FROM pcrd.way_back").await
}

const UNDONE: &str =
    "BEGIN; ALTER TABLE items ALTER p TYPE numeric(10,2); ALTER TABLE items ALTER p TYPE numeric(12,4); COMMIT";
/// What nobody can undo; with its words.
const LOST: [(&str, &str, &str); 7] = [
    ("undone", UNDONE, "table public.items of the source"),
    ("narrower", "ALTER TABLE items ALTER p TYPE numeric(14,2)", "ALTER TABLE rewrote its rows"),
    ("again", "ALTER TABLE items DROP p, ADD p numeric(12,4)", "its column p was dropped"),
    ("unsent", "ALTER TABLE items DROP kind", "its column kind was dropped"),
    ("other", "ALTER TABLE notes ALTER t TYPE text USING t || '!'", "table public.notes of the source"),
    ("dropped", "DROP TABLE items", "it was dropped"),
    (
        "exchanged",
        "CREATE TABLE new (LIKE items INCLUDING ALL); INSERT INTO new SELECT * FROM items; DROP TABLE items; \
         ALTER TABLE new RENAME TO items",
        "it was dropped",
    ),
];

/// The shape is the same, or would be made so, and the values are others.
#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_on_the_source_closes_the_way_back() {
    let pair = TestPair::start(15, 17);
    for (name, sql, why) in LOST {
        let stage = stage(&pair, &format!("source_{name}")).await;
        let running = switched(&stage);
        run(&stage.target, "UPDATE items SET p = 0 WHERE id = 1").await;
        stage.until_source("SELECT p = 0 FROM items WHERE id = 1").await;
        run(&stage.source, sql).await;
        // Nobody writes, and nobody asks for anything.
        assert_closed(&stage, &wait(running), why);
        assert_eq!(refusal(&stage.target, TOUCH_TARGET).await, None, "{name}");
        stage.end().await;
    }
}

/// Whoever is told to undo what was done must not find that nobody can.
#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_between_the_looks_at_rows_and_shape_closes_the_way_back() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "between").await;
    let mut running = stage.start_through("back.between-looks=sleep(1500)");
    tokio::task::block_in_place(|| running.wait_for("changes of the target go back"));
    tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    run(&stage.source, "ALTER TABLE items ALTER p TYPE numeric(14,2)").await;
    assert_closed(&stage, &wait(running), "ALTER TABLE rewrote its rows");
}

/// The last look of the way there is compared with too, however long ago that was.
#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_on_the_source_while_nobody_looks_closes_the_way_back() {
    let pair = TestPair::start(15, 17);
    for (at, (name, sql, why)) in LOST.into_iter().enumerate() {
        let stage = stage(&pair, &format!("source_unseen_{name}")).await;
        // Every second one before anybody has looked on the way back.
        let said = if at % 2 == 0 {
            left_open(&stage);
            run(&stage.source, sql).await;
            let next = if at % 4 == 0 { &["rollback", "--yes"][..] } else { &["apply", "plan.json", "--yes"] };
            command(&stage, next, "")
        } else {
            let running = stage.start_through("cutover.after-switched=sleep(2500)");
            stage.until_target("SELECT state = 'switched' FROM pcrd.cutover").await;
            run(&stage.source, sql).await;
            wait(running)
        };
        assert_closed(&stage, &said, why);
        assert_eq!(refusal(&stage.target, TOUCH_TARGET).await, None, "{name}");
        stage.end().await;
    }
}

/// What is no rewrite is no reason, and who takes the publication of the way there away does no harm.
#[tokio::test(flavor = "multi_thread")]
async fn upkeep_of_the_source_does_not_close_it() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "source_upkeep").await;
    let running = switched(&stage);
    let seen = "SELECT md5(string_agg(value, ' ' ORDER BY name)) FROM pcrd.setting WHERE name LIKE 'witness:%'";
    run(&stage.target, "INSERT INTO empty SELECT g, g FROM generate_series(1, 9) AS g").await;
    stage.until_source("SELECT count(*) = 9 FROM empty").await;
    for sql in [
        "VACUUM FULL items",
        "GRANT SELECT (p) ON items TO PUBLIC",
        "VACUUM FULL empty",
        "GRANT SELECT (n) ON empty TO PUBLIC",
        "CLUSTER items USING items_pkey",
        "ALTER TABLE items ALTER p SET STATISTICS 500",
        "DROP PUBLICATION pcrd_pub_items",
    ] {
        let before = text(&stage.target, seen).await;
        run(&stage.source, sql).await;
        stage.until_target(&format!("SELECT ({seen}) <> '{before}'")).await;
        run(&stage.target, "UPDATE items SET p = p + 1 WHERE id < 30; UPDATE empty SET n = n + 1").await;
    }
    // The way back's own.
    run(&stage.target, "TRUNCATE empty; INSERT INTO empty VALUES (10, 10)").await;
    stage.until_source("SELECT count(*) = 1 FROM empty").await;
    run(&stage.source, "ALTER TABLE empty ALTER n SET STATISTICS 500; CREATE INDEX ON items (p); ANALYZE").await;
    assert_code(&tokio::task::block_in_place(|| running.interrupt()), Some(6));
    // Both while nobody looks: rows that did not come back tell them from a rewrite.
    run(&stage.source, "GRANT SELECT (id) ON items TO PUBLIC").await;
    run(&stage.source, "VACUUM FULL items").await;
    assert_code(&command(&stage, &["rollback", "--yes"], ""), Some(0));
    stage.assert_equal("SELECT id, p FROM items", "SELECT id, p FROM items").await;
    stage.assert_equal("SELECT * FROM empty", "SELECT * FROM empty").await;
}

#[track_caller]
fn assert_stops(said: &Said, why: &str) {
    assert_code(said, Some(1));
    assert!(said.stderr.contains(why), "{why}: {}", said.stderr);
}

/// A value that comes must not be changed on its way in.
#[tokio::test(flavor = "multi_thread")]
async fn ddl_on_the_source_lets_nothing_come_until_it_is_undone() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "altered").await;
    let why = "public.items was altered on the source";
    for (round, (harm, mend)) in [
        ("ALTER TABLE items ADD COLUMN more text", "ALTER TABLE items DROP COLUMN more"),
        ("ALTER TABLE items RENAME COLUMN kind TO sort", "ALTER TABLE items RENAME COLUMN sort TO kind"),
        ("ALTER TABLE items RENAME TO things", "ALTER TABLE things RENAME TO items"),
        (
            "ALTER TABLE items RENAME TO things; CREATE TABLE items (LIKE things INCLUDING ALL)",
            "DROP TABLE items; ALTER TABLE things RENAME TO items",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let running = switched(&stage);
        stage.until_source(&format!("SELECT p = 1.1111 + 0.0001 * {round} FROM items WHERE id = 1")).await;
        run(&stage.source, harm).await;
        assert_stops(&wait(running), why);
        run(&stage.target, "UPDATE items SET p = p + 0.0001").await;
        assert_stops(&command(&stage, &["rollback", "--yes"], ""), why);
        assert_eq!(state(&stage).await, "open", "{harm}");
        run(&stage.source, mend).await;
    }
    assert_code(&command(&stage, &["rollback", "--yes"], ""), Some(0));
    assert_eq!(text(&stage.source, "SELECT p FROM items WHERE id = 1").await, "1.1115");
}

/// Changes cannot go back while somebody holds a row of `empty`, and a rollback waits for them.
async fn held(pair: &TestPair, stage: &Stage) -> (Client, Running) {
    run(&stage.target, "INSERT INTO empty VALUES (1, 1)").await;
    stage.until_source("SELECT count(*) = 1 FROM empty").await;
    let blocker = connect_to(&pair.source, &stage.name).await;
    run(&blocker, "BEGIN; SELECT FROM empty FOR UPDATE").await;
    run(&stage.target, "UPDATE empty SET n = 2").await;
    run(&stage.target, "CREATE TABLE noise AS SELECT repeat('x', 1000) FROM generate_series(1, 45000)").await;
    let rollback = stage.migration.start(&["rollback", "--yes"], "");
    stage.until_target("SELECT taken_at IS NOT NULL FROM pcrd.request").await;
    (blocker, rollback)
}

/// From the request to the fence changes go on going back.
#[tokio::test(flavor = "multi_thread")]
async fn the_source_is_looked_at_while_a_rollback_waits() {
    let pair = TestPair::start(15, 17);
    for (name, ddl) in
        [("more", "ALTER TABLE items ADD COLUMN more text"), ("cut", "ALTER TABLE items ALTER p TYPE numeric(14,2)")]
    {
        let stage = stage(&pair, &format!("waits_{name}")).await;
        let running = switched(&stage);
        let (blocker, rollback) = held(&pair, &stage).await;
        run(&stage.source, ddl).await;
        assert_code(&wait(rollback), Some(1));
        let said = wait(running);
        match name {
            "more" => {
                assert_stops(&said, "public.items was altered on the source");
                assert_eq!(state(&stage).await, "open");
            }
            _ => assert_closed(&stage, &said, "table public.items of the source"),
        }
        run(&blocker, "ROLLBACK").await;
        assert_eq!(refusal(&stage.target, TOUCH_TARGET).await, None, "{name}");
        assert_eq!(refusal(&stage.source, TOUCH_TARGET).await.as_deref(), Some("25006"), "{name}");
        stage.end().await;
    }
}

/// Behind the target's fence the rest comes.
#[tokio::test(flavor = "multi_thread")]
async fn the_source_is_looked_at_behind_the_end_of_the_stream() {
    let pair = TestPair::start(15, 17);
    for (name, ddl) in [("more", "ALTER TABLE items ADD COLUMN more text"), ("cut", UNDONE)] {
        let stage = stage(&pair, &format!("behind_{name}")).await;
        left_open(&stage);
        run(&stage.target, "UPDATE items SET p = 2.2222").await;
        let rollback = stage.migration.start(&["rollback", "--yes"], "back.after-fence=sleep(2500)");
        stage.until_target("SELECT fence_lsn IS NOT NULL FROM pcrd.way_back").await;
        run(&stage.source, ddl).await;
        let said = wait(rollback);
        match name {
            "more" => {
                assert_stops(&said, "public.items was altered on the source");
                assert_eq!(state(&stage).await, "open");
                run(&stage.source, "ALTER TABLE items DROP COLUMN more").await;
                assert_eq!(refusal(&stage.target, TOUCH_TARGET).await, None);
                assert_code(&command(&stage, &["rollback", "--yes"], ""), Some(0));
                stage.assert_equal("SELECT id, p FROM items", "SELECT id, p FROM items").await;
            }
            _ => {
                assert_closed(&stage, &said, "table public.items of the source");
                assert_eq!(refusal(&stage.target, TOUCH_TARGET).await, None);
                assert_eq!(refusal(&stage.source, TOUCH_TARGET).await.as_deref(), Some("25006"));
            }
        }
        stage.end().await;
    }
}

/// Nobody can say what others wrote meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_fence_that_is_taken_down_by_hand_is_seen() {
    let pair = TestPair::start(15, 17);
    let enable = "ALTER TABLE items ENABLE ALWAYS TRIGGER pcrd_fence";
    for (name, harm, mend) in [
        ("off", "ALTER TABLE items DISABLE TRIGGER pcrd_fence", Some(enable)),
        ("down", "DROP TRIGGER pcrd_fence ON items", None),
        ("lease", "UPDATE pcrd.fence SET until = clock_timestamp()", None),
    ] {
        let stage = stage(&pair, &format!("fence_{name}")).await;
        let running = switched(&stage);
        run(&stage.target, "UPDATE items SET p = 0 WHERE id = 1").await;
        stage.until_source("SELECT p = 0 FROM items WHERE id = 1").await;
        run(&stage.source, harm).await;
        assert_eq!(refusal(&stage.source, "UPDATE items SET p = 7 WHERE id = 2").await, None);
        let said = wait(running);
        assert_stops(&said, "the source may take writes beside the target");
        assert!(said.stderr.contains("pcrd finalize --without-source"), "{}", said.stderr);
        for args in [["--json", "apply", "plan.json", "--yes"].as_slice(), &["rollback", "--yes"]] {
            assert_stops(&command(&stage, args, ""), "take writes");
            assert_eq!(state(&stage).await, "open", "{name}");
            assert_eq!(refusal(&stage.target, TOUCH_TARGET).await, None);
        }
        match mend {
            Some(mend) => {
                run(&stage.source, mend).await;
                let said = command(&stage, &["rollback", "--yes"], "");
                assert_closed(&stage, &said, "its fence was taken down since the switch, and put up again");
            }
            None => assert_code(&command(&stage, &["finalize", "--yes", "--without-source"], ""), Some(0)),
        }
        assert_eq!(text(&stage.target, "SELECT count(*) FROM pg_replication_slots").await, "0", "{name}");
        stage.end().await;
    }
}

/// In the mirror the server that is asked is the other one.
#[tokio::test(flavor = "multi_thread")]
async fn the_target_is_named_where_the_target_is_asked() {
    let pair = TestPair::start(15, 17);
    let (away, back) = (
        "ALTER FUNCTION pg_catalog.pg_current_wal_insert_lsn() RENAME TO elsewhere",
        "ALTER FUNCTION pg_catalog.elsewhere() RENAME TO pg_current_wal_insert_lsn",
    );
    let stage = stage(&pair, "named_end").await;
    let running = switched(&stage);
    let (blocker, rollback) = held(&pair, &stage).await;
    run(&stage.target, away).await;
    assert_stops(&wait(rollback), "target: read the write position");
    assert_stops(&wait(running), "target: read the write position");
    run(&stage.target, back).await;
    run(&blocker, "ROLLBACK").await;
    let running = switched(&stage);
    run(&stage.target, away).await;
    assert_stops(&wait(running), "target: read the write position");
    run(&stage.target, back).await;
    run(&stage.target, "ALTER PUBLICATION pcrd_pub_items_back ADD TABLE noise").await;
    let said = command(&stage, &["rollback", "--yes"], "");
    assert_closed(
        &stage,
        &said,
        "publication pcrd_pub_items_back of the target is not as the plan says: it publishes [",
    );
}
