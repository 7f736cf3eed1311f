//! The document as plain text, the same at every width.

use crate::plan::estimate::Estimate;
use crate::plan::render::amount::{bytes, counted, duration};
use crate::plan::render::back::WayBack;
use crate::plan::render::cutover::cutover;
use crate::plan::render::document::{Document, Line, Symbol, TableSection};
use crate::plan::render::escape::{Place, escape};
use crate::plan::render::known::{informs, known};
use crate::plan::{Phase, Plan, Severity};

/// How much to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Detail {
    /// What changes.
    #[default]
    Summary,
    /// Also every step with its edges and their rules, findings, and what is not carried by name.
    Everything,
}

/// Writes the document; `plan` is what it was made from.
pub fn text(document: &Document, plan: &Plan, detail: Detail) -> String {
    if document.tables.is_empty() {
        return "No changes. Target matches the desired schema.\n".to_owned();
    }
    let mut out = format!("pcrd will perform the following actions (plan {}):\n", document.plan);
    for section in &document.tables {
        out.push('\n');
        out.push_str(&table(section));
    }
    out.push_str(&format!("  Steps ({}), critical path {}:\n    ", document.steps, document.critical_path));
    let phases = document.phases.iter().map(|(phase, count)| format!("{} {count}", phase_name(*phase)));
    out.push_str(&phases.collect::<Vec<_>>().join("   "));
    out.push('\n');
    out.extend(document.estimate.as_ref().map(|estimate| format!("    {}\n", clean(&in_words(estimate)))));
    if !document.limits.is_empty() {
        out.push_str(&format!("  Limits: {}\n", clean(&document.limits.join(", "))));
    }
    if !document.not_carried.is_empty() {
        let kinds = document.not_carried.iter().map(|(kind, count)| counted(*count, kind));
        let hint = if detail == Detail::Summary { " (see `pcrd show -v`)" } else { "" };
        out.push_str(&format!("  Not carried: {}{hint}\n", kinds.collect::<Vec<_>>().join(", ")));
    }
    let on_ddl = plan.settings.on_ddl;
    out.extend(on_ddl.meaning().map(|meaning| format!("  on_ddl {}: {meaning}\n", on_ddl.word())));
    let cutover = cutover(plan);
    if !cutover.is_empty() {
        out.push_str("  Cutover:\n");
        out.extend(cutover.iter().map(|(name, what)| format!("    {name}: {}\n", clean(what))));
    }
    if !document.rights.is_empty() {
        out.push_str("  Views, owners, rights and triggers on the target, from the switch on:\n");
        for (object, lines) in &document.rights {
            out.push_str(&format!("    {}\n", clean(object)));
            out.extend(lines.iter().map(|line| format!("      {}\n", clean(line))));
        }
    }
    out.extend(document.back.as_ref().map(way_back));
    if detail == Detail::Everything {
        out.push_str(&everything(document, plan));
    }
    if !document.blocking.is_empty() {
        out.push_str("  Blocked by:\n");
        out.extend(document.blocking.iter().map(|finding| format!("    {}\n", clean(finding))));
    }
    out.push('\n');
    out.push_str(&last_line(document));
    out
}

fn way_back(back: &WayBack) -> String {
    let mut out = format!("  The way back, written by role {}:\n", clean(&back.user));
    for table in &back.tables {
        out.push_str(&format!("    target:{}  =>  {}\n", clean(&table.from), clean(&table.to)));
        out.extend(table.lines.iter().map(|line| format!("      {}\n", clean(line))));
        if table.hidden > 0 {
            out.push_str(&format!("      ({} hidden)\n", counted(table.hidden, "unchanged column")));
        }
    }
    out
}

/// `About 3 h 20 min at 40 MiB/s copied; no less than 2 h: copy:public.orders, verify:public.orders.`
pub(super) fn in_words(estimate: &Estimate) -> String {
    const STEPS_MAX: usize = 4;
    let rate = bytes(estimate.throughput.copy);
    if estimate.total_s == 0 {
        return format!("A few seconds at {rate}/s copied.");
    }
    let mut steps: Vec<&str> = estimate.critical_path.iter().take(STEPS_MAX).map(|step| step.0.as_str()).collect();
    if estimate.critical_path.len() > STEPS_MAX {
        steps.push("…");
    }
    format!(
        "About {} at {rate}/s copied; the longest chain {}: {}.",
        duration(estimate.total_s),
        duration(estimate.critical_path_s),
        steps.join(", ")
    )
}

/// Where the columns of a table's lines end at the latest.
const NAME_COLUMN: usize = 40;
const BODY_COLUMN: usize = 100;

