//! A file → its schema. Statements are taken in the order of the file, as PostgreSQL would: what a statement names must
//! have been created before it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::attach;
use super::classify::{Class, Refusal, classify};
use super::constraint::Question;
use super::grammar::{Node, Rule, Source};
use super::lex::LexKind;
use super::split::{Piece, Pieces, split};
use super::tree::{Level, SqlSchema, Statement};
use crate::catalog::{Ident, QualifiedName};
use crate::desired::At;
use crate::desired::problem::{Problem, ProblemKind, did_you_mean, shown};

/// What a file says, and what is wrong with it.
#[derive(Debug, Default)]
pub struct Reading {
    /// As far as it could be read; complete when there are no problems.
    pub schema: SqlSchema,
    /// Everything that is wrong, in the order of the file.
    pub problems: Vec<Problem>,
    /// What PostgreSQL would take, but not as it looks.
    pub warnings: Vec<Problem>,
}

/// What a name means in the file so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    Table(usize),
    Index {
        table: usize,
        index: usize,
    },
    /// The index behind a constraint.
    ConstraintIndex {
        table: usize,
    },
    Sequence(usize),
    Other(&'static str),
}

/// Everything that is known while a file is read.
#[derive(Debug)]
pub(super) struct Reader<'t> {
    pub(super) text: &'t str,
    pub(super) schema: SqlSchema,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    pub(super) search_path: Vec<Ident>,
    pub(super) tablespace: Option<At<Ident>>,
    pub(super) access_method: Option<At<Ident>>,
    pub(super) relations: BTreeMap<QualifiedName, Relation>,
    pub(super) places: BTreeMap<QualifiedName, Range<usize>>,
    /// By table: which of its constraints has the name, and where that stands.
    pub(super) constraint_names: BTreeMap<(usize, Ident), (usize, Range<usize>)>,
    /// By table: where its primary key stands.
    pub(super) primary_keys: BTreeMap<usize, Range<usize>>,
    /// Tables with an index or constraint whose name PostgreSQL chooses.
    pub(super) with_unnamed: BTreeSet<usize>,
    /// Which attributes a constraint has, by its place.
    pub(super) answered: BTreeSet<(usize, Question)>,
    /// How many names may still be looked at for did-you-mean: a file full of mistakes is no reason to hang.
    pub(super) suggestions_left: usize,
}

const SUGGESTIONS: usize = 50_000;

/// Reads a desired schema. Never stops at the first mistake.
pub fn read(text: &str) -> Reading {
    let mut problems = Vec::new();
    let pieces = split(text, &mut problems);
    let mut reader = Reader {
        text,
        schema: SqlSchema::default(),
        problems,
        warnings: Vec::new(),
        search_path: default_path(),
        tablespace: None,
        access_method: None,
        relations: BTreeMap::new(),
        places: BTreeMap::new(),
        constraint_names: BTreeMap::new(),
        primary_keys: BTreeMap::new(),
        with_unnamed: BTreeSet::new(),
        answered: BTreeSet::new(),
        suggestions_left: SUGGESTIONS,
    };
    for piece in &pieces.statements {
        reader.statement(piece, &pieces);
    }
    attach::directives(text, &pieces, &mut reader.schema, &mut reader.problems);
    let Reader { schema, mut problems, mut warnings, .. } = reader;
    problems.sort_by_key(|problem| problem.labels.first().map_or(0, |label| label.span.start));
    warnings.sort_by_key(|problem| problem.labels.first().map_or(0, |label| label.span.start));
    Reading { schema, problems, warnings }
}

pub(super) fn default_path() -> Vec<Ident> {
    vec![Ident::new("public").expect("a name")]
}

