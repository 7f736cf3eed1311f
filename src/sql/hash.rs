//! Digests of rows that both ends compute alike: the source through the projection's expressions, the target from its
//! columns.

use crate::catalog::ColumnType;
use crate::projection::{Projection, RowIdentity};
use crate::sql::expr::{
    Frozen, ProjectionError, Value, commas, compared, equals, has_own_operators, key_values, source_column,
    source_table, target_table,
};
use crate::sql::filter::belongs;
use crate::sql::part::own;
use crate::sql::{Side, ident, name};

/// Seed of the second sum; any number that is not the first seed, 0.
const SECOND_SEED: i64 = 0x7063_7264;

/// How the text of a row becomes numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowHash {
    /// `hashtextextended` (PG 11+): of the bytes in the server's encoding.
    Extended,
    /// `sha256` (PG 11+) of the text in UTF-8.
    Sha256,
    /// `md5` of the text in UTF-8.
    Md5,
}

/// What both servers can compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    /// The hash.
    pub hash: RowHash,
    /// Floats in their shortest text, which is exact from PG 12; else by their bytes.
    pub float_text: bool,
}

impl Digest {
    /// For two servers of these majors with one encoding.
    pub fn between(source_major: u32, target_major: u32) -> Self {
        let older = source_major.min(target_major);
        Self { hash: if older >= 11 { RowHash::Extended } else { RowHash::Md5 }, float_text: older >= 12 }
    }

    /// The same for servers with different encodings, or when collisions must be out of the question.
    #[must_use]
    pub fn paranoid(self) -> Self {
        let hash = if self.hash == RowHash::Md5 { RowHash::Md5 } else { RowHash::Sha256 };
        Self { hash, ..self }
    }
}

/// Which rows of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// All that the predicate names.
    All,
    /// All but the keys in the parameters: one `text[]` per source key column, in key order.
    Except,
    /// Only the keys in the parameters.
    Only,
}

/// A query over the rows of one side.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// The end it runs on.
    pub side: Side,
    /// Range predicate for that side.
    pub predicate: Option<&'a str>,
    /// Which keys.
    pub keys: Keys,
}

/// The text that is hashed for a row: `ROW(…)::text`, where NULL differs from the empty string and columns cannot run
/// into one another.
pub fn row_hash_expr(
    projection: &Projection,
    frozen: &Frozen,
    side: Side,
    digest: Digest,
) -> Result<String, ProjectionError> {
    let items = compared(projection, frozen)?.into_iter().map(|value| item(&value, side, digest));
    Ok(format!("CAST(ROW({}) AS pg_catalog.text)", commas(items)))
}

/// A column's value as it goes into the row's text.
fn item(value: &Value<'_>, side: Side, digest: Digest) -> String {
    let sql = match side {
        Side::Source => value.sql.clone(),
        Side::Target => format!("t.{}", ident(value.target)),
    };
    match float_send(value.ty).filter(|_| !digest.float_text) {
        Some(send) => format!("pg_catalog.{send}({sql})"),
        None => sql,
    }
}

/// The function that gives the bytes of a type with floats in it.
fn float_send(ty: &ColumnType) -> Option<&'static str> {
    if !ty.is_builtin() {
        return None;
    }
    Some(match ty.name.as_str() {
        "float4" => "float4send",
        "float8" => "float8send",
        "point" => "point_send",
        "line" => "line_send",
        "lseg" => "lseg_send",
        "box" => "box_send",
        "path" => "path_send",
        "polygon" => "poly_send",
        "circle" => "circle_send",
        // The bytes name the type of the elements, by an oid that is the same everywhere.
        "_float4" | "_float8" | "_point" | "_line" | "_lseg" | "_box" | "_path" | "_polygon" | "_circle" => {
            "array_send"
        }
        _ => return None,
    })
}

/// One row: count, first sum, second sum (numeric, 0 for no rows).
pub fn chunk(
    projection: &Projection,
    frozen: &Frozen,
    digest: Digest,
    rows: Rows<'_>,
) -> Result<String, ProjectionError> {
    let [first, second] = sums(digest);
    Ok(format!(
        "SELECT count(*), coalesce(sum({first}), 0), coalesce(sum({second}), 0) FROM (SELECT {} AS r FROM {}) AS h",
        row_hash_expr(projection, frozen, rows.side, digest)?,
        from_where(projection, rows)?,
    ))
}

