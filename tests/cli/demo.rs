//! `pcrd demo`.

use pcrd::pg::local::Cluster;
use serde_json::Value;

use crate::environment::Environment;
use crate::support::{connect_to, run, text};

/// Stops the demo's servers, also when the test fails.
struct Down<'e>(&'e Environment);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        let ran = self.0.run(&["demo", "down"]);
        if ran.code != 0 && !std::thread::panicking() {
            panic!("demo down: {}", ran.stderr);
        }
    }
}

#[test]
fn the_whole_job_runs_and_the_application_loses_nothing() {
    let env = Environment::new();
    let _down = Down(&env);
    let ran = env.run_expecting(0, &["--json", "demo", "run", "--rows", "2000", "--writes", "150", "--clients", "3"]);
    let report: Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
    assert!(report["rows_copied"].as_u64().unwrap() >= 2_000, "{report}");
    assert!(report["rows_verified"].as_u64().unwrap() >= 2_000, "{report}");
    assert!(report["writes"].as_u64() > report["writes_on_target"].as_u64(), "{report}");
    assert!(report["writes_on_target"].as_u64().unwrap() > 0, "{report}");
    assert!(report["pause_max_ms"].as_u64().is_some(), "{report}");
    assert_eq!(report["listings_wrong"], Value::Array(Vec::new()));
    assert!(!env.path().join("pcrd_checkpoint.sqlite3").exists(), "state belongs beside the demo's config");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_the_demo_s_is_left_alone() {
    let cluster = Cluster::start(15).unwrap();
    let client = connect_to(&cluster, "postgres").await;
    run(&client, "CREATE TABLE users (id int); INSERT INTO users VALUES (1)").await;
    let env = Environment::new();
    let port = cluster.port();
    env.write(
        "pcrd.config.yml",
        &format!("source: {{host: 127.0.0.1, port: {port}, database: postgres, user: postgres}}\n"),
    );
    for command in [&["demo", "setup"][..], &["demo", "reset"], &["demo", "seed"]] {
        let ran = env.run_expecting(1, command);
        assert!(ran.stderr.contains("not marked as demo"), "{command:?}: {}", ran.stderr);
    }
    assert_eq!(text(&client, "SELECT count(*) FROM users").await, "1");
    let elsewhere = Environment::new();
    assert!(elsewhere.run_expecting(1, &["demo", "down"]).stderr.contains("pcrd demo up"));
}
