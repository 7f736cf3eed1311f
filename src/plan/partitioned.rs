//! What must hold of a plan's partitioned tables: the source's, and the target's where it has the same partitions.

use std::collections::BTreeMap;

use crate::catalog::{Ident, PartitionBy, QualifiedName, Table, TableKind};
use crate::plan::{CreateTable, Plan};
use crate::projection::{ColumnValue, CopyOrder, Projection, RowIdentity};
use crate::sql::ident;
use crate::sql::partition_key::partition_by;

/// A partitioned source has one target, which has no other source, and nothing goes back. Its target has no partitions, or is
/// split as the source is, by the same values of the same columns.
pub(super) fn fits(
    plan: &Plan,
    projection: &Projection,
    source: &Table,
    target: Option<&CreateTable>,
) -> Result<(), String> {
    if projection.partitioned != (source.kind == TableKind::Partitioned) {
        return Err(format!("it does not say whether {} is partitioned", projection.source));
    }
    if projection.partitioned && !is_whole_target_of(plan, projection) {
        return Err(format!("{} is partitioned, and has no target of its own, found by a key", projection.source));
    }
    let Some(target) = target else { return Ok(()) };
    if projection.onto_partitions != target.partitioning.is_some() {
        return Err(format!("it does not say whether {} is partitioned", projection.target));
    }
    let Some(whole) = &target.partitioning else { return Ok(()) };
    let key = source.partition_key.as_deref().and_then(partition_by);
    let key = key.ok_or_else(|| format!("{} is not partitioned by columns alone", projection.source))?;
    if projection.filter.is_some() {
        return Err(format!("{} is partitioned, and some rows of its source are left out", projection.target));
    }
    if !is_same_key(projection, &key, &whole.by) {
        return Err(format!("{} is not split as {} is", projection.target, projection.source));
    }
    let mut parents: BTreeMap<&QualifiedName, bool> = BTreeMap::from([(&target.name, true)]);
    for partition in &whole.partitions {
        if parents.get(&partition.of) != Some(&true) || partition.name.schema != target.name.schema {
            return Err(format!(
                "{} is not a partition of {} or of one of its partitions",
                partition.name, target.name
            ));
        }
        let stays = |column: &Ident| key_column(projection, column).is_some();
        if !partition.by.iter().flat_map(|by| &by.columns).all(stays) {
            return Err(format!("{} is split by a column whose values are others on the source", partition.name));
        }
        if parents.insert(&partition.name, partition.by.is_some()).is_some() {
            return Err(format!("two of its tables are called {}", partition.name));
        }
    }
    Ok(())
}

fn is_whole_target_of(plan: &Plan, projection: &Projection) -> bool {
    let is_alone = !plan.is_split(&projection.source) && plan.onto(&projection.target).count() == 1;
    let has_blocks = matches!(projection.identity, RowIdentity::OrderedKey { copy: CopyOrder::ByBlocks { .. }, .. });
    is_alone && plan.back.is_empty() && projection.identity != RowIdentity::FullRow && !has_blocks
}

fn is_same_key(projection: &Projection, source: &PartitionBy, target: &PartitionBy) -> bool {
    let from = target.columns.iter().map(|column| key_column(projection, column));
    source.method == target.method && from.eq(source.columns.iter().map(Some))
}

/// The source column whose values a target column has as they are, in a type that may be wider.
fn key_column<'p>(projection: &'p Projection, column: &Ident) -> Option<&'p Ident> {
    let made = projection.columns.iter().find(|one| one.target == *column)?;
    let ColumnValue::Expr { sql, reads } = &made.value else { return None };
    let [source] = reads.as_slice() else { return None };
    let plain = ident(source);
    (*sql == plain || *sql == format!("CAST({plain} AS {})", made.ty.sql)).then_some(source)
}
