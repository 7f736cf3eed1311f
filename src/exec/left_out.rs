//! Changes that an operator has said are to be left out, and what becomes of their keys afterwards.
//!
//! From its first change that was left out the target may have another row of a key than the source, or none: a stale key. No
//! count of rows can be asked of such a key, so each of its later changes removes what is there and reads the row again from
//! the source, which makes the key whole.

use std::collections::BTreeMap;

use super::ExecError;
use super::batch::RowKind;
use super::context::Run;
use super::failpoint;
use super::reread::remove;
use super::shared::count;
use super::stream::Applier;
use super::table::TableTask;
use crate::ledger::skipped::{self, Skipped};
use crate::pg::client::Client;
use crate::pg::pgoutput::Tuple;
use crate::replay::{Key, Lsn};
use crate::sql::apply::OldTuple;

/// What the ledger has, by table and key.
#[derive(Debug, Clone, Default)]
pub struct LeftOut {
    by_key: BTreeMap<(usize, Key), Vec<Skipped>>,
}

impl LeftOut {
    /// Reads what the ledger has.
    ///
    /// # Errors
    /// A table or key that is not of the plan.
    pub async fn read(ledger: &Client, id: &str, tables: &[TableTask]) -> Result<Self, ExecError> {
        let mut by_key: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for entry in skipped::all(ledger, id).await? {
            let task = tables.iter().find(|task| task.name == entry.table && task.is_ordered()).ok_or_else(|| {
                ExecError::Stale {
                    what: format!("skipped change at {}", entry.lsn),
                    difference: format!("the plan has no table {} with a key to name rows by", entry.table),
                }
            })?;
            let key = task.parse_key(&entry.key)?;
            by_key.entry((task.index, key)).or_default().push(entry);
        }
        Ok(Self { by_key })
    }

    /// True when nothing is to be left out.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Keys of a table of which a change was left out, with what was said of the last one.
    pub fn stale(&self, table: usize) -> impl Iterator<Item = (&Key, &Skipped)> {
        let of_table = self.by_key.iter().filter(move |((of, _), _)| *of == table);
        of_table.filter_map(|((_, key), all)| Some((key, all.iter().rfind(|entry| entry.met_at.is_some())?)))
    }

    /// True when a change of the key was left out.
    pub(super) fn is_stale(&self, table: usize, key: &Key) -> bool {
        let known = || self.by_key.get(&(table, key.clone()));
        !self.is_empty() && known().is_some_and(|all| all.iter().any(|entry| entry.met_at.is_some()))
    }

    fn wanted(&mut self, table: usize, key: &Key, commit: Lsn) -> Option<&mut Skipped> {
        if self.by_key.is_empty() {
            return None;
        }
        self.by_key.get_mut(&(table, key.clone()))?.iter_mut().find(|entry| entry.lsn == commit)
    }
}

/// Says what is left out, and what of it has met no change: once, where an operator decides about the cutover.
pub async fn say(run: &Run, ledger: &Client) -> Result<(), ExecError> {
    for entry in skipped::all(ledger, &run.id).await? {
        run.note(in_words(&entry));
    }
    Ok(())
}

/// One line about a change that is left out.
pub fn in_words(entry: &Skipped) -> String {
    let Skipped { reason, by, at, .. } = entry;
    let met = match &entry.met_at {
        Some(met_at) => format!("left out at {met_at}"),
        None => "has met no change".to_owned(),
    };
    format!("skip of {}: {met} ({reason}; {by}, {at})", place(entry))
}

fn place(entry: &Skipped) -> String {
    let Skipped { lsn, table, key, .. } = entry;
    format!("{table}, row ({}), in the transaction that commits at {lsn}", key.join(", "))
}

type Old<'a> = Option<(OldTuple, &'a Tuple)>;

impl Applier {
    /// Leaves a change out if the ledger says so. Of a key change only the new row is left out: the old one goes.
    pub(super) async fn leave_out(
        &mut self,
        table: usize,
        kind: RowKind,
        new: &Tuple,
        old: Old<'_>,
    ) -> Result<bool, ExecError> {
        let commit = self.source()?.commit;
        if self.left_out.is_empty() || !self.tables[table].is_ordered() {
            return Ok(false);
        }
        let task = &self.tables[table];
        let old_key = old.map(|(_, old)| task.key(old)).transpose()?;
        let key = match (kind, &old_key) {
            (RowKind::Delete, Some(old_key)) => old_key.clone(),
            _ => task.key(new)?,
        };
        let Some(entry) = self.left_out.wanted(table, &key, commit) else { return Ok(false) };
        let at = super::context::now_ms().to_string();
        let said = entry.met_at.replace(at).is_some();
        let entry = entry.clone();
        self.begin().await?;
        self.flush().await?;
        skipped::met(&self.target, &self.run.id, &entry).await?;
        if !said {
            self.run.note(format!("leaving out {} ({})", place(&entry), entry.reason));
        }
        count(&self.shared.counters.left_out);
        self.group_changes += 1;
        if old_key.is_some_and(|old_key| old_key != key) {
            Box::pin(self.push(table, RowKind::Delete, &Tuple::default(), old)).await?;
        }
        failpoint::hit("apply.mid-transaction")?;
        Ok(true)
    }

    /// Makes a stale key whole, with the row that the source has by now; false for any other key.
    pub(super) async fn make_whole(
        &mut self,
        table: usize,
        kind: RowKind,
        new: &Tuple,
        old: Old<'_>,
    ) -> Result<bool, ExecError> {
        let task = &self.tables[table];
        if self.left_out.is_empty() || !task.is_ordered() {
            return Ok(false);
        }
        let replaced = old.map_or(new, |(_, old)| old);
        let before = task.key(replaced)?;
        let is_stale = |key: &Key| self.left_out.is_stale(table, key);
        if kind == RowKind::Delete {
            if !is_stale(&before) {
                return Ok(false);
            }
            let (texts, commit) = (task.key_texts(replaced)?, self.source()?.commit);
            self.flush().await?;
            let task = &self.tables[table];
            let removed = remove(&self.target, task, &texts).await;
            removed.map_err(|error| error.refused_read_again(task, Some(texts), commit))?;
            self.group_changes += 1;
            return Ok(true);
        }
        let key = task.key(new)?;
        if !is_stale(&before) && !is_stale(&key) {
            return Ok(false);
        }
        self.reread(table, key, new, Some(replaced)).await?;
        Ok(true)
    }
}
