//! What reviewers read: `--format markdown` and `pcrd graph`, offline.

use insta::assert_snapshot;
use serde_json::Value;

use crate::environment::Environment;

fn planned(case: &str) -> Environment {
    let env = Environment::of_case(case);
    let args = ["plan", "--source-catalog", "source.json", "--target-catalog", "target.json", "--out", "plan.json"];
    let _ = env.run_expecting(0, &args);
    env
}

#[test]
fn plan_and_show_write_the_same_comment() {
    let env = planned("widen_id_and_pack");
    let shown = env.run_expecting(0, &["show", "plan.json", "--format", "markdown"]);
    assert_eq!(shown.stderr, "");
    assert!(shown.stdout.starts_with("<!-- pcrd:plan:pcrd.config.yml -->\n### pcrd plan `"), "{}", shown.stdout);
    let args = ["plan", "--source-catalog", "source.json", "--target-catalog", "target.json", "--format", "markdown"];
    assert_eq!(env.run_expecting(0, &args).stdout, shown.stdout);
}

#[test]
fn a_blocked_plan_still_writes_its_comment() {
    let env = Environment::of_case("blocked");
    let args = ["plan", "--source-catalog", "source.json", "--target-catalog", "target.json", "--format", "markdown"];
    let ran = env.run_expecting(3, &args);
    assert!(ran.stdout.contains("\n**Blocked**: 1 finding needs acceptance, 2 refused."), "{}", ran.stdout);
    assert!(ran.stdout.contains("`--allow 'DEFAULT_FROZEN@public.parents.token=why'`"), "{}", ran.stdout);
}

#[test]
fn the_graph_in_every_form() {
    let env = planned("narrowing_cast");
    assert_snapshot!(env.run_expecting(0, &["graph", "plan.json"]).stdout, @r"
    prepare
       1  create_ledger
       2  create_publication:pcrd_pub_meters  after 1
       3  create_slot:pcrd_meters  after 2
    schema
       4  create_table:public.meters  after 1
    copy
       5  copy:public.meters  after 3, 4
       6  stream:pcrd_meters  after 3, 4
    catchup
       7  analyze:public.meters  after 5
    verify
       8  verify:public.meters  after 7
    cutover
       9  fence  after 6, 8
      10  drain  after 9
      11  verify_final  after 10
      12  switch  after 11
    cleanup
      13  drop_fence  after 12
      14  drop_slot:pcrd_meters  after 12
      15  drop_publication:pcrd_pub_meters  after 14
    ");
    let dot = env.run_expecting(0, &["graph", "plan.json", "--format", "dot"]).stdout;
    assert!(dot.starts_with("digraph plan {\n") && dot.ends_with("}\n"), "{dot}");
    assert_eq!(env.run_expecting(0, &["show", "plan.json", "--format", "dot"]).stdout, dot);
    let mermaid = env.run_expecting(0, &["graph", "plan.json", "--format", "mermaid"]).stdout;
    assert!(mermaid.starts_with("flowchart LR\n  subgraph prepare\n"), "{mermaid}");
    assert_eq!(env.run_expecting(0, &["show", "plan.json", "--format", "mermaid"]).stdout, mermaid);

    let json: Value = serde_json::from_str(&env.run_expecting(0, &["graph", "plan.json", "--json"]).stdout).unwrap();
    let plan: Value = serde_json::from_str(&std::fs::read_to_string(env.path().join("plan.json")).unwrap()).unwrap();
    let steps = plan["plan"]["steps"].as_array().unwrap();
    let edges: usize = steps.iter().map(|step| step["after"].as_array().unwrap().len()).sum();
    assert_eq!(json["steps"].as_array().unwrap().len(), steps.len());
    assert_eq!(json["plan_id"], plan["plan"]["id"]);
    assert_eq!(dot.matches(" -> ").count(), edges);
    assert_eq!(mermaid.matches(" --> ").count(), edges);
}

#[test]
fn an_edited_plan_is_not_drawn() {
    let env = planned("narrowing_cast");
    let text = std::fs::read_to_string(env.path().join("plan.json")).unwrap();
    env.write("edited.json", &text.replacen("\"batch_size\": 10000", "\"batch_size\": 10001", 1));
    assert_eq!(env.run_expecting(4, &["graph", "edited.json"]).stdout, "");
    assert_eq!(env.run_expecting(64, &["graph", "plan.json", "--format", "svg"]).stdout, "");
    assert_eq!(env.run_expecting(64, &["show", "plan.json", "--step", "switch", "--format", "markdown"]).stdout, "");
}
