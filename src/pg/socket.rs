//! One way to open a byte stream to a server, for SQL and replication alike.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;

use super::conninfo::Conninfo;
use super::error::PgError;

/// How long name lookup, TCP, TLS and login may take together.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// A peer that vanished without a word is noticed after `KEEPALIVE_IDLE + RETRIES × INTERVAL`, or, with data on the
/// way to it, after `UNACKNOWLEDGED_MAX`.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);

/// A server may run ahead of its reader by twenty segments at first, and segments between processes of one machine have 64 KiB: it
/// would have read megabytes of a table, as fast as it can, for a reader who wants it slowly. On other networks they are smaller
/// than this anyway.
#[cfg(unix)]
const SEGMENT_BYTES: u32 = 4_000;

/// TCP or a Unix socket.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Connects. The caller bounds the time.
pub(super) async fn dial(info: &Conninfo) -> Result<Socket, PgError> {
    let connected = if is_unix(info) {
        UnixStream::connect(format!("{}/.s.PGSQL.{}", info.host, info.port)).await.map(Socket::Unix)
    } else {
        tcp(info).await.map(Socket::Tcp)
    };
    connected.map_err(|source| PgError::Connect { target: target(info), source })
}

/// Runs a connection attempt under `CONNECT_TIMEOUT`.
pub(super) async fn within_timeout<T>(
    info: &Conninfo,
    attempt: impl Future<Output = Result<T, PgError>>,
) -> Result<T, PgError> {
    match timeout(CONNECT_TIMEOUT, attempt).await {
        Ok(result) => result,
        Err(_) => Err(PgError::Timeout { target: target(info), seconds: CONNECT_TIMEOUT.as_secs() }),
    }
}

/// True when the host is a socket directory.
pub(super) fn is_unix(info: &Conninfo) -> bool {
    info.host.starts_with('/')
}

/// Host and port, for messages.
pub(super) fn target(info: &Conninfo) -> String {
    if is_unix(info) { format!("{}/.s.PGSQL.{}", info.host, info.port) } else { format!("{}:{}", info.host, info.port) }
}

async fn tcp(info: &Conninfo) -> io::Result<TcpStream> {
    let addresses = lookup_host((info.host.as_str(), info.port)).await?;
    let stream = connect_to_one_of(addresses, info.small_segments).await?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_RETRIES);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
    Ok(stream)
}

/// As `TcpStream::connect` does, in turn.
async fn connect_to_one_of(addresses: impl Iterator<Item = SocketAddr>, small_segments: bool) -> io::Result<TcpStream> {
    let mut last = None;
    for address in addresses {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        #[cfg(unix)]
        if small_segments {
            SockRef::from(&socket).set_tcp_mss(SEGMENT_BYTES)?;
        }
        match socket.connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address")))
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
