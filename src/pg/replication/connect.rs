//! Opens a replication connection.

use bytes::{Buf, Bytes, BytesMut};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use super::auth;
use super::wire::{Frame, Transport, Wire};
use crate::pg::client::supported_version;
use crate::pg::conninfo::{ChannelBinding, Conninfo, SslMode};
use crate::pg::error::PgError;
use crate::pg::session;
use crate::pg::socket::{self, Socket};
use crate::pg::tls::{self, TlsError};

/// A replication connection that no stream runs on.
#[derive(Debug)]
pub struct Replication {
    pub(super) wire: Wire,
    pub(super) info: Conninfo,
    pub(super) backend: Backend,
    /// Such as 150018.
    pub server_version_num: u32,
}

/// What a cancel request must name.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Backend {
    pub(super) pid: i32,
    pub(super) secret: i32,
}

/// Connects as `application_name` with the settings of `session` in force.
///
/// # Errors
/// No connection in time, no TLS as asked for, no login, no right to replicate, or a server before PostgreSQL 10.
pub async fn connect(info: &Conninfo, application_name: &str) -> Result<Replication, PgError> {
    socket::within_timeout(info, async {
        let mut wire = Wire::new(open(info).await?);
        let mut out = BytesMut::new();
        let options = session::startup_options();
        let parameters = [
            ("user", info.user.as_str()),
            ("database", info.database.as_str()),
            ("replication", "database"),
            ("client_encoding", "UTF8"),
            ("application_name", application_name),
            ("options", options.as_str()),
        ];
        frontend::startup_message(parameters, &mut out)?;
        wire.send(&out).await?;
        auth::log_in(&mut wire, info).await?;
        let (backend, server_version_num) = until_ready(&mut wire).await?;
        let mut connection = Replication { wire, info: info.clone(), backend, server_version_num };
        for statement in session::statements_after_login(server_version_num) {
            connection.query(&statement).await?;
        }
        Ok(connection)
    })
    .await
}

/// A byte stream, encrypted as the settings demand.
pub(super) async fn open(info: &Conninfo) -> Result<Transport, PgError> {
    let mode = info.tls.mode;
    if socket::is_unix(info) {
        return match mode {
            SslMode::Disable | SslMode::Prefer => Ok(Transport::Plain(socket::dial(info).await?)),
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => Err(TlsError::UnixSocket.into()),
        };
    }
    let config = tls::client_config(&info.tls)?;
    let stream = socket::dial(info).await?;
    let Some(config) = config else {
        if info.tls.channel_binding == ChannelBinding::Require {
            return Err(PgError::Authentication("`channel_binding: require` needs TLS".to_owned()));
        }
        return Ok(Transport::Plain(stream));
    };
    let (stream, accepted) = request_tls(stream).await?;
    match (accepted, mode) {
        (true, _) => {
            let connector = TlsConnector::from(std::sync::Arc::new(config));
            let name = tls::server_name(&info.host)?;
            match connector.connect(name, stream).await {
                Ok(stream) => Ok(Transport::Tls(Box::new(stream))),
                Err(error) => Err(tls_failure(error)),
            }
        }
        (false, SslMode::Prefer) => Ok(Transport::Plain(stream)),
        (false, _) => Err(TlsError::NotOffered.into()),
    }
}

/// Exactly one byte is read: more of it would be plaintext taken for the encrypted stream.
async fn request_tls(mut stream: Socket) -> Result<(Socket, bool), PgError> {
    let mut out = BytesMut::new();
    frontend::ssl_request(&mut out);
    stream.write_all(&out).await?;
    match stream.read_u8().await? {
        b'S' => Ok((stream, true)),
        b'N' => Ok((stream, false)),
        byte => Err(PgError::Protocol(format!("`{}` to the request for TLS", byte.escape_ascii()))),
    }
}

fn tls_failure(error: std::io::Error) -> PgError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(tls) => TlsError::from(tls).into(),
        None => error.into(),
    }
}

