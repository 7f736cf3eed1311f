//! The comment on a pull request: whatever the names are, its structure is its own, and it always fits.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;

use pcrd::catalog::{Ident, QualifiedName};
use pcrd::plan::render::escape::{Place, code, escape, fenced};
use pcrd::plan::render::markdown::COMMENT_BYTES_MAX;
use pcrd::plan::render::{document, graph, markdown};
use pcrd::plan::{Accepted, Op, Plan, PlanFile, Severity, StepId};
use proptest::prelude::*;

/// The plan of a case, as its snapshot has it.
fn plan(case: &str) -> Plan {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans").join(case).join("plan.json.snap");
    let text = std::fs::read_to_string(path).unwrap();
    let json = text.split_once("\n---\n").unwrap().1;
    serde_json::from_str::<PlanFile>(json).unwrap().plan
}

fn comment(plan: &Plan) -> String {
    markdown(&document(plan, None), plan)
}

/// What a reader of Markdown sees as structure: per line outside fences its cells, tags and spans of code; per fence
/// that there is one. Panics if a fence stays open or a span of code does.
fn skeleton(comment: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut fence: Option<usize> = None;
    let (marker, comment) = comment.split_once('\n').unwrap();
    if let Some(name) = marker.strip_prefix("<!-- pcrd:plan:") {
        let name = name.strip_suffix(" -->").unwrap();
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '_'), "{marker}");
    }
    for line in comment.lines() {
        let ticks = line.trim_start().bytes().take_while(|b| *b == b'`').count();
        match fence {
            Some(open) if ticks >= open && line.trim().len() == ticks => fence = None,
            Some(_) => {}
            None if ticks >= 3 => {
                fence = Some(ticks);
                out.push(format!("fence {}", line.trim_matches('`')));
            }
            None => out.push(line_skeleton(line)),
        }
    }
    assert_eq!(fence, None, "a fence stays open:\n{comment}");
    out
}

fn line_skeleton(line: &str) -> String {
    let spans: Vec<&str> = line.split('`').collect();
    assert!(spans.len() % 2 == 1, "a span of code stays open: {line}");
    let cells = line.matches('|').count();
    let text: String = spans.iter().step_by(2).copied().collect::<Vec<_>>().join("`");
    let tags: Vec<&str> = text.split('<').skip(1).map(|tag| tag.split('>').next().unwrap()).collect();
    assert!(!text.contains('@') || text.contains("<code>"), "a mention: {line}");
    let marks = text.chars().filter(|c| matches!(c, '*' | '_' | '[' | ']' | '~' | '\\')).collect::<String>();
    format!("{cells} cells, tags {tags:?}, {} spans, marks {marks}", spans.len() / 2)
}

/// The plan with this text wherever a file could have any text.
fn with_text(text: &str) -> Plan {
    let mut plan = plan("widen_id_and_pack");
    let name = Ident::new(text).unwrap();
    plan.inputs[0].name = text.to_owned();
    plan.tool = text.to_owned();
    for (n, finding) in plan.findings.iter_mut().enumerate() {
        finding.address = text.to_owned();
        finding.message = text.to_owned();
        finding.code = if n == 0 { text.to_owned() } else { finding.code.clone() };
        finding.severity = if n % 2 == 0 { Severity::Error } else { finding.severity };
        finding.accepted = (n % 4 == 0).then(|| Accepted { reason: text.to_owned(), at: text.to_owned() });
    }
    for change in &mut plan.changes {
        if let Some(column) = change.address.strip_prefix("public.listings.") {
            change.address = format!("public.listings.{column}{text}");
            change.before = change.before.as_ref().map(|_| text.to_owned());
            change.after = change.after.as_ref().map(|_| text.to_owned());
            change.note = Some(text.to_owned());
        }
    }
    for step in &mut plan.steps {
        step.id = StepId(format!("{}{text}", step.id.0));
        for lock in &mut step.lock {
            lock.object = text.to_owned();
            lock.mode = text.to_owned();
            lock.held = text.to_owned();
        }
        for after in &mut step.after {
            after.step = StepId(format!("{}{text}", after.step.0));
            after.rule = text.to_owned();
        }
        if let Op::CreateTable(op) = &mut step.op {
            op.columns[0].name = name.clone();
            op.columns[1].default = Some(text.to_owned());
        }
    }
    for left in &mut plan.not_carried {
        left.kind = text.to_owned();
        left.name = text.to_owned();
        left.why = text.to_owned();
    }
    for table in plan.source.tables.values_mut() {
        std::sync::Arc::make_mut(table).columns[0].name = name.clone();
    }
    plan.projections[1].target = QualifiedName::new(text, text).unwrap();
    plan
}

