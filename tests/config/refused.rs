use pcrd::config::ConfigErrors;
use pcrd::desired::problem::Problem;

use crate::{SOURCE, refuse, rendered};

/// `(where it is wrong, code after pcrd::config::, what the first label covers, what the second covers, a piece of message or help)`
pub(crate) type Case = (String, &'static str, &'static str, Option<&'static str>, &'static str);

pub(crate) fn check(cases: Vec<Case>) {
    for (text, code, place, second, said) in cases {
        let errors = refuse(&text);
        let shown = rendered::plain(&errors);
        let [problem] = errors.problems.as_slice() else { panic!("not one problem:\n{shown}") };
        assert_eq!(problem.kind.code(), format!("pcrd::config::{code}"), "{shown}");
        assert_eq!(&text[problem.labels[0].span.clone()], place, "{shown}");
        assert_eq!(problem.labels.get(1).map(|label| &text[label.span.clone()]), second, "{shown}");
        let words = format!("{}\n{}", problem.message, problem.help.as_deref().unwrap_or(""));
        assert!(words.contains(said), "`{said}` is not in:\n{words}");
    }
}

pub(crate) fn top(text: &str) -> String {
    format!("{SOURCE}{text}\n")
}

fn table(text: &str) -> String {
    top(&format!("migrate: {{ tables: [{{ name: t, {text} }}] }}"))
}

fn source(text: &str) -> String {
    format!("source: {{ database: d, user: u, {text} }}\n")
}

#[test]
fn keys_that_do_not_exist() {
    check(vec![
        (top("migrat: {}"), "unknown_key", "migrat", None, "did you mean `migrate`?"),
        (top("tables: []"), "unknown_key", "tables", None, "listed under `migrate.tables`"),
        (top("migrate: { slot: x }"), "unknown_key", "slot", None, "did you mean `replication_slot`?"),
        (table("columns: { a: { renme: b } }"), "unknown_key", "renme", None, "did you mean `rename`?"),
        (table("optimise_column_order: true"), "unknown_key", "optimise_column_order", None, "`optimize_column_order`"),
        (table("columns: { a: { backfill: b } }"), "unknown_key", "backfill", None, "a column that exists has `using`"),
        (
            table("add_columns: [{ name: a, type: b, using: c }]"),
            "unknown_key",
            "using",
            None,
            "a new column has `backfill`",
        ),
        (table("columns: { a: { type: numeric(10,2) } }"), "unknown_key", "2)", None, "put the value in quotes"),
        (top("verify: { zzzzz: 1 }"), "unknown_key", "zzzzz", None, "known keys: sample_size, hash, max_rows"),
        (source("host: localhost, dbname: x"), "unknown_key", "dbname", None, "did you mean `database`?"),
    ]);
}

#[test]
fn hooks_and_poolers_that_make_no_cutover() {
    let pooler = |rest: &str| top(&format!("cutover: {{ pgbouncer: {{ {rest} }} }}"));
    let whole = "pgbouncer: { admin_uri: postgresql://a@h/p, databases: [shop] }";
    check(vec![
        (top("cutover: { hooks: { swich: [x] } }"), "unknown_key", "swich", None, "did you mean `switch`?"),
        (top("cutover: { hooks: { switch: /bin/x } }"), "wrong_type", "/bin/x", None, "no shell is involved"),
        (top("cutover: { hooks: { switch: [] } }"), "bad_value", "switch", None, "`cutover.hooks.switch` is empty"),
        (top("cutover: { hooks: { switch: [a, {}] } }"), "wrong_type", "{", None, "must be text"),
        (
            top("cutover: { hooks: { switch: [a, --password=of-mine] } }"),
            "bad_value",
            "--password=of-mine",
            None,
            "the plan file would show",
        ),
        (
            top("cutover: { hooks: { abort: [psql, 'postgresql://u:of-mine@h/d'] } }"),
            "bad_value",
            "'postgresql://u:of-mine@h/d'",
            None,
            "from a file",
        ),
        (top("cutover: { hooks: { switch: [a], timeout: 0 } }"), "bad_value", "0", None, "between 1 and 604800"),
        (top("cutover: { fence: pgbouncer }"), "contradiction", "pgbouncer", None, "needs `cutover.pgbouncer`"),
        (top(&format!("cutover: {{ fence: pgbouncer, {whole} }}")), "contradiction", "pgbouncer", None, "hooks.switch"),
        (
            top("cutover: { fence: hooks, hooks: { switch: [a] } }"),
            "contradiction",
            "hooks",
            None,
            "hooks.before_fence",
        ),
        (
            top("cutover: { reverse: { enabled: true } }"),
            "missing",
            "reverse",
            None,
            "`cutover.reverse.user` is missing",
        ),
        (top("cutover: { reverse: { user: x, role: x } }"), "unknown_key", "role", None, "did you mean `user`?"),
        (top("cutover: { fence: none, reverse: { user: x } }"), "contradiction", "none", None, "refuses writes"),
        (top(&format!("cutover: {{ fence: none, {whole} }}")), "contradiction", "none", None, "has no effect"),
        (top(&format!("cutover: {{ {whole} }}")), "contradiction", "cutover", None, "has no effect"),
        (pooler("databases: [shop]"), "missing", "pgbouncer", None, "`cutover.pgbouncer.admin_uri` is missing"),
        (pooler("admin_uri: postgresql://a@h/p"), "missing", "pgbouncer", None, "databases"),
        (pooler("admin_uri: postgresql://a@h/p, databases: []"), "bad_value", "databases", None, "is empty"),
        (pooler("admin_uri: 'postgresql:///p', databases: [a]"), "missing", "'postgresql:///p'", None, "names no host"),
        (
            pooler("admin_uri: 'postgresql://a:canary@h/p', databases: [a]"),
            "plaintext_password",
            "'postgresql://a:canary@h/p'",
            None,
            "PCRD_PGBOUNCER_PASSWORD",
        ),
    ]);
}

