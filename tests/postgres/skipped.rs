//! A change that is left out on purpose: only that one, and everything that follows knows of it.

use std::process::Command;

use crate::migration::{Migration, Running, Said};
use crate::stage::Stage;
use crate::support::{TestPair, rows, run, text};

const READY: &str = "\"type\":\"gate\",\"ready\":true";
const REASON: &str = "it's a test";

const ITEMS: &str = "CREATE TABLE items (id integer PRIMARY KEY, u text, big text);
    ALTER TABLE items ALTER big SET STORAGE EXTERNAL;
    INSERT INTO items SELECT g, g, repeat('x', 3000) FROM generate_series(1, 300) AS g";
const YAML: &str = "    - name: items\n      columns: { id: { type: bigint } }\n";
const SAME: &str = "SELECT id, u, big FROM items";
const REFUSES: &str = "ALTER TABLE items ADD CONSTRAINT short CHECK (u NOT LIKE 'bad%')";

fn ended(running: Running) -> Said {
    tokio::task::block_in_place(|| running.finish())
}

/// Runs the line that an error printed, as an operator's shell does.
#[track_caller]
fn as_printed(migration: &Migration, said: &Said) {
    let (_, line) = said.stderr.split_once("pcrd skip ").unwrap_or_else(|| panic!("no line: {}", said.stderr));
    let (line, _) = line.split_once(" --reason").unwrap();
    let script = format!("\"$0\" skip {line} --reason \"$1\" --yes");
    let mut shell = Command::new("sh");
    shell.current_dir(migration.dir.path()).args(["-c", &script, env!("CARGO_BIN_EXE_pcrd"), REASON]);
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

#[track_caller]
fn assert_stopped(said: &Said, at: &str) {
    assert_eq!(said.code, Some(1), "{at}: {}\n{}", said.lines.join("\n"), said.stderr);
    assert!(said.stderr.contains(at), "`{at}` is not in {}", said.stderr);
}

/// What `verify` says, and whether all is well.
fn verified(stage: &Stage) -> (Option<i32>, String) {
    let output = tokio::task::block_in_place(|| stage.migration.run(&["verify"]));
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said)
}

/// A stage with a run at the gate, and a constraint on the target that somebody added.
async fn at_the_gate(pair: &TestPair, name: &str) -> (Stage, Running) {
    let stage = Stage::new(pair, name, ITEMS, YAML, "").await;
    let mut running = stage.start("");
    running.wait_for(READY);
    run(&stage.target, REFUSES).await;
    (stage, running)
}

