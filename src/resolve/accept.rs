//! Findings that the user has accepted, each with a reason.

use std::collections::BTreeSet;

use crate::desired::{Acceptance, DesiredSchema, Origin};
use crate::findings;
use crate::resolve::error::{ResolveError, ResolveErrorKind, did_you_mean};
use crate::resolve::report::Report;
use crate::resolve::{Accepted, ResolveOptions, Severity};

/// Marks accepted findings. An acceptance that matches nothing is an error: the hazard it names has another place, or
/// is gone, and both must be known.
pub(crate) fn accept(desired: &DesiredSchema, options: &ResolveOptions, report: &mut Report) {
    let line = |at: usize| 1 + options.config_text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count();
    let in_schema = |at: usize| {
        let line = options.schema_lines.iter().rfind(|(start, _)| *start <= at);
        line.map_or_else(String::new, |(_, line)| line.clone())
    };
    for acceptance in &desired.accept {
        let at = format!("{}:{}", options.config_name, line(acceptance.span.start));
        if let Err(error) = mark(&acceptance.value, &at, "", report) {
            report.errors.push(error.at(&acceptance.span));
        }
    }
    // What is said once of a table with several sources may be true of one.
    let mut used = BTreeSet::new();
    let mut refused = Vec::new();
    for acceptance in &desired.accept_in_schema {
        match mark(&acceptance.value, &in_schema(acceptance.span.start), "", report) {
            Ok(()) => {
                used.insert(acceptance.span.start);
            }
            Err(error) => refused.push(ResolveError { origin: Origin::Schema, ..error.at(&acceptance.span) }),
        }
    }
    let is_other = |error: &ResolveError| {
        let start = error.span.as_ref().map_or(0, |span| span.start);
        !(matches!(*error.kind, ResolveErrorKind::UnusedAcceptance { .. }) && used.contains(&start))
    };
    report.errors.extend(refused.into_iter().filter(is_other));
    for acceptance in &options.allow {
        let flag = format!("--allow {}@{}: ", acceptance.code, acceptance.address);
        let error = mark(acceptance, "--allow", &flag, report).err();
        report.errors.extend(error);
    }
}

/// `flag` is what an error says first; a place in a file is a label instead.
fn mark(acceptance: &Acceptance, at: &str, flag: &str, report: &mut Report) -> Result<(), ResolveError> {
    let Acceptance { code, address, reason } = acceptance;
    let (code, address, flag) = (code.clone(), address.clone(), flag.to_owned());
    let mut found: Vec<_> =
        report.findings.iter_mut().filter(|finding| finding.code == code && finding.address == address).collect();
    if found.is_empty() {
        let help = near(acceptance, report);
        return Err(ResolveError::new(ResolveErrorKind::UnusedAcceptance { code, address, flag }).help(help));
    }
    if found.iter().all(|finding| finding.severity == Severity::Refused) {
        let help = format!("`pcrd explain {code}` says what to do instead");
        return Err(ResolveError::new(ResolveErrorKind::RefusedAcceptance { code, address, flag }).help(help));
    }
    if let Some(first) = found.iter().find_map(|finding| finding.accepted.as_ref()) {
        let first = first.at.clone();
        let kind = ResolveErrorKind::AcceptedTwice { code, address, first, flag };
        return Err(ResolveError::new(kind).help("remove one of the two: only one reason can be recorded"));
    }
    for finding in found.iter_mut().filter(|finding| finding.severity != Severity::Refused) {
        finding.accepted = Some(Accepted { reason: reason.clone(), at: at.to_owned() });
    }
    Ok(())
}

/// What was meant: another code, or another place of this one.
fn near(acceptance: &Acceptance, report: &Report) -> String {
    let is_finding = |code: &str| findings::ALL.iter().any(|rule| rule.code == code);
    if !is_finding(&acceptance.code) {
        let near = findings::nearest(&acceptance.code).filter(|near| is_finding(near));
        let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        return format!("there is no finding {}{near}", acceptance.code);
    }
    let places = report.findings.iter().filter(|finding| finding.code == acceptance.code);
    let places: Vec<&String> = places.map(|finding| &finding.address).collect();
    match (did_you_mean(&acceptance.address, places.iter().copied()), places.as_slice()) {
        (Some(near), _) => near,
        (None, []) => "remove it: this plan has no such finding".to_owned(),
        (None, [one]) => format!("the finding is at {one}"),
        (None, more) => format!("the finding is at {} places: `pcrd plan -v` lists them", more.len()),
    }
}
