//! The last comparison: writes have stopped, the stream is drained, both ends are at rest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::keys::KEYS_AT_ONCE;
use super::left_out::{self, Aside};
use super::pass::{compare_touched, record, refuse};
use super::ranges::{self, Compared};
use super::sides::{self, Selection, Sides, Subject, failed};
use super::{strays, whole};
use crate::catalog::QualifiedName;
use crate::exec::ExecError;
use crate::exec::engine::Engine;
use crate::exec::event::EventKind;
use crate::exec::left_out::LeftOut;
use crate::exec::snapshots;
use crate::exec::table::TableTask;
use crate::pg::client::Client;
use crate::plan::End;
use crate::sql::{self, Side};
use crate::verify::{Difference, DifferenceKind, Report, TableReport};

/// The rows of tables of at most this size are counted too, and those of nobody looked for. More would hold up writers, the
/// longer the larger the table is, and prove nothing that the comparison has not proven …
const COUNT_BYTES_MAX: i64 = 4 << 20;
/// … and of all tables together.
const COUNT_BYTES_ALL: i64 = 16 << 20;
/// So many keys are compared in less time than anything else behind the fence takes.
const FEW_KEYS: usize = 500;
/// Rounds to get there …
const ROUNDS_MAX: usize = 3;
/// … and the time for them: on servers that are at their limit more keys are written than are compared.
const ROUNDS_PATIENCE: Duration = Duration::from_secs(3);
/// For a stream that is behind; one that does not catch up is drained behind the fence as well.
const CAUGHT_UP_PATIENCE: Duration = Duration::from_secs(2);

/// What the last comparison needs and who is refused by the fence need not wait for.
#[derive(Debug)]
pub struct Ready {
    source: Client,
    target: Client,
    /// Bytes of the source tables.
    sizes: Vec<i64>,
}

/// Compares again what was written while the cutover was being prepared, and waits for the stream. To be called right before
/// the fence.
///
/// # Errors
/// [`ExecError::Different`] when rows differ.
pub async fn ready(engine: &Engine) -> Result<Ready, ExecError> {
    let run = &engine.run;
    let rounds = async {
        for _ in 0..ROUNDS_MAX {
            let touched: usize = (0..engine.tables.len()).filter_map(|table| engine.touched.count(table)).sum();
            if touched <= FEW_KEYS {
                break;
            }
            compare_touched(engine).await?;
        }
        Ok(())
    };
    // What was not compared again by then remains touched.
    tokio::time::timeout(ROUNDS_PATIENCE, Box::pin(rounds)).await.unwrap_or(Ok::<(), ExecError>(()))?;
    let (source, target) = tokio::try_join!(run.connect(End::Source, "verify"), run.connect(End::Target, "verify"))?;
    let mut sizes = Vec::new();
    for task in engine.tables.iter() {
        let doing = format!("ask for the size of {}", task.source_name());
        let row = source.query_one(&sql::range::bytes(&task.projection), &[]).await;
        sizes.push(row.map_err(ExecError::source(doing))?.get(0));
    }
    let (_, written) = snapshots::snapshot(&source).await?;
    match tokio::time::timeout(CAUGHT_UP_PATIENCE, engine.shared.wait_applied(written, run)).await {
        Ok(result) => result?,
        Err(_) => {
            run.waiting(format!("the stream has not reached {written} yet; writers wait for it behind the fence"));
        }
    }
    Ok(Ready { source, target, sizes })
}