fn table(section: &TableSection) -> String {
    const FACTS_COLUMN: usize = 52;
    let head = format!("  # {}  =>  target:{}", clean(&section.source), clean(&section.target));
    let mut out = format!("{head:<FACTS_COLUMN$} {}\n", clean(&section.facts));
    out.push_str(&format!("  ~ table \"{}\" {{\n", clean(&section.source)));
    let bodies = bodies(&section.lines);
    let width = aligned(bodies.iter().map(|body| body.chars().count()), BODY_COLUMN);
    for (line, body) in section.lines.iter().zip(bodies) {
        let note = line.note.as_ref().map_or_else(String::new, |note| format!("   # {}", clean(note)));
        let text = if note.is_empty() { body } else { format!("{body:<width$}{note}") };
        out.push_str(&format!("      {text}\n"));
    }
    if section.hidden > 0 {
        out.push_str(&format!("        # ({} hidden)\n", counted(section.hidden, "unchanged column")));
    }
    out.push_str("    }\n");
    out
}

/// The widest of those that fit: one long line must not push all the others apart.
fn aligned(widths: impl Iterator<Item = usize>, most: usize) -> usize {
    widths.filter(|width| *width <= most).max().unwrap_or(0)
}

/// Lines without notes, names and types in columns.
pub(super) fn bodies(lines: &[Line]) -> Vec<String> {
    let chars = |text: &String| clean(text).chars().count();
    let of_columns = || lines.iter().filter(|line| line.symbol != Symbol::Move);
    let names = aligned(of_columns().map(|line| chars(&line.name)), NAME_COLUMN);
    let changed = of_columns().filter(|line| line.symbol == Symbol::Change);
    let befores = aligned(changed.filter_map(|line| line.before.as_ref()).map(chars), NAME_COLUMN);
    let body = |line: &Line| {
        let name = clean(&line.name);
        let (before, after) = (line.before.as_deref().map(clean), line.after.as_deref().map(clean));
        let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
        match line.symbol {
            Symbol::Add => format!("+ {name:<names$} : {after}"),
            Symbol::Drop => format!("- {name:<names$} : {before}"),
            Symbol::Change => format!("~ {name:<names$} : {before:<befores$} -> {after}"),
            Symbol::Rename => format!("> {name:<names$} -> {after}"),
            Symbol::Move => format!("^ {name}: {before} -> {after}"),
        }
    };
    lines.iter().map(body).collect()
}

fn everything(document: &Document, plan: &Plan) -> String {
    let mut out = String::new();
    let mut phase = None;
    for step in &plan.steps {
        if phase != Some(step.phase) {
            out.push_str(&format!("  {}\n", phase_name(step.phase)));
            phase = Some(step.phase);
        }
        let estimate = document.estimate.as_ref().and_then(|estimate| estimate.steps.get(&step.id));
        let estimate = estimate.map_or_else(String::new, |seconds| format!("  (about {})", duration(*seconds)));
        out.push_str(&format!("    {}{estimate}\n", clean(&step.id.0)));
        for after in &step.after {
            out.push_str(&format!("      after {}: \"{}\"\n", clean(&after.step.0), clean(&after.rule)));
        }
    }
    if !plan.findings.is_empty() {
        out.push_str("  Findings:\n");
        for finding in plan.findings.iter().filter(|finding| !informs(finding)) {
            let accepted = finding.accepted.as_ref().map_or_else(String::new, |accepted| {
                format!("  (accepted at {}: {})", clean(&accepted.at), clean(&accepted.reason))
            });
            let (code, address) = (&finding.code, clean(&finding.address));
            let message = clean(&finding.message);
            out.push_str(&format!("    {} {code}@{address}: {message}{accepted}\n", severity(finding.severity)));
        }
        for known in known(plan) {
            let addresses = clean(&known.addresses.join(", "));
            out.push_str(&format!(
                "    {} {}@{addresses}: {}\n",
                severity(Severity::Info),
                known.code,
                clean(known.message)
            ));
        }
    }
    if !plan.not_carried.is_empty() {
        out.push_str("  Not carried:\n");
        for left in &plan.not_carried {
            out.push_str(&format!("    {} {}: {}\n", clean(&left.kind), clean(&left.name), clean(&left.why)));
        }
    }
    out
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info   ",
        Severity::Warning => "warning",
        Severity::Error => "error  ",
        Severity::Refused => "refused",
    }
}

/// As in the file.
pub fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Prepare => "prepare",
        Phase::Schema => "schema",
        Phase::Copy => "copy",
        Phase::Catchup => "catchup",
        Phase::Verify => "verify",
        Phase::Cutover => "cutover",
        Phase::Reverse => "reverse",
        Phase::Cleanup => "cleanup",
    }
}

/// What is done in all, and what is in its way.
pub(super) fn last_line(document: &Document) -> String {
    let totals = &document.totals;
    let mut out = format!(
        "Plan: {} to migrate; {} to add, {} to change, {} to rename, {} to drop. {}",
        counted(totals.tables, "table"),
        totals.add,
        totals.change,
        totals.rename,
        totals.drop,
        counted(totals.hazards, "hazard"),
    );
    match totals.unaccepted {
        0 => {}
        1 => out.push_str(", 1 needs acceptance"),
        more => out.push_str(&format!(", {more} need acceptance")),
    }
    if totals.refused > 0 {
        out.push_str(&format!(", {} refused", totals.refused));
    }
    out.push_str(".\n");
    out
}

/// Names come from a database: nothing in them may steer a terminal or forge a line.
fn clean(text: &str) -> String {
    escape(text, Place::Terminal)
}
