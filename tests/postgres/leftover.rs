//! A slot or a publication of the plan's name that is there already: told with all that is known of it, and never used.

use crate::migration::Migration;
use crate::stage::Stage;
use crate::support::{TestPair, connect_to, run, text};

const ITEMS: &str = "CREATE TABLE items (id integer PRIMARY KEY); INSERT INTO items SELECT generate_series(1, 100)";
const YAML: &str = "    - { name: items, columns: { id: { type: bigint } } }\n";

/// What `apply` refuses with, on one line.
fn refusal(migration: &Migration) -> String {
    let said = migration.run(&["apply", "plan.json", "--yes"]);
    let stderr = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!(said.status.code(), Some(3), "{stderr}");
    stderr.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn assert_says(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "`{word}` is not in {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_somebody_else() {
    for majors in [(15, 15), (10, 18)] {
        let pair = TestPair::start(majors.0, majors.1);
        let stage = Stage::new(&pair, "foreign", ITEMS, YAML, "  publication: our_pub\n").await;
        run(&stage.source, "SELECT pg_create_logical_replication_slot('pcrd_foreign', 'test_decoding')").await;
        run(
            &stage.source,
            "CREATE ROLE \"their \"\"dba\"; CREATE TABLE theirs (); CREATE PUBLICATION our_pub FOR TABLE theirs, items",
        )
        .await;
        run(
            &stage.source,
            "ALTER ROLE \"their \"\"dba\" SUPERUSER; ALTER PUBLICATION our_pub OWNER TO \"their \"\"dba\"",
        )
        .await;
        run(&stage.source, "INSERT INTO items SELECT generate_series(1001, 2000)").await;
        let said = refusal(&stage.migration);
        assert_says(
            &said,
            &[
                "[leftover_slot] source: a replication slot named pcrd_foreign exists and is not this plan's",
                "test_decoding of the database \"foreign\"",
                "read by nobody",
                "bytes of log are kept for it",
                "no plan that this target knows made it",
                "run SELECT pg_drop_replication_slot('pcrd_foreign')",
                "[leftover_publication] source: a publication named our_pub exists and is not this plan's",
                "owner \"their \"\"dba\"; it publishes public.items, public.theirs",
                "run DROP PUBLICATION \"our_pub\"; or set migrate.publication",
            ],
        );
        let kept = said.split(" bytes of log").next().unwrap().rsplit(' ').next().unwrap();
        assert!(kept.parse::<u64>().unwrap() > 50_000, "{kept}");
        // Nothing was done to it, and what the text says is enough.
        assert_eq!(text(&stage.source, "SELECT plugin FROM pg_replication_slots").await, "test_decoding");
        run(&stage.source, "SELECT pg_drop_replication_slot('pcrd_foreign')").await;
        run(
            &stage.source,
            "CREATE TABLE a(); CREATE TABLE b(); CREATE TABLE c(); CREATE TABLE d(); DROP PUBLICATION our_pub; \
             CREATE PUBLICATION our_pub FOR ALL TABLES",
        )
        .await;
        assert_says(&refusal(&stage.migration), &["it publishes all tables"]);
        run(&stage.source, "DROP PUBLICATION our_pub; CREATE PUBLICATION our_pub FOR TABLE a, b, c, d, theirs, items")
            .await;
        assert_says(&refusal(&stage.migration), &["public.a, public.b, public.c, public.d, public.items and 1 more"]);
        run(&stage.source, "DROP PUBLICATION our_pub; CREATE PUBLICATION our_pub").await;
        assert_says(&refusal(&stage.migration), &["it publishes no table"]);
        run(&stage.source, "DROP PUBLICATION our_pub").await;
        stage.cut_over().assert_switched();
    }
}

/// A migration to another target reads the slot: the session's name tells which plan it is.
#[tokio::test(flavor = "multi_thread")]
async fn in_use_for_another_target() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "used", ITEMS, YAML, "").await;
    let mut running = stage.start("");
    running.wait_for("\"type\":\"gate\",\"ready\":true");
    let plan = text(&stage.target, "SELECT id FROM pcrd.migration").await;
    run(&connect_to(&pair.target, "postgres").await, "CREATE DATABASE elsewhere").await;
    let config = std::fs::read_to_string(stage.migration.dir.path().join("pcrd.config.yml")).unwrap();
    let ours = format!("port: {}, database: used", pair.target.port());
    assert!(config.contains(&ours), "{config}");
    let other = Migration { dir: tempfile::tempdir().unwrap(), environment: Vec::new() };
    let elsewhere = config.replace(&ours, &format!("port: {}, database: elsewhere", pair.target.port()));
    std::fs::write(other.dir.path().join("pcrd.config.yml"), elsewhere).unwrap();

    let said = other.run(&["plan", "--out", "plan.json"]);
    let said = String::from_utf8_lossy(&said.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    let pid = text(&stage.source, "SELECT active_pid FROM pg_replication_slots").await;
    let short = &plan.strip_prefix("sha256:").unwrap_or(&plan)[..8];
    assert_says(
        &said,
        &[
            &format!(
                "pgoutput of the database \"used\"; read by pid {pid} (pcrd/{short}/stream) as \"postgres\" from 127.0.0.1"
            ),
            &format!("plan {short}… reads it for a target that is not this one"),
            "Stop its reader, then run",
            "[leftover_publication]",
        ],
    );
    // The plan that made them does not take them for leftovers.
    let said = stage.migration.run(&["plan"]);
    let said = String::from_utf8_lossy(&said.stderr);
    assert!(!said.contains("leftover"), "{said}");
    running.kill();
    assert_says(&refusal(&other), &["read by nobody", "no plan that this target knows made it"]);
    stage.cut_over().assert_switched();
    // The fence that stands since is a trace on the source itself.
    assert_says(&refusal(&other), &[&format!("on this source stands the fence of plan {plan}")]);
}

