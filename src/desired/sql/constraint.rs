//! Constraints of columns and tables.

use std::collections::BTreeMap;
use std::ops::Range;

use super::directive::Directives;
use super::grammar::{Node, Rule};
use super::read::{Reader, Relation};
use super::table::{inside, options};
use super::tree::{ConstraintKind, ForeignKey, KeyColumns, SqlConstraint, SqlTable};
use crate::catalog::{Ident, QualifiedName};
use crate::desired::At;
use crate::desired::problem::{Problem, ProblemKind, shown};

/// What an attribute answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Question {
    Deferrable,
    NotDeferrable,
    Initially,
    Enforced,
    /// Of a sequence, not of a constraint.
    Sequence(&'static str),
}

/// `INDEX_MAX_KEYS` of PostgreSQL.
const KEY_COLUMNS_MAX: usize = 32;

fn constraint(name: Option<At<Ident>>, span: Range<usize>, kind: ConstraintKind) -> SqlConstraint {
    SqlConstraint {
        name,
        span,
        kind,
        deferrable: false,
        initially_deferred: false,
        not_valid: false,
        no_inherit: false,
        not_enforced: false,
        options: Vec::new(),
        tablespace: None,
        comment: None,
        directives: Directives::default(),
    }
}

impl Reader<'_> {
    /// `PRIMARY KEY`, `UNIQUE`, `CHECK` or `REFERENCES` behind a column.
    pub(super) fn column_constraint(
        &mut self,
        part: &Node<'_>,
        body: &Node<'_>,
        column: &At<Ident>,
        table: &mut SqlTable,
    ) {
        let name = self.constraint_name(part);
        let own = || KeyColumns { columns: vec![column.clone()], include: Vec::new(), without_overlaps: false };
        let kind = match body.rule() {
            Rule::primary_key => ConstraintKind::PrimaryKey(own()),
            Rule::unique => ConstraintKind::Unique { key: own(), nulls_not_distinct: is_nulls_not_distinct(body) },
            Rule::references => {
                let Some(key) = self.foreign_key(vec![column.clone()], false, body) else { return };
                ConstraintKind::ForeignKey(key)
            }
            _ => ConstraintKind::Check(inside(&body.only_of(Rule::group))),
        };
        let mut made = constraint(name, part.span(), kind);
        made.no_inherit = body.has(Rule::no_inherit);
        self.index_options(body, &mut made);
        table.constraints.push(made);
    }

    pub(super) fn table_constraint(&mut self, node: &Node<'_>, table: &mut SqlTable) {
        let name = self.constraint_name(node);
        let is_frame = |rule| matches!(rule, Rule::k_constraint | Rule::constraint_name | Rule::constraint_attr);
        let Some(body) = node.children().find(|child| !is_frame(child.rule())) else { return };
        let kind = match body.rule() {
            Rule::table_not_null => return self.table_not_null(node, &body, table),
            Rule::table_check => ConstraintKind::Check(inside(&body.only_of(Rule::group))),
            Rule::exclude => ConstraintKind::Exclude(exclusion(&body)),
            Rule::foreign_key => {
                let columns = body.only_of(Rule::fk_columns);
                let period = columns.has(Rule::period);
                let columns = self.fk_columns(&columns);
                let Some(key) = self.foreign_key(columns, period, &body.only_of(Rule::references)) else { return };
                ConstraintKind::ForeignKey(key)
            }
            rule => match body.child(Rule::using_index) {
                Some(using) => {
                    let Some(index) = self.idents(&using).pop() else { return };
                    ConstraintKind::UsingIndex { primary: rule == Rule::table_primary_key, index }
                }
                None => {
                    let key = self.key_columns(&body);
                    if rule == Rule::table_primary_key {
                        ConstraintKind::PrimaryKey(key)
                    } else {
                        ConstraintKind::Unique { key, nulls_not_distinct: is_nulls_not_distinct(&body) }
                    }
                }
            },
        };
        let mut made = constraint(name, node.span(), kind);
        self.index_options(&body, &mut made);
        for attribute in node.children().filter(|child| child.rule() == Rule::constraint_attr) {
            self.attribute(&attribute, &mut made);
        }
        table.constraints.push(made);
    }

    fn constraint_name(&mut self, node: &Node<'_>) -> Option<At<Ident>> {
        let name = node.child(Rule::constraint_name)?;
        self.idents(&name).pop()
    }

    fn table_not_null(&mut self, node: &Node<'_>, body: &Node<'_>, table: &mut SqlTable) {
        let Some(name) = self.idents(body).pop() else { return };
        if node.has(Rule::constraint_attr) {
            let message = "pcrd takes no NOT VALID, NO INHERIT or other attribute of a NOT NULL constraint";
            self.problems.push(Problem::at(ProblemKind::SqlRefused, node.span(), message, "this constraint"));
        }
        match table.columns.iter_mut().find(|column| column.name.value == name.value) {
            Some(column) => column.not_null = true,
            None => self.no_such_column(&name, table),
        }
    }

    fn key_columns(&mut self, body: &Node<'_>) -> KeyColumns {
        let columns = body.only_of(Rule::key_columns);
        let without_overlaps = columns.has(Rule::without_overlaps);
        let include = match body.child(Rule::include) {
            Some(include) => self.idents(&include.only_of(Rule::columns)),
            None => Vec::new(),
        };
        KeyColumns { columns: self.idents(&columns), include, without_overlaps }
    }

    fn fk_columns(&mut self, node: &Node<'_>) -> Vec<At<Ident>> {
        let mut columns = self.idents(node);
        if let Some(period) = node.child(Rule::period) {
            columns.extend(self.idents(&period));
        }
        columns
    }

    fn foreign_key(&mut self, columns: Vec<At<Ident>>, period: bool, body: &Node<'_>) -> Option<ForeignKey> {
        let table = self.relation_name(&body.only_of(Rule::relation))?;
        let references = match body.child(Rule::fk_columns) {
            Some(columns) => self.fk_columns(&columns),
            None => Vec::new(),
        };
        if !references.is_empty() && references.len() != columns.len() {
            let message = format!("{} columns reference {}", columns.len(), references.len());
            let problem = Problem::at(ProblemKind::SqlContradiction, body.span(), message, "as many on both sides");
            self.problems.push(problem);
        }
        let mut key =
            ForeignKey { columns, table, references, period, match_full: false, on_delete: None, on_update: None };
        for part in body.children() {
            match part.rule() {
                Rule::fk_match if part.has(Rule::k_full) => key.match_full = true,
                Rule::fk_match if part.has(Rule::k_partial) => {
                    let message = "MATCH PARTIAL does not exist in PostgreSQL";
                    self.problems.push(Problem::at(
                        ProblemKind::SqlRefused,
                        part.span(),
                        message,
                        "refused by the server",
                    ));
                }
                Rule::fk_action => {
                    let Some(on) = part.children().last() else { continue };
                    let action = on.only_of(Rule::action);
                    let value = At { value: action.text().to_ascii_uppercase(), span: action.span() };
                    let is_delete = on.rule() == Rule::on_delete;
                    let slot = if is_delete { &mut key.on_delete } else { &mut key.on_update };
                    let what = if is_delete { "ON DELETE" } else { "ON UPDATE" };
                    self.set_once(slot, value, what);
                }
                _ => {}
            }
        }
        Some(key)
    }

    fn index_options(&mut self, body: &Node<'_>, made: &mut SqlConstraint) {
        if let Some(with) = body.child(Rule::constraint_with) {
            made.options = options(&with);
        }
        if let Some(tablespace) = body.child(Rule::index_tablespace) {
            made.tablespace = self.idents(&tablespace).pop();
        }
    }

    /// DEFERRABLE and the like behind a column belong to the constraint before them.
    pub(super) fn attribute_of_column(
        &mut self,
        node: &Node<'_>,
        follows_constraint: bool,
        constraints: &mut [SqlConstraint],
    ) {
        match constraints.last_mut().filter(|_| follows_constraint) {
            Some(last) => self.attribute(node, last),
            None => {
                let message = format!("`{}` has no constraint before it", shown(node.text()));
                self.problems.push(Problem::at(ProblemKind::SqlSyntax, node.span(), message, "belongs to nothing"));
            }
        }
    }

    fn attribute(&mut self, node: &Node<'_>, made: &mut SqlConstraint) {
        use ConstraintKind::{Check, Exclude, ForeignKey, PrimaryKey, Unique, UsingIndex};
        let Some(attribute) = node.children().next() else { return };
        self.check_repeated(node, attribute.rule(), made);
        let can_wait =
            matches!(made.kind, PrimaryKey(_) | Unique { .. } | UsingIndex { .. } | ForeignKey(_) | Exclude(_));
        let can_be_checked = matches!(made.kind, ForeignKey(_) | Check(_));
        let fits = match attribute.rule() {
            Rule::attr_deferrable => {
                made.deferrable = true;
                can_wait
            }
            Rule::attr_initially_deferred => {
                made.initially_deferred = true;
                made.deferrable = true;
                can_wait
            }
            Rule::attr_not_valid => {
                made.not_valid = true;
                can_be_checked
            }
            Rule::attr_not_enforced => {
                made.not_enforced = true;
                can_be_checked
            }
            Rule::attr_enforced => can_be_checked,
            Rule::attr_no_inherit => {
                made.no_inherit = true;
                matches!(made.kind, Check(_))
            }
            _ => can_wait,
        };
        if !fits {
            let message = format!("this kind of constraint cannot be `{}`", shown(node.text()));
            let problem = Problem::at(ProblemKind::SqlContradiction, node.span(), message, "not for this constraint");
            self.problems.push(problem);
        }
    }

    /// `NOT DEFERRABLE DEFERRABLE`: PostgreSQL takes each of the two questions once.
    fn check_repeated(&mut self, node: &Node<'_>, rule: Rule, made: &mut SqlConstraint) {
        let question = match rule {
            Rule::attr_deferrable | Rule::attr_not_deferrable => Question::Deferrable,
            Rule::attr_initially_deferred | Rule::attr_initially_immediate => Question::Initially,
            Rule::attr_enforced | Rule::attr_not_enforced => Question::Enforced,
            _ => return,
        };
        let is_against = rule == Rule::attr_not_deferrable && made.initially_deferred
            || rule == Rule::attr_initially_deferred
                && self.answered.contains(&(made.span.start, Question::NotDeferrable));
        if rule == Rule::attr_not_deferrable {
            self.answered.insert((made.span.start, Question::NotDeferrable));
        }
        if !self.answered.insert((made.span.start, question)) || is_against {
            let message = format!("`{}` contradicts or repeats what was said before", shown(node.text()));
            self.problems.push(Problem::at(ProblemKind::SqlContradiction, node.span(), message, "one too many"));
        }
    }

    /// What can be said of a constraint without the database.
    pub(super) fn check_constraint(&mut self, table: &SqlTable, nth: usize, at: usize) {
        let new = &table.constraints[at];
        let duplicate = |first: Range<usize>, span: Range<usize>, message: String| {
            Problem::at(ProblemKind::SqlDuplicate, span, message, "again").and(first, "first here")
        };
        if let Some(name) = &new.name {
            let twin = self.constraint_names.insert((nth, name.value.clone()), (at, name.span.clone()));
            if let Some((_, twin)) = twin {
                let message = format!("the table has two constraints `{}`", shown(name.value.as_str()));
                self.problems.push(duplicate(twin, name.span.clone(), message));
            }
        } else {
            self.with_unnamed.insert(nth);
        }
        if is_primary(&new.kind)
            && let Some(first) = self.primary_keys.insert(nth, new.span.clone())
        {
            let message = "the table has two primary keys".to_owned();
            self.problems.push(duplicate(first, new.span.clone(), message));
        }
        let (columns, include): (&[At<Ident>], &[At<Ident>]) = match &new.kind {
            ConstraintKind::PrimaryKey(key) | ConstraintKind::Unique { key, .. } => (&key.columns, &key.include),
            ConstraintKind::ForeignKey(key) => (&key.columns, &[]),
            ConstraintKind::UsingIndex { .. } | ConstraintKind::Check(_) | ConstraintKind::Exclude(_) => (&[], &[]),
        };
        if columns.len() + include.len() > KEY_COLUMNS_MAX {
            let message = format!("PostgreSQL takes at most {KEY_COLUMNS_MAX} columns in a key");
            self.problems.push(Problem::at(ProblemKind::SqlRefused, new.span.clone(), message, "too many columns"));
            return;
        }
        let mut seen = BTreeMap::new();
        for column in columns {
            if let Some(first) = seen.insert(&column.value, &column.span) {
                let message = format!("the key has the column `{}` twice", shown(column.value.as_str()));
                self.problems.push(duplicate(first.clone(), column.span.clone(), message));
            }
        }
        for column in columns.iter().chain(include) {
            if table.column(&column.value).is_none() {
                self.no_such_column(column, table);
            }
        }
    }

    /// Columns of partitions, of typed tables and of children stand elsewhere.
    pub(super) fn no_such_column(&mut self, column: &At<Ident>, table: &SqlTable) {
        if table.partition_of.is_some() || !table.is_managed() {
            return;
        }
        let message = format!("the table has no column `{}`", shown(column.value.as_str()));
        let mut problem = Problem::at(ProblemKind::SqlUnknown, column.span.clone(), message, "no such column");
        let names = table.columns.iter().map(|column| column.name.value.as_str());
        problem.help = self.suggest(column.value.as_str(), names);
        self.problems.push(problem);
    }

    /// The index behind a key has a name in the table's schema.
    pub(super) fn register_constraint_index(&mut self, table: &SqlTable, nth: usize, constraint: &SqlConstraint) {
        let has_index = matches!(
            constraint.kind,
            ConstraintKind::PrimaryKey(_) | ConstraintKind::Unique { .. } | ConstraintKind::Exclude(_)
        );
        if !has_index {
            return;
        }
        let schema = table.name.value.schema.clone();
        let relation = Relation::ConstraintIndex { table: nth };
        if let Some(name) = &constraint.name {
            let value = QualifiedName { schema, name: name.value.clone() };
            self.create(&At { value, span: name.span.clone() }, relation);
        } else if constraint.primary_columns().is_some()
            && let Ok(name) = Ident::new(format!("{}_pkey", table.name.value.name.as_str()))
        {
            // PostgreSQL takes another name when this one is taken.
            self.relations.entry(QualifiedName { schema, name }).or_insert(relation);
        }
    }
}

