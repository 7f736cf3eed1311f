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
        let kind = if byte.is_ascii_whitespace() {
            at += 1;
            continue;
        } else if bytes[at..].starts_with(b"--") {
            at = sql[at..].find('\n').map_or(bytes.len(), |offset| at + offset);
            continue;
        } else if bytes[at..].starts_with(b"/*") {
            at = comment_end(bytes, at).ok_or(TokenError::Open("the comment", start))?;
            continue;
        } else if byte == b'"' {
            let (value, end) = quoted(sql, at, '"').ok_or(TokenError::Open("the quoted name", start))?;
            at = end;
            TokenKind::Quoted(value)
        } else if byte == b'\'' {
            let (value, end) = quoted(sql, at, '\'').ok_or(TokenError::Open("the string", start))?;
            at = end;
            TokenKind::Text(value)
        } else if (byte == b'e' || byte == b'E') && bytes.get(at + 1) == Some(&b'\'') {
            let end = escaped_end(bytes, at + 2).ok_or(TokenError::Open("the string", start))?;
            at = end;
            TokenKind::Text(sql[start..end].to_owned())
        } else if matches!(byte, b'b' | b'B' | b'x' | b'X' | b'n' | b'N') && bytes.get(at + 1) == Some(&b'\'') {
            let (_, end) = quoted(sql, at + 1, '\'').ok_or(TokenError::Open("the string", start))?;
            at = end;
            TokenKind::Text(sql[start..end].to_owned())
        } else if (byte == b'u' || byte == b'U') && matches!(bytes.get(at + 1..at + 3), Some(b"&'" | b"&\"")) {
            let quote = char::from(bytes[at + 2]);
            let (_, end) = quoted(sql, at + 2, quote).ok_or(TokenError::Open("the string", start))?;
            at = end;
            TokenKind::Text(sql[start..end].to_owned())
        } else if let Some(tag) = dollar_tag(sql, at) {
            let body = at + tag.len();
            let length = sql[body..].find(tag).ok_or(TokenError::Open("the dollar-quoted string", start))?;
            at = body + length + tag.len();
            TokenKind::Text(sql[body..body + length].to_owned())
        } else if is_word_start(byte) {
            while at < bytes.len() && is_word_part(bytes[at]) {
                at += 1;
            }
            TokenKind::Word(sql[start..at].to_ascii_lowercase())
        } else if byte.is_ascii_digit() || byte == b'$' || (byte == b'.' && digit_at(bytes, at + 1)) {
            at = number_end(bytes, at);
            TokenKind::Number
        } else if bytes[at..].starts_with(b"::") || bytes[at..].starts_with(b"=>") {
            at += 2;
            TokenKind::Symbol(sql[start..at].to_owned())
        } else {
            at += 1;
            TokenKind::Symbol(sql[start..at].to_owned())
        };
        found.push(Token { kind, start, end: at });
    }
    Ok(found)
}

fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_word_part(byte: u8) -> bool {
    is_word_start(byte) || byte.is_ascii_digit() || byte == b'$'
}

fn digit_at(bytes: &[u8], at: usize) -> bool {
    bytes.get(at).is_some_and(u8::is_ascii_digit)
}

fn number_end(bytes: &[u8], mut at: usize) -> usize {
    at += 1;
    while at < bytes.len() {
        let exponent_sign = matches!(bytes[at], b'+' | b'-') && matches!(bytes[at - 1], b'e' | b'E');
        if !(bytes[at].is_ascii_alphanumeric() || bytes[at] == b'.' || bytes[at] == b'_' || exponent_sign) {
            break;
        }
        at += 1;
    }
    at
}

/// Block comments nest in PostgreSQL.
fn comment_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = start;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += 1;
        }
    }
    None
}

/// The value between quotes that are doubled inside, and the byte after the closing one.
fn quoted(sql: &str, start: usize, quote: char) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut chars = sql[start + 1..].char_indices().peekable();
    while let Some((offset, c)) = chars.next() {
        if c != quote {
            value.push(c);
        } else if chars.peek().is_some_and(|&(_, next)| next == quote) {
            value.push(quote);
            chars.next();
        } else {
            return Some((value, start + 1 + offset + 1));
        }
    }
    None
}

/// The end of a string in which a backslash escapes, from `at` inside of its quotes; none when it is not closed.
pub fn escaped_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'\'' if bytes.get(at + 1) == Some(&b'\'') => at += 2,
            b'\'' => return Some(at + 1),
            _ => at += 1,
        }
    }
    None
}

/// `$$` or `$tag$` at this place.
fn dollar_tag(sql: &str, at: usize) -> Option<&str> {
    let rest = sql[at..].strip_prefix('$')?;
    let length = rest.find('$')?;
    let tag = &rest[..length];
    let legal = tag.bytes().all(|byte| is_word_start(byte) || byte.is_ascii_digit()) && !digit_at(tag.as_bytes(), 0);
    legal.then(|| &sql[at..at + length + 2])
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
