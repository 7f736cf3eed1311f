//! What one streamed change does: routed by its key, then applied, skipped or left to the copy.

use std::sync::Arc;
use std::time::Duration;

use super::ExecError;
use super::batch::{Pushed, RowChange, RowKind, To};
use super::error::Refused;
use super::failpoint;
use super::no_way_back;
use super::shared::{Shared, count};
use super::stream::{Applier, Source};
use super::table::TableTask;
use crate::pg::pgoutput::{OldKind, Tuple};
use crate::replay::routing::TruncateRoute;
use crate::replay::{Decision, Key};
use crate::sql::apply::OldTuple;

fn old_tuple(kind: OldKind) -> OldTuple {
    match kind {
        OldKind::Key => OldTuple::Key,
        OldKind::Full => OldTuple::Full,
    }
}

impl Applier {
    /// Routes one key; waits while its chunk is being copied.
    async fn decide(&mut self, table: usize, key: &Key) -> Result<Decision, ExecError> {
        let source = self.source()?;
        let decide = |shared: &Shared| shared.router().decide(table, key, source.xid, source.commit);
        let mut waited = false;
        loop {
            let decision = decide(&self.shared);
            match decision {
                Decision::Wait => {
                    if !waited {
                        count(&self.shared.counters.gate_waits);
                        waited = true;
                    }
                    self.flush().await?;
                    self.run.stop_check()?;
                    let shared = Arc::clone(&self.shared);
                    let bell = shared.routes_changed.notified();
                    tokio::pin!(bell);
                    // What opens the gate from here on rings.
                    bell.as_mut().enable();
                    if decide(&shared) == Decision::Wait {
                        tokio::select! {
                            () = bell => {}
                            () = tokio::time::sleep(Duration::from_millis(100)) => {}
                        }
                    }
                }
                Decision::Discard => {
                    while self.shared.discard_pressure() {
                        self.run.waiting("many discarded transactions are not visible on the source yet");
                        self.run.sleep(Duration::from_millis(200)).await?;
                    }
                    count(&self.shared.counters.discarded);
                    self.discards_dirty = true;
                    return Ok(decision);
                }
                Decision::Skip if failpoint::disabled("rule.visibility-filter") => return Ok(Decision::Apply),
                Decision::Skip => {
                    count(&self.shared.counters.skipped);
                    return Ok(decision);
                }
                Decision::Apply => {
                    count(&self.shared.counters.applied_over_chunk);
                    return Ok(decision);
                }
            }
        }
    }

    pub(super) async fn insert(&mut self, table: usize, new: &Tuple) -> Result<(), ExecError> {
        let tables = Arc::clone(&self.tables);
        let task = &tables[table];
        if task.is_ordered() {
            let key = task.key(new)?;
            if self.decide(table, &key).await? != Decision::Apply {
                return Ok(());
            }
            self.touch(table, &key)?;
        }
        self.push(table, RowKind::Insert, new, None).await
    }

    pub(super) async fn update(
        &mut self,
        table: usize,
        old: Option<(OldKind, Tuple)>,
        new: Tuple,
    ) -> Result<(), ExecError> {
        let tables = Arc::clone(&self.tables);
        let task = &tables[table];
        let old = old.as_ref().map(|(kind, old)| (old_tuple(*kind), old));
        let mut new = new;
        if let Some((kind, old)) = old
            && new.has_unsent()
        {
            // A full old row has the values that were not sent because they did not change. A large key that changed comes
            // as the old key, and may be "unchanged" in the new row.
            let has = |column| kind == OldTuple::Full || task.key_at.contains(&column);
            new = new.with(old, |column| new.is_unsent(column) && has(column));
        }
        if !task.is_ordered() {
            return self.push(table, RowKind::Update, &new, old).await;
        }
        let new_key = task.key(&new)?;
        let old_key = old.map(|(_, old)| task.key(old)).transpose()?.unwrap_or_else(|| new_key.clone());
        if old_key == new_key {
            if self.decide(table, &new_key).await? != Decision::Apply {
                return Ok(());
            }
            self.touch(table, &new_key)?;
            return self.push(table, RowKind::Update, &new, old).await;
        }
        let before = self.decide(table, &old_key).await? == Decision::Apply;
        let after = self.decide(table, &new_key).await? == Decision::Apply;
        if before != after {
            count(&self.shared.counters.key_changes_across);
        }
        if before {
            self.touch(table, &old_key)?;
        }
        if after {
            self.touch(table, &new_key)?;
        }
        match (before, after) {
            (true, true) => {
                count(&self.shared.counters.key_changes);
                self.push(table, RowKind::Update, &new, old).await
            }
            (true, false) => self.push(table, RowKind::Delete, &Tuple::default(), old).await,
            (false, true) if new.has_unsent() => {
                if self.leave_out(table, RowKind::Insert, &new, None).await? {
                    return Ok(());
                }
                self.reread(table, new_key, &new, None).await
            }
            (false, true) => self.push(table, RowKind::Insert, &new, None).await,
            (false, false) => Ok(()),
        }
    }

