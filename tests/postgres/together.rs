//! Changes that are applied by one statement for many rows: the net effect is that of the changes one by one, and what one
//! by one would have been refused is refused.

use crate::migration::Said;
use crate::stage::Stage;
use crate::support::{TestPair, run, text};

const READY: &str = "\"type\":\"gate\",\"ready\":true";

const ITEMS: &str = "CREATE TABLE items (id integer PRIMARY KEY, u integer, n integer, big text);
    CREATE UNIQUE INDEX ON items (u);
    ALTER TABLE items ALTER big SET STORAGE EXTERNAL;
    INSERT INTO items SELECT g, g, 0, repeat('x', 3000) FROM generate_series(1, 400) AS g";
const YAML: &str = "    - name: items\n      columns: { id: { type: bigint } }\n";

async fn caught_up(stage: &Stage) {
    stage.until_applied().await;
    stage.assert_equal("SELECT id, u, n, big FROM items", "SELECT id, u, n, big FROM items").await;
}

fn interrupted(running: crate::migration::Running) -> Said {
    tokio::task::block_in_place(|| running.interrupt())
}

/// One transaction each, so that a batch holds all of it.
const WRITES: &[&str] = &[
    "UPDATE items SET n = n + 1; UPDATE items SET n = n + 1 WHERE id % 2 = 0; UPDATE items SET big = 'short' WHERE id % 3 = 0",
    // The large value is not sent by the later update, or by the earlier one.
    "UPDATE items SET big = repeat('y', 4000), n = 7 WHERE id <= 100; UPDATE items SET n = 8 WHERE id <= 100",
    "UPDATE items SET n = 9 WHERE id <= 100; UPDATE items SET big = repeat('z', 4000) WHERE id <= 50",
    "DELETE FROM items WHERE id <= 40; INSERT INTO items SELECT g, g, 1, NULL FROM generate_series(1, 40) AS g; \
     UPDATE items SET n = 2, big = repeat('w', 3000) WHERE id <= 20; UPDATE items SET n = 3 WHERE id <= 10",
    // New rows that go again, and come again.
    "INSERT INTO items SELECT g, g, 1, NULL FROM generate_series(1001, 1030) AS g; DELETE FROM items WHERE id > 1000; \
     INSERT INTO items SELECT g, g, 2, 'again' FROM generate_series(1001, 1030) AS g; DELETE FROM items WHERE id > 1015",
    // Keys that change among them.
    "UPDATE items SET n = 20 WHERE id < 50; UPDATE items SET id = id + 5000 WHERE id BETWEEN 10 AND 15; \
     INSERT INTO items SELECT g, -g, 1, NULL FROM generate_series(10, 12) AS g; UPDATE items SET n = 21 WHERE id > 300",
];

#[tokio::test(flavor = "multi_thread")]
async fn the_net_effect_is_that_of_the_changes() {
    for (majors, name) in [((15, 15), "net"), ((10, 18), "net_old"), ((18, 10), "net_new")] {
        let pair = TestPair::start(majors.0, majors.1);
        let stage = Stage::new(&pair, name, ITEMS, YAML, "").await;
        let mut running = stage.start("");
        running.wait_for(READY);
        for sql in WRITES {
            run(&stage.source, &format!("BEGIN; {sql}; COMMIT")).await;
            caught_up(&stage).await;
        }
        let said = interrupted(running);
        // A batch ends where nothing more has arrived, too.
        assert!(Stage::counter(&said, "batches_together") >= 3, "{:?}", said.counters());
        assert_eq!(Stage::counter(&said, "batches_again"), 0, "{:?}", said.counters());
        stage.cut_over().assert_switched();
    }
}

/// Two rows that exchange a unique value cannot be updated by one statement; one by one, over a third value, they can.
#[tokio::test(flavor = "multi_thread")]
async fn unique_values_that_move() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "moving", ITEMS, YAML, "").await;
    let mut running = stage.start("");
    running.wait_for(READY);
    let swap = "UPDATE items SET u = -u WHERE id <= 20; UPDATE items SET u = 21 + u WHERE id <= 20";
    // Where a batch ends is a matter of what has arrived: one that ends between the halves has nothing in its way.
    for _ in 0..12 {
        run(&stage.source, &format!("BEGIN; {swap}; COMMIT")).await;
        caught_up(&stage).await;
        // After a batch that was applied again others are spared the attempt.
        for _ in 0..8 {
            run(&stage.source, "UPDATE items SET n = n + 1 WHERE id <= 10").await;
        }
    }
    run(&stage.source, "UPDATE items SET n = n + 1").await;
    caught_up(&stage).await;
    let said = interrupted(running);
    assert!(Stage::counter(&said, "batches_again") >= 1, "{:?}", said.counters());
    stage.cut_over().assert_switched();
}

