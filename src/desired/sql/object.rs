//! Indexes, sequences, comments, types, and other relations.

use std::collections::BTreeMap;
use std::ops::Range;

use super::classify::Refusal;
use super::constraint::Question;
use super::directive::Directives;
use super::grammar::{Node, Rule};
use super::lex::{LexKind, Lexer};
use super::read::{Reader, Relation};
use super::table::{inside, options};
use super::tree::{IndexElement, Level, SequenceOptions, SqlDomain, SqlIndex, SqlSequence};
use crate::catalog::{Ident, QualifiedName};
use crate::desired::At;
use crate::desired::problem::{Problem, ProblemKind, shown};

impl Reader<'_> {
    pub(super) fn create_index(&mut self, statement: &Node<'_>) -> Level {
        let Some(on) = self.relation_name(&statement.only_of(Rule::relation)) else { return Level::Refused };
        let nth = match self.relations.get(&on.value).copied() {
            Some(Relation::Table(nth)) => nth,
            Some(Relation::Other(_)) => {
                if let Some(name) = self.index_name(statement) {
                    let value = QualifiedName { schema: on.value.schema, name: name.value };
                    self.create(&At { value, span: name.span }, Relation::Other("index"));
                }
                return Level::NotCarried;
            }
            _ => {
                self.no_such_relation(&on, "CREATE INDEX");
                return Level::Refused;
            }
        };
        let mut index = SqlIndex {
            name: self.index_name(statement),
            span: statement.span(),
            unique: false,
            only: false,
            method: None,
            elements: Vec::new(),
            include: Vec::new(),
            nulls_not_distinct: false,
            options: Vec::new(),
            tablespace: self.tablespace.clone(),
            predicate: None,
            statistics: BTreeMap::new(),
            attached_to: None,
            comment: None,
            directives: Directives::default(),
        };
        for part in statement.children() {
            match part.rule() {
                Rule::unique_index => index.unique = true,
                Rule::only => index.only = true,
                Rule::using_method => index.method = self.idents(&part).pop(),
                Rule::index_elements => {
                    let elements: Vec<Node<'_>> = part.children().collect();
                    index.elements = elements.iter().map(|element| self.index_element(element)).collect();
                }
                Rule::include => index.include = self.idents(&part.only_of(Rule::columns)),
                Rule::nulls_distinct => index.nulls_not_distinct = part.has(Rule::nulls_not),
                Rule::with_options => index.options = options(&part),
                Rule::tablespace => index.tablespace = self.idents(&part).pop(),
                Rule::where_clause => {
                    let expr = part.only_of(Rule::a_expr);
                    index.predicate = Some(At { value: expr.text().to_owned(), span: expr.span() });
                }
                _ => {}
            }
        }
        let table = std::mem::replace(&mut self.schema.tables[nth], super::tree::SqlTable::none());
        let columns = index
            .elements
            .iter()
            .filter_map(|element| element.column.clone().map(|value| At { value, span: element.text.span.clone() }));
        for column in columns.chain(index.include.clone()) {
            if table.column(&column.value).is_none() {
                self.no_such_column(&column, &table);
            }
        }
        let at = table.indexes.len();
        let level = if table.is_managed() { Level::Managed } else { Level::NotCarried };
        let schema = table.name.value.schema.clone();
        self.schema.tables[nth] = table;
        if let Some(name) = &index.name {
            let value = QualifiedName { schema, name: name.value.clone() };
            self.create(&At { value, span: name.span.clone() }, Relation::Index { table: nth, index: at });
        }
        if index.name.is_none() {
            self.with_unnamed.insert(nth);
        }
        self.schema.tables[nth].indexes.push(index);
        level
    }

    fn index_name(&mut self, statement: &Node<'_>) -> Option<At<Ident>> {
        let name = statement.child(Rule::index_name)?;
        self.idents(&name).pop()
    }

    fn index_element(&mut self, element: &Node<'_>) -> IndexElement {
        let column = match element.child(Rule::index_column) {
            Some(column) => self.idents(&column).pop().map(|name| name.value),
            None => None,
        };
        IndexElement { text: At { value: element.text().to_owned(), span: element.span() }, column }
    }

    pub(super) fn create_sequence(&mut self, statement: &Node<'_>) -> Level {
        let Some(name) = self.created_name(&statement.only_of(Rule::relation)) else { return Level::Refused };
        let nth = self.schema.sequences.len();
        if !self.create(&name, Relation::Sequence(nth)) {
            return Level::Refused;
        }
        let span = statement.span();
        let mut sequence =
            SqlSequence { name, span, options: SequenceOptions::default(), owned_by: None, comment: None };
        self.sequence_options(statement, &mut sequence);
        self.schema.sequences.push(sequence);
        if statement.has(Rule::temporary) { Level::NotCarried } else { Level::Managed }
    }

    fn sequence_options(&mut self, statement: &Node<'_>, sequence: &mut SqlSequence) {
        let options: Vec<Node<'_>> =
            statement.children().filter(|child| child.rule() == Rule::sequence_option).collect();
        for option in options {
            let option = option.only();
            match option.rule() {
                Rule::owned_by => match option.child(Rule::any_name) {
                    Some(owner) => sequence.owned_by = self.column_name(&owner),
                    None => sequence.owned_by = None,
                },
                Rule::sequence_name | Rule::restart => {
                    let message = format!("`{}` says nothing about a sequence's final state", shown(option.text()));
                    self.problems.push(Problem::at(ProblemKind::SqlRefused, option.span(), message, "not here"));
                }
                _ => self.sequence_option(&option, sequence.span.start, &mut sequence.options),
            }
        }
    }

    pub(super) fn sequence_option(&mut self, option: &Node<'_>, into_place: usize, into: &mut SequenceOptions) {
        let what = option_word(option.rule());
        if !self.answered.insert((into_place, Question::Sequence(what))) {
            let message = format!("the sequence has {what} twice");
            self.problems.push(Problem::at(ProblemKind::SqlContradiction, option.span(), message, "again"));
        }
        let number = option.child(Rule::signed).map(|number| (number.text().parse::<i64>(), number.span()));
        let number = match number {
            Some((Ok(number), _)) => Some(number),
            Some((Err(_), span)) => {
                let message = "the number does not fit into 64 bits";
                self.problems.push(Problem::at(ProblemKind::SqlRefused, span, message, "too large"));
                None
            }
            None => None,
        };
        match option.rule() {
            Rule::sequence_type => {
                let ty = option.only_of(Rule::column_type);
                into.ty = Some(At { value: ty.text().to_owned(), span: ty.span() });
            }
            Rule::increment => into.increment = number,
            Rule::minvalue => into.min = number,
            Rule::maxvalue => into.max = number,
            Rule::sequence_start => into.start = number,
            Rule::cache => into.cache = number,
            Rule::cycle => into.cycle = true,
            _ => {}
        }
    }

    pub(super) fn alter_sequence(&mut self, statement: &Node<'_>) -> Level {
        if statement.has(Rule::owner_to) {
            return Level::NotCarried;
        }
        let span = statement.span();
        let only_owner = statement
            .children()
            .filter(|child| child.rule() == Rule::sequence_option)
            .all(|option| option.only().rule() == Rule::owned_by);
        if statement.has(Rule::refused_action) || !only_owner {
            self.refuse(Refusal::Script, span);
            return Level::Refused;
        }
        let Some(name) = self.relation_name(&statement.only_of(Rule::relation)) else { return Level::Refused };
        let Some(Relation::Sequence(nth)) = self.relations.get(&name.value).copied() else {
            self.no_such_relation(&name, "ALTER SEQUENCE");
            return Level::Refused;
        };
        let owners: Vec<Node<'_>> = statement
            .children()
            .filter(|child| child.rule() == Rule::sequence_option)
            .map(|option| option.only())
            .collect();
        for owner in owners {
            let owner = match owner.child(Rule::any_name) {
                Some(owner) => self.column_name(&owner),
                None => None,
            };
            self.schema.sequences[nth].owned_by = owner;
        }
        Level::Managed
    }

    /// `table.column` or `schema.table.column` of this file.
    fn column_name(&mut self, node: &Node<'_>) -> Option<At<(QualifiedName, Ident)>> {
        let mut parts = self.parts(node);
        let column = parts.pop()?;
        if parts.is_empty() {
            let message = format!("`{}` names no column: write table and column", shown(node.text()));
            self.problems.push(Problem::at(ProblemKind::SqlName, node.span(), message, "one part only"));
            return None;
        }
        let table = self.found_name(&parts, node)?;
        match self.relations.get(&table.value).copied() {
            Some(Relation::Table(nth)) => {
                let table = std::mem::replace(&mut self.schema.tables[nth], super::tree::SqlTable::none());
                if table.column(&column.value).is_none() {
                    self.no_such_column(&column, &table);
                }
                self.schema.tables[nth] = table;
            }
            Some(Relation::Other(_)) => {}
            _ => {
                self.no_such_relation(&table, "a column");
                return None;
            }
        }
        Some(At { value: (table.value, column.value), span: node.span() })
    }

    pub(super) fn comment(&mut self, statement: &Node<'_>) -> Level {
        let text = match statement.child(Rule::text) {
            Some(text) => self.string(&text),
            None => None,
        };
        if let Some(on) = statement.child(Rule::on_constraint) {
            return self.comment_on_constraint(&on, text);
        }
        let on = statement.only_of(Rule::on_object);
        let name_node = on.only_of(Rule::any_name);
        if on.has(Rule::k_column) {
            return self.comment_on_column(&name_node, text);
        }
        let Some(name) = self.relation_name(&name_node) else { return Level::Refused };
        match self.relations.get(&name.value).copied() {
            Some(Relation::Table(nth)) if on.has(Rule::k_table) => {
                self.schema.tables[nth].comment = text;
                self.level_of(nth)
            }
            Some(Relation::Index { table, index }) if on.has(Rule::k_index) => {
                self.schema.tables[table].indexes[index].comment = text;
                self.level_of(table)
            }
            // The index behind a constraint; the constraint has a comment of its own.
            Some(Relation::ConstraintIndex { .. }) if on.has(Rule::k_index) => Level::NotCarried,
            Some(Relation::Sequence(nth)) if on.has(Rule::k_sequence) => {
                self.schema.sequences[nth].comment = text;
                Level::Managed
            }
            Some(Relation::Other(_)) => Level::NotCarried,
            _ => {
                self.no_such_relation(&name, "COMMENT");
                Level::Refused
            }
        }
    }

    fn level_of(&self, table: usize) -> Level {
        if self.schema.tables[table].is_managed() { Level::Managed } else { Level::NotCarried }
    }

    fn comment_on_column(&mut self, node: &Node<'_>, text: Option<At<String>>) -> Level {
        let Some(found) = self.column_name(node) else {
            // A column of a composite type: the type is a prerequisite, its comment nobody's.
            return Level::NotCarried;
        };
        let (table, column) = found.value;
        let Some(Relation::Table(nth)) = self.relations.get(&table).copied() else { return Level::NotCarried };
        if let Some(column) = self.schema.tables[nth].columns.iter_mut().find(|known| known.name.value == column) {
            column.comment = text;
        }
        self.level_of(nth)
    }

    fn comment_on_constraint(&mut self, on: &Node<'_>, text: Option<At<String>>) -> Level {
        let Some(name) = self.idents(on).into_iter().next() else { return Level::Refused };
        if on.has(Rule::k_domain) {
            return Level::NotCarried;
        }
        let Some(table) = self.relation_name(&on.only_of(Rule::any_name)) else { return Level::Refused };
        let Some(Relation::Table(nth)) = self.relations.get(&table.value).copied() else {
            self.no_such_relation(&table, "COMMENT");
            return Level::Refused;
        };
        match self.constraint_names.get(&(nth, name.value.clone())) {
            Some((at, _)) => {
                if let Some(constraint) = self.schema.tables[nth].constraints.get_mut(*at) {
                    constraint.comment = text;
                }
                self.level_of(nth)
            }
            // Named by PostgreSQL itself. NOT NULL (18), whose name is not kept, is left at the end.
            None => {
                self.schema.tables[nth].comments.extend(text.map(|text| (name.value, text)));
                self.level_of(nth)
            }
        }
    }

    /// Composite types have columns that a COMMENT can name; of the others nothing needs to be known.
    pub(super) fn create_type(&mut self, statement: &Node<'_>) -> Level {
        let Some(name) = self.created_name(&statement.only_of(Rule::any_name)) else { return Level::Refused };
        if statement.has(Rule::k_as) && statement.has(Rule::parens) {
            self.create(&name, Relation::Other("type"));
        }
        Level::Prerequisite
    }

    pub(super) fn create_enum(&mut self, statement: &Node<'_>) -> Level {
        let Some(name) = self.created_name(&statement.only_of(Rule::any_name)) else { return Level::Refused };
        let texts: Vec<Node<'_>> = statement.children().filter(|child| child.rule() == Rule::text).collect();
        let mut labels = Vec::new();
        let mut seen = BTreeMap::new();
        for text in &texts {
            let Some(label) = self.string(text) else { continue };
            if let Some(first) = seen.insert(label.value.clone(), label.span.clone()) {
                let message = format!("the enum has the label `{}` twice", shown(&label.value));
                let problem = Problem::at(ProblemKind::SqlDuplicate, label.span, message, "again");
                self.problems.push(problem.and(first, "first here"));
            }
            labels.push(label.value);
        }
        self.schema.enums.insert(name.value, At { value: labels, span: statement.span() });
        Level::Prerequisite
    }

    pub(super) fn create_domain(&mut self, statement: &Node<'_>) -> Level {
        let Some(name) = self.created_name(&statement.only_of(Rule::any_name)) else { return Level::Refused };
        let base = statement.only_of(Rule::column_type);
        let mut domain = SqlDomain {
            span: statement.span(),
            base: At { value: base.text().to_owned(), span: base.span() },
            not_null: false,
            default: None,
            checks: Vec::new(),
        };
        for part in statement.children().filter(|child| child.rule() == Rule::domain_constraint) {
            let name = match part.child(Rule::constraint_name) {
                Some(name) => self.idents(&name).pop(),
                None => None,
            };
            let Some(body) = part.children().last() else { continue };
            match body.rule() {
                Rule::not_null => domain.not_null = true,
                Rule::default => {
                    let expr = body.only_of(Rule::b_expr);
                    domain.default = Some(At { value: expr.text().to_owned(), span: expr.span() });
                }
                Rule::check => domain.checks.push((name, inside(&body.only_of(Rule::group)))),
                _ => {}
            }
        }
        self.schema.domains.insert(name.value, domain);
        Level::Prerequisite
    }

    /// CREATE VIEW and the like: the name is enough, so that what comes later finds it.
    pub(super) fn other_relation(&mut self, span: Range<usize>, what: &'static str) {
        let text = &self.text[span.clone()];
        let mut lexer = Lexer::new(text);
        let mut names: Vec<Ident> = Vec::new();
        let mut after_dot = false;
        while let Ok(Some(lexeme)) = lexer.next() {
            let written = &text[lexeme.span.clone()];
            let name = match lexeme.kind {
                LexKind::Word if !after_dot && is_head_word(written) => continue,
                LexKind::Word => written.to_ascii_lowercase(),
                LexKind::Quoted => written.trim_matches('"').replace("\"\"", "\""),
                LexKind::Symbol('.') => {
                    after_dot = true;
                    continue;
                }
                LexKind::LineComment | LexKind::BlockComment => continue,
                LexKind::Text | LexKind::Number | LexKind::Symbol(_) => break,
            };
            if !names.is_empty() && !after_dot {
                break;
            }
            after_dot = false;
            let Ok(name) = Ident::new(name) else { return };
            names.push(name);
        }
        let name = match names.as_slice() {
            [name] => self.search_path.first().map(|schema| (schema.clone(), name.clone())),
            [schema, name] => Some((schema.clone(), name.clone())),
            _ => None,
        };
        if let Some((schema, name)) = name {
            // CREATE OR REPLACE VIEW may come twice.
            let value = QualifiedName { schema, name };
            if !matches!(self.relations.get(&value), Some(Relation::Other(_))) {
                self.create(&At { value, span }, Relation::Other(what));
            }
        }
    }
}

fn option_word(rule: Rule) -> &'static str {
    match rule {
        Rule::sequence_type => "AS",
        Rule::increment => "INCREMENT",
        Rule::minvalue | Rule::no_minvalue => "MINVALUE",
        Rule::maxvalue | Rule::no_maxvalue => "MAXVALUE",
        Rule::sequence_start => "START",
        Rule::cache => "CACHE",
        Rule::cycle | Rule::no_cycle => "CYCLE",
        _ => "LOGGED",
    }
}

fn is_head_word(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    [
        "create",
        "or",
        "replace",
        "temp",
        "temporary",
        "recursive",
        "materialized",
        "view",
        "foreign",
        "table",
        "if",
        "not",
        "exists",
        "import",
        "schema",
    ]
    .contains(&word.as_str())
}
