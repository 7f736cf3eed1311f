//! Tables that a desired SQL file gives whole: the file says what the target has, the source says where values come from.

use std::collections::{BTreeMap, BTreeSet};

use crate::casts::CastClass;
use crate::catalog::{
    Column, Constraint, ConstraintKind, Ident, Index, IndexElement, Key, QualifiedName, Table, TableKind,
};
use crate::desired::{AddedColumn, At, ColumnWish, Order, Whole};
use crate::findings::rules::GENERATED_RECOMPUTED;
use crate::projection::{ColumnValue, ProjectedColumn};
use crate::resolve::column::{
    Columns, NOT_COMPARED, Predicate, carried_default, generates, sql_error, take, user_expression, value,
};
use crate::resolve::error::{ResolveError, ResolveErrorKind};
use crate::resolve::merge::is_counterpart;
use crate::resolve::report::Report;
use crate::resolve::scope::Scope;
use crate::resolve::types::{exists_on_target, reads_on_target};
use crate::resolve::{Among, Check, CheckPredicate, ResolveOptions};
use crate::sql::alike::alike;
use crate::sql::filter::belongs;
use crate::sql::ident;
use crate::sql::rewrite::substitute;
use crate::sql::token::{TokenError, tokens};

/// A source column and what becomes of it.
pub(crate) struct Kept<'k> {
    pub(crate) column: &'k Column,
    pub(crate) wish: &'k ColumnWish,
    pub(crate) at: String,
    /// What it would be if only name and type changed; without default.
    pub(crate) carried: Column,
    /// What the file says.
    pub(crate) wanted: &'k Column,
}

/// Takes a column over; its values as in a table of which only changes are given.
pub(crate) fn kept(
    scope: &Scope<'_>,
    kept: Kept<'_>,
    options: &ResolveOptions,
    sequence_names: &BTreeMap<QualifiedName, QualifiedName>,
    out: &mut Columns,
    report: &mut Report,
) -> Result<(), ResolveError> {
    let Kept { column, wish, at, mut carried, wanted } = kept;
    let span = scope.desired.columns.get(&column.name).map_or(&scope.desired.source.span, |wish| &wish.span);
    exists_on_target(scope, &at, &wanted.ty, report)?;
    if let Some(generated) = &column.generated {
        carried.generated = scope
            .rename(&generated.expr)
            .ok()
            .map(|rewritten| crate::catalog::Generated { expr: rewritten.sql, stored: generated.stored })
            .map(Box::new);
    } else {
        carried.default = carried_default(column, wish, &at, CastClass::Identical, &carried.ty, sequence_names)?;
    }
    out.carried.push(carried);
    if let Some(generated) = &wanted.generated {
        generates(scope, &at, generated, span)?;
        let message = match column.ty == wanted.ty {
            _ if !generated.stored => NOT_COMPARED,
            true => "the target computes its values itself; verification compares them",
            false => "the target computes its values itself; of another type, they are not compared",
        };
        report.find(&GENERATED_RECOMPUTED, &at, message);
        if column.generated.is_none() {
            out.computed.push((wanted.name.clone(), column.name.clone()));
        }
        out.wanted.push(wanted.clone());
        return Ok(());
    }
    let projected = match (&column.generated, &wish.using) {
        // Not published by every version, so made again from what is.
        (Some(generated), None) => {
            let text = At { value: generated.expr.clone(), span: span.clone() };
            let expression = user_expression(scope, &at, &text, &wanted.ty)?;
            out.reasons.insert(wanted.name.clone(), "no longer generated: keeps the values".to_owned());
            let value = ColumnValue::Expr { sql: expression.sql, reads: expression.reads.into_iter().collect() };
            let class = CastClass::Custom;
            ProjectedColumn { target: wanted.name.clone(), ty: wanted.ty.clone(), value, class, inverse: None }
        }
        _ => value(scope, column, wish, wanted, options, out, report)?,
    };
    reads_on_target(scope, &at, &projected, report)?;
    take(column, wanted.clone(), projected, at, out);
    Ok(())
}

