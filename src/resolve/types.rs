//! User-defined types: what a column is, or what its value is made from, must be on the target and mean the same.

use std::collections::BTreeSet;

use crate::catalog::type_def::in_order;
use crate::catalog::{Column, ColumnType, Ident, QualifiedName, RangeDef, TypeDef, TypeKind};
use crate::findings::rules::{DOMAIN_DIFFERS, ENUM_VALUE_MISSING};
use crate::projection::{ColumnValue, ProjectedColumn, Projection};
use crate::resolve::column::Predicate;
use crate::resolve::error::{ResolveError, ResolveErrorKind};
use crate::resolve::report::Report;
use crate::resolve::scope::Scope;
use crate::sql;
use crate::sql::ddl_type::is_not_valid;
use crate::sql::rewrite::sequences_named;
use crate::sql::token::tokens;

/// What catalogs and indexes keep: its input functions refuse every value.
const UNREADABLE: [&str; 11] = [
    "ghstore",
    "gtrgm",
    "gtsvector",
    "intbig_gkey",
    "ltree_gist",
    "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary",
    "pg_dependencies",
    "pg_mcv_list",
    "pg_ndistinct",
    "pg_node_tree",
];

/// The first major with multiranges.
const MULTIRANGES_SINCE: u32 = 14;

/// A user-defined type must be on the target: the same kind of type, with the same parts.
pub(crate) fn exists_on_target(
    scope: &Scope<'_>,
    at: &str,
    ty: &ColumnType,
    report: &mut Report,
) -> Result<(), ResolveError> {
    let Some(name) = element_name(ty) else { return Ok(()) };
    let span = &scope.desired.source.span;
    if UNREADABLE.contains(&name.name.as_str()) && matches!(ty.kind, TypeKind::Base | TypeKind::Array) {
        let kind = ResolveErrorKind::TypeUnreadable { at: at.to_owned(), ty: name.to_string() };
        return Err(ResolveError::new(kind)
            .at(span)
            .help("leave the column out, or keep its text in a column of type text"));
    }
    if name.schema.as_str() == "pg_catalog" || name.schema.as_str() == "information_schema" {
        return built_in(scope, at, &name).map_err(|error| error.at(span));
    }
    let (asked, name) = (name.clone(), range_of(scope, name));
    if asked != name && scope.target.server.major() < MULTIRANGES_SINCE {
        let kind = ResolveErrorKind::TypeMissing { at: at.to_owned(), ty: asked.to_string() };
        let error = ResolveError::new(kind).at(span);
        return Err(
            error.help("the target's version has no multiranges: give the column another type, or leave it out")
        );
    }
    let Some(there) = scope.target.types.get(&name) else {
        return created(scope, at, &name, report).map_err(|error| error.at(span));
    };
    let Some(here) = scope.source.types.get(&name) else { return Ok(()) };
    let differs = |difference: String| {
        let kind = ResolveErrorKind::TypeDiffers { at: at.to_owned(), ty: name.to_string(), difference };
        Err(ResolveError::new(kind).at(span).help("make the two types alike, or give the column another one"))
    };
    match (here, there) {
        // Labels that only the source has are a question for its rows: `rows_without`.
        (TypeDef::Enum(_), TypeDef::Enum(_)) => {}
        (TypeDef::Domain { base, not_null, checks, .. }, TypeDef::Domain { base: b, not_null: n, checks: c, .. }) => {
            if base != b {
                return differs(format!("a domain over {base} on the source, over {b} on the target"));
            }
            let stricter = (*n && !not_null) || c.values().any(|check| !checks.values().any(|own| own == check));
            if stricter {
                let message = format!("the target's domain {name} has constraints that the source's has not");
                report.find(&DOMAIN_DIFFERS, at, message);
            }
        }
        (TypeDef::Composite(_), TypeDef::Composite(_)) | (TypeDef::Range(_), TypeDef::Range(_))
            if !here.is_alike(there) =>
        {
            return differs("its parts are others".to_owned());
        }
        (TypeDef::Composite(_), TypeDef::Composite(_))
        | (TypeDef::Range(_), TypeDef::Range(_))
        | (TypeDef::Base, TypeDef::Base) => {}
        (TypeDef::Enum(_) | TypeDef::Domain { .. } | TypeDef::Composite(_) | TypeDef::Range(_) | TypeDef::Base, _) => {
            return differs(format!("{} on the source, {} on the target", kind(here), kind(there)));
        }
    }
    Ok(())
}

