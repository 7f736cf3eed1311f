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

/// A name as PostgreSQL's own `quote_identifier` writes it: for text that is compared with what the server says
/// (`format_type`), not for statements.
pub fn name_if_needed(name: &Ident) -> String {
    let text = name.as_str();
    let plain = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain && !KEYWORDS.split_ascii_whitespace().any(|keyword| keyword == text) {
        text.to_owned()
    } else {
        ident(name)
    }
}

/// A name for files that people edit: in quotes only where one of the supported versions needs them.
pub fn readable(name: &Ident) -> String {
    let is_newer = NEWER_KEYWORDS.split_ascii_whitespace().any(|keyword| keyword == name.as_str());
    if is_newer { ident(name) } else { name_if_needed(name) }
}

/// `schema.name`, in the same way.
pub fn readable_name(name: &QualifiedName) -> String {
    format!("{}.{}", readable(&name.schema), readable(&name.name))
}

/// Keywords of 16 to 18 that are not "unreserved".
const NEWER_KEYWORDS: &str = "
    json json_array json_arrayagg json_exists json_object json_objectagg json_query json_scalar json_serialize
    json_table json_value merge_action system_user
";

/// Keywords of PostgreSQL 15 that are not "unreserved".
const KEYWORDS: &str = "
    all analyse analyze and any array as asc asymmetric authorization between bigint binary bit boolean both case
    cast char character check coalesce collate collation column concurrently constraint create cross current_catalog
    current_date current_role current_schema current_time current_timestamp current_user dec decimal default
    deferrable desc distinct do else end except exists extract false fetch float for foreign freeze from full grant
    greatest group grouping having ilike in initially inner inout int integer intersect interval into is isnull join
    lateral leading least left like limit localtime localtimestamp national natural nchar none normalize not notnull
    null nullif numeric offset on only or order out outer overlaps overlay placing position precision primary real
    references returning right row select session_user setof similar smallint some substring symmetric table
    tablesample then time timestamp to trailing treat trim true union unique user using values varchar variadic
    verbose when where window with xmlattributes xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse
    xmlpi xmlroot xmlserialize xmltable
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(name(&QualifiedName::new("a\"b", ";--\n").unwrap()), "\"a\"\"b\".\";--\n\"");
        assert_eq!(literal("it's \\ fine"), "'it''s \\ fine'");
    }
}
