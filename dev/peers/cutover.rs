//! Cutovers, one after another, under writers that keep a log of what was acknowledged: how long each client cannot write,
//! and whether any acknowledged write is missing or there twice.

use serde::Deserialize;

use crate::figures::Figures;
use crate::work::{done, pcrd};

/// The bars, in milliseconds: what a client waits in the median, and the longest that any waits.
pub(crate) const PAUSE_MS: f64 = 500.0;
pub(crate) const PAUSE_MAX_MS: f64 = 1_000.0;

/// What `pcrd demo run --json` says at its end.
#[derive(Debug, Deserialize)]
struct Said {
    writes_per_second: f64,
    writes_on_target: f64,
    refused_by_fence: f64,
    unknown: f64,
    pause_median_ms: Option<f64>,
    pause_max_ms: Option<f64>,
    listings_compared: f64,
    listings_wrong: Vec<i64>,
    migration_ms: f64,
}

pub(crate) fn run(rows: u64, tps: u64, clients: u64, rounds: usize) -> Figures {
    let mut figures = Figures::new("cutover");
    figures.note(format!(
        "{rounds} migrations of {rows} rows from plan to cutover, PostgreSQL 15 to the newest here, under {tps} writes a second by {clients} clients"
    ));
    figures.note(
        "pause: of each client, from its last acknowledged write on the source to its first on the target".to_owned(),
    );
    figures.note("wrong: rows that are not as the clients' log of acknowledged writes says".to_owned());
    let dir = tempfile::tempdir().unwrap();
    let wish = [("--rows", rows), ("--writes", tps), ("--clients", clients)];
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        let mut command = pcrd(dir.path(), &["--json", "demo", "run"]);
        for (flag, value) in wish {
            command.arg(flag).arg(value.to_string());
        }
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // Rows that are wrong are counted below; everything else that fails has no summary.
        let said: Said = match text.lines().last().map(serde_json::from_str) {
            Some(Ok(said)) => said,
            _ => panic!("round {round}: {text}\n{}", String::from_utf8_lossy(&output.stderr)),
        };
        assert!(said.listings_compared > 0.0, "nothing was compared");
        figures.add("from plan to switch", said.migration_ms / 1e3, "s", None);
        figures.add("writes a second", said.writes_per_second, "", None);
        figures.add("writes on the target after it", said.writes_on_target, "", None);
        figures.add("refused by the fence and tried again", said.refused_by_fence, "", None);
        figures.add("unanswered", said.unknown, "", Some(0.0));
        figures.add("rows wrong", said.listings_wrong.len() as f64, "", Some(0.0));
        figures.add("rows compared", said.listings_compared, "", None);
        figures.add("pause, median of the clients", said.pause_median_ms.unwrap(), "ms", Some(PAUSE_MS));
        figures.add("pause, longest", said.pause_max_ms.unwrap(), "ms", Some(PAUSE_MAX_MS));
    }
    done(&mut pcrd(dir.path(), &["demo", "down"]));
    figures
}
