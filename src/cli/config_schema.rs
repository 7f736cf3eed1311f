//! The config's JSON Schema, made from the tables of keys that the reader itself uses.

use serde_json::{Map, Value, json};

use crate::config::keys::{SECTIONS, TOP};
use crate::desired::fields::Section;

/// Which keys stand where. Values are left to `pcrd validate`, which knows more of them than a schema can say.
pub fn config_schema() -> Value {
    let mut schema = section_schema(&TOP);
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "pcrd.config.yml".into();
    schema
}

fn section_schema(section: &Section) -> Value {
    let mut properties = Map::new();
    for key in section.keys.iter().filter(|key| key.supported) {
        let path = if section.path.is_empty() { key.name.to_owned() } else { format!("{}.{}", section.path, key.name) };
        properties.insert(key.name.to_owned(), value_schema(&path));
    }
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn value_schema(path: &str) -> Value {
    let find = |suffix: &str| SECTIONS.into_iter().find(|section| section.path == format!("{path}{suffix}"));
    // An empty YAML value is null, and means "nothing said" to the reader.
    let or_null = |schema: Value| json!({ "anyOf": [schema, { "type": "null" }] });
    if let Some(map) = find("") {
        or_null(section_schema(map))
    } else if let Some(item) = find("[]") {
        or_null(json!({ "type": "array", "items": section_schema(item) }))
    } else if let Some(value) = find(".*") {
        or_null(json!({ "type": "object", "additionalProperties": or_null(section_schema(value)) }))
    } else {
        json!({})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_has_its_place() {
        fn n_maps(value: &Value) -> usize {
            let own = usize::from(value.get("properties").is_some());
            own + match value {
                Value::Object(map) => map.values().map(n_maps).sum(),
                Value::Array(list) => list.iter().map(n_maps).sum(),
                _ => 0,
            }
        }
        let schema = config_schema();
        assert_eq!(n_maps(&schema), SECTIONS.len());
    }
}