/// Adds a column as the file has it. One that is generated has no values to be made.
pub(crate) fn added(
    scope: &Scope<'_>,
    added: &At<AddedColumn>,
    wanted: &Column,
    out: &mut Columns,
    report: &mut Report,
) -> Result<(), ResolveError> {
    if let Some(generated) = &wanted.generated {
        let at = scope.added(&wanted.name);
        generates(scope, &at, generated, &added.span)?;
        exists_on_target(scope, &at, &wanted.ty, report)?;
        out.wanted.push(wanted.clone());
        return Ok(());
    }
    super::added::added(scope, added, out, report)?;
    if let Some(last) = out.wanted.last_mut() {
        *last = wanted.clone();
    }
    Ok(())
}

/// The target table without foreign keys, and with the names that the source has for what the file leaves unnamed.
pub(crate) fn table(scope: &Scope<'_>, whole: &Whole, columns: &Columns, carried: &Table) -> Table {
    let mut wanted = whole.table.clone();
    wanted.constraints.retain(|_, constraint| constraint.kind != ConstraintKind::ForeignKey);
    // Where there are several sources, none of them lends its names.
    let order = if scope.part.is_some() { Order::AsWritten } else { scope.desired.order };
    if scope.part.is_none() {
        adopt_names(whole, carried, &mut wanted);
    }
    let place = |name: &Ident| match order {
        Order::AsWritten => whole.table.columns.iter().position(|column| &column.name == name),
        Order::Keep | Order::Packed => columns.wanted.iter().position(|column| &column.name == name),
    };
    wanted.columns = columns.wanted.clone();
    wanted.columns.sort_by_key(|column| place(&column.name));
    wanted
}

fn adopt_names(whole: &Whole, carried: &Table, wanted: &mut Table) {
    for name in &whole.unnamed {
        if let Some(constraint) = wanted.constraints.get(name) {
            let twin = carried
                .constraints
                .iter()
                .find(|(other, one)| !wanted.constraints.contains_key(*other) && same_constraint(one, constraint));
            let Some((other, _)) = twin else { continue };
            let other = other.clone();
            let Some(mut constraint) = wanted.constraints.remove(name) else { continue };
            if let Some(index) = constraint.index.as_mut() {
                if let Some(behind) = wanted.indexes.remove(name) {
                    wanted.indexes.insert(other.clone(), Index { constraint: Some(other.clone()), ..behind });
                }
                *index = other.clone();
            }
            if let Some(key) = wanted.primary_key.as_mut().filter(|key| &key.name == name) {
                *key = Key { name: other.clone(), ..key.clone() };
            }
            wanted.constraints.insert(other, constraint);
        } else if let Some(index) = wanted.indexes.get(name) {
            let twin = carried
                .indexes
                .iter()
                .find(|(other, one)| !wanted.indexes.contains_key(*other) && same_index(one, index));
            let Some((other, _)) = twin else { continue };
            let (other, definition) = (other.clone(), renamed(&index.definition, other));
            // What the file says of the index stands; the source lends its name.
            if let Some(definition) = definition
                && let Some(index) = wanted.indexes.remove(name)
            {
                wanted.indexes.insert(other, Index { definition, ..index });
            }
        }
    }
}

/// `CREATE INDEX` with another name for the index.
fn renamed(definition: &str, name: &Ident) -> Option<String> {
    let list = tokens(definition).ok()?;
    let at = list.iter().position(|token| token.word() == Some("index"))? + 1;
    let old = list.get(at).filter(|token| token.word() != Some("on") && token.name().is_some())?;
    Some(format!("{}{}{}", &definition[..old.start], ident(name), &definition[old.end..]))
}

/// The same demand, whatever its name; texts are compared without quotes and blanks.
pub(crate) fn same_constraint(one: &Constraint, other: &Constraint) -> bool {
    one.kind == other.kind
        && (one.deferrable, one.initially_deferred) == (other.deferrable, other.initially_deferred)
        && one.validated == other.validated
        && alike(demand(one), demand(other))
}

