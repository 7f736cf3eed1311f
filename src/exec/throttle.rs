//! How fast rows are copied and compared: the operator's limits, and what the servers can bear. Changeable while running.

use std::sync::{Mutex, MutexGuard};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::ExecError;
use super::context::Run;
use super::event::EventKind;
use super::pace::Pace;
use super::pressure::{Pressure, Sample};
use super::share::Slowed;
use crate::ledger::{LedgerError, migration};
use crate::pg::client::Client;
use crate::plan::{End, Settings, Signal};

/// Workers, when nobody says how many: one a core, and no more than this.
const WORKERS_DEFAULT_MAX: usize = 4;
/// The ledger's setting that tells `status` what holds the run back.
const HELD_BACK: &str = "held_back";
/// And why it is slower than it could be.
const PACE: &str = "pace";

/// When the next chunk may begin.
#[derive(Debug)]
pub struct Throttle {
    state: Mutex<State>,
    /// The share of its time that the copy may work.
    pub pace: Pace,
    workers: watch::Sender<usize>,
}

#[derive(Debug)]
struct State {
    /// No chunk is copied before, for the rates' sake.
    next: Instant,
    /// None is copied or compared before, because a signal is near its limit.
    braked_until: Instant,
    /// None is compared before, for that rate's sake.
    next_comparison: Instant,
    compared_per_second: Option<u64>,
    rows_per_second: Option<u64>,
    bytes_per_second: Option<u64>,
    paused: bool,
    /// Chunks being copied.
    under_way: usize,
    /// What the run is at.
    work: Option<&'static str>,
    held_since: Option<Instant>,
    /// Why the pace is not the full one.
    slowed: Option<Slowed>,
    pressure: Pressure,
}

/// What holds the run back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBack {
    /// `copy` or `comparison`.
    pub work: String,
    /// Why, in words.
    pub reasons: Vec<String>,
    /// Since how many seconds.
    pub seconds: u64,
}

impl std::fmt::Display for HeldBack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} held back: {} (since {} s)", self.work, self.reasons.join("; "), self.seconds)
    }
}

/// The right to copy one chunk.
#[derive(Debug)]
pub struct Turn<'a>(&'a Throttle);

/// Says what the run is at until it is dropped.
#[derive(Debug)]
pub struct Work<'a>(&'a Throttle);

