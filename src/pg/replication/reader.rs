//! The task that owns the socket of a stream.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::FutureExt;
use postgres_protocol::message::frontend;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::feedback::{Confirm, status_update};
use super::stream::{Incoming, Queued};
use super::wire::{Frame, Wire, server_error};
use crate::pg::error::PgError;
use crate::replay::Lsn;

/// Granularity of everything that happens by time; also the least distance of keepalives to the consumer.
const TICK: Duration = Duration::from_millis(100);

/// A newly confirmed position is told to the server no later than this.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// What a message weighs beyond its bytes, so that the queue of a million empty ones is bounded too.
const MESSAGE_OVERHEAD: usize = 128;

/// After something was read, what follows gathers in the socket for so long, unless it is much already: a server sends every
/// change by itself, and to be woken for each costs both ends more than to read it.
const GATHER: Duration = Duration::from_millis(1);

/// Messages are handed over in pieces of about this weight, or as many as have arrived.
const PIECE_BYTES: usize = 128 * 1024;

pub(super) struct Reader {
    pub(super) wire: Wire,
    /// Messages that are not in the queue yet, and what they weigh.
    pub(super) piece: Vec<Incoming>,
    pub(super) piece_bytes: usize,
    pub(super) queue: mpsc::UnboundedSender<Result<Queued, PgError>>,
    pub(super) room: Arc<Semaphore>,
    pub(super) queue_bytes: usize,
    pub(super) confirm: Confirm,
    pub(super) nudge: Arc<Notify>,
    pub(super) stopped: oneshot::Receiver<()>,
    pub(super) status_interval: Duration,
    pub(super) silence_max: Duration,
}

/// Why reading goes no further.
enum End {
    /// The consumer wants it so.
    Stop,
    /// The consumer is gone.
    Abandoned,
    Failed(PgError),
}

impl From<PgError> for End {
    fn from(error: PgError) -> Self {
        Self::Failed(error)
    }
}

/// When things happened last.
struct Clock {
    tick: Interval,
    told: Instant,
    told_position: Lsn,
    heard: Instant,
    asked: bool,
    keepalive: Instant,
    /// The newest keepalive that came too soon after the one before.
    held_back: Option<Lsn>,
}

impl Reader {
    /// Reads until the end, and queues the cause if it was not the consumer's wish.
    pub(super) async fn run(mut self) {
        let now = Instant::now();
        let mut tick = interval(TICK.min(self.status_interval));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut clock = Clock {
            tick,
            // Due at once: the server's own timeout may be almost over.
            told: now.checked_sub(self.status_interval).unwrap_or(now),
            told_position: self.confirm.confirmed(),
            heard: now,
            asked: false,
            keepalive: now.checked_sub(TICK).unwrap_or(now),
            held_back: None,
        };
        let end = match self.read(&mut clock).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        let ended = match end {
            End::Abandoned => return,
            End::Failed(error) => Err(error),
            End::Stop => self.finish().await,
        };
        if let Err(error) = ended {
            // Nobody listens any more if this fails.
            let _ = self.queue.send(Err(error));
        }
    }

    async fn read(&mut self, clock: &mut Clock) -> Result<std::convert::Infallible, End> {
        let mut gather = false;
        loop {
            let taken = self.take_buffered(clock).await;
            // What came before an error comes before it here too; when the consumer wants no more, that is all.
            if matches!(taken, Ok(()) | Err(End::Failed(_))) {
                self.deliver_piece(clock).await?;
            }
            taken?;
            if std::mem::take(&mut gather) {
                self.wire.rest().map_err(PgError::from)?;
                tokio::time::sleep(GATHER).await;
            }
            tokio::select! {
                read = self.wire.read_more() => {
                    if read? == 0 {
                        return Err(PgError::Closed.into());
                    }
                    clock.heard = Instant::now();
                    clock.asked = false;
                    // Over TLS a read gives one record, and a record may be one change.
                    while self.wire.buffered() < PIECE_BYTES && self.wire.read_more().now_or_never().transpose()?.is_some_and(|read| read > 0) {}
                    gather = self.wire.buffered() < PIECE_BYTES;
                }
                _ = clock.tick.tick() => {
                    self.pass_on_held_back(clock);
                    self.check_silence(clock).await?;
                    self.tell_if_due(clock).await?;
                }
                () = self.nudge.notified() => {
                    // Somebody waits for the answer: it is not too soon.
                    clock.keepalive = clock.keepalive.checked_sub(TICK).unwrap_or(clock.keepalive);
                    self.tell(clock, true).await?;
                }
                stop = &mut self.stopped => return Err(stop.map_or(End::Abandoned, |()| End::Stop)),
            }
        }
    }

    async fn take_buffered(&mut self, clock: &mut Clock) -> Result<(), End> {
        while let Some(frame) = self.wire.buffered_frame()? {
            self.take(frame, clock).await?;
            if self.piece_bytes >= PIECE_BYTES {
                self.deliver_piece(clock).await?;
            }
        }
        Ok(())
    }

    async fn take(&mut self, Frame { tag, body }: Frame, clock: &mut Clock) -> Result<(), End> {
        match tag {
            b'd' => self.copy_data(body, clock).await,
            b'E' => Err(server_error(&body).into()),
            b'N' | b'S' | b'A' => Ok(()),
            // The server shuts down, and has sent everything.
            b'c' | b'C' => Err(PgError::Closed.into()),
            tag => Err(PgError::Protocol(format!("message `{}` in a stream", tag.escape_ascii())).into()),
        }
    }

