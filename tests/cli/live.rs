//! `inspect`, `plan` and `analyze` against real servers.

use pcrd::pg::local::Cluster;

use crate::environment::Environment;
use crate::support::{connect_to, run};

const SCHEMA: &str = r#"
CREATE TABLE codes (id bigint PRIMARY KEY, code text NOT NULL, small bigint);
INSERT INTO codes SELECT n, 'code ' || n, n FROM generate_series(1, 1000) AS n;
UPDATE codes SET code = 'far too long for ten, canary' WHERE id IN (7, 77);
ANALYZE codes;
"#;

const NARROWING: &str = "
migrate:
  workers: 2
  tables:
    - name: codes
      columns:
        code: {type: varchar(10)}
        small: {type: integer}
";

struct Pair {
    source: Cluster,
    target: Cluster,
    env: Environment,
}

/// Two servers, the schema on the source, and a config that narrows.
async fn pair() -> Pair {
    let source = Cluster::start(15).unwrap();
    let target = Cluster::start(15).unwrap();
    run(&connect_to(&source, "postgres").await, SCHEMA).await;
    // Both servers come from one template, so only the database tells them apart.
    run(&connect_to(&target, "postgres").await, "CREATE DATABASE shop").await;
    let env = Environment::new();
    let pair = Pair { source, target, env };
    pair.config("postgres", NARROWING);
    pair
}

