//! Tables chosen by patterns: what is in the plan, in the publication and on the target, and what is not.

use serde_json::Value;

use crate::stage::Stage;
use crate::support::{TestPair, connect_to, rows, run, text};

const DDL: &str = r#"
CREATE SCHEMA app;
CREATE SCHEMA "Odd *";
CREATE TABLE public.users (id int PRIMARY KEY, v text);
CREATE TABLE public.audit_log (id int PRIMARY KEY, v text);
CREATE TABLE public.audit_keep (id int PRIMARY KEY, v text);
CREATE TABLE app.orders (id bigint PRIMARY KEY, user_id int REFERENCES public.users);
CREATE TABLE app."tmp.x" (id int PRIMARY KEY);
CREATE TABLE app.audit_late (id int PRIMARY KEY);
CREATE EXTENSION pg_trgm;
CREATE TABLE app.events (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE app.events_1 PARTITION OF app.events FOR VALUES FROM (1) TO (9);
CREATE UNLOGGED TABLE app.scratch (id int PRIMARY KEY);
CREATE TABLE "Odd *"."T?" (id int PRIMARY KEY, v text);
CREATE VIEW app.seen AS SELECT 1 AS one;
CREATE MATERIALIZED VIEW app.kept AS SELECT 1 AS one;
INSERT INTO public.users SELECT n, 'v' || n FROM generate_series(1, 50) n;
INSERT INTO public.audit_keep SELECT n, 'v' || n FROM generate_series(1, 50) n;
INSERT INTO app.orders SELECT n, n FROM generate_series(1, 50) n;
INSERT INTO "Odd *"."T?" SELECT n, 'v' || n FROM generate_series(1, 50) n;
"#;

const TABLES: &str = "    - '*'
    - name: users
      columns:
        v: { rename: w }
    - name: 'app.*'
      target: 'app.*'
      order: packed
";

/// `migrate.exclude` stands beside `tables`.
const EXCLUDED: &str = "  exclude: ['audit_l*', 'app.\"tmp.x\"', app.scratch, app.events]\n";

fn planned(stage: &Stage) -> Value {
    let text = std::fs::read_to_string(stage.migration.dir.path().join("plan.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["plan"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_by_one_pattern_without_what_is_excluded() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "globs", DDL, TABLES, EXCLUDED).await;
    let wanted = ["\"Odd *\".\"T?\"", "app.orders", "public.audit_keep", "public.users"];
    let plan = planned(&stage);
    let mut sources: Vec<&str> = plan["source"]["tables"].as_object().unwrap().keys().map(String::as_str).collect();
    sources.sort_unstable();
    assert_eq!(sources, wanted);
    let left: Vec<String> = plan["not_carried"].as_array().unwrap().iter().map(|one| one["name"].to_string()).collect();
    for view in ["app.seen", "app.kept", "app.events_1"] {
        assert!(left.iter().any(|name| name.contains(view)), "{view} is left out without a word: {left:?}");
    }
    let ready = stage.start("");
    stage.until_target("SELECT count(*) > 0 FROM pcrd.progress").await;
    let published = "SELECT format('%I.%I', schemaname, tablename) FROM pg_publication_tables ORDER BY 1";
    let published: Vec<String> = rows(&stage.source, published).await.into_iter().flatten().flatten().collect();
    assert_eq!(published, wanted, "nothing else may be published");
    run(&stage.source, "INSERT INTO public.audit_log VALUES (1, 'x'); INSERT INTO public.users VALUES (99, 'late')")
        .await;
    stage.until_target("SELECT count(*) = 1 FROM public.users WHERE id = 99 AND w = 'late'").await;
    assert_eq!(text(&stage.target, "SELECT to_regclass('public.audit_log') IS NULL").await, "t");
    let stopped = tokio::task::block_in_place(|| ready.interrupt());
    assert_eq!(stopped.code, Some(6), "{}", stopped.stderr);
    let said = stage.cut_over();
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    for table in ["\"Odd *\".\"T?\"", "app.orders", "public.audit_keep", "public.users"] {
        let count = format!("SELECT count(*)::text FROM {table}");
        assert_eq!(text(&stage.target, &count).await, text(&stage.source, &count).await, "{table}");
    }
    stage.end().await;
}

/// Everything that cannot be is said at once, at its line, with what to write.
#[tokio::test(flavor = "multi_thread")]
async fn patterns_that_fit_nothing_or_too_much() {
    let pair = TestPair::start(15, 15);
    let source = connect_to(&pair.source, "postgres").await;
    run(&source, "CREATE TABLE t (id int PRIMARY KEY); CREATE UNLOGGED TABLE u (id int PRIMARY KEY)").await;
    let migration = crate::migration::Migration::between(
        &pair,
        "postgres",
        "    - '*'\n    - t\n    - 'nothing_*'\n",
        "  exclude: [t, 'typo_*']\n",
    );
    let said = tokio::task::block_in_place(|| migration.run(&["plan"]));
    let stderr = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!(said.status.code(), Some(64), "{stderr}");
    for part in [
        "no table of the source matches `nothing_*`",
        "`typo_*` excludes nothing",
        "public.t has an entry of its own, and is excluded",
    ] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    let migration = crate::migration::Migration::between(&pair, "postgres", "    - '*'\n", "");
    let said = tokio::task::block_in_place(|| migration.run(&["plan"]));
    let stderr = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(stderr.contains("public.u is an unlogged table"), "{stderr}");
    assert!(stderr.contains("migrate.exclude: ['public.u']"), "{stderr}");
}
