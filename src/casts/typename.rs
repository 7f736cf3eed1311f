//! SQL type names → [`ColumnType`], as PostgreSQL's parser and typmod functions read them.

use std::collections::BTreeMap;

use pest::Parser as _;
use pest::iterators::Pair;

use self::grammar::{Grammar, Rule};
use super::builtin::{self, BUILTINS, array_of, column_type};
use crate::catalog::{Align, ColumnType, Ident, QualifiedName, TypeDef, TypeKind};
use crate::sql::quote::name_if_needed;

/// The generated parser; its rules are documented in the grammar.
mod grammar {
    #![allow(missing_docs)]

    #[derive(pest_derive::Parser)]
    #[grammar = "../grammar/lexical.pest"]
    #[grammar = "../grammar/typename.pest"]
    pub(super) struct Grammar;
}

/// Why a type name means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TypeError {
    /// Not the shape of a type name.
    #[error("`{text}` is not a type name (from character {column})")]
    Syntax {
        /// As written.
        text: String,
        /// First character that does not fit, counted from 1.
        column: usize,
    },
    /// No such type.
    #[error("there is no type `{name}`{}", .candidate.as_ref().map(|c| format!("; did you mean `{c}`?")).unwrap_or_default())]
    Unknown {
        /// As written.
        name: String,
        /// The nearest type.
        candidate: Option<String>,
    },
    /// Several schemas have a type of this name.
    #[error("`{name}` is ambiguous: write {}", .candidates.iter().map(|c| format!("`{c}`")).collect::<Vec<_>>().join(" or "))]
    Ambiguous {
        /// As written.
        name: String,
        /// All of them.
        candidates: Vec<QualifiedName>,
    },
    /// serial is not a type.
    #[error("`{0}` is an integer column with a sequence, not a type: write `{1}` and keep or add the sequence")]
    Serial(String, &'static str),
    /// Wrong modifiers.
    #[error("{0}")]
    Modifier(String),
    /// SETOF, %TYPE and pseudo-types.
    #[error("a column cannot have the type `{0}`")]
    NotForColumns(String),
}

/// Reads a type name. Unqualified names are looked for in `pg_catalog`, then `public`, then wherever there is just one.
///
/// `sql` of the result is what `format_type` would write. Length and alignment of types that extensions bring are not
/// known from their name: they count as variable-length.
pub fn parse(text: &str, user_types: &BTreeMap<QualifiedName, TypeDef>) -> Result<ColumnType, TypeError> {
    let syntax = |error: pest::error::Error<Rule>| {
        let column = match error.line_col {
            pest::error::LineColLocation::Pos((_, column)) | pest::error::LineColLocation::Span((_, column), _) => {
                column
            }
        };
        TypeError::Syntax { text: text.to_owned(), column }
    };
    let top = Grammar::parse(Rule::type_name, text).map_err(syntax)?.next();
    let mut ty = None;
    for part in top.into_iter().flat_map(Pair::into_inner).flat_map(Pair::into_inner) {
        match part.as_rule() {
            Rule::setof => return Err(TypeError::NotForColumns(text.trim().to_owned())),
            Rule::scalar => {
                for inner in part.into_inner() {
                    ty = Some(scalar(inner, user_types)?);
                }
            }
            Rule::dimensions => ty = ty.map(|element| array_of(&element)),
            _ => {}
        }
    }
    ty.ok_or_else(|| TypeError::Syntax { text: text.to_owned(), column: 1 })
}

fn scalar(pair: Pair<'_, Rule>, user_types: &BTreeMap<QualifiedName, TypeDef>) -> Result<ColumnType, TypeError> {
    let has = |rule: Rule| pair.clone().into_inner().flatten().any(|inner| inner.as_rule() == rule);
    let length = match pair.clone().into_inner().flatten().find(|inner| inner.as_rule() == Rule::length) {
        Some(length) => Some(number(length.as_str())?),
        None => None,
    };
    match pair.as_rule() {
        Rule::double_precision => modified("float8", &[]),
        Rule::varchar => modified("varchar", length.as_slice()),
        Rule::national | Rule::character if has(Rule::varying) => modified("varchar", length.as_slice()),
        Rule::national | Rule::character => modified("bpchar", &[length.unwrap_or(1)]),
        Rule::varbit => modified("varbit", length.as_slice()),
        Rule::bit => modified("bit", &[length.unwrap_or(1)]),
        Rule::timestamp if has(Rule::with_zone) => modified("timestamptz", length.as_slice()),
        Rule::timestamp => modified("timestamp", length.as_slice()),
        Rule::time if has(Rule::with_zone) => modified("timetz", length.as_slice()),
        Rule::time => modified("time", length.as_slice()),
        Rule::float => match length {
            None | Some(25..=53) => modified("float8", &[]),
            Some(1..=24) => modified("float4", &[]),
            Some(other) => Err(TypeError::Modifier(format!("float({other}): the precision must be 1 to 53"))),
        },
        Rule::interval => interval(pair, length),
        _ => named(pair, user_types),
    }
}

