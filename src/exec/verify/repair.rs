//! Rows that differ are deleted and copied again, and compared again: only because somebody asked for it, and on record.
//!
//! The rows are read under a short snapshot. They are written when the stream has applied everything that the snapshot sees,
//! between two of its transactions, in one transaction of the target; keys that were applied beyond the snapshot are spared.
//! So nothing has to be remembered of it afterwards: what comes later in the stream comes on top.

use std::collections::BTreeSet;

use serde_json::json;

use super::live::{APPLY_PATIENCE, Visitor, Why};
use super::pass::{self, Looked};
use super::ranges::Wrong;
use super::sides::{KeyTexts, Selection};
use super::wish::{Asked, Wish};
use crate::exec::engine::Engine;
use crate::exec::pace::Stint;
use crate::exec::table::TableTask;
use crate::exec::{ExecError, copy, failpoint, snapshots};
use crate::ledger::chunk;
use crate::ledger::repair::{self as ledger, Recorded, Repair};
use crate::pg::client::Client;
use crate::plan::End;
use crate::replay::{Key, Lsn, Snapshot};
use crate::sql::{self, KeyRange, Side, range};
use crate::verify::Report;

/// Comparisons with a repair after each; what differs then is reported.
const ROUNDS_MAX: usize = 4;
/// Rows in one transaction, unless one place alone has more.
const ROWS_MAX: u64 = 100_000;
/// With more keys than this to spare, it is tried again later.
const SPARED_MAX: usize = 500;
/// Tries for places that are being written.
const TRIES: usize = 20;
const REST: std::time::Duration = std::time::Duration::from_millis(200);

/// Compares as [`pass::look`] does; with the wish for it, repairs what differs and compares again.
///
/// # Errors
/// Whatever stops a run. What the target refuses to take is none: it stays as it was, and is told of.
pub async fn answer(engine: &mut Engine, wish: &Wish) -> Result<Report, ExecError> {
    let mut looked = pass::look(engine, wish).await?;
    let Some(asked) = &wish.repair else { return Ok(looked.report) };
    let mut notes = Vec::new();
    for _ in 0..ROUNDS_MAX {
        if looked.wrong.is_empty() {
            break;
        }
        notes = mend(engine, wish, asked, &looked.wrong).await?;
        looked = pass::look(engine, wish).await?;
    }
    let Looked { report, wrong } = looked;
    for table in report.tables.iter().filter(|table| !table.differences.is_empty()) {
        if !wrong.iter().any(|(at, _)| engine.tables[*at].name == table.table) {
            notes.push(format!(
                "{} still differs in rows that cannot be repaired: they have no key in an order that both ends share, or come \
                 from none of its sources; mend the target by hand, then compare again",
                table.table
            ));
        }
    }
    notes.extend(report.notes);
    Ok(Report::of(report.tables, notes))
}

/// What was repaired, for people.
pub async fn lines(client: &tokio_postgres::Client, id: &str) -> Result<Vec<String>, ExecError> {
    Ok(ledger::all(client, id).await?.iter().map(in_words).collect())
}

fn in_words(recorded: &Recorded) -> String {
    let Recorded { repair, at } = recorded;
    let Repair { table, by, reason, ranges, rows_deleted, rows_copied, .. } = repair;
    format!(
        "{table} was repaired at {at}: {} range(s), {rows_deleted} row(s) deleted and {rows_copied} copied again ({reason}; {by})",
        ranges.len()
    )
}

/// What became of a try.
enum Tried {
    Done(Repair),
    Again(Why),
    /// By the target, in words.
    Refused(String),
}

async fn mend(engine: &Engine, wish: &Wish, asked: &Asked, wrong: &[(usize, Wrong)]) -> Result<Vec<String>, ExecError> {
    let repairer = Repairer {
        visitor: pass::visitor(engine, wish).await?,
        target: engine.run.connect_applier("repair").await?,
        asked,
    };
    let mut notes = Vec::new();
    for task in engine.tables.iter() {
        let of_table: Vec<&Wrong> = wrong.iter().filter(|(table, _)| *table == task.index).map(|(_, it)| it).collect();
        for batch in batches(&of_table) {
            notes.extend(repairer.mend(task, &batch).await?);
        }
    }
    Ok(notes)
}

