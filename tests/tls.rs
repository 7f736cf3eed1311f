//! TLS and passwords, for SQL and replication alike: every case is tried on both.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "support/certificates.rs"]
mod certificates;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;

use certificates::{Authority, authority, issue, named, put};
use pcrd::pg::client;
use pcrd::pg::conninfo::{ChannelBinding, Conninfo, RootCert, SslMode, Tls};
use pcrd::pg::error::PgError;
use pcrd::pg::local::{Cluster, installed_majors};
use pcrd::pg::replication;
use pcrd::pg::tls::TlsError;
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd};
use secrecy::SecretString;

const HBA: &str = "\
local all all trust
hostssl all certified 127.0.0.1/32 cert
host all scrambled 127.0.0.1/32 scram-sha-256
host all hashed 127.0.0.1/32 md5
host all clear 127.0.0.1/32 password
host all postgres 127.0.0.1/32 trust
";

/// A server with users of every kind, and a place for the client's files.
struct Server {
    cluster: Cluster,
    files: tempfile::TempDir,
}

impl Server {
    async fn start(major: u32) -> Self {
        let mut cluster = Cluster::start(major).unwrap();
        let sql = client::connect(&cluster.conninfo("postgres"), "pcrd/test/setup").await.unwrap();
        for (user, encryption) in
            [("scrambled", "scram-sha-256"), ("hashed", "md5"), ("clear", "md5"), ("certified", "md5")]
        {
            sql.batch_execute(&format!(
                "SET password_encryption = '{encryption}';
                 CREATE ROLE {user} LOGIN REPLICATION PASSWORD 'pässword'"
            ))
            .await
            .unwrap();
        }
        put(&cluster.data_dir(), "pg_hba.conf", HBA);
        cluster.reload().unwrap();
        Self { cluster, files: tempfile::tempdir().unwrap() }
    }

