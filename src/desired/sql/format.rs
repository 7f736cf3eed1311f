//! `pcrd fmt`: line breaks, indents and the case of keywords. Every lexeme and comment stays, in its order and beside its
//! neighbours; what is left to others (functions, views, grants) stays as it was written.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use super::classify::{Class, classify};
use super::directive::Directives;
use super::grammar::{Node, Rule, Source};
use super::layout::layout;
use super::lex::{LexKind, Lexer};
use super::read::{read, rule_of, words};
use super::split::{Piece, Pieces, split};
use super::tree::SqlSchema;
use crate::desired::problem::Problem;

/// Why a file was not formatted.
#[derive(Debug)]
pub enum FormatError {
    /// It cannot be read: everything that is wrong with it.
    Problems(Vec<Problem>),
    /// The formatted text would not say the same. Nobody should ever see this.
    Changed,
}

/// A piece of the file that stays in one piece.
#[derive(Debug)]
pub(super) struct Item<'t> {
    pub(super) what: What,
    pub(super) span: Range<usize>,
    pub(super) text: Cow<'t, str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Token,
    /// A bracket; `lines` when each of its members gets a line.
    Open {
        lines: bool,
    },
    Close {
        lines: bool,
    },
    /// `tight`: in types and expressions, where both spellings are common.
    Comma {
        lines: bool,
        tight: bool,
    },
    Semicolon,
    LineComment,
    BlockComment,
    /// A whole statement that is not touched.
    Statement,
    /// A line for psql.
    Psql,
}

/// Formats a desired schema.
///
/// # Errors
/// The file has problems, as `read` finds them.
pub fn format(text: &str) -> Result<String, FormatError> {
    let reading = read(text);
    if !reading.problems.is_empty() {
        return Err(FormatError::Problems(reading.problems));
    }
    let formatted = layout(text, &items(text, &split(text, &mut Vec::new())));
    let again = read(&formatted);
    let is_same = again.problems.is_empty()
        && says_the_same(text, &formatted)
        && directives(&reading.schema) == directives(&again.schema);
    if is_same { Ok(formatted) } else { Err(FormatError::Changed) }
}

fn items<'t>(text: &'t str, pieces: &Pieces) -> Vec<Item<'t>> {
    let mut items = Vec::with_capacity(pieces.lexemes.len() + pieces.comments.len());
    let whole = |what, span: &Range<usize>| Item { what, span: span.clone(), text: text[span.clone()].into() };
    let mut untouched: Vec<&Range<usize>> = Vec::new();
    for piece in &pieces.statements {
        match statement(text, piece, pieces) {
            _ if piece.lexemes.is_empty() => items.push(whole(What::Psql, &piece.span)),
            Some(statement) => items.extend(statement),
            None => {
                items.push(whole(What::Statement, &piece.span));
                untouched.push(&piece.span);
            }
        }
    }
    for comment in &pieces.comments {
        let before = untouched.partition_point(|span| span.start <= comment.span.start);
        if before.checked_sub(1).is_some_and(|nth| comment.span.start < untouched[nth].end) {
            continue;
        }
        let what = if comment.kind == LexKind::LineComment { What::LineComment } else { What::BlockComment };
        items.push(Item { text: text[comment.span.clone()].trim_end().into(), ..whole(what, &comment.span) });
    }
    items.extend(pieces.semicolons.iter().map(|at| whole(What::Semicolon, &(*at..at + 1))));
    items.sort_by_key(|item| item.span.start);
    items
}

