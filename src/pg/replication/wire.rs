//! Frames of the PostgreSQL protocol over a plain or encrypted stream.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::client::TlsStream;

use crate::pg::error::{PgError, ServerError};
use crate::pg::socket::Socket;

/// The server's own limit on one message (`MaxAllocSize`), with room for the header.
const FRAME_BYTES_MAX: usize = 0x4000_0000 + 64;

/// Space that is taken at once …
const BLOCK_BYTES: usize = 256 * 1024;
/// … when less than this is left of it.
const READ_BYTES_MIN: usize = 16 * 1024;

/// Frames carry the stream's own slices, so a consumer that keeps one small value keeps its block.
#[derive(Debug)]
pub(super) struct Wire {
    transport: Transport,
    inbound: BytesMut,
}

#[derive(Debug)]
pub(super) enum Transport {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

/// One message of the server.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) tag: u8,
    pub(super) body: Bytes,
}

impl Wire {
    pub(super) fn new(transport: Transport) -> Self {
        Self { transport, inbound: BytesMut::new() }
    }

    pub(super) fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Sends all of `bytes`.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.transport.write_all(bytes).await?;
        self.transport.flush().await
    }

    /// The next message, whatever it is. Cancel-safe.
    pub(super) async fn frame(&mut self) -> Result<Frame, PgError> {
        loop {
            if let Some(frame) = self.buffered_frame()? {
                return Ok(frame);
            }
            if self.read_more().await? == 0 {
                return Err(PgError::Closed);
            }
        }
    }

    /// The next message that answers something; an error of the server is an `Err`. Cancel-safe.
    pub(super) async fn answer(&mut self) -> Result<Frame, PgError> {
        loop {
            let frame = self.frame().await?;
            match frame.tag {
                b'E' => return Err(server_error(&frame.body)),
                // Notice, parameter status, notification: they answer nothing.
                b'N' | b'S' | b'A' => {}
                _ => return Ok(frame),
            }
        }
    }

    /// A message that has arrived completely.
    pub(super) fn buffered_frame(&mut self) -> Result<Option<Frame>, PgError> {
        let Some(total) = self.frame_bytes()? else {
            return Ok(None);
        };
        if self.inbound.len() < total {
            return Ok(None);
        }
        let mut body = self.inbound.split_to(total).freeze();
        let tag = body[0];
        body.advance(5);
        Ok(Some(Frame { tag, body }))
    }

    /// Bytes that have arrived and are not taken.
    pub(super) fn buffered(&self) -> usize {
        self.inbound.len()
    }

    /// What arrives wakes nobody until the next read or write.
    pub(super) fn rest(&mut self) -> io::Result<()> {
        match &mut self.transport {
            Transport::Plain(socket) => socket.rest(),
            Transport::Tls(stream) => stream.get_mut().0.rest(),
        }
    }

    /// Reads once; 0 is the end of the stream. Cancel-safe.
    pub(super) async fn read_more(&mut self) -> Result<usize, PgError> {
        let missing = self.frame_bytes()?.map_or(0, |total| total.saturating_sub(self.inbound.len()));
        if self.inbound.capacity() - self.inbound.len() < missing.max(READ_BYTES_MIN) {
            self.inbound.reserve(missing.max(BLOCK_BYTES));
        }
        Ok(self.transport.read_buf(&mut self.inbound).await?)
    }

    /// Bytes that the first message takes, header included, once its header is here.
    fn frame_bytes(&self) -> Result<Option<usize>, PgError> {
        let Some(header) = self.inbound.first_chunk::<5>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
        if !(4..=FRAME_BYTES_MAX).contains(&length) {
            return Err(PgError::Protocol(format!("a message of {length} bytes")));
        }
        Ok(Some(length + 1))
    }
}

/// An ErrorResponse as an error.
pub(super) fn server_error(body: &[u8]) -> PgError {
    let fields =
        body.split(|byte| *byte == 0).filter_map(|field| field.split_first()).map(|(code, text)| (*code, text));
    PgError::Server(Box::new(ServerError::from_fields(fields)))
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