    /// Gives the server this certificate; it asks clients for theirs if there is an authority to check them.
    fn certify(&mut self, (certificate, key): &(String, String), clients: Option<&Authority>) {
        let dir = self.cluster.data_dir();
        put(&dir, "server.crt", certificate);
        put(&dir, "server.key", key);
        let mut settings = "ssl = on\n".to_owned();
        if let Some(authority) = clients {
            put(&dir, "clients.crt", &authority.pem);
            settings.push_str("ssl_ca_file = 'clients.crt'\n");
        }
        let mut configuration = fs::read_to_string(dir.join("postgresql.conf")).unwrap();
        configuration.push_str(&settings);
        put(&dir, "postgresql.conf", &configuration);
        self.cluster.restart().unwrap();
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.files.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn root(&self, content: &str) -> Option<RootCert> {
        Some(RootCert::File(self.file("root.crt", content)))
    }

    fn info(&self, host: &str, user: &str, tls: Tls) -> Conninfo {
        let password = Some(SecretString::from("pässword"));
        Conninfo { host: host.to_owned(), user: user.to_owned(), password, tls, ..self.cluster.conninfo("postgres") }
    }
}

/// Whether the session is encrypted, or why there is none; SQL and replication must agree.
async fn attempt(info: &Conninfo) -> Result<bool, PgError> {
    let sql = client::connect(info, "pcrd/test/sql").await;
    let replication = replication::connect(info, "pcrd/test/repl").await;
    match (sql, replication) {
        (Ok(sql), Ok(replication)) => {
            let query = "SELECT count(*) FILTER (WHERE ssl), count(*) FROM pg_stat_ssl
                         WHERE pid IN ($1, pg_backend_pid())";
            let row = sql.query_one(query, &[&replication.backend_pid()]).await.unwrap();
            let (encrypted, all): (i64, i64) = (row.get(0), row.get(1));
            assert!(all == 2 && (encrypted == 0 || encrypted == 2), "{encrypted} of {all} sessions are encrypted");
            Ok(encrypted == 2)
        }
        (Err(sql), Err(replication)) => {
            assert_eq!(
                std::mem::discriminant(&sql),
                std::mem::discriminant(&replication),
                "SQL: {sql:?}; replication: {replication:?}"
            );
            assert_eq!(sql.sqlstate(), replication.sqlstate());
            assert!(!sql.is_transient() && !replication.is_transient(), "{sql:?} {replication:?}");
            if let (PgError::Tls(sql), PgError::Tls(replication)) = (&sql, &replication) {
                assert_eq!(sql.to_string(), replication.to_string());
            }
            Err(replication)
        }
        (sql, replication) => panic!("SQL: {:?}; replication: {:?}", sql.err(), replication.err()),
    }
}

async fn tls_error(info: &Conninfo) -> TlsError {
    match attempt(info).await {
        Err(PgError::Tls(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn tls(mode: SslMode, root_cert: Option<RootCert>) -> Tls {
    Tls { mode, root_cert, ..Tls::default() }
}

#[tokio::test]
async fn names_and_authorities_are_checked_as_the_mode_says() {
    let installed = installed_majors();
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    for major in [installed[0], 15, *installed.last().unwrap()] {
        println!("PostgreSQL {major}");
        let mut server = Server::start(major).await;
        server.certify(
            &issue(&ours, named("db", &["localhost", "127.0.0.1"]), ExtendedKeyUsagePurpose::ServerAuth),
            None,
        );
        let full = |pem: &str| tls(SslMode::VerifyFull, server.root(pem));
        for host in ["localhost", "127.0.0.1"] {
            assert!(attempt(&server.info(host, "postgres", full(&ours.pem))).await.unwrap());
            let bound = Tls { channel_binding: ChannelBinding::Require, ..full(&ours.pem) };
            let user = server.info(host, "scrambled", bound);
            // The oldest servers cannot bind a session.
            if major >= 11 {
                assert!(attempt(&user).await.unwrap());
            } else {
                assert!(matches!(attempt(&user).await, Err(PgError::Authentication(_))));
            }
            let error = tls_error(&server.info(host, "postgres", full(&theirs.pem))).await;
            assert!(matches!(error, TlsError::UnknownIssuer), "{error:?}");
        }
        let both = format!("{}{}", theirs.pem, ours.pem);
        assert!(attempt(&server.info("127.0.0.1", "postgres", full(&both))).await.unwrap());
        for (mode, root) in [(SslMode::Require, None), (SslMode::Prefer, None), (SslMode::VerifyCa, Some(&ours))] {
            let root = root.and_then(|authority| server.root(&authority.pem));
            assert!(attempt(&server.info("127.0.0.1", "scrambled", tls(mode, root))).await.unwrap());
        }
        // As libpq: a root certificate makes `require` check the chain.
        let error =
            tls_error(&server.info("127.0.0.1", "postgres", tls(SslMode::Require, server.root(&theirs.pem)))).await;
        assert!(matches!(error, TlsError::UnknownIssuer), "{error:?}");
        assert!(!attempt(&server.info("127.0.0.1", "postgres", tls(SslMode::Disable, None))).await.unwrap());

        server.certify(&issue(&ours, named("127.0.0.1", &["elsewhere"]), ExtendedKeyUsagePurpose::ServerAuth), None);
        for host in ["localhost", "127.0.0.1"] {
            let root = || server.root(&ours.pem);
            let error = tls_error(&server.info(host, "postgres", tls(SslMode::VerifyFull, root()))).await;
            assert!(matches!(error, TlsError::WrongHost(_)), "{error:?}");
            assert!(attempt(&server.info(host, "postgres", tls(SslMode::VerifyCa, root()))).await.unwrap());
        }
    }
}

#[tokio::test]
async fn certificates_that_libpq_takes_are_taken() {
    let mut server = Server::start(15).await;
    // PostgreSQL's manual: self-signed, an authority itself, and its own root certificate.
    let mut own = named("localhost", &["localhost"]);
    own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = own.self_signed(&key).unwrap().pem();
    server.certify(&(pem.clone(), key.serialize_pem()), None);
    let full = |pem: &str| tls(SslMode::VerifyFull, server.root(pem));
    assert!(attempt(&server.info("localhost", "scrambled", full(&pem))).await.unwrap());
    let error = tls_error(&server.info("127.0.0.1", "postgres", full(&pem))).await;
    assert!(matches!(error, TlsError::WrongHost(_)), "{error:?}");
    let other = authority("localhost");
    let error = tls_error(&server.info("localhost", "postgres", full(&other.pem))).await;
    assert!(matches!(error, TlsError::AuthorityAsServer), "{error:?}");

    own.not_after = date_time_ymd(2001, 1, 1);
    let pem = own.self_signed(&key).unwrap().pem();
    server.certify(&(pem.clone(), key.serialize_pem()), None);
    let error = tls_error(&server.info("localhost", "postgres", tls(SslMode::VerifyFull, server.root(&pem)))).await;
    assert!(matches!(error, TlsError::Expired(_)), "{error:?}");

    // No name but the subject's.
    let authority = authority("ours");
    server.certify(&issue(&authority, named("localhost", &[]), ExtendedKeyUsagePurpose::ServerAuth), None);
    let full = || tls(SslMode::VerifyFull, server.root(&authority.pem));
    assert!(attempt(&server.info("localhost", "postgres", full())).await.unwrap());
    let error = tls_error(&server.info("127.0.0.1", "postgres", full())).await;
    assert!(matches!(error, TlsError::WrongHost(_)), "{error:?}");
}

#[tokio::test]
async fn client_certificates_are_shown_and_their_keys_are_private() {
    let (ours, clients) = (authority("ours"), authority("clients"));
    let mut server = Server::start(15).await;
    server.certify(&issue(&ours, named("db", &["localhost"]), ExtendedKeyUsagePurpose::ServerAuth), Some(&clients));
    let (certificate, key) = issue(&clients, named("certified", &[]), ExtendedKeyUsagePurpose::ClientAuth);
    let with = |certificate: &str, key: PathBuf| {
        let cert = Some(server.file("client.crt", certificate));
        let tls = Tls { cert, key: Some(key), ..tls(SslMode::VerifyFull, server.root(&ours.pem)) };
        server.info("localhost", "certified", tls)
    };
    let pkcs8 = server.file("client.key", &key);
    assert!(attempt(&with(&certificate, pkcs8.clone())).await.unwrap());

    // The older form of the same key.
    let sec1 = server.file("sec1.key", "");
    let converted = Command::new("openssl").args(["ec", "-in"]).arg(&pkcs8).arg("-out").arg(&sec1).output();
    match converted {
        Ok(output) if output.status.success() => {
            assert!(fs::read_to_string(&sec1).unwrap().contains("BEGIN EC PRIVATE KEY"));
            assert!(attempt(&with(&certificate, sec1)).await.unwrap());
        }
        _ => println!("no openssl here: the SEC1 form of a key was not tried"),
    }

    let without = server.info("localhost", "certified", tls(SslMode::VerifyFull, server.root(&ours.pem)));
    assert_eq!(attempt(&without).await.unwrap_err().sqlstate(), Some("28000"));
    let other = issue(&clients, named("somebody", &[]), ExtendedKeyUsagePurpose::ClientAuth);
    let somebody = with(&other.0, server.file("other.key", &other.1));
    assert_eq!(attempt(&somebody).await.unwrap_err().sqlstate(), Some("28000"));

    for (mode, reason) in [(0o644, "other users"), (0o640, "other users")] {
        // A key of root may be read by a group.
        fs::set_permissions(&pkcs8, fs::Permissions::from_mode(mode)).unwrap();
        let root_owned = fs::metadata(&pkcs8).unwrap().uid() == 0;
        if mode == 0o640 && root_owned {
            assert!(attempt(&with(&certificate, pkcs8.clone())).await.unwrap());
        } else {
            let error = tls_error(&with(&certificate, pkcs8.clone())).await;
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
    let encrypted = server.file("encrypted.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\n");
    let error = tls_error(&with(&certificate, encrypted)).await;
    assert!(error.to_string().contains("encrypted"), "{error}");
}

#[tokio::test]
async fn a_server_without_tls_gets_no_secret() {
    let server = Server::start(15).await;
    for mode in [SslMode::Require, SslMode::VerifyFull] {
        let root = (mode == SslMode::VerifyFull).then(|| server.root(&authority("ours").pem)).flatten();
        let error = tls_error(&server.info("127.0.0.1", "scrambled", tls(mode, root))).await;
        assert!(matches!(error, TlsError::NotOffered), "{error:?}");
    }
    for mode in [SslMode::Disable, SslMode::Prefer] {
        assert!(!attempt(&server.info("127.0.0.1", "scrambled", tls(mode, None))).await.unwrap());
        let bound = Tls { channel_binding: ChannelBinding::Require, ..tls(mode, None) };
        let error = attempt(&server.info("127.0.0.1", "scrambled", bound)).await.unwrap_err();
        assert!(matches!(error, PgError::Authentication(_)), "{error:?}");
    }
    let socket = server.cluster.socket_dir().to_str().unwrap().to_owned();
    let error = tls_error(&server.info(&socket, "postgres", tls(SslMode::Require, None))).await;
    assert!(matches!(error, TlsError::UnixSocket), "{error:?}");
    assert!(!attempt(&server.info(&socket, "postgres", tls(SslMode::Disable, None))).await.unwrap());
}

#[tokio::test]
async fn passwords() {
    let mut server = Server::start(15).await;
    let plain = |server: &Server, user: &str| server.info("127.0.0.1", user, Tls::default());
    for user in ["scrambled", "hashed"] {
        attempt(&plain(&server, user)).await.unwrap();
        let wrong = Conninfo { password: Some(SecretString::from("canary")), ..plain(&server, user) };
        let error = attempt(&wrong).await.unwrap_err();
        assert_eq!(error.sqlstate(), Some("28P01"));
        assert!(!format!("{error} {error:?} {wrong:?}").contains("canary"));
        let none = Conninfo { password: None, ..plain(&server, user) };
        let error = replication::connect(&none, "pcrd/test/repl").await.unwrap_err();
        assert!(matches!(error, PgError::Authentication(_)), "{error:?}");
    }
    let error = replication::connect(&plain(&server, "clear"), "pcrd/test/repl").await.unwrap_err();
    assert!(matches!(error, PgError::Authentication(_)), "{error:?}");
    server.certify(&issue(&authority("ours"), named("db", &[]), ExtendedKeyUsagePurpose::ServerAuth), None);
    let encrypted = server.info("127.0.0.1", "clear", tls(SslMode::Require, None));
    assert!(attempt(&encrypted).await.unwrap());
}
