//! The document as a comment on a pull request.

use crate::findings;
use crate::plan::render::amount::{counted, duration};
use crate::plan::render::back::WayBack;
use crate::plan::render::cutover::cutover;
use crate::plan::render::document::{Document, Symbol, TableSection, blocks};
use crate::plan::render::escape::{Place, code, escape, fenced};
use crate::plan::render::known::{informs, known};
use crate::plan::render::text::{bodies, in_words, last_line, phase_name};
use crate::plan::render::{ddl, graph};
use crate::plan::{Finding, Lock, Plan, Severity, Step};

/// Code hosts refuse comments of 65 536 characters. Counted in bytes, of which there are never fewer.
pub const COMMENT_BYTES_MAX: usize = 65_000;

/// What is drawn; more edges than 500 are refused by the hosts, and nobody could read them.
const GRAPH_STEPS_MAX: usize = 120;
const GRAPH_EDGES_MAX: usize = 400;

/// Of a message, a name or a reason in a cell.
const CELL_CHARS_MAX: usize = 400;

/// Addresses named in a cell.
const PLACES_MAX: usize = 6;

/// Locks named in a cell.
const LOCKS_MAX: usize = 4;

/// What is left out, each with all before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Left {
    Nothing,
    Graph,
    Ddl,
    Tables,
    Steps,
    Findings,
}

/// Parts of the comment, each whole: a cut never opens a fence.
struct Parts {
    head: String,
    findings: Vec<String>,
    known: String,
    tables: Vec<(String, Option<String>)>,
    steps: String,
    graph: Option<String>,
    rights: String,
    back: String,
    not_carried: String,
    foot: String,
}

/// Writes the document; `plan` is what it was made from. What is too long for a comment is left out and named.
pub fn markdown(document: &Document, plan: &Plan) -> String {
    let head = head(document, plan);
    if document.tables.is_empty() {
        return format!("{head}\n{}", foot(plan));
    }
    let ddl = ddl::diffs(plan);
    let has_graph = plan.steps.len() <= GRAPH_STEPS_MAX && graph::n_edges(plan) <= GRAPH_EDGES_MAX;
    let parts = Parts {
        head,
        findings: findings(plan),
        known: known_details(plan),
        tables: document
            .tables
            .iter()
            .zip(ddl)
            .map(|(section, diff)| (table(section), ddl_details(section, diff)))
            .collect(),
        steps: details(&format!("Steps and their locks ({})", plan.steps.len()), &steps(document, plan)),
        graph: has_graph.then(|| details("Graph of the steps", &fenced("mermaid", &graph::mermaid(plan)))),
        rights: rights(document),
        back: document.back.as_ref().map_or_else(String::new, way_back),
        not_carried: not_carried(plan),
        foot: foot(plan),
    };
    let grades = [Left::Nothing, Left::Graph, Left::Ddl, Left::Tables, Left::Steps];
    let texts = grades.iter().map(|left| parts.comment(*left, parts.findings.len()));
    texts.into_iter().find(|text| text.len() <= COMMENT_BYTES_MAX).unwrap_or_else(|| parts.first_findings())
}

impl Parts {
    fn comment(&self, left: Left, n_findings: usize) -> String {
        let mut out = self.head.clone();
        if !self.findings.is_empty() {
            out.push_str("\n| severity | finding | where | lock | effect, and what to do |\n|---|---|---|---|---|\n");
            out.extend(self.findings[..n_findings].iter().map(String::as_str));
        }
        if left < Left::Tables {
            out.push_str(&self.known);
            for (table, ddl) in &self.tables {
                out.push_str(table);
                out.push_str(ddl.as_ref().filter(|_| left < Left::Ddl).map_or("", String::as_str));
            }
            out.push_str(&self.rights);
            out.push_str(&self.back);
            out.push_str(&self.not_carried);
        }
        if left < Left::Steps {
            out.push_str(&self.steps);
        }
        if left < Left::Graph {
            out.push_str(self.graph.as_deref().unwrap_or_default());
        }
        out.push_str(&self.left_out(left, n_findings));
        out.push('\n');
        out.push_str(&self.foot);
        out
    }

