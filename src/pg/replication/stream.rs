//! The stream of changes, as its consumer sees it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::connect::{Backend, Replication};
use super::feedback::Confirm;
use super::reader::Reader;
use super::wire::server_error;
use crate::catalog::Ident;
use crate::pg::error::PgError;
use crate::replay::Lsn;
use crate::sql;

/// What `pgoutput` is asked for. Protocol version 1: whole transactions, in commit order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PgoutputOptions {
    /// Publications.
    pub publications: Vec<Ident>,
    /// `pg_logical_emit_message`; PostgreSQL 14 and later, an error before.
    pub messages: bool,
    /// Only what was not itself replicated into the publisher; PostgreSQL 16 and later.
    pub origin_none: bool,
}

/// Bounds of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamLimits {
    /// Bytes that may wait for the consumer. One message is always admitted, however large.
    pub queue_bytes: usize,
    /// How often the server hears of us at least; if `None`, a third of its `wal_sender_timeout`, at most 10 s.
    pub status_interval: Option<Duration>,
    /// A server that says nothing for so long, although asked, is taken for dead.
    pub silence_max: Duration,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self { queue_bytes: 8 << 20, status_interval: None, silence_max: Duration::from_secs(120) }
    }
}

/// What arrives, in the server's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// One message of `pgoutput`.
    XLogData {
        /// Position of the change; 0 for some messages.
        start: Lsn,
        /// How far the server had sent.
        wal_end: Lsn,
        /// For `pgoutput::decode`.
        data: Bytes,
    },
    /// Every change before `wal_end` has been sent. At most about ten a second.
    Keepalive {
        /// Position.
        wal_end: Lsn,
        /// The server wanted an answer; it has it.
        reply_requested: bool,
    },
}

pub(super) struct Queued {
    pub(super) incoming: Vec<Incoming>,
    /// Room in the queue, given back when the consumer takes the messages.
    pub(super) room: OwnedSemaphorePermit,
}

/// A running stream. A task owns the socket and keeps the server content whether or not the consumer reads.
///
/// Dropping it closes the connection; the server then notices by itself that the slot is free.
#[derive(Debug)]
pub struct Stream {
    queue: mpsc::UnboundedReceiver<Result<Queued, PgError>>,
    /// Messages that left the queue with others.
    taken: std::vec::IntoIter<Incoming>,
    confirm: Confirm,
    nudge: Arc<Notify>,
    stop: oneshot::Sender<()>,
    reader: JoinHandle<()>,
    backend: Backend,
    /// The cause was handed out.
    ended: bool,
}

impl std::fmt::Debug for Queued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queued").finish_non_exhaustive()
    }
}

impl Replication {
    /// Starts streaming `slot` from `from`.
    ///
    /// The server silently starts at the slot's confirmed position if that is beyond `from`: the caller compares both
    /// first.
    ///
    /// # Errors
    /// The server's own: 55006 (slot in use), 42704 (no such slot or publication), 55000 (slot lost its log), …
    pub async fn start(
        mut self,
        slot: &Ident,
        from: Lsn,
        options: &PgoutputOptions,
        limits: StreamLimits,
    ) -> Result<Stream, PgError> {
        let status_interval = match limits.status_interval {
            Some(interval) => interval.max(Duration::from_millis(10)),
            None => self.status_interval().await?,
        };
        self.send_query(&start_command(slot, from, options)).await?;
        loop {
            let frame = self.wire.frame().await?;
            match frame.tag {
                b'W' => break,
                b'E' => return Err(server_error(&frame.body)),
                b'N' | b'S' => {}
                tag => {
                    let tag = tag.escape_ascii();
                    return Err(PgError::Protocol(format!("message `{tag}` to START_REPLICATION")));
                }
            }
        }
        let (sender, queue) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let confirm = Confirm::new(from);
        let nudge = Arc::new(Notify::new());
        let queue_bytes = limits.queue_bytes.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        let reader = Reader {
            wire: self.wire,
            piece: Vec::new(),
            piece_bytes: 0,
            queue: sender,
            room: Arc::new(Semaphore::new(queue_bytes)),
            queue_bytes,
            confirm: confirm.clone(),
            nudge: Arc::clone(&nudge),
            stopped,
            status_interval,
            silence_max: limits.silence_max,
        };
        Ok(Stream {
            queue,
            taken: Vec::new().into_iter(),
            confirm,
            nudge,
            stop,
            reader: tokio::spawn(reader.run()),
            backend: self.backend,
            ended: false,
        })
    }

