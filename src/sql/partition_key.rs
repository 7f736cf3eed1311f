//! The partition key of a table, and the bounds of its partitions, in the text that the server has of them.

use crate::catalog::{Ident, PartitionBy, PartitionMethod};
use crate::sql::token::{Token, TokenKind, tokens};

/// Reads what `pg_get_partkeydef` gives. `None` where it has more than columns: an expression, a collation or an operator class
/// that is not the column's.
pub fn partition_by(text: &str) -> Option<PartitionBy> {
    let list = tokens(text).ok()?;
    let (first, rest) = list.split_first()?;
    let method = match first.word()? {
        "range" => PartitionMethod::Range,
        "list" => PartitionMethod::List,
        "hash" => PartitionMethod::Hash,
        _ => return None,
    };
    let (open, rest) = rest.split_first()?;
    let (close, inside) = rest.split_last()?;
    if !open.is("(") || !close.is(")") {
        return None;
    }
    let column = |element: &[Token]| match element {
        [one] => Ident::new(one.name()?.to_owned()).ok(),
        _ => None,
    };
    let columns: Option<Vec<Ident>> = inside.split(|token| token.is(",")).map(column).collect();
    Some(PartitionBy { method, columns: columns? })
}

/// A bound consists of constants alone, as `pg_get_expr` writes them.
pub fn is_plain_bound(text: &str) -> bool {
    const WORDS: [&str; 14] = [
        "for",
        "values",
        "in",
        "from",
        "to",
        "with",
        "modulus",
        "remainder",
        "minvalue",
        "maxvalue",
        "null",
        "true",
        "false",
        "default",
    ];
    let is_plain = |token: &Token| match &token.kind {
        TokenKind::Word(word) => WORDS.contains(&word.as_str()),
        TokenKind::Text(_) | TokenKind::Number => true,
        TokenKind::Symbol(symbol) => matches!(symbol.as_str(), "(" | ")" | "," | "-"),
        TokenKind::Quoted(_) => false,
    };
    tokens(text).is_ok_and(|list| !list.is_empty() && list.iter().all(is_plain))
}

/// The words of a bound, to compare it with another: the server quotes the literals of a wider integer.
pub fn bound_words(text: &str) -> Vec<String> {
    let word = |token: &Token| match &token.kind {
        TokenKind::Text(quoted) if quoted.parse::<i64>().is_ok() => quoted.clone(),
        _ => text[token.start..token.end].to_owned(),
    };
    tokens(text).map_or_else(|_| vec![text.to_owned()], |list| list.iter().map(word).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_columns_and_nothing_else() {
        let read = |text: &str| {
            let by = partition_by(text)?;
            Some((by.method, by.columns.iter().map(ToString::to_string).collect::<Vec<_>>().join("|")))
        };
        assert_eq!(read("RANGE (at)"), Some((PartitionMethod::Range, "at".to_owned())));
        let hostile = partition_by("LIST (\"a, b\", \"c\"\"d\")").unwrap();
        let names: Vec<&str> = hostile.columns.iter().map(Ident::as_str).collect();
        assert_eq!((hostile.method, names), (PartitionMethod::List, vec!["a, b", "c\"d"]));
        assert_eq!(read("HASH (id, tenant)").map(|(method, _)| method), Some(PartitionMethod::Hash));
        for more in
            ["RANGE (lower(a))", "LIST (a COLLATE \"C\")", "HASH (a int4_ops)", "RANGE ()", "RANGE (a", "TREE (a)", ""]
        {
            assert_eq!(read(more), None, "{more}");
        }
    }

    #[test]
    fn a_bound_is_constants_and_nothing_else() {
        for plain in [
            "DEFAULT",
            "FOR VALUES FROM (MINVALUE, '2024-01-01') TO ('10', MAXVALUE)",
            "FOR VALUES IN ('a''b', NULL, true, -5)",
            "FOR VALUES WITH (modulus 4, remainder 3)",
        ] {
            assert!(is_plain_bound(plain), "{plain}");
        }
        for other in ["", "FOR VALUES FROM (now()) TO (1)", "FOR VALUES IN (\"x\")", "DEFAULT; DROP TABLE t"] {
            assert!(!is_plain_bound(other), "{other}");
        }
    }

    #[test]
    fn bounds_are_compared_by_their_constants() {
        let is_same = |one: &str, other: &str| bound_words(one) == bound_words(other);
        assert!(is_same("FOR VALUES FROM (10) TO (MAXVALUE)", "FOR VALUES FROM ('10') TO (MAXVALUE)"));
        assert!(is_same("FOR VALUES IN ('-5')", "FOR VALUES IN ('-5')"));
        assert!(!is_same("FOR VALUES IN ('a', 'b')", "FOR VALUES IN ('a, b')"));
        assert!(!is_same("FOR VALUES IN ('null')", "FOR VALUES IN (NULL)"));
        assert!(!is_same("FOR VALUES IN ('a')", "FOR VALUES IN ('A')"));
    }
}
