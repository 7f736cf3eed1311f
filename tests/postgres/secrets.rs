//! A password and a row's value that must not be found anywhere, whatever is run and however it fails.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use pcrd::pg::local::Cluster;
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::migration::Migration;
use crate::support::{TestPair, rows, run, sorted_copy, text};

/// With what URIs, connection strings, service files and shells take apart.
const PASSWORD: &str = "s3cr3t-CANARY-%:/@' \\x#&=";
/// Every encoding of the password has it.
const CANARY: &str = "s3cr3t-CANARY";
const WRONG: &str = "s3cr3t-CANARY-wrong";

/// The superuser over the socket, who needs no password.
async fn admin(cluster: &Cluster) -> Client {
    let mut config = tokio_postgres::Config::new();
    config.host_path(cluster.socket_dir()).port(cluster.port()).dbname("postgres").user("postgres");
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Two servers that want passwords and log every statement.
async fn guarded() -> TestPair {
    use std::os::unix::fs::{MetadataExt, chown};
    let mut pair = TestPair::start(15, 15);
    for cluster in [&mut pair.source, &mut pair.target] {
        let client = admin(cluster).await;
        for statement in [
            format!("CREATE ROLE mover SUPERUSER LOGIN PASSWORD '{}'", PASSWORD.replace('\'', "''")),
            "CREATE ROLE weak LOGIN".to_owned(),
            format!("ALTER ROLE weak PASSWORD '{}'", PASSWORD.replace('\'', "''")),
            "CREATE DATABASE shop".to_owned(),
            "ALTER SYSTEM SET log_statement = 'all'".to_owned(),
            "ALTER SYSTEM SET log_connections = on".to_owned(),
            "ALTER SYSTEM SET log_replication_commands = on".to_owned(),
            "ALTER SYSTEM SET log_min_messages = 'debug1'".to_owned(),
        ] {
            run(&client, &statement).await;
        }
        let (dir, hba) = (cluster.data_dir(), cluster.data_dir().join("pg_hba.conf"));
        let owner = std::fs::metadata(&dir).unwrap();
        std::fs::write(&hba, "local all postgres trust\nhost all all 127.0.0.1/32 scram-sha-256\n").unwrap();
        chown(&hba, Some(owner.uid()), Some(owner.gid())).unwrap();
        cluster.reload().unwrap();
    }
    pair
}

/// Command lines of all processes, looked through until it is stopped.
struct Watch {
    stop: Arc<AtomicBool>,
    /// Looks at which a program of ours was running.
    seen: Arc<AtomicU64>,
    argv: std::thread::JoinHandle<Vec<String>>,
}

impl Watch {
    fn start() -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (ended, count) = (Arc::clone(&stop), Arc::clone(&seen));
        let argv = std::thread::spawn(move || {
            let mut found = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                for process in std::fs::read_dir("/proc").unwrap().flatten() {
                    let Ok(line) = std::fs::read(process.path().join("cmdline")) else { continue };
                    let line = String::from_utf8_lossy(&line).into_owned();
                    if line.contains("target-") || line.contains("pcrd\0") {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    if line.contains(CANARY) {
                        found.push(line);
                    }
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            found
        });
        Self { stop, seen, argv }
    }

    fn assert_clean(self) {
        self.stop.store(true, Ordering::Relaxed);
        assert_eq!(self.argv.join().unwrap(), Vec::<String>::new());
        assert!(self.seen.load(Ordering::Relaxed) > 10, "the program was never seen running");
    }
}

/// What each session last asked, without asking for the canary itself.
async fn assert_activity_clean(client: &Client) {
    let query = "SELECT query FROM pg_stat_activity WHERE strpos(query, 's3cr3t-' || 'CANARY') > 0";
    assert_eq!(rows(client, query).await, Vec::<Vec<_>>::new());
}

/// Every table of the schema `pcrd`.
async fn ledger(client: &Client) -> String {
    let tables = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'pcrd'";
    let mut all = String::new();
    for table in rows(client, tables).await {
        let query = format!("SELECT * FROM {}", table[0].as_deref().unwrap());
        all.push_str(&String::from_utf8_lossy(&sorted_copy(client, &query).await));
    }
    all
}

/// Files of a directory whose bytes have the text, but for those in `own`.
fn files_with(dir: &Path, canary: &str, own: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        if own.contains(&name.as_str()) {
            continue;
        }
        let bytes = std::fs::read(entry.path()).unwrap();
        if bytes.windows(canary.len()).any(|window| window == canary.as_bytes()) {
            found.push(name);
        }
    }
    found
}

fn private(dir: &Path, name: &str, content: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(dir.join(name), content).unwrap();
    std::fs::set_permissions(dir.join(name), std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || byte == b'-' {
                (byte as char).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

const SOURCES: [&str; 10] = [
    "PCRD_*_PASSWORD",
    "PGPASSWORD",
    "password_env",
    "password_file",
    ".pgpass",
    "PGPASSFILE",
    "service",
    "password_command",
    "password",
    "uri",
];

/// Files that hold the password because the operator wrote it there.
const OWN: [&str; 6] = ["pw", ".pgpass", "passfile", "services", "pcrd.config.yml", "wrong"];

/// A config and an environment in which the password comes from this source, for one table.
fn migration(pair: &TestPair, from: &str, table: &str, user: &str, password: &str) -> Migration {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let mut environment = vec![
        ("HOME".to_owned(), at.display().to_string()),
        ("RUST_LOG".to_owned(), "trace".to_owned()),
        ("RUST_BACKTRACE".to_owned(), "full".to_owned()),
    ];
    let mut set = |name: &str, value: &str| environment.push((name.to_owned(), value.to_owned()));
    let escaped = password.replace('\\', "\\\\").replace(':', "\\:");
    let mut end = |side: &str, port: u16, database: &str| -> Value {
        let mut end = json!({"host": "127.0.0.1", "port": port, "database": database, "user": user});
        match from {
            "PCRD_*_PASSWORD" => set(&format!("PCRD_{}_PASSWORD", side.to_uppercase()), password),
            "PGPASSWORD" => set("PGPASSWORD", password),
            "password_env" => {
                set("MY_PASSWORD", password);
                end["password_env"] = json!("MY_PASSWORD");
            }
            "password_file" => {
                private(at, "pw", password);
                end["password_file"] = json!("pw");
            }
            ".pgpass" => private(at, ".pgpass", &format!("127.0.0.1:*:*:{user}:{escaped}\n")),
            "PGPASSFILE" => {
                private(at, "passfile", &format!("*:*:*:*:{escaped}\n"));
                set("PGPASSFILE", &at.join("passfile").display().to_string());
            }
            "service" => {
                let section = format!(
                    "[{side}]\nhost=127.0.0.1\nport={port}\ndbname={database}\nuser={user}\npassword={password}\n"
                );
                let before = std::fs::read_to_string(at.join("services")).unwrap_or_default();
                private(at, "services", &(before + &section));
                set("PGSERVICEFILE", &at.join("services").display().to_string());
                end = json!({"service": side});
            }
            "password_command" => {
                private(at, "pw", password);
                end["password_command"] = json!(["cat", at.join("pw")]);
            }
            "password" => end["password"] = json!(password),
            "uri" => {
                let uri = format!("postgresql://{user}:{}@127.0.0.1:{port}/{database}", percent_encoded(password));
                end = json!({"uri": uri});
            }
            other => panic!("{other} is no source of passwords"),
        }
        end
    };
    let mut config = json!({
        "source": end("source", pair.source.port(), "postgres"),
        "target": end("target", pair.target.port(), "shop"),
        "migrate": {"checkpoint_db": "./state.sqlite3", "tables": [{"name": table, "columns": {"id": {"type": "bigint"}}}]},
        "cutover": {"fence_timeout": 60},
    });
    if matches!(from, "password" | "uri") {
        config["allow_plaintext_password"] = json!(true);
    }
    std::fs::write(at.join("pcrd.config.yml"), serde_json::to_string_pretty(&config).unwrap()).unwrap();
    Migration { dir, environment }
}

/// Runs a command; what it says must not have the canary.
#[track_caller]
fn quiet(migration: &Migration, code: Option<i32>, args: &[&str]) -> String {
    let output = migration.run(args);
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains(CANARY), "{args:?}: {said}");
    if let Some(code) = code {
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    }
    said
}

async fn assert_servers_clean(pair: &TestPair) {
    for cluster in [&pair.source, &pair.target] {
        let client = admin(cluster).await;
        assert_activity_clean(&client).await;
        assert!(!ledger(&client).await.contains(CANARY));
        let log = String::from_utf8_lossy(&std::fs::read(cluster.log_path()).unwrap()).into_owned();
        assert!(log.contains("connection authorized: user=mover"), "the log is on");
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(CANARY)).collect();
        assert_eq!(lines, Vec::<&str>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_nowhere_whatever_it_comes_from() {
    let pair = guarded().await;
    let source = admin(&pair.source).await;
    for (n, from) in SOURCES.iter().enumerate() {
        let table = format!("items_{n}");
        run(&source, &format!("CREATE TABLE {table} (id integer PRIMARY KEY, t text); INSERT INTO {table} SELECT g, g FROM generate_series(1, 500) g"))
            .await;
        let migration = migration(&pair, from, &table, "mover", PASSWORD);
        let watch = Watch::start();
        for args in
            [&["validate"][..], &["-vv", "analyze"], &["--json", "inspect"], &["-vv", "plan"], &["show", "plan.json"]]
        {
            let args = if args == ["-vv", "plan"] { &["-vv", "plan", "--out", "plan.json"][..] } else { args };
            quiet(&migration, Some(0), args);
        }
        // The rest reads the password the same way, and logging in takes a while.
        if !matches!(*from, "PCRD_*_PASSWORD" | "service" | "uri") {
            watch.assert_clean();
            assert_eq!(files_with(migration.dir.path(), CANARY, &OWN), Vec::<String>::new(), "{from}");
            continue;
        }
        quiet(&migration, None, &["-vv", "readiness"]);
        // A panic and an error in the middle are no reason to tell.
        for fault in ["chunk.begin=panic", "chunk.before-commit=1*return"].iter().filter(|_| n == 0) {
            let said = migration.start(&["-vv", "apply", "plan.json", "--yes"], fault).wait();
            assert_ne!(said.code, Some(0), "{fault} did not happen");
            assert!(!(said.lines.join("\n") + &said.stderr).contains(CANARY), "{said:?}");
        }
        let mut apply = migration.start(&["-vv", "--json", "apply", "plan.json", "--yes"], "");
        apply.wait_for("\"ready\":true");
        assert_activity_clean(&source).await;
        quiet(&migration, Some(0), &["-vv", "status"]);
        quiet(&migration, Some(0), &["--json", "verify"]);
        quiet(&migration, Some(0), &["-vv", "cutover", "--maintenance-confirmed"]);
        let said = apply.wait();
        said.assert_switched();
        assert!(!(said.lines.join("\n") + &said.stderr).contains(CANARY), "{said:?}");
        quiet(&migration, Some(0), &["-vv", "verify"]);
        quiet(&migration, Some(0), &["-vv", "cleanup", "--yes"]);
        watch.assert_clean();
        assert_eq!(files_with(migration.dir.path(), CANARY, &OWN), Vec::<String>::new(), "{from}");
        let target = pcrd_target(&pair).await;
        assert!(!ledger(&target).await.contains(CANARY), "{from}");
        assert_servers_clean(&pair).await;
    }
}

/// The superuser in the target's database.
async fn pcrd_target(pair: &TestPair) -> Client {
    let mut config = tokio_postgres::Config::new();
    config.host_path(pair.target.socket_dir()).port(pair.target.port()).dbname("shop").user("postgres");
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_password_is_not_told() {
    let pair = guarded().await;
    let source = admin(&pair.source).await;
    run(&source, "CREATE TABLE items (id integer PRIMARY KEY)").await;
    for from in SOURCES {
        let wrong = migration(&pair, from, "items", "mover", WRONG);
        for args in [&["--json", "plan"][..], &["-vv", "status"]] {
            let said = quiet(&wrong, Some(1), args);
            assert!(said.contains("28P01"), "{from} {args:?}: {said}");
        }
        // The password is right, and the role may do nothing.
        let weak = migration(&pair, from, "items", "weak", PASSWORD);
        let said = quiet(&weak, None, &["--json", "migrate", "--yes"]);
        assert!(said.contains("42501") || said.contains("may not"), "{from}: {said}");
        for dir in [wrong.dir.path(), weak.dir.path()] {
            assert_eq!(files_with(dir, CANARY, &OWN), Vec::<String>::new(), "{from}");
        }
    }
    let log = std::fs::read(pair.source.log_path()).unwrap();
    assert!(!String::from_utf8_lossy(&log).contains(CANARY));
    assert_eq!(text(&source, "SELECT count(*) FROM pg_replication_slots").await, "0");
}

#[test]
fn a_config_that_cannot_be_read_does_not_tell_the_password() {
    let migration = Migration { dir: tempfile::tempdir().unwrap(), environment: Vec::new() };
    let end = "host: h, database: d, user: u, sslmode: disable";
    for source in [
        format!("{{ {end}, password: {CANARY} }}"),
        format!("{{ {end}, pasword: {CANARY} }}"),
        format!("{{ {end}, Password: {CANARY} }}"),
        format!("{{ {end}, password: [{CANARY}] }}"),
        format!("{{ {end}, password: {CANARY}, password: {CANARY} }}"),
        format!("{{ uri: 'postgresql://u:{CANARY}@h/d' }}"),
        format!("{{ uri: 'postgresql://u:{CANARY}%zz@h/d' }}"),
        format!("{{ uri: 'postgresql://u:{CANARY}@x@h/d' }}"),
        format!("{{ uri: 'host=h dbname=d user=u password={CANARY}' }}"),
        format!("{{ uri: 'host=h dbname=d user=u password={CANARY} hots=x' }}"),
        format!("{{ uri: 'postgresql://h/d?user=u&password={CANARY}&sslmode=no' }}"),
        format!("{{ url: 'postgresql://u:{CANARY}@h/d' }}"),
        format!("{{ host: 'postgresql://u:{CANARY}@h/d', database: d, user: u }}"),
        format!("'postgresql://u:{CANARY}@h/d'"),
        format!("\n  host: h\n  password: {CANARY}\n bad"),
        format!("{{ {end}, password: '{CANARY}"),
    ] {
        std::fs::write(migration.dir.path().join("pcrd.config.yml"), format!("source: {source}\nmigrate: {{}}\n"))
            .unwrap();
        for args in [&["validate"][..], &["--json", "validate"], &["-vv", "plan"]] {
            let output = migration.run(args);
            let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(64), "{source}: {said}");
            assert!(!said.contains(CANARY), "{source}: {said}");
        }
    }
}