/// Another plan of this target made them: which, in which state, and what removes them.
#[tokio::test(flavor = "multi_thread")]
async fn of_another_plan_of_this_target() {
    let pair = TestPair::start(15, 15);
    let ddl = format!("{ITEMS}; CREATE TABLE parts (id integer PRIMARY KEY)");
    let stage = Stage::new(&pair, "known", &ddl, YAML, "  publication: known_pub\n").await;
    stage.migration.ok(&["apply", "plan.json", "--yes", "--through", "catchup"]);
    let plan = text(&stage.target, "SELECT id FROM pcrd.migration").await;
    let path = stage.migration.dir.path().join("pcrd.config.yml");
    let config = std::fs::read_to_string(&path).unwrap();
    let other = config.replace("name: items", "name: parts");
    std::fs::write(&path, &other).unwrap();
    let said = |args: &[&str]| {
        let said = stage.migration.run(args);
        String::from_utf8_lossy(&said.stderr).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let made = format!("made by plan {plan} (running), begun at 20");
    let found = said(&["plan", "--out", "parts.json"]);
    assert_says(&found, &[&made, "Run pcrd abort with that plan's config, or go on with pcrd apply."]);
    assert_eq!(found.matches(&made).count(), 2, "{found}");

    std::fs::write(&path, &config).unwrap();
    stage.cut_over().assert_switched();
    std::fs::write(&path, &other).unwrap();
    let found = said(&["plan", "--out", "parts.json"]);
    assert_says(&found, &[&format!("made by plan {plan} (cut_over)"), "Run pcrd cleanup with that plan's config."]);
    std::fs::write(&path, &config).unwrap();
    stage.migration.ok(&["cleanup", "--yes"]);
    std::fs::write(&path, &other).unwrap();
    let found = said(&["plan", "--out", "parts.json"]);
    assert!(!found.contains("leftover"), "{found}");
    // Named alike after all was cleaned: whoever made it, no command of ours takes it away.
    run(&stage.source, "SELECT pg_create_logical_replication_slot('pcrd_known', 'pgoutput')").await;
    let found = said(&["plan", "--out", "parts.json"]);
    assert_says(
        &found,
        &[&format!("made by plan {plan} (cleaned)"), "run SELECT pg_drop_replication_slot('pcrd_known')"],
    );
}

/// A slot that was being created when its pcrd died goes when the server notices, which may be any moment.
#[tokio::test(flavor = "multi_thread")]
async fn that_goes_by_itself() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "unborn", ITEMS, YAML, "").await;
    stage.start_through("setup.after-slot=return(kill)").wait();
    run(&stage.source, "SELECT pg_drop_replication_slot('pcrd_unborn')").await;
    let creating = connect_to(&pair.source, "unborn").await;
    run(&creating, "SELECT pg_create_logical_replication_slot('pcrd_unborn', 'pgoutput', true)").await;
    let mut running = stage.start_through("");
    running.wait_for("\"step\":\"create_slot");
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    drop(creating);
    running.finish().assert_switched();
}
