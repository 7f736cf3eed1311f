//! `pcrd audit`: what it says, in every form, and how it exits.

use insta::assert_snapshot;
use serde_json::Value;

use crate::environment::Environment;

fn planned(case: &str) -> Environment {
    let env = Environment::of_case(case);
    let args = ["plan", "--source-catalog", "source.json", "--target-catalog", "target.json", "--out", "plan.json"];
    let _ = env.run_expecting(0, &args);
    env
}

/// Writes `edited.json`: the plan with one text replaced.
fn edit(env: &Environment, from: &str, to: &str) {
    let text = std::fs::read_to_string(env.path().join("plan.json")).unwrap();
    assert!(text.contains(from), "{from}");
    env.write("edited.json", &text.replacen(from, to, 1));
}

#[test]
fn a_plan_as_it_was_written_passes() {
    let env = planned("narrowing_cast");
    let ran = env.run_expecting(0, &["audit", "plan.json"]);
    assert_eq!(ran.stderr, "");
    let id = serde_json::from_str::<Value>(&std::fs::read_to_string(env.path().join("plan.json")).unwrap()).unwrap();
    let text = ran.stdout.replace(id["plan"]["id"].as_str().unwrap(), "ID");
    assert_snapshot!(text, @r"
    warning finding     NARROWING_CAST@public.meters.value: bigint to integer: an integer type
    warning finding     CUTOVER_WRITE_BLOCK@source: writes to these tables are refused from the fence on; if the switch is not reached in time the fence is lifted
    note    finding     PUBLICATION@source: the tables are published: VACUUM, ANALYZE and index builds of them wait for it, and it for them
    warning finding     WAL_RETENTION@source: the slot keeps WAL on the source until cleanup; watch its disk and max_slot_wal_keep_size

    Audit of plan ID: 15 steps, 31 statements, all of them what their steps mean; 0 errors, 3 warnings, 1 note.
    ");
    let ran = env.run_expecting(3, &["audit", "plan.json", "--deny", "warning"]);
    assert!(ran.stdout.contains("error   finding     CUTOVER_WRITE_BLOCK@source: "), "{}", ran.stdout);
}

#[test]
fn an_edited_statement_is_shown_as_a_diff() {
    let env = planned("narrowing_cast");
    edit(&env, "ANALYZE \\\"public\\\".\\\"meters\\\"", "TRUNCATE \\\"public\\\".\\\"meters\\\"");
    let ran = env.run_expecting(4, &["audit", "edited.json"]);
    for part in [
        "error   statement   analyze:public.meters: ",
        "\n    -Target: ANALYZE",
        "\n    +Target: TRUNCATE",
        "not as pcrd wrote it",
    ] {
        assert!(ran.stdout.contains(part), "{part}: {}", ran.stdout);
    }
    let markdown = env.run_expecting(4, &["audit", "edited.json", "--format", "markdown"]).stdout;
    assert!(markdown.starts_with("<!-- pcrd:audit -->\n### pcrd audit **failed**\n"), "{markdown}");
    assert!(markdown.contains("| error | statement | `analyze:public.meters` |"), "{markdown}");
    assert!(markdown.contains("\n+Target: TRUNCATE"), "{markdown}");
}

#[test]
fn every_kind_of_edit_is_refused_by_apply_before_it_connects() {
    let env = planned("narrowing_cast");
    for (from, to) in [
        ("\"batch_size\": 10000", "\"batch_size\": 10001"),
        ("\"batch_size\": 10000", "\"batch_size\": 10000, \"batch_size\": 10000"),
        ("\"format\": \"pcrd.plan/1\"", "\"format\": \"pcrd.plan/2\""),
        ("ANALYZE \\\"public\\\"", "TRUNCATE \\\"public\\\""),
        ("\"phase\": \"verify\"", "\"phase\": \"cleanup\""),
        ("\"step\": \"drain\"", "\"step\": \"fence\""),
        ("\"deferrable\"", "\"deferable\""),
        ("{\n  \"plan\"", "[{\n  \"plan\""),
    ] {
        let text = std::fs::read_to_string(env.path().join("plan.json")).unwrap();
        if !text.contains(from) {
            // Not every plan has every member.
            assert_eq!(from, "\"deferrable\"");
            continue;
        }
        edit(&env, from, to);
        let applied = env.run_expecting(4, &["apply", "edited.json", "--yes"]);
        assert!(applied.stderr.contains("edited.json is refused: "), "{}", applied.stderr);
        let audited = env.run_expecting(4, &["audit", "edited.json", "--json"]);
        let report: Value = serde_json::from_str(&audited.stdout).unwrap();
        assert_eq!(report["passed"], false, "{from}");
    }
    assert!(!env.path().join("pcrd_checkpoint.sqlite3").exists(), "no run was begun");
}

#[test]
fn a_policy_is_held_against_the_plan() {
    let env = planned("narrowing_cast");
    env.write("strict.yml", "forbid: [WAL_RETENTION, NO_KEY@x]\nhighest_source_lock: ACCESS SHARE\ntimeouts: {fence_timeout: 5, lag_drain_timeout: 300}\n");
    let ran = env.run_expecting(3, &["audit", "plan.json", "--policy", "strict.yml", "--json"]);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let errors: Vec<String> = report["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["level"] == "error")
        .map(|entry| format!("{} {}", entry["rule"].as_str().unwrap(), entry["place"].as_str().unwrap()))
        .collect();
    assert_eq!(
        errors,
        [
            "forbidden WAL_RETENTION@source",
            "source-lock create_publication:pcrd_pub_meters",
            "source-lock fence",
            "timeout settings.fence_timeout"
        ]
    );
    env.write(
        "lenient.yml",
        "forbid: [DELETES_DATA]\nhighest_source_lock: SHARE ROW EXCLUSIVE\ntimeouts: {fence_timeout: 10}\n",
    );
    let _ = env.run_expecting(0, &["audit", "plan.json", "--policy", "lenient.yml"]);
    let _ = env.run_expecting(64, &["audit", "plan.json", "--policy", "absent.yml"]);
    env.write("bad.yml", "forbid: [DELETES_DATA]\nhighest_source_lock: SHARE ROW EXCLUSIV\n");
    assert_snapshot!(env.run_expecting(64, &["audit", "plan.json", "--policy", "bad.yml"]).stderr, @r"
      × bad.yml has an error

    Error: pcrd::config::bad_value

      × `highest_source_lock` cannot be `SHARE ROW EXCLUSIV`
       ╭─[bad.yml:2:22]
     1 │ forbid: [DELETES_DATA]
     2 │ highest_source_lock: SHARE ROW EXCLUSIV
       ·                      ─────────┬────────
       ·                               ╰── not a known value
       ╰────
      help: did you mean `SHARE ROW EXCLUSIVE`?
    ");
}

/// The lines of a SARIF result are those of the file, so that a code host can show them there.
#[test]
fn sarif_points_into_the_file() {
    let env = planned("narrowing_cast");
    edit(&env, "ANALYZE \\\"public\\\"", "TRUNCATE \\\"public\\\"");
    let log: Value =
        serde_json::from_str(&env.run_expecting(4, &["audit", "edited.json", "--format", "sarif"]).stdout).unwrap();
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let rules: Vec<&str> =
        run["tool"]["driver"]["rules"].as_array().unwrap().iter().map(|rule| rule["id"].as_str().unwrap()).collect();
    let text = std::fs::read_to_string(env.path().join("edited.json")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let results = run["results"].as_array().unwrap();
    assert!(results.len() > 3, "{results:?}");
    for result in results {
        assert_eq!(rules[usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()], result["ruleId"]);
        assert!(["error", "warning", "note"].contains(&result["level"].as_str().unwrap()));
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "edited.json");
        let line = lines[usize::try_from(place["region"]["startLine"].as_u64().unwrap()).unwrap() - 1];
        match result["ruleId"].as_str().unwrap() {
            "statement" => assert_eq!(line.trim(), "\"id\": \"analyze:public.meters\","),
            "finding" => assert!(line.contains("\"address\""), "{line}"),
            _ => {}
        }
    }
}

#[test]
fn a_file_that_is_no_plan_fails_as_one() {
    let env = Environment::new();
    env.write("plan.json", "{\"plan\": {}, \"plan\": {}}");
    let ran = env.run_expecting(4, &["audit", "plan.json"]);
    assert!(
        ran.stdout.contains("error   format      the file: ") && ran.stdout.contains("stands twice"),
        "{}",
        ran.stdout
    );
    assert_eq!(env.run_expecting(64, &["audit", "absent.json"]).stdout, "");
    assert_eq!(env.run_expecting(64, &["audit", "plan.json", "--format", "xml"]).stdout, "");
}
