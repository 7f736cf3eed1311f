//! The word that PostgreSQL makes of an expression when it names an index over it.

use crate::sql::token::{Token, tokens};

/// The name of an index element that is no column: of a function its name, of a field its field, else `expr`. What stands
/// behind the expression (operator class, order) does not count.
pub(super) fn figure(element: &str) -> String {
    let Ok(all) = tokens(element) else { return "expr".to_owned() };
    let head = primary(&all);
    word(&all[..head]).unwrap_or_else(|| "expr".to_owned())
}

/// Number of tokens of the first value: a constant, a bracketed expression with its fields, a call or a name.
fn primary(all: &[Token]) -> usize {
    let mut at = 0;
    if all.first().is_some_and(|first| first.is("(")) {
        at = closed(all, 0);
    } else if !all.is_empty() {
        at = 1;
    }
    loop {
        match all.get(at) {
            Some(next) if next.is(".") => at = (at + 2).min(all.len()),
            Some(next) if (next.is("(") || next.is("[")) && at > 0 => at = closed(all, at),
            _ => return at,
        }
    }
}

/// Behind the bracket that closes the one at `open`.
fn closed(all: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in all.iter().enumerate().skip(open) {
        if token.is("(") || token.is("[") {
            depth += 1;
        } else if token.is(")") || token.is("]") {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                return at + 1;
            }
        }
    }
    all.len()
}

fn word(all: &[Token]) -> Option<String> {
    let first = all.first()?;
    if first.word() == Some("case") && all.last()?.word() == Some("end") {
        return Some("case".to_owned());
    }
    let length = primary(all);
    if length < all.len() {
        return all[length].is("::").then(|| cast(&all[..length], &all[length + 1..])).flatten();
    }
    if first.is("(") && closed(all, 0) == all.len() {
        return word(&all[1..all.len() - 1]);
    }
    let call = all.iter().rposition(|token| token.is("(")).filter(|_| !first.is("("));
    let name = match call {
        Some(_) => all.iter().take_while(|token| !token.is("(")).last(),
        None => all.iter().rev().find(|token| token.name().is_some()),
    };
    name.and_then(Token::name).map(str::to_owned)
}

/// Of `value::type` the value's name, else the type's as the catalog has it.
fn cast(value: &[Token], ty: &[Token]) -> Option<String> {
    let length = primary(ty);
    let plain = ty.iter().skip(length).all(|token| token.word().is_some());
    if ty.get(length).is_some_and(|token| token.is("::")) {
        return cast(value, &ty[length + 1..]);
    }
    if !plain {
        return None;
    }
    word(value).or_else(|| {
        let name = ty.iter().take(length).take_while(|token| !token.is("(") && !token.is("[")).last()?.name()?;
        Some(
            match name {
                "int" | "integer" => "int4",
                "bigint" => "int8",
                "smallint" => "int2",
                "boolean" => "bool",
                "real" => "float4",
                "double" => "float8",
                "decimal" => "numeric",
                "character" => return None,
                other => other,
            }
            .to_owned(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::figure;

    #[test]
    fn names_are_those_of_postgresql() {
        // Each measured: CREATE INDEX ON t (…) on PostgreSQL 15.
        let named = [
            ("lower(a)", "lower"),
            ("pg_catalog.lower(a) text_pattern_ops DESC", "lower"),
            ("(lower(a))", "lower"),
            ("(a || b)", "expr"),
            ("(b + 1)", "expr"),
            ("((one).x)", "x"),
            ("(a::int)", "a"),
            ("((b + 1)::text)", "text"),
            ("((b + 1)::int)", "int4"),
            ("(coalesce(a, ''))", "coalesce"),
            ("(lower(a)::varchar)", "lower"),
            ("(doc ->> 'k')", "expr"),
            ("(CASE WHEN b > 1 THEN 1 END)", "case"),
            ("(lower(a) || upper(b))", "expr"),
        ];
        for (element, name) in named {
            assert_eq!(figure(element), name, "{element}");
        }
    }
}
