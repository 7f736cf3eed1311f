//! The graph of steps, for people and for programs that draw.

use std::collections::BTreeMap;

use crate::plan::render::escape::{Place, escape};
use crate::plan::render::text::phase_name;
use crate::plan::{Phase, Plan, StepId};

/// One line a step with the numbers of the steps that it waits for.
pub fn text(plan: &Plan) -> String {
    let places = places(plan);
    let width = plan.steps.len().to_string().len();
    let mut out = String::new();
    let mut phase = None;
    for (place, step) in plan.steps.iter().enumerate() {
        if phase != Some(step.phase) {
            out.push_str(&format!("{}\n", phase_name(step.phase)));
            phase = Some(step.phase);
        }
        let after: Vec<String> = step
            .after
            .iter()
            .filter_map(|after| places.get(&after.step))
            .map(|place| (place + 1).to_string())
            .collect();
        let after = if after.is_empty() { String::new() } else { format!("  after {}", after.join(", ")) };
        out.push_str(&format!("  {:>width$}  {}{after}\n", place + 1, escape(&step.id.0, Place::Terminal)));
    }
    if plan.steps.is_empty() { "No steps.\n".to_owned() } else { out }
}

/// Graphviz: a cluster for each phase, the rule as an edge's tooltip.
pub fn dot(plan: &Plan) -> String {
    let quoted = |text: &str| format!("\"{}\"", escape(text, Place::Dot));
    let mut out = "digraph plan {\n  rankdir=LR;\n  node [shape=box];\n".to_owned();
    for (phase, places) in phases(plan) {
        let name = phase_name(phase);
        out.push_str(&format!("  subgraph cluster_{name} {{\n    label=\"{name}\";\n"));
        for place in places {
            out.push_str(&format!("    n{} [label={}];\n", place + 1, quoted(&plan.steps[place].id.0)));
        }
        out.push_str("  }\n");
    }
    for (from, to, rule) in edges(plan) {
        out.push_str(&format!("  n{} -> n{} [tooltip={}];\n", from + 1, to + 1, quoted(rule)));
    }
    out.push_str("}\n");
    out
}

/// Mermaid, as code hosts draw it in Markdown.
pub fn mermaid(plan: &Plan) -> String {
    let mut out = "flowchart LR\n".to_owned();
    for (phase, places) in phases(plan) {
        out.push_str(&format!("  subgraph {}\n", phase_name(phase)));
        for place in places {
            out.push_str(&format!("    n{}[\"{}\"]\n", place + 1, escape(&plan.steps[place].id.0, Place::Mermaid)));
        }
        out.push_str("  end\n");
    }
    for (from, to, _) in edges(plan) {
        out.push_str(&format!("  n{} --> n{}\n", from + 1, to + 1));
    }
    out
}

/// Number of edges.
pub fn n_edges(plan: &Plan) -> usize {
    plan.steps.iter().map(|step| step.after.len()).sum()
}

fn places(plan: &Plan) -> BTreeMap<&StepId, usize> {
    plan.steps.iter().enumerate().map(|(place, step)| (&step.id, place)).collect()
}

fn phases(plan: &Plan) -> BTreeMap<Phase, Vec<usize>> {
    let mut phases: BTreeMap<Phase, Vec<usize>> = BTreeMap::new();
    for (place, step) in plan.steps.iter().enumerate() {
        phases.entry(step.phase).or_default().push(place);
    }
    phases
}

fn edges(plan: &Plan) -> impl Iterator<Item = (usize, usize, &str)> {
    let places = places(plan);
    plan.steps.iter().enumerate().flat_map(move |(to, step)| {
        let from = step.after.iter().filter_map(|after| Some((*places.get(&after.step)?, to, after.rule.as_str())));
        from.collect::<Vec<_>>()
    })
}
