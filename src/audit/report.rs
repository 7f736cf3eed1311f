//! What an audit finds.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::audit::policy::{LOCK_MODES, Policy};
use crate::plan::{CheckError, End, Finding, Phase, Plan, PlanFile, PlanFileError, Severity, file, problems};

/// How bad an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// To know.
    Note,
    /// To think about.
    Warning,
    /// The plan may not run.
    Error,
}

/// Which of the auditor's rules an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// The file is a plan of a known format.
    Format,
    /// The id is the digest of the content.
    Digest,
    /// Every statement is what its step means, and of the shape that such a step may have.
    Statement,
    /// Steps stand in the order and with the edges that the rules make.
    Order,
    /// The parts of the plan make one migration.
    Whole,
    /// A hazard that the plan itself names.
    Finding,
    /// The policy forbids a finding.
    Forbidden,
    /// The policy forbids a lock.
    SourceLock,
    /// The policy asks for a shorter timeout.
    Timeout,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Format,
        Self::Digest,
        Self::Statement,
        Self::Order,
        Self::Whole,
        Self::Finding,
        Self::Forbidden,
        Self::SourceLock,
        Self::Timeout,
    ];

    /// As in JSON and SARIF.
    pub fn id(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Digest => "digest",
            Self::Statement => "statement",
            Self::Order => "order",
            Self::Whole => "whole",
            Self::Finding => "finding",
            Self::Forbidden => "forbidden",
            Self::SourceLock => "source-lock",
            Self::Timeout => "timeout",
        }
    }

    /// What it asks for.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Format => "the file is a plan of a known format and nothing else",
            Self::Digest => "the plan's id is the digest of its content, and fingerprints are those of their objects",
            Self::Statement => "every statement is what its step means, and has the shape that such a step may have",
            Self::Order => "steps stand in the order and with the edges that the rules make",
            Self::Whole => "the parts of the plan make one migration, and every loss is named",
            Self::Finding => "the plan has no hazard that nobody accepted",
            Self::Forbidden => "the plan has no finding that the policy forbids",
            Self::SourceLock => "the plan takes no stronger lock on the source than the policy allows",
            Self::Timeout => "timeouts are no longer than the policy allows",
        }
    }

    /// True for rules that only an edited or foreign file breaks.
    pub fn is_integrity(self) -> bool {
        match self {
            Self::Format | Self::Digest | Self::Statement | Self::Order | Self::Whole => true,
            Self::Finding | Self::Forbidden | Self::SourceLock | Self::Timeout => false,
        }
    }
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The rule.
    pub rule: Rule,
    /// How bad.
    pub level: Level,
    /// Step, address of a finding, or setting; empty for the file as a whole.
    pub place: String,
    /// What, in one sentence, perhaps with a diff below.
    pub message: String,
    /// Line in the file, from 1.
    pub line: usize,
}

/// The result of an audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The plan's id, when the file is a plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_id: Option<String>,
    /// Steps looked at.
    pub steps: usize,
    /// Statements looked at, those that undo a step included.
    pub statements: usize,
    /// Everything found, the file's own order within a rule.
    pub entries: Vec<Entry>,
}

impl Report {
    /// Entries of this level.
    pub fn count(&self, level: Level) -> usize {
        self.entries.iter().filter(|entry| entry.level == level).count()
    }

    /// True when the file is not a plan as pcrd wrote it.
    pub fn is_edited(&self) -> bool {
        self.entries.iter().any(|entry| entry.rule.is_integrity())
    }

    /// True when nothing is in the way of the plan.
    pub fn passed(&self) -> bool {
        self.count(Level::Error) == 0
    }

    /// Makes warnings errors.
    pub fn deny_warnings(&mut self) {
        for entry in self.entries.iter_mut().filter(|entry| entry.level == Level::Warning) {
            entry.level = Level::Error;
        }
    }
}

/// Looks at the text of a plan file; asks no database.
pub fn audit(text: &str, policy: &Policy) -> Report {
    let mut report = Report { plan_id: None, steps: 0, statements: 0, entries: Vec::new() };
    let plan = match file::parse(text) {
        Ok(PlanFile { plan, .. }) => plan,
        Err(error) => {
            let line = if let PlanFileError::Json(error) = &error { error.line() } else { 0 };
            let message = error.to_string();
            report.entries.push(Entry {
                rule: Rule::Format,
                level: Level::Error,
                place: String::new(),
                message,
                line: line.max(1),
            });
            return report;
        }
    };
    report.plan_id = Some(plan.id.to_string());
    report.steps = plan.steps.len();
    report.statements = plan.steps.iter().map(|step| step.statements.len() + step.revert.len()).sum();
    let lines = Lines::of(text);
    for error in problems(&plan) {
        let place = error.step().map_or_else(String::new, ToString::to_string);
        let line = if place.is_empty() { 1 } else { lines.step(&place) };
        let entry = Entry { rule: rule(&error), level: Level::Error, place, message: error.to_string(), line };
        report.entries.push(entry);
    }
    report.entries.extend(plan.findings.iter().map(|finding| of_finding(finding, &lines)));
    report.entries.extend(of_policy(&plan, policy, &lines));
    report
}