fn number(text: &str) -> Result<i32, TypeError> {
    let digits = text.trim_matches(|c: char| c == '(' || c == ')' || c.is_whitespace());
    digits.parse().map_err(|_| TypeError::Modifier(format!("`{digits}` is too large for a length or precision")))
}

fn interval(pair: Pair<'_, Rule>, precision: Option<i32>) -> Result<ColumnType, TypeError> {
    let words: Vec<String> = pair
        .into_inner()
        .flatten()
        .filter(|inner| inner.as_rule() == Rule::field)
        .map(|field| field.as_str().trim().to_ascii_lowercase())
        .collect();
    let precision_bits = precision.map(|p| p.min(6));
    if words.is_empty() {
        return Ok(with_typmod("interval", precision_bits.map_or(-1, |p| (builtin::INTERVAL_FULL_RANGE << 16) | p)));
    }
    let spelled = words.join(" to ");
    let Some((_, mask)) = builtin::INTERVAL_FIELDS.iter().find(|(fields, _)| *fields == spelled) else {
        return Err(TypeError::Modifier(format!("interval has no fields `{spelled}`")));
    };
    if precision.is_some() && mask & builtin::SECOND == 0 {
        return Err(TypeError::Modifier(format!("interval {spelled} takes no precision: it has no seconds")));
    }
    Ok(with_typmod("interval", (mask << 16) | precision_bits.unwrap_or(builtin::INTERVAL_FULL_PRECISION)))
}

/// A column of a built-in type that is known to exist.
fn with_typmod(typname: &str, typmod: i32) -> ColumnType {
    let row = builtin::builtin(typname).expect("called with names of the table only");
    column_type(row, typmod)
}

/// A built-in type by `typname`, with modifiers as `typmodin` checks them.
fn modified(typname: &str, modifiers: &[i32]) -> Result<ColumnType, TypeError> {
    let fail = |text: String| Err(TypeError::Modifier(text));
    let typmod = match (typname, modifiers) {
        (_, []) => -1,
        ("varchar" | "bpchar", [n @ 1..=10_485_760]) => n + 4,
        ("varchar" | "bpchar", [n]) => return fail(format!("a length of {n} is not between 1 and 10485760")),
        ("bit" | "varbit", [n @ 1..=83_886_080]) => *n,
        ("bit" | "varbit", [n]) => return fail(format!("a length of {n} is not between 1 and 83886080")),
        // More than six digits of a second is a warning in PostgreSQL, and means six.
        ("time" | "timetz" | "timestamp" | "timestamptz", [n]) if *n >= 0 => (*n).min(6),
        ("numeric", [p @ 1..=1000]) => (p << 16) + 4,
        ("numeric", [p @ 1..=1000, s @ -1000..=1000]) => ((p << 16) | (s & 0x7ff)) + 4,
        ("numeric", _) => {
            return fail("numeric takes a precision of 1 to 1000 and a scale of -1000 to 1000".to_owned());
        }
        (name, _) => return fail(format!("the type `{name}` takes no such modifiers")),
    };
    Ok(with_typmod(typname, typmod))
}

/// Keywords that name a type under another `typname`.
const ALIASES: &[(&str, &str)] = &[
    ("bigint", "int8"),
    ("boolean", "bool"),
    ("dec", "numeric"),
    ("decimal", "numeric"),
    ("int", "int4"),
    ("integer", "int4"),
    ("real", "float4"),
    ("smallint", "int2"),
];

const SERIALS: &[(&str, &str)] = &[
    ("bigserial", "bigint"),
    ("serial", "integer"),
    ("serial2", "smallint"),
    ("serial4", "integer"),
    ("serial8", "bigint"),
    ("smallserial", "smallint"),
];

fn named(pair: Pair<'_, Rule>, user_types: &BTreeMap<QualifiedName, TypeDef>) -> Result<ColumnType, TypeError> {
    let written = pair.as_str().trim().to_owned();
    let mut parts: Vec<(String, bool)> = Vec::new();
    let mut modifiers = Vec::new();
    for part in pair.into_inner() {
        match part.as_rule() {
            Rule::name => parts.push(unquote(part.as_str())),
            Rule::modifiers => {
                for modifier in part.into_inner() {
                    modifiers.push(modifier.as_str().trim().parse().map_err(|_| {
                        TypeError::Modifier(format!("`{written}`: only whole numbers are modifiers here"))
                    })?);
                }
            }
            _ => return Err(TypeError::NotForColumns(written)),
        }
    }
    match parts.as_slice() {
        [(name, quoted)] => {
            let alias = ALIASES.iter().find(|(alias, _)| !quoted && alias == name);
            if let Some((_, typname)) = alias {
                return modified(typname, &modifiers);
            }
            if let Some((_, base)) = SERIALS.iter().find(|(serial, _)| !quoted && serial == name) {
                return Err(TypeError::Serial(name.clone(), base));
            }
            match builtin_named(name, &modifiers) {
                Some(found) => found,
                None => unqualified(name, &modifiers, user_types),
            }
        }
        [(schema, _), (name, _)] if schema == "pg_catalog" => {
            builtin_named(name, &modifiers).unwrap_or_else(|| Err(unknown(&written, user_types)))
        }
        [(schema, _), (name, _)] => {
            let wanted = QualifiedName::new(schema.as_str(), name.as_str());
            match wanted.ok().and_then(|wanted| user_types.get_key_value(&wanted)) {
                Some((found, def)) => user_type(found, def, &modifiers, user_types),
                None => user_array(&written, schema, name, user_types),
            }
        }
        _ => Err(unknown(&written, user_types)),
    }
}

