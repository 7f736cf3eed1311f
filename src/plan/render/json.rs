//! The document for programs.

use crate::plan::render::Document;

/// Indented JSON with a newline at the end.
pub fn json(document: &Document) -> String {
    let mut text = serde_json::to_string_pretty(document).expect("documents have only string keys and no floats");
    text.push('\n');
    text
}
