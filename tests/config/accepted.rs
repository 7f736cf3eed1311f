use std::path::Path;

use pcrd::catalog::QualifiedName;
use pcrd::config::VerifySettings;
use pcrd::config::endpoint::PasswordWish;
use pcrd::desired::{Carry, CopyWish, Order};
use pcrd::pg::conninfo::{ChannelBinding, RootCert, SslMode};
use pcrd::plan::{Comparison, HashKind, Signal};

use crate::{SOURCE, accept};

/// Every key that works, each with a value that is not its default.
pub(crate) const EVERYTHING: &str = r#"
source:
  host: db.example
  port: 5433
  database: shop
  user: reader
  sslmode: verify-full
  sslrootcert: certs/ca.pem
  sslcert: certs/me.crt
  sslkey: /abs/me.key
  channel_binding: require
  password_file: source.password
target:
  uri: postgresql://writer@other.example:6432/shop?sslmode=require
  password_command: [pass, show, "a b"]
migrate:
  replication_slot: my_slot
  publication: my_pub
  batch_size: 5_000
  lag_threshold_bytes: 2_097_152
  max_rows_per_second: 20_000
  max_bytes_per_second: 50_000_000
  throttle:
    wal_retained_bytes: 100_000_000
    stream_lag_bytes: 10_000_000
    source_replica_lag_seconds: 5
    source_active_sessions: 40
    source_commit_slowdown_percent: 70
    target_replica_lag_seconds: 0
  workers: 2
  on_ddl: stop
  vacuum: true
  copy: by_key
  carry: [grants]
  tables:
    - name: sales.listings
      target: public.offers
      key: [tenant, id]
      order: packed
      optimize_column_order: true
      data: copy
      vacuum: off
      copy: by_blocks
      columns:
        id: { type: bigint }
        tenant: ~
        price: { type: "numeric(12,2)", using: price / 100.0, reverse: "(price * 100)::int", not_null: true, default: 0 }
        title: { rename: headline }
        old: { drop: yes }
      add_columns:
        - { name: rank, type: integer, default: 10, not_null: no }
        - name: slug
          type: text
          backfill: lower(title)
          not_null: true
        - { name: flag, type: boolean, default: true }
        - { name: plain, type: text, default: null }
    - name: users
accept:
  - code: PCRD-042
    address: public.offers
    reason: agreed with the owners
analyze: { tables: [users, sales.listings] }
verify: { sample_size: 500, hash: sha256, max_rows_per_second: 70 }
cutover:
  sequence_buffer: 0
  lag_drain_timeout: 60
  fence: pgbouncer
  fence_timeout: 5
  hooks: { before_fence: [a, b c], switch: [/bin/x], after_switch: [y], abort: [z], timeout: 1_0 }
  pgbouncer: { admin_uri: 'postgresql://boss@pool.example?sslmode=verify-full', databases: [shop, Sales] }
  reverse: { enabled: yes, user: Goes_back }
state: journal/state.sqlite3
allow_plaintext_password: false
"#;

