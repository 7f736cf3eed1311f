//! Statements that apply many changes of one kind to one table. The values come in a temporary table that has the typed
//! source columns, filled by COPY; casts and expressions are those of `sql::apply`, over its rows.
//!
//! Each statement must affect as many rows as carry its number: they are all of different keys.

use std::collections::BTreeSet;

use crate::catalog::Ident;
use crate::projection::RowIdentity;
use crate::sql::apply::Applied;
use crate::sql::expr::{ProjectionError, Value, commas, equals, key_values, position, target_table, values};
use crate::sql::part::and_own;
use crate::sql::{ident, name};

/// A query for what the target knows of the types named in `$1` (`text[]`): one row for each, in their order. The type as
/// which it carries its values (NULL: it has no such type), whether it can store them out of line, and whether the type is a
/// domain. A domain's values are carried as its base type's: NULL stands for what a change does not bring, and a domain may
/// refuse it. What a change does bring is a value of the domain for the expressions that read it.
pub const CARRIED_SQL: &str = "SELECT CASE WHEN t.typtype = 'd' THEN ( \
         WITH RECURSIVE base AS (SELECT t.typbasetype AS oid UNION ALL \
             SELECT d.typbasetype FROM base JOIN pg_catalog.pg_type AS d ON d.oid = base.oid AND d.typtype = 'd') \
         SELECT pg_catalog.format_type(b.oid, -1) FROM base JOIN pg_catalog.pg_type AS b ON b.oid = base.oid \
         WHERE b.typtype <> 'd') WHEN t.oid IS NOT NULL THEN u.type END, coalesce(t.typstorage <> 'p', false), coalesce(t.typtype = 'd', false) \
     FROM unnest($1::pg_catalog.text[]) WITH ORDINALITY AS u(type, n) \
     LEFT JOIN pg_catalog.pg_type AS t ON t.oid = pg_catalog.to_regtype(u.type) ORDER BY u.n";

/// The temporary table through which changes of one source table go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carrier {
    /// Its quoted name.
    table: String,
    /// Each source column as it has it: those whose type the target has.
    columns: Vec<Option<Column>>,
    /// Creates it.
    pub create: String,
    /// Fills it: the statement's number, then the columns of [`Carrier::carries`].
    pub copy: String,
    /// Empties it.
    pub truncate: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    OfItsType,
    OfBaseType,
}

impl Carrier {
    /// For the table with this number; `types` has the answers of [`CARRIED_SQL`] for its source columns.
    pub fn new(table: usize, types: &[(Option<String>, bool, bool)]) -> Self {
        let quoted = format!("pg_temp.\"pcrd_set_{table}\"");
        let carried =
            || types.iter().enumerate().filter_map(|(number, (ty, long, _))| Some((number, ty.as_ref()?, *long)));
        let definitions = carried().map(|(number, ty, _)| format!(", \"c{number}\" {ty}"));
        // What is written for a moment only is not worth compressing.
        let plain = carried()
            .filter(|(.., long)| *long)
            .map(|(number, ..)| format!("; ALTER TABLE {quoted} ALTER \"c{number}\" SET STORAGE EXTERNAL"));
        let (definitions, plain): (String, String) = (definitions.collect(), plain.collect());
        let names: String = carried().map(|(number, ..)| format!(", \"c{number}\"")).collect();
        Self {
            columns: types
                .iter()
                .map(|(ty, _, is_domain)| {
                    ty.as_ref().map(|_| if *is_domain { Column::OfBaseType } else { Column::OfItsType })
                })
                .collect(),
            create: format!("CREATE TEMPORARY TABLE \"pcrd_set_{table}\" (\"n\" bigint{definitions}){plain}"),
            copy: format!("COPY {quoted} (\"n\"{names}) FROM STDIN"),
            truncate: format!("TRUNCATE {quoted}"),
            table: quoted,
        }
    }

    /// Positions of the source columns that it has, in its order.
    pub fn carries(&self) -> impl Iterator<Item = usize> {
        self.columns.iter().enumerate().filter(|(_, carried)| carried.is_some()).map(|(column, _)| column)
    }
}

/// SQL around the number of the rows that it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetStatement {
    before: String,
    after: String,
}

impl SetStatement {
    /// The text for the rows of this number.
    pub fn of(&self, number: i64) -> String {
        format!("{}{number}{}", self.before, self.after)
    }
}

/// Adds rows; `None` if they have to be added one by one.
///
/// # Errors
/// As [`crate::sql::apply::insert`].
pub fn insert(applied: Applied<'_>, carrier: &Carrier) -> Result<Option<SetStatement>, ProjectionError> {
    let values = values(applied.projection, applied.frozen)?;
    let Some(rows) = rows(applied, carrier, values.iter())? else { return Ok(None) };
    let before = format!(
        "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {}",
        name(&applied.projection.target),
        commas(values.iter().map(|value| ident(value.target))),
        commas(values.iter().map(|value| value.sql.clone())),
        rows.before,
    );
    Ok(Some(SetStatement { before, after: rows.after }))
}

