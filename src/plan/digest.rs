//! Digests of plans: over canonical JSON with sorted keys, so that the order of fields in a file does not matter.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::catalog::{Fingerprint, QualifiedName, Sequence, Table};
use crate::plan::{Plan, PlanId};

/// Digest of the plan without its id.
pub fn id(plan: &Plan) -> PlanId {
    let mut value = json(plan);
    if let Value::Object(fields) = &mut value {
        fields.remove("id");
    }
    Fingerprint::of_bytes(canonical(&value).as_bytes())
}

/// Digest of one end's tables and sequences.
pub fn side(tables: &BTreeMap<QualifiedName, Table>, sequences: &BTreeMap<QualifiedName, Sequence>) -> Fingerprint {
    Fingerprint::of_bytes(canonical(&json(&(tables, sequences))).as_bytes())
}

fn json<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).expect("plan types have only string keys and no floats")
}

/// JSON without white space, keys sorted whatever map serde_json was built with.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let sorted: BTreeMap<&String, &Value> = fields.iter().collect();
            let parts =
                sorted.into_iter().map(|(key, value)| format!("{}:{}", Value::String(key.clone()), canonical(value)));
            format!("{{{}}}", parts.collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}
