//! DDL of user-defined types.

use std::collections::BTreeMap;

use crate::catalog::{Attribute, Ident, QualifiedName, RangeDef, TypeDef};
use crate::sql::literal;

/// How names are written.
#[derive(Debug, Clone, Copy)]
pub struct Quoting {
    /// Of objects.
    pub name: fn(&QualifiedName) -> String,
    /// Of their parts.
    pub ident: fn(&Ident) -> String,
}

/// Always quoted.
pub const QUOTED: Quoting = Quoting { name: crate::sql::name, ident: crate::sql::ident };

/// `CREATE TYPE` or `CREATE DOMAIN`, and what only ALTER DOMAIN can say; nothing for a base type. A range's canonical
/// function cannot be said: it must exist before the type that it takes.
pub fn create_type(type_name: &QualifiedName, def: &TypeDef, quoting: Quoting) -> Vec<String> {
    let name = (quoting.name)(type_name);
    match def {
        TypeDef::Enum(labels) => {
            vec![format!("CREATE TYPE {name} AS ENUM ({})", lines(labels.iter().map(|l| literal(l))))]
        }
        TypeDef::Domain { base, not_null, checks, default, collation } => {
            let mut create = format!("CREATE DOMAIN {name} AS {base}");
            create.push_str(&collate(collation.as_ref(), quoting));
            if let Some(default) = default {
                create.push_str(&format!(" DEFAULT {default}"));
            }
            if *not_null {
                create.push_str(" NOT NULL");
            }
            with_checks(create, &name, checks, quoting)
        }
        TypeDef::Composite(attributes) => {
            let attribute = |attribute: &Attribute| {
                let collate = collate(attribute.collation.as_ref(), quoting);
                format!("{} {}{collate}", (quoting.ident)(&attribute.name), attribute.ty)
            };
            vec![format!("CREATE TYPE {name} AS ({})", lines(attributes.iter().map(attribute)))]
        }
        TypeDef::Range(range) => vec![format!("CREATE TYPE {name} AS RANGE ({})", lines(options(range, quoting)))],
        TypeDef::Base => Vec::new(),
    }
}

/// `DOMAIN` or `TYPE`: what DROP calls it.
pub fn word(def: &TypeDef) -> &'static str {
    match def {
        TypeDef::Domain { .. } => "DOMAIN",
        TypeDef::Enum(_) | TypeDef::Composite(_) | TypeDef::Range(_) | TypeDef::Base => "TYPE",
    }
}

/// Drops a type, unless something is made of it.
pub fn drop_unless_used(name: &QualifiedName, def: &TypeDef) -> String {
    let drop = format!("DROP {} IF EXISTS {}", word(def), crate::sql::name(name));
    let body = format!("BEGIN {drop}; EXCEPTION WHEN dependent_objects_still_exist THEN NULL; END");
    format!("DO LANGUAGE plpgsql {}", literal(&body))
}

/// CREATE DOMAIN has no NOT VALID.
pub(crate) fn is_not_valid(check: &str) -> bool {
    check.ends_with(NOT_VALID)
}

/// How PostgreSQL ends the definition of a constraint that was never validated.
pub(crate) const NOT_VALID: &str = " NOT VALID";

fn with_checks(mut create: String, name: &str, checks: &BTreeMap<Ident, String>, quoting: Quoting) -> Vec<String> {
    let (later, now): (Vec<_>, Vec<_>) = checks.iter().partition(|(_, check)| is_not_valid(check));
    for (check, definition) in now {
        create.push_str(&format!("\n    CONSTRAINT {} {definition}", (quoting.ident)(check)));
    }
    let later = later.iter().map(|(check, definition)| {
        format!("ALTER DOMAIN {name} ADD CONSTRAINT {} {definition}", (quoting.ident)(check))
    });
    [create].into_iter().chain(later).collect()
}

/// What was chosen for a range, each with the word for it.
pub(crate) fn range_options(range: &RangeDef) -> impl Iterator<Item = (&'static str, &QualifiedName)> {
    let chosen = [
        ("SUBTYPE_OPCLASS", &range.opclass),
        ("COLLATION", &range.collation),
        ("SUBTYPE_DIFF", &range.subtype_diff),
        ("MULTIRANGE_TYPE_NAME", &range.multirange),
    ];
    chosen.into_iter().filter_map(|(word, value)| Some((word, value.as_ref()?)))
}

fn options(range: &RangeDef, quoting: Quoting) -> Vec<String> {
    let chosen = range_options(range).map(|(word, value)| format!("{word} = {}", (quoting.name)(value)));
    [format!("SUBTYPE = {}", range.subtype)].into_iter().chain(chosen).collect()
}

fn collate(collation: Option<&QualifiedName>, quoting: Quoting) -> String {
    collation.map_or_else(String::new, |collation| format!(" COLLATE {}", (quoting.name)(collation)))
}

fn lines(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| format!("    {item}")).collect();
    if items.is_empty() { String::new() } else { format!("\n{}\n", items.join(",\n")) }
}
