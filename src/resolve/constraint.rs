//! Constraints with the target's names.

use std::collections::BTreeMap;

use crate::catalog::{ColumnType, Constraint, ConstraintKind, Ident, Index, Key, QualifiedName, References, Table};
use crate::desired::Whole;
use crate::findings::Severity;
use crate::findings::rules::{CONSTRAINT_NOT_CARRIED, CONSTRAINT_NOT_VALID, FK_OUT_OF_SCOPE, FK_TYPE_DIFFERS};
use crate::resolve::merge::{changes_its_part, merged, stays_in_its_part};
use crate::resolve::report::Report;
use crate::resolve::scope::Scope;
use crate::resolve::split::referenced;
use crate::sql::ddl_index::{foreign_key, key_constraint, timing};
use crate::sql::token::TokenError;

/// Every constraint that can be carried, foreign keys apart.
pub(crate) fn constraints(
    scope: &Scope<'_>,
    indexes: &BTreeMap<Ident, Index>,
    report: &mut Report,
) -> BTreeMap<Ident, Constraint> {
    let mut carried = BTreeMap::new();
    for (name, constraint) in &scope.table.constraints {
        let result = match constraint.kind {
            ConstraintKind::PrimaryKey | ConstraintKind::Unique => Ok(key(scope, constraint, indexes)),
            ConstraintKind::Check => check(scope, constraint),
            ConstraintKind::Exclude => exclude(scope, constraint),
            // A constraint trigger is one of the triggers.
            ConstraintKind::ForeignKey | ConstraintKind::Trigger => continue,
        };
        match result {
            Ok(Ok(constraint)) => {
                not_valid(scope, name, &constraint, "on the source", report);
                let own = if constraint.index.is_some() { scope.object(name) } else { name.clone() };
                carried.insert(own, constraint);
            }
            Ok(Err(why)) => leave(scope, name, why, report),
            Err(error) => leave(scope, name, format!("its definition cannot be read: {error}"), report),
        }
    }
    carried
}

fn not_valid(scope: &Scope<'_>, name: &Ident, constraint: &Constraint, place: &str, report: &mut Report) {
    if !constraint.validated {
        let message = format!("it is NOT VALID {place} and stays so on the target");
        report.find(&CONSTRAINT_NOT_VALID, scope.address(name), message);
    }
}

fn leave(scope: &Scope<'_>, name: &Ident, why: String, report: &mut Report) {
    let address = scope.address(name);
    report.find(&CONSTRAINT_NOT_CARRIED, &address, format!("the target will not check it: {why}"));
    report.leave("constraint", address, why);
}

type Carried = Result<Constraint, String>;

fn renamed(scope: &Scope<'_>, columns: &[Ident]) -> Result<Vec<Ident>, String> {
    let rename = |column: &Ident| {
        scope.renames.get(column).cloned().ok_or_else(|| format!("it reads the dropped column {column}"))
    };
    columns.iter().map(rename).collect()
}

fn key(scope: &Scope<'_>, constraint: &Constraint, indexes: &BTreeMap<Ident, Index>) -> Carried {
    let columns = renamed(scope, &constraint.columns)?;
    let own = constraint.index.as_ref().map(|name| scope.object(name));
    let index = own.as_ref().and_then(|name| indexes.get(name));
    let index = index.ok_or_else(|| "its index cannot be carried".to_owned())?;
    if constraint.definition.contains("WITHOUT OVERLAPS") {
        return Err("WITHOUT OVERLAPS is not carried yet".to_owned());
    }
    let primary = constraint.kind == ConstraintKind::PrimaryKey;
    let definition = key_constraint(primary, index, constraint.deferrable, constraint.initially_deferred);
    Ok(Constraint { definition, columns, index: own, ..constraint.clone() })
}

fn check(scope: &Scope<'_>, constraint: &Constraint) -> Result<Carried, TokenError> {
    let Some(expression) = &constraint.expression else { return Ok(Err("its expression is not known".to_owned())) };
    let rewritten = scope.rename(expression)?;
    if let Some(column) = rewritten.reads.iter().find(|column| scope.dropped.contains(*column)) {
        return Ok(Err(format!("it reads the dropped column {column}")));
    }
    let no_inherit = if constraint.no_inherit { " NO INHERIT" } else { "" };
    let not_enforced = if constraint.definition.ends_with("NOT ENFORCED") { " NOT ENFORCED" } else { "" };
    let definition = format!("CHECK ({}){no_inherit}{not_enforced}", rewritten.sql);
    Ok(renamed(scope, &constraint.columns).map(|columns| Constraint {
        definition,
        columns,
        expression: Some(rewritten.sql),
        ..constraint.clone()
    }))
}