/// As [`chunk`], by bucket: `bucket, count, first sum, second sum`. For tables whose rows have no key in common order.
pub fn buckets(
    projection: &Projection,
    frozen: &Frozen,
    digest: Digest,
    side: Side,
    count: u32,
) -> Result<String, ProjectionError> {
    let [first, second] = sums(digest);
    let rows = Rows { side, predicate: None, keys: Keys::All };
    Ok(format!(
        "SELECT CAST(mod({first}, {count}) AS pg_catalog.int4), count(*), sum({first}), sum({second}) \
         FROM (SELECT {} AS r FROM {}) AS h GROUP BY 1 ORDER BY 1",
        row_hash_expr(projection, frozen, side, digest)?,
        from_where(projection, rows)?,
    ))
}

/// The rows themselves as text: the key of the target first, then every column of the target. For drill-down.
pub fn rows(projection: &Projection, frozen: &Frozen, rows: Rows<'_>) -> Result<String, ProjectionError> {
    let text = |value: &Value<'_>| match rows.side {
        Side::Source => format!("CAST({} AS pg_catalog.text)", value.sql),
        Side::Target => format!("CAST(t.{} AS pg_catalog.text)", ident(value.target)),
    };
    let items: Vec<String> = key_values(projection)?.iter().chain(&compared(projection, frozen)?).map(text).collect();
    Ok(format!("SELECT {} FROM {}", items.join(", "), from_where(projection, rows)?))
}

/// What [`row_digests`] gives of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Columns {
    /// A digest: values of columns outside the key do not leave the server.
    Digests,
    /// The value as a literal, or `NULL`.
    Values,
}

/// Rows by digests: `ctid`, the key of the target, then every column of the target, all as text.
pub fn row_digests(
    projection: &Projection,
    frozen: &Frozen,
    (digest, as_what): (Digest, Columns),
    rows: Rows<'_>,
) -> Result<String, ProjectionError> {
    let at = match rows.side {
        Side::Source => "CAST(ctid AS pg_catalog.text)",
        Side::Target => "CAST(t.ctid AS pg_catalog.text)",
    };
    let key = key_values(projection)?;
    let key = key.iter().map(|value| match rows.side {
        Side::Source => format!("CAST({} AS pg_catalog.text)", value.sql),
        Side::Target => format!("CAST(t.{} AS pg_catalog.text)", ident(value.target)),
    });
    let columns = compared(projection, frozen)?;
    let columns = columns.iter().map(|value| {
        if as_what == Columns::Values {
            return format!("pg_catalog.quote_nullable(CAST({} AS pg_catalog.text))", item(value, rows.side, digest));
        }
        // A row of one column, so that NULL and the empty string differ here too.
        let text = format!("CAST(ROW({}) AS pg_catalog.text)", item(value, rows.side, digest));
        let [first, second] = numbers(digest, &text);
        format!("CAST({first} AS pg_catalog.text) || ' ' || CAST({second} AS pg_catalog.text)")
    });
    Ok(format!(
        "SELECT {} FROM {}",
        commas(std::iter::once(at.to_owned()).chain(key).chain(columns)),
        from_where(projection, rows)?
    ))
}

/// A condition that keeps the rows of some of the `count` buckets of [`buckets`].
pub fn bucket_predicate(
    projection: &Projection,
    frozen: &Frozen,
    digest: Digest,
    side: Side,
    wanted: &[i32],
    count: u32,
) -> Result<String, ProjectionError> {
    let [first, _] = numbers(digest, &row_hash_expr(projection, frozen, side, digest)?);
    let wanted = commas(wanted.iter().map(i32::to_string));
    Ok(format!("mod(CAST({first} AS pg_catalog.numeric), {count}) IN ({wanted})"))
}

