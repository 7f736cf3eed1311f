//! How long a plan may take: shown, the same on every run, and no part of the plan.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::environment::Environment;

const GIB: u64 = 1_024 * 1_024 * 1_024;

/// A case whose tables are this large.
fn sized(case: &str, bytes: u64) -> Environment {
    let env = Environment::of_case(case);
    let text = std::fs::read_to_string(env.path().join("source.json")).unwrap();
    let mut catalog: Value = serde_json::from_str(&text).unwrap();
    for table in catalog["tables"].as_object_mut().unwrap().values_mut() {
        table["stats"] = json!({"rows_estimate": 1_000_000, "table_bytes": bytes, "index_bytes": 0,
            "column_widths": {}, "null_ppm": {}});
    }
    env.write("source.json", &catalog.to_string());
    env
}

fn plan(env: &Environment, more: &[&str]) -> String {
    let mut args =
        vec!["plan", "--source-catalog", "source.json", "--target-catalog", "target.json", "--out", "plan.json"];
    args.extend(more);
    env.run_expecting(0, &args).stdout
}

fn line<'t>(text: &'t str, start: &str) -> &'t str {
    text.lines().map(str::trim).find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("no {start}: {text}"))
}

#[test]
fn a_plan_says_how_long_it_may_take() {
    let env = sized("widen_id_and_pack", 100 * GIB);
    let text = plan(&env, &["-v"]);
    assert_snapshot!(line(&text, "About "), @"About 4 h 51 min at 40 MiB/s copied; the longest chain 1 h 53 min: copy:public.listings, create_index:public.listings.listings_lower_title_idx, analyze:public.listings, verify:public.listings.");
    assert_eq!(line(&text, "copy:public.listings"), "copy:public.listings  (about 42 min)");
    assert_eq!(line(&text, "drain"), "drain");
    assert_eq!(env.run_expecting(0, &["show", "plan.json", "-v"]).stdout, text, "the same on every run");
    // Twice the speed, half the time.
    let faster = env.run_expecting(0, &["show", "plan.json", "-v", "--throughput", "80"]).stdout;
    let about = line(&faster, "About ");
    assert!(about.starts_with("About 2 h 25 min at 80 MiB/s copied; the longest chain 56 min: "), "{about}");
    let markdown = env.run_expecting(0, &["show", "plan.json", "--format", "markdown"]).stdout;
    assert!(markdown.contains("| | step | phase | locks | about |\n"), "{markdown}");
    assert_eq!(env.run_expecting(64, &["show", "plan.json", "--throughput", "0"]).stdout, "");
}

#[test]
fn a_limit_of_the_config_is_heeded() {
    let env = sized("narrowing_cast", GIB);
    let config = std::fs::read_to_string(env.path().join("pcrd.config.yml")).unwrap();
    env.write("pcrd.config.yml", &config.replace("migrate:\n", "migrate:\n  max_rows_per_second: 100\n"));
    let text = plan(&env, &["-v"]);
    // 1,000,000 rows at 100 a second.
    assert_eq!(line(&text, "copy:public.meters"), "copy:public.meters  (about 2 h 46 min)");
}

#[test]
fn estimates_are_no_part_of_the_plan() {
    let (small, large) = (sized("narrowing_cast", GIB), sized("narrowing_cast", 50 * GIB));
    let id = |env: &Environment, more: &[&str]| {
        let _ = plan(env, more);
        let file: Value =
            serde_json::from_str(&std::fs::read_to_string(env.path().join("plan.json")).unwrap()).unwrap();
        file["plan"].clone()
    };
    let first = id(&small, &[]);
    assert_eq!(first, id(&large, &[]));
    assert_eq!(first, id(&small, &["--throughput", "500"]));
    assert!(!plan(&small, &["--no-evidence"]).contains("About "));
    let tiny = plan(&sized("narrowing_cast", 8_192), &[]);
    assert!(tiny.contains("\n    A few seconds at 40 MiB/s copied.\n"), "{tiny}");
}
