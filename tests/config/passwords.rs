use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pcrd::config::{Config, Environment, Resolved, parse};
use pcrd::pg::conninfo::{RootCert, SslMode};
use pcrd::plan::End;
use secrecy::ExposeSecret;

use crate::accept;

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn password(resolved: &Resolved) -> Option<&str> {
    resolved.conninfo.password.as_ref().map(|password| password.expose_secret())
}

fn with(extra: &str) -> Config {
    accept(&format!("source: {{ host: localhost, database: d, user: u{extra} }}"))
}

#[test]
fn sources_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    write(&at("file"), "of file\n", 0o600);
    write(&at(".pgpass"), "localhost:5432:d:u:of pgpass\n", 0o600);
    write(&at("passfile"), "*:*:*:*:of passfile\n", 0o600);
    fs::write(at(".pg_service.conf"), "[s]\nhost=localhost\ndbname=d\nuser=u\npassword=of service\n").unwrap();
    let all = || {
        vec![
            ("MY_PW", "of env".to_owned()),
            ("PCRD_SOURCE_PASSWORD", "of pcrd".to_owned()),
            ("PGPASSWORD", "of pgpassword".to_owned()),
            ("PGPASSFILE", at("passfile").display().to_string()),
            ("HOME", dir.path().display().to_string()),
        ]
    };
    let source = |config: Config, without: &[&str]| {
        let environment = Environment::of(all().into_iter().filter(|(name, _)| !without.contains(name)));
        let resolved = config.source.resolve(End::Source, &environment).unwrap();
        assert!(resolved.warnings.is_empty(), "{:?}", resolved.warnings);
        password(&resolved).unwrap().to_owned()
    };
    assert_eq!(source(with(", password_env: MY_PW"), &[]), "of env");
    let file = parse(
        &at("c.yml").display().to_string(),
        "source: { host: localhost, database: d, user: u, password_file: file }",
    );
    assert_eq!(source(file.unwrap(), &[]), "of file");
    let command = || with(", password_command: [echo, of command]");
    assert_eq!(source(command(), &[]), "of pcrd");
    assert_eq!(source(command(), &["PCRD_SOURCE_PASSWORD"]), "of pgpassword");
    assert_eq!(source(command(), &["PCRD_SOURCE_PASSWORD", "PGPASSWORD"]), "of passfile");
    assert_eq!(source(command(), &["PCRD_SOURCE_PASSWORD", "PGPASSWORD", "PGPASSFILE"]), "of pgpass");
    assert_eq!(source(command(), &["PCRD_SOURCE_PASSWORD", "PGPASSWORD", "PGPASSFILE", "HOME"]), "of command");
    let service = accept("source: { service: s, user: other }");
    assert_eq!(source(service, &["PCRD_SOURCE_PASSWORD", "PGPASSWORD", "PGPASSFILE"]), "of service");
    let plaintext =
        "allow_plaintext_password: true\nsource: { host: localhost, database: d, user: u, password: of yaml }";
    assert_eq!(source(accept(plaintext), &[]), "of yaml");

    let target = accept("source: { service: x }\ntarget: { host: localhost, database: d, user: u }").target.unwrap();
    let environment = Environment::of([("PCRD_SOURCE_PASSWORD", "no"), ("PCRD_TARGET_PASSWORD", "yes")]);
    assert_eq!(password(&target.resolve(End::Target, &environment).unwrap()), Some("yes"));
    assert_eq!(password(&target.resolve(End::Target, &Environment::default()).unwrap()), None);
    let empty = Environment::of([("PGPASSWORD", "")]);
    assert_eq!(password(&target.resolve(End::Target, &empty).unwrap()), None);
}

#[test]
fn a_source_that_is_named_must_have_a_password() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pw");
    let open = format!(", password_file: {}", file.display());
    let fails = |extra: &str| {
        let environment = Environment::of([("PGPASSWORD", "canary")]);
        with(extra).source.resolve(End::Source, &environment).unwrap_err().to_string()
    };
    assert!(fails(", password_env: UNSET").contains("UNSET (password_env) is not set"));
    assert!(fails(&open).contains("failed to read password_file"));
    for mode in [0o644, 0o640, 0o604, 0o660] {
        write(&file, "canary\n", mode);
        assert!(fails(&open).contains("can be read by others"), "{mode:o}");
    }
    for text in ["", "\n", "a\nb\n", "a\0"] {
        write(&file, text, 0o600);
        assert!(fails(&open).contains("gave"), "{text:?}");
    }
    let command = with(", password_command: [\"false\"]").source.resolve(End::Source, &Environment::default());
    assert!(command.unwrap_err().to_string().contains("exit status: 1"));
}

