//! `apply` and the commands around it, against real servers.

use pcrd::pg::local::Cluster;
use serde_json::Value;

use crate::environment::Environment;
use crate::support::{connect_to, run, text};

const SCHEMA: &str = "
CREATE TABLE orders (id integer PRIMARY KEY, code text NOT NULL, legacy text);
INSERT INTO orders SELECT n, 'code ' || n, 'x' FROM generate_series(1, 5000) AS n;
ANALYZE orders;
";

const WIDENING: &str = "
migrate:
  workers: 2
  tables:
    - name: orders
      columns:
        id: {type: bigint}
        legacy: {drop: true}
";

struct Pair {
    source: Cluster,
    target: Cluster,
    env: Environment,
}

/// Two servers, a schema on the source, and a plan.
async fn planned(schema: &str, migrate: &str) -> Pair {
    let (source, target) = (Cluster::start(15).unwrap(), Cluster::start(15).unwrap());
    run(&connect_to(&source, "postgres").await, schema).await;
    run(&connect_to(&target, "postgres").await, "CREATE DATABASE shop").await;
    let env = Environment::new();
    env.write(
        "pcrd.config.yml",
        &format!(
            "source: {{host: 127.0.0.1, port: {}, database: postgres, user: postgres}}\n\
             target: {{host: 127.0.0.1, port: {}, database: shop, user: postgres}}\n{migrate}",
            source.port(),
            target.port()
        ),
    );
    let _ = env.run_expecting(0, &["plan", "--out", "plan.json"]);
    Pair { source, target, env }
}

