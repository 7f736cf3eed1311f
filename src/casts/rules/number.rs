//! Integers, numeric, floats, booleans, oid, money.

use crate::casts::builtin::numeric_typmod;
use crate::casts::cast::{C, Draft, checked, lossy, widening};
use crate::casts::classify::{Context, text_form};
use crate::catalog::ColumnType;
use crate::findings::rules::LOCALE_DEPENDENT_CAST;

type Bad = (String, String);

pub(in crate::casts) fn rule(from: &ColumnType, to: &ColumnType, context: &Context<'_>) -> Option<Draft> {
    let (old, new) = (from.name.as_str(), to.name.as_str());
    if let Some(limits) = integer(old) {
        return from_integer(&limits, to);
    }
    match (old, new) {
        ("money", "text") => Some(locale(Vec::new())),
        ("money", "numeric") => Some(locale(overflow(&format!("CAST({C} AS pg_catalog.numeric)"), to))),
        ("numeric", "money") => {
            // money has 18 or 19 digits; how many of them stand after the point is the locale's choice.
            let bad = vec![(format!("{C} NOT BETWEEN -92233720368547 AND 92233720368547"), out_of_range(to))];
            Some(locale(bad))
        }
        ("numeric", _) => from_numeric(from, to),
        ("float4" | "float8", _) => from_float(from, to, context),
        ("bool", "int2" | "int4" | "int8") => Some(Draft {
            order: true,
            expr: Some(format!("CAST(CAST({C} AS pg_catalog.int4) AS {})", to.sql)),
            ..widening("false is 0, true is 1")
        }),
        ("bool", _) => text_form("true and false as words", to, Some(5), &format!("CAST({C} AS text)")),
        _ => None,
    }
}

fn locale(bad: Vec<Bad>) -> Draft {
    Draft { finding: Some(&LOCALE_DEPENDENT_CAST), ..lossy("what money means hangs on lc_monetary", bad) }
}

/// An integer type: decimal digits, smallest and largest value, longest text.
struct Integer {
    name: &'static str,
    digits: i32,
    min: i64,
    max: i64,
    text: i32,
}

fn integer(typname: &str) -> Option<Integer> {
    Some(match typname {
        "int2" => Integer { name: "int2", digits: 5, min: i16::MIN.into(), max: i16::MAX.into(), text: 6 },
        "int4" => Integer { name: "int4", digits: 10, min: i32::MIN.into(), max: i32::MAX.into(), text: 11 },
        "int8" => Integer { name: "int8", digits: 19, min: i64::MIN, max: i64::MAX, text: 20 },
        "oid" => Integer { name: "oid", digits: 10, min: 0, max: u32::MAX.into(), text: 10 },
        _ => return None,
    })
}

fn out_of_range(to: &ColumnType) -> String {
    format!("out of range for {}", to.sql)
}

fn from_integer(old: &Integer, to: &ColumnType) -> Option<Draft> {
    if let Some(new) = integer(to.name.as_str()).filter(|_| to.is_builtin()) {
        // oid has casts from and to int8 only by way of wrapping: through int8 every value keeps its number.
        let wide = format!("CAST({C} AS pg_catalog.int8)");
        let expr =
            if [old.name, new.name].contains(&"oid") { Some(format!("CAST({wide} AS {})", to.sql)) } else { None };
        if new.name == "int2" && old.name == "oid" {
            return None;
        }
        let mut bad = Vec::new();
        if old.min < new.min || old.max > new.max {
            bad.push((format!("{wide} NOT BETWEEN {} AND {}", new.min, new.max), out_of_range(to)));
        }
        // Between the int types the server itself raises.
        let silent = expr.is_some();
        return Some(Draft { order: true, expr, silent, ..checked("an integer type", bad) });
    }
    match to.name.as_str() {
        "numeric" if old.name != "oid" => {
            let value = format!("CAST({C} AS pg_catalog.numeric)");
            let bad = numeric_limits(&value, to, Some(old.digits), Some(0), false);
            Some(Draft { order: true, ..checked("numeric holds every integer of its precision", bad) })
        }
        "float4" | "float8" if old.name != "oid" => Some(integer_to_float(old, to)),
        "bool" if old.name != "oid" => {
            let bad = vec![(format!("{C} NOT IN (0, 1)"), "neither 0 nor 1".to_owned())];
            Some(Draft { order: true, expr: Some(format!("({C} <> 0)")), ..checked("0 is false, 1 is true", bad) })
        }
        _ => text_form("decimal digits", to, Some(old.text), &format!("CAST({C} AS text)")),
    }
}

