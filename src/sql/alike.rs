//! Whether two texts of SQL say the same in spite of quotes, blanks and brackets. A `false` may be wrong, a `true` not.

use crate::catalog::Ident;
use crate::sql::quote::{literal, readable};
use crate::sql::rewrite::{sequences, sequences_named, skip_type_or_collation};
use crate::sql::token::{Token, TokenError, TokenKind, tokens};

/// Brackets around brackets are taken away this often.
const PASSES_MAX: usize = 100;

/// Words behind which a bracket groups what stands in it. Behind others it may be a list, a subquery, or a call's.
const BEFORE_GROUP: &[&str] = &[
    "and", "or", "not", "like", "ilike", "between", "case", "when", "then", "else", "where", "from", "escape",
    "default",
];

/// What no pair of brackets may be taken from: a query in brackets is one value, without them it may be many.
const QUERY: &[&str] = &["select", "values", "with", "table"];

/// True when the texts differ in nothing that has a meaning: in quotes, blanks, `pg_catalog.`, or in brackets around a single
/// operand, around other brackets, and around all of what already has an end on both sides.
pub fn alike(one: &str, other: &str) -> bool {
    one == other || parts(one).is_ok_and(|one| parts(other).is_ok_and(|other| one == other))
}

/// A piece with a meaning of its own, in one form.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// A name, or a word of the language: quoted where that makes a difference.
    Name(String),
    /// A constant.
    Constant(String),
    /// `::` with its type.
    Cast(Vec<Self>),
    /// A whole operator.
    Operator(String),
    /// A bracket or punctuation mark.
    Mark(String),
}

impl Part {
    fn is(&self, mark: &str) -> bool {
        matches!(self, Self::Mark(text) if text == mark)
    }

    fn is_one_of(&self, words: &[&str]) -> bool {
        matches!(self, Self::Name(name) if words.contains(&name.as_str()))
    }
}

fn parts(text: &str) -> Result<Vec<Part>, TokenError> {
    let own = sequences_named(text)?.into_iter().map(|name| (name.clone(), name)).collect();
    let text = sequences(text, &own)?;
    let list = tokens(&text)?;
    let mut parts = read(&text, &list, 0..list.len());
    for _ in 0..PASSES_MAX {
        let before = parts.len();
        parts = bared(parts);
        if parts.len() == before {
            break;
        }
    }
    Ok(parts)
}

fn read(text: &str, list: &[Token], range: std::ops::Range<usize>) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let token = &list[at];
        let source = &text[token.start..token.end];
        let next = list.get(at + 1);
        if token.name() == Some("pg_catalog") && next.is_some_and(|next| next.is(".")) {
            at += 2;
            continue;
        }
        if token.is("::")
            && let Some(end) = skip_type_or_collation(list, at)
        {
            parts.push(Part::Cast(read(text, list, at + 1..end)));
            at = end;
            continue;
        }
        parts.push(match &token.kind {
            TokenKind::Word(word) => Part::Name(word.clone()),
            TokenKind::Quoted(name) => {
                Part::Name(Ident::new(name.as_str()).map_or_else(|_| source.to_owned(), |name| readable(&name)))
            }
            // Other kinds of strings stay as they are written.
            TokenKind::Text(value) if source.starts_with(['\'', '$']) => Part::Constant(literal(value)),
            TokenKind::Text(_) | TokenKind::Number => Part::Constant(source.to_owned()),
            TokenKind::Symbol(symbol) if is_operator(symbol) => {
                let end = operator_end(text, list, at);
                let operator = &text[token.start..list[end - 1].end];
                at = end;
                parts.push(Part::Operator(if operator == "!=" { "<>" } else { operator }.to_owned()));
                continue;
            }
            TokenKind::Symbol(symbol) => Part::Mark(symbol.clone()),
        });
        at += 1;
    }
    parts
}

fn is_operator(symbol: &str) -> bool {
    symbol.chars().all(|c| "+-*/<>=~!@#%^&|`?".contains(c))
}

/// Characters without a space between them are one operator; a sign at its end is one only where PostgreSQL has it so.
fn operator_end(text: &str, list: &[Token], start: usize) -> usize {
    let mut end = start + 1;
    while list.get(end).is_some_and(|next| {
        matches!(&next.kind, TokenKind::Symbol(symbol) if is_operator(symbol)) && next.start == list[end - 1].end
    }) {
        end += 1;
    }
    let is_sign = |at: usize| list[at].is("+") || list[at].is("-");
    while end > start + 1
        && is_sign(end - 1)
        && !text[list[start].start..list[end - 1].start].contains(['~', '!', '@', '#', '%', '^', '&', '|', '`', '?'])
    {
        end -= 1;
    }
    end
}

/// Without the brackets that change nothing.
fn bared(parts: Vec<Part>) -> Vec<Part> {
    let mut open = Vec::new();
    let mut dropped = vec![false; parts.len()];
    for (at, part) in parts.iter().enumerate() {
        if part.is("(") {
            open.push(at);
        } else if part.is(")")
            && let Some(start) = open.pop()
            && changes_nothing(&parts, start, at)
        {
            dropped[start] = true;
            dropped[at] = true;
        }
    }
    parts.into_iter().zip(dropped).filter(|(_, dropped)| !dropped).map(|(part, _)| part).collect()
}

fn changes_nothing(parts: &[Part], open: usize, close: usize) -> bool {
    let inside = &parts[open + 1..close];
    let before = open.checked_sub(1).map(|at| &parts[at]);
    let after = parts.get(close + 1);
    let groups = match before {
        None | Some(Part::Operator(_)) => true,
        Some(Part::Mark(mark)) => matches!(mark.as_str(), "(" | "[" | ","),
        Some(part @ Part::Name(_)) => part.is_one_of(BEFORE_GROUP),
        Some(Part::Constant(_) | Part::Cast(_)) => false,
    };
    if !groups || inside.is_empty() || inside[0].is_one_of(QUERY) || has_comma(inside) {
        return false;
    }
    let begins = before.is_none_or(|part| matches!(part, Part::Mark(_)) || part.is_one_of(&["where"]));
    let ends = after.is_none_or(|part| part.is(")") || part.is("]") || part.is(","));
    // `(a).b` and `(a)[1]` are of a value, `a.b` and `a[1]` may be of a table or a type.
    begins && ends || is_operand(inside) && after.is_none_or(|part| !part.is(".") && !part.is("[") && !part.is("("))
}

fn has_comma(inside: &[Part]) -> bool {
    let mut depth = 0_usize;
    inside.iter().any(|part| {
        match part {
            Part::Mark(mark) if matches!(mark.as_str(), "(" | "[") => depth += 1,
            Part::Mark(mark) if matches!(mark.as_str(), ")" | "]") => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && part.is(",")
    })
}

/// A constant, a name or a call, with casts behind it: no operator could part it.
fn is_operand(inside: &[Part]) -> bool {
    let casts = inside.iter().rev().take_while(|part| matches!(part, Part::Cast(_))).count();
    let mut rest = match &inside[..inside.len() - casts] {
        [Part::Constant(_)] => return true,
        [Part::Name(_), rest @ ..] => rest,
        _ => return false,
    };
    while let [dot, Part::Name(_), further @ ..] = rest
        && dot.is(".")
    {
        rest = further;
    }
    let mut depth = 0_usize;
    for (at, part) in rest.iter().enumerate() {
        match part {
            part if part.is("(") => depth += 1,
            part if part.is(")") => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at + 1 == rest.len();
        }
    }
    rest.is_empty()
}

#[cfg(test)]
#[path = "alike_tests.rs"]
mod tests;
