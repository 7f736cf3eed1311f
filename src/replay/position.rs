//! Positions in the source's write-ahead log, and transaction ids.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A byte position in the write-ahead log; text form `16/B374D848`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
pub struct Lsn(pub u64);

/// The text is not `X/Y` in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a log position such as 16/B374D848")]
pub struct LsnError(String);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl FromStr for Lsn {
    type Err = LsnError;

    fn from_str(text: &str) -> Result<Self, LsnError> {
        let bad = || LsnError(text.to_owned());
        let (high, low) = text.split_once('/').ok_or_else(bad)?;
        let high = u32::from_str_radix(high, 16).map_err(|_| bad())?;
        let low = u32::from_str_radix(low, 16).map_err(|_| bad())?;
        Ok(Self(u64::from(high) << 32 | u64::from(low)))
    }
}

/// A transaction id with its epoch: what `pg_current_snapshot()` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct FullXid(pub u64);

impl FullXid {
    /// Gives the 32-bit id of the replication protocol the epoch that puts it within 2^31 of `near`.
    /// Transactions that can still be streamed are never further away, or the server would have stopped
    /// handing out ids.
    pub fn widen(xid: u32, near: Self) -> Self {
        let distance = xid.wrapping_sub(near.0 as u32) as i32;
        Self(near.0.wrapping_add_signed(i64::from(distance)))
    }
}

impl fmt::Display for FullXid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_read_what_they_write() {
        for text in ["0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF"] {
            assert_eq!(text.parse::<Lsn>().unwrap().to_string(), text);
        }
        assert!("16".parse::<Lsn>().is_err());
        assert!("100000000/0".parse::<Lsn>().is_err());
    }

    #[test]
    fn a_short_id_takes_the_epoch_of_its_neighbour() {
        let near = FullXid(3 << 32 | 10);
        assert_eq!(FullXid::widen(12, near), FullXid(3 << 32 | 12));
        assert_eq!(FullXid::widen(u32::MAX, near), FullXid(3 << 32 | 10).minus(11));
        let late = FullXid((3 << 32) - 2);
        assert_eq!(FullXid::widen(5, late), FullXid(3 << 32 | 5));
    }

    impl FullXid {
        fn minus(self, n: u64) -> Self {
            Self(self.0 - n)
        }
    }
}
