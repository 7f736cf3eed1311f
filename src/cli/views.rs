//! Lets the target's server read the views that go along: it knows what their names mean.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{Ident, QualifiedName, TypeDef};
use crate::pg::client::Client;
use crate::pg::scratch::{NewType, ScratchError};
use crate::pg::scratch_view::{Ground, GroundColumn, ViewToRead, read_views};
use crate::plan::End;
use crate::resolve::{Resolved, ResolvedTable, ResolvedView, settle_views};

use super::database::EndError;
use super::desired::may_not_build;
use super::error::CommandError;

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
    settle_views(resolved, read.as_ref());
    Ok(notes)
}

fn server_error(error: ScratchError) -> CommandError {
    EndError::new(End::Target, error).into()
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
