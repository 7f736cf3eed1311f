//! The way back: which column of the source is made of what the target sends after the switch, and what cannot go back.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ColumnValue, CopyFormat, ProjectedColumn, Projection, RowIdentity, SourceColumn};
use crate::casts::CastClass;
use crate::catalog::{Column, Ident, QualifiedName, Table};
use crate::sql::token::{TokenError, TokenKind, tokens};

/// How changes of one target table go back to the table that its rows came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Back {
    /// Target table, whose changes are read.
    pub from: QualifiedName,
    /// Source table, where they are written.
    pub to: QualifiedName,
    /// How its rows are made. Without one no change can be made there, and the first ends the way back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projection: Option<Projection>,
    /// Completes "irreversible because" for the table as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub irreversible: Option<String>,
    /// What becomes of each stored column of the source, in their order; none where the table has no way back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<BackColumn>,
    /// Columns that only the target has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stays: Vec<Ident>,
    /// Changes that can be made on the target and not on the source, whatever their values: each completes "… ends the way
    /// back".
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ends: Vec<String>,
}

/// A column of the source on the way back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackColumn {
    /// Column of the source.
    pub column: Ident,
    /// What it gets.
    pub gets: String,
    /// Completes "irreversible because".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub irreversible: Option<String>,
}

impl Back {
    /// What cannot go back, and why: the table as a whole, or a column of the source.
    pub fn losses(&self) -> impl Iterator<Item = (Option<&Ident>, &String)> {
        let table = self.irreversible.iter().map(|why| (None, why));
        table
            .chain(self.columns.iter().filter_map(|column| Some((Some(&column.column), column.irreversible.as_ref()?))))
    }
}

/// The way that a table has gone.
#[derive(Debug, Clone, Copy)]
pub struct Forward<'a> {
    /// How its rows were made.
    pub projection: &'a Projection,
    /// The source table.
    pub source: &'a Table,
    /// Columns of the target table.
    pub target: &'a [Column],
    /// The target's name of each source column that was not dropped.
    pub kept: &'a BTreeMap<Ident, Ident>,
    /// The source table goes into other targets too.
    pub is_split: bool,
    /// The target finds rows by its primary key.
    pub by_primary_key: bool,
}

/// Turns a projection round.
pub fn back(forward: &Forward<'_>) -> Back {
    let Projection { source, target, .. } = forward.projection;
    let none = Back {
        from: target.clone(),
        to: source.clone(),
        projection: None,
        irreversible: None,
        columns: Vec::new(),
        stays: Vec::new(),
        ends: Vec::new(),
    };
    if let Some(why) = of_table(forward) {
        return Back { irreversible: Some(why.to_owned()), ..none };
    }
    let made: Vec<Made> = forward
        .projection
        .source_columns
        .iter()
        .filter_map(|column| forward.source.column(&column.name))
        .map(|column| of_column(forward, column))
        .collect();
    let key = forward.projection.source_key();
    let has_way = |key: &Ident| {
        let found = made.iter().find(|made| &made.column.column == key).and_then(|made| made.value.as_ref());
        let kept = forward.kept.get(key);
        found.is_some_and(|value| match &value.value {
            // With a key that changes only the old key's own columns are sent.
            ColumnValue::Expr { reads, .. } => kept.is_some_and(|kept| reads.as_slice() == std::slice::from_ref(kept)),
            ColumnValue::Frozen { .. } => false,
        }) && made.iter().all(|made| &made.column.column != key || made.column.irreversible.is_none())
    };
    if let Some(key) = key.iter().find(|key| !has_way(key)) {
        let why = format!("values of its key column {key} cannot be told from those of the target");
        return Back { irreversible: Some(why), ..none };
    }
    let (mut columns, mut values, mut is_whole) = (Vec::new(), Vec::new(), true);
    for Made { column, value, is_needed } in made {
        is_whole &= value.is_some() || !is_needed;
        columns.push(column);
        values.extend(value);
    }
    let taken: BTreeSet<&Ident> = forward.kept.values().collect();
    let stays = forward.projection.columns.iter().map(|column| &column.target);
    let stays = stays.filter(|name| !taken.contains(name)).cloned().collect();
    let ends = if is_whole { ends(forward, &key) } else { Vec::new() };
    let projection = is_whole.then(|| Projection {
        source: target.clone(),
        target: source.clone(),
        source_columns: sent(forward.projection),
        identity: RowIdentity::Key {
            source: forward.projection.target_key().into_iter().cloned().collect(),
            target: key.into_iter().cloned().collect(),
            reason: "only changes go back".to_owned(),
        },
        format: CopyFormat::Text,
        format_reason: "only changes go back".to_owned(),
        columns: values,
        computed: Vec::new(),
        filter: None,
        part: None,
        partitioned: false,
        onto_partitions: false,
    });
    Back { projection, columns, stays, ends, ..none }
}

fn ends(forward: &Forward<'_>, key: &[&Ident]) -> Vec<String> {
    let others = forward.projection.filter.as_ref().map(|_| {
        "TRUNCATE, because the source has rows that the filter left out and cannot tell them from the others,"
            .to_owned()
    });
    let is_always = |name: &&Ident| {
        let column = forward.source.column(name);
        column.and_then(|column| column.identity.as_ref()).is_some_and(|identity| identity.always)
    };
    let always = key.iter().copied().filter(is_always);
    let always = always.map(|name| format!("another {name} of a row, which is GENERATED ALWAYS on the source,"));
    others.into_iter().chain(always).collect()
}

/// What the target's stream has of a row.
fn sent(projection: &Projection) -> Vec<SourceColumn> {
    let column = |column: &ProjectedColumn| SourceColumn { name: column.target.clone(), ty: column.ty.clone() };
    projection.columns.iter().map(column).collect()
}

