//! One source table into several targets: what they call their objects, and whether every row has a place.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::name::IDENT_BYTES_MAX;
use crate::catalog::{Ident, QualifiedName, References};
use crate::findings::Severity;
use crate::findings::rules::{ROW_FILTER, SPLIT_GAP};
use crate::projection::{Filter, Projection};
use crate::resolve::error::{ResolveError, ResolveErrorKind};
use crate::resolve::merge::merged;
use crate::resolve::report::Report;
use crate::resolve::scope::Scope;
use crate::resolve::{Check, CheckPredicate, ResolvedSequence, ResolvedTable};
use crate::sql::check::{sample, table_check};
use crate::sql::filter::{cover, left_out};
use crate::sql::source_table;

/// What one target of a source with several must know of the others.
#[derive(Debug)]
pub(crate) struct Split {
    /// Dropped columns that another target keeps, for every row that this one has.
    pub(crate) elsewhere: BTreeSet<Ident>,
    /// Indexes are called as on the source: no other target in the schema could be, or this one has the source's name.
    keeps_names: bool,
}

impl Split {
    /// The name that an index of the source, and the constraint above it, has at this target.
    pub(crate) fn object(&self, source: &QualifiedName, target: &QualifiedName, name: &Ident) -> Ident {
        if self.keeps_names {
            return name.clone();
        }
        let (own, old) = (target.name.as_str(), name.as_str());
        let rest = old.strip_prefix(source.name.as_str()).filter(|rest| rest.starts_with('_'));
        short(&rest.map_or_else(|| format!("{own}_{old}"), |rest| format!("{own}{rest}")))
            .unwrap_or_else(|| name.clone())
    }
}

/// As much of a name as PostgreSQL keeps.
pub(crate) fn short(name: &str) -> Option<Ident> {
    let end = (0..=name.len().min(IDENT_BYTES_MAX)).rev().find(|&end| name.is_char_boundary(end))?;
    Ident::new(&name[..end]).ok()
}

/// Finds the sources with several targets.
pub(crate) fn settle(scopes: &mut [Scope<'_>], report: &mut Report) {
    let mut groups: BTreeMap<&QualifiedName, Vec<usize>> = BTreeMap::new();
    for (number, scope) in scopes.iter().enumerate() {
        groups.entry(scope.name).or_default().push(number);
    }
    for group in groups.into_values().filter(|group| group.len() > 1) {
        let of_group: Vec<&Scope<'_>> = group.iter().map(|&number| &scopes[number]).collect();
        let found: Vec<Option<Split>> = of_group.iter().map(|scope| split(scope, &of_group)).collect();
        for (number, split) in group.into_iter().zip(found) {
            scopes[number].split = split;
        }
    }
    // Two targets of one name are told as such.
    let (mut names, mut targets) = (BTreeSet::new(), BTreeSet::new());
    for scope in scopes.iter() {
        if targets.insert(scope.target_name) && !names.insert(scope.at()) {
            let kind = ResolveErrorKind::Ambiguous(scope.at().clone());
            let help = "the plan speaks of a table by its source's name, and by its target's name where the source goes \
                        into several; give the target another name";
            report.errors.push(ResolveError::new(kind).at(&scope.desired.source.span).help(help));
        }
    }
}

fn split(scope: &Scope<'_>, group: &[&Scope<'_>]) -> Option<Split> {
    let is_other = |other: &&Scope<'_>| other.target_name != scope.target_name;
    let others: Vec<&Scope<'_>> = group.iter().copied().filter(is_other).collect();
    if others.is_empty() {
        return None;
    }
    let text = |scope: &Scope<'_>| scope.desired.filter.as_ref().map(|filter| filter.value.clone());
    let has_all = |other: &Scope<'_>| text(other).is_none() || text(other) == text(scope);
    let keeps = |column: &Ident| others.iter().any(|other| has_all(other) && other.renames.contains_key(column));
    let is_first = scope.target_name.name == scope.name.name;
    let beside = others.iter().any(|other| other.target_name.schema == scope.target_name.schema);
    Some(Split {
        elsewhere: scope.dropped.iter().filter(|column| keeps(column)).cloned().collect(),
        keeps_names: is_first || !beside,
    })
}

/// The table that a foreign key of the source refers to once it is migrated; `None` when it is not.
///
/// # Errors
/// It becomes several, and none of them must have every row.
pub(crate) fn referenced<'s, 'a>(
    scopes: &'s [Scope<'a>],
    near: &Scope<'_>,
    constraint: &Ident,
    references: &References,
) -> Result<Option<&'s Scope<'a>>, String> {
    let found: Vec<&Scope<'a>> = scopes.iter().filter(|far| far.name == &references.table).collect();
    if let Some(far) = found.iter().find(|far| far.part.is_some()) {
        return Err(merged(far.target_name));
    }
    if found.len() < 2 {
        return Ok(found.first().copied());
    }
    let written = near.whole().and_then(|whole| whole.table.constraints.get(constraint)?.references.as_ref());
    let said = found.iter().find(|far| written.is_some_and(|written| far.target_name == &written.table));
    let mut whole = found.iter().filter(|far| far.desired.filter.is_none());
    match (said, whole.next(), whole.next()) {
        (Some(said), ..) => Ok(Some(said)),
        (None, Some(only), None) => Ok(Some(only)),
        _ => Err(format!("{} becomes several tables, and which has a row is not the same for all", references.table)),
    }
}

