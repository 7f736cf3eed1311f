//! CREATE TABLE and its columns.

use std::collections::BTreeMap;

use super::directive::Directives;
use super::grammar::{Node, Rule};
use super::read::{Reader, Relation};
use super::tree::{
    Level, PartitionOf, SequenceOptions, SqlColumn, SqlConstraint, SqlGenerated, SqlIdentity, SqlTable, Unsupported,
};
use crate::catalog::{Ident, Persistence};
use crate::desired::At;
use crate::desired::problem::{Problem, ProblemKind, shown};

/// `MaxHeapAttributeNumber` of PostgreSQL.
const COLUMNS_MAX: usize = 1600;

/// PostgreSQL's own columns: no table can have one of these names.
const SYSTEM_COLUMNS: [&str; 6] = ["tableoid", "cmax", "xmax", "cmin", "xmin", "ctid"];

impl Reader<'_> {
    pub(super) fn create_table(&mut self, statement: &Node<'_>) -> Level {
        let node = statement.only();
        let Some(relation) = node.child(Rule::relation) else { return Level::Refused };
        let path = std::mem::take(&mut self.search_path);
        if node.has(Rule::temporary) {
            self.search_path = vec![Ident::new("pg_temp").expect("a name")];
        } else {
            self.search_path.clone_from(&path);
        }
        let name = self.created_name(&relation);
        self.search_path = path;
        let mut table = SqlTable {
            name: At { value: placeholder(), span: relation.span() },
            span: node.span(),
            search_path: self.search_path.clone(),
            tablespace: self.tablespace.clone(),
            access_method: self.access_method.clone(),
            ..SqlTable::none()
        };
        let has_name = name.is_some();
        if let Some(name) = name {
            table.name = name;
        }
        let unsupported = |what, node: &Node<'_>| At { value: what, span: node.span() };
        if node.rule() == Rule::create_table_as {
            table.unsupported.push(unsupported(Unsupported::AsQuery, &node));
        }
        for part in node.children() {
            match part.rule() {
                Rule::temporary => {
                    table.persistence = Persistence::Temporary;
                    table.unsupported.push(unsupported(Unsupported::Temporary, &part));
                }
                Rule::unlogged => table.persistence = Persistence::Unlogged,
                Rule::inherits => table.unsupported.push(unsupported(Unsupported::Inherits, &part)),
                Rule::of_type => {
                    table.unsupported.push(unsupported(Unsupported::OfType, &part));
                    if let Some(body) = part.child(Rule::typed_body) {
                        self.typed_body(&body, &mut table);
                    }
                }
                Rule::table_body => self.table_body(&part, &mut table),
                Rule::partition_of => self.partition_of(&part, &mut table),
                Rule::partition_by => {
                    let key = part.only_of(Rule::partition_key);
                    table.partition_by = Some(At { value: key.text().to_owned(), span: key.span() });
                }
                Rule::using_method => table.access_method = self.idents(&part).pop(),
                Rule::with_options => table.options = options(&part),
                Rule::tablespace => table.tablespace = self.idents(&part).pop(),
                _ => {}
            }
        }
        self.check_table(&mut table);
        if !has_name || table.columns.len() > COLUMNS_MAX {
            return Level::Refused;
        }
        let nth = self.schema.tables.len();
        if !self.create(&table.name.clone(), Relation::Table(nth)) {
            return Level::Refused;
        }
        let level = if table.is_managed() { Level::Managed } else { Level::NotCarried };
        for constraint in &table.constraints {
            self.register_constraint_index(&table, nth, constraint);
        }
        self.schema.tables.push(table);
        level
    }

    fn table_body(&mut self, body: &Node<'_>, table: &mut SqlTable) {
        for element in body.children() {
            match element.rule() {
                Rule::column => self.column(&element, table),
                Rule::table_constraint => self.table_constraint(&element, table),
                Rule::like_table => {
                    table.unsupported.push(At { value: Unsupported::Like, span: element.span() });
                }
                _ => {}
            }
        }
    }

    /// Of a partition or typed table: constraints, and columns that others define.
    fn typed_body(&mut self, body: &Node<'_>, table: &mut SqlTable) {
        for element in body.children() {
            match element.rule() {
                Rule::table_constraint => self.table_constraint(&element, table),
                Rule::typed_column => {
                    let Some(name) = self.idents(&element).into_iter().next() else { continue };
                    // The type is the parent's; what else is said here, is said of this table's column alone.
                    let ty = At { value: String::new(), span: name.span.clone() };
                    let column = self.column_of(&element, name, ty, table);
                    table.columns.push(column);
                }
                _ => {}
            }
        }
    }

    fn partition_of(&mut self, part: &Node<'_>, table: &mut SqlTable) {
        let parent = part.child(Rule::relation).and_then(|relation| self.relation_name(&relation));
        let bound = part.only_of(Rule::bound_spec);
        if let Some(body) = part.child(Rule::typed_body) {
            self.typed_body(&body, table);
        }
        let Some(parent) = parent else { return };
        let known = matches!(self.relations.get(&parent.value), Some(Relation::Table(nth))
            if self.schema.tables[*nth].partition_by.is_some());
        if !known {
            let message = format!("`{}` is no partitioned table of this file", shown(&parent.value.to_string()));
            let problem = Problem::at(ProblemKind::SqlUnknown, parent.span.clone(), message, "no PARTITION BY before");
            self.problems.push(problem);
        }
        table.partition_of = Some(PartitionOf {
            parent,
            bound: At { value: bound.text().to_owned(), span: bound.span() },
            attached: false,
        });
    }

    fn column(&mut self, node: &Node<'_>, table: &mut SqlTable) {
        let Some(name) = self.idents(node).into_iter().next() else { return };
        let ty = node.only_of(Rule::column_type);
        if ty.has(Rule::setof) {
            let message = "a column cannot be a set";
            self.problems.push(Problem::at(ProblemKind::SqlRefused, ty.span(), message, "SETOF"));
        }
        let ty = At { value: ty.text().to_owned(), span: ty.span() };
        let column = self.column_of(node, name, ty, table);
        table.columns.push(column);
    }

    fn column_of(&mut self, node: &Node<'_>, name: At<Ident>, ty: At<String>, table: &mut SqlTable) -> SqlColumn {
        let serial = serial_of(&ty.value);
        let mut column = SqlColumn {
            name,
            span: node.span(),
            ty: At { value: serial.map_or(ty.value, ToOwned::to_owned), span: ty.span },
            serial: serial.is_some(),
            collation: None,
            not_null: serial.is_some(),
            default: None,
            identity: None,
            generated: None,
            storage: None,
            compression: None,
            statistics: None,
            options: Vec::new(),
            comment: None,
            directives: Directives::default(),
        };
        let mut nullable: Option<Node<'_>> = None;
        let first_constraint = table.constraints.len();
        let mut last_has_attributes = false;
        for part in node.children() {
            match part.rule() {
                Rule::storage => column.storage = Some(word_of(&part)),
                Rule::compression => column.compression = Some(word_of(&part)),
                Rule::collate => {
                    let collation = part.only_of(Rule::any_name);
                    let collation = At { value: collation.text().to_owned(), span: collation.span() };
                    self.set_once(&mut column.collation, collation, "COLLATE");
                }
                Rule::constraint_attr => {
                    self.attribute_of_column(&part, last_has_attributes, &mut table.constraints[first_constraint..]);
                }
                Rule::column_constraint => {
                    // Behind CONSTRAINT and the name, if any.
                    let Some(body) = part.children().last() else { continue };
                    last_has_attributes = false;
                    match body.rule() {
                        Rule::not_null => column.not_null = true,
                        Rule::null => nullable = Some(part),
                        Rule::default => {
                            let expr = body.only_of(Rule::b_expr);
                            let value = At { value: expr.text().to_owned(), span: expr.span() };
                            self.set_once(&mut column.default, value, "DEFAULT");
                        }
                        Rule::identity => {
                            let identity = self.identity(&body);
                            self.set_once(&mut column.identity, identity, "identity");
                        }
                        Rule::generated => {
                            let value = SqlGenerated {
                                expr: inside(&body.only_of(Rule::group)).value,
                                stored: body
                                    .child(Rule::generated_kind)
                                    .is_some_and(|kind| kind.text().eq_ignore_ascii_case("stored")),
                            };
                            let value = At { value, span: body.span() };
                            self.set_once(&mut column.generated, value, "generation expression");
                        }
                        _ => {
                            self.column_constraint(&part, &body, &column.name, table);
                            last_has_attributes = true;
                        }
                    }
                }
                _ => {}
            }
        }
        self.check_column(&column, nullable.as_ref());
        column.not_null |= column.identity.is_some();
        column
    }

    pub(super) fn identity(&mut self, node: &Node<'_>) -> At<SqlIdentity> {
        let kind = node.only_of(Rule::identity_kind);
        let mut sequence = SequenceOptions::default();
        let options: Vec<Node<'_>> = node.children().filter(|child| child.rule() == Rule::sequence_option).collect();
        for option in &options {
            let option = option.only();
            match option.rule() {
                Rule::sequence_name => {
                    let name = option.only_of(Rule::any_name);
                    sequence.name = self.created_name(&name);
                }
                Rule::owned_by | Rule::restart => {
                    let message = format!("an identity column cannot have `{}`", shown(option.text()));
                    self.problems.push(Problem::at(ProblemKind::SqlRefused, option.span(), message, "not here"));
                }
                _ => self.sequence_option(&option, node.span().start, &mut sequence),
            }
        }
        let value = SqlIdentity { always: kind.text().eq_ignore_ascii_case("always"), sequence };
        At { value, span: node.span() }
    }

    pub(super) fn set_once<T>(&mut self, slot: &mut Option<At<T>>, value: At<T>, what: &str) {
        if let Some(first) = slot {
            let message = format!("the column has two of {what}");
            let problem = Problem::at(ProblemKind::SqlContradiction, value.span, message, "again");
            self.problems.push(problem.and(first.span.clone(), "first here"));
        } else {
            *slot = Some(value);
        }
    }

    fn check_column(&mut self, column: &SqlColumn, nullable: Option<&Node<'_>>) {
        let name = shown(column.name.value.as_str());
        let sources: Vec<_> = [
            column.default.as_ref().map(|default| (&default.span, "a DEFAULT")),
            column.identity.as_ref().map(|identity| (&identity.span, "an identity")),
            column.generated.as_ref().map(|generated| (&generated.span, "a generation expression")),
            column.serial.then_some((&column.ty.span, "the default of serial")),
        ]
        .into_iter()
        .flatten()
        .collect();
        if let [(first, what), (second, other), ..] = sources.as_slice() {
            let message = format!("column `{name}` has both {what} and {other}");
            let problem = Problem::at(ProblemKind::SqlContradiction, (*second).clone(), message, *other);
            self.problems.push(problem.and((*first).clone(), *what));
        }
        if let Some(null) = nullable
            && (column.not_null || column.identity.is_some())
        {
            let message = format!("column `{name}` is NULL and NOT NULL");
            self.problems.push(Problem::at(
                ProblemKind::SqlContradiction,
                null.span(),
                message,
                "contradicts the rest",
            ));
        }
        if SYSTEM_COLUMNS.contains(&column.name.value.as_str()) {
            let message = format!("`{name}` is a column that every table has already");
            let problem = Problem::at(ProblemKind::SqlName, column.name.span.clone(), message, "a system column");
            self.problems.push(problem);
        }
    }

    fn check_table(&mut self, table: &mut SqlTable) {
        let mut seen: BTreeMap<&Ident, usize> = BTreeMap::new();
        for (nth, column) in table.columns.iter().enumerate() {
            if let Some(first) = seen.get(&column.name.value) {
                let message = format!("the table has two columns `{}`", shown(column.name.value.as_str()));
                let problem = Problem::at(ProblemKind::SqlDuplicate, column.name.span.clone(), message, "again");
                self.problems.push(problem.and(table.columns[*first].name.span.clone(), "first here"));
            } else {
                seen.insert(&column.name.value, nth);
            }
        }
        if table.columns.len() > COLUMNS_MAX {
            let message = format!("PostgreSQL takes at most {COLUMNS_MAX} columns in a table");
            let place = table.columns[COLUMNS_MAX].name.span.clone();
            self.problems.push(Problem::at(ProblemKind::SqlRefused, place, message, "one too many"));
            return;
        }
        super::constraint::merge_same_keys(&mut table.constraints);
        let nth = self.schema.tables.len();
        for at in 0..table.constraints.len() {
            self.check_constraint(table, nth, at);
        }
        let key = table.constraints.iter().find_map(SqlConstraint::primary_columns).unwrap_or_default();
        for column in &mut table.columns {
            column.not_null |= key.contains(&column.name.value);
        }
    }
}

