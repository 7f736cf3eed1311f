//! Views over what is migrated: which of them go along. Their queries are still those of the source; what becomes of the names in
//! them only a server can say ([`crate::pg::scratch_view`]).

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{Catalog, Column, Ident, Index, Materialized, QualifiedName, Table, TableKind, View, ViewDef};
use crate::desired::Carry;
use crate::findings::rules::TARGET_EXISTS;
use crate::resolve::ResolvedView;
use crate::resolve::report::Report;
use crate::resolve::scope::Scope;
use crate::sql::ddl_index::create_index;

/// What becomes of the views over everything that is migrated.
#[derive(Debug, Default)]
pub(crate) struct Views {
    /// Each behind those that it reads.
    pub(crate) carried: Vec<ResolvedView>,
    /// By name: why the others stay.
    pub(crate) left: BTreeMap<QualifiedName, String>,
}

impl Views {
    /// The view of this name on the source, where it goes along.
    pub(crate) fn carried_from(&self, source: &QualifiedName) -> Option<&ResolvedView> {
        self.carried.iter().find(|one| one.source == *source)
    }
}

/// Every view that reads a migrated table, itself or through another view.
pub(crate) fn views(
    scopes: &[Scope<'_>],
    (source, target): (&Catalog, &Catalog),
    carry: Carry,
    report: &mut Report,
) -> Views {
    let world = World { scopes, source, target, by_source: by_source(scopes) };
    let mut out = Views::default();
    for name in in_order(&source.views, &world) {
        let Some(view) = source.views.get(name) else { continue };
        match world.carried(name, view, &out, carry) {
            Ok(made) => {
                listed(name, source, report);
                if target.tables.contains_key(&made.name) {
                    let message = "a relation of this name exists on the target, where the plan makes a view";
                    report.find(&TARGET_EXISTS, &made.name, message);
                }
                out.carried.push(made);
            }
            Err(why) => _ = out.left.insert(name.clone(), why),
        }
    }
    for (name, why) in &out.left {
        let kind = source.tables.get(name).map_or(TableKind::View, |found| found.kind);
        let kind = if kind == TableKind::MaterializedView { "materialized view" } else { "view" };
        report.leave(kind, name, why);
    }
    out
}

fn by_source<'s>(scopes: &'s [Scope<'s>]) -> BTreeMap<&'s QualifiedName, Vec<&'s Scope<'s>>> {
    let mut found: BTreeMap<&QualifiedName, Vec<&Scope<'_>>> = BTreeMap::new();
    for scope in scopes {
        found.entry(scope.name).or_default().push(scope);
    }
    found
}

/// Views that have to do with a migrated table, each behind those that it reads.
fn in_order<'s>(views: &'s BTreeMap<QualifiedName, View>, world: &World<'_>) -> Vec<&'s QualifiedName> {
    fn visit<'s>(
        name: &'s QualifiedName,
        views: &'s BTreeMap<QualifiedName, View>,
        world: &World<'_>,
        seen: &mut BTreeMap<&'s QualifiedName, bool>,
        ordered: &mut Vec<&'s QualifiedName>,
    ) -> bool {
        if let Some(known) = seen.get(name) {
            return *known;
        }
        // Two that read each other are nothing that CREATE VIEW can make.
        seen.insert(name, false);
        let mut is_ours = false;
        for read in views[name].reads.keys() {
            let through = views.get_key_value(read).is_some_and(|(read, _)| visit(read, views, world, seen, ordered));
            is_ours |= through || world.by_source.contains_key(read);
        }
        seen.insert(name, is_ours);
        if is_ours {
            ordered.push(name);
        }
        is_ours
    }
    let (mut seen, mut ordered) = (BTreeMap::new(), Vec::new());
    for name in views.keys() {
        visit(name, views, world, &mut seen, &mut ordered);
    }
    ordered
}

struct World<'a> {
    scopes: &'a [Scope<'a>],
    source: &'a Catalog,
    target: &'a Catalog,
    by_source: BTreeMap<&'a QualifiedName, Vec<&'a Scope<'a>>>,
}

