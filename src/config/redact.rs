//! Masks secrets in the file's text before any of it can reach a terminal, a log or a plan.

use std::ops::Range;
use std::path::Path;

use crate::config::uri;
use crate::desired::document::{Kind, Node};

/// Keys that name where a password comes from, not the password.
const HARMLESS: [&str; 5] =
    ["password_env", "password_file", "password_command", "passfile", "allow_plaintext_password"];

const TELLTALE: [&str; 5] = ["pass", "word", "pwd", "secret", "token"];

fn holds_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let mistyped = || !similar::get_close_matches(key.as_str(), &["password"], 1, 0.7).is_empty();
    !HARMLESS.contains(&key.as_str()) && (TELLTALE.iter().any(|word| key.contains(word)) || mistyped())
}

/// Replaces every secret and every control character in `text`, keeping the length in bytes and the lines.
/// Without a tree (the file is no YAML) whatever follows a telltale key is masked, even where it is a column's name.
pub fn masked(text: &str, tree: Option<&Node>) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let mut spans = lines_of_secrets(text, tree.is_some());
    if let Some(tree) = tree {
        spans_of_secrets(text, tree, Inside::File, &mut spans);
    }
    for span in spans {
        for byte in &mut bytes[span] {
            if *byte != b'\n' {
                *byte = b'*';
            }
        }
    }
    for byte in &mut bytes {
        if byte.is_ascii_control() && !matches!(byte, b'\n' | b'\r' | b'\t') {
            *byte = b'?';
        }
    }
    // C1 control characters (U+0080 to U+009F) drive terminals as well.
    for at in 1..bytes.len() {
        if bytes[at - 1] == 0xc2 && (0x80..=0x9f).contains(&bytes[at]) {
            bytes[at - 1] = b'?';
            bytes[at] = b'?';
        }
    }
    // Whole characters are masked, so the bytes stay UTF-8; should that ever fail, nothing of the text is shown.
    String::from_utf8(bytes).unwrap_or_else(|_| "*".repeat(text.len()))
}

/// True when the tree has a secret that must not reach even the digest.
pub fn has_secret(text: &str, tree: &Node) -> bool {
    let mut spans = Vec::new();
    spans_of_secrets(text, tree, Inside::File, &mut spans);
    spans.iter().any(|span| !span.is_empty())
}

/// What the keys of a map are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    File,
    Settings,
    /// Tables, where SQL may have URIs of its own.
    Wishes,
    /// Under `columns`: a column may well be called `password`.
    ColumnNames,
    Secret,
}

fn spans_of_secrets(text: &str, node: &Node, inside: Inside, spans: &mut Vec<Range<usize>>) {
    match &node.kind {
        Kind::Null => {}
        Kind::Scalar { text: value, .. } => match inside {
            Inside::Secret => spans.extend(spans_of_value(text, value, &node.span)),
            Inside::File | Inside::Settings => spans.extend(span_in_uri(text, value, &node.span)),
            Inside::Wishes | Inside::ColumnNames => {}
        },
        Kind::List(items) => items.iter().for_each(|item| spans_of_secrets(text, item, inside, spans)),
        Kind::Map(entries) => {
            for entry in entries {
                let key = entry.key.value.as_str();
                let below = match inside {
                    Inside::Secret => Inside::Secret,
                    Inside::ColumnNames => Inside::Wishes,
                    Inside::Wishes if key == "columns" => Inside::ColumnNames,
                    _ if holds_secret(key) => Inside::Secret,
                    Inside::File if matches!(key, "migrate" | "accept" | "analyze") => Inside::Wishes,
                    Inside::File | Inside::Settings => Inside::Settings,
                    Inside::Wishes => Inside::Wishes,
                };
                let is_uri = matches!(key, "uri" | "url" | "dsn") && below == Inside::Settings;
                if is_uri
                    && matches!(&entry.value.kind, Kind::Scalar { text, .. } if uri::parse(text, Path::new("")).is_err())
                {
                    spans.push(entry.value.span.clone());
                }
                spans_of_secrets(text, &entry.value, below, spans);
            }
        }
    }
}

/// The value, and where it stands when this is an alias: there under a key that does not tell.
fn spans_of_value(text: &str, value: &str, span: &Range<usize>) -> Vec<Range<usize>> {
    let mut spans = vec![span.clone()];
    if text.get(span.clone()).is_some_and(|raw| raw.starts_with('*')) && !value.is_empty() {
        spans.extend(text.match_indices(value).map(|(at, found)| at..at + found.len()));
    }
    spans
}

