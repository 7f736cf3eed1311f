//! Changes of many rows by one statement for each table and kind of change: the net effect of a batch, in a
//! subtransaction, so that a batch that fails can be applied again row by row.
//!
//! The rows travel by COPY into a temporary table for each table of the plan, with the number of the statement that they
//! are for.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::future::{OptionFuture, join};
use futures_util::{FutureExt, SinkExt, StreamExt, pin_mut, stream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_postgres::{SimpleQueryMessage, Statement};

use super::ExecError;
use super::batch::{RawText, Row, RowKind, Shape};
use super::table::TableTask;
use crate::pg::client::Client;
use crate::pg::pgoutput::Tuple;
use crate::replay::compact::{Change, Effect, KeyBytes, Net, Piece, Written, compact};
use crate::sql::apply;
use crate::sql::apply_set::{self, CARRIED_SQL, Carrier, SetStatement, push_value};

/// Fewer changes of a table are sent one by one: to begin a COPY costs as much.
const ROWS_MIN: usize = 8;
/// A batch with more bytes goes one by one: a server takes no message of 1 GB.
const BYTES_MAX: usize = 64 << 20;
/// After a batch that had to be applied again, so many are not tried together: what was in the way may be the rule.
const SPARED: u32 = 16;
/// A temporary table is emptied when it has so many rows: each statement looks through all of them …
const CARRIED_ROWS_MAX: usize = 8_000;
/// … or so many bytes: each table of the plan has one.
const CARRIED_BYTES_MAX: usize = 4 << 20;
/// So many tables have a temporary one; the others take their rows one by one. A target transaction that creates it holds
/// three locks, of which a server has some thousands.
const CARRIERS_MAX: usize = 200;

/// How tables take many rows at once.
#[derive(Default)]
pub(super) struct Sets {
    /// By number of the table; `None` where rows go one by one.
    carriers: HashMap<usize, Option<Carried>>,
    /// By the batch's number of the way: not asked for yet; or `None` for rows that go by themselves.
    ways: Vec<Option<Option<Way>>>,
    /// `None` where rows go one by one.
    statements: HashMap<Of, Option<SetStatement>>,
    /// Number of the last statement that was sent.
    number: i64,
    spared: u32,
}

struct Carried {
    carrier: Carrier,
    copy: Statement,
    /// Rows that are in it, and their bytes.
    rows: usize,
    bytes: usize,
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
    /// By the source columns that have no values.
    Update(Vec<usize>),
    Insert,
}

/// What changes have in common that are sent with others.
struct Way {
    table: usize,
    effect: Effect,
    whole: bool,
}

impl Way {
    fn change<'a>(&self, tables: &[TableTask], row: &'a Row) -> Option<Change<'a>> {
        let key = key_bytes(&tables[self.table], self.tuple(row))?;
        Some(Change { table: self.table, key, effect: self.effect, whole: self.whole })
    }

    fn tuple<'a>(&self, row: &'a Row) -> &'a Tuple {
        if self.effect == Effect::Delete { row.old_tuple() } else { row.new_tuple() }
    }
}

/// One statement with its parameters, and how many rows it must affect.
pub(super) struct Request {
    pub(super) statement: Statement,
    pub(super) values: Vec<RawText>,
    pub(super) rows: u64,
}

/// A batch that is ready to be sent.
pub(super) struct Ready {
    rows: Vec<Row>,
    /// Sent before the subtransaction.
    truncates: Vec<String>,
    copies: Vec<(Statement, Bytes)>,
    steps: Vec<Step>,
}

/// The copies, by number of the table, and what is sent after them.
type Messages = (BTreeMap<usize, Copied>, Vec<Step>);

/// Rows for one temporary table.
#[derive(Default)]
struct Copied {
    text: Vec<u8>,
    rows: usize,
}

/// What is sent without waiting for what was sent before.
enum Step {
    /// Statements that together are one message, and how many rows each must affect.
    Sets(String, Vec<u64>),
    Row(Request),
}