fn exclude(scope: &Scope<'_>, constraint: &Constraint) -> Result<Carried, TokenError> {
    let rewritten = scope.rename(&constraint.definition)?;
    if let Some(column) = rewritten.reads.iter().find(|column| scope.dropped.contains(*column)) {
        return Ok(Err(format!("it reads the dropped column {column}")));
    }
    let columns = renamed(scope, &constraint.columns);
    let index = constraint.index.as_ref().map(|name| scope.object(name));
    Ok(columns.map(|columns| Constraint { definition: rewritten.sql, columns, index, ..constraint.clone() }))
}

/// The primary key with the target's names, when it is carried.
pub(crate) fn primary_key(scope: &Scope<'_>, constraints: &BTreeMap<Ident, Constraint>) -> Option<Key> {
    let key = scope.table.primary_key.as_ref()?;
    let name = scope.object(&key.name);
    constraints.get(&name)?;
    let rename = |columns: &[Ident]| columns.iter().map(|column| scope.renames.get(column).cloned()).collect();
    let (columns, include): (Option<Vec<_>>, Option<Vec<_>>) = (rename(&key.columns), rename(&key.include));
    Some(Key { name, columns: columns?, include: include?, ..key.clone() })
}

/// Foreign keys between migrated tables; `wanted` are all target tables without their foreign keys.
pub(crate) fn foreign_keys(
    scope: &Scope<'_>,
    scopes: &[Scope<'_>],
    wanted: &BTreeMap<QualifiedName, Table>,
    report: &mut Report,
) -> BTreeMap<Ident, Constraint> {
    let mut carried = BTreeMap::new();
    if let Some(whole) = scope.whole() {
        return written_foreign_keys(scope, whole, scopes, wanted, report);
    }
    for (name, constraint) in &scope.table.constraints {
        let Some(references) = &constraint.references else { continue };
        let far = match referenced(scopes, scope, name, references) {
            Ok(far) => far,
            Err(why) => {
                leave(scope, name, why, report);
                continue;
            }
        };
        let Some(far) = far else {
            let why = format!("{} is not migrated", references.table);
            let message = format!("{why}, so the target cannot check the foreign key");
            report.find(&FK_OUT_OF_SCOPE, scope.address(name), message);
            report.leave("foreign key", scope.address(name), why);
            continue;
        };
        match foreign(scope, far, constraint, references) {
            Ok(Ok(constraint)) => {
                compare_types(scope, name, &constraint, wanted, report);
                not_valid(scope, name, &constraint, "on the source", report);
                carried.insert(name.clone(), constraint);
            }
            Ok(Err(why)) => leave(scope, name, why, report),
            Err(error) => leave(scope, name, format!("its definition cannot be read: {error}"), report),
        }
    }
    carried
}

/// Those of a whole table name target tables already.
fn written_foreign_keys(
    scope: &Scope<'_>,
    whole: &Whole,
    scopes: &[Scope<'_>],
    wanted: &BTreeMap<QualifiedName, Table>,
    report: &mut Report,
) -> BTreeMap<Ident, Constraint> {
    let mut kept = BTreeMap::new();
    for (name, constraint) in &whole.table.constraints {
        let Some(references) = &constraint.references else { continue };
        if !scopes.iter().any(|far| far.target_name == &references.table) {
            let why = format!("{} is not migrated", references.table);
            let message = format!("{why}, so the target cannot check the foreign key");
            report.find(&FK_OUT_OF_SCOPE, scope.address(name), message);
            report.leave("foreign key", scope.address(name), why);
            continue;
        }
        if !stays_in_its_part(scope, scopes, constraint, references) {
            leave(scope, name, merged(&references.table), report);
            continue;
        }
        if let Some(why) = changes_its_part(scope, constraint, references) {
            leave(scope, name, why, report);
            continue;
        }
        if has_period(constraint) {
            leave(scope, name, PERIOD.to_owned(), report);
            continue;
        }
        compare_types(scope, name, constraint, wanted, report);
        not_valid(scope, name, constraint, "in the file", report);
        kept.insert(name.clone(), constraint.clone());
    }
    kept
}

/// What the source's foreign keys become by the changes of names alone; the base of the comparison with a whole table.
pub(crate) fn carried_foreign_keys(scope: &Scope<'_>, scopes: &[Scope<'_>]) -> BTreeMap<Ident, Constraint> {
    let carry = |name: &Ident, constraint: &Constraint| {
        let references = constraint.references.as_ref()?;
        let far = referenced(scopes, scope, name, references).ok()??;
        foreign(scope, far, constraint, references).ok()?.ok()
    };
    let all = scope.table.constraints.iter();
    all.filter_map(|(name, constraint)| Some((name.clone(), carry(name, constraint)?))).collect()
}

fn foreign(
    scope: &Scope<'_>,
    far: &Scope<'_>,
    constraint: &Constraint,
    references: &References,
) -> Result<Carried, TokenError> {
    if has_period(constraint) {
        return Ok(Err(PERIOD.to_owned()));
    }
    let names = renamed(scope, &constraint.columns).and_then(|near| Ok((near, renamed(far, &references.columns)?)));
    let (columns, far_columns) = match names {
        Ok(names) => names,
        Err(why) => return Ok(Err(why)),
    };
    // `ON DELETE SET NULL (column)` names columns of this table, and only in parentheses: a column may be called `cascade`.
    let (words, list) = references.actions.split_at(references.actions.find('(').unwrap_or(references.actions.len()));
    let mut actions = scope.rename(list)?;
    actions.sql.insert_str(0, words);
    if let Some(column) = actions.reads.iter().find(|column| scope.dropped.contains(*column)) {
        return Ok(Err(format!("it reads the dropped column {column}")));
    }
    let timing = timing(constraint.deferrable, constraint.initially_deferred);
    let definition = foreign_key(&columns, far.target_name, &far_columns, &actions.sql, timing);
    let references = References { table: far.target_name.clone(), columns: far_columns, actions: actions.sql };
    Ok(Ok(Constraint { definition, columns, references: Some(references), ..constraint.clone() }))
}

const PERIOD: &str = "a foreign key over a PERIOD is not carried yet";

/// The last columns are ranges, of which one must contain the other.
fn has_period(constraint: &Constraint) -> bool {
    constraint.definition.split(" REFERENCES ").next().is_some_and(|columns| columns.contains(", PERIOD "))
}

/// A key that was widened on one side only overflows later; one that changed kind cannot be compared at all.
fn compare_types(
    scope: &Scope<'_>,
    name: &Ident,
    constraint: &Constraint,
    wanted: &BTreeMap<QualifiedName, Table>,
    report: &mut Report,
) {
    let Some(references) = &constraint.references else { return };
    let type_of = |table: &QualifiedName, column: &Ident| Some(&wanted.get(table)?.column(column)?.ty);
    for (near, far) in constraint.columns.iter().zip(&references.columns) {
        let types = (type_of(scope.target_name, near), type_of(&references.table, far));
        let (Some(near_type), Some(far_type)) = types else { continue };
        if (&near_type.schema, &near_type.name) == (&far_type.schema, &far_type.name) {
            continue;
        }
        let address = scope.address(name);
        if family(near_type).is_some() && family(near_type) == family(far_type) {
            let message = format!(
                "{near} is {} and refers to {}.{far}, which becomes {}; give {near} `type: {}` too",
                near_type.sql, references.table, far_type.sql, far_type.sql
            );
            report.find(&FK_TYPE_DIFFERS, address, message);
        } else {
            let message =
                format!("{} cannot be compared with {} of {}.{far}", near_type.sql, far_type.sql, references.table);
            report.find_as(&FK_TYPE_DIFFERS, Severity::Refused, address, message);
        }
    }
}

/// Types that one operator family compares with each other.
fn family(ty: &ColumnType) -> Option<&'static str> {
    let families: [(&str, &[&str]); 4] = [
        ("integer", &["int2", "int4", "int8"]),
        ("float", &["float4", "float8"]),
        ("text", &["text", "varchar", "name"]),
        ("datetime", &["date", "timestamp", "timestamptz"]),
    ];
    families.into_iter().find(|(_, names)| names.iter().any(|name| ty.is(name))).map(|(family, _)| family)
}