fn integer_to_float(old: &Integer, to: &ColumnType) -> Draft {
    // Integers are exact up to 2^mantissa; beyond, those that the float can hold come back unchanged. The largest
    // float below 2^63 bounds what can be cast back without overflow.
    let (exact, largest) = match to.name.as_str() {
        "float4" => (1_i64 << 24, (1_i64 << 62) + ((1_i64 << 62) - (1_i64 << 39))),
        _ => (1_i64 << 53, (1_i64 << 62) + ((1_i64 << 62) - (1_i64 << 10))),
    };
    let mut bad = Vec::new();
    if old.max > exact {
        let back = format!("CAST(CAST({C} AS {}) AS pg_catalog.int8)", to.sql);
        bad.push((
            format!(
                "CASE WHEN {C} BETWEEN -{exact} AND {exact} THEN false \
                 WHEN {C} BETWEEN -{largest} AND {largest} THEN {back} <> {C} \
                 ELSE {C} <> (-9223372036854775808) END"
            ),
            format!("not a value of {}", to.sql),
        ));
    }
    Draft { order: true, ..checked(format!("{} holds integers up to {exact} exactly", to.sql), bad) }
}

/// Checks of a numeric value against precision and scale. `digits` and `scale` are the most that the value can have.
fn numeric_limits(value: &str, to: &ColumnType, digits: Option<i32>, scale: Option<i32>, nan: bool) -> Vec<Bad> {
    let Some((precision, new_scale)) = numeric_typmod(to.typmod) else { return Vec::new() };
    let room = precision - new_scale;
    let mut bad = Vec::new();
    if digits.is_none_or(|digits| digits > room) {
        let number = if nan { format!("{value} <> 'NaN' AND ") } else { String::new() };
        bad.push((format!("{number}abs({value}) >= CAST('1e{room}' AS pg_catalog.numeric)"), out_of_range(to)));
    }
    if scale.is_none_or(|scale| scale > new_scale) {
        bad.push((
            format!("{value} <> round({value}, {new_scale})"),
            if new_scale >= 0 {
                format!("more than {new_scale} digits after the point")
            } else {
                format!("not a multiple of 1e{}", -new_scale)
            },
        ));
    }
    bad
}

fn from_numeric(from: &ColumnType, to: &ColumnType) -> Option<Draft> {
    let limits = numeric_typmod(from.typmod);
    let (digits, scale) = (limits.map(|(precision, scale)| precision - scale), limits.map(|(_, scale)| scale));
    if let Some(new) = integer(to.name.as_str()).filter(|new| new.name != "oid") {
        // NaN and infinity compare greater or smaller than every number.
        let bad = vec![
            (format!("{C} NOT BETWEEN {} AND {}", new.min, new.max), out_of_range(to)),
            (format!("{C} <> trunc({C})"), "has digits after the point".to_owned()),
        ];
        return Some(Draft { order: true, ..checked("whole numbers in range", bad) });
    }
    match to.name.as_str() {
        "numeric" => {
            let bad = numeric_limits(C, to, digits, scale, true);
            Some(Draft { order: true, ..checked("numeric of another precision or scale", bad) })
        }
        "float4" | "float8" => {
            let largest = if to.is("float4") { "3.4028234e38" } else { "1.797693134862315e308" };
            let bad = vec![(
                format!("abs({C}) > CAST('{largest}' AS pg_catalog.numeric) AND {C} <> 'NaN'"),
                out_of_range(to),
            )];
            Some(lossy("binary floats hold few decimal fractions exactly", bad))
        }
        _ => {
            let longest = limits.map(|(precision, scale)| {
                if scale > 0 { precision.max(scale + 1) + 2 } else { precision - scale + 1 }.max(3)
            });
            text_form("decimal digits", to, longest, &format!("CAST({C} AS text)"))
        }
    }
}

