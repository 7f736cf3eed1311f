//! The admin console of a pgbouncer: it takes simple queries only, and no settings of a session.

use tokio::task::JoinHandle;
use tokio_postgres::SimpleQueryMessage;

use super::client::{config, open};
use super::conninfo::Conninfo;
use super::error::PgError;
use super::socket;
use crate::catalog::Ident;
use crate::sql;

/// A connection to the console.
#[derive(Debug)]
pub struct Console {
    client: tokio_postgres::Client,
    connection: JoinHandle<()>,
}

/// What the console says of one of its databases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// Server that it leads to; nothing for a socket of pgbouncer's default directory.
    pub host: Option<String>,
    /// Port of that server.
    pub port: Option<u16>,
    /// Database there.
    pub database: String,
    /// Its clients are held.
    pub paused: bool,
}

/// Connects as `application_name`.
///
/// # Errors
/// No connection in time, or no login.
pub async fn connect(info: &Conninfo, application_name: &str) -> Result<Console, PgError> {
    let config = config(info, application_name)?;
    let (client, _version, (_why_ended, connection)) = socket::within_timeout(info, open(info, &config)).await?;
    Ok(Console { client, connection })
}

impl Console {
    /// Holds the clients of a database: returns when none of them is in a transaction any more.
    pub async fn pause(&self, database: &Ident) -> Result<(), PgError> {
        self.say(&format!("PAUSE {}", sql::ident(database))).await
    }

    /// Lets the clients of a database go on.
    pub async fn resume(&self, database: &Ident) -> Result<(), PgError> {
        self.say(&format!("RESUME {}", sql::ident(database))).await
    }

    /// Makes it read its configuration again.
    pub async fn reload(&self) -> Result<(), PgError> {
        self.say("RELOAD").await
    }

    /// What it says of a database; nothing when it has none of this name.
    pub async fn database(&self, name: &Ident) -> Result<Option<Database>, PgError> {
        for message in self.client.simple_query("SHOW DATABASES").await? {
            let SimpleQueryMessage::Row(row) = message else { continue };
            // By name: every version has more columns.
            if row.try_get("name")? == Some(name.as_str()) {
                return Ok(Some(Database {
                    host: row.try_get("host")?.filter(|host| !host.is_empty()).map(str::to_owned),
                    port: row.try_get("port")?.and_then(|port| port.parse().ok()),
                    database: row.try_get("database")?.unwrap_or_default().to_owned(),
                    paused: row.try_get("paused")? == Some("1"),
                }));
            }
        }
        Ok(None)
    }

    async fn say(&self, command: &str) -> Result<(), PgError> {
        self.client.simple_query(command).await?;
        Ok(())
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // A console that still waits for a PAUSE must not be left behind.
        self.connection.abort();
    }
}
