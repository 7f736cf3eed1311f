//! Statements that apply many changes of one kind to one table. Each parameter is an array with the values of one source
//! column, one element per row, as text; casts and expressions are those of `sql::apply`, over typed rows of them.
//!
//! Each must affect as many rows as it is given: they are all of different keys.

use std::collections::BTreeSet;

use crate::catalog::Ident;
use crate::projection::RowIdentity;
use crate::sql::apply::Applied;
use crate::sql::expr::{ProjectionError, Value, commas, key_values, only, position, values};
use crate::sql::part::and_own;
use crate::sql::{ident, name};

/// What the target can make of an array of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carried {
    /// An array of the type: its elements are read as any text of the type is.
    Typed,
    /// No such array serves, but a cast from text does the same.
    Cast,
    /// Neither.
    Not,
}

/// SQL and the source columns whose values are the arrays `$1`, `$2`, ….
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetStatement {
    /// The text.
    pub sql: String,
    /// Positions in `Projection::source_columns`.
    pub columns: Vec<usize>,
}

/// A query for what the target can make of the types named in `$1` (`text[]`): one row for each, in their order, with
/// two booleans. An array of the type exists, separates its elements by commas, and `unnest` does not take its elements
/// apart; a cast from text would do something else than reading a value: one that somebody made, or that of a domain, which
/// cuts to a length. Types that the target does not have are read by nobody.
pub const CARRIED_SQL: &str = "SELECT coalesce(t.typarray <> 0 AND t.typdelim = ',' AND t.typcategory <> 'C', false), \
     coalesce(t.typtype = 'd' OR EXISTS (SELECT FROM pg_catalog.pg_cast AS c \
             WHERE c.castsource = 'pg_catalog.text'::pg_catalog.regtype AND c.casttarget = t.oid \
             AND c.castmethod <> 'i'), true) \
     FROM unnest($1::pg_catalog.text[]) WITH ORDINALITY AS u(type, n) \
     LEFT JOIN pg_catalog.pg_type AS t ON t.oid = pg_catalog.to_regtype(u.type) ORDER BY u.n";

impl Carried {
    /// From a row of [`CARRIED_SQL`].
    pub fn from_row(has_array: bool, has_cast: bool) -> Self {
        match (has_array, has_cast) {
            (true, _) => Self::Typed,
            (false, false) => Self::Cast,
            (false, true) => Self::Not,
        }
    }
}

/// Adds rows; `None` if they have to be added one by one.
///
/// # Errors
/// As [`crate::sql::apply::insert`].
pub fn insert(applied: Applied<'_>, carried: &[Carried]) -> Result<Option<SetStatement>, ProjectionError> {
    let values = values(applied.projection, applied.frozen)?;
    let Some((rows, columns)) = rows(applied, carried, values.iter())? else { return Ok(None) };
    let sql = format!(
        "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {rows}",
        name(&applied.projection.target),
        commas(values.iter().map(|value| ident(value.target))),
        commas(values.iter().map(|value| value.sql.clone())),
    );
    Ok(Some(SetStatement { sql, columns }))
}

/// Removes the rows of old keys; `None` if they have to be removed one by one.
///
/// # Errors
/// As [`crate::sql::apply::delete`].
pub fn delete(applied: Applied<'_>, carried: &[Carried]) -> Result<Option<SetStatement>, ProjectionError> {
    if applied.projection.identity == RowIdentity::FullRow {
        return Ok(None);
    }
    let key = key_values(applied.projection)?;
    let Some((rows, columns)) = rows(applied, carried, key.iter())? else { return Ok(None) };
    let sql = format!(
        "DELETE FROM {} AS t USING (SELECT {} FROM {rows}) AS n WHERE {}",
        only(&applied.projection.target),
        commas(keys(&key)),
        found(applied, &key),
    );
    Ok(Some(SetStatement { sql, columns }))
}