    /// The most severe findings, as many as there is room for.
    fn first_findings(&self) -> String {
        let rest = self.comment(Left::Findings, 0).len();
        let mut room = COMMENT_BYTES_MAX.saturating_sub(rest);
        let fits = |row: &&String| {
            let is_room = row.len() <= room;
            room = room.saturating_sub(row.len());
            is_room
        };
        let n_findings = self.findings.iter().take_while(fits).count();
        self.comment(Left::Findings, n_findings)
    }

    fn left_out(&self, left: Left, n_findings: usize) -> String {
        let mut missing = Vec::new();
        if left >= Left::Graph || self.graph.is_none() {
            missing.push("the graph (`pcrd graph plan.json`)".to_owned());
        }
        if left >= Left::Ddl {
            missing.push("the DDL (`pcrd show plan.json --format sql`)".to_owned());
        }
        if left >= Left::Tables {
            let tables = counted(self.tables.len(), "table");
            let back = if self.back.is_empty() { "" } else { ", how it goes back" };
            let rights = if self.rights.is_empty() { "" } else { ", who gets which rights" };
            missing.push(format!(
                "what changes in {tables}{rights}{back}, and what is not carried (`pcrd show plan.json -v`)"
            ));
        }
        if left >= Left::Steps {
            missing.push("the steps and their locks (`pcrd show plan.json -v`)".to_owned());
        }
        if left >= Left::Findings {
            // Written with as many digits for any number, so that the room for rows can be told beforehand.
            let (gone, all) = (self.findings.len() - n_findings, self.findings.len());
            let width = all.to_string().len();
            missing.push(format!("{gone:0width$} of {all} findings, the least severe (`pcrd show plan.json -v`)"));
        }
        if missing.is_empty() {
            return String::new();
        }
        format!("\n> [!NOTE]\n> Left out, because a comment has its limits: {}.\n", missing.join("; "))
    }
}

fn head(document: &Document, plan: &Plan) -> String {
    let marker: String = plan.inputs.iter().take(1).map(|input| marker(&input.name)).collect();
    let mut out = format!("<!-- pcrd:plan:{marker} -->\n### pcrd plan {}\n\n", code(&document.plan));
    if document.tables.is_empty() {
        out.push_str("**No changes.** Target matches the desired schema.\n");
        return out;
    }
    let totals = &document.totals;
    let accept = match totals.unaccepted {
        0 => None,
        1 => Some("1 finding needs acceptance".to_owned()),
        more => Some(format!("{more} findings need acceptance")),
    };
    let refused = (totals.refused > 0).then(|| format!("{} refused", totals.refused));
    let why: Vec<String> = accept.into_iter().chain(refused).collect();
    out.push_str(&match why.is_empty() {
        true => "**Ready for review**: no finding blocks it. ".to_owned(),
        false => format!("**Blocked**: {}. ", why.join(", ")),
    });
    out.push_str(&last_line(document));
    let phases = document.phases.iter().map(|(phase, count)| format!("{} {count}", phase_name(*phase)));
    let phases = phases.collect::<Vec<_>>().join(", ");
    out.push_str(&format!(
        "{}, {} on the longest chain: {phases}.\n",
        counted(document.steps, "step"),
        document.critical_path
    ));
    if !document.limits.is_empty() {
        out.push_str(&format!("\nLimits: {}\n", escape(&document.limits.join(", "), Place::Prose)));
    }
    let on_ddl = plan.settings.on_ddl;
    out.extend(on_ddl.meaning().map(|meaning| format!("\n`on_ddl: {}`: {meaning}.\n", on_ddl.word())));
    let cutover = cutover(plan);
    if !cutover.is_empty() {
        out.push_str("\nCutover:\n\n");
        out.extend(cutover.iter().map(|(name, what)| format!("- {name}: {}\n", code(what))));
    }
    if let Some(estimate) = &document.estimate {
        out.push_str(&format!("\n{}\n", escape(&in_words(estimate), Place::Prose)));
    }
    out
}

/// By this a workflow finds its comment again.
fn marker(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '_' { c } else { '_' };
    name.chars().take(100).map(plain).collect()
}

