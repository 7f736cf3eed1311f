//! What stands on the target already, and what depends on the tables and stays behind.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{Catalog, Dependent, Ident, QualifiedName};
use crate::findings::Severity;
use crate::findings::rules::{TARGET_EXISTS, UNTRACKABLE_DEPENDENCY};
use crate::resolve::partitions::is_partition_of;
use crate::resolve::policy::Policies;
use crate::resolve::report::Report;
use crate::resolve::scope::Scope;
use crate::resolve::trigger::Triggers;
use crate::resolve::view::{Views, is_view};

/// A relation that already has the target's name: only the plan that made it may go on with it.
pub(crate) fn of_existing(scopes: &[Scope<'_>], target: &Catalog, report: &mut Report) {
    for scope in scopes {
        if target.tables.contains_key(scope.target_name) {
            let message = "a relation of this name exists on the target; only an unfinished run of this plan may continue with it";
            report.find(&TARGET_EXISTS, scope.target_name, message);
        }
    }
    let taken: BTreeSet<QualifiedName> = target
        .tables
        .iter()
        .filter(|(name, _)| !scopes.iter().any(|scope| scope.target_name == *name))
        .flat_map(|(name, table)| {
            let index = |index: &Ident| QualifiedName { schema: name.schema.clone(), name: index.clone() };
            table.indexes.keys().map(index).collect::<Vec<_>>()
        })
        .chain(target.sequences.keys().cloned())
        .collect();
    for scope in scopes {
        for index in scope.table.indexes.keys() {
            let name = QualifiedName { schema: scope.target_name.schema.clone(), name: scope.object(index) };
            if taken.contains(&name) {
                report.find(&TARGET_EXISTS, name, "an index or sequence of this name exists on the target");
            }
        }
    }
}

/// Lists what is not carried, by name.
pub(crate) fn of_dependents(
    scopes: &[Scope<'_>],
    source: &Catalog,
    (triggers, policies, views): (&Triggers, &Policies, &Views),
    report: &mut Report,
) {
    let referring = referring(scopes, source);
    let dependents = by_table(&source.dependents);
    let mut seen = BTreeSet::new();
    for scope in scopes.iter().filter(|scope| seen.insert(scope.name)) {
        let at = |object: &Ident| format!("{}.{object}", scope.name);
        let table = scope.table;
        let before = report.not_carried.len();
        for (name, why) in triggers.left.get(scope.name).into_iter().flatten() {
            report.leave("trigger", at(name), why);
        }
        let is_open = table.row_security && policies.left.contains_key(scope.name);
        if let Some(why) = policies.left.get(scope.name).filter(|_| table.row_security) {
            report.leave("row security", scope.name, format!("{why}; nobody else than its owner gets rights on it"));
        }
        for (name, why) in policies.left_policies.get(scope.name).into_iter().flatten() {
            report.leave("policy", at(name), why);
        }
        let of_views = dependents.get(scope.name).into_iter().flatten().filter(|one| is_view(&one.kind));
        let n_carried = views.carried.iter().filter(|one| one.reads.contains(scope.target_name)).count();
        let some_stay = of_views.count() > n_carried;
        // Of a view that is known it is said why it stays.
        let is_known = |one: &&&Dependent| {
            let name = one.name.parse::<QualifiedName>();
            is_view(&one.kind) && name.is_ok_and(|name| source.views.contains_key(&name))
        };
        for dependent in dependents.get(scope.name).into_iter().flatten().filter(|one| !is_known(one)) {
            let why = match dependent.kind.as_str() {
                "tablespace" => "on the target it is in the default tablespace of the database".to_owned(),
                "access method" => "on the target it has the server's default".to_owned(),
                "statistics target" => "on the target ANALYZE takes the server's default".to_owned(),
                kind if is_view(kind) => "the source's catalog was saved without its query".to_owned(),
                _ => format!("depends on {}", scope.name),
            };
            report.leave(&dependent.kind, &dependent.name, why);
        }
        for address in referring.get(scope.name).into_iter().flatten() {
            report.leave("foreign key", address, format!("refers to {} from a table that stays", scope.name));
        }
        let names: BTreeSet<&str> = report.not_carried[before..]
            .iter()
            .map(|left| left.kind.as_str())
            .chain(some_stay.then_some("view"))
            .filter(|kind| *kind != "replica identity")
            .collect();
        let mut messages = Vec::new();
        if !names.is_empty() {
            let kinds = names.into_iter().collect::<Vec<_>>().join(", ");
            messages
                .push(format!("things that depend on the table stay behind ({kinds}); the plan lists them by name"));
        }
        messages.extend(triggers.unread(scope));
        messages.extend(policies.unread(scope));
        if !messages.is_empty() {
            let severity = if is_open { Severity::Warning } else { UNTRACKABLE_DEPENDENCY.severity };
            report.find_as(&UNTRACKABLE_DEPENDENCY, severity, scope.name, messages.join("; "));
        }
    }
}

/// Foreign keys of tables that stay, by the table that they refer to.
fn referring<'s>(scopes: &[Scope<'_>], source: &'s Catalog) -> BTreeMap<&'s QualifiedName, Vec<String>> {
    let migrated: BTreeSet<&QualifiedName> = scopes.iter().map(|scope| scope.name).collect();
    let mut referring: BTreeMap<&QualifiedName, Vec<String>> = BTreeMap::new();
    for (name, table) in source.tables.iter().filter(|(name, _)| !migrated.contains(name)) {
        // What a partition has from a table that is migrated goes with that.
        if is_partition_of(source, name, |root| migrated.contains(root)) {
            continue;
        }
        for (constraint, own) in &table.constraints {
            if let Some(references) = &own.references {
                referring.entry(&references.table).or_default().push(format!("{name}.{constraint}"));
            }
        }
    }
    referring
}

fn by_table(dependents: &[Dependent]) -> BTreeMap<&QualifiedName, Vec<&Dependent>> {
    let mut by_table: BTreeMap<&QualifiedName, Vec<&Dependent>> = BTreeMap::new();
    for dependent in dependents {
        by_table.entry(&dependent.table).or_default().push(dependent);
    }
    by_table
}
