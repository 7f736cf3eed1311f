//! Constraints that PostgreSQL keeps by triggers: foreign keys, and keys that are checked at the end of a transaction. The
//! stream is applied as a replica, which silences triggers, so that what the source does not promise itself is counted
//! when writes have stopped.

use std::collections::{BTreeMap, BTreeSet};

use super::ExecError;
use super::context::Run;
use crate::casts::CastClass;
use crate::catalog::{Constraint, ConstraintKind, Ident, QualifiedName, Table};
use crate::pg::client::Client;
use crate::pg::introspect;
use crate::plan::Plan;
use crate::projection::{ColumnValue, Projection};
use crate::sql::check::{DistinctNulls, duplicates_where};
use crate::sql::violation::{self, Reference};

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
/// As [`questions`].
pub async fn questions_back(
    mirrored: &Run,
    source: &Client,
    with_others: &BTreeSet<QualifiedName>,
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
    let questions = of_tables((mirrored, source), &all, &written, with_others).await?;
    for Question { address, sql, .. } in &questions {
        // Tables that did not move may be nobody's whom we may ask: to be told before the switch.
        let doing = format!("ask whether {address} holds");
        source.batch_execute(&format!("EXPLAIN {sql}")).await.map_err(ExecError::source(doing))?;
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
                questions.push(question(target, name, constraint_name, constraint).await?);
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
    let broken = broken(target, questions).await?;
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

/// Asks on the way back.
///
/// # Errors
/// As [`ask`].
pub async fn ask_back(source: &Client, questions: &[Question]) -> Result<(), ExecError> {
    let broken = broken(source, questions).await?;
    if broken.is_empty() {
        return Ok(());
    }
    let reason = format!(
        "with what the target wrote, rows break constraints of the source: {}. Mend them on the target and ask again",
        broken.join("; ")
    );
    Err(ExecError::CutoverAborted { reason })
}

/// One line for each constraint that some rows break.
async fn broken(target: &Client, questions: &[Question]) -> Result<Vec<String>, ExecError> {
    let mut broken = Vec::new();
    for question in questions {
        let doing = || format!("count rows against {}", question.address);
        let row = target.query_one(&question.sql, &[]).await.map_err(ExecError::target(doing()))?;
        let count: i64 = row.get(row.len() - 1);
        if count > 0 {
            broken.push(format!("{}: {count} row(s) {}", question.address, question.meaning));
        }
    }
    Ok(broken)
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
        let equal = matches!(projected.class, CastClass::Identical | CastClass::Widening);
        let ColumnValue::Expr { reads, .. } = &projected.value else { return None };
        let [read] = reads.as_slice() else { return None };
        let same_collation = self.source.column(read)?.collation == self.target.column(name)?.collation;
        (equal && same_collation).then(|| read.clone())
    }
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
    target: &Client,
    table: &QualifiedName,
    name: &Ident,
    constraint: &Constraint,
) -> Result<Question, ExecError> {
    let address = format!("{table}.{name}");
    let row = target
        .query_one(DETAIL, &[&crate::sql::name(table), &name.as_str()])
        .await
        .map_err(ExecError::target(format!("read the constraint {address}")))?;
    if row.get::<_, bool>(7) {
        let reason = format!(
            "{address} is over a PERIOD and only the target has it: no query shows that the stream kept it. Leave it out \
             and add it after the cutover"
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
            let sql = violation::orphans(table, &references.table, &columns, match_full);
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
            (duplicates_where(table, &values, None, nulls), "with the same values".to_owned())
        }
    };
    Ok(Question { address, meaning, sql })
}