/// Columns, INCLUDE columns and flags: keys with the same shape have the same index.
type KeyShape = (Vec<Ident>, Vec<Ident>, [bool; 4]);

/// PostgreSQL makes one index of keys that are the same (`PRIMARY KEY UNIQUE`), and takes a name from any of them.
pub(super) fn merge_same_keys(constraints: &mut Vec<SqlConstraint>) {
    let mut first: BTreeMap<KeyShape, usize> = BTreeMap::new();
    let mut kept: Vec<SqlConstraint> = Vec::with_capacity(constraints.len());
    // The primary key comes first in PostgreSQL's list, so it is the one that stays.
    let primary = constraints.iter().position(|constraint| matches!(constraint.kind, ConstraintKind::PrimaryKey(_)));
    let order = primary.into_iter().chain((0..constraints.len()).filter(|at| Some(*at) != primary));
    let mut merged: BTreeMap<usize, Option<At<Ident>>> = BTreeMap::new();
    for at in order {
        let constraint = &constraints[at];
        let (key, nulls_not_distinct) = match &constraint.kind {
            ConstraintKind::PrimaryKey(key) => (key, false),
            ConstraintKind::Unique { key, nulls_not_distinct } => (key, *nulls_not_distinct),
            _ => continue,
        };
        let names = |columns: &[At<Ident>]| columns.iter().map(|column| column.value.clone()).collect();
        let flags = [nulls_not_distinct, constraint.deferrable, constraint.initially_deferred, key.without_overlaps];
        let same = first.entry((names(&key.columns), names(&key.include), flags)).or_insert(at);
        let is_unique = matches!(constraint.kind, ConstraintKind::Unique { .. });
        if *same != at && is_unique {
            let name = constraint.name.clone();
            let slot = merged.entry(*same).or_default();
            *slot = slot.take().or(name);
            merged.entry(at).or_default();
        }
    }
    let survivors: std::collections::BTreeSet<usize> = first.into_values().collect();
    for (at, mut constraint) in constraints.drain(..).enumerate() {
        match merged.remove(&at) {
            Some(name) if survivors.contains(&at) => {
                constraint.name = constraint.name.or(name);
                kept.push(constraint);
            }
            Some(_) => {}
            None => kept.push(constraint),
        }
    }
    *constraints = kept;
}

fn is_primary(kind: &ConstraintKind) -> bool {
    matches!(kind, ConstraintKind::PrimaryKey(_) | ConstraintKind::UsingIndex { primary: true, .. })
}

fn is_nulls_not_distinct(body: &Node<'_>) -> bool {
    body.child(Rule::nulls_distinct).is_some_and(|nulls| nulls.has(Rule::nulls_not))
}

/// Everything behind EXCLUDE that is no option of the index.
fn exclusion(body: &Node<'_>) -> At<String> {
    let text = body.text();
    let rest = text["exclude".len()..].trim_start();
    let end = body.span().end;
    At { value: rest.to_owned(), span: end - rest.len()..end }
}