/// Goes on from a stop by the line that it printed.
async fn gone_past(stage: &Stage, running: Running, row: &str) -> Running {
    let said = ended(running);
    assert_stopped(&said, row);
    as_printed(&stage.migration, &said);
    let mut running = stage.start("");
    running.wait_for(READY);
    stage.until_applied().await;
    running
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_left_out_and_nothing_else_of_its_transaction() {
    for (source, target) in [(15, 15), (10, 18), (18, 10)] {
        let pair = TestPair::start(source, target);
        left_out_alone(&pair).await;
    }
}

async fn left_out_alone(pair: &TestPair) {
    let (stage, running) = at_the_gate(pair, "left_out").await;
    run(
        &stage.source,
        "BEGIN; UPDATE items SET u = 'fine' WHERE id <= 40; INSERT INTO items VALUES (1000, 'bad', 'y'); \
         INSERT INTO items VALUES (1001, 'good', 'y'); DELETE FROM items WHERE id = 300; COMMIT",
    )
    .await;
    let running = gone_past(&stage, running, "row (1000)").await;
    let but = "SELECT id, u, big FROM items WHERE id <> 1000";
    stage.assert_equal(but, SAME).await;
    let ledger = "SELECT tbl, key::text, reason, (met_at IS NOT NULL)::text FROM pcrd.skipped";
    let found = rows(&stage.target, ledger).await;
    let expected = ["public.items", "[\"1000\"]", REASON, "true"].map(|text| Some(text.to_owned()));
    assert_eq!(found, [expected.to_vec()]);

    let listed = "row (1000) is missing on the target: skipped on purpose at";
    let (code, said) = verified(&stage);
    assert!(code == Some(0) && said.contains(listed) && said.contains(REASON), "{code:?} {said}");
    let status = stage.migration.ok(&["status"]);
    assert!(status.contains("skip of public.items, row (1000)") && status.contains("left out at"), "{status}");

    // Another row beside it that nobody has left out.
    run(&stage.target, "DELETE FROM items WHERE id = 1001").await;
    let (code, said) = verified(&stage);
    assert!(code == Some(5) && said.contains("row (1001) is missing") && said.contains(listed), "{code:?} {said}");
    let refused = tokio::task::block_in_place(|| stage.migration.run(&["cutover", "--yes"]));
    assert!(!refused.status.success());
    run(&stage.target, "INSERT INTO items VALUES (1001, 'good', 'y')").await;
    let (code, said) = verified(&stage);
    assert_eq!(code, Some(0), "{said}");

    let said = tokio::task::block_in_place(|| {
        let said = running.interrupt();
        assert_eq!(said.code, Some(6), "{}", said.stderr);
        assert!(said.lines.iter().any(|line| line.contains("left out at")), "{}", said.lines.join("\n"));
        assert_eq!(Stage::counter(&said, "left_out"), 1, "{:?}", said.counters());
        stage.cut_over()
    });
    said.assert_switched();
    assert!(said.lines.iter().any(|line| line.contains(listed)), "{}", said.lines.join("\n"));
    stage.assert_equal(but, SAME).await;
    let (code, said) = verified(&stage);
    assert!(code == Some(0) && said.contains(listed), "{code:?} {said}");
}

/// The counts of rows behind the fence see damage beside a row that was left out.
#[tokio::test(flavor = "multi_thread")]
async fn damage_that_is_found_behind_the_fence_only() {
    let pair = TestPair::start(15, 15);
    let (stage, running) = at_the_gate(&pair, "damage").await;
    run(&stage.source, "INSERT INTO items VALUES (1000, 'bad', 'y')").await;
    let running = gone_past(&stage, running, "row (1000)").await;
    run(&stage.target, "DELETE FROM items WHERE id = 17").await;
    let refused = tokio::task::block_in_place(|| stage.migration.run(&["cutover", "--yes"]));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("rows on the"), "{said}");
    run(&stage.source, "INSERT INTO items VALUES (3000, 'the source is open', 'y')").await;
    drop(tokio::task::block_in_place(|| running.interrupt()));
}

/// Of a table that has no other row nothing else is compared, and that is no reason to refuse.
#[tokio::test(flavor = "multi_thread")]
async fn the_only_row_of_a_table() {
    let pair = TestPair::start(15, 15);
    let (stage, running) = at_the_gate(&pair, "only").await;
    run(&stage.source, "DELETE FROM items; INSERT INTO items VALUES (1000, 'bad', 'y')").await;
    let running = gone_past(&stage, running, "row (1000)").await;
    let (code, said) = verified(&stage);
    assert!(code == Some(0) && said.contains("but for 1 row(s)"), "{code:?} {said}");
    drop(tokio::task::block_in_place(|| running.interrupt()));
    stage.cut_over().assert_switched();
    assert_eq!(text(&stage.target, "SELECT count(*) FROM items").await, "0");
}

/// Of one source with two targets only the one that is named lacks the change.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_targets_of_a_source() {
    let pair = TestPair::start(15, 15);
    let yaml = "    - name: items\n      where: id < 5000\n      columns: { id: { type: bigint } }\n    \
                - name: items\n      target: copies\n      columns: { big: { drop: true } }\n";
    let accept = "accept:\n  - { code: DELETES_DATA, address: public.copies.big, reason: test }\n";
    let stage = Stage::new(&pair, "two", ITEMS, &format!("{yaml}{accept}"), "").await;
    let mut running = stage.start("");
    running.wait_for(READY);
    run(&stage.target, REFUSES).await;
    run(&stage.source, "INSERT INTO items VALUES (1000, 'bad', 'y'), (6000, 'bad', 'y'), (1001, 'good', 'y')").await;
    let running = gone_past(&stage, running, "row (1000)").await;
    let items = "SELECT id, u, big FROM items WHERE id < 5000";
    stage.assert_equal(&format!("{items} AND id <> 1000"), items).await;
    stage.assert_equal("SELECT id, u FROM items", "SELECT id, u FROM copies").await;
    // It leaves the part of the table that belongs, while it is missing.
    run(&stage.source, "UPDATE items SET u = 'good', id = 7000 WHERE id = 1000").await;
    stage.until_applied().await;
    run(&stage.source, "UPDATE items SET id = 1000 WHERE id = 7000").await;
    stage.until_applied().await;
    stage.assert_equal(items, items).await;
    stage.assert_equal("SELECT id, u FROM items", "SELECT id, u FROM copies").await;
    drop(tokio::task::block_in_place(|| running.interrupt()));
    stage.cut_over().assert_switched();
}