/// What is sent behind one table's rows without waiting goes away with them when it must be applied again; the batches
/// before and behind it stay.
#[tokio::test(flavor = "multi_thread")]
async fn batches_of_two_tables_of_which_one_is_refused() {
    let pair = TestPair::start(15, 15);
    let ddl = format!(
        "{ITEMS}; CREATE TABLE others (id integer PRIMARY KEY, n integer); INSERT INTO others SELECT g, 0 FROM generate_series(1, 400) AS g"
    );
    let stage = Stage::new(&pair, "pairs", &ddl, &format!("{YAML}    - {{ name: others }}\n"), "").await;
    let mut running = stage.start("");
    running.wait_for(READY);
    let both = "UPDATE others SET n = n + 1 WHERE id <= 100; UPDATE items SET n = n + 1 WHERE id <= 100";
    let swap = "UPDATE items SET u = -u WHERE id <= 20; UPDATE items SET u = 21 + u WHERE id <= 20";
    let all_equal = async || {
        caught_up(&stage).await;
        stage.assert_equal("SELECT id, n FROM others", "SELECT id, n FROM others").await;
    };
    for _ in 0..2 {
        let refused = format!("UPDATE others SET n = n + 1 WHERE id > 300; {swap}; {both}");
        for batch in [vec![both], vec![both, refused.as_str()]] {
            // Where a batch ends is a matter of what has arrived: here, all of it.
            running.signal("-STOP");
            for writes in batch {
                run(&stage.source, &format!("BEGIN; {writes}; COMMIT")).await;
            }
            let lsn = text(&stage.source, "SELECT pg_current_wal_insert_lsn()::text").await;
            stage.until_source(&format!("SELECT bool_and(sent_lsn >= '{lsn}') FROM pg_stat_replication")).await;
            running.signal("-CONT");
            all_equal().await;
        }
        // After a batch that was applied again others are spared the attempt.
        for _ in 0..17 {
            run(&stage.source, "UPDATE others SET n = n + 1 WHERE id <= 10").await;
            caught_up(&stage).await;
        }
    }
    all_equal().await;
    let said = interrupted(running);
    assert!(Stage::counter(&said, "batches_together") >= 2, "{:?}", said.counters());
    assert!(Stage::counter(&said, "batches_again") >= 2, "{:?}", said.counters());
    stage.cut_over().assert_switched();
}

/// A row that is missing on the target, or there although it should not be, stops the run as it does by itself; nothing of
/// the batch stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_not_as_believed_stops_the_run() {
    let pair = TestPair::start(15, 15);
    for (name, on_target, write, says) in [
        ("gone", "DELETE FROM items WHERE id = 17", "UPDATE items SET n = 1 WHERE id <= 30", "update"),
        ("lost", "DELETE FROM items WHERE id = 17", "DELETE FROM items WHERE id <= 30", "delete"),
        (
            "there",
            "INSERT INTO items VALUES (2017, 2017, 0, NULL)",
            "INSERT INTO items SELECT g, g, 0, NULL FROM generate_series(2001, 2030) AS g",
            "insert",
        ),
    ] {
        let stage = Stage::new(&pair, name, ITEMS, YAML, "").await;
        let mut running = stage.start("");
        running.wait_for(READY);
        run(&stage.target, on_target).await;
        let before = text(&stage.target, "SELECT count(*) || ' ' || sum(n) FROM items").await;
        run(&stage.source, write).await;
        let said = tokio::task::block_in_place(|| running.finish());
        assert_eq!(said.code, Some(1), "{name}: {}", said.stderr);
        assert!(said.stderr.contains(says) && said.stderr.contains("public.items"), "{name}: {}", said.stderr);
        assert_eq!(text(&stage.target, "SELECT count(*) || ' ' || sum(n) FROM items").await, before, "{name}");
    }
}

/// What is dropped needs no type on the target.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_column_of_a_type_that_only_the_source_has() {
    let ddl = "CREATE TYPE mood AS ENUM ('ok'); CREATE TABLE items (id integer PRIMARY KEY, n integer, gone mood)";
    let yaml = "    - name: items\n      columns: { gone: { drop: true } }\naccept:\n  - { code: DELETES_DATA, address: public.items.gone, reason: test }\n";
    for major in [10, 15] {
        let pair = TestPair::start(15, major);
        let stage = Stage::new(&pair, "only_source", ddl, yaml, "").await;
        let mut running = stage.start("");
        running.wait_for(READY);
        run(&stage.source, "INSERT INTO items SELECT g, g, 'ok' FROM generate_series(1, 100) AS g").await;
        stage.until_applied().await;
        stage.assert_equal("SELECT id, n FROM items", "SELECT id, n FROM items").await;
        let said = interrupted(running);
        assert!(Stage::counter(&said, "batches_together") >= 1, "{:?}", said.counters());
    }
}

/// The statements are used more often than one prepared statement is.
#[tokio::test(flavor = "multi_thread")]
async fn many_batches_of_one_kind() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "many", ITEMS, YAML, "").await;
    let mut running = stage.start("");
    running.wait_for(READY);
    for round in 0..20 {
        run(&stage.source, &format!("UPDATE items SET n = {round} WHERE id <= 100")).await;
        stage.until_applied().await;
    }
    caught_up(&stage).await;
    let said = interrupted(running);
    assert!(Stage::counter(&said, "batches_together") >= 15, "{:?}", said.counters());
    assert_eq!(Stage::counter(&said, "batches_again"), 0, "{:?}", said.counters());
}

