//! Constraints that PostgreSQL keeps by triggers: foreign keys, and keys that are checked at the end of a transaction. The
//! stream is applied as a replica, which silences triggers, so that what the source does not promise itself is counted
//! when writes have stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tokio_postgres::error::SqlState;

use super::ExecError;
use super::apply::overdue;
use super::context::Run;
use super::lock_holders;
use crate::casts::{self, CastClass};
use crate::catalog::{ColumnType, Constraint, ConstraintKind, Ident, QualifiedName, Table};
use crate::pg::client::Client;
use crate::pg::introspect::{self, IntrospectError};
use crate::plan::{End, Plan};
use crate::projection::{ColumnValue, Projection};
use crate::sql::check::{DistinctNulls, duplicates_where};
use crate::sql::violation::{self, Reference};
use crate::sql::with_partitions;

/// A question whose answer must be 0.
#[derive(Debug)]
pub struct Question {
    address: String,
    meaning: String,
    sql: String,
}

/// What is to be asked of the target: its validated constraints of these kinds that the source does not have over the
/// same values.
///
/// # Errors
/// The target cannot be asked, or a constraint can be proven by no query.
pub async fn questions(run: &Run, target: &Client) -> Result<Vec<Question>, ExecError> {
    let names: BTreeSet<QualifiedName> = run.plan.targets().into_iter().cloned().collect();
    of_tables((run, target), &names, &names, &BTreeSet::new()).await
}

/// The same of the source for the way back, where `mirrored` is the run in a mirror. Rows that the target does not have may
/// refer to those that it changes, of the tables `with_others` and of tables that are not of the plan.
///
/// # Errors
/// As [`questions`], or `limit` is over.
pub async fn questions_back(
    mirrored: &Run,
    source: &Client,
    with_others: &BTreeSet<QualifiedName>,
    limit: Duration,
) -> Result<Vec<Question>, ExecError> {
    let began = Instant::now();
    limited(source, "what the source promises", (began, limit)).await?;
    let asked = read_questions_back(mirrored, source, with_others, (began, limit)).await;
    let reset = unlimited(source).await;
    let questions = asked?;
    reset?;
    Ok(questions)
}

async fn read_questions_back(
    mirrored: &Run,
    source: &Client,
    with_others: &BTreeSet<QualifiedName>,
    (began, limit): (Instant, Duration),
) -> Result<Vec<Question>, ExecError> {
    let written: BTreeSet<QualifiedName> = mirrored.plan.targets().into_iter().cloned().collect();
    let names: Vec<String> = written.iter().map(crate::sql::name).collect();
    let rows = source
        .query(
            "SELECT DISTINCT n.nspname::text, c.relname::text FROM pg_catalog.pg_constraint k \
             JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE k.contype = 'f' AND k.confrelid = ANY ($1::text[]::regclass[])",
            &[&names],
        )
        .await
        .map_err(ExecError::source("look for foreign keys onto tables of the way back"))?;
    let mut all = written.clone();
    for row in rows {
        let name = |at: usize| {
            Ident::new(row.get::<_, String>(at))
                .map_err(|error| ExecError::Step { step: "rollback".to_owned(), reason: error.to_string() })
        };
        all.insert(QualifiedName { schema: name(0)?, name: name(1)? });
    }
    let questions = match of_tables((mirrored, source), &all, &written, with_others).await {
        // What is to be asked is read under locks.
        Err(error) if is_canceled(&error) => {
            let all: Vec<QualifiedName> = all.into_iter().collect();
            let who = lock_holders::in_the_way(source, &all).await?;
            let reason = format!("what the source promises could not be read in time, which waits for {who}");
            return Err(ExecError::CutoverAborted { reason });
        }
        questions => questions?,
    };
    for Question { address, sql, .. } in &questions {
        // Tables that did not move may be nobody's whom we may ask: to be told before the switch.
        limited(source, address, (began, limit)).await?;
        let explained = source.batch_execute(&format!("EXPLAIN {sql}")).await;
        explained.map_err(|error| unanswered(address, limit, error))?;
    }
    Ok(questions)
}

