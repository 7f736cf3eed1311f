//! Sets a target sequence so that its next value is past every value that the source gave out or stored.

use std::time::Duration;

use super::ExecError;
use super::context::Run;
use crate::catalog::{ColumnRef, Ident};
use crate::pg::client::Client;
use crate::plan::{End, Op, Plan, SetSequence};
use crate::sql;

/// Reads the source's sequence behind the fence and sets the target's; fails if the next value would collide. On the way back
/// what is set was in use before, and may be: it never goes back.
pub async fn set(run: &Run, source: &Client, target: &Client, set: &SetSequence) -> Result<(), ExecError> {
    let at = |what: &str| format!("{what} of sequence {}", set.source.as_ref().unwrap_or(&set.target));
    let row = target
        .query_opt(
            "SELECT seqmin, seqmax, seqincrement, seqcycle, seqstart FROM pg_catalog.pg_sequence WHERE seqrelid = $1::text::regclass",
            &[&sql::name(&set.target)],
        )
        .await
        .map_err(ExecError::target(at("read the options")))?;
    let Some(row) = row else { return not_there(set) };
    let (min, max, increment, cycle): (i64, i64, i64, bool) = (row.get(0), row.get(1), row.get(2), row.get(3));
    let margin = i128::from(set.buffer) * i128::from(increment);
    let start = GivenOut { last_value: row.get(4), is_called: false, cycle };
    // One that is near its end would have nothing left to give.
    let ahead = |value: i64| match i128::from(value) + margin {
        wanted if (i128::from(min)..=i128::from(max)).contains(&wanted) => wanted,
        _ => i128::from(value),
    };
    let mut position: Option<(i64, bool)> = None;
    let now = if run.is_mirrored { Some(own_value(target, set).await?) } else { None };
    let further = given_out(run, source, set).await?.or_else(|| now.is_none().then(|| vec![start]));
    for GivenOut { last_value, is_called, cycle } in further.into_iter().flatten() {
        // A sequence that wraps has no "past"; one that was never used starts where the source would.
        let wanted = if cycle || !is_called { i128::from(last_value) } else { ahead(last_value) };
        let own = (wanted.clamp(i128::from(min), i128::from(max)) as i64, is_called);
        // Of several sources the furthest counts.
        let is_further = |before: (i64, bool)| {
            let (own, before) = (next_value(own, increment), next_value(before, increment));
            if increment > 0 { own > before } else { own < before }
        };
        if position.is_none_or(is_further) {
            position = Some(own);
        }
    }
    let is_past = |one: (i64, bool), other: (i64, bool)| {
        let (one, other) = (next_value(one, increment), next_value(other, increment));
        if increment > 0 { one >= other } else { one <= other }
    };
    let position = match (now, position) {
        (Some(now), Some(wanted)) if is_past(now, wanted) => Some(now),
        (now, wanted) => wanted.or(now),
    };
    let (value, is_called) = position.unwrap_or((start.last_value, false));
    let stored = if cycle && set.source.is_some() { None } else { furthest(run, target, set, increment).await? };
    let next = next_value((value, is_called), increment);
    let past = |stored: i64| if increment > 0 { next > i128::from(stored) } else { next < i128::from(stored) };
    // Values that did not come from the sequence may be anywhere; then the sequence must go past them.
    let (value, is_called) = match stored.filter(|stored| !past(*stored)) {
        Some(stored) => {
            let own_next = i128::from(stored) + i128::from(increment);
            if let (Some(now), false) = (now, (i128::from(min)..=i128::from(max)).contains(&own_next)) {
                run.note(format!(
                    "sequence {} stays at {}: {stored} is stored, and behind that it has no value to give",
                    set.target, now.0
                ));
                return Ok(());
            }
            (ahead(stored).clamp(i128::from(min), i128::from(max)) as i64, true)
        }
        None => (value, is_called),
    };
    if now == Some((value, is_called)) {
        return Ok(());
    }
    let name = sql::name(&set.target);
    // Others may take numbers of a sequence that is in use, until this very statement.
    let still = match (now, increment > 0) {
        (None, _) => String::new(),
        (Some(_), true) => format!(" FROM {name} WHERE last_value <= $1"),
        (Some(_), false) => format!(" FROM {name} WHERE last_value >= $1"),
    };
    let query = format!("SELECT pg_catalog.setval({}::regclass, $1, $2){still}", sql::literal(&name));
    target.execute(&query, &[&value, &is_called]).await.map_err(ExecError::target(at("set the value")))?;
    Ok(())
}

