//! Sequences go where their tables go.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{Catalog, ColumnRef, ColumnType, QualifiedName, Sequence, Table};
use crate::findings::rules::{SEQUENCE_NOT_OWNED, SEQUENCE_SHARED};
use crate::resolve::ResolvedSequence;
use crate::resolve::report::Report;
use crate::resolve::scope::Scope;

/// Source sequences that are carried and their target names: those that a kept column owns or calls.
pub(crate) fn names(scopes: &[Scope<'_>], source: &Catalog) -> BTreeMap<QualifiedName, QualifiedName> {
    let mut names = BTreeMap::new();
    for (name, sequence) in &source.sequences {
        let users = sequence.owned_by.iter().chain(&sequence.used_by);
        let scope = users.filter_map(|user| kept(scopes, user)).map(|(scope, _)| scope).next();
        if let Some(scope) = scope {
            // OWNED BY wants one schema for both, so a sequence moves only when its table does.
            let moves = scope.target_name.schema != scope.name.schema && name.schema == scope.name.schema;
            let schema = if moves { &scope.target_name.schema } else { &name.schema };
            names.insert(name.clone(), QualifiedName { schema: schema.clone(), name: name.name.clone() });
        }
    }
    names
}

/// The target column of a source column, when it is kept.
fn kept<'s, 'a>(scopes: &'s [Scope<'a>], at: &ColumnRef) -> Option<(&'s Scope<'a>, ColumnRef)> {
    let scope = scopes.iter().find(|scope| scope.name == &at.table)?;
    let column = scope.renames.get(&at.column)?;
    Some((scope, ColumnRef { table: scope.target_name.clone(), column: column.clone() }))
}

/// The sequences with their options for the target.
pub(crate) fn sequences(
    scopes: &[Scope<'_>],
    source: &Catalog,
    names: &BTreeMap<QualifiedName, QualifiedName>,
    wanted: &BTreeMap<QualifiedName, Table>,
    report: &mut Report,
) -> Vec<ResolvedSequence> {
    let mut list = Vec::new();
    for (name, sequence) in &source.sequences {
        let Some(target) = names.get(name) else {
            if sequence.owned_by.as_ref().is_some_and(|owner| scopes.iter().any(|scope| scope.name == &owner.table)) {
                report.leave("sequence", name, "no kept column uses it");
            }
            continue;
        };
        hazards(scopes, name, sequence, report);
        list.push(ResolvedSequence {
            source: name.clone(),
            target: target.clone(),
            wanted: carried(scopes, sequence, wanted),
        });
    }
    list
}

fn hazards(scopes: &[Scope<'_>], name: &QualifiedName, sequence: &Sequence, report: &mut Report) {
    if sequence.owned_by.is_none() {
        report.find(&SEQUENCE_NOT_OWNED, name, "no column owns it; it is carried because a default calls it");
    }
    let users: BTreeSet<&QualifiedName> =
        sequence.used_by.iter().chain(&sequence.owned_by).map(|user| &user.table).collect();
    let elsewhere: Vec<String> = users
        .into_iter()
        .filter(|table| !scopes.iter().any(|scope| &scope.name == table))
        .map(ToString::to_string)
        .collect();
    if !elsewhere.is_empty() {
        let message = format!(
            "{} uses it too and stays: after the switch both servers would give the same numbers",
            elsewhere.join(", ")
        );
        report.find(&SEQUENCE_SHARED, name, message);
    }
    if !sequence.grants.is_empty() {
        report.leave(
            "grant",
            format!("{} on sequence {name}", sequence.grants.join(", ")),
            "grants are not carried yet",
        );
    }
}

/// Same options, wider or narrower with the column that takes the values.
fn carried(scopes: &[Scope<'_>], sequence: &Sequence, wanted: &BTreeMap<QualifiedName, Table>) -> Sequence {
    let target = |at: &ColumnRef| kept(scopes, at).map(|(_, at)| at);
    let owned_by = sequence.owned_by.as_ref().and_then(target);
    let used_by: Vec<ColumnRef> = sequence.used_by.iter().filter_map(target).collect();
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
