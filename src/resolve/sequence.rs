//! Sequences go where their tables go.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{Catalog, Column, ColumnRef, ColumnType, Ident, QualifiedName, Sequence, Table};
use crate::desired::DesiredSchema;
use crate::findings::rules::{SEQUENCE_NEW, SEQUENCE_NOT_OWNED, SEQUENCE_SHARED};
use crate::resolve::ResolvedSequence;
use crate::resolve::partitions::is_partition_of;
use crate::resolve::report::Report;
use crate::resolve::scope::Scope;
use crate::resolve::split::short;
use crate::sql::rewrite::sequences_named;

/// Source sequences that are carried, and what they are called on the target.
pub(crate) struct SequenceNames {
    /// By source name.
    pub(crate) all: BTreeMap<QualifiedName, QualifiedName>,
    /// Of a source table with several targets, only one target has the sequence of that name; by number of the table.
    own: Vec<BTreeMap<QualifiedName, QualifiedName>>,
}

impl SequenceNames {
    /// As a table has them.
    pub(crate) fn of(&self, number: usize) -> Cow<'_, BTreeMap<QualifiedName, QualifiedName>> {
        let own = &self.own[number];
        if own.is_empty() {
            return Cow::Borrowed(&self.all);
        }
        let mut names = self.all.clone();
        names.extend(own.iter().map(|(name, target)| (name.clone(), target.clone())));
        Cow::Owned(names)
    }

    fn pairs(&self) -> impl Iterator<Item = (&QualifiedName, &QualifiedName)> {
        self.all.iter().chain(self.own.iter().flatten())
    }
}

/// Source sequences that are carried and their target names: those that a kept column owns or calls.
pub(crate) fn names(scopes: &[Scope<'_>], source: &Catalog, desired: &DesiredSchema) -> SequenceNames {
    let mut found = SequenceNames { all: BTreeMap::new(), own: vec![BTreeMap::new(); scopes.len()] };
    for (number, scope) in scopes.iter().enumerate() {
        for (old, new) in &scope.renames {
            given((number, scope), old, new, source, desired, &mut found);
        }
    }
    let names = &mut found.all;
    for (name, sequence) in &source.sequences {
        let users = sequence.owned_by.iter().chain(&sequence.used_by);
        let scope = users.flat_map(|user| kept(scopes.iter(), user)).map(|(scope, _)| scope).next();
        let scope = scope.filter(|scope| scope.whole().is_none());
        if let Some(scope) = scope {
            // OWNED BY wants one schema for both, so a sequence moves only when its table does.
            let moves = scope.target_name.schema != scope.name.schema && name.schema == scope.name.schema;
            let schema = if moves { &scope.target_name.schema } else { &name.schema };
            names.insert(name.clone(), QualifiedName { schema: schema.clone(), name: name.name.clone() });
        }
    }
    for (number, scope) in
        scopes.iter().enumerate().filter(|(_, scope)| scope.split.is_some() && scope.whole().is_none())
    {
        further_identities(number, scope, scopes, &mut found);
    }
    found
}

/// An identity column of a further target has a sequence of its own, called as PostgreSQL would call it.
fn further_identities(number: usize, scope: &Scope<'_>, scopes: &[Scope<'_>], found: &mut SequenceNames) {
    for (old, new) in &scope.renames {
        let Some(identity) = scope.table.column(old).and_then(|column| column.identity.as_ref()) else { continue };
        let at = ColumnRef { table: scope.name.clone(), column: old.clone() };
        let is_first = kept(scopes.iter(), &at).next().is_some_and(|(first, _)| first.target_name == scope.target_name);
        let name = short(&format!("{}_{}_seq", scope.target_name.name.as_str(), new.as_str()));
        if let (false, Some(name)) = (is_first, name) {
            let target = QualifiedName { schema: scope.target_name.schema.clone(), name };
            found.own[number].insert(identity.sequence.clone(), target);
        }
    }
}

