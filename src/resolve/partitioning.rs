//! A partitioned source whose target has the same partitions: what must hold for their bounds to mean the same there.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{
    ColumnType, Constraint, ConstraintKind, Ident, Partition, PartitionBy, Partitioning, QualifiedName, Table,
    TableKind,
};
use crate::findings::rules::{PARTITIONED, PARTITIONS_KEPT, TARGET_EXISTS};
use crate::projection::{ColumnValue, Projection};
use crate::resolve::ResolvedTable;
use crate::resolve::error::{ResolveError, ResolveErrorKind};
use crate::resolve::partitions::{FLAT, partitions};
use crate::resolve::report::Report;
use crate::resolve::scope::Scope;
use crate::sql;
use crate::sql::partition_key::{is_plain_bound, partition_by};

/// Servers before publish, attach and refer to partitioned tables otherwise.
const TARGET_SINCE: u32 = 13;

/// Servers before have no foreign key of a partitioned table that is NOT VALID.
const NOT_VALID_SINCE: u32 = 18;

/// The target is split as the source is.
pub(crate) fn is_kept(scope: &Scope<'_>) -> bool {
    scope.table.kind == TableKind::Partitioned && !scope.desired.flat
}

/// The target's partitions, where it has those of the source; what keeps it from them goes to the report.
pub(crate) fn partitioning(
    scope: &Scope<'_>,
    wanted: &Table,
    projection: &Projection,
    report: &mut Report,
) -> Option<Partitioning> {
    if !is_kept(scope) {
        return None;
    }
    kept(scope, wanted, projection)
        .map_err(|(what, help)| {
            let kind = ResolveErrorKind::NotOrdinary { table: scope.name.clone(), what, rule: Some(&PARTITIONED) };
            let help = format!("{help}; or {FLAT}");
            report.errors.push(ResolveError::new(kind).at(&scope.desired.source.span).help(help));
        })
        .ok()
}

fn kept(scope: &Scope<'_>, wanted: &Table, projection: &Projection) -> Result<Partitioning, (&'static str, String)> {
    if scope.target.server.major() < TARGET_SINCE {
        let help = format!("the target must be PostgreSQL {TARGET_SINCE} or later");
        return Err(("a partitioned table, and the target is too old for the same partitions", help));
    }
    if projection.filter.is_some() {
        let help = "remove `where`".to_owned();
        return Err(("a partitioned table of which some rows are left out", help));
    }
    let by = |table: &Table| key(scope, wanted, projection, table.partition_key.as_deref());
    let whole = by(scope.table)?;
    let mut left: BTreeMap<&QualifiedName, &Table> = partitions(scope.source, scope.table);
    let mut found: Vec<Partition> = Vec::new();
    let mut parents: Vec<&QualifiedName> = vec![scope.name];
    while !parents.is_empty() {
        let these: Vec<_> = left
            .iter()
            .filter(|(_, one)| one.parents.iter().any(|of| parents.contains(&of)))
            .map(|(k, v)| (*k, *v))
            .collect();
        for (name, one) in &these {
            left.remove(name);
            if name.schema != scope.name.schema {
                let help = format!("{name} is in another schema than {}: move it there", scope.name);
                return Err(("a partitioned table with a partition in another schema", help));
            }
            let bound = one.partition_bound.clone().unwrap_or_default();
            let of = one.parents.first().map_or(scope.target_name.clone(), |of| projection.partition_name(of));
            let by = if one.kind == TableKind::Partitioned { Some(by(one)?) } else { None };
            let reloptions = one.reloptions.clone();
            let partition = Partition { name: projection.partition_name(name), of, bound, by, reloptions };
            if !is_plain_bound(&partition.bound) {
                let help = format!("the bound of {name} is not one of plain values: {}", partition.bound);
                return Err(("a partitioned table with a bound that cannot be carried", help));
            }
            found.push(partition);
        }
        parents = these.into_iter().map(|(name, _)| name).collect();
    }
    Ok(Partitioning { by: whole, partitions: found })
}

