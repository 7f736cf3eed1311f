//! Renames columns and sequences inside SQL text that PostgreSQL deparsed or a user wrote.
//!
//! Works on tokens: strings, comments, function names, type names, collations and named arguments are left alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{Ident, QualifiedName};
use crate::sql::token::{Token, TokenError, TokenKind, tokens};
use crate::sql::{ident, literal, name};

/// Text with its names replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// The text, every column quoted.
    pub sql: String,
    /// Columns that it reads (old names), sorted.
    pub reads: BTreeSet<Ident>,
}

/// Words that PostgreSQL never reads as a column when unquoted: reserved ones, those only allowed as function or
/// type names, and `between`, which stands between operands.
const NEVER_COLUMNS: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "authorization",
    "between",
    "binary",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "collation",
    "column",
    "concurrently",
    "constraint",
    "create",
    "cross",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "foreign",
    "freeze",
    "from",
    "full",
    "grant",
    "group",
    "having",
    "ilike",
    "in",
    "initially",
    "inner",
    "intersect",
    "into",
    "is",
    "isnull",
    "join",
    "lateral",
    "leading",
    "left",
    "like",
    "limit",
    "localtime",
    "localtimestamp",
    "natural",
    "not",
    "notnull",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "outer",
    "overlaps",
    "placing",
    "primary",
    "references",
    "returning",
    "right",
    "select",
    "session_user",
    "similar",
    "some",
    "symmetric",
    "system_user",
    "table",
    "tablesample",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "variadic",
    "verbose",
    "when",
    "where",
    "window",
    "with",
];

/// Words that are values computed without parentheses.
const VALUE_WORDS: &[&str] = &[
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "localtime",
    "localtimestamp",
    "session_user",
    "system_user",
    "user",
];

/// Replaces column references by their new names. `columns` maps every column of the table; `table` is accepted as
/// a qualifier and taken away.
pub fn columns(sql: &str, table: &Ident, columns: &BTreeMap<Ident, Ident>) -> Result<Rewritten, TokenError> {
    let quoted = columns.iter().map(|(old, new)| (old.clone(), ident(new))).collect();
    substitute(sql, table, &quoted)
}

/// Replaces column references by SQL; otherwise as [`columns`].
pub fn substitute(sql: &str, table: &Ident, columns: &BTreeMap<Ident, String>) -> Result<Rewritten, TokenError> {
    let list = tokens(sql)?;
    let mut out = String::with_capacity(sql.len());
    let mut reads = BTreeSet::new();
    let mut copied = 0;
    for (start, end, old) in references(&list, table, columns) {
        out.push_str(&sql[copied..start]);
        out.push_str(&columns[&old]);
        copied = end;
        reads.insert(old);
    }
    out.push_str(&sql[copied..]);
    Ok(Rewritten { sql: out, reads })
}

fn references(list: &[Token], table: &Ident, columns: &BTreeMap<Ident, String>) -> Vec<(usize, usize, Ident)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < list.len() {
        if let Some(after) = skip_type_or_collation(list, at) {
            at = after;
            continue;
        }
        let Some(word) = identifier(&list[at]) else {
            at += 1;
            continue;
        };
        if is(list, at + 1, ".") {
            let qualifies = word == *table && !is(list, at + 3, "(") && !is(list, at + 3, ".");
            let column = list.get(at + 2).and_then(identifier).filter(|column| columns.contains_key(column));
            if let (true, Some(column)) = (qualifies, column) {
                found.push((list[at].start, list[at + 2].end, column));
            }
            // `schema.function(`, `alias.column`, `(row).field`: nothing of ours up to the last part.
            at += 3;
            while is(list, at, ".") {
                at += 2;
            }
            continue;
        }
        let is_column = columns.contains_key(&word)
            && !is_never_column(&list[at])
            && !is(list, at + 1, "(")
            && !is(list, at + 1, "=>")
            && (at == 0 || !is(list, at - 1, "."))
            && !is_syntax(list, at);
        if is_column {
            found.push((list[at].start, list[at].end, word));
        }
        at += 1;
    }
    found
}

