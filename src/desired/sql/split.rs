//! A file → its statements, by the rules of psql: `;` ends a statement outside of strings, comments, brackets and
//! `BEGIN ATOMIC … END`. One mistake does not hide the next: every statement is looked at alone.

use std::ops::Range;

use super::lex::{DEEP_COMMENT, LexKind, Lexeme, Lexer};
use crate::desired::problem::{Problem, ProblemKind, shown};

/// Brackets and CASE inside each other. A reader that descends into them must not run out of stack.
pub(super) const DEPTH_MAX: usize = 200;

/// The statements of a file and what stands between them.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    pub(super) lexemes: Vec<Lexeme>,
    /// Line and block comments, in the order of the file.
    pub(super) comments: Vec<Lexeme>,
    pub(super) statements: Vec<Piece>,
    /// Where statements end.
    pub(super) semicolons: Vec<usize>,
}

/// One statement.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    /// Indexes of its lexemes, semicolon left out; empty for a psql line.
    pub(super) lexemes: Range<usize>,
    /// From its first to its last lexeme.
    pub(super) span: Range<usize>,
    /// False when a problem was reported: then there is nothing to parse.
    pub(super) sound: bool,
}

/// Cuts the file. What is wrong goes to `problems`, at the place that opens it.
pub(super) fn split(sql: &str, problems: &mut Vec<Problem>) -> Pieces {
    let mut splitter =
        Splitter { sql, lexer: Lexer::new(sql), pieces: Pieces::default(), now: Statement::default(), problems };
    splitter.run();
    splitter.pieces
}

/// The statement that is being read.
#[derive(Debug, Default)]
struct Statement {
    first: usize,
    open: Vec<(char, Range<usize>)>,
    case_depth: usize,
    /// CREATE [OR REPLACE] FUNCTION or PROCEDURE: its body may be `BEGIN ATOMIC …; … END`.
    is_routine: bool,
    /// CREATE RULE … DO (…; …).
    is_rule: bool,
    begin_depth: usize,
    unsound: bool,
}

struct Splitter<'t, 'p> {
    sql: &'t str,
    lexer: Lexer<'t>,
    pieces: Pieces,
    now: Statement,
    problems: &'p mut Vec<Problem>,
}

impl Splitter<'_, '_> {
    fn run(&mut self) {
        loop {
            match self.lexer.next() {
                Ok(Some(lexeme)) => self.take(lexeme),
                Ok(None) => break,
                Err(open) => {
                    let message = match open.what {
                        DEEP_COMMENT => format!("comments are nested more than {DEPTH_MAX} levels deep"),
                        what => format!("the {what} does not end"),
                    };
                    let help = match open.what {
                        "comment" => "close it with `*/`; comments nest, so every `/*` needs one",
                        "dollar-quoted string" => "close it with the same tag",
                        "quoted name" => "close it with `\"`; a quote inside is written `\"\"`",
                        _ => "close it with `'`; a quote inside is written `''`",
                    };
                    let problem = Problem::at(ProblemKind::SqlOpen, open.span, message, "opened here");
                    self.problems.push(problem.help(help));
                    self.now.unsound = true;
                    self.now.open.clear();
                    break;
                }
            }
        }
        self.end_statement();
    }

    fn take(&mut self, lexeme: Lexeme) {
        match lexeme.kind {
            LexKind::LineComment | LexKind::BlockComment => {
                self.pieces.comments.push(lexeme);
                return;
            }
            LexKind::Symbol('\\') => return self.psql_line(lexeme.span.start),
            LexKind::Symbol(';') if self.ends_here() => {
                self.pieces.semicolons.push(lexeme.span.start);
                let is_copy = self.is_copy_from_stdin();
                self.end_statement();
                if is_copy {
                    self.skip_copy_data();
                }
                return;
            }
            LexKind::Symbol(open @ ('(' | '[')) => {
                self.now.open.push((open, lexeme.span.clone()));
                self.check_depth(&lexeme.span);
            }
            LexKind::Symbol(close @ (')' | ']')) => self.close(close, &lexeme.span),
            LexKind::Word => self.word(&lexeme.span),
            LexKind::Symbol('\0') | LexKind::Quoted | LexKind::Text => {
                if let Some(at) = self.sql[lexeme.span.clone()].find('\0') {
                    let at = lexeme.span.start + at;
                    let message = "a NUL byte, which no text of PostgreSQL can have";
                    self.unsound(Problem::at(ProblemKind::SqlSyntax, at..at + 1, message, "here"));
                }
            }
            LexKind::Number | LexKind::Symbol(_) => {}
        }
        self.pieces.lexemes.push(lexeme);
    }

    fn n_lexemes(&self) -> usize {
        self.pieces.lexemes.len() - self.now.first
    }

    fn is_create(&self) -> bool {
        let first = self.pieces.lexemes.get(self.now.first);
        first.is_some_and(|first| self.sql[first.span.clone()].eq_ignore_ascii_case("create"))
    }

    fn ends_here(&self) -> bool {
        self.now.begin_depth == 0 && (self.now.open.is_empty() || !self.now.is_rule)
    }

