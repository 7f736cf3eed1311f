//! Sets a target sequence so that its next value is past every value that the source gave out or stored.

use super::ExecError;
use super::context::Run;
use crate::catalog::ColumnRef;
use crate::pg::client::Client;
use crate::plan::{Plan, SetSequence};
use crate::sql;

/// Reads the source's sequence behind the fence and sets the target's; fails if the next value would collide.
pub async fn set(run: &Run, source: &Client, target: &Client, set: &SetSequence) -> Result<(), ExecError> {
    let at = |what: &str| format!("{what} of sequence {}", set.source.as_ref().unwrap_or(&set.target));
    let row = target
        .query_one(
            "SELECT seqmin, seqmax, seqincrement, seqcycle, seqstart FROM pg_catalog.pg_sequence WHERE seqrelid = $1::text::regclass",
            &[&sql::name(&set.target)],
        )
        .await
        .map_err(ExecError::target(at("read the options")))?;
    let (min, max, increment, cycle): (i64, i64, i64, bool) = (row.get(0), row.get(1), row.get(2), row.get(3));
    let margin = i128::from(set.buffer) * i128::from(increment);
    let start = GivenOut { last_value: row.get(4), is_called: false, cycle };
    let mut position: Option<(i64, bool)> = None;
    for given_out in given_out(run, source, set).await?.unwrap_or_else(|| vec![start]) {
        let GivenOut { last_value, is_called, cycle } = given_out;
        // A sequence that wraps has no "past"; one that was never used starts where the source would.
        let wanted = if cycle || !is_called { i128::from(last_value) } else { i128::from(last_value) + margin };
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
    let (value, is_called) = position.unwrap_or((start.last_value, false));
    let stored = if cycle && set.source.is_some() { None } else { furthest(run, target, set, increment).await? };
    let next = next_value((value, is_called), increment);
    let past = |stored: i64| if increment > 0 { next > i128::from(stored) } else { next < i128::from(stored) };
    // Values that did not come from the sequence may be anywhere; then the sequence must go past them.
    let (value, is_called) = match stored.filter(|stored| !past(*stored)) {
        Some(stored) => ((i128::from(stored) + margin).clamp(i128::from(min), i128::from(max)) as i64, true),
        None => (value, is_called),
    };
    let query = format!("SELECT pg_catalog.setval({}::regclass, $1, $2)", sql::literal(&sql::name(&set.target)));
    target.execute(&query, &[&value, &is_called]).await.map_err(ExecError::target(at("set the value")))?;
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