/// Whatever the source does with the key later makes it whole.
#[tokio::test(flavor = "multi_thread")]
async fn later_changes_of_the_key() {
    let pair = TestPair::start(15, 15);
    let insert = "INSERT INTO items VALUES (1000, 'bad', repeat('y', 4000))";
    let update = "UPDATE items SET u = 'bad' WHERE id = 7";
    for (name, write, row, later) in [
        ("updated", insert, "row (1000)", "UPDATE items SET u = 'good' WHERE id = 1000"),
        ("deleted", insert, "row (1000)", "DELETE FROM items WHERE id = 1000"),
        (
            "again",
            insert,
            "row (1000)",
            "DELETE FROM items WHERE id = 1000; INSERT INTO items VALUES (1000, 'good', 'z')",
        ),
        ("moved", insert, "row (1000)", "UPDATE items SET id = 1001, u = 'good' WHERE id = 1000"),
        ("moved_away", update, "row (7)", "UPDATE items SET id = 1001, u = 'good' WHERE id = 7"),
        ("taken", update, "row (7)", "DELETE FROM items WHERE id = 7; UPDATE items SET id = 7 WHERE id = 8"),
        (
            "mended",
            update,
            "row (7)",
            "UPDATE items SET u = 'good' WHERE id = 7; UPDATE items SET big = 'z' WHERE id < 50",
        ),
        ("gone", update, "row (7)", "DELETE FROM items WHERE id = 7"),
        ("emptied", update, "row (7)", "TRUNCATE items; INSERT INTO items VALUES (7, 'good', 'z')"),
        // The key is what changes, and the new row what is refused: the old one goes.
        (
            "new_key",
            "UPDATE items SET id = 1000, u = 'bad' WHERE id = 7",
            "row (1000)",
            "UPDATE items SET u = 'good' WHERE id = 1000",
        ),
        (
            "old_key",
            "UPDATE items SET id = 1000, u = 'bad' WHERE id = 7",
            "row (1000)",
            "DELETE FROM items WHERE id = 1000; INSERT INTO items VALUES (7, 'good', 'z')",
        ),
        // Within one transaction.
        (
            "inside",
            "BEGIN; INSERT INTO items VALUES (1000, 'bad', 'y'); UPDATE items SET big = 'z' WHERE id = 1000; COMMIT",
            "row (1000)",
            "UPDATE items SET u = 'good' WHERE id = 1000",
        ),
    ] {
        let (stage, running) = at_the_gate(&pair, name).await;
        run(&stage.source, write).await;
        let running = gone_past(&stage, running, row).await;
        let key: String = row.chars().filter(char::is_ascii_digit).collect();
        let but = |table: &str| format!("SELECT id, u, big FROM {table} WHERE id <> {key}");
        stage.assert_equal(&but("items"), &but("items")).await;
        assert_eq!(text(&stage.target, "SELECT count(*) FROM items WHERE u LIKE 'bad%'").await, "0", "{name}");
        run(&stage.source, later).await;
        stage.until_applied().await;
        stage.assert_equal(SAME, SAME).await;
        let (code, said) = verified(&stage);
        assert!(code == Some(0) && !said.contains("skipped on purpose at"), "{name}: {code:?} {said}");
        drop(tokio::task::block_in_place(|| running.interrupt()));
        stage.cut_over().assert_switched();
        stage.assert_equal(SAME, SAME).await;
        stage.end().await;
    }
}

/// What is refused again is named again, with its own position.
#[tokio::test(flavor = "multi_thread")]
async fn a_later_change_that_is_refused_too() {
    let pair = TestPair::start(15, 15);
    let (stage, running) = at_the_gate(&pair, "twice").await;
    run(&stage.source, "INSERT INTO items VALUES (1000, 'bad', 'y')").await;
    let running = gone_past(&stage, running, "row (1000)").await;
    run(&stage.source, "UPDATE items SET u = 'bad again' WHERE id = 1000").await;
    let running = gone_past(&stage, running, "row (1000)").await;
    assert_eq!(text(&stage.target, "SELECT count(*) FROM pcrd.skipped WHERE met_at IS NOT NULL").await, "2");
    assert_eq!(text(&stage.target, "SELECT count(*) FROM items WHERE id = 1000").await, "0");
    run(&stage.source, "UPDATE items SET u = 'good' WHERE id = 1000").await;
    stage.until_applied().await;
    stage.assert_equal(SAME, SAME).await;
    drop(tokio::task::block_in_place(|| running.interrupt()));
    stage.cut_over().assert_switched();
}

