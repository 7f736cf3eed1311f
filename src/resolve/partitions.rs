//! A partitioned source: what must hold of it and of its partitions, and what is said of them.

use std::collections::BTreeMap;

use crate::catalog::{
    Catalog, Column, Constraint, Ident, Index, Persistence, QualifiedName, ReplicaIdentity, Table, TableKind,
};
use crate::desired::{DesiredTable, Origin};
use crate::findings::Rule;
use crate::findings::rules::{
    FOREIGN_TABLE, NO_KEY, PARTITION_LEAF, PARTITIONED, PARTITIONS_FOLLOWED, REPLICA_IDENTITY_CHANGE, SUBSCRIPTION,
    TEMPORARY, TRUNCATE_REFUSED, UNLOGGED,
};
use crate::resolve::error::{ResolveError, ResolveErrorKind};
use crate::resolve::report::Report;
use crate::resolve::scope::Scope;
use crate::sql;
use crate::sql::partition_key::partition_by;
use crate::sql::publication::ROOTS_SINCE;

/// What else may be asked for.
pub(super) const FLAT: &str = "write `partitions: none` beside its name, for one table with all rows";

/// Why a partitioned table cannot be a source.
pub(crate) struct Refusal {
    pub(crate) what: &'static str,
    pub(crate) rule: &'static Rule,
    pub(crate) help: String,
}

/// The partitions of a table, and theirs, in the order of their names.
pub(crate) fn partitions<'a>(catalog: &'a Catalog, root: &Table) -> BTreeMap<&'a QualifiedName, &'a Table> {
    let mut found = BTreeMap::new();
    let mut left: Vec<&QualifiedName> = root.children.iter().collect();
    while let Some(name) = left.pop() {
        if let Some((name, table)) = catalog.tables.get_key_value(name)
            && found.insert(name, table).is_none()
        {
            left.extend(&table.children);
        }
    }
    found
}

/// Whether a table is a partition of one of these, directly or not.
pub(crate) fn is_partition_of(
    catalog: &Catalog,
    table: &QualifiedName,
    is_root: impl Fn(&QualifiedName) -> bool,
) -> bool {
    let mut at = catalog.tables.get(table).filter(|table| table.partition_bound.is_some());
    while let Some(parent) = at.and_then(|table| table.parents.first()) {
        if is_root(parent) {
            return true;
        }
        at = catalog.tables.get(parent);
    }
    false
}

/// What keeps a partitioned table from being a source.
pub(crate) fn refusal(desired: &DesiredTable, table: &Table, source: &Catalog) -> Option<Refusal> {
    let name = &desired.source.value;
    let refuse = |what, rule, help: String| Some(Refusal { what, rule, help });
    let alter = |what: &str| format!("on the source: ALTER TABLE {} {what};", sql::name(name));
    if table.partition_bound.is_some() {
        return refuse("a partition", &PARTITION_LEAF, "migrate the table that it is a partition of".to_owned());
    }
    if source.server.major() < ROOTS_SINCE {
        let help = format!("PostgreSQL {ROOTS_SINCE} and later publish them as changes of the table itself");
        let what = "a partitioned table, whose changes this server publishes by partition only";
        return refuse(what, &PARTITIONED, help);
    }
    if !desired.flat && desired.origin == Origin::Schema {
        let help = format!(
            "write `-- pcrd: ignore` at it, and `{{ name: {name}, partitions: same }}` under `migrate.tables` for the same \
             partitions, or `partitions: none` for one table with the rows of all"
        );
        return refuse("a partitioned table", &PARTITIONED, help);
    }
    let key = table.partition_key.as_deref();
    if !desired.flat && key.and_then(partition_by).is_none() {
        let help = format!("{} cannot be carried; {FLAT}", key.unwrap_or("its key"));
        let what = "a partitioned table whose key has an expression, a collation or an operator class of its own";
        return refuse(what, &PARTITIONED, help);
    }
    if table.persistence != Persistence::Permanent {
        return refuse("an unlogged table, which is not replicated", &UNLOGGED, alter("SET LOGGED"));
    }
    if table.primary_key.is_none() {
        let help = "give it a primary key: rows of partitions are found by nothing else".to_owned();
        return refuse("a partitioned table without a primary key", &NO_KEY, help);
    }
    let with_key = "REPLICA IDENTITY DEFAULT";
    if table.replica_identity != ReplicaIdentity::Default {
        let what = "a partitioned table whose replica identity is not its primary key";
        return refuse(what, &REPLICA_IDENTITY_CHANGE, alter(with_key));
    }
    let subscribed = "written by a subscription, which the fence would not stop";
    if table.subscribed {
        return refuse(subscribed, &SUBSCRIPTION, "drop the subscription first".to_owned());
    }
    let found = partitions(source, table);
    // Those that no catalog shows are in a schema of the server or in pcrd's.
    let all = found.values().copied().chain([table]);
    if let Some(hidden) = all.flat_map(|table| &table.children).find(|child| !found.contains_key(child)) {
        let what = "a partitioned table with a partition that cannot be migrated";
        return refuse(what, &TEMPORARY, format!("{hidden} is temporary, or in a schema that is not migrated"));
    }
    for (leaf, partition) in found {
        if let Some(column) = generated_otherwise(table, partition) {
            let what = "a partitioned table with a partition that generates a column in its own way";
            let help = format!("detach {leaf}: the target would generate {column} as the table does");
            return refuse(what, &PARTITIONED, help);
        }
        let at = |what: &str| format!("on the source: ALTER TABLE {} {what};", sql::name(leaf));
        let (what, rule, help) = match (partition.kind, partition.persistence) {
            (TableKind::Foreign, _) => (
                "a partitioned table with a foreign table for a partition",
                &FOREIGN_TABLE,
                format!("detach {leaf}: its rows are on another server"),
            ),
            (_, Persistence::Unlogged) => {
                ("a partitioned table with an unlogged partition", &UNLOGGED, at("SET LOGGED"))
            }
            (_, Persistence::Temporary) => {
                ("a partitioned table with a temporary partition", &TEMPORARY, format!("detach {leaf}"))
            }
            (_, Persistence::Permanent) if partition.subscribed => (
                "a partitioned table of which a subscription writes a partition, which the fence would not stop",
                &SUBSCRIPTION,
                format!("drop the subscription that writes {leaf}"),
            ),
            // Of what is written to a partition, its own identity says what the old row has.
            (_, Persistence::Permanent) if partition.replica_identity != ReplicaIdentity::Default => (
                "a partitioned table with a partition whose replica identity is not its primary key",
                &REPLICA_IDENTITY_CHANGE,
                at(with_key),
            ),
            (_, Persistence::Permanent) => continue,
        };
        return refuse(what, rule, help);
    }
    None
}

