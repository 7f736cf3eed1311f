//! `-- pcrd: …`: what SQL cannot say about a migration, in comments that PostgreSQL ignores.

use std::collections::BTreeMap;
use std::ops::Range;

use pest::Parser as _;
use pest::iterators::Pair;

use self::grammar::{Directive as Grammar, Rule};
use crate::catalog::Ident;
use crate::desired::problem::{Problem, ProblemKind, did_you_mean, shown};
use crate::desired::{At, CopyWish};
use crate::sql::expression::check_expression;

/// The generated parser; its rules are documented in the grammar.
mod grammar {
    #![allow(missing_docs)]

    #[derive(pest_derive::Parser)]
    #[grammar = "../grammar/lexical.pest"]
    #[grammar = "../grammar/directive.pest"]
    pub(super) struct Directive;
}

/// Everything that was said of one object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Directives {
    /// The old name.
    pub renamed_from: Option<At<OldName>>,
    /// The sources of a table that has several.
    pub merged_from: Vec<At<MergedFrom>>,
    /// Expression over source columns, of a column.
    pub using: Option<At<String>>,
    /// Expression back over target columns, of a column.
    pub reverse: Option<At<String>>,
    /// Expression for existing rows, of an added column.
    pub backfill: Option<At<String>>,
    /// Columns of the source that are not wanted any more.
    pub drops: Option<At<Vec<At<Ident>>>>,
    /// Column order.
    pub order: Option<At<SqlOrder>>,
    /// Columns that identify a row.
    pub key: Option<At<Vec<At<Ident>>>>,
    /// The table is none of pcrd's business.
    pub ignore: Option<At<()>>,
    /// Row filter.
    pub filter: Option<At<String>>,
    /// Whether the target is vacuumed and frozen before the cutover.
    pub vacuum: Option<At<bool>>,
    /// In which order rows are copied.
    pub copy: Option<At<CopyWish>>,
    /// Findings accepted with a reason.
    pub accept: Vec<At<Accepted>>,
}

impl Directives {
    /// What was said, without the places where it was.
    pub fn values(&self) -> Vec<String> {
        let Self { renamed_from, merged_from, using, reverse, backfill, drops, order, key, ignore, .. } = self;
        let Self { filter, vacuum, copy, accept, .. } = self;
        let names = |names: &At<Vec<At<Ident>>>| {
            names.value.iter().map(|name| name.value.to_string()).collect::<Vec<_>>().join(", ")
        };
        let mut said = Vec::new();
        said.extend(renamed_from.as_ref().map(|old| format!("renamed_from {:?}", old.value)));
        said.extend(merged_from.iter().map(|one| {
            let MergedFrom { name, column, value } = &one.value;
            format!("merged_from {name:?} with {} = {}", column.value, value.value)
        }));
        said.extend(using.as_ref().map(|expr| format!("using {}", expr.value)));
        said.extend(reverse.as_ref().map(|expr| format!("reverse {}", expr.value)));
        said.extend(backfill.as_ref().map(|expr| format!("backfill {}", expr.value)));
        said.extend(drops.as_ref().map(|columns| format!("drops {}", names(columns))));
        said.extend(order.as_ref().map(|order| format!("order {:?}", order.value)));
        said.extend(key.as_ref().map(|columns| format!("key {}", names(columns))));
        said.extend(ignore.as_ref().map(|_| "ignore".to_owned()));
        said.extend(filter.as_ref().map(|condition| format!("where {}", condition.value)));
        said.extend(vacuum.as_ref().map(|vacuum| format!("vacuum {}", if vacuum.value { "on" } else { "off" })));
        said.extend(copy.as_ref().map(|copy| format!("copy {}", copy.value.word())));
        said.extend(accept.iter().map(|accepted| format!("accept {:?}", accepted.value)));
        said
    }
}

/// A name that an object had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldName {
    /// The schema, when it was written; only tables have one.
    pub schema: Option<Ident>,
    /// The name.
    pub name: Ident,
}