/// A row that is read again waits for what it collides with; at the end of its wait it can be left out, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_later_change_that_collides() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "collides", ITEMS, YAML, "").await;
    let mut running = stage.start("");
    running.wait_for(READY);
    run(&stage.target, "CREATE UNIQUE INDEX one_u ON items (u)").await;
    run(&stage.source, "INSERT INTO items VALUES (1000, '17', 'y')").await;
    let running = gone_past(&stage, running, "row (1000)").await;
    run(&stage.source, "UPDATE items SET big = 'z' WHERE id = 1000").await;
    let said = ended(running);
    assert_stopped(&said, "(constraint one_u)");
    as_printed(&stage.migration, &said);
    let mut running = stage.start("");
    running.wait_for(READY);
    stage.until_applied().await;
    stage.assert_equal("SELECT id, u, big FROM items WHERE id <> 1000", SAME).await;
    run(&stage.source, "UPDATE items SET u = 'free' WHERE id = 1000").await;
    stage.until_applied().await;
    stage.assert_equal(SAME, SAME).await;
    drop(tokio::task::block_in_place(|| running.interrupt()));
    stage.cut_over().assert_switched();
}

/// The skip and the position move together, wherever the process dies.
#[tokio::test(flavor = "multi_thread")]
async fn killed_beside_it() {
    let pair = TestPair::start(15, 15);
    for point in ["apply.begin", "apply.mid-transaction", "apply.before-commit", "apply.after-commit"] {
        let name = point.replace(['.', '-'], "_");
        let (stage, running) = at_the_gate(&pair, &name).await;
        run(
            &stage.source,
            "BEGIN; INSERT INTO items VALUES (1000, 'bad', 'y'); UPDATE items SET u = 'fine' WHERE id < 9; COMMIT",
        )
        .await;
        let said = ended(running);
        assert_stopped(&said, "row (1000)");
        as_printed(&stage.migration, &said);
        let said = ended(stage.start(&format!("{point}=return(kill)")));
        assert_eq!(said.code, None, "{point} was never reached: {}", said.stderr);
        let together = "SELECT ((met_at IS NOT NULL) = (lsn < applied_lsn))::text FROM pcrd.skipped, pcrd.progress";
        assert_eq!(text(&stage.target, together).await, "true", "{point}");
        let met = text(&stage.target, "SELECT (met_at IS NOT NULL)::text FROM pcrd.skipped").await;
        assert_eq!(met == "true", point == "apply.after-commit", "{point}: {met}");
        let mut running = stage.start("");
        running.wait_for(READY);
        stage.until_applied().await;
        stage.assert_equal("SELECT id, u, big FROM items WHERE id <> 1000", SAME).await;
        run(&stage.source, "UPDATE items SET u = 'good' WHERE id = 1000").await;
        stage.until_applied().await;
        stage.assert_equal(SAME, SAME).await;
        drop(tokio::task::block_in_place(|| running.interrupt()));
        stage.cut_over().assert_switched();
        stage.end().await;
    }
}

/// Keys of several columns, with values that mean something to a shell.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_all_sorts() {
    let pair = TestPair::start(15, 15);
    let ddl = "CREATE TABLE items (a text COLLATE \"C\", b integer, u text, PRIMARY KEY (a, b)); \
        INSERT INTO items SELECT g, g, g FROM generate_series(1, 100) AS g";
    let yaml = "    - name: items\n      columns: { b: { type: bigint } }\n";
    let stage = Stage::new(&pair, "keys", ddl, yaml, "").await;
    for (number, key) in ["it''s", "[\"x\"]", "$(touch /tmp/pcrd) `x`", "ü\u{202e}😀", "", "a,b"].iter().enumerate()
    {
        let mut running = stage.start("");
        running.wait_for(READY);
        run(&stage.target, "ALTER TABLE items DROP CONSTRAINT IF EXISTS short; ALTER TABLE items ADD CONSTRAINT short CHECK (u <> 'bad') NOT VALID").await;
        run(
            &stage.source,
            &format!("INSERT INTO items VALUES ('{key}', {number}, 'bad'), (E'{number}\\n', -1, 'good')"),
        )
        .await;
        let masked = ended(running);
        assert_stopped(&masked, &format!("row (…, {number})"));
        assert!(masked.stderr.contains("--key KEY") && masked.stderr.contains("--show-values"), "{}", masked.stderr);
        // As people see it: in JSON the line is a string of JSON.
        as_printed(
            &stage.migration,
            &ended(stage.migration.start(&["apply", "plan.json", "--yes", "--show-values"], "")),
        );
        let said = stage.start("");
        stage.until_applied().await;
        drop(tokio::task::block_in_place(|| said.interrupt()));
        let left = format!("SELECT count(*) FROM pcrd.skipped WHERE met_at IS NOT NULL AND key->>0 = '{key}'");
        assert_eq!(text(&stage.target, &left).await, "1", "{key}");
        stage.assert_equal("SELECT a, b, u FROM items WHERE u <> 'bad'", "SELECT a, b, u FROM items").await;
    }
    stage.cut_over().assert_switched();
    assert_eq!(text(&stage.target, "SELECT count(*) FROM items").await, "106");
}