/// A batch that was sent and not answered yet.
pub(super) struct InFlight {
    rows: Vec<Row>,
    answer: JoinSet<Result<bool, ExecError>>,
    answered: AbortHandle,
}

impl InFlight {
    /// True when waiting for the answer would not take any time.
    pub(super) fn is_answered(&self) -> bool {
        self.answered.is_finished()
    }
}

impl Sets {
    /// True when [`Sets::ready`] need not ask the server anything.
    pub(super) fn knows(&self, rows: &[Row]) -> bool {
        rows.iter().all(|row| self.ways.get(row.way).is_some_and(Option::is_some))
    }

    fn known(&self, row: &Row) -> Option<&Way> {
        self.ways.get(row.way)?.as_ref()?.as_ref()
    }

    /// Makes a batch ready, or gives it back if it has to go one by one. `one` gives the requests of a row that goes by
    /// itself. Nothing may be under way unless the rows are known.
    ///
    /// # Errors
    /// The connection failed.
    pub(super) async fn ready(
        &mut self,
        target: &Client,
        tables: &[TableTask],
        (rows, bytes): (Vec<Row>, usize),
        shape: &impl Fn(&Row) -> Shape,
        one: &impl Fn(&Row) -> Vec<Request>,
    ) -> Result<Result<Ready, Vec<Row>>, ExecError> {
        if rows.len() < ROWS_MIN || bytes > BYTES_MAX {
            return Ok(Err(rows));
        }
        if self.spared > 0 {
            self.spared -= 1;
            return Ok(Err(rows));
        }
        for row in &rows {
            if self.ways.get(row.way).is_none_or(Option::is_none) {
                let way = self.way(target, tables, &shape(row)).await?;
                self.ways.resize_with(self.ways.len().max(row.way + 1), || None);
                self.ways[row.way] = Some(way);
            }
        }
        let Some((copies, steps)) = self.messages(tables, &rows, one)? else { return Ok(Err(rows)) };
        let mut ready = Ready { rows, truncates: Vec::new(), copies: Vec::new(), steps };
        for (table, copy) in copies {
            let Some(Some(carried)) = self.carriers.get_mut(&table) else { continue };
            if carried.rows >= CARRIED_ROWS_MAX || carried.bytes >= CARRIED_BYTES_MAX {
                (carried.rows, carried.bytes) = (0, 0);
                ready.truncates.push(carried.carrier.truncate.clone());
            }
            carried.rows += copy.rows;
            carried.bytes += copy.text.len();
            ready.copies.push((carried.copy.clone(), copy.text.into()));
        }
        Ok(Ok(ready))
    }

    /// What to send for a batch; `None` if little would be gained.
    fn messages(
        &mut self,
        tables: &[TableTask],
        rows: &[Row],
        one: &impl Fn(&Row) -> Vec<Request>,
    ) -> Result<Option<Messages>, ExecError> {
        let pieces = compact(rows.iter().map(|row| self.known(row)?.change(tables, row)));
        if pieces.len() * 2 > rows.len() {
            return Ok(None);
        }
        let mut copies: BTreeMap<usize, Copied> = BTreeMap::new();
        let mut steps = Vec::new();
        for piece in pieces {
            let (changes, nets) = match piece {
                Piece::Alone(number) => {
                    steps.extend(one(&rows[number]).into_iter().map(Step::Row));
                    continue;
                }
                Piece::Together { changes, nets } => (changes, nets),
            };
            let mut together: BTreeMap<usize, Vec<&Net>> = BTreeMap::new();
            for net in &nets {
                together.entry(net.table).or_default().push(net);
            }
            together.retain(|_, nets| nets.len() >= ROWS_MIN);
            // Rows of different tables need no order among them: constraints are checked at the end.
            let table_of = |number: &usize| self.known(&rows[*number]).map(|way| way.table);
            let alone = changes.filter(|number| table_of(number).is_none_or(|table| !together.contains_key(&table)));
            steps.extend(alone.flat_map(|number| one(&rows[number])).map(Step::Row));
            let (mut text, mut wanted) = (String::new(), Vec::new());
            for (table, nets) in together {
                let copy = copies.entry(table).or_default();
                for (of, rows_of) in by_statement(&nets, rows) {
                    let Some(statement) = self.statement(&tables[table], of)? else { return Ok(None) };
                    let Some(Some(carried)) = self.carriers.get(&table) else { return Ok(None) };
                    self.number += 1;
                    rows_of.iter().for_each(|tuples| push_row(&mut copy.text, self.number, &carried.carrier, tuples));
                    copy.rows += rows_of.len();
                    wanted.push(rows_of.len() as u64);
                    text.push_str(&statement.of(self.number));
                    text.push(';');
                }
            }
            if !wanted.is_empty() {
                steps.push(Step::Sets(text, wanted));
            }
        }
        Ok(Some((copies, steps)))
    }