/// The catalog's text says NOT VALID, a definition of ours leaves it to `validated`.
fn demand(constraint: &Constraint) -> &str {
    constraint.definition.strip_suffix(" NOT VALID").unwrap_or(&constraint.definition)
}

/// The same index, whatever its name.
pub(crate) fn same_index(one: &Index, other: &Index) -> bool {
    let from_method = |index: &Index| {
        let at = index.definition.find(" USING ")?;
        Some(index.definition[at..].to_owned())
    };
    let texts = (from_method(one), from_method(other));
    (one.unique, one.nulls_not_distinct) == (other.unique, other.nulls_not_distinct)
        && matches!(texts, (Some(one), Some(other)) if alike(&one, &other))
}

/// The index of the target by which rows are found.
pub(crate) fn key_index(scope: &Scope<'_>, wanted: &Table) -> Result<Option<Ident>, ResolveError> {
    let Some(key) = &scope.key else { return Ok(None) };
    if scope.whole().is_none() {
        return Ok(Some(scope.object(&key.index)));
    }
    let mut columns: BTreeSet<&Ident> = key.columns.iter().filter_map(|column| scope.renames.get(column)).collect();
    columns.extend(scope.part.as_ref().map(|part| &part.column));
    let fits = |index: &Index| {
        let own: BTreeSet<&Ident> = index.elements.iter().filter_map(|element| element.column.as_ref()).collect();
        index.unique
            && index.immediate
            && index.predicate.is_none()
            && own.len() == index.elements.len()
            && own == columns
    };
    let primary = wanted.primary_key.as_ref().map(|primary| &primary.name);
    let mut found: Vec<&Ident> = wanted.indexes.iter().filter(|(_, index)| fits(index)).map(|(name, _)| name).collect();
    found.sort_by_key(|name| (Some(*name) != primary, *name != &key.index));
    if let Some(name) = found.first() {
        return Ok(Some((*name).clone()));
    }
    let columns = columns.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let kind = ResolveErrorKind::NoKeyIndex { table: scope.target_name.clone(), columns: columns.clone() };
    let help = format!(
        "keep `UNIQUE ({columns})` in the table until the migration is over, or name another unique index of both ends \
         by `-- pcrd: key (…)`"
    );
    Err(ResolveError::new(kind).at(&scope.desired.source.span).help(help))
}

