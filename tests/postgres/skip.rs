//! A streamed row that the target refuses stops the run, named; it is gone past by mending, or by leaving the change out.

use crate::migration::{Running, Said};
use crate::stage::Stage;
use crate::support::{TestPair, run, text};

const READY: &str = "\"type\":\"gate\",\"ready\":true";
const CANARY: &str = "v4lue-CANARY";

const ITEMS: &str = "CREATE TABLE items (id integer PRIMARY KEY, t text, u text, n integer);
    INSERT INTO items SELECT g, g, g, g FROM generate_series(1, 300) AS g";
const YAML: &str = "    - name: items\n      columns: { id: { type: bigint }, t: { type: integer } }\n";
const SAME: &str = "SELECT id, t, u, n FROM items";

fn ended(running: Running) -> Said {
    tokio::task::block_in_place(|| running.finish())
}

/// The position that the error names.
#[track_caller]
fn position(said: &Said) -> String {
    let (_, after) = said.stderr.split_once("commits at ").unwrap_or_else(|| panic!("no position: {}", said.stderr));
    after.chars().take_while(|c| c.is_ascii_hexdigit() || *c == '/').collect()
}

/// Waits for the run to stop at what is written now; gives what it said and the position that it named.
async fn stopped(stage: &Stage, running: Running, write: &str) -> (Said, String) {
    let before = text(&stage.source, "SELECT pg_current_wal_insert_lsn()::text").await;
    run(&stage.source, write).await;
    let after = text(&stage.source, "SELECT pg_current_wal_insert_lsn()::text").await;
    let said = ended(running);
    assert_eq!(said.code, Some(1), "{}: {}\n{}", stage.name, said.lines.join("\n"), said.stderr);
    let named = position(&said);
    let within = format!("SELECT '{named}'::pg_lsn BETWEEN '{before}' AND '{after}'");
    assert_eq!(text(&stage.source, &within).await, "t", "{}: {before} {after} {}", stage.name, said.stderr);
    (said, named)
}

/// What refuses, its SQLSTATE, the constraint's name, how it is mended.
const REFUSALS: &[(&str, &str, &str, &str, &str)] = &[
    (
        "check",
        "ALTER TABLE items ADD CONSTRAINT short CHECK (u NOT LIKE 'v4lue%')",
        "23514",
        "short",
        "ALTER TABLE items DROP CONSTRAINT short",
    ),
    (
        "not_null",
        "ALTER TABLE items ALTER n SET NOT NULL",
        "23502",
        "public.items",
        "ALTER TABLE items ALTER n DROP NOT NULL",
    ),
    (
        "unique_index",
        "CREATE UNIQUE INDEX one_u ON items (u); INSERT INTO items VALUES (-1, 1, 'v4lue-CANARY', 1)",
        "23505",
        "one_u",
        "DROP INDEX one_u; DELETE FROM items WHERE id = -1",
    ),
    (
        "foreign_key",
        "CREATE TABLE known (u text PRIMARY KEY); INSERT INTO known SELECT u FROM items; \
         ALTER TABLE items ADD CONSTRAINT known_u FOREIGN KEY (u) REFERENCES known NOT VALID; \
         DO $$ DECLARE r record; BEGIN FOR r IN SELECT tgname FROM pg_trigger WHERE tgrelid = 'items'::regclass LOOP \
         EXECUTE format('ALTER TABLE items ENABLE ALWAYS TRIGGER %I', r.tgname); END LOOP; END $$",
        "23503",
        "known_u",
        "ALTER TABLE items DROP CONSTRAINT known_u",
    ),
    (
        "trigger",
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF new.u LIKE 'v4lue%' THEN \
         RAISE EXCEPTION 'bad value %', new.u; END IF; RETURN new; END $$; \
         CREATE TRIGGER no BEFORE INSERT OR UPDATE ON items FOR EACH ROW EXECUTE PROCEDURE no(); \
         ALTER TABLE items ENABLE ALWAYS TRIGGER no",
        "P0001",
        "public.items",
        "DROP TRIGGER no ON items",
    ),
];

/// One statement of the transaction is refused, after and before others that are not.
fn writes() -> [(&'static str, String); 2] {
    let around = |write: String| {
        format!(
            "BEGIN; UPDATE items SET n = n + 1 WHERE id < 50; {write}; INSERT INTO items VALUES (2000, 1, 'x', 1); COMMIT"
        )
    };
    [
        ("insert", around(format!("INSERT INTO items VALUES (1000, 1, '{CANARY}', NULL)"))),
        ("update", around(format!("UPDATE items SET u = '{CANARY}', n = NULL WHERE id = 7"))),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_row_is_named_and_nothing_of_its_transaction_is_there() {
    let pair = TestPair::start(15, 15);
    for (what, on_target, sqlstate, constraint, mend) in REFUSALS {
        for (verb, write) in writes() {
            let name = format!("{what}_{verb}");
            let stage = Stage::new(&pair, &name, ITEMS, YAML, "").await;
            let mut running = stage.start("");
            running.wait_for(READY);
            run(&stage.target, on_target).await;
            let before = text(&stage.target, "SELECT count(*) || ' ' || sum(n) FROM items").await;
            let (said, position) = stopped(&stage, running, &write).await;
            let row = if verb == "insert" { "row (1000)" } else { "row (7)" };
            let key = row.trim_start_matches("row (").trim_end_matches(')');
            let line = format!("pcrd skip --lsn {position} --table public.items --key {key} --reason");
            for part in ["public.items", verb, row, *sqlstate, *constraint, "pcrd abort", line.as_str()] {
                assert!(said.stderr.contains(part), "{name}: `{part}` is not in {}", said.stderr);
            }
            let all = said.lines.join("\n") + &said.stderr;
            assert!(!all.contains(CANARY), "{name}: {all}");
            assert_eq!(text(&stage.target, "SELECT count(*) || ' ' || sum(n) FROM items").await, before, "{name}");
            run(&stage.target, mend).await;
            stage.cut_over().assert_switched();
            stage.assert_equal(SAME, SAME).await;
            stage.end().await;
        }
    }
}

/// The source's own value is the reason: mended there, the same command goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_a_checked_cast_refuses() {
    let pair = TestPair::start(15, 15);
    for (verb, row, write) in [
        ("insert", "row (1000)", format!("INSERT INTO items VALUES (1000, '{CANARY}', '', 1)")),
        ("update", "row (7)", format!("UPDATE items SET t = '{CANARY}' WHERE id = 7")),
    ] {
        let stage = Stage::new(&pair, &format!("cast_{verb}"), ITEMS, YAML, "").await;
        let mut running = stage.start("");
        running.wait_for(READY);
        let (said, _) = stopped(&stage, running, &write).await;
        for part in ["public.items", verb, row, "22P02"] {
            assert!(said.stderr.contains(part), "{verb}: `{part}` is not in {}", said.stderr);
        }
        assert!(!(said.lines.join("\n") + &said.stderr).contains(CANARY), "{}", said.stderr);
        assert_eq!(text(&stage.target, "SELECT count(*) FROM items").await, "300", "{verb}");
        run(&stage.source, "UPDATE items SET t = '5' WHERE t NOT BETWEEN '0' AND '9999'").await;
        stage.cut_over().assert_switched();
        stage.assert_equal(SAME, SAME).await;
    }
}
