//! SARIF 2.1.0, which code hosts show beside the lines of the file.

use serde_json::{Value, json};

use crate::audit::render::word;
use crate::audit::report::{Entry, Report, Rule};

/// The report as a SARIF log with one run; `uri` is the plan file as the repository knows it.
pub fn sarif(report: &Report, uri: &str) -> String {
    let rules = Rule::ALL.map(|rule| json!({ "id": rule.id(), "shortDescription": { "text": rule.meaning() } }));
    let results: Vec<Value> = report.entries.iter().map(|entry| result(entry, uri)).collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "pcrd", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "artifacts": [{ "location": { "uri": uri } }],
            "results": results,
        }],
    });
    format!("{log:#}\n")
}

fn result(entry: &Entry, uri: &str) -> Value {
    let index = Rule::ALL.iter().position(|rule| *rule == entry.rule);
    let text =
        if entry.place.is_empty() { entry.message.clone() } else { format!("{}: {}", entry.place, entry.message) };
    json!({
        "ruleId": entry.rule.id(),
        "ruleIndex": index,
        "level": word(entry.level),
        "message": { "text": text },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": uri },
            "region": { "startLine": entry.line },
        } }],
        "partialFingerprints": { "place/v1": format!("{}:{}", entry.rule.id(), entry.place) },
    })
}
