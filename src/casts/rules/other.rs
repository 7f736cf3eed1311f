//! Bits, networks, uuid, documents.

use crate::casts::cast::{C, Draft, checked, lossy, widening};
use crate::casts::classify::text_form;
use crate::catalog::ColumnType;

pub(in crate::casts) fn rule(from: &ColumnType, to: &ColumnType) -> Option<Draft> {
    let text = format!("CAST({C} AS text)");
    match (from.name.as_str(), to.name.as_str()) {
        ("bit" | "varbit", "bit" | "varbit") => bits(from, to),
        ("bit" | "varbit", _) => text_form("zeros and ones", to, (from.typmod > 0).then_some(from.typmod), &text),
        ("uuid", _) => text_form("36 characters", to, Some(36), &text),
        ("cidr", "inet") => Some(Draft { order: true, ..widening("every network is an address with a mask") }),
        ("inet", "cidr") => {
            let bad =
                vec![(format!("{C} <> CAST(network({C}) AS inet)"), "has bits to the right of its mask".to_owned())];
            Some(Draft { order: true, ..checked("networks only", bad) })
        }
        ("macaddr", "macaddr8") => Some(Draft { order: true, ..widening("EUI-48 within EUI-64") }),
        ("macaddr8", "macaddr") => {
            let bad = vec![(format!("{text} !~ '^..:..:..:ff:fe:'"), "not an EUI-48 address".to_owned())];
            Some(Draft { order: true, ..checked("EUI-48 addresses only", bad) })
        }
        ("inet" | "cidr", _) => text_form("address and mask", to, Some(43), &text),
        ("macaddr", _) => text_form("six groups", to, Some(17), &text),
        ("macaddr8", _) => text_form("eight groups", to, Some(23), &text),
        ("pg_lsn", _) => text_form("two hexadecimal numbers", to, Some(17), &text),
        ("json", "jsonb") => {
            let bad = vec![(format!("{text} ~ '\\\\u0000'"), "has \\u0000, which jsonb cannot hold".to_owned())];
            Some(lossy("jsonb forgets key order, repeated keys and the spelling of numbers", bad))
        }
        ("jsonb", "json") => Some(widening("the same document as text")),
        ("json" | "jsonb" | "xml", _) => text_form("the document as text", to, None, &text),
        _ => None,
    }
}

/// An explicit cast of bits pads and cuts silently, so only lengths that need neither are let through.
fn bits(from: &ColumnType, to: &ColumnType) -> Option<Draft> {
    let fixed = |ty: &ColumnType| (ty.is("bit") && ty.typmod > 0).then_some(ty.typmod);
    let most = (from.typmod > 0).then_some(from.typmod);
    if let Some(length) = fixed(to) {
        if fixed(from).is_some_and(|old| old != length) {
            return None;
        }
        let bad = vec![(format!("length({C}) <> {length}"), format!("not {length} bits"))];
        return Some(checked("exactly as many bits", bad));
    }
    match (to.typmod, most) {
        (..=0, _) => Some(Draft { order: true, ..widening("any number of bits") }),
        (limit, Some(most)) if most <= limit => Some(Draft { order: true, ..widening("room for all bits") }),
        (limit, _) => {
            let bad = vec![(format!("length({C}) > {limit}"), format!("more than {limit} bits"))];
            Some(Draft { order: true, ..checked("another limit of bits", bad) })
        }
    }
}