/// What rows must hold for constraints that the source does not have: counted there before anything starts.
pub(crate) fn checks(
    scope: &Scope<'_>,
    columns: &mut Columns,
    carried: &Table,
    wanted: &Table,
    report: &mut Report,
) -> Vec<Check> {
    let values = values(scope, columns);
    let source_sql = |sql: &str| over_source(scope, &values, sql);
    let mut checks = Vec::new();
    for (name, constraint) in &wanted.constraints {
        let is_new = !carried.constraints.values().any(|one| same_constraint(one, constraint));
        let (true, true, Some(expression)) = (is_new, constraint.validated, &constraint.expression) else { continue };
        let address = scope.address(name);
        match source_sql(expression) {
            Ok(None) => {}
            Ok(Some(sql)) => columns.predicates.push(Predicate {
                address,
                bad: format!("NOT ({sql})"),
                meaning: format!("against the new CHECK {name}"),
                of_every_row: false,
            }),
            Err(error) => report.errors.push(sql_error(&address, error)),
        }
    }
    for (target, source) in columns.computed.clone() {
        let Some(generated) = wanted.column(&target).and_then(|column| column.generated.as_ref()) else { continue };
        let Some(column) = wanted.column(&target) else { continue };
        match source_sql(&generated.expr) {
            Ok(None) => {}
            Ok(Some(sql)) => columns.predicates.push(Predicate {
                address: scope.address(&source),
                bad: format!(
                    "CAST(({sql}) AS {}) IS DISTINCT FROM CAST({} AS {})",
                    column.ty.sql,
                    ident(&source),
                    column.ty.sql
                ),
                meaning: "another value than the target would compute".to_owned(),
                of_every_row: false,
            }),
            Err(error) => report.errors.push(sql_error(&scope.address(&source), error)),
        }
    }
    for (name, index) in wanted.indexes.iter().filter(|(_, index)| index.unique) {
        let keeps = index.elements.iter().all(|element| {
            let is_kept = |column| columns.injective.contains(column);
            element.column.as_ref().is_some_and(is_kept)
        });
        let is_row_key = key_index(scope, wanted).ok().flatten().as_ref() == Some(name);
        let is_new = !carried.indexes.values().any(|one| same_key(one, index));
        // The row key is unique on the source; whether its cast keeps it so is asked by `check::of_key`.
        if is_row_key || (!is_new && keeps) {
            continue;
        }
        let elements: Result<Vec<Option<String>>, _> =
            index.elements.iter().map(|element| element_sql(element, &source_sql)).collect();
        let elements = elements.map(|list| list.into_iter().collect::<Option<Vec<String>>>());
        // Of a value that is only made when `apply` starts, nothing can be asked before.
        let predicate = index.predicate.as_deref().map_or(Ok(Some(None)), |own| Ok(source_sql(own)?.map(Some)));
        match (elements, predicate) {
            (Ok(None), Ok(_)) | (Ok(_), Ok(None)) => {}
            (Ok(Some(elements)), Ok(Some(predicate))) => {
                let belongs = columns.filter.as_ref().map(belongs);
                let both: Vec<String> = predicate.into_iter().map(|own| format!("({own})")).chain(belongs).collect();
                let predicate = (!both.is_empty()).then(|| both.join(" AND "));
                let among = Among::Unique { values: elements, predicate, nulls_not_distinct: index.nulls_not_distinct };
                let meaning = format!("with the same values under the unique index {name}");
                checks.push(several(scope, name, among, "count(*) > 1", meaning));
            }
            (Err(error), _) | (_, Err(error)) => report.errors.push(sql_error(&scope.address(name), error)),
        }
    }
    checks
}

/// The same uniqueness: same columns in any order, same treatment of NULL, whatever the name.
fn same_key(one: &Index, other: &Index) -> bool {
    let columns = |index: &Index| -> Option<BTreeSet<Ident>> {
        index.elements.iter().map(|element| element.column.clone()).collect()
    };
    let plain = |index: &Index| index.unique && index.predicate.is_none();
    let same_columns = plain(one) && plain(other) && columns(one).is_some() && columns(one) == columns(other);
    (same_columns && one.nulls_not_distinct == other.nulls_not_distinct) || (one.unique && same_index(one, other))
}

fn element_sql(
    element: &IndexElement,
    source_sql: &impl Fn(&str) -> Result<Option<String>, TokenError>,
) -> Result<Option<String>, TokenError> {
    match (&element.column, &element.expression) {
        (Some(column), _) => source_sql(&ident(column)),
        (None, Some(expression)) => source_sql(expression),
        (None, None) => Ok(None),
    }
}

/// SQL over target columns as SQL over the source's; `None` when a column has no value there yet.
fn over_source(
    scope: &Scope<'_>,
    values: &BTreeMap<Ident, Option<String>>,
    sql: &str,
) -> Result<Option<String>, TokenError> {
    let known = values.iter().map(|(column, value)| (column.clone(), value.clone().unwrap_or_default())).collect();
    let rewritten = substitute(sql, &scope.target_name.name, &known)?;
    let is_known = rewritten.reads.iter().all(|column| values.get(column).is_some_and(Option::is_some));
    Ok(is_known.then_some(rewritten.sql))
}

