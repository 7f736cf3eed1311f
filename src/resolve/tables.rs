//! Hazards of one table: how it is copied, streamed and built.

use crate::casts::CastClass;
use crate::catalog::{Column, ReplicaIdentity};
use crate::findings::rules::{
    IDENTITY_ALWAYS, INDEX_BUILD, KEY_TYPE_CHANGED, LARGE_OBJECTS, LONG_SNAPSHOT, NO_KEY, TOAST_UNCHANGED,
};
use crate::projection::{ColumnValue, CopyOrder, ProjectedColumn, RowIdentity};
use crate::resolve::ResolvedTable;
use crate::resolve::report::Report;
use crate::resolve::scope::Scope;

/// All of them.
pub(crate) fn of_table(scope: &Scope<'_>, table: &ResolvedTable, report: &mut Report) {
    copy(table, report);
    key(scope, table, report);
    columns(scope, table, report);
    indexes(table, report);
}

fn copy(table: &ResolvedTable, report: &mut Report) {
    match &table.projection.identity {
        RowIdentity::OrderedKey { copy: CopyOrder::ByKey, .. } => {}
        RowIdentity::OrderedKey { copy: CopyOrder::ByBlocks { reason }, .. } => {
            let message = format!(
                "the table is copied by its blocks under one snapshot, because {reason}: vacuum is held back on the source \
                 until then, and a crash copies it again; `copy: by_key` copies it by key, in short snapshots"
            );
            report.find(&LONG_SNAPSHOT, table.address(), message);
        }
        RowIdentity::Key { reason, .. } => {
            let message = format!(
                "the table is copied under one snapshot, because {reason}: vacuum is held back on the source until then"
            );
            report.find(&LONG_SNAPSHOT, table.address(), message);
        }
        RowIdentity::FullRow => {
            let message = "rows are found by their whole content; every update and delete scans the target table";
            report.find(&NO_KEY, table.address(), message);
            let message = "the table is copied under one snapshot: vacuum is held back on the source until then";
            report.find(&LONG_SNAPSHOT, table.address(), message);
        }
    }
}

fn key(scope: &Scope<'_>, table: &ResolvedTable, report: &mut Report) {
    for target in table.projection.target_key() {
        let projected = table.projection.columns.iter().find(|column| &column.target == target);
        let Some(projected) = projected.filter(|column| column.class != CastClass::Identical) else { continue };
        let at = address(scope, projected);
        report.find(&KEY_TYPE_CHANGED, at, format!("rows are found by it; it becomes {}", projected.ty.sql));
    }
}

fn columns(scope: &Scope<'_>, table: &ResolvedTable, report: &mut Report) {
    for column in scope.table.columns.iter().filter(|column| scope.renames.contains_key(&column.name)) {
        if column.identity.as_ref().is_some_and(|identity| identity.always) {
            let message = "GENERATED ALWAYS: copy and stream write the source's values";
            report.find(&IDENTITY_ALWAYS, scope.address(&column.name), message);
        }
        if column.ty.is("oid") || (!column.ty.is_builtin() && column.ty.name.as_str() == "lo") {
            let message = "if these numbers name large objects: those are neither copied nor streamed";
            report.find(&LARGE_OBJECTS, scope.address(&column.name), message);
        }
    }
    // Otherwise the old row has what was not sent.
    if scope.table.replica_identity == ReplicaIdentity::Full {
        return;
    }
    for projected in &table.projection.columns {
        let ColumnValue::Expr { reads, .. } = &projected.value else { continue };
        let large = reads.iter().find(|name| scope.table.column(name).is_some_and(may_be_large));
        if let Some(large) = large.filter(|_| reads.len() > 1) {
            let message = format!(
                "an update that leaves a large {large} alone does not bring it along: the row is read from the source again"
            );
            report.find(&TOAST_UNCHANGED, address(scope, projected), message);
        }
    }
}

/// Stored out of line when it is long.
pub(crate) fn may_be_large(column: &Column) -> bool {
    let short = ["numeric", "inet", "cidr", "bit", "varbit"].iter().any(|name| column.ty.is(name));
    column.ty.len == -1 && !short
}

fn indexes(table: &ResolvedTable, report: &mut Report) {
    let key = table.key_index.as_ref();
    let n_indexes = table.wanted.indexes.keys().filter(|name| Some(*name) != key).count();
    let indexes = match n_indexes {
        0 => return,
        1 => "1 index is".to_owned(),
        more => format!("{more} indexes are"),
    };
    let message = format!("{indexes} built after the copy, while nobody uses the table");
    report.find(&INDEX_BUILD, &table.target, message);
}

/// The source column's address, or the target's where there is no such column.
fn address(scope: &Scope<'_>, projected: &ProjectedColumn) -> String {
    let source = scope.renames.iter().find(|(_, target)| *target == &projected.target);
    source.map_or_else(|| scope.added(&projected.target), |(source, _)| scope.address(source))
}
