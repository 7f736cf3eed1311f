//! Cuts a SQL file into lexemes and comments in one pass, by the rules of PostgreSQL's own scanner. Never looks back,
//! so the work is linear in the size of the file.

use std::ops::Range;

use super::split::DEPTH_MAX;
use crate::sql::token::escaped_end;

/// A comment that no reader should descend into.
pub(super) const DEEP_COMMENT: &str = "deep comment";

/// A piece of a statement; its text is `&sql[span]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lexeme {
    pub(super) kind: LexKind,
    pub(super) span: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LexKind {
    /// An unquoted word.
    Word,
    /// A quoted identifier.
    Quoted,
    /// A string constant of any kind.
    Text,
    /// A number or a parameter.
    Number,
    /// One other character.
    Symbol(char),
    /// `-- …` up to the end of the line.
    LineComment,
    /// `/* … */`.
    BlockComment,
}

/// Something that has no end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Open {
    /// `string`, `quoted name`, …
    pub(super) what: &'static str,
    /// Its first characters.
    pub(super) span: Range<usize>,
}

/// A position in a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lexer<'t> {
    sql: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(sql: &'t str) -> Self {
        // A byte order mark is no part of the text.
        Self { sql, at: if sql.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 } }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Goes on behind what somebody else has read.
    pub(super) fn skip_to(&mut self, at: usize) {
        self.at = at;
    }

    /// The next lexeme or comment; `None` at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<Lexeme>, Open> {
        let bytes = self.sql.as_bytes();
        while bytes.get(self.at).is_some_and(|byte| is_space(*byte)) {
            self.at += 1;
        }
        let start = self.at;
        let Some(&byte) = bytes.get(start) else { return Ok(None) };
        let following = bytes.get(start + 1).copied();
        let (kind, end) = match byte {
            b'-' if following == Some(b'-') => (LexKind::LineComment, self.line_end(start)),
            b'/' if following == Some(b'*') => {
                let end = comment_end(bytes, start).map_err(|what| open(what, start..start + 2))?;
                (LexKind::BlockComment, end)
            }
            b'"' => (LexKind::Quoted, self.quoted(start, start + 1, b'"')?),
            b'\'' => (LexKind::Text, self.quoted(start, start + 1, b'\'')?),
            b'e' | b'E' if following == Some(b'\'') => {
                let unterminated = || open("string", start..start + 2);
                let mut end = escaped_end(bytes, start + 2).ok_or_else(unterminated)?;
                // On the next line it goes on as it began: with escapes.
                while let Some(part) = continued(bytes, end) {
                    end = escaped_end(bytes, part).ok_or_else(unterminated)?;
                }
                (LexKind::Text, end)
            }
            b'b' | b'B' | b'x' | b'X' | b'n' | b'N' if following == Some(b'\'') => {
                (LexKind::Text, self.quoted(start, start + 2, b'\'')?)
            }
            b'u' | b'U' if following == Some(b'&') && matches!(bytes.get(start + 2), Some(b'\'' | b'"')) => {
                let quote = bytes[start + 2];
                let kind = if quote == b'"' { LexKind::Quoted } else { LexKind::Text };
                (kind, self.quoted(start, start + 3, quote)?)
            }
            b'$' if following.is_some_and(|byte| byte.is_ascii_digit()) => (LexKind::Number, number_end(bytes, start)),
            b'$' => match dollar_tag(bytes, start) {
                Some(tag) => {
                    let body = start + tag;
                    let closing = &self.sql[start..body];
                    let length = self.sql[body..].find(closing);
                    let length = length.ok_or_else(|| open("dollar-quoted string", start..body))?;
                    (LexKind::Text, body + length + tag)
                }
                None => (LexKind::Symbol('$'), start + 1),
            },
            b'.' if following.is_some_and(|byte| byte.is_ascii_digit()) => (LexKind::Number, number_end(bytes, start)),
            b'0'..=b'9' => (LexKind::Number, number_end(bytes, start)),
            byte if is_word_start(byte) => {
                let length = bytes[start..].iter().position(|byte| !is_word_part(*byte));
                (LexKind::Word, length.map_or(bytes.len(), |length| start + length))
            }
            // All bytes from 0x80 on are letters to PostgreSQL, so this one is ASCII.
            byte => (LexKind::Symbol(char::from(byte)), start + 1),
        };
        self.at = end;
        Ok(Some(Lexeme { kind, span: start..end }))
    }

    /// The end of the line that this place is on, newline left out.
    pub(super) fn line_end(&self, at: usize) -> usize {
        let rest = &self.sql.as_bytes()[at..];
        rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).map_or(self.sql.len(), |length| at + length)
    }

    fn quoted(&self, start: usize, mut at: usize, quote: u8) -> Result<usize, Open> {
        let bytes = self.sql.as_bytes();
        let what = if quote == b'"' { "quoted name" } else { "string" };
        loop {
            match bytes.get(at) {
                None => {
                    let mark = bytes[start..].iter().position(|byte| *byte == quote).unwrap_or(0);
                    return Err(open(what, start..start + mark + 1));
                }
                Some(byte) if *byte != quote => at += 1,
                Some(_) if bytes.get(at + 1) == Some(&quote) => at += 2,
                Some(_) => return Ok(at + 1),
            }
        }
    }
}

