//! How many rows are compared at once.

use std::time::Duration;

/// Rows of the first chunk …
const FIRST: u64 = 20_000;
/// … of the smallest …
const MIN: u64 = FIRST / 10;
/// … and of the largest.
const MAX: u64 = 200_000;
/// A chunk that takes less makes the next one larger, one that takes more makes it smaller.
const AIM: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(2));

/// Rows of the next chunk of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkRows(pub u64);

impl Default for ChunkRows {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl ChunkRows {
    /// After a chunk that took so long.
    pub fn took(&mut self, took: Duration) {
        if took < AIM.0 {
            self.0 = (self.0 * 2).min(MAX);
        } else if took > AIM.1 {
            self.halve();
        }
    }

    /// After one that was too large.
    pub fn halve(&mut self) {
        self.0 = (self.0 / 2).max(MIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_grow_and_shrink_within_bounds() {
        let mut rows = ChunkRows::default();
        rows.took(Duration::from_secs(1));
        assert_eq!(rows.0, FIRST);
        (0..9).for_each(|_| rows.took(Duration::ZERO));
        assert_eq!(rows.0, MAX);
        (0..9).for_each(|_| rows.took(Duration::from_secs(3)));
        assert_eq!(rows.0, MIN);
    }
}
