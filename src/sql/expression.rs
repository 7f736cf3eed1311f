//! Text that stands inside our SQL must be one expression: it may not close our brackets, end the statement, or hide
//! the rest in a comment. What it means is PostgreSQL's to check.

use crate::sql::token::{Token, TokenError, TokenKind, tokens};

/// Why a text is not one expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// It does not even end.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// A bracket closes what it did not open, or stays open.
    #[error("its brackets do not match")]
    Brackets,
    /// A semicolon.
    #[error("it has a semicolon")]
    Semicolon,
    /// A comment.
    #[error("it has a comment")]
    Comment,
    /// A comma outside brackets.
    #[error("it has more than one value")]
    Comma,
}

/// Checks the shape of an expression.
///
/// # Errors
/// See [`ExpressionError`].
pub fn check_expression(sql: &str) -> Result<(), ExpressionError> {
    let list = tokens(sql)?;
    if list.is_empty() {
        return Err(ExpressionError::Empty);
    }
    let mut open = Vec::new();
    for token in &list {
        let TokenKind::Symbol(symbol) = &token.kind else { continue };
        match symbol.as_str() {
            "(" => open.push(")"),
            "[" => open.push("]"),
            ")" | "]" if open.pop() != Some(symbol.as_str()) => return Err(ExpressionError::Brackets),
            ";" => return Err(ExpressionError::Semicolon),
            "," if open.is_empty() => return Err(ExpressionError::Comma),
            _ => {}
        }
    }
    if !open.is_empty() {
        return Err(ExpressionError::Brackets);
    }
    if has_comment(sql, &list) { Err(ExpressionError::Comment) } else { Ok(()) }
}

/// Between tokens there is white space, or a comment.
fn has_comment(sql: &str, list: &[Token]) -> bool {
    let ends = std::iter::once(0).chain(list.iter().map(|token| token.end));
    let starts = list.iter().map(|token| token.start).chain([sql.len()]);
    ends.zip(starts).any(|(end, start)| !sql[end..start].trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_expression_and_no_more() {
        for sql in ["a", "f(a, b)[1]", "')' || \";\"", "CASE WHEN a THEN 'x--y' END", "$$;)$$"] {
            assert_eq!(check_expression(sql), Ok(()), "{sql}");
        }
        for (sql, error) in [
            ("a) AS bigint), (b", ExpressionError::Brackets),
            ("(a", ExpressionError::Brackets),
            ("(a]", ExpressionError::Brackets),
            ("a; DROP TABLE x", ExpressionError::Semicolon),
            ("a -- b", ExpressionError::Comment),
            ("a /* b */ + 1", ExpressionError::Comment),
            ("a, b", ExpressionError::Comma),
            ("1) OR (1", ExpressionError::Brackets),
            ("'' = E'a'\n'\\' || ') OR (true) --'", ExpressionError::Brackets),
            ("a = 1e--", ExpressionError::Comment),
            ("a = 'b", ExpressionError::Token(TokenError::Open("the string", 4))),
            ("a = $tag$b", ExpressionError::Token(TokenError::Open("the dollar-quoted string", 4))),
            ("a = $tag$b$tag$ OR $$c$$ = ')'; --", ExpressionError::Semicolon),
            (" ", ExpressionError::Empty),
        ] {
            assert_eq!(check_expression(sql), Err(error), "{sql}");
        }
    }
}
