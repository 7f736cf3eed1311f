//! The parser that pest makes of the statements of a plan.
#![allow(missing_docs)]

use pest::Parser as _;
use pest::iterators::Pair;

use crate::sql::token::{Token, tokens};

#[derive(pest_derive::Parser)]
#[grammar = "../grammar/lexical.pest"]
#[grammar = "../grammar/typename.pest"]
#[grammar = "../grammar/ddl.pest"]
#[grammar = "../grammar/plan.pest"]
struct Grammar;

/// Brackets and CASE inside of each other; pest needs stack for each.
const DEPTH_MAX: usize = 200;

/// Why a text is not the statement that it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// Its tokens cannot even be told apart, or nest too deep.
    #[error("{0}")]
    Tokens(String),
    /// It is another statement, or more than one.
    #[error("at byte {0} it goes on otherwise")]
    Other(usize),
    /// It takes over an index instead of making one.
    #[error("it takes over an index")]
    UsingIndex,
}

/// Parses one whole statement and returns what its marked parts say, in the order of the text.
///
/// # Errors
/// When the text is not exactly one statement of this rule.
pub(super) fn parts(rule: Rule, sql: &str) -> Result<Vec<&str>, ShapeError> {
    let list = tokens(sql).map_err(|error| ShapeError::Tokens(error.to_string()))?;
    if depth(&list) > DEPTH_MAX {
        return Err(ShapeError::Tokens(format!("it nests deeper than {DEPTH_MAX} levels")));
    }
    let failed = |error: pest::error::Error<Rule>| match error.location {
        pest::error::InputLocation::Pos(at) | pest::error::InputLocation::Span((at, _)) => ShapeError::Other(at),
    };
    let mut found = Vec::new();
    for pair in Grammar::parse(rule, sql).map_err(failed)? {
        collect(pair, &mut found)?;
    }
    Ok(found)
}

fn collect<'t>(pair: Pair<'t, Rule>, found: &mut Vec<&'t str>) -> Result<(), ShapeError> {
    match pair.as_rule() {
        Rule::the_table
        | Rule::the_column
        | Rule::the_name
        | Rule::the_string
        | Rule::the_type
        | Rule::the_group
        | Rule::the_default
        | Rule::the_expr
        | Rule::the_value
        | Rule::the_flag
        | Rule::the_only
        | Rule::the_option
        | Rule::the_right
        | Rule::the_trigger_word
        | Rule::the_policy_word
        | Rule::the_attributes
        | Rule::the_body
        | Rule::the_query
        | Rule::the_rows_query
        | Rule::the_public
        | Rule::the_identity
        | Rule::the_word
        | Rule::the_number
        | Rule::the_method
        | Rule::the_bound
        | Rule::constraint_name
        | Rule::attr_not_valid => {
            found.push(pair.as_str().trim());
            Ok(())
        }
        Rule::using_index => Err(ShapeError::UsingIndex),
        _ => pair.into_inner().try_for_each(|inner| collect(inner, found)),
    }
}

fn depth(list: &[Token]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for token in list {
        if token.is("(") || token.is("[") || token.word() == Some("case") {
            depth += 1;
        } else if token.is(")") || token.is("]") || token.word() == Some("end") {
            depth = depth.saturating_sub(1);
        }
        deepest = deepest.max(depth);
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_statement_and_no_more() {
        let good = "ALTER TABLE \"a\".\"t\" ADD CONSTRAINT \"c\" CHECK (\"x\" > 0) NOT VALID";
        assert_eq!(parts(Rule::new_constraint, good).unwrap(), ["\"a\".\"t\"", "\"c\"", "NOT VALID"]);
        for more in ["; DROP TABLE x", ", DROP COLUMN y", " CHECK (true)", " \u{a0}"] {
            assert!(parts(Rule::new_constraint, &format!("{good}{more}")).is_err(), "{more}");
        }
        let copy = "COPY (SELECT \"x\" IS DISTINCT FROM 1 AS \"y\" FROM ONLY \"a\".\"t\" WHERE $ctid_range) TO STDOUT WITH (FORMAT text)";
        assert_eq!(parts(Rule::copy_out, copy).unwrap()[0], "\"x\" IS DISTINCT FROM 1");
        assert!(parts(Rule::copy_out, &copy.replace("1 AS", "1 UNION SELECT 2 AS")).is_err());
        assert!(parts(Rule::copy_out, &copy.replace("1 AS", "1 FROM s AS")).is_err());
    }

    #[test]
    fn deep_nesting_is_refused_before_it_is_parsed() {
        let deep = format!("SELECT CAST({}1{} AS integer) AS \"x\"", "(".repeat(100_000), ")".repeat(100_000));
        assert!(matches!(parts(Rule::freeze, &deep), Err(ShapeError::Tokens(_))));
        let fine = format!("SELECT CAST({}1{} AS integer) AS \"x\"", "(".repeat(150), ")".repeat(150));
        assert_eq!(parts(Rule::freeze, &fine).unwrap().len(), 3);
    }
}