    /// Sends a batch. Nothing else may be sent before its answer has been taken by [`Sets::settle`].
    pub(super) fn send(&self, target: &Arc<Client>, ready: Ready) -> InFlight {
        let Ready { rows, truncates, copies, steps } = ready;
        let target = Arc::clone(target);
        let mut answer = JoinSet::new();
        let answered = answer.spawn(async move { sent(&target, truncates, copies, steps).await });
        InFlight { rows, answer, answered }
    }

    /// Waits for the answer; gives the rows back if it does not agree with what was sent, with nothing left behind.
    ///
    /// # Errors
    /// The connection failed.
    pub(super) async fn settle(&mut self, mut in_flight: InFlight) -> Result<Result<(), Vec<Row>>, ExecError> {
        match in_flight.answer.join_next().await {
            Some(Ok(Ok(true))) => Ok(Ok(())),
            Some(Ok(Ok(false))) => {
                self.spared = SPARED;
                Ok(Err(in_flight.rows))
            }
            Some(Ok(Err(error))) => Err(error),
            Some(Err(error)) => Err(ExecError::task(error)),
            None => unreachable!("one task was spawned"),
        }
    }

    /// How rows of this shape are sent with others, if there is a statement for them.
    async fn way(&mut self, target: &Client, tables: &[TableTask], shape: &Shape) -> Result<Option<Way>, ExecError> {
        let task = &tables[shape.table];
        if task.key_at.is_empty() || task.projection.filter.is_some() || shape.key_changed {
            return Ok(None);
        }
        let (effect, kind) = match shape.kind {
            RowKind::Insert => (Effect::Insert, SetKind::Insert),
            RowKind::Update => (Effect::Update, SetKind::Update(shape.unsent.clone())),
            RowKind::Delete => (Effect::Delete, SetKind::Delete),
            RowKind::Stay => return Ok(None),
        };
        let has_room = self.carriers.values().flatten().count() < CARRIERS_MAX;
        if let Entry::Vacant(unknown) = self.carriers.entry(task.index) {
            unknown.insert(if has_room { carried(target, task).await? } else { None });
        }
        let whole = shape.unsent.is_empty();
        let statement = self.statement(task, Of { table: shape.table, kind })?;
        Ok(statement.map(|_| Way { table: shape.table, effect, whole }))
    }

    fn statement(&mut self, task: &TableTask, of: Of) -> Result<Option<SetStatement>, ExecError> {
        if let Some(known) = self.statements.get(&of) {
            return Ok(known.clone());
        }
        let Some(Some(Carried { carrier, .. })) = self.carriers.get(&task.index) else { return Ok(None) };
        let applied = apply::Applied {
            projection: &task.projection,
            frozen: &task.frozen,
            identity_always: &task.identity_always,
        };
        let made = match &of.kind {
            SetKind::Delete => apply_set::delete(applied, carrier)?,
            SetKind::Update(unsent) => {
                let columns = 0..task.projection.source_columns.len();
                let sent: Vec<bool> = columns.map(|column| !unsent.contains(&column)).collect();
                apply_set::update(applied, carrier, &sent)?
            }
            SetKind::Insert => apply_set::insert(applied, carrier)?,
        };
        self.statements.insert(of, made.clone());
        Ok(made)
    }
}