/// A name as PostgreSQL folds it, and whether it was quoted.
fn unquote(text: &str) -> (String, bool) {
    match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => (inner.replace("\"\"", "\""), true),
        None => (text.to_ascii_lowercase(), false),
    }
}

/// A type of `pg_catalog`, or the array over one by its `typname` (`_int4`).
fn builtin_named(name: &str, modifiers: &[i32]) -> Option<Result<ColumnType, TypeError>> {
    if builtin::builtin(name).is_some() {
        return Some(modified(name, modifiers));
    }
    let element = name.strip_prefix('_')?;
    builtin::builtin(element)?;
    Some(modified(element, modifiers).map(|element| array_of(&element)))
}

fn unqualified(
    name: &str,
    modifiers: &[i32],
    user_types: &BTreeMap<QualifiedName, TypeDef>,
) -> Result<ColumnType, TypeError> {
    let found: Vec<_> = user_types.iter().filter(|(type_name, _)| type_name.name.as_str() == name).collect();
    let in_public = found.iter().find(|(type_name, _)| type_name.schema.as_str() == "public");
    match (in_public, found.as_slice()) {
        (Some((type_name, def)), _) | (None, [(type_name, def)]) => user_type(type_name, def, modifiers, user_types),
        (None, []) => Err(unknown(name, user_types)),
        (None, several) => Err(TypeError::Ambiguous {
            name: name.to_owned(),
            candidates: several.iter().map(|(type_name, _)| (*type_name).clone()).collect(),
        }),
    }
}

/// `public._mood`: the array over a user type, by its `typname`.
fn user_array(
    written: &str,
    schema: &str,
    name: &str,
    user_types: &BTreeMap<QualifiedName, TypeDef>,
) -> Result<ColumnType, TypeError> {
    let element = name.strip_prefix('_').and_then(|element| QualifiedName::new(schema, element).ok());
    match element.and_then(|element| user_types.get_key_value(&element)) {
        Some((found, def)) => Ok(array_of(&user_type(found, def, &[], user_types)?)),
        None => Err(unknown(written, user_types)),
    }
}

fn user_type(
    name: &QualifiedName,
    def: &TypeDef,
    modifiers: &[i32],
    user_types: &BTreeMap<QualifiedName, TypeDef>,
) -> Result<ColumnType, TypeError> {
    if !modifiers.is_empty() {
        return Err(TypeError::Modifier(format!("pcrd does not know the modifiers of the type `{name}`")));
    }
    let (kind, len, align) = match def {
        TypeDef::Enum(_) => (TypeKind::Enum, 4, Align::Int),
        TypeDef::Domain { base, .. } => {
            let base = parse(base, user_types)?;
            (TypeKind::Domain, base.len, base.align)
        }
        TypeDef::Composite(_) => (TypeKind::Composite, -1, Align::Double),
        TypeDef::Range(range) => {
            let wide = parse(&range.subtype, user_types)?.align == Align::Double;
            (TypeKind::Range, -1, if wide { Align::Double } else { Align::Int })
        }
        TypeDef::Base => (TypeKind::Base, -1, Align::Int),
    };
    let (schema, name): (Ident, Ident) = (name.schema.clone(), name.name.clone());
    let sql = format!("{}.{}", name_if_needed(&schema), name_if_needed(&name));
    Ok(ColumnType { schema, name, typmod: -1, sql, len, align, kind })
}

fn unknown(name: &str, user_types: &BTreeMap<QualifiedName, TypeDef>) -> TypeError {
    let lower = name.to_lowercase();
    let built_in = BUILTINS.iter().map(|row| row.name.to_owned());
    let aliases = ALIASES.iter().map(|(alias, _)| (*alias).to_owned());
    let users = user_types.keys().flat_map(|user| [user.to_string(), user.name.to_string()]);
    let candidate = built_in
        .chain(aliases)
        .chain(users)
        .map(|candidate| (similar::TextDiff::from_chars(lower.as_str(), candidate.as_str()).ratio(), candidate))
        .filter(|(ratio, _)| *ratio >= 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate);
    TypeError::Unknown { name: name.to_owned(), candidate }
}