#[test]
fn keys_and_values_that_later_versions_bring() {
    check(vec![
        (top("migrate: { carry: [owners, comments] }"), "not_yet", "comments", None, "migrate.carry: comments"),
        (top("migrate: { carry: [none, grants] }"), "contradiction", "none", None, "beside other kinds"),
        (top("migrate: { carry: grant }"), "bad_value", "grant", None, "`grants`"),
        (top("migrate: { carry: {grants: true} }"), "wrong_type", "grants", None, "migrate.carry"),
        (table("data: none"), "not_yet", "none", None, "data: none"),
        (
            top("cutover: { fence: rename, reverse: { user: r } }"),
            "contradiction",
            "rename",
            None,
            "writes to them by name",
        ),
        (
            top("migrate: { on_ddl: follow_aditive }"),
            "bad_value",
            "follow_aditive",
            None,
            "did you mean `follow_additive`?",
        ),
        (top("migrate: { copy: by_blok }"), "bad_value", "by_blok", None, "by_blocks"),
        (table("copy: ctid"), "bad_value", "ctid", None, "one of: auto, by_key, by_blocks"),
        (top("cutover: { fence: triger }"), "bad_value", "triger", None, "did you mean `trigger`?"),
    ]);
}

#[test]
fn keys_that_stand_twice() {
    let columns = top(
        "migrate:\n  tables:\n    - name: t\n      columns:\n        id: { type: bigint }\n        id: { drop: true }",
    );
    check(vec![
        (top("verify: {}\nverify: {}"), "duplicate_key", "verify", Some("verify"), "stands twice"),
        (columns, "duplicate_key", "id", Some("id"), "`id` stands twice"),
        (table("columns: { a: { type: b, type: c } }"), "duplicate_key", "type", Some("type"), "stands twice"),
        (table("columns: { a: ~, \"a\": ~ }"), "duplicate_key", "\"a\"", Some("a"), "stands twice"),
    ]);
}

#[test]
fn values_of_the_wrong_type() {
    check(vec![
        (table("columns: { id: bigint }"), "wrong_type", "bigint", None, "write `id: { type: bigint }`"),
        (table("columns: [id]"), "wrong_type", "id", None, "write `columns: { id: { type: bigint } }`"),
        (table("columns: { a: { rename: ~ } }"), "wrong_type", "~", None, "has no value"),
        (table("columns: { a: { drop: maybe } }"), "wrong_type", "maybe", None, "`true` or `false`"),
        (table("columns: { a: { drop: \"true\" } }"), "wrong_type", "\"true\"", None, "text in quotes"),
        (table("columns: { a: { type: [b] } }"), "wrong_type", "b", None, "must be text, not a list"),
        (top("migrate: { vacuum: full }"), "wrong_type", "full", None, "`migrate.vacuum` must be `true` or `false`"),
        (table("vacuum: freeze"), "wrong_type", "freeze", None, "`true` or `false`"),
        (table("key: id"), "wrong_type", "id", None, "write `key: [a, b]`"),
        (table("key: [[id]]"), "wrong_type", "id", None, "must be text"),
        (top("migrate: { tables: [[orders]] }"), "wrong_type", "orders", None, "must be a map"),
        (top("migrate: { exclude: { a: b } }"), "wrong_type", "a", None, "a list"),
        (top("migrate: { batch_size: ten }"), "wrong_type", "ten", None, "a whole number"),
        (top("migrate: { batch_size: \"10\" }"), "wrong_type", "\"10\"", None, "remove the quotes"),
        (top("migrate: { max_rows_per_second: fast }"), "wrong_type", "fast", None, "a whole number"),
        (top("migrate:"), "wrong_type", "migrate", None, "must be a map, not nothing"),
        (top("migrate: [1]"), "wrong_type", "1", None, "must be a map, not a list"),
        (top("state: { a: b }"), "wrong_type", "a", None, "must be text, not a map"),
        (top("? [a, b]\n: c"), "wrong_type", "a", None, "a key is a name, not a list"),
        (
            format!("{SOURCE}target: postgresql://u@localhost/d"),
            "wrong_type",
            "postgresql://u@localhost/d",
            None,
            "{ uri: … }",
        ),
        (source("host: localhost, password_command: pass show"), "wrong_type", "pass show", None, "`[pass, show, db]`"),
        ("just text".to_owned(), "wrong_type", "just text", None, "the file must be a map"),
    ]);
}

