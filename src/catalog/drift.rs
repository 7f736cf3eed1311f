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
const FAMILIES: [(&str, &str); 6] = [
    ("columns", "column"),
    ("indexes", "index"),
    ("statistics", "statistics"),
    ("constraints", "constraint"),
    ("triggers", "trigger"),
    ("policies", "policy"),
];

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
        match (before.remove(&name), is) {
            (None, is) => {
                drift.push(Drift { address, attribute: EXISTS.to_owned(), before: None, after: Some(summary(&is)) });
            }
            (Some(Value::Object(was)), Value::Object(is)) => compare_fields(&address, &was, &is, drift),
            (Some(was), is) => unreachable!("objects serialise as objects: {was:?}, {is:?}"),
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
            let (mut before, mut after) = (was.map(text), is.map(text));
            if before == after {
                // The short form leaves the difference out, e.g. between two types of one name.
                (before, after) = (was.map(Value::to_string), is.map(Value::to_string));
            }
            drift.push(Drift { address: address.to_owned(), attribute: attribute(name), before, after });
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
        let list =
            |names: Vec<&String>| Some(names.into_iter().map(|name| shown_name(name)).collect::<Vec<_>>().join(", "));
        drift.push(Drift {
            address: "table".to_owned(),
            attribute: "column order".to_owned(),
            before: list(was),
            after: list(is),
        });
    }
}

/// The address form of a name, with line breaks and the like made visible: a message is one line.
fn shown_name(name: &str) -> String {
    let address = super::Ident::new(name).map_or_else(|_| format!("{name:?}"), |ident| ident.to_string());
    address.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
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
        Value::Object(fields) => match (fields.get("sql"), fields.get("schema")) {
            (Some(Value::String(sql)), Some(_)) => sql.clone(),
            _ => value.to_string(),
        },
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Ident, ReplicaIdentity, Stats};

    fn table() -> Table {
        serde_json::from_str(
            r#"{"kind":"table","persistence":"permanent","replica_identity":"default","owner":"app",
                "columns":[
                  {"name":"id","not_null":true,"ty":{"schema":"pg_catalog","name":"int4","typmod":-1,"sql":"integer","len":4,"align":"int","kind":"base"}},
                  {"name":"a\nb","ty":{"schema":"pg_catalog","name":"text","typmod":-1,"sql":"text","len":-1,"align":"int","kind":"base"}}],
                "primary_key":{"name":"t_pkey","columns":["id"]}}"#,
        )
        .unwrap()
    }

    fn told(change: impl FnOnce(&mut Table)) -> Vec<String> {
        let before = table();
        let mut after = before.clone();
        change(&mut after);
        let drift = explain_drift(&before, &after);
        assert_eq!(
            drift.is_empty(),
            before.fingerprint() == after.fingerprint(),
            "drift says what the fingerprint says"
        );
        drift.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_difference_is_told_by_object_and_attribute() {
        assert_eq!(told(|_| ()), [""; 0]);
        let retyped = told(|table| {
            table.columns[0].ty.name = Ident::new("int8").unwrap();
            table.columns[0].ty.sql = "bigint".to_owned();
        });
        assert_eq!(retyped, ["column id: type was integer, is bigint"]);
        assert_eq!(told(|table| table.columns[0].not_null = false), ["column id: not null was true, is nothing"]);
        assert_eq!(told(|table| drop(table.columns.remove(1))), [r#"column "a\nb" is gone: text"#]);
        assert_eq!(told(|table| table.columns.reverse()), [r#"table: column order was id, "a\nb", is "a\nb", id"#]);
        assert_eq!(
            told(|table| table.replica_identity = ReplicaIdentity::Full),
            ["table: replica identity was default, is full"]
        );
        assert_eq!(
            told(|table| table.primary_key = None),
            [r#"table: primary key was {"columns":["id"],"name":"t_pkey"}, is nothing"#]
        );
    }

    #[test]
    fn types_that_read_alike_are_still_told_apart() {
        let told = told(|table| table.columns[0].ty.len = 8);
        assert!(told.len() == 1 && told[0].contains(r#""len":8"#), "{told:?}");
    }

    #[test]
    fn statistics_are_no_drift() {
        let stats = Stats {
            rows_estimate: Some(1),
            table_bytes: 2,
            index_bytes: 3,
            column_widths: BTreeMap::new(),
            correlation_ppm: BTreeMap::new(),
            null_ppm: BTreeMap::new(),
        };
        assert_eq!(told(|table| table.stats = Some(stats)), [""; 0]);
    }
}