/// What a default names and is no sequence, or none any more, needs no number.
fn not_there(set: &SetSequence) -> Result<(), ExecError> {
    match set.source {
        None => Ok(()),
        Some(_) => {
            let reason = format!("sequence {} is gone", set.target);
            Err(ExecError::Step { step: format!("set_sequence:{}", set.target), reason })
        }
    }
}

/// The sequences that will be set can be: asked before the way to them is needed.
///
/// # Errors
/// [`ExecError::CutoverAborted`] with the GRANT that is missing.
pub async fn may_be_set(run: &Run, target: &Client) -> Result<(), ExecError> {
    let sets = run.plan.steps.iter().filter_map(|step| match &step.op {
        Op::SetSequence(set) => Some(sql::name(&set.target)),
        _ => None,
    });
    let names: Vec<String> = sets.collect();
    let rows = target
        .query(
            "SELECT n, current_user::text FROM pg_catalog.unnest($1::text[]) AS n \
             JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(n) WHERE CASE WHEN c.relkind = 'S' THEN NOT \
             (pg_catalog.has_sequence_privilege(c.oid, 'SELECT') AND pg_catalog.has_sequence_privilege(c.oid, 'UPDATE')) END ORDER BY 1",
            &[&names],
        )
        .await
        .map_err(ExecError::target("look at the rights on sequences"))?;
    let Some(first) = rows.first() else { return Ok(()) };
    let user = sql::ident(
        &Ident::new(first.get::<_, String>(1)).map_err(|error| ExecError::Gap { reason: error.to_string() })?,
    );
    let lacking: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    let reason = format!(
        "sequences of the {} could not be set: GRANT SELECT, UPDATE ON SEQUENCE {} TO {user}",
        run.end(End::Target),
        lacking.join(", ")
    );
    Err(ExecError::CutoverAborted { reason })
}

/// Where the sequence that is to be set stands.
async fn own_value(target: &Client, set: &SetSequence) -> Result<(i64, bool), ExecError> {
    let query = format!("SELECT last_value, is_called FROM {}", sql::name(&set.target));
    let doing = format!("read the value of sequence {}", set.target);
    let row = target.query_one(&query, &[]).await.map_err(ExecError::target(doing))?;
    Ok((row.get(0), row.get(1)))
}

/// Reads the furthest value that is stored, as [`set`] will behind the fence: what takes longer than `limit` there, for all
/// of them, would be read in vain.
///
/// # Errors
/// [`ExecError::CutoverAborted`] with the sequence that takes too long.
pub async fn try_out(run: &Run, target: &Client, limit: Duration) -> Result<(), ExecError> {
    let until = tokio::time::Instant::now() + limit;
    for step in &run.plan.steps {
        let Op::SetSequence(set) = &step.op else { continue };
        let query = "SELECT seqincrement, seqcycle FROM pg_catalog.pg_sequence WHERE seqrelid = $1::text::regclass";
        let doing = || ExecError::target(format!("read the options of sequence {}", set.target));
        let row = target.query_opt(query, &[&sql::name(&set.target)]).await.map_err(doing())?;
        let Some(row) = row else {
            not_there(set)?;
            continue;
        };
        // One that wraps has no furthest.
        if row.get::<_, bool>(1) && set.source.is_some() {
            continue;
        }
        match tokio::time::timeout_at(until, furthest(run, target, set, row.get(0))).await {
            Ok(read) => drop(read?),
            Err(_) => {
                // Nobody waits for it any more; a server that is gone has ended it too.
                let _ended = target.cancel().await;
                let columns: Vec<String> = set.columns.iter().map(|at| format!("{}.{}", at.table, at.column)).collect();
                let reason = format!(
                    "the furthest value of sequence {} takes longer to read from {} than {} ms, which is what there is behind \
                     the fence: an index that begins with the column gives it at once",
                    set.target,
                    columns.join(", "),
                    limit.as_millis()
                );
                return Err(ExecError::CutoverAborted { reason });
            }
        }
    }
    Ok(())
}

