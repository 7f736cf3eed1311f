//! Contradictions between wishes that each make sense alone. What needs the catalog is checked in `resolve`.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::catalog::{Ident, QualifiedName};
use crate::desired::problem::{Problem, ProblemKind, shown};
use crate::desired::{ColumnWish, DesiredTable};

/// How to say that rows of several tables belong in one.
pub const MERGED: &str = "describe the table in a desired SQL file (`migrate.schema`), with a new column of its key that \
    tells the sources apart:\n    -- pcrd: merged_from public.east with region = 'east'\n    \
    -- pcrd: merged_from public.west with region = 'west'\n    \
    CREATE TABLE public.world (region text, id bigint, PRIMARY KEY (region, id));";

/// Finds every contradiction between and inside the tables.
pub fn contradictions(tables: &[DesiredTable], problems: &mut Vec<Problem>) {
    let mut targets: BTreeMap<&QualifiedName, &DesiredTable> = BTreeMap::new();
    for table in tables {
        let name = table.target.as_ref().unwrap_or(&table.source);
        match targets.get(&name.value) {
            Some(first) if first.source.value == table.source.value => {
                let source = &table.source;
                let message = format!("the table `{}` is listed twice", shown(&source.value.to_string()));
                let problem = Problem::at(ProblemKind::Contradiction, source.span.clone(), message, "again");
                let help =
                    "merge the two entries, or give each its own `target`, and a `where` that says which rows it takes";
                problems.push(problem.and(first.source.span.clone(), "first here").help(help));
            }
            Some(first) => {
                let earlier = first.target.as_ref().unwrap_or(&first.source);
                let message = format!("two tables become `{}`", shown(&name.value.to_string()));
                let problem = Problem::at(ProblemKind::Contradiction, name.span.clone(), message, "this one");
                let help = format!("give one of them another `target`; or, if rows of both belong there, {MERGED}");
                problems.push(problem.and(earlier.span.clone(), "and this one").help(help));
            }
            None => {
                targets.insert(&name.value, table);
            }
        }
        column_names(table, problems);
        dropped_keys(table, problems);
    }
}

/// Where a target column's name comes from.
struct Claim {
    span: Range<usize>,
    what: &'static str,
}

fn column_names(table: &DesiredTable, problems: &mut Vec<Problem>) {
    let mut claims: BTreeMap<&Ident, Claim> = BTreeMap::new();
    // Columns that keep their name come first, so that the rename or the new column is what gets the blame.
    for (name, wish) in &table.columns {
        if keeps_name(name, &wish.value) {
            claims.insert(name, Claim { span: wish.span.clone(), what: "this column keeps the name" });
        }
    }
    let mut renames: Vec<_> =
        table.columns.values().filter(|wish| !wish.value.drop).filter_map(|wish| wish.value.rename.as_ref()).collect();
    renames.sort_by_key(|rename| rename.span.start);
    for rename in renames {
        if table.columns.get(&rename.value).is_some_and(|wish| wish.value.rename.as_ref() == Some(rename)) {
            continue;
        }
        claim(&mut claims, &rename.value, &rename.span, "this column gets the name", problems);
    }
    for added in &table.add {
        let name = &added.value.name;
        claim(&mut claims, &name.value, &name.span, "this new column has the name", problems);
    }
}

fn keeps_name(name: &Ident, wish: &ColumnWish) -> bool {
    !wish.drop && wish.rename.as_ref().is_none_or(|rename| rename.value == *name)
}

fn claim<'a>(
    claims: &mut BTreeMap<&'a Ident, Claim>,
    name: &'a Ident,
    span: &Range<usize>,
    what: &'static str,
    problems: &mut Vec<Problem>,
) {
    if let Some(first) = claims.get(name) {
        let message = format!("two columns of the target are called `{}`", shown(name.as_str()));
        let problem = Problem::at(ProblemKind::Contradiction, span.clone(), message, what);
        problems.push(problem.and(first.span.clone(), first.what).help("choose another name for one of them"));
    } else {
        claims.insert(name, Claim { span: span.clone(), what });
    }
}

fn dropped_keys(table: &DesiredTable, problems: &mut Vec<Problem>) {
    let Some(key) = &table.key else { return };
    for name in &key.value {
        if let Some(wish) = table.columns.get(name).filter(|wish| wish.value.drop) {
            let message = format!("the key column `{}` is dropped", shown(name.as_str()));
            let problem = Problem::at(ProblemKind::Contradiction, wish.span.clone(), message, "dropped");
            let help = "rows are found again by the key: keep the column, or choose another key";
            problems.push(problem.and(key.span.clone(), "part of this key").help(help));
        }
    }
}