#[test]
fn every_key_arrives() {
    let config = pcrd::config::parse("conf/pcrd.config.yml", EVERYTHING).unwrap();
    let source = &config.source.params;
    assert_eq!((source.host.as_deref(), source.port), (Some("db.example"), Some(5433)));
    assert_eq!((source.database.as_deref(), source.user.as_deref()), (Some("shop"), Some("reader")));
    assert_eq!(source.sslmode, Some(SslMode::VerifyFull));
    assert_eq!(source.root_cert, Some(RootCert::File("conf/certs/ca.pem".into())));
    assert_eq!(source.cert.as_deref(), Some(Path::new("conf/certs/me.crt")));
    assert_eq!(source.key.as_deref(), Some(Path::new("/abs/me.key")));
    assert_eq!(source.channel_binding, Some(ChannelBinding::Require));
    assert_eq!(config.source.password, PasswordWish::File("conf/source.password".into()));
    let target = config.target.unwrap();
    assert_eq!((target.params.host.as_deref(), target.params.port), (Some("other.example"), Some(6432)));
    assert_eq!(target.password, PasswordWish::Command(["pass", "show", "a b"].map(str::to_owned).to_vec()));
    let migrate = &config.migrate;
    assert_eq!((migrate.slot.as_str(), migrate.publication.as_str()), ("my_slot", "my_pub"));
    assert_eq!(migrate.checkpoint_db, Path::new("conf/journal/state.sqlite3"));
    assert_eq!((migrate.batch_size, migrate.batch_size_set), (5_000, true));
    assert_eq!(migrate.lag_threshold_bytes, 2_097_152);
    assert_eq!((migrate.max_rows_per_second, migrate.max_bytes_per_second), (Some(20_000), Some(50_000_000)));
    assert_eq!(migrate.workers, Some(2));
    assert!(migrate.desired.vacuum);
    assert_eq!(migrate.desired.copy, CopyWish::ByKey);
    assert_eq!(
        migrate.desired.carry,
        Carry { owners: false, grants: true, triggers: false, policies: false, statistics: false, views: false }
    );
    let said: Vec<_> = Signal::ALL.iter().map(|signal| migrate.throttle.said(*signal).unwrap()).collect();
    assert_eq!(said, [100_000_000, 10_000_000, 5, 40, 70, 0]);
    assert_eq!(migrate.throttle.limit(Signal::TargetReplicaLag), None, "off");
    let [listings, users] = migrate.desired.tables.as_slice() else { panic!("two tables") };
    assert_eq!(listings.source.value, QualifiedName::new("sales", "listings").unwrap());
    assert_eq!(&EVERYTHING[listings.source.span.clone()], "sales.listings");
    assert_eq!(listings.target.as_ref().unwrap().value.to_string(), "public.offers");
    assert_eq!(listings.order, Order::Packed);
    assert_eq!((listings.vacuum, users.vacuum), (Some(false), None));
    assert_eq!(listings.copy.as_ref().map(|copy| copy.value), Some(CopyWish::ByBlocks));
    assert_eq!(users.copy, None);
    let key: Vec<&str> = listings.key.as_ref().unwrap().value.iter().map(|name| name.as_str()).collect();
    assert_eq!(key, ["tenant", "id"]);
    let wish = |name: &str| &listings.columns.iter().find(|(column, _)| column.as_str() == name).unwrap().1.value;
    assert_eq!(wish("tenant"), &pcrd::desired::ColumnWish::default());
    let price = wish("price");
    assert_eq!(&EVERYTHING[price.using.as_ref().unwrap().span.clone()], "price / 100.0");
    assert_eq!(price.ty.as_ref().unwrap().value, "numeric(12,2)");
    assert_eq!(price.default.as_ref().unwrap().value, "0");
    assert_eq!(price.not_null.as_ref().map(|not_null| not_null.value), Some(true));
    assert_eq!(price.reverse.as_ref().unwrap().value, "(price * 100)::int");
    assert_eq!(wish("title").rename.as_ref().unwrap().value.as_str(), "headline");
    assert!(wish("old").drop);
    let defaults: Vec<_> =
        listings.add.iter().map(|column| column.value.default.as_ref().map(|default| default.value.as_str())).collect();
    assert_eq!(defaults, [Some("10"), None, Some("true"), None]);
    assert_eq!(listings.add[1].value.backfill.as_ref().unwrap().value, "lower(title)");
    let not_null: Vec<bool> = listings.add.iter().map(|column| column.value.not_null).collect();
    assert_eq!(not_null, [false, true, false, false]);
    assert_eq!(users.source.value.to_string(), "public.users");
    assert_eq!(migrate.desired.accept[0].value.address, "public.offers");
    let analyzed: Vec<String> = config.analyze_tables.unwrap().iter().map(|name| name.value.to_string()).collect();
    assert_eq!(analyzed, ["public.users", "sales.listings"]);
    assert_eq!(config.verify.sample_size, Some(500));
    let comparison = Comparison { hash: HashKind::Sha256, max_rows_per_second: Some(70) };
    assert_eq!(config.verify.comparison, comparison);
    assert_eq!(config.cutover.sequence_buffer, 0);
    assert_eq!((config.cutover.lag_drain_timeout_s, config.cutover.fence_timeout_ms), (60, 5_000));
    let planned = serde_json::to_value(config.cutover.planned()).unwrap();
    let expected = serde_json::json!({
        "fence": "pgbouncer",
        "hooks": {
            "before_fence": ["a", "b c"], "switch": ["/bin/x"], "after_switch": ["y"], "abort": ["z"], "timeout_s": 10
        },
        "pgbouncer": { "admin": "boss@pool.example:6432/pgbouncer", "databases": ["shop", "Sales"] },
        "reverse": { "user": "Goes_back" },
    });
    assert_eq!(planned, expected);
}