fn foot(plan: &Plan) -> String {
    const INPUTS_MAX: usize = 5;
    let inputs = plan.inputs.iter().take(INPUTS_MAX).map(|input| {
        let digest: String = input.sha256.to_string().chars().take(19).collect();
        format!("{} {}", code(&shortened(&input.name)), code(&digest))
    });
    let inputs: Vec<String> = inputs.collect();
    let more = plan.inputs.len().saturating_sub(INPUTS_MAX);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!(
        "Plan {}, made from {}{more} by pcrd {}. The same text: `pcrd show plan.json --format markdown`\n",
        code(&plan.id.to_string()),
        inputs.join(", "),
        code(&shortened(&plan.tool)),
    )
}

fn findings(plan: &Plan) -> Vec<String> {
    let mut findings: Vec<&Finding> = plan.findings.iter().filter(|finding| !informs(finding)).collect();
    // Stable: within a severity in the order of the plan.
    findings.sort_by_key(|finding| std::cmp::Reverse((blocks(finding), finding.severity)));
    findings.into_iter().map(|finding| row(plan, finding)).collect()
}

/// What asks for nothing, folded.
fn known_details(plan: &Plan) -> String {
    let list = known(plan);
    if list.is_empty() {
        return String::new();
    }
    let mut body = "| finding | where | lock | effect |\n|---|---|---|---|\n".to_owned();
    for known in &list {
        let mut places: Vec<String> =
            known.addresses.iter().take(PLACES_MAX).map(|address| code(&shortened(address))).collect();
        if known.addresses.len() > PLACES_MAX {
            places.push(format!("and {} more", known.addresses.len() - PLACES_MAX));
        }
        body.push_str(&format!(
            "| {} | {} | {} | {} |\n",
            code(&shortened(known.code)),
            places.join(", "),
            lock_of(plan, known.code),
            escape(&shortened(known.message), Place::Prose),
        ));
    }
    details(&format!("To know ({})", list.len()), &body)
}

fn row(plan: &Plan, finding: &Finding) -> String {
    let severity = match (finding.severity, &finding.accepted) {
        (Severity::Info, _) => "info",
        (Severity::Warning, _) => "warning",
        (Severity::Error, Some(_)) => "accepted",
        (Severity::Error, None) => "**error**",
        (Severity::Refused, _) => "**refused**",
    };
    let prose = |text: &str| escape(&shortened(text), Place::Prose);
    let todo = match (&finding.accepted, finding.severity) {
        (Some(accepted), _) => format!(". Accepted at {}: {}", code(&shortened(&accepted.at)), prose(&accepted.reason)),
        (None, Severity::Error) => {
            let allow = format!("--allow '{}@{}=why'", finding.code, finding.address);
            format!(". To accept it: {}", code(&shortened(&allow)))
        }
        (None, Severity::Refused) => ". It cannot be accepted".to_owned(),
        (None, Severity::Info | Severity::Warning) => String::new(),
    };
    format!(
        "| {severity} | {} | {} | {} | {}{todo} |\n",
        code(&shortened(&finding.code)),
        code(&shortened(&finding.address)),
        lock_of(plan, &finding.code),
        prose(&finding.message),
    )
}

/// The lock behind a finding, where one is.
fn lock_of(plan: &Plan, code_of_finding: &str) -> String {
    let of_rule = findings::by_code(code_of_finding).and_then(|rule| rule.lock?.step);
    let Some(taken_by) = of_rule else { return String::new() };
    let step = plan.steps.iter().find(|step| step.op.id().kind() == taken_by);
    let lock = step.and_then(|step| step.lock.first());
    lock.map_or_else(String::new, |lock| {
        format!("{} on the {}, {}", code(&lock.mode), lock.on, escape(&shortened(&lock.held), Place::Prose))
    })
}

fn table(section: &TableSection) -> String {
    let mut lines = String::new();
    let bodies = bodies(&section.lines);
    let width = bodies.iter().map(|body| body.chars().count() + 2).max().unwrap_or(0);
    for (line, body) in section.lines.iter().zip(bodies) {
        // Hosts colour lines by their first character and know no other sign than these.
        let text = match line.symbol {
            Symbol::Add => body.replacen('+', "+  ", 1),
            Symbol::Drop => body.replacen('-', "-  ", 1),
            Symbol::Change | Symbol::Rename | Symbol::Move => format!("! {body}"),
        };
        let text = match &line.note {
            Some(note) => format!("{text:<width$}   # {}", escape(note, Place::Terminal)),
            None => text,
        };
        lines.push_str(&format!("{text}\n"));
    }
    if section.hidden > 0 {
        lines.push_str(&format!("  ({} hidden)\n", counted(section.hidden, "unchanged column")));
    }
    let facts = escape(&section.facts, Place::Prose);
    let name = match section.source == section.target {
        true => code(&section.source),
        false => format!("{} → {}", code(&section.source), code(&section.target)),
    };
    format!("\n#### {name}\n\n{facts}\n\n{}", fenced("diff", &lines))
}