/// Sets the columns whose source columns were `sent`, in rows whose keys stay; `None` if they have to be updated one by
/// one.
///
/// # Errors
/// As [`crate::sql::apply::update`].
pub fn update(
    applied: Applied<'_>,
    carried: &[Carried],
    sent: &[bool],
) -> Result<Option<SetStatement>, ProjectionError> {
    let projection = applied.projection;
    if projection.identity == RowIdentity::FullRow {
        return Ok(None);
    }
    let key = key_values(projection)?;
    let target_key = projection.target_key();
    let mut set: Vec<Value<'_>> = Vec::new();
    for value in values(projection, applied.frozen)? {
        if value.reads.is_empty() || target_key.contains(&value.target) {
            continue;
        }
        let reads: Result<Vec<usize>, ProjectionError> =
            value.reads.iter().map(|column| position(projection, column)).collect();
        let sent = reads?.into_iter().map(|column| sent[column]).collect::<Vec<_>>();
        if !sent.contains(&true) {
            continue;
        }
        if sent.contains(&false) || applied.identity_always.contains(value.target) {
            return Ok(None);
        }
        set.push(value);
    }
    if set.is_empty() {
        return Ok(None);
    }
    let Some((rows, columns)) = rows(applied, carried, set.iter().chain(&key))? else { return Ok(None) };
    let new = set.iter().enumerate().map(|(number, value)| format!("{} AS v{number}", value.sql));
    let sql = format!(
        "UPDATE {} AS t SET {} FROM (SELECT {} FROM {rows}) AS n WHERE {}",
        only(&projection.target),
        commas(set.iter().enumerate().map(|(number, value)| format!("{} = n.v{number}", ident(value.target)))),
        commas(new.chain(keys(&key))),
        found(applied, &key),
    );
    Ok(Some(SetStatement { sql, columns }))
}

fn keys(key: &[Value<'_>]) -> impl Iterator<Item = String> {
    key.iter().enumerate().map(|(number, value)| format!("{} AS k{number}", value.sql)).collect::<Vec<_>>().into_iter()
}

fn found(applied: Applied<'_>, key: &[Value<'_>]) -> String {
    let equal = key.iter().enumerate().map(|(number, value)| format!("t.{} = n.k{number}", ident(value.target)));
    equal.collect::<Vec<_>>().join(" AND ") + &and_own(applied.projection, "t.")
}

/// A FROM item with typed rows of the source columns that these values read, under their source names.
fn rows<'a>(
    applied: Applied<'_>,
    carried: &[Carried],
    values: impl Iterator<Item = &'a Value<'a>>,
) -> Result<Option<(String, Vec<usize>)>, ProjectionError> {
    let projection = applied.projection;
    let read: Result<BTreeSet<usize>, ProjectionError> =
        values.flat_map(|value| value.reads).map(|column: &Ident| position(projection, column)).collect();
    let columns: Vec<usize> = read?.into_iter().collect();
    if columns.is_empty() || columns.iter().any(|&column| carried.get(column).is_none_or(|c| *c == Carried::Not)) {
        return Ok(None);
    }
    let mut arrays = Vec::new();
    let mut items = Vec::new();
    for (number, &column) in columns.iter().enumerate() {
        let source = &projection.source_columns[column];
        let (array, item) = match carried[column] {
            Carried::Typed => (format!("{}[]", source.ty.sql), format!("u.c{number}")),
            Carried::Cast | Carried::Not => {
                ("pg_catalog.text[]".to_owned(), format!("CAST(u.c{number} AS {})", source.ty.sql))
            }
        };
        arrays.push(format!("${}::{array}", number + 1));
        items.push(format!("{item} AS {}", ident(&source.name)));
    }
    let names = commas((0..columns.len()).map(|number| format!("c{number}")));
    let from = format!("(SELECT {} FROM unnest({}) AS u({names})) AS s", commas(items), commas(arrays));
    Ok(Some((from, columns)))
}

/// Adds one element to an array literal, which begins with `{` and ends with `}`.
pub fn push_element(array: &mut Vec<u8>, text: Option<&[u8]>) {
    if array.is_empty() {
        array.push(b'{');
    } else {
        array.push(b',');
    }
    let Some(text) = text else {
        array.extend_from_slice(b"NULL");
        return;
    };
    array.push(b'"');
    let mut rest = text;
    while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
        array.extend_from_slice(&rest[..at]);
        array.push(b'\\');
        array.push(rest[at]);
        rest = &rest[at + 1..];
    }
    array.extend_from_slice(rest);
    array.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_quoted() {
        let mut array = Vec::new();
        for text in [Some(&b"plain"[..]), None, Some(b""), Some(b"NULL"), Some(b"a\"b\\c,{}"), Some("é".as_bytes())] {
            push_element(&mut array, text);
        }
        assert_eq!(String::from_utf8(array).unwrap(), "{\"plain\",NULL,\"\",\"NULL\",\"a\\\"b\\\\c,{}\",\"é\"");
    }
}
