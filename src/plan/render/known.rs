//! Findings that only inform, shown together: what is the same of many objects is said once.

use std::collections::BTreeMap;

use crate::plan::{Finding, Plan, Severity};

/// One sentence and the objects that it is true of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known<'a> {
    pub(super) code: &'a str,
    pub(super) message: &'a str,
    pub(super) addresses: Vec<&'a str>,
}

/// True for a finding that asks for nothing.
pub(super) fn informs(finding: &Finding) -> bool {
    finding.severity == Severity::Info && finding.accepted.is_none()
}

/// Those findings, in the order of the plan.
pub(super) fn known(plan: &Plan) -> Vec<Known<'_>> {
    let mut list: Vec<Known<'_>> = Vec::new();
    let mut places: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for finding in plan.findings.iter().filter(|finding| informs(finding)) {
        let (code, message) = (finding.code.as_str(), finding.message.as_str());
        let place = *places.entry((code, message)).or_insert_with(|| {
            list.push(Known { code, message, addresses: Vec::new() });
            list.len() - 1
        });
        list[place].addresses.push(&finding.address);
    }
    list
}
