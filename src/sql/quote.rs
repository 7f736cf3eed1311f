//! Quoting of names and literals. Every session has `standard_conforming_strings = on`.

use crate::catalog::{Ident, QualifiedName};

/// An identifier, always in double quotes: no keyword list to be wrong about.
pub fn ident(name: &Ident) -> String {
    format!("\"{}\"", name.as_str().replace('"', "\"\""))
}

/// `"schema"."name"`.
pub fn name(name: &QualifiedName) -> String {
    format!("{}.{}", ident(&name.schema), ident(&name.name))
}

/// A string literal. Values are parameters wherever the protocol has them; COPY and DDL have none.
///
/// # Panics
/// On a NUL byte, which no PostgreSQL text can hold.
pub fn literal(text: &str) -> String {
    assert!(!text.contains('\0'), "PostgreSQL text has no NUL byte");
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(name(&QualifiedName::new("a\"b", ";--\n").unwrap()), "\"a\"\"b\".\";--\n\"");
        assert_eq!(literal("it's \\ fine"), "'it''s \\ fine'");
    }
}
