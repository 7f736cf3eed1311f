//! The target's columns and where their values come from.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::casts::{self, CastClass, typename};
use crate::catalog::{Column, ColumnType, Generated, Ident, Identity, QualifiedName, TypeDef};
use crate::desired::{At, ColumnWish};
use crate::findings::Severity;
use crate::findings::rules::{DELETES_DATA, GENERATED_RECOMPUTED};
use crate::projection::{ColumnValue, Filter, ProjectedColumn};
use crate::resolve::ResolveOptions;
use crate::resolve::error::{ResolveError, ResolveErrorKind};
use crate::resolve::report::Report;
use crate::resolve::scope::Scope;
use crate::resolve::types::{exists_on_target, reads_on_target, unmapped};
use crate::resolve::volatility::{Volatility, volatility};
use crate::sql::expression::check_expression;
use crate::sql::ident;
use crate::sql::rewrite::{Rewritten, sequences, sequences_named};
use crate::sql::token::{Token, TokenError, TokenKind, tokens};

/// What the columns of one table become.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    /// Target columns: kept ones in source order, then added ones.
    pub(crate) wanted: Vec<Column>,
    /// What the kept ones would be if only their type changed: the base of the comparison with a whole table.
    pub(crate) carried: Vec<Column>,
    /// Columns that the target computes and the source stores: target and source name.
    pub(crate) computed: Vec<(Ident, Ident)>,
    /// Values of those that are not generated, in the same order.
    pub(crate) projected: Vec<ProjectedColumn>,
    pub(crate) reasons: BTreeMap<Ident, String>,
    pub(crate) late_defaults: BTreeSet<Ident>,
    pub(crate) predicates: Vec<Predicate>,
    /// Target columns whose values stand in the order of their source column's.
    pub(crate) order_preserving: BTreeSet<Ident>,
    /// Target columns whose values differ whenever their source column's do.
    pub(crate) injective: BTreeSet<Ident>,
    /// Which rows.
    pub(crate) filter: Option<Filter>,
}

/// A condition that no row may meet.
#[derive(Debug, Clone)]
pub(crate) struct Predicate {
    pub(crate) address: String,
    pub(crate) bad: String,
    pub(crate) meaning: String,
    /// Whether the row belongs or not.
    pub(crate) of_every_row: bool,
}

/// Makes every column; errors go to the report.
pub(crate) fn columns(
    scope: &Scope<'_>,
    options: &ResolveOptions,
    sequence_names: &BTreeMap<QualifiedName, QualifiedName>,
    report: &mut Report,
) -> Columns {
    let mut out = Columns::default();
    for column in &scope.table.columns {
        if scope.dropped.contains(&column.name) {
            let elsewhere = scope.split.as_ref().is_some_and(|split| split.elsewhere.contains(&column.name));
            let (severity, message) = match elsewhere {
                true => (Severity::Info, "the column is left out here: another target of the source table has it"),
                false => (DELETES_DATA.severity, "the column is left out: its values are not copied"),
            };
            report.find_as(&DELETES_DATA, severity, scope.address(&column.name), message);
            continue;
        }
        let result = kept(scope, column, options, sequence_names, &mut out, report);
        report.errors.extend(result.err());
    }
    for added in &scope.desired.add {
        let whole = scope.whole().and_then(|whole| whole.table.column(&added.value.name.value));
        let result = match whole {
            Some(wanted) => super::whole::added(scope, added, wanted, &mut out, report),
            None => super::added::added(scope, added, &mut out, report),
        };
        report.errors.extend(result.err());
    }
    out
}

