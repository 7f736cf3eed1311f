//! The rows of a target table with several source tables that come from one of them.

use crate::catalog::{ColumnType, Ident, QualifiedName};
use crate::projection::{Part, Projection};
use crate::sql::expr::{commas, constant, target_table};
use crate::sql::token::{Token, tokens};
use crate::sql::{ident, literal};

/// `"column" = 'value'` over the target table: what every statement asks that looks for rows of this source alone. `None`
/// when the target has no other source.
pub fn own(projection: &Projection, alias: &str) -> Option<String> {
    let part = projection.part.as_ref()?;
    // The constant takes the column's type.
    Some(format!("{alias}{} = {}", ident(&part.column), literal(&part.value)))
}

/// The constants of all sources of the target in the order of its column, which only its server knows: one text a row.
/// `None` unless this source is the one that answers for rows of nobody.
pub fn constants(projection: &Projection) -> Option<String> {
    let part = projection.part.as_ref().filter(|part| !part.others.is_empty())?;
    // They take type and collation of the column: literals have none of their own.
    let each = values(part).map(|value| format!(" UNION ALL SELECT {value}")).collect::<String>();
    let column = format!("SELECT {} FROM {} WHERE false", ident(&part.column), target_table(projection));
    Some(format!("SELECT CAST(c.v AS pg_catalog.text) FROM ({column}{each}) AS c(v) ORDER BY c.v"))
}

/// Up to `max` rows of the target that come from none of its sources, as text: `ctid`, the column that tells sources apart,
/// then the key of the target. `ordered` is what [`constants`] gave: an index that begins with the column then finds what
/// is before, between and after them, where `NOT IN` alone would read the table.
pub fn strays(projection: &Projection, ordered: &[String], max: usize) -> Option<String> {
    let part = projection.part.as_ref().filter(|part| !part.others.is_empty())?;
    let column = format!("t.{}", ident(&part.column));
    let (first, last) = (ordered.first()?, ordered.last()?);
    let mut gaps = vec![format!("{column} < {}", literal(first))];
    for pair in ordered.windows(2) {
        gaps.push(format!("{column} > {} AND {column} < {}", literal(&pair[0]), literal(&pair[1])));
    }
    gaps.push(format!("{column} > {}", literal(last)));
    let key = projection.target_key().into_iter().map(|key| format!("t.{}", ident(key)));
    let shown = ["t.ctid".to_owned(), column.clone()].into_iter().chain(key);
    Some(format!(
        "SELECT {} FROM {} AS t WHERE ({}) AND {column} NOT IN ({}) LIMIT {max}",
        commas(shown.map(|value| format!("CAST({value} AS pg_catalog.text)"))),
        target_table(projection),
        gaps.join(" OR "),
        commas(values(part)),
    ))
}

fn values(part: &Part) -> impl Iterator<Item = String> {
    std::iter::once(&part.value).chain(&part.others).map(|value| literal(value))
}

/// ` AND …` of [`own`], or nothing.
pub(crate) fn and_own(projection: &Projection, alias: &str) -> String {
    own(projection, alias).map_or_else(String::new, |own| format!(" AND {own}"))
}

/// The expression that makes the column.
pub fn value(part: &Part, ty: &ColumnType) -> String {
    constant(&part.value, ty)
}

/// What a change says of the column.
pub fn told(part: &Part) -> String {
    format!("{} in every row from here, and in no other", literal(&part.value))
}

/// What the finding says of a target, whose sources these are.
pub fn told_of_all<'a>(sources: impl Iterator<Item = (&'a QualifiedName, &'a Part)>) -> String {
    let sources = sources.map(|(source, part)| format!("{source} ({} = {})", part.column, literal(&part.value)));
    format!("it gets the rows of {}", commas(sources))
}

/// The value that a text stands for in a column of this type, so that two values are the same exactly when their texts are:
/// text, and integers without anything that could be left out. `None` for another type, or no value of it.
pub fn canonical(text: &str, ty: &ColumnType) -> Option<String> {
    if !ty.is_builtin() {
        return None;
    }
    let integer = |min: i64, max: i64| {
        let number = text.parse::<i64>().ok().filter(|number| (min..=max).contains(number))?;
        Some(number.to_string())
    };
    match ty.name.as_str() {
        "int2" => integer(i64::from(i16::MIN), i64::from(i16::MAX)),
        "int4" => integer(i64::from(i32::MIN), i64::from(i32::MAX)),
        "int8" => integer(i64::MIN, i64::MAX),
        // A length would cut it off.
        "text" | "varchar" if ty.typmod == -1 && !text.contains('\0') => Some(text.to_owned()),
        _ => None,
    }
}

