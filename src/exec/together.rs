//! Changes of many rows by one statement for each table and kind of change: the net effect of a batch, in a
//! subtransaction, so that a batch that fails can be applied again row by row.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use tokio::task::JoinSet;
use tokio_postgres::Statement;

use super::ExecError;
use super::batch::{RawText, Row, RowKind, Shape};
use super::table::{TableTask, text_of};
use crate::pg::client::Client;
use crate::pg::pgoutput::ColumnData;
use crate::replay::compact::{Change, Effect, Net, Piece, Written, compact};
use crate::sql::apply;
use crate::sql::apply_set::{self, CARRIED_SQL, Carried, push_element};

/// Fewer rows are sent one by one: a subtransaction costs as much.
const ROWS_MIN: usize = 8;
/// After a batch that had to be applied again, so many are not tried together: what was in the way may be the rule.
const SPARED: u32 = 16;

/// Statements for many rows.
#[derive(Default)]
pub(super) struct Sets {
    /// What the target can make of each source column, by table.
    carried: HashMap<usize, Vec<Carried>>,
    /// By the batch's number of the way; `None` for rows that go by themselves.
    ways: HashMap<usize, Option<Way>>,
    /// `None` where rows go one by one.
    prepared: HashMap<Of, Option<Prepared>>,
    savepoint: Option<[Statement; 3]>,
    spared: u32,
}

/// Which rows one statement serves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Of {
    table: usize,
    /// Removals first, additions last: the order in which a piece is applied.
    kind: SetKind,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum SetKind {
    Delete,
    /// By which source columns have values.
    Update(Vec<bool>),
    Insert,
}

#[derive(Clone)]
struct Prepared {
    statement: Statement,
    /// The source column of each parameter.
    columns: Vec<usize>,
}

/// What changes have in common that are sent with others.
struct Way {
    table: usize,
    effect: Effect,
    whole: bool,
}

impl Way {
    fn change(&self, tables: &[TableTask], row: &Row) -> Option<Change> {
        let tuple = if self.effect == Effect::Delete { row.old_tuple() } else { row.new_tuple() };
        let key = key_bytes(&tables[self.table], tuple)?;
        Some(Change { table: self.table, key, effect: self.effect, whole: self.whole })
    }
}

/// One statement with its parameters, and how many rows it must affect.
pub(super) struct Request {
    pub(super) statement: Statement,
    pub(super) values: Vec<RawText>,
    pub(super) rows: u64,
}

/// A batch that was sent and not answered yet.
pub(super) struct InFlight {
    pub(super) rows: Vec<Row>,
    answers: JoinSet<Result<bool, ExecError>>,
}

impl Sets {
    /// Sends a batch, or gives it back if it has to go one by one. `one` gives the requests of a row that goes by itself.
    /// Nothing else may be sent before the answers have been taken by [`Sets::settle`].
    ///
    /// # Errors
    /// The connection failed.
    pub(super) async fn send(
        &mut self,
        target: &Arc<Client>,
        tables: &[TableTask],
        rows: Vec<Row>,
        shape: &impl Fn(&Row) -> Shape,
        one: &impl Fn(&Row) -> Vec<Request>,
    ) -> Result<Result<InFlight, Vec<Row>>, ExecError> {
        if rows.len() < ROWS_MIN {
            return Ok(Err(rows));
        }
        if self.spared > 0 {
            self.spared -= 1;
            return Ok(Err(rows));
        }
        for row in &rows {
            if !self.ways.contains_key(&row.way) {
                let way = self.way(target, tables, shape(row)).await?;
                self.ways.insert(row.way, way);
            }
        }
        let Some(requests) = self.requests(target, tables, &rows, one).await? else { return Ok(Err(rows)) };
        let [begin, ..] = self.savepoint(target).await?;
        let target = Arc::clone(target);
        let mut answers = JoinSet::new();
        answers.spawn(async move { sent(&target, &begin, requests).await });
        Ok(Ok(InFlight { rows, answers }))
    }

