//! Tables that are copied again under a new plan: what the stream has of them from before counts for nothing, whatever its
//! shape and name, because every chunk that is copied since shows it.

use std::collections::HashMap;
use std::sync::Arc;

use super::ExecError;
use super::stream::Applier;
use super::table::TableTask;
use crate::ledger::{adoption, unreadable};
use crate::pg::client::Client;
use crate::pg::pgoutput::Relation;
use crate::replay::Lsn;

/// From where on the stream of each table counts.
#[derive(Debug, Default)]
pub struct Restarted {
    /// By table number.
    points: Vec<Option<Lsn>>,
    /// Table numbers by the oids that the stream has, or may have, for them from before.
    former: HashMap<u32, Vec<usize>>,
    /// Descriptions that came with transactions from before. The server need not repeat one that still holds.
    unread: HashMap<u32, Relation>,
}

impl Restarted {
    /// Reads what the ledger has.
    ///
    /// # Errors
    /// A statement that failed.
    pub async fn read(ledger: &Client, id: &str, tables: &[TableTask]) -> Result<Self, ExecError> {
        let restarts = adoption::restarts(ledger, id).await?;
        let point = |task: &TableTask| {
            let name = task.source_name().to_string();
            restarts.iter().find(|(table, _)| *table == name).map(|(_, lsn)| *lsn)
        };
        let mut former: HashMap<u32, Vec<usize>> = HashMap::new();
        for (table, relation) in unreadable::relations(ledger, id).await? {
            let of_table = tables.iter().filter(|task| task.source_name().to_string() == table);
            former.entry(relation).or_default().extend(of_table.map(|task| task.index));
        }
        Ok(Self { points: tables.iter().map(point).collect(), former, unread: HashMap::new() })
    }

    /// The tables in whose place a relation of this oid was.
    pub(super) fn former(&self, relation: u32) -> Vec<usize> {
        self.former.get(&relation).cloned().unwrap_or_default()
    }

    /// True when changes of this table that commit here are in every chunk.
    pub(super) fn is_before(&self, table: usize, commit: Lsn) -> bool {
        self.points.get(table).copied().flatten().is_some_and(|point| commit < point)
    }
}

impl Applier {
    /// Puts a description aside that comes with a transaction from before its table was started again.
    pub(super) fn put_aside(&mut self, relation: &Relation, tables: &[usize]) -> Result<bool, ExecError> {
        let commit = self.source()?.commit;
        // The targets of one table are started again together.
        if !tables.iter().any(|&table| self.restarted.is_before(table, commit)) {
            self.restarted.unread.remove(&relation.oid);
            return Ok(false);
        }
        self.relations.insert(relation.oid, tables.into());
        self.restarted.unread.insert(relation.oid, relation.clone());
        Ok(true)
    }

    /// The tables that a change goes to: none when they were started again since. A description that was put aside is read
    /// when the first change counts.
    pub(super) async fn tables_of(&mut self, relation: u32) -> Result<Arc<[usize]>, ExecError> {
        let known = self.relations.get(&relation).cloned().ok_or_else(|| ExecError::Stale {
            what: "change stream".to_owned(),
            difference: format!("a change of relation {relation}, which was never described"),
        })?;
        let commit = self.source()?.commit;
        if known.iter().any(|&table| self.restarted.is_before(table, commit)) {
            return Ok(Arc::default());
        }
        if let Some(description) = self.restarted.unread.remove(&relation) {
            self.relation(description).await?;
        }
        Ok(known)
    }
}