/// Two independent hashes of `h.r` as numerics. Sums and not XOR: a pair of equal rows must count twice.
fn sums(digest: Digest) -> [String; 2] {
    numbers(digest, "h.r").map(|number| format!("CAST({number} AS pg_catalog.numeric)"))
}

/// Two independent 64-bit hashes of a text.
fn numbers(digest: Digest, text: &str) -> [String; 2] {
    let hex = match digest.hash {
        RowHash::Extended => {
            return [0, SECOND_SEED].map(|seed| format!("pg_catalog.hashtextextended({text}, {seed})"));
        }
        RowHash::Sha256 => {
            format!("pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to({text}, 'UTF8')), 'hex')")
        }
        RowHash::Md5 => format!("pg_catalog.md5(pg_catalog.convert_to({text}, 'UTF8'))"),
    };
    [1, 17].map(|from| format!("CAST(CAST('x' || substr({hex}, {from}, 16) AS bit(64)) AS pg_catalog.int8)"))
}

fn from_where(projection: &Projection, rows: Rows<'_>) -> Result<String, ProjectionError> {
    let table = match rows.side {
        Side::Source => source_table(projection),
        Side::Target => format!("{} AS t", target_table(projection)),
    };
    let mut conditions: Vec<String> = rows.predicate.map(|predicate| format!("({predicate})")).into_iter().collect();
    conditions.extend(match rows.side {
        Side::Source => projection.filter.as_ref().map(belongs),
        Side::Target => own(projection, "t."),
    });
    if rows.keys != Keys::All && projection.identity != RowIdentity::FullRow {
        conditions.push(keys_condition(projection, rows)?);
    }
    let filter = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
    Ok(table + &filter)
}

/// `key [NOT] IN (the parameters)`: on the target, the parameters go through the key's expressions first.
fn keys_condition(projection: &Projection, rows: Rows<'_>) -> Result<String, ProjectionError> {
    let source_key = projection.source_key();
    let typed: Result<Vec<String>, ProjectionError> = source_key
        .iter()
        .enumerate()
        .map(|(number, column)| {
            Ok(format!("CAST(u.k{number} AS {}) AS {}", source_column(projection, column)?.ty.sql, ident(column)))
        })
        .collect();
    let arrays = commas((1..=source_key.len()).map(|number| format!("${number}::pg_catalog.text[]")));
    let names = commas((0..source_key.len()).map(|number| format!("k{number}")));
    let given = format!("(SELECT {} FROM unnest({arrays}) AS u({names})) AS s", typed?.join(", "));
    let (columns, items): (Vec<String>, Vec<String>) = match rows.side {
        Side::Source => source_key.iter().map(|column| (ident(column), format!("s.{}", ident(column)))).unzip(),
        Side::Target => {
            let key = key_values(projection)?;
            key.iter().map(|value| (format!("t.{}", ident(value.target)), value.sql.clone())).unzip()
        }
    };
    let not = if rows.keys == Keys::Except { "NOT " } else { "" };
    let types: Vec<&ColumnType> = match rows.side {
        Side::Source => source_key
            .iter()
            .map(|column| Ok(&source_column(projection, column)?.ty))
            .collect::<Result<_, ProjectionError>>()?,
        Side::Target => key_values(projection)?.iter().map(|value| value.ty).collect(),
    };
    if types.iter().any(|ty| has_own_operators(ty)) {
        // IN names no operator.
        let table = match rows.side {
            Side::Source => format!("{}.", name(&projection.source)),
            Side::Target => String::new(),
        };
        let equal = columns.iter().zip(&types).enumerate();
        let equal = equal.map(|(number, (column, ty))| format!("{table}{column} {} q.q{number}", equals(ty)));
        let equal = equal.collect::<Vec<_>>().join(" AND ");
        let items = commas(items.iter().enumerate().map(|(number, item)| format!("{item} AS q{number}")));
        return Ok(format!("{not}EXISTS (SELECT FROM (SELECT {items} FROM {given}) AS q WHERE {equal})"));
    }
    // Key columns are NOT NULL on both ends, so NOT IN means what it says.
    Ok(format!("({}) {not}IN (SELECT {} FROM {given})", columns.join(", "), items.join(", ")))
}