/// One of several tables that become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergedFrom {
    /// The source table.
    pub name: OldName,
    /// The column that tells its rows from those of the others.
    pub column: At<Ident>,
    /// The column's value in each of them.
    pub value: At<String>,
}

/// Order of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqlOrder {
    /// As in the file.
    AsWritten,
    /// With the least padding.
    Packed,
    /// As on the source.
    Keep,
}

/// A finding and why it is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The finding's code.
    pub code: String,
    /// Why.
    pub reason: String,
}

/// One directive, read but not attached yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directive {
    /// The comment, without the line's end.
    pub(super) span: Range<usize>,
    pub(super) said: Said,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    RenamedFrom(OldName),
    MergedFrom(MergedFrom),
    Using(String),
    Reverse(String),
    Backfill(String),
    Drops(Vec<At<Ident>>),
    Order(SqlOrder),
    Key(Vec<At<Ident>>),
    Ignore,
    Where(String),
    Vacuum(bool),
    Copy(CopyWish),
    Accept(Accepted),
}

impl Said {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::RenamedFrom(_) => "renamed_from",
            Self::MergedFrom(_) => "merged_from",
            Self::Using(_) => "using",
            Self::Reverse(_) => "reverse",
            Self::Backfill(_) => "backfill",
            Self::Drops(_) => "drops",
            Self::Order(_) => "order",
            Self::Key(_) => "key",
            Self::Ignore => "ignore",
            Self::Where(_) => "where",
            Self::Vacuum(_) => "vacuum",
            Self::Copy(_) => "copy",
            Self::Accept(_) => "accept",
        }
    }
}

/// Name, rule and form of every directive.
const FORMS: [(&str, Rule, &str); 13] = [
    ("renamed_from", Rule::renamed_from, "renamed_from old_name"),
    ("merged_from", Rule::merged_from, "merged_from table with column = 'constant'"),
    ("using", Rule::using, "using <expression over source columns>"),
    ("reverse", Rule::reverse, "reverse <expression over target columns>"),
    ("backfill", Rule::backfill, "backfill <expression over source columns>"),
    ("drops", Rule::drops, "drops column, column"),
    ("accept", Rule::accept, "accept CODE reason=\"…\""),
    ("order", Rule::order, "order as_written|packed|keep"),
    ("key", Rule::key, "key (column, column)"),
    ("ignore", Rule::ignore, "ignore"),
    ("where", Rule::filter, "where <condition>"),
    ("vacuum", Rule::vacuum, "vacuum on|off"),
    ("copy", Rule::copy, "copy auto|by_key|by_blocks"),
];

/// Reads a comment; `None` when it is none of ours.
pub(super) fn read_comment(text: &str, span: &Range<usize>) -> Option<Result<Directive, Problem>> {
    let comment = text[span.clone()].trim_end();
    let whole = span.start..span.start + comment.len();
    let body = comment.trim_start_matches('-').trim_start();
    let is_line = comment.starts_with("--");
    let body = if is_line { body } else { comment.trim_start_matches(['/', '*']).trim_start() };
    let at = whole.end - body.len();
    let Some(rest) = prefixed(body, "pcrd") else {
        return is_line.then(|| alias(body, at, &whole)).flatten();
    };
    let Some(said) = rest.trim_start().strip_prefix(':') else {
        return without_colon(rest, &whole).map(Err);
    };
    if !is_line {
        let message = "a directive is a line comment";
        let problem = Problem::at(ProblemKind::DirectiveMisplaced, whole, message, "a block comment");
        return Some(Err(problem.help("write it as `-- pcrd: …` on a line of its own, or behind the column")));
    }
    let said = said.trim_start();
    Some(directive(said, at + body.len() - said.len(), &whole))
}

fn prefixed<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