/// What cannot be meant is refused, and records nothing.
#[tokio::test(flavor = "multi_thread")]
async fn skips_that_are_refused() {
    let pair = TestPair::start(15, 15);
    let ddl = format!(
        "{ITEMS}; CREATE TABLE keyless (n integer); INSERT INTO keyless VALUES (1); ALTER TABLE keyless REPLICA IDENTITY FULL"
    );
    let yaml = format!("{YAML}    - name: keyless\n      columns: {{ n: {{ type: bigint }} }}\n");
    let stage = Stage::new(&pair, "refused", &ddl, &yaml, "").await;
    let mut running = stage.start("");
    running.wait_for(READY);
    let ahead = "FFFFFF/0";
    let refuse = |lsn: &str, table: &str, key: &str, reason: &str, says: &str| {
        let args = ["skip", "--lsn", lsn, "--table", table, "--key", key, "--reason", reason, "--yes"];
        let output = tokio::task::block_in_place(|| stage.migration.run(&args));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(says), "{args:?}: `{says}` is not in {said}");
    };
    refuse(ahead, "items", "7", " ", "--reason says nothing");
    // As the error prints it.
    refuse(ahead, "items", "7", "…", "--reason says nothing");
    refuse(ahead, "other", "7", "why", "no table other");
    refuse(ahead, "items", "x", "why", "not a valid Int");
    refuse(ahead, "items", "[\"1\",\"2\"]", "why", "--key has 2 value(s)");
    refuse(ahead, "items", "[1", "why", "JSON array");
    let nowhere = ["skip", "--lsn", ahead, "--key", "7", "--reason", "why", "--yes"];
    let output = tokio::task::block_in_place(|| stage.migration.run(&nowhere));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--table is missing"), "{output:?}");
    refuse(ahead, "keyless", "1", "why", "no key that pcrd can name a row by");
    refuse("0/1", "items", "7", "why", "the stream is past 0/1");
    refuse("x", "items", "7", "why", "not a log position");
    assert_eq!(text(&stage.target, "SELECT count(*) FROM pcrd.skipped").await, "0");
    // As an earlier version left the ledger.
    run(&stage.target, "DROP TABLE pcrd.skipped").await;
    assert!(!stage.migration.ok(&["status"]).contains("skip"));

    // One that can be meant, and never meets anything, is told where somebody decides.
    let unmet = ["skip", "--lsn", ahead, "--table", "items", "--key", "7", "--reason", "why", "--yes"];
    let output = tokio::task::block_in_place(|| stage.migration.run(&unmet));
    assert!(output.status.success() && String::from_utf8_lossy(&output.stderr).contains("an executor is running"));
    assert!(stage.migration.ok(&["status"]).contains("has met no change"));
    // It excuses nothing.
    run(&stage.target, "UPDATE items SET u = 'other' WHERE id = 7").await;
    let (code, said) = verified(&stage);
    assert!(code == Some(5) && said.contains("row (7) differs in u"), "{code:?} {said}");
    run(&stage.target, "UPDATE items SET u = '7' WHERE id = 7").await;
    drop(tokio::task::block_in_place(|| running.interrupt()));
    let said = stage.cut_over();
    said.assert_switched();
    assert!(said.lines.iter().any(|line| line.contains("has met no change")), "{}", said.lines.join("\n"));
    refuse(ahead, "items", "7", "why", "cut over");
}
