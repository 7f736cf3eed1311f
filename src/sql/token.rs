//! Cuts SQL text into tokens: enough to find identifiers without being fooled by strings, comments and quotes.

/// A token; its text is `&sql[start..end]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// First byte.
    pub start: usize,
    /// Byte after the last.
    pub end: usize,
}

/// Kinds of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenKind {
    /// An unquoted word, folded to lower case as PostgreSQL does.
    Word(String),
    /// A quoted identifier, unquoted.
    Quoted(String),
    /// A string constant of any kind (`'…'`, `E'…'`, `$tag$…$tag$`), with its value when it has no escapes.
    Text(String),
    /// A number or a parameter.
    Number,
    /// An operator character, bracket or punctuation mark; `::` and `=>` are one token.
    Symbol(String),
}

/// Why text is not SQL that can be read token by token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// A string, identifier or comment does not end.
    #[error("{0} at byte {1} has no end")]
    Open(&'static str, usize),
}

impl Token {
    /// The name, when it can be one.
    pub fn name(&self) -> Option<&str> {
        match &self.kind {
            TokenKind::Word(name) | TokenKind::Quoted(name) => Some(name),
            TokenKind::Text(_) | TokenKind::Number | TokenKind::Symbol(_) => None,
        }
    }

    /// The unquoted word.
    pub fn word(&self) -> Option<&str> {
        match &self.kind {
            TokenKind::Word(word) => Some(word),
            TokenKind::Quoted(_) | TokenKind::Text(_) | TokenKind::Number | TokenKind::Symbol(_) => None,
        }
    }

    /// True for this symbol.
    pub fn is(&self, symbol: &str) -> bool {
        matches!(&self.kind, TokenKind::Symbol(text) if text == symbol)
    }
}

/// Cuts `sql` into tokens, white space and comments left out.
pub fn tokens(sql: &str) -> Result<Vec<Token>, TokenError> {
    let bytes = sql.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        let byte = bytes[at];
        let following = bytes.get(at + 1).copied();
        let kind = if is_space(byte) {
            at += 1;
            continue;
        } else if byte == b'-' && following == Some(b'-') {
            at = line_end(bytes, at);
            continue;
        } else if byte == b'/' && following == Some(b'*') {
            at = comment_end(bytes, at, usize::MAX).map_err(|_| TokenError::Open("the comment", start))?;
            continue;
        } else if byte == b'"' {
            at = quoted_end(bytes, at + 1, b'"').ok_or(TokenError::Open("the quoted name", start))?;
            TokenKind::Quoted(sql[start + 1..at - 1].replace("\"\"", "\""))
        } else if byte == b'\'' {
            at = quoted_end(bytes, at + 1, b'\'').ok_or(TokenError::Open("the string", start))?;
            TokenKind::Text(sql[start + 1..at - 1].replace("''", "'"))
        } else if matches!(byte, b'e' | b'E') && following == Some(b'\'') {
            at = escaped_end(bytes, at + 2).ok_or(TokenError::Open("the string", start))?;
            TokenKind::Text(sql[start..at].to_owned())
        } else if matches!(byte, b'b' | b'B' | b'x' | b'X' | b'n' | b'N') && following == Some(b'\'') {
            at = quoted_end(bytes, at + 2, b'\'').ok_or(TokenError::Open("the string", start))?;
            TokenKind::Text(sql[start..at].to_owned())
        } else if matches!(byte, b'u' | b'U') && matches!(bytes.get(at + 1..at + 3), Some(b"&'" | b"&\"")) {
            at = quoted_end(bytes, at + 3, bytes[at + 2]).ok_or(TokenError::Open("the string", start))?;
            TokenKind::Text(sql[start..at].to_owned())
        } else if let Some(length) = dollar_tag(bytes, at) {
            let body = at + length;
            let tag = &sql[at..body];
            let length = sql[body..].find(tag).ok_or(TokenError::Open("the dollar-quoted string", start))?;
            at = body + length + tag.len();
            TokenKind::Text(sql[body..body + length].to_owned())
        } else if is_word_start(byte) {
            at = word_end(bytes, at);
            TokenKind::Word(sql[start..at].to_ascii_lowercase())
        } else if byte.is_ascii_digit() || byte == b'$' || (byte == b'.' && digit_at(bytes, at + 1)) {
            at = number_end(bytes, at);
            TokenKind::Number
        } else if bytes[at..].starts_with(b"::") || bytes[at..].starts_with(b"=>") {
            at += 2;
            TokenKind::Symbol(sql[start..at].to_owned())
        } else {
            // All bytes from 0x80 on are letters to PostgreSQL, so this one is ASCII.
            at += 1;
            TokenKind::Symbol(sql[start..at].to_owned())
        };
        found.push(Token { kind, start, end: at });
    }
    Ok(found)
}

/// White space by PostgreSQL's scanner.
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// What a word can begin with.
pub(crate) fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

/// The end of the word that starts here.
pub(crate) fn word_end(bytes: &[u8], start: usize) -> usize {
    let is_part = |byte: &u8| is_word_start(*byte) || byte.is_ascii_digit() || *byte == b'$';
    bytes[start..].iter().position(|byte| !is_part(byte)).map_or(bytes.len(), |length| start + length)
}

fn digit_at(bytes: &[u8], at: usize) -> bool {
    bytes.get(at).is_some_and(u8::is_ascii_digit)
}