impl World<'_> {
    fn carried(&self, name: &QualifiedName, view: &View, views: &Views, carry: Carry) -> Result<ResolvedView, String> {
        if !carry.views {
            return Err("`migrate.carry` leaves it out".to_owned());
        }
        if let Some((extension, _)) = self.source.extensions.iter().find(|(_, one)| one.members.contains(name)) {
            return Err(format!("it belongs to the extension {extension}"));
        }
        let Some(found) = self.source.tables.get(name) else {
            return Err("the source's catalog was saved without its columns".to_owned());
        };
        // Left out, its owner's rights would show what the reader's do not.
        if found.reloptions.iter().any(|option| option.starts_with("security_invoker="))
            && self.target.server.major() < 15
        {
            return Err("its readers need rights of their own (security_invoker), and the target knows that from PostgreSQL 15 on"
                .to_owned());
        }
        let mut reads = BTreeSet::new();
        // What stands beside its tables goes with them.
        let mut schemas = BTreeSet::new();
        let mut is_renamed = false;
        for (read, columns) in &view.reads {
            let (target, renames) = self.read(read, columns, views)?;
            if read.schema == name.schema {
                schemas.insert(target.schema.clone());
            }
            is_renamed |= renames || target != *read;
            reads.insert(target);
        }
        let mut schemas = schemas.into_iter();
        let schema = match (schemas.next(), schemas.next()) {
            (Some(only), None) => only,
            _ => name.schema.clone(),
        };
        let new = QualifiedName { schema, name: name.name.clone() };
        if let Some(scope) = self.scopes.iter().find(|scope| *scope.target_name == new) {
            return Err(format!("{} has its name on the target", scope.name));
        }
        if let Some(other) = views.carried.iter().find(|other| other.name == new) {
            return Err(format!("the view {} has its name on the target", other.source));
        }
        let comments = found.columns.iter().filter_map(|column| Some((column.name.clone(), column.comment.clone()?)));
        Ok(ResolvedView {
            source: name.clone(),
            def: ViewDef {
                definition: view.definition.clone(),
                materialized: (found.kind == TableKind::MaterializedView).then(|| materialized(&new, view, found)),
                options: found.reloptions.clone(),
                comment: found.comment.clone(),
                column_comments: comments.collect(),
            },
            name: new,
            reads,
            is_unread: is_renamed,
        })
    }

    /// The target's name of what a view reads, and whether one of these columns has another there.
    fn read(
        &self,
        read: &QualifiedName,
        columns: &BTreeSet<Ident>,
        views: &Views,
    ) -> Result<(QualifiedName, bool), String> {
        if self.source.views.contains_key(read) {
            return match views.carried_from(read) {
                Some(view) => Ok((view.name.clone(), false)),
                None => Err(format!("it reads {read}, which is not carried")),
            };
        }
        let scope = match self.by_source.get(read).map(Vec::as_slice) {
            Some([scope]) => scope,
            Some(_) => return Err(format!("it reads {read}, whose rows go into several tables")),
            None => return Err(format!("it reads {read}, which is not migrated")),
        };
        if self.scopes.iter().filter(|other| other.target_name == scope.target_name).count() > 1 {
            return Err(format!("it reads {read}, and {} has the rows of other tables too", scope.target_name));
        }
        if let Some(column) = columns.iter().find(|column| scope.dropped.contains(*column)) {
            return Err(format!("it reads the dropped column {read}.{column}"));
        }
        let is_renamed = scope.renames.iter().any(|(old, new)| old != new && columns.contains(old));
        Ok((scope.target_name.clone(), is_renamed))
    }
}

fn materialized(name: &QualifiedName, view: &View, found: &Table) -> Materialized {
    let index = |(own, index): (&Ident, &Index)| (own.clone(), create_index(own, name, index));
    let indexes = found.indexes.iter().filter(|(_, index)| index.valid).map(index).collect();
    Materialized { unpopulated: view.unpopulated, indexes }
}

/// What a view has on the source that it will not have.
fn listed(name: &QualifiedName, source: &Catalog, report: &mut Report) {
    let Some(found) = source.tables.get(name) else { return };
    for column in found.columns.iter().filter(|column| column.default.is_some()) {
        let why = "what a view gives columns that INSERT leaves out is not carried";
        report.leave("default", format!("{name}.{}", column.name), why);
    }
    for trigger in found.triggers.keys() {
        report.leave("trigger", format!("{name}.{trigger}"), "triggers of views are not carried yet");
    }
    for (index, own) in &found.indexes {
        let at = format!("{name}.{index}");
        if !own.valid {
            report.leave("index", &at, "it is not valid");
        }
        if own.comment.is_some() {
            report.leave("comment", &at, "that of an index of a materialized view is not carried");
        }
        if own.clustered {
            report.leave("clustered index", &at, "which one CLUSTER takes is not said of materialized views");
        }
    }
    for own in found.statistics.keys() {
        report.leave("statistics", own, "those of materialized views are not carried");
    }
    let is_told = |column: &&Column| {
        column.statistics_target.is_some()
            || column.storage.is_some()
            || column.compression.is_some()
            || !column.options.is_empty()
    };
    for column in found.columns.iter().filter(is_told) {
        let why = "what is said of a column of a materialized view is not carried";
        report.leave("column setting", format!("{name}.{}", column.name), why);
    }
    for dependent in source.dependents.iter().filter(|one| one.table == *name && !is_view(&one.kind)) {
        report.leave(&dependent.kind, &dependent.name, format!("depends on {name}"));
    }
}

/// True for the kinds of dependents that are views.
pub(crate) fn is_view(kind: &str) -> bool {
    matches!(kind, "view" | "materialized view")
}

/// Schemas that are made for views.
pub(crate) fn schemas<'v>(views: &'v Views, target: &Catalog) -> impl Iterator<Item = (&'v Ident, &'v Ident)> {
    let new = |view: &&ResolvedView| !target.schemas.contains(&view.name.schema);
    views.carried.iter().filter(new).map(|view| (&view.name.schema, &view.source.schema))
}

/// The tables whose rows a view shows, itself or through others.
pub(crate) fn tables_behind<'v>(
    name: &QualifiedName,
    views: &'v BTreeMap<QualifiedName, View>,
) -> BTreeSet<&'v QualifiedName> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&QualifiedName> = views.get(name).iter().flat_map(|view| view.reads.keys()).collect();
    while let Some(next) = open.pop() {
        if found.insert(next) {
            open.extend(views.get(next).iter().flat_map(|view| view.reads.keys()));
        }
    }
    found
}
