//! Names of tables with wildcards: `app.*`, `*.events_?`, `*`.

use std::fmt;

use glob::Pattern;

use crate::catalog::QualifiedName;
use crate::catalog::name::{NameError, NamePart, split_parts};

/// What stands for any characters, for any one character, and for one of several.
const WILDCARDS: [char; 3] = ['*', '?', '['];

/// Which tables are meant. Case counts, as in names; what stands in double quotes stands for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableGlob {
    schema: Pattern,
    table: Pattern,
    text: String,
}

/// Why a text is no glob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// Not `table` or `schema.table`.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Brackets that do not end, or `**` within a name.
    #[error("`{0}` is not a pattern: {1}")]
    Pattern(String, &'static str),
}

impl TableGlob {
    /// True when the text has a wildcard outside of quotes.
    pub fn is_glob(text: &str) -> bool {
        split_parts(text).is_ok_and(|parts| parts.iter().any(|part| !part.quoted && part.text.contains(WILDCARDS)))
    }

    /// Reads `schema.table` with or without wildcards; `table` is in `public`, and `*` alone is every table of every schema.
    ///
    /// # Errors
    /// More than two parts, or a pattern that does not end.
    pub fn parse(text: &str) -> Result<Self, GlobError> {
        let parts = split_parts(text)?;
        let (schema, table) = match parts.as_slice() {
            [all] if !all.quoted && all.text == "*" => (pattern(all)?, pattern(all)?),
            [table] => (Pattern::new("public").expect("a pattern"), pattern(table)?),
            [schema, table] => (pattern(schema)?, pattern(table)?),
            _ => return Err(NameError::NotQualified(text.to_owned()).into()),
        };
        Ok(Self { schema, table, text: text.to_owned() })
    }

    /// The same where a pattern without a schema is about every schema: who leaves tables out means more of them rather than
    /// fewer.
    ///
    /// # Errors
    /// As above.
    pub fn parse_everywhere(text: &str) -> Result<Self, GlobError> {
        let read = Self::parse(text)?;
        let is_bare = split_parts(text)?.len() == 1;
        Ok(if is_bare { Self { schema: Pattern::new("*").expect("a pattern"), ..read } } else { read })
    }

    /// True for a table that is meant.
    pub fn matches(&self, name: &QualifiedName) -> bool {
        self.schema.matches(name.schema.as_str()) && self.table.matches(name.name.as_str())
    }
}

fn pattern(part: &NamePart) -> Result<Pattern, GlobError> {
    if part.text.is_empty() {
        return Err(NameError::Empty.into());
    }
    let text = if part.quoted { Pattern::escape(&part.text) } else { part.text.clone() };
    Pattern::new(&text).map_err(|error| GlobError::Pattern(part.text.clone(), error.msg))
}

impl fmt::Display for TableGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched<'a>(glob: &str, names: &[&'a str]) -> Vec<&'a str> {
        let glob = TableGlob::parse(glob).unwrap();
        names.iter().copied().filter(|name| glob.matches(&name.parse().unwrap())).collect()
    }

    #[test]
    fn wildcards_stay_within_their_part() {
        let names =
            ["public.users", "public.user_2", "app.users", "\"App\".users", "app.\"a*b\"", "app.\"a.b\"", "app.axb"];
        assert_eq!(matched("*", &names), names);
        assert_eq!(matched("*.*", &names), names);
        assert_eq!(matched("user*", &names), ["public.users", "public.user_2"]);
        assert_eq!(matched("app.*", &names), ["app.users", "app.\"a*b\"", "app.\"a.b\"", "app.axb"]);
        assert_eq!(matched("?pp.users", &names), ["app.users", "\"App\".users"], "case counts");
        assert_eq!(matched("[aA]pp.users", &names), ["app.users", "\"App\".users"]);
        assert_eq!(matched("app.\"a*b\"", &names), ["app.\"a*b\""], "in quotes it is itself");
        assert_eq!(matched("*.\"a.b\"", &names), ["app.\"a.b\""]);
        assert_eq!(matched("app.a*", &names), ["app.\"a*b\"", "app.\"a.b\"", "app.axb"]);
    }

    #[test]
    fn a_slash_and_a_leading_dot_are_characters_like_others() {
        assert_eq!(matched("*", &["public.\"a/b\"", "public.\".c\""]), ["public.\"a/b\"", "public.\".c\""]);
    }

    #[test]
    fn an_exclusion_without_a_schema_is_about_all_of_them() {
        let is_out =
            |text: &str, name: &str| TableGlob::parse_everywhere(text).unwrap().matches(&name.parse().unwrap());
        for (text, out) in [("tmp_*", true), ("public.tmp_*", false), ("app.tmp_*", true), ("tmp_a", true), ("*", true)]
        {
            assert_eq!(is_out(text, "app.tmp_a"), out, "{text}");
        }
    }

    #[test]
    fn what_is_a_glob() {
        for text in ["*", "a.*", "a?", "*.a", "[ab].c"] {
            assert!(TableGlob::is_glob(text), "{text}");
        }
        for text in ["a", "a.b", "\"*\"", "a.\"b?\"", "\"a"] {
            assert!(!TableGlob::is_glob(text), "{text}");
        }
        for text in ["a.b.*", "*.", "[a", "a**b", ".*"] {
            assert!(TableGlob::parse(text).is_err(), "{text}");
        }
    }
}