/// A column that the partition generates by another expression than the whole table: PostgreSQL 16 and later let it.
fn generated_otherwise<'a>(root: &Table, partition: &'a Table) -> Option<&'a Ident> {
    let differs =
        |column: &&Column| root.column(&column.name).is_some_and(|of_all| of_all.generated != column.generated);
    partition.columns.iter().find(differs).map(|column| &column.name)
}

/// What cannot be done with a partitioned source beyond that, once all tables are known.
pub(crate) fn settle(scopes: &[Scope<'_>], goes_back: bool, report: &mut Report) {
    for scope in scopes.iter().filter(|scope| scope.table.kind == TableKind::Partitioned) {
        let n_targets = scopes.iter().filter(|other| other.name == scope.name).count();
        let n_sources = scopes.iter().filter(|other| other.target_name == scope.target_name).count();
        let (what, help) = if n_targets > 1 {
            ("a partitioned table that goes into several tables", "give it one target")
        } else if n_sources > 1 || scope.part.is_some() {
            ("a partitioned table that goes into a table with others", "give it a target of its own")
        } else if goes_back {
            ("a partitioned table, to which nothing goes back", "remove `cutover.reverse`")
        } else {
            continue;
        };
        let kind = ResolveErrorKind::NotOrdinary { table: scope.name.clone(), what, rule: Some(&PARTITIONED) };
        let error = ResolveError::new(kind).at(&scope.desired.source.span).help(help);
        report.errors.push(ResolveError { origin: scope.desired.origin, ..error });
    }
}

/// Lists the partitions of the sources, and what only they have.
pub(crate) fn findings(scopes: &[Scope<'_>], source: &Catalog, report: &mut Report) {
    for scope in scopes.iter().filter(|scope| scope.table.kind == TableKind::Partitioned) {
        let found = partitions(source, scope.table);
        let leaves: Vec<String> =
            found.iter().filter(|(_, one)| one.kind == TableKind::Table).map(|(name, _)| name.to_string()).collect();
        let message = format!(
            "the rows of all partitions become those of one table, {} partition(s) now ({}); an empty one that comes meanwhile \
             is followed, and the run stops when one comes with rows or goes",
            leaves.len(),
            leaves.join(", ")
        );
        if scope.desired.flat {
            report.find(&PARTITIONS_FOLLOWED, scope.name, message);
        }
        let message = "a trigger refuses TRUNCATE of the table and of each of its partitions until cleanup: the stream would not \
                       show that of a partition";
        report.find(&TRUNCATE_REFUSED, scope.name, message);
        for (name, partition) in found {
            left_behind(scope.table, name, partition, report);
            let dependents = source.dependents.iter().filter(|one| &one.table == name);
            for dependent in dependents {
                report.leave(&dependent.kind, &dependent.name, format!("depends on {name}"));
            }
        }
    }
}

/// What a partition has and the whole table has not.
fn left_behind(root: &Table, name: &QualifiedName, partition: &Table, report: &mut Report) {
    let at = |object: &Ident| format!("{name}.{object}");
    let why = "only this partition has it";
    let alike = |one: &Index, other: &Index| {
        (&one.elements, &one.include, &one.predicate, one.unique)
            == (&other.elements, &other.include, &other.predicate, other.unique)
    };
    for (own, index) in &partition.indexes {
        if index.constraint.is_none() && !root.indexes.values().any(|one| alike(one, index)) {
            report.leave("index", at(own), why);
        }
    }
    let alike = |one: &Constraint, other: &Constraint| one.kind == other.kind && one.definition == other.definition;
    for (own, constraint) in &partition.constraints {
        if !root.constraints.values().any(|one| alike(one, constraint)) {
            report.leave("constraint", at(own), why);
        }
    }
    for own in partition.statistics.keys() {
        report.leave("statistics", own, format!("only the partition {name} has it"));
    }
    if let Some((own, _)) = partition.indexes.iter().find(|(_, index)| index.clustered) {
        report.leave("clustered index", at(own), "which one CLUSTER takes is not said of partitions");
    }
    for own in partition.triggers.keys().filter(|own| !root.triggers.contains_key(*own)) {
        report.leave("trigger", at(own), why);
    }
    for own in partition.policies.keys().filter(|own| !root.policies.contains_key(*own)) {
        report.leave("policy", at(own), why);
    }
    for column in &partition.columns {
        let of_all = root.column(&column.name);
        if of_all.is_some_and(|of_all| of_all.default != column.default) {
            report.leave("default", at(&column.name), "the partition has one of its own");
        }
    }
    for grant in &partition.grants {
        report.leave("grant", format!("{grant} on {name}"), "those of the table are carried, not of a partition");
    }
}
