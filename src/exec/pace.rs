//! How fast the copy goes beside an application: in slices so small that a transaction that meets one hardly waits for it.
//! Pauses alone do not do it, because what a server has begun it does as fast as it can.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What a row and a byte of it cost a server of 2022 at least: so the share of the full speed means the same for narrow rows and
/// for wide ones.
const ROW_NANOS: f64 = 1_500.0;
const BYTE_NANOS: f64 = 6.7;
/// After this time a chunk makes no more pauses: its snapshot is held, and the stream waits.
const CHUNK_PAUSES: Duration = Duration::from_secs(2);
/// A pause is not longer, whatever it was that took so long …
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// … and is looked at again this often.
const PAUSE_STEP: Duration = Duration::from_millis(100);
/// Timers are no finer; what is left of a pause is part of the next one.
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// Who was slower than the pace makes up for so much of it, and not for more.
const LATE_MAX: Duration = Duration::from_millis(10);

/// The share of its speed that the copy may have, for all who copy.
#[derive(Debug)]
pub struct Pace {
    /// In ten-thousandths, for each of those at work.
    duty: AtomicU32,
    /// How many may be at work at once.
    width: AtomicUsize,
    resting: AtomicBool,
}

/// How far one who copies has come.
#[derive(Debug, Clone, Copy)]
pub struct Stint {
    /// When the next slice may begin.
    due: Instant,
    /// When the chunk began.
    begun: Instant,
    /// It may be interrupted for as long as the copy rests: nobody waits for its end.
    may_rest: bool,
}

impl Stint {
    /// Of a chunk: the stream waits for its end, and its snapshot is held.
    pub fn of_chunk() -> Self {
        let now = Instant::now();
        Self { due: now, begun: now, may_rest: false }
    }

    /// Of a table that is copied whole.
    pub fn of_whole() -> Self {
        Self { may_rest: true, ..Self::of_chunk() }
    }

    /// A chunk begins; what was before was no work.
    pub fn begin_again(&mut self) {
        self.begun = Instant::now();
        self.due = self.begun;
    }

    /// The chunk has ended: nobody waits for it any more.
    pub fn end_chunk(&mut self) {
        self.begun = Instant::now();
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self { duty: AtomicU32::new(10_000), width: AtomicUsize::new(usize::MAX), resting: AtomicBool::new(false) }
    }
}

impl Pace {
    /// Sets the share of all workers' speed; 0 is a rest. Few at work for longer hold up the stream less than many who pause.
    pub fn set(&self, share: f64, workers: usize) {
        self.resting.store(share <= 0.0, Ordering::Relaxed);
        if share <= 0.0 {
            return;
        }
        let all = share.min(1.0) * workers as f64;
        let width = (all.ceil() as usize).clamp(1, workers.max(1));
        self.width.store(if share >= 1.0 { usize::MAX } else { width }, Ordering::Relaxed);
        self.duty.store((all / width as f64 * 10_000.0).round().clamp(1.0, 10_000.0) as u32, Ordering::Relaxed);
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

    fn duty(&self) -> f64 {
        f64::from(self.duty.load(Ordering::Relaxed)) / 10_000.0
    }

    /// The pause that belongs to so much work.
    pub fn pause(&self, worked: Duration) -> Duration {
        let duty = self.duty();
        worked.mul_f64((1.0 - duty) / duty)
    }

    /// Called when a slice has been passed on, or with nothing at the end of a chunk: waits until the next may begin.
    pub async fn passed(&self, stint: &mut Stint, rows: u64, bytes: u64) {
        while stint.may_rest && self.is_resting() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let began = Instant::now();
        if !self.is_slow() {
            stint.due = began;
            return;
        }
        let work = Duration::from_nanos((rows as f64 * ROW_NANOS + bytes as f64 * BYTE_NANOS) as u64);
        let earliest = began.checked_sub(LATE_MAX).unwrap_or(began);
        stint.due = stint.due.max(earliest) + work.div_f64(self.duty());
        // One that was as large as suits the full speed has an end too; its pauses are made up for after it.
        let longest =
            if stint.may_rest { PAUSE_MAX } else { CHUNK_PAUSES.saturating_sub(stint.begun.elapsed()).min(PAUSE_MAX) };
        let until = stint.due.min(began + longest);
        // What there is to give way to may end meanwhile.
        while self.is_slow() {
            let left = until.saturating_duration_since(Instant::now());
            if left < PAUSE_MIN {
                break;
            }
            tokio::time::sleep(left.min(PAUSE_STEP)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;
    /// A slice of a hundredth of a second of work.
    const ROWS: u64 = 4_000;
    const BYTES: u64 = 597_000;

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
    async fn slices_are_as_far_apart_as_the_share_says() {
        let pace = Pace::default();
        pace.set(0.5, 1);
        let mut stint = Stint::of_chunk();
        let began = stint.due;
        for _ in 0..3 {
            pace.passed(&mut stint, ROWS, BYTES).await;
        }
        assert!(stint.due >= began + MS(58) && began.elapsed() >= MS(57), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn at_full_speed_there_are_no_pauses() {
        let pace = Pace::default();
        let mut stint = Stint::of_chunk();
        pace.passed(&mut stint, u64::MAX, u64::MAX).await;
        assert!(stint.due <= Instant::now());
    }

    #[tokio::test]
    async fn what_a_slow_server_took_is_not_made_up_for() {
        let pace = Pace::default();
        pace.set(0.5, 1);
        let mut stint = Stint::of_chunk();
        stint.due -= MS(5_000);
        pace.passed(&mut stint, ROWS, BYTES).await;
        assert!(stint.due + LATE_MAX >= Instant::now());
    }

    #[tokio::test]
    async fn a_chunk_that_takes_long_makes_up_for_its_pauses_at_its_end() {
        let pace = Pace::default();
        pace.set(0.5, 1);
        let mut stint = Stint::of_chunk();
        stint.begun -= CHUNK_PAUSES;
        let began = stint.due;
        for _ in 0..5 {
            pace.passed(&mut stint, ROWS, BYTES).await;
        }
        assert!(stint.due >= began + MS(90), "the pauses are still to come");
        stint.end_chunk();
        pace.passed(&mut stint, 0, 0).await;
        assert!(Instant::now() + PAUSE_MIN >= began + MS(90));
    }

    #[tokio::test]
    async fn a_pause_ends_when_there_is_nobody_to_give_way_to() {
        let pace = std::sync::Arc::new(Pace::default());
        pace.set(0.02, 1);
        let mut stint = Stint::of_whole();
        let gone = std::sync::Arc::clone(&pace);
        tokio::spawn(async move {
            tokio::time::sleep(MS(50)).await;
            gone.set(1.0, 1);
        });
        // An hour otherwise, but for the longest pause.
        pace.passed(&mut stint, 0, 10_000_000_000).await;
        assert!(!pace.is_slow());
    }
}
