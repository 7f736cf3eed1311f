//! CREATE FUNCTION: the server's own text of a function that triggers call, in parts and written again.

use crate::catalog::{FunctionDef, QualifiedName};
use crate::sql::name;
use crate::sql::token::{Token, TokenError, TokenKind, tokens};

/// Attributes that give a function more than whoever calls it has, or change what the planner may believe of it.
const REFUSED: &[&str] = &["security", "leakproof", "support", "transform", "window", "returns", "language"];

/// Why a function is not made again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FunctionError {
    /// It cannot even be read token by token.
    #[error("its definition cannot be read: {0}")]
    Tokens(#[from] TokenError),
    /// It goes on otherwise than known forms do.
    #[error("pcrd does not know every part of its definition")]
    Unknown,
    /// An attribute that is not carried.
    #[error("it has the attribute {0}")]
    Attribute(String),
}

/// Takes apart what `pg_get_functiondef` writes of a function in PL/pgSQL without arguments that returns a trigger.
pub fn parse(definition: &str) -> Result<FunctionDef, FunctionError> {
    let list = tokens(definition)?;
    let words = |at: usize, wanted: &[&str]| {
        wanted.iter().enumerate().all(|(n, word)| list.get(at + n).and_then(Token::word) == Some(*word))
    };
    let is = |at: usize, symbol: &str| list.get(at).is_some_and(|token| token.is(symbol));
    let is_name = |at: usize| list.get(at).is_some_and(|token| token.name().is_some());
    let head = words(0, &["create", "or", "replace", "function"]) && is_name(4) && is(5, ".") && is_name(6);
    if !head || !is(7, "(") || !is(8, ")") || !words(9, &["returns", "trigger", "language", "plpgsql"]) {
        return Err(FunctionError::Unknown);
    }
    let first = 13;
    let as_at = (first..list.len()).find(|at| list[*at].word() == Some("as")).ok_or(FunctionError::Unknown)?;
    let refused = list[first..as_at].iter().filter_map(Token::word).find(|word| REFUSED.contains(word));
    if let Some(word) = refused {
        return Err(FunctionError::Attribute(word.to_uppercase()));
    }
    let body = match list.get(as_at + 1) {
        Some(Token { kind: TokenKind::Text(body), start, .. }) if definition[*start..].starts_with('$') => body.clone(),
        _ => return Err(FunctionError::Unknown),
    };
    if list.len() > as_at + 2 {
        return Err(FunctionError::Unknown);
    }
    let attributes = definition[list[first - 1].end..list[as_at].start].trim().to_owned();
    Ok(FunctionDef { attributes, body })
}

/// `CREATE FUNCTION`, which fails where there is one.
pub fn create(function: &QualifiedName, def: &FunctionDef) -> String {
    let space = if def.attributes.is_empty() { "" } else { " " };
    let (name, attributes, body) = (name(function), &def.attributes, quoted(&def.body));
    format!("CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql{space}{attributes} AS {body}")
}

/// `DROP FUNCTION`.
pub fn drop_function(function: &QualifiedName) -> String {
    format!("DROP FUNCTION {}()", name(function))
}

/// A body between two tags that it does not have.
pub fn quoted(body: &str) -> String {
    let mut tag = "$pcrd".to_owned();
    while body.contains(&tag) {
        tag.push('x');
    }
    format!("{tag}${body}{tag}$")
}

/// True when both are the same, whatever blanks and quotes a server writes in attributes: `SET search_path TO app, "a b"` is
/// `TO 'app', 'a b'` in later versions.
pub fn is_same(one: &FunctionDef, other: &FunctionDef) -> bool {
    let shown = |text: &str, token: &Token| match &token.kind {
        TokenKind::Word(value) | TokenKind::Quoted(value) | TokenKind::Text(value) => value.clone(),
        TokenKind::Number | TokenKind::Symbol(_) => text[token.start..token.end].to_owned(),
    };
    let bare =
        |text: &str| tokens(text).map(|list| list.iter().map(|token| shown(text, token)).collect::<Vec<String>>());
    one.body == other.body
        && bare(&one.attributes).is_ok_and(|one| bare(&other.attributes).is_ok_and(|other| one == other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(attributes: &str, body: &str) -> String {
        format!(
            "CREATE OR REPLACE FUNCTION app.\"f()\"()\n RETURNS trigger\n LANGUAGE plpgsql\n{attributes}AS $function${body}$function$\n"
        )
    }

    #[test]
    fn what_the_server_writes_is_made_and_replaces_nothing() {
        let function = QualifiedName::new("app", "f()").unwrap();
        let text =
            written(" STABLE COST 5\n SET search_path TO 'a s', 'public'\n", "BEGIN\n  RETURN '$pcrd'; -- as\nEND");
        let def = parse(&text).unwrap();
        assert_eq!(
            create(&function, &def),
            "CREATE FUNCTION \"app\".\"f()\"() RETURNS trigger LANGUAGE plpgsql STABLE COST 5\n SET search_path TO 'a s', 'public' \
             AS $pcrdx$BEGIN\n  RETURN '$pcrd'; -- as\nEND$pcrdx$"
        );
        let again =
            FunctionDef { attributes: "STABLE  COST 5 SET search_path TO \"a s\",public".to_owned(), ..def.clone() };
        assert!(is_same(&def, &again) && !is_same(&def, &FunctionDef { body: "BEGIN END".to_owned(), ..def.clone() }));
        assert!(!is_same(&def, &FunctionDef { attributes: String::new(), ..def.clone() }));
    }

    #[test]
    fn what_gives_more_or_is_not_known_stays() {
        assert_eq!(parse(&written(" SECURITY DEFINER\n", "x")), Err(FunctionError::Attribute("SECURITY".to_owned())));
        assert_eq!(parse(&written(" LEAKPROOF\n", "x")), Err(FunctionError::Attribute("LEAKPROOF".to_owned())));
        for text in [
            written("", "x").replace("plpgsql", "c"),
            written("", "x").replace("f()\"()", "f\"(a integer)"),
            written("", "x").replace("$function$x$function$", "'/lib/x', 'y'"),
            format!("{}; DROP TABLE x", written("", "x")),
        ] {
            assert_eq!(parse(&text), Err(FunctionError::Unknown), "{text}");
        }
    }
}
