//! Lets the target's server read the views that go along: it knows what their names mean.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{Ident, QualifiedName, TypeDef};
use crate::findings::rules::UNTRACKABLE_DEPENDENCY;
use crate::pg::client::Client;
use crate::pg::scratch::{NewType, ScratchError};
use crate::pg::scratch_view::{Ground, GroundColumn, ViewToRead, read_views};
use crate::plan::{End, Finding};
use crate::resolve::{NotCarried, Resolved, ResolvedTable, ResolvedView};

use super::database::EndError;
use super::desired::may_not_build;
use super::error::CommandError;

/// Why a view stays that a server would have to read.
const UNREAD: &str = "what it reads has other names on the target, and only its server can say what becomes of the query: plan with \
                      a role that may create there";

/// Writes the views with the target's names. What the server makes no view of stays behind, with what reads it.
///
/// # Errors
/// The server cannot be asked.
pub(super) async fn read_by_target(
    client: Option<&Client>,
    resolved: &mut Resolved,
    types: &[(QualifiedName, TypeDef)],
) -> Result<Vec<String>, CommandError> {
    if resolved.views.is_empty() {
        return Ok(Vec::new());
    }
    let mut notes = Vec::new();
    let read = match client {
        None => None,
        Some(client) => {
            let types: Vec<NewType<'_>> = types.iter().map(|(name, def)| (name, def)).collect();
            match read_views(client, &grounds(resolved), &to_read(resolved), &types).await {
                Ok(read) => Some(read),
                Err(error) => match may_not_build(&error) {
                    Some(why) => {
                        notes.push(format!("the target's server has not read the views: {why}"));
                        None
                    }
                    None => return Err(server_error(error)),
                },
            }
        }
    };
    let mut left: BTreeMap<QualifiedName, String> = BTreeMap::new();
    let mut kept: Vec<ResolvedView> = Vec::new();
    for mut view in std::mem::take(&mut resolved.views) {
        let behind = view.reads.iter().find(|read| left.contains_key(*read));
        let definition = match (behind, &read) {
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
    Ok(notes)
}

fn server_error(error: ScratchError) -> CommandError {
    EndError::new(End::Target, error).into()
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

fn to_read(resolved: &Resolved) -> Vec<ViewToRead<'_>> {
    let reads = |view: &ResolvedView| resolved.source.views.get(&view.source).map(|found| found.reads.iter().collect());
    let views = resolved.views.iter().map(|view| ViewToRead {
        source: &view.source,
        target: &view.name,
        definition: &view.def.definition,
        reads: reads(view).unwrap_or_default(),
    });
    views.collect()
}

/// The tables that views read.
fn grounds(resolved: &Resolved) -> Vec<Ground<'_>> {
    let read: BTreeSet<&QualifiedName> = resolved.views.iter().flat_map(|view| &view.reads).collect();
    resolved.tables.iter().filter(|table| read.contains(&table.target)).map(ground).collect()
}

fn ground(table: &ResolvedTable) -> Ground<'_> {
    let by_target: BTreeMap<&Ident, &Ident> = table.renames.iter().map(|(source, target)| (target, source)).collect();
    let columns = table.wanted.columns.iter().filter_map(|column| {
        let source = by_target.get(&column.name)?;
        let collation = column.collation.as_deref();
        Some(GroundColumn { source, target: &column.name, ty: &column.ty.sql, collation })
    });
    let key: Option<Vec<&Ident>> = table
        .wanted
        .primary_key
        .as_ref()
        .filter(|key| !key.deferrable)
        .and_then(|key| key.columns.iter().map(|column| by_target.get(column).copied()).collect());
    Ground { source: &table.source, target: &table.target, columns: columns.collect(), key: key.unwrap_or_default() }
}