impl SqlTable {
    /// A table that says nothing.
    pub(super) fn none() -> Self {
        Self {
            name: At { value: placeholder(), span: 0..0 },
            span: 0..0,
            search_path: Vec::new(),
            persistence: Persistence::Permanent,
            unsupported: Vec::new(),
            columns: Vec::new(),
            constraints: Vec::new(),
            indexes: Vec::new(),
            partition_by: None,
            partition_of: None,
            options: Vec::new(),
            tablespace: None,
            access_method: None,
            replica_identity: None,
            cluster_on: None,
            comment: None,
            comments: Vec::new(),
            directives: Directives::default(),
        }
    }
}

fn placeholder() -> crate::catalog::QualifiedName {
    crate::catalog::QualifiedName::new("?", "?").expect("a name")
}

/// The integer type of a serial column. A quoted or qualified name is a type of somebody's own.
fn serial_of(ty: &str) -> Option<&'static str> {
    match ty.to_ascii_lowercase().as_str() {
        "serial" | "serial4" => Some("integer"),
        "bigserial" | "serial8" => Some("bigint"),
        "smallserial" | "serial2" => Some("smallint"),
        _ => None,
    }
}

/// The last word of a clause, in lower case.
fn word_of(node: &Node<'_>) -> At<String> {
    let word = node.children().last().unwrap_or_else(|| node.clone());
    At { value: word.text().to_ascii_lowercase(), span: word.span() }
}

/// Storage parameters as written.
pub(super) fn options(node: &Node<'_>) -> Vec<At<String>> {
    let Some(list) = node.child(Rule::options) else { return Vec::new() };
    list.children().map(|option| At { value: option.text().to_owned(), span: option.span() }).collect()
}

/// What stands between brackets.
pub(super) fn inside(parens: &Node<'_>) -> At<String> {
    let text = parens.text();
    let inner = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(text);
    let start = parens.span().start + 1 + (inner.len() - inner.trim_start().len());
    let inner = inner.trim();
    At { value: inner.to_owned(), span: start..start + inner.len() }
}