    /// What to send for a batch, in order; `None` if little would be gained.
    async fn requests(
        &mut self,
        target: &Client,
        tables: &[TableTask],
        rows: &[Row],
        one: &impl Fn(&Row) -> Vec<Request>,
    ) -> Result<Option<Vec<Request>>, ExecError> {
        let pieces = compact(rows.iter().map(|row| self.ways[&row.way].as_ref()?.change(tables, row)));
        if pieces.len() * 2 > rows.len() {
            return Ok(None);
        }
        let mut requests = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Alone(number) => requests.extend(one(&rows[number])),
                Piece::Together(nets) => {
                    for (of, tuples) in by_statement(&nets, rows) {
                        let Some(prepared) = self.statement(target, &tables[of.table], of).await? else {
                            return Ok(None);
                        };
                        let values = prepared.columns.iter().map(|&column| array(&tuples, column)).collect();
                        requests.push(Request { statement: prepared.statement, values, rows: tuples.len() as u64 });
                    }
                }
            }
        }
        Ok(Some(requests))
    }

    /// Waits for the answers; gives the rows back if they do not agree with what was sent, with nothing left behind.
    ///
    /// # Errors
    /// The connection failed.
    pub(super) async fn settle(
        &mut self,
        target: &Client,
        mut in_flight: InFlight,
    ) -> Result<Result<(), Vec<Row>>, ExecError> {
        let agreed = match in_flight.answers.join_next().await {
            Some(Ok(agreed)) => agreed?,
            Some(Err(error)) => return Err(ExecError::task(error)),
            None => unreachable!("one task was spawned"),
        };
        let [_, keep, undo] = self.savepoint(target).await?;
        let failed = || ExecError::target("apply a batch");
        if !agreed {
            target.execute(&undo, &[]).await.map_err(failed())?;
            self.spared = SPARED;
        }
        target.execute(&keep, &[]).await.map_err(failed())?;
        Ok(if agreed { Ok(()) } else { Err(in_flight.rows) })
    }

    /// How rows of this shape are sent with others, if there is a statement for them.
    async fn way(&mut self, target: &Client, tables: &[TableTask], shape: Shape) -> Result<Option<Way>, ExecError> {
        let task = &tables[shape.table];
        if task.key_at.is_empty() || task.projection.filter.is_some() || shape.key_changed {
            return Ok(None);
        }
        let whole = !shape.sent.contains(&false);
        let (effect, kind) = match shape.kind {
            RowKind::Insert => (Effect::Insert, SetKind::Insert),
            RowKind::Update => (Effect::Update, SetKind::Update(shape.sent)),
            RowKind::Delete => (Effect::Delete, SetKind::Delete),
            RowKind::Stay => return Ok(None),
        };
        let statement = self.statement(target, task, Of { table: shape.table, kind }).await?;
        Ok(statement.map(|_| Way { table: shape.table, effect, whole }))
    }

    async fn statement(&mut self, target: &Client, task: &TableTask, of: Of) -> Result<Option<Prepared>, ExecError> {
        if let Some(known) = self.prepared.get(&of) {
            return Ok(known.clone());
        }
        let carried = match self.carried.entry(task.index) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(carried(target, task).await?),
        };
        let applied = apply::Applied {
            projection: &task.projection,
            frozen: &task.frozen,
            identity_always: &task.identity_always,
        };
        let text = match &of.kind {
            SetKind::Delete => apply_set::delete(applied, carried)?,
            SetKind::Update(sent) => apply_set::update(applied, carried, sent)?,
            SetKind::Insert => apply_set::insert(applied, carried)?,
        };
        let made = match text {
            Some(text) => {
                let statement = self.tried(target, &text.sql).await?;
                statement.map(|statement| Prepared { statement, columns: text.columns })
            }
            None => None,
        };
        self.prepared.insert(of, made.clone());
        Ok(made)
    }

    /// Prepares a statement if the target takes it: what it thinks of arrays of a type that somebody made is its own
    /// affair, and one by one the rows have their way.
    async fn tried(&mut self, target: &Client, sql: &str) -> Result<Option<Statement>, ExecError> {
        let [begin, keep, undo] = self.savepoint(target).await?;
        let failed = || ExecError::target("prepare statements for batches");
        target.execute(&begin, &[]).await.map_err(failed())?;
        let statement = match target.prepare(sql).await {
            Ok(statement) => Some(statement),
            Err(error) if error.as_db_error().is_some() => {
                target.execute(&undo, &[]).await.map_err(failed())?;
                None
            }
            Err(error) => return Err(failed()(error)),
        };
        target.execute(&keep, &[]).await.map_err(failed())?;
        Ok(statement)
    }

    async fn savepoint(&mut self, target: &Client) -> Result<[Statement; 3], ExecError> {
        if self.savepoint.is_none() {
            self.savepoint = Some([
                prepared(target, "SAVEPOINT pcrd_batch").await?,
                prepared(target, "RELEASE SAVEPOINT pcrd_batch").await?,
                prepared(target, "ROLLBACK TO SAVEPOINT pcrd_batch").await?,
            ]);
        }
        let Some(savepoint) = &self.savepoint else { unreachable!("prepared above") };
        Ok(savepoint.clone())
    }
}

