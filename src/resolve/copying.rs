//! In which order the rows of a table are copied: by key wherever that does not read the table in leaps.

use std::collections::BTreeMap;

use crate::catalog::{Ident, QualifiedName, Stats, TableKind};
use crate::desired::CopyWish;
use crate::projection::{CopyOrder, RowIdentity};
use crate::resolve::error::{ResolveError, ResolveErrorKind};
use crate::resolve::report::Report;
use crate::resolve::scope::Scope;
use crate::sql::blocks::TID_RANGE_SCANS;

/// Below this correlation, in either direction, neighbours in the key are not neighbours in the heap.
const CORRELATION_MIN_PPM: u32 = 500_000;
/// A table up to this size is read from memory by whatever order.
const BYTES_MIN: u64 = 1 << 30;
/// A larger one would hold a snapshot, and the log of its slot, for hours: that is for people to decide.
const BYTES_MAX: u64 = 64 << 30;

/// Settles the order. Of a table without a key whose order is known there is nothing to choose. A run that is under way could
/// not go on in another order: `auto` keeps to the one that it has.
pub(crate) fn settle(
    scope: &Scope<'_>,
    of_all: CopyWish,
    identity: RowIdentity,
    under_way: &BTreeMap<(QualifiedName, QualifiedName), CopyOrder>,
    report: &mut Report,
) -> RowIdentity {
    let own = scope.desired.copy.as_ref();
    let RowIdentity::OrderedKey { source, target, .. } = identity else {
        if let Some(wish) = own.filter(|wish| wish.value == CopyWish::ByKey) {
            report.errors.push(no_order(scope.name, &identity).at(&wish.span));
        }
        return identity;
    };
    let wish = own.map_or(of_all, |wish| wish.value);
    let copy = match wish {
        // A range of blocks is one of a partition.
        _ if scope.table.kind == TableKind::Partitioned => {
            if wish == CopyWish::ByBlocks {
                report.notes.push(format!("{} is copied by key, because it is partitioned", scope.at()));
            }
            CopyOrder::ByKey
        }
        CopyWish::ByKey => CopyOrder::ByKey,
        CopyWish::ByBlocks => CopyOrder::ByBlocks { reason: asked_for(scope) },
        CopyWish::Auto => {
            let stats = scope.table.stats.as_ref().filter(|_| scope.source.server.version_num >= TID_RANGE_SCANS);
            let scattered = source.first().zip(stats).filter(|(first, stats)| is_scattered(&first.name, stats));
            let chosen = scattered.map_or(CopyOrder::ByKey, |(first, _)| CopyOrder::ByBlocks {
                reason: format!(
                    "it is larger than 1 GiB, and the order of {} is not that of the rows on disk",
                    first.name
                ),
            });
            match under_way.get(&(scope.name.clone(), scope.target_name.clone())) {
                Some(order) => {
                    if order.is_by_key() != chosen.is_by_key() {
                        report.notes.push(format!(
                            "{} is copied {} as by the run that is under way; by its statistics it would be copied {} now",
                            scope.at(),
                            words(order),
                            words(&chosen)
                        ));
                    }
                    order.clone()
                }
                None => chosen,
            }
        }
    };
    RowIdentity::OrderedKey { source, target, copy }
}

fn words(order: &CopyOrder) -> &'static str {
    if order.is_by_key() { "by key" } else { "by blocks" }
}

/// True when statistics say that the key jumps about in a large table.
fn is_scattered(key: &Ident, stats: &Stats) -> bool {
    let correlation = stats.correlation_ppm.get(key);
    let is_of_size = stats.table_bytes > BYTES_MIN && stats.table_bytes <= BYTES_MAX;
    is_of_size && correlation.is_some_and(|ppm| ppm.unsigned_abs() < CORRELATION_MIN_PPM)
}

fn asked_for(scope: &Scope<'_>) -> String {
    let major = scope.source.server.major();
    if scope.source.server.version_num >= TID_RANGE_SCANS {
        "that was asked for".to_owned()
    } else {
        format!("that was asked for (and by one session, because PostgreSQL {major} cannot read a range of blocks)")
    }
}

fn no_order(table: &QualifiedName, identity: &RowIdentity) -> ResolveError {
    let reason = match identity {
        RowIdentity::Key { reason, .. } => reason.clone(),
        RowIdentity::OrderedKey { .. } | RowIdentity::FullRow => "it has none".to_owned(),
    };
    ResolveError::new(ResolveErrorKind::NotByKey { table: table.clone(), reason })
        .help("remove `copy`: the table is copied under one snapshot")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_large_table_with_a_scattered_key_is_copied_by_blocks() {
        let key = Ident::new("id").unwrap();
        let scattered = |gib: u64, ppm: Option<i32>| {
            let stats = Stats {
                rows_estimate: None,
                table_bytes: gib << 30,
                index_bytes: 0,
                column_widths: BTreeMap::new(),
                null_ppm: BTreeMap::new(),
                correlation_ppm: ppm.into_iter().map(|ppm| (key.clone(), ppm)).collect(),
            };
            is_scattered(&key, &stats)
        };
        assert!(scattered(2, Some(3_000)) && scattered(2, Some(-499_999)) && scattered(2, Some(499_999)));
        assert!(
            !scattered(2, Some(500_000)) && !scattered(2, Some(-1_000_000)),
            "in the order of the heap, or against it"
        );
        assert!(!scattered(2, None), "never analysed");
        assert!(!scattered(1, Some(0)), "small");
        assert!(scattered(64, Some(0)) && !scattered(65, Some(0)), "for hours under one snapshot");
    }
}
