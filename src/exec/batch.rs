//! Rows on their way to the target: prepared statements, sent without waiting for one another, each checked to
//! change exactly one row.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, pin_mut, stream};
use tokio_postgres::Statement;
use tokio_postgres::types::{Format, IsNull, ToSql, Type};

use super::ExecError;
use super::error::Refused;
use super::table::{TableTask, text_of};
use crate::pg::client::Client;
use crate::pg::pgoutput::ColumnData;
use crate::replay::Lsn;
use crate::sql::apply::{self, Applied, OldTuple, Param, Tuple, Update, UpdateShape};
use crate::sql::filter;

/// What a change does to one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowKind {
    /// A new row.
    Insert,
    /// A changed row, found by its old key (or whole old row).
    Update,
    /// A removed row.
    Delete,
    /// A changed row of a filtered table that is on the target and stays there: only what was sent is set.
    Stay,
}

impl RowKind {
    fn verb(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update | Self::Stay => "update",
            Self::Delete => "delete",
        }
    }
}

/// A value in PostgreSQL's text form, bound as the type that the statement says.
#[derive(Debug)]
struct RawText(Option<Bytes>);

impl ToSql for RawText {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match &self.0 {
            Some(bytes) => {
                out.put_slice(bytes);
                Ok(IsNull::No)
            }
            None => Ok(IsNull::Yes),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    tokio_postgres::types::to_sql_checked!();
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Shape {
    table: usize,
    kind: RowKind,
    key_changed: bool,
    old: OldTuple,
    sent: Vec<bool>,
}

struct Prepared {
    statement: Statement,
    params: Vec<Param>,
}

impl Prepared {
    fn values(&self, new: &[ColumnData], old: &[ColumnData]) -> Vec<RawText> {
        let value = |param: &Param| {
            let row = match param.tuple {
                Tuple::New => new,
                Tuple::Old => old,
            };
            RawText(text_of(row.get(param.column)))
        };
        self.params.iter().map(value).collect()
    }
}

fn shape(task: &TableTask, change: RowChange<'_>) -> Shape {
    let RowChange { kind, new, old, .. } = change;
    let sent: Vec<bool> = new.iter().map(|value| !matches!(value, ColumnData::UnchangedToast)).collect();
    let key_changed = matches!(kind, RowKind::Update | RowKind::Stay)
        && old.is_some_and(|(_, old)| task.key_at.iter().any(|&at| text_of(old.get(at)) != text_of(new.get(at))));
    Shape { table: task.index, kind, key_changed, old: old.map_or(OldTuple::None, |(kind, _)| kind), sent }
}

/// How changes of one shape are applied.
enum Way {
    Statements(Vec<Prepared>),
    ReRead,
    Look(Prepared),
}

struct Row {
    shape: Shape,
    /// Which statement of the shape.
    nth: usize,
    values: Vec<RawText>,
    commit: Lsn,
}

/// One change of the stream.
#[derive(Debug, Clone, Copy)]
pub struct RowChange<'a> {
    /// What it does.
    pub kind: RowKind,
    /// The new row; empty for a delete.
    pub new: &'a [ColumnData],
    /// The old key or row, if the stream sent one.
    pub old: Option<(OldTuple, &'a [ColumnData])>,
    /// Commit position of its transaction.
    pub commit: Lsn,
}

/// What became of a pushed change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It is in the batch.
    Queued,
    /// A target column needs a source column that was not sent: the row must be read again.
    NeedsReRead,
    /// It depends on whether the target has the row: see [`Batch::look`].
    NeedsLook,
}

/// What a look at the target says of a changed row of a filtered table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// The row belongs to the target from now on.
    pub belongs: bool,
    /// The target has it.
    pub there: bool,
}

/// Rows that were not sent yet, and the statements that they use.
#[derive(Default)]
pub struct Batch {
    rows: Vec<Row>,
    ways: HashMap<Shape, Way>,
}

impl Batch {
    /// Rows waiting.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// True when none wait.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds a change; prepares its statement if it is the first of its shape.
    pub async fn push(
        &mut self,
        target: &Client,
        task: &TableTask,
        change: RowChange<'_>,
    ) -> Result<Pushed, ExecError> {
        let RowChange { new, old, commit, .. } = change;
        let shape = shape(task, change);
        if !self.ways.contains_key(&shape) {
            let way = prepare(target, task, &shape).await?;
            self.ways.insert(shape.clone(), way);
        }
        let statements = match &self.ways[&shape] {
            Way::Statements(statements) => statements,
            Way::ReRead => return Ok(Pushed::NeedsReRead),
            Way::Look(_) => return Ok(Pushed::NeedsLook),
        };
        // Without an old tuple the key did not change: the new one has it.
        let old = old.map_or(new, |(_, old)| old);
        for (nth, prepared) in statements.iter().enumerate() {
            let values = prepared.values(new, old);
            self.rows.push(Row { shape: shape.clone(), nth, values, commit });
        }
        Ok(Pushed::Queued)
    }

    /// Asks the target about a change that was pushed in vain. What was pushed before must have been flushed.
    pub async fn look(&mut self, target: &Client, task: &TableTask, change: RowChange<'_>) -> Result<Look, ExecError> {
        let Some(Way::Look(prepared)) = self.ways.get(&shape(task, change)) else {
            unreachable!("asked for a change that needs no look")
        };
        let values = prepared.values(change.new, change.old.map_or(change.new, |(_, old)| old));
        let rows = target.query_raw(&prepared.statement, &values);
        let failed = || ExecError::target(format!("look for a row of {}", task.name));
        let rows = rows.await.map_err(failed())?;
        pin_mut!(rows);
        let row = rows.try_next().await.map_err(failed())?;
        // A query without FROM has one row.
        Ok(row.map_or(Look { belongs: false, there: false }, |row| Look { belongs: row.get(0), there: row.get(1) }))
    }

