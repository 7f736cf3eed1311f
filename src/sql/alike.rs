//! Whether two texts of SQL say the same in spite of quotes, blanks and brackets. A `false` may be wrong, a `true` not.

use crate::sql::rewrite::{sequences, sequences_named, skeleton};
use crate::sql::token::TokenError;

/// True when the texts differ in nothing that has a meaning: in quotes, blanks, `pg_catalog.`, or brackets where there is
/// no more than one operator that they could group.
pub fn alike(one: &str, other: &str) -> bool {
    one == other || parts(one).is_ok_and(|one| parts(other).is_ok_and(|other| one == other))
}

fn parts(text: &str) -> Result<Vec<String>, TokenError> {
    let own = sequences_named(text)?.into_iter().map(|name| (name.clone(), name)).collect();
    let parts = skeleton(&sequences(text, &own)?)?;
    let is_operator = |part: &&String| {
        part.chars().all(|c| "+-*/<>=~!@#%^&|`?".contains(c)) || ["and", "or", "not"].contains(&part.as_str())
    };
    // `>=` is two parts, and a sign behind an operator belongs to what follows: what counts is runs of them.
    let operators: Vec<bool> = parts.iter().filter(|part| *part != "(").map(|part| is_operator(&part)).collect();
    let starts = operators.iter().enumerate().filter(|&(at, is)| *is && (at == 0 || !operators[at - 1])).count();
    if starts > 1 {
        return Ok(parts);
    }
    Ok(parts.into_iter().filter(|part| part != "(" && part != ")").collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_count_where_operators_could_be_grouped() {
        assert!(alike("CHECK ((total >= 0))", "CHECK (\"total\" >= 0)"));
        assert!(alike("((lower(code)))", "(lower(\"code\"))"));
        assert!(alike("nextval('public.s'::regclass)", "nextval('\"public\".\"s\"'::pg_catalog.regclass)"));
        assert!(!alike("(a + b) * c", "a + (b * c)"));
        assert!(!alike("a > 1", "a > 2"));
        assert!(!alike("\"A\" > 1", "\"a\" > 1"));
    }
}
