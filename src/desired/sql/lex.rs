//! Cuts a SQL file into lexemes and comments in one pass, by the rules of PostgreSQL's own scanner. Never looks back,
//! so the work is linear in the size of the file.

use std::ops::Range;

use super::split::DEPTH_MAX;
use crate::sql::token::{
    CommentError, comment_end, dollar_tag, escaped_end, is_space, is_word_start, line_end, number_end, quoted_end,
    word_end,
};

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
            b'-' if following == Some(b'-') => (LexKind::LineComment, line_end(bytes, start)),
            b'/' if following == Some(b'*') => {
                let end = comment_end(bytes, start, DEPTH_MAX).map_err(|error| match error {
                    CommentError::Open => open("comment", start..start + 2),
                    CommentError::Deep => open(DEEP_COMMENT, start..start + 2),
                })?;
                (LexKind::BlockComment, end)
            }
            b'"' => (LexKind::Quoted, self.quoted(start, start + 1, b'"')?),
            b'\'' => (LexKind::Text, self.quoted(start, start + 1, b'\'')?),
            b'e' | b'E' if following == Some(b'\'') => {
                let end = escaped_end(bytes, start + 2).ok_or_else(|| open("string", start..start + 2))?;
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
            byte if is_word_start(byte) => (LexKind::Word, word_end(bytes, start)),
            // All bytes from 0x80 on are letters to PostgreSQL, so this one is ASCII.
            byte => (LexKind::Symbol(char::from(byte)), start + 1),
        };
        self.at = end;
        Ok(Some(Lexeme { kind, span: start..end }))
    }

    /// The end of the line that this place is on, newline left out.
    pub(super) fn line_end(&self, at: usize) -> usize {
        line_end(self.sql.as_bytes(), at)
    }

    fn quoted(&self, start: usize, at: usize, quote: u8) -> Result<usize, Open> {
        let what = if quote == b'"' { "quoted name" } else { "string" };
        quoted_end(self.sql.as_bytes(), at, quote).ok_or_else(|| open(what, start..at))
    }
}

fn open(what: &'static str, span: Range<usize>) -> Open {
    Open { what, span }
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