    fn word(&mut self, span: &Range<usize>) {
        let word = &self.sql[span.clone()];
        let is = |other: &str| word.eq_ignore_ascii_case(other);
        // As psql does it: the second to fourth word say whether a body may follow.
        if (1..4).contains(&self.n_lexemes()) && self.is_create() {
            self.now.is_routine |= is("function") || is("procedure");
            self.now.is_rule |= is("rule");
        }
        if is("case") {
            self.now.case_depth += 1;
            self.check_depth(span);
        } else if is("end") {
            self.now.case_depth = self.now.case_depth.saturating_sub(1);
        }
        if self.now.is_routine && self.now.open.is_empty() {
            if is("begin") || (is("case") && self.now.begin_depth > 0) {
                self.now.begin_depth += 1;
            } else if is("end") {
                self.now.begin_depth = self.now.begin_depth.saturating_sub(1);
            }
        }
    }

    fn check_depth(&mut self, span: &Range<usize>) {
        let depth = self.now.open.len() + self.now.case_depth;
        if depth == DEPTH_MAX + 1 && !self.now.unsound {
            let message = format!("brackets are nested more than {DEPTH_MAX} levels deep");
            self.problems.push(Problem::at(ProblemKind::SqlTooDeep, span.clone(), message, "too deep"));
            self.now.unsound = true;
        }
    }

    fn close(&mut self, close: char, span: &Range<usize>) {
        let wanted = if close == ')' { '(' } else { '[' };
        match self.now.open.pop() {
            Some((open, _)) if open == wanted => {}
            Some((open, opener)) => {
                let message = format!("`{close}` closes a `{open}`");
                let problem = Problem::at(ProblemKind::SqlUnbalanced, span.clone(), message, "closed here");
                self.unsound(problem.and(opener, "opened here"));
            }
            None => {
                let message = format!("`{close}` closes nothing");
                self.unsound(Problem::at(ProblemKind::SqlUnbalanced, span.clone(), message, "nothing is open here"));
            }
        }
    }

    /// One of these for a statement: what follows is only its echo.
    fn unsound(&mut self, problem: Problem) {
        if !self.now.unsound {
            self.problems.push(problem);
            self.now.unsound = true;
        }
    }

    fn end_statement(&mut self) {
        if let Some((open, opener)) = self.now.open.first().cloned() {
            let message = format!("the `{open}` is not closed before the statement ends");
            let close = if open == '(' { ')' } else { ']' };
            let problem = Problem::at(ProblemKind::SqlUnbalanced, opener, message, "opened here");
            self.unsound(problem.help(format!("add the `{close}` that belongs to it")));
        }
        let lexemes = self.now.first..self.pieces.lexemes.len();
        if let (Some(first), Some(last)) = (self.pieces.lexemes.get(lexemes.start), self.pieces.lexemes.last())
            && !lexemes.is_empty()
        {
            let span = first.span.start..last.span.end;
            self.pieces.statements.push(Piece { lexemes, span, sound: !self.now.unsound });
        }
        self.now = Statement { first: self.pieces.lexemes.len(), ..Statement::default() };
    }

    /// `\restrict`, `\connect` and the like: a line for psql, not for the server.
    fn psql_line(&mut self, start: usize) {
        let line_end = self.lexer.line_end(start);
        let end = start + self.sql[start..line_end].trim_end().len();
        self.lexer.skip_to(line_end);
        if self.n_lexemes() > 0 {
            let message = format!("`{}` stands inside a statement", shown(&self.sql[start..end]));
            let problem = Problem::at(ProblemKind::SqlPsql, start..end, message, "a psql command");
            self.unsound(problem.help("end the statement with `;` before the line, or remove the line"));
            return;
        }
        let word: String = self.sql[start + 1..end].chars().take_while(|c| c.is_ascii_alphabetic()).collect();
        let known = matches!(word.as_str(), "restrict" | "unrestrict" | "connect" | "c");
        if !known {
            let message = format!("`\\{}` is a psql command that pcrd does not run", shown(&word));
            let problem = Problem::at(ProblemKind::SqlPsql, start..end, message, "this line");
            let help = "remove the line; of psql only \\restrict, \\unrestrict and \\connect are read";
            self.problems.push(problem.help(help));
        }
        let here = self.pieces.lexemes.len();
        self.pieces.statements.push(Piece { lexemes: here..here, span: start..end, sound: known });
    }

    fn is_copy_from_stdin(&self) -> bool {
        let words: Vec<&str> = self.pieces.lexemes[self.now.first..]
            .iter()
            .map(|lexeme| if lexeme.kind == LexKind::Word { &self.sql[lexeme.span.clone()] } else { "" })
            .collect();
        words.first().is_some_and(|word| word.eq_ignore_ascii_case("copy"))
            && words
                .windows(2)
                .any(|pair| pair[0].eq_ignore_ascii_case("from") && pair[1].eq_ignore_ascii_case("stdin"))
    }

    /// The rows up to `\.` are no SQL.
    fn skip_copy_data(&mut self) {
        let rest = &self.sql[self.lexer.at()..];
        let mut at = self.lexer.at();
        for line in rest.split_inclusive('\n') {
            at += line.len();
            if line.trim_end() == "\\." {
                break;
            }
        }
        self.lexer.skip_to(at);
    }
}
