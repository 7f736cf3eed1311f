//! Reads one row of the source again, in a snapshot that sees the change at hand.
//!
//! Needed when a row moves from an uncopied key to a copied one and a large value was not sent because it did not
//! change: the target has no row to keep the value from.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, pin_mut};

use super::ExecError;
use super::context::Run;
use super::copy::check_shape;
use super::partitions;
use super::shared::Shared;
use super::snapshots;
use super::table::TableTask;
use crate::ledger::chunk::RereadRow;
use crate::pg::client::Client;
use crate::replay::FullXid;
use crate::sql::{self, Side};

/// Reads rows on a connection of its own.
pub struct Rereader {
    run: Arc<Run>,
    shared: Arc<Shared>,
    source: Client,
}

/// The row as it is now, or none if it is gone.
pub struct Reread {
    /// What the ledger keeps: later changes that its snapshot sees are skipped.
    pub entry: RereadRow,
    /// The row in the form of the table's COPY.
    pub copy: Option<Bytes>,
}

impl Rereader {
    /// Takes a connection to the source.
    pub fn new(run: Arc<Run>, shared: Arc<Shared>, source: Client) -> Self {
        Self { run, shared, source }
    }

    /// Reads the row in a snapshot that sees `xid`.
    pub async fn read(&self, task: &TableTask, key: &[String], xid: FullXid) -> Result<Reread, ExecError> {
        let mut waited = Duration::ZERO;
        let (snapshot, lsn_hi) = loop {
            let (snapshot, lsn_hi) = snapshots::begin(&self.source, task).await?;
            if snapshot.sees(xid) {
                break (snapshot, lsn_hi);
            }
            self.source.batch_execute("ROLLBACK").await.map_err(ExecError::source("give up a snapshot"))?;
            let pause = Duration::from_millis(2);
            waited += pause;
            if waited.as_millis().is_multiple_of(5_000) {
                self.run.waiting(format!(
                    "a row of {} waits for transaction {xid} to become visible on the source",
                    task.name
                ));
            }
            self.run.sleep(pause).await?;
        };
        check_shape(&self.source, task).await?;
        let predicate = sql::range::key_predicate(&task.projection, Side::Source, key)?;
        let query = sql::copy::copy_out(&task.projection, &task.frozen, Some(&predicate))?;
        let condition = sql::filter::source_condition(&task.projection, Some(&predicate));
        let condition = condition.as_deref().unwrap_or(&predicate);
        let count = format!("SELECT count(*) FROM {} WHERE {condition}", sql::source_table(&task.projection));
        let rows: i64 = self.source.query_one(&count, &[]).await.map_err(ExecError::source("count a row"))?.get(0);
        let mut data = BytesMut::new();
        {
            let out = self.source.copy_out(&query).await.map_err(ExecError::source("read a row again"))?;
            pin_mut!(out);
            while let Some(piece) = out.next().await {
                data.extend_from_slice(&piece.map_err(ExecError::source("read a row again"))?);
            }
        }
        partitions::read_what_was_looked_at(&self.source, task).await?;
        snapshots::wait_durable(&self.source, lsn_hi, &self.shared, &self.run).await?;
        snapshots::end(&self.source).await?;
        let entry = RereadRow { key: key.to_vec(), snapshot, lsn_hi };
        Ok(Reread { entry, copy: (rows > 0).then(|| data.freeze()) })
    }
}

/// Removes the row that a re-read replaces.
pub async fn remove(target: &Client, task: &TableTask, key: &[String]) -> Result<(), ExecError> {
    let predicate = sql::range::key_predicate(&task.projection, Side::Target, key)?;
    let statement = format!(
        "DELETE FROM {} WHERE {predicate}{}",
        sql::target_table(&task.projection),
        sql::part::and_own(&task.projection, "")
    );
    target.batch_execute(&statement).await.map_err(ExecError::target(format!("replace a row of {}", task.name)))
}