#[test]
fn values_out_of_bounds() {
    check(vec![
        (top("migrate: { batch_size: 0 }"), "bad_value", "0", None, "at least 1"),
        (top("migrate: { max_rows_per_second: -5 }"), "bad_value", "-5", None, "at least 1"),
        (top("migrate: { workers: 1_000 }"), "bad_value", "1_000", None, "between 1 and 256"),
        (source("host: localhost, port: 65536"), "bad_value", "65536", None, "between 1 and 65535"),
        (source("host: localhost, port: 0"), "bad_value", "0", None, "between 1 and 65535"),
        (top("cutover: { sequence_buffer: -1 }"), "bad_value", "-1", None, "at least 0"),
        (top("verify: { sample_size: 0 }"), "bad_value", "0", None, "at least 1"),
        (top("verify: { max_rows_per_second: 0 }"), "bad_value", "0", None, "at least 1"),
        (top("verify: { hash: md5 }"), "bad_value", "md5", None, "sha256"),
        (table("columns: { a: { type: \" \" } }"), "bad_value", "\" \"", None, "cannot be empty"),
        (table("columns: { a: { using: \"a\\0b\" } }"), "bad_value", "\"a\\0b\"", None, "NUL byte"),
        (table("key: []"), "bad_value", "key", None, "`key` has no columns"),
        (
            source("host: localhost, sslmode: verify_full"),
            "bad_value",
            "verify_full",
            None,
            "did you mean `verify-full`?",
        ),
        (source("host: localhost, sslmode: allow"), "bad_value", "allow", None, "one of: disable, prefer"),
        (source("host: \"a,b\", sslmode: require"), "bad_value", "\"a,b\"", None, "one host"),
        (source("host: localhost, password_command: []"), "bad_value", "password_command", None, "is empty"),
        (
            "source: { uri: \"postgresql://u@h/d?ssl=1\" }".to_owned(),
            "bad_value",
            "\"postgresql://u@h/d?ssl=1\"",
            None,
            "not supported",
        ),
    ]);
}

#[test]
fn names_that_postgresql_would_change() {
    let long = "é".repeat(32);
    let text = table(&format!("columns: {{ a: {{ rename: {long} }} }}"));
    let errors = refuse(&text);
    assert_eq!(errors.problems[0].kind.code(), "pcrd::config::bad_name");
    assert!(errors.problems[0].message.contains("64 bytes"));
    check(vec![
        (top("migrate: { replication_slot: My-Slot }"), "bad_name", "My-Slot", None, "only a–z, 0–9 and _"),
        (top("migrate: { publication: \"p;drop\" }"), "bad_name", "\"p;drop\"", None, "only a–z, 0–9 and _"),
        (top("migrate: { tables: [{ name: a.b.c }] }"), "bad_name", "a.b.c", None, "`table` or `schema.table`"),
        (top("migrate: { tables: [{ name: a. }] }"), "bad_name", "a.", None, "cannot be empty"),
        (table("columns: { \"\": { drop: true } }"), "bad_name", "\"\"", None, "cannot be empty"),
        (table("columns: { \"a\\0\": { drop: true } }"), "bad_name", "\"a\\0\"", None, "NUL"),
        (top("analyze: { tables: [\"\\\"open\"] }"), "bad_name", "\"\\\"open\"", None, "`table` or `schema.table`"),
    ]);
}

