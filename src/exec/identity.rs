//! Which history a connection reached. After a failover a host name may lead to another server from one connection to
//! the next: rows of two histories must not meet in one attempt.

use super::ExecError;
use crate::pg::client::Client;
use crate::plan::End;

/// A server's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `system_identifier`; a promoted standby keeps it.
    pub system: String,
    /// The timeline that is written; `None` on a standby.
    pub timeline: Option<u32>,
}

/// What both ends were when the attempt began.
#[derive(Debug, Clone)]
pub struct Identities {
    /// The source.
    pub source: Identity,
    /// The target.
    pub target: Identity,
}

impl Identities {
    /// Of one end.
    pub fn of(&self, end: End) -> &Identity {
        match end {
            End::Source => &self.source,
            End::Target => &self.target,
        }
    }
}

impl Identity {
    /// Asks the server. The timeline is that of the write position: the control file has it only after a checkpoint.
    ///
    /// # Errors
    /// A statement that failed.
    pub async fn read(end: End, client: &Client) -> Result<Self, ExecError> {
        let query = "SELECT system_identifier::text, CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN \
                     pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()) END FROM pg_catalog.pg_control_system()";
        let doing = "read the server's identity";
        let row = match end {
            End::Source => client.query_one(query, &[]).await.map_err(ExecError::source(doing))?,
            End::Target => client.query_one(query, &[]).await.map_err(ExecError::target(doing))?,
        };
        let file: Option<String> = row.get(1);
        let timeline = file.and_then(|file| u32::from_str_radix(file.get(..8)?, 16).ok());
        Ok(Self { system: row.get(0), timeline })
    }

    /// Fails unless `found` is the primary of this history.
    ///
    /// # Errors
    /// Another server, another timeline, or a standby.
    pub fn check(&self, end: End, found: &Self) -> Result<(), ExecError> {
        let difference = if self.system != found.system {
            format!("its system identifier is {}, not {}", found.system, self.system)
        } else {
            match (self.timeline, found.timeline) {
                (_, None) => "it is a standby".to_owned(),
                (Some(before), Some(now)) if before == now => return Ok(()),
                (Some(before), Some(now)) => format!("it is on timeline {now}, not {before}"),
                (None, Some(now)) => format!("it is on timeline {now}, and was a standby"),
            }
        };
        Err(ExecError::Moved { side: end, difference })
    }
}