/// `-- pcrd renamed_from x` looks like a directive and would do nothing.
fn without_colon(rest: &str, whole: &Range<usize>) -> Option<Problem> {
    let word = rest.trim_start_matches(['-', '_', ' ', '\t']).split_whitespace().next()?;
    let known = rest.starts_with([' ', '\t', '-', '_']) && FORMS.iter().any(|(name, ..)| word == *name);
    known.then(|| {
        let message = "this looks like a directive, but has no colon";
        let problem = Problem::at(ProblemKind::DirectiveUnknown, whole.clone(), message, "not read as a directive");
        problem.help(format!("write `-- pcrd: {word} …`"))
    })
}

/// The renames of other tools mean the same.
fn alias(body: &str, at: usize, whole: &Range<usize>) -> Option<Result<Directive, Problem>> {
    let prefixes =
        ["atlas:renamed_from", "@renamed from=", "@rename from=", "pista:renamed-from", "pista:renamed_from"];
    let name = prefixes.into_iter().find_map(|prefix| prefixed(body, prefix))?;
    let name = name.trim();
    let at = at + body.len() - name.len();
    Some(value(
        &format!("renamed_from {name}"),
        "renamed_from ".len(),
        at,
        Rule::renamed_from,
        "renamed_from old_name",
        whole,
    ))
}

fn directive(said: &str, at: usize, whole: &Range<usize>) -> Result<Directive, Problem> {
    let length = said.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')).unwrap_or(said.len());
    let word = said[..length].to_ascii_lowercase();
    let Some((_, rule, form)) = FORMS.iter().find(|(name, ..)| *name == word) else {
        let names: Vec<&str> = FORMS.iter().map(|(name, ..)| *name).collect();
        let place = if length == 0 { whole.clone() } else { at..at + length };
        let message = format!("there is no directive `{}`", shown(&said[..length]));
        let problem = Problem::at(ProblemKind::DirectiveUnknown, place, message, "unknown directive");
        let dashes = word.replace('-', "_");
        let close = if names.contains(&dashes.as_str()) {
            Some(format!("did you mean `{dashes}`?"))
        } else {
            did_you_mean(&word, &names)
        };
        return Err(problem.help(close.unwrap_or_else(|| format!("directives are: {}", names.join(", ")))));
    };
    value(said, 0, at, *rule, form, whole)
}