fn kept(
    scope: &Scope<'_>,
    column: &Column,
    options: &ResolveOptions,
    sequence_names: &BTreeMap<QualifiedName, QualifiedName>,
    out: &mut Columns,
    report: &mut Report,
) -> Result<(), ResolveError> {
    let none = ColumnWish::default();
    let wish = scope.wish(&column.name).unwrap_or(&none);
    let at = scope.address(&column.name);
    let name = scope.renames[&column.name].clone();
    let ty = match &wish.ty {
        Some(text) => wanted_type(scope, &at, text)?,
        None => column.ty.clone(),
    };
    exists_on_target(scope, &at, &ty, report)?;
    let not_null = wish.not_null.as_ref().map_or(column.not_null, |wish| wish.value);
    let mut wanted = Column {
        name: name.clone(),
        ty: ty.clone(),
        not_null,
        default: None,
        identity: identity(column, &ty, &at, sequence_names)?.map(Box::new),
        generated: None,
        collation: column.collation.clone().filter(|_| is_collatable(&ty)),
        storage: column.storage.filter(|_| ty.len == column.ty.len),
        compression: column.compression.filter(|_| ty.len == -1 && scope.target.server.major() >= 14),
        statistics_target: column.statistics_target,
        options: column.options.clone(),
        comment: column.comment.clone(),
        grants: Vec::new(),
    };
    if let Some(whole) = scope.whole().and_then(|whole| whole.table.column(&name)) {
        let source = super::whole::Kept { column, wish, at, carried: wanted, wanted: whole };
        return super::whole::kept(scope, source, options, sequence_names, out, report);
    }
    if column.compression.is_some() && wanted.compression.is_none() {
        report.leave("compression", &at, "the target's version or the new type does not have it");
    }
    if let Some(generated) = &column.generated {
        wanted.generated = Some(Box::new(regenerate(scope, &at, wish, generated, report)?));
        out.wanted.push(wanted);
        return Ok(());
    }
    let projected = value(scope, column, wish, &wanted, options, out, report)?;
    reads_on_target(scope, &at, &projected, report)?;
    wanted.default = carried_default(column, wish, &at, projected.class, &ty, sequence_names)?;
    take(column, wanted, projected, at, out);
    Ok(())
}

/// A kept column with its value.
pub(crate) fn take(column: &Column, wanted: Column, projected: ProjectedColumn, at: String, out: &mut Columns) {
    let calls_sequence = |default: &String| sequences_named(default).is_ok_and(|names| !names.is_empty());
    if wanted.default.as_ref().is_some_and(calls_sequence) {
        out.late_defaults.insert(wanted.name.clone());
    }
    if let (true, ColumnValue::Expr { sql, .. }) =
        (wanted.not_null && (!column.not_null || projected.class == CastClass::Custom), &projected.value)
    {
        let bad = format!("({sql}) IS NULL");
        out.predicates.push(Predicate { address: at, bad, meaning: "NULL".to_owned(), of_every_row: false });
    }
    out.projected.push(projected);
    out.wanted.push(wanted);
}

/// The type that the user wrote, looked up among the target's own types first.
pub(crate) fn wanted_type(scope: &Scope<'_>, at: &str, text: &At<String>) -> Result<ColumnType, ResolveError> {
    typename::parse(&text.value, &scope.target.types)
        .or_else(|error| typename::parse(&text.value, &user_types(scope)).map_err(|_| error))
        .map_err(|error| ResolveError::new(ResolveErrorKind::BadType { at: at.to_owned(), error }).at(&text.span))
}

fn is_collatable(ty: &ColumnType) -> bool {
    !ty.is_builtin() || ["text", "varchar", "bpchar", "_text", "_varchar", "_bpchar"].iter().any(|name| ty.is(name))
}

fn identity(
    column: &Column,
    ty: &ColumnType,
    at: &str,
    sequence_names: &BTreeMap<QualifiedName, QualifiedName>,
) -> Result<Option<Identity>, ResolveError> {
    let Some(identity) = &column.identity else { return Ok(None) };
    if !["int2", "int4", "int8"].iter().any(|name| ty.is(name)) {
        let kind = ResolveErrorKind::IdentityType { at: at.to_owned(), to: ty.sql.clone() };
        return Err(ResolveError::new(kind).help("identity columns are smallint, integer or bigint"));
    }
    let sequence = sequence_names.get(&identity.sequence).unwrap_or(&identity.sequence);
    Ok(Some(Identity { always: identity.always, sequence: sequence.clone() }))
}

/// Of a virtual column.
pub(crate) const NOT_COMPARED: &str = "the target computes its values when they are read; they are not compared";

fn regenerate(
    scope: &Scope<'_>,
    at: &str,
    wish: &ColumnWish,
    generated: &Generated,
    report: &mut Report,
) -> Result<Generated, ResolveError> {
    let span = &scope.desired.source.span;
    let refuse = |what| Err(ResolveError::new(ResolveErrorKind::Generated { at: at.to_owned(), what }).at(span));
    if wish.using.is_some() || wish.default.is_some() {
        return refuse("its value is the expression's; `using` and `default` do not apply");
    }
    generates(scope, at, generated, span)?;
    let rewritten = scope.rename(&generated.expr).map_err(|error| sql_error(at, error))?;
    if let Some(reads) = rewritten.reads.iter().find(|column| scope.dropped.contains(*column)) {
        let kind = ResolveErrorKind::GeneratedFromDropped { at: at.to_owned(), reads: reads.clone() };
        return Err(ResolveError::new(kind).at(span).help("drop the generated column too"));
    }
    let message = match wish.ty {
        _ if !generated.stored => NOT_COMPARED,
        None => "the target computes its values itself; verification compares them",
        Some(_) => "the target computes its values itself; of another type, they are not compared",
    };
    report.find(&GENERATED_RECOMPUTED, at, message);
    Ok(Generated { expr: rewritten.sql, stored: generated.stored })
}