/// Places that go together: two rows may have exchanged a value that is unique.
fn batches<'a>(places: &[&'a Wrong]) -> Vec<Vec<&'a Wrong>> {
    let mut batches: Vec<Vec<&Wrong>> = Vec::new();
    let mut rows = 0;
    for place in places {
        rows += place.rows;
        match batches.last_mut() {
            Some(batch) if rows <= ROWS_MAX => batch.push(place),
            _ => {
                rows = place.rows;
                batches.push(vec![place]);
            }
        }
    }
    batches
}

struct Repairer<'a> {
    visitor: Visitor,
    /// Writes.
    target: Client,
    asked: &'a Asked,
}

impl Repairer<'_> {
    /// Repairs places of one table; says what could not be.
    async fn mend(&self, task: &TableTask, places: &[&Wrong]) -> Result<Option<String>, ExecError> {
        let run = &self.visitor.run;
        let mut tried = 0;
        loop {
            run.stop_check()?;
            run.throttle.pass(run).await?;
            let (snapshot, lsn) = snapshots::begin(&self.visitor.source, task).await?;
            let done = match self.under(task, places, (&snapshot, lsn)).await {
                Err(error @ ExecError::Postgres { side: End::Target, .. }) => Ok(Tried::Refused(error.to_string())),
                other => other,
            };
            self.visitor.source.batch_execute("ROLLBACK").await.map_err(ExecError::source("end a repair"))?;
            // Only a warning where it was committed; an error where the connection is gone.
            self.target.batch_execute("ROLLBACK").await.map_err(ExecError::target("end a repair"))?;
            let why = match done? {
                Tried::Done(repair) => {
                    run.note(format!(
                        "repaired {}: {} range(s), {} row(s) deleted and {} copied again",
                        task.name,
                        repair.ranges.len(),
                        repair.rows_deleted,
                        repair.rows_copied
                    ));
                    return Ok(None);
                }
                Tried::Refused(why) => {
                    let note = format!("the repair of {} was refused, and nothing of it is done: {why}", task.name);
                    run.note(note.clone());
                    return Ok(Some(note));
                }
                Tried::Again(why) => why,
            };
            tried += 1;
            if tried == TRIES {
                return Ok(Some(format!("{} could not be repaired yet: {why}; ask again", task.name)));
            }
            run.waiting(format!("repair of {}: {why}", task.name));
            run.sleep(REST).await?;
        }
    }

    async fn under(
        &self,
        task: &TableTask,
        places: &[&Wrong],
        (snapshot, lsn): (&Snapshot, Lsn),
    ) -> Result<Tried, ExecError> {
        let Visitor { run, shared, source, .. } = &self.visitor;
        copy::check_shape(source, task).await?;
        // With it applied, what the snapshot saw would also survive a crash of the source: only what is flushed is sent.
        if !self.visitor.caught_up(lsn).await? {
            return Ok(Tried::Again(Why::Late(lsn)));
        }
        // From here on nothing is applied until this is committed.
        let Ok(_between) = tokio::time::timeout(APPLY_PATIENCE, shared.between.lock()).await else {
            return Ok(Tried::Again(Why::Late(lsn)));
        };
        if let Some(xid) = self.visitor.inherited_unseen(snapshot) {
            return Ok(Tried::Again(Why::Inherited(xid)));
        }
        let Some(spared) = self.spared(task, places, snapshot)? else { return Ok(Tried::Again(Why::Hot)) };
        let doing = || ExecError::target(format!("repair {}", task.name));
        self.target
            .batch_execute("BEGIN; SET LOCAL lock_timeout = '10s'; SET CONSTRAINTS ALL DEFERRED")
            .await
            .map_err(doing())?;
        let mut repair = Repair {
            table: task.name.clone(),
            by: self.asked.by.clone(),
            reason: self.asked.reason.clone(),
            ranges: places.iter().map(|place| shown(&place.selection)).collect(),
            rows_deleted: 0,
            rows_copied: 0,
            keys_spared: spared.iter().map(Vec::len).sum::<usize>() as i64,
        };
        let target = sql::target_table(&task.projection);
        for (place, spared) in places.iter().zip(&spared) {
            let rows = condition(task, Side::Target, &place.selection, spared)?;
            let own = sql::part::and_own(&task.projection, "");
            let delete = format!("DELETE FROM {target} WHERE {rows}{own}");
            repair.rows_deleted += self.target.execute(&delete, &[]).await.map_err(doing())? as i64;
        }
        failpoint::hit("repair.after-delete")?;
        let mut stint = Stint::of_chunk();
        for (place, spared) in places.iter().zip(&spared) {
            let rows = condition(task, Side::Source, &place.selection, spared)?;
            let copy_out = sql::copy::copy_out(&task.projection, &task.frozen, Some(&rows))?;
            let (rows, _) = copy::pipe((run, &mut stint), (source, &copy_out), &self.target, task).await?;
            repair.rows_copied += rows as i64;
        }
        ledger::insert(&*self.target, &run.id, &repair, (snapshot, lsn)).await?;
        chunk::hold_epoch(&*self.target, &run.id, run.epoch).await?;
        failpoint::hit("repair.before-commit")?;
        self.target.batch_execute("COMMIT").await.map_err(doing())?;
        failpoint::hit("repair.after-commit")?;
        Ok(Tried::Done(repair))
    }

    /// By place, the keys that the target has newer than the snapshot, or other than the source on purpose; `None` when
    /// that may be any key.
    fn spared(
        &self,
        task: &TableTask,
        places: &[&Wrong],
        snapshot: &Snapshot,
    ) -> Result<Option<Vec<Vec<KeyTexts>>>, ExecError> {
        let Some(unseen) = self.visitor.touched.unseen(task.index, None, None, snapshot) else { return Ok(None) };
        let stale = self.visitor.left_out.stale(task.index).map(|(key, _)| key.clone());
        let keys: BTreeSet<Key> = unseen.into_iter().chain(stale).collect();
        let mut spared = Vec::new();
        for place in places {
            let place = Place::of(task, &place.selection)?;
            let within: Vec<&Key> = keys.iter().filter(|key| place.holds(key)).collect();
            if within.len() > SPARED_MAX {
                return Ok(None);
            }
            spared.push(within.into_iter().map(|key| task.key_literals(key)).collect::<Result<Vec<_>, _>>()?);
        }
        Ok(Some(spared))
    }
}

