//! The comparison of every row, beside the same aggregate asked of both servers at once; and what is compared behind the
//! fence, of a table and of one ten times as large.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::time::Instant;

use pcrd::catalog::Ident;
use pcrd::exec::verify::sides;
use pcrd::pg::client;
use pcrd::plan::Plan;
use pcrd::sql::Side;
use pcrd::sql::hash::{self, Keys, Rows};

use crate::figures::Figures;
use crate::work::{Servers, connect, done, pcrd, plan, text};

/// pcrd takes at most so many times as long as the aggregate alone: 0.8 of its throughput.
const TIMES: f64 = 1.25;
/// The pause of a table ten times as large.
const GROWTH: f64 = 1.5;

pub(crate) async fn run(rows: u64, keys: u64, rounds: usize) -> Figures {
    let mut figures = Figures::new("verify");
    figures.note(format!("{rows} rows of 23 columns, types and order changed, PostgreSQL 15 to 15, at rest"));
    figures.note("the floor: one aggregate over all rows, the same that pcrd asks, on both servers at once".to_owned());
    figures
        .note(format!("the fence: {keys} rows written after the last comparison, of {} and of {rows} rows", rows / 10));
    let servers = Servers::start(rows).await;
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        beside_the_floor(&servers, rows, &mut figures).await;
    }
    let mut large = Vec::new();
    for _ in 0..rounds {
        large.push(pause(&servers, rows, keys).await);
    }
    drop(servers);
    let servers = Servers::start(rows / 10).await;
    for large in large {
        let small = pause(&servers, rows / 10, keys).await;
        figures.add("fenced to switched, a tenth of the rows", small, "ms", None);
        figures.add("fenced to switched, all rows", large, "ms", None);
        figures.add("the same, ratio", large / small, "", Some(GROWTH));
    }
    figures
}

/// An executor at the gate.
struct Apply {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Apply {
    async fn start(servers: &Servers, dir: &Path) -> Self {
        servers.fresh("of_pcrd").await;
        plan(dir, servers, "of_pcrd");
        let mut command = pcrd(dir, &["--json", "apply", "plan.json", "--yes"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut apply = Self { child, lines };
        let _ready = apply.until("\"type\":\"gate\",\"ready\":true");
        apply
    }

    fn until(&mut self, text: &str) -> String {
        self.lines
            .by_ref()
            .map(Result::unwrap)
            .find(|line| line.contains(text))
            .unwrap_or_else(|| panic!("no `{text}`"))
    }
}

async fn beside_the_floor(servers: &Servers, rows: u64, figures: &mut Figures) {
    let dir = tempfile::tempdir().unwrap();
    let mut apply = Apply::start(servers, dir.path()).await;
    let file = std::fs::read_to_string(dir.path().join("plan.json")).unwrap();
    let floor = floor(servers, &pcrd::plan::read(&file).unwrap().plan, rows).await;
    let began = Instant::now();
    done(&mut pcrd(dir.path(), &["verify", "--table", "listings"]));
    let took = began.elapsed().as_secs_f64();
    figures.add("pcrd verify", took, "s", None);
    figures.add("rows a second", rows as f64 / took, "", None);
    figures.add("the floor", floor, "s", None);
    figures.add("pcrd to the floor", took / floor, "times", Some(TIMES));
    done(&mut pcrd(dir.path(), &["abort", "--yes"]));
    apply.child.wait().unwrap();
}

/// Seconds of the aggregate on both servers at once.
async fn floor(servers: &Servers, plan: &Plan, rows: u64) -> f64 {
    let projection = plan.projections.iter().find(|one| one.source.name.as_str() == "listings").unwrap();
    let target = connect(&servers.target, "of_pcrd").await;
    let value = text(&target, "SELECT quote_literal(value) FROM pcrd.frozen WHERE col = 'updated_at'").await;
    let frozen = BTreeMap::from([(Ident::new("updated_at").unwrap(), value)]);
    let digest = sides::digest(plan);
    let ask = async |side: Side| {
        let info = match side {
            Side::Source => servers.source.conninfo("postgres"),
            Side::Target => servers.target.conninfo("of_pcrd"),
        };
        let session = client::connect(&info, "bench").await.unwrap();
        let all = Rows { side, predicate: None, keys: Keys::All };
        let sums = format!("SELECT s::text FROM ({}) AS s", hash::chunk(projection, &frozen, digest, all).unwrap());
        session.query_one(&sums, &[]).await.unwrap().get::<_, String>(0)
    };
    let began = Instant::now();
    let (source, target) = tokio::join!(ask(Side::Source), ask(Side::Target));
    let took = began.elapsed().as_secs_f64();
    assert!(source == target && source.starts_with(&format!("({rows},")), "{source} {target}");
    took
}

/// Milliseconds from the fence to the switch, with this many rows to compare behind it.
async fn pause(servers: &Servers, rows: u64, keys: u64) -> f64 {
    let dir = tempfile::tempdir().unwrap();
    let mut apply = Apply::start(servers, dir.path()).await;
    let source = connect(&servers.source, "postgres").await;
    let write = format!("UPDATE listings SET bedrooms = 1 WHERE id % {} = 0", (rows / keys).max(1));
    source.batch_execute(&write).await.unwrap();
    done(&mut pcrd(dir.path(), &["cutover", "--yes"]));
    let said = apply.until("fenced to switched in ");
    apply.child.wait().unwrap();
    done(&mut pcrd(dir.path(), &["cleanup", "--yes", "--open-source"]));
    let ms = said.split("fenced to switched in ").nth(1).unwrap();
    ms.split(' ').next().unwrap().parse().unwrap()
}