const HOSTILE: &[&str] = &[
    "`",
    "``` ",
    "\n```\n",
    "\n~~~\n",
    "|",
    "\\|",
    "\\",
    "<b>",
    "</details>",
    "</summary>",
    "</code>",
    "<!--",
    "-->",
    "@team",
    "@org/team",
    "#1",
    "GH-1",
    "https://x.example",
    "www.x.example",
    "[a](b)",
    "![a](b)",
    "*a*",
    "__a__",
    "~~a~~",
    "\"",
    "'",
    "]",
    "-->|x|",
    "%%{init}%%",
    "end",
    "click n1 href",
    ";",
    "&lt;",
    "#quot;",
    "\r",
    "\n",
    "\n\n",
    "\t",
    " ",
    "\u{202e}",
    "\u{200b}",
    "\u{2028}",
    ":tada:",
    "$x$",
    "\n| a | b |",
    "\n# h",
    "\n- ",
    "\n+ ",
    "\n@@ -1 +1 @@",
    "é",
];

const INVISIBLE: [char; 3] = ['\u{200b}', '\u{2028}', '\u{202e}'];

/// What means something in a sentence.
const MARKS: [char; 15] = ['<', '>', '|', '`', '@', '*', '_', '[', ']', '~', '\\', '!', '$', '{', '\n'];

fn hostile() -> impl Strategy<Value = String> {
    let word = prop_oneof![prop::sample::select(HOSTILE).prop_map(str::to_owned), "[ -~]{1,4}", "[a-z]{1,3}"];
    prop::collection::vec(word, 1..5).prop_map(|words| {
        let text = words.concat();
        let end = (0..=text.len().min(60)).rev().find(|end| text.is_char_boundary(*end)).unwrap();
        text[..end].to_owned()
    })
}

