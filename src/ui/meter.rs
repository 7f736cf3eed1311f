//! Rate and remaining time of a counted job, from the times of its events.

use std::collections::VecDeque;

use super::number::{bytes, duration_ms, grouped, percent};

/// Rates are over this span, so that they follow a throttle within seconds.
const WINDOW_MS: u64 = 15_000;

/// Progress of one table.
#[derive(Debug, Clone)]
pub struct Meter {
    rows_estimate: Option<u64>,
    samples: VecDeque<Sample>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at_ms: u64,
    rows: u64,
    bytes: u64,
}

impl Meter {
    /// Begins with no sample.
    pub fn new() -> Self {
        Self { rows_estimate: None, samples: VecDeque::new() }
    }

    /// Takes a sample: totals so far. A time before the last sample's counts as the last sample's.
    pub fn add(&mut self, at_ms: u64, rows: u64, bytes: u64, rows_estimate: Option<u64>) {
        let at_ms = self.samples.back().map_or(at_ms, |last| at_ms.max(last.at_ms));
        self.rows_estimate = rows_estimate;
        self.samples.push_back(Sample { at_ms, rows, bytes });
        while self.samples.len() > 2 && self.samples[1].at_ms + WINDOW_MS < at_ms {
            self.samples.pop_front();
        }
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.samples.back().map_or(0, |sample| sample.rows)
    }

    /// Rows expected. An estimate that was passed is no longer one.
    pub fn rows_expected(&self) -> Option<u64> {
        self.rows_estimate.filter(|estimate| *estimate >= self.rows())
    }

    /// Rows and bytes a second over the window; `None` until there are two points in time.
    pub fn rates(&self) -> Option<(u64, u64)> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        let ms = last.at_ms - first.at_ms;
        if ms == 0 {
            return None;
        }
        let per_second = |from: u64, to: u64| to.saturating_sub(from).saturating_mul(1000) / ms;
        Some((per_second(first.rows, last.rows), per_second(first.bytes, last.bytes)))
    }

    /// Time to the estimate at the present rate.
    pub fn remaining_ms(&self) -> Option<u64> {
        let (rows_per_second, _) = self.rates()?;
        let rest = self.rows_expected()? - self.rows();
        rest.saturating_mul(1000).checked_div(rows_per_second)
    }

    /// `1 203 311 of ~184 203 311 rows (0.6 %), 412.0 MiB, 61 200 rows/s, 18.4 MiB/s, 49 min 51 s left`.
    pub fn line(&self) -> String {
        let mut parts = vec![match self.rows_expected() {
            Some(expected) => {
                format!("{} of ~{} rows ({})", grouped(self.rows()), grouped(expected), percent(self.rows(), expected))
            }
            None => format!("{} rows", grouped(self.rows())),
        }];
        let n_bytes = self.samples.back().map_or(0, |sample| sample.bytes);
        if n_bytes > 0 {
            parts.push(bytes(n_bytes));
        }
        if let Some((rows_per_second, bytes_per_second)) = self.rates() {
            parts.push(format!("{} rows/s", grouped(rows_per_second)));
            if bytes_per_second > 0 {
                parts.push(format!("{}/s", bytes(bytes_per_second)));
            }
        }
        if let Some(remaining) = self.remaining_ms().filter(|remaining| *remaining > 0) {
            parts.push(format!("{} left", duration_ms(remaining)));
        }
        parts.join(", ")
    }
}

impl Default for Meter {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_follows_the_window_and_eta_the_estimate() {
        let mut meter = Meter::new();
        meter.add(0, 0, 0, Some(1_000_000));
        assert_eq!(meter.line(), "0 of ~1 000 000 rows (0.0 %)");
        for second in 1..=20 {
            meter.add(second * 1000, second * 1000, second * 2048, Some(1_000_000));
        }
        assert_eq!(
            meter.line(),
            "20 000 of ~1 000 000 rows (2.0 %), 40.0 KiB, 1 000 rows/s, 2.0 KiB/s, 16 min 20 s left"
        );
        for second in 21..=60 {
            meter.add(second * 1000, 20_000 + (second - 20) * 10, 40_960, Some(1_000_000));
        }
        assert_eq!(meter.rates(), Some((10, 0)), "the fast beginning is outside the window");
    }

    #[test]
    fn a_wrong_estimate_is_dropped_and_clocks_may_step_back() {
        let mut meter = Meter::new();
        meter.add(5_000, 10, 0, Some(100));
        meter.add(4_000, 150, 0, Some(100));
        assert_eq!(meter.line(), "150 rows");
        meter.add(6_000, 150, 0, Some(200));
        assert_eq!(meter.line(), "150 of ~200 rows (75.0 %), 140 rows/s, 357 ms left");
        meter.add(60_000, 150, 0, Some(200));
        meter.add(90_000, 150, 0, Some(200));
        assert_eq!(meter.remaining_ms(), None, "a job that stands still has no end in sight");
    }
}
