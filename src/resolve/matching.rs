//! Tables of a desired SQL file against the source: what is kept, renamed, added and dropped.
//!
//! A column that is missing in the file is never taken for dropped, and never guessed to be renamed: the file must say.

use std::collections::BTreeMap;

use crate::catalog::{Catalog, Column, ColumnType, Ident, Persistence, QualifiedName, Table};
use crate::desired::problem::{Problem, ProblemKind, did_you_mean, shown};
use crate::desired::sql::{Directives, MergedFrom, SqlColumn, SqlOrder, SqlSchema, SqlTable, WrittenTable};
use crate::desired::{Acceptance, AddedColumn, At, ColumnWish, DesiredTable, Order, Origin, Whole};
use crate::sql::quote::name_if_needed;

/// A file's tables as wishes about the source's, and what became of directives that are already satisfied.
#[derive(Debug, Default)]
pub struct Matched {
    /// The tables, in the order of the file.
    pub tables: Vec<DesiredTable>,
    /// Findings that the file accepts.
    pub accept: Vec<At<Acceptance>>,
    /// Directives that have nothing left to do.
    pub notes: Vec<Problem>,
    /// What the file says and the target will not have: kind and address.
    pub left: Vec<(&'static str, String)>,
}

/// Matches every table. `verified` when the target's server has read them.
///
/// # Errors
/// All contradictions between the file and the source, with both places where there are two.
pub fn match_tables(
    schema: &SqlSchema,
    written: &[WrittenTable],
    source: &Catalog,
    verified: bool,
) -> Result<Matched, Vec<Problem>> {
    let mut out = Matched::default();
    let mut problems = Vec::new();
    let mut found = Vec::new();
    for table in written {
        let Some(sql) = schema.table(&table.name) else { continue };
        let matching =
            Matching { schema, sql, columns: schema.columns(sql), written: table, source, beside: Vec::new() };
        if sql.directives.merged_from.is_empty() {
            match matching.source_name(&mut out) {
                Ok(name) => found.push((matching, name, None)),
                Err(problem) => problems.push(problem),
            }
        } else {
            match matching.of_each_source() {
                Ok(parts) => found.extend(parts),
                Err(found) => problems.extend(found),
            }
        }
        out.left.extend(table.left.iter().cloned());
    }
    let mut counts: BTreeMap<&QualifiedName, usize> = BTreeMap::new();
    for (_, name, _) in &found {
        *counts.entry(&name.value).or_default() += 1;
    }
    for (matching, name, part) in &found {
        match matching.table(name.clone(), (counts[&name.value] > 1, *part), verified, &mut out) {
            Ok(desired) => out.tables.push(desired),
            Err(found) => problems.extend(found),
        }
    }
    for sql in schema.tables.iter().filter(|table| !table.is_managed()) {
        out.left.extend(sql.unsupported.iter().map(|what| (what.value.word(), sql.name.value.to_string())));
    }
    if problems.is_empty() { Ok(out) } else { Err(problems) }
}

pub(super) struct Matching<'m> {
    pub(super) schema: &'m SqlSchema,
    pub(super) sql: &'m SqlTable,
    pub(super) columns: Vec<SqlColumn>,
    pub(super) written: &'m WrittenTable,
    pub(super) source: &'m Catalog,
    /// The other sources of the table: what is said of a column may be about theirs.
    pub(super) beside: Vec<&'m Table>,
}