/// `UPDATE` of a GENERATED ALWAYS key is not possible on the target, and the large value is not sent: the row is read
/// again under its new key, and the one under the old key must go.
#[tokio::test(flavor = "multi_thread")]
async fn a_moved_row_with_an_unsent_value_leaves_its_old_key() {
    const SCHEMA: &str = "
        CREATE TABLE docs (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, title text, body text);
        ALTER TABLE docs ALTER body SET STORAGE EXTERNAL;
        INSERT INTO docs (title, body) SELECT 'doc ' || n, repeat('x', 9000) FROM generate_series(1, 20) AS n;
        ANALYZE docs;";
    let pair = planned(SCHEMA, "migrate: {tables: [{name: docs, columns: {id: {type: bigint}}}]}\n").await;
    let env = &pair.env;
    let _ = env.run_expecting(0, &["apply", "plan.json", "--yes", "--through", "copy"]);
    let source = connect_to(&pair.source, "postgres").await;
    run(&source, "UPDATE docs SET id = DEFAULT WHERE id = 7; UPDATE docs SET title = 'new' WHERE id = 8").await;
    let _ = env.run_expecting(0, &["apply", "plan.json", "--yes", "--through", "cutover"]);
    let rows = "SELECT string_agg(id || ' ' || title || ' ' || length(body), E'\\n' ORDER BY id) FROM docs";
    let shop = connect_to(&pair.target, "shop").await;
    assert_eq!(text(&shop, rows).await, text(&source, rows).await);

    // No executor is left, and the source is closed: verify compares by itself, and finds what is damaged.
    let report: Value = serde_json::from_str(&env.run_expecting(0, &["--json", "verify"]).stdout).unwrap();
    assert_eq!((&report["passed"], &report["tables"][0]["rows_compared"]), (&Value::Bool(true), &Value::from(20)));
    assert!(env.run_expecting(0, &["verify", "-t", "docs"]).stdout.ends_with("passed in full\n"));
    run(&shop, "UPDATE docs SET body = 'canary' WHERE id = 3").await;
    let ran = env.run_expecting(5, &["verify", "--post-cutover"]);
    assert!(ran.stdout.contains("public.docs: row (3) differs in body\nNOT passed\n"), "{}", ran.stdout);
    assert!(!(ran.stdout + &ran.stderr).contains("canary"));
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_stops_resumes_survives_a_lost_journal_and_is_given_up() {
    let Pair { source, target, env } = planned(SCHEMA, WIDENING).await;

    let ran = env.run_expecting(0, &["apply", "plan.json", "--yes", "--through", "copy", "--json"]);
    let events: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let starts = |step: &str| events.iter().any(|event| event["type"] == "step_start" && event["step"] == step);
    assert!(starts("copy:public.orders"), "{}", ran.stdout);
    let shop = connect_to(&target, "shop").await;
    assert_eq!(text(&shop, "SELECT count(*) FROM orders").await, "5000");

    // The same command again, also without the journal, or with one that says the opposite.
    let _ = env.run_expecting(0, &["apply", "plan.json", "--yes", "--through", "copy"]);
    let journal = env.path().join("pcrd_checkpoint.sqlite3");
    std::fs::write(&journal, "garbage").unwrap();
    let ran = env.run_expecting(0, &["apply", "plan.json", "--yes", "--through", "copy"]);
    assert!(ran.stderr.contains("the ledger on the target is the truth"), "{}", ran.stderr);
    std::fs::remove_file(&journal).unwrap();
    let _ = env.run_expecting(0, &["apply", "plan.json", "--yes", "--through", "catchup"]);

    // Every step is done; what was committed meanwhile still has to come.
    run(
        &connect_to(&source, "postgres").await,
        "INSERT INTO orders SELECT n, 'late' FROM generate_series(5001, 9000) AS n",
    )
    .await;
    let _ = env.run_expecting(0, &["apply", "plan.json", "--yes", "--through", "catchup"]);
    assert_eq!(text(&shop, "SELECT count(*) FROM orders").await, "9000");

    let status: Value = serde_json::from_str(&env.run_expecting(0, &["status", "--json"]).stdout).unwrap();
    assert_eq!(status["state"], "running");
    let copied = status["steps"].as_array().unwrap().iter().find(|step| step["id"] == "copy:public.orders").unwrap();
    assert_eq!(copied["status"], "succeeded");

    let _ = env.run_expecting(0, &["abort", "--yes"]);
    assert_eq!(text(&shop, "SELECT to_regclass('public.orders') IS NULL").await, "t");
    let left = connect_to(&source, "postgres").await;
    assert_eq!(text(&left, "SELECT count(*) FROM pg_replication_slots").await, "0");
    assert_eq!(text(&left, "SELECT count(*) FROM pg_publication").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_checks_first_and_goes_on_with_what_it_began() {
    let Pair { source, target: _target, env } = planned(SCHEMA, WIDENING).await;
    let client = connect_to(&source, "postgres").await;
    let ran = env.run_expecting(0, &["migrate", "--dry-run"]);
    assert!(ran.stdout.contains("public.orders  =>  target:public.orders"), "{}", ran.stdout);
    assert!(ran.stderr.contains("nothing was written"), "{}", ran.stderr);
    assert_eq!(text(&client, "SELECT count(*) FROM pg_replication_slots").await, "0");
    assert_eq!(env.run_expecting(64, &["migrate"]).stderr.lines().last(), Some("Next: the same command with --yes"));

    let _ = env.run_expecting(0, &["migrate", "--yes", "--backfill-only"]);
    std::fs::remove_file(env.path().join("pcrd_checkpoint.sqlite3")).unwrap();
    let ran = env.run_expecting(0, &["migrate", "--yes", "--backfill-only", "--resume", "--force-overwrite"]);
    for said in ["continuing plan", "--resume has no effect", "--force-overwrite has no effect"] {
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
    }
}

/// With what the source could not evaluate.
#[tokio::test(flavor = "multi_thread")]
async fn a_way_back_is_planned() {
    let pair = planned(SCHEMA, WIDENING).await;
    let env = &pair.env;
    let config = std::fs::read_to_string(env.path().join("pcrd.config.yml")).unwrap();
    env.write("pcrd.config.yml", &format!("{config}cutover: {{reverse: {{user: goes_back}}}}\n"));
    let ran = env.run_expecting(0, &["plan"]);
    assert!(ran.stdout.contains("The way back, written by role goes_back:"), "{}", ran.stdout);
    assert!(ran.stdout.contains("id <- id, as integer; a value that does not fit ends the way back"), "{}", ran.stdout);

    let odd = config.replace("legacy: {drop: true}", "code: {using: lower(code), reverse: nosuch(code)}");
    env.write("pcrd.config.yml", &format!("{odd}cutover: {{reverse: {{user: goes_back}}}}\n"));
    let ran = env.run_expecting(3, &["plan"]);
    let said = "public.orders.code: the source's server refuses the way back of it";
    assert!(ran.stderr.contains(said) && ran.stderr.contains("42883"), "{}", ran.stderr);
}
