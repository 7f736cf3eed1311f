//! What every rendering of a plan says.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::casts::CastClass;
use crate::catalog::QualifiedName;
use crate::plan::estimate::{Estimate, Throughput, estimate};
use crate::plan::render::amount;
use crate::plan::render::back::{WayBack, way_back};
use crate::plan::render::bare::bare;
use crate::plan::render::limits::limits;
use crate::plan::render::lookup::{Lookup, by_table};
use crate::plan::rights::in_words;
use crate::plan::{Action, Change, CheckPredicate, Evidence, Finding, Phase, Plan, Severity, StepId};
use crate::projection::Projection;
use crate::sql::literal;

/// A plan in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Document {
    /// First digits of the plan's id.
    pub plan: String,
    /// One section for each table.
    pub tables: Vec<TableSection>,
    /// Number of steps.
    pub steps: usize,
    /// Steps on the longest chain.
    pub critical_path: usize,
    /// Steps of each phase that has any.
    pub phases: Vec<(Phase, usize)>,
    /// What stays behind, by kind.
    pub not_carried: BTreeMap<String, usize>,
    /// Owners, rights and triggers of the target: each object, and what the plan gives and makes on it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rights: Vec<(String, Vec<String>)>,
    /// How changes go back after the switch, where that is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub back: Option<WayBack>,
    /// Findings that block the plan: errors not accepted, and refusals.
    pub blocking: Vec<String>,
    /// Totals.
    pub totals: Totals,
    /// How fast the copy may go, where the config says so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<String>,
    /// How long it may take, when the sizes of the tables are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
}

/// One table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableSection {
    /// Source table.
    pub source: String,
    /// Target table.
    pub target: String,
    /// Rows, size and key.
    pub facts: String,
    /// What changes.
    pub lines: Vec<Line>,
    /// Columns that stay as they are.
    pub hidden: usize,
}

/// One thing that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Kind of change.
    pub symbol: Symbol,
    /// Column, or what the line is about.
    pub name: String,
    /// Before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// After.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Why it is safe, or what it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The signs before lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Symbol {
    /// `+`
    Add,
    /// `-`
    Drop,
    /// `~`
    Change,
    /// `>`
    Rename,
    /// `^`
    Move,
}

/// The last line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Totals {
    /// Tables.
    pub tables: usize,
    /// Columns, constraints and indexes added.
    pub add: usize,
    /// Of them, changed.
    pub change: usize,
    /// Columns renamed.
    pub rename: usize,
    /// Columns, constraints and indexes dropped.
    pub drop: usize,
    /// Findings above info.
    pub hazards: usize,
    /// Of these, errors that nobody accepted.
    pub unaccepted: usize,
    /// Of these, refusals.
    pub refused: usize,
}

/// Puts a plan into words, with estimates for the default throughput.
pub fn document(plan: &Plan, evidence: Option<&Evidence>) -> Document {
    document_at(plan, evidence, Throughput::default())
}

/// Puts a plan into words, with estimates for this throughput.
pub fn document_at(plan: &Plan, evidence: Option<&Evidence>, throughput: Throughput) -> Document {
    let lookup = Lookup::new(plan, evidence);
    let by_table = by_table(plan);
    let sections = plan.projections.iter().zip(&by_table);
    let tables: Vec<TableSection> = sections
        .zip(plan.addresses())
        .map(|((projection, changes), address)| section(plan, &lookup, (projection, address), changes))
        .collect();
    let mut phases: BTreeMap<Phase, usize> = BTreeMap::new();
    for step in &plan.steps {
        *phases.entry(step.phase).or_default() += 1;
    }
    let mut not_carried = BTreeMap::new();
    for left in &plan.not_carried {
        *not_carried.entry(left.kind.clone()).or_default() += 1;
    }
    let blocking = plan.findings.iter().filter(|finding| blocks(finding));
    Document {
        plan: plan.id.short().to_owned(),
        totals: totals(plan),
        estimate: evidence.and_then(|evidence| estimate(plan, evidence, throughput)),
        tables,
        steps: plan.steps.len(),
        critical_path: critical_path(plan),
        limits: limits(plan),
        back: way_back(plan),
        rights: in_words(plan),
        phases: phases.into_iter().collect(),
        not_carried,
        blocking: blocking
            .map(|finding| format!("{}@{}: {}", finding.code, finding.address, finding.message))
            .collect(),
    }
}