/// The target's version must have generated columns of this kind.
pub(crate) fn generates(
    scope: &Scope<'_>,
    at: &str,
    generated: &Generated,
    span: &Range<usize>,
) -> Result<(), ResolveError> {
    let major = scope.target.server.major();
    if major < if generated.stored { 12 } else { 18 } {
        let what = if generated.stored { "a generated column" } else { "a virtual generated column" };
        return Err(ResolveError::new(ResolveErrorKind::TargetTooOld { at: at.to_owned(), what, major }).at(span));
    }
    Ok(())
}

pub(crate) fn sql_error(at: &str, error: TokenError) -> ResolveError {
    ResolveError::new(ResolveErrorKind::Sql { at: at.to_owned(), error })
}

/// What the user wrote must stay inside the brackets that we put it in.
pub(crate) fn check_shape(at: &str, text: &At<String>) -> Result<(), ResolveError> {
    check_expression(&text.value).map_err(|error| {
        let kind = ResolveErrorKind::NotAnExpression { at: at.to_owned(), sql: text.value.clone(), error };
        ResolveError::new(kind).at(&text.span)
    })
}

/// `"a + b"` is the name of a column to SQL, and hardly ever what was meant.
fn not_quoted_as_a_whole(scope: &Scope<'_>, text: &At<String>) -> Result<(), ResolveError> {
    let Ok(list) = tokens(&text.value) else { return Ok(()) };
    let [Token { kind: TokenKind::Quoted(name), .. }] = list.as_slice() else { return Ok(()) };
    match Ident::new(name.as_str()) {
        Ok(column) if scope.table.column(&column).is_none() => {
            let kind = ResolveErrorKind::UnknownColumn { table: scope.name.clone(), column };
            let help = "quotes make it the name of a column; an expression stands without them";
            Err(ResolveError::new(kind).at(&text.span).help(help))
        }
        _ => Ok(()),
    }
}

/// An expression that the user wrote, over quoted source columns and of exactly this type.
pub(crate) fn user_expression(
    scope: &Scope<'_>,
    at: &str,
    text: &At<String>,
    ty: &ColumnType,
) -> Result<Rewritten, ResolveError> {
    let quoted = pure_expression(scope, at, text)?;
    Ok(Rewritten { sql: format!("CAST(({}) AS {})", quoted.sql, ty.sql), reads: quoted.reads })
}

/// The way back that the user wrote, over quoted target columns and of exactly the source column's type.
fn reverse_expression(scope: &Scope<'_>, at: &str, text: &At<String>, ty: &ColumnType) -> Result<String, ResolveError> {
    unchanging(at, text)?;
    let quoted = scope.quote_on_target(&text.value).map_err(|error| sql_error(at, error).at(&text.span))?;
    // CAST to a length cuts in silence; what is assigned to the column is refused.
    let without_length = ["varchar", "bpchar"].into_iter().find(|name| ty.is(name) && ty.typmod >= 0);
    let ty = without_length.map_or_else(|| ty.sql.clone(), |name| format!("pg_catalog.{name}"));
    Ok(format!("CAST(({}) AS {ty})", quoted.sql))
}

/// An expression that the user wrote, over quoted source columns, that says the same of a row whenever it is asked.
pub(crate) fn pure_expression(scope: &Scope<'_>, at: &str, text: &At<String>) -> Result<Rewritten, ResolveError> {
    unchanging(at, text)?;
    not_quoted_as_a_whole(scope, text)?;
    scope.quote(&text.value).map_err(|error| sql_error(at, error).at(&text.span))
}

/// One expression that says the same of a row whenever it is asked.
fn unchanging(at: &str, text: &At<String>) -> Result<(), ResolveError> {
    check_shape(at, text)?;
    let volatile = volatility(&text.value).map_err(|error| sql_error(at, error).at(&text.span))?;
    if let Volatility::Volatile(function) | Volatility::Stable(function) = volatile {
        let kind = ResolveErrorKind::VolatileExpression { at: at.to_owned(), function };
        let help = "a row is made again whenever it changes or is compared: use only what the row itself says";
        return Err(ResolveError::new(kind).at(&text.span).help(help));
    }
    Ok(())
}

