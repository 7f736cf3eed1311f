//! Several source tables in one target: what tells their rows apart.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::catalog::{Constraint, ConstraintKind, Ident, IndexElement, QualifiedName, References};
use crate::desired::{At, Whole};
use crate::findings::rules::TABLES_MERGED;
use crate::projection::{ColumnValue, Part};
use crate::resolve::ResolvedTable;
use crate::resolve::column::Columns;
use crate::resolve::error::{ResolveError, ResolveErrorKind};
use crate::resolve::report::Report;
use crate::resolve::scope::Scope;
use crate::sql::part::{canonical, tells_apart, told, told_of_all, value};
use crate::sql::token::{Token, TokenKind, tokens};
use crate::sql::{ident, literal};

/// Finds the targets with several sources, and by what the rows of each are known.
pub(crate) fn settle(scopes: &mut [Scope<'_>], report: &mut Report) {
    let mut groups: BTreeMap<&QualifiedName, Vec<usize>> = BTreeMap::new();
    for (number, scope) in scopes.iter().enumerate() {
        groups.entry(scope.target_name).or_default().push(number);
    }
    let groups: Vec<Vec<usize>> = groups.into_values().filter(|group| group.len() > 1).collect();
    for group in groups {
        let members: Vec<&Scope<'_>> = group.iter().map(|&number| &scopes[number]).collect();
        let (n_errors, origin) = (report.errors.len(), members[0].desired.origin);
        if let Some(parts) = parts(&members, report) {
            for (number, part) in group.iter().zip(parts) {
                scopes[*number].part = Some(part);
            }
            let sources = group.iter().map(|&number| &scopes[number]);
            let sources = sources.filter_map(|scope| Some((scope.name, scope.part.as_ref()?)));
            report.find(&TABLES_MERGED, scopes[group[0]].target_name, told_of_all(sources));
            for number in group {
                unambiguous(&scopes[number], scopes, report);
            }
        }
        report.belong(n_errors, origin);
    }
}

/// The parts of one target; `None` when it has none, or not all are right.
fn parts(members: &[&Scope<'_>], report: &mut Report) -> Option<Vec<Part>> {
    let first = members[0];
    let whole = first.whole()?;
    let column = &first.desired.part.as_ref()?.value;
    let n_errors = report.errors.len();
    let mut parts: Vec<Part> = Vec::new();
    for scope in members {
        // Without one of them two entries have one target, which is told as such.
        let own = scope.desired.part.as_ref()?;
        if scope.split.is_some() {
            let why = "it also goes into another table; a table of the source is either parted or merged".to_owned();
            refuse(scope, &own.span, why, None, report);
        }
        match constant(scope, whole, own) {
            Ok(found) if parts.iter().any(|part| part.value == found) => {
                let why = format!("another of its sources has {} too: each needs a value of its own", literal(&found));
                refuse(scope, &own.span, why, None, report);
            }
            Ok(found) => parts.push(Part { column: column.clone(), value: found, others: Vec::new() }),
            Err(why) => {
                let help = "a plain constant: text without a length ('east'), or an integer";
                refuse(scope, &own.span, why, Some(help.to_owned()), report);
            }
        }
    }
    fit(first, whole, column, report);
    if report.errors.len() > n_errors {
        return None;
    }
    let (head, rest) = parts.split_first_mut()?;
    head.others = rest.iter().map(|part| part.value.clone()).collect();
    Some(parts)
}

fn refuse(scope: &Scope<'_>, span: &Range<usize>, why: String, help: Option<String>, report: &mut Report) {
    let kind = ResolveErrorKind::NotMerged { table: scope.name.clone(), target: scope.target_name.clone(), why };
    report.errors.push(ResolveError { help, ..ResolveError::new(kind).at(span) });
}

/// The value of the column in every row of a source.
fn constant(scope: &Scope<'_>, whole: &Whole, own: &At<Ident>) -> Result<String, String> {
    let column = whole.table.column(&own.value).ok_or_else(|| format!("the table has no column {}", own.value))?;
    let added = scope.desired.add.iter().find(|added| added.value.name.value == own.value);
    let text = added.and_then(|added| added.value.backfill.as_ref()).map_or("", |text| text.value.as_str());
    let unclear = || format!("{text} is no constant of {} that can be told from others by its text", column.ty.sql);
    let is_number = ["int2", "int4", "int8"].iter().any(|ty| column.ty.is(ty));
    let list = tokens(text).map_err(|_| unclear())?;
    let written = match list.as_slice() {
        [only] => match &only.kind {
            // Not `E'…'`, whose escapes nobody has read.
            TokenKind::Text(inside) if text[only.start..].starts_with('\'') => inside.clone(),
            TokenKind::Number if is_number => text[only.start..only.end].to_owned(),
            _ => return Err(unclear()),
        },
        [sign, number] if is_number && sign.is("-") && matches!(number.kind, TokenKind::Number) => {
            format!("-{}", &text[number.start..number.end])
        }
        _ => return Err(unclear()),
    };
    canonical(&written, &column.ty).ok_or_else(unclear)
}

/// The table keeps the rows of its sources apart by that column.
fn fit(scope: &Scope<'_>, whole: &Whole, name: &Ident, report: &mut Report) {
    let Some(column) = whole.table.column(name) else { return };
    let span = whole.places.columns.get(name).unwrap_or(&whole.places.name);
    let mut at_column = |why: String| refuse(scope, span, why, Some(format!("{} … NOT NULL", ident(name))), report);
    if !column.not_null {
        at_column(format!("{name} can be NULL, and then nothing says whose the row is"));
    }
    if column.generated.is_some() || column.identity.is_some() {
        at_column(format!("{name} gets its values from the server"));
    }
    if column.collation.as_ref().is_some_and(|collation| collation.schema.as_str() != "pg_catalog") {
        at_column(format!("{name} has a collation of its own, which may find two texts equal"));
    }
    for (index_name, index) in whole.table.indexes.iter().filter(|(_, index)| index.unique) {
        let element = index.elements.iter().find(|element| element.column.as_ref() == Some(name));
        // Where no server has read the file, only the text has what stands beside a column.
        let is_plain = |element: &IndexElement| {
            let is_told_apart = index.definition.is_empty() || tells_apart(&index.definition, name);
            element.collation.is_none() && element.opclass.is_none() && is_told_apart
        };
        let (why, help) = match element {
            Some(element) if is_plain(element) => continue,
            Some(_) => (
                format!("{index_name} has {name} with a collation or operator class, which may find two values equal"),
                format!("just the column: ({}, …)", ident(name)),
            ),
            None => (
                format!("{index_name} lacks {name}: rows of two sources may have the same values there"),
                format!("add the column: ({}, …)", ident(name)),
            ),
        };
        let places = &whole.places;
        let place = places.indexes.get(index_name).or_else(|| places.constraints.get(index_name));
        refuse(scope, place.unwrap_or(&places.name), why, Some(help), report);
    }
    for (constraint, _) in whole.table.constraints.iter().filter(|(_, one)| one.kind == ConstraintKind::Exclude) {
        let place = whole.places.constraints.get(constraint).unwrap_or(&whole.places.name);
        let why = format!("{constraint} may exclude a row of one source because of another's");
        let help = "leave it out, and add it after the cutover".to_owned();
        refuse(scope, place, why, Some(help), report);
    }
}

/// Why a foreign key to a table that has the rows of several sources stays behind.
pub(crate) fn merged(target: &QualifiedName) -> String {
    format!(
        "{target} has the rows of several tables, and not every row says by a constant which of them it refers to; add the \
         foreign key after the cutover"
    )
}

/// True when the foreign key refers to a table with one source, or each row refers to rows of one of the sources: that
/// with the constant of its own.
pub(crate) fn stays_in_its_part(
    scope: &Scope<'_>,
    scopes: &[Scope<'_>],
    constraint: &Constraint,
    references: &References,
) -> bool {
    let far: Vec<&Part> = parts_of(&references.table, scopes).collect();
    let Some(first) = far.first() else { return true };
    let near: Vec<&Part> = parts_of(scope.target_name, scopes).collect();
    let Some(own) = near.first() else { return false };
    let mut pairs = constraint.columns.iter().zip(&references.columns);
    pairs.any(|pair| pair == (&own.column, &first.column))
        && near.iter().all(|near| far.iter().any(|far| far.value == near.value))
}

/// Why a foreign key would change what tells the sources of its own table apart, when it would: after the cutover a row
/// that is deleted or changed there would make a row of nobody here, or of another source.
pub(crate) fn changes_its_part(scope: &Scope<'_>, constraint: &Constraint, references: &References) -> Option<String> {
    let column = &scope.part.as_ref()?.column;
    if !constraint.columns.contains(column) {
        return None;
    }
    let Ok(list) = tokens(&references.actions) else {
        return Some(format!("nobody can say what it does to {column}: {}", references.actions));
    };
    let word = |at: usize| list.get(at).and_then(|token| token.word());
    let (at, event) = (0..list.len()).find_map(|at| {
        let event = word(at + 1).filter(|_| word(at) == Some("on") && word(at + 2) == Some("set"))?;
        let named: Option<Vec<&Token>> = list.get(at + 4).filter(|token| token.is("(")).map(|_| {
            let rest = list[at + 5..].iter();
            rest.take_while(|token| !token.is(")")).collect()
        });
        let is_changed = named.is_none_or(|named| named.iter().any(|token| token.name() == Some(column.as_str())));
        is_changed.then_some((at, event))
    })?;
    let action = format!("ON {} SET {}", event, word(at + 3).unwrap_or_default()).to_uppercase();
    Some(format!(
        "{action} would change {column}, which tells the sources of {} apart; name the other columns, or add the foreign \
         key after the cutover",
        scope.target_name
    ))
}

fn parts_of<'s>(target: &QualifiedName, scopes: &'s [Scope<'_>]) -> impl Iterator<Item = &'s Part> {
    scopes.iter().filter(move |scope| scope.target_name == target).filter_map(|scope| scope.part.as_ref())
}

/// True when rows of `near` may refer to those of `far`, as far as constants tell: [`stays_in_its_part`] has been asked.
pub(crate) fn is_counterpart(near: &Scope<'_>, far: &Scope<'_>) -> bool {
    far.part.as_ref().is_none_or(|far| near.part.as_ref().is_some_and(|near| near.value == far.value))
}

/// A plan speaks of a part by its source's name, and of any other table by its target's too.
fn unambiguous(scope: &Scope<'_>, scopes: &[Scope<'_>], report: &mut Report) {
    let others = scopes.iter().filter(|other| other.target_name != scope.target_name);
    let taken = others.into_iter().any(|other| other.target_name == scope.name || other.at() == scope.name);
    if let (true, Some(part)) = (taken, &scope.desired.part) {
        let why = "another table gets its name, and the plan could not tell them apart".to_owned();
        refuse(scope, &part.span, why, None, report);
    }
}

/// Makes the column that constant, and nothing else.
pub(crate) fn constant_column(scope: &Scope<'_>, columns: &mut Columns) {
    let Some(part) = &scope.part else { return };
    let address = scope.added(&part.column);
    columns.predicates.retain(|predicate| predicate.address != address);
    for column in columns.projected.iter_mut().filter(|column| column.target == part.column) {
        column.value = ColumnValue::Expr { sql: value(part, &column.ty), reads: Vec::new() };
    }
    columns.reasons.insert(part.column.clone(), told(part));
}

/// What belongs to the target is the same for all its sources, and told once. `tables` are those of `scopes`.
pub(crate) fn join(scopes: &[Scope<'_>], tables: &mut [ResolvedTable], report: &mut Report) {
    if tables.iter().all(|table| table.projection.part.is_none()) {
        return;
    }
    let mut late: BTreeMap<QualifiedName, BTreeSet<Ident>> = BTreeMap::new();
    let mut keys: BTreeMap<QualifiedName, Ident> = BTreeMap::new();
    for (scope, table) in scopes.iter().zip(&*tables) {
        late.entry(table.target.clone()).or_default().extend(table.late_defaults.iter().cloned());
        let Some(own) = &table.key_index else { continue };
        let key = keys.entry(table.target.clone()).or_insert_with(|| own.clone());
        if let (true, Some(part)) = (&*key != own, &scope.desired.part) {
            let why = format!("its rows would be found by {own}, and those of another source by {key}");
            let help =
                "name columns by `-- pcrd: key (…)` that one unique index has, with the column that tells them apart";
            let first = report.errors.len();
            refuse(scope, &part.span, why, Some(help.to_owned()), report);
            report.belong(first, scope.desired.origin);
        }
    }
    for table in tables.iter_mut() {
        table.late_defaults = late.get(&table.target).cloned().unwrap_or_default();
        // A source without a key has no use for it, but the others have.
        table.key_index = keys.get(&table.target).cloned();
    }
    let mut seen = BTreeSet::new();
    report.findings.retain(|one| seen.insert((one.address.clone(), one.code.clone(), one.message.clone())));
}
