//! Descriptions of tables in the stream: which table of the plan each is of, and what becomes of one that does not fit.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::ExecError;
use super::context::Run;
use super::fit::Fit;
use super::seen::Seen;
use super::stream::{Applier, Source};
use super::table::TableTask;
use crate::catalog::QualifiedName;
use crate::ledger::unreadable::{self, Unreadable};
use crate::pg::pgoutput::Relation;
use crate::plan::End;
use crate::replay::Lsn;

impl Applier {
    /// Takes a description. One that does not fit is recorded: the catalog may be as planned again, and would not tell.
    pub(super) async fn relation(&mut self, relation: Relation) -> Result<(), ExecError> {
        let mut tables = self.described(&relation);
        let commit = self.source()?.commit;
        let mut oid = relation.oid;
        let taken = match (tables.is_empty(), self.root) {
            (false, _) => self.describe(relation, &tables),
            (true, Some(root)) => {
                tables = vec![root];
                oid = self.tables[root].witness.as_ref().map_or(oid, Seen::oid);
                self.partition(&relation, root).await
            }
            (true, None) => Err(ExecError::Stale {
                what: format!(
                    "publication {} of the {}",
                    self.run.plan.settings.publication,
                    self.run.end(End::Source)
                ),
                difference: format!("it publishes {}.{}, which is not in the plan", relation.schema, relation.name),
            }),
        };
        if let Err(ExecError::Stale { difference, .. }) = &taken {
            let names = tables.iter().map(|&table| self.tables[table].source_name().clone()).collect();
            keep_unreadable(&Arc::clone(&self.run), names, (oid, commit), difference).await;
        }
        taken
    }

    /// The tables that a description is of. The oid tells, whatever the table was called at that moment: its name may have
    /// been another's.
    fn described(&self, relation: &Relation) -> Vec<usize> {
        let find = |is: &dyn Fn(&TableTask) -> bool| -> Vec<usize> {
            self.tables.iter().filter(|task| is(task)).map(|task| task.index).collect()
        };
        let is_it = |task: &TableTask| task.witness.as_ref().is_some_and(|seen| seen.oid() == relation.oid);
        let by_oid = find(&is_it);
        if !by_oid.is_empty() {
            return by_oid;
        }
        let former = self.restarted.former(relation.oid);
        if former.is_empty() { find(&|task: &TableTask| task.is_called(relation)) } else { former }
    }

    /// With a partitioned table's description comes that of the partition that is written to, of which no change is sent. One
    /// that no look has found comes and goes between two of them: what is written to it would stay on the target. So nothing
    /// of this transaction is committed before the ledger has it.
    async fn partition(&mut self, relation: &Relation, root: usize) -> Result<(), ExecError> {
        self.relations.remove(&relation.oid);
        let Source { xid, commit } = self.source()?;
        let tables = Arc::clone(&self.tables);
        let task = &tables[root];
        let Some(seen) = task.witness.as_ref().filter(|_| !self.restarted.is_before(root, commit)) else {
            return Ok(());
        };
        let mut found = seen.kept(relation.oid);
        if found.is_none() {
            self.shared.look().await;
            found = seen.kept(relation.oid);
        }
        let why = match found {
            None => "came, was written to and went between two looks, so that its rows would stay on the target",
            Some(found) if found.is_younger_than(xid)? => {
                "was written to before it was looked at, so that it may have been truncated without the stream's showing it"
            }
            Some(_) => return Ok(()),
        };
        let difference = format!("its partition {}.{} {why}", relation.schema, relation.name);
        Err(ExecError::Stale { what: task.source_name().to_string(), difference })
    }

    fn describe(&mut self, relation: Relation, found: &[usize]) -> Result<(), ExecError> {
        let is_partitioned = |table: &usize| self.tables[*table].projection.partitioned;
        self.root = found.first().copied().filter(is_partitioned);
        if self.put_aside(&relation, found)? {
            return Ok(());
        }
        let tables = Arc::clone(&self.tables);
        let mut fit = Fit::default();
        for &table in found {
            // The targets of one table see the same columns of it.
            fit = tables[table].check_relation(&relation)?;
        }
        self.relations.insert(relation.oid, found.into());
        self.fits.insert(relation.oid, fit);
        Ok(())
    }
}

/// By a session of its own: what the applier has open is not committed. A failure costs no more than another stop, because the
/// stream does not get past the description.
async fn keep_unreadable(run: &Run, tables: BTreeSet<QualifiedName>, (relation, lsn): (u32, Lsn), why: &str) {
    for table in tables {
        let one = Unreadable { table: table.clone(), relation, lsn, why: why.to_owned() };
        let kept = async {
            let ledger = run.connect(End::Target, "drift").await?;
            Ok::<_, ExecError>(unreadable::put(&*ledger, &run.id, run.epoch, &one).await?)
        };
        if let Err(error) = kept.await {
            run.note(format!("that the change stream has {table} otherwise could not be recorded: {error}"));
        }
    }
}
