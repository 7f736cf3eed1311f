//! The built-in types that columns can have: what `pg_type` says of them on every major from 10 to 18.
//!
//! Not among them: `aclitem`, which grew from 12 to 16 bytes in PG 16, and the catalogs' own types.

use crate::catalog::{Align, ColumnType, Ident, Storage, TypeKind};

/// A row of `pg_type`.
#[derive(Debug, Clone, Copy)]
pub struct Builtin {
    /// `typname`.
    pub name: &'static str,
    /// `typlen`.
    pub len: i16,
    /// `typalign`.
    pub align: Align,
    /// `typstorage`.
    pub storage: Storage,
    /// `typtype`.
    pub kind: TypeKind,
}

const C: Align = Align::Char;
const S: Align = Align::Short;
const I: Align = Align::Int;
const D: Align = Align::Double;
const PLAIN: Storage = Storage::Plain;
const MAIN: Storage = Storage::Main;
const EXTENDED: Storage = Storage::Extended;
const BASE: TypeKind = TypeKind::Base;
const RANGE: TypeKind = TypeKind::Range;
const MULTI: TypeKind = TypeKind::Multirange;

macro_rules! types {
    ($($name:literal $len:literal $align:ident $storage:ident $kind:ident;)*) => {
        &[$(Builtin { name: $name, len: $len, align: $align, storage: $storage, kind: $kind }),*]
    };
}

/// Sorted by name.
pub const BUILTINS: &[Builtin] = types! {
    "bit" -1 I EXTENDED BASE;
    "bool" 1 C PLAIN BASE;
    "box" 32 D PLAIN BASE;
    "bpchar" -1 I EXTENDED BASE;
    "bytea" -1 I EXTENDED BASE;
    "char" 1 C PLAIN BASE;
    "cid" 4 I PLAIN BASE;
    "cidr" -1 I MAIN BASE;
    "circle" 24 D PLAIN BASE;
    "date" 4 I PLAIN BASE;
    "datemultirange" -1 I EXTENDED MULTI;
    "daterange" -1 I EXTENDED RANGE;
    "float4" 4 I PLAIN BASE;
    "float8" 8 D PLAIN BASE;
    "inet" -1 I MAIN BASE;
    "int2" 2 S PLAIN BASE;
    "int2vector" -1 I PLAIN BASE;
    "int4" 4 I PLAIN BASE;
    "int4multirange" -1 I EXTENDED MULTI;
    "int4range" -1 I EXTENDED RANGE;
    "int8" 8 D PLAIN BASE;
    "int8multirange" -1 D EXTENDED MULTI;
    "int8range" -1 D EXTENDED RANGE;
    "interval" 16 D PLAIN BASE;
    "json" -1 I EXTENDED BASE;
    "jsonb" -1 I EXTENDED BASE;
    "jsonpath" -1 I EXTENDED BASE;
    "line" 24 D PLAIN BASE;
    "lseg" 32 D PLAIN BASE;
    "macaddr" 6 I PLAIN BASE;
    "macaddr8" 8 I PLAIN BASE;
    "money" 8 D PLAIN BASE;
    "name" 64 C PLAIN BASE;
    "numeric" -1 I MAIN BASE;
    "nummultirange" -1 I EXTENDED MULTI;
    "numrange" -1 I EXTENDED RANGE;
    "oid" 4 I PLAIN BASE;
    "oidvector" -1 I PLAIN BASE;
    "path" -1 D EXTENDED BASE;
    "pg_lsn" 8 D PLAIN BASE;
    "pg_snapshot" -1 D EXTENDED BASE;
    "point" 16 D PLAIN BASE;
    "polygon" -1 D EXTENDED BASE;
    "refcursor" -1 I EXTENDED BASE;
    "regclass" 4 I PLAIN BASE;
    "regcollation" 4 I PLAIN BASE;
    "regconfig" 4 I PLAIN BASE;
    "regdictionary" 4 I PLAIN BASE;
    "regnamespace" 4 I PLAIN BASE;
    "regoper" 4 I PLAIN BASE;
    "regoperator" 4 I PLAIN BASE;
    "regproc" 4 I PLAIN BASE;
    "regprocedure" 4 I PLAIN BASE;
    "regrole" 4 I PLAIN BASE;
    "regtype" 4 I PLAIN BASE;
    "text" -1 I EXTENDED BASE;
    "tid" 6 S PLAIN BASE;
    "time" 8 D PLAIN BASE;
    "timestamp" 8 D PLAIN BASE;
    "timestamptz" 8 D PLAIN BASE;
    "timetz" 12 D PLAIN BASE;
    "tsmultirange" -1 D EXTENDED MULTI;
    "tsquery" -1 I PLAIN BASE;
    "tsrange" -1 D EXTENDED RANGE;
    "tstzmultirange" -1 D EXTENDED MULTI;
    "tstzrange" -1 D EXTENDED RANGE;
    "tsvector" -1 I EXTENDED BASE;
    "txid_snapshot" -1 D EXTENDED BASE;
    "uuid" 16 C PLAIN BASE;
    "varbit" -1 I EXTENDED BASE;
    "varchar" -1 I EXTENDED BASE;
    "xid" 4 I PLAIN BASE;
    "xid8" 8 D PLAIN BASE;
    "xml" -1 I EXTENDED BASE;
};

/// The built-in type with this `typname`.
pub fn builtin(typname: &str) -> Option<&'static Builtin> {
    BUILTINS.binary_search_by(|row| row.name.cmp(typname)).ok().map(|at| &BUILTINS[at])
}

/// A column of this built-in type, with `atttypmod`.
pub fn column_type(row: &Builtin, typmod: i32) -> ColumnType {
    ColumnType {
        schema: ident("pg_catalog"),
        name: ident(row.name),
        typmod,
        sql: format_type(row.name, typmod),
        len: row.len,
        align: row.align,
        kind: row.kind,
    }
}