fn open(what: &'static str, span: Range<usize>) -> Open {
    Open { what, span }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

pub(super) fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_word_part(byte: u8) -> bool {
    is_word_start(byte) || byte.is_ascii_digit() || byte == b'$'
}

fn number_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        let exponent_sign = matches!(bytes[at], b'+' | b'-')
            && matches!(bytes[at - 1], b'e' | b'E')
            && bytes.get(at + 1).is_some_and(u8::is_ascii_digit);
        if !(bytes[at].is_ascii_alphanumeric() || matches!(bytes[at], b'.' | b'_') || exponent_sign) {
            break;
        }
        at += 1;
    }
    at
}

/// Block comments nest in PostgreSQL.
fn comment_end(bytes: &[u8], start: usize) -> Result<usize, &'static str> {
    let mut depth = 0_usize;
    let mut at = start;
    while at + 1 < bytes.len() {
        match (bytes[at], bytes[at + 1]) {
            (b'/', b'*') => {
                depth += 1;
                at += 2;
                if depth > DEPTH_MAX {
                    return Err(DEEP_COMMENT);
                }
            }
            (b'*', b'/') => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return Ok(at);
                }
            }
            _ => at += 1,
        }
    }
    Err("comment")
}

/// Where the next part of a string starts, behind its quote: with nothing but space and line comments before it, and the end
/// of a line.
fn continued(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut has_line_end = false;
    loop {
        match (bytes.get(at)?, bytes.get(at + 1)) {
            (b'\'', _) => return has_line_end.then_some(at + 1),
            (b'\n' | b'\r', _) => has_line_end = true,
            (byte, _) if is_space(*byte) => {}
            (b'-', Some(b'-')) => {
                at += bytes[at..].iter().position(|byte| matches!(byte, b'\n' | b'\r'))?;
                has_line_end = true;
            }
            _ => return None,
        }
        at += 1;
    }
}

/// The length of `$$` or `$tag$` at this place.
fn dollar_tag(bytes: &[u8], start: usize) -> Option<usize> {
    let rest = &bytes[start + 1..];
    let length = rest.iter().position(|byte| !(is_word_start(*byte) || byte.is_ascii_digit()))?;
    (rest[length] == b'$').then_some(length + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(sql: &str) -> Vec<(LexKind, &str)> {
        let mut lexer = Lexer::new(sql);
        let mut found = Vec::new();
        while let Some(lexeme) = lexer.next().unwrap() {
            found.push((lexeme.kind, &sql[lexeme.span]));
        }
        found
    }

    #[test]
    fn strings_and_comments_are_single_pieces() {
        use LexKind::{BlockComment, LineComment, Number, Quoted, Symbol, Text, Word};
        assert_eq!(
            pieces("\u{feff}a$1 'x''y' E'\\'' $$;$$ $t$ $$ $t$ -- c;\r/* /* ; */ */\"d\"\"e\" $1 1.5e-3-- x"),
            [
                (Word, "a$1"),
                (Text, "'x''y'"),
                (Text, "E'\\''"),
                (Text, "$$;$$"),
                (Text, "$t$ $$ $t$"),
                (LineComment, "-- c;"),
                (BlockComment, "/* /* ; */ */"),
                (Quoted, "\"d\"\"e\""),
                (Number, "$1"),
                (Number, "1.5e-3"),
                (LineComment, "-- x"),
            ]
        );
        assert_eq!(pieces("é$é/x"), [(Word, "é$é"), (Symbol('/'), "/"), (Word, "x")]);
        assert_eq!(pieces("u&'a' U&\"b\" B'01'").len(), 3);
        assert_eq!(pieces("E'a\\'' -- b'\n'c\\';'' d'"), [(Text, "E'a\\'' -- b'\n'c\\';'' d'")]);
        assert_eq!(pieces("E'a' 'b'\n'c\\'").len(), 3);
    }

    #[test]
    fn what_does_not_end_is_named_at_its_opener() {
        for (sql, what, place) in [
            ("a 'b", "string", "'"),
            ("E'b\\'", "string", "E'"),
            ("x'b", "string", "x'"),
            ("a \"b", "quoted name", "\""),
            ("U&\"b", "quoted name", "U&\""),
            ("/* /* */ x", "comment", "/*"),
            ("$x$ $$ $y$", "dollar-quoted string", "$x$"),
        ] {
            let mut lexer = Lexer::new(sql);
            let open = loop {
                match lexer.next() {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("{sql} has an end"),
                    Err(open) => break open,
                }
            };
            assert_eq!((open.what, &sql[open.span]), (what, place));
        }
    }
}
