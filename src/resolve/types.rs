//! User-defined types: what a column is, or what its value is made from, must be on the target and mean the same.

use crate::catalog::{ColumnType, QualifiedName, TypeDef, TypeKind};
use crate::findings::rules::DOMAIN_DIFFERS;
use crate::projection::{ColumnValue, ProjectedColumn};
use crate::resolve::error::{ResolveError, ResolveErrorKind};
use crate::resolve::report::Report;
use crate::resolve::scope::Scope;

/// A user-defined type must be on the target: the same kind of type, with every enum label that rows may hold.
pub(crate) fn exists_on_target(
    scope: &Scope<'_>,
    at: &str,
    ty: &ColumnType,
    report: &mut Report,
) -> Result<(), ResolveError> {
    if ty.is_builtin() {
        return Ok(());
    }
    let Some(name) = element_name(ty) else { return Ok(()) };
    let span = &scope.desired.source.span;
    let Some(there) = scope.target.types.get(&name) else {
        let kind = ResolveErrorKind::TypeMissing { at: at.to_owned(), ty: name.to_string() };
        return Err(ResolveError::new(kind)
            .at(span)
            .help("create it on the target first (or the extension that brings it)"));
    };
    let Some(here) = scope.source.types.get(&name) else { return Ok(()) };
    let differs = |difference: String| {
        let kind = ResolveErrorKind::TypeDiffers { at: at.to_owned(), ty: name.to_string(), difference };
        Err(ResolveError::new(kind).at(span).help("make the two types alike, or give the column another one"))
    };
    match (here, there) {
        (TypeDef::Enum(labels), TypeDef::Enum(target_labels)) => {
            let missing: Vec<&str> =
                labels.iter().filter(|label| !target_labels.contains(label)).map(String::as_str).collect();
            if !missing.is_empty() {
                let missing = missing.join(", ");
                let kind = ResolveErrorKind::EnumValueMissing { at: at.to_owned(), ty: name.to_string(), missing };
                return Err(ResolveError::new(kind).at(span).help("add them with ALTER TYPE … ADD VALUE"));
            }
        }
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
        (TypeDef::Composite(_), TypeDef::Composite(_)) | (TypeDef::Range(_), TypeDef::Range(_)) if here != there => {
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
        TypeKind::Multirange => return None,
        TypeKind::Base
        | TypeKind::Enum
        | TypeKind::Domain
        | TypeKind::Composite
        | TypeKind::Range
        | TypeKind::Pseudo => ty.name.as_str(),
    };
    QualifiedName::new(ty.schema.as_str(), name).ok()
}
