//! ALTER TABLE and ALTER INDEX, folded into what they alter.

use super::classify::Refusal;
use super::grammar::{Node, Rule};
use super::read::{Reader, Relation};
use super::table::options;
use super::tree::{ConstraintKind, Level, PartitionOf, SqlTable};
use crate::catalog::{Ident, QualifiedName, ReplicaIdentity};
use crate::desired::At;
use crate::desired::problem::{Problem, ProblemKind, shown};

impl Reader<'_> {
    pub(super) fn alter_table(&mut self, statement: &Node<'_>) -> Level {
        let Some(name) = self.relation_name(&statement.only_of(Rule::relation)) else { return Level::Refused };
        let actions: Vec<Node<'_>> = statement.children().filter(|child| is_action(child.rule())).collect();
        let relation = self.relations.get(&name.value).copied();
        for action in actions {
            let n_problems = self.problems.len();
            let (what, level) = match (relation, action.rule()) {
                (_, Rule::refused_action) => {
                    self.refuse(Refusal::Script, action.span());
                    ("migration step", Level::Refused)
                }
                (_, Rule::owner_to) => ("owner", Level::NotCarried),
                (Some(Relation::Table(nth)), _) => self.alter_table_action(nth, &action),
                // pg_dump sets statistics, clustering and the like of other relations by ALTER TABLE, too.
                (Some(Relation::Other(what)), _) => (what, Level::NotCarried),
                (Some(Relation::Sequence(_) | Relation::Index { .. } | Relation::ConstraintIndex { .. }), _) => {
                    let message = format!("`{}` is no table", shown(&name.value.to_string()));
                    self.problems.push(Problem::at(ProblemKind::SqlUnknown, name.span.clone(), message, "not a table"));
                    ("alter table", Level::Refused)
                }
                (None, _) => {
                    self.no_such_relation(&name, "ALTER TABLE");
                    self.note(action.span(), "alter table", Level::Refused);
                    return Level::Refused;
                }
            };
            let level = if self.problems.len() > n_problems { Level::Refused } else { level };
            self.note(action.span(), what, level);
        }
        Level::Managed
    }

    /// The statement names something that the file has not created.
    pub(super) fn no_such_relation(&mut self, name: &At<QualifiedName>, what: &str) {
        let shown_name = name.value.to_string();
        let message = format!("{what} of `{}`, which the file has not created before", shown(&shown_name));
        let mut problem = Problem::at(ProblemKind::SqlUnknown, name.span.clone(), message, "not in this file");
        if self.suggestions_left > self.relations.len() {
            let known: Vec<String> = self.relations.keys().map(ToString::to_string).collect();
            problem.help = self.suggest(&shown_name, known.iter().map(String::as_str));
        }
        self.problems.push(problem);
    }

    fn alter_table_action(&mut self, nth: usize, action: &Node<'_>) -> (&'static str, Level) {
        let level = if self.schema.tables[nth].is_managed() { Level::Managed } else { Level::NotCarried };
        let what = match action.rule() {
            Rule::add_constraint => {
                self.add_constraint(nth, &action.only_of(Rule::table_constraint));
                "constraint"
            }
            Rule::alter_column => {
                self.alter_column(nth, action);
                "column"
            }
            Rule::attach_partition => {
                self.attach_partition(nth, action);
                "partition"
            }
            Rule::replica_identity => {
                self.replica_identity(nth, action);
                "replica identity"
            }
            Rule::cluster_on => {
                let index = self.idents(action).pop();
                if let Some(index) = &index {
                    self.index_of_table(nth, index);
                }
                self.schema.tables[nth].cluster_on = index;
                "cluster"
            }
            Rule::set_options => {
                self.schema.tables[nth].options.extend(options(action));
                "storage parameter"
            }
            Rule::set_tablespace => {
                self.schema.tables[nth].tablespace = self.idents(action).pop();
                "tablespace"
            }
            Rule::set_access_method => {
                self.schema.tables[nth].access_method = self.idents(action).pop();
                "access method"
            }
            Rule::not_carried_action => return (not_carried_word(action), Level::NotCarried),
            // `INHERIT parent`, as pg_dump --binary-upgrade writes it, and SET LOGGED.
            _ => {
                self.refuse(Refusal::Script, action.span());
                "migration step"
            }
        };
        (what, level)
    }

    fn add_constraint(&mut self, nth: usize, node: &Node<'_>) {
        let mut table = std::mem::replace(&mut self.schema.tables[nth], SqlTable::none());
        let before = table.constraints.len();
        self.table_constraint(node, &mut table);
        if table.constraints.len() > before {
            let n_problems = self.problems.len();
            self.check_constraint(&table, nth, before);
            let new = &table.constraints[before];
            if self.problems.len() == n_problems {
                self.register_constraint_index(&table, nth, new);
                let key = new.primary_columns().unwrap_or_default();
                for column in &mut table.columns {
                    column.not_null |= key.contains(&column.name.value);
                }
            }
        }
        self.schema.tables[nth] = table;
        if let Some(ConstraintKind::UsingIndex { primary, index }) =
            self.schema.tables[nth].constraints.get(before).map(|new| new.kind.clone())
        {
            self.constraint_using_index(nth, primary, &index);
        }
    }

    /// The index becomes the constraint's, and a primary key makes its columns NOT NULL.
    fn constraint_using_index(&mut self, nth: usize, primary: bool, name: &At<Ident>) {
        self.index_of_table(nth, name);
        let schema = self.schema.tables[nth].name.value.schema.clone();
        let known = self.relations.get(&QualifiedName { schema, name: name.value.clone() });
        let at = match known {
            Some(Relation::Index { index, .. }) => Some(*index),
            _ => None,
        };
        let table = &mut self.schema.tables[nth];
        let index = at.and_then(|at| table.indexes.get(at));
        let columns: Vec<Ident> =
            index.iter().flat_map(|index| &index.elements).filter_map(|element| element.column.clone()).collect();
        for column in table.columns.iter_mut().filter(|column| primary && columns.contains(&column.name.value)) {
            column.not_null = true;
        }
    }

    fn alter_column(&mut self, nth: usize, node: &Node<'_>) {
        let Some(name) = self.idents(node).into_iter().next() else {
            let message = "a table's column is named, not numbered";
            self.problems.push(Problem::at(ProblemKind::SqlSyntax, node.span(), message, "here"));
            return;
        };
        let Some(action) = node.children().last() else { return };
        if action.rule() == Rule::refused_column_action {
            return self.refuse(Refusal::Script, node.span());
        }
        let table = &self.schema.tables[nth];
        let Some(at) = table.columns.iter().position(|column| column.name.value == name.value) else {
            let inherits = table.partition_of.is_some() || !table.is_managed();
            if inherits {
                // Said of a partition's column, which its parent defines: pg_dump does so for defaults.
                return;
            }
            let table = std::mem::replace(&mut self.schema.tables[nth], SqlTable::none());
            self.no_such_column(&name, &table);
            self.schema.tables[nth] = table;
            return;
        };
        // Taken out while its parts are read, and put back at its place.
        let columns = &mut self.schema.tables[nth].columns;
        let last = columns.len() - 1;
        let mut column = columns.swap_remove(at);
        match action.rule() {
            Rule::set_default => {
                let expr = action.only_of(Rule::a_expr);
                let value = At { value: expr.text().to_owned(), span: expr.span() };
                if column.identity.is_some() || column.generated.is_some() {
                    let message = "the column makes its own values and cannot have a DEFAULT";
                    let problem = Problem::at(ProblemKind::SqlContradiction, value.span.clone(), message, "a DEFAULT");
                    self.problems.push(problem);
                }
                self.set_once(&mut column.default, value, "DEFAULT");
            }
            Rule::set_not_null => column.not_null = true,
            Rule::set_statistics => column.statistics = number_of(&action),
            Rule::set_storage => column.storage = self.lower_word(&action.only_of(Rule::storage)),
            Rule::set_compression => column.compression = self.lower_word(&action.only_of(Rule::compression)),
            Rule::set_column_options => column.options.extend(options(&action)),
            Rule::add_generated => {
                let identity = self.identity(&action);
                if column.default.is_some() || column.generated.is_some() {
                    let message = "the column has other values already and cannot be an identity";
                    self.problems.push(Problem::at(ProblemKind::SqlContradiction, action.span(), message, "identity"));
                }
                self.set_once(&mut column.identity, identity, "identity");
                column.not_null = true;
            }
            _ => {}
        }
        let columns = &mut self.schema.tables[nth].columns;
        columns.push(column);
        columns.swap(at, last);
    }

    fn lower_word(&mut self, node: &Node<'_>) -> Option<At<String>> {
        let word = node.children().last()?;
        Some(At { value: word.text().to_ascii_lowercase(), span: word.span() })
    }

    fn attach_partition(&mut self, nth: usize, action: &Node<'_>) {
        let Some(child) = self.relation_name(&action.only_of(Rule::relation)) else { return };
        let bound = action.only_of(Rule::bound_spec);
        let parent = At { value: self.schema.tables[nth].name.value.clone(), span: action.span() };
        if self.schema.tables[nth].partition_by.is_none() {
            let message = format!("`{}` is not partitioned", shown(&parent.value.to_string()));
            self.problems.push(Problem::at(ProblemKind::SqlUnknown, action.span(), message, "no PARTITION BY"));
        }
        match self.relations.get(&child.value) {
            Some(Relation::Table(at)) => {
                let table = &mut self.schema.tables[*at];
                if let Some(first) = &table.partition_of {
                    let message = format!("`{}` is a partition already", shown(&child.value.to_string()));
                    let problem = Problem::at(ProblemKind::SqlDuplicate, child.span, message, "again");
                    self.problems.push(problem.and(first.bound.span.clone(), "first here"));
                    return;
                }
                let bound = At { value: bound.text().to_owned(), span: bound.span() };
                table.partition_of = Some(PartitionOf { parent, bound, attached: true });
            }
            Some(Relation::Other(_)) => {}
            Some(_) | None => self.no_such_relation(&child, "ATTACH PARTITION"),
        }
    }

    fn replica_identity(&mut self, nth: usize, action: &Node<'_>) {
        let Some(which) = action.children().last() else { return };
        let value = match which.rule() {
            Rule::ri_nothing => ReplicaIdentity::Nothing,
            Rule::ri_full => ReplicaIdentity::Full,
            Rule::ri_default => ReplicaIdentity::Default,
            _ => {
                let Some(index) = self.idents(&which).pop() else { return };
                self.index_of_table(nth, &index);
                ReplicaIdentity::Index(index.value)
            }
        };
        self.schema.tables[nth].replica_identity = Some(At { value, span: action.span() });
    }

    /// Reports an index that is not the table's. Names that PostgreSQL would choose itself are not known here.
    fn index_of_table(&mut self, nth: usize, index: &At<Ident>) {
        let schema = self.schema.tables[nth].name.value.schema.clone();
        let name = QualifiedName { schema, name: index.value.clone() };
        let found = match self.relations.get(&name) {
            Some(Relation::Index { table, .. } | Relation::ConstraintIndex { table }) => *table == nth,
            Some(_) => false,
            None => self.with_unnamed.contains(&nth),
        };
        if !found {
            let message = format!("the table has no index `{}`", shown(index.value.as_str()));
            self.problems.push(Problem::at(ProblemKind::SqlUnknown, index.span.clone(), message, "no such index"));
        }
    }

    pub(super) fn alter_index(&mut self, statement: &Node<'_>) -> Level {
        let name_node = statement.only_of(Rule::any_name);
        let Some(name) = self.relation_name(&name_node) else { return Level::Refused };
        let Some(action) = statement.children().find(|child| is_action(child.rule())) else { return Level::Refused };
        if action.rule() == Rule::owner_to {
            return Level::NotCarried;
        }
        if action.rule() == Rule::refused_action {
            self.refuse(Refusal::Script, statement.span());
            return Level::Refused;
        }
        match self.relations.get(&name.value).copied() {
            Some(Relation::Index { .. } | Relation::ConstraintIndex { .. }) if action.rule() == Rule::attach_index => {
                self.attach_index(&name, &action);
            }
            Some(Relation::Index { table, index }) => self.alter_index_action(table, index, &action),
            Some(Relation::Other(_)) => return Level::NotCarried,
            _ => self.no_such_relation(&name, "ALTER INDEX"),
        }
        Level::Managed
    }

    fn attach_index(&mut self, parent: &At<QualifiedName>, action: &Node<'_>) {
        let Some(child) = self.relation_name(&action.only_of(Rule::any_name)) else { return };
        match self.relations.get(&child.value).copied() {
            Some(Relation::Index { table, index }) => {
                self.schema.tables[table].indexes[index].attached_to = Some(parent.clone());
            }
            // The index behind a key: the key is the parent's by its name alone.
            Some(Relation::ConstraintIndex { .. } | Relation::Other(_)) => {}
            Some(Relation::Table(_) | Relation::Sequence(_)) | None => {
                self.no_such_relation(&child, "ATTACH PARTITION");
            }
        }
    }

    fn alter_index_action(&mut self, table: usize, index: usize, action: &Node<'_>) {
        match action.rule() {
            Rule::alter_column => {
                let number = action.child(Rule::number).and_then(|number| number.text().parse().ok());
                let target = action.child(Rule::set_statistics).and_then(|set| number_of(&set));
                match (number, target) {
                    (Some(number), Some(target)) => {
                        self.schema.tables[table].indexes[index].statistics.insert(number, target.value);
                    }
                    _ => self.refuse(Refusal::Script, action.span()),
                }
            }
            Rule::set_options => self.schema.tables[table].indexes[index].options.extend(options(action)),
            _ => self.schema.tables[table].indexes[index].tablespace = self.idents(action).pop(),
        }
    }
}

fn is_action(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::attach_partition
            | Rule::attach_index
            | Rule::add_constraint
            | Rule::alter_column
            | Rule::owner_to
            | Rule::replica_identity
            | Rule::cluster_on
            | Rule::not_carried_action
            | Rule::set_options
            | Rule::set_tablespace
            | Rule::set_logged
            | Rule::set_access_method
            | Rule::inherit
            | Rule::refused_action
    )
}

fn not_carried_word(action: &Node<'_>) -> &'static str {
    if action.has(Rule::k_trigger) {
        "trigger"
    } else if action.has(Rule::k_rule) {
        "rule"
    } else if action.has(Rule::k_row) {
        "row security"
    } else {
        "trigger or rule"
    }
}

fn number_of(node: &Node<'_>) -> Option<At<i64>> {
    let number = node.child(Rule::signed)?;
    Some(At { value: number.text().parse().ok()?, span: number.span() })
}