/// Of the tables `names`, those constraints that writes to the tables `written` can break.
async fn of_tables(
    (run, target): (&Run, &Client),
    names: &BTreeSet<QualifiedName>,
    written: &BTreeSet<QualifiedName>,
    with_others: &BTreeSet<QualifiedName>,
) -> Result<Vec<Question>, ExecError> {
    let names: Vec<QualifiedName> = names.iter().cloned().collect();
    let catalog = introspect::tables(target, &names).await?;
    let mut questions = Vec::new();
    for (name, table) in &catalog.tables {
        for (constraint_name, constraint) in &table.constraints {
            let refers = constraint.references.as_ref().is_some_and(|far| written.contains(&far.table));
            if !written.contains(name) && !refers {
                continue;
            }
            let silent = constraint.kind == ConstraintKind::ForeignKey
                || (constraint.deferrable
                    && matches!(
                        constraint.kind,
                        ConstraintKind::PrimaryKey | ConstraintKind::Unique | ConstraintKind::Exclude
                    ));
            let is_promised = || !with_others.contains(name) && promised(&run.plan, &catalog.tables, name, constraint);
            if silent && constraint.validated && !is_promised() {
                questions.push(question((run, target), name, constraint_name, constraint).await?);
            }
        }
    }
    Ok(questions)
}

/// Asks.
///
/// # Errors
/// [`ExecError::CutoverAborted`] with every constraint that some rows break.
pub async fn ask(target: &Client, questions: &[Question]) -> Result<(), ExecError> {
    let mut broken = Vec::new();
    for question in questions {
        let doing = || format!("count rows against {}", question.address);
        let row = target.query_one(&question.sql, &[]).await.map_err(ExecError::target(doing()))?;
        broken.extend(question.broken(&row));
    }
    if broken.is_empty() {
        return Ok(());
    }
    let reason = format!(
        "rows that were written on the source since break constraints that only the target has: {}. Mend them on the \
         source and cut over again",
        broken.join("; ")
    );
    Err(ExecError::CutoverAborted { reason })
}

/// Asks the source on the way back. `limit` is for all of them: the server itself ends what takes longer. `whose` says of
/// which rows they are asked, for people.
///
/// # Errors
/// [`ExecError::CutoverAborted`] with every constraint that some rows break, or with the one that was not answered in time.
pub async fn ask_back(source: &Client, questions: &[Question], limit: Duration, whose: &str) -> Result<(), ExecError> {
    let asked = broken_in_time(source, questions, limit).await;
    let reset = unlimited(source).await;
    let broken = asked?;
    reset?;
    if broken.is_empty() {
        return Ok(());
    }
    let reason =
        format!("{whose} rows break constraints of the source: {}. Mend them and ask again", broken.join("; "));
    Err(ExecError::CutoverAborted { reason })
}

async fn broken_in_time(source: &Client, questions: &[Question], limit: Duration) -> Result<Vec<String>, ExecError> {
    let (began, mut broken) = (Instant::now(), Vec::new());
    for question in questions {
        limited(source, &question.address, (began, limit)).await?;
        let asked = source.query_one(&question.sql, &[]).await;
        let row = asked.map_err(|error| unanswered(&question.address, limit, error))?;
        broken.extend(question.broken(&row));
    }
    Ok(broken)
}

/// Until the run is to stop: then the statement that is under way on this session ends on the server too, where it would hold
/// the session's locks for as long as it takes.
///
/// # Errors
/// [`ExecError::Interrupted`], or what the asking says.
pub async fn unless_stopped<T>(
    run: &Run,
    source: &Client,
    asking: impl Future<Output = Result<T, ExecError>>,
) -> Result<T, ExecError> {
    tokio::select! {
        asked = asking => asked,
        () = overdue(&run.shutdown, Duration::ZERO) => {
            end(source).await;
            Err(ExecError::Interrupted)
        }
    }
}

/// Ends the statement of a question that nobody waits for any more, and its transaction. Where that cannot be asked for, its
/// limit ends it.
pub async fn end(source: &Client) {
    // A session that is gone says so to the next who asks.
    let _unreached = source.cancel().await;
    let _gone = source.batch_execute("ROLLBACK").await;
    let _gone = unlimited(source).await;
}

