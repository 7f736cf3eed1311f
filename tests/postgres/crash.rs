//! Crashes of servers and of the executor, all at once.

use std::ops::Range;

use crate::migration::Running;
use crate::stage::Stage;
use crate::support::{TestPair, connect_to};

/// An end of a migration.
#[derive(Clone, Copy, Debug)]
pub enum End {
    Source,
    Target,
}

/// A point of an executor, and what says that it is reached: on this end.
pub type Arrow = (&'static str, End, &'static str);

/// With these servers.
#[derive(Clone, Copy, Debug)]
pub struct Crash {
    pub source: bool,
    pub target: bool,
    /// And the executor.
    pub executor: bool,
}

/// Every kind.
pub const CRASHES: [Crash; 5] = [
    Crash { source: true, target: false, executor: false },
    Crash { source: false, target: true, executor: false },
    Crash { source: true, target: true, executor: false },
    Crash { source: true, target: true, executor: true },
    Crash { source: false, target: false, executor: true },
];

impl Crash {
    /// Kills without a word, starts the servers again and connects to them; gives the executor that was spared.
    pub async fn strike(self, pair: &mut TestPair, stage: &mut Stage, running: Running) -> Option<Running> {
        let mut running = Some(running);
        if self.executor {
            tokio::task::block_in_place(|| running.take().unwrap().kill());
        }
        if self.source {
            pair.source.kill_immediate().unwrap();
        }
        if self.target {
            pair.target.kill_immediate().unwrap();
        }
        if self.source {
            pair.source.resume().unwrap();
        }
        if self.target {
            pair.target.resume().unwrap();
        }
        stage.source = connect_to(&pair.source, &stage.name).await;
        stage.target = connect_to(&pair.target, &stage.name).await;
        running
    }
}

/// Crashes at these arrows, with a number for each: those that `shortened` takes of arrow and kind, by `PCRD_FULL=1` all.
pub fn chosen(
    arrows: &[Arrow],
    places: Range<usize>,
    shortened: fn(usize, usize) -> bool,
) -> Vec<(Arrow, Crash, usize)> {
    let is_full = std::env::var_os("PCRD_FULL").is_some();
    let every = places.flat_map(|at| (0..CRASHES.len()).map(move |with| (at, with)));
    let every = every.filter(|(at, with)| is_full || shortened(*at, *with));
    every.map(|(at, with)| (arrows[at], CRASHES[with], at * CRASHES.len() + with)).collect()
}