/// The password in a connection string; the whole string when it is not clear where that stands.
fn span_in_uri(text: &str, value: &str, span: &Range<usize>) -> Option<Range<usize>> {
    let lower = value.to_ascii_lowercase();
    let in_query = lower.find("password").map(|at| at..value.len());
    let in_authority = value.find("://").map(|scheme| scheme + 3).and_then(|start| {
        let colon = start + value[start..].find(':')?;
        let at = value.rfind('@')?;
        (colon < at).then_some(colon + 1..at)
    });
    let unclear = || value.contains("://") && uri::parse(value, Path::new("")).is_err();
    let inner = match (in_authority, in_query) {
        _ if unclear() => 0..value.len(),
        (None, None) => return None,
        (Some(authority), None) => authority,
        (None, Some(query)) => query,
        (Some(_), Some(_)) => 0..value.len(),
    };
    let raw = text.get(span.clone())?;
    match raw.find(value) {
        Some(at) => Some(span.start + at + inner.start..span.start + at + inner.end),
        None => Some(span.clone()),
    }
}

/// Line by line: the rest of a line after `pass…:` and the deeper lines below it, and `user:password@` in URIs.
/// When there is a tree, only comments need this.
fn lines_of_secrets(text: &str, comments_only: bool) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let mut start = 0;
    let mut below: Option<usize> = None;
    for line in text.split_inclusive('\n') {
        let end = start + line.trim_end_matches(['\n', '\r']).len();
        let indent = line.len() - line.trim_start().len();
        match below {
            _ if comments_only && !line.trim_start().starts_with('#') => below = None,
            Some(key_indent) if indent > key_indent || line.trim().is_empty() => spans.push(start..end),
            _ => {
                below = None;
                if let Some(value) = value_of_secret(&line[..end - start]) {
                    let blank = line[value..].len() - line[value..].trim_start_matches(' ').len();
                    spans.push((start + value + blank).min(end)..end);
                    below = Some(indent);
                } else if let Some(inner) = line.find("://").and_then(|at| userinfo_password(line, at + 3)) {
                    spans.push(start + inner.start..start + inner.end);
                }
            }
        }
        start += line.len();
    }
    spans
}

fn userinfo_password(line: &str, start: usize) -> Option<Range<usize>> {
    let colon = start + line[start..].find(':')?;
    let at = line.rfind('@')?;
    (colon < at).then_some(colon + 1..at)
}

/// Where the value starts, when the line has a telltale key.
fn value_of_secret(line: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(found) = line[from..].find([':', '=']) {
        let at = from + found;
        let key = line[..at].trim_end().trim_end_matches(['"', '\'']);
        let word = key.rsplit(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).next().unwrap_or(key);
        if holds_secret(word) {
            return Some(at + 1);
        }
        from = at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::document::parse_document;

    fn mask(text: &str) -> String {
        let mut problems = Vec::new();
        let tree = parse_document(text, &mut problems).ok();
        let masked = masked(text, tree.as_ref());
        assert_eq!(masked.len(), text.len());
        masked
    }

    #[test]
    fn no_form_of_a_password_survives() {
        for text in [
            "password: canary",
            "\"password\": canary",
            "source: {password: canary, user: u}",
            "source: {user: u,\n password:\n canary}",
            "password: |\n  canary\n  canary\n",
            "password:\n  canary",
            "pasword: canary\n",
            "psswrd: canary\n",
            "PASSWORD : 'canary'",
            "uri: postgresql://u:canary@h/d",
            "uri: postgresql://u:can@ry:canary@h/d",
            "uri: postgresql://h/d?password=canary",
            "uri: \"host=h password='canary'\"",
            "uri: \"postgresql://u:\\x63anary@h\"",
            "uri: postgresql://u:canary",
            "a: [postgresql://u:canary@h/d]",
            "password: canary\n bad yaml: [",
            "password: &a canary\nx: *a",
            "- password:\n   - canary",
            "x: &a canary\npassword: *a",
            "# password: canary\na: b",
        ] {
            let masked = mask(text);
            assert!(!masked.contains("canary") && !masked.contains("anary@"), "{text:?} gave {masked:?}");
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "password_env: PGPW\npassword_file: pw\npassword_command: [pass, show]\n",
            "uri: postgresql://u@h:5432/d?sslmode=require",
            "tables:\n  - name: orders # 10:30\n",
            "migrate: { tables: [{ columns: { password_hash: { rename: digest }, token: { drop: true } } }] }",
            "migrate: { tables: [{ columns: { a: { default: \"'http://a:b@c'\" } } }] }",
        ] {
            assert_eq!(mask(text), text);
        }
        assert_eq!(mask("a: \"\u{1b}[2Jé\u{9b}\""), "a: \"?[2Jé??\"");
    }
}
