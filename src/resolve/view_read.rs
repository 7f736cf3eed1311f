//! What becomes of views once the target's server has read them, or has not.

use std::collections::BTreeMap;

use crate::catalog::QualifiedName;
use crate::findings::rules::UNTRACKABLE_DEPENDENCY;
use crate::resolve::{Finding, NotCarried, Resolved, ResolvedView};

/// Why a view stays that a server would have to read.
const UNREAD: &str = "what it reads has other names on the target, and only its server can say what becomes of the query: plan with \
                      a role that may create there";

/// The query of each view as the target's server writes it, by the view's name on the source, or why it makes no such view.
pub type ReadViews = BTreeMap<QualifiedName, Result<String, String>>;

/// Takes over what the server has read; without it only views stay in which no name changes. What does not stay is listed, with
/// what reads it.
pub fn settle_views(resolved: &mut Resolved, read: Option<&ReadViews>) {
    let mut left: BTreeMap<QualifiedName, String> = BTreeMap::new();
    let mut kept: Vec<ResolvedView> = Vec::new();
    for mut view in std::mem::take(&mut resolved.views) {
        let behind = view.reads.iter().find(|read| left.contains_key(*read));
        let definition = match (behind, read) {
            (Some(read), _) => Err(format!("it reads {read}, which is not carried")),
            (None, Some(read)) => match read.get(&view.source) {
                Some(found) => found.clone(),
                None => Err(UNREAD.to_owned()),
            },
            (None, None) if view.is_unread => Err(UNREAD.to_owned()),
            (None, None) => Ok(view.def.definition.clone()),
        };
        match definition {
            Ok(definition) => {
                view.def.definition = definition;
                view.is_unread = false;
                kept.push(view);
            }
            Err(why) => {
                leave(resolved, &view, &why);
                left.insert(view.name, why);
            }
        }
    }
    resolved.views = kept;
    resolved.not_carried.sort();
    resolved.not_carried.dedup();
    resolved.findings.sort_by(|left, right| (&left.address, &left.code).cmp(&(&right.address, &right.code)));
}

/// Takes a view out of everything that was to be done for it.
fn leave(resolved: &mut Resolved, view: &ResolvedView, why: &str) {
    let is_view = |on: &QualifiedName| *on == view.name;
    resolved.source.views.remove(&view.source);
    resolved.rights.leave_table(&view.name);
    let kind = if view.def.materialized.is_some() { "materialized view" } else { "view" }.to_owned();
    resolved.not_carried.push(NotCarried { kind, name: view.source.to_string(), why: why.to_owned() });
    for table in resolved.tables.iter().filter(|table| view.reads.contains(&table.target) && !is_view(&table.target)) {
        let address = table.address().to_string();
        let message = format!("the view {} stays behind: {why}", view.source);
        let is_same = |one: &&mut Finding| one.code == UNTRACKABLE_DEPENDENCY.code && one.address == address;
        match resolved.findings.iter_mut().find(is_same) {
            Some(found) => found.message = format!("{}; {message}", found.message),
            None => resolved.findings.push(Finding {
                code: UNTRACKABLE_DEPENDENCY.code.to_owned(),
                address,
                severity: UNTRACKABLE_DEPENDENCY.severity,
                message,
                accepted: None,
            }),
        }
    }
}
