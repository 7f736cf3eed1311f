//! How much of its time the copy works. The commits of an application are compared with those while the copy rests: as
//! long as they take longer than that by more than the limit, the copy does less.
//!
//! Slow start, additive increase, multiplicative decrease, as for congestion in networks (Jacobson, 1988; Chiu and Jain,
//! 1989).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::replay::Lsn;

/// Log that others write a second on a source that is in use …
const BUSY_BYTES: f64 = 192.0 * 1024.0;
/// … over this time …
const BUSY_OVER: Duration = Duration::from_millis(500);
/// … at first over this …
const BUSY_OVER_FIRST: Duration = Duration::from_millis(250);
/// … and for so long after it was seen last.
const BUSY_FOR: Duration = Duration::from_secs(5);
/// The copy rests for this time to see how long commits take without it …
const REST: Duration = Duration::from_millis(1_800);
/// … of which the beginning still has what was under way, and the stream that comes after it …
const REST_SETTLES: Duration = Duration::from_millis(600);
/// … and does so again after this time.
const REST_EVERY: Duration = Duration::from_secs(30);
/// Commits that are looked at together while the copy works …
const WINDOW: Duration = Duration::from_millis(3_000);
/// … and while it becomes faster with each look.
const WINDOW_RAMPING: Duration = Duration::from_millis(1_000);
/// The share is looked at this often.
const JUDGE_EVERY: Duration = Duration::from_millis(500);
/// Fewer commits tell nothing …
const COMMITS_MIN: usize = 30;
/// … unless they take so long that there are no more …
const COMMITS_SLOW_MIN: usize = 8;
/// … over this time.
const COMMITS_SLOW_OVER: Duration = Duration::from_millis(800);
/// The slow ones among them are what an application feels.
const QUANTILE: f64 = 0.95;
/// Less than this is no difference.
const SLACK: Duration = Duration::from_micros(200);
/// The share until it is known whether anybody writes.
pub const SHARE_UNKNOWN: f64 = 0.25;
/// The first share beside an application and how it grows until something is felt; then how it changes, and the smallest.
const SHARE_FIRST: f64 = 0.05;
const SHARE_RAMP: f64 = 1.5;
const SHARE_UP: f64 = 0.02;
const SHARE_DOWN: f64 = 0.7;
const SHARE_MIN: f64 = 0.02;
/// Between two looks at a source that is in use, and at one that is not.
const LOOK: Duration = Duration::from_millis(25);
const LOOK_QUIET: Duration = Duration::from_millis(250);

/// Finds the share.
#[derive(Debug)]
pub struct Controller {
    stage: Stage,
    share: f64,
    /// Nothing was felt yet.
    is_ramping: bool,
    /// Commits while the copy rests.
    alone: Option<Duration>,
    /// Commits while it works, as looked at last.
    beside: Option<Duration>,
    commits: VecDeque<(Instant, Duration)>,
    /// Commits took longer than they may, when they were looked at last.
    is_over: bool,
    written: Option<(Instant, Lsn)>,
    /// It is known how much is written.
    is_known: bool,
    busy_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    /// Whether anybody writes is not known yet.
    Unknown,
    /// Nobody writes: nobody is disturbed.
    Quiet,
    Resting(Instant),
    Working {
        since: Instant,
        judged: Instant,
    },
}

/// What the copy is slowed down by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slowed {
    /// Share of its speed that the copy has.
    pub share: f64,
    /// What slow commits take meanwhile.
    pub beside: Duration,
    /// What they take while the copy rests.
    pub alone: Duration,
}

impl std::fmt::Display for Slowed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        write!(
            f,
            "slowed to {:.0} %: the slowest twentieth of commits on the source takes {:.1} ms, {:.1} ms without it",
            self.share * 100.0,
            ms(self.beside),
            ms(self.alone)
        )
    }
}

impl Default for Controller {
    fn default() -> Self {
        Self {
            stage: Stage::Unknown,
            share: SHARE_FIRST,
            is_ramping: true,
            alone: None,
            beside: None,
            commits: VecDeque::new(),
            is_over: false,
            written: None,
            is_known: false,
            busy_at: None,
        }
    }
}

