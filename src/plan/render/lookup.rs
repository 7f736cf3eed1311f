//! What stands at an address of a plan, found without reading the plan again for each.

use std::collections::BTreeMap;

use crate::plan::{Action, Change, Check, CheckResult, Evidence, Finding, Plan};

/// Findings, checks and their results by address.
pub(super) struct Lookup<'a> {
    pub(super) evidence: Option<&'a Evidence>,
    findings: BTreeMap<&'a str, Vec<&'a Finding>>,
    checks: BTreeMap<&'a str, &'a Check>,
    results: BTreeMap<&'a str, &'a CheckResult>,
}

impl<'a> Lookup<'a> {
    pub(super) fn new(plan: &'a Plan, evidence: Option<&'a Evidence>) -> Self {
        let mut findings: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
        for finding in &plan.findings {
            findings.entry(&finding.address).or_default().push(finding);
        }
        let mut checks = BTreeMap::new();
        for check in &plan.checks {
            for predicate in &check.predicates {
                checks.entry(predicate.address.as_str()).or_insert(check);
            }
        }
        let results = evidence.into_iter().flat_map(|evidence| &evidence.checks);
        let results = results.map(|result| (result.id.as_str(), result)).collect();
        Self { evidence, findings, checks, results }
    }

    /// In the order of the plan.
    pub(super) fn findings(&self, address: &str) -> impl Iterator<Item = &'a Finding> + use<'a> {
        self.findings.get(address).cloned().unwrap_or_default().into_iter()
    }

    /// The first check with a predicate about it.
    pub(super) fn check(&self, address: &str) -> Option<&'a Check> {
        self.checks.get(address).copied()
    }

    pub(super) fn result(&self, check: &str) -> Option<&'a CheckResult> {
        self.results.get(check).copied()
    }
}

/// The changes of each projection's table and columns, in the order of the projections and of the plan.
pub(super) fn by_table(plan: &Plan) -> Vec<Vec<&Change>> {
    let mut places: BTreeMap<String, Vec<(usize, bool)>> = BTreeMap::new();
    for ((place, projection), address) in plan.projections.iter().enumerate().zip(plan.addresses()) {
        places.entry(address.to_string()).or_default().push((place, false));
        places.entry(projection.task().to_string()).or_default().push((place, true));
    }
    let mut found: Vec<Vec<&Change>> = vec![Vec::new(); plan.projections.len()];
    for change in &plan.changes {
        let of = |name: &str| places.get(name).into_iter().flatten().copied();
        let mut wanted: Vec<usize> =
            of(&change.address).filter(|(_, is_target)| !is_target).map(|(place, _)| place).collect();
        // An added column has no address on the source, whose table may be called as the target of another.
        for (dot, _) in change.address.match_indices('.') {
            let columns =
                of(&change.address[..dot]).filter(|(_, is_target)| *is_target || change.action != Action::Add);
            wanted.extend(columns.map(|(place, _)| place));
        }
        wanted.sort_unstable();
        wanted.dedup();
        for place in wanted {
            found[place].push(change);
        }
    }
    found
}
