//! Which tables the patterns of `migrate.tables` choose.

use std::collections::BTreeSet;

use crate::catalog::{Catalog, Persistence, QualifiedName, Table, TableKind};
use crate::desired::DesiredSchema;
use crate::resolve::NotCarried;
use crate::resolve::error::{ResolveError, ResolveErrorKind};

/// What was chosen.
#[derive(Debug, Default)]
pub struct Chosen {
    /// What has matched a pattern and is no table with rows of its own.
    pub left: Vec<NotCarried>,
    /// How many tables each pattern chose.
    pub notes: Vec<String>,
}

/// Adds the tables that the patterns choose, in the order of their names. Those that have an entry of their own, or that the
/// desired SQL file leaves alone (`ignored`), are not chosen; nor are partitions of a root that is, nor what belongs to
/// an extension, which is listed.
///
/// # Errors
/// A pattern that matches nothing, an exclusion that excludes nothing, and a table that is both named and excluded.
pub fn choose(
    desired: &mut DesiredSchema,
    source: &Catalog,
    ignored: &BTreeSet<&QualifiedName>,
) -> Result<Chosen, Vec<ResolveError>> {
    let mut chosen = Chosen::default();
    let mut errors = Vec::new();
    let selection = &desired.selection;
    let is_excluded = |name: &QualifiedName| selection.exclude.iter().any(|excluded| excluded.value.matches(name));
    for table in desired.tables.iter().filter(|table| is_excluded(&table.source.value)) {
        let kind = ResolveErrorKind::NamedAndExcluded(table.source.value.clone());
        let help = "remove its entry, or take it out of `migrate.exclude`";
        errors.push(ResolveError { origin: table.origin, ..ResolveError::new(kind).at(&table.source.span).help(help) });
    }
    let members: BTreeSet<&QualifiedName> = source.extensions.values().flat_map(|one| &one.members).collect();
    let there: Vec<(&QualifiedName, &Table)> =
        source.tables.iter().filter(|(name, table)| may_be_meant(name, table)).collect();
    for excluded in &selection.exclude {
        let chooses = |name: &QualifiedName| selection.globs.iter().any(|one| one.glob.value.matches(name));
        if !there.iter().any(|(name, _)| excluded.value.matches(name) && chooses(name)) {
            let kind = ResolveErrorKind::ExcludesNothing(excluded.value.to_string());
            let help = "`migrate.exclude` takes tables from what patterns under `migrate.tables` choose; remove the line, or mend the name";
            errors.push(ResolveError::new(kind).at(&excluded.span).help(help));
        }
    }
    let mut taken: BTreeSet<QualifiedName> = desired.tables.iter().map(|table| table.source.value.clone()).collect();
    let (mut tables, mut partitions) = (Vec::new(), Vec::new());
    for globbed in &selection.globs {
        let matching: Vec<_> = there.iter().filter(|(name, _)| globbed.glob.value.matches(name)).collect();
        if matching.is_empty() {
            let schemas: Vec<String> = source.schemas.iter().map(ToString::to_string).collect();
            let kind = ResolveErrorKind::ChoosesNothing(globbed.glob.value.to_string());
            let help = format!(
                "the source has the schemas {}; names are written as PostgreSQL stores them",
                schemas.join(", ")
            );
            errors.push(ResolveError::new(kind).at(&globbed.glob.span).help(help));
            continue;
        }
        let before = tables.len();
        for (name, table) in matching {
            if is_excluded(name) || ignored.contains(name) || !taken.insert((*name).clone()) {
                continue;
            }
            let left = if members.contains(name) { Some(MEMBER) } else { without_rows(table.kind) };
            if let Some((kind, why)) = left {
                let (kind, why) = (kind.to_owned(), why.to_owned());
                chosen.left.push(NotCarried { kind, name: name.to_string(), why });
            } else if table.partition_bound.is_none() {
                tables.push(globbed.table(name));
            } else {
                partitions.push((name, table));
            }
        }
        let n_tables = tables.len() - before;
        let plural = if n_tables == 1 { "table" } else { "tables" };
        chosen.notes.push(format!("`{}` chooses {n_tables} {plural} of the source", globbed.glob.value));
    }
    for (name, table) in partitions {
        // Its root has it, or is one of those that have; a root that is chosen is judged as a whole.
        if roots(source, table).iter().any(|root| taken.contains(root)) {
            continue;
        }
        let why = "it is a partition of a table that no pattern chooses".to_owned();
        chosen.left.push(NotCarried { kind: "partition".to_owned(), name: name.to_string(), why });
    }
    tables.sort_by(|left, right| left.source.value.cmp(&right.source.value));
    desired.tables.extend(tables);
    if errors.is_empty() { Ok(chosen) } else { Err(errors) }
}

fn may_be_meant(name: &QualifiedName, table: &Table) -> bool {
    name.schema.as_str() != "pcrd" && table.persistence != Persistence::Temporary
}

/// Those that it is a part of, directly or not.
fn roots(source: &Catalog, table: &Table) -> BTreeSet<QualifiedName> {
    let mut found = BTreeSet::new();
    let mut left: Vec<&QualifiedName> = table.parents.iter().collect();
    while let Some(name) = left.pop() {
        if found.insert(name.clone()) {
            left.extend(source.tables.get(name).iter().flat_map(|parent| &parent.parents));
        }
    }
    found
}

const MEMBER: (&str, &str) =
    ("table of an extension", "it comes with the extension; name it by itself to migrate its rows");

fn without_rows(kind: TableKind) -> Option<(&'static str, &'static str)> {
    match kind {
        TableKind::Table | TableKind::Partitioned => None,
        TableKind::Foreign => {
            Some(("foreign table", "its rows are on another server, and do not come through the log"))
        }
        TableKind::View => {
            Some(("view", "a view has no rows of its own: it goes along where all that it reads is migrated"))
        }
        TableKind::MaterializedView => Some((
            "materialized view",
            "its rows do not come through the log: it goes along where all that it reads is migrated",
        )),
    }
}