impl Question {
    /// One line, when some rows break it.
    fn broken(&self, row: &tokio_postgres::Row) -> Option<String> {
        let count: i64 = row.get(row.len() - 1);
        (count > 0).then(|| format!("{}: {count} row(s) {}", self.address, self.meaning))
    }
}

/// Lets the next statement take what is left. A message of its own: older servers arm the timeout only for the next one.
async fn limited(source: &Client, address: &str, (began, limit): (Instant, Duration)) -> Result<(), ExecError> {
    let left = limit.saturating_sub(began.elapsed()).as_millis();
    if left == 0 {
        return Err(too_long(address, limit));
    }
    let set = format!("SET statement_timeout = {left}");
    source.batch_execute(&set).await.map_err(ExecError::source(format!("ask whether {address} holds")))
}

async fn unlimited(source: &Client) -> Result<(), ExecError> {
    let reset = source.batch_execute("SET statement_timeout = 0").await;
    reset.map_err(ExecError::source("ask whether constraints hold"))
}

fn too_long(address: &str, limit: Duration) -> ExecError {
    let reason = format!(
        "whether {address} holds was not answered within {} ms, and behind the target's fence nobody could write for as long: \
         no constraint of the target promises it. Raise cutover.fence_timeout, or have the target keep the same constraint",
        limit.as_millis()
    );
    ExecError::CutoverAborted { reason }
}

/// By the limit, or by that of a wait for a lock.
fn is_canceled(error: &ExecError) -> bool {
    let ends = [SqlState::QUERY_CANCELED, SqlState::LOCK_NOT_AVAILABLE];
    match error {
        ExecError::Introspect(IntrospectError::Query { source, .. }) => {
            source.code().is_some_and(|code| ends.contains(code))
        }
        ExecError::Postgres { error, .. } => ends.iter().any(|code| error.sqlstate() == Some(code.code())),
        _ => false,
    }
}

fn unanswered(address: &str, limit: Duration, error: tokio_postgres::Error) -> ExecError {
    match error.code() {
        Some(&SqlState::QUERY_CANCELED) => too_long(address, limit),
        _ => ExecError::Postgres {
            side: End::Source,
            doing: format!("ask whether {address} holds"),
            error: error.into(),
        },
    }
}

/// True when the source has the same constraint over values that compare as those of the target do.
fn promised(plan: &Plan, targets: &BTreeMap<QualifiedName, Table>, name: &QualifiedName, wanted: &Constraint) -> bool {
    let Some(near) = Carried::of(plan, targets, name) else { return false };
    let Some(columns) = near.columns(&wanted.columns) else { return false };
    let same_kind = |own: &&Constraint| own.validated && own.kind == wanted.kind;
    let mut own = near.source.constraints.values().filter(same_kind);
    match wanted.kind {
        ConstraintKind::ForeignKey => {
            let Some(references) = &wanted.references else { return false };
            let Some(far) = Carried::of(plan, targets, &references.table) else { return false };
            let Some(far_columns) = far.columns(&references.columns) else { return false };
            let pairs = |near: &[Ident], far: &[Ident]| {
                let mut pairs: Vec<(Ident, Ident)> = near.iter().cloned().zip(far.iter().cloned()).collect();
                pairs.sort();
                pairs
            };
            far.projection.filter.is_none()
                && own.any(|own| {
                    own.references.as_ref().is_some_and(|one| {
                        one.table == far.projection.source
                            && pairs(&own.columns, &one.columns) == pairs(&columns, &far_columns)
                            && (own.definition.contains(MATCH_FULL) || !wanted.definition.contains(MATCH_FULL))
                    })
                })
        }
        ConstraintKind::PrimaryKey | ConstraintKind::Unique => {
            let sorted = |mut columns: Vec<Ident>| {
                columns.sort();
                columns
            };
            // NULLS NOT DISTINCT is in the definition; a key without it promises less.
            let strict = |one: &Constraint| one.definition.contains("NULLS NOT DISTINCT");
            let keys = near.source.constraints.values().filter(|own| {
                matches!(own.kind, ConstraintKind::PrimaryKey | ConstraintKind::Unique)
                    && own.validated
                    && (strict(own) || own.kind == ConstraintKind::PrimaryKey || !strict(wanted))
            });
            keys.map(|own| sorted(own.columns.clone())).any(|own| own == sorted(columns.clone()))
        }
        // Its operators and expressions are in its text only.
        _ => columns == wanted.columns && own.any(|own| own.definition == wanted.definition),
    }
}

