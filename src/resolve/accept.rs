//! Findings that the user has accepted, each with a reason.

use crate::desired::{Acceptance, DesiredSchema, Origin};
use crate::resolve::error::{ResolveError, ResolveErrorKind};
use crate::resolve::report::Report;
use crate::resolve::{Accepted, ResolveOptions, Severity};

/// Marks accepted findings. An acceptance that matches nothing is an error: the hazard it names has another place, or
/// is gone, and both must be known.
pub(crate) fn accept(desired: &DesiredSchema, options: &ResolveOptions, report: &mut Report) {
    let config = (Origin::Config, &desired.accept, &options.config_name, &options.config_text);
    let schema = (Origin::Schema, &desired.accept_in_schema, &options.schema_name, &options.schema_text);
    for (origin, written, name, text) in [config, schema] {
        let line = |at: usize| 1 + text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count();
        for acceptance in written {
            let at = format!("{name}:{}", line(acceptance.span.start));
            if !mark(&acceptance.value, &at, report) {
                let error = unused(&acceptance.value).at(&acceptance.span);
                report.errors.push(ResolveError { origin, ..error });
            }
        }
    }
    for acceptance in &options.allow {
        if !mark(acceptance, "--allow", report) {
            report.errors.push(unused(acceptance));
        }
    }
}

fn mark(acceptance: &Acceptance, at: &str, report: &mut Report) -> bool {
    let mut used = false;
    for finding in &mut report.findings {
        let matches = finding.code == acceptance.code && finding.address == acceptance.address;
        if matches && finding.severity != Severity::Refused {
            finding.accepted = Some(Accepted { reason: acceptance.reason.clone(), at: at.to_owned() });
            used = true;
        }
    }
    used
}

fn unused(acceptance: &Acceptance) -> ResolveError {
    let kind =
        ResolveErrorKind::UnusedAcceptance { code: acceptance.code.clone(), address: acceptance.address.clone() };
    ResolveError::new(kind).help("remove it, or correct its address")
}
