//! Which tables of the source a table of a desired SQL file is made of.

use std::collections::BTreeSet;

use crate::catalog::{Ident, QualifiedName, Table};
use crate::desired::problem::{Problem, ProblemKind, did_you_mean, shown};
use crate::desired::sql::MergedFrom;
use crate::desired::{AddedColumn, At};
use crate::resolve::matching::{Matched, Matching};
use crate::sql::name;
use crate::sql::quote::name_if_needed;

/// A table of the file and what it becomes of one of its sources.
pub(super) type Found<'m> = (Matching<'m>, At<QualifiedName>, Option<&'m MergedFrom>);

impl<'m> Matching<'m> {
    pub(super) fn source_name(&self, out: &mut Matched) -> Result<At<QualifiedName>, Problem> {
        let own = &self.sql.name;
        let exists = |name: &QualifiedName| self.source.tables.contains_key(name);
        if let Some(old) = &self.sql.directives.renamed_from {
            let schema = old.value.schema.clone().unwrap_or_else(|| own.value.schema.clone());
            let old_name = QualifiedName { schema, name: old.value.name.clone() };
            if exists(&old_name) {
                return Ok(At { value: old_name, span: old.span.clone() });
            }
            if exists(&own.value) {
                let message = format!("{} is renamed already: the directive has nothing left to do", own.value);
                let note = Problem::at(ProblemKind::DirectiveValue, old.span.clone(), message, "can go");
                out.notes.push(note);
                return Ok(own.clone());
            }
            let message = format!("the source has no table {old_name}");
            let problem = Problem::at(ProblemKind::SqlUnknown, old.span.clone(), message, "renamed from what?");
            return Err(self.nearest_table(problem, &old_name));
        }
        if exists(&own.value) {
            return Ok(own.clone());
        }
        let message = format!("the source has no table {}", own.value);
        let problem = Problem::at(ProblemKind::SqlUnknown, own.span.clone(), message, "not on the source");
        let named: BTreeSet<&QualifiedName> = self.schema.tables.iter().map(|table| &table.name.value).collect();
        let mut rest = self.source.tables.iter().filter(|(name, _)| !named.contains(name));
        let alike = |table: &Table| {
            let own: BTreeSet<&Ident> = self.columns.iter().map(|column| &column.name.value).collect();
            table.columns.iter().filter(|column| own.contains(&column.name)).count() * 2 >= own.len().max(1)
        };
        let renamed = rest.find(|(_, table)| alike(table)).map(|(name, _)| name);
        let first = renamed.map_or_else(String::new, |old| {
            format!("if it was renamed, write above it:\n    -- pcrd: renamed_from {}\n", shown(&plain(old)))
        });
        Err(problem.help(format!("{first}if it is none of pcrd's business, write above it:\n    -- pcrd: ignore")))
    }

    /// One entry for each table that it is merged from.
    pub(super) fn of_each_source(&self) -> Result<Vec<Found<'m>>, Vec<Problem>> {
        let sql = self.sql;
        let (mut names, mut problems) = (Vec::new(), Vec::new());
        for one in &sql.directives.merged_from {
            let own = &one.value.name;
            let schema = own.schema.clone().unwrap_or_else(|| sql.name.value.schema.clone());
            let name = QualifiedName { schema, name: own.name.clone() };
            match self.source.tables.get(&name) {
                Some(table) => names.push((At { value: name, span: one.span.clone() }, table, &one.value)),
                None => {
                    let message = format!("the source has no table {name}");
                    let problem = Problem::at(ProblemKind::SqlUnknown, one.span.clone(), message, "merged from what?");
                    problems.push(self.nearest_table(problem, &name));
                }
            }
        }
        for (at, (name, ..)) in names.iter().enumerate() {
            if let Some((first, ..)) = names[..at].iter().find(|(first, ..)| first.value == name.value) {
                let message = format!("{} is named twice", name.value);
                let problem = Problem::at(ProblemKind::DirectiveDuplicate, name.span.clone(), message, "again");
                problems.push(problem.and(first.span.clone(), "first here"));
            }
        }
        if let ([only], []) = (sql.directives.merged_from.as_slice(), problems.as_slice()) {
            let message = "the table is merged from one source alone";
            let problem = Problem::at(ProblemKind::DirectiveContradiction, only.span.clone(), message, "the only one");
            let help = "write a line `merged_from` for each source, or `renamed_from` and at the new column `backfill`";
            problems.push(problem.help(help));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let of_one = |at: usize| {
            let (name, _, part) = &names[at];
            let others = names.iter().enumerate().filter(|(other, _)| *other != at);
            let beside = others.map(|(_, (_, table, _))| *table).collect();
            let matching = Matching { columns: self.columns.clone(), beside, ..*self };
            (matching, name.clone(), Some(*part))
        };
        Ok((0..names.len()).map(of_one).collect())
    }

    /// Gives the column that tells sources apart its constant.
    pub(super) fn told_apart_by(
        &self,
        part: &MergedFrom,
        source: &Table,
        name: &QualifiedName,
        add: &mut [At<AddedColumn>],
    ) -> Option<Problem> {
        let (column, own) = (&part.column, &self.sql.name.value);
        if source.column(&column.value).is_some() {
            let message = format!("{name} has a column {} already", shown(column.value.as_str()));
            let problem = Problem::at(ProblemKind::DirectiveContradiction, column.span.clone(), message, "not new");
            let help = "tell the sources apart by a new column: nothing promises what an old one holds";
            return Some(problem.help(help));
        }
        match add.iter_mut().find(|added| added.value.name.value == column.value) {
            Some(added) => {
                added.value.backfill = Some(part.value.clone());
                None
            }
            None => {
                let message = format!("{own} has no column {}", shown(column.value.as_str()));
                let problem = Problem::at(ProblemKind::SqlUnknown, column.span.clone(), message, "no such column");
                Some(problem.help("add it to the table, NOT NULL and in its primary key"))
            }
        }
    }

    fn nearest_table(&self, problem: Problem, wanted: &QualifiedName) -> Problem {
        let names: Vec<String> = self.source.tables.keys().map(ToString::to_string).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        match did_you_mean(&wanted.to_string(), &names) {
            Some(help) => problem.help(help),
            None => problem,
        }
    }
}

fn plain(table: &QualifiedName) -> String {
    let bare = format!("{}.{}", name_if_needed(&table.schema), name_if_needed(&table.name));
    if bare.contains('\n') { name(table) } else { bare }
}