impl Throttle {
    /// The plan's limits.
    pub fn new(settings: &Settings) -> Self {
        let workers = match settings.workers {
            Some(workers) => workers.max(1) as usize,
            None => available_parallelism().map_or(1, usize::from).min(WORKERS_DEFAULT_MAX),
        };
        let state = State {
            next: Instant::now(),
            braked_until: Instant::now(),
            next_comparison: Instant::now(),
            compared_per_second: settings.comparison.max_rows_per_second,
            rows_per_second: settings.max_rows_per_second,
            bytes_per_second: settings.max_bytes_per_second,
            paused: false,
            under_way: 0,
            work: None,
            held_since: None,
            slowed: None,
            pressure: Pressure::new(settings.throttle),
        };
        Self { state: Mutex::new(state), pace: Pace::default(), workers: watch::Sender::new(workers) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no task panics while it holds the throttle")
    }

    /// Workers of copy and comparison.
    pub fn workers(&self) -> usize {
        *self.workers.borrow()
    }

    /// Tells of changes of the number of workers.
    pub fn watch_workers(&self) -> watch::Receiver<usize> {
        self.workers.subscribe()
    }

    /// Changes the number of workers.
    pub fn set_workers(&self, workers: usize) {
        self.workers.send_replace(workers.max(1));
    }

    /// Changes the limit of rows; `None` is no limit.
    pub fn set_rows_per_second(&self, limit: Option<u64>) {
        let mut state = self.state();
        (state.rows_per_second, state.next) = (limit, Instant::now());
    }

    /// Changes the limit of rows that are compared; `None` is no limit.
    pub fn set_compared_per_second(&self, limit: Option<u64>) {
        let mut state = self.state();
        (state.compared_per_second, state.next_comparison) = (limit, Instant::now());
    }

    /// Rows that may be compared a second.
    pub fn compared_per_second(&self) -> Option<u64> {
        self.state().compared_per_second
    }

    /// Changes the limit of bytes; `None` is no limit.
    pub fn set_bytes_per_second(&self, limit: Option<u64>) {
        let mut state = self.state();
        (state.bytes_per_second, state.next) = (limit, Instant::now());
    }

    /// Changes the limit of a signal; 0 switches it off.
    pub fn set_signal(&self, signal: Signal, limit: u64) {
        self.state().pressure.set_limit(signal, limit);
    }

    /// The operator pauses the copy, or lets it go on.
    pub fn set_paused(&self, paused: bool) {
        self.state().paused = paused;
    }

    /// Takes in a look at a server, or why there was none.
    pub fn looked(&self, end: End, found: Result<Sample, String>) {
        let mut state = self.state();
        match found {
            Ok(sample) => state.pressure.read(end, &sample, Instant::now()),
            Err(why) => state.pressure.failed(end, why),
        }
    }

    /// True when nothing of the server is watched.
    pub fn ignores(&self, end: End) -> bool {
        self.state().pressure.ignores(end)
    }

    /// True when the signal has a limit.
    pub fn watches(&self, signal: Signal) -> bool {
        self.limit(signal).is_some()
    }

    /// The signal's limit.
    pub fn limit(&self, signal: Signal) -> Option<u64> {
        self.state().pressure.limits().limit(signal)
    }

    /// True while something is throttled.
    pub fn is_at_work(&self) -> bool {
        self.state().work.is_some()
    }

    /// Changes the share of its time that the copy may work.
    pub fn set_pace(&self, share: f64, slowed: Option<Slowed>) {
        self.pace.set(share, self.workers());
        self.state().slowed = slowed;
    }

    /// How much to slow down, from 0 to 1.
    pub fn brake(&self) -> f64 {
        self.state().pressure.brake()
    }

    /// Says what is throttled from here on.
    #[must_use]
    pub fn at(&self, work: &'static str) -> Work<'_> {
        self.state().work = Some(work);
        Work(self)
    }

    /// Waits for the right to copy a chunk: not paused, within the limits, and nothing holds it back.
    pub async fn turn(&self, run: &Run) -> Result<Turn<'_>, ExecError> {
        loop {
            self.pass(run).await?;
            let now = Instant::now();
            let next = {
                let mut state = self.state();
                if state.next <= now && !state.paused && state.under_way < self.workers().min(self.pace.width()) {
                    state.under_way += 1;
                    return Ok(Turn(self));
                }
                state.next
            };
            pause_until(run, now, next).await?;
        }
    }

    /// Waits for the right to compare: within its own limit, and nothing holds it back. The copy's pause and rates are not
    /// meant for it.
    pub async fn compare(&self, run: &Run) -> Result<(), ExecError> {
        loop {
            self.pass(run).await?;
            if self.compare_in_time(run).await? {
                return Ok(());
            }
        }
    }

    /// As [`Throttle::compare`] where nobody looks at the servers; false when there was something to wait for.
    pub async fn compare_in_time(&self, run: &Run) -> Result<bool, ExecError> {
        run.stop_check()?;
        let (now, next) = (Instant::now(), self.state().next_comparison);
        if next <= now {
            return Ok(true);
        }
        pause_until(run, now, next).await?;
        Ok(false)
    }

    /// Waits until nothing holds copy and comparison back.
    pub async fn pass(&self, run: &Run) -> Result<(), ExecError> {
        loop {
            run.stop_check()?;
            let now = Instant::now();
            let until = {
                let mut state = self.state();
                if state.reasons(now).is_empty() && state.braked_until <= now && !self.pace.is_resting() {
                    return Ok(());
                }
                state.braked_until
            };
            pause_until(run, now, until).await?;
        }
    }

    /// Accounts for a comparison: its rate, near a limit the next one begins later, and where it must give way.
    pub fn compared(&self, rows: u64, took: Duration) {
        let mut state = self.state();
        let debt = time(rows, state.compared_per_second);
        state.next_comparison = state.next_comparison.max(Instant::now() - took) + debt;
        state.slow_down(took);
        state.braked_until = state.braked_until.max(Instant::now() + self.pace.pause(took));
    }

    /// What the copy or comparison gives way to.
    pub fn slowed(&self) -> Option<Slowed> {
        self.state().slowed
    }

    /// What holds the run back now.
    pub fn held_back(&self) -> Option<HeldBack> {
        let mut state = self.state();
        let now = Instant::now();
        let reasons = state.reasons(now);
        let (work, since) = (state.work?, state.held_since?);
        Some(HeldBack { work: work.to_owned(), reasons, seconds: now.saturating_duration_since(since).as_secs() })
    }

    /// Waits until the run has been held back for so long without a pause.
    pub async fn held_back_for(&self, seconds: u64) -> HeldBack {
        loop {
            if let Some(held) = self.held_back().filter(|held| held.seconds >= seconds) {
                return held;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Tells the operator, here and in the ledger, when something begins or ceases to hold the run back, and meanwhile
    /// whenever it `is_due`; `told` is what was told last.
    pub async fn tell(
        &self,
        run: &Run,
        ledger: &Client,
        (told, told_pace): (&mut Option<HeldBack>, &mut Option<String>),
        is_due: bool,
    ) -> Result<(), LedgerError> {
        let pace = self.slowed().map(|slowed| slowed.to_string());
        if pace != *told_pace && (is_due || pace.is_none()) {
            migration::set_setting(ledger, &run.id, PACE, pace.as_deref()).await?;
            *told_pace = pace;
        }
        let held = self.held_back();
        if held.is_some() == told.is_some() && !(is_due && held.is_some()) {
            return Ok(());
        }
        let ended = told.take();
        let over = held.is_none();
        if let Some(HeldBack { work, reasons, seconds }) = held.clone().or(ended) {
            run.emit(None, EventKind::HeldBack { work, reasons, seconds, over });
        }
        record(ledger, &run.id, held.as_ref()).await?;
        *told = held;
        Ok(())
    }
}

impl State {
    /// Near a limit there is a pause after each chunk, at the limit as long as the chunk.
    fn slow_down(&mut self, took: Duration) {
        self.braked_until = self.braked_until.max(Instant::now() + took.mul_f64(self.pressure.brake()));
    }

    fn reasons(&mut self, now: Instant) -> Vec<String> {
        let reasons = self.pressure.reasons(now);
        self.held_since = match self.held_since {
            _ if reasons.is_empty() => None,
            since => since.or(Some(now)),
        };
        reasons
    }
}

impl Turn<'_> {
    /// Accounts for the chunk: rates, and near a limit a pause.
    pub fn used(self, rows: u64, bytes: u64, took: Duration) {
        let mut state = self.0.state();
        let debt = time(rows, state.rows_per_second).max(time(bytes, state.bytes_per_second));
        state.next = state.next.max(Instant::now() - Duration::from_secs(1)) + debt;
        state.slow_down(took);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.state().under_way -= 1;
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        self.0.state().work = None;
    }
}

/// How long so much takes within a limit a second.
fn time(amount: u64, limit: Option<u64>) -> Duration {
    limit.map_or(Duration::ZERO, |limit| Duration::from_secs_f64(amount as f64 / limit as f64))
}

/// Sleeps towards a moment, and looks up now and then: what is waited for may change.
async fn pause_until(run: &Run, now: Instant, until: Instant) -> Result<(), ExecError> {
    let pause = until.saturating_duration_since(now);
    run.sleep(pause.clamp(Duration::from_millis(10), Duration::from_millis(200))).await
}

async fn record(ledger: &Client, id: &str, held: Option<&HeldBack>) -> Result<(), LedgerError> {
    let text = held.map(|held| serde_json::to_string(held).expect("words and a number"));
    migration::set_setting(ledger, id, HELD_BACK, text.as_deref()).await
}

/// Forgets what held an earlier run back.
pub async fn forget(ledger: &Client, id: &str) -> Result<(), LedgerError> {
    migration::set_setting(ledger, id, PACE, None).await?;
    record(ledger, id, None).await
}

/// What the executor said last of its pace.
pub async fn recorded_pace(ledger: &Client, id: &str) -> Result<Option<String>, LedgerError> {
    migration::setting(ledger, id, PACE).await
}

/// What the executor said last of being held back.
pub async fn recorded(ledger: &Client, id: &str) -> Result<Option<HeldBack>, LedgerError> {
    let text = migration::setting(ledger, id, HELD_BACK).await?;
    let read = text.map(|text| serde_json::from_str(&text)).transpose();
    read.map_err(|error| LedgerError::Damaged { what: "setting held_back", why: error.to_string() })
}
