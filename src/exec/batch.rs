//! Rows on their way to the target: applied together or one by one, each checked to change exactly one row.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, pin_mut, stream};
use tokio_postgres::Statement;
use tokio_postgres::types::{Format, IsNull, ToSql, Type};

use super::ExecError;
use super::error::{Refused, lacks_partition};
use super::no_way_back;
use super::shared::{Counters, count};
use super::table::TableTask;
use super::together::{InFlight, Request, Sets};
use crate::pg::client::Client;
use crate::pg::pgoutput::Tuple;
use crate::plan::End;
use crate::replay::Lsn;
use crate::sql::apply::{self, OldTuple, Param, Update, UpdateShape};
use crate::sql::filter;

/// Rows that are sent to the server at once …
const BATCH_ROWS: usize = 2_000;
/// … or so many when it has nothing to do …
const BATCH_ROWS_IDLE: usize = 1_000;
/// … or their bytes.
const BATCH_BYTES: usize = 8 << 20;

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
pub(super) struct RawText(pub(super) Option<Bytes>);

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

/// What changes have in common that are applied by the same statements.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    pub(super) table: usize,
    pub(super) kind: RowKind,
    pub(super) key_changed: bool,
    old: OldTuple,
    /// Source columns without a value; of a removed row none is said to be.
    pub(super) unsent: Vec<usize>,
}

/// A statement for one row.
pub(super) struct Prepared {
    statement: Statement,
    params: Vec<Param>,
}

impl Prepared {
    fn values(&self, new: &Tuple, old: &Tuple) -> Vec<RawText> {
        let value = |param: &Param| {
            let row = match param.tuple {
                apply::Tuple::New => new,
                apply::Tuple::Old => old,
            };
            RawText(row.shared_text(param.column))
        };
        self.params.iter().map(value).collect()
    }
}

fn shape(task: &TableTask, change: RowChange<'_>) -> Shape {
    let RowChange { kind, new, old, .. } = change;
    let unsent =
        if new.has_unsent() { (0..new.len()).filter(|&column| new.is_unsent(column)).collect() } else { Vec::new() };
    let key_changed = matches!(kind, RowKind::Update | RowKind::Stay)
        && old.is_some_and(|(_, old)| task.key_at.iter().any(|&at| old.text(at) != new.text(at)));
    Shape { table: task.index, kind, key_changed, old: old.map_or(OldTuple::None, |(kind, _)| kind), unsent }
}

/// How changes of one shape are applied.
struct Way {
    shape: Shape,
    how: How,
}

enum How {
    Statements(Vec<Prepared>),
    ReRead,
    Look(Prepared),
    /// The row would have to be removed and added.
    Again,
}

impl Way {
    /// What to send for one row, each of which must affect one.
    fn requests(&self, row: &Row) -> impl Iterator<Item = Request> {
        let How::Statements(statements) = &self.how else { unreachable!("rows of this shape are never queued") };
        statements.iter().map(|prepared| Request {
            statement: prepared.statement.clone(),
            values: prepared.values(&row.new, row.old_tuple()),
            rows: 1,
        })
    }
}

/// A change that waits to be sent.
pub(super) struct Row {
    /// Number of its way.
    pub(super) way: usize,
    new: Tuple,
    /// `None` when the stream sent none: the new tuple has the key.
    old: Option<Tuple>,
    commit: Lsn,
}

impl Row {
    pub(super) fn new_tuple(&self) -> &Tuple {
        &self.new
    }

    pub(super) fn old_tuple(&self) -> &Tuple {
        self.old.as_ref().unwrap_or(&self.new)
    }
}

/// One change of the stream.
#[derive(Debug, Clone, Copy)]
pub struct RowChange<'a> {
    /// What it does.
    pub kind: RowKind,
    /// The new row; empty for a delete.
    pub new: &'a Tuple,
    /// The old key or row, if the stream sent one.
    pub old: Option<(OldTuple, &'a Tuple)>,
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
    bytes: usize,
    ways: Vec<Way>,
    shapes: HashMap<Shape, usize>,
    sets: Sets,
    in_flight: Option<InFlight>,
}

/// Where rows go.
#[derive(Debug, Clone, Copy)]
pub struct To<'a> {
    /// The applier's connection.
    pub target: &'a Arc<Client>,
    /// The tables of the run.
    pub tables: &'a [TableTask],
    /// Where it is counted how they went.
    pub counters: &'a Counters,
}