/// Names of functions that the text calls: the last part, with the schema when it is written. Words that are values
/// computed without parentheses (`current_timestamp`) count too.
pub fn functions(sql: &str) -> Result<Vec<(Option<String>, String)>, TokenError> {
    let list = tokens(sql)?;
    let mut found = Vec::new();
    let mut at = 0;
    while at < list.len() {
        if let Some(after) = skip_type_or_collation(&list, at) {
            at = after;
            continue;
        }
        if let Some(name) = list[at].name() {
            let value = list[at].word().is_some_and(|word| VALUE_WORDS.contains(&word));
            let keyword = is_never_column(&list[at]) && !matches!(name, "left" | "right" | "overlaps");
            if value || (is(&list, at + 1, "(") && !keyword) {
                let schema = (at >= 2 && is(&list, at - 1, ".")).then(|| list[at - 2].name().map(str::to_owned));
                found.push((schema.flatten(), name.to_owned()));
            }
        }
        at += 1;
    }
    Ok(found)
}

/// True for a constant: a string, a number, TRUE, FALSE or NULL, with a sign, parentheses and casts around it.
/// `'now'` and its like are read when the default is evaluated, so they are no constants.
pub fn is_constant(sql: &str) -> Result<bool, TokenError> {
    let list = tokens(sql)?;
    let mut values = 0;
    let mut at = 0;
    while at < list.len() {
        if let Some(after) = skip_type_or_collation(&list, at) {
            at = after;
            continue;
        }
        match &list[at].kind {
            TokenKind::Text(text) if !is_moving_literal(text) => values += 1,
            TokenKind::Number => values += 1,
            TokenKind::Word(word) if matches!(word.as_str(), "true" | "false" | "null") => values += 1,
            TokenKind::Symbol(symbol) if matches!(symbol.as_str(), "(" | ")" | "-" | "+") => {}
            TokenKind::Text(_) | TokenKind::Word(_) | TokenKind::Quoted(_) | TokenKind::Symbol(_) => return Ok(false),
        }
        at += 1;
    }
    Ok(values == 1)
}

fn is_moving_literal(text: &str) -> bool {
    let text = text.trim().to_ascii_lowercase();
    ["now", "today", "tomorrow", "yesterday"].iter().any(|word| text.starts_with(word))
}

/// Replaces sequence names in `'schema.name'::regclass` constants.
pub fn sequences(sql: &str, names: &BTreeMap<QualifiedName, QualifiedName>) -> Result<String, TokenError> {
    let list = tokens(sql)?;
    let mut out = String::with_capacity(sql.len());
    let mut copied = 0;
    for (at, token) in list.iter().enumerate() {
        let Some((old, after)) = regclass(&list, at) else { continue };
        if let Some(new) = names.get(&old) {
            out.push_str(&sql[copied..token.start]);
            out.push_str(&literal(&name(new)));
            out.push_str("::pg_catalog.regclass");
            copied = after;
        }
    }
    out.push_str(&sql[copied..]);
    Ok(out)
}

/// Sequences that the text names as `'schema.name'::regclass`.
pub fn sequences_named(sql: &str) -> Result<Vec<QualifiedName>, TokenError> {
    let list = tokens(sql)?;
    Ok((0..list.len()).filter_map(|at| regclass(&list, at)).map(|(name, _)| name).collect())
}

/// The name in the constant at this token, and the byte after its cast.
fn regclass(list: &[Token], at: usize) -> Option<(QualifiedName, usize)> {
    let TokenKind::Text(text) = &list[at].kind else { return None };
    if !is(list, at + 1, "::") {
        return None;
    }
    let qualified = is(list, at + 3, ".");
    let last = if qualified { at + 4 } else { at + 2 };
    let ty = list.get(last)?;
    let parts = (ty.name()? == "regclass").then(|| tokens(text).ok())??;
    let [schema, dot, object] = parts.as_slice() else { return None };
    if !dot.is(".") {
        return None;
    }
    Some((QualifiedName::new(schema.name()?, object.name()?).ok()?, ty.end))
}

/// The table after REFERENCES in a foreign key definition.
pub fn referenced_table(definition: &str) -> Option<QualifiedName> {
    let list = tokens(definition).ok()?;
    let at = list.iter().position(|token| token.word() == Some("references"))?;
    if !is(&list, at + 2, ".") {
        return None;
    }
    QualifiedName::new(list.get(at + 1)?.name()?, list.get(at + 3)?.name()?).ok()
}