/// Reads the text of a directive; byte `shift` of it stands at `at` in the file.
fn value(
    said: &str,
    shift: usize,
    at: usize,
    rule: Rule,
    form: &str,
    whole: &Range<usize>,
) -> Result<Directive, Problem> {
    let bad = |message: String, place: Range<usize>| {
        let problem = Problem::at(ProblemKind::DirectiveValue, place, message, "cannot be read");
        problem.help(format!("the form is `-- pcrd: {form}`"))
    };
    let word = said.split_whitespace().next().unwrap_or(said);
    let word = word.split('(').next().unwrap_or(word);
    let pair = Grammar::parse(rule, said).ok().and_then(|mut pairs| pairs.next());
    let Some(pair) = pair else {
        return Err(bad(format!("`{}` is not complete, or has too much", shown(word)), whole.clone()));
    };
    let mut parts = pair.into_inner().filter(|part| !matches!(part.as_rule(), Rule::EOI | Rule::with));
    let place = |part: &Pair<'_, Rule>| {
        let span = part.as_span();
        (at + span.start()).saturating_sub(shift)..(at + span.end()).saturating_sub(shift)
    };
    let names = |parts: Option<Pair<'_, Rule>>| -> Result<Vec<At<Ident>>, Problem> {
        let mut found: Vec<At<Ident>> = Vec::new();
        let mut seen = BTreeMap::new();
        for part in parts.into_iter().flat_map(Pair::into_inner) {
            let span = place(&part);
            let value = ident(part.as_str()).map_err(|message| bad(message, span.clone()))?;
            if let Some(first) = seen.insert(value.clone(), span.clone()) {
                let message = format!("`{}` is named twice", shown(value.as_str()));
                let problem = Problem::at(ProblemKind::DirectiveDuplicate, span, message, "again");
                return Err(problem.and(first, "first here"));
            }
            found.push(At { value, span });
        }
        Ok(found)
    };
    let expression = |part: Option<Pair<'_, Rule>>| {
        let text = part.as_ref().map_or("", |part| part.as_str().trim());
        match check_expression(text) {
            Ok(()) => Ok(text.to_owned()),
            Err(error) => Err(bad(format!("not one expression: {error}"), part.as_ref().map_or(whole.clone(), &place))),
        }
    };
    let old_name = |part: Option<Pair<'_, Rule>>| {
        let mut names: Vec<Ident> = Vec::new();
        for part in part.into_iter().flat_map(Pair::into_inner) {
            names.push(ident(part.as_str()).map_err(|message| bad(message, place(&part)))?);
        }
        let name = names.pop().ok_or_else(|| bad("no name".to_owned(), whole.clone()))?;
        Ok::<OldName, Problem>(OldName { schema: names.pop(), name })
    };
    let said = match rule {
        Rule::using => Said::Using(expression(parts.next())?),
        Rule::reverse => Said::Reverse(expression(parts.next())?),
        Rule::backfill => Said::Backfill(expression(parts.next())?),
        Rule::filter => Said::Where(expression(parts.next())?),
        Rule::drops => Said::Drops(names(parts.next())?),
        Rule::key => Said::Key(names(parts.next())?),
        Rule::order => Said::Order(match parts.next().map(|mode| mode.as_rule()) {
            Some(Rule::packed) => SqlOrder::Packed,
            Some(Rule::keep) => SqlOrder::Keep,
            _ => SqlOrder::AsWritten,
        }),
        Rule::accept => {
            let code = parts.next().map(|code| code.as_str().to_owned());
            let code = code.ok_or_else(|| bad("an acceptance needs a code".to_owned(), whole.clone()))?;
            let reason = parts.next().map(|reason| unescaped(reason.as_str()));
            let reason = reason.filter(|reason| !reason.is_empty());
            let reason = reason.ok_or_else(|| bad("an acceptance needs a reason".to_owned(), whole.clone()))?;
            Said::Accept(Accepted { code, reason })
        }
        Rule::ignore => Said::Ignore,
        Rule::copy => Said::Copy(match parts.next().map(|mode| mode.as_rule()) {
            Some(Rule::by_key) => CopyWish::ByKey,
            Some(Rule::by_blocks) => CopyWish::ByBlocks,
            _ => CopyWish::Auto,
        }),
        Rule::vacuum => Said::Vacuum(parts.next().is_some_and(|word| word.as_rule() == Rule::on)),
        Rule::merged_from => {
            let name = old_name(parts.next())?;
            let column = parts.next().ok_or_else(|| bad("no column".to_owned(), whole.clone()))?;
            let span = place(&column);
            let column = At { value: ident(column.as_str()).map_err(|message| bad(message, span.clone()))?, span };
            let part = parts.next();
            let span = part.as_ref().map_or(whole.clone(), &place);
            Said::MergedFrom(MergedFrom { name, column, value: At { value: expression(part)?, span } })
        }
        _ => Said::RenamedFrom(old_name(parts.next())?),
    };
    Ok(Directive { span: whole.clone(), said })
}

/// What stands between the quotes; a backslash makes the next character an ordinary one.
fn unescaped(reason: &str) -> String {
    let inner = reason.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(reason);
    let mut escaped = false;
    let keep = |c: &char| {
        let skip = *c == '\\' && !escaped;
        escaped = skip;
        !skip
    };
    inner.chars().filter(keep).collect::<String>().trim().to_owned()
}

/// A name as in SQL. One that PostgreSQL would cut off is no column's name.
fn ident(text: &str) -> Result<Ident, String> {
    let name = match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => text.to_ascii_lowercase(),
    };
    Ident::new(name).map_err(|error| error.to_string())
}