pub(crate) fn value(
    scope: &Scope<'_>,
    column: &Column,
    wish: &ColumnWish,
    wanted: &Column,
    options: &ResolveOptions,
    out: &mut Columns,
    report: &mut Report,
) -> Result<ProjectedColumn, ResolveError> {
    let at = scope.address(&column.name);
    let inverse =
        wish.reverse.as_ref().map(|reverse| reverse_expression(scope, &at, reverse, &column.ty)).transpose()?;
    if let Some(using) = &wish.using {
        let expression = user_expression(scope, &at, using, &wanted.ty)?;
        out.reasons.insert(wanted.name.clone(), format!("using {}", using.value));
        let value = ColumnValue::Expr { sql: expression.sql, reads: expression.reads.into_iter().collect() };
        let (target, ty) = (wanted.name.clone(), wanted.ty.clone());
        let projected = ProjectedColumn { target, ty, value, class: CastClass::Custom, inverse };
        out.predicates.extend(unmapped(column, &using.value, &projected, &at));
        return Ok(projected);
    }
    let types = user_types(scope);
    let context = casts::Context { zone: &options.zone, types: &types, oldest_major: oldest_major(scope) };
    let cast = casts::classify(&column.ty, &wanted.ty, &context).map_err(|unsupported| {
        let span = wish.ty.as_ref().map_or(&scope.desired.source.span, |ty| &ty.span);
        ResolveError::new(ResolveErrorKind::UnsupportedCast { at: at.clone(), unsupported }).at(span)
    })?;
    let read = ident(&column.name);
    for rule in &cast.findings {
        report.find(rule, &at, format!("{} to {}: {}", column.ty.sql, wanted.ty.sql, cast.reason));
    }
    for bad in cast.bad(&read) {
        out.predicates.push(Predicate {
            address: at.clone(),
            bad: bad.predicate,
            meaning: bad.meaning,
            of_every_row: false,
        });
    }
    if cast.class != CastClass::Identical {
        out.reasons.insert(wanted.name.clone(), cast.reason.clone());
    }
    if cast.order_preserving {
        out.order_preserving.insert(wanted.name.clone());
    }
    if cast.injective {
        out.injective.insert(wanted.name.clone());
    }
    // What is written on the target after the switch must not lose anything on its way back in silence.
    let back = casts::inverse(&cast, &context).filter(|back| back.class != CastClass::Lossy);
    let inverse = inverse.or_else(|| back.map(|back| back.expr(&ident(&wanted.name))));
    let value = ColumnValue::Expr { sql: cast.expr(&read), reads: vec![column.name.clone()] };
    Ok(ProjectedColumn { target: wanted.name.clone(), ty: wanted.ty.clone(), value, class: cast.class, inverse })
}

/// Types of both ends; where a name is on both, the target's, which `exists_on_target` has compared.
fn user_types(scope: &Scope<'_>) -> BTreeMap<QualifiedName, TypeDef> {
    let mut types = scope.source.types.clone();
    types.extend(scope.target.types.iter().map(|(name, ty)| (name.clone(), ty.clone())));
    types
}

fn oldest_major(scope: &Scope<'_>) -> u32 {
    scope.source.server.major().min(scope.target.server.major())
}

/// The live default on the target.
pub(crate) fn carried_default(
    column: &Column,
    wish: &ColumnWish,
    at: &str,
    class: CastClass,
    ty: &ColumnType,
    sequence_names: &BTreeMap<QualifiedName, QualifiedName>,
) -> Result<Option<String>, ResolveError> {
    if let Some(wish) = &wish.default {
        check_shape(at, wish)?;
        return Ok(Some(wish.value.clone()));
    }
    let Some(default) = &column.default else { return Ok(None) };
    let default = sequences(default, sequence_names).map_err(|error| sql_error(at, error))?;
    match class {
        CastClass::Identical | CastClass::Widening => Ok(Some(default)),
        CastClass::Checked | CastClass::Lossy => Ok(Some(format!("CAST(({default}) AS {})", ty.sql))),
        CastClass::Custom if ty == &column.ty => Ok(Some(default)),
        CastClass::Custom => {
            let kind = ResolveErrorKind::DefaultUnclear(at.to_owned());
            Err(ResolveError::new(kind)
                .help(format!("`using:` changes what it means ({default}): write the new one with `default:`")))
        }
    }
}