/// Creates the temporary table if the target allows it: what it thinks of a type that somebody made is its own affair, and
/// one by one the rows have their way.
async fn carried(target: &Client, task: &TableTask) -> Result<Option<Carried>, ExecError> {
    let types: Vec<&str> = task.projection.source_columns.iter().map(|column| column.ty.sql.as_str()).collect();
    let rows = target.query(CARRIED_SQL, &[&types]).await;
    let rows = rows.map_err(ExecError::target(format!("look at the types of {}", task.name)))?;
    let types: Vec<(Option<String>, bool, bool)> =
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let carrier = Carrier::new(task.index, &types);
    let failed = || ExecError::target(format!("prepare for batches of {}", task.name));
    target.batch_execute("SAVEPOINT pcrd_batch").await.map_err(failed())?;
    let made = match target.batch_execute(&carrier.create).await {
        Ok(()) => target.prepare(&carrier.copy).await,
        Err(error) => Err(error),
    };
    match made {
        Ok(copy) => {
            target.batch_execute("RELEASE SAVEPOINT pcrd_batch").await.map_err(failed())?;
            Ok(Some(Carried { carrier, copy, rows: 0, bytes: 0 }))
        }
        Err(error) if error.as_db_error().is_some() => {
            let undo = "ROLLBACK TO SAVEPOINT pcrd_batch; RELEASE SAVEPOINT pcrd_batch";
            target.batch_execute(undo).await.map_err(failed())?;
            Ok(None)
        }
        Err(error) => Err(failed()(error)),
    }
}

/// Bytes that are equal for the same key of successive versions of a row: its text, or its texts with their lengths.
fn key_bytes<'a>(task: &TableTask, tuple: &'a Tuple) -> Option<KeyBytes<'a>> {
    if let [at] = task.key_at[..] {
        return tuple.text(at).map(KeyBytes::Borrowed);
    }
    let mut bytes = BytesMut::new();
    for &at in &task.key_at {
        let text = tuple.text(at)?;
        bytes.put_u64(text.len() as u64);
        bytes.put_slice(text);
    }
    Some(KeyBytes::Owned(bytes.to_vec()))
}

/// The values of one row: of several tuples, each column's last value.
type Tuples<'a> = Vec<&'a Tuple>;

/// In the order in which they are sent: removals, updates, additions.
fn by_statement<'a>(nets: &[&Net], rows: &'a [Row]) -> BTreeMap<Of, Vec<Tuples<'a>>> {
    let mut found: BTreeMap<Of, Vec<Tuples<'a>>> = BTreeMap::new();
    for net in nets {
        if let Some(removed) = net.removed {
            let of = Of { table: net.table, kind: SetKind::Delete };
            found.entry(of).or_default().push(vec![rows[removed].old_tuple()]);
        }
        if let Some(Written { is_new, by }) = &net.written {
            let tuples: Tuples<'a> = by.iter().map(|&number| rows[number].new_tuple()).collect();
            let kind = if *is_new { SetKind::Insert } else { SetKind::Update(unsent_by(&tuples)) };
            found.entry(Of { table: net.table, kind }).or_default().push(tuples);
        }
    }
    found
}

fn unsent_by(tuples: &[&Tuple]) -> Vec<usize> {
    if tuples.last().is_none_or(|tuple| !tuple.has_unsent()) {
        return Vec::new();
    }
    let columns = tuples.first().map_or(0, |tuple| tuple.len());
    (0..columns).filter(|&column| tuples.iter().all(|tuple| tuple.is_unsent(column))).collect()
}