impl Matching<'_> {
    /// `is_split`: the source goes into other tables of the file too.
    fn table(
        &self,
        source_name: At<QualifiedName>,
        (is_split, part): (bool, Option<&MergedFrom>),
        verified: bool,
        out: &mut Matched,
    ) -> Result<DesiredTable, Vec<Problem>> {
        let source = &self.source.tables[&source_name.value];
        // Of a source table like this the plan says it with a rule of its own.
        if let (Some(what), None) = (unbuilt(&self.written.table), unbuilt(source)) {
            let message = format!("{} is {what}: pcrd cannot build one yet", self.sql.name.value);
            let problem = Problem::at(ProblemKind::SqlRefused, self.sql.name.span.clone(), message, what);
            return Err(vec![problem.help("if it is to stay as it is, write above it:\n    -- pcrd: ignore")]);
        }
        let mut problems = Vec::new();
        let sources = self.sources(source, out, &mut problems);
        let drops = self.drops(source, &sources, out, &mut problems);
        self.missing(source, &sources, &drops, &mut problems);
        let mut columns: BTreeMap<Ident, At<ColumnWish>> = BTreeMap::new();
        let mut add = Vec::new();
        for wanted in &self.written.table.columns {
            let Some(column) = self.columns.iter().find(|column| column.name.value == wanted.name) else { continue };
            match sources.get(&wanted.name).and_then(|old| source.column(old)) {
                Some(old) => {
                    let wish = At { value: kept(old, wanted, column), span: column.span.clone() };
                    columns.insert(old.name.clone(), wish);
                }
                None => add.push(At { value: added(wanted, column), span: column.span.clone() }),
            }
        }
        if let Some(part) = part {
            problems.extend(self.told_apart_by(part, source, &source_name.value, &mut add));
        }
        let dropped: Vec<Ident> = drops.keys().cloned().collect();
        for (column, span) in drops {
            columns.insert(column, At { value: ColumnWish { drop: true, ..ColumnWish::default() }, span });
        }
        let at = if is_split { &self.sql.name.value } else { &source_name.value };
        self.acceptances(&source_name.value, at, &sources, &dropped, out);
        if !problems.is_empty() {
            return Err(problems);
        }
        let said = &self.sql.directives;
        let moved = source_name.value != self.sql.name.value;
        Ok(DesiredTable {
            target: moved.then(|| self.sql.name.clone()),
            source: source_name,
            key: said.key.as_ref().map(|key| At {
                value: key
                    .value
                    .iter()
                    .map(|column| self.source_column(&sources, &column.value))
                    // No source has it, and every row is found by it.
                    .filter(|column| part.is_none_or(|part| &part.column.value != column))
                    .collect(),
                span: key.span.clone(),
            }),
            order: match said.order.as_ref().map(|order| order.value) {
                None | Some(SqlOrder::AsWritten) => Order::AsWritten,
                Some(SqlOrder::Packed) => Order::Packed,
                Some(SqlOrder::Keep) => Order::Keep,
            },
            part: part.map(|part| part.column.clone()),
            filter: said.filter.clone(),
            copy: said.copy.clone(),
            vacuum: said.vacuum.as_ref().map(|vacuum| vacuum.value),
            columns,
            add,
            by_glob: false,
            flat: false,
            origin: Origin::Schema,
            whole: Some(Box::new(Whole {
                table: self.written.table.clone(),
                places: self.written.places.clone(),
                unnamed: self.written.unnamed.clone(),
                verified,
            })),
        })
    }

    /// The key may be given by old or new names; both are one column.
    fn source_column(&self, sources: &BTreeMap<Ident, Ident>, column: &Ident) -> Ident {
        sources.get(column).unwrap_or(column).clone()
    }

    /// Source columns by target column.
    fn sources(&self, source: &Table, out: &mut Matched, problems: &mut Vec<Problem>) -> BTreeMap<Ident, Ident> {
        let mut sources: BTreeMap<Ident, Ident> = BTreeMap::new();
        let mut used: BTreeMap<Ident, std::ops::Range<usize>> = BTreeMap::new();
        for column in &self.columns {
            let own = &column.name.value;
            let Some(old) = &column.directives.renamed_from else { continue };
            let old_name = &old.value.name;
            if source.column(old_name).is_some() {
                if let Some(first) = used.insert(old_name.clone(), old.span.clone()) {
                    let message = format!("two columns say that they are renamed from {}", shown(old_name.as_str()));
                    let kind = ProblemKind::DirectiveContradiction;
                    problems.push(Problem::at(kind, old.span.clone(), message, "this one").and(first, "and this one"));
                }
                sources.insert(own.clone(), old_name.clone());
            } else if self.beside.iter().any(|other| other.column(old_name).is_some()) {
                // Of this source the column is as its own name says.
            } else if source.column(own).is_some() {
                let message = format!("{own} is renamed already: the directive has nothing left to do");
                out.notes.push(Problem::at(ProblemKind::DirectiveValue, old.span.clone(), message, "can go"));
            } else {
                let message =
                    format!("the source's {} has no column {}", self.sql.name.value, shown(old_name.as_str()));
                let kind = ProblemKind::SqlUnknown;
                let problem = Problem::at(kind, old.span.clone(), message, "renamed from what?");
                let names: Vec<&str> = source.columns.iter().map(|column| column.name.as_str()).collect();
                problems.push(match did_you_mean(old_name.as_str(), &names) {
                    Some(help) => problem.help(help),
                    None => problem,
                });
            }
        }
        for column in &self.columns {
            let own = &column.name.value;
            if sources.contains_key(own) || source.column(own).is_none() {
                continue;
            }
            // A column whose name another column took over: only a directive can say what it is now.
            if !used.contains_key(own) {
                sources.insert(own.clone(), own.clone());
            }
        }
        for column in &self.columns {
            let own = &column.name.value;
            let renamed_onto = sources.get(own).is_some_and(|old| old != own) && source.column(own).is_some();
            let is_placed = sources.values().any(|old| old == own) || self.is_dropped(own);
            if renamed_onto && !is_placed {
                let at = column.directives.renamed_from.as_ref().map_or(&column.span, |old| &old.span);
                let message = format!("the source has a column {own} already; what becomes of it?");
                let problem = Problem::at(ProblemKind::DirectiveContradiction, at.clone(), message, "takes its name");
                let help = format!(
                    "if it goes, write above the table:\n    -- pcrd: drops {}\nif it has another name now, write behind that column:\n    -- pcrd: renamed_from {}",
                    name_if_needed(own),
                    name_if_needed(own)
                );
                problems.push(problem.help(help));
            }
        }
        sources
    }

    fn is_dropped(&self, column: &Ident) -> bool {
        let drops = self.sql.directives.drops.as_ref();
        drops.is_some_and(|drops| drops.value.iter().any(|dropped| dropped.value == *column))
    }

    fn drops(
        &self,
        source: &Table,
        sources: &BTreeMap<Ident, Ident>,
        out: &mut Matched,
        problems: &mut Vec<Problem>,
    ) -> BTreeMap<Ident, std::ops::Range<usize>> {
        let mut drops = BTreeMap::new();
        for dropped in self.sql.directives.drops.iter().flat_map(|drops| &drops.value) {
            let place = sources.iter().find(|(_, old)| **old == dropped.value).map(|(new, _)| new);
            if let Some(kept) = place {
                let column = self.columns.iter().find(|column| column.name.value == *kept);
                let message = format!("{} is dropped, but a column is made of it", dropped.value);
                let kind = ProblemKind::DirectiveContradiction;
                let mut problem = Problem::at(kind, dropped.span.clone(), message, "dropped here");
                if let Some(column) = column {
                    problem = problem.and(column.name.span.clone(), "wanted here");
                }
                problems.push(problem.help("take the name out of `drops`, or the column out of the table"));
            } else if source.column(&dropped.value).is_some() {
                drops.insert(dropped.value.clone(), dropped.span.clone());
            } else if self.beside.iter().all(|other| other.column(&dropped.value).is_none()) {
                let message = format!("the source has no column {}: there is nothing left to drop", dropped.value);
                out.notes.push(Problem::at(ProblemKind::DirectiveValue, dropped.span.clone(), message, "can go"));
            }
        }
        drops
    }

    /// Every source column must be accounted for.
    fn missing(
        &self,
        source: &Table,
        sources: &BTreeMap<Ident, Ident>,
        drops: &BTreeMap<Ident, std::ops::Range<usize>>,
        problems: &mut Vec<Problem>,
    ) {
        for column in &source.columns {
            let kept = sources.values().any(|old| *old == column.name);
            let told = problems.iter().any(|problem| problem.message.contains(&format!("a column {} ", column.name)));
            if kept || drops.contains_key(&column.name) || told {
                continue;
            }
            let table = &self.sql.name.value;
            let message = format!("the source's column {} of {table} is not in the file", shown(column.name.as_str()));
            let problem =
                Problem::at(ProblemKind::ColumnMissing, self.sql.name.span.clone(), message, "lacks the column");
            let old = name_if_needed(&column.name);
            let drop = match &self.sql.directives.drops {
                Some(_) => format!(
                    "if it is not wanted any more, add it to the table's directive:\n    -- pcrd: drops …, {old}"
                ),
                None => format!("if it is not wanted any more, write above the table:\n    -- pcrd: drops {old}"),
            };
            let candidate = self.candidate(column, sources);
            let rename = candidate.map(|new| {
                format!(
                    "if it is renamed, write behind the column {}:\n    -- pcrd: renamed_from {old}",
                    name_if_needed(new)
                )
            });
            let help = match rename {
                Some(rename) => format!("{rename}\n{drop}"),
                None => drop,
            };
            problems.push(problem.help(help));
        }
    }

    /// The new column that is most like the missing one: of its type first, then by name.
    fn candidate(&self, missing: &Column, sources: &BTreeMap<Ident, Ident>) -> Option<&Ident> {
        let same = |ty: &ColumnType| (&ty.schema, &ty.name) == (&missing.ty.schema, &missing.ty.name);
        let ratio = |name: &Ident| similar::TextDiff::from_chars(missing.name.as_str(), name.as_str()).ratio();
        let new = self.written.table.columns.iter().filter(|column| !sources.contains_key(&column.name));
        let ranked = new.map(|column| (same(&column.ty), ratio(&column.name), &column.name));
        let best = ranked.max_by(|left, right| left.0.cmp(&right.0).then(left.1.total_cmp(&right.1)));
        best.filter(|(same, ratio, _)| *same || *ratio >= 0.5).map(|(_, _, name)| name)
    }

    /// What is accepted at an object is accepted of its source address; of a dropped column only the table can say it.
    fn acceptances(
        &self,
        source: &QualifiedName,
        at: &QualifiedName,
        sources: &BTreeMap<Ident, Ident>,
        dropped: &[Ident],
        out: &mut Matched,
    ) {
        let mut take = |said: &Directives, own: String| {
            for accepted in &said.accept {
                let of_dropped = accepted.value.code == "DELETES_DATA" && own == at.to_string();
                let of_source = accepted.value.code == "SPLIT_GAP" && own == at.to_string();
                let addresses = match dropped {
                    _ if of_source => vec![source.to_string()],
                    [] => vec![own.clone()],
                    dropped if of_dropped => dropped.iter().map(|column| format!("{at}.{column}")).collect(),
                    _ => vec![own.clone()],
                };
                for address in addresses {
                    let (code, reason) = (accepted.value.code.clone(), accepted.value.reason.clone());
                    out.accept.push(At { value: Acceptance { code, address, reason }, span: accepted.span.clone() });
                }
            }
        };
        take(&self.sql.directives, at.to_string());
        for column in &self.columns {
            let own = &column.name.value;
            let address = match sources.get(own) {
                Some(old) => format!("{at}.{old}"),
                None if self.beside.is_empty() => format!("{}.{own}", self.sql.name.value),
                None => format!("{at}.{own}"),
            };
            take(&column.directives, address);
        }
        for constraint in &self.sql.constraints {
            let name = constraint.name.as_ref().map(|name| format!("{at}.{}", name.value));
            take(&constraint.directives, name.unwrap_or_else(|| at.to_string()));
        }
        for index in &self.sql.indexes {
            let name = index.name.as_ref().map(|name| format!("{at}.{}", name.value));
            take(&index.directives, name.unwrap_or_else(|| at.to_string()));
        }
    }
}

