//! What resolving collects on its way: all of it at once, not the first error.

use std::collections::BTreeMap;

use crate::catalog::{QualifiedName, TypeDef};
use crate::desired::Origin;
use crate::findings::{Rule, Severity};
use crate::resolve::{Check, Finding, NotCarried, ResolveError};

/// Collected so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) errors: Vec<ResolveError>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) not_carried: Vec<NotCarried>,
    pub(crate) checks: Vec<Check>,
    /// What the user should know and no plan says.
    pub(crate) notes: Vec<String>,
    /// Types of the source that the target lacks and gets.
    pub(crate) types: BTreeMap<QualifiedName, TypeDef>,
}

impl Report {
    pub(crate) fn find(&mut self, rule: &Rule, address: impl ToString, message: impl Into<String>) {
        self.find_as(rule, rule.severity, address, message);
    }

    /// With another severity than the rule's own.
    pub(crate) fn find_as(
        &mut self,
        rule: &Rule,
        severity: Severity,
        address: impl ToString,
        message: impl Into<String>,
    ) {
        self.findings.push(Finding {
            code: rule.code.to_owned(),
            address: address.to_string(),
            severity,
            message: message.into(),
            accepted: None,
        });
    }

    /// Errors from the `first` on point into this file.
    pub(crate) fn belong(&mut self, first: usize, origin: Origin) {
        for error in self.errors.iter_mut().skip(first) {
            error.origin = origin;
        }
    }

    pub(crate) fn leave(&mut self, kind: &str, name: impl ToString, why: impl Into<String>) {
        self.not_carried.push(NotCarried { kind: kind.to_owned(), name: name.to_string(), why: why.into() });
    }
}