/// A selection by keys that can be compared.
enum Place {
    Range { lo: Option<Key>, hi: Option<Key> },
    Keys(BTreeSet<Key>),
}

impl Place {
    fn of(task: &TableTask, selection: &Selection) -> Result<Self, ExecError> {
        let bound = |texts: &Option<KeyTexts>| texts.as_ref().map(|texts| task.parse_key(texts)).transpose();
        Ok(match selection {
            Selection::Range { lo, hi } => Self::Range { lo: bound(lo)?, hi: bound(hi)? },
            Selection::Keys(keys) => {
                Self::Keys(keys.iter().map(|texts| task.parse_key(texts)).collect::<Result<_, _>>()?)
            }
        })
    }

    fn holds(&self, key: &Key) -> bool {
        match self {
            Self::Range { lo, hi } => lo.as_ref().is_none_or(|lo| key >= lo) && hi.as_ref().is_none_or(|hi| key < hi),
            Self::Keys(keys) => keys.contains(key),
        }
    }
}

/// The rows of a selection on one side, without some keys.
fn condition(task: &TableTask, side: Side, selection: &Selection, spared: &[KeyTexts]) -> Result<String, ExecError> {
    let projection = &task.projection;
    let rows = match selection {
        Selection::Range { lo, hi } => {
            let bounds = KeyRange { lo: lo.as_deref(), hi: hi.as_deref() };
            range::range_predicate(projection, side, bounds)?.unwrap_or_else(|| "true".to_owned())
        }
        Selection::Keys(keys) => {
            let each: Result<Vec<String>, _> =
                keys.iter().map(|key| range::key_predicate(projection, side, key)).collect();
            each?.join(" OR ")
        }
    };
    let mut condition = format!("({rows})");
    for key in spared {
        condition.push_str(&format!(" AND NOT ({})", range::key_predicate(projection, side, key)?));
    }
    Ok(condition)
}

fn shown(selection: &Selection) -> serde_json::Value {
    match selection {
        Selection::Range { lo, hi } => json!({ "lo": lo, "hi": hi }),
        Selection::Keys(keys) => json!({ "keys": keys }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_go_together_up_to_a_limit() {
        let place = |rows| Wrong { selection: Selection::Range { lo: None, hi: None }, rows };
        let places = [place(10), place(ROWS_MAX - 10), place(1), place(2 * ROWS_MAX), place(5)];
        let sizes: Vec<usize> = batches(&places.iter().collect::<Vec<_>>()).iter().map(Vec::len).collect();
        assert_eq!(sizes, [2, 1, 1, 1]);
    }
}