#[test]
fn things_that_are_missing() {
    check(vec![
        ("migrate: {}\n".to_owned(), "missing", "migrate", None, "`source` is missing"),
        ("source: { host: localhost, user: u }".to_owned(), "missing", "source", None, "`source.database` is missing"),
        (top("migrate: { tables: [{ target: t }] }"), "missing", "target", None, "`migrate.tables[].name` is missing"),
        (table("add_columns: [{ name: a }]"), "missing", "name", None, "add_columns[].type` is missing"),
        (top("accept: [{ code: A, address: b }]"), "missing", "code", None, "`accept[].reason` is missing"),
        (
            "source: { uri: \"postgresql://localhost/d\" }".to_owned(),
            "missing",
            "\"postgresql://localhost/d\"",
            None,
            "names no user",
        ),
        (
            "source: { host: db.example, database: d, user: u }".to_owned(),
            "sslmode_missing",
            "db.example",
            None,
            "sslmode: verify-full",
        ),
        (
            "source: { host: 10.0.0.1, database: d, user: u }".to_owned(),
            "sslmode_missing",
            "10.0.0.1",
            None,
            "sslmode: require ",
        ),
        (
            "source: { uri: \"postgresql://u@db.example/d\" }".to_owned(),
            "sslmode_missing",
            "\"postgresql://u@db.example/d\"",
            None,
            "sslmode: disable",
        ),
    ]);
}

#[test]
fn wishes_that_contradict_each_other() {
    let both = |text: &str| top(&format!("migrate: {{ tables: [{text}] }}"));
    check(vec![
        (
            table("columns: { a: { drop: true, type: text } }"),
            "contradiction",
            "type",
            Some("true"),
            "column `a` is dropped and also has `type`",
        ),
        (
            table("columns: { a: { rename: b, drop: yes } }"),
            "contradiction",
            "rename",
            Some("yes"),
            "also has `rename`",
        ),
        (table("columns: { a: { drop: true, using: b } }"), "contradiction", "using", Some("true"), "also has `using`"),
        (
            table("columns: { a: { drop: true, not_null: no } }"),
            "contradiction",
            "not_null",
            Some("true"),
            "also has `not_null`",
        ),
        (table("columns: { a: { reverse: b } }"), "contradiction", "reverse", None, "nothing to reverse"),
        (
            table("columns: { a: { rename: c }, b: { rename: c } }"),
            "contradiction",
            "c",
            Some("c"),
            "two columns of the target are called `c`",
        ),
        (table("columns: { a: { rename: bb }, bb: { type: text } }"), "contradiction", "bb", Some("bb"), "called `bb`"),
        (table("columns: { a: { rename: bb }, bb: ~ }"), "contradiction", "bb", Some("bb"), "called `bb`"),
        (
            table("columns: { a: { rename: n } }, add_columns: [{ name: n, type: text }]"),
            "contradiction",
            "n",
            Some("n"),
            "called `n`",
        ),
        (
            table("columns: { a: { type: text } }, add_columns: [{ name: a, type: text }]"),
            "contradiction",
            "a",
            Some("a"),
            "called `a`",
        ),
        (
            table("add_columns: [{ name: a, type: text }, { name: a, type: text }]"),
            "contradiction",
            "a",
            Some("a"),
            "called `a`",
        ),
        (
            table("order: keep, optimize_column_order: true"),
            "contradiction",
            "keep",
            Some("true"),
            "is `order: packed`",
        ),
        (
            table("order: packed, optimize_column_order: false"),
            "contradiction",
            "packed",
            Some("false"),
            "is `order: packed`",
        ),
        (table("key: [a, a]"), "contradiction", "a", Some("a"), "names `a` twice"),
        (
            table("key: [a], columns: { a: { drop: true } }"),
            "contradiction",
            "a",
            Some("key"),
            "the key column `a` is dropped",
        ),
        (
            both("{ name: t, target: x }, { name: t, target: public.x, where: a }"),
            "contradiction",
            "t",
            Some("t"),
            "listed twice",
        ),
        (both("{ name: t }, { name: public.t }"), "contradiction", "public.t", Some("t"), "listed twice"),
        (
            both("{ name: t, target: x }, { name: u, target: public.x }"),
            "contradiction",
            "public.x",
            Some("x"),
            "two tables become `public.x`",
        ),
        (both("{ name: t }, { name: u, target: t }"), "contradiction", "t", Some("t"), "two tables become `public.t`"),
        (
            top("accept: [{ code: A, address: b, reason: c }, { code: A, address: b, reason: d }]"),
            "contradiction",
            "code",
            Some("code"),
            "accepted twice",
        ),
        (top("migrate: { checkpoint_db: a }\nstate: b"), "contradiction", "b", Some("a"), "two names of one setting"),
    ]);
}

