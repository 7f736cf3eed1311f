//! What changed between two plans, for people who review the second after the first.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use crate::plan::{Plan, Statement, Step, StepId};

/// Everything that differs between two plans; empty for two that do the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Id of the earlier plan.
    pub before: String,
    /// Id of the later plan.
    pub after: String,
    /// Sections with a difference, in the order of a plan file.
    pub sections: Vec<Section>,
    /// Steps that are added, removed, moved, or do something else.
    pub steps: Vec<StepDifference>,
}

/// Differences of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Section {
    /// `changes`, `findings`, ….
    pub name: &'static str,
    /// What differs, by address.
    pub differences: Vec<Difference>,
}

/// One thing that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Where: an address, a file, a setting.
    pub at: String,
    /// In the earlier plan, as text; absent when added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// In the later plan; absent when removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// What happened to a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Happened {
    /// Only in the later plan.
    Added,
    /// Only in the earlier plan.
    Removed,
    /// In both, and not the same.
    Changed,
}

/// One step that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepDifference {
    /// The step.
    pub step: StepId,
    /// What happened to it.
    pub happened: Happened,
    /// Its statements as a unified diff; absent when they are the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statements: Option<String>,
    /// What else differs: `op`, `locks`, `waits for`.
    pub also: Vec<&'static str>,
}

impl Comparison {
    /// True when both plans do the same.
    pub fn is_empty(&self) -> bool {
        self.sections.is_empty() && self.steps.is_empty()
    }
}

/// Compares two plans. Steps are found by their ids, which come from what they do and not from their place.
pub fn compare(before: &Plan, after: &Plan) -> Comparison {
    let sections = [
        ("inputs", by_address(&before.inputs, &after.inputs, &["name"])),
        ("source", sides(&before.source, &after.source)),
        ("target", sides(&before.target, &after.target)),
        ("settings", members(&json(&before.settings), &json(&after.settings))),
        ("changes", by_address(&before.changes, &after.changes, &["address", "action"])),
        ("projections", by_address(&before.projections, &after.projections, &["source", "target"])),
        ("back", by_address(&before.back, &after.back, &["from", "to"])),
        ("not_carried", by_address(&before.not_carried, &after.not_carried, &["kind", "name"])),
        ("findings", by_address(&before.findings, &after.findings, &["code", "address"])),
        ("checks", by_address(&before.checks, &after.checks, &["id"])),
    ];
    let mut sections: Vec<Section> =
        sections.into_iter().map(|(name, differences)| Section { name, differences }).collect();
    if before.tool != after.tool {
        let tool = difference("pcrd", Some(before.tool.clone()), Some(after.tool.clone()));
        sections.insert(0, Section { name: "tool", differences: vec![tool] });
    }
    sections.retain(|section| !section.differences.is_empty());
    Comparison { before: before.id.to_string(), after: after.id.to_string(), sections, steps: steps(before, after) }
}

fn difference(at: impl Into<String>, before: Option<String>, after: Option<String>) -> Difference {
    Difference { at: at.into(), before, after }
}

fn json<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).expect("plan types have only string keys and no floats")
}

/// Identity of the server, and structure of its tables by name.
fn sides(before: &crate::plan::Side, after: &crate::plan::Side) -> Vec<Difference> {
    let mut found = members(&json(&before.server), &json(&after.server));
    found.extend(members(&json(&before.tables), &json(&after.tables)));
    found.extend(members(&json(&before.sequences), &json(&after.sequences)));
    found.extend(members(&json(&before.types), &json(&after.types)));
    found
}

/// Items found again by the named members.
fn by_address<T: Serialize>(before: &[T], after: &[T], names: &[&str]) -> Vec<Difference> {
    let list = |items: &[T]| items.iter().map(json).collect::<Vec<_>>();
    keyed_members(&list(before), &list(after), names)
}

/// Members of two objects that differ; inside of an object the differing members of it.
fn members(before: &Value, after: &Value) -> Vec<Difference> {
    let (Value::Object(old), Value::Object(new)) = (before, after) else { return Vec::new() };
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let mut found = Vec::new();
    for name in names.into_iter().filter(|name| !DERIVED.contains(&name.as_str())) {
        let inner = match (old.get(name), new.get(name)) {
            (Some(old), Some(new)) if old == new => continue,
            (Some(old @ Value::Object(_)), Some(new @ Value::Object(_))) => members(old, new),
            (Some(Value::Array(old)), Some(Value::Array(new))) if is_named(old) && is_named(new) => {
                keyed_members(old, new, NAMES)
            }
            (old, new) => {
                found.push(difference(name.as_str(), old.map(plain), new.map(plain)));
                continue;
            }
        };
        found.extend(inner.into_iter().map(|inner| Difference { at: format!("{name}: {}", inner.at), ..inner }));
    }
    found
}