/// A multirange comes and goes with its range.
fn range_of(scope: &Scope<'_>, name: QualifiedName) -> QualifiedName {
    let is_of = |def: &TypeDef| matches!(def, TypeDef::Range(range) if range.multirange.as_ref() == Some(&name));
    let range = scope.source.types.iter().find(|(_, def)| is_of(def)).map(|(range, _)| range.clone());
    range.unwrap_or(name)
}

/// A type that only the source has is created on the target, with what it is made of.
fn created(scope: &Scope<'_>, at: &str, name: &QualifiedName, report: &mut Report) -> Result<(), ResolveError> {
    let missing = |name: &QualifiedName, help: String| {
        let kind = ResolveErrorKind::TypeMissing { at: at.to_owned(), ty: name.to_string() };
        Err(ResolveError::new(kind).help(help))
    };
    let by_hand = || "create it on the target first (or the extension that brings it)".to_owned();
    let needed = in_order([name], &scope.source.types);
    if needed.is_empty() {
        return missing(name, by_hand());
    }
    for need in needed {
        let def = &scope.source.types[need];
        if let Some(there) = scope.target.types.get(need) {
            if def.fits_into(there) {
                continue;
            }
            let difference = format!("{name}, which would be created, is made of it, and its parts are others");
            let kind = ResolveErrorKind::TypeDiffers { at: at.to_owned(), ty: need.to_string(), difference };
            return Err(ResolveError::new(kind).help("make the two types alike, or give the column another one"));
        }
        let extension = scope.source.extensions.iter().find(|(_, extension)| extension.members.contains(need));
        if let Some((extension, found)) = extension {
            let create =
                format!("CREATE EXTENSION {} WITH SCHEMA {}", sql::ident(extension), sql::ident(&found.schema));
            return missing(need, format!("on the target first: {create}"));
        }
        match def {
            TypeDef::Base => return missing(need, by_hand()),
            TypeDef::Range(RangeDef { canonical: Some(function), .. }) => {
                return missing(
                    need,
                    format!("its function {function} is not carried: create both on the target first"),
                );
            }
            TypeDef::Domain { checks, .. } if checks.values().any(|check| is_not_valid(check)) => {
                let help = "a check of it was never validated, and rows may break it: ALTER DOMAIN … VALIDATE CONSTRAINT on the \
                            source, or create it on the target";
                return missing(need, help.to_owned());
            }
            TypeDef::Domain { default: Some(default), .. }
                if sequences_named(default).is_ok_and(|all| !all.is_empty()) =>
            {
                let help =
                    "its default draws from a sequence, which goes with no column: create both on the target first";
                return missing(need, help.to_owned());
            }
            TypeDef::Enum(_) | TypeDef::Domain { .. } | TypeDef::Composite(_) | TypeDef::Range(_) => {}
        }
        let is_known = |part: &QualifiedName| {
            let ends = [&scope.source.types, &scope.target.types];
            part.schema.as_str() == "pg_catalog" || ends.iter().any(|types| types.contains_key(part))
        };
        if let Some(part) = def.needs().iter().find(|part| !is_known(part)) {
            return missing(part, by_hand());
        }
        let mut def = def.clone();
        if let TypeDef::Range(range) = &mut def
            && scope.target.server.major() < MULTIRANGES_SINCE
        {
            range.multirange = None;
        }
        report.types.insert(need.clone(), def);
        let why = "the type will belong to the role that applies the plan; its grants and comment are not carried";
        report.leave("owner", format!("type {need}"), why);
    }
    Ok(())
}

/// Types that every database has; not all of them on every major, and not all of them as anything that can be migrated.
fn built_in(scope: &Scope<'_>, at: &str, name: &QualifiedName) -> Result<(), ResolveError> {
    let (from, to) = (scope.source.server.major(), scope.target.server.major());
    let (at, ty) = (at.to_owned(), name.name.as_str());
    let is_there = match ty {
        "abstime" | "reltime" | "smgr" | "tinterval" => to < 12,
        "jsonpath" => to >= 12,
        "pg_snapshot" | "regcollation" | "xid8" => to >= 13,
        _ if ty.ends_with("multirange") => to >= 14,
        _ => true,
    };
    if !is_there {
        let kind = ResolveErrorKind::TypeMissing { at, ty: ty.to_owned() };
        return Err(ResolveError::new(kind).help("give the column another type, or leave it out"));
    }
    // The target would cut it off without a word.
    if ty == "sql_identifier" && from < 12 && to >= 12 {
        let difference = "any length on the source, 63 bytes on the target".to_owned();
        let kind = ResolveErrorKind::TypeDiffers { at, ty: name.to_string(), difference };
        return Err(ResolveError::new(kind).help("give the column type text"));
    }
    Ok(())
}