#[test]
fn connections_that_contradict_themselves() {
    let target = "target: { host: LOCALHOST, port: 5432, database: shop, user: other }";
    let uri = "source: { uri: \"postgresql://u@localhost/d\", host: localhost }";
    check(vec![
        (format!("{SOURCE}{target}"), "contradiction", "target", Some("source"), "the same database"),
        (
            format!("{SOURCE}target: {{ uri: \"postgresql://x@localhost/shop\" }}"),
            "contradiction",
            "target",
            Some("source"),
            "the same database",
        ),
        (uri.to_owned(), "contradiction", "host", Some("\"postgresql://u@localhost/d\""), "given twice"),
        (
            source("host: localhost, password_env: A, password_file: b"),
            "contradiction",
            "password_file",
            Some("password_env"),
            "keep one",
        ),
        (source("host: localhost, sslcert: a"), "contradiction", "a", None, "needs `sslkey`"),
        (source("host: h, sslmode: require, sslrootcert: system"), "contradiction", "system", None, "verify-full"),
        (source("host: h, sslmode: disable, channel_binding: require"), "contradiction", "require", None, "needs TLS"),
        (
            source("host: localhost, password: canary"),
            "plaintext_password",
            "canary",
            None,
            "password_file: source.password",
        ),
        (
            "source: { uri: \"postgresql://u:canary@localhost/d\" }".to_owned(),
            "plaintext_password",
            "\"postgresql://u:canary@localhost/d\"",
            None,
            "password_env: PCRD_SOURCE_PASSWORD",
        ),
    ]);
}

#[test]
fn text_that_is_no_yaml() {
    check(vec![
        (String::new(), "empty", "", None, "the file is empty"),
        ("# only a comment\n---\n".to_owned(), "wrong_type", "", None, "the file must be a map, not nothing"),
        (format!("{SOURCE}---\na: b\n"), "syntax", "", None, "several documents"),
    ]);
    let code =
        |errors: &ConfigErrors| errors.problems.iter().map(|problem: &Problem| problem.kind.code()).collect::<Vec<_>>();
    for text in [
        "source:\n\thost: x\n",
        "source: \"open\n",
        "source: [",
        "source: *nowhere\n",
        "a: b: c\n",
        "@",
        "a: &x [*x]\n",
    ] {
        assert_eq!(code(&refuse(text)), ["pcrd::config::syntax"], "{text:?}");
    }
    assert!(refuse("source:\n\thost: x\n").problems[0].help.as_deref().unwrap().contains("tabs"));
    assert_eq!(code(&refuse(&top("verify: !!python/object {}"))), ["pcrd::config::syntax"]);
}

#[test]
fn hostile_yaml_is_refused_quickly() {
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let below = format!("*a{}, ", level - 1).repeat(10);
        laughs.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    let mut stairs = String::from("a0: &a0 x\n");
    for level in 1..2_000 {
        stairs.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    let started = std::time::Instant::now();
    assert_eq!(refuse(&stairs).problems.last().unwrap().kind.code(), "pcrd::config::too_large");
    assert_eq!(refuse(&laughs).problems.last().unwrap().kind.code(), "pcrd::config::too_large");
    refuse(&"[".repeat(100_000));
    refuse(&format!("a: {}", "{a: ".repeat(100_000)));
    refuse(&"- ".repeat(100_000));
    assert!(started.elapsed() < std::time::Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn files_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let load = |name: &str| pcrd::config::load(&dir.path().join(name)).unwrap_err();
    assert_eq!(load("absent.yml").problems[0].kind.code(), "pcrd::config::not_found");
    assert!(load("absent.yml").problems[0].message.starts_with("config file not found: "));
    assert_eq!(load("").problems[0].kind.code(), "pcrd::config::unreadable");
    std::fs::write(dir.path().join("latin1.yml"), b"source:\n  user: J\xf6rg\n").unwrap();
    assert!(load("latin1.yml").problems[0].message.contains("not valid UTF-8 (line 2, byte 17)"));
    std::fs::write(dir.path().join("big.yml"), vec![b'#'; 5 * 1024 * 1024]).unwrap();
    assert_eq!(load("big.yml").problems[0].kind.code(), "pcrd::config::too_large");
    std::fs::write(dir.path().join("good.yml"), SOURCE).unwrap();
    let config = pcrd::config::load(&dir.path().join("good.yml")).unwrap();
    assert_eq!(config.migrate.checkpoint_db, dir.path().join("pcrd_checkpoint.sqlite3"));
}