    pub(super) async fn delete(&mut self, table: usize, kind: OldKind, old: &Tuple) -> Result<(), ExecError> {
        let tables = Arc::clone(&self.tables);
        let task = &tables[table];
        if task.is_ordered() {
            let key = task.key(old)?;
            if self.decide(table, &key).await? != Decision::Apply {
                return Ok(());
            }
            self.touch(table, &key)?;
        }
        self.push(table, RowKind::Delete, &Tuple::default(), Some((old_tuple(kind), old))).await
    }

    pub(super) async fn truncate(&mut self, relations: &[u32]) -> Result<(), ExecError> {
        let source = self.source()?;
        let mut tables = Vec::new();
        for relation in relations {
            tables.extend_from_slice(&self.tables_of(*relation).await?);
        }
        for table in tables {
            no_way_back::of_truncate(&self.tables[table], source.commit)?;
            let route = loop {
                let route = self.shared.router().truncate(table, source.xid, source.commit);
                if route != TruncateRoute::Wait {
                    break route;
                }
                count(&self.shared.counters.gate_waits);
                self.flush().await?;
                self.run.stop_check()?;
                tokio::time::sleep(Duration::from_millis(10)).await;
            };
            self.discards_dirty = true;
            let TruncateRoute::Delete { ranges, spare } = route else { continue };
            self.begin().await?;
            self.flush().await?;
            self.touched.touch_all(table, source.xid);
            self.postponed.retain(|row| row.table != table || spare.contains(&row.key));
            count(&self.shared.counters.truncates);
            let tables = Arc::clone(&self.tables);
            super::truncate::delete(&self.target, &tables[table], &ranges, &spare).await?;
            self.group_changes += 1;
        }
        Ok(())
    }

    /// Writes the row as the source has it now, with its own snapshot as filter for its later changes. `replaced` has
    /// the key under which the target has the row so far.
    pub(super) async fn reread(
        &mut self,
        table: usize,
        key: Key,
        new: &Tuple,
        replaced: Option<&Tuple>,
    ) -> Result<(), ExecError> {
        let source = self.source()?;
        if failpoint::disabled("rule.reread") {
            return Ok(());
        }
        self.begin().await?;
        self.flush().await?;
        match self.write_again(source, table, &key, new, replaced).await {
            Err(error) => {
                let task = &self.tables[table];
                Err(error.refused_read_again(task, task.key_texts(new).ok(), source.commit))
            }
            Ok(()) => Ok(()),
        }
    }

    async fn write_again(
        &mut self,
        source: Source,
        table: usize,
        key: &Key,
        new: &Tuple,
        replaced: Option<&Tuple>,
    ) -> Result<(), ExecError> {
        let tables = Arc::clone(&self.tables);
        let task = &tables[table];
        let row = self.rereader.read(task, &task.key_texts(new)?, source.xid).await?;
        // The row is as of the snapshot of the read, later than this transaction: whoever sees the first transaction
        // that the read did not see has seen everything that it saw.
        self.touched.touch(table, key, row.entry.snapshot.xmax);
        count(&self.shared.counters.rereads);
        crate::ledger::chunk::insert_reread(&**self.target, &self.run.id, &task.name, &row.entry).await?;
        if let Some(replaced) = replaced {
            super::reread::remove(&self.target, task, &task.key_texts(replaced)?).await?;
        }
        if self.left_out.is_stale(table, key) {
            super::reread::remove(&self.target, task, &task.key_texts(new)?).await?;
        }
        self.shared.router().add_reread(table, key.clone(), row.entry.snapshot, row.entry.lsn_hi);
        if let Some(copy) = row.copy {
            self.write_or_postpone(table, key.clone(), copy).await?;
        }
        self.group_changes += 1;
        Ok(())
    }

