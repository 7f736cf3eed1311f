//! How a table differs from the one that was planned for, object by object: the text of "the plan is stale".

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use super::Table;

/// One attribute of one object that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// `table`, or kind and name of what belongs to it: `column total`, `index orders_pkey`.
    pub address: String,
    /// The attribute in words: `type`, `not null`, `exists`.
    pub attribute: String,
    /// What it was; `None` when there was nothing.
    pub before: Option<String>,
    /// What it is; `None` when there is nothing.
    pub after: Option<String>,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, attribute, before, after } = self;
        match (before, after) {
            (None, Some(after)) if attribute == EXISTS => write!(f, "{address} was added: {after}"),
            (Some(before), None) if attribute == EXISTS => write!(f, "{address} is gone: {before}"),
            _ => {
                let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
                write!(f, "{address}: {attribute} was {}, is {}", shown(before), shown(after))
            }
        }
    }
}

const EXISTS: &str = "exists";

/// Families of objects in a table: the field that holds them, and what one of them is called.
const FAMILIES: [(&str, &str); 4] =
    [("columns", "column"), ("indexes", "index"), ("constraints", "constraint"), ("triggers", "trigger")];

/// Lists every difference in structure. Empty exactly when the fingerprints are equal; statistics do not count.
pub fn explain_drift(before: &Table, after: &Table) -> Vec<Drift> {
    // Through JSON, which is also what the fingerprint is taken of: a field added to the model is compared from then on.
    let mut before = fields(before);
    let mut after = fields(after);
    let mut drift = Vec::new();
    for (field, kind) in FAMILIES {
        let was = before.remove(field).unwrap_or(Value::Null);
        let is = after.remove(field).unwrap_or(Value::Null);
        if field == "columns" {
            compare_order(&was, &is, &mut drift);
        }
        compare_objects(kind, by_name(was), by_name(is), &mut drift);
    }
    compare_fields("table", &before, &after, &mut drift);
    drift
}

fn fields(table: &Table) -> Map<String, Value> {
    match serde_json::to_value(table.structure()) {
        Ok(Value::Object(fields)) => fields,
        other => unreachable!("a table serialises as an object: {other:?}"),
    }
}

/// Columns are a list, everything else a map; both become a map by name.
fn by_name(family: Value) -> BTreeMap<String, Value> {
    match family {
        Value::Object(objects) => objects.into_iter().collect(),
        Value::Array(objects) => objects.into_iter().map(|object| (name_of(&object), object)).collect(),
        _ => BTreeMap::new(),
    }
}

fn name_of(object: &Value) -> String {
    object["name"].as_str().expect("columns have names").to_owned()
}

fn compare_objects(
    kind: &str,
    mut before: BTreeMap<String, Value>,
    after: BTreeMap<String, Value>,
    drift: &mut Vec<Drift>,
) {
    for (name, is) in after {
        let address = format!("{kind} {}", shown_name(&name));
        match before.remove(&name) {
            None => drift.push(Drift { address, attribute: EXISTS.to_owned(), before: None, after: Some(summary(&is)) }),
            Some(was) if was == is => {}
            Some(Value::Object(was)) if is.is_object() => {
                let Value::Object(is) = is else { continue };
                compare_fields(&address, &was, &is, drift);
            }
            Some(was) => drift.push(Drift {
                address,
                attribute: "definition".to_owned(),
                before: Some(text(&was)),
                after: Some(text(&is)),
            }),
        }
    }
    for (name, was) in before {
        let address = format!("{kind} {}", shown_name(&name));
        drift.push(Drift { address, attribute: EXISTS.to_owned(), before: Some(summary(&was)), after: None });
    }
}

fn compare_fields(address: &str, before: &Map<String, Value>, after: &Map<String, Value>, drift: &mut Vec<Drift>) {
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let (was, is) = (before.get(name), after.get(name));
        if was != is {
            let (was, is) = (was.map(text), is.map(text));
            drift.push(Drift { address: address.to_owned(), attribute: attribute(name), before: was, after: is });
        }
    }
}

/// Columns that came or went are told of by themselves; the order matters only among those on both sides.
fn compare_order(before: &Value, after: &Value, drift: &mut Vec<Drift>) {
    let names = |columns: &Value| -> Vec<String> { columns.as_array().into_iter().flatten().map(name_of).collect() };
    let (before, after) = (names(before), names(after));
    let was: Vec<&String> = before.iter().filter(|name| after.contains(name)).collect();
    let is: Vec<&String> = after.iter().filter(|name| before.contains(name)).collect();
    if was != is {
        let list = |names: Vec<&String>| Some(names.into_iter().map(|name| shown_name(name)).collect::<Vec<_>>().join(", "));
        drift.push(Drift {
            address: "table".to_owned(),
            attribute: "column order".to_owned(),
            before: list(was),
            after: list(is),
        });
    }
}

/// The address form of a name, which keeps line breaks and the like out of messages.
fn shown_name(name: &str) -> String {
    super::Ident::new(name).map_or_else(|_| format!("{name:?}"), |ident| ident.to_string().escape_debug().to_string())
}

fn attribute(field: &str) -> String {
    if field == "ty" { "type".to_owned() } else { field.replace('_', " ") }
}

/// What an object is, for one that came or went.
fn summary(object: &Value) -> String {
    object.get("definition").or_else(|| object.get("ty")).map_or_else(|| text(object), text)
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        // A type says its name in SQL; should two differ in something else only, that is shown in full.
        Value::Object(fields) => match (fields.get("sql"), fields.get("schema")) {
            (Some(Value::String(sql)), Some(_)) => sql.clone(),
            _ => value.to_string(),
        },
        _ => value.to_string(),
    }
}
