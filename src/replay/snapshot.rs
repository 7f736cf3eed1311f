//! Which transactions a snapshot sees.

use std::fmt;
use std::str::FromStr;

use super::FullXid;

/// `pg_current_snapshot()`: `xmin:xmax:xip,…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Every id below is visible (or aborted).
    pub xmin: FullXid,
    /// No id from here on is visible.
    pub xmax: FullXid,
    /// Ids between them that were in progress, sorted.
    pub in_progress: Vec<FullXid>,
}

/// The text is not a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a snapshot such as 10:20:10,14")]
pub struct SnapshotError(String);

impl Snapshot {
    /// True when the effects of this committed transaction are in the snapshot.
    pub fn sees(&self, xid: FullXid) -> bool {
        xid < self.xmin || (xid < self.xmax && self.in_progress.binary_search(&xid).is_err())
    }

    /// True when everything that `earlier` sees is seen here too.
    ///
    /// A slot's snapshot is built from commit records, so it can see a transaction that an ordinary snapshot
    /// taken later does not see yet (it has committed but has not left the list of running transactions).
    pub fn covers(&self, earlier: &Self) -> bool {
        self.xmax >= earlier.xmax
            && self.in_progress.iter().all(|xid| *xid >= earlier.xmax || earlier.in_progress.binary_search(xid).is_ok())
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.xmin, self.xmax)?;
        for (n, xid) in self.in_progress.iter().enumerate() {
            if n > 0 {
                f.write_str(",")?;
            }
            xid.fmt(f)?;
        }
        Ok(())
    }
}

impl FromStr for Snapshot {
    type Err = SnapshotError;

    fn from_str(text: &str) -> Result<Self, SnapshotError> {
        let bad = || SnapshotError(text.to_owned());
        let xid = |text: &str| text.parse().map(FullXid).map_err(|_| bad());
        let mut parts = text.split(':');
        let (Some(xmin), Some(xmax), Some(xip), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(bad());
        };
        let mut in_progress = xip.split(',').filter(|part| !part.is_empty()).map(xid).collect::<Result<Vec<_>, _>>()?;
        in_progress.sort_unstable();
        Ok(Self { xmin: xid(xmin)?, xmax: xid(xmax)?, in_progress })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(text: &str) -> Snapshot {
        text.parse().unwrap()
    }

    #[test]
    fn running_transactions_are_not_seen() {
        let s = snapshot("10:20:10,14");
        assert_eq!(s.to_string(), "10:20:10,14");
        let seen = (8..22).filter(|xid| s.sees(FullXid(*xid))).collect::<Vec<_>>();
        assert_eq!(seen, [8, 9, 11, 12, 13, 15, 16, 17, 18, 19]);
        assert!(snapshot("10:10:").sees(FullXid(9)));
        assert!("10:20".parse::<Snapshot>().is_err());
    }

    #[test]
    fn a_later_snapshot_may_not_cover_a_slots_snapshot() {
        let slot = snapshot("10:20:10");
        assert!(snapshot("10:25:10,22").covers(&slot));
        assert!(snapshot("20:20:").covers(&slot));
        assert!(!snapshot("10:25:10,14").covers(&slot), "14 committed in the log but is not visible yet");
        assert!(!snapshot("10:19:10").covers(&slot));
    }
}