impl Batch {
    /// True when the rows are as many, or as large, as are worth sending at once.
    pub fn is_full(&self) -> bool {
        let idle = || self.in_flight.as_ref().is_none_or(InFlight::is_answered);
        let rows = self.rows.len();
        rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES || (rows >= BATCH_ROWS_IDLE && idle())
    }

    /// True when none wait.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds a change; prepares its statement if it is the first of its shape.
    pub async fn push(&mut self, to: To<'_>, task: &TableTask, change: RowChange<'_>) -> Result<Pushed, ExecError> {
        let shape = shape(task, change);
        let way = match self.shapes.get(&shape) {
            Some(&way) => way,
            None => {
                self.settle(to).await?;
                let how = prepare(to.target, task, &shape).await?;
                self.ways.push(Way { shape: shape.clone(), how });
                self.shapes.insert(shape, self.ways.len() - 1);
                self.ways.len() - 1
            }
        };
        match &self.ways[way].how {
            How::Statements(_) => {}
            How::ReRead => return Ok(Pushed::NeedsReRead),
            How::Look(_) => return Ok(Pushed::NeedsLook),
            How::Again => return Err(no_way_back::of_key(task, change.commit)),
        }
        let RowChange { new, old, commit, .. } = change;
        let row = Row { way, new: new.detached(), old: old.map(|(_, old)| old.detached()), commit };
        self.bytes += row.new.bytes() + row.old.as_ref().map_or(0, Tuple::bytes);
        self.rows.push(row);
        Ok(Pushed::Queued)
    }

    /// Asks the target about a change that was pushed in vain. What was pushed before must have been flushed.
    pub async fn look(&mut self, target: &Client, task: &TableTask, change: RowChange<'_>) -> Result<Look, ExecError> {
        let way = self.shapes.get(&shape(task, change)).map(|&way| &self.ways[way].how);
        let Some(How::Look(prepared)) = way else { unreachable!("asked for a change that needs no look") };
        let values = prepared.values(change.new, change.old.map_or(change.new, |(_, old)| old));
        let rows = target.query_raw(&prepared.statement, &values);
        let failed = || ExecError::target(format!("look for a row of {}", task.name));
        let rows = rows.await.map_err(failed())?;
        pin_mut!(rows);
        let row = rows.try_next().await.map_err(failed())?;
        // A query without FROM has one row.
        Ok(row.map_or(Look { belongs: false, there: false }, |row| Look { belongs: row.get(0), there: row.get(1) }))
    }

    /// Sends all rows and checks each result: together where that does the same, else in order, one by one. What fails
    /// together is tried one by one: a row may only be in the way for a moment, and if not, this names it.
    pub async fn flush(&mut self, to: To<'_>) -> Result<(), ExecError> {
        self.send(to).await?;
        self.settle(to).await
    }

    /// The same, but the answers may come later: at the next call of this or of [`Batch::flush`].
    pub async fn send(&mut self, to: To<'_>) -> Result<(), ExecError> {
        if !self.sets.knows(&self.rows) {
            self.settle(to).await?;
        }
        let (rows, bytes) = (std::mem::take(&mut self.rows), std::mem::take(&mut self.bytes));
        if rows.is_empty() {
            return self.settle(to).await;
        }
        let ways = &self.ways;
        let shape = |row: &Row| ways[row.way].shape.clone();
        let one = |row: &Row| ways[row.way].requests(row).collect();
        // While the server still works on the batch before.
        let ready = self.sets.ready(to.target, to.tables, (rows, bytes), &shape, &one).await?;
        self.settle(to).await?;
        match ready {
            Ok(ready) => self.in_flight = Some(self.sets.send(to.target, ready)),
            Err(rows) => self.one_by_one(to, &rows).await?,
        }
        Ok(())
    }

    async fn settle(&mut self, to: To<'_>) -> Result<(), ExecError> {
        let Some(in_flight) = self.in_flight.take() else { return Ok(()) };
        match self.sets.settle(in_flight).await? {
            Ok(()) => count(&to.counters.batches_together),
            Err(rows) => {
                count(&to.counters.batches_again);
                self.one_by_one(to, &rows).await?;
            }
        }
        Ok(())
    }