/// The lexemes of a statement that pcrd understands; `None` for the others.
fn statement<'t>(text: &'t str, piece: &Piece, pieces: &Pieces) -> Option<Vec<Item<'t>>> {
    let class = classify(&words(text, piece, pieces).iter().map(String::as_str).collect::<Vec<_>>());
    let source = Source { text, lexemes: &pieces.lexemes };
    let node = Node::parse(rule_of(class)?, source, piece.span.clone()).ok()?;
    let (keywords, opaque) = node.keywords();
    let keywords: BTreeSet<usize> = keywords.into_iter().collect();
    let lexemes = &pieces.lexemes[piece.lexemes.clone()];
    let body = match class {
        Class::CreateTable => node.start_of(&[Rule::table_body, Rule::typed_body]),
        Class::CreateEnum | Class::CreateType => {
            lexemes.iter().find(|lexeme| lexeme.kind == LexKind::Symbol('(')).map(|open| open.span.start)
        }
        _ => None,
    };
    let mut open: Vec<bool> = Vec::new();
    let mut items = Vec::with_capacity(lexemes.len());
    for lexeme in lexemes {
        let written = &text[lexeme.span.clone()];
        let what = match lexeme.kind {
            LexKind::Symbol('(' | '[') => {
                let lines = body == Some(lexeme.span.start);
                open.push(lines);
                What::Open { lines }
            }
            LexKind::Symbol(')' | ']') => What::Close { lines: open.pop().unwrap_or(false) },
            LexKind::Symbol(',') => {
                let next = opaque.partition_point(|span| span.start <= lexeme.span.start);
                let tight = next.checked_sub(1).is_some_and(|nth| lexeme.span.start < opaque[nth].end);
                What::Comma { lines: open.last().copied().unwrap_or(false), tight }
            }
            _ => What::Token,
        };
        let text = match keywords.contains(&lexeme.span.start) {
            true => written.to_ascii_uppercase().into(),
            false => written.into(),
        };
        items.push(Item { what, span: lexeme.span.clone(), text });
    }
    Some(items)
}

/// True when both have the same lexemes and comments, apart from the case of words.
fn says_the_same(one: &str, other: &str) -> bool {
    let (one, other) = (lexemes(one), lexemes(other));
    one.len() == other.len()
        && one.iter().zip(&other).all(|(one, other)| {
            let is_word = one.0 == LexKind::Word && other.0 == LexKind::Word;
            one.0 == other.0 && one.2 == other.2 && (one.1 == other.1 || is_word && one.1.eq_ignore_ascii_case(other.1))
        })
}

/// Kind and text of each lexeme, and what the space before it decides: whether two symbols are one operator, and whether two
/// strings are one.
fn lexemes(text: &str) -> Vec<(LexKind, &str, bool)> {
    let mut lexer = Lexer::new(text);
    let mut found: Vec<(LexKind, &str, bool)> = Vec::new();
    let mut end = 0;
    while let Ok(Some(lexeme)) = lexer.next() {
        let before = found.last().map(|(kind, ..)| *kind);
        let space = text.get(end..lexeme.span.start).unwrap_or_default();
        let joins = match (before, lexeme.kind) {
            (Some(LexKind::Symbol(one)), LexKind::Symbol(other)) => {
                let is_part = |c: char| !"()[],;".contains(c);
                is_part(one) && is_part(other) && space.is_empty()
            }
            (Some(LexKind::Text), LexKind::Text) => space.contains(['\n', '\r']),
            _ => false,
        };
        end = lexeme.span.end;
        found.push((lexeme.kind, text[lexeme.span].trim_end(), joins));
    }
    found
}

/// Every directive with its object, places left out.
fn directives(schema: &SqlSchema) -> Vec<String> {
    let mut found = Vec::new();
    let mut say = |what: String, said: &Directives| {
        if *said != Directives::default() {
            found.push(format!("{what}: {:?}", said.values()));
        }
    };
    for (nth, table) in schema.tables.iter().enumerate() {
        say(format!("table {nth}"), &table.directives);
        let columns = table.columns.iter().map(|column| &column.directives);
        let constraints = table.constraints.iter().map(|constraint| &constraint.directives);
        let indexes = table.indexes.iter().map(|index| &index.directives);
        for (at, said) in columns.chain(constraints).chain(indexes).enumerate() {
            say(format!("table {nth}, part {at}"), said);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_in_meaning_is_seen() {
        for (one, other) in [
            ("a <= b", "a < = b"),
            ("a ::int", "a : :int"),
            ("'a'\n'b'", "'a' 'b'"),
            ("\"A\"", "\"a\""),
            ("'A'", "'a'"),
            ("a b", "ab"),
            ("x 'a'", "x'a'"),
            ("1 .5", "1.5"),
            ("a, b", "a b,"),
            ("a -- b\nc", "a -- b c"),
            ("a /* b */", "a"),
        ] {
            assert!(!says_the_same(one, other), "{one} {other}");
            assert!(says_the_same(one, one));
        }
        assert!(says_the_same("Create  table t(a int ,b int)\n;", "CREATE TABLE t (\n    a int, b int\n);\n"));
    }
}
