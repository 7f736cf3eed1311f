//! SQL connections.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::SslMode as DriverSslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Config, NoTls, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::conninfo::{ChannelBinding, Conninfo, SslMode};
use super::error::PgError;
use super::session;
use super::socket::{self, Socket};
use super::tls::{self, TlsError};

/// How long a failed statement waits for the connection to say why it ended.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A connection with the settings of `session` in force.
#[derive(Debug)]
pub struct Client {
    inner: tokio_postgres::Client,
    prepared: Mutex<HashMap<&'static str, Statement>>,
    /// Such as 150018.
    pub server_version_num: u32,
    info: Conninfo,
    why_ended: Arc<OnceLock<PgError>>,
    connection: JoinHandle<()>,
}

/// Connects as `application_name` (`pcrd/<plan>/<role>`; the server keeps 63 bytes).
///
/// # Errors
/// No connection in time, no TLS as asked for, no login, or a server that is not PostgreSQL 10 or later.
pub async fn connect(info: &Conninfo, application_name: &str) -> Result<Client, PgError> {
    socket::within_timeout(info, login(info, application_name)).await
}

async fn login(info: &Conninfo, application_name: &str) -> Result<Client, PgError> {
    let mut config = config(info, application_name)?;
    config.options(session::startup_options());
    let (inner, version, (why_ended, connection)) = open(info, &config).await?;
    let server_version_num = supported_version(version.as_deref())?;
    let prepared = Mutex::default();
    let client = Client { inner, prepared, server_version_num, info: info.clone(), why_ended, connection };
    for statement in session::statements_after_login(server_version_num) {
        client.inner.batch_execute(&statement).await?;
    }
    Ok(client)
}

/// What the startup packet says, but for settings of the session.
pub(super) fn config(info: &Conninfo, application_name: &str) -> Result<Config, PgError> {
    let mut config = Config::new();
    config
        .user(&info.user)
        .dbname(&info.database)
        .application_name(application_name)
        .ssl_mode(driver_ssl_mode(info)?)
        .channel_binding(match info.tls.channel_binding {
            ChannelBinding::Disable => tokio_postgres::config::ChannelBinding::Disable,
            ChannelBinding::Prefer => tokio_postgres::config::ChannelBinding::Prefer,
            ChannelBinding::Require => tokio_postgres::config::ChannelBinding::Require,
        });
    if let Some(password) = &info.password {
        config.password(password.expose_secret());
    }
    Ok(config)
}

/// Connects and logs in: the client, the version that the server announced, and the task that drives the connection.
pub(super) async fn open(
    info: &Conninfo,
    config: &Config,
) -> Result<(tokio_postgres::Client, Option<String>, Driven), PgError> {
    let tls = if socket::is_unix(info) { None } else { tls::client_config(&info.tls)? };
    let stream = socket::dial(info).await?;
    Ok(match tls {
        None => {
            let (client, connection) = config.connect_raw(stream, NoTls).await?;
            let version = connection.parameter("server_version").map(str::to_owned);
            (client, version, drive(connection))
        }
        Some(tls) => {
            let (client, connection) = config.connect_raw(stream, tls_connect(tls, &info.host)?).await?;
            let version = connection.parameter("server_version").map(str::to_owned);
            (client, version, drive(connection))
        }
    })
}

/// The version that the server announced.
pub(super) fn supported_version(announced: Option<&str>) -> Result<u32, PgError> {
    let version = announced.and_then(session::version_num);
    match version {
        Some(version) if version >= 100_000 => Ok(version),
        _ => Err(PgError::Protocol(format!("`{}` is no PostgreSQL 10 or later", announced.unwrap_or("(no version)")))),
    }
}

fn driver_ssl_mode(info: &Conninfo) -> Result<DriverSslMode, TlsError> {
    match info.tls.mode {
        SslMode::Disable => Ok(DriverSslMode::Disable),
        SslMode::Prefer if socket::is_unix(info) => Ok(DriverSslMode::Disable),
        SslMode::Prefer => Ok(DriverSslMode::Prefer),
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull if socket::is_unix(info) => {
            Err(TlsError::UnixSocket)
        }
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => Ok(DriverSslMode::Require),
    }
}

fn tls_connect(
    config: rustls::ClientConfig,
    host: &str,
) -> Result<<MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect, PgError> {
    // Checked here for the message; the driver would report it as a failure of the socket.
    tls::server_name(host)?;
    MakeTlsConnect::<Socket>::make_tls_connect(&mut MakeRustlsConnect::new(config), host)
        .map_err(|never| PgError::Driver(format!("{never:?}")))
}

pub(super) type Driven = (Arc<OnceLock<PgError>>, JoinHandle<()>);

fn drive(connection: impl Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static) -> Driven {
    let why_ended = Arc::new(OnceLock::new());
    let slot = Arc::clone(&why_ended);
    let task = tokio::spawn(async move {
        let why = match connection.await {
            Ok(()) => PgError::Closed,
            Err(error) => error.into(),
        };
        // Only this task sets it, once.
        let _ = slot.set(why);
    });
    (why_ended, task)
}

impl Client {
    /// The statement, prepared when it is first asked for: what is asked of every table or chunk is planned once.
    pub async fn prepared(&self, sql: &'static str) -> Result<Statement, tokio_postgres::Error> {
        let known = || self.prepared.lock().expect("no task panics while it holds the statements");
        if let Some(statement) = known().get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.inner.prepare(sql).await?;
        known().insert(sql, statement.clone());
        Ok(statement)
    }

    /// Why the connection ended, once it has.
    pub fn why_ended(&self) -> Option<&PgError> {
        self.why_ended.get()
    }

    /// Turns a statement's failure into what really happened: a session that the server ended fails its statements
    /// with a bare "connection closed", and the cause arrives on the connection.
    pub async fn explain(&mut self, error: tokio_postgres::Error) -> PgError {
        if !error.is_closed() {
            return error.into();
        }
        if timeout(LAST_WORDS, &mut self.connection).await.is_err() {
            return error.into();
        }
        match Arc::get_mut(&mut self.why_ended).and_then(OnceLock::take) {
            Some(why) => why,
            None => error.into(),
        }
    }

    /// Asks the server to cancel the statement that is running, over a connection of its own with the same TLS.
    ///
    /// # Errors
    /// No such connection could be made. Success does not mean that a statement was cancelled.
    pub async fn cancel(&self) -> Result<(), PgError> {
        let token = self.inner.cancel_token();
        let info = &self.info;
        let tls = if socket::is_unix(info) { None } else { tls::client_config(&info.tls)? };
        socket::within_timeout(info, async {
            let stream = socket::dial(info).await?;
            match tls {
                None => token.cancel_query_raw(stream, NoTls).await?,
                Some(tls) => token.cancel_query_raw(stream, tls_connect(tls, &info.host)?).await?,
            }
            Ok(())
        })
        .await
    }
}

impl Deref for Client {
    type Target = tokio_postgres::Client;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.inner
    }
}