const MATCH_FULL: &str = " MATCH FULL";

/// A table of the target with what it is made of.
struct Carried<'p> {
    projection: &'p Projection,
    source: &'p Table,
    target: &'p Table,
}

impl<'p> Carried<'p> {
    fn of(plan: &'p Plan, targets: &'p BTreeMap<QualifiedName, Table>, name: &QualifiedName) -> Option<Self> {
        let mut own = plan.onto(name);
        let (Some(projection), None) = (own.next(), own.next()) else { return None };
        Some(Self { projection, source: plan.source.tables.get(&projection.source)?, target: targets.get(name)? })
    }

    /// The source columns of which these are equal copies; `None` when one is anything else.
    fn columns(&self, names: &[Ident]) -> Option<Vec<Ident>> {
        names.iter().map(|name| self.column(name)).collect()
    }

    fn column(&self, name: &Ident) -> Option<Ident> {
        let projected = self.projection.columns.iter().find(|column| &column.target == name)?;
        let ColumnValue::Expr { sql, reads } = &projected.value else { return None };
        let [read] = reads.as_slice() else { return None };
        let read_type =
            self.projection.source_columns.iter().find(|column| &column.name == read).map(|column| &column.ty);
        let equal = match projected.class {
            CastClass::Identical => *sql == crate::sql::ident(read),
            CastClass::Widening => true,
            CastClass::Checked => read_type.is_some_and(|from| keeps_value(from, &projected.ty, read, sql)),
            CastClass::Lossy | CastClass::Custom => false,
        };
        let same_collation = self.source.column(read)?.collation == self.target.column(name)?.collation;
        (equal && same_collation).then(|| read.clone())
    }
}

/// True when this is a cast that raises or gives the same value, among types whose values compare alike.
fn keeps_value(from: &ColumnType, to: &ColumnType, column: &Ident, sql: &str) -> bool {
    let both = |names: &[&str]| [from, to].iter().all(|ty| names.iter().any(|name| ty.is(name)));
    if !both(&["int2", "int4", "int8"]) && !both(&["text", "varchar"]) {
        return false;
    }
    let types = BTreeMap::new();
    let context = casts::Context { zone: "UTC", types: &types, oldest_major: 10 };
    // A `reverse` of the plan's may be anything.
    casts::classify(from, to, &context).is_ok_and(|cast| cast.injective && cast.expr(&crate::sql::ident(column)) == sql)
}

/// What `pg_constraint` has and the model has not: operators, collations, elements.
const DETAIL: &str = "SELECT \
    ARRAY(SELECT n.nspname::text FROM unnest(k.operators) WITH ORDINALITY AS o (oid, at) \
      JOIN pg_catalog.pg_operator p ON p.oid = o.oid JOIN pg_catalog.pg_namespace n ON n.oid = p.oprnamespace ORDER BY o.at), \
    ARRAY(SELECT p.oprname::text FROM unnest(k.operators) WITH ORDINALITY AS o (oid, at) \
      JOIN pg_catalog.pg_operator p ON p.oid = o.oid ORDER BY o.at), \
    ARRAY(SELECT CASE WHEN a.attcollation <> 0 THEN n.nspname::text END FROM unnest(c.confkey) WITH ORDINALITY AS f (num, at) \
      JOIN pg_catalog.pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = f.num \
      LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation \
      LEFT JOIN pg_catalog.pg_namespace n ON n.oid = l.collnamespace ORDER BY f.at), \
    ARRAY(SELECT l.collname::text FROM unnest(c.confkey) WITH ORDINALITY AS f (num, at) \
      JOIN pg_catalog.pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = f.num \
      LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation ORDER BY f.at), \
    ARRAY(SELECT pg_catalog.pg_get_indexdef(c.conindid, g, false) \
      FROM generate_series(1, cardinality(c.conexclop)) g ORDER BY g), \
    pg_catalog.pg_get_expr(i.indpred, i.indrelid), \
    coalesce((pg_catalog.to_jsonb(i)->>'indnullsnotdistinct')::bool, false), \
    coalesce((pg_catalog.to_jsonb(c)->>'conperiod')::bool, false) \
  FROM pg_catalog.pg_constraint c \
  CROSS JOIN LATERAL (SELECT coalesce(c.conexclop, c.conpfeqop) AS operators) k \
  LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.conindid \
  WHERE c.conrelid = $1::text::regclass AND c.conname = $2::text";

