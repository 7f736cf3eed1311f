//! A whole migration over TLS with client certificates on both ends, replication included, and what must be refused
//! before anything is written: a wrong name, authority or date, and a server without TLS.

use pcrd::pg::local::Cluster;
use rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::certificates::{Authority, authority, issue, named, put};
use crate::migration::Migration;
use crate::support::{TestPair, rows, run, sorted_copy, text};

/// Over TCP only TLS; the role of pcrd only with its certificate, another only with its password.
const HBA: &str = "local all postgres trust\n\
    hostssl all pcrd_mover 127.0.0.1/32 cert clientcert=verify-full\n\
    hostssl all scrambled 127.0.0.1/32 scram-sha-256\n";
/// Before PG 12 `cert` took no other word.
const OLD_HBA: &str = "local all postgres trust\n\
    hostssl all pcrd_mover 127.0.0.1/32 cert\n\
    hostssl all scrambled 127.0.0.1/32 scram-sha-256\n";

/// Gives a server this certificate, and the authority of its clients.
fn certify(cluster: &mut Cluster, major: u32, certificate: &(String, String), clients: &Authority) {
    let dir = cluster.data_dir();
    put(&dir, "clients.crt", &clients.pem);
    put(&dir, "pg_hba.conf", if major >= 12 { HBA } else { OLD_HBA });
    encrypt(cluster, certificate, "ssl_ca_file = 'clients.crt'\n");
}

/// Gives a server this certificate, and these settings.
pub fn encrypt(cluster: &mut Cluster, (certificate, key): &(String, String), more: &str) {
    let dir = cluster.data_dir();
    put(&dir, "server.crt", certificate);
    put(&dir, "server.key", key);
    let mut settings = std::fs::read_to_string(dir.join("postgresql.conf")).unwrap();
    settings.push_str(&format!("ssl = on\n{more}"));
    put(&dir, "postgresql.conf", &settings);
    cluster.restart().unwrap();
}

