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
    /// What arrives wakes nobody.
    RestingTcp(std::net::TcpStream),
    /// The same.
    RestingUnix(std::os::unix::net::UnixStream),
    /// The system refused to watch it, or not to.
    Gone,
}

impl Socket {
    /// Until somebody reads or writes again, what arrives wakes nobody: the system wakes the thread that watches a socket at
    /// each arrival, whether or not a task waits for it, and whoever sends pays for that too.
    pub(super) fn rest(&mut self) -> io::Result<()> {
        *self = match std::mem::replace(self, Self::Gone) {
            Self::Tcp(stream) => Self::RestingTcp(stream.into_std()?),
            Self::Unix(stream) => Self::RestingUnix(stream.into_std()?),
            other => other,
        };
        Ok(())
    }

    fn watched(&mut self) -> io::Result<&mut Self> {
        if matches!(self, Self::RestingTcp(_) | Self::RestingUnix(_)) {
            *self = match std::mem::replace(self, Self::Gone) {
                Self::RestingTcp(stream) => Self::Tcp(TcpStream::from_std(stream)?),
                Self::RestingUnix(stream) => Self::Unix(UnixStream::from_std(stream)?),
                other => other,
            };
        }
        Ok(self)
    }
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

fn gone() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut().watched()? {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            _ => Poll::Ready(Err(gone())),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut().watched()? {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            _ => Poll::Ready(Err(gone())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut().watched()? {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
            _ => Poll::Ready(Err(gone())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut().watched()? {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            _ => Poll::Ready(Err(gone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn passes_on_after_a_rest(mut socket: Socket, mut peer: impl AsyncRead + AsyncWrite + Unpin) {
        let mut read = [0; 4];
        peer.write_all(b"some").await.unwrap();
        socket.read_exact(&mut read).await.unwrap();
        // What comes while nobody looks, and what comes after that.
        socket.rest().unwrap();
        socket.rest().unwrap();
        peer.write_all(b"more").await.unwrap();
        socket.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"more");
        socket.rest().unwrap();
        let (found, ()) = tokio::join!(socket.read(&mut read), async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            peer.write_all(b"last").await.unwrap();
        });
        assert_eq!((found.unwrap(), &read), (4, b"last"));
        socket.rest().unwrap();
        socket.write_all(b"said").await.unwrap();
        peer.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"said");
        socket.rest().unwrap();
        drop(peer);
        assert_eq!(socket.read(&mut read).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn nothing_is_lost_over_tcp_while_a_socket_rests() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (peer, _) = listener.accept().await.unwrap();
        passes_on_after_a_rest(Socket::Tcp(stream), peer).await;
    }

    #[tokio::test]
    async fn nothing_is_lost_over_a_unix_socket_while_it_rests() {
        let (stream, peer) = UnixStream::pair().unwrap();
        passes_on_after_a_rest(Socket::Unix(stream), peer).await;
    }
}