/// What the file wants and no step makes.
fn unbuilt(table: &Table) -> Option<&'static str> {
    if table.partition_key.is_some() {
        return Some("a partitioned table");
    }
    if !table.parents.is_empty() || table.partition_bound.is_some() {
        return Some("a partition");
    }
    (table.persistence != Persistence::Permanent).then_some("an unlogged table")
}

fn kept(old: &Column, wanted: &Column, column: &SqlColumn) -> ColumnWish {
    let said = &column.directives;
    ColumnWish {
        ty: (old.ty != wanted.ty).then(|| At { value: wanted.ty.sql.clone(), span: column.ty.span.clone() }),
        rename: (old.name != wanted.name).then(|| column.name.clone()),
        drop: false,
        using: said.using.clone(),
        reverse: said.reverse.clone(),
        not_null: (old.not_null != wanted.not_null).then(|| At { value: wanted.not_null, span: column.span.clone() }),
        default: None,
    }
}

fn added(wanted: &Column, column: &SqlColumn) -> AddedColumn {
    let said = &column.directives;
    let default_span = column.default.as_ref().map_or(&column.span, |default| &default.span);
    AddedColumn {
        name: column.name.clone(),
        ty: At { value: wanted.ty.sql.clone(), span: column.ty.span.clone() },
        default: wanted.default.clone().map(|value| At { value, span: default_span.clone() }),
        backfill: said.backfill.clone().or_else(|| said.using.clone()),
        not_null: wanted.not_null,
    }
}