/// By these the items of a list inside of something are told apart.
const NAMES: &[&str] = &["target", "name", "address"];

/// Follows from what stands beside it, which `audit` checks.
const DERIVED: &[&str] = &["sample_sql"];

fn is_named(items: &[Value]) -> bool {
    items.iter().all(|item| NAMES.iter().any(|name| item.get(*name).is_some_and(Value::is_string)))
}

/// Differences of items with the same address, those of one address in their order; and of the order itself.
fn keyed_members(before: &[Value], after: &[Value], names: &[&str]) -> Vec<Difference> {
    let keyed = |items: &[Value]| {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut keys = Vec::new();
        let mut map = serde_json::Map::new();
        for item in items {
            let mut item = item.clone();
            let mut at = names.iter().filter_map(|name| item.get(*name)).map(plain).collect::<Vec<_>>().join(" ");
            let number = seen.entry(at.clone()).or_default();
            *number += 1;
            if *number > 1 {
                at = format!("{at} ({number})");
            }
            if let Value::Object(fields) = &mut item {
                fields.retain(|name, _| !names.contains(&name.as_str()));
            }
            keys.push(at.clone());
            map.insert(at, item);
        }
        (keys, Value::Object(map))
    };
    let ((old_keys, old), (new_keys, new)) = (keyed(before), keyed(after));
    let mut found = members(&old, &new);
    let kept = |keys: &[String], others: &[String]| {
        let others: BTreeSet<&String> = others.iter().collect();
        keys.iter().filter(|key| others.contains(key)).cloned().collect::<Vec<_>>().join(", ")
    };
    let (old_order, new_order) = (kept(&old_keys, &new_keys), kept(&new_keys, &old_keys));
    if old_order != new_order {
        found.push(difference("order", Some(old_order), Some(new_order)));
    }
    found
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) if fields.is_empty() => "yes".to_owned(),
        Value::Object(fields) => {
            let list: Vec<String> = fields.iter().map(|(name, value)| format!("{name} {}", plain(value))).collect();
            list.join(", ")
        }
        other => other.to_string(),
    }
}

fn steps(before: &Plan, after: &Plan) -> Vec<StepDifference> {
    let old: BTreeMap<&StepId, &Step> = before.steps.iter().map(|step| (&step.id, step)).collect();
    let new: BTreeMap<&StepId, &Step> = after.steps.iter().map(|step| (&step.id, step)).collect();
    let removed = before.steps.iter().filter(|step| !new.contains_key(&step.id)).map(|step| StepDifference {
        step: step.id.clone(),
        happened: Happened::Removed,
        statements: unified(&step.statements, &[]),
        also: Vec::new(),
    });
    let kept = after.steps.iter().filter_map(|step| match old.get(&step.id) {
        None => Some(StepDifference {
            step: step.id.clone(),
            happened: Happened::Added,
            statements: unified(&[], &step.statements),
            also: Vec::new(),
        }),
        Some(earlier) if *earlier == step => None,
        Some(earlier) => {
            let other = [
                ("op", earlier.op != step.op),
                ("locks", earlier.lock != step.lock),
                ("waits for", earlier.after != step.after),
            ];
            let statements = unified(&earlier.statements, &step.statements);
            // A statement that differs says better what the op does.
            let also = other.into_iter().filter(|(name, differs)| *differs && (*name != "op" || statements.is_none()));
            let also = also.map(|(name, _)| name).collect();
            Some(StepDifference { step: step.id.clone(), happened: Happened::Changed, statements, also })
        }
    });
    removed.chain(kept).collect()
}

fn unified(before: &[Statement], after: &[Statement]) -> Option<String> {
    let script = |list: &[Statement]| {
        let one = |statement: &Statement| format!("-- on the {}\n{};\n", statement.on, statement.sql);
        list.iter().map(one).collect::<String>()
    };
    let (before, after) = (script(before), script(after));
    let diff = similar::TextDiff::from_lines(before.as_str(), after.as_str());
    (before != after).then(|| diff.unified_diff().context_radius(2).to_string())
}
