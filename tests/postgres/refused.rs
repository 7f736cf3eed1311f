//! What must not run does not: a stale, edited or foreign plan, a second executor, a plan that is finished. Nothing is
//! written then, neither on the servers nor in the state file.

use std::path::Path;
use std::time::{Duration, Instant};

use pcrd::pg::local::Cluster;
use pcrd::plan::{digest, file};

use crate::migration::{Migration, Running, Said};
use crate::support::{TestPair, connect_to, rows, run, text};

const TABLES: &str = "
CREATE TABLE items (id integer PRIMARY KEY, n integer);
INSERT INTO items SELECT g, g FROM generate_series(1, 500) g;
CREATE TABLE parts (id integer PRIMARY KEY, n integer);
INSERT INTO parts SELECT g, g FROM generate_series(1, 500) g;
ANALYZE items, parts";

fn yaml(table: &str) -> String {
    format!("    - name: {table}\n      columns:\n        id: {{ type: bigint }}\n")
}

async fn pair_with_tables() -> TestPair {
    let pair = TestPair::start(15, 15);
    run(&connect_to(&pair.source, "postgres").await, TABLES).await;
    pair
}

const APPLY: [&str; 4] = ["--json", "apply", "plan.json", "--yes"];

/// As `apply`, with a plan and a state file of another directory's operator.
fn apply_with<'a>(plan: &'a str, state: &'a str) -> [&'a str; 6] {
    ["--json", "--state", state, "apply", plan, "--yes"]
}

/// No slot, no publication, no schema `pcrd`.
async fn assert_clean(cluster: &Cluster, what: &str) {
    let client = connect_to(cluster, "postgres").await;
    for (object, count) in [
        ("replication slots", "SELECT count(*) FROM pg_replication_slots"),
        ("publications", "SELECT count(*) FROM pg_publication"),
        ("schemas", "SELECT count(*) FROM pg_namespace WHERE nspname = 'pcrd'"),
        ("triggers", "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'pcrd%'"),
    ] {
        assert_eq!(text(&client, count).await, "0", "{what}: {object} are left on port {}", cluster.port());
    }
}

/// Rows of the state file, read without pcrd; none when there is no file.
fn state_rows(path: &Path) -> u64 {
    if !path.exists() {
        return 0;
    }
    let state = rusqlite::Connection::open(path).unwrap();
    let count = |table: &str| -> u64 {
        state.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    };
    count("plan") + count("step") + count("event") + count("setting")
}

/// Runs to the end, or fails: a refusal does not wait.
#[track_caller]
fn refused(migration: &Migration, args: &[&str], code: i32, says: &str) -> Said {
    let said = migration.start(args, "").wait_at_most(Duration::from_secs(60));
    assert_eq!(said.code, Some(code), "{args:?}: {}\n{}", said.lines.join("\n"), said.stderr);
    assert!(said.stderr.contains(says), "{args:?}: `{says}` is not in: {}", said.stderr);
    assert!(!said.lines.iter().any(|line| line.contains("admitted")), "{args:?}: {}", said.lines.join("\n"));
    said
}

