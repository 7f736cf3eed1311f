//! `pcrd schema`.

use serde_json::Value;

use crate::environment::Environment;

#[test]
fn schemas_are_json_schema() {
    let env = Environment::new();
    for (format, key) in [("plan", "plan"), ("config", "migrate"), ("events", "@timestamp")] {
        let schema: Value = serde_json::from_str(&env.run_expecting(0, &["schema", format]).stdout).unwrap();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert!(schema["properties"].get(key).is_some(), "{format}: {schema}");
    }
}
