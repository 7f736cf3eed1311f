//! (from, to) → what the change does to values.

use std::collections::BTreeMap;

use super::CastClass;
use super::builtin::element_of;
use super::cast::{Cast, Draft, checked, widening};
use super::rules;
use super::typename;
use crate::catalog::{ColumnType, QualifiedName, TypeDef, TypeKind};

/// What a cast may hang on besides its two types.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Time zone in which `timestamp` values of the source are meant, for example `UTC`.
    pub zone: &'a str,
    /// User-defined types, of the source and the target.
    pub types: &'a BTreeMap<QualifiedName, TypeDef>,
    /// The older of the two servers' majors.
    pub oldest_major: u32,
}

/// pcrd knows no cast that could be checked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no checked way from {from} to {to} is known; say how with `using:`{}", .hint.as_ref().map(|h| format!(", for example `{h}`")).unwrap_or_default())]
pub struct Unsupported {
    /// Old type.
    pub from: String,
    /// New type.
    pub to: String,
    /// An expression that often fits.
    pub hint: Option<String>,
}

/// Classifies a change of type.
///
/// # Errors
/// [`Unsupported`] when no rule covers the pair.
pub fn classify(from: &ColumnType, to: &ColumnType, context: &Context<'_>) -> Result<Cast, Unsupported> {
    let draft = draft(from, to, context).ok_or_else(|| Unsupported {
        from: from.sql.clone(),
        to: to.sql.clone(),
        hint: hint(from, to),
    })?;
    Ok(draft.finish(from, to))
}

/// The cast back, if one is known. Of a checked cast it brings back every value that passed the checks.
pub fn inverse(cast: &Cast, context: &Context<'_>) -> Option<Cast> {
    classify(cast.to(), cast.from(), context).ok()
}

fn draft(from: &ColumnType, to: &ColumnType, context: &Context<'_>) -> Option<Draft> {
    let same_type = (&from.schema, &from.name) == (&to.schema, &to.name);
    if same_type && from.typmod == to.typmod {
        let column = super::cast::C.to_owned();
        return Some(Draft {
            class: CastClass::Identical,
            order: true,
            expr: Some(column),
            ..widening("the same type")
        });
    }
    match (from.kind, to.kind) {
        (TypeKind::Array, TypeKind::Array) => array(from, to, context),
        (TypeKind::Domain, _) => from_domain(from, to, context),
        (_, TypeKind::Domain) => to_domain(from, to, context),
        (TypeKind::Enum, TypeKind::Enum) => rules::enums::enum_to_enum(from, to, context),
        (TypeKind::Enum, _) => rules::enums::enum_to_text(from, to, context),
        (_, TypeKind::Enum) => rules::enums::text_to_enum(from, to, context),
        _ if !from.is_builtin() || !to.is_builtin() => rules::text::citext(from, to),
        _ => rules::number::rule(from, to, context)
            .or_else(|| rules::text::rule(from, to, context))
            .or_else(|| rules::time::rule(from, to, context))
            .or_else(|| rules::other::rule(from, to)),
    }
}

/// Elements change as they would alone, as long as none can fail: an array has no predicate per element.
fn array(from: &ColumnType, to: &ColumnType, context: &Context<'_>) -> Option<Draft> {
    let (from_element, to_element) = (element_of(from)?, element_of(to)?);
    let element = draft(&from_element, &to_element, context)?;
    let harmless = matches!(element.class, CastClass::Identical | CastClass::Widening);
    let plain = element.expr.is_none() || element.class == CastClass::Identical;
    (harmless && plain).then(|| Draft {
        reason: format!("every element: {}", element.reason),
        version: element.version,
        finding: element.finding,
        ..widening("")
    })
}

fn from_domain(from: &ColumnType, to: &ColumnType, context: &Context<'_>) -> Option<Draft> {
    let base = domain_base(from, context)?.0;
    let inner = draft(&base, to, context)?;
    if inner.class != CastClass::Identical {
        return Some(inner);
    }
    Some(Draft { order: inner.order, ..widening("the domain's own base type") })
}

fn to_domain(from: &ColumnType, to: &ColumnType, context: &Context<'_>) -> Option<Draft> {
    let (base, constrained) = domain_base(to, context)?;
    if constrained {
        return None;
    }
    let inner = draft(from, &base, context)?;
    let value = inner.expr.clone().unwrap_or_else(|| format!("CAST({} AS {})", super::cast::C, base.sql));
    let reason = format!("the domain has no constraint; its base: {}", inner.reason);
    let class = if inner.class == CastClass::Identical { CastClass::Widening } else { inner.class };
    Some(Draft { class, expr: Some(format!("CAST({value} AS {})", to.sql)), reason, ..inner })
}

/// The base type of a domain, and whether its values are restricted further.
fn domain_base(domain: &ColumnType, context: &Context<'_>) -> Option<(ColumnType, bool)> {
    let name = QualifiedName { schema: domain.schema.clone(), name: domain.name.clone() };
    match context.types.get(&name)? {
        TypeDef::Domain { base, not_null, checks, .. } => {
            let base = typename::parse(base, context.types).ok()?;
            Some((base, *not_null || !checks.is_empty()))
        }
        TypeDef::Enum(_) | TypeDef::Composite(_) | TypeDef::Range(_) | TypeDef::Base => None,
    }
}

fn hint(from: &ColumnType, to: &ColumnType) -> Option<String> {
    let hint = match (from.name.as_str(), to.name.as_str()) {
        ("bytea", "text" | "varchar") => "encode(col, 'hex')",
        ("text" | "varchar", "bytea") => "convert_to(col, 'UTF8')",
        ("timestamp", "time") | ("time", "interval") | ("interval", "time") => "col::time",
        ("text" | "varchar" | "bpchar", "timestamp" | "timestamptz" | "float4" | "float8" | "json" | "jsonb") => {
            return Some(format!("col::{}", to.sql));
        }
        ("int4" | "int8", "timestamptz") => "to_timestamp(col)",
        ("timestamptz", "date") => "(col AT TIME ZONE 'UTC')::date",
        ("uuid", "bytea") => "uuid_send(col)",
        _ => return None,
    };
    Some(hint.to_owned())
}

/// Checks of a text form against a length in characters: none when the longest possible value fits.
pub(super) fn text_form(reason: &str, to: &ColumnType, longest: Option<i32>, text: &str) -> Option<Draft> {
    if !["text", "varchar", "bpchar"].iter().any(|name| to.is(name)) {
        return None;
    }
    let bad = match (to.typmod - 4, longest) {
        (limit, _) if limit < 0 => Vec::new(),
        (limit, Some(longest)) if longest <= limit => Vec::new(),
        (limit, _) => vec![(format!("char_length({text}) > {limit}"), format!("longer than {limit} characters"))],
    };
    Some(Draft { expr: Some(format!("CAST({text} AS {})", to.sql)), ..checked(reason, bad) })
}
