//! `pcrd diff`: what a push changed in a plan.

use insta::assert_snapshot;
use serde_json::Value;

use crate::environment::Environment;

/// Plans the case into this file, with a text of its config replaced.
fn plan(env: &Environment, out: &str, from: &str, to: &str) {
    let path = env.path().join("pcrd.config.yml");
    let config = std::fs::read_to_string(&path).unwrap();
    assert!(config.contains(from), "{from}");
    std::fs::write(&path, config.replacen(from, to, 1)).unwrap();
    let args = ["plan", "--source-catalog", "source.json", "--target-catalog", "target.json", "--out", out];
    let _ = env.run_expecting(0, &args);
}

/// Digests differ whenever the format grows; what they are of is said beside them.
fn without_digests(text: &str) -> String {
    let word = |word: &str| {
        let is_digest = word.len() >= 8 && word.chars().all(|c| c.is_ascii_hexdigit());
        if is_digest { "…".to_owned() } else { word.to_owned() }
    };
    let mut out = String::new();
    let mut run = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_alphanumeric() {
            run.push(c);
        } else {
            out.push_str(&word(&run));
            run.clear();
            out.extend((c != '\0').then_some(c));
        }
    }
    out
}

#[test]
fn a_push_is_shown_by_what_it_changes() {
    let env = Environment::of_case("narrowing_cast");
    plan(&env, "before.json", "source:", "source:");
    plan(&env, "after.json", "type: integer", "type: smallint");
    let ran = env.run_expecting(0, &["diff", "before.json", "after.json"]);
    assert_eq!(ran.stderr, "");
    let text = without_digests(&ran.stdout);
    assert_snapshot!(text);
    let markdown = env.run_expecting(0, &["diff", "before.json", "after.json", "--format", "markdown"]).stdout;
    let markdown = without_digests(&markdown);
    assert_snapshot!(markdown);
    let _ = env.run_expecting(2, &["diff", "before.json", "after.json", "--detailed-exitcode"]);
    let json = env.run_expecting(2, &["diff", "before.json", "after.json", "--detailed-exitcode", "--json"]).stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    let steps: Vec<&str> =
        json["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["create_table:public.meters", "copy:public.meters"]);
    assert!(json["steps"][0]["statements"].as_str().unwrap().contains("\n+  \"value\" smallint"), "{json}");
}

#[test]
fn the_same_plan_has_no_differences() {
    let env = Environment::of_case("narrowing_cast");
    plan(&env, "before.json", "source:", "source:");
    let ran = env.run_expecting(0, &["diff", "before.json", "before.json", "--detailed-exitcode"]);
    assert!(ran.stdout.starts_with("No differences: both are plan "), "{}", ran.stdout);
    // Evidence is not compared: it is not part of the plan.
    let args = [
        "plan",
        "--source-catalog",
        "source.json",
        "--target-catalog",
        "target.json",
        "--no-evidence",
        "-o",
        "bare.json",
    ];
    let _ = env.run_expecting(0, &args);
    let _ = env.run_expecting(0, &["diff", "before.json", "bare.json", "--detailed-exitcode"]);
}

#[test]
fn a_plan_is_made_and_compared_at_once() {
    let env = Environment::of_case("narrowing_cast");
    plan(&env, "reviewed.json", "source:", "source:");
    let offline = ["plan", "--source-catalog", "source.json", "--target-catalog", "target.json"];
    let against = |path: &'static str, more: &[&'static str]| {
        let mut args = offline.to_vec();
        args.extend(["--against", path, "--detailed-exitcode"]);
        args.extend(more);
        args
    };
    let ran = env.run_expecting(0, &against("reviewed.json", &[]));
    assert!(ran.stdout.starts_with("No differences: both are plan "), "{}", ran.stdout);
    plan(&env, "next.json", "type: integer", "type: smallint");
    let ran = env.run_expecting(2, &against("reviewed.json", &["--out", "again.json"]));
    let compared = env.run_expecting(2, &["diff", "reviewed.json", "next.json", "--detailed-exitcode"]);
    assert_eq!(ran.stdout, compared.stdout);
    let _ = env.run_expecting(0, &["diff", "next.json", "again.json", "--detailed-exitcode"]);
    let refused = env.run_expecting(64, &against("reviewed.json", &["--format", "sql"]));
    assert!(refused.stderr.contains("--against prints text, json or markdown"), "{}", refused.stderr);
    let missing = env.run_expecting(64, &against("nowhere.json", &[]));
    assert!(missing.stderr.contains("nowhere.json"), "{}", missing.stderr);
}