#[test]
fn a_pgpass_that_others_can_read_warns() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join(".pgpass"), "*:*:*:*:canary\n", 0o644);
    let resolved = with("").source.resolve(End::Source, &Environment::of([("HOME", dir.path())])).unwrap();
    assert_eq!(password(&resolved), None);
    assert!(resolved.warnings[0].contains("permissions are 0644"));
}

#[test]
fn no_secret_is_printed() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join(".pgpass"), "*:*:*:*:canary\n", 0o600);
    let environment = Environment::of([("HOME", dir.path().as_os_str()), ("PW", "canary".as_ref())]);
    let mut shown = format!("{environment:?}");
    for text in [
        "allow_plaintext_password: true\nsource: { host: localhost, database: d, user: u, password: canary }",
        "allow_plaintext_password: true\nsource: { uri: \"postgresql://u:canary@localhost/d\" }",
        "allow_plaintext_password: true\nsource: { uri: \"host=localhost dbname=d user=u password='canary'\" }",
        "source: { host: localhost, database: d, user: u }",
        "source: { host: localhost, database: d, user: u, password_env: PW }",
    ] {
        let config = accept(text);
        let resolved = config.source.resolve(End::Source, &environment).unwrap();
        assert_eq!(password(&resolved), Some("canary"), "{text}");
        shown.push_str(&format!("{config:?}\n{resolved:#?}\n{}\n", config.text));
    }
    for text in [
        "source: { host: localhost, database: d, user: u, password: canary }",
        "source: { uri: \"postgresql://u:canary@localhost/d\" }",
        "source: { uri: \"postgresql://u:canary@localhost:x/d?a=canary\" }",
        "source: { uri: \"host=localhost passwrd=canary canary\" }",
        "source: { uri: \"mysql://u:canary@h?canary=1\" }",
        "source: { uri: \"postgresql://u:canary@canary@h/d\" }",
        "source: { host: localhost, pasword: canary }",
        "source: { password: [canary] }",
        "source: { password: { a: canary } }",
        "source:\n  password: canary\n bad",
        "source: { password: 'canary }",
        "sorce: { password: canary }",
        "source: postgresql://u:canary@h/d",
        "allow_plaintext_password: true\nsource: { service: absent, password: canary, port: x }",
    ] {
        let errors = crate::refuse(text);
        shown.push_str(&format!("{errors:?}\n{}\n", crate::rendered::plain(&errors)));
    }
    assert!(!shown.contains("canary"), "{shown}");
}

#[test]
fn what_a_service_brings_is_checked_like_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let resolve = |service: &str, config: &str| {
        fs::write(dir.path().join(".pg_service.conf"), format!("[s]\n{service}\n")).unwrap();
        accept(config).source.resolve(End::Source, &Environment::of([("HOME", dir.path())]))
    };
    let plain = "source: { service: s }";
    let fails = |service: &str| resolve(service, plain).unwrap_err().to_string();
    assert_eq!(fails("host=localhost"), "source has no database");
    assert!(fails("host=db.example\ndbname=d\nuser=u").contains("has no sslmode"));
    assert!(fails("host=h\ndbname=d\nuser=u\nsslmode=require\nsslrootcert=system").contains("verify-full"));
    assert!(fails("host=h\noptions=-cx=1").contains("line 3: the connection parameter `options` is not supported"));
    let resolved =
        resolve("host=db.example\nport=7\ndbname=d\nuser=u\nsslmode=require", "source: { service: s, port: 8 }")
            .unwrap();
    assert_eq!((resolved.conninfo.port, resolved.conninfo.tls.mode), (8, SslMode::Require));
    assert_eq!(resolved.conninfo.tls.root_cert, None);
    fs::create_dir(dir.path().join(".postgresql")).unwrap();
    let root = dir.path().join(".postgresql/root.crt");
    fs::write(&root, "").unwrap();
    let resolved = resolve("host=db.example\ndbname=d\nuser=u\nsslmode=require", plain).unwrap();
    assert_eq!(resolved.conninfo.tls.root_cert, Some(RootCert::File(root)));
}

#[test]
fn a_client_key_is_for_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("k");
    let config = with(&format!(", sslcert: c, sslkey: {}", key.display()));
    let resolve = || config.source.resolve(End::Source, &Environment::default());
    assert!(resolve().is_err());
    for (mode, good) in [(0o600, true), (0o400, true), (0o644, false), (0o666, false)] {
        write(&key, "", mode);
        assert_eq!(resolve().is_ok(), good, "{mode:o}");
    }
}
