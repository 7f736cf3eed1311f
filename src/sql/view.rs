//! Statements about views, and the relations that their queries name.

use std::collections::BTreeMap;

use crate::catalog::{QualifiedName, ViewDef};
use crate::sql::ddl::{analyze, comment, with_options};
use crate::sql::token::{Token, TokenError, tokens};
use crate::sql::{ident, name};

/// Brackets inside of each other: a plan is read with a stack.
const DEPTH_MAX: i32 = 150;

/// `CREATE VIEW`, which fails where there is one, and its comments; of a materialized one its indexes and rows too.
pub fn create(view: &QualifiedName, def: &ViewDef) -> Vec<String> {
    let (own, word) = (name(view), word(def));
    let (options, query) = (with_options(&def.options), &def.definition);
    let mut list = match &def.materialized {
        None => vec![format!("CREATE VIEW {own}{options} AS {query}")],
        Some(_) => vec![format!("CREATE MATERIALIZED VIEW {own}{options} AS {query} WITH NO DATA")],
    };
    list.extend(def.comment.iter().map(|text| comment(&format!("{word} {own}"), text)));
    let of_columns = def.column_comments.iter();
    list.extend(of_columns.map(|(column, text)| comment(&format!("COLUMN {own}.{}", ident(column)), text)));
    if let Some(materialized) = &def.materialized {
        list.extend(materialized.indexes.values().cloned());
        if !materialized.unpopulated {
            list.extend([refresh(view), analyze(view)]);
        }
    }
    list
}

/// `VIEW` or `MATERIALIZED VIEW`.
pub fn word(def: &ViewDef) -> &'static str {
    if def.materialized.is_some() { "MATERIALIZED VIEW" } else { "VIEW" }
}

/// `REFRESH MATERIALIZED VIEW`.
pub fn refresh(view: &QualifiedName) -> String {
    format!("REFRESH MATERIALIZED VIEW {}", name(view))
}

/// `DROP VIEW`, without what depends on it.
pub fn drop_if_there(view: &QualifiedName, def: &ViewDef) -> String {
    format!("DROP {} IF EXISTS {}", word(def), name(view))
}

/// True for a query that ends where the text does.
pub fn is_one_query(definition: &str) -> bool {
    const FIRST: [&str; 4] = ["select", "with", "values", "table"];
    tokens(definition).is_ok_and(|list| {
        let mut depth = 0_i32;
        let is_closed = list.iter().all(|token| {
            let opens = token.is("(") || token.is("[") || token.word() == Some("case");
            let closes = token.is(")") || token.is("]") || token.word() == Some("end");
            depth += i32::from(opens) - i32::from(closes);
            (0..DEPTH_MAX).contains(&depth) && !token.is(";")
        });
        let first = list.iter().find(|token| !token.is("(")).and_then(Token::word);
        is_closed && depth == 0 && first.is_some_and(|word| FIRST.contains(&word))
    })
}

/// The query with other names of these relations, as `schema.relation`. What looks like one and is a column of an alias makes
/// a query that the server does not understand, or that reads something else: the caller asks it.
pub fn moved(definition: &str, names: &BTreeMap<QualifiedName, QualifiedName>) -> Result<String, TokenError> {
    let list = tokens(definition)?;
    let is = |at: usize, symbol: &str| list.get(at).is_some_and(|token| token.is(symbol));
    let (mut out, mut copied, mut at) = (String::with_capacity(definition.len()), 0, 0);
    while at < list.len() {
        let qualified = list[at].name().filter(|_| is(at + 1, ".") && (at == 0 || !is(at - 1, ".")));
        let relation = qualified.and_then(|schema| {
            let relation = list.get(at + 2)?.name().filter(|_| !is(at + 3, "("))?;
            names.get(&QualifiedName::new(schema, relation).ok()?)
        });
        match relation {
            Some(new) => {
                out.push_str(&definition[copied..list[at].start]);
                out.push_str(&name(new));
                at += 3;
                copied = list[at - 1].end;
            }
            None => at += 1,
        }
    }
    out.push_str(&definition[copied..]);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_get_other_names_and_nothing_else_does() {
        let named = |schema: &str, name: &str| QualifiedName::new(schema, name).unwrap();
        let names =
            BTreeMap::from([(named("app", "items"), named("s", "items")), (named("a b", "x"), named("s", "x"))]);
        for (text, expected) in [
            ("SELECT id FROM app.items", "SELECT id FROM \"s\".\"items\""),
            ("SELECT 'app.items', app.items(1), q.app.items FROM app.other", ""),
            ("SELECT x.y FROM \"a b\".x, app.items items", "SELECT x.y FROM \"s\".\"x\", \"s\".\"items\" items"),
            ("SELECT -- app.items\n 1 FROM app.items", "SELECT -- app.items\n 1 FROM \"s\".\"items\""),
        ] {
            assert_eq!(moved(text, &names).unwrap(), if expected.is_empty() { text } else { expected });
        }
    }

    #[test]
    fn one_query_is_one() {
        for text in ["SELECT ';'", "WITH q AS (SELECT 1) SELECT 2", "(SELECT 1) UNION (VALUES (1))", "VALUES (1)"] {
            assert!(is_one_query(text), "{text}");
        }
        for text in ["SELECT 1; DROP TABLE x", "DROP TABLE x", "SELECT 1)", "SELECT (1", "SELECT 'x", ""] {
            assert!(!is_one_query(text), "{text}");
        }
    }
}