    async fn status_interval(&mut self) -> Result<Duration, PgError> {
        let longest = Duration::from_secs(10);
        let query = "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'";
        let rows = self.query(query).await?;
        let setting = rows.into_iter().flatten().flatten().next();
        let milliseconds: u64 = setting
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| PgError::Protocol("no `wal_sender_timeout`".to_owned()))?;
        match milliseconds {
            // Switched off: the server waits for ever.
            0 => Ok(longest),
            timeout => Ok(Duration::from_millis((timeout / 3).max(10)).min(longest)),
        }
    }
}

fn start_command(slot: &Ident, from: Lsn, options: &PgoutputOptions) -> String {
    let names: Vec<String> = options.publications.iter().map(sql::ident).collect();
    let mut given =
        vec!["proto_version '1'".to_owned(), format!("publication_names {}", sql::literal(&names.join(",")))];
    if options.messages {
        given.push("messages 'true'".to_owned());
    }
    if options.origin_none {
        given.push("origin 'none'".to_owned());
    }
    format!("START_REPLICATION SLOT {} LOGICAL {from} ({})", sql::ident(slot), given.join(", "))
}

impl Stream {
    /// The next message. Cancel-safe.
    ///
    /// # Errors
    /// Why the stream ended, once, after everything that came before; `Closed` from then on.
    pub async fn next(&mut self) -> Result<Incoming, PgError> {
        loop {
            if let Some(incoming) = self.taken.next() {
                return Ok(incoming);
            }
            let Some(messages) = self.queue.recv().await else { return Err(PgError::Closed) };
            self.unpack(messages)?;
        }
    }

    /// A message that is already here, if any.
    ///
    /// # Errors
    /// As `next`.
    pub fn try_next(&mut self) -> Result<Option<Incoming>, PgError> {
        loop {
            if let Some(incoming) = self.taken.next() {
                return Ok(Some(incoming));
            }
            match self.queue.try_recv() {
                Ok(messages) => self.unpack(messages)?,
                Err(mpsc::error::TryRecvError::Empty) => return Ok(None),
                Err(mpsc::error::TryRecvError::Disconnected) => return Err(PgError::Closed),
            }
        }
    }

    fn unpack(&mut self, messages: Result<Queued, PgError>) -> Result<(), PgError> {
        match messages {
            Ok(Queued { incoming, room }) => {
                drop(room);
                self.taken = incoming.into_iter();
                Ok(())
            }
            Err(error) => {
                self.ended = true;
                Err(error)
            }
        }
    }

    /// Confirms a position: see `Confirm::confirm`.
    pub fn confirm(&self, lsn: Lsn) {
        self.confirm.confirm(lsn);
    }

    /// A handle for whoever makes changes durable.
    pub fn confirmer(&self) -> Confirm {
        self.confirm.clone()
    }

    /// Tells the server the confirmed position now, and asks it for a keepalive. The answer may come from before the
    /// server has read its newest log: who waits for a position asks again until it is reached.
    pub fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// Process id of the server's side.
    pub fn backend_pid(&self) -> i32 {
        self.backend.pid
    }

    /// Tells the server the confirmed position and ends the stream; what is still queued is thrown away. On success
    /// the slot is free. The connection goes with it: a server's session streams once only (measured on 10 to 18: a
    /// second stream on it ends at once).
    ///
    /// # Errors
    /// Why the stream had ended before, or `GaveUp` if the server is in the middle of a large transaction and did not
    /// end it within `patience`; the connection is cut then, and the server frees the slot when it notices.
    pub async fn stop(mut self, patience: Duration) -> Result<(), PgError> {
        // If it has ended by itself, the cause is in the queue.
        let _ = self.stop.send(());
        match timeout(patience, &mut self.reader).await {
            Ok(Ok(())) => {}
            Ok(Err(panic)) => return Err(PgError::Protocol(format!("the replication reader failed: {panic}"))),
            Err(_) => {
                self.reader.abort();
                let what = "ending the replication stream".to_owned();
                return Err(PgError::GaveUp { what, seconds: patience.as_secs() });
            }
        }
        while let Some(message) = self.queue.recv().await {
            message?;
        }
        if self.ended { Err(PgError::Closed) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_twice_and_options_follow_the_server() {
        let ident = |name: &str| Ident::new(name).unwrap();
        let options =
            PgoutputOptions { publications: vec![ident("a'b"), ident("c\"d")], messages: false, origin_none: false };
        assert_eq!(
            start_command(&ident("s1"), Lsn(0x1_0000_0010), &options),
            "START_REPLICATION SLOT \"s1\" LOGICAL 1/10 (proto_version '1', publication_names '\"a''b\",\"c\"\"d\"')"
        );
        let options = PgoutputOptions { messages: true, origin_none: true, ..options };
        let command = start_command(&ident("s1"), Lsn(0), &options);
        assert!(command.ends_with(", messages 'true', origin 'none')"), "{command}");
    }
}