/// What a sequence of the source has given out.
#[derive(Debug, Clone, Copy)]
struct GivenOut {
    last_value: i64,
    is_called: bool,
    cycle: bool,
}

/// The number that a sequence gives next from this state.
fn next_value((value, is_called): (i64, bool), increment: i64) -> i128 {
    if is_called { i128::from(value) + i128::from(increment) } else { i128::from(value) }
}

/// Of every sequence of the source that goes on here; `None` when the target's is new.
async fn given_out(run: &Run, source: &Client, set: &SetSequence) -> Result<Option<Vec<GivenOut>>, ExecError> {
    let mut found = Vec::new();
    for name in set.source.iter().chain(&set.further) {
        let query = format!("SELECT last_value, is_called FROM {}", sql::name(name));
        let doing = format!("read the value of sequence {name}");
        let row = source.query_one(&query, &[]).await.map_err(ExecError::source(doing))?;
        let options = run.plan.source.sequences.get(name).ok_or_else(|| ExecError::Step {
            step: format!("set_sequence:{}", set.target),
            reason: "the plan has no options of it".to_owned(),
        })?;
        found.push(GivenOut { last_value: row.get(0), is_called: row.get(1), cycle: options.cycle });
    }
    Ok((!found.is_empty()).then_some(found))
}

/// The value that the sequence would reach last among those that its columns hold.
async fn furthest(run: &Run, target: &Client, set: &SetSequence, increment: i64) -> Result<Option<i64>, ExecError> {
    let end = if increment > 0 { "max" } else { "min" };
    let mut furthest = None;
    for column in &set.columns {
        if !is_number(&run.plan, target, column).await? {
            continue;
        }
        for condition in conditions(&run.plan, column) {
            let (value, table) = (sql::ident(&column.column), sql::name(&column.table));
            let query = format!("SELECT {end}({value})::pg_catalog.int8 FROM {table}{condition}");
            let doing = format!("read the furthest value of sequence {}", set.target);
            let row = target.query_one(&query, &[]).await.map_err(ExecError::target(doing))?;
            let Some(stored) = row.get::<_, Option<i64>>(0) else { continue };
            furthest =
                Some(furthest.map_or(stored, |one: i64| if increment > 0 { one.max(stored) } else { one.min(stored) }));
        }
    }
    Ok(furthest)
}

/// What is only made of a sequence's numbers, as a text, is none that the sequence could be past.
async fn is_number(plan: &Plan, target: &Client, column: &ColumnRef) -> Result<bool, ExecError> {
    let types = plan.steps.iter().filter_map(|step| match &step.op {
        Op::CreateTable(create) if create.name == column.table => Some(&create.columns),
        _ => None,
    });
    if let Some(found) = types.flatten().find(|one| one.name == column.column).filter(|one| one.ty.is_builtin()) {
        return Ok(["int2", "int4", "int8", "numeric"].iter().any(|name| found.ty.is(name)));
    }
    // A domain is of its base type's kind.
    let query = "SELECT t.typcategory = 'N' FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
                 WHERE a.attrelid = $1::text::regclass AND a.attname = $2::text";
    let doing = format!("read the type of {}.{}", column.table, column.column);
    let row = target.query_opt(query, &[&sql::name(&column.table), &column.column.as_str()]).await;
    Ok(row.map_err(ExecError::target(doing))?.is_some_and(|row| row.get(0)))
}

/// What is asked of the column's rows, so that the table's key finds the furthest: all of them at once where the key begins
/// with the column, else those of each of several sources.
fn conditions(plan: &Plan, column: &ColumnRef) -> Vec<String> {
    let parts: Option<Vec<String>> =
        plan.onto(&column.table).map(|projection| sql::part::own(projection, "")).collect();
    match parts {
        Some(parts) if !plan.is_found_by(&column.table, &column.column) && !parts.is_empty() => {
            parts.into_iter().map(|own| format!(" WHERE {own}")).collect()
        }
        _ => vec![String::new()],
    }
}
