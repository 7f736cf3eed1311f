//! What refuses TRUNCATE of partitions goes without an outage and names what stays, and what partitions lock or become after
//! the switch is looked at first.

use crate::stage::Stage;
use crate::support::{TestPair, connect_to, run, text};

const DDL: &str = "CREATE TABLE items (id integer PRIMARY KEY, n integer) PARTITION BY RANGE (id);
    CREATE TABLE items_1 PARTITION OF items FOR VALUES FROM (0) TO (1000);
    CREATE TABLE items_2 PARTITION OF items FOR VALUES FROM (1000) TO (2000);
    INSERT INTO items SELECT g, g FROM generate_series(1, 1999) g; ANALYZE";
const TABLES: &str = "    - { name: items, partitions: none }\n";
const GUARDED: &str = "SELECT coalesce(string_agg(tgrelid::regclass::text, ' ' ORDER BY 1), '') FROM pg_trigger WHERE tgname = 'pcrd_no_truncate'";

/// Behind somebody who reads, an unlimited wait for the lock would keep everybody out.
#[tokio::test(flavor = "multi_thread")]
async fn readers_pass_while_the_guards_wait_for_their_locks() {
    let pair = TestPair::start(15, 15);
    for (nth, held) in ["items_1", "items"].into_iter().enumerate() {
        let name = format!("held_{nth}");
        let stage = Stage::new(&pair, &name, DDL, TABLES, "").await;
        stage.migration.ok(&["apply", "plan.json", "--yes", "--through", "catchup"]);
        let reader = connect_to(&pair.source, &name).await;
        run(&reader, &format!("BEGIN; LOCK TABLE ONLY {held} IN ACCESS SHARE MODE")).await;
        let abort = stage.migration.start(&["abort", "--yes"], "");
        let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'DROP TRIGGER%' AND wait_event_type = 'Lock' \
                     AND datname = current_database())";
        for _ in 0..2 {
            stage.until_source(waits).await;
            assert_eq!(text(&stage.source, "SELECT count(*)::text FROM items").await, "1999");
            run(&stage.source, "UPDATE items_1 SET n = n WHERE id = 1").await;
        }
        run(&reader, "COMMIT").await;
        let said = tokio::task::block_in_place(|| abort.finish());
        assert_eq!(said.code, Some(0), "{held}: {}\n{}", said.lines.join("\n"), said.stderr);
        assert_eq!(text(&stage.source, GUARDED).await, "", "{held}");
        stage.end().await;
    }
}

/// As a partition that another role owns by now.
#[tokio::test(flavor = "multi_thread")]
async fn a_guard_that_may_not_be_removed_is_named_and_the_others_go() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "refused", DDL, TABLES, "").await;
    stage.migration.ok(&["apply", "plan.json", "--yes", "--through", "catchup"]);
    run(
        &stage.source,
        "ALTER TABLE items DETACH PARTITION items_1; ALTER TABLE items_2 RENAME TO \"Second\";
         CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
           IF EXISTS (SELECT FROM pg_event_trigger_dropped_objects() WHERE object_identity LIKE '%items_1') THEN
             RAISE insufficient_privilege; END IF; END $$;
         CREATE EVENT TRIGGER no ON sql_drop EXECUTE FUNCTION no()",
    )
    .await;
    let output = stage.migration.run(&["abort", "--yes"]);
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    let statement = "DROP TRIGGER IF EXISTS \"pcrd_no_truncate\" ON \"public\".\"items_1\"";
    assert!(said.contains(statement) && said.contains("SQLSTATE 42501"), "{said}");
    assert_eq!(text(&stage.source, GUARDED).await, "items_1");
    run(&stage.source, &format!("DROP EVENT TRIGGER no; {statement}; TRUNCATE items, items_1")).await;
}

/// The closed source grows, as a job that creates partitions goes on.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_came_after_the_switch_are_not_dropped_with_their_rows() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "grown", DDL, TABLES, "").await;
    stage.cut_over().assert_switched();
    run(&stage.source, "CREATE TABLE items_3 PARTITION OF items FOR VALUES FROM (2000) TO (3000)").await;
    run(&stage.source, "INSERT INTO items_3 VALUES (2000, 1)").await;
    let status = stage.migration.ok(&["status"]);
    assert!(status.contains("public.items_3 came to the source after the switch"), "{status}");
    let drop = ["cleanup", "--yes", "--drop-source", "--yes-drop", "public.items"];
    let output = stage.migration.run(&drop);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("public.items_3 of public.items came after the switch and has rows"),
        "{said}"
    );
    assert_eq!(text(&stage.source, "SELECT count(*)::text FROM items").await, "2000");
    run(&stage.source, "DELETE FROM items_3").await;
    stage.migration.ok(&drop);
    assert_eq!(text(&stage.source, "SELECT (to_regclass('items') IS NULL)::text").await, "true");
}

/// Ten locks of each process: the server has room for about 1,400 objects and twice as many who hold one. What is let pass gets
/// its locks, though it is said that little room is left, and what would not get them is refused before anything is written.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_need_more_locks_than_there_are() {
    let pair = TestPair::start_with(15, 15, &[("fsync", "off"), ("max_locks_per_transaction", "10")]);
    for (name, partitions, fit, tables) in
        [("fit", 160, true, TABLES), ("many", 225, false, TABLES), ("same", 160, true, "    - items\n")]
    {
        let ddl = "CREATE TABLE items (id integer PRIMARY KEY, n integer) PARTITION BY RANGE (id)";
        let stage = Stage::new(&pair, name, ddl, tables, "  workers: 4\n  batch_size: 100").await;
        let create = format!(
            "DO $$ BEGIN FOR n IN 0 .. {partitions} - 1 LOOP
               EXECUTE format('CREATE TABLE items_%s PARTITION OF items FOR VALUES FROM (%s) TO (%s)', n, 10 * n, 10 * (n + 1)); COMMIT;
             END LOOP; END $$"
        );
        run(&stage.source, &create).await;
        run(&stage.source, &format!("INSERT INTO items SELECT g, g FROM generate_series(0, {partitions} * 10 - 1) g"))
            .await;
        run(&stage.source, "ANALYZE items").await;
        let words = |output: std::process::Output| {
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
        };
        let planned = words(stage.migration.run(&["plan", "--out", "plan.json"]));
        assert!(
            planned.contains("lock_headroom") && planned.contains("max_locks_per_transaction"),
            "{name}: {planned}"
        );
        let output = stage.migration.run(&["apply", "plan.json", "--yes", "--through", "catchup"]);
        let (is_done, said) = (output.status.success(), words(output));
        assert_eq!(is_done, fit, "{name}: {said}");
        // What is let pass may be said to leave little room, when it takes long enough for a look.
        assert!(fit || said.contains("lock_headroom") && said.contains("max_locks_per_transaction"), "{name}: {said}");
        assert_eq!(said.contains("ask for at most 2"), !fit, "{name}: {said}");
        if fit {
            stage.cut_over().assert_switched();
            stage.assert_equal("SELECT * FROM items", "SELECT * FROM items").await;
        } else {
            assert_eq!(text(&stage.target, "SELECT (to_regclass('items') IS NULL)::text").await, "true");
        }
        stage.end().await;
    }
}