/// A config with other ends, and with one name for the slot and publication of every plan.
fn config(migration: &Migration, tables: &str, more: &str, source: (u16, &str), target: (u16, &str)) {
    let end = |(port, database): (u16, &str)| {
        format!("{{ host: 127.0.0.1, port: {port}, database: {database}, user: postgres }}")
    };
    let names =
        if more.contains("replication_slot") { "" } else { "  replication_slot: shared\n  publication: shared\n" };
    let text = format!(
        "source: {}\ntarget: {}\nmigrate:\n  checkpoint_db: ./state.sqlite3\n{names}{more}\n  tables:\n{tables}",
        end(source),
        end(target)
    );
    std::fs::write(migration.dir.path().join("pcrd.config.yml"), text).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_plan() {
    let pair = pair_with_tables().await;
    let migration = Migration::new(&pair, &yaml("items"), "");
    migration.plan();
    let path = migration.dir.path().join("plan.json");
    let sound = std::fs::read_to_string(&path).unwrap();
    let mut parsed = file::read(&sound).unwrap();
    let step = parsed.plan.steps.iter_mut().find(|step| step.id.0.starts_with("create_table:")).unwrap();
    let sql = step.statements[0].sql.clone();
    step.statements[0].sql = sql.replacen("CREATE TABLE", "CREATE UNLOGGED TABLE", 1);
    parsed.plan.id = digest::id(&parsed.plan);
    let rehashed = file::to_json(&parsed);
    let digit = sound.find("\"batch_size\": ").unwrap() + "\"batch_size\": ".len();
    let mut one_byte = sound.clone();
    one_byte.replace_range(digit..=digit, "7");
    let edits = [
        ("one digit", one_byte),
        ("one letter of a name", sound.replacen("public.items", "public.itens", 1)),
        ("the text of a statement", sound.replacen("CREATE TABLE", "CREATE UNLOGGED TABLE", 1)),
        ("a statement, with the digest made good", rehashed),
        ("cut off", sound[..sound.len() / 2].to_owned()),
    ];
    for (what, edited) in edits {
        assert_ne!(edited, sound, "{what}");
        std::fs::write(&path, edited).unwrap();
        let _ = refused(&migration, &APPLY, 4, "is refused");
        assert_clean(&pair.source, what).await;
        assert_clean(&pair.target, what).await;
        assert!(!migration.dir.path().join("state.sqlite3").exists(), "{what}: a state file was written");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_plan() {
    let pair = pair_with_tables().await;
    let migration = Migration::new(&pair, &yaml("items"), "");
    let (source, target) = (connect_to(&pair.source, "postgres").await, connect_to(&pair.target, "postgres").await);
    for (client, drift, says) in [
        (&source, "ALTER TABLE items ADD COLUMN late text", "late"),
        (&source, "ALTER TABLE items ALTER COLUMN n TYPE bigint", "bigint"),
        (&source, "ALTER TABLE items RENAME COLUMN n TO m", "public.items"),
        (&source, "ALTER TABLE items ALTER COLUMN m SET NOT NULL", "public.items"),
        (&source, "ALTER TABLE items REPLICA IDENTITY FULL", "public.items"),
        (&source, "ALTER TABLE items DROP COLUMN late", "late"),
        (&target, "CREATE TABLE items (id bigint PRIMARY KEY, m bigint)", "exists on the target"),
    ] {
        migration.plan();
        run(client, drift).await;
        let said = refused(&migration, &APPLY, 4, says);
        assert!(said.stderr.contains("pcrd plan --out plan.json"), "{drift}: {}", said.stderr);
        assert_clean(&pair.source, drift).await;
        assert_clean(&pair.target, drift).await;
        assert_eq!(state_rows(&migration.dir.path().join("state.sqlite3")), 0, "{drift}");
    }
    // Planned while the table was there already: what is in it is not ours.
    run(&target, "INSERT INTO items VALUES (1, 1)").await;
    let _ = refused(&migration, &APPLY, 4, "exists on the target");
    assert_eq!(text(&target, "SELECT count(*) FROM items").await, "1");
    run(&source, "DROP TABLE items").await;
    let _ = refused(&migration, &APPLY, 4, "public.items");
    assert_clean(&pair.source, "dropped").await;
    assert_clean(&pair.target, "dropped").await;
    assert_eq!(state_rows(&migration.dir.path().join("state.sqlite3")), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_for_other_clusters() {
    let pair = pair_with_tables().await;
    let other = Cluster::start_with(15, &[("fsync", "off")]).unwrap();
    run(&connect_to(&other, "postgres").await, TABLES).await;
    run(&connect_to(&pair.source, "postgres").await, "CREATE DATABASE shop").await;
    let migration = Migration::new(&pair, &yaml("items"), "");
    migration.plan();
    let [a, b, c] = [&pair.source, &pair.target, &other].map(Cluster::port);
    for (what, source, target, code, says) in [
        ("another target", (a, "postgres"), (c, "postgres"), 4, "target server"),
        ("another source", (c, "postgres"), (b, "postgres"), 4, "source server"),
        ("swapped", (b, "postgres"), (a, "postgres"), 4, "source server"),
        ("another database of the source", (a, "shop"), (b, "postgres"), 4, "source server"),
        ("the source as target", (a, "postgres"), (a, "shop"), 4, "target server"),
        ("one database at both ends", (a, "postgres"), (a, "postgres"), 64, "the same database"),
    ] {
        config(&migration, &yaml("items"), "", source, target);
        let _ = refused(&migration, &APPLY, code, says);
        for cluster in [&pair.source, &pair.target, &other] {
            assert_clean(cluster, what).await;
        }
        assert_eq!(state_rows(&migration.dir.path().join("state.sqlite3")), 0, "{what}");
    }
    // Two names of one server are seen at the server, by the plan already.
    let aliased = std::fs::read_to_string(migration.dir.path().join("pcrd.config.yml")).unwrap();
    std::fs::write(migration.dir.path().join("pcrd.config.yml"), aliased.replacen("127.0.0.1", "localhost", 1))
        .unwrap();
    let planned = migration.run(&["plan", "--out", "same.json"]);
    let said = String::from_utf8(planned.stderr).unwrap();
    assert!(matches!(planned.status.code(), Some(3 | 64)), "{said}");
    assert!(said.contains("the same database"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_plan() {
    let pair = pair_with_tables().await;
    let migration = Migration::new(&pair, &yaml("items"), "");
    migration.plan();
    tokio::task::block_in_place(|| migration.cut_over("")).assert_switched();
    let (source, target) = (connect_to(&pair.source, "postgres").await, connect_to(&pair.target, "postgres").await);
    run(&target, "INSERT INTO items VALUES (9000, 1)").await;
    let ledger = "SELECT (SELECT m::text FROM pcrd.migration m), (SELECT p::text FROM pcrd.progress p), \
                  (SELECT c::text FROM pcrd.cutover c), (SELECT string_agg(s::text, ';' ORDER BY step) FROM pcrd.step s), \
                  (SELECT count(*)::text FROM items)";
    let fence = "SELECT until::text, (SELECT string_agg(tgname, ';') FROM pg_trigger WHERE tgname LIKE 'pcrd%') FROM pcrd.fence";
    let (ledger_before, fence_before) = (rows(&target, ledger).await, rows(&source, fence).await);
    let whole = ["--json", "apply", "plan.json", "--yes", "--through", "cutover"];
    for args in [&APPLY[..], &whole] {
        let said = refused(&migration, args, 4, "is finished");
        assert!(said.stderr.contains("pcrd cleanup"), "{}", said.stderr);
        assert!(!said.stderr.contains("pcrd plan"), "a new plan is not what is needed: {}", said.stderr);
    }
    assert_eq!((rows(&target, ledger).await, rows(&source, fence).await), (ledger_before, fence_before));

    // Without the state file, the refusal is what brings the plan back for `cleanup`.
    std::fs::remove_file(migration.dir.path().join("state.sqlite3")).unwrap();
    let _ = refused(&migration, &APPLY, 4, "is finished");
    let _ = migration.ok(&["cleanup", "--yes"]);
    assert_eq!(text(&source, "SELECT count(*) FROM pg_replication_slots").await, "0");
}

/// Waits until one of two has been refused; gives the other one.
fn one_goes_on(mut one: Running, mut other: Running) -> (Running, Said) {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        if one.child.try_wait().unwrap().is_some() {
            return (other, one.wait());
        }
        if other.child.try_wait().unwrap().is_some() {
            return (one, other.wait());
        }
        assert!(Instant::now() < until, "both go on");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn plan_as(migration: &Migration, out: &str) {
    let _ = migration.ok(&["plan", "--out", out]);
}

async fn ledger_rows(cluster: &Cluster) -> Vec<Vec<Option<String>>> {
    let client = connect_to(cluster, "postgres").await;
    rows(&client, "SELECT id, epoch::text, pid::text, array_to_string(tables, ',') FROM pcrd.migration").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_executor() {
    let pair = pair_with_tables().await;
    let third = Cluster::start_with(15, &[("fsync", "off")]).unwrap();
    let migration = Migration::new(&pair, &yaml("items"), "");
    let [a, b, c] = [&pair.source, &pair.target, &third].map(Cluster::port);
    let ends = ((a, "postgres"), (b, "postgres"));
    config(&migration, &yaml("items"), "  batch_size: 77", ends.0, ends.1);
    plan_as(&migration, "other_size.json");
    config(&migration, &yaml("parts"), "", ends.0, ends.1);
    plan_as(&migration, "other_table.json");
    config(&migration, &yaml("parts"), "", ends.0, (c, "postgres"));
    plan_as(&migration, "other_target.json");
    config(&migration, &yaml("items"), "", ends.0, ends.1);
    migration.plan();

    let mut first = migration.start(&APPLY, "");
    first.wait_for("\"type\":\"gate\",\"ready\":true");
    let before = ledger_rows(&pair.target).await;
    let elsewhere = migration.dir.path().join("elsewhere.sqlite3");
    let _ = refused(&migration, &APPLY, 7, "another pcrd");
    let same = apply_with("plan.json", "elsewhere.sqlite3");
    let size = apply_with("other_size.json", "elsewhere.sqlite3");
    let table = apply_with("other_table.json", "elsewhere.sqlite3");
    let target = apply_with("other_target.json", "elsewhere.sqlite3");
    for args in [same, size, table] {
        let said = refused(&migration, &args, 7, "another executor is at work on");
        assert!(said.stderr.contains("pcrd status"), "{}", said.stderr);
        assert_eq!(ledger_rows(&pair.target).await, before, "{args:?}");
        assert_eq!(state_rows(&elsewhere), 0, "{args:?}");
    }
    config(&migration, &yaml("parts"), "", ends.0, (c, "postgres"));
    let _ = refused(&migration, &target, 7, "slot");
    assert_clean(&third, "other target").await;

    // Dead, it still owns the tables and the slot.
    first.kill();
    let _ = refused(&migration, &target, 3, "leftover_slot");
    assert_clean(&third, "other target").await;
    config(&migration, &yaml("items"), "", ends.0, ends.1);
    for args in [size, table] {
        let _ = refused(&migration, &args, 7, "pcrd abort");
        assert_eq!(ledger_rows(&pair.target).await, before, "{args:?}");
        assert_eq!(state_rows(&elsewhere), 0, "{args:?}");
    }
    tokio::task::block_in_place(|| migration.cut_over("")).assert_switched();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_executors_at_the_same_instant() {
    for (what, tables, more) in [
        ("one plan", "items", ""),
        ("two plans for one table", "items", "  batch_size: 77"),
        ("two plans with one slot", "parts", ""),
    ] {
        let pair = pair_with_tables().await;
        let migration = Migration::new(&pair, &yaml("items"), "");
        let ends = ((pair.source.port(), "postgres"), (pair.target.port(), "postgres"));
        config(&migration, &yaml(tables), more, ends.0, ends.1);
        plan_as(&migration, "second.json");
        config(&migration, &yaml("items"), "", ends.0, ends.1);
        migration.plan();
        let states = ["one.sqlite3", "two.sqlite3"];
        let one = migration.start(&apply_with("plan.json", states[0]), "");
        let other = migration.start(&apply_with("second.json", states[1]), "");
        let (mut winner, loser) = tokio::task::block_in_place(|| one_goes_on(one, other));
        assert_eq!(loser.code, Some(7), "{what}: {}\n{}", loser.lines.join("\n"), loser.stderr);
        assert!(!loser.lines.iter().any(|line| line.contains("admitted")), "{what}: both were admitted");
        winner.wait_for("\"type\":\"gate\",\"ready\":true");
        assert_eq!(ledger_rows(&pair.target).await.len(), 1, "{what}");
        assert_eq!(ledger_rows(&pair.target).await[0][1].as_deref(), Some("1"), "{what}: the epoch was taken over");
        let kept = states.map(|state| state_rows(&migration.dir.path().join(state)) > 0);
        assert_ne!(kept[0], kept[1], "{what}: the refused one wrote its state file");
        winner.kill();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_migrations_of_one_target_begin_together() {
    let pair = pair_with_tables().await;
    let migration = Migration::new(&pair, &yaml("items"), "");
    let ends = ((pair.source.port(), "postgres"), (pair.target.port(), "postgres"));
    config(&migration, &yaml("parts"), "  replication_slot: mine\n  publication: mine", ends.0, ends.1);
    plan_as(&migration, "parts.json");
    config(&migration, &yaml("items"), "", ends.0, ends.1);
    migration.plan();
    let mut one = migration.start(&apply_with("plan.json", "one.sqlite3"), "");
    let mut other = migration.start(&apply_with("parts.json", "two.sqlite3"), "");
    for running in [&mut one, &mut other] {
        running.wait_for("\"type\":\"gate\",\"ready\":true");
    }
    assert_eq!(ledger_rows(&pair.target).await.len(), 2);
    one.kill();
    other.kill();
}
