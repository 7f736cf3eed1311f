//! Pauses of the copy: between chunks, and beside an application between pieces of a chunk, so short that no transaction
//! meets much of it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A piece of a chunk aims at this duration: an application that wakes up meanwhile waits for a part of it.
const PIECE_AIM: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(5));
/// After this time a chunk makes no more pauses: its snapshot is held, and the stream waits.
const CHUNK_PAUSES: Duration = Duration::from_secs(2);
/// A pause is not longer, whatever it was that took so long …
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// … and is looked at again this often.
const PAUSE_STEP: Duration = Duration::from_millis(100);
/// Rows of a piece, at least and at most.
const PIECE_ROWS: (u64, u64) = (64, 1 << 16);

/// The share of its time that the copy may work, for all who copy.
#[derive(Debug)]
pub struct Pace {
    /// In thousandths, for each of those at work.
    duty: AtomicU32,
    /// How many may be at work at once.
    width: AtomicUsize,
    resting: AtomicBool,
}

/// Work that no pause has followed yet, and how much of it makes a piece.
#[derive(Debug, Clone, Copy)]
pub struct Stint {
    since: Instant,
    /// When the chunk began.
    begun: Instant,
    /// It may be interrupted for as long as the copy rests: nobody waits for its end.
    may_rest: bool,
    rows: u64,
    /// Of the work so far, what was spent on the way to the servers and back.
    on_the_way: Duration,
}

impl Stint {
    /// Of a chunk: the stream waits for its end, and its snapshot is held.
    pub fn of_chunk() -> Self {
        let now = Instant::now();
        Self { since: now, begun: now, may_rest: false, rows: PIECE_ROWS.0, on_the_way: Duration::ZERO }
    }

    /// Of a table that is copied whole.
    pub fn of_whole() -> Self {
        Self { may_rest: true, ..Self::of_chunk() }
    }

    /// A chunk begins; what was before was no work.
    pub fn begin_again(&mut self) {
        self.since = Instant::now();
        self.begun = self.since;
    }

    /// The chunk has ended: nobody waits for it any more.
    pub fn end_chunk(&mut self) {
        self.begun = Instant::now();
    }

    /// Rows that make a piece.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// A question of a few round trips took so long: so long the servers had nothing to do, and once more for the round trips of
    /// the piece itself.
    pub fn asked(&mut self, took: Duration) {
        self.on_the_way += took * 2;
    }

    /// A piece took so long: the next one is shorter or longer.
    fn took(&mut self, worked: Duration) {
        if worked > PIECE_AIM.1 {
            self.rows = (self.rows / 2).max(PIECE_ROWS.0);
        } else if worked < PIECE_AIM.0 {
            self.rows = (self.rows * 2).min(PIECE_ROWS.1);
        }
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self { duty: AtomicU32::new(1_000), width: AtomicUsize::new(usize::MAX), resting: AtomicBool::new(false) }
    }
}

impl Pace {
    /// Sets the share of all workers' time; 0 is a rest. Few at work for longer hold up the stream less than many who pause.
    pub fn set(&self, share: f64, workers: usize) {
        self.resting.store(share <= 0.0, Ordering::Relaxed);
        if share <= 0.0 {
            return;
        }
        let all = share.min(1.0) * workers as f64;
        let width = (all.ceil() as usize).clamp(1, workers.max(1));
        self.width.store(if share >= 1.0 { usize::MAX } else { width }, Ordering::Relaxed);
        self.duty.store((all / width as f64 * 1_000.0).round().clamp(1.0, 1_000.0) as u32, Ordering::Relaxed);
    }

    /// How many may be at work at once.
    pub fn width(&self) -> usize {
        self.width.load(Ordering::Relaxed)
    }

    /// True while nothing new may begin.
    pub fn is_resting(&self) -> bool {
        self.resting.load(Ordering::Relaxed)
    }

    /// True while the copy gives way to somebody.
    pub fn is_slow(&self) -> bool {
        self.width() != usize::MAX
    }

    /// The pause that belongs to so much work.
    pub fn pause(&self, worked: Duration) -> Duration {
        let duty = f64::from(self.duty.load(Ordering::Relaxed)) / 1_000.0;
        worked.mul_f64((1.0 - duty) / duty)
    }

    /// Called between two pieces of work: waits as long as the work since then asks for.
    pub async fn after(&self, stint: &mut Stint) {
        let worked = stint.since.elapsed().saturating_sub(stint.on_the_way);
        while stint.may_rest && self.is_resting() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // One that was as large as suits the full speed has an end too; its pauses are made up for after it.
        if !stint.may_rest && stint.begun.elapsed() >= CHUNK_PAUSES {
            return;
        }
        let longest = match stint.may_rest {
            true => PAUSE_MAX,
            // The chunk has ended, or its snapshot is held.
            false => CHUNK_PAUSES.saturating_sub(stint.begun.elapsed()),
        };
        // What there is to give way to may end meanwhile.
        let began = Instant::now();
        loop {
            let left = self.pause(worked).min(longest).saturating_sub(began.elapsed());
            if left.is_zero() {
                break;
            }
            tokio::time::sleep(left.min(PAUSE_STEP)).await;
        }
        stint.took(worked);
        stint.on_the_way = Duration::ZERO;
        stint.since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn the_pause_belongs_to_the_work() {
        let pace = Pace::default();
        assert_eq!((pace.pause(MS(10)), pace.is_slow()), (Duration::ZERO, false));
        pace.set(0.25, 1);
        assert_eq!((pace.pause(MS(10)), pace.width(), pace.is_slow()), (MS(30), 1, true));
        pace.set(0.25, 4);
        assert_eq!((pace.pause(MS(10)), pace.width()), (Duration::ZERO, 1));
        pace.set(0.3, 4);
        assert_eq!((pace.pause(MS(9)).as_millis(), pace.width()), (6, 2));
        pace.set(0.0, 4);
        assert!(pace.is_resting());
        assert_eq!(pace.width(), 2, "what is under way goes on as before");
        pace.set(1.0, 4);
        assert!(!pace.is_resting() && !pace.is_slow());
    }

    #[tokio::test]
    async fn a_chunk_that_takes_long_makes_up_for_its_pauses_at_its_end() {
        let pace = Pace::default();
        pace.set(0.5, 1);
        let mut stint = Stint::of_chunk();
        stint.begun -= CHUNK_PAUSES;
        stint.since -= MS(20);
        let since = stint.since;
        pace.after(&mut stint).await;
        assert_eq!(stint.since, since, "the pause is still to come");
        stint.end_chunk();
        pace.after(&mut stint).await;
        assert!(stint.since >= since + MS(40), "as long as the work");
    }

    #[tokio::test]
    async fn a_pause_ends_when_there_is_nobody_to_give_way_to() {
        let pace = std::sync::Arc::new(Pace::default());
        pace.set(0.02, 1);
        let mut stint = Stint::of_whole();
        stint.since -= Duration::from_secs(3_600);
        let gone = std::sync::Arc::clone(&pace);
        tokio::spawn(async move {
            tokio::time::sleep(MS(50)).await;
            gone.set(1.0, 1);
        });
        // Two days otherwise.
        pace.after(&mut stint).await;
        assert!(!pace.is_slow());
    }
}