async fn prepared(target: &Client, sql: &str) -> Result<Statement, ExecError> {
    target.prepare(sql).await.map_err(ExecError::target("prepare statements for batches"))
}

async fn carried(target: &Client, task: &TableTask) -> Result<Vec<Carried>, ExecError> {
    let types: Vec<&str> = task.projection.source_columns.iter().map(|column| column.ty.sql.as_str()).collect();
    let rows = target.query(CARRIED_SQL, &[&types]).await;
    let rows = rows.map_err(ExecError::target(format!("look at the types of {}", task.name)))?;
    Ok(rows.iter().map(|row| Carried::from_row(row.get(0), row.get(1))).collect())
}

/// Bytes that are equal for the same key of successive versions of a row: its texts with their lengths.
fn key_bytes(task: &TableTask, tuple: &[ColumnData]) -> Option<Bytes> {
    if let [at] = task.key_at[..] {
        return text_of(tuple.get(at));
    }
    let mut bytes = BytesMut::new();
    for &at in &task.key_at {
        let text = text_of(tuple.get(at))?;
        bytes.put_u64(text.len() as u64);
        bytes.put_slice(&text);
    }
    Some(bytes.freeze())
}

/// The values of one row: of several tuples, each column's last value.
type Tuples<'a> = Vec<&'a [ColumnData]>;

/// In the order in which they are sent: by table, removals, updates, additions.
fn by_statement<'a>(nets: &[Net], rows: &'a [Row]) -> BTreeMap<Of, Vec<Tuples<'a>>> {
    let mut found: BTreeMap<Of, Vec<Tuples<'a>>> = BTreeMap::new();
    for net in nets {
        if let Some(removed) = net.removed {
            let of = Of { table: net.table, kind: SetKind::Delete };
            found.entry(of).or_default().push(vec![rows[removed].old_tuple()]);
        }
        if let Some(Written { is_new, by }) = &net.written {
            let tuples: Tuples<'a> = by.iter().map(|&number| rows[number].new_tuple()).collect();
            let kind = if *is_new { SetKind::Insert } else { SetKind::Update(sent_by(&tuples)) };
            found.entry(Of { table: net.table, kind }).or_default().push(tuples);
        }
    }
    found
}

fn sent_by(tuples: &Tuples<'_>) -> Vec<bool> {
    let columns = tuples.first().map_or(0, |tuple| tuple.len());
    (0..columns).map(|column| tuples.iter().any(|tuple| is_sent(&tuple[column]))).collect()
}

fn is_sent(data: &ColumnData) -> bool {
    !matches!(data, ColumnData::UnchangedToast)
}

fn array(rows: &[Tuples<'_>], column: usize) -> RawText {
    let mut array = Vec::new();
    for tuples in rows {
        let value = tuples.iter().rev().filter_map(|tuple| tuple.get(column)).find(|data| is_sent(data));
        let text = match value {
            Some(ColumnData::Text(bytes)) => Some(&bytes[..]),
            _ => None,
        };
        push_element(&mut array, text);
    }
    array.push(b'}');
    RawText(Some(array.into()))
}

/// Sends everything without waiting in between; false when the server refuses a statement or one of them does not affect
/// the rows that it names.
async fn sent(target: &Client, begin: &Statement, requests: Vec<Request>) -> Result<bool, ExecError> {
    let wanted: Vec<u64> = std::iter::once(0).chain(requests.iter().map(|request| request.rows)).collect();
    let first = Request { statement: begin.clone(), values: Vec::new(), rows: 0 };
    let running: Vec<_> = std::iter::once(first)
        .chain(requests)
        .map(|request| async move { target.execute_raw(&request.statement, request.values).await })
        .collect();
    let depth = running.len();
    let results: Vec<Result<u64, tokio_postgres::Error>> = stream::iter(running).buffered(depth).collect().await;
    let mut all = true;
    for (result, wanted) in results.into_iter().zip(wanted) {
        match result {
            Ok(found) => all &= found == wanted,
            Err(error) if error.as_db_error().is_some() => all = false,
            Err(error) => return Err(ExecError::target("apply a batch")(error)),
        }
    }
    Ok(all)
}