impl Controller {
    /// Takes in where the source's log ended.
    pub fn wrote(&mut self, now: Instant, end: Lsn) {
        let Some((at, before)) = self.written else {
            self.written = Some((now, end));
            return;
        };
        let passed = now.saturating_duration_since(at);
        if passed < if self.is_known { BUSY_OVER } else { BUSY_OVER_FIRST } {
            return;
        }
        self.is_known = true;
        if end.0.saturating_sub(before.0) as f64 >= BUSY_BYTES * passed.as_secs_f64() {
            self.busy_at = Some(now);
        }
        self.written = Some((now, end));
    }

    /// Takes in how long a commit took.
    pub fn committed(&mut self, now: Instant, took: Duration) {
        self.commits.push_back((now, took));
    }

    /// Takes in that a source in use could not commit, or could not be reached: then least is best, but not nothing, because
    /// it may stay so.
    pub fn failed(&mut self, now: Instant) {
        if self.is_busy() {
            self.busy_at = Some(now);
            self.share = SHARE_MIN;
            self.enter(Stage::Working { since: now, judged: now });
        }
    }

    /// The share of its time that the copy may work from now on, when commits may take so many times as long.
    pub fn share(&mut self, now: Instant, times: f64) -> f64 {
        let busy = self.busy_at.is_some_and(|at| now.saturating_duration_since(at) < BUSY_FOR);
        match self.stage {
            Stage::Unknown if self.is_known && !busy => self.enter(Stage::Quiet),
            Stage::Quiet | Stage::Unknown if busy => self.enter(Stage::Resting(now)),
            Stage::Quiet | Stage::Unknown => {}
            // An application that is held up writes little: it is seen while the copy rests.
            Stage::Working { .. } if !busy && self.is_over => self.enter(Stage::Resting(now)),
            Stage::Working { .. } if !busy => self.enter(Stage::Quiet),
            Stage::Resting(since) => {
                self.forget_before(since + REST_SETTLES, 0);
                let is_over = now.saturating_duration_since(since) >= REST && self.commits.len() >= COMMITS_SLOW_MIN;
                if is_over && !busy {
                    self.enter(Stage::Quiet);
                } else if is_over {
                    let found = self.slow();
                    // One look is as chance has it, and what it was before need not hold any more.
                    self.alone = Some(self.alone.map_or(found, |alone| (alone + found) / 2));
                    self.enter(Stage::Working { since: now, judged: now });
                }
            }
            Stage::Working { since, .. } if now.saturating_duration_since(since) >= REST_EVERY => {
                self.enter(Stage::Resting(now));
            }
            Stage::Working { since, judged } if now.saturating_duration_since(judged) >= JUDGE_EVERY => {
                // Where commits take long there are few of them, and they count the more.
                let window = if self.is_ramping { WINDOW_RAMPING } else { WINDOW };
                self.forget_before(now.checked_sub(window).unwrap_or(now).max(since), COMMITS_SLOW_MIN);
                if self.has_enough(now) {
                    self.judge(times);
                    self.stage = Stage::Working { since, judged: now };
                }
            }
            Stage::Working { .. } => {}
        }
        match self.stage {
            Stage::Unknown => SHARE_UNKNOWN,
            Stage::Quiet => 1.0,
            Stage::Resting(_) => 0.0,
            Stage::Working { .. } => self.share,
        }
    }

    fn enter(&mut self, stage: Stage) {
        if self.stage != stage {
            self.commits.clear();
            self.is_over = false;
            self.stage = stage;
        }
    }

    fn judge(&mut self, times: f64) {
        let beside = self.slow();
        self.beside = Some(beside);
        self.is_over = beside > self.alone.unwrap_or_default().mul_f64(times) + SLACK;
        if self.is_over {
            self.share = (self.share * SHARE_DOWN).max(SHARE_MIN);
            self.is_ramping = false;
            // What was slow under the larger share says nothing about the smaller.
            self.commits.clear();
        } else {
            self.share = if self.is_ramping { self.share * SHARE_RAMP } else { self.share + SHARE_UP }.min(1.0);
        }
    }

