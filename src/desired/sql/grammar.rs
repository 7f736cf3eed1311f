//! The parser that pest makes of grammar/: words, types, statements.
#![allow(missing_docs)]

use std::ops::Range;

use pest::Parser as _;
use pest::error::{ErrorVariant, InputLocation};
use pest::iterators::Pair;

use super::lex::Lexeme;
use crate::desired::problem::{Problem, ProblemKind, shown};

#[derive(pest_derive::Parser)]
#[grammar = "../grammar/lexical.pest"]
#[grammar = "../grammar/typename.pest"]
#[grammar = "../grammar/ddl.pest"]
struct Grammar;

/// A file and its lexemes, comments left out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'t> {
    pub(super) text: &'t str,
    pub(super) lexemes: &'t [Lexeme],
}

/// A node of the parse and where its statement starts in the file.
#[derive(Debug, Clone)]
pub(super) struct Node<'t> {
    pair: Pair<'t, Rule>,
    source: Source<'t>,
    base: usize,
}

impl<'t> Node<'t> {
    /// Parses the statement that stands there.
    ///
    /// # Errors
    /// The first place that does not fit, with what would have.
    pub(super) fn parse(rule: Rule, source: Source<'t>, span: Range<usize>) -> Result<Self, Problem> {
        let failed = |error| syntax_error(error, source, &span);
        let pair = Grammar::parse(rule, &source.text[span.clone()]).map_err(failed)?.next();
        let pair = pair.expect("a parse that succeeds has its rule's pair");
        Ok(Self { pair, source, base: span.start })
    }

    pub(super) fn rule(&self) -> Rule {
        self.pair.as_rule()
    }

    pub(super) fn text(&self) -> &'t str {
        &self.source.text[self.span()]
    }

    /// From the first to the last lexeme: pest counts the space and comments behind a node as part of it.
    pub(super) fn span(&self) -> Range<usize> {
        let start = self.base + self.pair.as_span().start();
        let end = self.base + self.pair.as_span().end();
        let behind = self.source.lexemes.partition_point(|lexeme| lexeme.span.end <= end);
        let end = behind.checked_sub(1).map_or(start, |last| self.source.lexemes[last].span.end);
        start..end.max(start)
    }

    pub(super) fn children(&self) -> impl Iterator<Item = Self> + use<'t> {
        let (source, base) = (self.source, self.base);
        self.pair.clone().into_inner().map(move |pair| Self { pair, source, base })
    }

    pub(super) fn child(&self, rule: Rule) -> Option<Self> {
        self.children().find(|child| child.rule() == rule)
    }

    pub(super) fn has(&self, rule: Rule) -> bool {
        self.child(rule).is_some()
    }

    /// A child that the rule cannot do without.
    pub(super) fn only_of(&self, rule: Rule) -> Self {
        self.child(rule).expect("the grammar demands it")
    }

    /// Where its keywords start, and the expressions and types, whose words are not looked at: they may as well be names.
    pub(super) fn keywords(&self) -> (Vec<usize>, Vec<Range<usize>>) {
        let (mut found, mut opaque) = (Vec::new(), Vec::new());
        let mut opaque_until = 0;
        for pair in self.pair.clone().into_inner().flatten() {
            let span = pair.as_span();
            if span.start() < opaque_until {
                continue;
            }
            match pair.as_rule() {
                Rule::a_expr | Rule::b_expr | Rule::group | Rule::parens | Rule::brackets | Rule::column_type => {
                    opaque_until = span.end();
                    opaque.push(self.base + span.start()..self.base + span.end());
                }
                rule if format!("{rule:?}").starts_with("k_") => found.push(self.base + span.start()),
                _ => {}
            }
        }
        (found, opaque)
    }

    /// Where the first node of one of these rules starts.
    pub(super) fn start_of(&self, rules: &[Rule]) -> Option<usize> {
        let mut all = self.pair.clone().into_inner().flatten();
        Some(self.base + all.find(|pair| rules.contains(&pair.as_rule()))?.as_span().start())
    }

    /// The only child of a rule that is a choice.
    pub(super) fn only(&self) -> Self {
        self.children().next().expect("the grammar demands it")
    }
}

fn syntax_error(error: pest::error::Error<Rule>, source: Source<'_>, span: &Range<usize>) -> Problem {
    let at = span.start
        + match error.location {
            InputLocation::Pos(at) | InputLocation::Span((at, _)) => at,
        };
    // Pest may fail inside a word or before a comment; the user sees the next word.
    let next = source.lexemes.partition_point(|lexeme| lexeme.span.end <= at);
    let place = source.lexemes.get(next).map(|lexeme| lexeme.span.clone()).filter(|place| place.end <= span.end);
    let (place, message) = match place {
        Some(place) => (place.clone(), format!("syntax error at `{}`", shown(&source.text[place]))),
        None => {
            let last = source.lexemes.partition_point(|lexeme| lexeme.span.end <= span.end).saturating_sub(1);
            let place = source.lexemes.get(last).map_or(span.clone(), |lexeme| lexeme.span.clone());
            (place, "syntax error: the statement ends too early".to_owned())
        }
    };
    let problem = Problem::at(ProblemKind::SqlSyntax, place, message, "PostgreSQL would not take this");
    let positives = match error.variant {
        ErrorVariant::ParsingError { positives, .. } => positives,
        // A limit of the parser itself.
        ErrorVariant::CustomError { message } => {
            let start = source.lexemes.partition_point(|lexeme| lexeme.span.end <= span.start);
            let place = source.lexemes.get(start).map_or(span.clone(), |lexeme| lexeme.span.clone());
            let message = format!("the statement cannot be read: {message}");
            return Problem::at(ProblemKind::SqlTooDeep, place, message, "this statement");
        }
    };
    match expected(&positives) {
        Some(expected) => problem.help(format!("expected {expected}")),
        None => problem,
    }
}

/// What the grammar would have taken, in words; `None` when there is too much of it to help.
fn expected(rules: &[Rule]) -> Option<String> {
    const WORDS_MAX: usize = 6;
    let mut words: Vec<String> = rules.iter().filter_map(|rule| in_words(*rule)).collect();
    words.sort();
    words.dedup();
    let last = words.pop()?;
    if words.len() >= WORDS_MAX {
        return None;
    }
    if words.is_empty() { Some(last) } else { Some(format!("{} or {last}", words.join(", "))) }
}

fn in_words(rule: Rule) -> Option<String> {
    let name = format!("{rule:?}");
    if let Some(word) = name.strip_prefix("k_") {
        return Some(word.to_ascii_uppercase());
    }
    let words = match rule {
        Rule::EOI => "the end of the statement",
        Rule::col_id | Rule::relation | Rule::any_name | Rule::name | Rule::constraint_name => "a name",
        Rule::column_type | Rule::scalar => "a type",
        Rule::parens | Rule::columns | Rule::key_columns | Rule::table_body | Rule::index_elements => "`(`",
        Rule::column | Rule::table_constraint => "a column or constraint",
        Rule::string | Rule::text | Rule::plain_string => "a string",
        Rule::signed | Rule::number | Rule::decimal => "a number",
        Rule::b_expr | Rule::a_expr => "an expression",
        _ => return None,
    };
    Some(words.to_owned())
}
