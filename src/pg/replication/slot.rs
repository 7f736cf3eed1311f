//! Identity of the server, and slots.

use std::pin::pin;
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use tokio::time::timeout;

use super::connect::{Backend, Replication, Rows, open};
use super::wire::Wire;
use crate::catalog::Ident;
use crate::pg::conninfo::Conninfo;
use crate::pg::error::PgError;
use crate::pg::socket;
use crate::replay::Lsn;
use crate::sql;

/// How long a cancelled command may take to end.
const CANCEL_GRACE: Duration = Duration::from_secs(5);

/// `IDENTIFY_SYSTEM`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemIdentity {
    /// System identifier: decimal digits.
    pub system_id: String,
    /// Timeline.
    pub timeline: u32,
    /// Flushed position.
    pub flushed: Lsn,
    /// Database of the connection.
    pub database: String,
}

/// A slot to create.
#[derive(Debug, Clone)]
pub struct NewSlot {
    /// Name: `[a-z0-9_]`.
    pub name: Ident,
    /// Dropped with the connection.
    pub temporary: bool,
    /// Synchronised to standbys; PostgreSQL 17 and later.
    pub failover: bool,
}

/// A slot, and the snapshot that shows exactly the transactions whose commit records lie before `consistent_point`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedSlot {
    /// Where its stream starts.
    pub consistent_point: Lsn,
    /// For `SET TRANSACTION SNAPSHOT`; dies with the next command on this connection, or with the connection.
    pub snapshot: String,
}

impl Replication {
    /// Asks who the server is.
    ///
    /// # Errors
    /// The connection, or the server's.
    pub async fn identify_system(&mut self) -> Result<SystemIdentity, PgError> {
        let rows = self.query("IDENTIFY_SYSTEM").await?;
        let [system_id, timeline, flushed, database] = one_row(rows, "IDENTIFY_SYSTEM")?;
        Ok(SystemIdentity {
            timeline: timeline.parse().map_err(|_| PgError::Protocol(format!("timeline `{timeline}`")))?,
            flushed: lsn(&flushed)?,
            system_id,
            database,
        })
    }

    /// Returns the history file of a timeline; the first has none.
    ///
    /// # Errors
    /// The connection, or the server's, for instance 58P01: it does not keep the file.
    pub async fn timeline_history(&mut self, timeline: u32) -> Result<String, PgError> {
        let rows = self.query(&format!("TIMELINE_HISTORY {timeline}")).await?;
        let [_file, content] = one_row(rows, "TIMELINE_HISTORY")?;
        Ok(content)
    }

    /// Creates a slot for `pgoutput` and exports its snapshot. Waits for every transaction that is writing.
    ///
    /// After `patience`, or when `stop` completes, the command is cancelled and no slot is left behind. Only so: a
    /// future that is dropped instead leaves the server waiting, and then with a slot.
    ///
    /// # Errors
    /// `GaveUp` and `Stopped` for these two; the server's, for instance 42710 (exists), 53400 (no free slot).
    pub async fn create_slot(
        &mut self,
        slot: &NewSlot,
        patience: Duration,
        stop: impl Future<Output = ()>,
    ) -> Result<CreatedSlot, PgError> {
        let name = sql::ident(&slot.name);
        let temporary = if slot.temporary { " TEMPORARY" } else { "" };
        let options = if slot.failover { "(SNAPSHOT 'export', FAILOVER true)" } else { "EXPORT_SNAPSHOT" };
        let command = format!("CREATE_REPLICATION_SLOT {name}{temporary} LOGICAL pgoutput {options}");
        let what = format!("creating replication slot {}", slot.name);
        let (info, backend) = (self.info.clone(), self.backend);
        self.send_query(&command).await?;
        let stopped = {
            let mut answer = pin!(self.rows());
            let stopped = tokio::select! {
                rows = &mut answer => return created(rows?),
                () = stop => PgError::Stopped { what },
                () = tokio::time::sleep(patience) => PgError::GaveUp { what, seconds: patience.as_secs() },
            };
            cancel(&info, backend).await?;
            match timeout(CANCEL_GRACE, answer).await {
                Ok(Err(error)) if error.sqlstate() == Some("57014") => return Err(stopped),
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    return Err(PgError::Protocol(format!(
                        "backend {} does not end `{command}` although it was cancelled; terminate it, drop the slot",
                        backend.pid
                    )));
                }
                // It was done before the cancellation came.
                Ok(Ok(_)) => stopped,
            }
        };
        match self.drop_slot(&slot.name).await {
            // The cancellation hit the wrong command.
            Err(error) if error.sqlstate() == Some("57014") => self.drop_slot(&slot.name).await?,
            other => other?,
        }
        Err(stopped)
    }

    /// Drops a slot. A slot that is not there is the server's error 42704; one in use is 55006.
    ///
    /// # Errors
    /// The connection, or the server's.
    pub async fn drop_slot(&mut self, name: &Ident) -> Result<(), PgError> {
        self.query(&format!("DROP_REPLICATION_SLOT {}", sql::ident(name))).await.map(drop)
    }
}

/// Cancels the running command, over a connection of its own.
async fn cancel(info: &Conninfo, backend: Backend) -> Result<(), PgError> {
    socket::within_timeout(info, async {
        let mut wire = Wire::new(open(info).await?);
        let mut out = BytesMut::new();
        frontend::cancel_request(backend.pid, backend.secret, &mut out);
        wire.send(&out).await?;
        // The server closes the connection once it has passed the request on, some versions without a goodbye.
        while matches!(wire.read_more().await, Ok(bytes) if bytes > 0) {}
        Ok(())
    })
    .await
}

fn created(rows: Rows) -> Result<CreatedSlot, PgError> {
    let [_, consistent_point, snapshot, _] = one_row(rows, "CREATE_REPLICATION_SLOT")?;
    Ok(CreatedSlot { consistent_point: lsn(&consistent_point)?, snapshot })
}

fn one_row<const N: usize>(rows: Rows, command: &str) -> Result<[String; N], PgError> {
    let malformed = || PgError::Protocol(format!("an unexpected answer to {command}"));
    let row = rows.into_iter().next().ok_or_else(malformed)?;
    let texts: Option<Vec<String>> = row.into_iter().collect();
    texts.and_then(|texts| texts.try_into().ok()).ok_or_else(malformed)
}

fn lsn(text: &str) -> Result<Lsn, PgError> {
    text.parse().map_err(|error| PgError::Protocol(format!("{error}")))
}