/// The superuser over the socket.
async fn admin(cluster: &Cluster, database: &str) -> Client {
    let mut config = tokio_postgres::Config::new();
    config.host_path(cluster.socket_dir()).port(cluster.port()).dbname(database).user("postgres");
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

struct Certified {
    pair: TestPair,
    migration: Migration,
    servers: Authority,
    clients: Authority,
}

impl Certified {
    async fn start(source_major: u32, target_major: u32) -> Self {
        let mut pair = TestPair::start(source_major, target_major);
        let (servers, clients) = (authority("servers"), authority("clients"));
        for (cluster, major) in [(&mut pair.source, source_major), (&mut pair.target, target_major)] {
            let certificate = issue(&servers, named("db", &["localhost"]), ExtendedKeyUsagePurpose::ServerAuth);
            certify(cluster, major, &certificate, &clients);
        }
        for cluster in [&pair.source, &pair.target] {
            let admin = admin(cluster, "postgres").await;
            let roles = "SET password_encryption = 'scram-sha-256'; CREATE ROLE pcrd_mover SUPERUSER LOGIN; \
                         CREATE ROLE scrambled SUPERUSER LOGIN PASSWORD 'a sécret:@/%'; CREATE DATABASE shop";
            // A database is not created within a transaction, which several statements at once are.
            for statement in roles.split("; ") {
                run(&admin, statement).await;
            }
        }
        let source = admin(&pair.source, "postgres").await;
        run(&source, "CREATE TABLE items (id integer PRIMARY KEY, t text); INSERT INTO items SELECT g, md5(g::text) FROM generate_series(1, 2000) g")
            .await;
        let certified = Self {
            pair,
            migration: Migration { dir: tempfile::tempdir().unwrap(), environment: Vec::new() },
            servers,
            clients,
        };
        let (certificate, key) =
            issue(&certified.clients, named("pcrd_mover", &[]), ExtendedKeyUsagePurpose::ClientAuth);
        let dir = certified.migration.dir.path();
        for (name, content) in
            [("root.crt", &certified.servers.pem), ("client.crt", &certificate), ("client.key", &key)]
        {
            put(dir, name, content);
        }
        certified.config(&json!({}), &json!({}));
        certified
    }

    /// The config with other keys of source and target; `null` removes one.
    fn config(&self, source: &Value, target: &Value) {
        let end = |cluster: &Cluster, database: &str, other: &Value| {
            let mut end = json!({
                "host": "localhost", "port": cluster.port(), "database": database, "user": "pcrd_mover",
                "sslmode": "verify-full", "sslrootcert": "root.crt", "sslcert": "client.crt", "sslkey": "client.key",
            });
            for (key, value) in other.as_object().unwrap() {
                if value.is_null() {
                    end.as_object_mut().unwrap().remove(key);
                } else {
                    end[key] = value.clone();
                }
            }
            end
        };
        let config = json!({
            "source": end(&self.pair.source, "postgres", source),
            "target": end(&self.pair.target, "shop", target),
            "migrate": {"checkpoint_db": "./state.sqlite3", "tables": [{"name": "items", "columns": {"id": {"type": "bigint"}}}]},
            "cutover": {"fence_timeout": 60},
        });
        std::fs::write(self.migration.dir.path().join("pcrd.config.yml"), config.to_string()).unwrap();
    }

    /// The whole path; every session of it must have been encrypted, replication included.
    async fn migrates(&self) {
        self.migration.plan();
        let mut apply = self.migration.start(&["--json", "apply", "plan.json", "--yes"], "");
        apply.wait_for("\"ready\":true");
        let source = admin(&self.pair.source, "postgres").await;
        let sessions = "SELECT count(*) FILTER (WHERE backend_type = 'walsender'), count(*) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) \
            WHERE application_name LIKE 'pcrd/%' AND client_addr IS NOT NULL AND ssl";
        let plain = "SELECT count(*) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE application_name ~ 'pcrd|/' AND NOT ssl";
        let found = rows(&source, &sessions.replace("LIKE 'pcrd/%'", "~ '/'")).await.remove(0);
        assert_eq!(found[0].as_deref(), Some("1"), "the replication session is encrypted");
        assert_ne!(found[1].as_deref(), Some("1"), "and so are others");
        assert_eq!(text(&source, plain).await, "0");
        run(&source, "UPDATE items SET t = 'new' WHERE id % 5 = 0; INSERT INTO items VALUES (-1, NULL)").await;
        self.migration.ok(&["status"]);
        self.migration.ok(&["cutover", "--maintenance-confirmed"]);
        apply.wait().assert_switched();
        let target = admin(&self.pair.target, "shop").await;
        assert_eq!(text(&target, plain).await, "0");
        let left = sorted_copy(&source, "SELECT id::bigint, t FROM items").await;
        assert!(!left.is_empty() && left == sorted_copy(&target, "SELECT id, t FROM items").await);
        self.migration.ok(&["verify"]);
        self.migration.ok(&["cleanup", "--yes"]);
        assert_eq!(text(&source, "SELECT count(*) FROM pg_replication_slots").await, "0");
    }

    /// A command is refused with this text, and neither end was touched.
    async fn refused(&self, args: &[&str], said: &str) {
        let output = self.migration.run(args);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {stderr}");
        assert!(stderr.contains(said), "{args:?}: {said:?} is not in {stderr}");
        let source = admin(&self.pair.source, "postgres").await;
        let left = "SELECT (SELECT count(*) FROM pg_replication_slots) + (SELECT count(*) FROM pg_publication)";
        assert_eq!(text(&source, left).await, "0");
        let target = admin(&self.pair.target, "shop").await;
        let left = "SELECT count(*) FROM pg_class WHERE relname = 'items' OR relnamespace = to_regnamespace('pcrd')";
        assert_eq!(text(&target, left).await, "0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn client_certificates_carry_a_whole_migration() {
    Certified::start(15, 15).await.migrates().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn client_certificates_from_10_to_18() {
    Certified::start(10, 18).await.migrates().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_bound_to_the_channel_carries_a_whole_migration() {
    let certified = Certified::start(15, 15).await;
    let bound = json!({"user": "scrambled", "sslcert": null, "sslkey": null, "channel_binding": "require", "password_env": "BOUND"});
    certified.config(&bound, &bound);
    let migration = Migration {
        environment: vec![("BOUND".to_owned(), "a sécret:@/%".to_owned())],
        dir: tempfile::tempdir().unwrap(),
    };
    std::fs::copy(certified.migration.dir.path().join("root.crt"), migration.dir.path().join("root.crt")).unwrap();
    std::fs::copy(certified.migration.dir.path().join("pcrd.config.yml"), migration.dir.path().join("pcrd.config.yml"))
        .unwrap();
    Certified { migration, ..certified }.migrates().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_cannot_prove_who_it_is_is_refused_before_anything_is_written() {
    let mut certified = Certified::start(15, 15).await;
    certified.migration.plan();
    let apply = ["--json", "apply", "plan.json", "--yes"];
    let all: [&[&str]; 3] = [&["plan", "--out", "other.json"], &apply, &["migrate", "--yes"]];
    let none = json!({});
    put(certified.migration.dir.path(), "wrong.crt", &authority("others").pem);
    let wrong_name = json!({"host": "127.0.0.1"});
    let wrong_authority = json!({"sslrootcert": "wrong.crt"});
    for args in all {
        for (other, said) in [(&wrong_name, "127.0.0.1"), (&wrong_authority, "signed by")] {
            certified.config(other, &none);
            certified.refused(args, said).await;
            certified.config(&none, other);
            certified.refused(args, said).await;
        }
        // Without a certificate of its own the role does not get in.
        certified.config(&json!({"sslcert": null, "sslkey": null}), &none);
        certified.refused(args, "certificate").await;
    }

    certified.config(&none, &none);
    let mut expired = named("db", &["localhost"]);
    (expired.not_before, expired.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1));
    let expired = issue(&certified.servers, expired, ExtendedKeyUsagePurpose::ServerAuth);
    certify(&mut certified.pair.source, 15, &expired, &certified.clients);
    certified.refused(&apply, "expired").await;
    let good = issue(&certified.servers, named("db", &["localhost"]), ExtendedKeyUsagePurpose::ServerAuth);
    certify(&mut certified.pair.source, 15, &good, &certified.clients);

    // A target that offers no TLS gets no plaintext.
    let dir = certified.pair.target.data_dir();
    let settings = std::fs::read_to_string(dir.join("postgresql.conf")).unwrap();
    put(&dir, "postgresql.conf", &(settings.replace("ssl = on", "ssl = off") + "log_connections = on\n"));
    put(&dir, "pg_hba.conf", "local all postgres trust\nhost all all 127.0.0.1/32 trust\n");
    certified.pair.target.restart().unwrap();
    certified.refused(&apply, "TLS").await;
    let log = std::fs::read_to_string(certified.pair.target.log_path()).unwrap();
    let since = log.rfind("starting PostgreSQL").unwrap();
    let opened = log[since..].contains("connection authorized: user=pcrd_mover");
    assert!(!opened, "a session was opened in plaintext: {}", &log[since..]);
}