    fn has_enough(&self, now: Instant) -> bool {
        let over = self.commits.front().map_or(Duration::ZERO, |(when, _)| now.saturating_duration_since(*when));
        self.commits.len() >= COMMITS_MIN || (self.commits.len() >= COMMITS_SLOW_MIN && over >= COMMITS_SLOW_OVER)
    }

    fn forget_before(&mut self, at: Instant, least: usize) {
        while self.commits.len() > least && self.commits.front().is_some_and(|(when, _)| *when < at) {
            self.commits.pop_front();
        }
    }

    fn slow(&self) -> Duration {
        let mut times: Vec<Duration> = self.commits.iter().map(|(_, took)| *took).collect();
        times.sort_unstable();
        let at = (times.len() as f64 * QUANTILE) as usize;
        times.get(at.min(times.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    /// True when commits are to be timed; otherwise it is enough to know where the log ends.
    pub fn is_busy(&self) -> bool {
        !matches!(self.stage, Stage::Quiet | Stage::Unknown)
    }

    /// When to look again.
    pub fn pause(&self) -> Duration {
        if self.stage == Stage::Quiet { LOOK_QUIET } else { LOOK }
    }

    /// What slows the copy down, if something does.
    pub fn slowed(&self) -> Option<Slowed> {
        let (share, beside, alone) = (self.share, self.beside?, self.alone?);
        (self.is_busy() && share < 1.0).then_some(Slowed { share, beside, alone })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    /// A source on which commits take `alone`, and `beside(share)` while the copy works; gives the shares of each look.
    struct Simulation {
        controller: Controller,
        now: Instant,
        log: u64,
        share: f64,
    }

    impl Simulation {
        fn new() -> Self {
            Self { controller: Controller::default(), now: Instant::now(), log: 0, share: 1.0 }
        }

        fn run(&mut self, seconds: u64, bytes_per_second: u64, commit: impl Fn(f64) -> Duration) -> Vec<f64> {
            self.run_with(seconds, |_| bytes_per_second, commit)
        }

        fn run_with(
            &mut self,
            seconds: u64,
            bytes_per_second: impl Fn(f64) -> u64,
            commit: impl Fn(f64) -> Duration,
        ) -> Vec<f64> {
            let end = self.now + Duration::from_secs(seconds);
            let mut shares = Vec::new();
            while self.now < end {
                let pause = self.controller.pause();
                self.now += pause;
                let took = if self.controller.is_busy() { commit(self.share) } else { Duration::ZERO };
                self.now += took;
                self.log += (bytes_per_second(self.share) as f64 * (pause + took).as_secs_f64()) as u64;
                self.controller.wrote(self.now, Lsn(self.log));
                if self.controller.is_busy() {
                    self.controller.committed(self.now, took);
                }
                self.share = self.controller.share(self.now, 1.5);
                shares.push(self.share);
            }
            shares
        }
    }

    const BUSY: u64 = 1_000_000;

    #[test]
    fn nobody_is_no_reason() {
        let mut source = Simulation::new();
        let _ = source.run(1, 20_000, |_| MS(50));
        assert!(source.run(60, 20_000, |_| MS(50)).iter().all(|share| *share == 1.0));
        assert_eq!(source.controller.slowed(), None);
    }

    #[test]
    fn an_application_that_feels_nothing_ends_with_all_of_it() {
        let mut source = Simulation::new();
        let shares = source.run(90, BUSY, |_| MS(2));
        assert!(shares.contains(&0.0), "it never rested");
        assert_eq!(source.run(15, BUSY, |_| MS(2)).iter().copied().fold(0.0, f64::max), 1.0);
    }

    #[test]
    fn an_application_that_feels_it_is_given_way() {
        let mut source = Simulation::new();
        // At a share of 0.1 commits take one and a half times as long.
        let commit = |share: f64| MS(2).mul_f64(1.0 + 5.0 * share);
        let _ = source.run(60, BUSY, commit);
        let shares = source.run(120, BUSY, commit);
        let working: Vec<f64> = shares.into_iter().filter(|share| *share > 0.0).collect();
        let mean = working.iter().sum::<f64>() / working.len() as f64;
        assert!((0.05..=0.15).contains(&mean), "{mean}");
        let slowed = source.controller.slowed().unwrap();
        assert_eq!(slowed.alone, MS(2));
        assert!(slowed.to_string().starts_with("slowed to "), "{slowed}");
    }

    #[test]
    fn a_source_that_is_slow_by_itself_does_not_stop_the_copy() {
        let mut source = Simulation::new();
        let _ = source.run(30, BUSY, |_| MS(1));
        let _ = source.run(120, BUSY, |_| MS(20));
        let shares = source.run(30, BUSY, |_| MS(20));
        assert!(
            shares.iter().copied().fold(0.0, f64::max) > 0.5,
            "what it is without the copy was never looked at again"
        );
    }

    #[test]
    fn the_end_of_the_application_ends_it() {
        let mut source = Simulation::new();
        let _ = source.run(60, BUSY, |share| MS(2).mul_f64(1.0 + 50.0 * share));
        assert!(source.share < 0.1);
        let _ = source.run(8, 0, |_| MS(2));
        assert_eq!(source.share, 1.0);
    }

    #[test]
    fn commits_that_take_very_long_are_judged_too() {
        let mut source = Simulation::new();
        let commit = |share: f64| if share > 0.1 { MS(400) } else { MS(2) };
        let _ = source.run(60, BUSY, |_| MS(2));
        assert!(source.share > 0.5);
        let shares = source.run(60, BUSY, commit);
        assert!(shares.iter().rev().take(200).all(|share| *share <= 0.2), "{shares:?}");
    }

    #[test]
    fn an_application_that_is_held_up_is_not_taken_for_one_that_has_gone() {
        let mut source = Simulation::new();
        // Beside more than a tenth of the copy it comes to nothing.
        let writes = |share: f64| if share > 0.1 { 50_000 } else { BUSY };
        let commit = |share: f64| if share > 0.1 { MS(100) } else { MS(2) };
        // It was there before the copy.
        let _ = source.run(2, BUSY, |_| MS(2));
        let _ = source.run_with(60, writes, commit);
        let shares = source.run_with(60, writes, commit);
        assert!(shares.iter().all(|share| *share < 0.5), "it was taken for gone: {shares:?}");
    }

    #[test]
    fn a_rest_that_sees_nothing_ends() {
        let mut source = Simulation::new();
        while source.share > 0.0 {
            let _ = source.run(1, BUSY, |_| MS(2));
            source.now += MS(40);
            source.log += 40_000;
            source.controller.wrote(source.now, Lsn(source.log));
            source.share = source.controller.share(source.now, 1.5);
        }
        source.controller.failed(source.now);
        let share = source.controller.share(source.now, 1.5);
        assert!(share > 0.0 && share <= SHARE_MIN, "{share}");
    }

    #[test]
    fn a_source_that_does_not_commit_is_not_taken_for_one_at_rest() {
        let mut source = Simulation::new();
        let _ = source.run(30, BUSY, |_| MS(2));
        assert!(source.share > 0.2);
        for _ in 0..20 {
            source.now += Duration::from_secs(7);
            source.controller.failed(source.now);
            let share = source.controller.share(source.now, 1.5);
            assert!(share <= SHARE_MIN, "{share}");
        }
    }

    #[test]
    fn nobody_is_felt_before_it_is_known_who_writes() {
        let mut source = Simulation::new();
        source.share = SHARE_UNKNOWN;
        let shares = source.run(2, BUSY, |_| MS(2));
        assert!(shares.iter().all(|share| *share <= SHARE_UNKNOWN), "{shares:?}");
        let mut source = Simulation::new();
        assert_eq!(source.run(1, 0, |_| MS(2)).last(), Some(&1.0));
    }
}