#[test]
fn the_way_back_is_asked_for_by_its_section() {
    let reverse = |text: &str| accept(&format!("{SOURCE}cutover: {{ reverse: {{ {text} }} }}")).cutover.reverse;
    assert_eq!(reverse("user: back").map(|reverse| reverse.user.to_string()), Some("back".to_owned()));
    assert_eq!(reverse("enabled: false, user: back"), None);
    assert_eq!(reverse("enabled: false"), None);
    assert_eq!(accept(SOURCE).cutover.reverse, None);
}

/// The original's keys with the original's defaults.
#[test]
fn defaults_are_those_of_the_original() {
    let config = accept(&format!("{SOURCE}migrate:\n  tables:\n    - name: Order Lines\n"));
    let migrate = &config.migrate;
    assert_eq!(migrate.slot.as_str(), "pcrd_order_lines");
    assert_eq!(migrate.publication.as_str(), "pcrd_pub_order_lines");
    assert_eq!(migrate.checkpoint_db, Path::new("pcrd_checkpoint.sqlite3"));
    assert_eq!((migrate.batch_size, migrate.batch_size_set), (10_000, false));
    assert_eq!(migrate.lag_threshold_bytes, 1_048_576);
    assert_eq!((migrate.max_rows_per_second, migrate.max_bytes_per_second, migrate.workers), (None, None, None));
    assert!(migrate.throttle.is_default());
    let limits: Vec<_> = Signal::ALL.iter().map(|signal| migrate.throttle.limit(*signal)).collect();
    assert_eq!(
        limits,
        [Some(201_326_592), Some(67_108_864), Some(10), None, Some(50), Some(30)],
        "as the reference says"
    );
    assert_eq!(migrate.desired.tables[0].order, Order::Keep);
    assert_eq!(config.verify, VerifySettings::default());
    assert_eq!(config.cutover.sequence_buffer, 1_000);
    assert_eq!((config.cutover.lag_drain_timeout_s, config.cutover.fence_timeout_ms), (300, 10_000));
    assert!(config.cutover.planned().is_default());
    assert!(config.target.is_none() && config.analyze_tables.is_none());
    assert_eq!(accept(SOURCE).migrate.slot.as_str(), "pcrd_migration");
}

#[test]
fn default_names_fit_and_stay_apart() {
    let slot = |table: &str| {
        let config = accept(&format!("{SOURCE}migrate: {{ tables: [{{ name: {table} }}] }}"));
        for name in [&config.migrate.slot, &config.migrate.publication] {
            assert!(name.as_str().len() <= 63);
            assert!(
                name.as_str().bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
            );
        }
        config.migrate.publication.as_str().to_owned()
    };
    assert_eq!(slot("sales.Größe"), "pcrd_pub_gr__e");
    let fits = "a".repeat(54);
    assert_eq!(slot(&fits), format!("pcrd_pub_{fits}"));
    let (one, two) = (format!("{}b", "a".repeat(60)), format!("{}c", "a".repeat(60)));
    assert_ne!(slot(&one), slot(&two));
    assert_eq!(slot(&one).len(), 63);
}