/// True when the plan may not run because of it.
pub fn blocks(finding: &Finding) -> bool {
    match finding.severity {
        Severity::Info | Severity::Warning => false,
        Severity::Error => finding.accepted.is_none(),
        Severity::Refused => true,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counted {
    Add,
    Change,
    Rename,
    Drop,
}

/// As what a change counts in the last line.
fn counted(change: &Change) -> Option<Counted> {
    match change.action {
        Action::Migrate | Action::Reorder => None,
        Action::Add => Some(Counted::Add),
        Action::Drop | Action::Filter => Some(Counted::Drop),
        Action::Rename => Some(Counted::Rename),
        Action::Constraint | Action::Index => Some(match (&change.before, &change.after) {
            (None, _) => Counted::Add,
            (_, None) => Counted::Drop,
            (Some(_), Some(_)) => Counted::Change,
        }),
        Action::Cast
        | Action::Nullability
        | Action::Default
        | Action::Collation
        | Action::Storage
        | Action::Statistics
        | Action::Identity
        | Action::Generated
        | Action::Comment
        | Action::Options => Some(Counted::Change),
    }
}

fn totals(plan: &Plan) -> Totals {
    let objects = |kind: &dyn Fn(&Change) -> Option<Counted>, wanted: Counted| {
        let of_kind = plan.changes.iter().filter(|change| kind(change) == Some(wanted));
        of_kind.map(|change| &change.address).collect::<BTreeSet<_>>().len()
    };
    let of = |severity: Severity| plan.findings.iter().filter(move |finding| finding.severity == severity);
    Totals {
        tables: plan.projections.len(),
        add: objects(&counted, Counted::Add),
        change: objects(&counted, Counted::Change),
        rename: objects(&counted, Counted::Rename),
        drop: objects(&counted, Counted::Drop),
        hazards: plan.findings.iter().filter(|finding| finding.severity != Severity::Info).count(),
        unaccepted: of(Severity::Error).filter(|finding| finding.accepted.is_none()).count(),
        refused: of(Severity::Refused).count(),
    }
}

/// Steps on the longest chain; steps stand after what they wait for.
fn critical_path(plan: &Plan) -> usize {
    let mut length: BTreeMap<&StepId, usize> = BTreeMap::new();
    for step in &plan.steps {
        let before = step.after.iter().filter_map(|after| length.get(&after.step)).max().copied();
        length.insert(&step.id, before.unwrap_or(0) + 1);
    }
    length.into_values().max().unwrap_or(0)
}

fn section(
    plan: &Plan,
    lookup: &Lookup<'_>,
    (projection, address): (&Projection, &QualifiedName),
    changes: &[&Change],
) -> TableSection {
    let source = projection.source.to_string();
    let mut lines: Vec<Line> =
        changes.iter().filter_map(|change| line(lookup, (projection, address), change)).collect();
    // The order of the sample in the documentation: columns, then what concerns the whole row.
    lines.sort_by_key(|line| line.symbol == Symbol::Move);
    let changed: BTreeSet<&String> = changes.iter().map(|change| &change.address).collect();
    let columns = plan.source.tables.get(&projection.source).map_or(0, |table| {
        let unchanged = |column: &&crate::catalog::Column| !changed.contains(&format!("{address}.{}", column.name));
        table.columns.iter().filter(unchanged).count()
    });
    TableSection {
        source,
        target: projection.target.to_string(),
        facts: facts(lookup.evidence, projection),
        lines,
        hidden: columns,
    }
}

fn facts(evidence: Option<&Evidence>, projection: &Projection) -> String {
    let mut parts = Vec::new();
    if let Some(stats) = evidence.and_then(|evidence| evidence.sizes.get(&projection.source)) {
        parts.extend(stats.rows_estimate.map(|rows| format!("{} rows", amount::rows(rows))));
        parts.push(amount::bytes(stats.table_bytes));
    }
    let key = projection.source_key();
    let key = match key.is_empty() {
        true => "no key".to_owned(),
        false => format!("key ({})", key.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    };
    let of_part = projection.part.as_ref().map(|part| format!(" with {} = {}", part.column, literal(&part.value)));
    parts.push(key + &of_part.unwrap_or_default());
    parts.join(", ")
}

fn line(lookup: &Lookup<'_>, (projection, address): (&Projection, &QualifiedName), change: &Change) -> Option<Line> {
    let name = change
        .address
        .strip_prefix(&format!("{address}."))
        .or_else(|| change.address.strip_prefix(&format!("{}.", projection.target)))
        .unwrap_or("table");
    let of = |symbol, before: Option<&String>, after: Option<&String>, note: Option<String>| {
        Some(Line { symbol, name: name.to_owned(), before: before.cloned(), after: after.cloned(), note })
    };
    let (before, after) = (change.before.as_ref(), change.after.as_ref());
    match change.action {
        Action::Migrate => None,
        Action::Add => of(Symbol::Add, None, after, note(lookup, change)),
        Action::Drop => of(Symbol::Drop, before, None, note(lookup, change)),
        Action::Filter => {
            let note = note(lookup, change);
            Some(Line {
                symbol: Symbol::Drop,
                name: "rows".to_owned(),
                before: after.map(|text| format!("all but those {text}")),
                after: None,
                note,
            })
        }
        Action::Cast => {
            let checked = checked(lookup, change).or_else(|| note(lookup, change));
            of(Symbol::Change, before, after, checked)
        }
        Action::Rename => of(Symbol::Rename, before, after, note(lookup, change)),
        Action::Nullability | Action::Default => {
            let none = "no default".to_owned();
            of(Symbol::Change, before.or(Some(&none)), after.or(Some(&none)), note(lookup, change))
        }
        Action::Collation
        | Action::Storage
        | Action::Statistics
        | Action::Identity
        | Action::Generated
        | Action::Options => {
            let none = absent(change.action).to_owned();
            of(Symbol::Change, before.or(Some(&none)), after.or(Some(&none)), note(lookup, change))
        }
        Action::Comment => {
            let shown = |text: Option<&String>| Some(text.map_or_else(|| "no comment".to_owned(), |text| quoted(text)));
            of(Symbol::Change, shown(before).as_ref(), shown(after).as_ref(), None)
        }
        Action::Constraint | Action::Index => {
            let symbol = match (before, after) {
                (None, _) => Symbol::Add,
                (_, None) => Symbol::Drop,
                (Some(_), Some(_)) => Symbol::Change,
            };
            let kind = if change.action == Action::Index { "index" } else { "constraint" };
            let text = |text: Option<&String>| text.map(|text| bare(text.strip_prefix("CONSTRAINT ").unwrap_or(text)));
            let line =
                Line { symbol, name: format!("{kind} {name}"), before: text(before), after: text(after), note: None };
            Some(Line { note: checked(lookup, change), ..line })
        }
        Action::Reorder => Some(reorder(lookup.evidence, projection, change)),
    }
}

fn absent(action: Action) -> &'static str {
    match action {
        Action::Collation => "the type's collation",
        Action::Storage => "the type's storage",
        Action::Statistics => "the server's statistics",
        Action::Identity => "no identity",
        Action::Generated => "not generated",
        _ => "none",
    }
}

/// Text on one line and of bearable length.
fn quoted(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let mut line: String = text.chars().take(CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        line.push('…');
    }
    format!("'{line}'")
}

/// The finding at this address if one asks for something, else the change's own note.
fn note(lookup: &Lookup<'_>, change: &Change) -> Option<String> {
    let wanted: &[&str] = match change.action {
        Action::Drop => &["DELETES_DATA"],
        Action::Filter => &["ROW_FILTER"],
        Action::Cast => &["LOSSY_CAST", "TZ_DEPENDENT_CAST"],
        Action::Add => &["DEFAULT_FROZEN"],
        Action::Migrate
        | Action::Rename
        | Action::Reorder
        | Action::Nullability
        | Action::Default
        | Action::Collation
        | Action::Storage
        | Action::Statistics
        | Action::Identity
        | Action::Generated
        | Action::Comment
        | Action::Options
        | Action::Constraint
        | Action::Index => &[],
    };
    let finding = lookup.findings(&change.address).find(|finding| wanted.contains(&finding.code.as_str()));
    let Some(finding) = finding else {
        let is_safe = change.class == Some(CastClass::Widening);
        return if is_safe { Some("widening, always safe".to_owned()) } else { change.note.clone() };
    };
    let accepted = match &finding.accepted {
        Some(accepted) => format!("  (accepted: {})", accepted.reason),
        None if blocks(finding) => "  (needs acceptance)".to_owned(),
        None => String::new(),
    };
    let why = change.note.as_ref().filter(|_| !matches!(change.action, Action::Drop | Action::Filter));
    let why = why.map_or_else(String::new, |why| format!(": {why}"));
    Some(format!("{}{why}{accepted}", finding.code))
}

/// `validated: 0 of 184 203 311 rows too long`, after the user's own words if there are any.
fn checked(lookup: &Lookup<'_>, change: &Change) -> Option<String> {
    let of_change = |predicate: &&CheckPredicate| predicate.address == change.address;
    let check = lookup.check(&change.address)?;
    let meanings: Vec<&str> =
        check.predicates.iter().filter(of_change).map(|predicate| predicate.meaning.as_str()).collect();
    let meaning = meanings.join(" or ");
    let result = lookup.result(&check.id);
    let failing = result.map(|result| {
        let counts = check.predicates.iter().zip(&result.failing).filter(|(predicate, _)| of_change(predicate));
        (counts.map(|(_, count)| count).sum::<u64>(), result.rows)
    });
    let validated = match failing {
        Some((failing, rows)) => {
            format!("validated: {} of {} rows {meaning}", amount::grouped(failing), amount::grouped(rows))
        }
        None => format!("to be validated: 0 rows {meaning}"),
    };
    let finding = note(lookup, change).filter(|note| note.starts_with("LOSSY_CAST") || note.starts_with("using "));
    Some(finding.map_or_else(|| validated.clone(), |finding| format!("{finding}; {validated}")))
}

fn reorder(evidence: Option<&Evidence>, projection: &Projection, change: &Change) -> Line {
    let size = |text: &Option<String>| text.as_ref().and_then(|text| text.trim_end_matches(" B").parse::<u64>().ok());
    let mut after = change.after.clone();
    let mut note = None;
    if let (Some(old), Some(new)) = (size(&change.before), size(&change.after))
        && old > 0
    {
        let tenths = old.abs_diff(new) * 1_000 / old;
        let sign = if new > old { "+" } else { "-" };
        after = Some(format!("{new} B per row ({sign}{}.{} %)", tenths / 10, tenths % 10));
        let rows = evidence.and_then(|evidence| evidence.sizes.get(&projection.source)?.rows_estimate);
        note = rows.filter(|_| new < old).map(|rows| format!("saves about {}", amount::bytes(rows * (old - new))));
    }
    Line {
        symbol: Symbol::Move,
        name: if change.note.as_deref() == Some("column order as written") {
            "order as written"
        } else {
            "order packed"
        }
        .to_owned(),
        before: change.before.clone(),
        after,
        note,
    }
}
