//! Names of database objects, as PostgreSQL stores them (unquoted, case kept).

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smol_str::SmolStr;

/// PostgreSQL truncates longer names silently, so two of them could become one; we refuse instead.
pub const IDENT_BYTES_MAX: usize = 63;

/// One identifier: not empty, at most 63 bytes, no NUL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
#[schemars(transparent)]
pub struct Ident(SmolStr);

/// Why a string is no identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name has no characters.
    #[error("a name cannot be empty")]
    Empty,
    /// The name would be truncated by PostgreSQL.
    #[error("the name `{0}` has {1} bytes; PostgreSQL keeps at most {IDENT_BYTES_MAX}")]
    TooLong(String, usize),
    /// The name has a NUL byte.
    #[error("a name cannot contain a NUL byte")]
    Nul,
    /// The text is not `name` or `schema.name`.
    #[error("`{0}` is not `table` or `schema.table`")]
    NotQualified(String),
}

impl Ident {
    /// Checks and takes a name as PostgreSQL stores it.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.contains('\0') {
            return Err(NameError::Nul);
        }
        if name.len() > IDENT_BYTES_MAX {
            let bytes = name.len();
            return Err(NameError::TooLong(name, bytes));
        }
        Ok(Self(name.into()))
    }

    /// The bare name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True when the name needs no quotes in an address (`^[a-z_][a-z0-9_$]*$`).
    fn is_plain(&self) -> bool {
        let mut chars = self.0.chars();
        chars.next().is_some_and(|c| c.is_ascii_lowercase() || c == '_')
            && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '$')
    }
}

/// The address form: plain names bare, others in double quotes. For people and JSON keys, not for SQL (`sql::quote`).
impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_plain() { f.write_str(&self.0) } else { write!(f, "\"{}\"", self.0.replace('"', "\"\"")) }
    }
}

impl fmt::Debug for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Ident {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Ident {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// A name with its schema. In JSON and addresses: `schema.name`, parts quoted only where needed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
#[schemars(with = "String")]
pub struct QualifiedName {
    /// The schema.
    pub schema: Ident,
    /// The object in it.
    pub name: Ident,
}

impl QualifiedName {
    /// Checks and joins the two parts.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Result<Self, NameError> {
        Ok(Self { schema: Ident::new(schema)?, name: Ident::new(name)? })
    }

    /// Reads `name` (then in schema `public`) or `schema.name`; parts may be in double quotes.
    /// Letters keep their case: the text is a name as stored, not SQL.
    pub fn parse_or_public(text: &str) -> Result<Self, NameError> {
        let parts = split_parts(text)?;
        match parts.as_slice() {
            [name] => Self::new("public", name.text.as_str()),
            [schema, name] => Self::new(schema.text.as_str(), name.text.as_str()),
            _ => Err(NameError::NotQualified(text.to_owned())),
        }
    }
}

/// A part of a name as somebody wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePart {
    /// Without quotes.
    pub text: String,
    /// It stood in double quotes.
    pub quoted: bool,
}

/// Cuts `a.b."c.d"` at its dots.
///
/// # Errors
/// Quotes that do not end, or that begin within a part.
pub fn split_parts(text: &str) -> Result<Vec<NamePart>, NameError> {
    let bad = || NameError::NotQualified(text.to_owned());
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let part;
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut value = String::new();
            let mut chars = quoted.char_indices().peekable();
            let mut end = None;
            while let Some((at, c)) = chars.next() {
                if c != '"' {
                    value.push(c);
                } else if chars.peek().is_some_and(|&(_, next)| next == '"') {
                    value.push('"');
                    chars.next();
                } else {
                    end = Some(at + 1);
                    break;
                }
            }
            rest = &quoted[end.ok_or_else(bad)?..];
            part = NamePart { text: value, quoted: true };
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            part = NamePart { text: rest[..end].to_owned(), quoted: false };
            if part.text.contains('"') {
                return Err(bad());
            }
            rest = &rest[end..];
        }
        parts.push(part);
        if rest.is_empty() {
            return Ok(parts);
        }
        rest = rest.strip_prefix('.').ok_or_else(bad)?;
    }
}

impl fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

impl fmt::Debug for QualifiedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for QualifiedName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match split_parts(text)?.as_slice() {
            [schema, name] => Self::new(schema.text.as_str(), name.text.as_str()),
            _ => Err(NameError::NotQualified(text.to_owned())),
        }
    }
}

impl Serialize for QualifiedName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for QualifiedName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_their_address_form() {
        for (schema, name) in [("public", "orders"), ("My App", "a.b"), ("x", "a\"b"), ("x", "\n;--"), ("é", "\"")] {
            let qualified = QualifiedName::new(schema, name).unwrap();
            assert_eq!(qualified.to_string().parse::<QualifiedName>().unwrap(), qualified);
        }
        assert_eq!(QualifiedName::parse_or_public("t").unwrap(), QualifiedName::new("public", "t").unwrap());
        assert!("a.b.c".parse::<QualifiedName>().is_err());
        assert!("\"open".parse::<QualifiedName>().is_err());
        assert!(Ident::new("x".repeat(64)).is_err());
    }
}
