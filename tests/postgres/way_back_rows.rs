//! Rows of the way back: those that the target never had stay as they are, and what the stream does not show ends it.

use crate::stage::Stage;
use crate::support::{TestPair, run, text};
use crate::way_back::{ROLE, assert_code, refusal, staged, switched, wait};

/// Inactive rows stay on the source: 1 to 10 of them.
const ITEMS: &str =
    "CREATE TABLE items (id integer PRIMARY KEY, active boolean NOT NULL, n integer NOT NULL, kind text);
    INSERT INTO items SELECT g, g > 10, g, 'kind ' || g FROM generate_series(1, 60) AS g";
const FILTERED: &str = "    - name: items
      where: active
      columns: { id: { type: bigint }, kind: { drop: true } }
";
const CUTOVER: &str = "accept: [{ code: DELETES_DATA, address: public.items.kind, reason: test }]\n\
                       cutover: { fence_timeout: 60, reverse: { user: goes_back } }";
const BACK: &str = "cutover: { fence_timeout: 60, reverse: { user: goes_back } }";
const LEFT_OUT: &str =
    "SELECT string_agg(concat_ws(' ', id, active, n, kind), ',' ORDER BY id) FROM items WHERE id <= 10";

async fn filtered(pair: &TestPair, name: &str) -> Stage {
    staged(pair, name, &format!("{ROLE}; {ITEMS}"), FILTERED, CUTOVER).await
}

