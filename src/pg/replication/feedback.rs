//! What we tell the server about our progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{BufMut, BytesMut};

use crate::replay::Lsn;

/// 2000-01-01 00:00 UTC in seconds of the Unix epoch.
const POSTGRES_EPOCH_SECONDS: u64 = 946_684_800;

/// The position below which nothing is needed from the server any more. Shared by the consumer and the reader.
#[derive(Debug, Clone)]
pub struct Confirm(Arc<AtomicU64>);

impl Confirm {
    pub(super) fn new(start: Lsn) -> Self {
        Self(Arc::new(AtomicU64::new(start.0)))
    }

    /// Everything before `lsn` is durable: the server may forget it, and hears of it within a second. `lsn` is the
    /// end of a commit, or a keepalive's position while no transaction is open. A lower position than before is ignored.
    pub fn confirm(&self, lsn: Lsn) {
        self.0.fetch_max(lsn.0, Ordering::AcqRel);
    }

    /// The highest position confirmed so far.
    pub fn confirmed(&self) -> Lsn {
        Lsn(self.0.load(Ordering::Acquire))
    }
}

/// A standby status update in a CopyData frame. Written, flushed and applied are one position: only the durable one is
/// worth telling.
pub(super) fn status_update(position: Lsn, reply: bool) -> BytesMut {
    let since_unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_micros() as i64);
    let mut out = BytesMut::with_capacity(39);
    out.put_u8(b'd');
    out.put_i32(4 + 34);
    out.put_u8(b'r');
    out.put_u64(position.0);
    out.put_u64(position.0);
    out.put_u64(position.0);
    out.put_i64(since_unix - POSTGRES_EPOCH_SECONDS as i64 * 1_000_000);
    out.put_u8(reply.into());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confirmed_position_never_goes_back() {
        let confirm = Confirm::new(Lsn(5));
        confirm.confirm(Lsn(9));
        confirm.confirm(Lsn(7));
        assert_eq!(confirm.confirmed(), Lsn(9));
    }

    #[test]
    fn a_status_update_is_one_frame() {
        let frame = status_update(Lsn(0x0102), true);
        assert_eq!(frame.len(), 39);
        assert_eq!(&frame[..6], b"d\0\0\0\x26r");
        assert_eq!(&frame[6..14], &frame[22..30]);
        assert_eq!(frame[38], 1);
    }
}