/// No row may hold an enum's label that the target's type of this name lacks.
pub(crate) fn missing_labels(scope: &Scope<'_>, projection: &Projection, report: &mut Report) -> Vec<Predicate> {
    let expressions = projection.columns.iter().filter_map(|column| match &column.value {
        ColumnValue::Expr { reads, .. } => Some(reads),
        ColumnValue::Frozen { .. } => None,
    });
    let read: BTreeSet<&Ident> =
        expressions.chain(projection.filter.iter().map(|filter| &filter.reads)).flatten().collect();
    let mut predicates = Vec::new();
    for column in projection.source_columns.iter().filter(|column| read.contains(&column.name)) {
        let Some(name) = element_name(&column.ty) else { continue };
        let ends = (scope.source.types.get(&name), scope.target.types.get(&name));
        let (Some(TypeDef::Enum(own)), Some(TypeDef::Enum(there))) = ends else { continue };
        let missing: Vec<&str> = own.iter().filter(|label| !there.contains(label)).map(String::as_str).collect();
        if missing.is_empty() {
            continue;
        }
        let address = scope.address(&column.name);
        let labels = missing.join(", ");
        report.find(&ENUM_VALUE_MISSING, &address, format!("the target's enum {name} lacks {labels}"));
        let bad = match column.ty.kind {
            TypeKind::Array => sql::check::contains_any(&column.name, &missing),
            _ => sql::check::is_any(&column.name, &missing),
        };
        let meaning = format!("with a label that the target lacks: {labels}");
        predicates.push(Predicate { address, bad, meaning, of_every_row: false });
    }
    predicates
}

/// A label that no branch of a CASE takes becomes NULL without a word; `ELSE NULL` says that it is meant.
pub(crate) fn unmapped(column: &Column, using: &str, projected: &ProjectedColumn, at: &str) -> Option<Predicate> {
    let ColumnValue::Expr { sql, .. } = &projected.value else { return None };
    let tokens = tokens(using).ok()?;
    let has = |wanted: &str| tokens.iter().any(|token| token.word() == Some(wanted));
    if column.ty.kind != TypeKind::Enum || !has("case") || has("else") {
        return None;
    }
    let bad = format!("({sql}) IS NULL AND {} IS NOT NULL", sql::ident(&column.name));
    let meaning = "with a label that no WHEN of its mapping takes (ELSE NULL, if that is meant)".to_owned();
    Some(Predicate { address: at.to_owned(), bad, meaning, of_every_row: false })
}

/// The stream makes a value on the target from values of the source's types, so these must be there too.
pub(crate) fn reads_on_target(
    scope: &Scope<'_>,
    at: &str,
    projected: &ProjectedColumn,
    report: &mut Report,
) -> Result<(), ResolveError> {
    let ColumnValue::Expr { reads, .. } = &projected.value else { return Ok(()) };
    let read = reads.iter().filter_map(|column| scope.table.column(column));
    for column in read.filter(|column| column.ty.name != projected.ty.name) {
        exists_on_target(scope, at, &column.ty, report)?;
    }
    Ok(())
}

fn kind(ty: &TypeDef) -> &'static str {
    match ty {
        TypeDef::Enum(_) => "an enum",
        TypeDef::Domain { .. } => "a domain",
        TypeDef::Composite(_) => "a composite type",
        TypeDef::Range(_) => "a range type",
        TypeDef::Base => "a base type",
    }
}

fn element_name(ty: &ColumnType) -> Option<QualifiedName> {
    let name = match ty.kind {
        TypeKind::Array => ty.name.as_str().strip_prefix('_')?,
        TypeKind::Multirange
        | TypeKind::Base
        | TypeKind::Enum
        | TypeKind::Domain
        | TypeKind::Composite
        | TypeKind::Range
        | TypeKind::Pseudo => ty.name.as_str(),
    };
    QualifiedName::new(ty.schema.as_str(), name).ok()
}