fn push_row(copy: &mut Vec<u8>, number: i64, carrier: &Carrier, tuples: &[&Tuple]) {
    copy.extend_from_slice(number.to_string().as_bytes());
    for column in carrier.carries() {
        let value = tuples.iter().rev().find(|tuple| !tuple.is_unsent(column));
        push_value(copy, value.and_then(|tuple| tuple.text(column)));
    }
    copy.push(b'\n');
}

/// Sends everything, and waits only where the protocol wants it; false when the server refuses a statement or one of them
/// does not affect the rows that it names, with everything undone.
async fn sent(
    target: &Client,
    truncates: Vec<String>,
    copies: Vec<(Statement, Bytes)>,
    mut steps: Vec<Step>,
) -> Result<bool, ExecError> {
    let failed = || ExecError::target("apply a batch");
    if !truncates.is_empty() {
        target.batch_execute(&truncates.join("; ")).await.map_err(failed())?;
    }
    let mut savepoint = Some(target.batch_execute("SAVEPOINT pcrd_batch"));
    let mut agreed = Ok(true);
    let mut copies = copies.into_iter().peekable();
    while let Some((statement, rows)) = copies.next() {
        // A COPY that could not even begin leaves an answer that nobody expects: of what comes before it everything must
        // have succeeded, or be a savepoint.
        let (saved, sink) = join(OptionFuture::from(savepoint.take()), target.copy_in::<_, Bytes>(&statement)).await;
        saved.transpose().map_err(failed())?;
        let sink = sink.map_err(failed())?;
        pin_mut!(sink);
        let fill = async {
            sink.feed(rows).await?;
            sink.finish().await
        };
        let behind = if copies.peek().is_none() { std::mem::take(&mut steps) } else { Vec::new() };
        let (filled, ran) = join(fill, run(target, behind)).await;
        agreed = filled.and(ran);
        if !matches!(agreed, Ok(true)) {
            break;
        }
    }
    if let Some(savepoint) = savepoint {
        let (saved, ran) = join(savepoint, run(target, steps)).await;
        saved.map_err(failed())?;
        agreed = ran;
    }
    match agreed {
        Ok(true) => {
            // Nothing waits for the answer: if the server should refuse, it refuses whatever comes next.
            let _not_yet = target.batch_execute("RELEASE SAVEPOINT pcrd_batch").now_or_never();
            Ok(true)
        }
        Err(error) if error.as_db_error().is_none() => Err(failed()(error)),
        Ok(false) | Err(_) => {
            let undo = "ROLLBACK TO SAVEPOINT pcrd_batch; RELEASE SAVEPOINT pcrd_batch";
            target.batch_execute(undo).await.map_err(failed())?;
            Ok(false)
        }
    }
}

async fn run(target: &Client, steps: Vec<Step>) -> Result<bool, tokio_postgres::Error> {
    let running: Vec<_> = steps.into_iter().map(|step| step.run(target)).collect();
    // Of no depth it would never end.
    let depth = running.len().max(1);
    let answers: Vec<Result<bool, tokio_postgres::Error>> = stream::iter(running).buffered(depth).collect().await;
    // What failed first says why; what was sent after it is refused for that.
    answers.into_iter().try_fold(true, |all, answer| Ok(all & answer?))
}

impl Step {
    /// True when every statement affected the rows that it names.
    async fn run(self, target: &Client) -> Result<bool, tokio_postgres::Error> {
        match self {
            Self::Row(Request { statement, values, rows }) => Ok(target.execute_raw(&statement, values).await? == rows),
            Self::Sets(text, wanted) => {
                let found = target.simple_query(&text).await?.into_iter().filter_map(|message| match message {
                    SimpleQueryMessage::CommandComplete(rows) => Some(rows),
                    _ => None,
                });
                Ok(found.eq(wanted))
            }
        }
    }
}