fn from_float(from: &ColumnType, to: &ColumnType, context: &Context<'_>) -> Option<Draft> {
    let infinite = format!("{C} IN ('Infinity', '-Infinity')");
    if let Some(new) = integer(to.name.as_str()).filter(|new| new.name != "oid") {
        // Bounds as floats: the upper one is 2^n itself, which the float holds, and so exclusive. NaN is above all.
        let wide = format!("CAST({C} AS pg_catalog.float8)");
        let upper = (new.max as f64) + if new.name == "int8" { 0.0 } else { 1.0 };
        let bad = vec![
            (
                format!(
                    "NOT ({wide} >= CAST('{}' AS pg_catalog.float8) AND {wide} < CAST('{upper}' AS pg_catalog.float8))",
                    new.min
                ),
                out_of_range(to),
            ),
            (format!("{C} <> trunc({wide})"), "has digits after the point".to_owned()),
        ];
        return Some(Draft { order: true, ..checked("whole numbers in range", bad) });
    }
    match (from.name.as_str(), to.name.as_str()) {
        ("float4", "float8") => {
            Some(Draft { order: true, ..widening("the same binary value; its shortest decimal text may be longer") })
        }
        ("float8", "float4") => {
            let bad = vec![(
                format!(
                    "abs({C}) > CAST('3.4028234663852886e38' AS pg_catalog.float8) AND {C} <> 'NaN' AND NOT {infinite} \
                     OR abs({C}) < CAST('1.5e-45' AS pg_catalog.float8) AND {C} <> 0"
                ),
                out_of_range(to),
            )];
            Some(lossy("half of the mantissa is cut off", bad))
        }
        (_, "numeric") => Some(float_to_numeric(to, context, &infinite)),
        (_, "text" | "varchar" | "bpchar") => {
            let form = text_form(
                "the shortest text that reads back as the same value",
                to,
                Some(25),
                &format!("CAST({C} AS text)"),
            )?;
            Some(Draft { version: context.oldest_major < 12, ..form })
        }
        _ => None,
    }
}

/// The plain cast keeps 6 or 15 digits. From PG 12 the text of a float is the shortest that reads back as the same
/// value, so the way through text loses nothing.
fn float_to_numeric(to: &ColumnType, context: &Context<'_>, infinite: &str) -> Draft {
    let no_infinity = (infinite.to_owned(), "infinite: numeric has no infinity before PostgreSQL 14".to_owned());
    let exact = context.oldest_major >= 12;
    let value = if exact {
        format!("CAST(CAST({C} AS text) AS pg_catalog.numeric)")
    } else {
        format!("CAST({C} AS pg_catalog.numeric)")
    };
    let finite = |(predicate, meaning): Bad| (format!("CASE WHEN {infinite} THEN false ELSE {predicate} END"), meaning);
    let expr = Some(format!("CAST({value} AS {})", to.sql));
    if exact {
        let limits = numeric_limits(&value, to, None, None, true).into_iter().map(finite);
        let bad = std::iter::once(no_infinity).chain(limits).collect();
        return Draft { expr, order: true, ..checked("the shortest decimal that reads back as the same value", bad) };
    }
    let bad = std::iter::once(no_infinity).chain(overflow(&value, to).into_iter().map(finite)).collect();
    Draft {
        expr,
        ..lossy("a float's decimal text is not the shortest before PostgreSQL 12; the cast keeps 6 or 15 digits", bad)
    }
}

/// What fails when digits after the point may be rounded away: also what overflows by rounding up.
fn overflow(value: &str, to: &ColumnType) -> Vec<Bad> {
    let Some((_, scale)) = numeric_typmod(to.typmod) else { return Vec::new() };
    numeric_limits(&format!("round({value}, {scale})"), to, None, Some(i32::MIN), true)
}
