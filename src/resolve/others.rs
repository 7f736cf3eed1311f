//! What a schema has that no table is, and no plan makes: where tables are chosen by pattern it is listed by name, because whoever
//! moves a schema as a whole expects all of it.

use std::collections::BTreeSet;

use crate::catalog::{Catalog, Ident, Other, QualifiedName};
use crate::resolve::ResolvedSequence;
use crate::resolve::report::Report;
use crate::resolve::scope::Scope;

/// Lists what the chosen schemas have besides, unless the target has it or the plan makes it: `functions` are those that it makes.
pub(crate) fn others(
    scopes: &[Scope<'_>],
    (source, target): (&Catalog, &Catalog),
    (functions, sequences): (&BTreeSet<&QualifiedName>, &[ResolvedSequence]),
    report: &mut Report,
) {
    let by_pattern = || scopes.iter().filter(|scope| scope.desired.by_glob);
    let schemas: BTreeSet<&Ident> = by_pattern().map(|scope| &scope.name.schema).collect();
    if schemas.is_empty() {
        return;
    }
    let made: BTreeSet<String> = functions.iter().map(|name| format!("{name}()")).collect();
    let listed: BTreeSet<(String, String)> =
        report.not_carried.iter().map(|one| (one.kind.clone(), one.name.clone())).collect();
    for other in &source.others {
        let Other { kind, schema, name } = other;
        let is_known = listed.contains(&(kind.clone(), name.clone())) || kind == "function" && made.contains(name);
        if !is_known && schema.as_ref().is_none_or(|schema| schemas.contains(schema)) && !target.others.contains(other)
        {
            report.leave(
                kind,
                name,
                "pcrd does not create it; what the application needs of it must be created on the target",
            );
        }
    }
    let members: BTreeSet<&QualifiedName> = source.extensions.values().flat_map(|one| &one.members).collect();
    let is_ours = |name: &QualifiedName| schemas.contains(&name.schema) && !members.contains(name);
    for name in source.types.keys().filter(|name| is_ours(name) && !target.types.contains_key(*name)) {
        if !report.types.contains_key(name) {
            report.leave("type", name, "no column that is migrated has it");
        }
    }
    let carried: BTreeSet<&QualifiedName> =
        sequences.iter().flat_map(|one| one.source.iter().chain(&one.further)).collect();
    for (name, sequence) in source.sequences.iter().filter(|(name, _)| is_ours(name) && !carried.contains(name)) {
        // Of a table that stays it is said that it stays.
        if sequence.owned_by.is_none() && !target.sequences.contains_key(name) {
            report.leave("sequence", name, "no column that is migrated draws from it");
        }
    }
}