fn ddl_details(section: &TableSection, diff: Option<String>) -> Option<String> {
    let summary = format!("DDL of <code>{}</code>", escape(&section.target, Place::Html));
    diff.map(|diff| details(&summary, &fenced("diff", &diff)))
}

fn steps(document: &Document, plan: &Plan) -> String {
    let Some(estimate) = &document.estimate else {
        let rows = plan.steps.iter().enumerate().map(|(place, step)| step_row(place, step, ""));
        return format!("| | step | phase | locks |\n|---|---|---|---|\n{}", rows.collect::<String>());
    };
    let rows = plan.steps.iter().enumerate().map(|(place, step)| {
        let seconds = estimate.steps.get(&step.id);
        step_row(place, step, &format!(" {} |", seconds.map_or_else(String::new, |seconds| duration(*seconds))))
    });
    format!("| | step | phase | locks | about |\n|---|---|---|---|---|\n{}", rows.collect::<String>())
}

fn step_row(place: usize, step: &Step, last: &str) -> String {
    let id = code(&shortened(&step.id.0));
    format!("| {} | {id} | {} | {} |{last}\n", place + 1, phase_name(step.phase), locks(step))
}

fn locks(step: &Step) -> String {
    let one = |lock: &Lock| {
        let (mode, object) = (code(&lock.mode), code(&shortened(&lock.object)));
        format!("{mode} on {} {object}: {}", lock.on, escape(&shortened(&lock.held), Place::Prose))
    };
    let mut list: Vec<String> = step.lock.iter().take(LOCKS_MAX).map(one).collect();
    if step.lock.len() > LOCKS_MAX {
        list.push(format!("and {} more", step.lock.len() - LOCKS_MAX));
    }
    list.join("<br>")
}

/// Everybody's rights, never shortened: a reviewer must see all of them.
fn rights(document: &Document) -> String {
    if document.rights.is_empty() {
        return String::new();
    }
    let mut body = "| on the target | owner, who may do what, and what fires |\n|---|---|\n".to_owned();
    for (object, lines) in &document.rights {
        let lines: Vec<String> = lines.iter().map(|line| code(line)).collect();
        body.push_str(&format!("| {} | {} |\n", code(object), lines.join("<br>")));
    }
    details(&format!("Views, owners, rights and triggers from the switch on ({})", document.rights.len()), &body)
}

fn way_back(back: &WayBack) -> String {
    let mut body = "| from the target's | to the source's | what becomes of it |\n|---|---|---|\n".to_owned();
    for table in &back.tables {
        let mut lines: Vec<String> = table.lines.iter().map(|line| escape(&shortened(line), Place::Prose)).collect();
        if table.hidden > 0 {
            lines.push(counted(table.hidden, "unchanged column"));
        }
        let (from, to) = (code(&shortened(&table.from)), code(&shortened(&table.to)));
        body.push_str(&format!("| {from} | {to} | {} |\n", lines.join("<br>")));
    }
    let summary = format!("The way back, written by role {}", escape(&back.user, Place::Html));
    details(&summary, &body)
}

fn not_carried(plan: &Plan) -> String {
    if plan.not_carried.is_empty() {
        return String::new();
    }
    let mut body = "| kind | name | why |\n|---|---|---|\n".to_owned();
    for left in &plan.not_carried {
        let prose = |text: &str| escape(&shortened(text), Place::Prose);
        let name = code(&shortened(&left.name));
        body.push_str(&format!("| {} | {name} | {} |\n", prose(&left.kind), prose(&left.why)));
    }
    details(&format!("Not carried ({})", plan.not_carried.len()), &body)
}

/// A folded section; `summary` is HTML. The blank lines make hosts read the body as Markdown.
fn details(summary: &str, body: &str) -> String {
    format!("\n<details><summary>{summary}</summary>\n\n{body}\n</details>\n")
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(CELL_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