/// What a reader is shown: numeric entities read, and no spaces without width.
fn decoded(text: &str, start: &str) -> String {
    let mut parts = text.split(start);
    let mut out = parts.next().unwrap().to_owned();
    for part in parts {
        let (number, rest) = part.split_once(';').unwrap();
        let c = char::from_u32(number.parse().unwrap()).unwrap();
        out.extend((c != '\u{200b}').then_some(c));
        out.push_str(rest);
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn escaped_text_is_only_shown_and_all_of_it(text in hostile()) {
        let shown = escape(&text, Place::Terminal);
        prop_assert!(!shown.contains(char::is_control) && !shown.contains(INVISIBLE));

        let prose = escape(&text, Place::Prose);
        prop_assert!(!prose.contains(MARKS));
        let lower = prose.to_lowercase();
        prop_assert!(!lower.contains("://") && !lower.contains("www.x") && !lower.contains("gh-1"), "{}", prose);
        prop_assert_eq!(&decoded(&prose, "&#"), &shown);

        let html = escape(&text, Place::Html);
        prop_assert!(!html.contains(['<', '>', '"', '\n']));
        prop_assert_eq!(&decoded(&html, "&#"), &shown);

        let mermaid = escape(&text, Place::Mermaid);
        prop_assert!(!mermaid.contains(['"', '`', '<', '>', '%', '[', ']', '|', '\n']));
        prop_assert_eq!(&decoded(&mermaid, "#"), &shown);

        let dot = escape(&text, Place::Dot);
        let mut read = String::new();
        let mut chars = dot.chars();
        while let Some(c) = chars.next() {
            prop_assert!(c != '"' && c != '\n');
            read.push(if c == '\\' { chars.next().unwrap() } else { c });
        }
        prop_assert_eq!(read, shown);

        let span = code(&text);
        prop_assert!(span.len() > 2 && !span[1..span.len() - 1].contains(['`', '|', '\n']));

        let block = fenced("diff", &text);
        prop_assert_eq!(skeleton(&format!("\n{block}\nend\n")), ["fence diff", &line_skeleton(""), &line_skeleton("end")]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_changes_the_structure_of_the_comment(text in hostile()) {
        let (plain, plan) = (with_text("x"), with_text(&text));
        prop_assert_eq!(skeleton(&comment(&plan)), skeleton(&comment(&plain)));
        prop_assert_eq!(graph::text(&plan).lines().count(), graph::text(&plain).lines().count());
        prop_assert_eq!(graph::dot(&plan).lines().count(), graph::dot(&plain).lines().count());
        prop_assert_eq!(graph::mermaid(&plan).lines().count(), graph::mermaid(&plain).lines().count());
    }
}

/// The plan with each of its tables this many times.
fn repeated(times: usize) -> Plan {
    let one = plan("widen_id_and_pack");
    let mut plan = one.clone();
    for n in 1..times {
        plan.projections.extend(one.projections.iter().cloned().map(|mut projection| {
            projection.target.name = Ident::new(format!("{}_{n}", projection.target.name.as_str())).unwrap();
            projection
        }));
        plan.findings.extend(one.findings.iter().cloned());
        plan.not_carried.extend(one.not_carried.iter().cloned());
        plan.steps.extend(one.steps.iter().cloned().map(|mut step| {
            step.id = StepId(format!("{}_{n}", step.id.0));
            if let Op::CreateTable(op) = &mut step.op {
                op.name.name = Ident::new(format!("{}_{n}", op.name.name.as_str())).unwrap();
            }
            step
        }));
    }
    plan
}

/// What is left out goes in one order; the verdict never goes.
#[test]
fn a_plan_of_any_size_fits_and_says_what_is_left_out() {
    let said = [
        ("the graph (`pcrd graph plan.json`)", "```mermaid\n"),
        ("the DDL (`pcrd show plan.json --format sql`)", "<summary>DDL of "),
        ("what changes in ", "#### "),
        ("the steps and their locks (`pcrd show plan.json -v`)", "| | step | phase | locks |"),
        (" findings, the least severe (`pcrd show plan.json -v`)", "\u{0}"),
    ];
    let mut grades = BTreeSet::new();
    for times in [1, 2, 3, 4, 5, 8, 12, 16, 24, 32, 40, 80, 160, 1_000] {
        let comment = comment(&repeated(times));
        assert!(comment.len() <= COMMENT_BYTES_MAX, "{times}: {} bytes", comment.len());
        let _ = skeleton(&comment);
        assert_eq!(comment.matches("<details>").count(), comment.matches("</details>").count());
        assert!(comment.contains("\n**Ready for review**: no finding blocks it. Plan: "), "{times}");
        assert!(comment.contains("CUTOVER_WRITE_BLOCK"), "{times}");
        let grade = said.iter().take_while(|(sentence, _)| comment.contains(sentence)).count();
        for (n, (sentence, part)) in said.iter().enumerate() {
            assert_eq!(comment.contains(sentence), n < grade, "{times}: {sentence}");
            assert!(comment.contains(part) == (n >= grade) || *part == "\u{0}", "{times}: {part}");
        }
        assert!(grades.last().is_none_or(|last| *last <= grade), "{times}: a larger plan shows more");
        grades.insert(grade);
    }
    assert_eq!(grades.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5], "every grade is seen");
}

/// One long reason must not push everything else out.
#[test]
fn long_texts_are_cut() {
    let mut plan = plan("widen_id_and_pack");
    plan.findings[0].message = "long ".repeat(50_000);
    let comment = comment(&plan);
    assert!(comment.contains("```mermaid\n") && comment.contains('…'), "{} bytes", comment.len());
}