/// The key over the target's columns. Each must have the same values there, and bounds that are written alike.
fn key(
    scope: &Scope<'_>,
    wanted: &Table,
    projection: &Projection,
    text: Option<&str>,
) -> Result<PartitionBy, (&'static str, String)> {
    let Some(by) = text.and_then(partition_by) else {
        let help = format!("a partition of it is split by {}", text.unwrap_or("nothing that is known"));
        return Err(("a partitioned table with a partition whose key cannot be carried", help));
    };
    let same = |column: &Ident| -> Option<Ident> {
        let target = scope.renames.get(column)?;
        let (before, after) = (scope.table.column(column)?, wanted.column(target)?);
        let made = projection.columns.iter().find(|one| &one.target == target)?;
        let ColumnValue::Expr { sql: value, .. } = &made.value else { return None };
        let own = sql::ident(column);
        let is_itself = *value == own && before.ty == after.ty;
        let is_wider = is_wider(&before.ty, &after.ty) && *value == format!("CAST({own} AS {})", after.ty.sql);
        let is_same = (is_itself || is_wider) && before.collation == after.collation;
        is_same.then(|| target.clone())
    };
    let mut columns = Vec::new();
    for column in &by.columns {
        let Some(target) = same(column) else {
            let help = format!("column {column}, by which it is split, must stay as it is; it may get another name");
            return Err(("a partitioned table whose bounds would mean something else on the target", help));
        };
        columns.push(target);
    }
    Ok(PartitionBy { method: by.method, columns })
}

/// The literals of the bounds are the same.
fn is_wider(before: &ColumnType, after: &ColumnType) -> bool {
    let size = |ty: &ColumnType| ["int2", "int4", "int8"].iter().position(|name| ty.is(name));
    matches!((size(before), size(after)), (Some(before), Some(after)) if before < after)
}

/// Takes out what a partitioned target cannot have.
pub(crate) fn without_unfit(scope: &Scope<'_>, constraints: &mut BTreeMap<Ident, Constraint>, report: &mut Report) {
    if !is_kept(scope) {
        return;
    }
    constraints.retain(|name, constraint| {
        let why = match constraint.kind {
            ConstraintKind::Exclude => "an exclusion constraint of a partitioned table is not carried yet",
            ConstraintKind::ForeignKey if !constraint.validated && scope.target.server.major() < NOT_VALID_SINCE => {
                "it is NOT VALID, which a partitioned table's cannot be on that server"
            }
            _ => return true,
        };
        report.leave("constraint", scope.address(name), why);
        false
    });
}

/// Tables, partitions and indexes of one schema share their names.
pub(crate) fn unique_names(scopes: &[Scope<'_>], tables: &[ResolvedTable], report: &mut Report) {
    let mut taken: BTreeSet<QualifiedName> = tables.iter().map(|table| table.target.clone()).collect();
    for table in tables {
        let index = |name: &Ident| QualifiedName { schema: table.target.schema.clone(), name: name.clone() };
        taken.extend(table.wanted.indexes.keys().map(index));
    }
    for (scope, table) in scopes.iter().zip(tables) {
        for partition in table.partitioning.iter().flat_map(|whole| &whole.partitions) {
            if !taken.insert(partition.name.clone()) {
                let kind = ResolveErrorKind::NameTwice(partition.name.clone());
                report.errors.push(ResolveError::new(kind).at(&scope.desired.source.span));
            }
            if scope.target.tables.contains_key(&partition.name) {
                let message = "a relation of this name exists on the target; only an unfinished run of this plan may continue with it";
                report.find(&TARGET_EXISTS, &partition.name, message);
            }
        }
    }
}

/// Says how the target is split.
pub(crate) fn findings(scopes: &[Scope<'_>], tables: &[ResolvedTable], report: &mut Report) {
    for (scope, table) in scopes.iter().zip(tables) {
        let Some(whole) = &table.partitioning else { continue };
        let key = |by: &PartitionBy| format!("{} ({})", by.method.word(), sql::ddl::list(&by.columns));
        let further: BTreeSet<String> = whole.partitions.iter().filter_map(|one| one.by.as_ref()).map(key).collect();
        let further: String = further.iter().map(|key| format!(", then by {key}")).collect();
        let message = format!(
            "the target has the same {} partition(s), by {}{further}; one that comes meanwhile and is empty is created there \
             too, and the run stops when one comes with rows or goes",
            whole.partitions.len(),
            key(&whole.by)
        );
        report.find(&PARTITIONS_KEPT, scope.name, message);
        for (name, one) in partitions(scope.source, scope.table) {
            if one.comment.is_some() {
                report.leave("comment", name, "that of the table is carried, not of a partition");
            }
            if one.owner != scope.table.owner {
                let what = format!("{} of {name}", one.owner);
                report.leave("owner", what, "a partition gets that of its table");
            }
        }
    }
}