/// Compares everything that was written since its last comparison, or was never compared.
///
/// # Errors
/// [`ExecError::Different`] when rows differ.
pub async fn at_fence(engine: &mut Engine, ready: &Ready) -> Result<(), ExecError> {
    let run = Arc::clone(&engine.run);
    let Ready { source, target, sizes } = ready;
    let digest = sides::digest(&run.plan);
    let tables = Arc::clone(&engine.tables);
    let mut all = BTreeMap::<&QualifiedName, i64>::new();
    for task in tables.iter() {
        *all.entry(&task.projection.target).or_default() += sizes[task.index];
    }
    let left_out = LeftOut::read(&engine.ledger, &run.id, &tables).await?;
    let mut may_be_read = COUNT_BYTES_ALL;
    let mut reports = Vec::new();
    for task in tables.iter() {
        let subject = Subject { projection: &task.projection, frozen: &task.frozen, digest, shows_values: false };
        let sides = Sides { source, target, subject };
        let mut report = compare(engine, &sides, task, &left_out).await?;
        let aside = left_out::compare(&sides, task, &left_out, &mut report).await?;
        for row in &report.left_out {
            run.note(format!("{}: {row}", task.name));
        }
        let (target_name, part) = (&task.projection.target, task.projection.part.as_ref());
        // Without an index for it, what is asked of one source's rows reads those of the others too.
        let is_found = part.is_some_and(|part| run.plan.is_found_by(target_name, &part.column));
        let bytes = if is_found { sizes[task.index] } else { all[target_name] };
        let is_small = bytes <= COUNT_BYTES_MAX.min(may_be_read);
        if is_small {
            may_be_read -= bytes;
            count(&sides, aside, &mut report).await?;
        }
        if is_found || is_small {
            strays::add(target, &task.projection, &mut report).await?;
        }
        report.keys_pending = Some(0);
        let kind =
            EventKind::VerifyProgress { table: task.name.clone(), rows: report.rows_compared, rows_estimate: None };
        run.emit(None, kind);
        if !report.differences.is_empty() {
            record(engine, &report).await?;
        }
        reports.push(report);
    }
    let rows: u64 = reports.iter().map(|report| report.rows_compared).sum();
    run.note(format!("{rows} row(s) written since their last comparison were compared after writes had stopped"));
    let report = Report::of(reports, Vec::new());
    match report.differences() {
        (0, _) => Ok(()),
        _ => refuse(&report),
    }
}

async fn compare(
    engine: &Engine,
    sides: &Sides<'_>,
    task: &TableTask,
    left_out: &LeftOut,
) -> Result<TableReport, ExecError> {
    let mut report = TableReport::new(&task.name);
    let keys = engine.touched.dirty(task.index);
    let except = left_out::keys(task, left_out)?;
    let selections: Vec<Selection> = match (&keys, task.is_ordered()) {
        (None, true) => vec![Selection::Range { lo: None, hi: None }],
        (None, false) => {
            add(&mut report, whole::compare(sides).await?);
            return Ok(report);
        }
        (Some(keys), _) => {
            let texts = keys.iter().map(|key| task.key_literals(key)).collect::<Result<Vec<_>, _>>()?;
            texts.chunks(KEYS_AT_ONCE).map(|batch| Selection::Keys(batch.to_vec())).collect()
        }
    };
    for selection in selections {
        add(&mut report, ranges::compare(sides, &selection, &except).await?);
    }
    Ok(report)
}

fn add(report: &mut TableReport, compared: Compared) {
    report.rows_source += compared.rows_source;
    report.rows_target += compared.rows_target;
    report.rows_compared += compared.rows_source;
    report.chunks_compared += 1;
    report.differences.extend(compared.differences);
}

/// Compares the numbers of rows, but for those that were compared aside.
async fn count(sides: &Sides<'_>, aside: Aside, report: &mut TableReport) -> Result<(), ExecError> {
    let projection = sides.subject.projection;
    let number = async |side: Side| {
        let (table, condition) = match side {
            Side::Source => (sql::source_table(projection), sql::filter::source_condition(projection, None)),
            Side::Target => (sql::target_table(projection), sql::part::own(projection, "")),
        };
        let condition = condition.map_or_else(String::new, |condition| format!(" WHERE {condition}"));
        let query = format!("SELECT count(*) FROM {table}{condition}");
        let row = sides.client(side).query_one(&query, &[]).await.map_err(failed(side, sides.doing(side)))?;
        Ok::<i64, ExecError>(row.get(0))
    };
    let (source, target) = tokio::try_join!(number(Side::Source), number(Side::Target))?;
    let (source, target) = (source - aside.rows_source as i64, target - aside.rows_target as i64);
    if source != target && report.differences.is_empty() {
        let kind = if target > source { DifferenceKind::ExtraOnTarget } else { DifferenceKind::MissingOnTarget };
        let key = vec![format!("{source} rows on the source, {target} on the target")];
        report.differences.push(Difference { key, columns: Vec::new(), kind, values: Vec::new() });
    }
    Ok(())
}