#[test]
fn steps_come_and_go() {
    let env = Environment::of_case("rename_carried_into_indexes_and_fk");
    plan(&env, "before.json", "source:", "source:");
    let text = std::fs::read_to_string(env.path().join("source.json")).unwrap();
    let mut catalog: Value = serde_json::from_str(&text).unwrap();
    let tables = catalog["tables"].as_object_mut().unwrap();
    let mut gone = Vec::new();
    for table in tables.values_mut() {
        let indexes = table["indexes"].as_object_mut().unwrap();
        let plain: Vec<String> =
            indexes.iter().filter(|(_, index)| index["constraint"].is_null()).map(|(name, _)| name.clone()).collect();
        for name in plain {
            indexes.remove(&name);
            gone.push(name);
        }
    }
    assert!(!gone.is_empty());
    env.write("source.json", &catalog.to_string());
    plan(&env, "after.json", "source:", "source:");
    let text = env.run_expecting(2, &["diff", "before.json", "after.json", "--detailed-exitcode"]).stdout;
    let back = env.run_expecting(2, &["diff", "after.json", "before.json", "--detailed-exitcode"]).stdout;
    for name in &gone {
        let removed = text.lines().any(|line| line.starts_with("  - create_index:") && line.contains(name.as_str()));
        let added = back.lines().any(|line| line.starts_with("  + create_index:") && line.contains(name.as_str()));
        assert!(removed && added, "{name}\n{text}\n{back}");
    }
    assert!(text.contains("\n  ~ analyze:") && text.contains("(waits for changed)"), "{text}");
}

#[test]
fn names_make_no_markup_and_edited_plans_are_refused() {
    let env = Environment::of_case("hostile_names");
    plan(&env, "before.json", "source:", "source:");
    let text = std::fs::read_to_string(env.path().join("source.json")).unwrap();
    env.write("source.json", &text.replace("\"not_null\": true", "\"not_null\": false"));
    let text = std::fs::read_to_string(env.path().join("before.json")).unwrap();
    env.write("edited.json", &text.replacen("\"batch_size\": 10000", "\"batch_size\": 10001", 1));
    let ran = env.run_expecting(4, &["diff", "before.json", "edited.json"]);
    assert_eq!(ran.stdout, "");
    plan(&env, "after.json", "migrate:", "migrate:\n  batch_size: 77");
    let markdown = env.run_expecting(0, &["diff", "before.json", "after.json", "--format", "markdown"]).stdout;
    assert!(markdown.contains("~ batch_size: 10000 -> 77"), "{markdown}");
    let mut fence = None;
    for line in markdown.lines() {
        let ticks = line.bytes().take_while(|byte| *byte == b'`').count();
        match fence {
            Some(open) if ticks >= open && line.len() == ticks => fence = None,
            None if ticks >= 3 => fence = Some(ticks),
            None => {
                assert!(!line.contains('@') && !line.contains("<!--") || line.starts_with("<!-- pcrd:diff"), "{line}");
            }
            Some(_) => {}
        }
    }
    assert_eq!(fence, None, "{markdown}");
}

/// Columns in another order are the same columns: only the order is said to differ.
#[test]
fn a_changed_order_is_said_as_one() {
    let env = Environment::of_case("widen_id_and_pack");
    plan(&env, "before.json", "source:", "source:");
    plan(&env, "after.json", "optimize_column_order: true", "optimize_column_order: false");
    let text = env.run_expecting(0, &["diff", "before.json", "after.json"]).stdout;
    let order: Vec<&str> = text.lines().filter(|line| line.contains(": columns: order: ")).collect();
    assert_eq!(order.len(), 1, "{text}");
    assert!(text.contains("\n  - public.listings reorder: "), "{text}");
}
