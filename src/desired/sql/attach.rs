//! Which object a directive belongs to, by its place alone: behind something on the same line to that, on a line of its
//! own to what comes next. A directive that belongs to nothing is an error: doing nothing would lose data.

use std::collections::BTreeMap;
use std::ops::Range;

use super::directive::{Directive, Directives, Said, SqlOrder, read_comment};
use super::lex::Lexeme;
use super::split::Pieces;
use super::tree::{Level, SqlColumn, SqlSchema, SqlTable};
use crate::catalog::Ident;
use crate::desired::At;
use crate::desired::problem::{Problem, ProblemKind, shown};

/// An object that directives can belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Table(usize),
    Column(usize, usize),
    Constraint(usize, usize),
    Index(usize, usize),
}

/// Places that do not overlap, in the order of the file.
#[derive(Debug, Default)]
struct Places(Vec<(Range<usize>, Target)>);

impl Places {
    fn sort(&mut self) {
        self.0.sort_by_key(|(place, _)| place.start);
    }

    fn around(&self, at: usize) -> Option<Target> {
        let next = self.0.partition_point(|(place, _)| place.start <= at);
        let (place, target) = self.0.get(next.checked_sub(1)?)?;
        (at < place.end).then_some(*target)
    }

    fn starting(&self, at: usize) -> Option<Target> {
        let nth = self.0.binary_search_by_key(&at, |(place, _)| place.start).ok()?;
        Some(self.0[nth].1)
    }

    /// The only one between two places.
    fn only_in(&self, range: &Range<usize>) -> Option<Target> {
        let first = self.0.partition_point(|(place, _)| place.start < range.start);
        let inside = |nth: usize| self.0.get(nth).filter(|(place, _)| place.end <= range.end);
        match (inside(first), inside(first + 1)) {
            (Some((_, target)), None) => Some(*target),
            _ => None,
        }
    }
}

struct Attacher<'t> {
    text: &'t str,
    pieces: &'t Pieces,
    refused: Vec<Range<usize>>,
    statements: Places,
    members: Places,
    inline: Places,
}

/// Reads all comments and gives each directive to its object.
pub(super) fn directives(text: &str, pieces: &Pieces, schema: &mut SqlSchema, problems: &mut Vec<Problem>) {
    let mut found = Vec::new();
    for comment in &pieces.comments {
        match read_comment(text, &comment.span) {
            Some(Ok(directive)) => found.push(directive),
            Some(Err(problem)) => problems.push(problem),
            None => {}
        }
    }
    if found.is_empty() {
        return;
    }
    let attacher = Attacher::new(text, pieces, schema);
    let mut accepted = BTreeMap::new();
    for directive in found {
        match attacher.target(&directive.span) {
            Ok(Some(target)) => give(schema, target, directive, &mut accepted, problems),
            // The statement has an error of its own.
            Ok(None) => {}
            Err(problem) => problems.push(problem),
        }
    }
    contradictions(schema, problems);
}

impl<'t> Attacher<'t> {
    fn new(text: &'t str, pieces: &'t Pieces, schema: &SqlSchema) -> Self {
        let (mut statements, mut members, mut inline) = (Places::default(), Places::default(), Places::default());
        for (nth, table) in schema.tables.iter().enumerate() {
            statements.0.push((table.span.clone(), Target::Table(nth)));
            let columns = table.columns.iter().enumerate();
            members.0.extend(columns.map(|(at, column)| (column.span.clone(), Target::Column(nth, at))));
            let indexes = table.indexes.iter().enumerate();
            statements.0.extend(indexes.map(|(at, index)| (index.span.clone(), Target::Index(nth, at))));
        }
        members.sort();
        let mut constraints = Vec::new();
        for (nth, table) in schema.tables.iter().enumerate() {
            for (at, constraint) in table.constraints.iter().enumerate() {
                let place = (constraint.span.clone(), Target::Constraint(nth, at));
                match members.around(constraint.span.start) {
                    Some(_) => inline.0.push(place),
                    None => constraints.push(place),
                }
            }
        }
        members.0.extend(constraints);
        members.sort();
        statements.sort();
        inline.sort();
        let refused = schema.statements.iter().filter(|statement| statement.level == Level::Refused);
        let mut refused: Vec<Range<usize>> = refused.map(|statement| statement.span.clone()).collect();
        refused.sort_by_key(|span| span.start);
        Self { text, pieces, refused, statements, members, inline }
    }