impl Reader<'_> {
    fn statement(&mut self, piece: &Piece, pieces: &Pieces) {
        if piece.lexemes.is_empty() {
            let n_problems = self.problems.len();
            let is_connect = self.text[piece.span.clone()].starts_with("\\c");
            if is_connect && piece.sound {
                self.connect(piece.span.clone());
            }
            let is_fine = piece.sound && self.problems.len() == n_problems;
            let level = if is_fine { Level::Setting } else { Level::Refused };
            self.note(piece.span.clone(), "psql command", level);
            return;
        }
        let class = classify(&words(self.text, piece, pieces).iter().map(String::as_str).collect::<Vec<_>>());
        if !piece.sound {
            self.note(piece.span.clone(), what(class), Level::Refused);
            return;
        }
        let n_problems = self.problems.len();
        let n_noted = self.schema.statements.len();
        let level = self.understand(class, piece, pieces);
        let level = if self.problems.len() > n_problems { Level::Refused } else { level };
        // ALTER TABLE notes its actions one by one.
        if self.schema.statements.len() == n_noted {
            self.note(piece.span.clone(), what(class), level);
        }
    }

    /// `\connect`: what `pg_dump --create` writes before the first table.
    fn connect(&mut self, span: Range<usize>) {
        self.reset_all();
        if let Some(table) = self.schema.tables.first() {
            let message = "the file goes on in another database";
            let problem = Problem::at(ProblemKind::SqlRefused, span, message, "connects again");
            let problem = problem.and(table.name.span.clone(), "there are tables before it");
            self.problems.push(problem.help("a desired schema is one database: make the file with `pg_dump`"));
        }
    }

    pub(super) fn note(&mut self, span: Range<usize>, what: &'static str, level: Level) {
        self.schema.statements.push(Statement { span, what, level });
    }

    fn understand(&mut self, class: Class, piece: &Piece, pieces: &Pieces) -> Level {
        let span = piece.span.clone();
        let run: fn(&mut Self, &Node<'_>) -> Level = match class {
            Class::CreateTable => Self::create_table,
            Class::CreateIndex => Self::create_index,
            Class::CreateSequence => Self::create_sequence,
            Class::CreateEnum => Self::create_enum,
            Class::CreateType => Self::create_type,
            Class::CreateDomain => Self::create_domain,
            Class::CreateSchema | Class::CreateExtension => |_, _| Level::Prerequisite,
            Class::AlterTable => Self::alter_table,
            Class::AlterIndex => Self::alter_index,
            Class::AlterSequence => Self::alter_sequence,
            Class::Comment => Self::comment,
            Class::Set => Self::set,
            Class::SetConfig => Self::set_config,
            Class::Reset => Self::reset,
            Class::OtherSetting => return Level::Setting,
            Class::Relation(what) => {
                self.other_relation(span, what);
                return Level::NotCarried;
            }
            Class::Opaque(_, level) => return level,
            Class::Refused(refusal) => {
                self.refuse(refusal, span);
                return Level::Refused;
            }
        };
        let rule = rule_of(class).expect("what is lowered has a rule");
        match Node::parse(rule, Source { text: self.text, lexemes: &pieces.lexemes }, span) {
            Ok(node) => run(self, &node),
            Err(problem) => {
                self.problems.push(problem);
                Level::Refused
            }
        }
    }

    pub(super) fn refuse(&mut self, refusal: Refusal, span: Range<usize>) {
        let text = &self.text[span.clone()];
        let first_line = text.lines().next().unwrap_or(text).trim_end();
        let message = format!("`{}` does not belong in a desired schema", shown(first_line));
        let line = span.start..span.start + first_line.len();
        self.problems.push(Problem::at(refusal.kind(), line, message, refusal.label()).help(refusal.help()));
    }

    /// `did you mean …?`, while there is patience.
    pub(super) fn suggest<'n>(&mut self, word: &str, names: impl ExactSizeIterator<Item = &'n str>) -> Option<String> {
        self.suggestions_left = self.suggestions_left.checked_sub(names.len())?;
        did_you_mean(word, &names.collect::<Vec<_>>())
    }

    pub(super) fn is_relation(&self, name: &QualifiedName) -> bool {
        self.relations.contains_key(name)
    }

    /// Takes a name for something new.
    pub(super) fn create(&mut self, name: &At<QualifiedName>, relation: Relation) -> bool {
        if let Some(first) = self.places.get(&name.value) {
            let message = format!("`{}` is created twice", shown(&name.value.to_string()));
            let kind = ProblemKind::SqlDuplicate;
            let problem = Problem::at(kind, name.span.clone(), message, "again");
            self.problems.push(problem.and(first.clone(), "first here"));
            return false;
        }
        self.places.insert(name.value.clone(), name.span.clone());
        self.relations.insert(name.value.clone(), relation);
        true
    }
}

/// The rule that parses a statement; `None` for one that is read over.
pub(super) fn rule_of(class: Class) -> Option<Rule> {
    Some(match class {
        Class::CreateTable => Rule::create_table_statement,
        Class::CreateIndex => Rule::create_index_statement,
        Class::CreateSequence => Rule::create_sequence_statement,
        Class::CreateEnum => Rule::create_enum_statement,
        Class::CreateType => Rule::create_type_statement,
        Class::CreateDomain => Rule::create_domain_statement,
        Class::CreateSchema => Rule::create_schema_statement,
        Class::CreateExtension => Rule::create_extension_statement,
        Class::AlterTable => Rule::alter_table_statement,
        Class::AlterIndex => Rule::alter_index_statement,
        Class::AlterSequence => Rule::alter_sequence_statement,
        Class::Comment => Rule::comment_statement,
        Class::Set => Rule::set_statement,
        Class::SetConfig => Rule::set_config_statement,
        Class::Reset => Rule::reset_statement,
        Class::OtherSetting | Class::Relation(_) | Class::Opaque(..) | Class::Refused(_) => return None,
    })
}

/// The first words in lower case, empty strings for everything else; all of them for ALTER, whose verb comes last.
pub(super) fn words(text: &str, piece: &Piece, pieces: &Pieces) -> Vec<String> {
    const FIRST: usize = 12;
    let word = |lexeme: &super::lex::Lexeme| match lexeme.kind {
        LexKind::Word => text[lexeme.span.clone()].to_ascii_lowercase(),
        _ => String::new(),
    };
    // Dots are left out, so that `pg_catalog.set_config` is two words.
    let mut lexemes = pieces.lexemes[piece.lexemes.clone()].iter().filter(|lexeme| lexeme.kind != LexKind::Symbol('.'));
    let mut words: Vec<String> = lexemes.by_ref().take(FIRST).map(word).collect();
    if words.first().is_some_and(|first| first == "alter") {
        words.extend(lexemes.map(word));
    }
    words
}

fn what(class: Class) -> &'static str {
    match class {
        Class::CreateTable => "table",
        Class::CreateIndex | Class::AlterIndex => "index",
        Class::CreateSequence | Class::AlterSequence => "sequence",
        Class::CreateEnum | Class::CreateType => "type",
        Class::CreateDomain => "domain",
        Class::CreateSchema => "schema",
        Class::CreateExtension => "extension",
        Class::AlterTable => "alter table",
        Class::Comment => "comment",
        Class::Set | Class::SetConfig | Class::Reset | Class::OtherSetting => "setting",
        Class::Relation(what) | Class::Opaque(what, _) => what,
        Class::Refused(Refusal::Data | Refusal::Query) => "data",
        Class::Refused(Refusal::Script) => "migration step",
        Class::Refused(Refusal::Transaction) => "command",
        Class::Refused(Refusal::Unknown) => "unknown statement",
    }
}