/// Source expressions by target column; those of generated columns are made of the others'. Frozen defaults have none.
fn values(scope: &Scope<'_>, columns: &Columns) -> BTreeMap<Ident, Option<String>> {
    let expression = |column: &ProjectedColumn| match &column.value {
        ColumnValue::Expr { sql, .. } => (column.target.clone(), Some(format!("({sql})"))),
        ColumnValue::Frozen { .. } => (column.target.clone(), None),
    };
    let stored: BTreeMap<Ident, Option<String>> = columns.projected.iter().map(expression).collect();
    let mut values = stored.clone();
    for column in &columns.wanted {
        let Some(generated) = &column.generated else { continue };
        // Text that cannot be read into tokens is refused where the column itself is looked at.
        let made = over_source(scope, &stored, &generated.expr).ok().flatten();
        let made = made.map(|sql| format!("(CAST(({sql}) AS {}))", column.ty.sql));
        values.insert(column.name.clone(), made);
    }
    values
}

/// Rows without their counterpart under foreign keys that the source does not have, or to tables of which only some
/// rows are migrated.
pub(crate) fn orphan_checks(near: &Sides<'_>, all: &[Sides<'_>]) -> Vec<Check> {
    let mut checks = Vec::new();
    for (name, constraint) in &near.wanted.constraints {
        let Some(references) = &constraint.references else { continue };
        let is_new = !near.carried.constraints.values().any(|one| same_constraint(one, constraint));
        let mut fars = all.iter().filter(|far| far.scope.target_name == &references.table);
        let far = fars.find(|far| is_counterpart(near.scope, far.scope));
        let (true, Some(far)) = (constraint.validated, far) else { continue };
        if !is_new && far.columns.filter.is_none() {
            continue;
        }
        let conditions = [near, far].map(|side| side.columns.filter.as_ref().map(belongs));
        let sql_of = |side: &Sides<'_>, columns: &[Ident]| -> Option<Vec<String>> {
            let values = values(side.scope, side.columns);
            columns.iter().map(|column| values.get(column).cloned().flatten()).collect()
        };
        let (Some(near_sql), Some(far_sql)) = (sql_of(near, &constraint.columns), sql_of(far, &references.columns))
        else {
            continue;
        };
        let new = if is_new { "new " } else { "" };
        let full = if references.is_match_full() { " of all columns or none" } else { "" };
        let meaning = format!("without the row of {} that the {new}foreign key {name} demands{full}", far.scope.name);
        let [near_where, far_where] = conditions;
        let among = Among::References {
            values: near_sql,
            near_where,
            far: far.scope.name.clone(),
            far_values: far_sql,
            far_where,
            near_partitioned: near.scope.table.kind == TableKind::Partitioned,
            far_partitioned: far.scope.table.kind == TableKind::Partitioned,
            match_full: references.is_match_full(),
        };
        checks.push(several(near.scope, name, among, "no such row", meaning));
    }
    checks
}

fn several(scope: &Scope<'_>, name: &Ident, among: Among, bad: &str, meaning: String) -> Check {
    let (sql, sample_sql) = among.sql(scope.name);
    let predicate = CheckPredicate { address: scope.address(name), bad: bad.to_owned(), meaning, sample_sql };
    let id = format!("check:{}:{name}", scope.at());
    Check { id, table: scope.name.clone(), sql, predicates: vec![predicate], among: Some(among) }
}

/// A table before and after, for checks that need two of them.
pub(crate) struct Sides<'s> {
    pub(crate) scope: &'s Scope<'s>,
    pub(crate) columns: &'s Columns,
    pub(crate) carried: &'s Table,
    pub(crate) wanted: &'s Table,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_takes_a_name_and_nothing_else() {
        let name = Ident::new("Old").expect("a name");
        let definition = "CREATE UNIQUE INDEX \"t_a_idx\" ON \"s\".\"index\" USING \"btree\" (\"t_a_idx\" DESC)";
        let wanted = "CREATE UNIQUE INDEX \"Old\" ON \"s\".\"index\" USING \"btree\" (\"t_a_idx\" DESC)";
        assert_eq!(renamed(definition, &name).as_deref(), Some(wanted));
        assert_eq!(renamed("CREATE INDEX ON t (a)", &name), None);
    }
}