fn rule(error: &CheckError) -> Rule {
    match error {
        CheckError::Format(_) => Rule::Format,
        CheckError::Digest { .. } | CheckError::Fingerprint(_) => Rule::Digest,
        CheckError::WrongId { .. }
        | CheckError::WrongPhase(_)
        | CheckError::Statement(_)
        | CheckError::StatementsDiffer { .. }
        | CheckError::Misshapen { .. }
        | CheckError::DropOnSource(_)
        | CheckError::EffectsDiffer(_) => Rule::Statement,
        CheckError::DuplicateStep(_)
        | CheckError::MissingStep { .. }
        | CheckError::OutOfOrder { .. }
        | CheckError::PhaseBackwards { .. }
        | CheckError::WrongEdges(_)
        | CheckError::Cycle(_) => Rule::Order,
        CheckError::NotVerified(_) | CheckError::Whole(_) => Rule::Whole,
    }
}

fn of_finding(finding: &Finding, lines: &Lines<'_>) -> Entry {
    let level = match (finding.severity, &finding.accepted) {
        (Severity::Refused, _) | (Severity::Error, None) => Level::Error,
        (Severity::Warning, _) => Level::Warning,
        (Severity::Info, _) | (Severity::Error, Some(_)) => Level::Note,
    };
    let accepted = match &finding.accepted {
        Some(accepted) => format!(" (accepted at {}: {})", accepted.at, accepted.reason),
        None => String::new(),
    };
    let place = format!("{}@{}", finding.code, finding.address);
    let message = format!("{}{accepted}", finding.message);
    Entry { rule: Rule::Finding, level, place, message, line: lines.finding(finding) }
}

fn of_policy(plan: &Plan, policy: &Policy, lines: &Lines<'_>) -> Vec<Entry> {
    let entry = |rule, place: String, message, line| Entry { rule, level: Level::Error, place, message, line };
    let mut found = Vec::new();
    for finding in &plan.findings {
        let is_forbidden = policy.forbid.iter().any(|forbidden| {
            forbidden.code == finding.code && forbidden.address.as_ref().is_none_or(|at| at == &finding.address)
        });
        if is_forbidden {
            let place = format!("{}@{}", finding.code, finding.address);
            let message = "the policy forbids this finding, accepted or not".to_owned();
            found.push(entry(Rule::Forbidden, place, message, lines.finding(finding)));
        }
    }
    if let Some(highest) = policy.highest_source_lock {
        // What cleanup locks the application has left.
        for step in plan.steps.iter().filter(|step| step.phase != Phase::Cleanup) {
            let strength = |mode: &str| LOCK_MODES.iter().position(|known| *known == mode);
            let too_strong = step.lock.iter().filter(|lock| {
                lock.on == End::Source && strength(&lock.mode).is_none_or(|strength| strength > highest)
            });
            for lock in too_strong {
                let allowed = LOCK_MODES[highest];
                let message = format!("it locks {} {}; the policy allows {allowed}", lock.object, lock.mode);
                found.push(entry(Rule::SourceLock, step.id.to_string(), message, lines.step(&step.id.0)));
            }
        }
    }
    let settings = &plan.settings;
    let timeouts = [
        ("fence_timeout", settings.fence_timeout_ms, policy.fence_timeout_s),
        ("lag_drain_timeout", settings.lag_drain_timeout_s.saturating_mul(1_000), policy.lag_drain_timeout_s),
    ];
    for (name, milliseconds, most) in timeouts {
        if let Some(most) = most.filter(|most| milliseconds > most.saturating_mul(1_000)) {
            let message = format!("{name} is {milliseconds} ms; the policy allows {most} s");
            found.push(entry(Rule::Timeout, format!("settings.{name}"), message, lines.after("settings", &[])));
        }
    }
    found
}

/// Finds things again in the file, for those who look there.
struct Lines<'t> {
    text: &'t str,
    /// Where lines end.
    ends: Vec<usize>,
    /// Where sections begin.
    sections: BTreeMap<&'static str, usize>,
}

impl<'t> Lines<'t> {
    fn of(text: &'t str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at).collect();
        let start = |name| (name, text.find(&format!("\"{name}\":")).unwrap_or(0));
        Self { text, ends, sections: ["findings", "settings", "steps"].map(start).into() }
    }

    fn step(&self, id: &str) -> usize {
        self.after("steps", &["id", id])
    }

    fn finding(&self, finding: &Finding) -> usize {
        self.after("findings", &["code", &finding.code, "address", &finding.address])
    }

    /// The line of the first place behind `section` where all words stand one after another as JSON strings; the
    /// section's own line when they do not.
    fn after(&self, section: &'static str, words: &[&str]) -> usize {
        let quoted = |word: &str| serde_json::Value::from(word).to_string();
        let start = self.sections.get(section).copied().unwrap_or(0);
        let mut at = start;
        let wanted: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        for pair in wanted.chunks(2) {
            // A name and its value, with what white space there may be between.
            let found = self.text[at..].match_indices(&pair[0]).find(|(offset, name)| {
                let rest = self.text[at + offset + name.len()..].trim_start().strip_prefix(':');
                rest.is_some_and(|rest| pair.get(1).is_none_or(|value| rest.trim_start().starts_with(value.as_str())))
            });
            match found {
                Some((offset, _)) => at += offset,
                None => return self.line(start),
            }
        }
        self.line(at)
    }

    fn line(&self, at: usize) -> usize {
        self.ends.partition_point(|&end| end < at) + 1
    }
}