/// Whether every row of a source with several targets has a place in one of them; if that is not sure, rows without one
/// are counted.
pub(crate) fn judge(tables: &[ResolvedTable], report: &mut Report) {
    let mut groups: BTreeMap<&QualifiedName, Vec<&Projection>> = BTreeMap::new();
    for table in tables.iter().filter(|table| table.split) {
        groups.entry(&table.source).or_default().push(&table.projection);
    }
    for (source, projections) in groups {
        match gap_check(&projections) {
            Some(check) => {
                let message = format!(
                    "a row that meets none of the filters of its {} targets stays behind; the plan counts such rows and \
                     allows none, unless this is accepted",
                    projections.len()
                );
                report.find(&SPLIT_GAP, source, message);
                report.checks.push(check);
            }
            None => {
                let targets: Vec<String> = projections.iter().map(|one| one.target.to_string()).collect();
                let is_ours = |code: &str, address: &String| code == ROW_FILTER.code && targets.contains(address);
                for finding in report.findings.iter_mut().filter(|one| is_ours(&one.code, &one.address)) {
                    finding.severity = Severity::Info;
                }
            }
        }
    }
}

/// Rows of a source table that none of its targets takes; `None` when there can be none.
pub fn gap_check(projections: &[&Projection]) -> Option<Check> {
    let first = projections.first()?;
    let filters: Vec<Option<&Filter>> = projections.iter().map(|projection| projection.filter.as_ref()).collect();
    if cover(&filters) {
        return None;
    }
    let bad = left_out(&filters.into_iter().flatten().collect::<Vec<_>>());
    let table = first.source.clone();
    Some(Check {
        id: gap_check_id(&table),
        sql: table_check(&source_table(first), std::slice::from_ref(&bad)),
        predicates: vec![CheckPredicate {
            address: table.to_string(),
            sample_sql: sample(&source_table(first), &first.source_key(), &bad),
            bad,
            meaning: "in none of its targets".to_owned(),
        }],
        table,
        among: None,
    })
}

/// The id of that check; no other begins so.
pub fn gap_check_id(source: &QualifiedName) -> String {
    format!("split:{source}")
}

/// Who accepts that rows stay behind wants them not to block the plan.
pub(crate) fn without_accepted_gaps(report: &mut Report) {
    let gaps = report.findings.iter().filter(|finding| finding.code == SPLIT_GAP.code && finding.accepted.is_some());
    let ids: BTreeSet<String> = gaps.map(|gap| format!("split:{}", gap.address)).collect();
    report.checks.retain(|check| !ids.contains(&check.id));
}

/// Tables, indexes and sequences of a schema share their names.
pub(crate) fn unique_names(tables: &[ResolvedTable], sequences: &[ResolvedSequence], report: &mut Report) {
    if !tables.iter().any(|table| table.split) {
        return;
    }
    let mut names: BTreeSet<QualifiedName> = BTreeSet::new();
    let mut targets = BTreeSet::new();
    let tables = tables.iter().filter(|table| targets.insert(&table.target)).collect::<Vec<_>>();
    let indexes = tables.iter().flat_map(|table| {
        let schema = &table.target.schema;
        table.wanted.indexes.keys().map(move |index| QualifiedName { schema: schema.clone(), name: index.clone() })
    });
    let own = tables.iter().map(|table| table.target.clone());
    for name in own.chain(indexes).chain(sequences.iter().map(|sequence| sequence.target.clone())) {
        if names.contains(&name) {
            let kind = ResolveErrorKind::NameTwice(name.clone());
            let help =
                "describe the tables in a desired SQL file (`migrate.schema`), where each index has a name of its own";
            report.errors.push(ResolveError::new(kind).help(help));
        }
        names.insert(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_of_further_targets_are_called_after_them() {
        let name = |text: &str| Ident::new(text).unwrap();
        let table = |text: &str| QualifiedName { schema: name("public"), name: name(text) };
        let split = Split { elsewhere: BTreeSet::new(), keeps_names: false };
        let object =
            |target: &str, old: &str| split.object(&table("orders"), &table(target), &name(old)).as_str().to_owned();
        assert_eq!(object("old_orders", "orders_pkey"), "old_orders_pkey");
        assert_eq!(object("old_orders", "ordersx"), "old_orders_ordersx");
        assert_eq!(object(&"é".repeat(31), "orders_pkey"), format!("{}_", "é".repeat(31)));
        assert_eq!(short(&"é".repeat(32)).unwrap().as_str(), "é".repeat(31));
    }
}
