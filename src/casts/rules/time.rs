//! Dates, times, intervals.

use crate::casts::builtin::interval_typmod;
use crate::casts::cast::{C, Draft, checked, lossy};
use crate::casts::classify::{Context, text_form};
use crate::catalog::ColumnType;
use crate::findings::rules::TZ_DEPENDENT_CAST;
use crate::sql::literal;

/// Digits of a second.
fn digits(ty: &ColumnType) -> i32 {
    if ty.typmod < 0 { 6 } else { ty.typmod }
}

pub(in crate::casts) fn rule(from: &ColumnType, to: &ColumnType, context: &Context<'_>) -> Option<Draft> {
    let fixed = is_utc(context.zone);
    match (from.name.as_str(), to.name.as_str()) {
        ("timestamp", "timestamp") | ("timestamptz", "timestamptz") | ("time", "time") | ("timetz", "timetz") => {
            let bad = if digits(to) < digits(from) { vec![rounded(to, C)] } else { Vec::new() };
            Some(Draft { order: true, ..checked("another number of digits of a second", bad) })
        }
        ("interval", "interval") => {
            let (fields, precision) = interval_typmod(to.typmod);
            let unlimited = fields.is_none() && precision.is_none_or(|p| p >= 6);
            // Interval equality takes a month for 30 days; only the image tells whether anything was cut off.
            let cut = format!("ROW({C})::record OPERATOR(pg_catalog.*<>) ROW(CAST({C} AS {}))::record", to.sql);
            let bad = if unlimited { Vec::new() } else { vec![(cut, format!("has more than {} keeps", to.sql))] };
            Some(checked("another precision or set of fields", bad))
        }
        ("date", "timestamp") => Some(Draft { order: true, ..checked("midnight of the day", vec![late_date()]) }),
        ("date", "timestamptz") => Some(Draft {
            order: fixed,
            version: !fixed,
            finding: Some(&TZ_DEPENDENT_CAST),
            expr: Some(format!("CAST((CAST({C} AS timestamp) AT TIME ZONE {}) AS {})", literal(context.zone), to.sql)),
            ..checked(
                format!("midnight of the day in {}", context.zone),
                vec![if fixed { late_date() } else { far_off("date") }],
            )
        }),
        ("timestamp", "date") => {
            let bad = vec![(format!("{C} <> CAST(CAST({C} AS date) AS timestamp)"), "not at midnight".to_owned())];
            Some(Draft { order: true, ..checked("days at midnight", bad) })
        }
        ("timestamp", "timestamptz") => Some(local_to_instant(from, to, context.zone, fixed)),
        ("timestamptz", "timestamp") => Some(instant_to_local(from, to, context.zone, fixed)),
        ("timetz", "time") => Some(lossy("the offset from UTC is dropped", Vec::new())),
        ("date" | "timestamp" | "time" | "timetz" | "interval", _) => {
            text_form("in ISO form", to, None, &format!("CAST({C} AS text)"))
        }
        ("timestamptz", _) => {
            let form = text_form("in ISO form, in UTC", to, None, &format!("CAST({C} AS text)"))?;
            Some(Draft { finding: Some(&TZ_DEPENDENT_CAST), ..form })
        }
        _ => None,
    }
}

fn is_utc(zone: &str) -> bool {
    ["UTC", "GMT", "UCT", "Zulu", "Etc/UTC", "Etc/GMT", "Etc/UCT", "Etc/Zulu", "Z"]
        .iter()
        .any(|utc| utc.eq_ignore_ascii_case(zone))
}

fn rounded(to: &ColumnType, value: &str) -> (String, String) {
    (format!("{value} <> CAST({value} AS {})", to.sql), format!("more than {} digits of a second", digits(to)))
}

/// date reaches further than timestamp.
fn late_date() -> (String, String) {
    (format!("{C} > CAST('294276-12-31' AS date) AND isfinite({C})"), "after the year 294276".to_owned())
}

/// So near to the ends of timestamp that a shift by a zone's offset could leave it.
fn far_off(ty: &str) -> (String, String) {
    (
        format!("isfinite({C}) AND {C} NOT BETWEEN CAST('4713-01-01 BC' AS {ty}) AND CAST('294276-12-30' AS {ty})"),
        "at the ends of the range of timestamps".to_owned(),
    )
}

fn local_to_instant(from: &ColumnType, to: &ColumnType, zone: &str, fixed: bool) -> Draft {
    let mut bad = Vec::new();
    let zone_sql = literal(zone);
    if !fixed {
        let (far, meaning) = far_off("timestamp");
        let back = format!("(({C} AT TIME ZONE {zone_sql}) AT TIME ZONE {zone_sql})");
        bad.push((far.clone(), meaning));
        bad.push((
            format!("CASE WHEN {far} THEN false ELSE {back} <> {C} END"),
            format!("a time that {zone} skipped when its clocks went forward"),
        ));
    }
    if digits(to) < digits(from) {
        bad.push(rounded_local(to));
    }
    Draft {
        finding: Some(&TZ_DEPENDENT_CAST),
        order: fixed,
        version: !fixed,
        expr: Some(format!("CAST(({C} AT TIME ZONE {zone_sql}) AS {})", to.sql)),
        ..checked(format!("local times are taken to be in {zone}"), bad)
    }
}

fn rounded_local(to: &ColumnType) -> (String, String) {
    let digits = digits(to);
    (format!("{C} <> CAST({C} AS timestamp({digits}))"), format!("more than {digits} digits of a second"))
}

fn instant_to_local(from: &ColumnType, to: &ColumnType, zone: &str, fixed: bool) -> Draft {
    let expr = Some(format!("CAST(({C} AT TIME ZONE {}) AS {})", literal(zone), to.sql));
    let finding = Some(&TZ_DEPENDENT_CAST);
    if fixed {
        let digits = digits(to);
        let cut =
            (format!("{C} <> CAST({C} AS timestamptz({digits}))"), format!("more than {digits} digits of a second"));
        let bad = if digits < self::digits(from) { vec![cut] } else { Vec::new() };
        return Draft { finding, expr, order: true, ..checked(format!("local time in {zone}"), bad) };
    }
    let (far, meaning) = far_off("timestamptz");
    Draft {
        finding,
        expr,
        version: true,
        ..lossy(
            format!("two instants have the same local time when the clocks of {zone} go back"),
            vec![(far, meaning)],
        )
    }
}