/// Removes the rows of old keys; `None` if they have to be removed one by one.
///
/// # Errors
/// As [`crate::sql::apply::delete`].
pub fn delete(applied: Applied<'_>, carrier: &Carrier) -> Result<Option<SetStatement>, ProjectionError> {
    if applied.projection.identity == RowIdentity::FullRow {
        return Ok(None);
    }
    let key = key_values(applied.projection)?;
    let Some(rows) = rows(applied, carrier, key.iter())? else { return Ok(None) };
    let before = format!(
        "DELETE FROM {} AS t USING (SELECT {} FROM {}",
        target_table(applied.projection),
        commas(keys(&key)),
        rows.before,
    );
    Ok(Some(SetStatement { before, after: format!("{}) AS n WHERE {}", rows.after, found(applied, &key)) }))
}

/// Sets the columns whose source columns were `sent`, in rows whose keys stay; `None` if they have to be updated one by
/// one.
///
/// # Errors
/// As [`crate::sql::apply::update`].
pub fn update(applied: Applied<'_>, carrier: &Carrier, sent: &[bool]) -> Result<Option<SetStatement>, ProjectionError> {
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
    let Some(rows) = rows(applied, carrier, set.iter().chain(&key))? else { return Ok(None) };
    let new = set.iter().enumerate().map(|(number, value)| format!("{} AS v{number}", value.sql));
    let before = format!(
        "UPDATE {} AS t SET {} FROM (SELECT {} FROM {}",
        target_table(projection),
        commas(set.iter().enumerate().map(|(number, value)| format!("{} = n.v{number}", ident(value.target)))),
        commas(new.chain(keys(&key))),
        rows.before,
    );
    Ok(Some(SetStatement { before, after: format!("{}) AS n WHERE {}", rows.after, found(applied, &key)) }))
}

fn keys(key: &[Value<'_>]) -> impl Iterator<Item = String> {
    key.iter().enumerate().map(|(number, value)| format!("{} AS k{number}", value.sql)).collect::<Vec<_>>().into_iter()
}

fn found(applied: Applied<'_>, key: &[Value<'_>]) -> String {
    let equal = key
        .iter()
        .enumerate()
        .map(|(number, value)| format!("t.{} {} n.k{number}", ident(value.target), equals(value.ty)));
    equal.collect::<Vec<_>>().join(" AND ") + &and_own(applied.projection, "t.")
}

/// A FROM item with the rows of one number, as typed rows of the source columns that these values read.
fn rows<'a>(
    applied: Applied<'_>,
    carrier: &Carrier,
    values: impl Iterator<Item = &'a Value<'a>>,
) -> Result<Option<SetStatement>, ProjectionError> {
    let projection = applied.projection;
    let read: Result<BTreeSet<usize>, ProjectionError> =
        values.flat_map(|value| value.reads).map(|column: &Ident| position(projection, column)).collect();
    let read = read?;
    let mut items = Vec::new();
    for column in read {
        let source = &projection.source_columns[column];
        let value = match carrier.columns.get(column) {
            Some(Some(Column::OfItsType)) => format!("\"c{column}\""),
            Some(Some(Column::OfBaseType)) => format!("CAST(\"c{column}\" AS {})", source.ty.sql),
            Some(None) | None => return Ok(None),
        };
        items.push(format!("{value} AS {}", ident(&source.name)));
    }
    if items.is_empty() {
        return Ok(None);
    }
    let before = format!("(SELECT {} FROM {} WHERE \"n\" = ", commas(items), carrier.table);
    Ok(Some(SetStatement { before, after: ") AS s".to_owned() }))
}

/// Adds a value to a row of COPY's text form, after what the row has already.
pub fn push_value(row: &mut Vec<u8>, text: Option<&[u8]>) {
    row.push(b'\t');
    let Some(mut rest) = text else {
        row.extend_from_slice(b"\\N");
        return;
    };
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\\' | b'\t' | b'\n' | b'\r')) {
        row.extend_from_slice(&rest[..at]);
        let letter = match rest[at] {
            b'\t' => b't',
            b'\n' => b'n',
            b'\r' => b'r',
            other => other,
        };
        row.extend_from_slice(&[b'\\', letter]);
        rest = &rest[at + 1..];
    }
    row.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped() {
        let mut row = b"7".to_vec();
        for text in [Some(&b"plain"[..]), None, Some(b""), Some(b"\\N"), Some(b"a\tb\nc\rd\\e"), Some(b"\\.")] {
            push_value(&mut row, text);
        }
        assert_eq!(row.escape_ascii().to_string(), br"7	plain	\N		\\N	a\tb\nc\rd\\e	\\.".escape_ascii().to_string());
    }
}