fn of_table(forward: &Forward<'_>) -> Option<&'static str> {
    let Projection { part, identity, .. } = forward.projection;
    if forward.is_split {
        return Some("its source table goes into several targets, and none of them has a whole row");
    }
    if part.is_some() {
        return Some("its target has the rows of several source tables");
    }
    if *identity == RowIdentity::FullRow {
        return Some("it has no key by which a row is found on the source");
    }
    (!forward.by_primary_key)
        .then_some("the target does not find its rows by a primary key, which alone is sent with every change of a row")
}

struct Made {
    column: BackColumn,
    value: Option<ProjectedColumn>,
    /// Without a value the source's row would go on saying what is not true any more.
    is_needed: bool,
}

fn of_column(forward: &Forward<'_>, column: &Column) -> Made {
    let say =
        |gets: String, irreversible: Option<String>| BackColumn { column: column.name.clone(), gets, irreversible };
    let Some(name) = forward.kept.get(&column.name) else {
        let column = match (&column.default, column.identity.is_some() || !column.not_null) {
            (Some(default), _) => say(format!("in new rows {default}; rows that are there keep theirs"), None),
            (None, true) if column.identity.is_some() => {
                say("in new rows its own numbers; rows that are there keep theirs".to_owned(), None)
            }
            (None, true) => say("in new rows NULL; rows that are there keep theirs".to_owned(), None),
            (None, false) => {
                let why = "it is dropped, is NOT NULL and has no default: a new row has no value for it";
                say("nothing; rows that are there keep theirs".to_owned(), Some(why.to_owned()))
            }
        };
        return Made { column, value: None, is_needed: false };
    };
    let nothing = |why: String| Made { column: say("nothing".to_owned(), Some(why)), value: None, is_needed: true };
    let Some(of) = forward.projection.columns.iter().find(|of| &of.target == name) else {
        return nothing("the target computes it, and does not send what it computes".to_owned());
    };
    let Some(sql) = &of.inverse else {
        let why = match of.class {
            CastClass::Custom => "nothing says how its `using` is undone; `reverse` says it".to_owned(),
            _ => format!(
                "no way from {} back to {} that keeps every value is known; `reverse` says one",
                of.ty.sql, column.ty.sql
            ),
        };
        return nothing(why);
    };
    let words = match reads(sql) {
        Ok(words) => words,
        Err(error) => return nothing(format!("how it is undone cannot be read: {error}")),
    };
    let is_sent = |column: &Ident| forward.projection.columns.iter().any(|sent| &sent.target == column);
    let is_unsent = |column: &&Column| words.contains(column.name.as_str()) && !is_sent(&column.name);
    if let Some(Column { name: unsent, .. }) = forward.target.iter().find(is_unsent) {
        return nothing(format!("its `reverse` reads {unsent}, which the target computes and does not send"));
    }
    let mut gets = match of.class {
        CastClass::Identical if *sql == crate::sql::ident(name) => format!("{name}, as it is"),
        CastClass::Identical | CastClass::Checked => format!("{name}, as {}", column.ty.sql),
        CastClass::Widening => format!("{name}, as {}; a value that does not fit ends the way back", column.ty.sql),
        CastClass::Lossy => format!("{name}, as {}, without what was lost", column.ty.sql),
        CastClass::Custom => sql.clone(),
    };
    let can_be_null = forward.target.iter().any(|target| &target.name == name && !target.not_null);
    if column.not_null && can_be_null {
        gets.push_str("; NULL ends the way back");
    }
    let lost = (of.class == CastClass::Lossy).then(|| format!("values lost something on the way to {}", of.ty.sql));
    let read: Vec<&ProjectedColumn> =
        forward.projection.columns.iter().filter(|sent| words.contains(sent.target.as_str())).collect();
    let large: Vec<&str> = read.iter().filter(|sent| sent.ty.len < 0).map(|sent| sent.target.as_str()).collect();
    if read.len() > 1 && !large.is_empty() {
        // Neither end has the value by itself: the source has what was made of it.
        gets.push_str(&format!(
            "; a change that leaves a large {} as it is ends the way back, unless {} has REPLICA IDENTITY FULL",
            large.join(" or "),
            forward.projection.target
        ));
    }
    let reads = read.into_iter().map(|sent| sent.target.clone()).collect();
    let value = ColumnValue::Expr { sql: sql.clone(), reads };
    let class = match of.class {
        CastClass::Identical | CastClass::Custom => of.class,
        CastClass::Widening | CastClass::Checked | CastClass::Lossy => CastClass::Checked,
    };
    let value = ProjectedColumn { target: column.name.clone(), ty: column.ty.clone(), value, class, inverse: None };
    Made { column: say(gets, lost), value: Some(value), is_needed: true }
}

/// Names in quotes, as columns stand in expressions.
fn reads(sql: &str) -> Result<BTreeSet<String>, TokenError> {
    let list = tokens(sql)?;
    let is_column = |place: &usize| {
        let before = place.checked_sub(1).map(|before| &list[before]);
        before.is_none_or(|token| !token.is(".") && token.word() != Some("as"))
    };
    let places = (0..list.len()).filter(is_column);
    let name = |place: usize| if let TokenKind::Quoted(name) = &list[place].kind { Some(name.clone()) } else { None };
    Ok(places.filter_map(name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_cannot_be_read_reads_no_column_is_no_answer() {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(reads("CAST((\"a\" || 'x \"b\"') AS \"s\".\"c\")"), Ok(names(&["a"])));
        assert!(reads("\"a\" || 'x").is_err());
    }
}
