//! The report for people, for programs and for pull requests.

use serde_json::json;

use crate::audit::report::{Entry, Level, Report};
use crate::plan::render::amount::counted;
use crate::plan::render::escape::{Place, code, escape, fenced};

/// For a terminal: the verdict last.
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    for entry in &report.entries {
        let place = if entry.place.is_empty() { "the file".to_owned() } else { clean(&entry.place) };
        let message = escape(&entry.message, Place::Lines).replace('\n', "\n    ");
        let message = message.trim_end();
        out.push_str(&format!("{:<7} {:<11} {place}: {message}\n", word(entry.level), entry.rule.id()));
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out.push_str(&format!("Audit of {}: {}.\n", subject(report), verdict(report)));
    out
}

/// One document.
pub fn json(report: &Report) -> String {
    let mut document = json!(report);
    document["passed"] = report.passed().into();
    format!("{document:#}\n")
}

/// For a comment on a pull request.
pub fn markdown(report: &Report) -> String {
    const ENTRIES_MAX: usize = 100;
    let mark = if report.passed() { "passed" } else { "**failed**" };
    let mut out = format!("<!-- pcrd:audit -->\n### pcrd audit {mark}\n\n");
    let id = report.plan_id.as_deref().map_or_else(|| "The file".to_owned(), |id| format!("Plan {}", code(id)));
    out.push_str(&format!("{id}: {}.\n", verdict(report)));
    let mut entries: Vec<&Entry> = report.entries.iter().collect();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.level));
    if !entries.is_empty() {
        out.push_str("\n| level | rule | where | what |\n|---|---|---|---|\n");
    }
    for entry in entries.iter().take(ENTRIES_MAX) {
        let place = if entry.place.is_empty() { "the file".to_owned() } else { code(&shortened(&entry.place)) };
        let message = entry.message.lines().next().unwrap_or_default();
        let message = escape(&shortened(message), Place::Prose);
        out.push_str(&format!("| {} | {} | {place} | {message} |\n", word(entry.level), entry.rule.id()));
    }
    if entries.len() > ENTRIES_MAX {
        out.push_str(&format!("\nAnd {} more: `pcrd audit plan.json`\n", entries.len() - ENTRIES_MAX));
    }
    let diff = entries.iter().find(|entry| entry.message.lines().nth(1).is_some());
    if let Some(entry) = diff {
        let shown: Vec<&str> = entry.message.lines().take(60).collect();
        out.push_str(&format!("\n{}", fenced("diff", &shown.join("\n"))));
    }
    out
}

fn subject(report: &Report) -> String {
    match &report.plan_id {
        Some(id) => format!("plan {}", clean(id)),
        None => "the file".to_owned(),
    }
}

fn verdict(report: &Report) -> String {
    if report.plan_id.is_none() {
        return "it is not a plan".to_owned();
    }
    let seen = format!("{}, {}", counted(report.steps, "step"), counted(report.statements, "statement"));
    let levels = [(Level::Error, "error"), (Level::Warning, "warning"), (Level::Note, "note")];
    let counts = levels.map(|(level, noun)| counted(report.count(level), noun)).join(", ");
    let whole = match report.is_edited() {
        true => "not as pcrd wrote it",
        false => "all of them what their steps mean",
    };
    format!("{seen}, {whole}; {counts}")
}

/// As in JSON.
pub(super) fn word(level: Level) -> &'static str {
    match level {
        Level::Note => "note",
        Level::Warning => "warning",
        Level::Error => "error",
    }
}

fn clean(text: &str) -> String {
    escape(text, Place::Terminal)
}

fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 300;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
