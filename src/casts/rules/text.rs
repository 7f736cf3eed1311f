//! Text, and what is read from text.

use crate::casts::builtin::numeric_typmod;
use crate::casts::cast::{C, Draft, checked, lossy, widening};
use crate::casts::classify::{Context, text_form};
use crate::catalog::ColumnType;
use crate::findings::rules::PADDING_STRIPPED;

fn is_string(ty: &ColumnType) -> bool {
    ["text", "varchar", "bpchar"].iter().any(|name| ty.is(name))
}

/// Characters that a string type takes at most.
fn limit(ty: &ColumnType) -> Option<i32> {
    (ty.typmod >= 4).then_some(ty.typmod - 4)
}

pub(in crate::casts) fn rule(from: &ColumnType, to: &ColumnType, _: &Context<'_>) -> Option<Draft> {
    match (from.name.as_str(), to.name.as_str()) {
        _ if is_string(from) && is_string(to) => Some(string_to_string(from, to)),
        ("name", _) => text_form("a name of at most 63 bytes", to, Some(63), &text()),
        ("char", _) => {
            let form = text_form("a single byte as text", to, Some(4), &text())?;
            Some(Draft { version: true, ..form })
        }
        (_, "name") if is_string(from) => {
            let bad = vec![(format!("octet_length({}) > 63", text()), "longer than 63 bytes".to_owned())];
            Some(checked("names have at most 63 bytes", bad))
        }
        _ if is_string(from) => read(to),
        _ => None,
    }
}

/// `"c"` as text: without the padding of char(n).
fn text() -> String {
    format!("CAST({C} AS text)")
}

fn string_to_string(from: &ColumnType, to: &ColumnType) -> Draft {
    let mut bad = Vec::new();
    if let Some(new) = limit(to).filter(|new| limit(from).is_none_or(|old| old > *new)) {
        bad.push((format!("char_length({C}) > {new}"), format!("longer than {new} characters")));
    }
    match (from.is("bpchar"), to.is("bpchar")) {
        (true, true) => checked("char(n): trailing blanks mean nothing", bad),
        (true, false) => Draft {
            finding: Some(&PADDING_STRIPPED),
            order: true,
            ..checked("char(n) loses its padding, which means nothing", bad)
        },
        (false, true) => {
            // Blanks at the end cannot be told from padding afterwards.
            let trimmed = format!("octet_length(rtrim({C}, ' ')) <> octet_length({C})");
            bad.push((trimmed, "ends in blanks, which char(n) takes for padding".to_owned()));
            checked("char(n) pads with blanks", bad)
        }
        (false, false) => Draft { order: true, ..checked("text with another limit", bad) },
    }
}

/// Types that are read from text: only from the spelling in which they are written, so that nothing is lost and every
/// row that passes can be cast.
fn read(to: &ColumnType) -> Option<Draft> {
    let text = text();
    let expr = Some(format!("CAST({text} AS {})", to.sql));
    let one = |predicate: String, meaning: &str| vec![(predicate, meaning.to_owned())];
    match to.name.as_str() {
        "int2" | "int4" | "int8" => {
            let (digits, min, max) = match to.name.as_str() {
                "int2" => (4, i64::from(i16::MIN), i64::from(i16::MAX)),
                "int4" => (9, i64::from(i32::MIN), i64::from(i32::MAX)),
                _ => (18, i64::MIN, i64::MAX),
            };
            let bad = one(
                format!(
                    "CASE WHEN {text} ~ '^(0|-?[1-9][0-9]{{0,{digits}}})$' \
                     THEN CAST({text} AS pg_catalog.numeric) NOT BETWEEN {min} AND {max} ELSE {C} IS NOT NULL END"
                ),
                &format!("not the plain spelling of a {}", to.sql),
            );
            Some(Draft { expr, ..checked("integers in their plain spelling", bad) })
        }
        "numeric" => {
            let spelled =
                format!("{text} ~ '^-?(0|[1-9][0-9]{{0,130}})(\\.[0-9]{{1,100}})?$' AND {text} !~ '^-[0.]*$'");
            let mut bad = one(format!("NOT ({spelled})"), "not the plain spelling of a number");
            if let Some((precision, scale)) = numeric_typmod(to.typmod) {
                let value = format!("CAST({text} AS pg_catalog.numeric)");
                let room = precision - scale;
                bad.push((
                    format!("CASE WHEN {spelled} THEN abs({value}) >= CAST('1e{room}' AS pg_catalog.numeric) END"),
                    format!("out of range for {}", to.sql),
                ));
                bad.push((
                    format!("CASE WHEN {spelled} THEN {value} <> round({value}, {scale}) END"),
                    format!("more than {scale} digits after the point"),
                ));
            }
            Some(Draft { expr, ..checked("numbers in their plain spelling", bad) })
        }
        "bool" => {
            let bad = one(format!("{text} NOT IN ('true', 'false')"), "neither true nor false");
            Some(Draft { expr, ..checked("true and false as words", bad) })
        }
        "uuid" => {
            let spelling = "'^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'";
            let bad = one(format!("{text} !~ {spelling}"), "not a uuid in lower case with hyphens");
            Some(Draft { expr, ..checked("uuids in their plain spelling", bad) })
        }
        "date" => {
            let part = |from: u32, length: u32| format!("CAST(substr({text}, {from}, {length}) AS pg_catalog.int4)");
            let (year, month, day) = (part(1, 4), part(6, 2), part(9, 2));
            let leap = format!("({year} % 4 = 0 AND ({year} % 100 <> 0 OR {year} % 400 = 0))");
            let bad = one(
                format!(
                    "CASE WHEN {text} ~ '^[0-9]{{4}}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$' \
                     THEN {year} = 0 OR {day} > CASE WHEN {month} = 2 THEN CASE WHEN {leap} THEN 29 ELSE 28 END \
                     WHEN {month} IN (4, 6, 9, 11) THEN 30 ELSE 31 END ELSE {C} IS NOT NULL END"
                ),
                "not a date written YYYY-MM-DD",
            );
            Some(Draft { expr, ..checked("dates written YYYY-MM-DD", bad) })
        }
        _ => None,
    }
}

/// citext compares without case: the text stays, but two keys may become one.
pub(in crate::casts) fn citext(from: &ColumnType, to: &ColumnType) -> Option<Draft> {
    let is_citext = |ty: &ColumnType| ty.name.as_str() == "citext" && !ty.is_builtin();
    if is_citext(from) {
        return if to.is("text") || to.is("varchar") { text_form("the same text", to, None, &text()) } else { None };
    }
    if !is_citext(to) || !is_string(from) {
        return None;
    }
    if from.is("bpchar") {
        return Some(lossy("citext compares without case, and char(n) loses its padding", Vec::new()));
    }
    Some(Draft {
        injective: false,
        ..widening("the same text, compared without case: different keys may become equal")
    })
}