    /// Sends all rows in order and checks each result.
    pub async fn flush(&mut self, target: &Client, tables: &[TableTask]) -> Result<(), ExecError> {
        let rows = std::mem::take(&mut self.rows);
        if rows.is_empty() {
            return Ok(());
        }
        let depth = rows.len();
        let statements: Vec<&Statement> = rows
            .iter()
            .map(|row| match &self.ways[&row.shape] {
                Way::Statements(statements) => &statements[row.nth].statement,
                Way::ReRead | Way::Look(_) => unreachable!("rows of this shape are never queued"),
            })
            .collect();
        // Requests are sent in this order, without waiting for one another's answers.
        let mut requests = Vec::with_capacity(depth);
        for (row, statement) in rows.iter().zip(statements) {
            requests.push(target.execute_raw(statement, &row.values));
        }
        let results: Vec<Result<u64, tokio_postgres::Error>> = stream::iter(requests).buffered(depth).collect().await;
        for (row, result) in rows.iter().zip(results) {
            let kind = row.shape.kind.verb();
            let table = || tables[row.shape.table].name.clone();
            match result {
                Ok(1) => {}
                Ok(found) => return Err(ExecError::Strict { kind, table: table(), found, lsn: row.commit }),
                Err(error) => {
                    let constraint = error
                        .as_db_error()
                        .and_then(|error| error.constraint())
                        .map(|name| format!(" (constraint {name})"));
                    let key = self.key_of(row, &tables[row.shape.table]);
                    return Err(ExecError::Refused(Arc::new(Refused {
                        kind,
                        table: table(),
                        row: key.as_ref().map_or_else(String::new, |key| shown(key, &tables[row.shape.table])),
                        key,
                        constraint: constraint.unwrap_or_else(String::new),
                        lsn: row.commit,
                        error: error.into(),
                        beside_reread: false,
                    })));
                }
            }
        }
        Ok(())
    }

    /// The key under which the source has the row, for a table that is routed by keys.
    fn key_of(&self, row: &Row, task: &TableTask) -> Option<Vec<String>> {
        let Way::Statements(statements) = self.ways.get(&row.shape)? else { return None };
        let params = &statements.get(row.nth)?.params;
        let value = |tuple, at| params.iter().position(|param| param.tuple == tuple && param.column == at);
        let key = task.key_at.iter().map(|&at| {
            // An update that leaves the key alone has it in the condition only.
            let bytes = row.values[value(Tuple::New, at).or_else(|| value(Tuple::Old, at))?].0.as_ref()?;
            String::from_utf8(bytes.to_vec()).ok()
        });
        task.in_lanes().then(|| key.collect()).flatten()
    }
}

/// Numbers tell where to look and nothing about anybody; other keys may.
pub(super) fn shown(key: &[String], task: &TableTask) -> String {
    let parts = key.iter().zip(&task.key_at).map(|(text, &at)| {
        let ty = task.projection.source_columns.get(at).map(|column| &column.ty);
        let number = ty.is_some_and(|ty| ["int2", "int4", "int8", "oid", "uuid"].iter().any(|name| ty.is(name)));
        if number { text.as_str() } else { "…" }
    });
    format!(", row ({})", parts.collect::<Vec<_>>().join(", "))
}

async fn prepare(target: &Client, task: &TableTask, shape: &Shape) -> Result<Way, ExecError> {
    let applied =
        Applied { projection: &task.projection, frozen: &task.frozen, identity_always: &task.identity_always };
    let update = UpdateShape { sent: &shape.sent, old: shape.old, key_changed: shape.key_changed };
    let texts = match (shape.kind, &task.projection.filter) {
        (RowKind::Insert, None) => vec![apply::insert(applied)?],
        (RowKind::Delete, None) => vec![apply::delete(applied)?],
        (RowKind::Insert, Some(filter)) => vec![filter::insert(applied, filter)?],
        (RowKind::Delete, Some(filter)) => vec![filter::delete(applied, filter, shape.old)?],
        // Of a row that is sent whole it does not matter whether it comes to belong or stays.
        (RowKind::Update, Some(filter)) if !shape.sent.contains(&false) => {
            vec![filter::delete(applied, filter, shape.old)?, filter::insert(applied, filter)?]
        }
        (RowKind::Update, Some(filter)) => {
            return Ok(match filter::look(applied, filter, &shape.sent, shape.old)? {
                Some(text) => Way::Look(prepared(target, task, shape, text).await?),
                None => Way::ReRead,
            });
        }
        (RowKind::Update | RowKind::Stay, _) => match apply::update(applied, update)? {
            Update::Statement(statement) => vec![statement],
            Update::DeleteInsert { delete, insert } => vec![delete, insert],
            Update::ReRead => return Ok(Way::ReRead),
        },
    };
    let mut statements = Vec::new();
    for text in texts {
        statements.push(prepared(target, task, shape, text).await?);
    }
    Ok(Way::Statements(statements))
}

async fn prepared(
    target: &Client,
    task: &TableTask,
    shape: &Shape,
    text: apply::Statement,
) -> Result<Prepared, ExecError> {
    let doing = format!("prepare the {} of {}", shape.kind.verb(), task.name);
    let statement = target.prepare(&text.sql).await.map_err(ExecError::target(doing))?;
    Ok(Prepared { statement, params: text.params })
}