    /// Sends the rows in order, without waiting for one another's answers.
    async fn one_by_one(&self, To { target, tables, .. }: To<'_>, rows: &[Row]) -> Result<(), ExecError> {
        let sent: Vec<(&Row, Request)> =
            rows.iter().flat_map(|row| self.ways[row.way].requests(row).map(move |request| (row, request))).collect();
        let (rows, requests): (Vec<&Row>, Vec<_>) = sent
            .into_iter()
            .map(|(row, Request { statement, values, .. })| {
                (row, async move { target.execute_raw(&statement, values).await })
            })
            .unzip();
        let depth = requests.len();
        let results: Vec<Result<u64, tokio_postgres::Error>> = stream::iter(requests).buffered(depth).collect().await;
        for (row, result) in rows.into_iter().zip(results) {
            let shape = &self.ways[row.way].shape;
            let (kind, task) = (shape.kind.verb(), &tables[shape.table]);
            if let Ok(1) = result {
                continue;
            }
            let lsn = row.commit;
            let key = key_of(row, shape, task);
            let row = key.as_ref().map_or_else(String::new, |key| shown(key, task));
            let key = key.filter(|_| task.is_ordered());
            match result {
                Ok(found) => {
                    return Err(ExecError::Strict {
                        end: End::Target,
                        kind,
                        table: task.name.clone(),
                        row,
                        found,
                        lsn,
                    });
                }
                Err(error) => {
                    let constraint = error
                        .as_db_error()
                        .and_then(|error| error.constraint())
                        .map(|name| format!(" (constraint {name})"));
                    let code = error.code().map(|code| code.code());
                    let lacks_partition = lacks_partition(task, code, constraint.as_deref());
                    return Err(ExecError::Refused(Arc::new(Refused {
                        end: End::Target,
                        kind,
                        table: task.name.clone(),
                        row,
                        key,
                        constraint: constraint.unwrap_or_else(String::new),
                        lsn,
                        error: error.into(),
                        beside_reread: false,
                        lacks_partition,
                    })));
                }
            }
        }
        Ok(())
    }
}

/// The key under which the source has the row, for a table that is routed by keys, or whose changes go back.
fn key_of(row: &Row, shape: &Shape, task: &TableTask) -> Option<Vec<String>> {
    let tuple = if shape.kind == RowKind::Delete { row.old_tuple() } else { row.new_tuple() };
    (task.is_ordered() || task.back.is_some()).then(|| task.key_texts(tuple).ok()).flatten()
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

async fn prepare(target: &Client, task: &TableTask, shape: &Shape) -> Result<How, ExecError> {
    let applied =
        apply::Applied { projection: &task.projection, frozen: &task.frozen, identity_always: &task.identity_always };
    let columns = 0..task.projection.source_columns.len();
    let sent: Vec<bool> = columns.map(|column| !shape.unsent.contains(&column)).collect();
    let update = UpdateShape { sent: &sent, old: shape.old, key_changed: shape.key_changed };
    let texts = match (shape.kind, &task.projection.filter) {
        (RowKind::Insert, None) => vec![apply::insert(applied)?],
        (RowKind::Delete, None) => vec![apply::delete(applied)?],
        (RowKind::Insert, Some(filter)) => vec![filter::insert(applied, filter)?],
        (RowKind::Delete, Some(filter)) => vec![filter::delete(applied, filter, shape.old)?],
        // Of a row that is sent whole it does not matter whether it comes to belong or stays.
        (RowKind::Update, Some(filter)) if shape.unsent.is_empty() => {
            vec![filter::delete(applied, filter, shape.old)?, filter::insert(applied, filter)?]
        }
        (RowKind::Update, Some(filter)) => {
            return Ok(match filter::look(applied, filter, &sent, shape.old)? {
                Some(text) => How::Look(prepared(target, task, shape, text).await?),
                None => How::ReRead,
            });
        }
        (RowKind::Update | RowKind::Stay, _) => match apply::update(applied, update)? {
            Update::Statement(statement) => vec![statement],
            Update::DeleteInsert { .. } if task.back.is_some() => return Ok(How::Again),
            Update::DeleteInsert { delete, insert } => vec![delete, insert],
            Update::ReRead => return Ok(How::ReRead),
        },
    };
    let mut statements = Vec::new();
    for text in texts {
        statements.push(prepared(target, task, shape, text).await?);
    }
    Ok(How::Statements(statements))
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