/// Pairs the source's sequences of a column with those that the file gives it: by name first, then the only ones left.
fn given(
    (number, scope): (usize, &Scope<'_>),
    old: &Ident,
    new: &Ident,
    source: &Catalog,
    desired: &DesiredSchema,
    names: &mut SequenceNames,
) {
    let Some(whole) = scope.whole() else { return };
    let of_column = |table: &QualifiedName, column: Option<&Column>, all: &BTreeMap<QualifiedName, Sequence>| {
        let Some(column) = column else { return Vec::new() };
        let mut found: Vec<QualifiedName> = column.identity.iter().map(|identity| identity.sequence.clone()).collect();
        let called = column.default.as_deref().map(sequences_named).and_then(Result::ok);
        found.extend(called.into_iter().flatten().filter(|name| all.contains_key(name)));
        let at = ColumnRef { table: table.clone(), column: column.name.clone() };
        found.extend(all.iter().filter(|(_, one)| one.owned_by.as_ref() == Some(&at)).map(|(name, _)| name.clone()));
        found.dedup();
        found
    };
    let before = of_column(scope.name, scope.table.column(old), &source.sequences);
    let after = of_column(scope.target_name, whole.table.column(new), &desired.sequences);
    for name in &before {
        let same_name = after.iter().find(|other| other.name == name.name);
        let taken: BTreeSet<QualifiedName> = names.pairs().map(|(_, target)| target.clone()).collect();
        // Rows of several sources are numbered by one sequence.
        let is_free = |other: &&QualifiedName| scope.part.is_some() || !taken.contains(*other);
        let other = same_name.or_else(|| after.first()).filter(is_free);
        if let Some(other) = other {
            let is_known = names.all.contains_key(name);
            let list = if is_known && scope.split.is_some() { &mut names.own[number] } else { &mut names.all };
            list.entry(name.clone()).or_insert_with(|| other.clone());
        }
    }
}

/// Sequences of the file that a wanted column owns or calls, with the source's that they go on from.
fn written(
    scopes: &[Scope<'_>],
    desired: &DesiredSchema,
    names: &SequenceNames,
    report: &mut Report,
) -> Vec<ResolvedSequence> {
    let wanted: BTreeMap<&QualifiedName, &Table> =
        scopes.iter().filter_map(|scope| Some((scope.target_name, &scope.whole()?.table))).collect();
    let is_wanted = |at: &ColumnRef| wanted.get(&at.table).is_some_and(|table| table.column(&at.column).is_some());
    let mut list = Vec::new();
    for (name, sequence) in &desired.sequences {
        let used = sequence.owned_by.iter().chain(&sequence.used_by).any(is_wanted);
        if !used {
            continue;
        }
        let mut sources = names.pairs().filter(|(_, target)| *target == name).map(|(source, _)| source.clone());
        let source = sources.next();
        let further = sources.collect();
        if source.is_none() {
            let message = "the source has no such sequence; at the cutover it starts past the values that are there";
            report.find(&SEQUENCE_NEW, name, message);
        }
        let owned_by = sequence.owned_by.clone().filter(is_wanted);
        let used_by = sequence.used_by.iter().filter(|at| is_wanted(at)).cloned().collect();
        let wanted = Sequence { owned_by, used_by, ..sequence.clone() };
        list.push(ResolvedSequence { source, further, target: name.clone(), wanted });
    }
    list
}

/// The target columns of a source column, where it is kept.
fn kept<'s, 'a: 's>(
    scopes: impl Iterator<Item = &'s Scope<'a>>,
    at: &ColumnRef,
) -> impl Iterator<Item = (&'s Scope<'a>, ColumnRef)> {
    scopes.filter(|scope| scope.name == &at.table).filter_map(|scope| {
        let column = scope.renames.get(&at.column)?;
        Some((scope, ColumnRef { table: scope.target_name.clone(), column: column.clone() }))
    })
}

/// The sequences with their options for the target.
pub(crate) fn sequences(
    scopes: &[Scope<'_>],
    source: &Catalog,
    desired: &DesiredSchema,
    names: &SequenceNames,
    wanted: &BTreeMap<QualifiedName, Table>,
    report: &mut Report,
) -> Vec<ResolvedSequence> {
    let mut list = written(scopes, desired, names, report);
    for (name, sequence) in &source.sequences {
        let Some(target) = names.all.get(name) else {
            if sequence.owned_by.as_ref().is_some_and(|owner| scopes.iter().any(|scope| scope.name == &owner.table)) {
                report.leave("sequence", name, "no kept column uses it");
            }
            continue;
        };
        hazards(scopes, source, (name, sequence), report);
        let mut groups: BTreeMap<&QualifiedName, Vec<&Scope<'_>>> = BTreeMap::new();
        for (scope, own) in scopes.iter().zip(&names.own) {
            groups.entry(own.get(name).unwrap_or(target)).or_default().push(scope);
        }
        for (target, group) in groups.into_iter().filter(|(target, _)| !desired.sequences.contains_key(*target)) {
            let wanted = carried(&group, sequence, wanted);
            let source = Some(name.clone());
            list.push(ResolvedSequence { source, further: Vec::new(), target: target.clone(), wanted });
        }
    }
    list
}

fn hazards(scopes: &[Scope<'_>], source: &Catalog, (name, sequence): (&QualifiedName, &Sequence), report: &mut Report) {
    if sequence.owned_by.is_none() {
        report.find(&SEQUENCE_NOT_OWNED, name, "no column owns it; it is carried because a default calls it");
    }
    let users: BTreeSet<&QualifiedName> =
        sequence.used_by.iter().chain(&sequence.owned_by).map(|user| &user.table).collect();
    let elsewhere: Vec<String> = users
        .into_iter()
        .filter(|table| !scopes.iter().any(|scope| &scope.name == table))
        .filter(|table| !is_partition_of(source, table, |root| scopes.iter().any(|scope| scope.name == root)))
        .map(ToString::to_string)
        .collect();
    if !elsewhere.is_empty() {
        let message = format!(
            "{} uses it too and stays: after the switch both servers would give the same numbers",
            elsewhere.join(", ")
        );
        report.find(&SEQUENCE_SHARED, name, message);
    }
}

/// Same options, wider or narrower with the column that takes the values.
fn carried(scopes: &[&Scope<'_>], sequence: &Sequence, wanted: &BTreeMap<QualifiedName, Table>) -> Sequence {
    let targets = |at| kept(scopes.iter().copied(), at).map(|(_, at)| at);
    let owned_by = sequence.owned_by.as_ref().and_then(|at| targets(at).next());
    let used_by: Vec<ColumnRef> = sequence.used_by.iter().flat_map(targets).collect();
    let type_of = |at: &ColumnRef| wanted.get(&at.table)?.column(&at.column).map(|column| &column.ty);
    let types: Vec<&ColumnType> = owned_by.iter().chain(&used_by).filter_map(type_of).collect();
    let widest = types.iter().filter_map(|ty| Width::of_column(ty)).max();
    let own = Width::of_sequence(&sequence.ty);
    let width = match widest {
        Some(widest) if sequence.identity || widest > own => widest,
        _ => own,
    };
    let bound = |value: i64, own_bound: i64, new_bound: i64| {
        let is_default = value == own_bound;
        let is_outside = (new_bound > 0 && value > new_bound) || (new_bound < 0 && value < new_bound);
        if is_default || is_outside { new_bound } else { value }
    };
    Sequence {
        ty: width.name().to_owned(),
        min: bound(sequence.min, own.min(), width.min()),
        max: bound(sequence.max, own.max(), width.max()),
        owned_by,
        used_by,
        grants: Vec::new(),
        ..sequence.clone()
    }
}

/// The integer types that sequences have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Width {
    Small,
    Integer,
    Big,
}

impl Width {
    fn of_column(ty: &ColumnType) -> Option<Self> {
        [("int2", Self::Small), ("int4", Self::Integer), ("int8", Self::Big)]
            .into_iter()
            .find(|(name, _)| ty.is(name))
            .map(|(_, width)| width)
    }

    fn of_sequence(ty: &str) -> Self {
        match ty {
            "smallint" => Self::Small,
            "integer" => Self::Integer,
            _ => Self::Big,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Small => "smallint",
            Self::Integer => "integer",
            Self::Big => "bigint",
        }
    }

    fn max(self) -> i64 {
        match self {
            Self::Small => i64::from(i16::MAX),
            Self::Integer => i64::from(i32::MAX),
            Self::Big => i64::MAX,
        }
    }

    fn min(self) -> i64 {
        match self {
            Self::Small => i64::from(i16::MIN),
            Self::Integer => i64::from(i32::MIN),
            Self::Big => i64::MIN,
        }
    }
}