/// True when the first list in parentheses of an index or a key has the column as an element, compared as the column is:
/// with a collation or an operator class of its own two constants might be the same.
pub fn tells_apart(definition: &str, column: &Ident) -> bool {
    let Ok(list) = tokens(definition) else { return false };
    let Some(start) = list.iter().position(|token| token.is("(")) else { return false };
    let (mut depth, mut element) = (0_usize, Vec::new());
    for token in &list[start + 1..] {
        let ends = token.is(")");
        if depth == 0 && (ends || token.is(",")) {
            if is_just(&element, column) {
                return true;
            }
            if ends {
                return false;
            }
            element.clear();
            continue;
        }
        if token.is("(") {
            depth += 1;
        } else if ends {
            depth -= 1;
        }
        element.push(token);
    }
    false
}

fn is_just(element: &[&Token], column: &Ident) -> bool {
    let [first, order @ ..] = element else { return false };
    let order: Vec<Option<&str>> = order.iter().map(|token| token.word()).collect();
    let nulls = match order.as_slice() {
        [Some("asc" | "desc"), nulls @ ..] => nulls,
        nulls => nulls,
    };
    first.name() == Some(column.as_str()) && matches!(nulls, [] | [Some("nulls"), Some("first" | "last")])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::casts::typename;

    #[test]
    fn values_are_the_same_exactly_when_their_texts_are() {
        let of = |text: &str, ty: &str| canonical(text, &typename::parse(ty, &BTreeMap::new()).expect("a type"));
        assert_eq!(of("007", "integer").as_deref(), Some("7"));
        assert_eq!(of("-0", "bigint").as_deref(), Some("0"));
        assert_eq!(of("32768", "smallint"), None);
        assert_eq!(of("0x10", "integer"), None);
        assert_eq!(of("a ", "text").as_deref(), Some("a "));
        assert_eq!(of("a", "varchar").as_deref(), Some("a"));
        assert_eq!(of("a\0", "text"), None);
        for ty in ["varchar(3)", "character(3)", "boolean", "numeric", "name", "text[]", "real"] {
            assert_eq!(of("1", ty), None, "{ty}");
        }
    }

    #[test]
    fn only_an_element_that_is_just_the_column_tells_apart() {
        let of = |definition: &str| tells_apart(definition, &Ident::new("kind").expect("a name"));
        for good in [
            "UNIQUE (kind, id)",
            "PRIMARY KEY (\"id\", \"kind\") INCLUDE (\"x\")",
            "UNIQUE NULLS NOT DISTINCT (kind)",
            "CREATE UNIQUE INDEX \"i (\" ON \"s\".\"t\" USING \"btree\" (lower(x, y), \"kind\" DESC NULLS LAST) WHERE x > 0",
            "CREATE UNIQUE INDEX i ON t USING btree (\"kind\" NULLS FIRST)",
        ] {
            assert!(of(good), "{good}");
        }
        for bad in [
            "UNIQUE (\"Kind\", id)",
            "UNIQUE (id) INCLUDE (kind)",
            "CREATE UNIQUE INDEX \"kind\" ON \"s\".\"kind\" USING \"btree\" (\"id\") WHERE \"kind\" > ''",
            "CREATE UNIQUE INDEX i ON t USING btree (lower(kind), id)",
            "CREATE UNIQUE INDEX i ON t USING btree (f(x, kind, y), id)",
            "CREATE UNIQUE INDEX i ON t USING btree ((kind), (kind || ''))",
            "CREATE UNIQUE INDEX i ON t USING btree (kind COLLATE \"mine\", id)",
            "CREATE UNIQUE INDEX i ON t USING btree (kind mine.ops, id)",
            "CREATE UNIQUE INDEX i ON t USING btree (kind first, id)",
            "CREATE UNIQUE INDEX i ON t USING btree (kind desc last, id)",
            "CREATE UNIQUE INDEX i ON t USING btree (id",
            "CREATE UNIQUE INDEX i ON t",
        ] {
            assert!(!of(bad), "{bad}");
        }
    }
}
