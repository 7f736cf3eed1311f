//! The demo: what it refuses to touch, what it seeds, and whether its writer tells the truth.

#![allow(clippy::unwrap_used)]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use pcrd::demo::{self, DemoError, Load, Side, Summary, Writer};
use pcrd::pg::conninfo::Conninfo;
use pcrd::pg::local::Cluster;
use support::{connect, connect_to, rows, run, sorted_copy, text};

const FAST: &[(&str, &str)] = &[("fsync", "off")];

async fn database(cluster: &Cluster, name: &str) -> Conninfo {
    run(&connect_to(cluster, "postgres").await, &format!("CREATE DATABASE {name}")).await;
    cluster.conninfo(name)
}

fn refused(result: Result<(), DemoError>) -> String {
    match result {
        Err(error @ (DemoError::NotDemo { .. } | DemoError::NotSetUp(_))) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

/// The original dropped `users` wherever its config pointed.
#[tokio::test]
async fn a_database_that_is_not_ours_is_left_alone() {
    let cluster = Cluster::start_with(15, FAST).unwrap();
    let info = database(&cluster, "shop").await;
    let client = connect(&info).await;
    for (object, drop) in [
        ("CREATE TABLE users (id int); INSERT INTO users VALUES (1)", "DROP TABLE users"),
        ("CREATE VIEW v AS SELECT 1", "DROP VIEW v"),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "DROP FUNCTION f()"),
        ("CREATE TYPE mood AS ENUM ('ok')", "DROP TYPE mood"),
        ("CREATE SCHEMA sales", "DROP SCHEMA sales"),
        ("COMMENT ON DATABASE shop IS 'orders'", "COMMENT ON DATABASE shop IS NULL"),
    ] {
        run(&client, object).await;
        let message = refused(demo::setup(&info).await);
        assert!(message.contains("shop is not marked as demo and not empty"), "{message}");
        refused(demo::mark(&info).await);
        refused(demo::reset(&info).await);
        refused(demo::seed(&info, 100, 42).await.map(drop_seeded));
        if object.contains("users") {
            assert_eq!(text(&client, "SELECT count(*) FROM users").await, "1");
        }
        run(&client, drop).await;
    }
    demo::setup(&info).await.unwrap();
}

fn drop_seeded(_: demo::Seeded) {}

#[tokio::test]
async fn a_marked_database_is_set_up_and_reset_any_number_of_times() {
    let cluster = Cluster::start_with(15, FAST).unwrap();
    let info = database(&cluster, "shop").await;
    let client = connect(&info).await;
    demo::setup(&info).await.unwrap();
    demo::seed(&info, 100, 42).await.unwrap();
    run(&client, "CREATE SCHEMA pcrd; CREATE PUBLICATION pcrd_pub FOR TABLE users").await;
    run(&client, "CREATE PUBLICATION theirs FOR TABLE users").await;
    run(&client, "SELECT pg_create_logical_replication_slot('pcrd_demo', 'pgoutput')").await;
    demo::setup(&info).await.unwrap();
    assert_eq!(text(&client, "SELECT count(*) FROM listings").await, "0");
    demo::reset(&info).await.unwrap();
    let left = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S')";
    assert_eq!(text(&client, left).await, "0");
    assert_eq!(text(&client, "SELECT count(*) FROM pg_replication_slots").await, "0");
    assert_eq!(text(&client, "SELECT count(*) FROM pg_namespace WHERE nspname = 'pcrd'").await, "0");
    assert_eq!(rows(&client, "SELECT pubname FROM pg_publication").await, [[Some("theirs".to_owned())]]);
    demo::setup(&info).await.unwrap();
    demo::reset(&info).await.unwrap();
    demo::reset(&info).await.unwrap();
}

#[tokio::test]
async fn the_same_seed_gives_the_same_rows_on_every_version() {
    let old = Cluster::start_with(13, FAST).unwrap();
    let new = Cluster::start_with(18, FAST).unwrap();
    let mut copies = Vec::new();
    for (cluster, number) in [(&old, 42), (&new, 42), (&new, 42), (&new, 43)] {
        let info = if copies.len() < 2 { database(cluster, "shop").await } else { cluster.conninfo("shop") };
        demo::setup(&info).await.unwrap();
        let seeded = demo::seed(&info, 3000, number).await.unwrap();
        assert_eq!((seeded.users, seeded.agents, seeded.listings), (300, 100, 3000));
        // Again over the rows of before: the original met its own unique e-mail addresses here.
        demo::seed(&info, 3000, number).await.unwrap();
        let client = connect(&info).await;
        let mut copy = Vec::new();
        for table in demo::TABLES {
            copy.push(sorted_copy(&client, &format!("SELECT * FROM public.{table}")).await);
        }
        copies.push(copy);
        let large = "SELECT count(*) FROM listings WHERE length(description) > 3000";
        assert!(text(&client, large).await.parse::<u32>().unwrap() > 10, "no description is stored out of line");
        let ids = "SELECT min(id) || ' ' || max(id) || ' ' || count(agent_id) || ' ' || count(*) FROM listings";
        let found = text(&client, ids).await;
        assert!(found.starts_with("1 3000 29") && found.ends_with(" 3000"), "{found}");
    }
    assert_eq!(copies[0], copies[1]);
    assert_eq!(copies[1], copies[2]);
    assert_ne!(copies[2][2], copies[3][2]);
}

fn assert_everything_happened(summary: &Summary) {
    let counts = summary.on_source;
    for (what, count) in [
        ("inserts", counts.inserts),
        ("updates", counts.updates),
        ("large updates", counts.large),
        ("deletes", counts.deletes),
        ("key changes", counts.key_changes),
        ("transactions", counts.transactions),
    ] {
        assert!(count > 0, "no {what}: {summary:?}");
    }
}

async fn wait_for(writer: &Writer, writes: u64) {
    let began = std::time::Instant::now();
    while writer.acknowledged() < writes {
        assert_eq!(writer.failure(), None);
        assert!(began.elapsed() < Duration::from_secs(60), "{} of {writes} writes", writer.acknowledged());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_crash_and_a_lost_write_is_noticed() {
    let mut cluster = Cluster::start(15).unwrap();
    let info = database(&cluster, "shop").await;
    demo::setup(&info).await.unwrap();
    demo::seed(&info, 500, 1).await.unwrap();
    let load = Load { clients: 4, writes_per_second: 2000, seed: 7 };
    let writer = Writer::start(&info, &info, load).await.unwrap();
    wait_for(&writer, 800).await;
    cluster.kill_immediate().unwrap();
    cluster.resume().unwrap();
    let before = writer.acknowledged();
    wait_for(&writer, before + 800).await;
    let summary = writer.stop().await.unwrap();
    assert_everything_happened(&summary);
    assert!(summary.retried > 0, "the crash was not noticed");
    assert!(summary.on_source.total() >= 1600 && summary.pauses.is_empty());

    let checked = demo::check_acknowledged(&info, Side::Source, &summary).await.unwrap();
    assert!(checked.compared > 400);
    assert_eq!(checked.wrong, Vec::<i64>::new());

    // A check that cannot fail proves nothing.
    let client = connect(&info).await;
    let row = "SELECT max(id) FROM listings WHERE address_line1 = '1 New St'";
    let id: i64 = text(&client, row).await.parse().unwrap();
    run(&client, &format!("UPDATE listings SET list_price = list_price + 0.01 WHERE id = {id}")).await;
    let checked = demo::check_acknowledged(&info, Side::Source, &summary).await.unwrap();
    assert_eq!(checked.wrong, [id]);
}

const FENCE: &str = "
    CREATE FUNCTION fence() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'fenced' USING ERRCODE = 'read_only_sql_transaction'; END $$;
    CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON listings FOR EACH STATEMENT EXECUTE FUNCTION fence();
    CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON users FOR EACH STATEMENT EXECUTE FUNCTION fence()";

#[tokio::test]
async fn the_writer_follows_the_switch_and_measures_its_own_pause() {
    let cluster = Cluster::start_with(15, FAST).unwrap();
    let source = database(&cluster, "old").await;
    demo::setup(&source).await.unwrap();
    demo::seed(&source, 500, 1).await.unwrap();
    let target = Conninfo { database: "new".into(), ..source.clone() };
    let writer = Writer::start(&source, &target, Load { clients: 3, writes_per_second: 600, seed: 7 }).await.unwrap();
    wait_for(&writer, 600).await;
    let client = connect(&source).await;
    run(&client, FENCE).await;
    let fenced = std::time::Instant::now();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let stuck = writer.acknowledged();
    // Stands for the migration: the same rows, the price under its new name, behind no fence.
    run(
        &client,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'old' AND pid <> pg_backend_pid()",
    )
    .await;
    drop(client);
    let admin = connect_to(&cluster, "postgres").await;
    let mut copied = false;
    for _ in 0..500 {
        // The writer's retries hold the template open now and then.
        run(&admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'old'").await;
        if admin.batch_execute("CREATE DATABASE new TEMPLATE old").await.is_ok() {
            copied = true;
            break;
        }
    }
    assert!(copied, "no copy of the database");
    let client = connect(&target).await;
    run(&client, "DROP FUNCTION fence() CASCADE; ALTER TABLE listings RENAME list_price TO list_price_precise").await;
    assert_eq!(writer.acknowledged(), stuck, "a write passed the fence");
    let pause_at_least = fenced.elapsed();
    writer.switch_to(Side::Target);
    wait_for(&writer, stuck + 300).await;
    let pause_at_most = fenced.elapsed() + Duration::from_secs(1);
    let summary = writer.stop().await.unwrap();
    assert_everything_happened(&summary);
    assert!(summary.fenced > 0 && summary.on_target.total() >= 300);
    assert_eq!(summary.pauses.len(), 3, "one pause per client");
    let longest = summary.longest_pause().unwrap();
    assert!(longest >= pause_at_least && longest <= pause_at_most, "{longest:?} {pause_at_least:?} {pause_at_most:?}");
    assert!(summary.median_pause().unwrap() <= longest);
    let checked = demo::check_acknowledged(&target, Side::Target, &summary).await.unwrap();
    assert_eq!(checked.wrong, Vec::<i64>::new());
}

#[tokio::test]
async fn up_gives_two_servers_and_a_config_and_down_takes_them_away() {
    let dir = tempfile::Builder::new().prefix("pcrd-demo-test").tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(demo::find(dir.path()), Err(DemoError::NotUp(_))));
    let first = demo::up(dir.path()).await.unwrap();
    let again = demo::up(dir.path()).await.unwrap();
    assert_eq!((first.source.port, first.target.port), (again.source.port, again.target.port));
    assert_eq!(first.source_major, 15);

    let password = dir.path().join(".pcrd-demo/password");
    assert_eq!(password.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let config = std::fs::read_to_string(&first.config).unwrap();
    assert!(!config.contains(std::fs::read_to_string(&password).unwrap().trim()));
    pcrd::config::parse(first.config.to_str().unwrap(), &config).unwrap();

    let without = Conninfo { password: None, ..first.target.clone() };
    assert!(pcrd::pg::client::connect(&without, "test").await.is_err(), "anybody may be superuser");
    demo::setup(&first.source).await.unwrap();
    demo::reset(&first.target).await.unwrap();

    demo::down(dir.path()).unwrap();
    assert!(!dir.path().join(".pcrd-demo").exists());
    assert!(std::net::TcpStream::connect(("127.0.0.1", first.source.port)).is_err());

    std::fs::create_dir(dir.path().join(".pcrd-demo")).unwrap();
    std::fs::write(dir.path().join(".pcrd-demo/pcrd.config.yml"), "source:\n").unwrap();
    assert!(matches!(demo::down(dir.path()), Err(DemoError::Foreign(_))));
    assert!(matches!(demo::up(dir.path()).await, Err(DemoError::Foreign(_))));
}