    fn touch(&self, table: usize, key: &Key) -> Result<(), ExecError> {
        self.touched.touch(table, key, self.source()?.xid);
        Ok(())
    }

    /// The refusal of this row by an earlier attempt.
    fn refused_before(&self, task: &TableTask, kind: RowKind, new: &Tuple) -> Result<Option<Arc<Refused>>, ExecError> {
        if self.run.refused.is_empty() || !task.is_ordered() || kind == RowKind::Delete {
            return Ok(None);
        }
        Ok(self.run.refused.get(&(task.name.clone(), task.key_texts(new)?)).cloned())
    }

    pub(super) async fn push(
        &mut self,
        table: usize,
        kind: RowKind,
        new: &Tuple,
        old: Option<(OldTuple, &Tuple)>,
    ) -> Result<(), ExecError> {
        if self.leave_out(table, kind, new, old).await? {
            return Ok(());
        }
        self.begin().await?;
        let source = self.source()?;
        let commit = source.commit;
        let tables = Arc::clone(&self.tables);
        let task = &tables[table];
        if !task.is_ordered() {
            self.touched.touch_all(table, source.xid);
        }
        if !self.postponed.is_empty() && task.is_ordered() {
            let key = task.key(old.map_or(new, |(_, old)| old))?;
            if let Some(before) = self.take_postponed(table, &key) {
                // The target does not have it, whatever the change makes of it.
                if kind != RowKind::Delete {
                    let key = task.key(new)?;
                    self.reread(table, key.clone(), new, None).await?;
                    self.renew_postponed(&before, &key);
                }
                return Ok(());
            }
        }
        if self.make_whole(table, kind, new, old).await? {
            return Ok(());
        }
        if let Some(refused) = self.refused_before(task, kind, new)? {
            let replaced = old.map_or(new, |(_, old)| old);
            let reread = self.reread(table, task.key(new)?, new, Some(replaced)).await;
            return reread.map_err(|error| match error {
                // What was streamed says more than what is there now.
                ExecError::Refused(again) if again.table == refused.table && again.key == refused.key => {
                    ExecError::Refused(refused)
                }
                other => other,
            });
        }
        let mut change = RowChange { kind, new, old, commit };
        let (target, shared) = (Arc::clone(&self.target), Arc::clone(&self.shared));
        let to = To { target: &target, tables: &tables, counters: &shared.counters };
        let pushed = self.batch.push(to, task, change).await;
        let mut pushed = self.refused_beside_reread(pushed)?;
        if pushed == Pushed::NeedsLook {
            self.flush().await?;
            let look = self.batch.look(&self.target, task, change).await?;
            pushed = match (look.belongs, look.there) {
                (false, false) => return Ok(()),
                (false, true) => self.batch.push(to, task, RowChange { kind: RowKind::Delete, ..change }).await?,
                (true, true) => {
                    change.kind = RowKind::Stay;
                    self.batch.push(to, task, change).await?
                }
                // It comes to belong, with values that were not sent.
                (true, false) => Pushed::NeedsReRead,
            };
        }
        if pushed == Pushed::NeedsReRead {
            no_way_back::of_unsent(task, new, commit)?;
            if !task.is_ordered() {
                return Err(ExecError::Stale {
                    what: task.name.clone(),
                    difference: "an expression reads a column that the stream does not send when it did not change; \
                                 give its table REPLICA IDENTITY FULL and plan again"
                        .to_owned(),
                });
            }
            // Without an old tuple the key did not change: the new one has it.
            let replaced = old.map_or(new, |(_, old)| old);
            return self.reread(table, task.key(new)?, new, Some(replaced)).await;
        }
        count(&self.shared.counters.changes);
        self.group_changes += 1;
        failpoint::hit("apply.mid-transaction")?;
        if self.batch.is_full() {
            self.send().await?;
        }
        Ok(())
    }
}
