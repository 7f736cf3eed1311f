//! The rows of a target table with several source tables that come from one of them.

use crate::catalog::ColumnType;
use crate::projection::{Part, Projection};
use crate::sql::expr::{commas, constant};
use crate::sql::{ident, literal};

/// `"column" = 'value'` over the target table: what every statement asks that looks for rows of this source alone. `None`
/// when the target has no other source.
pub fn own(projection: &Projection, alias: &str) -> Option<String> {
    let part = projection.part.as_ref()?;
    // The constant takes the column's type.
    Some(format!("{alias}{} = {}", ident(&part.column), literal(&part.value)))
}

/// The rows of the target that comparison holds against this source: its own, and in the first of the sources also those
/// of nobody.
pub fn compared(projection: &Projection, alias: &str) -> Option<String> {
    let part = projection.part.as_ref()?;
    if part.others.is_empty() {
        return own(projection, alias);
    }
    let others = commas(part.others.iter().map(|value| literal(value)));
    Some(format!("{alias}{} NOT IN ({others})", ident(&part.column)))
}

/// ` AND …` of [`own`], or nothing.
pub(crate) fn and_own(projection: &Projection, alias: &str) -> String {
    own(projection, alias).map_or_else(String::new, |own| format!(" AND {own}"))
}

/// The expression that makes the column.
pub fn value(part: &Part, ty: &ColumnType) -> String {
    constant(&part.value, ty)
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
        "text" | "varchar" if ty.typmod == -1 => Some(text.to_owned()),
        _ => None,
    }
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
        for ty in ["varchar(3)", "character(3)", "boolean", "numeric", "name", "text[]", "real"] {
            assert_eq!(of("1", ty), None, "{ty}");
        }
    }
}