async fn question(
    (run, target): (&Run, &Client),
    table: &QualifiedName,
    name: &Ident,
    constraint: &Constraint,
) -> Result<Question, ExecError> {
    let address = format!("{table}.{name}");
    // In a mirror that is the source.
    let end = run.end(End::Target);
    let doing = format!("read the constraint {address}");
    let detail = target.query_one(DETAIL, &[&crate::sql::name(table), &name.as_str()]).await;
    let row = detail.map_err(|error| ExecError::Postgres { side: end, doing, error: error.into() })?;
    if row.get::<_, bool>(7) {
        let next = match end {
            End::Target => "Leave it out and add it after the cutover",
            End::Source => "Drop it there, or cut over without a way back",
        };
        let reason = format!(
            "{address} is over a PERIOD and only the {end} has it: no query shows that the stream kept it. {next}"
        );
        return Err(ExecError::CutoverAborted { reason });
    }
    let schemas: Vec<String> = row.get(0);
    let symbols: Vec<String> = row.get(1);
    let identifier = |text: &String| {
        Ident::new(text.clone())
            .map_err(|error| ExecError::Step { step: address.clone(), reason: format!("its catalog entry: {error}") })
    };
    let operators: Vec<String> = schemas
        .iter()
        .zip(&symbols)
        .map(|(schema, symbol)| Ok(violation::operator(&identifier(schema)?, symbol)))
        .collect::<Result<_, ExecError>>()?;
    let rows = with_partitions(table, run.plan.is_split_up(table));
    let (sql, meaning) = match (&constraint.references, constraint.kind) {
        (Some(references), _) => {
            let collations: Vec<(Option<String>, Option<String>)> =
                row.get::<_, Vec<Option<String>>>(2).into_iter().zip(row.get::<_, Vec<Option<String>>>(3)).collect();
            let mut columns = Vec::new();
            let ends = constraint.columns.iter().zip(&references.columns);
            for ((near, far), (equals, collation)) in ends.zip(operators.into_iter().zip(collations)) {
                let collation = match collation {
                    (Some(schema), Some(name)) => {
                        let name = QualifiedName { schema: identifier(&schema)?, name: identifier(&name)? };
                        Some(crate::sql::name(&name))
                    }
                    _ => None,
                };
                columns.push(Reference { near: near.clone(), far: far.clone(), equals, collation });
            }
            let match_full = constraint.definition.contains(MATCH_FULL);
            let sql = violation::orphans(&rows, &references.table, &columns, match_full);
            (sql, format!("without their row of {}", references.table))
        }
        (None, ConstraintKind::Exclude) => {
            let elements: Vec<String> = row.get(4);
            let elements: Vec<(String, String)> = elements.into_iter().zip(operators).collect();
            let predicate: Option<String> = row.get(5);
            (violation::overlaps(table, &elements, predicate.as_deref()), "that exclude each other".to_owned())
        }
        (None, _) => {
            let nulls = if row.get::<_, bool>(6) { DistinctNulls::No } else { DistinctNulls::Yes };
            let values: Vec<String> = constraint.columns.iter().map(crate::sql::ident).collect();
            (duplicates_where(&rows, &values, None, nulls), "with the same values".to_owned())
        }
    };
    Ok(Question { address, meaning, sql })
}