/// One transaction of more rows than the temporary table is allowed to gather, of values that COPY has to escape.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_many_batches() {
    for (majors, name) in [((15, 15), "long"), ((10, 18), "long_old")] {
        let pair = TestPair::start(majors.0, majors.1);
        let stage = Stage::new(&pair, name, ITEMS, YAML, "").await;
        let mut running = stage.start("");
        running.wait_for(READY);
        run(
            &stage.source,
            "BEGIN; INSERT INTO items SELECT g, g, g, E'\\\\N\\\\.\\t\\n\\r\\\\' || g FROM generate_series(1001, 26000) AS g; \
             UPDATE items SET n = n + 1, big = CASE WHEN n % 2 = 0 THEN big END WHERE id > 1000; \
             DELETE FROM items WHERE id % 3 = 0; COMMIT",
        )
        .await;
        caught_up(&stage).await;
        let said = interrupted(running);
        assert!(Stage::counter(&said, "batches_together") >= 10, "{:?}", said.counters());
        assert_eq!(Stage::counter(&said, "batches_again"), 0, "{:?}", said.counters());
        stage.cut_over().assert_switched();
    }
}

/// A domain may refuse the NULL that stands for a value that was not sent; its base type may be one of a length.
#[tokio::test(flavor = "multi_thread")]
async fn values_of_domains() {
    let domains = "CREATE DOMAIN word AS text NOT NULL; CREATE DOMAIN iso AS char(3) NOT NULL; CREATE DOMAIN iso_again AS iso; \
         CREATE DOMAIN flags AS bit(4)";
    let ddl = format!(
        "{domains}; CREATE TABLE items (id integer PRIMARY KEY, n integer, w word, i iso_again, f flags, big text);
        ALTER TABLE items ALTER big SET STORAGE EXTERNAL;
        INSERT INTO items SELECT g, 0, 'w', 'abc', '1010', repeat('x', 3000) FROM generate_series(1, 200) AS g"
    );
    let yaml = "    - name: items\n      columns: { i: { type: text, using: \"i || octet_length(i)::text\" } }\n";
    let pair = TestPair::start(15, 15);
    let stage = Stage::with_target(&pair, "domain", &ddl, domains, yaml, "").await;
    let mut running = stage.start("");
    running.wait_for(READY);
    for sql in [
        "INSERT INTO items SELECT g, 1, 'new', 'd', NULL, NULL FROM generate_series(201, 300) AS g",
        "UPDATE items SET n = 2, i = 'xyz' WHERE id <= 150",
        "DELETE FROM items WHERE id % 2 = 0",
    ] {
        run(&stage.source, sql).await;
        stage.until_applied().await;
        let wanted = "SELECT id, n, w, i || octet_length(i)::text, f, big FROM items";
        stage.assert_equal(wanted, "SELECT id, n, w, i, f, big FROM items").await;
    }
    let said = interrupted(running);
    assert!(Stage::counter(&said, "batches_together") >= 1, "{:?}", said.counters());
    assert_eq!(Stage::counter(&said, "batches_again"), 0, "{:?}", said.counters());
    stage.cut_over().assert_switched();
}

/// So many tables at once that not each of them is given a temporary one: the others take their rows one by one.
#[tokio::test(flavor = "multi_thread")]
async fn more_tables_than_locks_are_spent_on() {
    const TABLES: usize = 215;
    let pair = TestPair::start(15, 15);
    let each = |sql: &str| {
        format!(
            "DO $do$ BEGIN FOR t IN 1 .. {TABLES} LOOP EXECUTE format({}, 't' || t); END LOOP; END $do$",
            pcrd::sql::literal(sql)
        )
    };
    let ddl = [
        each("CREATE TABLE %I (id integer PRIMARY KEY, n integer)"),
        each("INSERT INTO %I SELECT g, 0 FROM generate_series(1, 40) AS g"),
    ]
    .join("; ");
    let yaml: String = (1..=TABLES).map(|t| format!("    - {{ name: t{t} }}\n")).collect();
    let stage = Stage::new(&pair, "crowd", &ddl, &yaml, "").await;
    let mut running = stage.start("");
    running.wait_for(READY);
    for round in 1..=2 {
        run(&stage.source, &each("UPDATE %I SET n = n + 1 WHERE id <= 30")).await;
        stage.until_applied().await;
        let temporary = text(&stage.target, "SELECT count(*) FROM pg_class WHERE relname ~ '^pcrd_set_[0-9]+$'").await;
        assert_eq!(temporary, "200", "round {round}");
    }
    let said = interrupted(running);
    assert!(Stage::counter(&said, "batches_together") >= 2, "{:?}", said.counters());
    assert_eq!(Stage::counter(&said, "batches_again"), 0, "{:?}", said.counters());
    for t in [1, 100, 200, 201, TABLES] {
        let rows = format!("SELECT id, n FROM t{t}");
        stage.assert_equal(&rows, &rows).await;
    }
}
