//! Enums, by their labels.

use crate::casts::cast::{C, Draft, checked};
use crate::casts::classify::{Context, text_form};
use crate::catalog::{ColumnType, QualifiedName, TypeDef};
use crate::sql::literal;

fn labels<'a>(ty: &ColumnType, context: &Context<'a>) -> Option<&'a [String]> {
    let name = QualifiedName { schema: ty.schema.clone(), name: ty.name.clone() };
    match context.types.get(&name)? {
        TypeDef::Enum(labels) => Some(labels),
        TypeDef::Domain { .. } | TypeDef::Composite(_) | TypeDef::Range(_) | TypeDef::Base => None,
    }
}

pub(in crate::casts) fn enum_to_text(from: &ColumnType, to: &ColumnType, context: &Context<'_>) -> Option<Draft> {
    let longest = labels(from, context)
        .and_then(|labels| labels.iter().map(|label| label.chars().count()).max())
        .and_then(|longest| i32::try_from(longest).ok());
    text_form("the label as text", to, longest, &format!("CAST({C} AS text)"))
}

pub(in crate::casts) fn text_to_enum(from: &ColumnType, to: &ColumnType, context: &Context<'_>) -> Option<Draft> {
    if !["text", "varchar", "bpchar", "name"].iter().any(|name| from.is(name)) {
        return None;
    }
    let known: Vec<String> = labels(to, context)?.iter().map(|label| literal(label)).collect();
    if known.is_empty() {
        return None;
    }
    let bad = vec![(format!("CAST({C} AS text) NOT IN ({})", known.join(", ")), format!("not a label of {}", to.sql))];
    let expr = Some(format!("CAST(CAST({C} AS text) AS {})", to.sql));
    Some(Draft { expr, ..checked("labels of the enum", bad) })
}

/// By label; the order of the labels may differ.
pub(in crate::casts) fn enum_to_enum(from: &ColumnType, to: &ColumnType, context: &Context<'_>) -> Option<Draft> {
    let (old, new) = (labels(from, context)?, labels(to, context)?);
    let missing: Vec<String> = old.iter().filter(|label| !new.contains(label)).map(|label| literal(label)).collect();
    let bad = if missing.is_empty() {
        Vec::new()
    } else {
        vec![(format!("CAST({C} AS text) IN ({})", missing.join(", ")), format!("not a label of {}", to.sql))]
    };
    let expr = Some(format!("CAST(CAST({C} AS text) AS {})", to.sql));
    Some(Draft { expr, ..checked("the same labels", bad) })
}