async fn until_ready(wire: &mut Wire) -> Result<(Backend, u32), PgError> {
    let mut backend = Backend::default();
    let mut version = None;
    loop {
        let Frame { tag, mut body } = wire.frame().await?;
        match tag {
            b'E' => return Err(super::wire::server_error(&body)),
            b'S' => {
                let mut parts = body.split(|byte| *byte == 0);
                if parts.next() == Some(b"server_version") {
                    version = parts.next().map(|text| String::from_utf8_lossy(text).into_owned());
                }
            }
            b'K' if body.len() == 8 => backend = Backend { pid: body.get_i32(), secret: body.get_i32() },
            b'Z' => return Ok((backend, supported_version(version.as_deref())?)),
            b'N' | b'K' => {}
            tag => return Err(PgError::Protocol(format!("message `{}` after login", tag.escape_ascii()))),
        }
    }
}

/// Rows of a simple query, as text.
pub(super) type Rows = Vec<Vec<Option<String>>>;

impl Replication {
    /// Process id of the server's side.
    pub fn backend_pid(&self) -> i32 {
        self.backend.pid
    }

    /// Runs one command or statement in the simple protocol.
    pub(super) async fn query(&mut self, text: &str) -> Result<Rows, PgError> {
        self.send_query(text).await?;
        self.rows().await
    }

    pub(super) async fn send_query(&mut self, text: &str) -> Result<(), PgError> {
        let mut out = BytesMut::new();
        frontend::query(text, &mut out)?;
        Ok(self.wire.send(&out).await?)
    }

    /// The answer to a query, up to the server's "ready"; an error is returned after it, so the connection stays usable.
    pub(super) async fn rows(&mut self) -> Result<Rows, PgError> {
        let mut rows = Vec::new();
        let mut failure = None;
        loop {
            let frame = match self.wire.frame().await {
                Ok(frame) => frame,
                // A FATAL error comes without a "ready".
                Err(broken) => return Err(failure.unwrap_or(broken)),
            };
            match frame.tag {
                b'E' => failure = Some(super::wire::server_error(&frame.body)),
                b'D' => rows.push(row(frame.body)?),
                b'T' | b'C' | b'N' | b'S' | b'A' | b'I' => {}
                b'Z' => return failure.map_or(Ok(rows), Err),
                tag => return Err(PgError::Protocol(format!("message `{}` to a query", tag.escape_ascii()))),
            }
        }
    }

    /// Waits until the server ends this idle connection, and says why. An exported snapshot dies with it. Cancel-safe.
    pub async fn ended(&mut self) -> PgError {
        match self.wire.answer().await {
            Ok(frame) => PgError::Protocol(format!("message `{}` on an idle connection", frame.tag.escape_ascii())),
            Err(error) => error,
        }
    }

    /// Says goodbye. Dropping the connection does the same less politely.
    ///
    /// # Errors
    /// The connection is broken.
    pub async fn close(mut self) -> Result<(), PgError> {
        let mut out = BytesMut::new();
        frontend::terminate(&mut out);
        self.wire.send(&out).await?;
        // The server's end of the stream tells that its backend, and with it a temporary slot, is gone.
        while self.wire.read_more().await? > 0 {}
        Ok(())
    }
}

fn row(mut body: Bytes) -> Result<Vec<Option<String>>, PgError> {
    let bad = || PgError::Protocol("a malformed row".to_owned());
    let count = body.try_get_u16().map_err(|_| bad())?;
    (0..count)
        .map(|_| {
            let length = body.try_get_i32().map_err(|_| bad())?;
            let Ok(length) = usize::try_from(length) else {
                return Ok(None);
            };
            if body.len() < length {
                return Err(bad());
            }
            let text = body.split_to(length);
            std::str::from_utf8(&text).map(|text| Some(text.to_owned())).map_err(|_| bad())
        })
        .collect()
}