/// The cases by which the YAML library was chosen (docs/decisions/0001).
#[test]
fn yaml_is_read_the_way_the_choice_of_library_promised() {
    let batch = |value: &str| pcrd::config::parse("x.yml", &format!("{SOURCE}migrate: {{ batch_size: {value} }}"));
    assert_eq!(batch("10_000").unwrap().migrate.batch_size, 10_000);
    for refused in
        ["1__0", "\"10\"", "0755", "1e3", "1.0", "0", "-1", "~", "", "[1]", "99999999999999999999999999999999"]
    {
        assert!(batch(refused).is_err(), "{refused}");
    }
    let config = accept(&format!("{SOURCE}migrate: {{ tables: [{{ name: no, columns: {{ x: {{ drop: yes }} }} }}] }}"));
    let table = &config.migrate.desired.tables[0];
    assert_eq!(table.source.value.name.as_str(), "no");
    assert!(table.columns.values().next().unwrap().value.drop);

    let anchors = "source: &db { host: localhost, database: a, user: me }\ntarget: { <<: *db, database: b }\n";
    let target = accept(anchors).target.unwrap().params;
    assert_eq!((target.host.as_deref(), target.database.as_deref()), (Some("localhost"), Some("b")));
    let alias =
        "source: { host: localhost, database: a, user: &u me }\ntarget: { host: localhost, database: b, user: *u }\n";
    assert_eq!(accept(alias).target.unwrap().params.user.as_deref(), Some("me"));
    let default =
        format!("{SOURCE}migrate: {{ tables: [{{ name: t, add_columns: [{{ name: a, type: b, default: 0.10 }}] }}] }}");
    let config = accept(&default);
    assert_eq!(config.migrate.desired.tables[0].add[0].value.default.as_ref().unwrap().value, "0.10");
}

#[test]
fn swaps_and_reused_names_are_no_contradiction() {
    for columns in [
        "{ a: { rename: b }, b: { rename: a } }",
        "{ a: { rename: b }, b: { drop: true } }",
        "{ a: { rename: a } }",
        "{ a: { rename: b }, c: { type: text } }",
        "{ null: { type: text }, ~: { type: text } }",
    ] {
        accept(&format!("{SOURCE}migrate: {{ tables: [{{ name: t, columns: {columns}, add_columns: [] }}] }}"));
    }
    let added = "{ name: t, columns: { a: { drop: true } }, add_columns: [{ name: a, type: text }] }";
    accept(&format!("{SOURCE}migrate: {{ tables: [{added}] }}"));
    accept(&format!("{SOURCE}migrate: {{ tables: [{{ name: t, target: u }}, {{ name: u, target: t }}] }}"));
}

#[test]
fn nothing_leaves_the_machine_without_being_said() {
    for local in ["localhost", "127.0.0.1", "127.8.9.10", "\"::1\"", "/var/run/postgresql", "LOCALHOST"] {
        let config = accept(&format!("source: {{ host: {local}, database: d, user: u }}"));
        let conninfo = config.source.resolve(pcrd::plan::End::Source, &pcrd::config::Environment::default()).unwrap();
        assert_eq!(conninfo.conninfo.tls.mode, SslMode::Disable, "{local}");
    }
    accept("source: { uri: \"postgresql://u@[::1]/d\" }");
    accept("source: { uri: \"host=/tmp user=u dbname=d\" }");
    accept("source: { service: prod }");
}

#[test]
fn the_digest_is_that_of_the_file() {
    use pcrd::catalog::Fingerprint;
    assert_eq!(accept(SOURCE).digest, Fingerprint::of_bytes(SOURCE.as_bytes()));
    let tables = format!(
        "{SOURCE}# password: x\nmigrate: {{ tables: [{{ name: t, columns: {{ password: {{ drop: true }} }} }}] }}"
    );
    assert_eq!(accept(&tables).digest, Fingerprint::of_bytes(tables.as_bytes()));
    let with = |password: &str| {
        let text = format!(
            "allow_plaintext_password: true\nsource: {{ host: localhost, database: d, user: u, password: {password} }}\n"
        );
        accept(&text).digest
    };
    assert_eq!(with("canary"), with("parrot"));
}

#[test]
fn the_set_ups_of_the_runbook() {
    let page = include_str!("../../docs/runbook.md");
    let set_ups: Vec<&str> = page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(set_ups.len(), 4);
    for set_up in set_ups {
        let ends = "source: { host: 127.0.0.1, database: shop, user: pcrd }\ntarget: { host: 127.0.0.1, database: shop2, user: pcrd }\n";
        let config = accept(&format!("{ends}migrate:\n  tables: [{{ name: orders }}]\n{set_up}"));
        assert!(!config.cutover.hooks.switch.is_empty(), "{set_up}");
    }
}
