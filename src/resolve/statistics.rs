//! Statistics objects with the target's names.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{Catalog, QualifiedName, Statistics, StatisticsDef, StatisticsKind};
use crate::desired::Carry;
use crate::findings::rules::TARGET_EXISTS;
use crate::resolve::ResolvedStatistics;
use crate::resolve::report::Report;
use crate::resolve::scope::Scope;

/// Before, there were no lists of most common combinations.
const MCV_SINCE: u32 = 12;
/// Before, ALTER STATISTICS could not say how much ANALYZE looks at.
const TARGETS_SINCE: u32 = 13;
/// Before, there were none of expressions.
const EXPRESSIONS_SINCE: u32 = 14;

/// Every statistics object that can be carried; the others are listed.
pub(crate) fn statistics(
    scopes: &[Scope<'_>],
    target: &Catalog,
    carry: Carry,
    report: &mut Report,
) -> Vec<ResolvedStatistics> {
    let mut out: BTreeMap<QualifiedName, ResolvedStatistics> = BTreeMap::new();
    for scope in scopes {
        for (name, found) in &scope.table.statistics {
            let made =
                carried(scope, name, found, (scopes, target), carry).and_then(|made| match out.get(&made.name) {
                    Some(other) => Err(format!("{} of {} has its name on the target", other.name, other.table)),
                    None => Ok(made),
                });
            match made {
                Ok(mut made) => {
                    if target.server.major() < TARGETS_SINCE && made.def.target.take().is_some() {
                        let why = format!(
                            "on the target ANALYZE takes that of the columns: it is told otherwise from PostgreSQL {TARGETS_SINCE} on"
                        );
                        report.leave("statistics target", name, why);
                    }
                    out.insert(made.name.clone(), made);
                }
                Err(why) => report.leave("statistics", name, why),
            }
        }
    }
    let of_others = target.tables.iter().filter(|(name, _)| !scopes.iter().any(|scope| scope.target_name == *name));
    let taken: BTreeSet<&QualifiedName> = of_others.flat_map(|(_, table)| table.statistics.keys()).collect();
    for name in out.keys().filter(|name| taken.contains(*name)) {
        report.find(&TARGET_EXISTS, name, "a statistics object of this name exists on the target");
    }
    out.into_values().collect()
}

fn carried(
    scope: &Scope<'_>,
    name: &QualifiedName,
    found: &Statistics,
    (scopes, target): (&[Scope<'_>], &Catalog),
    carry: Carry,
) -> Result<ResolvedStatistics, String> {
    if !carry.statistics {
        return Err("`migrate.carry` leaves it out".to_owned());
    }
    if scopes.iter().any(|other| other.name != scope.name && other.target_name == scope.target_name) {
        return Err("the target has several sources".to_owned());
    }
    // What stands beside its table goes with it.
    let schema = if name.schema == scope.name.schema { &scope.target_name.schema } else { &name.schema };
    if !target.schemas.contains(schema) && !scopes.iter().any(|other| other.target_name.schema == *schema) {
        return Err(format!("its schema {schema} is not on the target"));
    }
    let major = target.server.major();
    let needs = |since: u32| Err(format!("it needs PostgreSQL {since} on the target"));
    if !found.def.expressions.is_empty() && major < EXPRESSIONS_SINCE {
        return needs(EXPRESSIONS_SINCE);
    }
    if found.def.kinds.contains(&StatisticsKind::Mcv) && major < MCV_SINCE {
        return needs(MCV_SINCE);
    }
    let mut reads: BTreeSet<_> = found.def.columns.iter().chain(&found.expression_columns).cloned().collect();
    let mut expressions = Vec::new();
    for expression in &found.def.expressions {
        let renamed = scope.rename(expression).map_err(|error| format!("its definition cannot be read: {error}"))?;
        reads.extend(renamed.reads);
        expressions.push(renamed.sql);
    }
    if let Some(column) = reads.iter().find(|column| scope.dropped.contains(*column)) {
        return Err(format!("it reads the dropped column {column}"));
    }
    let columns = found.def.columns.iter().map(|column| scope.renames.get(column).unwrap_or(column).clone());
    Ok(ResolvedStatistics {
        table: scope.target_name.clone(),
        name: QualifiedName { schema: schema.clone(), name: scope.object(&name.name) },
        def: StatisticsDef { columns: columns.collect(), expressions, ..found.def.clone() },
        comment: found.comment.clone(),
    })
}
