//! User-defined types, as far as a type of the same name elsewhere must be alike.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Ident, QualifiedName};

/// A user-defined type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TypeDef {
    /// Labels in sort order.
    Enum(Vec<String>),
    /// What a domain adds to its base type.
    Domain {
        /// `format_type` of the base type.
        base: String,
        /// NOT NULL.
        not_null: bool,
        /// CHECK constraints by name.
        checks: BTreeMap<Ident, String>,
        /// DEFAULT, which columns without one of their own have.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        default: Option<String>,
        /// Collation, when it is not the base type's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        collation: Option<QualifiedName>,
    },
    /// Attributes in their order.
    Composite(Vec<Attribute>),
    /// What a range is made of.
    Range(RangeDef),
    /// A base type that an extension or C code brings.
    Base,
}

/// An attribute of a composite type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Attribute {
    /// Name.
    pub name: Ident,
    /// `format_type`.
    pub ty: String,
    /// Collation, when it is not the type's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collation: Option<QualifiedName>,
}

/// A range type. What is `None` is as PostgreSQL chooses it for the subtype.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RangeDef {
    /// `format_type` of the subtype.
    pub subtype: String,
    /// Operator class that orders it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opclass: Option<QualifiedName>,
    /// Collation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collation: Option<QualifiedName>,
    /// Function that brings values into one form: discrete ranges have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canonical: Option<QualifiedName>,
    /// Function for the distance of two values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subtype_diff: Option<QualifiedName>,
    /// Name of the multirange type (PG 14+).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multirange: Option<QualifiedName>,
}

impl RangeDef {
    /// A range over a subtype, with nothing chosen.
    pub fn over(subtype: &str) -> Self {
        Self {
            subtype: subtype.to_owned(),
            opclass: None,
            collation: None,
            canonical: None,
            subtype_diff: None,
            multirange: None,
        }
    }
}

impl TypeDef {
    /// User-defined types that it is made of.
    pub fn needs(&self) -> Vec<QualifiedName> {
        match self {
            Self::Domain { base, .. } => named(base).into_iter().collect(),
            Self::Composite(attributes) => attributes.iter().filter_map(|attribute| named(&attribute.ty)).collect(),
            Self::Range(range) => named(&range.subtype).into_iter().collect(),
            Self::Enum(_) | Self::Base => Vec::new(),
        }
    }

    /// Names that come with it: its own, and that of a range's multirange.
    pub fn makes<'t>(&'t self, name: &'t QualifiedName) -> impl Iterator<Item = &'t QualifiedName> {
        let multirange = match self {
            Self::Range(range) => range.multirange.as_ref(),
            Self::Enum(_) | Self::Domain { .. } | Self::Composite(_) | Self::Base => None,
        };
        [name].into_iter().chain(multirange)
    }

    /// True when rows of the one are rows of the other: how a range measures distances and what collations are called says
    /// nothing about that.
    pub fn is_alike(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Range(own), Self::Range(other)) => (&own.subtype, &own.opclass) == (&other.subtype, &other.opclass),
            (Self::Composite(own), Self::Composite(other)) => {
                let parts =
                    |list: &[Attribute]| list.iter().map(|one| (one.name.clone(), one.ty.clone())).collect::<Vec<_>>();
                parts(own) == parts(other)
            }
            _ => self == other,
        }
    }

    /// True when every value that the one may have inside of another type is a value of the other too.
    pub fn fits_into(&self, there: &Self) -> bool {
        match (self, there) {
            (Self::Enum(own), Self::Enum(labels)) => own.iter().all(|label| labels.contains(label)),
            (
                Self::Domain { base, not_null, checks, .. },
                Self::Domain { base: other, not_null: needs, checks: asked, .. },
            ) => {
                let is_known = |check: &String| checks.values().any(|own| own == check);
                base == other && (!needs || *not_null) && asked.values().all(is_known)
            }
            _ => self.is_alike(there),
        }
    }
}

/// The user-defined type in what `format_type` writes, of which it may be an array; `None` for built-in types, which have no
/// schema there.
pub fn named(sql: &str) -> Option<QualifiedName> {
    let mut name = sql;
    while let Some(element) = name.strip_suffix("[]") {
        name = element;
    }
    if name.ends_with(')') {
        name = &name[..name.rfind('(')?];
    }
    name.parse().ok()
}

/// These types and those that they are made of, as far as they are known, each behind what it needs, else by name. One that
/// is made of itself comes after it.
pub fn in_order<'t>(
    wanted: impl IntoIterator<Item = &'t QualifiedName>,
    known: &'t BTreeMap<QualifiedName, TypeDef>,
) -> Vec<&'t QualifiedName> {
    let (mut done, mut ordered) = (BTreeSet::new(), Vec::new());
    for name in wanted.into_iter().collect::<BTreeSet<_>>() {
        // Depth first, without recursion. What is open already cannot be waited for.
        let mut stack = vec![(name, false)];
        while let Some((name, is_ready)) = stack.pop() {
            let Some((name, def)) = known.get_key_value(name) else { continue };
            if is_ready {
                ordered.push(name);
            } else if done.insert(name) {
                stack.push((name, true));
                let needs = def.needs();
                stack.extend(needs.iter().rev().filter_map(|need| Some((known.get_key_value(need)?.0, false))));
            }
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_is_found_in_its_text() {
        let name = |sql| named(sql).map(|name| name.to_string());
        assert_eq!(name("app.mood[]").unwrap(), "app.mood");
        assert_eq!(name("public.geometry(Point,4326)[]").unwrap(), "public.geometry");
        assert_eq!(name("\"a(b\".\"c)d[]\"").unwrap(), "\"a(b\".\"c)d[]\"");
        assert_eq!(name("character varying(30)"), None);
        assert_eq!(name("integer[]"), None);
    }

    #[test]
    fn what_a_type_is_made_of_comes_first() {
        let domain = |base: &str| TypeDef::Domain {
            base: base.to_owned(),
            not_null: false,
            checks: BTreeMap::new(),
            default: None,
            collation: None,
        };
        let names = ["a.a", "a.b", "a.c", "a.d"].map(|name| name.parse::<QualifiedName>().unwrap());
        let defs = [domain("a.c[]"), TypeDef::Enum(Vec::new()), domain("a.b"), domain("other.base")];
        let known = names.iter().cloned().zip(defs).collect();
        let ordered = |wanted: &[usize]| {
            let found = in_order(wanted.iter().map(|at| &names[*at]), &known);
            found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(ordered(&[0, 1, 2, 3]), "a.b a.c a.a a.d");
        assert_eq!(ordered(&[2]), "a.b a.c");
    }
}