/// The array over an element type.
pub fn array_of(element: &ColumnType) -> ColumnType {
    let mut name = format!("_{}", element.name.as_str());
    // makeArrayTypeName cuts at 63 bytes, at a character boundary.
    while name.len() > crate::catalog::name::IDENT_BYTES_MAX {
        name.pop();
    }
    ColumnType {
        schema: element.schema.clone(),
        name: ident(&name),
        typmod: element.typmod,
        sql: format!("{}[]", element.sql),
        len: -1,
        align: if element.align == Align::Double { Align::Double } else { Align::Int },
        kind: TypeKind::Array,
    }
}

/// The element type of an array, as far as its name tells: only for arrays of built-in types.
pub fn element_of(array: &ColumnType) -> Option<ColumnType> {
    if array.kind != TypeKind::Array || !array.is_builtin() {
        return None;
    }
    let row = builtin(array.name.as_str().strip_prefix('_')?)?;
    Some(column_type(row, array.typmod))
}

fn ident(name: &str) -> Ident {
    Ident::new(name).expect("names of built-in types, and names cut to 63 bytes, are identifiers")
}

/// `format_type(oid, typmod)` of a built-in type.
fn format_type(typname: &str, typmod: i32) -> String {
    let length = |name: &str| if typmod >= 4 { format!("{name}({})", typmod - 4) } else { name.to_owned() };
    let precision = |name: &str, rest: &str| {
        if typmod >= 0 { format!("{name}({typmod}){rest}") } else { format!("{name}{rest}") }
    };
    match typname {
        "bool" => "boolean".to_owned(),
        "bit" if typmod < 0 => "\"bit\"".to_owned(),
        "bit" => format!("bit({typmod})"),
        "varbit" => precision("bit varying", ""),
        "bpchar" if typmod < 0 => "bpchar".to_owned(),
        "bpchar" => length("character"),
        "varchar" => length("character varying"),
        "char" => "\"char\"".to_owned(),
        "float4" => "real".to_owned(),
        "float8" => "double precision".to_owned(),
        "int2" => "smallint".to_owned(),
        "int4" => "integer".to_owned(),
        "int8" => "bigint".to_owned(),
        "numeric" => match numeric_typmod(typmod) {
            Some((precision, scale)) => format!("numeric({precision},{scale})"),
            None => "numeric".to_owned(),
        },
        "time" => precision("time", " without time zone"),
        "timetz" => precision("time", " with time zone"),
        "timestamp" => precision("timestamp", " without time zone"),
        "timestamptz" => precision("timestamp", " with time zone"),
        "interval" => format_interval(typmod),
        _ => typname.to_owned(),
    }
}

/// Precision and scale; `None` without limit. The scale has 11 bits and, from PG 15, a sign.
pub fn numeric_typmod(typmod: i32) -> Option<(i32, i32)> {
    if typmod < 4 {
        return None;
    }
    let bits = typmod - 4;
    Some(((bits >> 16) & 0xffff, ((bits & 0x7ff) ^ 1024) - 1024))
}

/// Bits of `INTERVAL_MASK`.
pub const YEAR: i32 = 1 << 2;
/// See [`YEAR`].
pub const MONTH: i32 = 1 << 1;
/// See [`YEAR`].
pub const DAY: i32 = 1 << 3;
/// See [`YEAR`].
pub const HOUR: i32 = 1 << 10;
/// See [`YEAR`].
pub const MINUTE: i32 = 1 << 11;
/// See [`YEAR`].
pub const SECOND: i32 = 1 << 12;
/// All fields.
pub const INTERVAL_FULL_RANGE: i32 = 0x7fff;
/// No precision.
pub const INTERVAL_FULL_PRECISION: i32 = 0xffff;

/// Fields (a mask) and precision, where limited.
pub fn interval_typmod(typmod: i32) -> (Option<i32>, Option<i32>) {
    if typmod < 0 {
        return (None, None);
    }
    let (range, precision) = ((typmod >> 16) & INTERVAL_FULL_RANGE, typmod & 0xffff);
    ((range != INTERVAL_FULL_RANGE).then_some(range), (precision != INTERVAL_FULL_PRECISION).then_some(precision))
}

/// Spellings of the field masks.
pub const INTERVAL_FIELDS: &[(&str, i32)] = &[
    ("year", YEAR),
    ("month", MONTH),
    ("day", DAY),
    ("hour", HOUR),
    ("minute", MINUTE),
    ("second", SECOND),
    ("year to month", YEAR | MONTH),
    ("day to hour", DAY | HOUR),
    ("day to minute", DAY | HOUR | MINUTE),
    ("day to second", DAY | HOUR | MINUTE | SECOND),
    ("hour to minute", HOUR | MINUTE),
    ("hour to second", HOUR | MINUTE | SECOND),
    ("minute to second", MINUTE | SECOND),
];

fn format_interval(typmod: i32) -> String {
    let (range, precision) = interval_typmod(typmod);
    let mut text = String::from("interval");
    if let Some((fields, _)) = INTERVAL_FIELDS.iter().find(|(_, mask)| Some(*mask) == range) {
        text += &format!(" {fields}");
    }
    if let Some(precision) = precision {
        text += &format!("({precision})");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookups_need_order() {
        assert!(BUILTINS.is_sorted_by_key(|row| row.name));
        assert_eq!(numeric_typmod(((5 << 16) | (-2 & 0x7ff)) + 4), Some((5, -2)));
        assert_eq!(numeric_typmod(((12 << 16) | 2) + 4), Some((12, 2)));
    }
}