    async fn copy_data(&mut self, mut body: Bytes, clock: &mut Clock) -> Result<(), End> {
        let malformed = || PgError::Protocol("a malformed replication message".to_owned());
        match body.try_get_u8().map_err(|_| malformed())? {
            b'w' if body.len() >= 24 => {
                let (start, wal_end) = (Lsn(body.get_u64()), Lsn(body.get_u64()));
                body.advance(8);
                // The data that follows says more than the keepalive before it.
                clock.held_back = None;
                self.piece_bytes += body.len() + MESSAGE_OVERHEAD;
                self.piece.push(Incoming::XLogData { start, wal_end, data: body });
                Ok(())
            }
            b'k' if body.len() == 17 => {
                let wal_end = Lsn(body.get_u64());
                body.advance(8);
                let reply_requested = body.get_u8() != 0;
                if reply_requested {
                    self.tell(clock, false).await?;
                }
                self.deliver_piece(clock).await?;
                match Arc::clone(&self.room).try_acquire_many_owned(self.weight(MESSAGE_OVERHEAD)) {
                    Ok(room) if clock.keepalive.elapsed() >= TICK => {
                        clock.keepalive = Instant::now();
                        clock.held_back = None;
                        self.deliver(vec![Incoming::Keepalive { wal_end, reply_requested }], room)
                    }
                    _ => {
                        clock.held_back = Some(wal_end);
                        Ok(())
                    }
                }
            }
            _ => Err(malformed().into()),
        }
    }

    fn weight(&self, bytes: usize) -> u32 {
        // `queue_bytes` fits: `Replication::start` bounds it.
        bytes.min(self.queue_bytes) as u32
    }

    /// Waits for the consumer, and keeps the server content meanwhile.
    async fn wait_for_room(&mut self, bytes: usize, clock: &mut Clock) -> Result<OwnedSemaphorePermit, End> {
        let weight = self.weight(bytes);
        loop {
            tokio::select! {
                biased;
                room = Arc::clone(&self.room).acquire_many_owned(weight) => {
                    return room.map_err(|_| End::Abandoned);
                }
                _ = clock.tick.tick() => self.tell_if_due(clock).await?,
                () = self.nudge.notified() => self.tell(clock, false).await?,
                stop = &mut self.stopped => return Err(stop.map_or(End::Abandoned, |()| End::Stop)),
            }
            // Whatever the server says now stays in the socket: its silence means nothing.
            clock.heard = Instant::now();
        }
    }

    /// Queues what has been read, as soon as there is room.
    async fn deliver_piece(&mut self, clock: &mut Clock) -> Result<(), End> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let room = self.wait_for_room(self.piece_bytes, clock).await?;
        self.piece_bytes = 0;
        let piece = std::mem::take(&mut self.piece);
        self.deliver(piece, room)
    }

    fn deliver(&self, incoming: Vec<Incoming>, room: OwnedSemaphorePermit) -> Result<(), End> {
        self.queue.send(Ok(Queued { incoming, room })).map_err(|_| End::Abandoned)
    }

    fn pass_on_held_back(&self, clock: &mut Clock) {
        if clock.keepalive.elapsed() < TICK {
            return;
        }
        if let Some(wal_end) = clock.held_back
            && let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(self.weight(MESSAGE_OVERHEAD))
        {
            clock.held_back = None;
            clock.keepalive = Instant::now();
            // A consumer that is gone is noticed by `stopped`.
            let _ = self.deliver(vec![Incoming::Keepalive { wal_end, reply_requested: false }], room);
        }
    }

    async fn check_silence(&mut self, clock: &mut Clock) -> Result<(), PgError> {
        let silent = clock.heard.elapsed();
        if silent >= self.silence_max {
            let text = format!("the server has said nothing for {} s", silent.as_secs());
            return Err(PgError::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, text)));
        }
        if silent >= self.silence_max / 2 && !clock.asked {
            clock.asked = true;
            self.tell(clock, true).await?;
        }
        Ok(())
    }

    async fn tell_if_due(&mut self, clock: &mut Clock) -> Result<(), PgError> {
        let progress = self.confirm.confirmed() > clock.told_position;
        let due = if progress { self.status_interval.min(PROGRESS_INTERVAL) } else { self.status_interval };
        if clock.told.elapsed() >= due { self.tell(clock, false).await } else { Ok(()) }
    }

    async fn tell(&mut self, clock: &mut Clock, reply: bool) -> Result<(), PgError> {
        let position = self.confirm.confirmed();
        clock.told = Instant::now();
        clock.told_position = position;
        let update = status_update(position, reply);
        match tokio::time::timeout(self.silence_max, self.wire.send(&update)).await {
            Ok(sent) => Ok(sent?),
            Err(_) => Err(PgError::Io(std::io::ErrorKind::TimedOut.into())),
        }
    }

    /// Ends the stream politely: the server has freed the slot when it is ready for the next command.
    async fn finish(&mut self) -> Result<(), PgError> {
        let mut out = BytesMut::from(&status_update(self.confirm.confirmed(), false)[..]);
        frontend::copy_done(&mut out);
        self.wire.send(&out).await?;
        loop {
            let frame = self.wire.frame().await?;
            match frame.tag {
                b'Z' => return Ok(()),
                b'E' => return Err(server_error(&frame.body)),
                // Data that was under way, the server's own end of the stream, and its summary.
                _ => {}
            }
        }
    }
}