impl Pair {
    fn config(&self, user: &str, migrate: &str) {
        let end = |name: &str, cluster: &Cluster, database: &str| {
            format!("{name}: {{host: 127.0.0.1, port: {}, database: {database}, user: {user}}}\n", cluster.port())
        };
        let text = end("source", &self.source, "postgres") + &end("target", &self.target, "shop") + migrate;
        self.env.write("pcrd.config.yml", &text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_checks_count_bad_rows_and_keep_values_to_themselves() {
    let pair = pair().await;
    let env = &pair.env;
    let ran = env.run_expecting(3, &["plan", "--out", "plan.json"]);
    assert!(ran.stderr.contains("public.codes.code: 2 of 1 000 rows"), "{}", ran.stderr);
    assert!(!env.path().join("plan.json").exists());
    let said = ran.stdout + &ran.stderr;
    assert!(!said.contains("canary") && !said.contains("keys: "), "{said}");

    let shown = env.run_expecting(3, &["plan", "--show-values"]);
    assert!(shown.stderr.contains("keys: 7 | 77"), "{}", shown.stderr);

    // Skipped, the plan is written, and says nothing about rows.
    let skipped = env.run_expecting(0, &["plan", "--skip-data-checks", "--out", "plan.json"]);
    assert!(skipped.stderr.contains("the data checks were not run"), "{}", skipped.stderr);

    let client = connect_to(&pair.source, "postgres").await;
    run(&client, "UPDATE codes SET code = 'short' WHERE id IN (7, 77)").await;
    let ran = env.run_expecting(0, &["plan", "--out", "plan.json"]);
    assert!(ran.stdout.contains("validated: 0 of 1 000 rows"), "{}", ran.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_catalog_plans_like_the_server() {
    let pair = pair().await;
    let env = &pair.env;
    for side in ["source", "target"] {
        let file = format!("{side}.json");
        assert_eq!(env.run_expecting(0, &["inspect", "--side", side, "--out", &file]).stdout, "");
    }
    let live = env.run_expecting(0, &["plan", "--skip-data-checks", "--no-evidence", "--json"]).stdout;
    let args =
        ["plan", "--source-catalog", "source.json", "--target-catalog", "target.json", "--no-evidence", "--json"];
    assert_eq!(env.run_expecting(0, &args).stdout, live);
    let analysis = env.run_expecting(0, &["analyze"]).stdout;
    assert!(analysis.contains("public.codes   1 000 "), "{analysis}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_s_refusal_keeps_its_sqlstate() {
    let pair = pair().await;
    pair.config("nobody_of_this_name", NARROWING);
    let ran = pair.env.run_expecting(1, &["inspect"]);
    assert!(ran.stderr.contains("28000"), "{}", ran.stderr);
    let ran = pair.env.run_expecting(1, &["--json", "inspect"]);
    let error: serde_json::Value = serde_json::from_str(ran.stderr.trim_end()).unwrap();
    assert_eq!(error["error"]["sqlstate"], "28000", "{error}");

    // An error of a statement, seen through introspection.
    let client = connect_to(&pair.source, "postgres").await;
    run(&client, "CREATE ROLE weak LOGIN; REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC").await;
    pair.config("weak", NARROWING);
    let ran = pair.env.run_expecting(1, &["--json", "inspect"]);
    let error: serde_json::Value = serde_json::from_str(ran.stderr.trim_end()).unwrap();
    assert_eq!(error["error"]["sqlstate"], "42501", "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_cannot_command_the_terminal() {
    let pair = pair().await;
    let client = connect_to(&pair.source, "postgres").await;
    run(&client, "CREATE TABLE \"a\u{1b}[2Jb\" (id bigint PRIMARY KEY, \"c\u{7}\u{202e}\" text)").await;
    pair.config("postgres", "migrate: {tables: [{name: \"\\\"a\\e[2Jb\\\"\", columns: {id: {type: numeric}}}]}\n");
    for args in [&["plan"][..], &["plan", "-v"], &["analyze"], &["analyze", "--compare-target"], &["readiness"]] {
        let ran = pair.env.run(args);
        let said = ran.stdout + &ran.stderr;
        assert!(!said.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{args:?}: {said:?}");
        assert!(said.contains("[2Jb"), "{args:?}: {said}");
    }
}

/// A plan may be written and reviewed before the servers are ready; what `apply` will refuse is told with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_what_the_servers_lack() {
    let mut source = Cluster::start(15).unwrap();
    run(&connect_to(&source, "postgres").await, "ALTER SYSTEM SET wal_level = 'replica'").await;
    source.restart().unwrap();
    let target = Cluster::start(15).unwrap();
    let client = connect_to(&source, "postgres").await;
    run(&client, "CREATE TABLE t (id integer PRIMARY KEY, name text COLLATE \"en-x-icu\")").await;
    run(&client, "UPDATE pg_collation SET collversion = '1.0' WHERE collname = 'en-x-icu'").await;
    run(&connect_to(&target, "postgres").await, "CREATE DATABASE shop").await;
    let env = Environment::new();
    env.write(
        "pcrd.config.yml",
        &format!(
            "source: {{host: 127.0.0.1, port: {}, database: postgres, user: postgres}}\n\
             target: {{host: 127.0.0.1, port: {}, database: shop, user: postgres}}\n\
             migrate: {{tables: [{{name: t, columns: {{id: {{type: bigint}}}}}}]}}\n",
            source.port(),
            target.port()
        ),
    );
    let ran = env.run_expecting(0, &["plan", "--out", "plan.json"]);
    assert!(ran.stderr.contains("apply will refuse: [wal_level] source: wal_level is replica"), "{}", ran.stderr);
    assert!(env.path().join("plan.json").exists());
    assert!(env.run_expecting(3, &["apply", "plan.json", "--yes"]).stderr.contains("[wal_level]"));
    let ran = env.run_expecting(3, &["migrate", "--preflight-only"]);
    assert!(ran.stderr.contains("ALTER SYSTEM SET wal_level = 'logical'"), "{}", ran.stderr);

    run(&client, "ALTER SYSTEM SET wal_level = 'logical'").await;
    drop(client);
    source.restart().unwrap();
    for args in [&["plan"][..], &["migrate", "--preflight-only"]] {
        let ran = env.run_expecting(0, args);
        for said in
            ["[superuser] source: role \"postgres\" is a superuser", "[collation_version] source: collation en-x-icu"]
        {
            assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
        }
    }
}