/// The tokens' contents without quotes, casts to `pg_catalog` names written both ways alike: what two deparsed texts
/// of one meaning have in common.
pub fn skeleton(sql: &str) -> Result<Vec<String>, TokenError> {
    let list = tokens(sql)?;
    let mut parts = Vec::new();
    let mut at = 0;
    while at < list.len() {
        if list[at].name() == Some("pg_catalog") && is(&list, at + 1, ".") {
            at += 2;
            continue;
        }
        parts.push(match &list[at].kind {
            TokenKind::Word(text) | TokenKind::Quoted(text) | TokenKind::Text(text) | TokenKind::Symbol(text) => {
                text.clone()
            }
            TokenKind::Number => sql[list[at].start..list[at].end].to_owned(),
        });
        at += 1;
    }
    Ok(parts)
}

fn identifier(token: &Token) -> Option<Ident> {
    Ident::new(token.name()?).ok()
}

fn is(list: &[Token], at: usize, symbol: &str) -> bool {
    list.get(at).is_some_and(|token| token.is(symbol))
}

fn word(list: &[Token], at: usize) -> Option<&str> {
    list.get(at)?.word()
}

fn is_never_column(token: &Token) -> bool {
    token.word().is_some_and(|word| NEVER_COLUMNS.contains(&word))
}

/// Unreserved words in the places where the grammar wants them, not a column: `date '2020-01-01'`,
/// `EXTRACT(year FROM …)`, `AT TIME ZONE`, `IS UNKNOWN`, `x LIKE y ESCAPE z`.
fn is_syntax(list: &[Token], at: usize) -> bool {
    let before = |n: usize| at.checked_sub(n).and_then(|index| word(list, index));
    let after = |n: usize| word(list, at + n);
    let text_follows = matches!(list.get(at + 1).map(|next| &next.kind), Some(TokenKind::Text(_)));
    let Some(this) = word(list, at) else { return false };
    match this {
        "at" => matches!(after(1), Some("time" | "local")),
        "time" if after(1) == Some("zone") => true,
        "zone" if before(1) == Some("time") => true,
        "local" if before(1) == Some("at") => true,
        "unknown" | "document" | "normalized" | "nfc" | "nfd" | "nfkc" | "nfkd" => {
            matches!(before(1), Some("is" | "not"))
        }
        "escape" => at > 0 && ends_operand(&list[at - 1]),
        _ => text_follows || (before(2) == Some("extract") && after(1) == Some("from")),
    }
}

fn ends_operand(token: &Token) -> bool {
    match &token.kind {
        TokenKind::Quoted(_) | TokenKind::Text(_) | TokenKind::Number => true,
        TokenKind::Word(_) => !is_never_column(token),
        TokenKind::Symbol(symbol) => matches!(symbol.as_str(), ")" | "]"),
    }
}

/// After `::`, `AS` inside CAST, or COLLATE: the index after the type or collation name.
pub(crate) fn skip_type_or_collation(list: &[Token], at: usize) -> Option<usize> {
    if !(is(list, at, "::") || matches!(word(list, at), Some("as" | "collate"))) {
        return None;
    }
    let first = list.get(at + 1)?.name()?;
    let mut next = at + 2;
    while is(list, next, ".") {
        next += 2;
    }
    let follow: &[&str] = match first {
        "double" => &["precision"],
        "character" | "char" | "bit" | "national" => &["varying", "character", "char"],
        "interval" => &["year", "month", "day", "hour", "minute", "second", "to"],
        _ => &[],
    };
    while word(list, next).is_some_and(|word| follow.contains(&word)) {
        next += 1;
    }
    next = skip_brackets(list, next);
    if matches!(first, "time" | "timestamp") && matches!(word(list, next), Some("with" | "without")) {
        next = skip_brackets(list, next + 3);
    }
    Some(next.min(list.len()))
}

/// Type modifiers and array bounds: brackets with nothing but numbers, names and commas in them.
fn skip_brackets(list: &[Token], mut at: usize) -> usize {
    loop {
        let close = match list.get(at) {
            Some(open) if open.is("(") => ")",
            Some(open) if open.is("[") => "]",
            _ => return at,
        };
        let Some(length) = list[at..].iter().position(|token| token.is(close)) else { return at };
        at += length + 1;
    }
}
