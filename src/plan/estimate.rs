//! How long the steps of a plan may take, from the sizes of its tables and what the servers can do. For people: no part
//! of the plan, and nothing is decided by it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::catalog::{QualifiedName, Stats};
use crate::plan::{Evidence, Op, Plan, StepId};

/// Bytes a second of each kind of work, of the source's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Throughput {
    /// Copying rows, all workers together.
    pub copy: u64,
    /// Building one index.
    pub index: u64,
    /// Comparing rows of both ends.
    pub verify: u64,
    /// Reading a table once, to validate a constraint.
    pub scan: u64,
}

const MIB: u64 = 1_024 * 1_024;

impl Default for Throughput {
    /// Half of what docs/performance.md measured for copying on two cores with both servers on them.
    fn default() -> Self {
        Self::of_copy(40 * MIB)
    }
}

impl Throughput {
    /// From a measured speed of copying, in bytes a second; the other kinds of work are taken to scale with it.
    pub fn of_copy(copy: u64) -> Self {
        let copy = copy.max(1);
        Self { copy, index: copy, verify: copy.saturating_mul(3) / 2, scan: copy.saturating_mul(4) }
    }
}

/// What a plan may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Estimate {
    /// What it was computed with.
    pub throughput: Throughput,
    /// Seconds of each step that takes more than one.
    pub steps: BTreeMap<StepId, u64>,
    /// All of them one after another: tables share the servers.
    pub total_s: u64,
    /// The longest chain of steps that wait for each other: no less, whatever the servers.
    pub critical_path_s: u64,
    /// The steps of that chain that take more than a second, in order.
    pub critical_path: Vec<StepId>,
}

/// Estimates a plan; `None` without sizes of its tables.
pub fn estimate(plan: &Plan, evidence: &Evidence, throughput: Throughput) -> Option<Estimate> {
    let mut sizes: BTreeMap<&QualifiedName, Stats> = BTreeMap::new();
    for projection in &plan.projections {
        let Some(stats) = evidence.sizes.get(&projection.source) else { continue };
        match sizes.get_mut(&projection.target) {
            Some(sum) => {
                sum.table_bytes = sum.table_bytes.saturating_add(stats.table_bytes);
                sum.rows_estimate = sum.rows_estimate.zip(stats.rows_estimate).map(|(one, other)| one + other);
            }
            None => {
                sizes.insert(&projection.target, stats.clone());
            }
        }
    }
    if sizes.is_empty() {
        return None;
    }
    let mut steps = BTreeMap::new();
    // Seconds until the end of each step, and the step before it on the longest chain.
    let mut ends: BTreeMap<&StepId, (u64, Option<&StepId>)> = BTreeMap::new();
    for step in &plan.steps {
        let own = step.op.table().and_then(|table| sizes.get(table));
        let own = own.map_or(0, |stats| seconds(&step.op, plan, stats, throughput));
        if own > 0 {
            steps.insert(step.id.clone(), own);
        }
        // The first of equal ones, so that the chain is the same on every run.
        let mut before: Option<(&StepId, u64)> = None;
        for after in &step.after {
            let end = ends.get_key_value(&after.step).map(|(id, (end, _))| (*id, *end));
            before = if end.map(|(_, end)| end) > before.map(|(_, end)| end) { end } else { before };
        }
        ends.insert(&step.id, (before.map_or(0, |(_, end)| end) + own, before.map(|(id, _)| id)));
    }
    let longest = plan.steps.iter().map(|step| ends[&step.id].0).max().unwrap_or(0);
    let mut at = plan.steps.iter().map(|step| &step.id).find(|id| ends[id].0 == longest);
    let mut critical_path = Vec::new();
    while let Some(id) = at {
        critical_path.extend(steps.contains_key(id).then(|| id.clone()));
        at = ends[id].1;
    }
    critical_path.reverse();
    let total_s = steps.values().sum();
    Some(Estimate { throughput, steps, total_s, critical_path_s: longest, critical_path })
}

/// Seconds of a step on a table of this size; 0 for what does not grow with it.
fn seconds(op: &Op, plan: &Plan, stats: &Stats, throughput: Throughput) -> u64 {
    const SAMPLE_BYTES: u64 = 300 * 100 * 8_192;
    let bytes = stats.table_bytes;
    match op {
        Op::CopyTable(_) => {
            let settings = &plan.settings;
            let limited = settings.max_bytes_per_second.unwrap_or(u64::MAX).min(throughput.copy);
            let by_rows = match (settings.max_rows_per_second, stats.rows_estimate) {
                (Some(limit), Some(rows)) => rows / limit.max(1),
                _ => 0,
            };
            (bytes / limited.max(1)).max(by_rows)
        }
        Op::CreateIndex(_) => bytes / throughput.index,
        Op::AddConstraint(op) if op.not_valid => 0,
        Op::AddConstraint(op) if op.definition.starts_with("CHECK") => bytes / throughput.scan,
        Op::AddConstraint(_) => bytes / throughput.index,
        Op::ValidateConstraint(_) => bytes / throughput.scan,
        Op::AnalyzeTable(op) if op.freeze => bytes / throughput.scan,
        Op::AnalyzeTable(_) => bytes.min(SAMPLE_BYTES) / throughput.scan,
        Op::VerifyTable(_) => bytes / throughput.verify,
        _ => 0,
    }
}
