//! The rate limit of the copy: rows a second over all workers, changeable while running.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::ExecError;
use super::context::Run;
use std::sync::atomic::Ordering;

/// When the next chunk may begin.
#[derive(Debug)]
pub struct Throttle {
    next: Mutex<Instant>,
    rows_per_second: Option<u64>,
    bytes_per_second: Option<u64>,
}

impl Throttle {
    /// The plan's limits; the run's own row limit, set by `throttle`, goes before the plan's.
    pub fn new(rows_per_second: Option<u64>, bytes_per_second: Option<u64>) -> Self {
        Self { next: Mutex::new(Instant::now()), rows_per_second, bytes_per_second }
    }

    /// Waits for the turn of the next chunk; also while the copy is paused.
    pub async fn wait(&self, run: &Run) -> Result<(), ExecError> {
        loop {
            let now = Instant::now();
            let next = *self.next.lock().expect("no task panics while it holds the throttle");
            if next <= now && !run.paused.load(Ordering::Relaxed) {
                return Ok(());
            }
            run.sleep(next.saturating_duration_since(now).clamp(Duration::from_millis(10), Duration::from_millis(200)))
                .await?;
        }
    }

    /// Accounts for a chunk.
    pub fn used(&self, run: &Run, rows: u64, bytes: u64) {
        let time = |amount: u64, limit: Option<u64>| {
            limit.map_or(Duration::ZERO, |limit| Duration::from_secs_f64(amount as f64 / limit as f64))
        };
        let debt = time(rows, run.row_limit().or(self.rows_per_second)).max(time(bytes, self.bytes_per_second));
        let mut next = self.next.lock().expect("no task panics while it holds the throttle");
        *next = (*next).max(Instant::now() - Duration::from_secs(1)) + debt;
    }
}