    fn target(&self, comment: &Range<usize>) -> Result<Option<Target>, Problem> {
        let lexemes = &self.pieces.lexemes;
        let next = lexemes.partition_point(|lexeme| lexeme.span.start < comment.start);
        let before = next.checked_sub(1);
        match before.filter(|nth| self.on_one_line(lexemes[*nth].span.end, comment.start)) {
            Some(nth) => self.behind(nth, comment),
            // psql's semicolon is no lexeme of a statement.
            None if self.follows_semicolon(comment.start) => match before {
                Some(nth) => self.of_statement(lexemes[nth].span.start, comment),
                None => Err(nothing(comment)),
            },
            None => self.before(next, comment),
        }
    }

    fn on_one_line(&self, from: usize, to: usize) -> bool {
        !self.text[from..to].contains(['\n', '\r']) && !self.has_semicolon(from..to)
    }

    /// True when only a semicolon and blanks stand before the comment on its line.
    fn follows_semicolon(&self, comment: usize) -> bool {
        let line = self.text[..comment].rfind(['\n', '\r']).map_or(0, |newline| newline + 1);
        self.has_semicolon(line..comment)
    }

    fn has_semicolon(&self, range: Range<usize>) -> bool {
        let next = self.pieces.semicolons.partition_point(|at| *at < range.start);
        self.pieces.semicolons.get(next).is_some_and(|at| *at < range.end)
    }

    fn behind(&self, nth: usize, comment: &Range<usize>) -> Result<Option<Target>, Problem> {
        let lexemes = &self.pieces.lexemes;
        let text = |lexeme: &Lexeme| &self.text[lexeme.span.clone()];
        // `a integer, -- pcrd: …` is about a.
        let nth = if text(&lexemes[nth]) == "," { nth.saturating_sub(1) } else { nth };
        let at = lexemes[nth].span.start;
        match self.members.around(at) {
            Some(target) => Ok(Some(target)),
            None => self.of_statement(at, comment),
        }
    }

    fn before(&self, next: usize, comment: &Range<usize>) -> Result<Option<Target>, Problem> {
        let Some(lexeme) = self.pieces.lexemes.get(next) else { return Err(nothing(comment)) };
        let at = lexeme.span.start;
        if let Some(target) = self.members.starting(at).or_else(|| self.inline.starting(at)) {
            return Ok(Some(target));
        }
        let piece = self.pieces.statements.partition_point(|piece| piece.span.start < at);
        let starts = self.pieces.statements.get(piece).is_some_and(|piece| piece.span.start == at);
        if starts || self.is_refused(at) { self.of_statement(at, comment) } else { Err(nothing(comment)) }
    }

    /// The object of the statement around this place.
    fn of_statement(&self, at: usize, comment: &Range<usize>) -> Result<Option<Target>, Problem> {
        if let Some(target) = self.statements.around(at) {
            return Ok(Some(target));
        }
        let next = self.pieces.statements.partition_point(|piece| piece.span.start <= at);
        let piece = next.checked_sub(1).map(|nth| &self.pieces.statements[nth]);
        let Some(piece) = piece.filter(|piece| at < piece.span.end) else { return Err(nothing(comment)) };
        match self.members.only_in(&piece.span) {
            Some(target) => Ok(Some(target)),
            None if self.is_refused(at) || !piece.sound => Ok(None),
            None => {
                let message = "the statement here has nothing that a directive could be about";
                let problem = Problem::at(ProblemKind::DirectiveMisplaced, comment.clone(), message, "this directive");
                let help = "directives belong to CREATE TABLE, its columns and constraints, and to CREATE INDEX";
                Err(problem.and(piece.span.clone(), "this statement").help(help))
            }
        }
    }

    fn is_refused(&self, at: usize) -> bool {
        let next = self.refused.partition_point(|span| span.start <= at);
        next.checked_sub(1).is_some_and(|nth| at < self.refused[nth].end)
    }
}

fn nothing(comment: &Range<usize>) -> Problem {
    let message = "the directive belongs to nothing";
    let problem = Problem::at(ProblemKind::DirectiveUnattached, comment.clone(), message, "nothing to attach to");
    problem.help("write it behind a column on the same line, or on a line of its own before a column or CREATE TABLE")
}