/// The end of the number or parameter that starts here.
pub(crate) fn number_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        // Without a digit behind it the sign is no part of the number: `1e--` ends in a comment.
        let exponent_sign =
            matches!(bytes[at], b'+' | b'-') && matches!(bytes[at - 1], b'e' | b'E') && digit_at(bytes, at + 1);
        if !(bytes[at].is_ascii_alphanumeric() || matches!(bytes[at], b'.' | b'_') || exponent_sign) {
            break;
        }
        at += 1;
    }
    at
}

/// The end of the line that this place is on, line end left out.
pub(crate) fn line_end(bytes: &[u8], at: usize) -> usize {
    let length = bytes[at..].iter().position(|byte| matches!(byte, b'\n' | b'\r'));
    length.map_or(bytes.len(), |length| at + length)
}

/// Why a block comment has no end that anybody should look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommentError {
    /// It is not closed.
    Open,
    /// Comments inside of it nest too deep.
    Deep,
}

/// The end of a block comment: they nest in PostgreSQL.
pub(crate) fn comment_end(bytes: &[u8], start: usize, depth_max: usize) -> Result<usize, CommentError> {
    let mut depth = 0_usize;
    let mut at = start;
    while at + 1 < bytes.len() {
        match (bytes[at], bytes[at + 1]) {
            (b'/', b'*') => {
                depth += 1;
                at += 2;
                if depth > depth_max {
                    return Err(CommentError::Deep);
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
    Err(CommentError::Open)
}

/// The byte after the closing quote, from inside of quotes that are doubled there; none when they are not closed.
pub(crate) fn quoted_end(bytes: &[u8], mut at: usize, quote: u8) -> Option<usize> {
    loop {
        match bytes.get(at)? {
            byte if *byte != quote => at += 1,
            _ if bytes.get(at + 1) == Some(&quote) => at += 2,
            _ => return Some(at + 1),
        }
    }
}

/// The end of a string in which a backslash escapes, from `at` inside of its quotes; none when it is not closed. On the
/// next line it goes on as it began: with escapes.
pub(crate) fn escaped_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match bytes.get(at)? {
            b'\\' => at += 2,
            b'\'' if bytes.get(at + 1) == Some(&b'\'') => at += 2,
            b'\'' => match continued(bytes, at + 1) {
                Some(part) => at = part,
                None => return Some(at + 1),
            },
            _ => at += 1,
        }
    }
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
                at = line_end(bytes, at);
                has_line_end = true;
            }
            _ => return None,
        }
        at += 1;
    }
}

/// The length of `$$` or `$tag$` at this place.
pub(crate) fn dollar_tag(bytes: &[u8], start: usize) -> Option<usize> {
    let rest = bytes[start..].strip_prefix(b"$")?;
    let length = rest.iter().position(|byte| !(is_word_start(*byte) || byte.is_ascii_digit()))?;
    (rest[length] == b'$' && !digit_at(rest, 0)).then_some(length + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(sql: &str) -> Vec<String> {
        let found = tokens(sql).unwrap();
        found
            .into_iter()
            .filter_map(|token| if let TokenKind::Word(word) = token.kind { Some(word) } else { None })
            .collect()
    }

    #[test]
    fn strings_and_comments_hide_names() {
        assert_eq!(words("a || 'b' || E'c\\'d' || $$e$$ || $x$ f $$ $x$ -- g\n/* h /* i */ j */ K"), ["a", "k"]);
        assert_eq!(words("x'1f' + B'01' + U&'\\0061' + N'n' + e"), ["e"]);
    }

    /// On the next line a string goes on as it began.
    #[test]
    fn a_string_goes_on_with_its_own_rules() {
        for one in [
            "E'a'\n'b\\'c'",
            "e'a'\r'b\\'c'",
            "E'a' -- d'\n  -- e\n'b\\'c'",
            "E'a'\n''\n'\\'c'",
            "E'a\\''\t\r\n\u{b}'b\\'c'",
        ] {
            let found = tokens(one).unwrap();
            assert_eq!((found.len(), found[0].end), (1, one.len()), "{one:?}: {found:?}");
        }
        // A plain string knows no escapes on the next line either, and without a line's end nothing goes on.
        for two in ["'a'\n'b\\'", "U&'a'\n'b\\'", "E'a' 'b\\'", "E'a' /*\n*/ 'b\\'"] {
            assert_eq!(tokens(two).unwrap().len(), 2, "{two:?}");
        }
        assert!(tokens("E'a'\n'b\\'").is_err());
    }

    #[test]
    fn comments_end_and_spaces_are_those_of_the_server() {
        assert_eq!(words("a -- b\rc"), ["a", "c"]);
        assert_eq!(words("a\u{b}b"), ["a", "b"]);
        // Before 15: a number, a name and a comment.
        assert_eq!(tokens("1e--x").unwrap().len(), 1);
        assert_eq!(tokens("1e-x").unwrap().len(), 3);
    }

    #[test]
    fn numbers_parameters_and_casts() {
        let kinds: Vec<_> =
            tokens("1.5e-3+$1::int4").unwrap().into_iter().map(|token| (token.kind, token.end - token.start)).collect();
        assert_eq!(kinds[0], (TokenKind::Number, 6));
        assert_eq!(kinds[2], (TokenKind::Number, 2));
        assert_eq!(kinds[3], (TokenKind::Symbol("::".to_owned()), 2));
    }

    #[test]
    fn quoted_names_keep_case_and_quotes() {
        assert_eq!(tokens("\"a\"\"B\"").unwrap()[0].kind, TokenKind::Quoted("a\"B".to_owned()));
        assert!(tokens("\"open").is_err());
        assert!(tokens("'open").is_err());
        assert!(tokens("/* /* */").is_err());
        assert!(tokens("$a$ open").is_err());
    }
}