/// The way back ends by itself, and says why; the target goes on, and nobody goes back any more.
#[track_caller]
pub fn assert_closed(stage: &Stage, said: &crate::migration::Said, why: &str) {
    assert_code(said, Some(1));
    assert!(said.stderr.contains("the way back is closed, and the target goes on"), "{}", said.stderr);
    assert!(said.stderr.contains(why), "{why}: {}", said.stderr);
    let refused = stage.migration.run(&["rollback", "--yes"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("the way back is closed"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn truncate_never_empties_what_the_filter_left_out() {
    let pair = TestPair::start(15, 17);
    let stage = filtered(&pair, "emptied").await;
    let planned = stage.migration.ok(&["plan", "--out", "again.json"]);
    assert!(planned.contains("TRUNCATE, because the source has rows that the filter left out"), "{planned}");
    let left_out = text(&stage.source, LEFT_OUT).await;
    let running = switched(&stage);
    // A row that the filter would not let in is the target's all the same.
    run(&stage.target, "UPDATE items SET active = false, n = 0 WHERE id = 11").await;
    stage.until_source("SELECT n = 0 AND NOT active FROM items WHERE id = 11").await;
    run(&stage.target, "TRUNCATE items").await;
    assert_closed(&stage, &wait(running), "TRUNCATE of public.items has no way back");
    assert_eq!(text(&stage.source, LEFT_OUT).await, left_out);
    assert_eq!(text(&stage.source, "SELECT count(*) FROM items").await, "60", "nothing of it is applied");
    assert_eq!(refusal(&stage.target, "INSERT INTO items VALUES (99, true, 1)").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_a_row_that_was_left_out_is_never_overwritten() {
    let pair = TestPair::start(15, 17);
    for (name, sql) in [
        ("added", "INSERT INTO items VALUES (5, true, 100)"),
        (
            "among",
            "INSERT INTO items SELECT g, true, 100 FROM generate_series(100, 130) AS g UNION ALL SELECT 5, true, 100",
        ),
        ("moved", "UPDATE items SET id = 5 WHERE id = 20"),
    ] {
        let stage = filtered(&pair, name).await;
        let left_out = text(&stage.source, LEFT_OUT).await;
        let running = switched(&stage);
        run(&stage.target, sql).await;
        assert_closed(&stage, &wait(running), "items_pkey");
        assert_eq!(text(&stage.source, LEFT_OUT).await, left_out, "{name}");
        stage.end().await;
    }
}

/// The target's foreign key speaks of the target's rows.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_left_out_keep_what_they_refer_to() {
    let pair = TestPair::start(15, 17);
    let ddl = format!(
        "{ROLE}; CREATE TABLE people (id integer PRIMARY KEY, name text); \
         CREATE TABLE orders (id integer PRIMARY KEY, person integer NOT NULL REFERENCES people, open boolean NOT NULL); \
         CREATE TABLE notes (id integer PRIMARY KEY, person integer REFERENCES people); \
         INSERT INTO people SELECT g, 'p' || g FROM generate_series(1, 20) AS g; \
         INSERT INTO orders SELECT g, g, g > 5 FROM generate_series(1, 20) AS g; INSERT INTO notes VALUES (1, 4)"
    );
    let tables = "    - { name: people }\n    - { name: orders, where: open }\n";
    let stage = staged(&pair, "refers", &ddl, tables, BACK).await;
    let running = switched(&stage);
    // One that only rows have that were left out, and one that only a table has that did not move.
    run(&stage.target, "DELETE FROM people WHERE id IN (3, 4); UPDATE people SET name = 'x' WHERE id = 6").await;
    stage.until_source("SELECT name = 'x' FROM people WHERE id = 6").await;
    let refused = tokio::task::block_in_place(|| stage.migration.run(&["rollback", "--yes"]));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success(), "{said}");
    assert!(said.contains("public.orders.orders_person_fkey: 2 row(s)"), "{said}");
    assert!(said.contains("public.notes.notes_person_fkey: 1 row(s)"), "{said}");
    assert_eq!(refusal(&stage.source, "UPDATE people SET name = name").await.as_deref(), Some("25006"));
    // The target takes writes, and they go back; with the rows there again nothing is broken.
    run(&stage.target, "INSERT INTO people VALUES (3, 'again'), (4, 'again')").await;
    tokio::task::block_in_place(|| stage.migration.ok(&["rollback", "--yes"]));
    assert_code(&wait(running), Some(0));
    stage.assert_equal("SELECT * FROM people", "SELECT * FROM people").await;
    assert_eq!(text(&stage.source, "SELECT count(*) FROM orders").await, "20");
}

const PLAIN: &str = "CREATE TABLE items (id integer PRIMARY KEY, n integer NOT NULL, kind text);
    INSERT INTO items SELECT g, g, 'kind ' || g FROM generate_series(1, 60) AS g;
    CREATE TABLE notes (id integer PRIMARY KEY, t text); INSERT INTO notes SELECT g, 'T' FROM generate_series(1, 9) AS g";
/// Notes have no way back.
const TWO: &str = "    - { name: items, columns: { id: { type: bigint }, kind: { drop: true } } }
    - { name: notes, columns: { t: { using: lower(t) } } }
";

async fn plain(pair: &TestPair, name: &str) -> Stage {
    let accepted = "accept: [{ code: IRREVERSIBLE, address: public.notes.t, reason: test }, ";
    let cutover = CUTOVER.replace("accept: [", accepted);
    staged(pair, name, &format!("{ROLE}; {PLAIN}"), TWO, &cutover).await
}

const REWRITES: [(&str, &str, &str); 7] = [
    ("type", "ALTER TABLE items ALTER n TYPE integer USING n + 1000", "ALTER TABLE rewrote its rows"),
    ("again", "ALTER TABLE items DROP n, ADD n integer NOT NULL DEFAULT 7", "column n was dropped and added again"),
    ("volatile", "ALTER TABLE items ADD at double precision DEFAULT random()", "public.items"),
    ("wider", "ALTER TABLE items ALTER n TYPE bigint", "public.items"),
    ("dropped", "DROP TABLE items", "it is gone from the target"),
    ("other", "ALTER TABLE notes ALTER t TYPE text USING t || '!'", "public.notes"),
    ("identity", "ALTER TABLE items REPLICA IDENTITY NOTHING", "public.items"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_on_the_target_closes_the_way_back() {
    let pair = TestPair::start(15, 17);
    for (name, sql, why) in REWRITES {
        let stage = plain(&pair, name).await;
        let running = switched(&stage);
        run(&stage.target, "UPDATE items SET n = 0 WHERE id = 1").await;
        stage.until_source("SELECT n = 0 FROM items WHERE id = 1").await;
        run(&stage.target, sql).await;
        // Nobody writes, and nobody asks for anything.
        assert_closed(&stage, &wait(running), why);
        assert_eq!(text(&stage.source, "SELECT n FROM items WHERE id = 2").await, "2");
        stage.end().await;
    }
}

/// And so where nobody looked when it came, whatever the next command is.
#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_while_nobody_looks_closes_the_way_back() {
    let pair = TestPair::start(15, 17);
    for (at, (name, sql, why)) in REWRITES.into_iter().enumerate() {
        let stage = plain(&pair, &format!("unseen_{name}")).await;
        let running = switched(&stage);
        assert_code(&tokio::task::block_in_place(|| running.interrupt()), Some(6));
        run(&stage.target, sql).await;
        let next = if at % 2 == 0 { &["rollback", "--yes"][..] } else { &["apply", "plan.json", "--yes"] };
        assert_closed(&stage, &wait(stage.migration.start(next, "")), why);
        assert_eq!(refusal(&stage.source, "DELETE FROM items").await.as_deref(), Some("25006"), "{name}");
        stage.end().await;
    }
}

/// What is no rewrite is no reason.
#[tokio::test(flavor = "multi_thread")]
async fn upkeep_of_the_target_does_not_close_it() {
    let pair = TestPair::start(15, 17);
    let stage = plain(&pair, "upkeep").await;
    let running = switched(&stage);
    let seen = "SELECT value FROM pcrd.setting WHERE name = 'witness:public.items'";
    for sql in [
        "VACUUM FULL items",
        "GRANT SELECT (n) ON items TO PUBLIC",
        "CLUSTER items USING items_pkey",
        "ALTER TABLE items ALTER n SET STATISTICS 500",
        "TRUNCATE items",
    ] {
        let before = text(&stage.source, seen).await;
        run(&stage.target, sql).await;
        stage.until_source(&format!("SELECT value <> '{before}' FROM ({seen}) AS s")).await;
        run(&stage.target, "INSERT INTO items VALUES (70, 1) ON CONFLICT (id) DO UPDATE SET n = items.n + 1").await;
    }
    run(&stage.target, "CREATE INDEX ON items (n); ANALYZE; COMMENT ON TABLE items IS 'x'").await;
    tokio::task::block_in_place(|| stage.migration.ok(&["rollback", "--yes"]));
    assert_code(&wait(running), Some(0));
    stage.assert_equal("SELECT id, n FROM items", "SELECT id, n FROM items").await;
    assert_eq!(text(&stage.source, "SELECT count(*) FROM items").await, "1");
    stage.migration.ok(&["cleanup", "--yes"]);
}

/// Such a key cannot be set in place, and a row that goes and comes again would lose what the target does not have of it.
#[tokio::test(flavor = "multi_thread")]
async fn another_key_that_the_source_generates_always_closes_it() {
    let pair = TestPair::start(15, 17);
    let ddl = format!(
        "{ROLE}; CREATE TABLE items (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n integer, kind text DEFAULT 'new'); \
         INSERT INTO items (n, kind) SELECT g, 'kind ' || g FROM generate_series(1, 20) AS g"
    );
    let tables = "    - { name: items, columns: { kind: { drop: true } } }\n";
    let stage = staged(&pair, "always", &ddl, tables, CUTOVER).await;
    let running = switched(&stage);
    run(&stage.target, "INSERT INTO items (n) VALUES (0); UPDATE items SET n = n + 1 WHERE id = 5").await;
    stage.until_source("SELECT n = 6 AND kind = 'kind 5' FROM items WHERE id = 5").await;
    run(&stage.target, "UPDATE items SET id = DEFAULT WHERE id = 5").await;
    assert_closed(&stage, &wait(running), "GENERATED ALWAYS");
    assert_eq!(text(&stage.source, "SELECT n || kind FROM items WHERE id = 5").await, "6kind 5");
}

/// A large value that did not change is not sent. By itself it need not be; what is made of it and of others cannot be made.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_made_of_a_large_one_that_was_not_sent_closes_it() {
    let pair = TestPair::start(15, 17);
    let ddl = format!(
        "{ROLE}; CREATE TABLE items (id integer PRIMARY KEY, whole text NOT NULL, big text, kind text); \
         INSERT INTO items SELECT g, 'a ' || g, 'big', 'kind ' || g FROM generate_series(1, 20) AS g"
    );
    let tables = "    - name: items
      columns:
        kind: { drop: true }
        whole: { rename: rest, using: \"split_part(whole, ' ', 2)\", reverse: \"head || ' ' || rest\" }
      add_columns:
        - { name: head, type: text, not_null: true, backfill: \"split_part(whole, ' ', 1)\" }
";
    for (name, identity) in [("unsent", "DEFAULT"), ("sent", "FULL")] {
        let stage = staged(&pair, name, &ddl, tables, CUTOVER).await;
        let planned = stage.migration.ok(&["plan", "--out", "again.json"]);
        assert!(planned.contains("a change that leaves a large"), "{planned}");
        stage.migration.ok(&["apply", "plan.json", "--yes", "--through", "catchup"]);
        run(
            &stage.target,
            &format!(
                "ALTER TABLE items ALTER rest SET STORAGE EXTERNAL, ALTER big SET STORAGE EXTERNAL, REPLICA IDENTITY {identity}"
            ),
        )
        .await;
        let running = switched(&stage);
        run(&stage.target, "UPDATE items SET rest = repeat('x', 5000), big = repeat('y', 5000) WHERE id <= 2").await;
        // A large one that goes back as it is need not be sent.
        run(
            &stage.target,
            "UPDATE items SET big = repeat('y', 5000) WHERE id = 3; UPDATE items SET id = 33, head = 'c' WHERE id = 3",
        )
        .await;
        stage
            .until_source(
                "SELECT count(*) = 1 FROM items WHERE id = 33 AND whole = 'c 3' AND big = repeat('y', 5000) AND kind = 'kind 3'",
            )
            .await;
        assert_eq!(text(&stage.source, "SELECT length(whole) FROM items WHERE id = 2").await, "5002");
        run(&stage.target, "UPDATE items SET head = 'b' WHERE id = 2").await;
        if identity == "DEFAULT" {
            assert_closed(&stage, &wait(running), "UPDATE of a row of public.items has no way back");
            assert_eq!(text(&stage.source, "SELECT left(whole, 3) || kind FROM items WHERE id = 2").await, "a xkind 2");
        } else {
            stage.until_source("SELECT left(whole, 3) || kind = 'b xkind 2' FROM items WHERE id = 2").await;
            assert_code(&tokio::task::block_in_place(|| running.interrupt()), Some(6));
        }
        stage.end().await;
    }
}

/// Said before writes stop.
#[tokio::test(flavor = "multi_thread")]
async fn what_would_change_rows_on_their_way_in_is_refused_before_the_fence() {
    let pair = TestPair::start(15, 17);
    let tables = "    - { name: items }\n";
    for (name, harm, said) in [
        (
            "trigger",
            "CREATE FUNCTION other() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.n := 0; RETURN NEW; END'; \
             CREATE TRIGGER other BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION other(); \
             ALTER TABLE items ENABLE ALWAYS TRIGGER other",
            "TRIGGER other of public.items fires for rows that come back too",
        ),
        (
            "rule",
            "CREATE RULE nothing AS ON DELETE TO items DO INSTEAD NOTHING; ALTER TABLE items ENABLE REPLICA RULE nothing",
            "RULE nothing of public.items fires for rows that come back too",
        ),
    ] {
        let stage = staged(&pair, name, &format!("{ROLE}; {ITEMS}; {harm}"), tables, BACK).await;
        let refused = wait(stage.start_through(""));
        assert_code(&refused, Some(1));
        assert!(refused.stderr.contains(said), "{name}: {}", refused.stderr);
        assert_eq!(refusal(&stage.source, "INSERT INTO items VALUES (100, true, 1)").await, None, "the source is open");
        stage.end().await;
    }
}