fn give(
    schema: &mut SqlSchema,
    target: Target,
    directive: Directive,
    accepted: &mut BTreeMap<(Target, String), Range<usize>>,
    problems: &mut Vec<Problem>,
) {
    let (into, what): (&mut Directives, _) = match target {
        Target::Table(table) => (&mut schema.tables[table].directives, "a table"),
        Target::Column(table, at) => (&mut schema.tables[table].columns[at].directives, "a column"),
        Target::Constraint(table, at) => (&mut schema.tables[table].constraints[at].directives, "a constraint"),
        Target::Index(table, at) => (&mut schema.tables[table].indexes[at].directives, "an index"),
    };
    let (is_table, is_column) = (matches!(target, Target::Table(_)), matches!(target, Target::Column(..)));
    let fits = match &directive.said {
        Said::RenamedFrom(old) => is_table || (is_column && old.schema.is_none()),
        Said::Using(_) | Said::Reverse(_) | Said::Backfill(_) => is_column,
        Said::MergedFrom(_)
        | Said::Drops(_)
        | Said::Order(_)
        | Said::Key(_)
        | Said::Ignore
        | Said::Where(_)
        | Said::Vacuum(_)
        | Said::Copy(_) => is_table,
        Said::Accept(_) => true,
    };
    let name = directive.said.name();
    if !fits {
        let message = format!("`{name}` cannot be said of {what}");
        let problem =
            Problem::at(ProblemKind::DirectiveMisplaced, directive.span, message, format!("stands at {what}"));
        let help = match directive.said {
            Said::RenamedFrom(_) if is_column => "a column's old name has no schema",
            Said::Using(_) | Said::Reverse(_) | Said::Backfill(_) => "write it at the column that it is about",
            _ => "write it before CREATE TABLE, or behind its opening or closing bracket",
        };
        problems.push(problem.help(help));
        return;
    }
    let span = directive.span;
    let twin = match directive.said {
        Said::RenamedFrom(old) => once(&mut into.renamed_from, old, &span),
        Said::MergedFrom(one) => {
            let twin =
                into.merged_from.iter().find(|other| other.value.name == one.name).map(|other| other.span.clone());
            into.merged_from.push(At { value: one, span: span.clone() });
            twin
        }
        Said::Using(expr) => once(&mut into.using, expr, &span),
        Said::Reverse(expr) => once(&mut into.reverse, expr, &span),
        Said::Backfill(expr) => once(&mut into.backfill, expr, &span),
        Said::Drops(names) => once(&mut into.drops, names, &span),
        Said::Order(order) => once(&mut into.order, order, &span),
        Said::Key(names) => once(&mut into.key, names, &span),
        Said::Ignore => once(&mut into.ignore, (), &span),
        Said::Where(expr) => once(&mut into.filter, expr, &span),
        Said::Copy(order) => once(&mut into.copy, order, &span),
        Said::Vacuum(on) => once(&mut into.vacuum, on, &span),
        Said::Accept(new) => {
            let first = accepted.entry((target, new.code.clone())).or_insert_with(|| span.clone()).clone();
            let is_new = first == span;
            if is_new {
                into.accept.push(At { value: new, span: span.clone() });
            }
            (!is_new).then_some(first)
        }
    };
    if let Some(first) = twin {
        let message = format!("`{name}` is said twice of the same object");
        let problem = Problem::at(ProblemKind::DirectiveDuplicate, span, message, "again").and(first, "first here");
        problems.push(match name {
            "renamed_from" => problem.help(ONE_ORIGIN),
            _ => problem,
        });
    }
}

const ONE_ORIGIN: &str = "several tables become one by a column that tells them apart, each with a constant of its own:\n    \
    -- pcrd: merged_from east with region = 'east'\n    -- pcrd: merged_from west with region = 'west'\n\
    a column that is made of several has `using` instead";

/// Takes the value, or returns where another one was said.
fn once<T>(slot: &mut Option<At<T>>, value: T, span: &Range<usize>) -> Option<Range<usize>> {
    match slot {
        Some(first) => Some(first.span.clone()),
        None => {
            *slot = Some(At { value, span: span.clone() });
            None
        }
    }
}

fn contradictions(schema: &SqlSchema, problems: &mut Vec<Problem>) {
    let mut exclude = |first: &Range<usize>, second: &Range<usize>, message: String, help: &str| {
        let problem = Problem::at(ProblemKind::DirectiveContradiction, second.clone(), message, "this one");
        problems.push(problem.and(first.clone(), "and this one").help(help));
    };
    for table in &schema.tables {
        let said = &table.directives;
        let others = [
            said.renamed_from.as_ref().map(|at| &at.span),
            said.merged_from.first().map(|at| &at.span),
            said.drops.as_ref().map(|at| &at.span),
            said.order.as_ref().map(|at| &at.span),
            said.key.as_ref().map(|at| &at.span),
            said.filter.as_ref().map(|at| &at.span),
            said.copy.as_ref().map(|at| &at.span),
            said.vacuum.as_ref().map(|at| &at.span),
        ];
        if let (Some(ignore), Some(other)) = (&said.ignore, others.into_iter().flatten().next()) {
            let message = "the table is ignored and also has wishes".to_owned();
            exclude(&ignore.span, other, message, "remove one of the two");
        }
        merged(table, &mut exclude);
        let is_new = |column: &&SqlColumn| column.directives.renamed_from.is_none();
        let kept: BTreeMap<&Ident, &SqlColumn> = match &said.drops {
            Some(_) => table.columns.iter().filter(is_new).map(|column| (&column.name.value, column)).collect(),
            None => BTreeMap::new(),
        };
        for dropped in said.drops.iter().flat_map(|drops| &drops.value) {
            if let Some(kept) = kept.get(&dropped.value) {
                let message = format!("the column `{}` is dropped and also there", shown(dropped.value.as_str()));
                let help = "remove the column, or its name from `drops`; a new column of an old name says so by \
                            `renamed_from`";
                exclude(&kept.name.span, &dropped.span, message, help);
            }
        }
        for column in &table.columns {
            let said = &column.directives;
            if let Some(backfill) = &said.backfill {
                let other = said.using.as_ref().map(|at| &at.span);
                let other = other.or(said.renamed_from.as_ref().map(|at| &at.span));
                if let Some(other) = other {
                    let message = format!("column `{}` is both old and new", shown(column.name.value.as_str()));
                    let help = "`backfill` is for a column that the source does not have; `using` and `renamed_from` are \
                                for one that it has";
                    exclude(other, &backfill.span, message, help);
                }
            }
            if let (Some(generated), Some(other)) = (&column.generated, said.using.as_ref().or(said.backfill.as_ref()))
            {
                let message =
                    format!("column `{}` is generated: nothing is written to it", shown(column.name.value.as_str()));
                exclude(&generated.span, &other.span, message, "remove the directive");
            }
        }
    }
}

/// Tells of two places that cannot both stand, and what to do about it.
type Exclude<'e> = dyn FnMut(&Range<usize>, &Range<usize>, String, &str) + 'e;

/// What a table of several sources cannot say too.
fn merged(table: &SqlTable, exclude: &mut Exclude<'_>) {
    let said = &table.directives;
    let [first, rest @ ..] = said.merged_from.as_slice() else { return };
    if let Some(renamed) = &said.renamed_from {
        let message = "the table has one source, and several".to_owned();
        exclude(&renamed.span, &first.span, message, "each of several sources has a line `merged_from`");
    }
    if let Some(order) = said.order.as_ref().filter(|order| order.value == SqlOrder::Keep) {
        let message = "the table has several sources: which one's order of columns?".to_owned();
        exclude(&order.span, &first.span, message, "leave the directive out: columns stand as in the file");
    }
    let column = &first.value.column;
    for other in rest.iter().filter(|other| other.value.column.value != column.value) {
        let message = "the sources are told apart by two columns".to_owned();
        exclude(
            &column.span,
            &other.value.column.span,
            message,
            "name one column, with another constant for each source",
        );
    }
    let Some(found) = table.columns.iter().find(|one| one.name.value == column.value) else { return };
    let of_column = &found.directives;
    let other = [&of_column.using, &of_column.backfill].into_iter().flatten().map(|at| &at.span).next();
    if let Some(other) = other.or(of_column.renamed_from.as_ref().map(|at| &at.span)) {
        let message = format!("column `{}` gets its values from `merged_from`", shown(column.value.as_str()));
        exclude(&first.span, other, message, "remove one of the two");
    }
}
